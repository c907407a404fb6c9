"""The list of measurements. A new one is a function in its own module and a line here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gac_app.bench import prompts, reproducible, rules, start, steps, together, visitors
from gac_app.bench.rows import NotMeasured, Row
from gac_app.bench.workbench import Workbench
from gac_app.environment import config_path, read_config
from gac_app.errors import ConfigError, GacError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A function that gives rows. `name` is for `--only`; one that `is_long` runs only by its name."""

    name: str
    measure: Callable[[Workbench], list[Row]]
    is_long: bool = False


MEASUREMENTS = (
    Measurement("start", start.measure),
    Measurement("steps", steps.measure),
    Measurement("rules", rules.measure),
    Measurement("at-once", together.measure_many),
    Measurement("reproducible", reproducible.measure),
    Measurement("views", together.measure_views),
    Measurement("prompts", prompts.measure, is_long=True),
    Measurement("visitors", visitors.measure, is_long=True),
)


def chosen(names: Sequence[str]) -> list[Measurement]:
    """The measurements of these names; of none, all that are not long. Raises ConfigError for an unknown name."""
    known = [measurement.name for measurement in MEASUREMENTS]
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no measurement {name!r}; expected some of {', '.join(known)}")
    return [one for one in MEASUREMENTS if (one.name in names if names else not one.is_long)]


def measure_all(measurements: Sequence[Measurement], config: Path | None, is_quick: bool) -> Iterator[Row]:
    """The rows of all measurements, as they come."""
    path = config_path(config, os.environ)
    with closing(Workbench(path, read_config(path, os.environ), is_quick=is_quick)) as bench:
        for measurement in measurements:
            logger.info("measuring %s", measurement.name)
            for row in _rows(measurement, bench):
                logger.info("%s: %s %s", row.name, row, row.note)
                yield row


def _rows(measurement: Measurement, bench: Workbench) -> list[Row]:
    """The rows of a measurement. If it fails, a failed row, so that the others still run."""
    try:
        return measurement.measure(bench)
    except NotMeasured as reason:
        return [Row(measurement.name, None, note=f"not measured: {reason}")]
    except GacError as error:
        return [Row(measurement.name, None, note=f"failed: {error}", is_failed=True)]
