"""The alignment suite: how well members of different vocabularies write and predict together, in many scripts and code.

Every system continues the prompts of each kind greedily, as raw documents, and predicts the held-out passages. Answers
are bytes, because decoded text can hide errors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from itertools import chain
from typing import TYPE_CHECKING, Any

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.running import StudyProgress, System, members_alone, parse_system
from gac_app.evaluation.suites.report import AlignmentReport, Continuation, measure
from gac_app.evaluation.suites.texts import KINDS, held_out, prompts
from gac_app.settings import Settings

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.scoring import Score


_ENSEMBLES = ("every-step+paper", "every-step+prefix", "every-step+paper+posterior", "every-step+prefix+posterior")
_GREEDY: dict[str, Any] = {"temperature": 0.0, "repetition_penalty": 1.0, "stop": ()}


def alignment_systems(config: Config) -> list[System]:
    """Each member alone, and both alignments with the given weights and with posterior weights."""
    return [*members_alone(config), *(parse_system(name, config) for name in _ENSEMBLES)]


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise RequestError if a kind is unknown."""
    for kind in kinds:
        if kind not in KINDS:
            raise RequestError("only", f"{kind!r} is no kind of text; expected {', '.join(KINDS)}")


def run_alignment_suite(
    ensemble: Ensemble,
    systems: Sequence[System],
    *,
    kinds: Sequence[str] = KINDS,
    max_new_tokens: int = 48,
    num_in_flight: int = 4,
    on_progress: Callable[[StudyProgress], None] = lambda _: None,
) -> AlignmentReport:
    """Let every system write and predict, and measure it.

    Args:
        kinds: kinds of text, from `texts.KINDS`.
        max_new_tokens: length of a continuation.
        num_in_flight: prompts at once; they share forward passes.
        on_progress: called after each prompt and passage.

    Raises:
        RequestError: settings or kinds do not fit.
        GacError: a member fails.
    """
    check_kinds(kinds)
    started, pool = time.monotonic(), ThreadPoolExecutor(num_in_flight)
    try:
        jobs = {
            (system.name, kind): _begun(pool, ensemble, system, kind, max_new_tokens)
            for system in systems
            for kind in kinds
        }
        futures = [future for parts in jobs.values() for future in chain[Future[Any]](*parts)]
        for num_done, future in enumerate(as_completed(futures), start=1):
            future.result()  # a failure ends the suite at once
            on_progress(StudyProgress(num_done, len(futures), 0, time.monotonic() - started, unit="texts"))
    finally:
        pool.shutdown(cancel_futures=True)
    results = {
        (name, kind): measure(kind, [one.result() for one in written], [one.result() for one in read])
        for (name, kind), (written, read) in jobs.items()
    }
    return AlignmentReport(
        max_new_tokens, {system.name: tuple(results[system.name, kind] for kind in kinds) for system in systems}
    )


def _begun(
    pool: Executor, ensemble: Ensemble, system: System, kind: str, max_new_tokens: int
) -> tuple[list[Future[Continuation]], list[Future[Score]]]:
    """One system's work on one kind of text: the continuations, and the scores of held-out passages."""
    settings = system.settings(ensemble.config, **_GREEDY, max_new_tokens=max_new_tokens)
    return (
        [pool.submit(continued, ensemble, prompt, settings, system.alone) for prompt in prompts()[kind]],
        [
            pool.submit(_score, ensemble, passage.prompt, passage.continuation, settings, system.alone)
            for passage in held_out().get(kind, ())
        ],
    )


def continued(ensemble: Ensemble, prompt: str, settings: Settings, alone: str | None) -> Continuation:
    """Continue `prompt` as a raw document. Raises GacError if a member fails."""
    content, is_stopped = bytearray(), False
    for event in ensemble.generate(prompt, settings, alone=alone, raw=True):
        if isinstance(event, TokenEvent):
            content += event.step.token
        elif isinstance(event, FinishedEvent):
            if event.reason is FinishReason.ERROR:
                raise GacError(f"no answer to {prompt!r}: {event.detail}")
            is_stopped = event.reason is FinishReason.STOP
    written = Continuation(prompt, bytes(content), is_stopped)
    if written.text:
        for name in ensemble.members:
            written.scores[name] = _score(ensemble, prompt, written.text, settings, name)
    return written


def _score(ensemble: Ensemble, prompt: str, text: str, settings: Settings, alone: str | None) -> Score:
    return ensemble.score(prompt, [text], settings, alone=alone, raw=True)[0]
