"""Studies of pairs: members read reference answers once, and every two of them are mixed from what was read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from gac_app.charts import Panel, Series, line_charts
from gac_app.cli import app
from gac_app.config_file import load_config
from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.metrics.bootstrap import drawn_counts, interval, p_value
from gac_app.evaluation.metrics.dependence import partial_correlation, rank_correlation
from gac_app.evaluation.registered import read_protocol
from gac_app.evaluation.registered.gated import gated_pieces, judged_gates
from gac_app.evaluation.registered.pair_figures import mixed_bits, pair_figures
from gac_app.evaluation.registered.readings import Likely, Reading, ReadingCache, read_all
from gac_app.evaluation.running import parse_system
from gac_app.evaluation.tasks import Question, load_task
from gac_app.loading import load_ensemble

MEMBERS = """
members:
- {name: a, source: 'random:0'}
- {name: b, source: 'random:1'}
- {name: c, of: a, system_prompt: Be brief.}
"""
STUDY = """
about: Do pairs gain?
config: three.yaml
measure: bits-of-pairs
gated: [a, b]
tasks: [{task: arc_challenge, data: choices.jsonl}, {task: triviaqa, data: answers.jsonl}]
"""
THINGS = ["sky", "sea", "snow", "grass", "coal", "blood", "milk", "gold"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "three.yaml").write_text(MEMBERS)
    (tmp_path / "study.yaml").write_text(STUDY)
    colours = ["blue", "white", "black"]
    for kind, rest in (("choices", {"choices": colours, "answer": 1}), ("answers", {"answers": ["white as snow"]})):
        questions = [{"id": thing, "question": f"The colour of {thing} is", **rest} for thing in THINGS]
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return tmp_path


@pytest.fixture
def ensemble(folder: Path) -> Iterator[Ensemble]:
    with closing(load_ensemble(load_config(folder / "three.yaml"))) as loaded:
        yield loaded


def study(folder: Path, *arguments: str) -> Result:
    environment = {"GAC_CACHE": str(folder / "cache")}
    return CliRunner().invoke(app, ["study", str(folder / "study.yaml"), *arguments], env=environment)


def test_the_page_has_every_pair_of_every_task(folder: Path) -> None:
    assert "arc_challenge: 4 development and 4 held-out questions, 3 members, 3 pairs" in study(folder, "--plan").output
    result = study(folder)
    assert result.exit_code == 0, result.exception
    assert "arc_challenge: 4 of 4 questions read" in result.stderr
    page = (folder / "study.md").read_text()
    for task in ("arc_challenge", "triviaqa"):
        rows = page.split(f"\n## {task}\n")[1].split("\n## ")[0].splitlines()
        assert sum(row.startswith("| ") and " + " in row.split("|")[1] for row in rows) == 3 + 1  # and the heading
    assert "differ, %" in (folder / "study.svg").read_text()
    chosen = json.loads((folder / "study.register.json").read_text())["chosen"]
    assert len(chosen) == 6
    assert isinstance(study(folder).exception, RequestError)


def test_an_interrupted_study_ends_with_the_same_page(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    study(folder, "--plan")
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(folder, other, dirs_exist_ok=True)
    add, num_added = ReadingCache.add, 0

    def add_or_fail(cache: ReadingCache, question: Question, readings: object) -> None:
        nonlocal num_added
        num_added += 1
        if num_added == 9:
            raise GacError("interrupted")
        add(cache, question, readings)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ReadingCache, "add", add_or_fail)
        assert isinstance(study(other).exception, GacError)
    for one in (folder, other):
        assert study(one).exit_code == 0
    assert (other / "study.md").read_bytes() == (folder / "study.md").read_bytes()


@pytest.mark.parametrize("pair", [("a", "b"), ("b", "c"), ("a", "c")])
def test_a_mixture_has_the_bits_that_the_ensemble_gives(
    pair: tuple[str, str], ensemble: Ensemble, tmp_path: Path
) -> None:
    task = load_task("triviaqa")
    question = Question(id="1", question="Which colour has snow?", answers=("white, as a sheet of paper",))
    cache = ReadingCache(tmp_path, ensemble.config, ensemble.engines, task)
    read_all(ensemble, task, [question], cache, parallel=2)
    first, second = (cache[question][name][0] for name in pair)
    weights = ":".join("0" if name not in pair else "0.3" if name == pair[0] else "0.7" for name in "abc")
    settings = parse_system(f"every-step+prefix+w={weights}", ensemble.config).settings(ensemble.config)
    [score] = ensemble.score(task.prompt(question), [task.reference(question)], settings, raw=True)
    mixed = mixed_bits(first, second, np.array([0.3]))[0]
    assert mixed / score.num_bytes == pytest.approx(score.bits_per_byte, rel=1e-3)


def test_what_was_read_is_not_read_again(ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, question = load_task("triviaqa"), Question(id="1", question="Is snow white?", answers=("yes",))
    read_all(ensemble, task, [question], ReadingCache(tmp_path, ensemble.config, (), task), parallel=1)
    monkeypatch.setattr(ensemble, "read", lambda *_, **__: pytest.fail("it read again"))
    again = ReadingCache(tmp_path, ensemble.config, (), task)
    read_all(ensemble, task, [question], again, parallel=1)
    assert set(again[question]) == {"a", "b", "c"}


def reading(*tokens: tuple[float, list[Likely]]) -> Reading:
    """Of a text of a byte a token, from each token's log-probability and the likely ones at its place."""
    log_probs = {0: 0.0}
    for place, (log_prob, _) in enumerate(tokens):
        log_probs[place + 1] = log_probs[place] + log_prob
    likely = {place: found for place, (_, found) in enumerate(tokens)}
    return Reading(len(tokens), log_probs, likely, dict.fromkeys(likely, 1.0))


def test_argmaxes_are_those_of_the_mixture() -> None:
    right, wrong, other = (7, True), (8, False), (9, False)
    sure = [Likely(right[0], 0.9, right[1]), Likely(wrong[0], 0.1, wrong[1])]
    torn = [Likely(wrong[0], 0.4, wrong[1]), Likely(right[0], 0.3, right[1])]
    lost = [Likely(other[0], 0.4, other[1]), Likely(right[0], 0.3, right[1])]
    read = {"a": [reading((-0.1, sure), (-1.2, torn))], "b": [reading((-0.1, sure), (-1.2, lost))]}
    found = pair_figures([read], [0], ("a", "b"), [0.1, 0.5, 0.9])
    assert (found.places_N.tolist(), found.differ_N.tolist(), found.hits_N2.tolist()) == ([2], [1], [[1, 1]])
    assert found.hits_NW.tolist() == [[1, 2, 1]]  # with equal weights what both think likely wins


def test_a_gate_keeps_what_its_unsure_pieces_save() -> None:
    unsure, sure = [Likely(1, 0.3, False), Likely(2, 0.175, True)], [Likely(1, 0.9, True), Likely(2, 0.1, False)]
    gate = reading((-4.0, unsure), (-0.1, sure))
    other = reading((-1.0, unsure), (-0.1, sure))
    pieces = {"task": gated_pieces([{"gate": [gate], "other": [other]}], [0], ("gate", "other"), [0.5])}
    found = {gated.rule: gated for gated in judged_gates(pieces, pieces, [0.5])}
    assert found["max-prob"].own == pytest.approx((0.35, 0.5, 1.0))
    assert found["margin"].common == pytest.approx((0.15, 0.5, 1.0))
    assert found["max-prob"].saved == pytest.approx(1 - (-np.log((np.exp(-4) + np.exp(-1)) / 2) + 0.1) / 4.1)
    assert found["entropy"].own.kept == 1  # it is sure of neither less than the other, so it needs all


def test_choices_are_judged_by_the_mixture() -> None:
    good, bad = (reading((log_prob, [Likely(1, 0.5, True)])) for log_prob in (-1.0, -3.0))
    read = {"a": [good, bad], "b": [bad, good]}
    found = pair_figures([read], [0], ("a", "b"), [0.1, 0.9])
    assert found.is_right_NW.tolist() == [[False, True]]


def test_the_bootstrap_is_equal_at_every_call() -> None:
    counts_SN = drawn_counts(30, 4000)
    assert (counts_SN == drawn_counts(30, 4000)).all()
    assert set(counts_SN.sum(1)) == {30}
    found_S = counts_SN @ np.arange(30) / 30 - 14.5
    low, high = interval(found_S)
    half = 1.96 * np.arange(30).std() / np.sqrt(30)
    assert (low, high) == (pytest.approx(-half, rel=0.1), pytest.approx(half, rel=0.1))
    assert p_value(found_S) > 0.9
    assert p_value(found_S + 10) == pytest.approx(2 / 4001)


def test_a_dependence_is_judged_by_permuting_members() -> None:
    strengths = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0, "e": 16.0, "f": 32.0}
    gaps = {(x, y): strengths[y] - strengths[x] for x in strengths for y in strengths if x < y}
    found, p = rank_correlation(gaps, {pair: -gap for pair, gap in gaps.items()})
    assert found == pytest.approx(-1)
    assert p < 0.02
    assert rank_correlation(gaps, dict.fromkeys(gaps, 1.0)) == (0.0, 1.0)
    assert partial_correlation(0.8, 0.8, 1.0) == 0
    assert partial_correlation(0.5, 0.0, 0.0) == pytest.approx(0.5)


def test_weights_of_pairs_have_equal_ones_among_them(folder: Path) -> None:
    (folder / "study.yaml").write_text(f"{STUDY}weights: [0.2, 0.8]\n")
    with pytest.raises(RequestError, match=r"weights: expected numbers between 0 and 1, 0\.5 among them"):
        read_protocol(folder / "study.yaml")


def test_points_may_stand_alone_below_zero_too() -> None:
    [chart] = line_charts("Gain", [Panel("gap", "gain", {"task": Series([(1, -2), (3, 4)])}, are_joined=False)])
    assert [layer["mark"]["type"] for layer in chart["layer"]] == ["point"]
    assert chart["layer"][0]["encoding"]["y"]["scale"]["zero"]
