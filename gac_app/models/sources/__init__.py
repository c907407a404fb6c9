"""Where models come from: a member's `source` -> files on this machine. Nothing here imports a model library."""

from gac_app.models.sources.base import ModelFiles, Progress, ProgressCallback
from gac_app.models.sources.resolve import directory_here, resolve

__all__ = ["ModelFiles", "Progress", "ProgressCallback", "directory_here", "resolve"]
