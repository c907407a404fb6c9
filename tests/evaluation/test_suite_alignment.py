"""The alignment suite: its figures worked by hand, and a run over random members."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.scoring.pieces import Score
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.running import StudyProgress
from gac_app.evaluation.running.systems import parse_systems
from gac_app.evaluation.suites.alignment import Continuation, alignment_systems, run_alignment_suite
from gac_app.evaluation.suites.report import AlignmentReport, KindResult, bits_per_byte, measure, tables
from gac_app.evaluation.suites.texts import held_out, prompts
from gac_app.models.random_model import RandomModel
from tests.fakes import FakeModel, Fault, config_of, ensemble_of

SYSTEMS = "alone:a,every-step+paper,every-step+prefix+posterior"


def bits(num_bits: float, num_bytes: int) -> Score:
    return Score(-num_bits * math.log(2), num_bytes, num_steps=1, num_ensembled=1)


def two_random() -> Ensemble:
    return ensemble_of([RandomModel("a", 1, sharpness=3.0), RandomModel("b", 2, sharpness=3.0)], config_of(["a", "b"]))


def test_bits_per_byte_of_several_texts_counts_every_byte_alike() -> None:
    assert bits_per_byte([bits(10, 5), bits(2, 15)]) == pytest.approx(12 / 20)
    assert bits_per_byte([]) is None


def test_figures_of_code() -> None:
    answers = [
        Continuation("def f(n):\n", b"    if n <= 1:\n         return n\n"),  # parses, oddly indented
        Continuation("def f(n):\n", b"    return n\n  x = 1\n"),  # neither
        Continuation("def f(n):\n", b"    return n\n\xff\n"),  # a broken character is no Python
        Continuation("def f(n):\n", b"    retu", scores={"m": bits(8, 4)}),
    ]
    result = measure("python", answers, [bits(3, 6)])
    assert result.figures == pytest.approx(
        {
            "parses": 2 / 4,
            "parses_before_fence": 2 / 4,
            "indentation": 2 / 4,
            "utf8": 3 / 4,
            "held_out": 0.5,
            "answer_under:m": 2.0,
        }
    )


def test_prose_behind_a_closing_fence_is_no_code() -> None:
    answers = [
        Continuation("def f(n):\n", b"    return n\n```\n\nThis returns n.\n"),
        Continuation("f(", b"1))\n```\n"),
    ]
    figures = measure("python", answers, []).figures
    assert (figures["parses"], figures["parses_before_fence"]) == (0.0, 0.5)
    assert "parses_before_fence" not in measure("markdown", answers, []).figures


def test_figures_of_a_language() -> None:
    answers = [Continuation("Привет", " да".encode()), Continuation("Привет", b" yes 1")]
    result = measure("russian", answers, [])
    assert result.figures == pytest.approx({"utf8": 1.0, "script": 2 / 5, "script_or_latin": 1.0})


def test_a_group_of_one_kind_has_no_row() -> None:
    answers = (Continuation("a", b"b"),)
    one = AlignmentReport(48, {"s": (KindResult("russian", answers, {"utf8": 1.0}),)})
    two = AlignmentReport(48, {"s": (*one.systems["s"], KindResult("greek", answers, {"utf8": 0.5}))})
    labels = [list(tables(report)[0].columns[0].cells) for report in (one, two)]
    assert ("all languages" in labels[0], "all languages" in labels[1]) == (False, True)


def test_a_figure_over_kinds_counts_each_by_its_prompts() -> None:
    one, three = (Continuation("a", b"b"),), (Continuation("a", b"b"),) * 3
    report = AlignmentReport(
        48, {"s": (KindResult("json", one, {"parses": 1.0}), KindResult("yaml", three, {"parses": 0.2}))}
    )
    assert report.figure("s", ("json", "yaml"), "parses") == pytest.approx((1.0 + 3 * 0.2) / 4)
    assert report.figure("s", ("json",), "parses") == 1.0
    assert report.figure("s", ("json",), "script") is None


@pytest.mark.slow
def test_every_system_is_measured_on_every_kind() -> None:
    ensemble = two_random()
    ticks: list[StudyProgress] = []
    report = run_alignment_suite(
        ensemble,
        parse_systems(SYSTEMS, ensemble.config),
        kinds=("json", "thai"),
        max_new_tokens=3,
        on_progress=ticks.append,
    )
    ensemble.close()
    total = 3 * (len(prompts()["json"]) + len(prompts()["thai"]) + len(held_out()["thai"]))
    assert [(tick.num_done, tick.num_total) for tick in ticks] == [(done, total) for done in range(1, total + 1)]
    assert list(report.systems) == SYSTEMS.split(",")
    for results in report.systems.values():
        json_result, thai = results
        assert (json_result.kind, thai.kind) == ("json", "thai")
        assert [answer.prompt for answer in thai.answers] == list(prompts()["thai"])
        assert {"parses", "indentation", "utf8", "answer_under:a", "answer_under:b"} <= set(json_result.figures)
        assert thai.figures["held_out"] > 0
    found = json.loads(json.dumps(report.to_json()))["systems"]["alone:a"]["thai"]
    assert found["figures"] == report.systems["alone:a"][1].figures
    assert found["answers"][0]["prompt"] == prompts()["thai"][0]


def test_prompts_at_once_give_the_same_as_in_turn() -> None:
    models = [RandomModel(name, seed, sharpness=3.0) for seed, name in enumerate("ab")]
    alone = ensemble_of(models, config_of(["a", "b"]), InlineMember)
    at_once = ensemble_of([RandomModel(m.name, seed, sharpness=3.0) for seed, m in enumerate(models)])
    reports = [
        run_alignment_suite(
            ensemble,
            parse_systems("every-step+prefix", ensemble.config),
            kinds=("yaml",),
            max_new_tokens=4,
            num_in_flight=num_in_flight,
        )
        for ensemble, num_in_flight in ((alone, 1), (at_once, 6))
    ]
    at_once.close()
    assert reports[0].to_json() == reports[1].to_json()


def test_a_member_that_fails_ends_the_suite() -> None:
    ensemble = ensemble_of([FakeModel(fault=Fault("raise"))])
    with pytest.raises(GacError):
        run_alignment_suite(ensemble, parse_systems("alone:a", ensemble.config), kinds=("json",))
    ensemble.close()


def test_an_unknown_kind_is_refused() -> None:
    ensemble = two_random()
    with pytest.raises(RequestError, match="klingon"):
        run_alignment_suite(ensemble, [], kinds=("klingon",))
    ensemble.close()


def test_members_and_both_alignments_are_measured() -> None:
    assert [system.name for system in alignment_systems(config_of(["a", "b"]))] == [
        "alone:a",
        "alone:b",
        "every-step+paper",
        "every-step+prefix",
        "every-step+paper+posterior",
        "every-step+prefix+posterior",
    ]


def test_tables_show_each_figure_by_kind_and_over_all_code() -> None:
    answers = (Continuation("a", b"b"),)
    report = AlignmentReport(
        48,
        {
            "one": (KindResult("json", answers, {"parses": 1.0}), KindResult("yaml", answers, {"parses": 0.5})),
            "two": (KindResult("json", answers, {"parses": 0.0}), KindResult("yaml", answers, {"parses": 0.0})),
        },
    )
    console = Console(width=100, file=io.StringIO(), record=True)
    for table in tables(report):
        console.print(table)
    lines = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    assert ["json", "1.000", "0.000"] in lines
    assert ["all", "code", "0.750", "0.000"] in lines
    assert not any("letters" in line for line in lines)  # no language was measured
