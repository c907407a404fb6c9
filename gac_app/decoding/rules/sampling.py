"""Choosing a token from the combined distribution.

Shape suffixes: `U` the union vocabulary, `C` the candidates left by the filters, `M` members.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray

from gac_app.decoding.constraints import SchemaConstraint, TokenBias
from gac_app.decoding.distribution import CLEARLY, largest, values_at
from gac_app.settings import Settings

_LOW = 0.25  # temperature
_UNLIKELY = 1e-3  # times as likely as the likeliest token
_WEYL = np.uint64(0x9E3779B97F4A7C15)  # the step of SplitMix64
_CHUNK = 8192  # random numbers computed at once, in the processor's nearest cache
_NUM_SORTED_FIRST = (64, 1024)  # candidates; sorting all 258,000 costs as much as a small model's step

# Probabilities at least and at most, and union ids, of the candidates, on the CPU; of a whole distribution
# the bounds are one and the same tensor.
Bounds = tuple[torch.Tensor, torch.Tensor, NDArray[np.int64]]


class Sampler:
    """Greedy at temperature 0, else random. Equal seed, settings and distributions give equal tokens.

    The filters act in the usual order: repetition penalty, constraints, temperature, top-k, top-p, min-p. At every
    position of the answer each token has its own random number (the Gumbel-max trick), so draws from similar
    distributions mostly agree. A member's draft therefore mostly agrees with the ensemble (see `speculator`), and an
    answer that continues another one is drawn as if it had never ended.

    Args:
        schema, bias: constraints of this answer, which act in this order.
    """

    def __init__(
        self, settings: Settings, schema: SchemaConstraint | None = None, bias: TokenBias | None = None
    ) -> None:
        self._settings, self._schema, self._bias = settings, schema, bias
        self._position = 0  # of the next token
        self._chosen: set[int] = set()

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always chosen."""
        return self._settings.is_greedy

    @property
    def is_constrained(self) -> bool:
        """Whether there are constraints, which need whole distributions."""
        return bool(self._schema or self._bias)

    def choose(self, probs_U: torch.Tensor) -> int:
        """A union id, which is noted. Raises ConstraintError if none is left."""
        token_id, _ = self.certified_choice(probs_U, probs_U)
        self.note(token_id)
        return token_id

    def certified_choice(self, low_U: torch.Tensor, high_U: torch.Tensor) -> tuple[int, list[int]]:
        """What is chosen from any distribution between these two, and the tokens that decide where that is uncertain;
        none where it is certain.

        Everything but the filters raises a token's key with its probability. So a token is chosen if its least key is
        above the largest key of each other.

        Args:
            low_U, high_U: of a whole distribution, one and the same tensor; otherwise on the CPU.

        Raises:
            ConstraintError: no token is left.
        """
        is_exact = low_U is high_U
        low_U = self._penalised(low_U)
        high_U = low_U if is_exact else self._penalised(high_U)
        if self._schema:
            low_U = high_U = self._schema(low_U)
        if self._bias:
            low_U = high_U = self._bias(low_U)
        if self._settings.temperature == 0:
            best = int(low_U.argmax())
            rivals = [] if is_exact else np.flatnonzero((high_U * CLEARLY >= low_U[best]).numpy()).tolist()
        else:
            low_C, high_C, ids_C = self._kept(low_U, high_U) if self._has_filters else self._contenders(low_U, high_U)
            keys_C = self._keys(low_C, ids_C)
            at = int(keys_C.argmax())
            best = int(ids_C[at])
            rivals = [] if is_exact else ids_C[self._keys(high_C, ids_C) * CLEARLY >= keys_C[at]].tolist()
        return best, [] if rivals in ([], [best]) else [best, *rivals]

    def sample_member(self, weights: Mapping[str, float]) -> str:
        """The member that decides the next token alone, drawn by weight. The same one until a token is chosen."""
        # No token has these ids, so these random numbers are independent of the tokens'.
        ids_M = -1 - np.arange(len(weights))
        keys_M = np.array(list(weights.values())) / exponential_noise(self._settings.seed, self._position, ids_M)
        return list(weights)[int(keys_M.argmax())]

    def note(self, token_id: int) -> None:
        """Count a token, chosen or forced. Raises ConstraintError if it does not fit the constraints."""
        if self._schema:
            self._schema.note(token_id)
        self._chosen.add(token_id)
        self._position += 1

    def allowed(self, probs_U: torch.Tensor) -> torch.Tensor:
        """A member's distribution over the tokens that a schema allows."""
        return self._schema(probs_U) if self._schema else probs_U

    def allowed_U(self, num_bytes: int | None = None) -> torch.Tensor | None:
        """See `SchemaConstraint.allowed_U`; None = all tokens are."""
        return self._schema.allowed_U(num_bytes) if self._schema else None

    def mergeable_U(self, size: int) -> torch.Tensor | None:
        """1 for the tokens that may merge with others: allowed, and without a bias, which is theirs alone. None = all.

        Args:
            size: of the union.
        """
        if not self.is_constrained:
            return None
        allowed_U = self.allowed_U()
        mask_U = torch.ones(size) if allowed_U is None else allowed_U.clone()
        mask_U[self._bias.ids if self._bias else []] = 0
        return mask_U

    def fork(self) -> Sampler:
        """An independent copy, which makes the same choices."""
        forked = Sampler(self._settings, self._schema and self._schema.fork(), self._bias)
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

    def _contenders(self, low_U: torch.Tensor, high_U: torch.Tensor) -> Bounds:
        """The tokens that may have the largest key.

        These are the likely tokens, and those whose random number is so small that they would win with the largest
        probability of the others. So the powers and logarithms of a quarter of a million tokens are not computed.
        """
        highest = low_U.max()
        least, most = highest * _UNLIKELY, (highest if high_U is low_U else high_U.max()).cpu()
        ids_C = _at_least(least, high_U)
        best = self._keys(self._tempered(values_at(low_U, ids_C), most), ids_C).max()
        limit = CLEARLY * float(self._tempered(least.cpu(), most)) / best if best > 0 else 1.0
        ids_C = np.union1d(ids_C, lucky_ids(self._settings.seed, self._position, len(high_U), limit))
        low_C = self._tempered(values_at(low_U, ids_C), most)
        return low_C, low_C if high_U is low_U else self._tempered(values_at(high_U, ids_C), most), ids_C

    def _keys(self, probs_C: torch.Tensor, ids_C: NDArray[np.int64]) -> NDArray[np.float64]:
        """A token's probability, divided by its exponential random number: the largest is drawn."""
        noise_C = exponential_noise(self._settings.seed, self._position, ids_C)
        keys_C: NDArray[np.float64] = probs_C.double().numpy() / noise_C
        return keys_C

    def _tempered(self, probs: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
        if self._settings.temperature < _LOW:  # high powers would turn small float32 probabilities into 0
            probs = probs / most
        return probs ** (1 / self._settings.temperature)

    def _kept(self, low_U: torch.Tensor, high_U: torch.Tensor) -> Bounds:
        """The tokens that the filters may keep. One that they may leave out has the lower bound 0."""
        top_k, is_exact, highest = self._settings.top_k, low_U is high_U, high_U.max()
        low_U = self._tempered(low_U, highest)
        high_U = low_U if is_exact else self._tempered(high_U, highest)
        least_sum = low_U.sum().cpu()
        most_sum = least_sum if is_exact else high_U.sum()
        if not is_exact and _LOW <= self._settings.temperature <= 1:  # a sum of powers of what sums to 1
            most_sum = most_sum.clamp(max=1.0)
        for count in (top_k,) if top_k else (*_NUM_SORTED_FIRST, len(low_U)):
            low_C, ids_C = largest(low_U, count)
            high_C = low_C if is_exact else largest(high_U, count)[0]
            if top_k:  # top-p counts within what top-k left
                least_sum, most_sum = low_C.sum(), high_C.sum()
            num_kept, least = self._num_kept(low_C / most_sum), self._settings.min_p * low_C[0]
            if num_kept < count or low_C[-1] < least:
                break
        if is_exact:
            num_kept = min(num_kept, int((low_C >= least).sum()))
            return low_C[:num_kept], low_C[:num_kept], ids_C[:num_kept].numpy()
        least = torch.maximum(least, low_C[num_kept - 1])  # what has less is surely left out
        most = torch.maximum(self._settings.min_p * high_C[0], high_C[self._num_kept(high_C / least_sum) - 1])
        found_C = _at_least(least / CLEARLY, high_U)
        low_C = values_at(low_U, found_C)
        return low_C * (low_C > CLEARLY * most), values_at(high_U, found_C), found_C

    def _num_kept(self, sorted_C: torch.Tensor) -> int:
        """How many of these top-p keeps, from the largest on."""
        if self._settings.top_p == 1:
            return len(sorted_C)
        return int((sorted_C.cumsum(0) - sorted_C < self._settings.top_p).sum())

    @property
    def _has_filters(self) -> bool:
        return self._settings.top_k > 0 or self._settings.top_p < 1 or self._settings.min_p > 0


def _at_least(least: torch.Tensor, probs_U: torch.Tensor) -> NDArray[np.int64]:
    """The ids of values so large, ascending."""
    if probs_U.device.type == "cpu":
        return np.flatnonzero((probs_U >= least).numpy())  # numpy is faster
    found: NDArray[np.int64] = (probs_U >= least.to(probs_U.device)).nonzero()[:, 0].cpu().numpy()
    return found


def exponential_noise(seed: int, position: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exponentially distributed numbers, one per id; each depends on the seed, the position and its id alone."""
    bits = _random_bits(ids.astype(np.uint64) * _WEYL, _key(seed, position))
    bits ^= bits >> np.uint64(31)
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    exponential: NDArray[np.float64] = -np.log(uniform)  # neither 0 nor 1
    return exponential


def lucky_ids(seed: int, position: int, num_ids: int, limit: float) -> NDArray[np.int64]:
    """Of the first `num_ids` ids, ascending, those whose exponential number is below `limit`, and a few more."""
    if limit >= 1:
        return np.arange(num_ids)
    # -log(u) is at least 1 - u. Only the 31 highest bits are compared, which no further shift changes.
    key, least = _key(seed, position), np.uint64(max(0, int((1 - limit) * 2.0**52) - 1) >> 21 << 33)
    found = []
    for start in range(0, num_ids, _CHUNK):
        ids = np.arange(start, min(start + _CHUNK, num_ids), dtype=np.uint64)
        found.append(start + (_random_bits(ids * _WEYL, key) >= least).nonzero()[0])
    return np.concatenate(found)


def _key(seed: int, position: int) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(f"{seed} {position}".encode(), digest_size=8).digest(), "big"))


def _random_bits(weyl: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """64 bits for each multiple of `_WEYL`, from SplitMix64 (Steele et al. 2014) without its last shift: number `id` is
    its output after `id` steps.
    """
    bits = weyl + key
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    return bits
