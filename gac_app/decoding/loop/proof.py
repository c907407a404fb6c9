"""A step's choice from what inference servers told: the same as from whole distributions, or asked for."""

from __future__ import annotations

from gac_app.decoding.alignment import maybe_contested
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.rules.sampling import Sampler
from gac_app.vocab.union import UnionVocabulary


def sure_choice(mixture: Mixture, sampler: Sampler, union: UnionVocabulary | None) -> int | None:
    """The token that is chosen, whatever probabilities the tokens have that were not told. Asks for more of them while
    that is uncertain. None = all are known, or nobody tells more, or only whole distributions can be combined.

    Args:
        union: if tokens may be contested.

    Raises:
        MemberError: a member's server fails.
    """
    while mixture.is_bounded:
        contested = maybe_contested(mixture.member_steps, mixture.weights, union) if union else []
        doubts: list[int] = []
        if contested is not None:
            chosen, doubts = sampler.sure_choice(*mixture.bounds_U(contested))
            doubts += [token_id for ids, _, is_sure in contested if not is_sure and chosen in ids for token_id in ids]
            if chosen is not None and not doubts:
                mixture.settle([ids for ids, _, is_sure in contested if is_sure])
                return chosen
        if not (doubts and mixture.know(doubts)) and not mixture.widen():
            break
    return None
