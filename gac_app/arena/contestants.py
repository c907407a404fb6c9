"""Who battles: members alone, and the ensemble with settings of the operator's choice."""

from __future__ import annotations

from dataclasses import dataclass

from gac_app.config import Config, ContestantConfig, Settings


@dataclass(frozen=True, slots=True)
class Contestant:
    """One that answers in battles.

    Attributes:
        name: what the leaderboard calls it; votes are kept under it.
        member: that answers alone; None = the ensemble.
        settings: whole ones, not only what differs.
    """

    name: str
    member: str | None
    settings: Settings


def contestants_of(config: Config) -> tuple[Contestant, ...]:
    """Those that the operator lists; else each member alone and, of several, every step and the gate."""
    listed = config.arena.contestants or _usual(config)
    return tuple(Contestant(one.name, one.member or None, config.settings_from(one.settings)) for one in listed)


def _usual(config: Config) -> tuple[ContestantConfig, ...]:
    alone = [ContestantConfig(name=name, member=name) for name in config.member_names]
    together = [("every step", "every-step"), ("gate", "gate")] if len(alone) > 1 else []
    # A member may be called what an ensemble is called.
    taken = set(config.member_names)
    ensembles = [
        ContestantConfig(name=f"ensemble, {name}" if name in taken else name, settings={"mode": mode})
        for name, mode in together
    ]
    return (*alone, *ensembles)
