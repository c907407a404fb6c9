"""Ensembles of whole answers: which answer each rule chooses, what it costs, and that members are asked once."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import RequestError
from gac_app.evaluation.running.answering import choose, least_risk, lowest_perplexity, most_frequent
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import parse_system, parse_systems
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.tasks.task import load_task
from tests.decoding.conftest import make
from tests.evaluation.conftest import call
from tests.evaluation.fakes import CAPITALS, CHOICES, CONFIG, FakeEnsemble
from tests.fakes import config_of

NQ, PIQA = load_task("nq"), load_task("piqa")


def test_the_most_frequent_answer_wins_but_never_silence() -> None:
    assert most_frequent(["Rome", "the Paris!", "paris"], "words") == 1
    assert most_frequent(["Rome", "Paris"], "words") == 0
    assert most_frequent(["", "", "Paris"], "words") == 2
    assert most_frequent(["", ""], "words") == 0


def test_least_risk_is_the_answer_most_like_the_others() -> None:
    assert least_risk(["a blue sky", "no idea", "the blue sky", "blue skies"]) in (0, 2)
    assert least_risk(["no idea", "blue", "blue"]) == 1
    assert least_risk(["alone"]) == 0


def test_lowest_perplexity_is_the_members_mean() -> None:
    ensemble = make(0, 1)
    texts = ["", " ab", " the of", " ab"]
    settings = ensemble.config.settings
    bits = {
        text: sum(ensemble.score("x", [text], settings, alone=m, raw=True)[0].bits_per_byte for m in ensemble.members)
        for text in texts[1:3]
    }
    assert texts[lowest_perplexity(ensemble, "x", texts)] == min(bits, key=lambda text: bits[text])
    assert lowest_perplexity(ensemble, "x", ["", ""]) == 0


CANDIDATES = [
    Graded("it", False, "Milan", " Milan", num_tokens=3, seconds=1.0, ttft_s=0.2, member_seconds=0.5),
    Graded("it", True, "Rome", " Rome", num_tokens=4, seconds=3.0, ttft_s=0.5, member_seconds=2.0),
    Graded("it", True, "Rome", " Rome.", num_tokens=5, seconds=2.0, ttft_s=0.5, member_seconds=1.0),
]


def test_a_choice_costs_the_longest_time_and_all_passes() -> None:
    chosen = choose(cast(Ensemble, FakeEnsemble()), NQ, CAPITALS[1], "vote", CANDIDATES)
    assert (chosen.is_right, chosen.text, chosen.num_tokens, chosen.num_ensembled) == (True, " Rome", 4, 0)
    assert chosen.seconds == pytest.approx(3.0, abs=0.5)
    assert (chosen.ttft_s, chosen.member_seconds) == (0.0, 3.5)


def test_a_failed_candidate_is_the_failure() -> None:
    broken = Graded("it", error="b: broke")
    assert choose(cast(Ensemble, FakeEnsemble()), NQ, CAPITALS[1], "mbr", [CANDIDATES[0], broken]) == broken


def test_of_choices_a_text_is_chosen_without_probabilities() -> None:
    fake = FakeEnsemble(bits={" green": 3.0, " blue": 2.0})
    given = [Graded("sky", False, "green", log_probs=(-1.0, -2.0)), Graded("sky", True, "blue", log_probs=(-2.0, -1.0))]
    chosen = choose(cast(Ensemble, fake), PIQA, CHOICES[0], "lowest-perplexity", given)
    assert (chosen.is_right, chosen.prediction, chosen.log_probs) == (True, "blue", ())


def test_a_name_says_the_candidates() -> None:
    system = parse_system("vote+samples=2+temperature=0.5", config_of(["a", "b"], {"gate": "b"}))
    assert [(c.alone, dict(c.changes)) for c in system.candidates] == [
        ("b", {}),
        ("a", {}),
        *((name, {"temperature": 0.5, "seed": seed}) for seed in (1, 2) for name in "ba"),
    ]
    alone = parse_system("vote+of=a+samples=2", config_of(["a", "b"], {"gate": "b"}))  # self-consistency
    assert [c.alone for c in alone.candidates] == ["a", "a", "a"]
    assert [len(parse_system(name, CONFIG).candidates) for name in ("mbr", "lowest-perplexity")] == [2, 2]


def test_members_are_asked_once_for_all_rules(tmp_path: Path) -> None:
    systems = parse_systems("vote,alone:a,mbr+samples=1", CONFIG)
    fake = FakeEnsemble({"France": " Paris", "Italy": " Rome", "Poland": " Krakow"})
    answers = Evaluator(cast(Ensemble, fake), NQ, CAPITALS, tmp_path, parallel=4)(systems, CAPITALS)
    assert len(fake.asked) == 4 * len(CAPITALS), "two members, greedy and one sample"
    assert [answer.is_right for answer in answers[systems[0]]] == [True, True, False]
    temperatures = [settings.temperature for _, _, settings in fake.asked]
    assert (temperatures.count(0.0), temperatures.count(0.7)) == (6, 6)
    assert len(list(tmp_path.iterdir())) == 2 + 4, "a cache for each system and each candidate"


def test_where_systems_must_decode_rules_are_refused(folder: Path) -> None:
    assert isinstance(call(folder, "calibrate", "--systems", "vote", task="piqa").exception, RequestError)
