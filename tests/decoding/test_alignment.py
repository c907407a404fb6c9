"""Which tokens are contested, and what is left exclusive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.alignment.boundary_conflict import _are_conflicts, boundary_conflicts, extends_beyond, surely_ends
from gac_app.decoding.alignment.covers import Covers
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.member import InlineMember
from gac_app.models.random_model import RandomModel
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.answers import decoded
from tests.decoding.conftest import make
from tests.decoding.test_scoring import Settled
from tests.decoding.toy import toy_ensemble, toys
from tests.examples import FEW
from tests.fakes import FakeModel, Fault, ensemble_of

SPACES = UnionVocabulary([b" ", b"   ", b"    ", b"x", b"\xe6", "日".encode(), "本".encode()])


def distribution(
    union: UnionVocabulary, probs: dict[bytes, float], partial_probs: dict[bytes, float] | None = None
) -> TokenDistribution:
    probs_U = torch.zeros(len(union))
    for token, prob in probs.items():
        probs_U[union.ids[token] if token else union.end_id] = prob
    partial_ids = {union.ids[token]: prob for token, prob in (partial_probs or {}).items()}
    return TokenDistribution(probs_U, partial_ids)


@pytest.mark.parametrize(
    ("cuts", "weights", "is_contested"),
    [
        ([(0.9, 1.0), (0.0, 1.0)], [0.5, 0.5], True),
        ([(0.9, 1.0), (0.9, 1.0)], [0.5, 0.5], False),  # all surely end
        ([(0.09, 1.0), (0.0, 1.0)], [0.5, 0.5], False),  # all go on
        ([(0.1, 1.0), (0.0, 1.0)], [0.5, 0.5], True),  # one may end
        ([(0.5, 1.0), (0.0, 1.0)], [0.96, 0.04], False),  # too light to count
        ([(0.5, 1.0), (0.0, 1.0)], [0.94, 0.06], True),
        ([(0.5, 1.0), (0.0, 0.05)], [0.5, 0.5], False),  # a beginning that it hardly expects
        ([(0.5, 1.0), (0.0, 0.06)], [0.5, 0.5], True),
        ([(0.5, 1.0), (0.0, 0.0)], [0.5, 0.5], False),
        ([(0.5, 1.0), (0.0, 0.0)], [1.0, 0.0], False),
        ([(0.8, 1.0), (0.3, 1.0)], [0.5, 0.5], False),  # odds of 4 and 3/7
        ([(0.8, 1.0), (0.28, 1.0)], [0.5, 0.5], True),  # 4 and 7/18
        ([(0.4, 0.5), (0.14, 0.5)], [0.5, 0.5], True),
        ([(0.8, 1.0), (0.5, 1.0), (0.28, 1.0)], [0.4, 0.3, 0.3], True),
    ],
)
def test_when_members_cut_otherwise(cuts: list[tuple[float, float]], weights: list[float], is_contested: bool) -> None:
    for order in (slice(None), slice(None, None, -1)):
        bounds = [((np.array([ends]),) * 2, (np.array([begun - ends]),) * 2) for ends, begun in cuts[order]]
        is_sure, may_be, _ = _are_conflicts(bounds, np.array(weights[order])[:, None])
        assert (bool(is_sure[0]), bool(may_be[0])) == (is_contested, is_contested)


def test_whether_a_token_ends_at_a_beginning() -> None:
    """Above a tenth of what begins so it may end there, from nine tenths on it surely does."""
    ids = SPACES.extensions(b"   ")
    for share, goes_on, ends in ((0.09, True, False), (0.11, False, False), (0.89, False, False), (0.91, False, True)):
        known = distribution(SPACES, {b"   ": 0.5 * share, b"    ": 0.5 * (1 - share), b"x": 0.5})
        assert (extends_beyond(known, ids), surely_ends(known, ids.start, 0.5)) == (goes_on, ends)
    partial = distribution(SPACES, {b"   ": 1.0}, {b"   ": 0.95})  # what goes on does not end
    assert (extends_beyond(partial, ids), surely_ends(partial, ids.start, 1.0)) == (True, False)


def test_only_likely_or_partial_beginnings_are_contested() -> None:
    union = UnionVocabulary([b"a", b"ab", b"b", b"ba", *(b"c%d" % number for number in range(8))])
    likely = {b"c%d" % number: 0.11 for number in range(7)} | {b"b": 0.1, b"ba": 0.03, b"a": 0.1}
    other = distribution(union, {b"ab": 0.0009, b"ba": 0.0009, b"": 0.9982})
    for probs, partial, weight, found in (
        ({b"a": 0.0008, b"b": 0.9992}, {}, 0.5, []),
        ({b"a": 0.002, b"b": 0.998}, {}, 0.5, [b"a"]),
        ({b"a": 0.0009, b"b": 0.9991}, {b"a": 0.0001}, 0.5, [b"a"]),
        (likely, {}, 0.01, [b"a"]),  # the eight likeliest, the first of equals
    ):
        both = {"one": distribution(union, probs, partial), "other": other}
        conflicts = boundary_conflicts(both, {"one": weight, "other": 1 - weight}, union) or []
        assert all(one.is_sure for one in conflicts), "of whole distributions"
        assert [union.tokens[one.ids.start] for one in conflicts] == found


# --- the paper's alignment, as a slow and obvious loop


def paper_loop(models: list[RandomModel], prompt: str, weights: list[float], num: int) -> list[tuple[bytes, float]]:
    """Project, mean, argmax, feed (paper, section 3.1), with dictionaries."""
    contexts = [model.vocabulary.encode(prompt) for model in models]
    found: list[tuple[bytes, float]] = []
    while len(found) < num:
        mean: dict[bytes, float] = {}
        for model, ids, weight in zip(models, contexts, weights, strict=True):
            for token, prob in own_probs(model, ids).items():
                mean[token] = mean.get(token, 0.0) + weight * prob
        token, prob = max(mean.items(), key=lambda pair: pair[1])
        found.append((token, prob))
        if not token:
            break
        for model, ids in zip(models, contexts, strict=True):
            ids += feed(model, token)
    return found


def own_probs(model: RandomModel, ids: list[int]) -> dict[bytes, float]:
    vocabulary = model.vocabulary
    weights: dict[bytes, float] = {}
    for own, logit in enumerate(model._logits_V(ids).double().exp().tolist()):
        token = b"" if own in vocabulary.end_ids else vocabulary.token_bytes[own]
        if token is not None:
            weights[token] = weights.get(token, 0.0) + logit
    return {token: weight / sum(weights.values()) for token, weight in weights.items()}


def feed(model: RandomModel, token: bytes) -> list[int]:
    """Its own token, else the longest pieces that fit: the random models' tokeniser does just that."""
    own_ids = {own: i for i, own in enumerate(model.vocabulary.token_bytes) if own}  # of equal ones, the tokeniser's
    ids = []
    while token:
        piece = max((own for own in own_ids if token.startswith(own)), key=len)
        ids.append(own_ids[piece])
        token = token[len(piece) :]
    return ids


@FEW
@given(
    seeds=st.lists(st.integers(0, 50), min_size=2, max_size=4, unique=True),
    raw_weights=st.lists(st.integers(1, 5), min_size=4, max_size=4),
)
def test_paper_is_project_mean_argmax_feed(seeds: list[int], raw_weights: list[int]) -> None:
    given_weights = {f"m{seed}": weight for seed, weight in zip(seeds, raw_weights, strict=False)}
    how: dict[str, Any] = {"alignment": "paper", "weights": given_weights, "max_new_tokens": 10}
    steps, _ = decoded(make(*seeds), prompt="the model", **how)
    models = [RandomModel(f"m{seed}", seed) for seed in seeds]
    weights = [weight / sum(given_weights.values()) for weight in given_weights.values()]
    wanted = paper_loop(models, "the model", weights, 10)
    assert [step.token for step in steps] == [token for token, _ in wanted]
    assert [step.prob for step in steps] == pytest.approx([prob for _, prob in wanted], rel=1e-4)
    assert not any(step.is_partial for step in steps)


def test_a_gate_that_decides_alone_means_its_own_token() -> None:
    """Drawn though its own longer token is likelier by far, it is whole: nothing need go on."""
    gate = Settled((b"a", b"ab", b"b"), 0, given=((b"a", 0.05), (b"ab", 0.8), (b"b", 0.05)), after_ab=((b"a", 0.9),))
    ensemble = toy_ensemble([gate, *toys(1, 1)], temperature=1.0, alignment="prefix")
    (alone, _), (steps, _) = (
        decoded(ensemble, prompt="ba", max_new_tokens=8, **how)
        for how in ({"alone": "m0"}, {"mode": "gate", "threshold": 0.0})
    )
    assert b"a" in [step.token for step in steps]
    assert [(step.token, step.prob) for step in steps] == [(step.token, step.prob) for step in alone]


def test_who_catches_up_is_told_the_gate_s_top_of_this_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or none, where the gate has failed."""
    told, resync = list[list[bytes] | None](), Covers.resync

    def noted(covers: Covers, piece: bytes, likely: list[bytes] | None) -> bytes:
        told.append(likely)
        return resync(covers, piece, likely)

    monkeypatch.setattr(Covers, "resync", noted)
    models = [FakeModel("a", 1, Fault("nan", from_read=10)), FakeModel("b", 2)]
    ensemble = ensemble_of(models, member=InlineMember)
    how: dict[str, Any] = {"mode": "gate", "threshold": 0.2, "alignment": "prefix", "on_member_failure": "drop"}
    steps, _ = decoded(ensemble, max_new_tokens=12, **how)
    [top] = [step.members[0].top for step in steps if step.is_ensembled and not step.dropped]
    assert told == [[one.token for one in top if one.token and one.prob >= 0.01], None]
