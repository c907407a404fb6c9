"""Options that several commands share, and how a configuration is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gac_app.config import Config, load_config
from gac_app.environment import config_path, environment_overrides

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file (YAML). Default: $GAC_CONFIG, else configs/default.yaml."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]


def load(path: Path | None) -> Config:
    """The configuration, with the environment's variables applied. Raises ConfigError."""
    return load_config(config_path(path, os.environ), environment_overrides(os.environ))
