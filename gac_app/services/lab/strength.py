"""Advice on members of unequal strength, from the Lab's results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.evaluation.metrics import advice
from gac_app.settings import Settings

if TYPE_CHECKING:
    from gac_app.services.lab.lab import Lab


def strength_advice(config: Config, settings: Settings, lab: Lab | None) -> str:
    """Advice on members that are too unequal for `settings`; "" if there is none."""
    return advice(config, settings, lab.results.benchmarks(config.member_names) if lab else ())
