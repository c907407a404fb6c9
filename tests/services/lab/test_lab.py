"""Studies on small samples: one at a time, with progress, called off by whoever began them."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gac_app.charts import to_svg
from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import BusyError, ConfigError, GacError, RequestError
from gac_app.evaluation.studies.result import StudyResult
from gac_app.executors.members import in_background
from gac_app.models.random_model import RandomModel
from gac_app.services.lab.lab import STUDIES, Lab, Study
from gac_app.services.lab.studies import carry_out, question_sets
from gac_app.services.visitors import owner_of
from gac_app.storage import Store
from tests.databases import database_in
from tests.fakes import FakeModel, Fault, config_of, ensemble_of
from tests.services.house import ALICE, BOB, until

CAROL = "c" * 64


def finished(lab: Lab, key: str, *study: Any) -> str:
    """Why the study failed, once it is over; "" where it did not."""
    lab.start(key, *study)
    until(lambda: lab.running is None)
    return lab.last_error


def store_in(folder: Path) -> Store:
    return Store(database_in(folder / "runs.sqlite3"))


def lab_of(ensemble: Ensemble, folder: Path, **config_fields: Any) -> Lab:
    config = config_of(ensemble.config.member_names, **config_fields) if config_fields else ensemble.config
    return Lab(config, folder, lambda: in_background(ensemble), store_in(folder))


def random_pair() -> Ensemble:
    return ensemble_of([RandomModel("a", 1, sharpness=4.0), RandomModel("b", 2, sharpness=4.0)], config_of(["a", "b"]))


def study_pair() -> tuple[Ensemble, Callable[[], None]]:
    return in_background(random_pair())


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_each_study_gives_a_result_that_is_kept(
    study: type[Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gac_app.evaluation.studies.cost._MAX_ROUNDS", 1)
    lab = lab_of(random_pair(), tmp_path)
    has_questions = study.needs == "any"
    assert finished(lab, ALICE, study.name, "trivia" if has_questions else "", 4) == ""
    [listed] = lab.results.of(ALICE)
    kept = lab.results.load(ALICE, listed.id)
    assert listed.study == kept.result.study == study.name
    assert kept.members == ("a", "b")
    assert kept.result.tables[0].rows
    assert kept.result.plots or study.name == "eval"
    assert not kept.result.plots or "<svg" in to_svg(kept.result.plots)
    json.dumps(kept.result.data)
    assert bool(kept.result.asked) == listed.heading.startswith("trivia") == has_questions


def slow_pair(fault: Fault | None = None) -> Ensemble:
    models = [FakeModel("a", 1, delay_s=0.02, fault=fault), FakeModel("b", 2)]
    return ensemble_of(models, config_of(["a", "b"]))


def test_one_runs_at_a_time_and_can_be_called_off(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(), tmp_path, lab={"operators": [owner_of(CAROL)]})
    lab.start(ALICE, "eval", "trivia", 20)
    until(lambda: bool(lab.running and lab.running.num_total))
    with pytest.raises(BusyError, match="Benchmark"):
        lab.start(BOB, "cost", "", 4)
    with pytest.raises(RequestError, match="Somebody else"):
        lab.cancel(BOB)
    lab.cancel(ALICE)
    until(lambda: lab.running is None)
    assert lab.last_error == "The study was cancelled."
    assert lab.results.of(ALICE) == []
    lab.cancel(ALICE)  # nothing runs
    lab.start(ALICE, "eval", "trivia", 20)
    assert [lab.may_cancel(key, lab.running) for key in (ALICE, BOB, CAROL)] == [True, False, True]  # type: ignore[arg-type]
    lab.cancel(CAROL)
    until(lambda: lab.running is None)
    assert lab.last_error == "The study was cancelled."
    lab.start(ALICE, "eval", "trivia", 20)
    until(lambda: bool(lab.running and lab.running.num_total))
    for _ in range(2):
        lab.close()
        until(lambda: lab.running is None)
    assert lab.results.of(ALICE) == [], "an end does not wait for the whole study"


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
def test_on_a_public_host_only_operators_start_studies(fields: dict[str, Any], who: list[str], tmp_path: Path) -> None:
    fields = {**fields, "lab": {"operators": [owner_of(CAROL)], **fields.get("lab", {})}}
    lab = lab_of(random_pair(), tmp_path, **fields)
    assert [key for key in (ALICE, CAROL) if lab.may_start(key)] == who
    if ALICE not in who:
        with pytest.raises(RequestError, match="Only the operator"):
            lab.start(ALICE, "cost", "", 4)
        assert lab.running is None


def test_a_visitor_starts_so_many_studies_within_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of(random_pair(), tmp_path, lab={"max_per_hour": 2, "operators": [owner_of(CAROL)]})

    def study(key: str, client: str = "") -> None:
        lab.start(key, "eval", "trivia", 4, client=client)
        lab.cancel(key)
        until(lambda: lab.running is None)

    lab.start(CAROL, "eval", "trivia", 4)
    for _ in range(3):  # refused, and not counted
        with pytest.raises(BusyError, match="Benchmark"):
            lab.start(BOB, "eval", "trivia", 4)
    lab.cancel(CAROL)
    until(lambda: lab.running is None)
    for key in (ALICE, ALICE, BOB, CAROL, CAROL, CAROL):
        study(key)
    with pytest.raises(BusyError, match="2 studies were started from here within an hour"):
        study(ALICE)
    later = time.monotonic() + 3601
    monkeypatch.setattr("gac_app.services.lab.lab.time.monotonic", lambda: later)
    study(ALICE)
    for key in ("1", "2"):  # whoever invents keys has one address
        study(64 * key, "there")
    with pytest.raises(BusyError):
        study(64 * "3", "there")
    study(64 * "3", "elsewhere")


@pytest.mark.slow
def test_answers_of_a_cancelled_study_are_not_asked_again(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(), tmp_path)
    lab.start(ALICE, "eval", "trivia", 4)
    until(lambda: bool(lab.running and lab.running.num_done >= 3))
    lab.cancel(ALICE)
    until(lambda: lab.running is None)
    assert 3 <= sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl")) < 16
    finished(lab, ALICE, "eval", "trivia", 4)
    assert sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl")) == 16


def test_a_result_is_not_kept_after_a_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the result is made ready for the database, and is over before that."""
    lab = lab_of(slow_pair(), tmp_path)

    def delete_everything(value: Any) -> Any:
        lab.forget(ALICE)
        return value

    monkeypatch.setattr("gac_app.services.lab.results.packed", delete_everything)
    assert finished(lab, ALICE, "eval", "trivia", 4) == "The study was cancelled."
    assert lab.results.of(ALICE) == []


def test_answers_that_fail_are_told_with_the_result(tmp_path: Path) -> None:
    lab = lab_of(slow_pair(Fault("raise", from_read=1)), tmp_path)
    finished(lab, ALICE, "eval", "trivia", 4)
    [listed] = lab.results.of(ALICE)
    assert "Answers failed and count as wrong" in lab.results.load(ALICE, listed.id).result.failure


@pytest.mark.parametrize("fault", [lambda *_: 1 / 0, lambda *_: sys.exit("division")])
def test_a_fault_of_ours_is_said_without_internals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., object]
) -> None:
    lab = lab_of(random_pair(), tmp_path)
    monkeypatch.setattr("gac_app.services.lab.lab.carry_out", fault)
    error = finished(lab, ALICE, "cost", "", 4)
    assert "server's log" in error
    assert "division" not in error


def test_nothing_runs_before_the_models_are_ready(tmp_path: Path) -> None:
    def not_ready() -> tuple[Ensemble, Callable[[], None]]:
        raise GacError("The models are still loading.")

    lab = Lab(config_of(["a", "b"]), tmp_path, not_ready, store_in(tmp_path))
    with pytest.raises(GacError, match="still loading"):
        lab.start(ALICE, "cost", "", 4)
    assert lab.running is None


def test_a_configuration_adds_questions_and_bad_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "nq.jsonl").write_text(json.dumps({"question": "Who?", "answers": ["Nobody"]}))
    config = config_of(["a", "b"], lab={"questions": {"nq": str(tmp_path / "nq.jsonl")}})
    lab = Lab(config, tmp_path, study_pair, store_in(tmp_path))
    assert [found.name for found in lab.sets] == ["trivia", "sense", "sums", "nq"]
    for name, path, message in (
        ("nq", "none.jsonl", "lab.questions.nq: .*cannot be read"),
        ("chess", "nq.jsonl", "lab.questions.chess: unknown task 'chess'"),
        ("piqa", "nq.jsonl", "lab.questions.piqa: .*needs 'choices'"),
    ):
        bad = config_of(["a", "b"], lab={"questions": {name: str(tmp_path / path)}})
        with pytest.raises(ConfigError, match=message):
            Lab(bad, tmp_path, study_pair, store_in(tmp_path))


def test_the_project_s_own_questions_are_sound() -> None:
    sets = {found.name: found for found in question_sets(config_of(["a"]))}
    assert {name: len(found.questions) >= 20 for name, found in sets.items()} == dict.fromkeys(sets, True)
    assert {question.answer for question in sets["sense"].questions} == {0, 1, 2, 3}
    for question in sets["sums"].questions:
        assert question.solution.endswith(f"The answer is {question.answers[0]}.")


def test_the_command_line_s_results_are_the_operator_s(tmp_path: Path) -> None:
    lab = lab_of(random_pair(), tmp_path, lab={"operators": [owner_of(CAROL)]}, server={"host": "::"})
    kept = lab.results.files.keep(StudyResult("eval", "nq: 2 questions", [], {}), ("a", "b"))
    assert [(one.id, one.is_mine, one.may_edit) for one in lab.results.of(ALICE)] == [(kept.id, False, False)]
    for forbidden in (lambda: lab.results.rename(ALICE, kept.id, "x"), lambda: lab.results.delete(ALICE, kept.id)):
        with pytest.raises(RequestError, match="operator"):
            forbidden()
    lab.results.rename(CAROL, kept.id, "Baseline")
    assert lab.results.load(ALICE, kept.id).name == lab.results.of(ALICE)[0].name == "Baseline"
    lab.results.delete(CAROL, kept.id)
    assert lab.results.of(ALICE) == []


OWN_QUESTIONS = "question,choices,answer" + "".join(f"\nIs {n} even?,yes|no,{('yes', 'no')[n % 2]}" for n in range(6))


def test_own_questions_leave_no_trace_but_their_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def carried(*study: Any) -> StudyResult:
        found = carry_out(*study)
        assert not list(tmp_path.rglob("*.jsonl")), "nor if the process is killed now"
        return found

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("gac_app.services.lab.lab.carry_out", carried)
    lab = lab_of(random_pair(), tmp_path)
    assert finished(lab, ALICE, "eval", "own", 5, OWN_QUESTIONS) == ""
    [listed] = lab.results.of(ALICE)
    assert listed.heading == "own: 5 questions"
    asked = lab.results.load(ALICE, listed.id).result.asked
    assert asked[0].prompt == "Is 0 even?\n- yes\n- no"
    assert {question.accepted for question in asked} == {"yes", "no"}
    assert {answer.system for question in asked for answer in question.answers} == {
        "alone:a",
        "alone:b",
        "every-step",
        "gate@0.5",
    }
    lab.results.delete(ALICE, listed.id)
    assert not any(b"even?" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("study", "questions", "number", "own", "message"),
    [
        ("magic", "trivia", 4, "", "study: unknown study 'magic'; expected advise, eval, cost"),
        ("snowball", "sense", 4, "", "study: unknown study 'snowball'"),  # on the command line alone
        ("eval", "nq", 4, "", "task: unknown task 'nq'; expected trivia, sense, sums"),
        ("eval", "trivia", 3, "", "questions: Choose 4 to 40 questions"),
        ("eval", "trivia", 41, "", "questions: Choose 4 to 40 questions"),
        ("eval", "own", 8, OWN_QUESTIONS, "questions: own has only 6 questions"),
        ("eval", "own", 4, "", "questions: Enter at least one"),
    ],
)
def test_misfits_are_refused(study: str, questions: str, number: int, own: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        lab_of(random_pair(), tmp_path).start(ALICE, study, questions, number, own)


def benchmark_data(task: str, **accuracies: float) -> dict[str, Any]:
    best = max(accuracies.values())
    systems = {
        f"alone:{name}": {
            "accuracy": accuracy,
            "errors": 0,
            "vs_best_member": None if accuracy == best else {"delta": accuracy - best, "p": 0.001},
        }
        for name, accuracy in accuracies.items()
    }
    return {"task": task, "n": 40, "systems": systems}
