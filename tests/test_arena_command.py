"""`arena play`, `export` and `import` in this process, over models without weights."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gac_app.arena.contestants import Contestant
from gac_app.cli import app
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.tasks import Question, load_task
from gac_app.services.battles.reference_votes import reference_battles
from gac_app.services.mirror.exports import Exports
from gac_app.settings import Settings
from gac_app.storage import Store
from tests.command_line import members_file
from tests.databases import database_in

QUESTION = Question(id="q", question="?", choices=("x", "y"), answer=0)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAC_DATABASE_URL", database_in(tmp_path / "gac.db"))
    monkeypatch.setenv("GAC_CACHE", str(tmp_path / "cache"))
    return members_file(tmp_path, "arena: {min_votes: 2}\n")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_known_answer_votes_whoever_is_on_the_left() -> None:
    """Each is, in half of the battles."""
    task, contestants = load_task("piqa"), [Contestant(name, name, Settings()) for name in "abc"]
    lefts: dict[str, list[str]] = {}
    for number in range(40):
        question = QUESTION.model_copy(update={"id": f"q{number}"})
        right = "ab" if number % 2 else "a"
        answers = {name: Graded(question.id, is_right=name in right) for name in "abc"}
        found = reference_battles(task, question, answers, contestants, "c")
        again = reference_battles(task, question, answers, contestants, "c")
        assert [(one.battle_id, one.left) for one in again] == [(one.battle_id, one.left) for one in found]
        assert [{battle.left, battle.right} for battle in found] == [{"a", "b"}, {"a", "c"}, {"b", "c"}]
        for battle in found:
            lefts.setdefault("".join(sorted((battle.left, battle.right))), []).append(battle.left)
            sides = [side for side in ("left", "right") if getattr(battle, side) in right]
            assert battle.outcome == ("tie" if len(sides) == 2 else (*sides, "both-bad")[0])
    for pair, names in lefts.items():
        assert all(10 <= names.count(name) <= 30 for name in pair)


def test_a_failed_answer_gives_no_battle() -> None:
    answers = {name: Graded("q", error="broke" if name == "b" else "") for name in "abc"}
    contestants = [Contestant(name, name, Settings()) for name in "abc"]
    [battle] = reference_battles(load_task("piqa"), QUESTION, answers, contestants, "c")
    assert {battle.left, battle.right} == {"a", "c"}


def test_a_battle_by_reference_says_all_of_question_and_answers() -> None:
    task, settings = load_task("piqa"), Settings(seed=3)
    answers = {
        "one": Graded("q", is_right=True, prediction="**x**", num_tokens=8, seconds=0.5),
        "other": Graded("q", prediction="y", text="- y", seconds=0.25),
    }
    contestants = [Contestant("one", None, settings), Contestant("other", "a", Settings())]
    [battle] = reference_battles(task, QUESTION, answers, contestants, "c")
    [again] = reference_battles(task, QUESTION, answers, contestants, "d")
    sides = {getattr(battle, side): side for side in ("left", "right")}
    fed = [{"role": "user", "content": task.prompt(QUESTION)}]
    assert battle.body == {
        "sides": {
            sides["one"]: {"contestant": "one", "member": None, "settings": settings.model_dump(mode="json")},
            sides["other"]: {"contestant": "other", "member": "a", "settings": Settings().model_dump(mode="json")},
        },
        "turns": [
            {
                "prompt": task.prompt(QUESTION),
                sides["one"]: {"messages": fed, "text": "**x**", "num_tokens": 8, "seconds": 0.5},
                sides["other"]: {"messages": fed, "text": "- y", "num_tokens": 0, "seconds": 0.25},
            }
        ],
        "versions": {},
        "consent": True,
        "task": "piqa",
    }
    assert (battle.origin, battle.is_blind, battle.status) == ("reference", False, "answered")
    assert (battle.language, battle.config_hash) == ("", "c")
    assert battle.battle_id != again.battle_id
    assert battle.visitor != again.visitor, "another configuration's"
    [vote] = battle.judgements
    assert (vote["position"], vote["kind"], vote["outcome"]) == (0, "vote", sides["one"])
    assert vote["facts"] == {
        "turn": 1,
        "early": False,
        "flags": [],
        sides["one"]: {"chars": 5, "headings": 0, "lists": 0, "bold": 1, "ms_per_token": 62.5},
        sides["other"]: {"chars": 3, "headings": 0, "lists": 1, "bold": 0},
    }


def test_play_stores_reference_votes_once_apart(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a server: it is none, whose runs would be marked as its own."""
    monkeypatch.setattr("gac_app.storage.servers.started", lambda *_: pytest.fail("it is no server"))
    data = tmp_path / "data.jsonl"
    questions = [{"id": f"q{n}", "question": f"{n}?", "answers": ["x"]} for n in range(3)]
    data.write_text("".join(json.dumps(question) + "\n" for question in questions))
    options = ("--task", "triviaqa", "--data", str(data), "--parallel", "1", "--config", str(config), "--json")
    board = json.loads(run("arena", "play", *options))
    assert board["num_votes"] == 3 * 6
    assert board["num_sessions"] == 3
    monkeypatch.setenv("GAC_PORT", "8000")  # answers nothing
    assert json.loads(run("arena", "play", *options))["num_votes"] == 3 * 6
    assert run("export", "--format", "arena-rank", "--config", str(config)) == ""
    reference = run("export", "--format", "arena-rank", "--source", "reference", "--config", str(config))
    assert len(reference.splitlines()) == 18
    whole = tmp_path / "all.jsonl"
    run("export", "--output", str(whole), "--config", str(config))
    turns = [json.loads(line)["body"]["turns"][0] for line in whole.read_text().splitlines()]
    assert all(turn[side]["num_tokens"] <= 24 for turn in turns for side in ("left", "right")), "as the task says"
    assert "0 new, 18 known" in run("import", str(whole), "--config", str(config))
    store = Store(f"sqlite:///{tmp_path / 'gac.db'}", server="")
    assert {row.origin for row in store.battles.votes()} == {"reference"}
    store.close()


def test_a_reader_of_an_export_may_leave(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: Exports) -> Iterator[str]:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(Exports, "lines", leave)
    done = CliRunner().invoke(app, ["export", "--config", str(config)])
    assert (done.exit_code, done.output) == (1, "")
