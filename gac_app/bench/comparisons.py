"""The table of measurements. Most compare two ways of answering the same prompts, as ratios.

Members run at the same time, so a step should take little longer than its slowest member: 1.008 to 1.016 times in the
paper, and less if a member drafts while it would wait. "Alone" means with the same threads, through the same engine.
With the default gate the others read along while nobody waits for them, so that a token takes at most as long as at
every step. A lazy gate asks them only at ensembled steps, so that the members compute least. Pending reads of a model
share its next forward pass, so several answers at once, or several views, do not cost a multiple.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from gac_app.bench import reproducible, start
from gac_app.bench.harness import Answers, Harness, Way
from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.config import Config
from gac_app.environment import config_path, read_config
from gac_app.errors import ConfigError, GacError

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

logger = logging.getLogger(__name__)

NUM_AT_ONCE = 8
_SYSTEM_PROMPTS = ("Answer in plain words.", "Think step by step.", "Be exact, and give examples.")


class Figure(NamedTuple):
    """What is compared of two ways."""

    unit: str
    of: Callable[[Answers], float]


TIME = Figure("ms/token", lambda answers: answers.mean(lambda answer: answer.ms_per_token))
OVERHEAD = Figure("ms/step", lambda answers: answers.mean(lambda answer: answer.overhead_ms))
WORK = Figure("member-s/token", lambda answers: answers.mean(lambda answer: answer.member_s))
PACE = Figure("tokens/s", lambda answers: answers.tokens_per_s)
ALLOWED = Figure("tokens/s", lambda answers: NUM_AT_ONCE / answers.mean(lambda answer: answer.pass_s))


@dataclass(frozen=True)
class Comparison:
    """A row: a figure of one way ÷ a figure of another, or the largest of several.

    Attributes:
        figures: of ours, and of theirs.
    """

    name: str
    target: Target
    figures: tuple[Figure, Figure]
    ours: Way
    theirs: tuple[Way, ...]


def _steps(config: Config) -> Iterator[Comparison]:
    every, alone = Way(), tuple(Way(alone=name) for name in config.member_names)
    plain = Way({"speculation": "off"})  # a step is its passes and the overhead
    auto, lazy = (Way({"mode": "gate", "gate_policy": policy}) for policy in ("auto", "lazy"))
    yield Comparison("every step ÷ slower member alone", Target("<=", 1.08), (TIME, TIME), every, alone)
    name = "combine, sample and trace ÷ slower member's step"
    yield Comparison(name, Target("<=", 0.05), (OVERHEAD, TIME), plain, alone)
    yield Comparison("gate, auto: ms/token ÷ every step's", Target("<=", 1.0), (TIME, TIME), auto, (every,))
    name = "gate, lazy: member-seconds a token ÷ every step's"
    yield Comparison(name, Target("<=", 1.0), (WORK, WORK), lazy, (every,))


def _at_once(config: Config) -> Iterator[Comparison]:
    if any(member.max_sequences < NUM_AT_ONCE for member in config.members):
        raise NotMeasured(f"needs max_sequences of at least {NUM_AT_ONCE} in every member")
    gate = {"mode": "gate"}
    many, one = Way(gate, num_at_once=NUM_AT_ONCE), Way(gate)
    gates = Way(gate, alone=config.settings.gate, num_at_once=NUM_AT_ONCE)
    name = f"{NUM_AT_ONCE} runs at once: tokens/s ÷"
    yield Comparison(f"{name} one run's", Target(">=", 1.9), (PACE, PACE), many, (one,))
    allowed = f"{name} what the gate's passes of {NUM_AT_ONCE} allow"
    yield Comparison(allowed, Target(">=", 0.85), (PACE, ALLOWED), many, (gates,))


def _views(config: Config) -> Iterator[Comparison]:
    views = config.member_names[1:]
    of_views = {"members": views, "gate": views[0]}
    three, one = Way(of_views), Way(of_views, alone=views[0])
    yield Comparison("three views ÷ one", Target("<=", 1.6), (TIME, TIME), three, (one,))


def _with_views(config: Config) -> Config:
    """The gate's model and three views of it. Raises NotMeasured if a server computes it."""
    gate = config.member(config.settings.gate)
    base = config.member(gate.of or gate.name)
    if base.server:
        raise NotMeasured(f"{base.name} runs on a server, so it has no views")
    members = [base, *({"name": f"view: {text}", "of": base.name, "system_prompt": text} for text in _SYSTEM_PROMPTS)]
    return Config.model_validate({**dict(config), "members": members, "settings": {}, "arena": {}})


def compared(harness: Harness, ensemble: Ensemble, comparisons: Sequence[Comparison]) -> list[Row]:
    """The rows of these comparisons, whose ways all answer in turn."""
    ways = dict.fromkeys(way for one in comparisons for way in (one.ours, *one.theirs))
    answers = dict(zip(ways, harness.in_turn(ensemble, *ways), strict=True))

    rows = []
    for one in comparisons:
        our_figure, their_figure = one.figures
        ours = list(map(our_figure.of, answers[one.ours]))
        theirs = max((list(map(their_figure.of, answers[way])) for way in one.theirs), key=median)
        note = f"{median(ours):.4g} {our_figure.unit}, {median(theirs):.4g} {their_figure.unit}"
        rows.append(Row.ratio(one.name, ours, theirs, one.target, note))
    return rows


def measure_steps(harness: Harness) -> list[Row]:
    return compared(harness, harness.ensemble, list(_steps(harness.config)))


def measure_at_once(harness: Harness) -> list[Row]:
    return compared(harness, harness.ensemble, list(_at_once(harness.config)))


def measure_views(harness: Harness) -> list[Row]:
    config = _with_views(harness.config)
    with closing(harness.loaded(config)) as ensemble:
        return compared(harness, ensemble, list(_views(config)))


Measure = Callable[[Harness], list[Row]]

MEASUREMENTS: Mapping[str, Measure] = {
    "start": start.measure,
    "steps": measure_steps,
    "at-once": measure_at_once,
    "reproducible": reproducible.measure,
    "views": measure_views,
}


def chosen(names: Sequence[str]) -> dict[str, Measure]:
    """The measurements of these names; of none, all. Raises ConfigError for an unknown name."""
    for name in names:
        if name not in MEASUREMENTS:
            raise ConfigError(f"there is no measurement {name!r}; expected some of {', '.join(MEASUREMENTS)}")
    return {name: measure for name, measure in MEASUREMENTS.items() if not names or name in names}


def measure_all(measurements: Mapping[str, Measure], config: Path | None, is_quick: bool) -> Iterator[Row]:
    """The rows of all measurements, as they come. One that fails gives a failed row, so that the others still run."""
    path = config_path(config, os.environ)
    with closing(Harness(path, read_config(path, os.environ), is_quick=is_quick)) as harness:
        for name, measure in measurements.items():
            logger.info("measuring %s", name)
            try:
                yield from measure(harness)
            except NotMeasured as reason:
                yield Row(name, None, note=f"not measured: {reason}")
            except GacError as error:
                yield Row(name, None, note=f"failed: {error}", is_failed=True)
