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

_NAMES = {
    "gac_app.config": "Config",
    "gac_app.decoding.scoring": "Score",
    "gac_app.decoding.trace": "Candidate FinishReason MemberTrace StepTrace TokenEvent",
    "gac_app.errors": " ".join(name for name in __all__ if name.endswith("Error")),
    "gac_app.library.answer": "Answer",
    "gac_app.library.gac": "Gac load",
    "gac_app.library.processor": "GacLogitsProcessor",
    "gac_app.library.step": "Decoding Step",
    "gac_app.models.message": "Message",
    "gac_app.settings": "Settings",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
