"""What to use: a setting where members complete each other, the best member alone where nothing is shown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from gac_app.cli import app
from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import RequestError
from gac_app.evaluation.running import Likelihoods, Spending, System, SystemReport, members_alone, parse_system
from gac_app.evaluation.studies import Evaluator
from gac_app.evaluation.studies.advice import _plots
from gac_app.evaluation.studies.advising.adviser import Adviser
from gac_app.evaluation.studies.advising.outcome import Advice, HeldOut
from gac_app.evaluation.studies.advising.wording import pasted, sentences
from gac_app.evaluation.tasks import Question, Task
from gac_app.models.random_model import RandomModel, make_vocabulary
from tests.evaluation.conftest import call
from tests.evaluation.fakes import marked
from tests.fakes import config_of, ensemble_of

LETTERS = b"bcdefghijklmnopqrstuvwxyz"
TASK = Task(
    name="letters", about="A letter.", kind="generation", ask="{question}=", worked="{answer}",
    stop=("\n",), max_new_tokens=2, match="text",
)  # fmt: skip
QUESTIONS = [Question(id=str(n), question=f"q{n}", answers=(chr(LETTERS[n % 25]),)) for n in range(40)]


class Knower(RandomModel):
    """Gives the right letter nine times of ten where it knows it, else each letter alike; then the line ends."""

    def __init__(self, name: str, knows: Callable[[int], bool]) -> None:
        super().__init__(name, vocabulary=make_vocabulary(0))
        self._knows = knows

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        probs_V = torch.full((len(self.vocabulary),), 1e-9)
        question, equals, answer = self.vocabulary.decode(ids).rpartition(b"=")
        if not equals or answer:
            probs_V[ord("\n")] = 1
            return probs_V.log()
        number = int(question.rpartition(b"q")[2])
        probs_V[list(LETTERS)] = 1 / 25
        if self._knows(number):
            probs_V[list(LETTERS)] = 0.1 / 25
            probs_V[LETTERS[number % 25]] = 0.9
        return probs_V.log()


def advice_on(
    ensemble: Ensemble, folder: Path, spending: Spending | None = None, asked: list[Question] = QUESTIONS
) -> Advice:
    with closing(ensemble):
        ask = Evaluator(ensemble, TASK, asked, folder)
        return Adviser(ask, asked, spending or Spending(600), ["geometric"]).advise()


def pair(first: Callable[[int], bool], second: Callable[[int], bool]) -> Ensemble:
    return ensemble_of([Knower("a", first), Knower("b", second)], config_of(["a", "b"]))


@pytest.mark.slow
def test_members_that_complete_each_other_are_mixed(tmp_path: Path) -> None:
    ensemble = pair(lambda n: n // 2 % 2 == 0, lambda n: n // 2 % 2 == 1)
    found = advice_on(ensemble, tmp_path)
    assert found.takes_ensemble
    assert found.judged
    assert (found.judged.chosen.num_right, len(found.judged.chosen.answers)) == (20, 20)
    assert 10 <= found.judged.best.num_right <= 11  # the others are guesses
    assert found.judged.comparison.interval[0] > 0.15
    assert isinstance(found.saved, tuple)
    assert found.saved[1] > 0.1
    verdict, gain, *_ = sentences(found, ensemble.config)
    assert verdict.startswith("Use this setting, which answers more questions right than")
    assert gain.startswith(f"Expected gain over {found.best.alone} alone: +4")
    settings = yaml.safe_load(pasted(found, ensemble.config))["settings"]
    advised = Config.model_validate({"members": ensemble.config.model_dump()["members"], "settings": settings})
    assert advised.settings == found.chosen.settings(ensemble.config)


@pytest.mark.slow
def test_a_member_beside_noise_is_used_alone(tmp_path: Path) -> None:
    """A question that is longer than their context changes nothing."""
    ensemble = pair(lambda n: n % 5 > 0, lambda n: False)
    long = QUESTIONS[0].model_copy(update={"question": "z" * 5000 + "q0"})
    found = advice_on(ensemble, tmp_path, asked=[long, *QUESTIONS[1:]])
    assert (found.best.alone, found.takes_ensemble) == ("a", False)
    assert sentences(found, ensemble.config)[0].startswith("Use a alone: the chosen setting is not shown to be better")
    assert yaml.safe_load(pasted(found, ensemble.config)) == {"settings": {"members": ["a"], "gate": "a"}}
    advised = ensemble.config.settings_from({"members": ["a"], "gate": "a"})
    assert ensemble.config.taking_part(advised) == ("a",)
    told = "Time per token: 2.00 times that of the slowest member alone."
    times = {found.chosen: 4.0, System("alone:a", alone="a"): 1.0, System("alone:b", alone="b"): 2.0}
    assert told in sentences(replace(found, times=times), ensemble.config)
    del times[System("alone:b", alone="b")]
    assert "Time per token" not in " ".join(sentences(replace(found, times=times), ensemble.config)), "b is not timed"


def small_and_large() -> Ensemble:
    """By a rule that gives most texts no probability; the mean is tried all the same."""
    sized = config_of(["a", "b"], {"combine": "unite"})
    members = [member.model_copy(update={"num_params": n}) for member, n in zip(sized.members, (1e6, 3e6), strict=True)]
    config = sized.model_copy(update={"members": tuple(members)})
    return ensemble_of([Knower("a", lambda n: n // 2 % 2 == 0), Knower("b", lambda n: True)], config)


@pytest.mark.slow
def test_the_best_is_asked_where_a_smaller_one_is_unsure(tmp_path: Path) -> None:
    ensemble = small_and_large()
    config = ensemble.config
    found = advice_on(ensemble, tmp_path)
    assert found.cheaper
    [plot] = _plots(found, config)
    assert {"gate a", "gate b"} < {row["series"] for row in plot["data"]["values"]}, "a line for each"
    settings = found.cheaper.chosen.system.settings(config)
    assert (settings.gate, settings.weights, found.best.alone) == ("a", {"a": 0.0, "b": 1.0}, "b")
    assert found.cheaper.chosen.num_right == found.cheaper.best.num_right == 20
    assert 0 < found.cheaper.chosen.share_ensembled < 0.5
    assert "these questions cannot tell whether it is as good" in " ".join(sentences(found, config))
    assert found.taken == found.best
    enough = replace(found, cheaper=held_out("x" * 97, "x" * 97), times={System("e"): 1.0, found.best: 2.0})
    assert (enough.taken, enough.takes_ensemble) == (System("e"), False)
    for times in ({System("e"): 2.0, found.best: 1.0}, {}):
        assert replace(enough, times=times).taken == found.best, "it takes longer, or nobody knows"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [30.0, 60.0, 120.0])
def test_advice_ends_in_time_and_tells_what_it_managed(seconds: float, tmp_path: Path) -> None:
    ensemble, now = pair(lambda n: n % 2 == 0, lambda n: n % 2 == 1), iter(range(10_000))
    spending = Spending(seconds, lambda: next(now) / 2)  # half a second passes at each look
    found = advice_on(ensemble, tmp_path, spending)
    assert found.managed.seconds <= seconds
    assert found.managed.read < found.managed.development == 20
    assert found.managed.judged < found.managed.held_out == 20
    assert f"Of 20 development questions {found.managed.read} were read" in sentences(found, ensemble.config)[-1]
    assert "Bits of reference answers saved" in " ".join(sentences(found, ensemble.config))
    if not found.managed.judged:
        assert "no time to judge" in sentences(found, ensemble.config)[0]


@pytest.mark.slow
def test_what_a_smaller_gate_takes_is_timed_before_time_is_over(tmp_path: Path) -> None:
    now = iter(range(10_000))
    found = advice_on(small_and_large(), tmp_path, Spending(200.0, lambda: next(now) / 2))
    assert found.managed.read < 20
    assert found.cheaper
    assert found.time_of(found.cheaper.chosen.system)


def test_a_member_saves_no_bits_against_itself() -> None:
    config = config_of(["a", "b", "c"], {"members": ["a", "b"]})
    a, b, _ = systems = members_alone(config)
    with closing(ensemble_of([RandomModel(name, 5) for name in "abc"], config)) as ensemble:
        found = Likelihoods(ensemble, TASK)
        asked = [one.model_copy(update={"answers": (" a",)}) for one in QUESTIONS[:8]]
        assert found.measure([*systems, mean := parse_system("every-step", config)], asked) == asked
    assert [*found.saved(mean, a, asked), *found.saved(mean, b, asked)] == pytest.approx([0.0] * 6)


def held_out(right: str, best_right: str) -> HeldOut:
    reports = (SystemReport(System(name), marked(marks)) for name, marks in (("e", right), ("alone:a", best_right)))
    return HeldOut(*reports)


def test_few_questions_show_nothing() -> None:
    """Five won and none lost: p = 2 / 2^5 = 0.0625. Six: 0.03125."""
    assert not held_out("xxxxx", ".....").is_shown
    assert held_out("xxxxxx", "......").is_shown
    assert not held_out("......", "xxxxxx").is_shown
    assert held_out("xxxx", "xxxx").effect_shown is None
    assert not held_out("x" * 95, "x" * 95).is_as_good, "1.96 / 97 is more than 2 points"
    assert held_out("x" * 96, "x" * 96).is_as_good
    assert held_out("x" * 1742, "x" * 1742).effect_shown == 0.03


@pytest.mark.parametrize(("taken", "share", "given"), [(1.0, 0.5, 4), (2.0, 0.5, 2), (6.0, 0.5, 1), (6.0, 0.0, 0)])
def test_time_is_spent_by_the_slowest_so_far(taken: float, share: float, given: int) -> None:
    now = [0.0]
    done = []
    for number in Spending(10, lambda: now[0]).over(range(9), share):
        done.append(number)
        now[0] += taken
    assert done == list(range(given))
    assert len(list(Spending(0, lambda: 0.0).over(range(9), 1, least=2))) == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--minutes", "0"], "minutes: expected more than 0"),
        (["--rules", "loudest"], "unknown combine rule 'loudest'"),
        (["--rules", "unite"], "by 'unite' most texts have no probability"),
        (["--limit", "1"], "too few questions"),
    ],
)
def test_advice_that_cannot_be_is_refused_at_once(arguments: list[str], why: str, folder: Path) -> None:
    done = call(folder, "advise", *arguments)
    assert isinstance(done.exception, RequestError)
    assert why in str(done.exception)


def test_a_task_without_questions_is_refused(folder: Path) -> None:
    done = CliRunner().invoke(app, ["advise", "--config", str(folder / "two.yaml"), "--task", "gsm8k"])
    assert str(done.exception) == "data: is missing; without it, task is one of trivia, sense, sums, not 'gsm8k'"
