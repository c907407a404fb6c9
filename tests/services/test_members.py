"""Members' states in words."""

from __future__ import annotations

import pytest

from gac_app.services.members import MemberState


@pytest.mark.parametrize(
    ("bytes_per_s", "left_s", "words"),
    [
        (None, None, "fetching 42 %"),
        (12_340_000.0, 24.6, "fetching 42 % · 12 MB/s · 25 s left"),
        (1_250_000_000.0, 0.0, "fetching 42 % · 1.2 GB/s · 0 s left"),
        (350_400.0, 200.0, "fetching 42 % · 350 kB/s · 3 min left"),
        (800.0, 4_790.0, "fetching 42 % · 800 B/s · 1 h 20 min left"),
        (800.0, None, "fetching 42 % · 800 B/s"),
    ],
)
def test_a_download_in_words(bytes_per_s: float | None, left_s: float | None, words: str) -> None:
    state = MemberState("a", "fetching", progress=0.429, bytes_per_s=bytes_per_s, left_s=left_s)
    assert state.words == words


def test_other_phases_in_words() -> None:
    assert MemberState("a", "fetching").words == "fetching"
    assert MemberState("a", "loading").words == "loading"
