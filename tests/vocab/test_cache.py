"""A kept union is the built one, and nothing on the disk can make it another."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.vocab.cache import unite
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary
from tests.vocab.vocabularies import ALL_BYTES, vocabularies, vocabulary

PAIR = [vocabulary([*ALL_BYTES, b"the", None], end_ids=[257]), vocabulary([b"the", *ALL_BYTES, b"of", b"of"])]


def assert_equal(found: list[VocabMapping], expected: list[VocabMapping]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.union.tokens == other.union.tokens
        assert [one.feed(i) for i in range(len(one.union))] == [other.feed(i) for i in range(len(other.union))]
        logits_NV = torch.randn(1, len(one.vocabulary), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(one.project(logits_NV), other.project(logits_NV), atol=0, rtol=0)


def kept_file(cache_dir: Path) -> Path:
    (path,) = (cache_dir / "unions").iterdir()
    return path


@pytest.mark.slow
@given(st.lists(vocabularies(), min_size=1, max_size=3))
def test_a_kept_union_is_the_built_one(members: list[MemberVocabulary]) -> None:
    union = UnionVocabulary.build(members)
    built = [VocabMapping(vocab, union) for vocab in members]
    with TemporaryDirectory() as folder:
        assert_equal(unite(members, Path(folder)), built)
        assert_equal(unite(members, Path(folder)), built)


@pytest.mark.parametrize("members", [PAIR, [vocabulary([*ALL_BYTES, b"</s>"], end_ids=[256])]])
def test_a_second_start_builds_nothing(
    members: list[MemberVocabulary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = unite(members, tmp_path)
    monkeypatch.setattr(UnionVocabulary, "build", lambda *_: pytest.fail("built again"))
    assert_equal(unite(members, tmp_path), built)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_built_anew(tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture) -> None:
    built = unite(PAIR, tmp_path)
    data = kept_file(tmp_path).read_bytes()
    kept_file(tmp_path).write_bytes(data[: int(len(data) * share)])
    assert_equal(unite(PAIR, tmp_path), built)
    assert "damaged" in caplog.text
    assert kept_file(tmp_path).read_bytes() == data


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    built = unite(PAIR, tmp_path)
    data = kept_file(tmp_path).read_bytes()
    for position in range(0, len(data), 97):
        kept_file(tmp_path).write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        assert_equal(unite(PAIR, tmp_path), built)


def test_other_vocabularies_have_files_of_their_own(tmp_path: Path) -> None:
    first = vocabulary([*ALL_BYTES, b"ab", b"c", None], end_ids=[258])
    others = [
        vocabulary([*ALL_BYTES, b"a", b"bc", None], end_ids=[258]),
        vocabulary([*ALL_BYTES, b"ab", b"c", None]),
        vocabulary([*ALL_BYTES, b"ab", b"c", None], end_ids=[258], byte_ids=[0]),
        vocabulary([*ALL_BYTES, b"ab", b"c", b""], end_ids=[258]),
        vocabulary([*ALL_BYTES, b"ab", b"c", None, None], end_ids=[258]),
    ]
    for other in [first, *others]:
        unite([other], tmp_path)
    unite([first, others[0]], tmp_path)
    unite([others[0], first], tmp_path)
    assert len(list((tmp_path / "unions").iterdir())) == 8


def test_where_nothing_can_be_kept_it_is_built(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (mapping, _) = unite(PAIR, tmp_path / "file")
    assert mapping.union.tokens == UnionVocabulary.build(PAIR).tokens
