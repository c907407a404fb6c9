"""Prompt lookup: a draft that costs no forward pass, from what followed the last tokens where they stood before.

It pays where an answer repeats its prompt or itself: code, quotations, edits (prompt lookup decoding, Saxena 2023).
Each token is guessed before it is chosen, whether the guess is read or not, so acceptance is known at no cost.

Shape suffix: `N` tokens so far.
"""

from __future__ import annotations

import numpy as np

from gac_app.decoding.speculation.draft_costs import Rate
from gac_app.decoding.speculation.proposers import DraftToken, Proposer
from gac_app.vocab.union import IdsV

_LEAST_MATCH = 2  # tokens that must have stood together before
_EXPECTED = (0.2, 0.4, 0.6, 0.8)  # acceptance after a match of 2, 3, 4, and 5 tokens or more, before any was seen
_PRIOR = 2  # imaginary guesses after each
_SPARE = 512  # tokens of room


class PromptLookup(Proposer):
    """Guesses the tokens of one answer.

    Args:
        prompt_N: union ids, -1 for what is no text.
    """

    def __init__(self, prompt_N: IdsV) -> None:
        self._num = len(prompt_N)
        self._tokens = np.concatenate([prompt_N, np.full(_SPARE, -1)])
        self._accepted = [Rate() for _ in _EXPECTED]
        self._guess: list[int] = []
        self._match = 0  # length of what stood before

    def note(self, token_id: int) -> None:
        if self._guess:
            self._accepted[self._bin(0)].note(self._guess[0] == token_id)
        if self._num == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.full(len(self._tokens), -1)])
        self._tokens[self._num] = token_id
        self._num += 1
        self._guess = []

    def propose(self, most: int) -> list[DraftToken]:
        self._guess = self._guessed(most) if most > 0 else []
        return [DraftToken(own, (), self._acceptance(at)) for at, own in enumerate(self._guess)]

    def _guessed(self, most: int) -> list[int]:
        tokens_N = self._tokens[: self._num]
        ends = np.flatnonzero(tokens_N[:-1] == tokens_N[-1:])
        self._match = 1
        while len(ends) and self._match < len(_EXPECTED) + 1:
            longer = ends[(ends >= self._match) & (tokens_N[ends - self._match] == tokens_N[-1 - self._match])]
            if not len(longer):
                break
            ends, self._match = longer, self._match + 1
        if not len(ends) or self._match < _LEAST_MATCH:
            return []
        period = self._num - 1 - int(ends[-1])  # past the match's end, repeat with this period
        found: list[int] = tokens_N[ends[-1] + 1 + np.arange(most) % period].tolist()
        return found[: found.index(-1)] if -1 in found else found

    def _bin(self, place: int) -> int:
        return min(self._match - _LEAST_MATCH + place, len(_EXPECTED) - 1)

    def _acceptance(self, place: int) -> float:
        return self._accepted[self._bin(place)].mean_with(_EXPECTED[self._bin(place)], _PRIOR)
