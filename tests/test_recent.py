"""A dictionary of bounded size."""

from __future__ import annotations

from gac_app.recent import Recent


def test_what_was_written_last_is_kept() -> None:
    kept: Recent[str, int] = Recent(2)
    kept["a"], kept["b"], kept["a"], kept["c"] = 1, 2, 3, 4
    assert dict(kept) == {"a": 3, "c": 4}


def test_a_write_may_come_within_another() -> None:
    class Key:
        num_hashed = 0

        def __hash__(self) -> int:
            self.num_hashed += 1
            if self.num_hashed == 2:
                kept["of another thread"] = 1
            return 0

    kept: Recent[object, int] = Recent(1)
    kept[Key()] = 2
    assert list(kept.values()) == [2]
