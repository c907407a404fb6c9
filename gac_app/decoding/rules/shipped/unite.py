"""UniTE (arXiv 2410.03777): only the members' likeliest tokens count.

Shape suffixes: `M` members, `U` the union vocabulary, `K` the tokens that are united.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PrivateAttr

from gac_app.decoding.rules.contracts import CombineRule, combine_rules

if TYPE_CHECKING:
    import torch

    from gac_app.vocab.mapping import VocabMapping


@combine_rules.register("unite", "UniTE", "The mean of the members' likeliest tokens alone.")
class Unite(CombineRule):
    """q = sum_m w_m p'_m, with p'_m normalised over the union of all members' k likeliest tokens.

    For a token to which a member gives nothing, since it lacks it, the first piece of the member's spelling counts.
    (Alignment may give it something: what is left of a longer token, or all tokens that begin with it.)
    """

    can_score: ClassVar[bool] = False  # most texts have no probability

    top_k: int = Field(
        10, ge=1, le=1000, title="Top-k", description="Unites this many of each member's likeliest tokens."
    )

    _mappings: tuple[VocabMapping, ...] = PrivateAttr(())

    def for_members(self, mappings: Sequence[VocabMapping]) -> Self:
        rule = self.model_copy()
        rule._mappings = tuple(mappings)
        return rule

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        top = probs_MU.topk(min(self.top_k, probs_MU.shape[1]), dim=1)
        ids = sorted(set(top.indices[top.values > 0].tolist()))
        mixed_U = probs_MU.new_zeros(probs_MU.shape[1])
        for index, probs_U in enumerate(probs_MU):
            probs_K = probs_U[ids]
            if self._mappings:
                first_K = probs_U[[self._mappings[index].first(token_id) for token_id in ids]]
                probs_K = probs_K.where(probs_K > 0, first_K)
            mixed_U[ids] += weights_M[index] / probs_K.sum() * probs_K
        return mixed_U
