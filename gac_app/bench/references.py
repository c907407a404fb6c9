"""The libraries' own objects over a member's files, for comparison with the engine."""

from __future__ import annotations

from typing import Any

from gac_app.bench.workbench import Workbench
from gac_app.member_config import MemberConfig


def runs_on_llama_cpp(bench: Workbench, member: MemberConfig) -> bool:
    """Whether llama.cpp would run the member."""
    if member.is_random or member.backend == "transformers":
        return False
    return bench.files(member).kind == "gguf" and (
        member.backend == "llama_cpp" or bench.placements[member.name].device == "cpu"
    )


def load_reference(bench: Workbench, member: MemberConfig) -> Any:
    """The transformers model of a member, on the same device and in the same precision.

    It shares the member's weights, since two copies differ in speed by several percent, depending on their place in
    memory.
    """
    from transformers import AutoModelForCausalLM

    from gac_app.environment import cache_dir
    from gac_app.models.hf import converted

    files = bench.files(member)
    directory = converted(files.path, cache_dir(bench.config)) if files.kind == "gguf" else files.path
    device = bench.placements[member.name].device
    dtype = member.dtype if member.dtype != "auto" else ("float32" if device == "cpu" else "auto")
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, device_map={"": device}, local_files_only=True)
    model.load_state_dict(bench.model(member.name).weights, assign=True)
    model.tie_weights()
    return model.eval()
