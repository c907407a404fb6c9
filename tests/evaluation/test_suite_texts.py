"""The suite's texts are complete, and what they say they are."""

from __future__ import annotations

import ast
import unicodedata

import pytest

from gac_app.evaluation.suites.texts import (
    CODE_KINDS,
    KINDS,
    LANGUAGES,
    LATIN,
    SCRIPTS,
    held_out,
    prompts,
    script_share,
)


def test_every_kind_has_its_prompts() -> None:
    assert tuple(prompts()) == KINDS
    assert all(len(prompts()[kind]) == 10 for kind in (*LANGUAGES, "emoji"))
    assert sum(len(prompts()[kind]) for kind in CODE_KINDS) >= 40


def test_no_prompt_is_blank_or_said_twice() -> None:
    texts = [text for kind in KINDS for text in prompts()[kind]]
    assert all(text.strip() for text in texts)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_prompts_are_in_the_script_of_their_language(language: str) -> None:
    texts = [*prompts()[language], *(passage.prompt + passage.continuation for passage in held_out()[language])]
    assert [script_share(text, SCRIPTS[language]) for text in texts] == [1.0] * len(texts)


def test_emoji_prompts_hold_emoji_and_no_letters_but_latin() -> None:
    for text in prompts()["emoji"]:
        assert any(unicodedata.category(character) == "So" for character in text)
        assert script_share(text, LATIN) in (None, 1.0)


def test_held_out_text_is_long_and_split_near_its_beginning() -> None:
    assert set(held_out()) == {*LANGUAGES, "python"}
    for kind, passages in held_out().items():
        num_bytes = sum(len((passage.prompt + passage.continuation).encode()) for passage in passages)
        assert 1200 <= num_bytes <= 2000, kind
        assert len(passages) in (3, 4)
        for passage in passages:
            assert passage.prompt
            assert len(passage.prompt) < len(passage.continuation)
            assert "¦" not in passage.continuation


def test_held_out_python_is_python_and_opens_with_one_line() -> None:
    for passage in held_out()["python"]:
        ast.parse(passage.prompt + passage.continuation)
        assert passage.prompt.count("\n") == 1
        assert passage.prompt.endswith("\n")


def test_texts_are_in_composed_form() -> None:
    # A model meets text in this form; decomposed accents would measure something else.
    for kind in KINDS:
        for text in prompts()[kind]:
            assert unicodedata.is_normalized("NFC", text), text
