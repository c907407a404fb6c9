"""What docs/engine.md names as the one place to change something is: no fast path goes round it."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from gac_app.decoding.member import InlineMember
from gac_app.decoding.speculation import speculator
from gac_app.models.base import Model
from tests.decoding.answers import LETTERS, decoded
from tests.decoding.test_told_members import told
from tests.decoding.toy import ToyModel, toy_ensemble, toys

DOCS = Path(__file__).parents[2] / "docs" / "engine.md"
PLACES: list[tuple[str, str]] = re.findall(r"\| `([\w.]+)` of `([\w/]+)\.py` \|", DOCS.read_text("utf-8"))
COMMON: dict[str, Any] = {"mode": "gate", "threshold": 0.7, "weights": {"m0": 0.6, "m1": 0.4}, "max_new_tokens": 12}
SAMPLED: dict[str, Any] = {"temperature": 1.0, "seed": 3}
SEEDS = (1, 2)
PATHS = ("greedy", "sampled", "filtered", "told", "told and sampled", "scored", "drafted")


def wrapped(change: Callable[..., Any]) -> Callable[[Any], Any]:
    """What is planted in place of a function: it changes what the function gives."""
    return lambda original: lambda *args, **kwargs: change(original(*args, **kwargs), *args)


def without_some(ids_V: Any, union: Any, _: Any) -> Any:
    is_long_V = np.array([own >= 0 and own % 3 == 0 and len(union.token(own)) > 1 for own in ids_V.tolist()])
    return np.where(is_long_V, -1, ids_V).astype(np.int32)


PLANTS: dict[str, Callable[[Any], Any]] = {
    "UnionVocabulary.ids_of": wrapped(without_some),
    "Gate.decide": wrapped(lambda decision, *_: replace(decision, is_open=not decision.is_open)),
    "Combiner.mixture_weights": wrapped(lambda shares, *_: dict(zip(shares, [*shares.values()][::-1], strict=True))),
    "boundary_conflicts": wrapped(lambda *_: []),
    "Mixture.choose": wrapped(lambda chosen, *_: max(0, chosen - 1)),
    "Mixture.gate_choice": wrapped(lambda chosen, *_: None if chosen is None else max(0, chosen - 1)),
    "_random_bits": wrapped(lambda bits, *_: ~bits),
    "drafts_tokens": wrapped(lambda *_: False),
}
UNTOUCHED = {  # paths that do not need what is there
    "boundary_conflicts": {"scored"},
    "Mixture.choose": {"scored"},
    "Mixture.gate_choice": {"scored"},
    "_random_bits": {"greedy", "told", "scored", "drafted"},
    "drafts_tokens": {*PATHS} - {"drafted"},
}


def found_by(path: str) -> Any:
    """Tokens and probabilities of some answers on this path; drafts count, too."""
    with ExitStack() as patched:
        if path == "drafted":  # whatever the text repeats
            patched.enter_context(patch.object(Model, "is_chunk_invariant", True))
            patched.enter_context(patch.object(InlineMember, "is_free_for", lambda *_: True))
            patched.enter_context(patch.object(speculator, "best_length", lambda confidences, _: len(confidences)))
        return _found_by(path)


def _found_by(path: str) -> Any:
    how = {**COMMON, **(SAMPLED if path in ("sampled", "filtered", "told and sampled") else {})}
    how |= {"top_p": 0.9} if path == "filtered" else {}
    drafted = {"speculation": "on", "gate_policy": "eager", "max_new_tokens": 60}
    how |= drafted if path == "drafted" else {"speculation": "off"}
    found: list[Any] = []
    for seed in SEEDS:
        members = toys(seed, 2, LETTERS, num_words=20)
        models: list[Model] = [ToyModel(f"m{index}", toy) for index, toy in enumerate(members)]
        ensemble = told(models, [5, 5]) if path.startswith("told") else toy_ensemble(members)
        if path == "scored":
            for alignment in ("prefix", "paper"):
                settings = ensemble.config.settings_from({**how, "alignment": alignment})
                found += [score.log_prob for score in ensemble.score("ab", ["ab a", "b é"], settings, raw=True)]
        else:
            steps, _ = decoded(ensemble, **how)
            found += [(s.token, s.is_ensembled, [m.weight for m in s.members], s.gate_choice) for s in steps]
            found.append(any(s.is_drafted for s in steps))  # which ones depends on time
    return found


unchanged = cache(found_by)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "module"), PLACES)
def test_a_change_there_shows_on_every_path(name: str, module: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = unchanged(path)
    place = importlib.import_module(f"gac_app.{module.replace('/', '.')}")
    *kinds, function = name.split(".")
    holders = [getattr(place, *kinds)] if kinds else [m for m in [*sys.modules.values()] if hasattr(m, "__dict__")]
    original = getattr(place if not kinds else holders[0], function)
    for holder in holders:
        if vars(holder).get(function) is original:
            monkeypatch.setattr(holder, function, PLANTS[name](original))
    assert (found_by(path) == before) == (path in UNTOUCHED.get(name, ()))


def test_every_place_has_its_plant() -> None:
    assert [name for name, _ in PLACES] == list(PLANTS)
