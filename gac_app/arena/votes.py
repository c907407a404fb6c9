"""Votes as columns, so that a hundred thousand of them can be filtered and counted at once.

Shapes: `N` votes, `C` contestants, `F` features of style, 2 sides (left, right).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import orjson
from scipy import sparse

from gac_app.arena.outcomes import Origin, Outcome
from gac_app.arena.style import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

Source = Literal["blind", "people", "reference"]
SOURCES: dict[Source, tuple[Origin, ...]] = {
    "blind": (Origin.PEOPLE,),
    "people": (Origin.PEOPLE, Origin.COMPARE),
    "reference": (Origin.REFERENCE,),
}
_ORIGINS, _OUTCOMES = list(Origin), list(Outcome)


class VoteLike(Protocol):
    """A vote as storage gives it; `facts` is JSON."""

    @property
    def visitor_id(self) -> int: ...
    @property
    def left(self) -> str: ...
    @property
    def right(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def config_hash(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def facts(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteFilter:
    """Which votes count. Empty fields allow everything.

    Attributes:
        source: by default, people's blind votes. "people" adds the votes on Compare; other sources are never mixed.
        min_chars, max_chars: length of the longer answer.
        turns: "one" or "several".
        has_flagged: include votes that moderation flagged.
    """

    source: Source = "blind"
    language: str = ""
    min_chars: int = 0
    max_chars: int = 0
    turns: Literal["", "one", "several"] = ""
    since: datetime | None = None
    before: datetime | None = None
    config_hash: str = ""
    has_flagged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Columns of votes. Codes in other columns are indices into `names`, `languages` and `configs`."""

    names: tuple[str, ...]
    languages: tuple[str, ...]
    configs: tuple[str, ...]
    sides_N2: Ints  # contestants
    outcome_N: Ints  # index into `Outcome`
    visitor_N: Ints
    origin_N: Ints  # index into `Origin`
    language_N: Ints
    config_N: Ints
    at_N: Floats  # seconds since 1970
    turn_N: Ints
    is_flagged_N: Flags
    style_N2F: Floats
    cost_N22: Floats  # ms and forward passes per token; NaN = unknown

    def __len__(self) -> int:
        return len(self.outcome_N)

    @property
    def score_N(self) -> Floats:
        """The left side's score of each vote."""
        return np.array([outcome.left_score for outcome in _OUTCOMES])[self.outcome_N]

    @property
    def session_N(self) -> Ints:
        """The sessions of a bootstrap: one per visitor; with a single visitor, one per vote."""
        return self.visitor_N if len(np.unique(self.visitor_N)) > 1 else np.arange(len(self))

    def where(self, keep_N: Flags) -> Votes:
        """The votes where the mask is true."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        kept: dict[str, Any] = {name: one[keep_N] for name, one in columns.items() if isinstance(one, np.ndarray)}
        return replace(self, **kept)

    def filtered(self, wanted: VoteFilter) -> Votes:
        """The votes that a filter allows."""
        keep_N = np.isin(self.origin_N, [_ORIGINS.index(origin) for origin in SOURCES[wanted.source]])
        longest_N = self.style_N2F[:, :, 0].max(axis=1, initial=0)
        if not wanted.has_flagged:
            keep_N &= ~self.is_flagged_N
        if wanted.language:
            keep_N &= self.language_N == _code(self.languages, wanted.language)
        if wanted.config_hash:
            keep_N &= self.config_N == _code(self.configs, wanted.config_hash)
        if wanted.min_chars:
            keep_N &= longest_N >= wanted.min_chars
        if wanted.max_chars:
            keep_N &= longest_N <= wanted.max_chars
        if wanted.turns:
            keep_N &= (self.turn_N > 1) == (wanted.turns == "several")
        if wanted.since:
            keep_N &= self.at_N >= wanted.since.timestamp()
        if wanted.before:
            keep_N &= self.at_N < wanted.before.timestamp()
        return self.where(keep_N)

    def wins_NK(self) -> sparse.csr_array:
        """Each vote's wins of row against column, `K` = `C` x `C`. A tie is half a win for both."""
        num = len(self.names)
        left_N, right_N = self.sides_N2.T
        cells = np.concatenate([left_N * num + right_N, right_N * num + left_N])
        wins = np.concatenate([self.score_N, 1 - self.score_N])
        return sparse.csr_array((wins, (np.tile(np.arange(len(self)), 2), cells)), shape=(len(self), num * num))

    def wins_CC(self) -> Floats:
        """Wins of row against column."""
        wins_CC: Floats = self.wins_NK().sum(axis=0).reshape(len(self.names), -1)
        return wins_CC


def _code(listed: Sequence[str], value: str) -> int:
    return listed.index(value) if value in listed else -1


class _Codes:
    """Numbers words in the order of first occurrence."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = {word: code for code, word in enumerate(words)}

    def __call__(self, word: str) -> int:
        return self.words.setdefault(word, len(self.words))


def votes_of(rows: Iterable[VoteLike], contestants: Iterable[str] = ()) -> Votes:
    """The columns of rows.

    Args:
        contestants: included even without votes.
    """
    names, languages, configs = _Codes(contestants), _Codes(), _Codes()
    origins = {origin.value: code for code, origin in enumerate(_ORIGINS)}
    outcomes = {outcome.value: code for code, outcome in enumerate(_OUTCOMES)}
    ints: list[tuple[int, ...]] = []
    floats: list[tuple[float, ...]] = []
    for row in rows:
        facts = orjson.loads(row.facts)
        ints.append(
            (
                names(row.left),
                names(row.right),
                outcomes[row.outcome],
                row.visitor_id,
                origins[row.origin],
                languages(row.language),
                configs(row.config_hash),
                facts.get("turn", 1),
                bool(facts.get("flags")),
            )
        )
        floats.append((row.created_at.timestamp(), *_numbers(facts.get("left", {})), *_numbers(facts.get("right", {}))))
    ints_NK = np.array(ints, dtype=np.int64).reshape(len(ints), 9)
    floats_NK = np.array(floats, dtype=np.float64).reshape(len(ints), 1 + 2 * (len(FEATURES) + 2))
    numbers_N2K = floats_NK[:, 1:].reshape(len(ints), 2, len(FEATURES) + 2)
    return Votes(
        names=tuple(names.words),
        languages=tuple(languages.words),
        configs=tuple(configs.words),
        sides_N2=ints_NK[:, :2],
        outcome_N=ints_NK[:, 2],
        visitor_N=ints_NK[:, 3],
        origin_N=ints_NK[:, 4],
        language_N=ints_NK[:, 5],
        config_N=ints_NK[:, 6],
        at_N=floats_NK[:, 0],
        turn_N=ints_NK[:, 7],
        is_flagged_N=ints_NK[:, 8].astype(bool),
        style_N2F=numbers_N2K[:, :, :-2],
        cost_N22=numbers_N2K[:, :, -2:],
    )


def _numbers(side: dict[str, Any]) -> tuple[float, ...]:
    get = side.get
    return (
        get("chars", 0),
        get("headings", 0),
        get("lists", 0),
        get("bold", 0),
        get("ms_per_token", np.nan),
        get("passes_per_token", np.nan),
    )
