"""`eval --suite alignment`: how systems write and predict text in many scripts and code."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum

import typer
from rich.console import Console

from gac_app.commands.options import named_systems
from gac_app.config import Config
from gac_app.evaluation.running import System, refuse_rules
from gac_app.evaluation.suites import (
    KINDS,
    AlignmentReport,
    alignment_systems,
    check_kinds,
    run_alignment_suite,
    tables,
)

_EVERY_S = 5.0


class Suite(StrEnum):
    """The suites."""

    ALIGNMENT = "alignment"


def run_suite(
    config: Config, *, systems: str | None, only: str | None, max_new_tokens: int, parallel: int, as_json: bool
) -> None:
    """Run the alignment suite and print its report.

    Args:
        systems: comma-separated names; None = each member alone and both alignments.
        only: comma-separated kinds of text; None = all.
    """
    chosen = named_systems(systems, config) if systems else alignment_systems(config)
    refuse_rules(chosen)
    kinds = tuple(dict.fromkeys(name.strip() for name in only.split(","))) if only else KINDS
    check_kinds(kinds)
    report = _run(config, chosen, kinds, max_new_tokens, parallel)
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False))
        return
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for table in tables(report):
        console.print(table)


def _run(
    config: Config, systems: Sequence[System], kinds: Sequence[str], max_new_tokens: int, parallel: int
) -> AlignmentReport:
    from gac_app.bootstrap import load_ensemble

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    with closing(load_ensemble(config)) as ensemble:
        return run_alignment_suite(
            ensemble,
            systems,
            kinds=kinds,
            max_new_tokens=max_new_tokens,
            num_in_flight=parallel,
            on_progress=_Progress(),
        )


class _Progress:
    """Prints progress on stderr, every few seconds and at the end."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, num_done: int, num_total: int) -> None:
        now = time.monotonic()
        if now - self._last_s >= _EVERY_S or num_done == num_total:
            self._last_s = now
            print(f"alignment: {num_done} of {num_total} texts", file=sys.stderr, flush=True)
