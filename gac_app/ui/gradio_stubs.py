"""Imports Gradio without writing type stubs.

When a component class is defined, Gradio parses its source and writes a `.pyi` file into its own package. That takes
two fifths of the import's time and helps only editors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_MODULE, _WRITER = "gradio.component_meta", "create_or_modify_pyi"


class _WithoutStubs:
    """Removes the writer from its module. Does nothing in versions without it."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == _MODULE else None
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if hasattr(module, _WRITER):
                setattr(module, _WRITER, lambda *_: None)

        loader.exec_module = exec_module
        return spec


def leave_out_stubs() -> None:
    """Call this before Gradio is imported; later it has no effect."""
    if _MODULE not in sys.modules:
        sys.meta_path.insert(0, _WithoutStubs)
