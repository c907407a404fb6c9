"""The list of measurements. A new one is a function in its own module and a line here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from gac_app.bench import prompts, reproducible, rules, start, steps, together, visitors
from gac_app.bench.rows import NotMeasured, Row
from gac_app.bench.workbench import Workbench
from gac_app.environment import config_path, read_config
from gac_app.errors import ConfigError, GacError

logger = logging.getLogger(__name__)

Measure = Callable[[Workbench], list[Row]]

MEASUREMENTS: Mapping[str, Measure] = {
    "start": start.measure,
    "steps": steps.measure,
    "rules": rules.measure,
    "at-once": together.measure_many,
    "reproducible": reproducible.measure,
    "views": together.measure_views,
    "prompts": prompts.measure,
    "visitors": visitors.measure,
}
LONG = {"prompts", "visitors"}  # run only by their names


def chosen(names: Sequence[str]) -> dict[str, Measure]:
    """The measurements of these names; of none, all that are not long. Raises ConfigError for an unknown name."""
    for name in names:
        if name not in MEASUREMENTS:
            raise ConfigError(f"there is no measurement {name!r}; expected some of {', '.join(MEASUREMENTS)}")
    return {name: measure for name, measure in MEASUREMENTS.items() if (name in names if names else name not in LONG)}


def measure_all(measurements: Mapping[str, Measure], config: Path | None, is_quick: bool) -> Iterator[Row]:
    """The rows of all measurements, as they come."""
    path = config_path(config, os.environ)
    with closing(Workbench(path, read_config(path, os.environ), is_quick=is_quick)) as bench:
        for name, measure in measurements.items():
            logger.info("measuring %s", name)
            for row in _rows(name, measure, bench):
                logger.info("%s: %s %s", row.name, row, row.note)
                yield row


def _rows(name: str, measure: Measure, bench: Workbench) -> list[Row]:
    """The rows of a measurement. If it fails, a failed row, so that the others still run."""
    try:
        return measure(bench)
    except NotMeasured as reason:
        return [Row(name, None, note=f"not measured: {reason}")]
    except GacError as error:
        return [Row(name, None, note=f"failed: {error}", is_failed=True)]
