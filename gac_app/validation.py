"""Base of values that pydantic checks once, its error messages in one sentence, and checks of texts, JSON and YAML."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

_GENERIC = ("dict[", "literal[", "tuple[", "list[", "constrained-")
_TYPES = ("str", "int", "float", "bool")
_MAX_QUOTED_CHARS = 80
_UNUSABLE = re.compile("[\0\ud800-\udfff]")  # in names of files, and in messages
_MAYBE_FLOOD = re.compile("[^\0-\u02ff]{31}")  # of accents, or a word of another script
MAX_FILE_BYTES = 1_000_000  # of a configuration, and of examples


class Frozen(BaseModel):
    """A frozen value without unknown keys and infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: this machine has no user {path.parts[0][1:]!r}") from None


HomePath = Annotated[Path, AfterValidator(_at_home)]  # may begin with `~` or `~user`


def path_of(location: tuple[int | str, ...]) -> str:
    """The place of a wrong value, as keys joined by dots."""
    # Union branches (`weights.dict[str,float]`) name types, not keys, so they are left out.
    return ".".join(str(part) for part in location if not str(part).startswith(_GENERIC) and part not in _TYPES)


def message_of(item: Any) -> str:
    """pydantic's message for one of `ValidationError.errors()`."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] != "value_error" and isinstance(item.get("input"), str | int | float | bool | None):
        message += f" (got {shortened(repr(item['input']))})"
    return message


def text_of(path: Path, max_bytes: float = MAX_FILE_BYTES) -> str:
    """The text of a file that the operator names. Raises ValueError."""
    try:
        if path.stat().st_size > max_bytes:
            raise ValueError(f"{path}: larger than {max_bytes:,} bytes; this is not the right file")
        return path.read_text(encoding="utf-8-sig")  # spreadsheets begin theirs with a byte order mark
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None


def fault_of(error: ValidationError) -> tuple[str, str]:
    """The first fault: its place, "" for the whole value, and the message."""
    first = error.errors()[0]
    return path_of(first["loc"]), message_of(first)


def fault_in_words(error: ValidationError) -> str:
    """The first fault as `place: message`."""
    return ": ".join(filter(None, fault_of(error)))


def shortened(text: str, most: int = _MAX_QUOTED_CHARS) -> str:
    """The text, cut to what a message may quote."""
    return text if len(text) <= most else f"{text[:most]}..."


def depth_of(value: Any, most: int) -> int:
    """The levels of a JSON value, counted up to `most`: 1 of one without parts."""
    depth, level = 0, [value]
    while level and depth < most:
        depth += 1
        parts = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [part for part in parts if isinstance(part, dict | list | tuple)]
    return depth


def harmless(cell: str) -> str:
    """A cell with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


class _Loader(yaml.SafeLoader):
    """Plain YAML: no aliases (they can expand without bound), no duplicate keys (one would win silently), no object
    tags, no values that Python's own types refuse.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (AttributeError, LookupError, ValueError):  # what PyYAML passes on for 2001-99-99 and `!!int x`
            raise _at(node, f"is not a valid {node.tag.rpartition(':')[2]}") from None
        if isinstance(value, int) and abs(value) >= 2**64:
            raise _at(node, "is a number beyond 64 bits")
        if isinstance(value, str) and _UNUSABLE.search(value):
            raise _at(node, "holds a zero byte or half a character")
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"a key must be plain text (line {key.start_mark.line + 1})")
            if key.value in seen:
                raise yaml.YAMLError(f"duplicate key {key.value!r} (line {key.start_mark.line + 1})")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _at(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"{shortened(repr(node.value))} {problem} (line {node.start_mark.line + 1})")


def yaml_of(text: str) -> Any:
    """The values of a YAML text. Raises yaml.YAMLError, also for duplicate keys, aliases and too deep nesting."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None


def normalised(form: Literal["NFC", "NFKC"], text: str) -> str:
    """A text in a Unicode normal form, of each character its first 30 accents."""
    if _MAYBE_FLOOD.search(text):
        text = _floods().sub(r"\1", text)
    return unicodedata.normalize(form, text)


@cache
def _floods() -> re.Pattern[str]:
    """Accents on one character beyond 30. To normalise them takes the square of their number, under Python's lock."""
    accents = "".join(char for char in map(chr, range(sys.maxunicode)) if unicodedata.combining(char))
    return re.compile(f"([{accents}]{{30}})[{accents}]+")
