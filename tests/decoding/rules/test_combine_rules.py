"""Every combine rule against an example worked by hand, and the laws that hold for all."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.rules import CombineRule, LinearRule, combine_rules
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.shipped.averaging import Geometric, Mean, Power
from gac_app.decoding.rules.shipped.contrastive import Contrastive
from gac_app.decoding.rules.shipped.core import Core
from gac_app.decoding.rules.shipped.most_confident import MostConfident
from gac_app.decoding.rules.shipped.sharpened import Sharpened
from gac_app.decoding.rules.shipped.unite import Unite
from gac_app.errors import RuleError
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.vocab.vocabularies import vocabulary

Probs = list[float]
A, B = [0.5, 0.3, 0.2], [0.1, 0.6, 0.3]
EVEN = (0.5, 0.5)


def combined(rule: CombineRule, *probs: Probs, weights: tuple[float, ...] = EVEN) -> Probs:
    names = [str(index) for index in range(len(probs))]
    combiner = Combiner(rule)
    shares = combiner.mixture_weights(dict(zip(names, weights, strict=True)))
    distributions = {name: torch.tensor(values) for name, values in zip(names, probs, strict=True)}
    found: Probs = combiner(distributions, shares).tolist()
    return found


def normalised(*values: float) -> Probs:
    return [value / sum(values) for value in values]


def test_mean_by_hand() -> None:
    assert combined(Mean(), A, B, weights=(0.25, 0.75)) == pytest.approx([0.2, 0.525, 0.275])


def test_geometric_mean_by_hand() -> None:
    assert combined(Geometric(), A, B) == pytest.approx(normalised(0.05**0.5, 0.18**0.5, 0.06**0.5))
    third = (1 / 3, 2 / 3)
    wanted = normalised(*(a ** (1 / 3) * b ** (2 / 3) for a, b in zip(A, B, strict=True)))
    assert combined(Geometric(), A, B, weights=third) == pytest.approx(wanted)


def test_power_mean_by_hand() -> None:
    squares = normalised(0.13**0.5, 0.225**0.5, 0.065**0.5)  # such as (0.25 + 0.01) / 2
    assert combined(Power(exponent=2), A, B) == pytest.approx(squares)
    harmonic = normalised(2 / (2 + 10), 2 / (10 / 3 + 10 / 6), 2 / (5 + 10 / 3))
    assert combined(Power(exponent=-1), A, B) == pytest.approx(harmonic)
    assert combined(Power(exponent=1), A, B) == pytest.approx([0.3, 0.45, 0.25])
    assert combined(Power(exponent=0), A, B) == pytest.approx(combined(Geometric(), A, B))


def test_core_by_hand() -> None:
    disparities = (0.2, 0.15, 0.05)  # to the average of 0.3, 0.45 and 0.25; of both members the same
    least = math.exp(-2)
    consistency = [(math.exp(-2 * d) - least) / (1 - least) for d in disparities]
    trust = [1 / -sum(p * math.log(p) for p in probs) for probs in (A, B)]  # sums of consistency are equal
    wanted = normalised(*(s * (trust[0] * a + trust[1] * b) for s, a, b in zip(consistency, A, B, strict=True)))
    assert combined(Core(steepness=2), A, B) == pytest.approx(wanted, rel=1e-5)


def test_sharpened_by_hand() -> None:
    smooth = normalised(0.3**2, 0.45**2, 0.25**2)
    assert combined(Sharpened(below=0.5, temperature=0.5), A, B) == pytest.approx(smooth)
    assert combined(Sharpened(below=0.45), A, B) == pytest.approx([0.3, 0.45, 0.25])


def test_contrastive_by_hand() -> None:
    """The third token is not plausible: less than 0.5 of the expert's largest."""
    assert combined(Contrastive(plausibility=0.5), A, B) == pytest.approx(normalised(0.5 / 0.1, 0.3 / 0.6, 0))
    half = normalised(0.5 / 0.1**0.5, 0.3 / 0.6**0.5, 0.2 / 0.3**0.5)
    assert combined(Contrastive(strength=0.5), A, B) == pytest.approx(half)


def test_amateurs_are_averaged() -> None:
    expert, one, other = [0.4, 0.4, 0.2], [0.5, 0.5, 0.0], [0.2, 0.8, 0.0]
    amateur = [0.35, 0.65]
    wanted = normalised(0.4 / amateur[0], 0.4 / amateur[1], 1)
    assert combined(Contrastive(), expert, one, other, weights=(0.5, 0.25, 0.25)) == pytest.approx(wanted)


def test_most_confident_by_hand() -> None:
    assert combined(MostConfident(), A, B) == pytest.approx(B)
    assert combined(MostConfident(), A, B, weights=(0.6, 0.4)) == pytest.approx(A)


ONE, OTHER = (vocabulary([b"a", b"b", b"c", pair, None], end_ids=[4]) for pair in (b"ab", b"bc"))
UNION = UnionVocabulary([b"a", b"ab", b"b", b"bc", b"c"])
MAPPINGS = {"one": VocabMapping(ONE, UNION), "other": VocabMapping(OTHER, UNION)}


def distribution(**probs: float) -> torch.Tensor:
    return torch.tensor([probs.get(name, 0.0) for name in ("a", "ab", "b", "bc", "c", "end")])


@pytest.mark.parametrize("exponent", [-20, -2, 2, 20])
def test_a_member_without_weight_does_not_change_a_power_mean(exponent: float) -> None:
    """Even where it gives the most, or the least, by far."""
    without = [0.9, 0.0999, 0.0001]
    found = combined(Power(exponent=exponent), [1e-20, 1e-20, 1.0], without, weights=(0.0, 1.0))
    assert found == pytest.approx(without)


def test_unite_by_hand() -> None:
    """The likeliest are `ab` and `bc`, which one spells `b` `c` and the other `a` `b`."""
    probs = {"one": distribution(a=0.1, ab=0.6, b=0.3), "other": distribution(a=0.2, bc=0.8)}
    mixed_U = Combiner(Unite(top_k=1), MAPPINGS)(probs, {"one": 0.5, "other": 0.5})
    one, other = {"ab": 0.6 / 0.9, "bc": 0.3 / 0.9}, {"ab": 0.2, "bc": 0.8}
    wanted = {name: (one[name] + other[name]) / 2 for name in ("ab", "bc")}
    assert mixed_U.tolist() == pytest.approx(distribution(**wanted).tolist())


def test_unite_counts_what_alignment_gives_to_lacking_tokens() -> None:
    """Inside one of its tokens, or merged into a beginning of these, a member's probability is not its own token's."""
    union, lacks = MAPPINGS["one"].union, MAPPINGS["other"]
    lacking = next(i for i in range(len(union)) if not lacks._has_U[i])
    probs = {name: torch.zeros(len(union)) for name in MAPPINGS}
    probs["one"][lacking], probs["other"][lacking] = 1.0, 1.0
    mixed_U = Combiner(Unite(top_k=2), MAPPINGS)(probs, {"one": 0.5, "other": 0.5})
    assert torch.equal(mixed_U, probs["one"])


DISTRIBUTION = st.lists(st.floats(0.001, 1), min_size=5, max_size=5).map(lambda values: normalised(*values))


@pytest.mark.parametrize("name", combine_rules)
@given(probs=st.lists(DISTRIBUTION, min_size=2, max_size=4), weight=st.floats(0.01, 0.9))
def test_every_rule_gives_a_distribution(name: str, probs: list[Probs], weight: float) -> None:
    weights = (weight, *[(1 - weight) / (len(probs) - 1)] * (len(probs) - 1))
    found = combined(combine_rules.make(name, {}), *probs, weights=weights)
    assert sum(found) == pytest.approx(1, abs=1e-5)
    assert min(found) >= 0


@pytest.mark.parametrize("name", [name for name in combine_rules if name != "contrastive"])
@given(probs=DISTRIBUTION)
def test_members_that_agree_keep_their_likeliest_token(name: str, probs: Probs) -> None:
    found = combined(combine_rules.make(name, {}), probs, probs)
    assert found[max(range(5), key=probs.__getitem__)] == pytest.approx(max(found))


@pytest.mark.parametrize("name", combine_rules)
def test_one_member_is_itself(name: str) -> None:
    probs_U = torch.tensor(A)
    assert Combiner(combine_rules.make(name, {}))({"a": probs_U}, {"a": 1.0}) is probs_U


class Broken(CombineRule):
    gives: str = "nan"

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        if self.gives == "error":
            raise ValueError("planned")
        by_name = {"nan": probs_MU[0] * math.nan, "zero": probs_MU[0] * 0, "shape": probs_MU, "negative": -probs_MU[0]}
        return by_name[self.gives]


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        ("nan", "from nan"),
        ("zero", "with the sum 0"),
        ("shape", r"the shape \[2, 3\]; expected \[3\]"),
        ("negative", "expected finite ones of at least 0"),
        ("error", "ValueError: planned"),
    ],
)
def test_a_rule_that_breaks_is_named(gives: str, told: str) -> None:
    with pytest.raises(RuleError, match=told):
        combined(Broken(gives=gives), A, B)


class BadShares(LinearRule):
    gives: tuple[float, ...] = ()

    def shares(self, weights: object) -> tuple[float, ...]:
        return self.gives


@pytest.mark.parametrize("gives", [(0.5,), (1.0, 1.0), (2.0, -1.0), (float("nan"), 1.0)])
def test_shares_that_are_no_weights_are_told(gives: tuple[float, ...]) -> None:
    rule = BadShares.model_construct(gives=gives)  # pydantic would refuse NaN
    with pytest.raises(RuleError, match="expected 2 numbers of at least 0 that sum to 1"):
        Combiner(rule).mixture_weights({"a": 0.5, "b": 0.5})
