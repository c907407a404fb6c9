"""Systems under evaluation: who answers and how, by a name that says it all.

`alone:MEMBER`                 one member by itself
`every-step`                   the ensemble at every step
`gate@0.5`                     the ensemble where the gate's confidence is below 0.5
with options after `+`         `every-step+prefix`, `gate@0.3+posterior`, `every-step+w=2:1`, `gate@0.5+gate=MEMBER`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gac_app.config import Config, Settings
from gac_app.errors import RequestError

_ALONE = "alone:"
_GATE = "gate@"
_PLAIN_OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {"alignment": "paper"},
    "prefix": {"alignment": "prefix"},
    "average": {"weights": "average"},
    "score": {"weights": "score"},
    "posterior": {"weights": "posterior"},
}


@dataclass(frozen=True, slots=True)
class System:
    """One way to answer.

    Attributes:
        name: as in the module's docstring.
        alone: the member that answers by itself; None = the ensemble.
        changes: settings that differ from the configuration's.
    """

    name: str
    alone: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def settings(self, config: Config, **more: Any) -> Settings:
        """The configuration's settings with this system's changes, and `more`. Raises RequestError."""
        return config.settings_from({**self.changes, **more})


def parse_system(name: str, config: Config) -> System:
    """The system of that name. Raises RequestError where it is none over these members."""
    if name.startswith(_ALONE):
        member = name.removeprefix(_ALONE)
        if member not in config.member_names:
            raise RequestError("systems", f"{member!r} is not a member; expected {', '.join(config.member_names)}")
        return System(name, alone=member)
    kind, *options = name.split("+")
    changes = _mode(kind)
    for option in options:
        changes |= _option(option, config)
    system = System(name, changes=changes)
    system.settings(config)
    return system


def parse_systems(names: str, config: Config) -> list[System]:
    """The systems of names with commas between, each once. Raises RequestError."""
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise RequestError("systems", "none is named; expected for instance every-step,gate@0.5")
    return [parse_system(name, config) for name in dict.fromkeys(found)]


def default_systems(config: Config) -> list[System]:
    """Each member alone, every step, and the gate at the configuration's threshold."""
    alone = [System(f"{_ALONE}{name}", alone=name) for name in config.member_names]
    names = ("every-step", f"{_GATE}{config.settings.threshold:g}")
    return [*alone, *(parse_system(name, config) for name in names)]


def _mode(kind: str) -> dict[str, Any]:
    if kind == "every-step":
        return {"mode": "every-step"}
    if kind.startswith(_GATE):
        return {"mode": "gate", "threshold": _number(kind.removeprefix(_GATE), kind)}
    raise RequestError("systems", f"{kind!r} is none; expected alone:MEMBER, every-step or gate@0.5, options after '+'")


def _option(option: str, config: Config) -> dict[str, Any]:
    key, _, value = option.partition("=")
    if option in _PLAIN_OPTIONS:
        return _PLAIN_OPTIONS[option]
    if key == "gate":
        return {"gate": value}
    if key == "decay":
        return {"posterior_decay": _number(value, option)}
    if key == "w":
        numbers = [_number(text, option) for text in value.split(":")]
        if len(numbers) != len(config.member_names):
            raise RequestError("systems", f"{option!r} needs a weight for each of {', '.join(config.member_names)}")
        return {"weights": dict(zip(config.member_names, numbers, strict=True))}
    raise RequestError(
        "systems", f"{option!r} is no option; expected {', '.join(_PLAIN_OPTIONS)}, w=2:1, decay=0.9 or gate=MEMBER"
    )


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestError("systems", f"{whole!r}: {text!r} is no number") from None
