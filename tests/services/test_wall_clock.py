"""The clock of the wall is set while the program works: nothing is measured by it."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path

import pytest

import gac_app
from tests.services.house import House, answer

DAY_S = 24 * 3600
# What is dated, and what a file's or another machine's time is compared with: how often a file looks at the wall clock.
DATES = {
    **dict.fromkeys(("server/api/app.py", "server/api/forms.py", "server/routes/sign_in.py"), 1),
    **{"services/battles/battles.py": 2, "services/battles/records.py": 3},
    **dict.fromkeys(("services/queue/shares.py", "models/onnx/parts.py", "models/remote/transport.py"), 1),
}


def test_a_clock_that_jumps_moves_no_duration(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    days, real = itertools.cycle((0, 1, -1)), time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(days) * DAY_S)
    began = time.monotonic()
    run = answer(house.service())
    took_s = time.monotonic() - began
    for stream in run.streams.values():
        assert (end := stream.finished)
        assert 0 <= end.ttft_s <= end.seconds <= took_s
        assert all(0 <= usage.seconds <= took_s for usage in end.members.values())


def test_nothing_else_looks_at_the_wall_clock() -> None:
    root = Path(gac_app.__file__).parent
    texts = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
    found = {path: len(re.findall(r"\btime\.time\b", text)) for path, text in texts.items()}
    assert {path: num for path, num in found.items() if num and not path.startswith("bench/")} == DATES
