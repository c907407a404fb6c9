"""Choosing a token from the combined distribution.

Shape suffixes: `U` the union vocabulary, `C` the candidates left by the filters.
"""

from __future__ import annotations

import torch

from gac_app.config import Settings
from gac_app.decoding.ranking import argmax

_FIRST_LOOK = 1024  # candidates sorted first; a full sort of 258,000 costs as much as a small model's step


class Sampler:
    """Greedy at temperature 0, else a draw; equal seed, settings and distributions give equal tokens.

    The filters act in the usual order: repetition penalty, temperature, top-k, top-p, min-p.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._chosen: set[int] = set()

    def choose(self, probs_U: torch.Tensor) -> int:
        """A union id."""
        probs_U = self._penalised(probs_U)
        token_id = argmax(probs_U) if self._settings.temperature == 0 else self._draw(probs_U)
        self.note(token_id)
        return token_id

    def note(self, token_id: int) -> None:
        """Count a token that was given, not chosen."""
        self._chosen.add(token_id)

    def fork(self) -> Sampler:
        """A sampler that will choose as this one would, without changing it."""
        forked = Sampler(self._settings)
        forked._generator.set_state(self._generator.get_state())
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
        probs_C, ids_C = self._candidates(probs_U ** (1 / self._settings.temperature))
        cumulative_C = probs_C.double().cumsum(0)
        point = torch.rand(1, generator=self._generator, dtype=torch.float64) * cumulative_C[-1]
        index = int(torch.searchsorted(cumulative_C, point, right=True).clamp(max=len(ids_C) - 1))
        return int(ids_C[index])

    def _candidates(self, probs_U: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(probabilities, union ids) after the filters, best first, on the CPU. Probabilities need not sum to 1."""
        settings = self._settings
        probs_U = probs_U / probs_U.sum()
        count = min(settings.top_k or len(probs_U), len(probs_U))
        look = min(count, _FIRST_LOOK)
        probs_C, ids_C = probs_U.topk(look)
        is_settled = look == count or (
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
