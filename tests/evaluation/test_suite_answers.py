"""What an answer's bytes say, and how much of a text is in a script."""

from __future__ import annotations

import pytest

from gac_app.decoding.trace.events import FinishedEvent, TokenEvent
from gac_app.errors import GacError
from gac_app.evaluation.suites.alignment import Continuation, continued
from gac_app.evaluation.suites.texts import LATIN, SCRIPTS, script_share
from tests.decoding.conftest import make
from tests.fakes import FakeModel, Fault, ensemble_of


def test_a_character_cut_off_by_the_limit_is_no_fault() -> None:
    cut = Continuation("日本の首都は", "東京".encode()[:-1])
    assert cut.text == "東"
    assert cut.is_valid_utf8


def test_a_character_cut_off_by_the_end_of_the_text_is_a_fault() -> None:
    assert not Continuation("日本の首都は", "東京".encode()[:-1], is_stopped=True).is_valid_utf8


@pytest.mark.parametrize("content", [b"a\xe6\x9d b", b"\x80", "a\N{REPLACEMENT CHARACTER}b".encode()])
def test_broken_characters_in_the_middle_are_a_fault(content: bytes) -> None:
    assert not Continuation("", content).is_valid_utf8


def test_the_last_line_is_complete_where_the_answer_ended() -> None:
    assert Continuation("a\n", b"b").document == "a\nb"
    assert Continuation("a\n", b"b", is_stopped=True).document == "a\nb\n"


@pytest.mark.parametrize(
    ("text", "kind", "share"),
    [
        ("да, yes", "russian", 2 / 5),
        ("東京タワー 2024", "japanese", 1.0),  # the long vowel mark is Japanese, digits are no letters
        ("人々", "chinese", 1.0),
        ("नमस्ते", "hindi", 1.0),
        ("한국 Korea", "korean", 2 / 7),
        ("été", "french", 1.0),
        ("… 12 🎉", "greek", None),
    ],
)
def test_script_share(text: str, kind: str, share: float | None) -> None:
    assert script_share(text, SCRIPTS[kind]) == share


def test_latin_may_be_counted_in() -> None:
    assert script_share("да, yes", SCRIPTS["russian"] | LATIN) == 1.0


def test_an_answer_is_what_the_session_wrote() -> None:
    ensemble = make(1, 2, mode="every-step", max_new_tokens=12)
    events = list(ensemble.generate("abc", raw=True))
    written = continued(ensemble, "abc", ensemble.config.settings, None)
    assert written.content == b"".join(event.step.token for event in events if isinstance(event, TokenEvent))
    assert isinstance(events[-1], FinishedEvent)
    assert written.is_stopped == (events[-1].reason.value == "stop")


def test_a_member_that_fails_is_no_answer() -> None:
    ensemble = ensemble_of([FakeModel(fault=Fault("nan"))])
    with pytest.raises(GacError, match="no answer to 'abc'"):
        continued(ensemble, "abc", ensemble.config.settings, None)
