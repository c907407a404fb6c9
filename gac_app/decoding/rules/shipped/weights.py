"""The weight rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from gac_app.decoding.rules.contracts import WeightInputs, WeightRule, weight_rules


@weight_rules.register("average", "Equal", "All members count the same.")
class Average(WeightRule):
    """w_m = 1 / M (GaC, arXiv 2406.12585, section 3.2)."""


@weight_rules.register("score", "By score", "In proportion to the members' benchmark scores.")
class Score(WeightRule):
    """w_m = s_m / sum s (GaC, section 3.2). The scores come from the configuration, as the prior."""


@weight_rules.register("posterior", "Posterior", "The member that predicted the answer so far best counts most.")
class Posterior(WeightRule):
    """w_m ~ prior_m times the probability that m gave to the answer so far: Bayesian model averaging."""

    decay: float = Field(
        1.0,
        gt=0,
        le=1,
        title="Memory",
        description="How much evidence counts one step later. 100 % forgets nothing.",
    )

    @property
    def memory(self) -> float:
        return self.decay


@weight_rules.register(
    "prompt-perplexity", "Prompt perplexity", "The member with the lowest perplexity on the prompt counts most."
)
class PromptPerplexity(WeightRule):
    """w_m ~ prior_m exp(-L_m / t) (PackLLM-sim, arXiv 2404.11531), with L_m the nats per byte of the prompt's text
    under m; of a long prompt, its end. The paper takes nats per token, which are not comparable between
    vocabularies.
    """

    needs_prompt: ClassVar[bool] = True

    temperature: float = Field(
        0.2, gt=0.001, le=100, title="Temperature", description="The lower, the more the perplexity matters."
    )

    def __call__(self, inputs: WeightInputs) -> Mapping[str, float]:
        nats = {name: inputs.prompt_bits[name] * math.log(2) for name in inputs.prior}
        least = min(nats.values())
        return {name: prior * math.exp((least - nats[name]) / self.temperature) for name, prior in inputs.prior.items()}


@weight_rules.register("entropy", "By certainty", "The lower a member's entropy at this step, the more it counts.")
class Entropy(WeightRule):
    """w_m ~ prior_m exp(-H_m / t), with H_m the entropy of m's distribution in nats: the confidence weights of CoRE
    (arXiv 2510.13855) as a softmax, so that a completely certain member does not silence the others.
    """

    needs_distributions: ClassVar[bool] = True

    temperature: float = Field(
        1.0, gt=0.001, le=100, title="Temperature", description="The lower, the more the entropy matters."
    )

    def __call__(self, inputs: WeightInputs) -> Mapping[str, float]:
        nats = {name: inputs.distributions[name].entropy for name in inputs.prior}
        least = min(nats.values())
        return {name: prior * math.exp((least - nats[name]) / self.temperature) for name, prior in inputs.prior.items()}
