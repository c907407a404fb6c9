"""Keeps the union of a set of vocabularies on disk, so that later starts need not sort it again.

The file holds ids only: the union token of each id of each member. Its name is a digest of the members' bytes, so a
file is never used with other vocabularies than those it was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import IdsV, UnionVocabulary

logger = logging.getLogger(__name__)

_FORMAT = 1  # of the file and of the union's rules; a new number rebuilds the union


def unite(
    vocabularies: Sequence[MemberVocabulary], cache_dir: Path, *, keeps_control: bool = False
) -> list[VocabMapping]:
    """The members' mappings into their union vocabulary, in the order given. The union is cached.

    Args:
        keeps_control: see `VocabMapping`.
    """
    path = cache_dir / "unions" / f"{_digest(vocabularies)}.npz"
    ids = _load(path, len(vocabularies))
    if ids is not None:
        union = _restored(vocabularies, ids)
    else:
        union = UnionVocabulary.build(vocabularies)
        ids = [union.ids_of(vocabulary) for vocabulary in vocabularies]
        _save(path, ids)
    pairs = zip(vocabularies, ids, strict=True)
    return [VocabMapping(vocabulary, union, ids_V, keeps_control=keeps_control) for vocabulary, ids_V in pairs]


def _digest(vocabularies: Sequence[MemberVocabulary]) -> str:
    digest = hashlib.sha256(f"union {_FORMAT}".encode())
    for vocabulary in vocabularies:
        tokens = vocabulary.token_bytes
        lengths = [-1 if token is None else len(token) for token in tokens]
        for ids in ([len(tokens)], lengths, sorted(vocabulary.end_ids), sorted(vocabulary.byte_ids)):
            digest.update(np.array([len(ids), *ids], dtype=np.int32).tobytes())
        digest.update(b"".join(filter(None, tokens)))
    return digest.hexdigest()


def _restored(vocabularies: Sequence[MemberVocabulary], ids: list[IdsV]) -> UnionVocabulary:
    size = 1 + max(int(ids_V.max()) for ids_V in ids)
    tokens_U = np.full(size + 1, None, dtype=object)
    for vocabulary, ids_V in zip(vocabularies, ids, strict=True):
        text_ids_V = ids_V.copy()
        text_ids_V[list(vocabulary.end_ids)] = -1
        tokens_U[text_ids_V] = np.array(vocabulary.token_bytes, dtype=object)  # the last place takes ids without text
    return UnionVocabulary(filter(None, tokens_U[:-1].tolist()))  # END has no bytes


def _load(path: Path, num_members: int) -> list[IdsV] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[f"ids_{index}"] for index in range(num_members)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("the cached union vocabulary %s is damaged and is rebuilt: %s", path.name, error)
        return None


def _save(path: Path, ids: list[IdsV]) -> None:
    with contextlib.suppress(OSError):  # without a writable cache, every start builds it
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            work = Path(folder, path.name)
            np.savez(work, **{f"ids_{index}": ids_V for index, ids_V in enumerate(ids)})  # type: ignore[arg-type]
            work.replace(path)
