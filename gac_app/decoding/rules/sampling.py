"""Choosing a token from the combined distribution.

Shape suffixes: `U` the union vocabulary, `C` the candidates left by the filters, `M` members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray

from gac_app.decoding.constraints import Constraint
from gac_app.decoding.distribution import argmax
from gac_app.settings import Settings

_NUM_SORTED_FIRST = 1024  # candidates sorted first; sorting all 258,000 costs as much as a small model's step


class Sampler:
    """Greedy at temperature 0, else random. Equal seed, settings and distributions give equal tokens.

    The filters act in the usual order: repetition penalty, constraints, temperature, top-k, top-p, min-p. At every
    position of the answer each token has its own random number (the Gumbel-max trick), so draws from similar
    distributions mostly agree. A member's draft therefore mostly agrees with the ensemble (see `in_turn`), and an
    answer that continues another one is drawn as if it had never ended.

    Args:
        constraints: of this answer, in the order in which they act.
    """

    def __init__(self, settings: Settings, constraints: Sequence[Constraint] = ()) -> None:
        self._settings = settings
        self._constraints = constraints
        self._position = 0  # of the next token
        self._chosen: set[int] = set()

    def choose(self, probs_U: torch.Tensor) -> int:
        """A union id. Raises ConstraintError if none is left."""
        probs_U = self._penalised(probs_U)
        for constraint in self._constraints:
            probs_U = constraint(probs_U)
        token_id = argmax(probs_U) if self._settings.temperature == 0 else self._draw(probs_U)
        self.note(token_id)
        return token_id

    def draw_member(self, shares: Mapping[str, float]) -> str:
        """The member that decides the next token alone, drawn with its share. The same one until a token is chosen."""
        # No token has these ids, so these random numbers are independent of the tokens'.
        ids_M = -1 - np.arange(len(shares))
        keys_M = np.array(list(shares.values())) / exponentials(self._settings.seed, self._position, ids_M)
        return list(shares)[int(keys_M.argmax())]

    def note(self, token_id: int) -> None:
        """Count a token, chosen or forced. Raises ConstraintError if it does not fit the constraints."""
        for constraint in self._constraints:
            constraint.note(token_id)
        self._chosen.add(token_id)
        self._position += 1

    def fork(self) -> Sampler:
        """An independent copy, which makes the same choices."""
        forked = Sampler(self._settings, [constraint.fork() for constraint in self._constraints])
        forked._position = self._position
        forked._chosen = set(self._chosen)
        return forked

    def _penalised(self, probs_U: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of tokens already written are multiplied by the penalty (Keskar et al. 2019)."""
        if self._settings.repetition_penalty == 1 or not self._chosen:
            return probs_U
        written = torch.tensor(sorted(self._chosen), device=probs_U.device)
        penalised_U = probs_U.clone()
        penalised_U[written] = probs_U[written] ** self._settings.repetition_penalty
        return penalised_U

    def _draw(self, probs_U: torch.Tensor) -> int:
        """The candidate whose probability, divided by its exponential random number, is the largest."""
        temperature = self._settings.temperature
        if temperature < 0.25:  # high powers would turn small float32 probabilities into 0
            probs_U = probs_U / probs_U.max()
        tempered_U = probs_U ** (1 / temperature)
        probs_C, ids_C = (
            self._candidates(tempered_U) if self._has_filters else (tempered_U.cpu(), torch.arange(len(tempered_U)))
        )
        keys_C = probs_C.double().numpy() / exponentials(self._settings.seed, self._position, ids_C.numpy())
        return int(ids_C[int(keys_C.argmax())])

    @property
    def _has_filters(self) -> bool:
        return self._settings.top_k > 0 or self._settings.top_p < 1 or self._settings.min_p > 0

    def _candidates(self, probs_U: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(probabilities, union ids) after the filters, best first, on the CPU. Probabilities need not sum to 1."""
        settings = self._settings
        probs_U = probs_U / probs_U.sum()
        count = min(settings.top_k or len(probs_U), len(probs_U))
        num_sorted = min(count, _NUM_SORTED_FIRST)
        probs_C, ids_C = probs_U.topk(num_sorted)
        is_settled = num_sorted == count or (
            settings.top_p < 1 and not settings.top_k and float(probs_C.sum()) > settings.top_p
        )
        if not is_settled and settings.min_p > 0:
            is_settled = bool(probs_C[-1] < settings.min_p * probs_C[0])
        if not is_settled:
            probs_C, ids_C = (sorted_C[:count] for sorted_C in probs_U.sort(descending=True, stable=True))
        probs_C, ids_C = probs_C.cpu(), ids_C.cpu()
        if settings.top_p < 1:
            # top-p counts within what top-k left
            mass_before_C = (probs_C.cumsum(0) - probs_C) / (probs_C.sum() if settings.top_k else 1)
            keep_C = mass_before_C < settings.top_p
            probs_C, ids_C = probs_C[keep_C], ids_C[keep_C]
        if settings.min_p > 0:
            keep_C = probs_C >= settings.min_p * probs_C[0]
            probs_C, ids_C = probs_C[keep_C], ids_C[keep_C]
        return probs_C, ids_C


def exponentials(seed: int, position: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exponentially distributed numbers, one per id; each depends on the seed, the position and its id alone.

    They come from SplitMix64 (Steele et al. 2014): number `id` is its output after `id` steps.
    """
    key = np.uint64(int.from_bytes(blake2b(f"{seed} {position}".encode(), digest_size=8).digest(), "big"))
    bits = key + ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # neither 0 nor 1
    exponential: NDArray[np.float64] = -np.log(uniform)
    return exponential
