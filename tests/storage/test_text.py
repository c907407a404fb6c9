from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.storage import Store, clean_text
from gac_app.storage.text import clean_json
from tests.databases import database_in
from tests.storage.samples import ALICE, answer, listed, new_run

# Surrogates included, and what SQL, LIKE and JSON give a meaning to.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\0'\"\\%_;-\ufffe\ud800"), max_size=40) | st.sampled_from(
    ["'; DROP TABLE run; --", "%' OR 1=1 --", "\\u0000", ":run_id ?", "\x1b[31m", "\u202eevil"]
)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("text")
    store = Store(database_in(folder / "gac.db"))
    yield store
    store.close()


@given(ANY_TEXT)
def test_cleaning_changes_only_what_cannot_be_stored(text: str) -> None:
    cleaned = clean_text(text)
    assert len(cleaned) == len(text)
    for before, after in zip(text, cleaned, strict=True):
        assert after == ("\ufffd" if before == "\0" or 0xD800 <= ord(before) <= 0xDFFF else before)
    cleaned.encode("utf-8")


def test_cleaning_goes_into_nested_values() -> None:
    assert clean_json({"a\0": ("\ud800", [1, None, {"b": "\0"}])}) == {"a�": ["�", [1, None, {"b": "�"}]]}


@given(prompt=ANY_TEXT, name=ANY_TEXT.map(lambda text: text[:20]), setting=ANY_TEXT, said=ANY_TEXT)
def test_any_text_is_stored_as_it_is(shared_store: Store, prompt: str, name: str, setting: str, said: str) -> None:
    run = new_run(prompt, settings={"system_prompt": setting}, member_names=(name,))
    record = replace(answer(said, detail=setting), system=name, is_ensemble=False)
    shared_store.start_run(run)
    shared_store.save_answer(run.run_id, record)
    shared_store.vote(ALICE, run.run_id, said).result()
    stored = shared_store.load_run(ALICE, run.run_id)
    assert stored.prompt == clean_text(prompt)
    assert stored.settings == {"system_prompt": clean_text(setting)}
    assert stored.member_names == (clean_text(name),)
    assert stored.outcome == clean_text(said)
    (stored_answer,) = stored.answers
    assert (stored_answer.finished.text, stored_answer.finished.detail) == (clean_text(said), clean_text(setting))
    assert stored_answer.events == record.events  # bytes and JSON: nothing needs cleaning there


@given(prompt=ANY_TEXT.filter(bool))
def test_any_text_is_found_by_itself(shared_store: Store, prompt: str) -> None:
    run = new_run(prompt, visitor_key=f"finder-{ALICE}")
    shared_store.start_run(run).result()
    found = listed(shared_store, run.visitor_key, search=prompt)
    assert run.run_id in {summary.run_id for summary in found}
