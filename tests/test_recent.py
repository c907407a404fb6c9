"""A dictionary of bounded size."""

from __future__ import annotations

from gac_app.recent import Recent


def test_what_was_written_last_is_kept() -> None:
    kept: Recent[str, int] = Recent(2)
    kept["a"], kept["b"], kept["a"], kept["c"] = 1, 2, 3, 4
    assert dict(kept) == {"a": 3, "c": 4}
