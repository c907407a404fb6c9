"""Systems under evaluation. A system's name tells who answers and how.

`alone:MEMBER`                 one member alone
`every-step`                   the ensemble at every step
`gate@0.5`                     the ensemble where the gate's confidence is below 0.5
`agreement`                    the ensemble where the members' argmax tokens differ
with options after `+`         `every-step+prefix`, `gate@0.3+posterior`, `every-step+w=2:1`, `gate@0.5+gate=MEMBER`,
                               `every-step+unite+k=5`, `gate@0.5+gate-rule=margin`
any setting by its name        `gate@0.5+gate-temperature=2`, `every-step+top-p=0.9`
rules with their parameters    `every-step+combine=power+combine.exponent=3`, `every-step+weights=entropy`

Baselines that ensemble whole answers by a rule (see `answering`):

`vote`, `mbr`, `lowest-perplexity`   among the answers of each member alone
`vote+samples=4+temperature=0.7`     and four samples of each (default temperature: 0.7)
`vote+of=MEMBER+samples=4`           self-consistency: the answers of this member only (Wang et al. 2023)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gac_app.config import Config
from gac_app.decoding.rules import check_rules, parse_params, without_effect
from gac_app.errors import RequestError
from gac_app.settings import RULE_PARAMS, Settings

Rule = Literal["vote", "mbr", "lowest-perplexity"]

_RULES: tuple[Rule, ...] = get_args(Rule)
_ALONE = "alone:"
_GATE = "gate@"
_SAMPLING_TEMPERATURE, _MAX_SAMPLES = 0.7, 64
_PLAIN_OPTIONS: dict[str, dict[str, Any]] = {
    "paper": {"alignment": "paper"},
    "prefix": {"alignment": "prefix"},
    "unite": {"alignment": "paper", "combine": "unite"},
    "average": {"weights": "average"},
    "score": {"weights": "score"},
    "posterior": {"weights": "posterior"},
}


@dataclass(frozen=True, slots=True)
class System:
    """One way to answer.

    Attributes:
        name: as in the module's docstring.
        alone: the member that answers alone; None = the ensemble.
        changes: settings that differ from the configuration's.
        rule: chooses among the candidates' answers; None = the system decodes its own answer.
        candidates: systems that decode, the gate's first; empty without a rule.
    """

    name: str
    alone: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rule: Rule | None = None
    candidates: tuple[System, ...] = ()

    def settings(self, config: Config, **more: Any) -> Settings:
        """The configuration's settings with this system's changes, and `more`. Raises RequestError.

        A member that fails ends the answer: without it, it would be another system.
        """
        return config.settings_from({**self.changes, **more, "on_member_failure": "stop"})

    def without_effect(self, config: Config) -> list[str]:
        """For each rule in the system's name that has no effect: a sentence with the reason."""
        return list(without_effect(self.settings(config), self.changes))


def parse_system(name: str, config: Config) -> System:
    """The system of that name. Raises RequestError if it does not fit these members."""
    if name.startswith(_ALONE):
        member = name.removeprefix(_ALONE)
        if member not in config.member_names:
            raise RequestError("systems", f"{member!r} is not a member; expected {', '.join(config.member_names)}")
        return System(name, alone=member)
    kind, *options = name.split("+")
    if kind in _RULES:
        return System(name, rule=kind, candidates=_candidates(options, config))
    changes = _mode(kind)
    for option in options:
        for field_name, value in _option(option, config).items():
            old = changes.get(field_name)
            changes[field_name] = {**old, **value} if field_name in RULE_PARAMS.values() and old else value
    system = System(name, changes=changes)
    check_rules(system.settings(config))
    return system


def parse_systems(names: str, config: Config) -> list[System]:
    """The systems of a comma-separated list of names, each once. Raises RequestError."""
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise RequestError("systems", "none is named; expected for instance every-step,gate@0.5")
    return [parse_system(name, config) for name in dict.fromkeys(found)]


def members_alone(config: Config) -> list[System]:
    """Each member alone."""
    return [System(f"{_ALONE}{name}", alone=name) for name in config.member_names]


def default_systems(config: Config) -> list[System]:
    """Each member alone, every step, and the gate at the configuration's threshold."""
    return [*alone_and_every_step(config), parse_system(f"{_GATE}{config.settings.threshold:g}", config)]


def alone_and_every_step(config: Config) -> list[System]:
    """Each member alone, and every step."""
    return [*members_alone(config), parse_system("every-step", config)]


def with_whole_answers(config: Config) -> list[System]:
    """The default systems, and ensembles of their whole answers."""
    return [*default_systems(config), *parse_systems(",".join(_RULES), config)]


def refuse_rules(systems: Sequence[System]) -> None:
    """Raise RequestError if a system has no distribution of its own but chooses among whole answers."""
    for system in systems:
        if system.rule:
            raise RequestError("systems", f"{system.name!r} chooses among whole answers; expected systems that decode")


def _candidates(options: Sequence[str], config: Config) -> tuple[System, ...]:
    """The members' greedy answers, then the samples."""
    numbers = {"samples": 0.0, "temperature": _SAMPLING_TEMPERATURE}
    names = sorted(config.member_names, key=lambda name: name != config.settings.gate)
    for option in options:
        key, _, value = option.partition("=")
        if key == "of" and value in names:
            names = [value]
        elif key in numbers:
            numbers[key] = _number(value, option)
        else:
            expected = f"samples=4, temperature=0.7 or of=MEMBER with one of {', '.join(config.member_names)}"
            raise RequestError("systems", f"unknown option {option!r} here; expected {expected}")
    temperature, num_samples = numbers["temperature"], int(numbers["samples"])
    if num_samples != numbers["samples"] or not 0 <= num_samples <= _MAX_SAMPLES or temperature <= 0:
        raise RequestError("systems", f"expected samples=0 to {_MAX_SAMPLES} and a temperature above 0")
    found = [System(f"{_ALONE}{name}", alone=name) for name in names]
    for seed in range(1, num_samples + 1):
        changes = {"temperature": temperature, "seed": seed}
        label = f"sample {seed} at {temperature:g}"
        found += (System(f"{_ALONE}{name}, {label}", alone=name, changes=changes) for name in names)
    return tuple(found)


def _mode(kind: str) -> dict[str, Any]:
    if kind in ("every-step", "agreement"):
        return {"mode": kind}
    if kind.startswith(_GATE):
        return {"mode": "gate", "threshold": _number(kind.removeprefix(_GATE), kind)}
    expected = f"alone:MEMBER, every-step, gate@0.5, agreement or {', '.join(_RULES)}, options after '+'"
    raise RequestError("systems", f"unknown system {kind!r}; expected {expected}")


def _option(option: str, config: Config) -> dict[str, Any]:
    key, _, value = option.partition("=")
    if option in _PLAIN_OPTIONS:
        return _PLAIN_OPTIONS[option]
    if key == "k":
        return {"combine_params": {"top_k": _number(value, option)}}
    if key == "decay":
        return {"weight_params": {"decay": _number(value, option)}}
    kind, _, param = key.partition(".")
    name = kind.replace("-", "_")
    if name in RULE_PARAMS and param and value:
        return {RULE_PARAMS[name]: parse_params([f"{param}={value}"], RULE_PARAMS[name])}
    if key == kind and name in Settings.model_fields and value:
        return {name: value}
    if key == "w":
        numbers = [_number(text, option) for text in value.split(":")]
        if len(numbers) != len(config.member_names):
            raise RequestError("systems", f"{option!r} needs a weight for each of {', '.join(config.member_names)}")
        return {"weights": dict(zip(config.member_names, numbers, strict=True))}
    raise RequestError(
        "systems",
        f"unknown option {option!r}; expected {', '.join(_PLAIN_OPTIONS)}, w=2:1, k=5, decay=0.9, a setting such as "
        "gate=MEMBER, gate-temperature=2 or combine=RULE, or a rule's parameter as in combine.exponent=3",
    )


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestError("systems", f"{whole!r}: {text!r} is not a number") from None
