"""Loads plug-ins: Python files and modules in the operator's configuration, which register rules, back ends and tasks.

They run with all rights of the program, so only a configuration can name them, never a request.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from gac_app.errors import ConfigError, place_of


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
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            place = place_of(error, str((folder / plugin).resolve()))
            raise ConfigError(f"plugins: {plugin} cannot be loaded ({why}; {place})") from error


def _load_file(path: Path) -> ModuleType:
    path = path.resolve()
    name = f"gac_plugin_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError("is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
