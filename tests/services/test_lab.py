"""Studies on small samples: one at a time, with progress, called off by whoever began them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gac_app.config import Settings
from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import BusyError, ConfigError, GacError, RequestError
from gac_app.executors.background import in_background
from gac_app.models.random_model import RandomModel
from gac_app.services.lab import STUDIES, Lab
from gac_app.services.live_runs import owner_of
from tests.fakes import WAIT_S, FakeModel, Fault, config_of, ensemble_of
from tests.services.house import ALICE, BOB

CAROL = "c" * 64


def lab_of(ensemble: Ensemble, folder: Path, **config_fields: Any) -> Lab:
    config = config_of(ensemble.config.member_names, **config_fields) if config_fields else ensemble.config
    return Lab(config, folder, lambda: in_background(ensemble))


def random_pair() -> Ensemble:
    return ensemble_of([RandomModel("a", 1, sharpness=4.0), RandomModel("b", 2, sharpness=4.0)], config_of(["a", "b"]))


def study_pair() -> tuple[Ensemble, Callable[[], None]]:
    return in_background(random_pair())


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_study_gives_a_result_that_is_kept(study: object, tmp_path: Path) -> None:
    lab = lab_of(random_pair(), tmp_path)
    fitting = [found.name for found in lab.sets if found.fits(study)]  # type: ignore[arg-type]
    lab.start(ALICE, study.name, fitting[-1] if fitting else "", 4)  # type: ignore[attr-defined]
    until(lambda: lab.running is None)
    assert lab.last_error == ""
    [listed] = lab.results.list()
    kept = lab.results.load(listed.id)
    assert listed.study == kept.result.study == study.name  # type: ignore[attr-defined]
    assert kept.members == ("a", "b")
    assert kept.result.tables[0].rows
    assert kept.result.plot or study.name == "eval"  # type: ignore[attr-defined]
    if fitting:
        assert listed.heading.startswith(fitting[-1])


def slow_pair(fault: Fault | None = None) -> Ensemble:
    models = [FakeModel("a", 1, delay_s=0.02, fault=fault), FakeModel("b", 2)]
    return ensemble_of(models, config_of(["a", "b"]))


def test_one_runs_at_a_time_and_only_its_visitor_calls_it_off(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(), tmp_path)
    lab.start(ALICE, "eval", "trivia", 20)
    until(lambda: bool(lab.running and lab.running.num_total))
    with pytest.raises(BusyError, match="Benchmark"):
        lab.start(BOB, "consistency", "", 4)
    with pytest.raises(RequestError, match="somebody else"):
        lab.cancel(BOB)
    lab.cancel(ALICE)
    until(lambda: lab.running is None)
    assert lab.last_error == "The study was cancelled."
    assert lab.results.list() == []
    lab.cancel(ALICE)  # nothing runs


def test_the_operator_calls_off_whatever_runs(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(), tmp_path, lab={"operators": [owner_of(CAROL)]})
    lab.start(ALICE, "eval", "trivia", 20)
    assert [lab.may_cancel(key, lab.running) for key in (ALICE, BOB, CAROL)] == [True, False, True]  # type: ignore[arg-type]
    lab.cancel(CAROL)
    until(lambda: lab.running is None)
    assert lab.last_error == "The study was cancelled."


def test_a_study_waits_while_a_run_is_decoded_and_is_called_off_meanwhile(tmp_path: Path) -> None:
    ensemble = slow_pair()
    run = ensemble.session("Name three colours", Settings(gate="a", mode="every-step", max_new_tokens=4000))
    events = run.events()
    next(events)
    lab = lab_of(ensemble, tmp_path)
    lab.start(ALICE, "eval", "trivia", 4)
    until(lambda: bool(lab.running and lab.running.num_total))
    for _ in range(20):
        next(events)
    assert lab.running
    assert lab.running.num_done == 0
    lab.cancel(ALICE)
    started = time.monotonic()
    until(lambda: lab.running is None)
    assert time.monotonic() - started < 1, "nobody waits for the run to end"
    assert lab.last_error == "The study was cancelled."
    events.close()


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        ({}, [ALICE, CAROL]),
        ({"server": {"host": "::"}}, [CAROL]),
        ({"server": {"trusted_hosts": ["localhost", "gac.example.org"]}}, [CAROL]),
        ({"server": {"host": "::"}, "lab": {"open_to": "visitors"}}, [ALICE, CAROL]),
        ({"lab": {"open_to": "operators"}}, [CAROL]),
    ],
)
def test_on_a_public_host_only_the_operator_starts_studies(
    fields: dict[str, Any], who: list[str], tmp_path: Path
) -> None:
    fields = {**fields, "lab": {"operators": [owner_of(CAROL)], **fields.get("lab", {})}}
    lab = lab_of(random_pair(), tmp_path, **fields)
    assert [key for key in (ALICE, CAROL) if lab.may_start(key)] == who
    if ALICE not in who:
        with pytest.raises(RequestError, match="only the operator"):
            lab.start(ALICE, "consistency", "", 4)
        assert lab.running is None


def test_a_visitor_starts_so_many_studies_within_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of(random_pair(), tmp_path, lab={"max_per_hour": 2, "operators": [owner_of(CAROL)]})

    def study(key: str) -> None:
        lab.start(key, "consistency", "", 4)
        until(lambda: lab.running is None)

    for key in (ALICE, ALICE, BOB, CAROL, CAROL, CAROL):
        study(key)
    with pytest.raises(BusyError, match="started 2 studies within an hour"):
        study(ALICE)
    later = time.monotonic() + 3601
    monkeypatch.setattr("gac_app.services.lab.time.monotonic", lambda: later)
    study(ALICE)


def test_what_was_answered_before_a_study_was_called_off_is_not_asked_again(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(), tmp_path)
    lab.start(ALICE, "eval", "trivia", 4)
    until(lambda: bool(lab.running and lab.running.num_done >= 3))
    lab.cancel(ALICE)
    until(lambda: lab.running is None)
    num_kept = sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl"))
    assert 3 <= num_kept < 16
    lab.start(ALICE, "eval", "trivia", 4)
    until(lambda: lab.running is None)
    assert sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl")) == 16


def test_answers_that_fail_are_told_with_the_result(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(Fault("raise", from_read=1)), tmp_path)
    lab.start(ALICE, "eval", "trivia", 4)
    until(lambda: lab.running is None)
    [listed] = lab.results.list()
    assert "answers failed and count as wrong" in lab.results.load(listed.id).result.failure
    lab.start(ALICE, "calibrate", "sense", 4)  # which needs every answer
    until(lambda: lab.running is None)
    assert "answers failed" in lab.last_error or "RuntimeError" in lab.last_error


def test_a_fault_of_ours_is_said_without_internals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of(random_pair(), tmp_path)
    monkeypatch.setattr("gac_app.services.lab.carry_out", lambda *_: 1 / 0)
    lab.start(ALICE, "consistency", "", 4)
    until(lambda: lab.running is None)
    assert "log of the server" in lab.last_error
    assert "division" not in lab.last_error


@pytest.mark.parametrize(
    ("study", "questions", "number", "message"),
    [
        ("magic", "trivia", 4, "study: 'magic' is none; expected eval, sweep"),
        ("calibrate", "trivia", 4, "task: 'trivia' is none for this study; expected sense"),
        ("snowball", "sense", 4, "expected trivia, sums"),
        ("eval", "trivia", 3, "questions: expected 4 to 40"),
        ("eval", "trivia", 41, "questions: expected 4 to 40"),
    ],
)
def test_what_does_not_fit_is_refused(study: str, questions: str, number: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        lab_of(random_pair(), tmp_path).start(ALICE, study, questions, number)


def test_nothing_runs_before_the_models_are_ready(tmp_path: Path) -> None:
    def not_ready() -> tuple[Ensemble, Callable[[], None]]:
        raise GacError("The models are still loading.")

    lab = Lab(config_of(["a", "b"]), tmp_path, not_ready)
    with pytest.raises(GacError, match="still loading"):
        lab.start(ALICE, "consistency", "", 4)
    assert lab.running is None


def test_closing_calls_off_what_runs(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(), tmp_path)
    lab.start(ALICE, "eval", "trivia", 20)
    until(lambda: bool(lab.running and lab.running.num_total))
    lab.close()
    until(lambda: lab.running is None)
    lab.close()


def test_the_configuration_adds_questions_and_a_bad_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "nq.jsonl").write_text(json.dumps({"question": "Who?", "answers": ["Nobody"]}))
    config = config_of(["a", "b"], lab={"questions": {"nq": str(tmp_path / "nq.jsonl")}})
    assert [found.name for found in Lab(config, tmp_path, study_pair).sets] == ["trivia", "sense", "sums", "nq"]
    for name, path, message in (
        ("nq", "none.jsonl", "lab.questions.nq: .*cannot be read"),
        ("chess", "nq.jsonl", "lab.questions.chess: 'chess' is none"),
        ("piqa", "nq.jsonl", "lab.questions.piqa: .*needs 'choices'"),
    ):
        bad = config_of(["a", "b"], lab={"questions": {name: str(tmp_path / path)}})
        with pytest.raises(ConfigError, match=message):
            Lab(bad, tmp_path, study_pair)


def test_the_project_s_own_questions_are_sound() -> None:
    sets = {found.name: found for found in Lab(config_of(["a"]), Path("none"), study_pair).sets}
    assert {name: len(found.questions) >= 20 for name, found in sets.items()} == dict.fromkeys(sets, True)
    assert {question.answer for question in sets["sense"].questions} == {0, 1, 2, 3}
    for question in sets["sums"].questions:
        assert question.solution.endswith(f"The answer is {question.answers[0]}.")
