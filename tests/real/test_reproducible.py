"""One digest per answer, on real models: by itself, beside others, read late or along, with drafts and without."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishedEvent
from gac_app.models.message import Message

PROMPTS = ["Explain in two sentences why the sky is blue.", "日本の首都はどこですか。"]
NUM_TOKENS = 6  # a bit that differs shows in the first digest that holds it
GATED = {"mode": "gate", "threshold": 0.8}
WAYS: list[dict[str, Any]] = [{"mode": "every-step"}, GATED, {"mode": "every-step", "temperature": 0.8, "seed": 3}]
SAME: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [  # settings, and other ways to the same text
    (GATED, [{"gate_policy": "eager"}, {"gate_policy": "auto"}]),
    ({**GATED, "temperature": 0.8, "seed": 3}, [{"gate_policy": "auto"}]),
    ({"mode": "every-step"}, [{"speculation": "auto"}, {"speculation": "on"}]),
]


def answer(
    ensemble: Ensemble, prompt: str, *, alone: str | None = None, namespace: str = "", **how: Any
) -> FinishedEvent:
    settings = ensemble.config.settings_from({"max_new_tokens": NUM_TOKENS, **how})
    *_, finished = ensemble.generate([Message("user", prompt)], settings, alone=alone, namespace=namespace)
    assert isinstance(finished, FinishedEvent)
    return finished


@pytest.fixture(params=["default", "quantised", "float32"])
def ensemble(request: pytest.FixtureRequest) -> Ensemble:
    found: Ensemble = request.getfixturevalue(request.param)
    return found


def test_an_answer_has_one_digest(ensemble: Ensemble) -> None:
    # Where members are not invariant (float32), only asking for it makes answers reproducible.
    asked = "auto" if all(member.model.is_batch_invariant for member in ensemble.members.values()) else "on"
    ways = [*((name, {}) for name in ensemble.members), *((None, how) for how in WAYS)]
    jobs = [(prompt, alone, {**how, "reproducible": asked}) for prompt, (alone, how) in zip(cycle(PROMPTS), ways)]
    by_itself = [answer(ensemble, prompt, alone=alone, **how) for prompt, alone, how in jobs]
    assert all(finished.is_reproducible for finished in by_itself)
    digests = [finished.digest for finished in by_itself]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda job: answer(ensemble, job[0], alone=job[1], **job[2]).digest, jobs)
        assert list(together) == digests
    for plain, others in SAME:
        expected = answer(ensemble, PROMPTS[0], **plain, gate_policy="lazy", speculation="off", reproducible=asked)
        for other in others:
            assert answer(ensemble, PROMPTS[0], **plain, **other, reproducible=asked).digest == expected.digest


def test_a_kept_prompt_changes_no_digest(default: Ensemble) -> None:
    cold, warm = (answer(default, PROMPTS[0], namespace="talk") for _ in range(2))
    default.forget("talk")
    assert cold.digest == warm.digest
    num_read = [sum(usage.num_tokens_read for usage in one.members.values()) for one in (warm, cold)]
    assert num_read[0] < num_read[1]


def test_members_run_by_onnxruntime_are_invariant(default: Ensemble, quantised: Ensemble) -> None:
    """As the trial of their graphs measured."""
    both = [*default.members.values(), *quantised.members.values()]
    found = [member for member in both if member.model.engine == "onnxruntime cpu"]
    if not found:
        pytest.skip("no graph pays on this machine")
    assert all(member.model.is_batch_invariant and member.model.is_chunk_invariant for member in found)
