"""The built-in rules. Each has its source and formula, and a test against an example worked by hand."""

from gac_app.decoding.rules.shipped import (
    averaging,
    contrastive,
    core,
    gates,
    most_confident,
    sharpened,
    unite,
    weights,
)

__all__ = ["averaging", "contrastive", "core", "gates", "most_confident", "sharpened", "unite", "weights"]
