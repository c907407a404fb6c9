"""Options that several commands share, reading of the configuration, and the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gac_app.commands.setting_options import help_of
from gac_app.config import Config
from gac_app.environment import read_config
from gac_app.evaluation.running import System
from gac_app.settings import Reproducible

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file (YAML). Default: $GAC_CONFIG, else configs/default.yaml."),
]
_DATA = typer.Option("--data", help="The questions: JSON Lines, one question a line.")
DataOption = Annotated[Path, _DATA]
DataOrSampleOption = Annotated[Path | None, _DATA]
ExamplesOption = Annotated[Path | None, typer.Option("--examples", help="Questions to take worked examples from.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many questions, from each domain in turn.")
]
_PARALLEL_HELP = (
    "Answers at once; 1 to measure time. Answers of earlier runs keep the times of the machine that gave them."
)
ParallelOption = Annotated[int, typer.Option("--parallel", min=1, max=64, help=_PARALLEL_HELP)]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Ignore answers of earlier runs, which other commands may have made.")
]
ReproducibleOption = Annotated[Reproducible | None, typer.Option(help=help_of("reproducible"))]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]


def in_a_folder(path: Path | None) -> Path | None:
    """Refuse a path in a missing folder at once, not only after the work."""
    if path and not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent}")
    return path


OutOption = Annotated[
    Path | None, typer.Option("--out", help="Write the charts here (.svg or .png).", callback=in_a_folder)
]


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """The block writes to the path of an option. Raises BadParameter where that is impossible."""
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=option) from None


def load(path: Path | None, **changes: object) -> Config:
    """The configuration, with this process's variables and those `changes` of its settings that are not None.

    Raises ConfigError, RequestError.
    """
    config = read_config(path, os.environ)
    given = {name: value for name, value in changes.items() if value is not None}
    return config.model_copy(update={"settings": config.settings_from(given)}) if given else config


def plain_console(*, stderr: bool = False) -> Console:
    """A terminal for tables, which leaves texts as they are: they may hold `[bold]` or `:smile:`."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def warn(warnings: Iterable[str]) -> None:
    """Print warnings on stderr."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def warn_without_effect(systems: Iterable[System], config: Config) -> None:
    """Warn of rules in systems' names that have no effect."""
    for system in systems:
        warn(f"{system.name}: {warning}" for warning in system.without_effect(config))
