"""Votes as columns, so that a hundred thousand of them can be filtered and counted at once.

Shapes: `N` votes, `C` contestants, `F` features of style, 2 sides (left, right).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from gac_app.arena.outcomes import SIDES, Origin, Outcome
from gac_app.arena.rating.style import FEATURES
from gac_app.arena.rating.weights import scaled, weights

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse  # loaded on use

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

Source = Literal["blind", "reference"]
Turns = Literal["", "one", "several"]
_ORIGINS, _OUTCOMES = list(Origin), list(Outcome)
_DAY_S = 24 * 3600.0
_COUNTED = [f"{side}_{name}" for side in SIDES for name in FEATURES]
_COSTS = [f"{side}_{name}" for side in SIDES for name in ("ms_per_token", "passes_per_token")]


class Row(Protocol):
    """A vote as storage gives it: values, and their names."""

    @property
    def _fields(self) -> tuple[str, ...]: ...
    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteFilter:
    """Which votes count. Empty fields allow everything.

    Attributes:
        source: people's blind votes, or those by the known answers of tasks.
        min_chars, max_chars: length of the longer answer.
        turns: "one" or "several".
        has_flagged: include votes that moderation flagged.
    """

    source: Source = "blind"
    language: str = ""
    min_chars: int = 0
    max_chars: int = 0
    turns: Turns = ""
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
    address_N: Ints  # below 0 where it is not known, and then each visitor has one
    origin_N: Ints  # index into `Origin`
    language_N: Ints
    config_N: Ints
    at_N: Floats  # seconds since 1970
    turn_N: Ints
    is_flagged_N: Flags
    style_N2F: Floats
    cost_N22: Floats  # ms and forward passes per token; NaN = unknown
    weight_N: Floats  # see `weights`; 1 until they are filtered

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

    def values(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The languages, sorted, and the configurations that occur."""
        languages = sorted(self.languages[code] for code in np.unique(self.language_N))
        return tuple(languages), tuple(self.configs[code] for code in np.unique(self.config_N))

    @property
    def _columns(self) -> dict[str, Any]:
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: one for name, one in columns.items() if isinstance(one, np.ndarray)}

    def where(self, keep_N: Flags) -> Votes:
        """The votes where the mask is true."""
        kept: dict[str, Any] = {name: one[keep_N] for name, one in self._columns.items()}
        return replace(self, **kept)

    def followed_by(self, later: Votes) -> Votes:
        """These votes and later ones, whose codes go on from these."""
        pairs = {name: (one, getattr(later, name)) for name, one in self._columns.items()}
        joined: dict[str, Any] = {name: np.concatenate(pair) for name, pair in pairs.items()}
        return replace(later, **joined)

    def filtered(self, wanted: VoteFilter) -> Votes:
        """The votes that a filter allows, each with its weight among them."""
        kept = self.where(self._allowed(wanted))
        return kept if wanted.source == "reference" else kept.weighed()

    def _allowed(self, wanted: VoteFilter) -> Flags:
        origin = Origin.REFERENCE if wanted.source == "reference" else Origin.PEOPLE
        longest_N = self.style_N2F[:, :, 0].max(axis=1, initial=0)
        keep_N: Flags = self.origin_N == _ORIGINS.index(origin)
        for allowed in (
            wanted.has_flagged or ~self.is_flagged_N,
            not wanted.language or self.language_N == _code(self.languages, wanted.language),
            not wanted.config_hash or self.config_N == _code(self.configs, wanted.config_hash),
            longest_N >= wanted.min_chars,
            not wanted.max_chars or longest_N <= wanted.max_chars,
            not wanted.turns or (self.turn_N > 1) == (wanted.turns == "several"),
            wanted.since is None or self.at_N >= wanted.since.timestamp(),
            wanted.before is None or self.at_N < wanted.before.timestamp(),
        ):
            keep_N &= allowed
        return keep_N

    def weighed(self) -> Votes:
        """The same votes, each with its weight among them."""
        return replace(self, weight_N=scaled(weights(self.visitor_N, self.address_N)))

    def unweighed(self) -> Votes:
        """The same votes, counting equally."""
        return replace(self, weight_N=np.ones(len(self)))

    def wins_NK(self) -> sparse.csr_array:
        """Each vote's weighted wins of row against column, `K` = `C` x `C`. A tie is one a win for both."""
        from scipy import sparse

        num = len(self.names)
        left_N, right_N = self.sides_N2.T
        cells = np.concatenate([left_N * num + right_N, right_N * num + left_N])
        wins = np.concatenate([self.score_N * self.weight_N, (1 - self.score_N) * self.weight_N])
        return sparse.csr_array((wins, (np.tile(np.arange(len(self)), 2), cells)), shape=(len(self), num * num))

    def wins_CC(self) -> Floats:
        """Weighted wins of row against column."""
        wins_CC: Floats = self.wins_NK().sum(axis=0).reshape(len(self.names), -1)
        return wins_CC


def _code(listed: Sequence[str], value: str) -> int:
    return listed.index(value) if value in listed else -1


class Votebook:
    """Columns of votes that grow with new votes and shrink with removed ones.

    Args:
        contestants: included even without votes.

    Attributes:
        votes: all of them, in the order of their numbers.
        number_N: each vote's number.
    """

    def __init__(self, contestants: Iterable[str] = ()) -> None:
        self._names, self._languages, self._configs = _Codes(contestants), _Codes(), _Codes()
        self._addresses: dict[str, int] = {}  # by each hash of a name
        self.number_N: Ints = np.zeros(0, dtype=np.int64)
        self.votes = self._coded(defaultdict(tuple), 0)

    @property
    def newest(self) -> int:
        """The highest number; 0 without votes."""
        return int(self.number_N[-1]) if len(self.number_N) else 0

    def add(self, rows: Sequence[Row]) -> None:
        """Append votes whose numbers are above all others, in order."""
        if rows:
            columns = dict(zip(rows[0]._fields, zip(*rows, strict=True), strict=True))
            self.votes = self.votes.followed_by(self._coded(columns, len(rows)))
            self.number_N = np.concatenate([self.number_N, columns["number"]])

    def keep(self, numbers: Collection[int]) -> None:
        """Remove all votes but these."""
        keep_N = np.isin(self.number_N, list(numbers))
        self.votes, self.number_N = self.votes.where(keep_N), self.number_N[keep_N]

    def _coded(self, columns: Mapping[str, Sequence[Any]], num: int) -> Votes:
        """The columns of `num` votes, by their names in storage."""
        ints_KN = [columns[name] for name in ("visitor_id", "turn", "is_flagged", *_COUNTED)]
        floats_KN = [columns[name] for name in ("voted_s", *_COSTS)]
        ints_NK = np.array(ints_KN, dtype=np.int64).T
        floats_NK = np.array(floats_KN, dtype=np.float64).T  # None becomes NaN
        address_N = np.fromiter(map(self._address, columns["client"]), np.int64, num)
        return Votes(
            sides_N2=np.stack([self._names.of(columns["left"]), self._names.of(columns["right"])], axis=1),
            outcome_N=_Codes(_OUTCOMES).of(columns["outcome"]),
            visitor_N=ints_NK[:, 0],
            address_N=np.where(address_N >= 0, address_N, -1 - ints_NK[:, 0]),
            origin_N=_Codes(_ORIGINS).of(columns["origin"]),
            language_N=self._languages.of(columns["language"]),
            config_N=self._configs.of(columns["config_hash"]),
            at_N=floats_NK[:, 0],
            turn_N=ints_NK[:, 1],
            is_flagged_N=ints_NK[:, 2].astype(bool),
            style_N2F=ints_NK[:, 3:].reshape(num, 2, len(FEATURES)).astype(np.float64),
            cost_N22=floats_NK[:, 1:].reshape(num, 2, 2),
            weight_N=np.ones(num),
            names=tuple(self._names.words),
            languages=tuple(self._languages.words),
            configs=tuple(self._configs.words),
        )

    def _address(self, client: str) -> int:
        """The code of an address: names that share a hash are of one. -1 = not known."""
        if not client:
            return -1
        hashes = client.split(":")
        known = [self._addresses[one] for one in hashes if one in self._addresses]
        code = known[0] if known else len(self._addresses)
        for one in hashes:
            self._addresses.setdefault(one, code)
        return code


class _Codes:
    """Numbers words in the order of first occurrence."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = {word: code for code, word in enumerate(words)}

    def of(self, words: Sequence[str]) -> Ints:
        for word in dict.fromkeys(words):
            self.words.setdefault(word, len(self.words))
        return np.fromiter(map(self.words.__getitem__, words), np.int64, len(words))
