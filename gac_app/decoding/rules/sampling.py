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
from gac_app.decoding.distribution import CLEARLY
from gac_app.settings import Settings

_NUM_BOUNDED = 4096  # tokens among which bounds decide top-p
_LOW = 0.25  # temperature
_UNLIKELY = 1e-3  # times as likely as the likeliest token
_CHUNK = 8192  # random numbers computed at once, in the processor's nearest cache
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
        token_id = int(probs_U.argmax()) if self._settings.temperature == 0 else self._draw(probs_U)
        self.note(token_id)
        return token_id

    def sure_choice(self, low_U: torch.Tensor, high_U: torch.Tensor) -> tuple[int | None, list[int]]:
        """What `choose` would take from any distribution between these two, on the CPU; or None, and the tokens that
        decide.

        Everything but the filters raises a token's key with its probability. So a token is chosen if its least key is
        above the largest key of each other.
        """
        if self._constraints:
            return None, []
        low_U, high_U = self._penalised(low_U), self._penalised(high_U)
        if self._settings.temperature > 0:
            low_U, high_U = self._tempered(low_U, high_U), self._tempered(high_U, high_U)
            if self._has_filters:
                low_U, high_U = self._filtered(low_U, high_U)
            clocks_U = exponentials(self._settings.seed, self._position, np.arange(len(low_U)))
            low_U, high_U = low_U / torch.from_numpy(clocks_U), high_U / torch.from_numpy(clocks_U)
        best = int(low_U.argmax())
        rivals = np.flatnonzero((high_U * CLEARLY >= low_U[best]).numpy()).tolist()
        return (best, []) if rivals == [best] else (None, [best, *rivals])

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

    def allowed(self, probs_U: torch.Tensor) -> torch.Tensor:
        """A member's distribution over the tokens that a schema allows."""
        for constraint in self._constraints:
            probs_U = probs_U if constraint.allowed_U() is None else constraint(probs_U)
        return probs_U

    def allowed_U(self, num_bytes: int | None = None) -> torch.Tensor | None:
        """See `Constraint.allowed_U`; a schema alone has one."""
        masks = (constraint.allowed_U(num_bytes) for constraint in self._constraints)
        return next((mask_U for mask_U in masks if mask_U is not None), None)

    def mergeable_U(self, size: int) -> torch.Tensor | None:
        """1 for the tokens that may merge with others: allowed, and without a bias, which is theirs alone. None = all.

        Args:
            size: of the union.
        """
        if not self._constraints:
            return None
        allowed_U = self.allowed_U()
        mask_U = torch.ones(size) if allowed_U is None else allowed_U.clone()
        mask_U[[token_id for constraint in self._constraints for token_id in constraint.biased_ids]] = 0
        return mask_U

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
        if self._has_filters:
            probs_C, ids_C = self._candidates(self._tempered(probs_U, probs_U))
        else:
            probs_C, ids_C = self._contenders(probs_U)
        return int(ids_C[int(self._keys(probs_C, ids_C).argmax())])

    def _contenders(self, probs_U: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(tempered probabilities, union ids) of the tokens that may have the largest key, on the CPU, ids ascending.

        These are the likely tokens, and those whose random number is so small that they would win with the largest
        probability of the others. So the powers and logarithms of a quarter of a million tokens are not computed.
        """
        largest = probs_U.max()
        likely_C, most = _at_least(largest * _UNLIKELY, probs_U), largest.cpu()
        if len(likely_C) > _NUM_BOUNDED:  # nothing to save
            return self._tempered(probs_U.cpu(), most), torch.arange(len(probs_U))
        best = self._keys(self._tempered(_values(probs_U, likely_C), most), likely_C).max()
        largest_left = float(self._tempered(most * _UNLIKELY, most))
        lucky = lucky_ids(self._settings.seed, self._position, len(probs_U), CLEARLY * largest_left / best)
        ids_C = torch.from_numpy(np.union1d(likely_C.numpy(), lucky))
        return self._tempered(_values(probs_U, ids_C), most), ids_C

    def _keys(self, probs_C: torch.Tensor, ids_C: torch.Tensor) -> NDArray[np.float64]:
        clocks_C = exponentials(self._settings.seed, self._position, ids_C.numpy())
        keys_C: NDArray[np.float64] = probs_C.double().numpy() / clocks_C
        return keys_C

    def _tempered(self, probs_U: torch.Tensor, highest_U: torch.Tensor) -> torch.Tensor:
        if self._settings.temperature < _LOW:  # high powers would turn small float32 probabilities into 0
            probs_U = probs_U / highest_U.max()
        return probs_U ** (1 / self._settings.temperature)

    def _filtered(self, low_U: torch.Tensor, high_U: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bounds after the filters: the upper one of a token is 0 if the filters surely leave it out, the lower one if
        they may.
        """
        settings = self._settings
        if 0 < settings.top_k < len(low_U):
            least, next_most = low_U.topk(settings.top_k).values[-1], high_U.topk(settings.top_k + 1).values[-1]
            low_U, high_U = low_U * (low_U > CLEARLY * next_most), high_U * (CLEARLY * high_U >= least)
        if settings.top_p < 1:
            least_before_U, most_before_U = self._mass_before(low_U, high_U)
            stays_U, may_stay_U = CLEARLY * most_before_U < settings.top_p, least_before_U < CLEARLY * settings.top_p
            low_U, high_U = low_U * stays_U, high_U * may_stay_U
        if settings.min_p > 0:
            least, most = settings.min_p * low_U.max(), settings.min_p * high_U.max()
            low_U, high_U = low_U * (low_U > CLEARLY * most), high_U * (CLEARLY * high_U >= least)
        return low_U, high_U

    def _mass_before(self, low_U: torch.Tensor, high_U: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bounds on the share that tokens likelier than each have."""
        count = min(_NUM_BOUNDED, len(low_U))
        lows, highs = low_U.topk(count).values.double(), high_U.topk(count).values.double()
        below, above = (torch.cat([values.new_zeros(1), values.cumsum(0)]) for values in (lows, highs))
        num_above_U = torch.searchsorted(-lows, -CLEARLY * high_U.double())
        num_maybe_above_U = torch.searchsorted(-CLEARLY * highs, -low_U.double(), right=True)  # the token itself too
        most_U = (above[num_maybe_above_U] - high_U) / low_U.sum()
        if count < len(low_U):
            most_U[num_maybe_above_U == count] = 1
        total = float(high_U.sum())
        if _LOW <= self._settings.temperature <= 1:  # a sum of powers of what sums to 1
            total = min(total, 1.0)
        return below[num_above_U] / total, most_U

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
        if not is_settled and settings.min_p > 0 and (settings.top_p == 1 or not settings.top_k):
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


def _at_least(least: torch.Tensor, probs_U: torch.Tensor) -> torch.Tensor:
    """The ids of values so large, ascending, on the CPU."""
    if probs_U.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero((probs_U >= least).numpy()))  # numpy is faster
    return (probs_U >= least).nonzero()[:, 0].cpu()


def _values(probs_U: torch.Tensor, ids_C: torch.Tensor) -> torch.Tensor:
    """Some values, on the CPU."""
    return probs_U[ids_C.to(probs_U.device)].cpu()


def exponentials(seed: int, position: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exponentially distributed numbers, one per id; each depends on the seed, the position and its id alone."""
    uniform = ((_random_bits(_key(seed, position), ids) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    exponential: NDArray[np.float64] = -np.log(uniform)  # neither 0 nor 1
    return exponential


def lucky_ids(seed: int, position: int, num_ids: int, limit: float) -> NDArray[np.int64]:
    """Of the first `num_ids` ids, ascending, those whose exponential number is below `limit`, and a few more."""
    if limit >= 1:
        return np.arange(num_ids)
    # -log(u) is at least 1 - u
    key, least = _key(seed, position), np.uint64(max(0, int((1 - limit) * 2.0**52) - 1) << 12)
    chunks = (np.arange(start, min(start + _CHUNK, num_ids)) for start in range(0, num_ids, _CHUNK))
    return np.concatenate([ids[_random_bits(key, ids) >= least] for ids in chunks])


def _key(seed: int, position: int) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(f"{seed} {position}".encode(), digest_size=8).digest(), "big"))


def _random_bits(key: np.uint64, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 bits per id, from SplitMix64 (Steele et al. 2014): number `id` is its output after `id` steps."""
    bits = ids.astype(np.uint64)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits += key
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits
