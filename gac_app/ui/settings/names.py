"""Names for people: who answers and how, wherever the page names a contestant of the Arena or a system of the Lab.

Votes, CSV, JSON and the API have other names for the same, which never change: `gate`, `every-step`, `gate@0.7+unite`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from gac_app.arena.contestants import NAMED, contestants_of
from gac_app.config import Config
from gac_app.errors import Phrase, RequestError, joined
from gac_app.evaluation.running import parse_system
from gac_app.settings import Settings
from gac_app.ui.settings.wording import differences_in_words

_ALONE, _PLANT = "alone:", ", wrong beginning"
_WHOLE_ANSWERS = {
    "vote": "most frequent whole answer",
    "mbr": "whole answer most like the others",
    "lowest-perplexity": "likeliest whole answer",
}


def ensemble_in_words(settings: Settings, usual: Settings) -> str:
    """Such as: ensemble, asks below 70 %, posterior weights. What is as in `usual` is left out, except when it asks."""
    if settings.mode == "agreement":
        how = Phrase("asks where members disagree")
    elif settings.mode == "every-step" or settings.threshold > 1:
        how = Phrase("asks at every step")
    else:
        how = Phrase("asks below {share}", share=f"{settings.threshold * 100:.3g} %")
    return joined(", ", [Phrase("ensemble"), how, *differences_in_words(settings, usual)])


def contestant_in_words(name: str, member: str | None, settings: Mapping[str, Any]) -> str:
    """A contestant of a battle, with the settings that it had there."""
    if member is not None or name not in NAMED:
        return name
    try:
        had = Settings.model_validate(settings)
    except ValidationError:  # of another version
        return name
    return ensemble_in_words(had, had)


def contestants_in_words(names: Iterable[str], config: Config) -> dict[str, str]:
    """Those whose names the program made; a name that the operator chose is for people already."""
    chosen = {*config.member_names, *(one.name for one in config.arena.contestants)}
    listed = {one.name: one.settings for one in contestants_of(config)}
    found = {}
    for name in names:
        if name in NAMED and name not in chosen:
            settings = listed.get(name) or config.settings.model_copy(update=NAMED[name])
            found[name] = ensemble_in_words(settings, config.settings)
    return _apart(found)


def systems_in_words(names: Iterable[str], config: Config) -> dict[str, str]:
    """The Lab's systems; one that does not fit these members keeps its name."""
    return _apart({name: _system_in_words(name, config) for name in names})


def _system_in_words(name: str, config: Config) -> str:
    kind, plant, _ = name.partition(_PLANT)
    told = _plain_in_words(kind, config)
    return joined(", ", [told, Phrase("wrong beginning")]) if plant else told


def _plain_in_words(name: str, config: Config) -> str:
    if name.startswith(_ALONE):
        return Phrase("{name} alone", name=name.removeprefix(_ALONE))
    kind, *options = name.split("+")
    if kind in _WHOLE_ANSWERS:
        told = (option.partition("=") for option in options)
        parts = [Phrase("{name} {value}", name=Phrase(name), value=value) for name, _, value in told]
        return joined(", ", [Phrase(_WHOLE_ANSWERS[kind]), *parts])
    try:
        return ensemble_in_words(parse_system(name, config).settings(config), config.settings)
    except RequestError:
        return name


def _apart(found: dict[str, str]) -> dict[str, str]:
    """What would be called the same has its key in brackets."""
    called = list(found.values())
    return {
        key: words if called.count(words) == 1 else Phrase("{words} ({key})", words=words, key=key)
        for key, words in found.items()
    }
