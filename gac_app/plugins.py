"""Loads plug-ins: Python files and modules in the operator's configuration, which register rules, back ends and tasks.

They run with all rights of the program, so only a configuration can name them, never a request.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import secrets
import sys
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from gac_app.errors import ConfigError, in_one_line, place_of


def load_plugins(plugins: Iterable[str], folder: Path) -> None:
    """Import each plug-in once.

    Args:
        plugins: files, whose names end in `.py`, or importable modules.
        folder: of relative files.

    Raises:
        ConfigError: a plug-in cannot be loaded; names it and the reason.
    """
    for plugin in plugins:
        try:
            _load_file(folder / plugin) if plugin.endswith(".py") else importlib.import_module(plugin)
        except ConfigError as error:
            raise ConfigError(f"plugins: {plugin}: {str(error).removeprefix('plugins: ')}") from None
        except (Exception, SystemExit) as error:
            place = place_of(error, str((folder / plugin).resolve()))
            raise ConfigError(f"plugins: {plugin} cannot be loaded ({in_one_line(error)}; {place})") from error


def _load_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    name = f"gac_plugin_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError("is not a Python file" if path.exists() else "there is no such file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def is_plugin(code: Callable[..., Any]) -> bool:
    """Whether a rule, or what loads a member, is not shipped with the package."""
    return not code.__module__.startswith("gac_app.")


def file_of(code: Any) -> str:
    """The file of a class or function; "" if it was typed into an interpreter."""
    try:
        return inspect.getfile(code)
    except (OSError, TypeError):
        return ""


def code_of(code: Callable[..., Any]) -> str:
    """A digest of a plug-in's file as it was at the first call, when the code is registered: it may be edited later.
    Empty for shipped code, which the program's version identifies. Code without a file, such as a notebook's, has
    another one each time.
    """
    return (_as_registered(code)[0] or secrets.token_hex()) if is_plugin(code) else ""


def may_be_replaced(code: Callable[..., Any], *, replace: bool) -> bool:
    """Whether other code may take its name: a plug-in's, if that is wished or if its module failed to load."""
    return is_plugin(code) and (replace or sys.modules.get(code.__module__) is not _as_registered(code)[1])


@cache
def _as_registered(code: Callable[..., Any]) -> tuple[str, ModuleType | None]:
    """The digest of its file, and its module, at the first call."""
    path = Path(file_of(code))
    digest = sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return digest, sys.modules.get(code.__module__)
