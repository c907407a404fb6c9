"""Several answers at once: their cost against one alone.

A run of the page (the ensemble and every member alone) against the ensemble's answer, and eight answers of the ensemble
against one. Pending reads of a member share its next forward pass, so neither costs a multiple.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio
from gac_app.bench.workbench import PROMPTS, Workbench
from gac_app.decoding.trace import FinishReason
from gac_app.errors import GacError
from gac_app.services.runs.runs import RunService
from gac_app.settings import Settings
from gac_app.storage import Store

NUM_AT_ONCE = 8
RUN_TIMEOUT_S = 300.0
_VISITOR = "b" * 64


@dataclass(frozen=True, slots=True)
class _Timed:
    seconds: float
    is_full: bool  # no answer ended before the limit, so all are equally long


def measure_side_by_side(bench: Workbench) -> list[Row]:
    """Wall time of a whole run, with prompt and storage, against the ensemble's answer.

    Both without drafts, which make the ensemble faster than a member alone, so that the effect of sharing is measured.
    """
    settings = bench.settings(speculation="off")

    def ensemble_alone(prompt: str) -> _Timed:
        started = time.monotonic()
        answer = decode(bench.ensemble.session(prompt, settings))
        return _Timed(time.monotonic() - started, answer.finished.reason is FinishReason.LENGTH)

    with _service(bench) as service:

        def whole_run(prompt: str) -> _Timed:
            started = time.monotonic()
            run = service.start(_VISITOR, prompt, settings.model_dump())
            if not run.over.wait(RUN_TIMEOUT_S):
                raise GacError(f"a run took more than {RUN_TIMEOUT_S:.0f} s")
            ends = [stream.finished for stream in run.streams.values()]
            is_full = all(end is not None and end.reason is FinishReason.LENGTH for end in ends)
            return _Timed(time.monotonic() - started, is_full)

        rounds = interleaved(bench.prompts, whole_run, ensemble_alone)
    fair = [(whole.seconds, alone.seconds) for whole, alone in rounds if whole.is_full and alone.is_full]
    if not fair:
        raise NotMeasured("with every prompt some answer ended early, so that the runs were not equally long")
    note = f"every step, {len(fair)} of {len(rounds)} prompts; {median(run_s for run_s, _ in fair):.2f} s a run"
    return [Row("side by side ÷ ensemble alone", median_ratio(fair), target=Target("<=", 1.6), note=note)]


def measure_many(bench: Workbench) -> list[Row]:
    """Tokens per second of eight ensemble answers at once, with prompts, against one answer."""
    settings = bench.settings()

    def tokens_per_s(prompts: Sequence[str]) -> float:
        started = time.monotonic()
        answers = decode_at_once(bench, prompts, settings)
        return sum(answer.finished.num_tokens for answer in answers) / (time.monotonic() - started)

    rounds = interleaved(
        first_of_many(bench),
        lambda prompt: tokens_per_s(eight_from(prompt)),
        lambda prompt: tokens_per_s((prompt,)),
    )
    note = f"tokens/s: {median(a for a, _ in rounds):.1f}, one alone {median(b for _, b in rounds):.1f}; every step"
    ratio = median_ratio([(many, one) for many, one in rounds])
    return [Row("8 runs at once: tokens/s ÷ one run's", ratio, target=Target(">=", 1.9), note=note)]


def first_of_many(bench: Workbench) -> Sequence[str]:
    """The first prompts of rounds of eight answers at once. Raises NotMeasured if a member has no room for them."""
    if any(member.max_sequences < NUM_AT_ONCE for member in bench.config.members):
        raise NotMeasured(f"needs max_sequences of at least {NUM_AT_ONCE} in every member")
    return bench.prompts[: 1 if bench.is_quick else 2]


def eight_from(prompt: str) -> Sequence[str]:
    """All prompts, beginning with this one."""
    start = PROMPTS.index(prompt)
    return PROMPTS[start:] + PROMPTS[:start]


def decode_at_once(bench: Workbench, prompts: Sequence[str], settings: Settings) -> list[Decoded]:
    """The answers to all prompts, decoded at the same time."""
    sessions = [bench.ensemble.session(prompt, settings) for prompt in prompts]
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(decode, sessions))


@contextmanager
def _service(bench: Workbench) -> Iterator[RunService]:
    """The service over the loaded ensemble, with a temporary database."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        closing(Store(f"sqlite:///{Path(folder) / 'bench.sqlite3'}")) as store,
    ):
        service = RunService(bench.config, store)
        service.members.use(bench.ensemble)
        yield service
