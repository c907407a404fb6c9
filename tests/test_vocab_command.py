"""`vocab`: what the members' vocabularies have in common."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from gac_app import loading
from tests.command_line import run_command
from tests.vocab.vocabularies import vocabulary


def test_shares_count_distinct_texts_of_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabularies = [
        vocabulary([b"a", b"b", b"a", b"c", b"d", None, b"<e>"], end_ids=[6]),
        vocabulary([b"a", b"c", b"<e>", None]),
        vocabulary([b"b", b"a"]),
    ]
    members: dict[str, Any] = {
        str(n): SimpleNamespace(mapping=SimpleNamespace(vocabulary=v)) for n, v in enumerate(vocabularies)
    }
    monkeypatch.setattr(loading, "load_ensemble", lambda _: SimpleNamespace(members=members, close=lambda: None))
    facts = json.loads(run_command("vocab", "--json").stdout)
    assert [(member["vocab_size"], member["num_shared"]) for member in facts["members"]] == [(7, 1), (4, 1), (2, 1)]
    assert facts["overlap"] == [[1.0, 0.5, 0.5], [0.6667, 1.0, 0.3333], [1.0, 0.5, 1.0]]
    assert facts["members"][0]["end_tokens"] == ["the id 6"]
