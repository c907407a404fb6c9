"""Peak memory of a process that loads the members and answers, against the necessary minimum.

The minimum is the members' files plus keys and values of all sequences with full contexts, in half precision. llama.cpp
allocates these at the start; with onnxruntime they grow, in single precision.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from contextlib import closing
from pathlib import Path

from gac_app.bench.children import run_child
from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.timing import decode
from gac_app.bench.workbench import PROMPTS, Workbench
from gac_app.member_config import MemberConfig

MIB = 1 << 20
_VALUE_BYTES = 2
_TEXT_BYTES = 64


def peak_bytes() -> int:
    """This process's peak of main memory."""
    import resource  # missing on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(bench: Workbench) -> list[Row]:
    if importlib.util.find_spec("resource") is None:
        raise NotMeasured("this system does not tell a process its peak of memory")
    from gac_app.bench.references import runs_on_llama_cpp

    if not all(runs_on_llama_cpp(bench, member) for member in bench.config.members):
        raise NotMeasured("counts the memory of members that llama.cpp runs")
    files_bytes = sum(bench.files(member).path.stat().st_size for member in bench.config.members)
    kv_bytes = sum(cache_bytes(bench, member) for member in bench.config.members)
    held_bytes: int = run_child(__name__, str(bench.path))
    note = f"MiB: peak {held_bytes / MIB:,.0f}, files {files_bytes / MIB:,.0f}, KV {kv_bytes / MIB:,.0f}"
    ratio = held_bytes / (files_bytes + kv_bytes)
    return [Row("peak memory ÷ (model files + KV)", ratio, target=Target("<=", 2.0), note=note)]


def cache_bytes(bench: Workbench, member: MemberConfig) -> int:
    """Bytes of keys and values for all sequences of the configuration, from the shape in the file."""
    from gac_app.models.llama_cpp.gguf_model import DEFAULT_CONTEXT_LENGTH
    from gac_app.models.llama_cpp.library import library, load_weights

    ffi, lib = library()
    model = load_weights(bench.files(member).path)

    def stated(key: str) -> str:
        text = ffi.new("char[]", _TEXT_BYTES)
        found = lib.llama_model_meta_val_str(model, key.encode(), text, _TEXT_BYTES)
        return ffi.string(text).decode() if found >= 0 else ""

    family = stated("general.architecture")
    default_width = lib.llama_model_n_embd(model) // lib.llama_model_n_head(model)
    widths = [int(stated(f"{family}.attention.{kind}_length") or default_width) for kind in ("key", "value")]
    cell_bytes = lib.llama_model_n_layer(model) * lib.llama_model_n_head_kv(model) * sum(widths) * _VALUE_BYTES
    length = min(member.context_length or DEFAULT_CONTEXT_LENGTH, lib.llama_model_n_ctx_train(model))
    lib.llama_model_free(model)
    return int(cell_bytes * length * member.max_sequences)


def _main(path: str) -> None:
    from gac_app.environment import read_config

    with closing(Workbench(Path(path), read_config(Path(path), os.environ))) as bench:
        decode(bench.ensemble.session(PROMPTS[0], bench.settings()))
        print(json.dumps(peak_bytes()))


if __name__ == "__main__":
    _main(*sys.argv[1:])
