"""Contestants: members alone, and the ensemble with settings of the operator's choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gac_app.config import Config, ContestantConfig
from gac_app.settings import SAMPLING, Settings

_MAX_NAME_CHARS = 80
_OWN_WEIGHTS = "own weights"
_USUAL = {"every step": "every-step", "gate": "gate"}  # name -> mode
_BESIDE_A_MEMBER = "ensemble, "  # before a usual name that a member has
# What else tells settings apart in a name, where it is not the default, and how it is read.
_VALUES: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("combine", "alignment", "gate_rule"), str),
    **dict.fromkeys(("temperature", "top_p", "min_p", "repetition_penalty"), float),
    "top_k": int,
}
_MADE = re.compile(r"(gate|every-step|agreement)(?: ([\d.e+-]+))?, (.+)")
_OF_A_MEMBER = {*SAMPLING, "stop", "system_prompt"} - {"seed"}  # settings that affect a member alone


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


def name_of(member: str | None, settings: Settings, contestants: Sequence[Contestant]) -> str:
    """The leaderboard's name for an answer of Compare: the contestant with the same decoding, or a descriptive name."""
    for one in contestants:
        if one.member == member and _decoding(one.settings, member) == _decoding(settings, member):
            return one.name
    if member is not None:
        return member
    threshold = "" if settings.mode == "every-step" else f" {settings.threshold:g}"
    weights = settings.weights if isinstance(settings.weights, str) else _OWN_WEIGHTS
    others = {name: getattr(settings, name) for name in _VALUES}
    told = [f"{name} {value}" for name, value in others.items() if value != Settings.model_fields[name].default]
    return ", ".join([f"{settings.mode}{threshold}", weights, *told])[:_MAX_NAME_CHARS]


def changes_named(name: str) -> dict[str, Any] | None:
    """The settings in a name that the program made, which differ from the configuration's; None for other names."""
    if mode := _USUAL.get(name.removeprefix(_BESIDE_A_MEMBER)):
        return {"mode": mode}
    if not (found := _MADE.fullmatch(name)):
        return None
    mode, threshold, rest = found.groups()
    weights, *told = rest.split(", ")
    others: dict[str, Any] = {name: value for name, _, value in (part.partition(" ") for part in told)}
    try:
        others = {name: _VALUES[name](value) for name, value in others.items()}
    except (KeyError, ValueError):  # cut off, or a name of the operator's
        return None
    changes = {"mode": mode, **({"threshold": float(threshold)} if threshold else {}), **others}
    return changes if weights == _OWN_WEIGHTS else {**changes, "weights": weights}


def _decoding(settings: Settings, member: str | None) -> dict[str, Any]:
    """The settings that affect an answer."""
    ignored = {"seed", "max_new_tokens"} if member is None else set(Settings.model_fields) - _OF_A_MEMBER
    return settings.model_dump(exclude=ignored)


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
