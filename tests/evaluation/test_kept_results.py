"""Results of studies: kept, listed and read again; as CSV. Answers survive a kill at any moment."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from gac_app.errors import GacError, NotFoundError, StorageError
from gac_app.evaluation.running.result_cache import Graded, ResultCache, result_cache_path
from gac_app.evaluation.running.systems import parse_system
from gac_app.evaluation.studies.kept_results import KeptResults
from gac_app.evaluation.studies.result import AskedQuestion, GivenAnswer, StudyResult, Table, to_csv
from gac_app.evaluation.tasks.task import load_task
from gac_app.member_config import MemberConfig
from tests.evaluation.fakes import CAPITALS, CONFIG
from tests.fakes import config_of

TABLE = Table(("system", "accuracy"), [["alone:a", "10.0%"], ["every-step", "+2.5%"]], "Türme & <b>")
PLOT = {"title": "t", "layer": []}
ASKED = AskedQuestion("1", "Who?", "Nobody", [GivenAnswer("alone:a", "I", is_right=False, text=" I am.")])
DATA = {"n": 2, "x": [1.5, None]}
RESULT = StudyResult("eval", "nq: 2 questions", [TABLE, TABLE], DATA, ("So.",), [PLOT], "one", [ASKED])


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    results = KeptResults(tmp_path / "new" / "results")
    assert results.list() == []
    kept = results.keep(RESULT, ("a", "b"))
    assert results.load(kept.id).result.data == RESULT.data
    again = results.load(kept.id)
    assert (again.members, again.created_at, again.result.plots) == (("a", "b"), kept.created_at, [PLOT])
    assert again.result.asked == [ASKED]
    assert [list(map(list, table.rows)) for table in again.result.tables] == [[list(r) for r in TABLE.rows]] * 2
    assert (again.result.remarks, again.result.failure) == (["So."], "one")


def test_the_newest_come_first_and_other_files_are_passed_over(tmp_path: Path) -> None:
    results = KeptResults(tmp_path)
    kept = [results.keep(RESULT, ("a",)).id for _ in range(3)]
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "20200101T000000-eval-abcdef.json").write_text('{"id": 1}')
    (tmp_path / "20200101T000001-eval-abcdef.json").write_text("{")
    assert {one.id for one in results.list()} == set(kept)
    assert [one.id for one in results.list()] == sorted(kept, reverse=True)


@pytest.mark.parametrize(
    "name", ["", "../secret", "20200101T000000-eval-abcdef", "x" * 1000, "20200101T000000-eval-abcdef/.."]
)
def test_no_other_name_leads_anywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.json").write_text("{}")
    with pytest.raises(NotFoundError):
        KeptResults(tmp_path / "results").load(name)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        KeptResults(tmp_path / "results").keep(RESULT, ("a",))


def test_csv_has_all_tables_and_no_formula() -> None:
    odd = Table(("a", "=b"), [["=1+1", "+2.5%"], ["-x", "@y"], ["+1.0% (p A1)", 'say "so", yes']], "T")
    assert list(csv.reader(io.StringIO(to_csv([odd, TABLE])))) == [
        ["T"],
        ["a", "'=b"],
        ["'=1+1", "'+2.5%"],
        ["'-x", "'@y"],
        ["'+1.0% (p A1)", 'say "so", yes'],
        [],
        ["Türme & <b>"],
        ["system", "accuracy"],
        ["alone:a", "10.0%"],
        ["every-step", "'+2.5%"],
    ]


ANSWERS = [
    Graded("one", is_right=True, prediction="ü\u2028\ud800", text="a\nb\0", num_tokens=3, num_ensembled=1, seconds=0.1),
    Graded("two", log_probs=(-1.5, -0.25), ttft_s=0.25, member_seconds=1.5),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "cache.jsonl"
    for answer in ANSWERS:
        ResultCache(path).add(answer)
    return path


def test_answers_come_back_as_they_were(path: Path) -> None:
    assert ResultCache(path).answers == {answer.question_id: answer for answer in ANSWERS}


def test_a_line_torn_anywhere_costs_only_itself(path: Path) -> None:
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        cache = ResultCache(path)
        assert list(cache.answers) == ["one"]
        cache.add(ANSWERS[1])
        assert path.read_bytes() == whole


def test_damage_elsewhere_is_told(path: Path) -> None:
    path.write_bytes(b"{broken\n" + path.read_bytes())
    with pytest.raises(GacError, match="line 1: is damaged; --fresh"):
        ResultCache(path)


def test_what_failed_is_asked_again(path: Path) -> None:
    cache = ResultCache(path)
    cache.add(Graded("three", error="b: broke"))
    assert "three" not in cache.answers
    assert "three" not in ResultCache(path).answers


ENGINES = ("random", "random")


def test_whatever_could_change_an_answer_changes_the_name(tmp_path: Path) -> None:
    task, system = load_task("nq"), parse_system("every-step", CONFIG)
    other_examples = task.with_examples(CAPITALS)
    warmer = CONFIG.model_copy(update={"settings": CONFIG.settings.model_copy(update={"repetition_penalty": 1.1})})
    paths = [
        result_cache_path(tmp_path, CONFIG, ENGINES, task, system, CAPITALS),
        result_cache_path(tmp_path, config_of(["a", "c"]), ENGINES, task, system, CAPITALS),
        result_cache_path(tmp_path, CONFIG, ("random", "transformers cuda torch.bfloat16"), task, system, CAPITALS),
        result_cache_path(tmp_path, warmer, ENGINES, task, system, CAPITALS),
        result_cache_path(tmp_path, CONFIG, ENGINES, load_task("triviaqa"), system, CAPITALS),
        result_cache_path(tmp_path, CONFIG, ENGINES, other_examples, system, CAPITALS),
        result_cache_path(tmp_path, CONFIG, ENGINES, task, parse_system("every-step+prefix", CONFIG), CAPITALS),
        result_cache_path(tmp_path, CONFIG, ENGINES, task, parse_system("alone:a", CONFIG), CAPITALS),
        result_cache_path(tmp_path, CONFIG, ENGINES, task, system, CAPITALS[1:]),
        result_cache_path(tmp_path, CONFIG, ENGINES, task, system, CAPITALS, 4),
    ]
    assert len(set(paths)) == len(paths)
    assert result_cache_path(tmp_path, CONFIG, ENGINES, task, system, CAPITALS) == paths[0]
    roomier = tuple(member.model_copy(update={"max_sequences": 16}) for member in CONFIG.members)
    same = CONFIG.model_copy(update={"members": roomier})
    assert result_cache_path(tmp_path, same, ENGINES, task, system, CAPITALS) == paths[0]


def test_a_name_is_a_file_name(tmp_path: Path) -> None:
    config = config_of(["../../x/" + "y" * 60, "b"])
    system = parse_system("alone:../../x/" + "y" * 60, config)
    path = result_cache_path(tmp_path, config, ENGINES, load_task("nq"), system, CAPITALS)
    assert path.parent == tmp_path
    assert len(path.name) < 120


def test_a_key_that_is_not_set_is_in_no_digest() -> None:
    """So that what was kept before there was such a key stays valid."""
    plain = MemberConfig(name="a", source="here")
    assert plain.unset == {"adapter", "end_tokens", "vllm"}
    assert plain.model_copy(update={"adapter": "there"}).unset == {"end_tokens", "vllm"}
    assert plain.model_copy(update={"backend": "vllm", "vllm": {"seed": 1}}).unset == {"adapter", "end_tokens"}
