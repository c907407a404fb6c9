"""The leaderboard over stored votes. Of those, only what has changed is read again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from gac_app.arena.rating.leaderboard import Leaderboard, leaderboard_of
from gac_app.arena.rating.ratings import group_worth_most, rate
from gac_app.arena.rating.votes import Source, Votebook, VoteFilter, Votes
from gac_app.recent import Recent
from gac_app.services.visitors import owner_of
from gac_app.storage import Store

_SHARE = 0.1  # share of the time that may be spent on rating votes again
_KEPT_BOARDS = 32  # for the last filters

Version = tuple[int, int]  # number of votes, and the newest one's number


class Standings:
    """Votes as columns, and leaderboards of them, cached until votes change. With many votes, which take long to rate,
    not every new one counts at once.

    Args:
        listed: today's contestants.
        min_votes: a contestant with fewer is not rated.
    """

    def __init__(self, store: Store, listed: Sequence[str], min_votes: int) -> None:
        self._store = store
        self.listed = tuple(listed)
        self._min_votes = min_votes
        self._book = Votebook(self.listed)  # of all votes
        self._kept: tuple[Version, Votes] | None = None  # those that count
        self._read_at = self._rating_s = 0.0
        self._drawing: tuple[Votes, dict[frozenset[str], int], dict[str, float]] | None = None
        self._boards: Recent[tuple[Any, ...], Leaderboard] = Recent(_KEPT_BOARDS)
        self._lock = threading.Lock()
        self._rating = threading.Lock()

    def leaderboard(
        self, visitor_key: str, wanted: VoteFilter | None = None, *, own: bool = False, controls_style: bool = False
    ) -> Leaderboard:
        """Rate everybody's votes: people's blind votes, unless `wanted` says otherwise. Cached until votes change.

        Args:
            own: only the visitor's own votes.
            controls_style: correct for the style of the answers.
        """
        wanted, owner = wanted or VoteFilter(), owner_of(visitor_key)
        with self._rating:  # concurrent requests compute it once
            version, votes = self._own(visitor_key) if own else self._current()
            key = (version, owner if own else "", wanted, controls_style)
            if key not in self._boards:
                started = time.monotonic()
                self._boards[key] = self.board_of(votes, wanted, controls_style=controls_style)
                if not own:
                    self._rating_s = time.monotonic() - started
            self._boards.move_to_end(key)
            return self._boards[key]

    def rated(self, source: Source) -> Leaderboard:
        """The leaderboard of one source, for the command line."""
        return self.board_of(self._current()[1], VoteFilter(source=source))

    def board_of(self, votes: Votes, wanted: VoteFilter | None = None, *, controls_style: bool = False) -> Leaderboard:
        """The leaderboard of given votes, filtered."""
        kept = votes.filtered(wanted or VoteFilter())
        return leaderboard_of(kept, self.listed, min_votes=self._min_votes, controls_style=controls_style)

    def choices(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The languages and the configurations to filter by."""
        return self._current()[1].values()

    def for_drawing(self) -> tuple[dict[frozenset[str], int], dict[str, float]]:
        """The number of blind votes of every pair, and the ratings of those that can be compared."""
        votes = self._current()[1]
        if self._drawing is None or self._drawing[0] is not votes:
            meetings_CC = votes.filtered(VoteFilter(has_flagged=True)).unweighed().wins_CC()
            meetings_CC = meetings_CC + meetings_CC.T
            wins_CC = votes.filtered(VoteFilter()).wins_CC()
            num_votes = {
                frozenset((left, right)): int(meetings_CC[row, column])
                for row, left in enumerate(votes.names)
                for column, right in enumerate(votes.names[:row])
            }
            met_C = group_worth_most(wins_CC, wins_CC.sum(axis=0) + wins_CC.sum(axis=1))
            names = [name for name, has_met in zip(votes.names, met_C, strict=True) if has_met]
            ratings = rate(wins_CC[met_C][:, met_C]).tolist()
            self._drawing = votes, num_votes, dict(zip(names, ratings, strict=True))
        return self._drawing[1:]

    def _current(self) -> tuple[Version, Votes]:
        """The votes that count, of everybody, and their version."""
        with self._lock:
            if self._kept is None or time.monotonic() > self._read_at + self._rating_s / _SHARE:
                version = self._read_news()
                if self._kept is None or version != self._kept[0]:
                    self._kept = version, self._book.votes
                    self._read_at = time.monotonic()
            return self._kept

    def _read_news(self) -> Version:
        """Read what came and went since the last time."""
        store, book = self._store.battles, self._book
        news = store.news(book.newest, len(book.number_N))
        book.add(news.added)
        if news.left is not None:
            book.keep(news.left)
        return len(book.number_N), book.newest

    def _own(self, visitor_key: str) -> tuple[Version, Votes]:
        """As `_current`, of one visitor."""
        store, book = self._store.battles, Votebook(self.listed)
        version = store.votes_version()
        book.add(store.votes(visitor_key))
        return version, book.votes
