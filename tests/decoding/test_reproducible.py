"""An answer's digest depends on nothing that runs or ran beside it, also where a back end's last bits do."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import torch

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.digest import StepDigest
from gac_app.decoding.trace.events import Candidate, FinishedEvent, MemberTrace, StepTrace
from gac_app.executors.threads import ThreadMember
from gac_app.models.message import Message
from gac_app.models.random_model import RandomModel
from gac_app.models.sequence import LOCAL, ForwardRequest, KVSequence
from tests.fakes import after, ensemble_of, mapping_of, probs_of, steps_and_end

PROMPTS = ["a token and a word", "all we can model from this, and not one answer by the vote together", "by"]
GATED = {"mode": "gate", "threshold": 0.4}
WAYS: list[dict[str, Any]] = [
    {"mode": "every-step"},
    {**GATED, "gate_policy": "lazy"},
    {**GATED, "gate_policy": "eager"},
    {**GATED, "gate_policy": "auto"},
    {"mode": "every-step", "temperature": 1.0, "seed": 3},
]


class RoundingModel(RandomModel):
    """Its last digits tell what each id shared its pass with, as a library's rounding does."""

    chunk_size = 8

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self._marks: dict[int, list[tuple[int, int]]] = {}

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        for request in requests:
            self.take(request)
            marks = self._marks.setdefault(request.sequence.slot, [])
            del marks[request.start :]
            marks += [(len(requests), request.num_uncomputed)] * request.num_uncomputed
        found = []
        for request, logits_NV in zip(requests, super().read(requests), strict=True):
            digest = hashlib.sha256(repr(self._marks[request.sequence.slot]).encode()).digest()
            found.append(logits_NV + 1e-3 * digest[0] * torch.arange(logits_NV.shape[1]) / logits_NV.shape[1])
        return found

    def fork(self, sequence: KVSequence) -> KVSequence:
        forked = super().fork(sequence)
        self._marks[forked.slot] = list(self._marks.get(sequence.slot, []))
        return forked


@pytest.fixture(params=[ThreadMember, InlineMember])
def ensemble(request: pytest.FixtureRequest) -> Iterator[Ensemble]:
    with closing(ensemble_of([RoundingModel("a", 0), RoundingModel("b", 1)], member=request.param)) as ensemble:
        yield ensemble


def threaded() -> Ensemble:
    return ensemble_of([RoundingModel("a", 0), RoundingModel("b", 1)])


def finished(ensemble: Ensemble, prompt: str, reproducible: str = "on", **how: Any) -> FinishedEvent:
    settings = ensemble.config.settings_from({"max_new_tokens": 14, "reproducible": reproducible, **how})
    _, end = steps_and_end(ensemble.generate(prompt, settings))
    assert end.is_reproducible == (reproducible == "on")
    return end


@pytest.mark.parametrize("reproducible", ["on", "off"])
def test_company_changes_no_digest(reproducible: str) -> None:
    """It shows where nobody asks for more."""
    jobs = [(prompt, way) for prompt in PROMPTS for way in WAYS]
    with closing(threaded()) as ensemble, ThreadPoolExecutor(len(jobs)) as pool:
        alone = [finished(ensemble, prompt, reproducible, **way).digest for prompt, way in jobs]
        asked = [pool.submit(finished, ensemble, prompt, reproducible, **way) for prompt, way in jobs]
        together = [future.result().digest for future in asked]
    assert (alone == together) is (reproducible == "on")


def scores_beside_others(reproducible: str, alignment: str) -> tuple[list[float], list[float]]:
    """Of all texts in ensembles of their own, one after the other, and at the same time."""

    def score(ensemble: Ensemble, prompt: str) -> list[float]:
        settings = ensemble.config.settings_from({"reproducible": reproducible, "alignment": alignment})
        texts = [" a token and a word", " by the vote together"]
        return [found.log_prob for found in ensemble.score(prompt, texts, settings, raw=True)]

    with closing(threaded()) as ensemble:
        alone = [score(ensemble, prompt) for prompt in PROMPTS]
    with closing(threaded()) as ensemble, ThreadPoolExecutor(len(PROMPTS)) as pool:
        together = list(pool.map(lambda prompt: score(ensemble, prompt), PROMPTS))
    return [prob for found in alone for prob in found], [prob for found in together for prob in found]


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_company_changes_no_score(alignment: str) -> None:
    alone, together = scores_beside_others("on", alignment)
    assert alone == together


def test_company_shows_in_scores_where_nobody_asks_for_more() -> None:
    assert any(alone != together for alone, together in (scores_beside_others("off", "prefix") for _ in range(20)))


class OneBufferModel(RandomModel):
    """Its logits are valid until the next pass, as a graph's are that writes them to one place."""

    chunk_size = 4

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        found = super().read(requests)
        self._buffer_NV = torch.zeros(8, found[0].shape[1]) if not hasattr(self, "_buffer_NV") else self._buffer_NV
        for logits_NV in found:
            self._buffer_NV[: len(logits_NV)] = logits_NV
        return [self._buffer_NV[: len(logits_NV)] for logits_NV in found]


def test_what_several_passes_computed_outlives_the_next_pass() -> None:
    def probs_NU(model: RandomModel) -> torch.Tensor:
        member = InlineMember(model, mapping_of(model))
        sequence = member.open(member.encode("all we can model from this"), LOCAL, is_reproducible=True)
        return probs_of(member.read(after(sequence, num_logits=7)).result())

    assert probs_NU(OneBufferModel("a", 1)).equal(probs_NU(RandomModel("a", 1)))


def test_a_member_asked_late_says_the_same(ensemble: Ensemble) -> None:
    for prompt in PROMPTS:
        lazy, eager, auto = (finished(ensemble, prompt, **way) for way in WAYS[1:4])
        assert 0 < lazy.num_ensembled < lazy.num_tokens
        assert (lazy.text, lazy.digest) == (eager.text, eager.digest) == (auto.text, auto.digest)


def test_drafts_are_left_out_where_they_would_show(ensemble: Ensemble) -> None:
    for prompt in PROMPTS:
        plain, drafted = (finished(ensemble, prompt, speculation=how, **WAYS[0]) for how in ("off", "on"))
        assert plain.digest == drafted.digest


def test_what_is_kept_of_a_conversation_changes_no_digest() -> None:
    turns = [Message("user", PROMPTS[1])]
    with closing(threaded()) as ensemble, closing(threaded()) as other:
        settings = ensemble.config.settings_from({"max_new_tokens": 14, "reproducible": "on", **WAYS[0]})
        for _ in range(3):
            _, warm = steps_and_end(ensemble.generate(turns, settings, namespace="talk"))
            _, again = steps_and_end(ensemble.generate(turns, settings, namespace="talk"))
            _, cold = steps_and_end(other.generate(turns, settings))
            assert warm.digest == again.digest == cold.digest
            assert all(again.members[name].num_tokens_read < cold.members[name].num_tokens_read for name in "ab")
            turns += [Message("assistant", warm.text), Message("user", PROMPTS[0])]


STEP = StepTrace(
    position=0,
    token_id=5,
    token=b"one",
    prob=0.5,
    top=(Candidate(5, b"one", 0.5), Candidate(6, b"two", 0.25)),
    gate_confidence=0.4,
    is_ensembled=True,
    winner="a",
    members=(MemberTrace("a", 0.5, 0.6, 1, (Candidate(5, b"one", 0.6),), 1, 0.1),),
)


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"prob": 0.5 + 2**-53}, False),
        ({"token": b"on"}, False),
        ({"top": STEP.top[:1]}, False),
        ({"gate_confidence": 0.41}, False),
        ({"members": (dataclasses.replace(STEP.members[0], weight=0.4),)}, False),
        ({"members": (dataclasses.replace(STEP.members[0], num_read=4, seconds=9.0),)}, True),
        ({"is_drafted": True, "position": 7}, True),
    ],
)
def test_a_digest_tells_values_from_costs(changes: dict[str, Any], is_same: bool) -> None:
    assert (digest_of(STEP) == digest_of(dataclasses.replace(STEP, **changes))) == is_same


def test_of_a_replayed_step_only_the_token_counts() -> None:
    forced = dataclasses.replace(STEP, is_forced=True)
    assert digest_of(forced) == digest_of(dataclasses.replace(forced, prob=0.1, top=()))
    assert digest_of(forced) != digest_of(dataclasses.replace(forced, token=b"two"))


def digest_of(step: StepTrace) -> str:
    digest = StepDigest()
    digest.add(step)
    return digest.hex
