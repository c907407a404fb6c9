"""A combine rule: the first member decides alone. It shows at a glance that a plug-in's rule is used."""

from collections.abc import Sequence

from gac_app.decoding.rules import LinearRule, combine_rules


@combine_rules.register("first-only", "First only", "The distribution of the first member alone.")
class FirstOnly(LinearRule):
    """q = p_1."""

    def shares(self, weights: Sequence[float]) -> Sequence[float]:
        return [1.0, *[0.0] * (len(weights) - 1)]
