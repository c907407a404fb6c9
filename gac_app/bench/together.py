"""Several answers at once: their cost against one alone.

A run of the page (the ensemble and every member alone) against the ensemble's answer, eight answers of the ensemble
against one, and three views of a model against one. Pending reads of a model share its next forward pass, so none of
them costs a multiple.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.steps import member_s
from gac_app.bench.workbench import PROMPTS, Workbench, decode, interleaved
from gac_app.config import Config
from gac_app.decoding.trace import FinishReason
from gac_app.errors import GacError
from gac_app.member_config import MemberConfig
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store

if TYPE_CHECKING:  # it loads torch
    from gac_app.decoding.ensemble import Ensemble

NUM_AT_ONCE = 8
RUN_TIMEOUT_S = 300.0
_VISITOR = "b" * 64
_SYSTEM_PROMPTS = ("Answer in plain words.", "Think step by step.", "Be exact, and give examples.")

_Timed = tuple[float, bool]  # seconds; whether no answer ended before the limit, so that all are equally long


def measure_side_by_side(bench: Workbench) -> list[Row]:
    """Wall time of a whole run, with prompt and storage, against the ensemble's answer.

    Both without drafts, which make the ensemble faster than a member alone, so that the effect of sharing is measured.
    """
    settings = bench.settings(speculation="off")

    def ensemble_alone(prompt: str) -> _Timed:
        started = time.monotonic()
        answer = decode(bench.ensemble.session(prompt, settings))
        return time.monotonic() - started, answer.finished.reason is FinishReason.LENGTH

    with run_service(bench.config, bench.ensemble) as service:

        def whole_run(prompt: str) -> _Timed:
            started = time.monotonic()
            run = service.start(_VISITOR, prompt, settings.model_dump())
            if not run.over.wait(RUN_TIMEOUT_S):
                raise GacError(f"a run took more than {RUN_TIMEOUT_S:.0f} s")
            ends = [stream.finished for stream in run.streams.values()]
            is_full = all(end is not None and end.reason is FinishReason.LENGTH for end in ends)
            return time.monotonic() - started, is_full

        whole, alone = interleaved(bench.prompts, whole_run, ensemble_alone)
    fair = [(run_s, alone_s) for (run_s, *full), (alone_s, *also) in zip(whole, alone, strict=True) if all(full + also)]
    if not fair:
        raise NotMeasured("with every prompt some answer ended early, so that the runs were not equally long")
    runs_s, alone_s = zip(*fair, strict=True)
    note = f"every step, {len(fair)} of {len(whole)} prompts; {median(runs_s):.2f} s a run"
    return [Row.ratio("side by side ÷ ensemble alone", runs_s, alone_s, Target("<=", 1.6), note)]


def measure_many(bench: Workbench) -> list[Row]:
    """Eight answers at once: their tokens per second against one answer's, and the members' work against a lazy gate's.

    Raises NotMeasured if a member has no room for them.
    """
    if any(member.max_sequences < NUM_AT_ONCE for member in bench.config.members):
        raise NotMeasured(f"needs max_sequences of at least {NUM_AT_ONCE} in every member")

    def decoded(start: int, number: int = NUM_AT_ONCE, **how: Any) -> tuple[float, float]:
        """Tokens per second, with prompts, and member-seconds a token."""
        settings = bench.settings(mode="gate", **how)
        sessions = [bench.ensemble.session((PROMPTS * 2)[start + index], settings) for index in range(number)]
        started = time.monotonic()
        with ThreadPoolExecutor(number) as pool:
            answers = list(pool.map(decode, sessions))
        num_tokens = sum(answer.finished.num_tokens for answer in answers)
        return num_tokens / (time.monotonic() - started), fmean(map(member_s, answers))

    ways = decoded, partial(decoded, gate_policy="lazy"), partial(decoded, number=1)
    auto, lazy, one = interleaved(range(1 if bench.is_quick else 3), *ways)
    many_per_s, one_per_s = ([per_s for per_s, _ in way] for way in (auto, one))
    work_s, lazy_s = ([seconds for _, seconds in way] for way in (auto, lazy))
    note = f"gate, auto; tokens/s: {median(many_per_s):.1f}, one alone {median(one_per_s):.1f}"
    work = f"gate, auto, {NUM_AT_ONCE} runs at once: member-seconds a token ÷ lazy's"
    return [
        Row.ratio(f"{NUM_AT_ONCE} runs at once: tokens/s ÷ one run's", many_per_s, one_per_s, Target(">=", 1.9), note),
        Row.ratio(work, work_s, lazy_s, Target("<=", 1.05), f"seconds a token: {median(work_s):.3f}"),
    ]


def measure_views(bench: Workbench) -> list[Row]:
    """Milliseconds per token of three views of the gate's model at every step, against that of one of them alone."""
    config = with_three_views(bench.config)
    views = config.member_names[1:]
    settings = bench.settings(config, members=views, gate=views[0])
    with closing(bench.loaded(config)) as ensemble:

        def ms_per_token(prompt: str, alone: str | None = None) -> float:
            return decode(ensemble.session(prompt, settings, alone=alone)).ms_per_token

        three, one = interleaved(bench.prompts, ms_per_token, partial(ms_per_token, alone=views[0]))
    note = f"ms/token: {median(three):.1f}, one {median(one):.1f}"
    return [Row.ratio("three views ÷ one", three, one, Target("<=", 1.6), note)]


def with_three_views(config: Config) -> Config:
    """A configuration of the gate alone and three views of it."""
    gate = config.member(config.settings.gate)
    views = [
        MemberConfig.model_validate({**dict(gate), "name": f"view {number}", "of": gate.name, "system_prompt": text})
        for number, text in enumerate(_SYSTEM_PROMPTS, start=1)
    ]
    return Config(members=(gate, *views), plugins=config.plugins, cache_dir=config.cache_dir)


@contextmanager
def run_service(config: Config, ensemble: Ensemble) -> Iterator[RunService]:
    """The service over a loaded ensemble, with a temporary database."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        closing(Store(f"sqlite:///{Path(folder) / 'bench.sqlite3'}")) as store,
    ):
        service = RunService(config, store)
        service.members.use(ensemble)
        yield service
