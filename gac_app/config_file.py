"""Reads a configuration from its YAML file. Errors name the place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gac_app.config import Config
from gac_app.errors import ConfigError
from gac_app.member_config import FOLDER
from gac_app.validation import message_of, path_of, text_of, yaml_of


def load_config(
    path: Path, overrides: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None
) -> Config:
    """Read and check a configuration file.

    Args:
        path: a YAML file.
        overrides: values that replace the file's, as nested dictionaries (from GAC_* variables and flags).
        defaults: values for keys that the file lacks.

    Raises:
        ConfigError: names the file, the key's path and the expected value.
    """
    try:
        data = yaml_of(text_of(path))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys such as 'members:' at the top level")
    return config_of(_merge(dict(defaults or {}), data), path.parent, overrides, where=f"{path}: ")


def config_of(
    data: Mapping[str, Any], folder: Path, overrides: Mapping[str, Any] | None = None, *, where: str = ""
) -> Config:
    """Check the values of a configuration.

    Args:
        folder: of relative plug-ins, sources, adapters and examples.
        overrides: see `load_config`.
        where: what messages begin with.

    Raises:
        ConfigError: names the key's path and the expected value.
    """
    merged = _merge(dict(data), overrides or {})
    try:
        return Config.model_validate(merged, context={FOLDER: folder.absolute()})
    except ValidationError as error:
        items = error.errors()
        # A list with wrong items is also reported as too short; report only the items.
        deeper = {item["loc"][:depth] for item in items for depth in range(1, len(item["loc"]))}
        lines = [f"{where}{_located(item)}" for item in items if item["loc"] not in deeper]
        raise ConfigError("\n".join(lines)) from None


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


# Keys of earlier versions, and what to do instead.
_GONE = {"api.mcp": "no longer exists; remove it. Programs use the API (docs/api.md)"}


def _located(item: Any) -> str:
    path = path_of(item["loc"])
    if item["type"] == "extra_forbidden" and path in _GONE:
        return f"{path}: {_GONE[path]}"
    return f"{path}: {message_of(item)}" if path else message_of(item)
