"""Encrypts visitors' texts, each run with its own key. Deleting a run means destroying its key.

SQLite copies rows between pages as its trees grow and shrink, and leaves the old copies in the pages' unused space,
which `secure_delete` does not reach. Keys are protected from that: all have one size, their rows are only appended, and
a key is destroyed by overwriting it in place. A row is never deleted; the next run reuses it.

Measured under concurrent writing, with `secure_delete` and the log truncated after each deletion: of 2,000 deleted runs
stored in the clear, the files still held the text of 2, in 6 copies; of 2,000 encrypted ones, no key. A deletion is
acknowledged as fast either way (medians of 109 and 111 ms).
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Select, insert, select, update
from sqlalchemy.orm import Session

from gac_app.errors import DamagedError, Phrase
from gac_app.storage.database.tables import RunKey
from gac_app.storage.text import clean_json

T = TypeVar("T")

KEY_BYTES = 32
_NONCE_BYTES = 12


def encrypt(key: bytes, data: bytes) -> bytes:
    """`data` encrypted (AES-256-GCM): a random nonce, then the ciphertext with its tag."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, None)


def decrypt(key: bytes, encrypted: bytes) -> bytes:
    """The encrypted data. Raises DamagedError if a bit of it, or of the key, has changed."""
    with damage_named():
        return AESGCM(key).decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], None)


def encrypt_json(key: bytes, value: Any) -> bytes:
    """A JSON-able value, encrypted, with its strings cleaned."""
    try:
        text = orjson.dumps(value)
        is_clean = b"\\u0000" not in text
    except TypeError:  # half a surrogate, a key that is no text, a large integer
        is_clean = False
    return encrypt(key, text if is_clean else json.dumps(clean_json(value), separators=(",", ":")).encode())


def decrypt_json(key: bytes, encrypted: bytes) -> Any:
    """The value that `encrypt_json` took. Raises DamagedError."""
    return json.loads(decrypt(key, encrypted))


@contextmanager
def damage_named() -> Iterator[None]:
    """Turn any failure to read a stored run into a DamagedError without its text."""
    try:
        yield
    except (InvalidTag, struct.error, zlib.error, AttributeError, LookupError, TypeError, ValueError):
        raise DamagedError(
            Phrase("This run is damaged in the database and cannot be shown. It can be deleted.")
        ) from None


def key_of(row: Any) -> bytes:
    """The key of a run or battle. Raises DamagedError if it has none."""
    with damage_named():
        key: bytes = row.key.key
        return key


def unless_damaged(read: Callable[[], T], default: T) -> T:
    """What `read` reads of a row; the default if that cannot be read."""
    with suppress(DamagedError), damage_named():
        return read()
    return default


class Key(NamedTuple):
    """A key, and the id of its row."""

    id: int
    key: bytes


def new_key(session: Session) -> Key:
    """A key for a run, in the row of a destroyed key if there is one."""
    return new_keys(session, 1)[0]


def new_keys(session: Session, num: int) -> list[Key]:
    """As `new_key`, several at once."""
    drawn = [AESGCM.generate_key(8 * KEY_BYTES) for _ in range(num)]
    ids = list(session.scalars(select(RunKey.id).where(~RunKey.is_used).limit(num)))
    if ids:
        reused = [{"id": id_, "key": key, "is_used": True} for id_, key in zip(ids, drawn, strict=False)]
        session.execute(update(RunKey), reused)
    if added := [{"key": key, "is_used": True} for key in drawn[len(ids) :]]:
        ids += session.scalars(insert(RunKey).returning(RunKey.id, sort_by_parameter_order=True), added)
    return list(map(Key, ids, drawn))


def destroy_keys(session: Session, key_ids: Select[Any]) -> None:
    """Overwrite keys in place with zeros of the same size, so that SQLite rewrites only these bytes."""
    destroyed = update(RunKey).where(RunKey.id.in_(key_ids)).values(key=bytes(KEY_BYTES), is_used=False)
    session.execute(destroyed.execution_options(synchronize_session=False))
