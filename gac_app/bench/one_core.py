"""Every step against the members' bare forward passes, one after another, on one device with one thread.

On a shared device nothing runs in parallel, so a step should cost the sum of its forward passes. A process limited to
one core is such a device: the engine's threads take turns. The bare passes use transformers' own model objects and
caches, without the engine.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from gac_app.bench.children import run_child
from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.timing import decode, interleaved, median_ratio, ms_per_token
from gac_app.bench.workbench import Workbench
from gac_app.models.message import Message

NUM_TOKENS = 24  # a token takes two float32 forward passes on one core


def check_one_core(bench: Workbench) -> None:
    """Raise NotMeasured if this machine or configuration cannot be measured on one core."""
    if not hasattr(os, "sched_setaffinity"):
        raise NotMeasured("this system cannot keep a process on one core")
    from gac_app.bench.references import runs_on_llama_cpp

    if any(runs_on_llama_cpp(bench, member) for member in bench.config.members):
        raise NotMeasured("compares members that transformers runs; see configs/transformers-cpu.yaml")


def found_on_one_core(bench: Workbench, module: str) -> Any:
    """The output of `print_found` in a process that runs `module`. Raises NotMeasured if it cannot use one core."""
    check_one_core(bench)
    return run_child(module, str(bench.path), "quick" if bench.is_quick else "full")


def print_found(find: Callable[[Workbench], Any], path: str, length: str) -> None:
    """Limit this process to one core, before torch counts cores, and print the result of `find` as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from gac_app.environment import read_config

    with closing(Workbench(Path(path), read_config(Path(path), os.environ), is_quick=length == "quick")) as bench:
        print(json.dumps(find(bench)))


def measure(bench: Workbench) -> list[Row]:
    rounds = found_on_one_core(bench, __name__)
    note = f"ms/token: {median(a for a, _ in rounds):.1f} against {median(b for _, b in rounds):.1f}; one core"
    ratio = median_ratio([(a, b) for a, b in rounds])
    return [Row("every step ÷ the forwards one after the other", ratio, target=Target("<=", 1.03), note=note)]


def _rounds(bench: Workbench) -> list[tuple[float, ...]]:
    """Per prompt: (the engine's ms/token, the bare passes' ms/token)."""
    from gac_app.bench.references import load_reference

    names = bench.config.member_names
    models = [load_reference(bench, bench.config.member(name)) for name in names]
    settings = bench.settings(max_new_tokens=NUM_TOKENS, speculation="off")

    def ours(prompt: str) -> float:
        return decode(bench.ensemble.session(prompt, settings)).ms_per_token

    def bare(prompt: str) -> float:
        ids = [bench.ensemble.members[name].encode([Message("user", prompt)]) for name in names]
        return ms_per_token(_bare_passes(models, ids))

    return interleaved(bench.prompts, ours, bare)


def _bare_passes(models: list[Any], prompts: list[list[int]]) -> list[float]:
    """Greedy steps of all models in turn, each on its own ids. Returns the end time of each round."""
    import torch
    from transformers import DynamicCache

    marks: list[float] = []
    caches = [DynamicCache() for _ in models]
    next_ids = [torch.tensor([ids]) for ids in prompts]
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(NUM_TOKENS):
            for index, model in enumerate(models):
                result = model(next_ids[index], past_key_values=caches[index], use_cache=True, logits_to_keep=1)
                next_ids[index] = result.logits[:, -1].argmax(-1, keepdim=True)
            marks.append(time.monotonic())
    return marks


if __name__ == "__main__":
    print_found(_rounds, *sys.argv[1:])
