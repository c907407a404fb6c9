"""What exports call a visitor: random, and yet the visitor's key tells that it is theirs.

Half of a pseudonym is drawn, the other half follows from it and the key. Nobody can tell the key from pseudonyms, nor
without the key that two of them are of one visitor.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_HALF = 16  # hexadecimal digits


def new_pseudonym(visitor_key: str) -> str:
    """Another one each time."""
    drawn = secrets.token_hex(_HALF // 2)
    return drawn + _proof(visitor_key, drawn)


def is_pseudonym_of(visitor_key: str, pseudonym: str) -> bool:
    """Whether a pseudonym was drawn for the visitor with this key."""
    drawn, proof = pseudonym[:_HALF], pseudonym[_HALF:]
    return hmac.compare_digest(proof.encode(), _proof(visitor_key, drawn).encode())


def _proof(visitor_key: str, drawn: str) -> str:
    key = visitor_key.encode("utf-8", "surrogatepass")
    return hmac.new(key, drawn.encode(), hashlib.sha256).hexdigest()[:_HALF]
