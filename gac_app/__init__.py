"""GaC: ensembling language models token by token (arXiv 2406.12585), and seeing what the ensemble does.

The names in `__all__` are the public ones, described in docs/python.md. They are imported on first use, so that
`import gac_app` loads neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gac_app.config import Config
    from gac_app.decoding.scoring import Score
    from gac_app.decoding.trace import Candidate, FinishReason, MemberTrace, StepTrace, TokenEvent
    from gac_app.errors import (
        BusyError,
        ConfigError,
        ConstraintError,
        GacError,
        MemberError,
        ModelLoadError,
        RequestError,
        RuleError,
        VocabularyError,
    )
    from gac_app.library.answer import Answer
    from gac_app.library.gac import Gac, load
    from gac_app.library.processor import GacLogitsProcessor
    from gac_app.library.step import Decoding, Step
    from gac_app.models.message import Message
    from gac_app.settings import Settings

__version__ = "1.1.0"

__all__ = [
    "Answer",
    "BusyError",
    "Candidate",
    "Config",
    "ConfigError",
    "ConstraintError",
    "Decoding",
    "FinishReason",
    "Gac",
    "GacError",
    "GacLogitsProcessor",
    "MemberError",
    "MemberTrace",
    "Message",
    "ModelLoadError",
    "RequestError",
    "RuleError",
    "Score",
    "Settings",
    "Step",
    "StepTrace",
    "TokenEvent",
    "VocabularyError",
    "__version__",
    "load",
]

# Lightest first: a name is taken from the first that has it.
_MODULES = (
    *("config", "errors", "settings", "models.message", "decoding.trace", "decoding.scoring"),
    *("library.answer", "library.step", "library.gac", "library.processor"),
)


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := import_module(f"gac_app.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
