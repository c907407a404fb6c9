"""The systems that a program may ask by name: the ensemble, its modes, the operator's own, and each member alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from gac_app.config import Config
from gac_app.errors import NotFoundError, RequestError
from gac_app.settings import Mode, Settings

ENSEMBLE_NAME = "gac"
_SEEDS = 2**53


@dataclass(frozen=True, slots=True)
class System:
    """What answers under a name.

    Attributes:
        member: that answers alone; None = the ensemble.
    """

    name: str
    member: str | None
    settings: Settings


class Systems:
    """The systems of a configuration, by name. A member keeps its name if a system of the ensemble has it too."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._systems = dict(_together(config)) | {
            name: System(name, name, config.settings) for name in config.member_names
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._systems)

    def find(self, name: str) -> System:
        """The system of that name. Raises NotFoundError."""
        if name not in self._systems:
            raise NotFoundError(f"there is no such model; expected one of {', '.join(self.names)}")
        return self._systems[name]

    def settings_from(self, system: System, changes: Mapping[str, Any]) -> Settings:
        """A system's settings with changes, checked. Where tokens are drawn and no seed is named, one is drawn.

        Raises:
            RequestError: names the first faulty field.
        """
        settings = self._config.settings_from(changes, system.settings)
        if settings.temperature and "seed" not in changes:
            return settings.model_copy(update={"seed": secrets.randbelow(_SEEDS)})
        return settings


def _together(config: Config) -> Iterator[tuple[str, System]]:
    """The ensemble with the configuration's settings, in each mode that fits them, and as a contestant of the arena."""
    yield ENSEMBLE_NAME, System(ENSEMBLE_NAME, None, config.settings)
    named: dict[str, dict[str, Any]] = {mode: {"mode": mode} for mode in get_args(Mode)}
    named |= {one.name: one.settings for one in config.arena.contestants if not one.member}
    for short, changes in named.items():
        try:
            settings = config.settings_from(changes)
        except RequestError:  # a mode that the configured members do not allow
            continue
        name = f"{ENSEMBLE_NAME}/{short}"
        yield name, System(name, None, settings)
