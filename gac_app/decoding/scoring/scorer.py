"""Scores texts that follow a prompt, and caches the members' probabilities for a while.

Scoring the text again with other weights, thresholds or gates then needs no forward pass.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gac_app.decoding.rules.answer import StepRules
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.gate import Gate
from gac_app.decoding.rules.weights import StepWeights
from gac_app.decoding.scoring.bytes import read_by_all, segments
from gac_app.decoding.scoring.pieces import (
    PieceRead,
    PromptForks,
    Score,
    longest_pieces,
    member_pieces,
    read_pieces,
    score_pieces,
)
from gac_app.settings import RULE_PARAMS, Settings

_MAX_KEPT_BYTES = 500_000  # of text; each takes about a hundred bytes of memory
_OWN_BYTES = 20  # that an entry without text counts


def prompt_key(ids: list[list[int]], *, is_reproducible: bool) -> bytes:
    """Identifies a prompt, in the ids of each member, and how it is read. A digest, since prompts may be long."""
    return hashlib.sha256(repr((ids, is_reproducible)).encode()).digest()


class SingleFlightCache:
    """A cache of recent reads, with the seconds that they took."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Any, float, int]] = {}  # (what was read, seconds, bytes), oldest first
        self._num_bytes = 0
        self._under_way: dict[Hashable, Future[tuple[Any, float]]] = {}
        self._lock = threading.Lock()

    def get_or_compute(self, key: Hashable, num_bytes: int, read: Callable[[], Any]) -> tuple[Any, float]:
        """The result of `read`, or the cached one for this key, and the seconds it took.

        A caller that asks while another thread reads the same waits for that read, and shares its failure.
        """
        with self._lock:
            if kept := self._kept.get(key):
                return kept[:2]
            others = self._under_way.get(key)
            if others is None:
                mine = self._under_way[key] = Future[tuple[Any, float]]()
        if others is not None:
            return others.result()
        started = time.monotonic()
        try:
            found = read(), time.monotonic() - started
        except BaseException as error:
            with self._lock:
                del self._under_way[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._under_way[key]
            self._keep(key, (*found, num_bytes + _OWN_BYTES))
        mine.set_result(found)
        return found

    def _keep(self, key: Hashable, kept: tuple[Any, float, int]) -> None:
        self._kept[key] = kept
        self._num_bytes += kept[2]
        while self._num_bytes > _MAX_KEPT_BYTES:
            self._num_bytes -= self._kept.pop(next(iter(self._kept)))[2]


@dataclass(frozen=True, slots=True)
class Mix:
    """How the members' distributions become one.

    Attributes:
        make_weights: makes the weights at the start of a text.
        key: identifies the rules and their parameters.
    """

    gate: Gate
    combiner: Combiner
    make_weights: Callable[[], StepWeights]
    key: str

    def rules(self) -> StepRules:
        """At the start of a text."""
        return StepRules(self.gate, self.combiner, self.make_weights())

    @property
    def needs_distributions(self) -> bool:
        """Whether the mixture's probability needs whole distributions, so that it is computed while the text is
        read.
        """
        return not self.combiner.is_linear or self.make_weights().needs_distributions


def rules_key(settings: Settings) -> str:
    """A key that differs between settings whose rules mix differently."""
    fields = {"gate", "members", *RULE_PARAMS, *RULE_PARAMS.values()}
    return settings.model_dump_json(include=fields | {"mode", "threshold", "gate_temperature"})


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores texts that follow one prompt.

    Args:
        forks: the prompt, and the members that take part, the gate first.
        prompt_key: identifies the prompt in `read_texts`.
    """

    forks: PromptForks
    prompt_key: Hashable
    mix: Mix
    read_texts: SingleFlightCache

    def by_bytes(self, text: bytes) -> Score:
        """The score with alignment `prefix`."""
        probs, seconds = self._once(text, len(text), partial(read_by_all, self.forks, text, self.mix.gate))
        parts = list(segments(probs, len(text), self.mix.rules()))
        num_ensembled = sum(len(part.members) > 1 for part in parts)
        return Score(sum(part.log_prob(part.end) for part in parts), len(text), len(parts), num_ensembled, seconds)

    def by_pieces(self, text: bytes) -> Score:
        """The score with alignment `paper`, of a member alone, or by rules that need whole distributions."""
        members = self.forks.members
        cuts = [tuple(member_pieces(text, member.mapping)) for member in members]
        if len(members) > 1:
            cuts.append(tuple(longest_pieces(text, members[0].mapping.union)))
        scores = [self._score_of(pieces, len(text)) for pieces in dict.fromkeys(cuts)]
        best = max(scores, key=lambda score: score.log_prob)
        return replace(best, seconds=sum(score.seconds for score in scores))

    def _score_of(self, pieces: tuple[bytes, ...], num_bytes: int) -> Score:
        """What was read is kept without its distributions; where these are needed, the score itself is."""

        def read() -> Iterator[PieceRead]:
            return read_pieces(self.forks, pieces, self.mix.gate)

        score = partial(score_pieces, num_bytes=num_bytes, rules=self.mix.rules())
        if len(self.forks.members) > 1 and self.mix.needs_distributions:
            scored: Score
            scored, seconds = self._once((pieces, self.mix.key), num_bytes, lambda: score(read()))
            return replace(scored, seconds=seconds)
        kept, seconds = self._once(pieces, num_bytes, lambda: [replace(one, distributions={}) for one in read()])
        return replace(score(kept), seconds=seconds)

    def _once(self, cut: Hashable, num_bytes: int, read: Callable[[], Any]) -> tuple[Any, float]:
        names = tuple(member.name for member in self.forks.members)
        return self.read_texts.get_or_compute((names, self.prompt_key, self.mix.gate.key, cut), num_bytes, read)
