"""All studies over planned answers give the tables, sentences and figures that were once found right.

`python -m tests.evaluation.test_frozen` freezes what they give now. Look at the difference before you keep it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.scoring import Score
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, MemberUsage
from gac_app.evaluation.protocols import Protocol, StudyRun, page_of, plot_of
from gac_app.evaluation.studies import EnsembleStudy, Evaluator, StudyResult, explained, studies, to_csv
from gac_app.evaluation.tasks import SAMPLES, Question, asked
from gac_app.settings import Settings
from tests.fakes import config_of

FROZEN = Path(__file__).parents[1] / "data" / "studies.json"
CONFIG = config_of(["a", "b", "c"])
RIGHT_IN_100 = {"a": 60, "b": 40, "c": 50, None: 70}  # of each member alone; of every other system
# Each study with its arguments and the questions that it is asked.
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("advise", {"minutes": 1_000}, "trivia"),
    ("eval", {"against": "gate@0.3"}, "trivia"),
    ("eval", {"systems": "alone:a,agreement,every-step"}, "sense"),
    ("sweep", {"gates": "a,b", "thresholds": "0.9,0.1,0.9"}, "trivia"),
    ("sweep", {"options": "paper"}, "sense"),
    ("calibrate", {}, "sense"),
    ("snowball", {"plant": "word"}, "trivia"),
    ("snowball", {"plant": "sentence"}, "sums"),
]


def number_of(*parts: Any) -> int:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest(), 16)


class Planned:
    """Answers depend on the end of the prompt and on the system alone; one in seventeen fails, if so many questions are
    asked that some may.
    """

    config: Config = CONFIG
    engines = ("x",) * 3
    members = ()

    def __init__(self, questions: list[Question], *, fails: bool) -> None:
        self._questions, self._fails = questions, fails

    def generate(
        self, prompt: str, settings: Settings, *, alone: str | None = None, raw: bool = False, namespace: str = ""
    ) -> Iterator[FinishedEvent]:
        drawn = number_of(prompt[-300:], alone or settings.model_dump_json(exclude_defaults=True))
        [answers] = {one.answers for one in self._questions if one.question.strip() in prompt[-600:].split("\n\n")[-1]}
        num = 3 + drawn % 7
        is_right, is_broken = drawn % 100 < RIGHT_IN_100[alone], self._fails and drawn % 17 == 0
        text = f" {answers[0]}" if is_right else f" no{drawn % 5} idea {drawn % 3}"
        text = f" It is so. The answer is{text}." if "answer is" in prompt else text
        yield FinishedEvent(
            FinishReason.ERROR if is_broken else FinishReason.STOP,
            text,
            num,
            0 if alone else num if settings.mode == "every-step" else drawn % (num + 1),
            ttft_s=0.1,
            seconds=0.1 + num * (0.01 + drawn % 50 / 1000),
            members={name: MemberUsage(num, num, num * 0.01) for name in "abc"},
            detail="b: broke" if is_broken else "",
        )

    def score(
        self, prompt: str, texts: list[str], settings: Settings, *, alone: str | None = None, **_: Any
    ) -> list[Score]:
        system = alone or settings.model_dump_json(exclude_defaults=True)
        drawn = [number_of(prompt[-300:], text, system) for text in texts]
        lengths = [len(text.encode()) for text in texts]
        return [Score(-0.5 - n % 1000 / 400 * size, size, 3, n % 4) for n, size in zip(drawn, lengths, strict=True)]

    def forget(self, namespace: str) -> None:
        pass


def result_of(name: str, arguments: dict[str, Any], sample: str) -> StudyResult:
    task, questions = asked(*SAMPLES[sample])
    study = next(one for one in studies() if one.name == name)(**arguments)
    assert not isinstance(study, EnsembleStudy)
    ensemble = cast(Ensemble, Planned(questions, fails=name in ("eval", "snowball", "sweep")))
    with TemporaryDirectory() as folder:
        return study.run(Evaluator(ensemble, task, questions, Path(folder)), questions[:36])


def told(result: StudyResult) -> list[str]:
    """All of a result: its tables and sentences as they are, the figures and charts as a digest."""
    timed = result.study == "advise"  # by the clock
    rounded = json.loads(json.dumps([result.data, result.plots]), parse_float=lambda text: f"{float(text):.6g}")
    digest = hashlib.sha256(json.dumps(rounded).encode()).hexdigest()
    sentences = [result.heading, *result.remarks[: -1 if timed else None], result.failure, *explained(result)]
    return [*to_csv(result.tables).splitlines(), *sentences, result.settings, "" if timed else digest]


def page(folder: Path) -> list[str]:
    """Of a study by protocol."""
    tasks = [{"task": task, "data": data} for task, data in (SAMPLES["trivia"], SAMPLES["sense"])]
    grid = {"gates": ["every-step", "gate@0.5"], "rules": ["mean", "geometric"], "sparing": 0.6}
    given = {"about": "?", "config": folder, "tasks": tasks, "rivals": ["every-step+posterior"], "parallel": 1, **grid}
    (folder / "study.yaml").write_text("the protocol")
    run = StudyRun(folder / "study.yaml", Protocol.model_validate(given), CONFIG, folder)
    ensemble = cast(Ensemble, Planned(asked(*SAMPLES["trivia"])[1], fails=False))
    judged = run.run(ensemble, lambda _name, _progress: None)
    text = page_of(run, judged, "study.svg")
    points = [line for plot in plot_of(judged) for line in plot["description"].split(";")]
    return [*run.plan_lines(), *text.splitlines(), *points]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "sample"), CASES, ids=lambda value: str(value))
def test_studies_give_what_was_once_right(name: str, arguments: dict[str, Any], sample: str) -> None:
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert told(result_of(name, arguments, sample)) == frozen[f"{name} {arguments} {sample}"]


@pytest.mark.slow
def test_a_studys_page_is_what_was_once_right(tmp_path: Path) -> None:
    assert page(tmp_path) == json.loads(FROZEN.read_text(encoding="utf-8"))["page"]


if __name__ == "__main__":
    found = {f"{name} {given} {sample}": told(result_of(name, given, sample)) for name, given, sample in CASES}
    with TemporaryDirectory() as work:
        found["page"] = page(Path(work))
    FROZEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
