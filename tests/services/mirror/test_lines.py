"""Hostile lines are named and skipped, the others come in, and nothing later breaks."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gac_app.arena.rating.votes import VoteFilter
from gac_app.errors import RequestError
from gac_app.services.battles.standings import Standings
from gac_app.services.exports.formats import Format
from gac_app.services.mirror import files
from gac_app.services.mirror.exports import Exports, content_of
from gac_app.services.mirror.files import ImportResult, deletion_line, index_of
from gac_app.services.mirror.lines import line_of, written_line
from gac_app.storage import Store
from tests.command_line import run_command
from tests.databases import database_in
from tests.services.house import ALICE
from tests.services.mirror.test_exports import exported as exported
from tests.services.mirror.test_exports import imported
from tests.storage.samples import new_id

Json = dict[str, Any]
HUGE, DEEP = int("9" * 400), "[" * 5000 + "]" * 5000
RAW = "raw:"  # marks JSON that `json.dumps` would not write


@pytest.fixture(scope="module")
def good(exported: list[str]) -> list[Json]:
    """A run with its vote, and a battle with a vote and a remark, as `export` writes them."""
    return [json.loads(exported[0]), json.loads(exported[-1])]


def fresh(line: Json) -> Json:
    """The same with ids of its own."""
    line = json.loads(json.dumps(line))
    if "battle_id" not in line:
        return line | {"run_id": new_id(), "conversation_id": new_id()}
    for judgement in line["judgements"]:
        judgement["id"] = new_id()
    return line | {"battle_id": new_id()}


def text_of(line: Json) -> str:
    """The line with its raw parts as they are."""
    text = json.dumps(line)
    for raw in ("NaN", "Infinity", "1e999", DEEP):
        text = text.replace(f'"{RAW}{raw}"', raw)
    return text


def changed(line: Json, path: tuple[str | int, ...], value: object) -> Json:
    line = fresh(line)
    at: Any = line
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return line


def everything_works(store: Store) -> None:
    """Whatever reads what has come in."""
    exports = Exports(store)
    for line in exports.lines():
        assert json.loads(line).get("status") != "damaged"
        line_of(line.encode())
    for wanted in Format:
        content_of(store.battles.export(), wanted)
    standings = Standings(store, ["a", "b"], 1)
    standings.leaderboard(ALICE, VoteFilter(has_flagged=True))
    standings.leaderboard(ALICE, controls_style=True)
    standings.for_drawing()
    standings.choices()
    store.battles.agreed()


RUN, BATTLE = 0, 1
# Each was taken in or ended the import with a trace before lines were checked.
KINDS: dict[str, tuple[int, tuple[str | int, ...], object]] = {
    "a number of 400 digits": (RUN, ("position",), HUGE),
    "5,000 levels": (BATTLE, ("body", "turns"), RAW + DEEP),
    "fewer levels": (BATTLE, ("body", "more"), json.loads("[" * 50 + "]" * 50)),
    "a number that is none": (BATTLE, ("judgements", 0, "facts", "left", "chars"), RAW + "NaN"),
    "an infinite cost": (BATTLE, ("judgements", 0, "facts", "left", "ms_per_token"), RAW + "1e999"),
    "facts that are a number": (BATTLE, ("judgements", 0, "facts"), 3),
    "a side's facts that are a list": (BATTLE, ("judgements", 0, "facts", "left"), [1]),
    "characters that are text": (BATTLE, ("judgements", 0, "facts", "left", "chars"), "7"),
    "characters that are none": (BATTLE, ("judgements", 0, "facts", "right", "chars"), None),
    "flags that are numbers": (BATTLE, ("judgements", 0, "facts", "flags"), [1]),
    "a turn that is text": (BATTLE, ("judgements", 0, "facts", "turn"), "two"),
    "answers that are a number": (RUN, ("answers",), 3),
    "an unknown outcome": (BATTLE, ("judgements", 0, "outcome"), "mine"),
    "a huge turn": (BATTLE, ("judgements", 0, "facts", "turn"), 2**63),
    "an object as id": (BATTLE, ("battle_id",), {"a": 1}),
    "a list as a run's id": (RUN, ("run_id",), ["x"]),
    "an id of another form": (RUN, ("conversation_id",), "../../etc"),
    "a body that is text": (BATTLE, ("body",), "text"),
    "a body without turns": (BATTLE, ("body", "turns"), []),
    "an answer without text": (BATTLE, ("body", "turns", 0, "left", "text"), None),
    "a turn's id that is an object": (RUN, ("turn_ids",), [{"a": 1}]),
    "turn ids that are an object": (RUN, ("turn_ids",), {"a": 1}),
    "a time before all zones": (RUN, ("created_at",), "0001-01-01T00:00:00+14:00"),
    "a time without a zone": (BATTLE, ("judgements", 0, "created_at"), "2026-01-01T00:00:00"),
    "a time that is a number": (BATTLE, ("created_at",), 3),
    "an unknown kind": (BATTLE, ("judgements", 0, "kind"), "veto"),
    "a kind in capitals": (BATTLE, ("judgements", 0, "kind"), "VOTE"),
    "text among the facts": (BATTLE, ("judgements", 0, "facts", "more"), "what somebody wrote"),
    "a remark without reasons": (BATTLE, ("judgements", 1, "body"), {"comment": ""}),
    "an unknown reason": (BATTLE, ("judgements", 1, "body", "reasons"), {"left": [["clear"]]}),
    "an outcome of another kind": (BATTLE, ("judgements", 0, "kind"), "verdict"),
    "an outcome without a vote": (BATTLE, ("judgements", 1, "outcome"), "left"),
    "a vote without an outcome": (BATTLE, ("judgements", 0, "outcome"), ""),
    "a vote with a body": (BATTLE, ("judgements", 0, "body"), {"reasons": {}, "comment": ""}),
    "a remark without a body": (BATTLE, ("judgements", 1, "body"), None),
    "a list among the facts": (BATTLE, ("judgements", 0, "facts", "more"), ["x"]),
    "a time after all zones": (BATTLE, ("created_at",), "9999-12-31T23:59:59-01:00"),
    "a position twice": (BATTLE, ("judgements", 1, "position"), 0),
    "names that are no text": (BATTLE, ("left",), {"a": 1}),
    "a name that is too long": (BATTLE, ("left",), "x" * 300),
    "settings that are text": (RUN, ("settings",), "none"),
    "a system prompt that is none": (RUN, ("settings", "system_prompt"), 3),
    "tokens that are no bytes": (RUN, ("answers", 0, "steps", 0, "token"), "xyz"),
    "a probability that is text": (RUN, ("answers", 0, "steps", 0, "prob"), "0.5"),
    "half a character": (BATTLE, ("left",), "\ud800"),
}


def test_bad_lines_are_named_and_the_rest_comes_in(
    good: list[Json], other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gac_app.services.mirror.files._MAX_NAMED", len(KINDS))
    bad = [text_of(changed(good[which], path, value)) for which, path, value in KINDS.values()]
    done = imported(other, [*bad, json.dumps(good[RUN]), json.dumps(good[BATTLE])])
    named = {int(number) for number in re.findall(r"^lines\.jsonl, line (\d+): .", done.reasons, re.MULTILINE)}
    assert [kind for number, kind in enumerate(KINDS, start=1) if number not in named] == []
    assert done == ImportResult(2, 0, 0, len(KINDS))
    assert "what somebody wrote" not in done.reasons
    everything_works(other)


def test_what_release_1_1_wrote_comes_in_as_today(good: list[Json], other: Store) -> None:
    battle = fresh(good[BATTLE])
    vote, remark = battle["judgements"]
    undo = {**vote, "id": new_id(), "kind": "undo", "outcome": "", "facts": {}}
    rows = [vote, undo, remark, {**vote, "id": new_id(), "outcome": "tie"}, {**remark, "id": new_id()}]
    old = {**battle, "run_id": None, "judgements": [{**row, "position": at} for at, row in enumerate(rows)]}
    implied = {**fresh(good[BATTLE]), "run_id": "a" * 32, "origin": "compare"}
    done = imported(other, [json.dumps(old), json.dumps(implied)])
    assert (done.num_new, done.num_bad) == (1, 1)
    assert "line 2: a vote on Compare implied this battle" in done.reasons
    (found,) = other.battles.export()
    assert [(row["position"], row["kind"]) for row in found.judgements] == [(0, "vote"), (1, "remark")]
    assert found.outcome == "tie"


@pytest.mark.parametrize("moment", ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5-08:00"])
def test_a_moment_has_any_zone_and_other_facts_are_numbers(good: list[Json], moment: str) -> None:
    line = changed(changed(good[BATTLE], ("created_at",), moment), ("judgements", 0, "facts", "more"), 2.5)
    assert line_of(json.dumps(line).encode()) == line


def test_bad_lines_are_counted_and_some_named(good: list[Json], other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """None takes the place of a good one; one without an end is bounded."""
    monkeypatch.setattr("gac_app.services.mirror.files.MAX_LINE_BYTES", 100_000)
    monkeypatch.setattr("gac_app.services.mirror.lines.MAX_LINE_BYTES", 100_000)
    bad = json.dumps(good[BATTLE] | {"body": 3})
    done = imported(other, ["[" * 250_000, json.dumps(good[BATTLE]), bad, *["{}"] * 28])
    assert done == ImportResult(1, 0, 0, 30)
    assert "line 1: is longer than 100,000 bytes" in done.reasons
    assert len(done.reasons.splitlines()) == 21
    assert done.reasons.endswith("and 10 more")


def test_the_command_names_bad_lines_and_ends_with_2(good: list[Json], tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(f"{json.dumps(good[RUN])}\n{DEEP}\n{json.dumps(good[BATTLE])}\n")
    config = tmp_path / "gac.yaml"
    config.write_text("members: [{name: a, source: 'random:1'}]\n")
    url = database_in(tmp_path / "other.db")
    result = run_command("import", str(file), "--config", str(config), GAC_DATABASE_URL=url)
    assert result.returncode == 2
    assert result.stdout == "2 new, 0 known already, 1 skipped\n"
    assert "lines.jsonl, line 2: invalid JSON" in result.stderr
    again = run_command("export", "--config", str(config), GAC_DATABASE_URL=url)
    assert len(again.stdout.splitlines()) == 2


HOSTILE = st.one_of(
    st.sampled_from([None, True, -1, 0, 2**31, 2**63, HUGE, 1e308, -0.5, "", "\0", "\ud800", "x" * 70_000, [], {}]),
    st.sampled_from([f"{RAW}{raw}" for raw in ("NaN", "Infinity", "1e999", DEEP)]),
    st.sampled_from(["0" * 32, "2026-01-01", "9999-12-31T23:59:59-12:00", "vote", "people", [[]], {"": None}, [3]]),
    st.text(max_size=20),
)


def places(value: Any) -> list[tuple[str | int, ...]]:
    """The paths to all values inside one."""
    if not isinstance(value, dict | list):
        return []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [(key, *rest) for key, inner in items for rest in [(), *places(inner)]]


@pytest.mark.slow
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_line_breaks_nothing(data: st.DataObject, good: list[Json]) -> None:
    texts = []
    for _ in range(20):
        line = good[data.draw(st.sampled_from([RUN, BATTLE]))]
        texts.append(text_of(changed(line, data.draw(st.sampled_from(places(line))), data.draw(HOSTILE))))
    with TemporaryDirectory() as folder:
        store = Store(database_in(Path(folder, "any.db")), server="")
        assert imported(store, [*texts, json.dumps(good[BATTLE]), json.dumps(good[RUN])]).num_new >= 2
        everything_works(store)
        store.close()


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_line_or_refused(content: bytes) -> None:
    with suppress(RequestError):
        line_of(content)


def test_lines_are_written_as_they_are_read(good: list[Json]) -> None:
    for line in good:
        text = written_line(line)
        assert json.loads(text) == line
        assert written_line(line_of(text.encode())) == text
    with pytest.raises(RequestError, match=r"body\.turns"):
        written_line(good[BATTLE] | {"body": {**good[BATTLE]["body"], "turns": 3}})


def test_an_index_ends_when_it_is_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of release 1.1 tell runs and battles apart."""
    monkeypatch.setattr(files, "_AT_ONCE", 2)
    path, answers = tmp_path / "f.jsonl", iter([True, False])
    keys = [f"{number:032x}" for number in range(6)]
    old = json.dumps({"deleted": {"runs": keys[:1], "battles": keys[1:2]}}) + "\n"
    path.write_text(old + "".join(deletion_line([key]) for key in keys[2:]) + "no JSON\n")
    assert index_of([path], lambda: next(answers)).deleted == set(keys[:4]), "the fourth line is not read"
    whole = index_of([path, path])
    assert whole.deleted == set(keys)
    assert (whole.num_bad, whole.reasons.splitlines()[0][:18]) == (2, "f.jsonl, line 6: i")
