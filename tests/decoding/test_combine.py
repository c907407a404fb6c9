"""One distribution of several: the mean over the union, and UniTE's over the members' favourites."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.rules.combine import UniteTopK, mean
from gac_app.decoding.trace.events import TokenEvent
from gac_app.errors import RequestError
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.conftest import make


def vocabulary(*tokens: bytes) -> MemberVocabulary:
    ids = {token: i for i, token in enumerate(tokens)}
    return MemberVocabulary(
        token_bytes=(*tokens, None),
        end_ids=frozenset({len(tokens)}),
        byte_ids=frozenset(),
        encode=lambda text: [ids[text[i : i + 1].encode()] for i in range(len(text))],
    )


ONE, OTHER = vocabulary(b"a", b"b", b"c", b"ab"), vocabulary(b"a", b"b", b"c", b"bc")
UNION = UnionVocabulary([b"a", b"ab", b"b", b"bc", b"c"])
MAPPINGS = {"one": VocabMapping(ONE, UNION), "other": VocabMapping(OTHER, UNION)}


def row(**probs: float) -> torch.Tensor:
    return torch.tensor([probs.get(name, 0.0) for name in ("a", "ab", "b", "bc", "c", "end")])


def test_a_token_that_a_member_lacks_counts_by_the_first_piece_of_its_spelling() -> None:
    """Worked by hand: the favourites are `ab` and `bc`, which one spells `b` `c` and the other `a` `b`."""
    rows = {"one": row(a=0.1, ab=0.6, b=0.3), "other": row(a=0.2, bc=0.8)}
    mixed_U = UniteTopK(1, MAPPINGS)(rows, {"one": 0.5, "other": 0.5})
    one, other = {"ab": 0.6 / 0.9, "bc": 0.3 / 0.9}, {"ab": 0.2, "bc": 0.8}
    expected = {name: (one[name] + other[name]) / 2 for name in ("ab", "bc")}
    assert mixed_U.tolist() == pytest.approx(row(**expected).tolist())


@given(
    raw=st.lists(st.lists(st.floats(0.01, 1), min_size=6, max_size=6), min_size=2, max_size=2),
    share=st.floats(0.1, 0.9),
    k=st.integers(1, 5),
)
def test_what_is_united_is_a_distribution_over_the_favourites(raw: list[list[float]], share: float, k: int) -> None:
    own = [torch.tensor(values) for values in raw]
    own[0][UNION.ids[b"bc"]] = own[1][UNION.ids[b"ab"]] = 0.0
    rows = {name: probs_U / probs_U.sum() for name, probs_U in zip(MAPPINGS, own, strict=True)}
    mixed_U = UniteTopK(k, MAPPINGS)(rows, {"one": share, "other": 1 - share})
    favourites = {token_id for probs_U in rows.values() for token_id in probs_U.topk(k).indices.tolist()}
    assert float(mixed_U.sum()) == pytest.approx(1, abs=1e-5)
    assert set(mixed_U.nonzero().flatten().tolist()) <= favourites


def test_with_all_tokens_of_equal_vocabularies_it_is_the_mean() -> None:
    union = UnionVocabulary([b"a", b"b", b"c"])
    mappings = {name: VocabMapping(vocabulary(b"a", b"b", b"c"), union) for name in ("x", "y")}
    rows = {"x": torch.tensor([0.1, 0.2, 0.3, 0.4]), "y": torch.tensor([0.7, 0.1, 0.1, 0.1])}
    weights = {"x": 0.25, "y": 0.75}
    assert torch.allclose(UniteTopK(4, mappings)(rows, weights), mean(rows, weights))


def test_one_member_is_itself() -> None:
    probs_U = row(a=0.5, b=0.5)
    assert UniteTopK(1, MAPPINGS)({"one": probs_U}, {"one": 1.0}) is probs_U
    assert mean({"one": probs_U}, {"one": 1.0}) is probs_U


@pytest.mark.parametrize("mode", ["every-step", "gate", "agreement"])
def test_an_ensemble_unites_favourites(mode: str) -> None:
    ensemble = make(1, 2, sharpness=4.0)
    settings = ensemble.config.settings_from({"alignment": "unite", "unite_top_k": 3, "mode": mode, "threshold": 0.9})
    *tokens, _ = ensemble.generate("the", settings, raw=True)
    ensembled = [event.step for event in tokens if isinstance(event, TokenEvent) and event.step.is_ensembled]
    assert ensembled
    for step in ensembled:
        wanted = {candidate.token_id for member in step.members for candidate in member.top[:3]}
        assert step.token_id in wanted
        assert sum(candidate.prob for candidate in step.top) == pytest.approx(1, abs=1e-4)


def test_a_given_text_has_no_united_probability() -> None:
    ensemble = make(1, 2)
    with pytest.raises(RequestError, match="alignment: 'unite'"):
        ensemble.score("the", [" model"], ensemble.config.settings_from({"alignment": "unite"}), raw=True)
    assert ensemble.score(
        "the", [" model"], ensemble.config.settings_from({"alignment": "unite"}), alone="m1", raw=True
    )
