"""What a rule of each kind has to provide, and the registries of rules.

A new rule is a subclass of `CombineRule`, `GateRule` or `WeightRule` with a registry's decorator: see
`docs/extending.md`. Shape suffixes: `M` members, the gate first; `U` the union vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gac_app.decoding.rules.registry import Registry, Rule
from gac_app.errors import RuleError
from gac_app.plugins import code_of
from gac_app.settings import Settings

if TYPE_CHECKING:  # torch loads when members do
    import torch

    from gac_app.decoding.distribution import TokenDistribution
    from gac_app.vocab.mapping import VocabMapping


class CombineRule(Rule):
    """Makes one distribution of several.

    Attributes:
        can_score: the rule gives every text a meaningful probability, so it can score texts.
    """

    can_score: ClassVar[bool] = True

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        """The combined distribution, [U].

        Args:
            probs_MU: float32, one distribution per row, after alignment. Must not be changed in place.
            weights_M: float32, summing to 1.

        Returns:
            Numbers of at least 0, not all 0. They need not sum to 1.
        """
        raise NotImplementedError("a combine rule defines __call__")

    def for_members(self, mappings: Sequence[VocabMapping]) -> Self:
        """The rule for these members, in the order of rows. For rules that need the members' vocabularies; called at
        each step.
        """
        return self


class LinearRule(CombineRule):
    """A weighted mean: sum_m share_m p_m. The engine mostly computes a few values of it, from the members' top-k.

    Attributes:
        draws_one: one member, drawn by weight, stands for all where this leaves the distribution of tokens the
            same (see the function `draws_one`).
    """

    draws_one: ClassVar[bool] = False

    def shares(self, weights: Sequence[float]) -> Sequence[float]:
        """Each member's weight in the mean; these sum to 1."""
        return weights


class GateRule(Rule):
    """Says how sure the gate is at a step.

    Attributes:
        asks_all: all members are asked before the gate decides.
        reads_top: the rule reads no more than `gate.top[:2]`, and the confidence grows with both in proportion. Such a
            rule mostly needs no whole distribution from an inference server.
    """

    asks_all: ClassVar[bool] = False
    reads_top: ClassVar[bool] = False

    def __call__(self, gate: TokenDistribution) -> float:
        """The gate's confidence, 0 to 1. The gate decides alone if it is at least the threshold."""
        raise NotImplementedError("a gate rule defines __call__")

    def opens(self, confidence: float, threshold: float, argmaxes: Sequence[int], *, is_stable: bool) -> bool:
        """Whether all take part.

        Args:
            argmaxes: the likeliest token of each member asked, the gate's first.
            is_stable: every member read the last token as one of its own.
        """
        return confidence < threshold


class _NotGiven(dict[str, Any]):
    """In place of what a weight rule did not ask for."""

    def __init__(self, flag: str) -> None:
        self._flag = flag

    def __missing__(self, name: str) -> Any:
        raise LookupError(f"only a rule with `{self._flag} = True` is given this")


@dataclass(frozen=True, slots=True)
class WeightInputs:
    """What a weight rule can see.

    Attributes:
        prior: by name, of the members taking part: weights from the settings, scores, or equal weights.
        distributions: of the next token, where the rule `needs_distributions`.
        prompt_bits: bits per byte that the prompt's text costs each member, where the rule `needs_prompt`.
    """

    prior: Mapping[str, float]
    distributions: Mapping[str, TokenDistribution] = field(default_factory=lambda: _NotGiven("needs_distributions"))
    prompt_bits: Mapping[str, float] = field(default_factory=lambda: _NotGiven("needs_prompt"))


class WeightRule(Rule):
    """Gives each member's weight at a step.

    The engine multiplies it by the *evidence*: the probability that each member gave to the tokens chosen so far.

    Attributes:
        needs_distributions: of the step, for `WeightInputs.distributions`.
        needs_prompt: each member reads the prompt's text once more, as a document, for `WeightInputs.prompt_bits`.
    """

    needs_distributions: ClassVar[bool] = False
    needs_prompt: ClassVar[bool] = False

    @property
    def memory(self) -> float | None:
        """The factor, above 0 and up to 1, by which evidence fades at each step; None = it restarts at shared
        boundaries.
        """
        return None

    def __call__(self, inputs: WeightInputs) -> Mapping[str, float]:
        """By member name, numbers of at least 0; only their proportions matter."""
        return inputs.prior


combine_rules: Registry[CombineRule] = Registry("combine rule", CombineRule, "combine", "combine_params")
gate_rules: Registry[GateRule] = Registry("gate rule", GateRule, "gate_rule", "gate_params")
weight_rules: Registry[WeightRule] = Registry("weight rule", WeightRule, "weights", "weight_params")

REGISTRIES: tuple[Registry[Any], ...] = (combine_rules, gate_rules, weight_rules)


def memory_of(rule: WeightRule) -> float | None:
    """The rule's memory. Raises RuleError if it fails or is no factor."""
    with rule.failures_named():
        memory = rule.memory
        if memory is not None and not 0 < memory <= 1:
            raise RuleError(rule.rule_name, f"gave the memory {memory}; expected None, or above 0 and up to 1")
        return memory


def draws_one(settings: Settings) -> bool:
    """Whether at each step one member, drawn by weight, stands for all that take part.

    Its tokens have the mean's distribution if sampling has no filters, alignment merges nothing, and the weights are
    known before any member is asked. Raises RequestError as `Registry.of`.
    """
    rule, weights = combine_rules.of(settings), weight_rules.of(settings)
    are_weights_known = not weights.needs_distributions and memory_of(weights) is None
    is_plain = settings.samples_plainly and settings.alignment == "paper"
    return isinstance(rule, LinearRule) and rule.draws_one and is_plain and are_weights_known


def plugin_code(settings: Settings) -> list[str]:
    """The code digest of each rule that the settings name (see `code_of`)."""
    names = [(registry, getattr(settings, registry.field)) for registry in REGISTRIES]
    return [code_of(registry[name]) for registry, name in names if isinstance(name, str) and name in registry]


def check_rules(settings: Settings) -> None:
    """Raise RequestError if the settings name an unknown rule, or parameters that do not fit."""
    for registry in REGISTRIES:
        registry.of(settings)


def without_effect(settings: Settings, asked: Collection[str], *, is_alone: bool = False) -> Iterator[str]:
    """For each rule among the settings `asked` for that has no effect: a sentence with the reason.

    Args:
        asked: names of settings.
        is_alone: one member answers alone.
    """
    why_alone = "one member answers alone" if is_alone else ""
    if "gate_rule" in asked and (why := why_alone or settings.why_no_gate_rule):
        yield f"gate_rule: {settings.gate_rule!r} has no effect, since {why}"
    if "combine" in asked and (is_alone or not draws_one(settings)):
        rule = combine_rules.named(settings.combine)
        if is_alone or (issubclass(rule, LinearRule) and rule.draws_one):
            why = why_alone or (
                "it needs temperature 1 without filters or penalty, alignment paper, and weights known beforehand"
            )
            yield f"combine: {settings.combine!r} has no effect, since {why}"
