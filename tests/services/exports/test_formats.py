"""Every form is what its readers expect: TRL's own checks, `datasets`, a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gac_app.services.exports.formats import Format, flat, parts
from gac_app.services.exports.judged import Judged, judged
from gac_app.services.mirror.exports import content_of
from gac_app.storage import StoredBattle

AT = "2026-01-01T12:00:00+00:00"
OUTCOMES = ("left", "right", "tie", "both-bad")
SIDE = {"contestant": "Smol", "member": "Smol", "settings": {}}


def chat(*messages: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in messages]


def answered(text: str, *fed: tuple[str, str]) -> dict[str, Any]:
    return {"messages": chat(*fed), "text": text}


def battle(
    outcome: str = "left", *, shown: int = 100, comment: str = "", flags: Sequence[str] = (), **changes: Any
) -> StoredBattle:
    """Two turns with a system prompt; the vote came when `shown` characters of the last were to be seen."""
    asked, again = (("system", "Be brief."), ("user", "=1+1?")), ("user", "Sure?")
    left, right = answered("two", *asked), answered("zwei", *asked)
    turns = [{"prompt": "=1+1?", "left": left, "right": right}]
    left = answered("Yes, it is.", *asked, ("assistant", "two"), again)
    right = answered("@maybe", *asked, ("assistant", "zwei"), again)
    turns.append({"prompt": "Sure?", "left": left, "right": right})
    facts = {"turn": 2, "early": True, "seconds": 3.5, "shown": {"left": shown, "right": shown}, "flags": list(flags)}
    facts |= {side: {"chars": 9, "ms_per_token": 1.5} for side in ("left", "right")}
    vote = {"id": "1" * 32, "position": 0, "kind": "vote", "outcome": outcome, "facts": facts, "body": None}
    rows: list[dict[str, Any]] = [{**vote, "created_at": AT}]
    if comment:
        body = {"reasons": {"left": ["clear"], "right": []}, "comment": comment}
        remark = {"id": "2" * 32, "position": 1, "kind": "remark", "outcome": "", "facts": {}, "body": body}
        rows.append({**rows[0], **remark})
    known = StoredBattle(
        battle_id=outcome.encode().hex().zfill(32), visitor="v" * 32, origin="people", is_blind=True,
        left="Smol", right="gate", language="en", config_hash="c", status="answered", created_at=AT,
        body={"sides": dict.fromkeys(("left", "right"), SIDE), "turns": turns}, judgements=tuple(rows),
    )  # fmt: skip
    return replace(known, **changes)


def votes(*battles: StoredBattle) -> list[Judged]:
    return list(judged(battles))


def written(found: list[Judged], wanted: Format) -> bytes:
    return b"".join(parts(found, wanted))


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.decode().splitlines()]


def test_only_votes_that_stand_are_exported() -> None:
    assert [vote.outcome for vote in votes(battle("tie"), battle(judgements=()))] == ["tie"]


def test_a_preference_has_each_side_as_shown() -> None:
    (row,) = lines(written(votes(battle("right", shown=4)), Format.TRL_PREFERENCE))
    assert row == {
        "prompt": chat(("system", "Be brief."), ("user", "=1+1?")),
        "chosen": chat(("assistant", "zwei"), ("user", "Sure?"), ("assistant", "@may")),
        "rejected": chat(("assistant", "two"), ("user", "Sure?"), ("assistant", "Yes,")),
    }
    assert written(votes(battle("tie"), battle("both-bad")), Format.TRL_PREFERENCE) == b""


def test_a_system_prompt_of_one_side_is_in_no_common_prompt() -> None:
    asked = {"role": "user", "content": "=1+1?"}
    alike = battle()
    turns = [dict(turn) for turn in alike.body["turns"]]
    turns[0]["right"] = answered("zwei", ("system", "Be long."), ("user", "=1+1?"))
    (vote,) = votes(battle(body={**alike.body, "turns": turns}))
    assert vote.first_prompt == [asked]
    assert [vote.conversation(side)[0]["content"] for side in ("left", "right")] == ["Be brief.", "Be long."]
    turns[0]["left"] = answered("two", ("user", "=1+1?"))
    (vote,) = votes(battle(body={**alike.body, "turns": turns}))
    assert vote.first_prompt == [asked]


def test_only_turns_that_were_judged_are_exported() -> None:
    (vote,) = battle(shown=2).judgements
    facts = {**vote["facts"], "turn": 1}
    (early,) = votes(battle(judgements=({**vote, "facts": facts},)))
    assert early.last_prompt == "=1+1?"
    assert early.completion("left") == [{"role": "assistant", "content": "tw"}]
    facts = {name: fact for name, fact in facts.items() if name != "shown"}  # as by a task's known answers
    (whole,) = votes(battle(judgements=({**vote, "facts": facts},)))
    assert whole.last_prompt == "Sure?"
    assert [message["content"] for message in whole.completion("left")] == ["two", "Sure?", "Yes, it is."]


def loaded(wanted: Format, folder: Path) -> Any:
    """An export of one battle of each outcome, as `datasets` reads it."""
    import datasets

    battles = [battle(outcome, comment="=1") for outcome in OUTCOMES]
    path = folder / f"votes-{wanted}.{wanted.suffix}"
    path.write_bytes(content_of(battles, wanted))
    reader = {"jsonl": "json"}.get(wanted.suffix, wanted.suffix)
    return datasets.load_dataset(reader, data_files=str(path), split="train", cache_dir=str(folder / "cache"))


@pytest.mark.slow  # the import takes seconds
@pytest.mark.parametrize("wanted", Format)
def test_datasets_loads_it(wanted: Format, tmp_path: Path) -> None:
    found = loaded(wanted, tmp_path)
    assert len(found) == {Format.TRL_PREFERENCE: 2, Format.TRL_UNPAIRED: 8}.get(wanted, 4)
    texts = json.dumps(list(found), default=str)
    assert wanted is Format.ARENA_RANK or "Yes, it is." in texts


@pytest.mark.slow
def test_trl_takes_preferences_and_what_is_unpaired(tmp_path: Path) -> None:
    from trl.data_utils import is_conversational, maybe_unpair_preference_dataset

    preferred, unpaired = (loaded(wanted, tmp_path) for wanted in (Format.TRL_PREFERENCE, Format.TRL_UNPAIRED))
    assert all(map(is_conversational, [*preferred, *unpaired]))
    halves = list(maybe_unpair_preference_dataset(preferred))
    assert len(halves) == 4
    assert all(half in list(unpaired) for half in halves)


@pytest.mark.parametrize(
    ("wanted", "name", "words"),
    [
        (Format.LMSYS, "winner", ["model_a", "model_b", "tie", "tie (bothbad)"]),
        (Format.ARENA_RANK, "winner", ["model_a", "model_b", "tie", "both_bad"]),
        (Format.TRL_UNPAIRED, "label", [True, False, False, True, True, True, False, False]),
    ],
)
def test_outcomes_have_their_readers_words(wanted: Format, name: str, words: list[object]) -> None:
    data = written(votes(*map(battle, OUTCOMES)), wanted)
    rows = json.loads(data) if wanted is Format.LMSYS else lines(data)
    assert [row[name] for row in rows] == words


def test_a_row_of_each_table_is_whole() -> None:
    one = battle(shown=4, comment="so", flags=["fast", "burst"])
    asked = ("system", "Be brief."), ("user", "=1+1?")
    left, right = (
        chat(*asked, ("assistant", first), ("user", "Sure?"), ("assistant", last))
        for first, last in (("two", "Yes,"), ("zwei", "@may"))
    )
    both = {"model_a": "Smol", "model_b": "gate", "winner": "model_a", "language": "en", "flags": "fast burst"}
    about = {"question_id": one.battle_id, "judge": "v" * 32, "turn": 2, "anony": True, "tstamp": 1767268800.0}
    [row] = json.loads(written(votes(one), Format.LMSYS))
    assert row == {**both, **about, "conversation_a": left, "conversation_b": right}
    [row] = lines(written(votes(one), Format.ARENA_RANK))
    assert row == {**both, "evaluation_session_id": "v" * 32, "is_blind": True, "timestamp": AT}
    [row] = flat(votes(one))
    assert list(row.items()) == [
        ("battle_id", one.battle_id), ("visitor", "v" * 32), ("voted_at", AT), ("origin", "people"),
        ("is_blind", True), ("left", "Smol"), ("right", "gate"), ("outcome", "left"), ("turn", 2), ("early", True),
        ("stopped", False), ("seconds", 3.5), ("language", "en"), ("config_hash", "c"), ("flags", "fast burst"),
        ("prompt", "Sure?"), ("left_text", "Yes,"), ("right_text", "@may"), ("left_reasons", "clear"),
        ("right_reasons", ""), ("comment", "so"), ("left_chars", 9), ("left_ms_per_token", 1.5), ("right_chars", 9),
        ("right_ms_per_token", 1.5),
    ]  # fmt: skip
    facts = {"stopped": True, "shown": {"left": 0, "right": 9}}
    (bare,) = votes(battle(judgements=({**one.judgements[0], "facts": facts},)))
    [row] = flat([bare])
    assert (row["turn"], row["early"], row["stopped"], row["seconds"]) == (1, False, True, None)
    assert (row["left_text"], row["right_text"], row["flags"], row["comment"]) == ("", "zwei", "", "")


def test_a_stopped_turn_is_exported_as_far_as_it_was_shown() -> None:
    one = battle(shown=3)
    turns = [{**one.body["turns"][0], "shown": {"left": 1, "right": 2}}, one.body["turns"][1]]
    (vote,) = votes(battle(shown=3, body={**one.body, "turns": turns}))
    texts = {side: [m["content"] for m in vote.completion(side)] for side in ("left", "right")}  # type: ignore[arg-type]
    assert texts == {"left": ["t", "Sure?", "Yes"], "right": ["zw", "Sure?", "@ma"]}


def test_a_table_has_the_columns_of_all_its_rows() -> None:
    first, second = battle(), battle("right")
    (vote,) = second.judgements
    more = {**vote, "facts": {**vote["facts"], "left": {"bold": 3}}}
    rows = list(csv.DictReader(io.StringIO(written(votes(first, battle(judgements=(more,))), Format.CSV).decode())))
    assert [(row["left_chars"], row["left_bold"]) for row in rows] == [("9", ""), ("", "3")]


def test_csv_computes_nothing_in_a_spreadsheet() -> None:
    found = votes(battle(comment="=HYPERLINK()", flags=["fast"]), battle("right", left="+evil", config_hash="-1"))
    first, second = csv.DictReader(io.StringIO(written(found, Format.CSV).decode()))
    assert (first["prompt"], first["right_text"], first["comment"]) == ("Sure?", "'@maybe", "'=HYPERLINK()")
    assert (second["left"], second["config_hash"], second["left_ms_per_token"]) == ("'+evil", "'-1", "1.5")
    assert (first["left_reasons"], first["flags"], first["outcome"]) == ("clear", "fast", "left")


@pytest.mark.parametrize("wanted", [Format.TRL_PREFERENCE, Format.TRL_UNPAIRED])
def test_trainers_get_no_vote_that_does_not_count(wanted: Format) -> None:
    counting = battle("right")
    assert written(votes(counting, battle(flags=["burst"])), wanted) == written(votes(counting), wanted)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [(["dropped"], "fast dropped"), (["dropped", "restored"], ""), (["restored", "dropped"], "fast dropped")],
)
def test_the_operator_s_last_verdict_counts(verdicts: list[str], expected: str) -> None:
    whole = battle(flags=["fast"], comment="yes")
    rows = [
        {**whole.judgements[0], "id": f"{at}", "position": at, "kind": "verdict", "outcome": verdict, "facts": {}}
        for at, verdict in enumerate(verdicts, 2)
    ]
    (vote,) = votes(battle(judgements=(*whole.judgements, *rows)))
    assert (vote.outcome, vote.comment, " ".join(vote.flags)) == ("left", "yes", expected)
