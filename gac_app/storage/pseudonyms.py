"""Visitors' names in exports: random, but the visitor's key proves that a name is theirs.

Half of a pseudonym is random; the other half is computed from it and the key. Pseudonyms reveal neither the key nor,
without the key, that two of them belong to one visitor.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_HALF = 16  # hexadecimal digits


def new_pseudonym(visitor_key: str) -> str:
    """A new pseudonym; a different one at each call."""
    drawn = secrets.token_hex(_HALF // 2)
    return drawn + _proof(visitor_key, drawn)


def is_pseudonym_of(visitor_key: str, pseudonym: str) -> bool:
    """Whether a pseudonym belongs to the visitor with this key."""
    drawn, proof = pseudonym[:_HALF], pseudonym[_HALF:]
    return hmac.compare_digest(proof.encode(), _proof(visitor_key, drawn).encode())


def _proof(visitor_key: str, drawn: str) -> str:
    key = visitor_key.encode("utf-8", "surrogatepass")
    return hmac.new(key, drawn.encode(), hashlib.sha256).hexdigest()[:_HALF]
