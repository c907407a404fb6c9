"""Contestants: members alone, and the ensemble with settings of the operator's choice."""

from __future__ import annotations

from dataclasses import dataclass

from gac_app.config import Config, ContestantConfig
from gac_app.settings import Settings

_USUAL = {"every step": "every-step", "gate": "gate"}  # name -> mode
_BESIDE_A_MEMBER = "ensemble, {}"  # a usual name that a member has
# The names that the program gives ensembles, with their settings where these differ from the configuration's.
NAMED = {form.format(name): {"mode": mode} for form in ("{}", _BESIDE_A_MEMBER) for name, mode in _USUAL.items()}


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


def _usual(config: Config) -> tuple[ContestantConfig, ...]:
    members = config.member_names
    ensembles = [_BESIDE_A_MEMBER.format(name) if name in members else name for name in _USUAL if len(members) > 1]
    alone = [ContestantConfig(name=name, member=name) for name in members]
    return (*alone, *(ContestantConfig(name=name, settings=NAMED[name]) for name in ensembles))
