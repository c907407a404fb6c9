"""An ensemble whose answers a test plans, and questions to put to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from gac_app.config import Config
from gac_app.decoding.scoring import Score
from gac_app.decoding.trace.events import Event, FinishedEvent, FinishReason, MemberUsage
from gac_app.evaluation.running import Graded
from gac_app.evaluation.tasks.questions import Question
from gac_app.settings import Settings
from tests.fakes import config_of

CONFIG = config_of(["a", "b"])
CAPITALS = [
    Question(id="fr", question="The capital of France?", answers=("Paris",)),
    Question(id="it", question="The capital of Italy?", answers=("Rome", "Roma")),
    Question(id="pl", question="The capital of Poland?", answers=("Warsaw",)),
]
CHOICES = [
    Question(id="sky", question="The sky is", choices=("green", "blue"), answer=1),
    Question(id="snow", question="Snow is", choices=("white", "warm"), answer=0),
]


def marked(marks: str, **cost: float) -> list[Graded]:
    """x = right, . = wrong, ! = failed."""
    return [
        Graded(str(n), error="b: broke") if mark == "!" else Graded(str(n), mark == "x", **cost)  # type: ignore[arg-type]
        for n, mark in enumerate(marks)
    ]


@dataclass
class FakeEnsemble:
    """Answers with the value whose key stands in the prompt's last question.

    Args:
        says: the whole text; an exception is raised, a FinishReason ends the answer.
        bits: per byte of a continuation, by its text.
        delays: seconds that an answer takes, by key.

    Attributes:
        asked: (prompt, alone, settings) of every call.
        namespaces, raws: of every call.
        forgotten: namespaces that nothing is kept of any more.
        most_at_once: how many calls were under way at the same time, at most.
    """

    says: Mapping[str, str | Exception | FinishReason] = field(default_factory=dict)
    bits: Mapping[str, float] = field(default_factory=dict)
    delays: Mapping[str, float] = field(default_factory=dict)
    config: Config = CONFIG
    engines: tuple[str, ...] = ()
    asked: list[tuple[str, str | None, Settings]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    raws: list[bool] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    most_at_once: int = 0
    _under_way: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def generate(
        self, prompt: str, settings: Settings, *, alone: str | None, raw: bool, namespace: str = ""
    ) -> Generator[Event, None, None]:
        self.raws.append(raw)
        self.namespaces.append(namespace)
        with self._call(prompt, alone, settings) as key:
            said = self.says[key]
            if isinstance(said, Exception):
                raise said
            usage = {"a": MemberUsage(4, 20, 1.0), "b": MemberUsage(1, 20, 0.25)}
            if isinstance(said, FinishReason):  # itself a kind of str
                yield FinishedEvent(FinishReason(said), " Rome", 4, 1, 0.5, 2.0, usage, "b: broke")
            else:
                yield FinishedEvent(FinishReason.STOP, said, 4, 1, 0.5, 2.0, usage)

    def score(
        self, prompt: str, texts: list[str], settings: Settings, *, alone: str | None, raw: bool, namespace: str = ""
    ) -> list[Score]:
        self.raws.append(raw)
        self.namespaces.append(namespace)
        with self._call(prompt, alone, settings):
            lengths = [len(text.encode()) for text in texts]
            bits = [self.bits[text] * length for text, length in zip(texts, lengths, strict=True)]
            return [Score(-0.6931471805599453 * b, n, 2, 1) for b, n in zip(bits, lengths, strict=True)]

    def forget(self, namespace: str) -> None:
        self.forgotten.append(namespace)

    @contextmanager
    def _call(self, prompt: str, alone: str | None, settings: Settings) -> Generator[str, None, None]:
        last = prompt.splitlines()[-2]
        key = next((key for key in (*self.says, *self.delays) if key in last), "")
        with self._lock:
            self.asked.append((prompt, alone, settings))
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            time.sleep(self.delays.get(key, 0.0))
            yield key
        finally:
            with self._lock:
                self._under_way -= 1
