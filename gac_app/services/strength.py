"""Advice on members of unequal strength, by what the Lab has kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gac_app.config import Config, Settings
from gac_app.evaluation.strength import advice

if TYPE_CHECKING:
    from gac_app.evaluation.kept_results import KeptResults
    from gac_app.services.lab import Lab


def strength_advice(config: Config, settings: Settings, lab: Lab | None) -> str:
    """What fits members that are too unequal for `settings`; "" where nothing is to be said."""
    return advice(config, settings, _benchmarks(lab.results, config) if lab else ())


def _benchmarks(results: KeptResults, config: Config) -> list[Mapping[str, Any]]:
    """Those over these members, the newest first."""
    members = set(config.member_names)
    found = [listed.id for listed in results.list() if listed.study == "eval" and set(listed.members) == members]
    return [results.load(result_id).result.data for result_id in found]
