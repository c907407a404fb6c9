"""Studies by protocol: planned, chosen on some questions, judged on others; a kill changes nothing. Those among the
examples fit the GPUs that they name, and start with tiny members.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from typer.testing import CliRunner, Result

from gac_app.cli import app
from gac_app.config_file import load_config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.rules import gate_rules
from gac_app.decoding.trace.events import Event, FinishedEvent, FinishReason
from gac_app.errors import RequestError
from gac_app.evaluation.protocols import Protocol, StudyRun, read_protocol
from gac_app.evaluation.protocols.protocol import Part, parts_of
from gac_app.models.hardware.devices import parse_devices
from gac_app.models.hardware.placement import plan
from gac_app.settings import Settings
from tests.evaluation.conftest import killed_with
from tests.evaluation.fakes import FakeEnsemble
from tests.fakes import config_of
from tests.models import tiny

THINGS = ["sky", "sea", "snow", "grass", "coal", "blood", "milk", "gold", "rust", "jade", "bone", "rose"]
STUDY = """
about: Do members know colours?
config: two.yaml
tasks: [{task: arc_challenge, data: choices.jsonl}, {task: triviaqa, data: answers.jsonl}]
gates: [every-step, gate@0.5]
rules: [mean, geometric]
rivals: [vote]
parallel: 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    members = "members:\n- {name: a, source: 'random:0'}\n- {name: b, of: a, system_prompt: Be brief.}\n"
    (tmp_path / "two.yaml").write_text(members)
    (tmp_path / "study.yaml").write_text(STUDY)
    colours = ["blue", "white", "black"]
    for kind, rest in (("choices", {"choices": colours, "answer": 1}), ("answers", {"answers": ["white"]})):
        questions = [{"id": thing, "question": f"The colour of {thing} is", **rest} for thing in THINGS]
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return tmp_path


def study(folder: Path, *arguments: str, name: str = "study") -> Result:
    environment = {"GAC_CACHE": str(folder / "cache")}
    return CliRunner().invoke(app, ["study", str(folder / f"{name}.yaml"), *arguments], env=environment)


def done(folder: Path, *arguments: str, name: str = "study") -> Result:
    result = study(folder, *arguments, name=name)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result


def why_refused(folder: Path, *arguments: str) -> str:
    result = study(folder, *arguments)
    assert isinstance(result.exception, RequestError)
    return str(result.exception)


def test_the_plan_tells_questions_and_answers(folder: Path) -> None:
    told = "triviaqa: 6 development and 6 held-out questions (2,476 needed; no points can be shown), 54 answers\n"
    assert told in done(folder, "--plan").output
    assert not (folder / "study.md").exists()


@pytest.mark.process
def test_the_page_says_when_its_protocol_was_committed(folder: Path) -> None:
    def git(*command: str, day: str = "2024-02-03T12:00:00Z") -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        days = {"GIT_COMMITTER_DATE": day, "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z"}
        subprocess.run(["git", "-C", folder, *who, *command], check=True, capture_output=True, env=os.environ | days)

    def told() -> str:
        done(folder)
        page = (folder / "study.md").read_text()
        digest = hashlib.sha256((folder / "study.yaml").read_bytes()).hexdigest()
        return page.partition(f"The protocol is `study.yaml`, SHA-256 `{digest}`, ")[2].partition(".")[0]

    assert told() == "not committed", "no repository"
    git("init")
    assert told() == "not committed", "of a file that git does not know"
    git("add", "study.yaml")
    git("commit", "-m", "x")
    assert told() == "committed on 2024-02-03"
    with (folder / "study.yaml").open("a") as file:
        file.write("seed: 1\n")
    assert told() == "not committed", "as it is now"
    git("commit", "-am", "x", day="2024-05-06T12:00:00Z")
    assert told() == "committed on 2024-05-06"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_two_kills_leave_the_page_as_it_would_be(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    killed = tmp_path_factory.mktemp("killed")
    shutil.copytree(folder, killed, dirs_exist_ok=True)
    for _ in range(2):
        ended = killed_with(30, killed, "study", str(killed / "study.yaml"))
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    done(killed)
    done(folder)
    page, other = (re.sub(r" \d+\.\d\d \|", "", (one / "study.md").read_text()) for one in (folder, killed))
    assert page == other, "seconds apart"
    assert "python -m gac_app study study.yaml" in page
    assert page.count("### Held out") == 2


def test_a_page_without_a_folder_is_refused_at_once(folder: Path) -> None:
    result = study(folder, "--page", str(folder / "none" / "page.md"))
    assert (result.exit_code, (folder / "cache").exists()) == (2, False)


def test_the_seed_cuts_questions_that_share_nothing(folder: Path) -> None:
    protocol = read_protocol(folder / "study.yaml")
    [part, _] = parts_of(protocol)
    ids = [{question.id for question in given} for given in (part.development, part.held_out)]
    assert (len(ids[0]), len(ids[1]), ids[0] & ids[1]) == (6, 6, set())
    other = protocol.model_copy(update={"seed": 1}).cut(part.questions)
    assert {question.id for question in other[0]} != ids[0]
    for changes, counts in (
        ({"questions": 4}, [2, 2]),
        ({"development": 0.25}, [3, 9]),
        ({"development": 0.01}, [1, 11]),
        ({"development": 0.99}, [11, 1]),
        ({"development": 0.1, "effect": 0.95, "discordant": 1.0}, [1, 9]),  # as many as are needed
    ):
        assert [len(given) for given in protocol.model_copy(update=changes).cut(part.questions)] == counts


def test_every_rule_is_tried_whatever_the_usual_one(folder: Path) -> None:
    config = config_of(["a", "b"], {"combine": "geometric"})
    found = [(one.name, one.settings(config).combine) for one in read_protocol(folder / "study.yaml").grid(config)]
    assert found[:2] == [("every-step+combine=mean", "mean"), ("every-step", "geometric")]


def test_where_nothing_spares_as_much_none_is_judged(folder: Path) -> None:
    one = STUDY.replace("[every-step, gate@0.5]", "[every-step]").replace("[mean, geometric]", "[mean]")
    (folder / "study.yaml").write_text(one + "sparing: 0.01\n")
    done(folder)
    assert "No setting of the grid had at most 1% of the steps ensembled" in (folder / "study.md").read_text()


@pytest.mark.parametrize(("text", "why"), [
    ("about: x", "config: Field required"), ("[", "not a study"),
    (STUDY + "measure: bits-of-pairs\n", "there are no studies of pairs any more; remove this study"),
    (STUDY + "effect: 0.5\n", "discordant: is less than the effect"), (STUDY + "colour: red\n", "colour: unknown key"),
    (STUDY + "parallel: 2\n", "duplicate key 'parallel'"),
    (STUDY.replace("triviaqa", "arc_challenge"), "arc_challenge needs 'choices'"),
    (STUDY.replace("every-step, gate@0.5", ""), "gates: Tuple should have at least 1 item"),
    (STUDY + "systems: [vote]\n", "'vote' chooses among whole answers; expected systems that decode"),
    (STUDY + "systems: ['alone:a']\n", "'alone:a' is judged as a member; expected settings of the ensemble"),
    (STUDY.replace("gate@0.5", "gate"), "unknown system 'gate'; expected alone:MEMBER"),
])  # fmt: skip
def test_a_faulty_study_is_refused(text: str, why: str, folder: Path) -> None:
    (folder / "study.yaml").write_text(text)
    assert why in why_refused(folder)


def test_a_question_that_stands_twice_is_refused(folder: Path) -> None:
    with (folder / "answers.jsonl").open("a") as file:
        file.write('\n{"id": "again", "question": "The  colour of SKY is ", "answers": ["white"]}')
    assert "again: asks what another question asks" in why_refused(folder)
    asked = [{"id": n, "question": f"The colour of {thing} is", "answers": ["white"]} for n, thing in enumerate(THINGS)]
    (folder / "answers.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "other.jsonl").write_text("\n".join(json.dumps(one | {"id": f"z{one['id']}"}) for one in asked))
    (folder / "study.yaml").write_text(STUDY.replace("arc_challenge, data: choices", "nq, data: other"))
    assert "is held out, but another task develops on it" in why_refused(folder)


@pytest.mark.parametrize(("kind", "given", "why"), [
    ("answers", {"question": "The sea " * 3000, "answers": ["white"]}, "data: triviaqa, odd: prompt: is "),
    ("choices", {"choices": ["The sea " * 3000, "white"], "answer": 1}, "data: arc_challenge, odd: prompt: is "),
    ("answers", {"answers": [" ", ""]}, "data: triviaqa, odd: no answer can match ' "),
])  # fmt: skip
def test_what_cannot_be_answered_is_refused_at_first(kind: str, given: dict[str, Any], why: str, folder: Path) -> None:
    with (folder / f"{kind}.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"id": "odd", "question": "?", **given}))
    assert why in why_refused(folder)
    assert not list(folder.glob("cache/**/*.jsonl")), "before anything was asked"


# --- the choice: by the development half alone, and of equals the cheapest

TASKS = ("triviaqa", "nq")
CHEAPEST = "gate@0.2+w=1:1:0"  # never asks c
# Of each system: on which half it is right, and how many of its four steps ask all members.
PLANNED = {
    "a": ("first", 0),
    "b": ("last", 0),
    "c": ("last", 0),
    1.0: ("last", 4),
    0.8: ("first", 3),
    0.5: ("first", 0),  # agreement, which asks all members to know
    0.3: ("first", 1),
    0.2: ("first", 1),
    0.1: ("last", 0),
    0.25: ("first", 1),  # by chance as often as the sparing setting
    0.0: ("last", 0),
}


class Planned(FakeEnsemble):
    """Every system is right on one half of the questions; a setting is known by its threshold."""

    parts: list[Part]
    members = ()  # no prompt is too long for them

    def generate(self, prompt: str, settings: Settings, *, alone: str | None, **_: Any) -> Generator[Event, None, None]:
        half, num_ensembled = PLANNED[alone or settings.threshold]
        asked = [one for part in self.parts for one in (part.development if half == "first" else part.held_out)]
        is_right = any(f"{question.question}\n" in prompt or f"{question.question}?\n" in prompt for question in asked)
        yield FinishedEvent(FinishReason.STOP, "white" if is_right else "red", 4, num_ensembled, 0.5, 2.0, {})


@pytest.mark.parametrize("sparing", [0.8, 0.1])
def test_the_cheapest_of_the_best_on_the_first_half_is_chosen(sparing: float, tmp_path: Path) -> None:
    """On the held-out half, other settings and another member are best."""
    tasks = []
    for name in TASKS:
        lines = [f'{{"question": "{name} {n}", "answers": ["white"]}}' for n in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        tasks.append({"task": name, "data": tmp_path / f"{name}.jsonl"})
    gates = ("gate@1", "gate@0.8", "gate@0.3", CHEAPEST, "gate@0.1", "agreement")
    protocol = Protocol.model_validate(
        {"about": "?", "config": tmp_path, "tasks": tasks, "gates": gates, "sparing": sparing, "parallel": 1}
    )
    config = config_of(["a", "b", "c"])
    ensemble = Planned(config=config)
    ensemble.parts = parts_of(protocol)
    study = StudyRun(tmp_path / "study.yaml", protocol, config, tmp_path)
    study.grid = [replace(one, changes={**one.changes, "gate_params": {"of": "a plug-in"}}) for one in study.grid]
    judged = study.run(cast(Ensemble, ensemble), lambda _name, _progress: None)
    assert [(one.chosen.name, one.best.name) for one in judged] == [(CHEAPEST, "alone:a")] * 2
    right = {system.name: scored.num_right for one in judged for system, scored in one.held_out.items()}
    assert (right[CHEAPEST], right["alone:a"], right["alone:b"]) == (0, 0, 4), "judged on the other half"
    assert {one.sparing and one.sparing.name for one in judged} == {CHEAPEST if sparing == 0.8 else "gate@0.1"}
    chance = {one.chance: one.held_out[one.chance].share_ensembled for one in judged if one.chance}
    rules = {(gate_rules.of(one.settings(config)).rule_name, share) for one, share in chance.items()}
    assert rules == {("random", 0.25 if sparing == 0.8 else 0.0)}
    assert {len(scored.answers) for one in judged for scored in one.timed.values()} == {4}
    assert all(test.comparison.delta <= 0 for test in study.tests(judged) if test.setting.system.name == CHEAPEST)


EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = EXAMPLES / "study-8b"


@pytest.mark.parametrize(
    ("devices", "places", "devices_disjoint"),
    [
        ("1x48GiB", ["cuda:0", "cuda:0"], False),
        ("1x80GiB", ["cuda:0", "cuda:0"], False),
        ("2x24GiB", ["cuda:0", "cuda:1"], True),
        ("4x24GiB", ["cuda:0", "cuda:1"], True),
    ],
)
def test_it_fits_the_gpus_that_it_names(devices: str, places: list[str], devices_disjoint: bool) -> None:
    config, protocol = load_config(RECIPE / "members.yaml"), read_protocol(RECIPE / "study.yaml")
    planned = plan(config.members, parse_devices(devices))
    assert [placement.device for placement in planned.placements.values()] == places
    assert (planned.warnings, planned.devices_disjoint) == ((), devices_disjoint)
    assert all(member.max_sequences >= 2 * protocol.parallel for member in config.members)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "name", "tasks"), [("8b", "study", 2), ("pay", "pay", 3)])
def test_it_runs_in_miniature_with_random_weights(recipe: str, name: str, tasks: int, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / f"study-{recipe}", tmp_path, dirs_exist_ok=True)
    members = yaml.safe_load((tmp_path / "members.yaml").read_text())
    for seed, member in enumerate(members["members"]):
        tiny.save_llama(tmp_path / f"tiny-{seed}", seed, max_position_embeddings=2048)
        member |= {"source": f"tiny-{seed}", "device": "cpu", "dtype": "float32", "num_params": 1e5, "num_threads": 1}
    (tmp_path / "members.yaml").write_text(yaml.safe_dump(members))
    for task in tmp_path.glob("[gm]*.yaml"):
        task.write_text(re.sub(r"max_new_tokens: \d+", "max_new_tokens: 8", task.read_text()))
    for asked in ("gsm8k", "mbpp", "triviaqa"):
        questions = [{"id": str(n), "question": f"What is {n} and 1?", "answers": [str(n + 1)]} for n in range(4)]
        (tmp_path / f"{asked}.jsonl").write_text("\n".join(map(json.dumps, questions)))
    done(tmp_path, name=name)
    page = (tmp_path / f"{name}.md").read_text()
    assert page.count("### Held out") == tasks
    assert "gate@0.9" in page
