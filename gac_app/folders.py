"""Where the files beside the code are: `configs` and `static` stand at the top of the repository, and inside the
package once it is installed.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _found(name: str) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


CONFIGS_DIR = _found("configs")
STATIC_DIR = _found("static")
