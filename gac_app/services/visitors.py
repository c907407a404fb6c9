"""Visitors: their keys, and their names in memory."""

from __future__ import annotations

import hashlib

from gac_app.errors import RequestError

MIN_KEY_CHARS, MAX_KEY_CHARS = 32, 128


def owner_of(visitor_key: str) -> str:
    """The visitor's name in memory: a hash, so that no dump shows the key. Raises RequestError."""
    if not isinstance(visitor_key, str) or not MIN_KEY_CHARS <= len(visitor_key) <= MAX_KEY_CHARS:
        raise RequestError("visitor_key", f"expected {MIN_KEY_CHARS} to {MAX_KEY_CHARS} characters")
    return hashlib.sha256(visitor_key.encode("utf-8", "replace")).hexdigest()
