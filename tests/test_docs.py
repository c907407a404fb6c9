"""What the pages in `docs/` and CONTRIBUTING.md link to exists, and the limits they name are the code's."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parent.parent / "docs"
CONTRIBUTING = DOCS.parent / "CONTRIBUTING.md"
SECURITY = DOCS.parent / "SECURITY.md"
PAGES = [*sorted(DOCS.glob("*.md")), CONTRIBUTING, SECURITY]
_LIMITS = re.findall(
    r"\| `(\w+)` \| ([\d.]+) \| `([\w/]+)\.py` \|", (DOCS / "alignment.md").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = {page.parent / target for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text)}
    named = re.findall(r"`((?:gac_app|tests|configs|docs|scripts)/[\w./-]*\w)/?`", text)
    assert links
    assert [path for path in {*links, *(DOCS.parent / name for name in named)} if not path.exists()] == []


def test_the_index_names_every_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([\w.-]+\.md)\)", index))
    assert named == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_every_mark_is_told(pytestconfig: pytest.Config) -> None:
    own = {"real", "browser", "process", "slow", "long"}
    assert own <= {line.split(":")[0] for line in pytestconfig.getini("markers")}
    assert own == set(re.findall(r"^\| `(\w+)` \|", CONTRIBUTING.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_limits_are_told() -> None:
    assert {"NEGLIGIBLE", "WORTH_READING", "_ODDS_RATIO", "_LEAST_SHARE"} <= {name for name, _, _ in _LIMITS}


@pytest.mark.parametrize(("name", "value", "module"), _LIMITS)
def test_a_limit_is_the_code_s(name: str, value: str, module: str) -> None:
    assert getattr(importlib.import_module(f"gac_app.decoding.{module}".replace("/", ".")), name) == float(value)


@pytest.mark.parametrize("picture", sorted(DOCS.glob("*.svg")), ids=lambda picture: picture.name)
def test_a_picture_is_told_in_words_and_loads_nothing(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()  # noqa: S314 (our own)
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    targets = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert tags[1:3] == ["title", "desc"]
    assert not {"script", "style", "image", "foreignObject"} & set(tags)
    assert all(target.startswith("#") for target in targets)


def test_the_way_of_a_prompt_has_few_stations() -> None:
    """In one picture, whose files and rooms exist."""
    [picture] = re.findall(r"```mermaid\n(.*?)```", (DOCS / "engine.md").read_text(encoding="utf-8"), re.DOTALL)
    stations = re.findall(r'\w+\["([^"]+)"\]', picture)
    assert 10 <= len(stations) <= 15
    places = [found[0] for station in stations if (found := re.findall(r"^[\w/]+(?:\.py|/)(?=: |$)", station))]
    assert len(places) >= 10
    assert [place for place in places if not (DOCS.parent / "gac_app" / place).exists()] == []


def test_the_notes_of_a_release_are_short() -> None:
    notes = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert notes[0].startswith("[Unreleased]")
    assert all(len(release.splitlines()) <= 100 for release in notes)
