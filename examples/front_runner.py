"""A weight rule: the member that predicted the last few tokens best counts most, and among equals the surer one."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from gac_app.decoding.rules import WeightInputs, WeightRule, weight_rules


@weight_rules.register("front-runner", "Front-runner", "The best at predicting the last few tokens, if sure now.")
class FrontRunner(WeightRule):
    """w_m ~ prior_m max p_m times the probability that m gave to the answer so far, older tokens counting less."""

    needs_distributions: ClassVar[bool] = True

    decay: float = Field(0.5, gt=0, le=1, title="Memory", description="What the evidence of a step earlier counts.")

    @property
    def memory(self) -> float:
        return self.decay

    def __call__(self, inputs: WeightInputs) -> Mapping[str, float]:
        return {name: prior * inputs.distributions[name].top[0][1] for name, prior in inputs.prior.items()}
