"""Drafting changes when members are asked, and nothing else: every step is what plain decoding's is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules import CombineRule, combine_rules
from gac_app.decoding.speculation.draft_costs import DraftCosts
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.executors.threads import ThreadMember
from gac_app.models.sequence import ForwardRequest
from tests.decoding.answers import LETTERS
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.examples import FEW
from tests.fakes import FakeModel, Fault, FixedModel, config_of, ensemble_of
from tests.models import tiny
from tests.models.conftest import load_directory

SEEDS = st.lists(st.integers(0, 50), min_size=2, max_size=4, unique=True)
MODES = st.sampled_from(
    [{"mode": "every-step"}, {"mode": "gate", "threshold": 0.3}, {"mode": "gate", "threshold": 0.6}]
)
SAMPLING = st.sampled_from(
    [
        {"temperature": 0.0},
        {"temperature": 0.0, "repetition_penalty": 1.5},
        {"temperature": 0.8, "seed": 3, "top_p": 0.9},
        {"temperature": 1.2, "seed": 4, "top_k": 20, "repetition_penalty": 1.2},
        {"temperature": 1.0, "seed": 5, "min_p": 0.02},
    ]
)
ALIGNMENT = st.sampled_from(["paper", "prefix"])


def decode(
    ensemble: Ensemble, speculation: str, prompt: str = "the model", branch: Branch | None = None, **how: object
) -> tuple[list[StepTrace], FinishedEvent]:
    changes = {"max_new_tokens": 20, "alignment": "paper", **how, "speculation": speculation}
    settings = ensemble.config.settings_from(changes)
    *tokens, finished = ensemble.session(prompt, settings, raw=True, branch=branch).events()
    assert isinstance(finished, FinishedEvent)
    return [event.step for event in tokens if isinstance(event, TokenEvent)], finished


def seen(step: StepTrace) -> StepTrace:
    """A step without what it cost and how it came about."""
    members = tuple(replace(member, num_read=0, seconds=0.0) for member in step.members)
    return replace(step, members=members, is_drafted=False, drafted_by=None)


def assert_same(ensemble: Ensemble, **how: object) -> list[StepTrace]:
    """The steps with drafts, which are plain decoding's; the second answer starts from what the first has learnt."""
    plain, plain_end = decode(ensemble, "off", **how)  # type: ignore[arg-type]
    for _ in range(2):
        steps, end = decode(ensemble, "on", **how)  # type: ignore[arg-type]
        assert [seen(step) for step in steps] == [seen(step) for step in plain]
        assert (end.text, end.reason, end.detail) == (plain_end.text, plain_end.reason, plain_end.detail)
        assert end.num_ensembled == plain_end.num_ensembled
    assert not any(step.is_drafted or step.drafted_by is not None for step in plain)
    assert all(step.drafted_by for step in steps if step.is_drafted)
    return steps


@pytest.mark.slow
@FEW
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 4),
    mode=MODES,
    sampling=SAMPLING,
    weights=st.sampled_from(["average", "posterior"]),
    context_length=st.integers(20, 60),
)
def test_members_inside_their_tokens_draft_alike(
    seed: int, num: int, mode: dict[str, object], sampling: dict[str, object], context_length: int, weights: str
) -> None:
    """Toys of few letters whose words differ: members are open at most steps, and characters are cut in the middle."""
    ensemble = toy_ensemble(toys(seed, num, LETTERS, num_words=5), context_length)
    assert_same(ensemble, prompt="a b", alignment="prefix", weights=weights, max_new_tokens=40, **mode, **sampling)


@pytest.mark.slow
def test_members_inside_their_tokens_find_drafts_read() -> None:
    num_drafted = num_saved = 0
    for seed in range(10):
        ensemble = toy_ensemble(toys(seed, 2, LETTERS, num_words=5))
        how = {"prompt": "a b", "alignment": "prefix", "max_new_tokens": 40}
        _, plain = decode(ensemble, "off", **how)  # type: ignore[arg-type]
        steps, end = decode(ensemble, "on", **how)  # type: ignore[arg-type]
        num_drafted += sum(step.is_drafted and step.is_partial for step in steps)
        num_saved += sum(plain.members[name].num_forwards - end.members[name].num_forwards for name in plain.members)
    assert num_drafted > 10
    assert num_saved > 10


@FEW
@given(
    seeds=SEEDS,
    mode=MODES,
    sampling=SAMPLING,
    max_new_tokens=st.integers(1, 30),
    context_length=st.integers(12, 40),
    stop=st.sampled_from([(), (" the",), ("e", "zz"), ("model of",)]),
    weights=st.sampled_from(["average", "posterior"]),
    sharpness=st.sampled_from([2.0, 4.0, 8.0]),
    alignment=ALIGNMENT,
)
def test_every_step_and_the_end_are_plain_decodings(
    seeds: list[int],
    mode: dict[str, object],
    sampling: dict[str, object],
    context_length: int,
    sharpness: float,
    **how: object,
) -> None:
    assert_same(make(*seeds, sharpness=sharpness, context_length=context_length), **mode, **sampling, **how)


def twins(member: type[InlineMember] | type[ThreadMember] = InlineMember, **faults: Fault) -> Ensemble:
    """Members that agree on everything, so that every draft token is accepted."""
    models = [FakeModel(name, seed=7, fault=faults.get(name)) for name in ("a", "b", "c")]
    return ensemble_of(models, config_of([model.name for model in models]), member)


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_passes_are_saved_where_members_agree(alignment: str) -> None:
    ensemble = twins()
    steps = assert_same(ensemble, mode="every-step", alignment=alignment)
    _, end = decode(ensemble, "on", mode="every-step", alignment=alignment)
    assert sum(step.is_drafted for step in steps) > 12
    assert min(usage.num_forwards for usage in end.members.values()) < 0.7 * len(steps)
    assert max(usage.num_forwards for usage in end.members.values()) <= len(steps) + 1


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_gates_helpers_read_several_unsure_places_in_one_pass(alignment: str) -> None:
    ensemble = twins()
    how = {"mode": "gate", "threshold": 0.9, "max_new_tokens": 40, "alignment": alignment}
    _, plain = decode(ensemble, "off", **how)  # type: ignore[arg-type]
    assert_same(ensemble, **how)
    _, end = decode(ensemble, "on", **how)  # type: ignore[arg-type]
    assert 0 < end.members["b"].num_forwards < plain.members["b"].num_forwards


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_step_is_plain_only_where_all_are_read_for_it(alignment: str) -> None:
    """However often the pace changes its mind: what was read ahead for a step makes it a drafted one."""
    models = [FakeModel(name, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))]
    ensemble = ensemble_of(models, config_of(["a", "b", "c"]), InlineMember)
    changes = {"mode": "every-step", "alignment": alignment, "max_new_tokens": 200, "speculation": "on"}
    minds, were_drafted = Random(3), []

    def note(_: DraftCosts, seconds: float, *, is_drafting: bool) -> None:
        were_drafted.append(is_drafting)

    with (
        patch.object(DraftCosts, "note_step", note),
        patch.object(DraftCosts, "is_measured", property(lambda _: minds.random() < 0.5)),
    ):
        *tokens, _ = ensemble.session("the model", ensemble.config.settings_from(changes), raw=True).events()
    steps = [event.step for event in tokens if isinstance(event, TokenEvent)][-len(were_drafted) :]
    plain = [step for step, was_drafted in zip(steps, were_drafted, strict=True) if not was_drafted]
    assert 20 < len(plain) < len(steps) - 20
    assert all(member.num_read for step in plain for member in step.members)


@FEW
@given(seeds=SEEDS, threshold=st.floats(0.1, 0.9), alignment=ALIGNMENT)
def test_helpers_never_need_more_passes_with_drafts(seeds: list[int], threshold: float, alignment: str) -> None:
    ensemble = make(*seeds, sharpness=4.0)
    _, plain = decode(ensemble, "off", mode="gate", threshold=threshold, alignment=alignment)
    for _ in range(2):
        _, end = decode(ensemble, "on", mode="gate", threshold=threshold, alignment=alignment)
        for name in (f"m{seed}" for seed in seeds[1:]):
            assert end.members[name].num_forwards <= plain.members[name].num_forwards


def test_nothing_is_left_of_a_rejected_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest of it would keep the next draft from being made, and the verifying member would read single tokens."""
    monkeypatch.setattr(DraftCosts, "goes_on", lambda _, survival, num_settled, *__: num_settled < 3)
    monkeypatch.setattr(DraftCosts, "acceptance", lambda *_: 1.0)
    monkeypatch.setattr(DraftCosts, "is_measured", True)
    monkeypatch.setattr(DraftCosts, "best_drafter", lambda _, names: names[0])
    a, b = FakeModel("a", 7), FakeModel("b", 8)
    ensemble = ensemble_of([a, b], config_of(["a", "b"]), InlineMember)
    steps, _ = decode(ensemble, "on", mode="every-step", max_new_tokens=60)
    assert 5 < sum(step.is_drafted for step in steps) < 50, "some are rejected"
    assert min(b.num_read_at_once[:-3]) > 1, "a draft is in every pass, but near the end"


def test_what_the_others_read_is_what_the_slowest_of_them_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members spell a draft in different numbers of ids; the pass takes as long as the longest."""
    ensemble = make(1, 2, 3, sharpness=4.0)
    changes = {"mode": "every-step", "alignment": "paper", "speculation": "on", "max_new_tokens": 60}
    session = ensemble.session("the model", ensemble.config.settings_from(changes), raw=True)
    drafter, found = session._drafter, list[tuple[int, int, int]]()

    def note(_: DraftCosts, survival: float, num_settled: float, share_asked: float, num_ids: int) -> bool:
        unread = [context.num_uncomputed for context in drafter.alive.values() if not context.is_known]
        found.append((num_ids, max(unread), min(unread)))
        return num_settled < 3

    monkeypatch.setattr(DraftCosts, "goes_on", note)
    monkeypatch.setattr(DraftCosts, "is_measured", True)
    list(session.events())
    assert all(num_ids == most for num_ids, most, _ in found)
    assert any(most > least for _, most, least in found)


def test_every_id_of_the_answer_is_read_for_a_step() -> None:
    ensemble = twins()
    for _ in range(2):
        steps, _ = decode(ensemble, "on", mode="every-step")
        num_read = sum(member.num_read for step in steps for member in step.members if member.member == "b")
        num_ids = len(ensemble.members["b"].encode("the model"))
        num_ids += sum(len(ensemble.members["b"].mapping.feed(step.token_id)) for step in steps[:-1])
        assert num_read == num_ids


class _FailsOnDraft(FakeModel):
    """Breaks in every pass that would read `num_ids` or more at once, once it has its prompt."""

    num_failed = 0

    def read(self, requests: list[ForwardRequest]) -> list[object]:  # type: ignore[override]
        if any(request.sequence.ids and request.num_logits > 1 for request in requests):
            type(self).num_failed += 1
            raise RuntimeError("planned")
        return super().read(requests)  # type: ignore[return-value]


@pytest.mark.parametrize("failure", ["stop", "drop"])
@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_pass_that_fails_on_a_draft_is_made_again_without_it(failure: str, alignment: str) -> None:
    models = [FakeModel("a", seed=7), _FailsOnDraft("b", seed=7), FakeModel("c", seed=8)]
    ensemble = ensemble_of(models, config_of(["a", "b", "c"]), InlineMember)
    _FailsOnDraft.num_failed = 0
    steps = assert_same(ensemble, mode="every-step", on_member_failure=failure, alignment=alignment)
    assert _FailsOnDraft.num_failed > 0
    assert all(len(step.members) == 3 for step in steps)


@pytest.mark.parametrize("culprit", ["a", "b", "c"])
@pytest.mark.parametrize("how", [{"mode": "every-step"}, {"mode": "gate", "threshold": 0.99}])
@pytest.mark.parametrize("kind", ["nan", "raise"])
def test_a_member_that_fails_for_good_is_dropped(culprit: str, how: dict[str, object], kind: str) -> None:
    ensemble = twins(**{culprit: Fault(kind, from_read=3)})  # type: ignore[arg-type]
    steps, end = decode(ensemble, "on", on_member_failure="drop", **how)  # type: ignore[arg-type]
    assert end.reason is FinishReason.LENGTH
    assert steps[-1].dropped == (culprit,)
    plain, _ = decode(twins(), "off", **how)  # type: ignore[arg-type]
    assert [step.token for step in steps] == [step.token for step in plain], "members that agree need no third"
    _, end = decode(ensemble, "on", **how)  # type: ignore[arg-type]
    assert end.reason is FinishReason.ERROR
    assert culprit in end.detail


@pytest.mark.parametrize("place", [6, 9, 12, 15])
def test_members_that_fail_together_are_told_in_order(place: int) -> None:
    """Whoever drafts, and is asked first."""
    plain, _ = decode(twins(), "off", mode="every-step")
    marker = b"".join(step.token for step in plain[:place])
    for failure in ("drop", "stop"):
        ways = [
            decode(twins(a=Fault("raise", marker=marker), b=Fault("nan", marker=marker)), speculation,
                   mode="every-step", on_member_failure=failure)
            for speculation in ("off", "on")
        ]  # fmt: skip
        (steps, end), (drafted, drafted_end) = ways
        assert [step.dropped for step in drafted] == [step.dropped for step in steps]
        assert drafted_end.detail == end.detail


def test_sampled_tokens_have_the_mixtures_distribution() -> None:
    probs_a = {b" the": 0.7, b"e": 0.2, b"t": 0.1}
    probs_b = {b" the": 0.3, b"e": 0.1, b"t": 0.6}
    models = [FixedModel("a", probs_a), FixedModel("b", probs_b)]
    ensemble = ensemble_of(models, config_of(["a", "b"]), InlineMember)
    steps, _ = decode(ensemble, "on", mode="every-step", temperature=1.0, seed=11, max_new_tokens=600)
    counts = Counter(step.token for step in steps)
    expected = {token: 600 * (probs_a[token] + probs_b[token]) / 2 for token in probs_a}
    chi_squared = sum((counts[token] - number) ** 2 / number for token, number in expected.items())
    assert set(counts) == set(expected)
    assert chi_squared < 13.8, "less likely than 1 in 1,000"
    assert 0.2 < sum(step.is_drafted for step in steps) / len(steps) < 0.95, "some draft tokens are rejected"


def test_at_every_step_the_gates_policy_means_nothing() -> None:
    steps, _ = decode(make(1, 2), "on", mode="every-step", gate_policy="eager")
    assert any(step.is_drafted for step in steps)


class NeedsThree(CombineRule):
    """The mean of exactly three."""

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        first, second, third = probs_MU
        return first + second + third


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_rule_that_fails_on_a_draft_ends_no_answer(alignment: str) -> None:
    """Only some members' distributions are known where a draft is lengthened."""
    combine_rules.register("needs-three", "Three", "Fails on fewer members.")(NeedsThree)
    try:
        assert_same(make(1, 2, 3), mode="every-step", combine="needs-three", alignment=alignment)
    finally:
        combine_rules.remove("needs-three")


@pytest.mark.parametrize(
    "how",
    [
        {"speculation": "on", "mode": "gate", "threshold": 0.6, "gate_policy": "eager"},
        {"speculation": "auto"},  # of members that read several ids less exactly than one
        {"speculation": "off"},
    ],
)
def test_nobody_drafts_where_that_could_change_the_text(how: dict[str, object]) -> None:
    ensemble = make(1, 2)
    settings = ensemble.config.settings_from({"alignment": "paper", "max_new_tokens": 30, "mode": "every-step", **how})
    *tokens, _ = ensemble.generate("the", settings, raw=True)
    assert not any(event.step.is_drafted for event in tokens if isinstance(event, TokenEvent))
    assert len(tokens) > 8


@pytest.fixture(scope="module")
def tiny_ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """Float32 models: a Llama, and two equal Gemmas whose layers see windows of 8, so that a majority often agrees."""
    directories = {"gemma": tiny.save_gemma3(tmp_path_factory.mktemp("gemma"))}
    directories["llama"] = tiny.save_llama(tmp_path_factory.mktemp("llama"))
    directories["twin"] = directories["gemma"]
    models = []
    for name, directory in directories.items():
        models.append(load_directory(directory))
        models[-1].name = name
    return ensemble_of(models, config_of(list(directories)), InlineMember)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "temperature"), [("The capital of France is", 0.0), ("def f(x):\n    return", 1.0), ("日本語 café", 0.0)]
)
@pytest.mark.parametrize("is_gated", [False, True])
def test_real_back_end_code_gives_the_same_tokens(
    tiny_ensemble: Ensemble, is_gated: bool, prompt: str, temperature: float
) -> None:
    """Each prompt in both modes and alignments, each alignment in both modes."""
    mode: dict[str, object] = {"mode": "gate", "threshold": 0.6} if is_gated else {"mode": "every-step"}
    alignment = ["paper", "prefix"][is_gated ^ (temperature > 0)]
    how = {**mode, "alignment": alignment, "max_new_tokens": 24, "temperature": temperature, "prompt": prompt}
    plain, plain_end = decode(tiny_ensemble, "off", **how)  # type: ignore[arg-type]
    steps, end = decode(tiny_ensemble, "on", **how)  # type: ignore[arg-type]
    assert [step.token for step in steps] == [step.token for step in plain]
    assert end.text == plain_end.text
    assert [step.prob for step in steps] == pytest.approx([step.prob for step in plain], abs=1e-4)
    assert any(step.is_drafted for step in steps)


def test_auto_drafts_with_members_that_read_several_ids_exactly(tiny_ensemble: Ensemble) -> None:
    members = list(tiny_ensemble.members.values())
    assert all(member.model.is_chunk_consistent for member in members)
    fresh = Ensemble(members, tiny_ensemble.config)  # which has measured nothing yet
    plain, _ = decode(fresh, "off", mode="every-step", max_new_tokens=40)
    steps, _ = decode(fresh, "auto", mode="every-step", max_new_tokens=40)
    assert any(step.is_drafted for step in steps)
    assert [step.token for step in steps] == [step.token for step in plain]


def test_less_than_float32_is_not_read_exactly(tmp_path: Path) -> None:
    assert not load_directory(tiny.save_llama(tmp_path), dtype="bfloat16").is_chunk_consistent
