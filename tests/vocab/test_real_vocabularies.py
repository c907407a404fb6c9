"""The union of the default models' vocabularies: its size and its speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gac_app.models.llama_cpp.model import LlamaCppModel
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary

pytestmark = pytest.mark.real
BUILD_S = 2.0  # of processor, the least of three attempts


@pytest.fixture(scope="module")
def vocabularies(real_files: dict[str, Path]) -> Iterator[list[MemberVocabulary]]:
    """SmolLM2's and Gemma's."""
    with ExitStack() as stack:
        models = [
            LlamaCppModel(name, real_files[name], context_length=256, max_sequences=1)
            for name in ("SmolLM2-135M-Instruct", "Gemma-3-270M")
        ]
        for model in models:
            stack.enter_context(closing(model))
        yield [model.vocabulary for model in models]


def united(vocabularies: list[MemberVocabulary]) -> list[VocabMapping]:
    union = UnionVocabulary.build(vocabularies)
    return [VocabMapping(vocabulary, union) for vocabulary in vocabularies]


@pytest.fixture(scope="module")
def mappings(vocabularies: list[MemberVocabulary]) -> list[VocabMapping]:
    return united(vocabularies)


@pytest.mark.slow
def test_union_and_mappings_are_built_in_two_seconds(vocabularies: list[MemberVocabulary]) -> None:
    def seconds() -> float:
        started = time.process_time()
        united(vocabularies)
        return time.process_time() - started

    assert min(seconds() for _ in range(3)) < BUILD_S


def test_sizes_and_what_the_members_share(vocabularies: list[MemberVocabulary], mappings: list[VocabMapping]) -> None:
    assert len(mappings[0].union) == pytest.approx(258_700, abs=100)
    first, second = (vocabulary.texts() for vocabulary in vocabularies)
    assert len(first & second) / len(first) == pytest.approx(0.94, abs=0.005)
