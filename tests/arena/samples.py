"""Votes of contestants of known strength."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from gac_app.arena.rating.ratings import rate
from gac_app.arena.rating.votes import Votebook, Votes

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Row(NamedTuple):
    left: str
    right: str
    outcome: str
    visitor_id: int = 1
    origin: str = "people"
    language: str = "en"
    config_hash: str = "c"
    client: str = ""
    voted_s: float = AT.timestamp()
    turn: int = 1
    is_flagged: bool = False
    left_chars: int = 0
    left_headings: int = 0
    left_lists: int = 0
    left_bold: int = 0
    left_ms_per_token: float | None = None
    left_passes_per_token: float | None = None
    right_chars: int = 0
    right_headings: int = 0
    right_lists: int = 0
    right_bold: int = 0
    right_ms_per_token: float | None = None
    right_passes_per_token: float | None = None
    number: int = 0


def row(
    left: str, right: str, outcome: str = "left", visitor: int = 1, /, *, flags: Sequence[str] = (), **facts: Any
) -> Row:
    about = {f"{side}_{name}": value for side in ("left", "right") for name, value in facts.pop(side, {}).items()}
    return Row(left, right, outcome, visitor, is_flagged=bool(flags), **facts, **about)


def rows(*counts: tuple[str, str, int]) -> list[Row]:
    """Each so often: winner, loser, times; sides in turn, a visitor each."""
    found: list[Row] = []
    for winner, loser, num in counts:
        for time in range(num):
            pair = (winner, loser, "left") if time % 2 else (loser, winner, "right")
            found.append(row(*pair, len(found)))
    return found


def simulated(
    strengths: Sequence[float], sizes: Sequence[int], spread: float, rng: np.random.Generator
) -> tuple[Votes, np.ndarray[Any, Any]]:
    """Votes, and for each the visitor who gave it.

    Args:
        strengths: log odds.
        sizes: how often each visitor votes.
        spread: of the visitors' own tastes, a standard deviation in log odds.
    """
    num = len(strengths)
    visitor_N = np.repeat(np.arange(len(sizes)), sizes)
    taste = rng.normal(0, 1, (len(sizes), num)) * spread
    left_N = rng.integers(num, size=len(visitor_N))
    right_N = (left_N + rng.integers(1, num, size=len(visitor_N))) % num
    own = np.asarray(strengths)[None] + taste
    logit_N = own[visitor_N, left_N] - own[visitor_N, right_N]
    is_left_N = rng.random(len(visitor_N)) < 1 / (1 + np.exp(-logit_N))
    names = [f"c{code}" for code in range(num)]
    found = [
        Row(names[left], names[right], "left" if is_left else "right", int(visitor))
        for left, right, is_left, visitor in zip(left_N, right_N, is_left_N, visitor_N, strict=True)
    ]
    return votes_of(found, names), visitor_N


def true_ratings(strengths: Sequence[float], spread: float) -> np.ndarray[Any, Any]:
    """What endlessly many visitors' votes would be rated."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    gaps = np.subtract.outer(strengths, strengths)[..., None] + points * spread * 2**0.5
    wins = (weights / weights.sum() / (1 + np.exp(-gaps))).sum(axis=-1)
    np.fill_diagonal(wins, 0.0)
    return rate(1000 * wins)


def votes_of(rows: Sequence[Row], contestants: Iterable[str] = ()) -> Votes:
    """The columns of rows.

    Args:
        contestants: included even without votes.
    """
    book = Votebook(contestants)
    book.add(rows)
    return book.votes
