"""From what a program has, such as a file, a dictionary, names of models, or models in hand, to a configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gac_app.config import Config
from gac_app.config_file import config_of
from gac_app.environment import environment_overrides, read_config
from gac_app.errors import ConfigError
from gac_app.loading import InHand
from gac_app.member_config import scheme_of
from gac_app.plugins import load_plugins

MemberSource = str | Path | Mapping[str, Any] | tuple[Any, Any]
Source = str | Path | Config | Mapping[str, Any] | Sequence[MemberSource] | None

_REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+([@#].+)?")  # organisation/name, optionally a revision and a file
_IN_HAND_SEQUENCES = 16  # a model in hand has no memory set aside for them


def described(source: Source, **changes: Any) -> tuple[Config, InHand]:
    """The configuration of `source`, and the models that are loaded already, by member.

    Args:
        source: see `gac_app.load`.
        changes: of the configuration, such as `plugins`, which are added to its own; they come before environment
            variables.

    Raises:
        ConfigError.
    """
    changes = {key: value for key, value in changes.items() if value}
    if source is None or (isinstance(source, str | Path) and Path(source).suffix in (".yaml", ".yml")):
        load_plugins(changes.get("plugins", ()), Path())  # the file may name what they register
        source = read_config(None if source is None else Path(source), os.environ)
    overrides = environment_overrides(os.environ) | changes
    if isinstance(source, Config):
        if not changes:
            return source, {}
        source, overrides = source.model_dump(), changes
    if isinstance(source, Mapping):
        if "plugins" in changes:
            overrides["plugins"] = [*(source.get("plugins") or ()), *changes["plugins"]]
        return config_of(source, Path(), overrides), {}
    listed = [source] if isinstance(source, str | Path) else list(source)
    members: list[dict[str, Any]] = []
    in_hand: dict[str, tuple[Any, Any]] = {}
    for item in listed:
        taken = [member.get("name", "") for member in members]
        member = _member(item, taken)
        members.append(member)
        if isinstance(item, tuple):
            in_hand[member["name"]] = item
    return config_of({"members": members}, Path(), overrides), in_hand


def _member(item: Any, taken: Sequence[str]) -> dict[str, Any]:
    """A member's part of a configuration."""
    if isinstance(item, Mapping):
        return dict(item)
    if isinstance(item, tuple) and len(item) == 2:
        return _in_hand(*item, taken)
    if not isinstance(item, str | Path):
        raise ConfigError(
            f"members: got {type(item).__name__}; expected a source, such as 'hub:organisation/name' or a "
            "folder, a dictionary, or a pair (model, tokenizer) of transformers"
        )
    text = str(item)
    if not scheme_of(text) and not os.path.exists(os.path.expanduser(text)):  # noqa: PTH110, PTH111 (as `_beside`)
        for member in read_config(None, os.environ).members:
            if member.name == text:
                return member.model_dump()
        text = f"hub:{text}" if _REPOSITORY.fullmatch(text) else text
    return {"name": _name(text, taken), "source": text}


def _in_hand(model: Any, tokenizer: Any, taken: Sequence[str]) -> dict[str, Any]:
    if not hasattr(model, "generate") or not hasattr(tokenizer, "encode"):
        raise ConfigError(
            f"members: got ({type(model).__name__}, {type(tokenizer).__name__}); expected a causal language "
            "model of transformers and its tokenizer"
        )
    devices = tuple(str(device) for device in dict.fromkeys(getattr(model, "hf_device_map", {}).values()))
    name = _name(getattr(model.config, "_name_or_path", "") or model.config.model_type, taken)
    return {
        "name": name,
        "source": name,
        "device": devices if len(devices) > 1 else str(model.device),
        "max_sequences": _IN_HAND_SEQUENCES,
    }


def _name(source: str, taken: Sequence[str]) -> str:
    """A short name for a source, unlike those `taken`."""
    rest = source.removeprefix(f"{scheme_of(source)}:")
    path, _, file = rest.partition("#")
    stem = Path(file or path.partition("@")[0].rstrip("/")).name.removesuffix(".gguf")[:70] or "model"
    names = [stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)
