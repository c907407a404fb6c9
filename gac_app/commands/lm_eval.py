"""`lm-eval`: the lm-evaluation-harness with the ensemble as a model."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gac_app.commands.options import load
from gac_app.errors import ConfigError

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


def lm_eval(context: typer.Context) -> None:
    """Run the lm-evaluation-harness with its own arguments.

    --model gac is the ensemble; --model_args config=FILE,system=gate@0.5 chooses configuration and system, as for eval.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError("the lm-evaluation-harness is not installed; pip install 'lm_eval>=0.4.9'")
    from lm_eval.__main__ import cli_evaluate

    from gac_app.evaluation.harness import register

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    register(_load)
    sys.argv = ["lm-eval", *context.args]
    cli_evaluate()


def _load(path: str | None) -> Ensemble:
    from gac_app.loading import load_ensemble

    return load_ensemble(load(Path(path) if path else None))
