"""A gate rule: the gate is sure where no other token comes near its likeliest one."""

from pydantic import Field

from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules import GateRule, gate_rules


@gate_rules.register("second-thought", "Second thought", "How far the gate's likeliest token is ahead of a later one.")
class SecondThought(GateRule):
    """1 - p_k / p_1 of the sorted probabilities."""

    rank: int = Field(2, ge=2, le=16, title="Rank", description="k: of the token that the likeliest is compared with.")

    def __call__(self, gate: TokenDistribution) -> float:
        probs = [prob for _, prob in gate.top]
        return 1 - (probs[self.rank - 1] / probs[0] if len(probs) >= self.rank else 0.0)
