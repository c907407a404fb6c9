"""Contestants: members alone, and the ensemble with settings of the operator's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gac_app.config import Config, ContestantConfig
from gac_app.settings import Settings

_USUAL = {"every step": "every-step", "gate": "gate"}  # name -> mode
_BESIDE_A_MEMBER = "ensemble, "  # before a usual name that a member has


@dataclass(frozen=True, slots=True)
class Contestant:
    """A system that answers in battles.

    Attributes:
        name: on the leaderboard; votes are stored under it.
        member: the member that answers alone; None = the ensemble.
        settings: all of them, not only those that differ.
    """

    name: str
    member: str | None
    settings: Settings


def contestants_of(config: Config) -> tuple[Contestant, ...]:
    """The contestants in the configuration; else each member alone and, with several members, every step and the
    gate.
    """
    listed = config.arena.contestants or _usual(config)
    return tuple(Contestant(one.name, one.member or None, config.settings_from(one.settings)) for one in listed)


def changes_named(name: str) -> dict[str, Any] | None:
    """The settings of an ensemble that the program named, which differ from the configuration's; else None."""
    mode = _USUAL.get(name.removeprefix(_BESIDE_A_MEMBER))
    return {"mode": mode} if mode else None


def _usual(config: Config) -> tuple[ContestantConfig, ...]:
    alone = [ContestantConfig(name=name, member=name) for name in config.member_names]
    together = _USUAL.items() if len(alone) > 1 else ()
    # A member may have an ensemble's name.
    taken = set(config.member_names)
    ensembles = [
        ContestantConfig(name=f"{_BESIDE_A_MEMBER if name in taken else ''}{name}", settings={"mode": mode})
        for name, mode in together
    ]
    return (*alone, *ensembles)
