"""What counts as a right answer, by hand-worked examples."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.tasks import programs
from gac_app.evaluation.tasks.matching import Match, extracted, is_right
from gac_app.evaluation.tasks.task import load_task

RIGHT: dict[Match, list[tuple[str, str]]] = {  # answers, and what is accepted
    "words": [("The  Beatles!", "beatles"), ("Beatles, the", "The Beatles"), ("The", "The"), ("O’Hara", "O'Hara")],
    "trivia": [
        ("O’Hara", "O'Hara"), ("Jean-Paul_Sartre", "jean paul sartre"), ("The `Beatles´", "beatles"), ("The", "The"),
    ],
    "number": [(".5", "0.5"), ("$.50", "0.5"), ("1,200", "1200"), ("$12.50", "12.5"), ("12%.", "12")],
    "text": [("(b).", "(B)"), ("Yes.", "yes")],
}  # fmt: skip
WRONG: dict[Match, list[tuple[str, str]]] = {
    "words": [("The Beatles band", "The Beatles"), ("", "The"), ("A", "The"), ("?", "!"), ("O’Hara", "O Hara")],
    "trivia": [("U.S.", "us")],
    "number": [(".5", "5"), ("-3", "3"), ("100", "1"), ("twelve", "12"), ("nan", "nan")],
    "text": [("(A)", "(B)"), ("", "")],
}


@pytest.mark.parametrize("match", RIGHT)
def test_right_is(match: Match) -> None:
    for expected, pairs in ((True, RIGHT[match]), (False, WRONG[match])):
        for answer, accepted in pairs:
            assert is_right(answer, ["something else", accepted], match) is expected, (answer, accepted)


NUMBER = load_task("gsm8k").extract


@pytest.mark.parametrize(("text", "pattern", "found"), [
    ("5 - 2 = 3. The answer is 3.", r"(\d+)", "3"),
    ("The answer is (A).\nNo: the answer is (B).", r"(?i)the answer is ([^\n]+)", "(B)."),
    ("I do not know.", r"(\d+)", ""), ("The answer is unknown", r"answer is (\d+)?", ""),
    ("It is .5", NUMBER, ".5"), ("It costs $.50.", NUMBER, ".50"), ("-.5", NUMBER, "-.5"),  # may begin with its point
    ("3 apples.5", NUMBER, "5"), ("So...5", NUMBER, "5"), ("1,200.5.", NUMBER, "1,200.5"),
])  # fmt: skip
def test_the_last_place_that_fits_is_the_answer(text: str, pattern: str, found: str) -> None:
    assert extracted(text, pattern) == found


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="a process has no limits there")
@pytest.mark.parametrize(
    ("program", "is_passed"),
    [
        ("def double(x):\n    return 2 * x", True),
        ("def double(x):\n    return 3 * x", False),
        ("import os\nos._exit(0)", False),
        ("raise SystemExit", False),
        ("def double(x):", False),
        ("double = lambda x: 2 * x\nprint('x' * 5_000_000)", False),
        ("double = lambda x: 2 * x\nlist(range(10**9))", False),
        ("double = lambda x: 2 * x\nopen('here', 'w').write('x' * 5_000_000)", False),
        ("import os\ndouble = lambda x: 2 * x\nassert 'HOME' not in os.environ", True),
    ],
)
def test_a_program_is_right_if_it_passes(program: str, is_passed: bool) -> None:
    assert is_right(program, ["assert double(2) == 4\nassert double(0) == 0"], "program") == is_passed


@pytest.mark.process
def test_where_no_program_can_run_none_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_RUN", "raise ValueError('current limit exceeds maximum limit')")
    monkeypatch.setattr(programs, "_check_limits", programs._check_limits.__wrapped__)
    with pytest.raises(RequestError, match="an empty one fails"):
        is_right("pass", ["pass"], "program")


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="a process has no limits there")
def test_a_program_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_SECONDS", 1)
    seen = tmp_path / "seen"
    started = f"import subprocess, sys\nsubprocess.Popen(['sh', '-c', 'sleep 2; touch {seen}'])\nwhile True: pass"
    assert not is_right(started, ["pass"], "program")
    time.sleep(2.2)
    assert not seen.exists(), "what it started goes on"
