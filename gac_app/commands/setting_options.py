"""Options made from the fields of `Settings`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_origin

import typer

from gac_app.decoding.rules import parse_params
from gac_app.errors import RequestError
from gac_app.settings import RULE_PARAMS, Settings, shown

_PARAMS = tuple(RULE_PARAMS.values())


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command with an option for each setting that has one. They arrive in its keyword `changes`: name -> value of
    those that were given.
    """
    own = signature(command, eval_str=True).parameters
    options = {
        name.removesuffix("s") if name in _PARAMS else name: name
        for name, field in Settings.model_fields.items()
        if shown(field).option is not None
    }

    @wraps(command)
    def with_settings(**values: Any) -> None:
        given = {name: values.pop(option) for option, name in options.items()}
        changes = {name: _parsed(name, value) for name, value in given.items() if value not in (None, [])}
        command(**values, changes=changes)

    own_options = [(one.name, one.annotation, one.default) for one in own.values() if one.name != "changes"]
    given_options = (
        (option, Annotated[_type_of(name), typer.Option(help=help_of(name))], None) for option, name in options.items()
    )
    sign(with_settings, [*own_options, *given_options])
    return with_settings


def sign(command: Callable[..., None], options: Iterable[tuple[str, Any, Any]]) -> None:
    """Give a command these options, each a name, a type and a default, from which typer makes its own."""
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind) for name, kind, default in options
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def help_of(name: str) -> str:
    """What `--help` says of a setting."""
    field = Settings.model_fields[name]
    how = shown(field)
    labels = "; ".join(label[0].lower() + label[1:] for label in how.labels.values())
    return f"{how.option or field.description or ''} {labels}{'.' if labels else ''}".strip()


def _type_of(name: str) -> Any:
    kind: Any = str if name == "weights" else Settings.model_fields[name].annotation
    return (list[str] if name in _PARAMS or get_origin(kind) is tuple else kind) | None


def _parsed(name: str, value: Any) -> Any:
    if name in _PARAMS:
        return parse_params(value, name)
    return _parsed_weights(value) if name == "weights" else value


def _parsed_weights(text: str) -> str | dict[str, float]:
    """A rule's name unchanged; "A=2,B=1" -> {"A": 2.0, "B": 1.0}."""
    if "=" not in text:
        return text
    pairs = [part.rpartition("=") for part in text.split(",")]
    try:
        weights = {name.strip(): float(number) for name, _, number in pairs}
    except ValueError:
        weights = {}
    if not weights or not all(weights):
        raise RequestError("weights", f"expected a weight rule or NAME=NUMBER,NAME=NUMBER; got {text!r}")
    return weights
