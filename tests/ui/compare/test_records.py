from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gac_app.decoding.trace.events import FinishedEvent, FinishReason, MemberUsage, StepOutline, TokenEvent
from gac_app.errors import NotFoundError, Phrase
from gac_app.services.runs.live_run import LiveRun, RunPlan
from gac_app.services.runs.views import RunView, StreamView
from gac_app.settings import Settings
from gac_app.storage.runs.traces import stored_outline
from gac_app.ui.compare.forks import Fork, GrowingText, forks_of
from gac_app.ui.compare.records import BESIDE, PIECE, RunLines, token_record
from tests.ui.planted import ANSWER, MEMBERS, planted_step
from tests.ui.spy import lines_of
from tests.ui.steps import step


def run_view(prompt: str = "hello") -> RunView:
    streams = {key: StreamView(key) for key in ("ensemble", *(f"member:{name}" for name in MEMBERS))}
    run: dict[str, Any] = {"id": "r", "conversation_id": "c", "prompt": prompt, "member_names": MEMBERS}
    return RunView(**run, settings=Settings(gate=MEMBERS[0]), status="running", streams=streams)


def say(run: RunView, stream: str, *pieces: str) -> None:
    events = run.streams[stream].events
    alone = None if stream == "ensemble" else stream.removeprefix("member:")
    for piece in pieces:
        events.append(TokenEvent(piece, planted_step(len(events), piece, alone=alone)))


def finish(run: RunView, stream: str) -> None:
    events = run.streams[stream].events
    text = "".join(event.text for event in events if isinstance(event, TokenEvent))
    events.append(FinishedEvent(FinishReason.STOP, text, len(events), 0, 0.1, 0.2, {}))


def ends_of(run: RunView, before: RunView | None = None) -> list[Any]:
    """What is said of each stream at its end."""
    lines = lines_of(RunLines(run, before).value())
    return [line["end"][1] for line in lines if isinstance(line, dict) and "end" in line]


def test_a_value_only_grows() -> None:
    run = run_view()
    lines = RunLines(run)
    values = [lines.value()]
    for piece in ANSWER:
        say(run, "ensemble", piece)
        say(run, "member:Small", piece, piece)
        values.append(lines.value())
    finish(run, "ensemble")
    run.status, run.is_saved, run.outcome = "aborted", False, "tie"
    values.append(lines.value(is_last=True))
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(values))
    assert lines_of(values[-1])[-1] == {"done": {"status": "aborted", "saved": False, "outcome": "tie"}}
    assert RunLines(run).value().splitlines()[0] != values[0].splitlines()[0], "opened again, it starts the board again"


def test_tokens_that_come_just_before_the_end_are_there() -> None:
    run = run_view()

    class Hasty(StreamView):
        @property
        def outline(self) -> Sequence[StepOutline]:
            """Of the answer that goes on and ends as soon as its tokens were looked at."""
            found = super().outline
            if not self.finished:
                say(run, "ensemble", "b", "c")
                finish(run, "ensemble")
            return found

    run.streams["ensemble"] = Hasty("ensemble")
    say(run, "ensemble", "a")
    lines = RunLines(run)
    lines.value()
    assert [line[1] for line in lines_of(lines.value()) if isinstance(line, list)] == ["a", "b", "c"]


def test_the_first_divergence_is_told_once() -> None:
    run = run_view()
    lines = RunLines(run)
    say(run, "member:Small", "a", "b", "x")
    say(run, "member:Large", "q")
    assert "fork" not in lines.value()
    say(run, "ensemble", "a")
    assert [line for line in lines_of(lines.value()) if "fork" in line] == [{"fork": [2, 0]}]
    say(run, "ensemble", "b", "c")
    say(run, "member:Small", "z")
    forks = [line for line in lines_of(lines.value()) if "fork" in line]
    assert forks == [{"fork": [2, 0]}, {"fork": [1, 2]}]


def test_markup_in_a_value_is_escaped_and_comes_back_whole() -> None:
    hostile = "<script>alert(1)</script>${alert(2)}{{alert(3)}}\u2028\n`"
    run = run_view(prompt=hostile)
    say(run, "ensemble", hostile)
    value = RunLines(run).value()
    assert "<" not in value
    lines = lines_of(value)
    assert lines[0]["run"]["prompt"] == hostile
    assert next(line for line in lines if isinstance(line, list))[1] == hostile


def test_only_answers_that_both_ended_are_compared() -> None:
    before, run = run_view(), run_view()
    del before.streams["ensemble"]
    for each in (before, run):
        say(each, "member:Small", "a")
        say(each, "member:Large", "x")
    for each, stream in ((run, "ensemble"), (run, "member:Small"), (before, "member:Small"), (run, "member:Large")):
        finish(each, stream)
    same = "same text as the previous run and the same probabilities to six digits"
    assert [end["again"] for end in ends_of(run, before)] == ["", same, ""]

    def read() -> bytes:
        raise NotFoundError(Phrase("No such run."))

    old = before.streams["member:Small"]
    assert old.finished
    old.stored = old.finished, stored_outline(read)
    assert [end["again"] for end in ends_of(run, before)] == [""] * 3, "deleted while it was run again"


def test_a_long_answer_that_was_over_comes_as_tokens_and_text() -> None:
    run = run_view()
    pieces = [f" {number}" for number in range(PIECE + 3)]
    say(run, "ensemble", *pieces)
    say(run, "member:Small", *pieces)
    finish(run, "ensemble")
    told = RunLines(run)
    lines = lines_of(told.value())
    tokens = [[line[1] for line in lines if isinstance(line, list) and line[0] == index] for index in (0, 1)]
    assert tokens == [pieces[:PIECE], pieces], "what still grows comes whole"
    assert [line["rest"] for line in lines if "rest" in line] == [[0, "".join(pieces[PIECE:])]]
    assert [line["end"][1]["tokens"] for line in lines if "end" in line] == [len(pieces)]
    say(run, "member:Small", " last")
    finish(run, "member:Small")
    rests = [line["rest"][0] for line in lines_of(told.value()) if "rest" in line]
    assert rests == [0], "what was read as it grew is not sent again"


def test_where_long_answers_part_is_told_while_one_goes_on() -> None:
    run = run_view()
    pieces = [f" {number}" for number in range(PIECE + 3)]
    say(run, "member:Small", *pieces)
    finish(run, "member:Small")
    say(run, "ensemble", *pieces[: PIECE + 1])
    lines = RunLines(run)
    assert "fork" not in lines.value()
    say(run, "ensemble", " other")
    assert [line for line in lines_of(lines.value()) if "fork" in line] == [{"fork": [1, PIECE + 1]}]


def test_reading_and_what_else_runs_are_told_while_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    shares, beside = {"Small": 0.1, "Large": 0.0}, [1, "Threshold"]
    monkeypatch.setattr(LiveRun, "shares_read", lambda _: shares)
    stored = run_view()
    plan = RunPlan(prompt="hello", settings=stored.settings)
    run = LiveRun(plan, owner="", keys=list(stored.streams), member_names=MEMBERS)
    run.status = "running"
    lines = RunLines(run, others=lambda: (beside[0], beside[1]))  # type: ignore[arg-type,return-value]

    def new(before: str) -> list[Any]:
        text = lines.value()[len(before) :]
        return lines_of(text) if text else []

    first = lines.value()
    assert lines_of(first)[1:] == [
        {"phase": {"status": "running", "place": 0, "runs": 1, "study": "Threshold"}},
        {"read": {"Small": 0.1}},
    ]
    assert new(first) == []
    shares |= {"Small": 0.104, "Large": 0.5}
    assert new(first) == [{"read": {"Small": 0.1, "Large": 0.5}}]
    say(run, "member:Small", "x")
    so_far = lines.value()
    shares["Large"] = 0.6
    assert new(so_far) == [{"read": {"Small": 0.1, "Large": 0.6}}], "one member writes, the other reads on"
    so_far = lines.value()
    beside[1] = ""
    for stream in run.streams:
        say(run, stream, "x")
    assert next(line for line in new(so_far) if isinstance(line, dict))["phase"]["study"] == ""
    so_far = lines.value()
    shares["Small"] = 1.0
    assert new(so_far) == [], "all have read the prompt"


def test_all_of_a_token_and_of_an_end_is_told() -> None:
    event = TokenEvent("é", replace(planted_step(1, "é"), prob=0.123456, gate_confidence=0.98765, winner="Large"))
    outline = StepOutline.of(event)
    gated, end, forced, partial, drawn, compared = 1, 2, 4, 8, 16, 32
    assert token_record(outline, MEMBERS, "ensemble") == ["é", gated | compared, 1, 0.1235, 0.9877]
    assert token_record(outline, MEMBERS, "member:Large") == ["é", compared, 1, 0.1235, 0.9877]
    changed = [outline._replace(gate_choice=chosen) for chosen in (None, b" rich", b"", " élan".encode())]
    told = [token_record(one, MEMBERS, "ensemble")[5:] for one in changed]
    assert told == [[], [["rich", "é"]], [["", "é"]], [["élan", "é"]]]
    assert token_record(outline, ("Small",), "ensemble")[2] == -1
    every = outline._replace(token=b"", gate_choice=None, is_forced=True, is_partial=True, is_drawn=True)
    assert token_record(every, MEMBERS, BESIDE)[1] == gated | forced | partial | drawn | end
    run = run_view()
    usage = {"Small": MemberUsage(3, 9, 0.5)}
    finished = FinishedEvent(FinishReason.LENGTH, "x", 9, 4, 0.12345, 2.12345, usage, "the limit", "1f", True)
    run.streams["member:Large"].events.append(finished)
    told = {"reason": "length", "detail": "the limit", "tokens": 9, "ensembled": 4, "replayed": 0, "again": ""}
    told |= {"ttft_s": 0.123, "seconds": 2.123, "tokens_per_s": 4.0, "usage": {"Small": [3, 0.5]}}
    assert ends_of(run) == [told | {"digest": "1f", "reproducible": True}]


def steps(*pieces: str) -> list[StepOutline]:
    """Tokens; "" is END, which an answer that was cut off lacks."""
    return [StepOutline.of(TokenEvent(piece, step(at, piece.encode()))) for at, piece in enumerate(pieces)]


PARTINGS = [
    *((["Paris", " was"], ["Paris", " is"], 1), (["日"], ["本"], 0), (["Paris"], [], None), ([], [], None)),
    ([" Paris", " is"], ["Paris", " is"], None),  # one begins with a space
    ([" ", "\n", "Paris", " was"], ["Paris", " is"], 3),
    (["Par", "is", " is"], ["Paris", " ", "is"], None),  # the same text, cut otherwise
    (["Par", "is", " is"], ["Pa", "ris was"], 2),
    *((["Paris", ""], ["Paris", " is"], 1), (["Paris", " is"], ["Paris", ""], 1)),  # ended where the other goes on
    *((["Paris"], ["Paris", " is"], None), (["Paris", ""], ["Paris", ""], None)),  # was cut off there; ended alike
]


@pytest.mark.parametrize(("own", "ensemble", "position"), PARTINGS)
def test_where_texts_part(own: list[str], ensemble: list[str], position: int | None) -> None:
    texts = GrowingText(), GrowingText()
    texts[0].extend(steps(*own))
    texts[1].extend(steps(*ensemble))
    assert Fork().find(*texts) == position


@pytest.mark.parametrize("piece", [1, 2, 100])
def test_whole_streams_are_compared_piece_by_piece(piece: int) -> None:
    ensemble = steps("Paris", " is", " a", " town", "")
    others = [steps("Paris", " is", " the"), ensemble, steps("Pa", "ris"), steps("Rome"), steps("Paris", ""), []]
    assert forks_of([ensemble, *others], piece) == {1: 2, 4: 0, 5: 1}
