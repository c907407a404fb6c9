"""What each member makes of known texts: read once, kept as it comes, and mixed afterwards without another pass.

A reading has what a mixture of the members needs: the probability of the text up to each place where the member's
tokens end, and its likeliest tokens there.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gac_app import __version__
from gac_app.config import Config
from gac_app.errors import GacError
from gac_app.evaluation.running import LineFile, StudyProgress
from gac_app.evaluation.tasks import Question, Task

if TYPE_CHECKING:  # it loads torch
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.scoring import TextProbs

_LOG_2 = math.log(2)
_NUM_LIKELY = 8
_NAMESPACE = "study"  # of the prefix cache: a view's worked examples are read once
_NO_MATTER = {"max_sequences", "num_params", "notice", "url", "num_threads"}  # of a member


class Likely(NamedTuple):
    """A likely token at a place of a text. `is_right`: the text goes on with it."""

    token_id: int
    prob: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """One member's reading of one text.

    Attributes:
        num_bytes: of the text.
        log_probs: natural logarithms, of the text's first bytes, by their number: 0, each place where a token of the
            member surely ends, and all.
        likely: its likeliest tokens, by the place where one of its tokens begins.
        sureness: 1 divided by the perplexity of its distribution, by the same places.
    """

    num_bytes: int
    log_probs: dict[int, float]
    likely: dict[int, list[Likely]]
    sureness: dict[int, float]

    @property
    def bits(self) -> float:
        """Of the whole text."""
        return -self.log_probs[self.num_bytes] / _LOG_2

    def to_json(self) -> list[Any]:
        return [
            self.num_bytes,
            [[place, round(log_prob, 5)] for place, log_prob in self.log_probs.items()],
            [
                [place, [[i, round(prob, 6), int(is_right)] for i, prob, is_right in likely]]
                for place, likely in self.likely.items()
            ],
            [round(sureness, 6) for sureness in self.sureness.values()],
        ]

    @staticmethod
    def of_json(kept: list[Any]) -> Reading:
        num_bytes, log_probs, likely, sureness = kept
        places = [place for place, _ in likely]
        return Reading(
            num_bytes,
            dict(log_probs),
            {place: [Likely(i, prob, bool(is_right)) for i, prob, is_right in found] for place, found in likely},
            dict(zip(places, sureness, strict=True)),
        )


Readings = Mapping[str, Sequence[Reading]]  # of one question: each member's, of each of its texts


def texts_of(task: Task, question: Question) -> tuple[list[str], int]:
    """The texts that are read after a question's prompt, and which of them is right."""
    if task.kind == "choice":
        return task.continuations(question), question.answer
    return [task.reference(question)], 0


class ReadingCache:
    """The readings of a task's questions, a line each. An incomplete last line is cut off.

    Raises:
        GacError: another line is damaged.
    """

    def __init__(self, folder: Path, config: Config, engines: Sequence[str], task: Task) -> None:
        facts = [
            __version__,
            [m.model_dump(mode="json", exclude=_NO_MATTER | m.unset) for m in config.members],
            list(engines),
            task.model_dump(mode="json", exclude={"about"}),
        ]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self._file = LineFile(folder / f"{task.name}-readings-{digest[:16]}.jsonl")
        self._kept = dict(self._read())

    def __contains__(self, question: Question) -> bool:
        return _key(question) in self._kept

    def __getitem__(self, question: Question) -> Readings:
        return self._kept[_key(question)]

    def add(self, question: Question, readings: Readings) -> None:
        """Store the readings. When this returns, the operating system has them."""
        kept = {name: [reading.to_json() for reading in found] for name, found in readings.items()}
        self._file.append(json.dumps([_key(question), kept], separators=(",", ":")).encode())
        self._kept[_key(question)] = _of_json(kept)  # as a later run reads them

    def _read(self) -> list[tuple[str, Readings]]:
        try:
            return [(key, _of_json(kept)) for key, kept in map(json.loads, self._file.read())]
        except (ValueError, TypeError, KeyError):
            raise GacError(f"{self._file.path}: is damaged; remove it to begin anew") from None


def read_all(
    ensemble: Ensemble,
    task: Task,
    questions: Sequence[Question],
    cache: ReadingCache,
    *,
    parallel: int,
    on_progress: Callable[[StudyProgress], None] = lambda _: None,
) -> None:
    """Let every member read the texts of all questions that are not in the cache.

    Args:
        parallel: members that read at once.

    Raises:
        MemberError, RequestError: a member fails, or a text does not fit.
    """
    missing = [question for question in questions if question not in cache]
    num_kept, started = len(questions) - len(missing), time.monotonic()

    def told(num_done: int) -> StudyProgress:
        return StudyProgress(num_done, len(questions), num_kept, time.monotonic() - started, unit="questions read")

    with ThreadPoolExecutor(parallel, thread_name_prefix="read") as pool:
        for number, question in enumerate(missing):
            on_progress(told(num_kept + number))
            found = pool.map(lambda name: _by_member(ensemble, task, question, name), ensemble.members)  # noqa: B023
            cache.add(question, dict(zip(ensemble.members, found, strict=True)))
    on_progress(told(len(questions)))


def _by_member(ensemble: Ensemble, task: Task, question: Question, name: str) -> list[Reading]:
    texts, _ = texts_of(task, question)
    settings = ensemble.config.settings_from({"mode": "gate", "gate_rule": "entropy", "alignment": "prefix"})
    found = ensemble.read(
        task.prompt(question),
        texts,
        alone=name,
        num_top=_NUM_LIKELY,
        settings=settings,
        raw=task.is_raw,
        namespace=_NAMESPACE,
    )
    return [_reading(probs, text.encode(), ensemble) for probs, text in zip(found, texts, strict=True)]


def _reading(probs: TextProbs, text: bytes, ensemble: Ensemble) -> Reading:
    """What is kept of a member's probabilities of a text."""
    places = [place for place in range(1, len(text)) if probs.is_boundary(place)]
    tokens = ensemble.union.token
    likely = {
        place: [Likely(i, prob, _begins(tokens(i), text, place)) for i, prob in top]
        for place, top in probs.tops.items()
    }
    log_probs = {place: probs.log_probs[place] for place in (0, *places, len(text))}
    return Reading(len(text), log_probs, likely, {place: probs.views[place].confidence for place in likely})


def _begins(token: bytes, text: bytes, place: int) -> bool:
    """Whether the text goes on with a token; END has no bytes."""
    return bool(token) and text.startswith(token, place)


def _of_json(kept: Mapping[str, list[Any]]) -> Readings:
    return {name: [Reading.of_json(reading) for reading in found] for name, found in kept.items()}


def _key(question: Question) -> str:
    return hashlib.sha256(question.model_dump_json().encode()).hexdigest()[:16]
