"""One question: what the engine is asked, and what is made of its answer."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import MemberError, RequestError, VocabularyError
from gac_app.evaluation.running.answering import answer
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import parse_system
from gac_app.evaluation.tasks.task import Task, load_task
from gac_app.settings import Settings
from tests.evaluation.fakes import CAPITALS, CHOICES, CONFIG, FakeEnsemble
from tests.fakes import config_of


def _ask(fake: FakeEnsemble, task: str, number: int, system: str) -> Graded:
    questions = CHOICES if load_task(task).kind == "choice" else CAPITALS
    return answer(cast(Ensemble, fake), load_task(task), questions[number], parse_system(system, CONFIG))


def test_what_was_written_is_judged_and_what_it_cost_is_kept() -> None:
    given = _ask(FakeEnsemble({"Italy": " Roma."}), "nq", 1, "every-step")
    assert given == Graded(
        "it", True, "Roma.", " Roma.", num_tokens=4, num_ensembled=1, seconds=2.0, ttft_s=0.5, member_seconds=1.25
    )


def test_decoding_is_greedy_limited_and_drops_nobody() -> None:
    fake = FakeEnsemble({"Italy": ""}, config=config_of(["a", "b"], {"on_member_failure": "drop"}))
    given = _ask(fake, "nq", 1, "gate@0.3")
    [(prompt, alone, settings)] = fake.asked
    assert not given.is_right
    assert prompt.endswith("Question: The capital of Italy??\nAnswer:")
    assert (alone, settings.threshold, settings.temperature) == (None, 0.3, 0.0)
    assert (settings.stop, settings.max_new_tokens, settings.on_member_failure) == (("\n",), 24, "stop")


@pytest.mark.parametrize(("form", "raw"), [("document", True), ("chat", False)])
def test_a_chat_goes_through_the_template(form: str, raw: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, asked_raw, generate = FakeEnsemble({"Italy": " Rome"}), list[bool](), FakeEnsemble.generate

    def noted(self: FakeEnsemble, prompt: str, settings: Settings, **how: Any) -> Any:
        asked_raw.append(how["raw"])
        return generate(self, prompt, settings, **{**how, "raw": True})

    monkeypatch.setattr(FakeEnsemble, "generate", noted)
    task = Task.model_validate({**load_task("nq").model_dump(), "form": form})
    given = answer(cast(Ensemble, fake), task, CAPITALS[1], parse_system("every-step", CONFIG))
    assert (given.is_right, asked_raw) == (True, [raw])


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (MemberError("b", "exception", "broke"), "b: broke"),
        (RequestError("prompt", "is too long"), "prompt: is too long"),
        (VocabularyError("lacks 0x01"), "lacks 0x01"),
        (FinishReason.ERROR, "b: broke"),
    ],
)
def test_a_failure_is_an_error_never_an_answer(failure: Exception | FinishReason, error: str) -> None:
    given = _ask(FakeEnsemble({"Italy": failure}), "nq", 1, "every-step")
    assert (given.is_right, given.error) == (False, error)


def test_a_fault_of_ours_is_not_taken_for_a_members() -> None:
    with pytest.raises(ZeroDivisionError):
        _ask(FakeEnsemble({"Italy": ZeroDivisionError()}), "nq", 1, "every-step")


def test_the_choice_with_the_least_bits_per_byte_is_the_answer() -> None:
    """Whole: green 6 x 1 = 6 bits, blue 5 x 1.1 = 5.5 bits; by the byte green wins."""
    fake = FakeEnsemble(bits={" green": 1.0, " blue": 1.1})
    given = _ask(fake, "piqa", 0, "every-step")
    assert (given.prediction, given.is_right, given.num_tokens, given.num_ensembled) == ("green", False, 4, 2)
    assert given.log_probs == pytest.approx((-6 * math.log(2), -5.5 * math.log(2)))
    fake.bits = {" green": 1.0, " blue": 0.9}
    assert _ask(fake, "piqa", 0, "every-step").is_right
