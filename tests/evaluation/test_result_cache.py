"""Answers survive a kill at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from gac_app.errors import GacError
from gac_app.evaluation.running.result_cache import Graded, ResultCache, result_cache_path
from gac_app.evaluation.running.systems import parse_system
from gac_app.evaluation.tasks.task import load_task
from gac_app.member_config import MemberConfig
from tests.evaluation.fakes import CAPITALS, CONFIG
from tests.fakes import config_of

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
    """So that what was kept or registered before there was such a key stays valid."""
    plain = MemberConfig(name="a", source="here")
    assert plain.unset == {"adapter", "end_tokens", "vllm"}
    assert plain.model_copy(update={"adapter": "there"}).unset == {"end_tokens", "vllm"}
    assert plain.model_copy(update={"backend": "vllm", "vllm": {"seed": 1}}).unset == {"adapter", "end_tokens"}
