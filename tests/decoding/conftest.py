"""Ensembles of seeded random members, with vocabularies that differ."""

from __future__ import annotations

from typing import Any

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.models.random_model import RandomModel
from tests.fakes import config_of, ensemble_of


def make(*seeds: int, sharpness: float = 3.0, context_length: int = 4096, **settings: Any) -> Ensemble:
    """Members named m<seed>; the first is the gate."""
    models = [RandomModel(f"m{s}", s, sharpness=sharpness, context_length=context_length) for s in seeds]
    return ensemble_of(models, config_of([model.name for model in models], settings), InlineMember)
