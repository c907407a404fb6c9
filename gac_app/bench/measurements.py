"""The list of measurements. A new one is a function in its own module and a line here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gac_app.bench import api, every_step, gate, reproducible, rules, speculation, start, together
from gac_app.bench.rows import NotMeasured, Row
from gac_app.bench.workbench import Workbench
from gac_app.environment import DEFAULT_CONFIG, read_config
from gac_app.errors import ConfigError, GacError

logger = logging.getLogger(__name__)

TRANSFORMERS_CONFIG = DEFAULT_CONFIG.with_name("transformers-cpu.yaml")


@dataclass(frozen=True, slots=True)
class Measurement:
    """A function that gives rows. `name` is for `--only`."""

    name: str
    measure: Callable[[Workbench], list[Row]]
    config: Path = DEFAULT_CONFIG  # default


# Grouped by configuration, whose members are loaded once.
MEASUREMENTS = (
    Measurement("start", start.measure),
    Measurement("every-step", every_step.measure),
    Measurement("rules", rules.measure),
    Measurement("gate", gate.measure),
    Measurement("side-by-side", together.measure_side_by_side),
    Measurement("at-once", together.measure_many),
    Measurement("api", api.measure),
    Measurement("reproducible", reproducible.measure),
    Measurement("speculation", speculation.measure, TRANSFORMERS_CONFIG),
)


def chosen(names: Sequence[str]) -> list[Measurement]:
    """The measurements of these names, or all. Raises ConfigError for an unknown name."""
    known = [measurement.name for measurement in MEASUREMENTS]
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no measurement {name!r}; expected some of {', '.join(known)}")
    return [measurement for measurement in MEASUREMENTS if not names or measurement.name in names]


def measure_all(measurements: Sequence[Measurement], config: Path | None, is_quick: bool) -> Iterator[Row]:
    """The rows of all measurements, as they come, each with its own configuration or `config`."""
    for path, group in groupby(measurements, key=lambda measurement: config or measurement.config):
        with closing(Workbench(path, read_config(path, os.environ), is_quick=is_quick)) as bench:
            for measurement in group:
                logger.info("measuring %s", measurement.name)
                for row in _rows(measurement, bench):
                    logger.info("%s: %s %s", row.name, "-" if row.value is None else f"{row.value:.3f}", row.note)
                    yield row


def _rows(measurement: Measurement, bench: Workbench) -> list[Row]:
    """The rows of a measurement. If it fails, a failed row, so that the others still run."""
    try:
        return measurement.measure(bench)
    except NotMeasured as reason:
        return [Row(measurement.name, None, note=f"not measured: {reason}")]
    except GacError as error:
        return [Row(measurement.name, None, note=f"failed: {error}", is_failed=True)]
