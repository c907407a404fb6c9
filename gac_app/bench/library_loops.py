"""A member alone through our engine against the library's own loop over the same file, with the same threads.

llama.cpp's: `llama_decode` and an argmax over its logits, through the binding's C functions. transformers':
`generate`, greedy. The engine adds softmax, projection into the union, choosing, trace and events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

from gac_app.bench.references import load_reference, runs_on_llama_cpp
from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.timing import MIN_TOKENS, decode, interleaved, median_ratio, ms_per_token
from gac_app.bench.workbench import Workbench
from gac_app.errors import GacError
from gac_app.member_config import MemberConfig
from gac_app.models.llama_cpp.library import library, load_weights
from gac_app.models.message import Message

Loop = Callable[[list[int], int], list[float]]  # (prompt ids, most tokens) -> time of each token


def measure_llama_cpp(bench: Workbench) -> list[Row]:
    """Rows of each member that llama.cpp runs."""
    members = [member for member in bench.config.members if runs_on_llama_cpp(bench, member)]
    if not members:
        raise NotMeasured("no member of this configuration runs on llama.cpp")
    # Its tokens are fast, so each prompt runs twice, since differences are a few percent.
    prompts = bench.prompts * 2
    return [_compare(bench, member, "llama.cpp's loop", _LlamaCppLoop(bench, member), prompts) for member in members]


def measure_transformers(bench: Workbench) -> list[Row]:
    """Rows of each member that transformers runs."""
    members = [member for member in bench.config.members if not runs_on_llama_cpp(bench, member)]
    if not members:
        raise NotMeasured("no member of this configuration runs on transformers")
    return [
        _compare(bench, member, "transformers' generate", GenerateLoop(bench, member), bench.prompts)
        for member in members
    ]


def _compare(bench: Workbench, member: MemberConfig, library_name: str, loop: Loop, prompts: Sequence[str]) -> Row:
    settings = bench.settings()

    def ours(prompt: str) -> float:
        return decode(bench.ensemble.session(prompt, settings, alone=member.name)).ms_per_token

    def theirs(prompt: str) -> float:
        ids = bench.ensemble.members[member.name].encode([Message("user", prompt)])
        marks = loop(ids, bench.num_tokens)
        if len(marks) < MIN_TOKENS:
            raise GacError(f"{member.name}: {library_name} ended after {len(marks)} tokens, too few to time")
        return ms_per_token(marks)

    rounds = interleaved(prompts, ours, theirs)
    note = f"ms/token: {median(a for a, _ in rounds):.1f} against {median(b for _, b in rounds):.1f}"
    ratio = median_ratio([(a, b) for a, b in rounds])
    return Row(f"alone ÷ {library_name}: {member.name}", ratio, target=Target("<=", 1.05), note=note)


class _LlamaCppLoop:
    """The library's own model of a member's file, with a default context."""

    def __init__(self, bench: Workbench, member: MemberConfig) -> None:
        self._ffi, self._lib = library()
        model = bench.model(member.name)
        self._end_ids = model.vocabulary.end_ids
        params = self._lib.llama_context_default_params()
        params.n_ctx = model.context_length
        params.n_threads = params.n_threads_batch = bench.placements[member.name].num_threads
        self._context = self._lib.llama_init_from_model(load_weights(bench.files(member).path), params)
        if self._context == self._ffi.NULL:
            raise GacError(f"{member.name}: llama.cpp cannot make a second context")
        self._vocab_size = len(model.vocabulary)

    def __call__(self, ids: list[int], num_tokens: int) -> list[float]:
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), True)
        marks: list[float] = []
        while len(marks) < num_tokens:
            tokens = self._ffi.new("llama_token[]", ids)
            if self._lib.llama_decode(self._context, self._lib.llama_batch_get_one(tokens, len(ids))) != 0:
                raise GacError("llama_decode failed")
            logits = self._ffi.buffer(self._lib.llama_get_logits_ith(self._context, -1), 4 * self._vocab_size)
            ids = [int(np.frombuffer(logits, dtype=np.float32).argmax())]
            marks.append(time.monotonic())
            if ids[0] in self._end_ids:
                break
        return marks


class GenerateLoop:
    """The library's own model object of a member's files, and a streamer that takes the times."""

    def __init__(self, bench: Workbench, member: MemberConfig) -> None:
        self._num_threads = bench.placements[member.name].num_threads
        self._end_ids = sorted(bench.ensemble.members[member.name].mapping.vocabulary.end_ids)
        self._model = load_reference(bench, member)

    def __call__(self, ids: list[int], num_tokens: int) -> list[float]:
        import torch

        torch.set_num_threads(self._num_threads)
        prompt = torch.tensor([ids], device=self._model.device)
        clock = _Clock()
        self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=num_tokens,
            do_sample=False,
            eos_token_id=self._end_ids,
            pad_token_id=self._end_ids[0],
            streamer=clock,
        )
        return clock.marks_s


class _Clock:
    """A `generate` streamer: the first call passes the prompt, later ones a token each."""

    def __init__(self) -> None:
        self._calls_s: list[float] = []

    def put(self, value: Any) -> None:
        self._calls_s.append(time.monotonic())

    def end(self) -> None:
        """Nothing to flush."""

    @property
    def marks_s(self) -> list[float]:
        return self._calls_s[1:]
