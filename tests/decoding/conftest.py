"""Ensembles of seeded random members, with vocabularies that differ."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.models.random_model import RandomModel
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary

MakeEnsemble = Callable[..., Ensemble]


def make(*seeds: int, sharpness: float = 3.0, context_length: int = 4096, **settings: object) -> Ensemble:
    """Members named m<seed>; the first is the gate."""
    models = [RandomModel(f"m{s}", s, sharpness=sharpness, context_length=context_length) for s in seeds]
    union = UnionVocabulary.build(model.vocabulary for model in models)
    config = Config.model_validate(
        {"members": [{"name": m.name, "source": "random:0"} for m in models], "settings": settings}
    )
    return Ensemble([InlineMember(model, VocabMapping(model.vocabulary, union)) for model in models], config)


@pytest.fixture
def make_ensemble() -> MakeEnsemble:
    return make
