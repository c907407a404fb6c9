"""The registries of rules: each rule has a name, a label, one sentence and parameters.

Knows no rule and loads nothing heavy: the page and the command line list rules before torch is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gac_app.errors import (
    ConfigError,
    GacError,
    RequestError,
    RuleError,
    SessionStopped,
    in_one_line,
    is_interrupt,
    place_of,
)
from gac_app.plugins import code_of, file_of, may_be_replaced
from gac_app.settings import Settings
from gac_app.validation import fault_of


class Rule(BaseModel):
    """A rule is a model of its parameters. It is made once per run, which checks them, and is immutable.

    A field's `title` and `description` are what the page shows. Every parameter has a default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule_name: ClassVar[str] = ""  # these three are set by the registry
    rule_label: ClassVar[str] = ""
    rule_about: ClassVar[str] = ""  # one sentence

    @contextmanager
    def failures_named(self) -> Iterator[None]:
        """Whatever the rule raises becomes a RuleError that names it."""
        try:
            yield
        except BaseException as error:  # `SystemExit` too, which would end a thread without a word
            if isinstance(error, GacError | SessionStopped) or is_interrupt(error):
                raise
            place = place_of(error, file_of(type(self)))
            raise RuleError(self.rule_name, in_one_line(error), place) from error


_NAME = re.compile(r"[a-z][a-z0-9-]{0,79}")

RuleT = TypeVar("RuleT", bound=Rule)


class Registry(dict[str, type[RuleT]]):
    """The rules of one kind, by name.

    Args:
        kind: for messages, such as "combine rule".
        base: what every rule of this kind is a subclass of.
        field: the setting that names the rule.
        params_field: the setting that holds its parameters.
    """

    def __init__(self, kind: str, base: type[RuleT], field: str, params_field: str) -> None:
        super().__init__()
        self.kind, self._base, self.field, self.params_field = kind, base, field, params_field

    def register(
        self, name: str, label: str, about: str, *, replace: bool = False
    ) -> Callable[[type[RuleT]], type[RuleT]]:
        """A class decorator that registers a rule.

        Args:
            replace: one of this name that the package does not ship is replaced, as where a notebook's cell runs again.

        Example:
            >>> @combine_rules.register("product", "Product", "Multiplies what the members give.")
            ... class Product(CombineRule):
            ...     def __call__(self, probs_MU, weights_M):
            ...         return probs_MU.prod(0)

        Raises:
            ConfigError: the class is no rule of this kind, the name is taken, a parameter has no default value in
                JSON, or `about` is empty.
        """

        def add(rule: type[RuleT]) -> type[RuleT]:
            if not _NAME.fullmatch(name):
                raise ConfigError(f"plugins: {name!r} names no {self.kind}; expected small letters, digits and hyphens")
            if not (isinstance(rule, type) and issubclass(rule, self._base)):
                raise ConfigError(f"plugins: {self.kind} {name!r} must be a subclass of {self._base.__name__}")
            if name in self and not may_be_replaced(self[name], replace=replace):
                raise ConfigError(f"plugins: there is a {self.kind} {name!r} already; name yours otherwise")
            if needed := [key for key, field in rule.model_fields.items() if not _is_json(field.default)]:
                need = f"the parameter {needed[0]!r} needs a default value that JSON can hold"
                raise ConfigError(f"plugins: {self.kind} {name!r}: {need}")
            if not about:
                raise ConfigError(f"plugins: {self.kind} {name!r} needs a sentence about it")
            code_of(rule)  # now: its file may be edited while the members load
            rule.rule_name, rule.rule_label, rule.rule_about = name, label, about
            self[name] = rule
            return rule

        return add

    def named(self, name: str) -> type[RuleT]:
        """The rule of that name. Raises RequestError if there is none."""
        if name not in self:
            raise RequestError(self.field, f"unknown {self.kind} {name!r}; expected {', '.join(self)}")
        return self[name]

    def of(self, settings: Settings) -> RuleT:
        """The rule that the settings name. Raises as `make`."""
        return self.make(getattr(settings, self.field), getattr(settings, self.params_field))

    def make(self, name: str | Mapping[str, float], params: Mapping[str, Any]) -> RuleT:
        """A rule with its parameters; numbers in place of its name count as they are. Raises RequestError naming the
        setting, and the parameter in it.
        """
        try:
            return (self.named(name) if isinstance(name, str) else self._base).model_validate(dict(params))
        except ValidationError as error:
            place, message = fault_of(error)
            raise RequestError(f"{self.params_field}.{place}".rstrip("."), message) from None
        except BaseException as error:  # what a plug-in's own checks raise
            if isinstance(error, GacError) or is_interrupt(error):
                raise
            raise RequestError(self.field, f"{name!r} cannot be made: {in_one_line(error)}") from error


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def parse_params(texts: Iterable[str], field: str) -> dict[str, Any]:
    """Parameters from the command line. Raises RequestError about the setting `field`.

    >>> parse_params(["exponent=2", "is_strict=true"], "combine_params")
    {'exponent': 2, 'is_strict': True}
    """
    params: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise RequestError(field, f"expected NAME=VALUE; got {text!r}")
        try:
            found = json.loads(value)
        except ValueError:
            found = value
        params[name] = found if isinstance(found, str | int | float) else value
    return params
