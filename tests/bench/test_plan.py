"""The plan: what its simulation says of loads worked out by hand, and beside a server that is measured."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import fmean

import pytest

from gac_app.bench.plan import Costs, Load, measured, num_servers, simulated
from gac_app.bench.together import run_service
from gac_app.errors import GacError
from gac_app.services.runs.views import ENSEMBLE
from tests.bench.conftest import BenchOf
from tests.command_line import run_command
from tests.fakes import WAIT_S, FakeModel

COSTS = Costs(prompt_s=0.1, step_s={1: 0.02, 4: 0.05})
ALONE = Load(num_visitors=1, num_tokens=46, think_s=0.0)


def test_a_round_between_known_sizes_is_in_proportion() -> None:
    assert [COSTS.round_s(size) for size in (1, 2, 4, 8)] == pytest.approx([0.02, 0.03, 0.05, 0.1])
    assert Costs(0.1, {4: 0.05}).round_s(2) == 0.05


def test_one_visitor_waits_for_the_prompt_alone() -> None:
    found = simulated(COSTS, ALONE, at_once=2)
    assert (found.p50_s, found.p95_s) == pytest.approx((0.1, 0.1))
    assert found.tokens_per_s == pytest.approx(46 / (0.1 + 45 * 0.02))


def test_who_finds_no_place_waits_for_an_answer_to_end() -> None:
    """Of two, one decodes for a second while the other one waits."""
    found = simulated(COSTS, replace(ALONE, num_visitors=2), at_once=1)
    assert found.p50_s == pytest.approx(1.1)
    assert found.tokens_per_s == pytest.approx(46.0)


def test_servers_are_counted_by_how_long_a_first_token_takes() -> None:
    load = replace(ALONE, num_visitors=100)
    assert num_servers(COSTS, load, 1, 0.5) == 100
    assert num_servers(COSTS, load, 1, 1.2) == 50
    assert num_servers(COSTS, load, 1, 1000.0) == 1
    with pytest.raises(GacError, match="even for one visitor"):
        num_servers(COSTS, load, 1, 0.05)


@pytest.mark.long  # another process on the same cores spoils it
def test_the_simulation_is_within_15_percent_of_a_server(bench_of: BenchOf) -> None:
    """Two places, five visitors, members whose forward passes take 40 ms each, whatever is in them."""
    num_tokens, num_visitors, num_answers = 32, 5, 6
    models = [FakeModel(name, seed, delay_s=0.04) for seed, name in enumerate("ab")]
    bench = bench_of(models, num_tokens)
    forecast = simulated(measured(bench, [2], num_tokens), Load(num_visitors, num_tokens, 0.0), at_once=2)
    waits, ends_s = list[float](), list[float]()
    with run_service(bench.config, bench.ensemble) as service:

        def visit(number: int) -> None:
            for count in range(num_answers):
                asked_s = time.monotonic()
                prompt = bench.prompts[number % 2]
                run = service.start(f"{number:064d}", prompt, bench.settings().model_dump(), client=str(number))
                assert run.over.wait(WAIT_S)
                ends_s.append(time.monotonic())
                end = run.streams[ENSEMBLE].finished
                assert end is not None
                if count:  # the first ones come at once
                    waits.append(time.monotonic() - asked_s - (end.seconds - end.ttft_s))

        with ThreadPoolExecutor(num_visitors) as pool:
            list(pool.map(visit, range(num_visitors)))
    middle = sorted(ends_s)[2:-2]  # five visitors have asked, and none has gone
    tokens_per_s = num_tokens * (len(middle) - 1) / (middle[-1] - middle[0])
    assert forecast.tokens_per_s == pytest.approx(tokens_per_s, rel=0.15)
    # Equal time for all spreads the waits, which the simulation does not: its median is their mean.
    assert forecast.p50_s == pytest.approx(fmean(waits), rel=0.15)


def test_the_command_counts_servers_from_given_costs() -> None:
    ran = run_command("plan", "--visitors", "1,1000", "--steps", "1=25,2=30", "--prompt-ms", "300", "--json")
    assert ran.returncode == 0, ran.stderr
    one, many = json.loads(ran.stdout)["rows"]
    assert (one["servers"], one["visitors_each"]) == (1, 1)
    assert many["servers"] > 10
    assert many["p95_s"] <= 5.5
    table = run_command("plan", "--visitors", "1", "--steps", "1=25")
    assert "1 at once 25.0 ms" in table.stdout


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--visitors", "1,few", "whole numbers"),
        ("--visitors", "0", "whole numbers"),
        ("--steps", "25", "runs at once and milliseconds"),
        ("--steps", "0=25", "runs at once and milliseconds"),
        ("--steps", "1=-2", "runs at once and milliseconds"),
    ],
)
def test_figures_that_are_none_are_refused(option: str, value: str, expected: str) -> None:
    ran = run_command("plan", option, value)
    assert ran.returncode == 2
    assert expected in ran.stderr
