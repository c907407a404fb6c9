"""The tables of the page's words: every language says all that the page and the server say."""

from __future__ import annotations

import ast
import copy
import json
import pickle
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from gac_app.decoding.rules import REGISTRIES
from gac_app.errors import BusyError, MemberError, Phrase, RequestError, packed, too_long, unpacked, without_folders
from gac_app.evaluation.metrics.consistency import word_sets
from gac_app.folders import CONFIGS_DIR, STATIC_DIR
from gac_app.services.lab.studies import STUDIES
from gac_app.settings import SAMPLING, Settings
from gac_app.ui.compare.wording import comparison_in_words
from gac_app.ui.settings.fields import fault_in, fields_of
from gac_app.ui.settings.wording import settings_in_words
from gac_app.ui.words import WORDS_DIR, tables
from tests.examples import another_value
from tests.ui.planted import planted_config
from tests.ui.settings.test_wording import COMPARED_IN_WORDS, IN_WORDS

ENGLISH = tables()["en"]
OTHERS = {name: table for name, table in tables().items() if name != "en"}
SOURCES = WORDS_DIR.parents[1] / "gac_app"
SCRIPTS = "\n".join(
    path.read_text("utf-8") for path in [STATIC_DIR / "start.js", *sorted((STATIC_DIR / "js").rglob("*.js"))]
)
TEMPLATES = sorted(STATIC_DIR.glob("*.html"))
SLOT = re.compile(r"\{\w+\}")
NUMBERED = tuple(key.removesuffix(".other") for key in ENGLISH if key.endswith(".other"))  # have forms for numbers
PLURAL = re.compile(r"\.(zero|one|two|few|many|other)$")
OWN_NAMES = {"GaC", "side by side", "CSV", "JSONL", "n", "Yu, Kuo, Ye, Chang, Li:", ", EMNLP 2024."}  # in any language

each_language = pytest.mark.parametrize("name", OTHERS)


def slots_in(words: str) -> list[str]:
    """Placeholders, and what is marked up as what: they are the same in every language."""
    return sorted({*re.findall(r"\{\w+\}", words), *re.findall(r"\]\((?:term:[\w-]+|https://[^)]+)\)", words)})


def stem(key: str) -> str:
    return PLURAL.sub("", key) if key.startswith(NUMBERED) else key


@each_language
def test_every_word_is_there_in_every_language(name: str) -> None:
    assert {stem(key) for key in OTHERS[name] if key != "server"} == {stem(key) for key in ENGLISH}
    assert all(words.strip() for key, words in OTHERS[name].items() if key != "server")


@each_language
def test_placeholders_agree(name: str) -> None:
    for key, words in OTHERS[name].items():
        if key != "server":
            assert slots_in(words) == slots_in(ENGLISH.get(key) or ENGLISH[stem(key) + ".other"]), key
    for english, words in OTHERS[name]["server"].items():
        assert set(SLOT.findall(words)) == set(SLOT.findall(english)), english


def test_who_changed_something_begins_the_sentence() -> None:
    """It is a name, or "The others" with a capital."""
    for table in tables().values():
        told = [words for key, words in table.items() if key.startswith(("helped.words", "helped.tokens"))]
        assert told
        assert [words for words in told if not words.startswith("{who}")] == []


def test_scripts_and_templates_ask_for_all_words_there_are() -> None:
    templates = "\n".join(path.read_text("utf-8") for path in TEMPLATES)
    code = "\n".join(path.read_text("utf-8") for path in (SOURCES / "ui").rglob("*.py"))
    asked = set(re.findall(r'\b(?:t|rich|word)\(\s*"([\w.-]+)"', SCRIPTS + code))
    asked |= set(re.findall(r'data-t="([\w.-]+)"', templates + code))
    at = re.findall(r'data-t-at="([^"]+)"', templates + code)
    asked |= {pair.split(":")[1] for pairs in at for pair in pairs.split()}
    stems = {stem(key) for key in ENGLISH}
    assert asked <= stems
    named = asked | set(re.findall(r'"([a-z][\w.-]*)"', SCRIPTS))
    made = set(re.findall(r"`([a-z][\w-]*\.[\w.-]*)\$\{", SCRIPTS)) | {f"{proof}.title" for proof in named}
    assert {key for key in stems if key not in named and not key.startswith(tuple(made))} == set()


def test_templates_hold_no_words() -> None:
    for path in TEMPLATES:
        if path.stem != "first":
            texts = {text for text in TextsOf.file(path) if "Breaking" not in text}
            assert texts - OWN_NAMES == set(), path


class TextsOf(HTMLParser):
    """The texts of a template, and those of its attributes that people meet."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: set[str] = set()

    @classmethod
    def file(cls, path: Any) -> set[str]:
        parser = cls()
        parser.feed(path.read_text("utf-8"))
        return parser.texts

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts |= {value or "" for name, value in attrs if name in ("title", "placeholder", "aria-label", "alt")}

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.add(data.strip())


# --- what the server says

CONFIG = planted_config()
SETTINGS: list[dict[str, Any]] = [
    *(changes for changes, _ in IN_WORDS if changes.get("combine") != "no-more"),  # which is no rule any more
    {"threshold": 1.01},
    *({registry.field: name} for registry in REGISTRIES for name in registry),
    *({registry.field: name, registry.params_field: {param: 0.5}}
      for registry in REGISTRIES for name, rule in registry.items() for param in [*rule.model_fields][:1]),
    *({"temperature": 0.7, name: another_value(name)} for name in SAMPLING),
]  # fmt: skip


def templates_of(text: str) -> set[str]:
    """The ids in a text: of a phrase its template, and those of the phrases that fill it."""
    if not isinstance(text, Phrase):
        return {text}
    return {text.template}.union(*(templates_of(one) for one in text.values.values() if isinstance(one, Phrase)))


def what_the_server_says() -> set[str]:
    said = set()
    for field in fields_of(CONFIG):
        said |= {field.label, field.info, field.always, fault_in(field), *(text for _, text in field.choices)}
    said |= {settings_in_words(Settings(gate="Small", **changes)) for changes in SETTINGS}
    said |= {comparison_in_words(comparison) for comparison, _ in COMPARED_IN_WORDS}
    said |= {text for study in STUDIES for text in (study.title, study.about)}
    return {one for text in said - {""} for one in templates_of(text) if SLOT.sub("", one).strip(" ,·:()")}


def ids_in_code() -> set[str]:
    """The templates that the code makes phrases of."""
    ids = set()
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "Phrase" in ast.dump(node.func)]
        ids |= {node.args[0].value for node in calls if node.args and isinstance(node.args[0], ast.Constant)}
    return {one for one in ids if SLOT.sub("", one).strip(" ,·:()") and one != "{share} (p {p})"}


@each_language
def test_every_message_is_there_in_every_language(name: str) -> None:
    assert what_the_server_says() | ids_in_code() <= OTHERS[name]["server"].keys()


def test_values_are_never_templates() -> None:
    told = Phrase("{name} by {gap}", name="{gap}<b>", gap=Phrase("{share}", share="{name}"))
    assert told == "{gap}<b> by {name}"
    assert unpacked(json.loads(json.dumps(packed([told])))) == [told]
    assert copy.deepcopy(told).values == told.values  # as a process gets it


def test_an_error_tells_the_page_its_phrase() -> None:
    assert RequestError("prompt", Phrase("Enter a prompt.")).user_message == "Enter a prompt."
    assert str(RequestError("prompt", Phrase("Enter a prompt."))) == "prompt: Enter a prompt."
    assert RequestError("max_turns", "expected a number").user_message == "Max turns: expected a number"
    for error in (RequestError("prompt", too_long(2, 1)), MemberError("a", "timeout", "late")):
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301 (as another process gets it)
        assert (str(copied), copied.user_message, vars(copied)) == (str(error), error.user_message, vars(error))
    busy = BusyError(Phrase("{study}: {why}", study=Phrase("Benchmark"), why=too_long(2, 1)))
    assert packed(without_folders(busy.user_message)) == packed(busy.user_message), "what is in it stays a phrase too"


@each_language
def test_nothing_is_translated_that_nobody_says(name: str) -> None:
    code = "\n".join(path.read_text("utf-8") for path in SOURCES.rglob("*.py"))
    code = re.sub(r'"\n\s*f?"', "", code)  # texts that are written on several lines
    texts = [CONFIGS_DIR / "default.yaml", *(SOURCES / "evaluation").rglob("*.yaml")]
    code += " ".join(" ".join(path.read_text("utf-8").split()) for path in texts)
    code += " ".join(word_sets())
    known = what_the_server_says() | ids_in_code()
    assert {one for one in OTHERS[name]["server"] if one not in known and one not in code} == set()
