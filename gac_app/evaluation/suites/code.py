"""Checks of code that may be cut off anywhere: whether it parses, and whether it is indented consistently.

Only complete lines count. They must be the beginning of a valid document: a block, bracket or multi-line string that is
open at the end may still be closed. Nothing is executed.
"""

from __future__ import annotations

import codeop
import io
import json
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator

import yaml


def complete_lines(text: str) -> str:
    """`text` up to and including its last line end."""
    return text[: text.rfind("\n") + 1]


def before_fence(text: str) -> str:
    """`text` up to a line that closes a Markdown fence which was not opened: there the code ends.

    Chat models end code this way and continue in prose; code harnesses (EvalPlus, MultiPL-E) stop there too.
    """
    fence = re.search(r"^ {0,3}(```|~~~)", text, flags=re.MULTILINE)
    return text[: fence.start()] if fence else text


def python_parses(text: str) -> bool:
    """Whether the complete lines compile, or would if more followed.

    Example:
        >>> python_parses("def f():\\n    if x:\\n        retu")
        True
        >>> python_parses("def f():\\n    x = 1\\n   return x\\n")
        False
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and the like are not errors
        try:
            codeop.compile_command(complete_lines(text), symbol="exec")
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
            return False
    return True


def json_parses(text: str) -> bool:
    """Whether the complete lines begin a JSON document."""
    lines = complete_lines(text)
    try:
        json.loads(lines)
    except json.JSONDecodeError as error:
        return error.pos == len(lines)  # where more may follow
    except (ValueError, RecursionError):
        return False
    return True


def yaml_parses(text: str) -> bool:
    """Whether the complete lines are YAML documents, or would be if one open bracket or quote were closed."""
    lines = complete_lines(text)
    return any(_is_yaml(lines + closer) for closer in ("", "]", "}", '"', "'"))


def _is_yaml(text: str) -> bool:
    try:
        # Only nodes: no objects are made and no aliases are expanded.
        list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError):
        return False
    return True


def markdown_parses(text: str) -> bool:
    """Whether no fence opens inside another and each table row has as many cells as its header.

    Any text is Markdown; these are the two errors that spoil the rendering of the rest.
    """
    fence = ""
    columns = 0
    for line in complete_lines(text).splitlines():
        mark = re.match(r" {0,3}(`{3,}|~{3,})(.*)", line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            if mark[2].strip():
                return False
            fence = ""
        cells = 0 if fence else _num_cells(line)
        if columns and cells and cells != columns:
            return False
        columns = cells
    return True


def _num_cells(line: str) -> int:
    """Cells of a table row that begins with a bar; 0 for any other line."""
    row = line.strip()
    if not row.startswith("|"):
        return 0
    return len(re.findall(r"(?<!\\)\|", row.removesuffix("|")))


PARSERS: dict[str, Callable[[str], bool]] = {
    "python": python_parses,
    "json": json_parses,
    "yaml": yaml_parses,
    "markdown": markdown_parses,
}


def python_indents(text: str) -> bool:
    """`indents_consistently` for the first lines of Python's statements.

    Lines inside brackets and strings, and comments, do not count.
    """
    try:
        return indents_consistently(_statement_indents(complete_lines(text)))
    except IndentationError:  # a dedent to a level that is not open
        return False


def data_indents(text: str) -> bool:
    """`indents_consistently` for all lines that are not blank, as in JSON and YAML."""
    return indents_consistently(_indent(line) for line in complete_lines(text).splitlines() if line.strip())


def indents_consistently(indents: Iterator[str]) -> bool:
    """Whether lines are indented consistently.

    Tabs and spaces are not mixed, every indentation is a multiple of the first one (the document's unit), and a line
    indented less than the one before it goes back to a level that is open.

    Example:
        >>> indents_consistently(iter(["", "    ", "         "]))
        False
    """
    open_widths = [0]
    unit = 0
    characters: set[str] = set()
    for indent in indents:
        characters.update(indent)
        width = len(indent)
        unit = unit or width
        if len(characters) > 1 or (unit and width % unit):
            return False
        if width > open_widths[-1]:
            open_widths.append(width)
        while width < open_widths[-1]:
            open_widths.pop()
        if width != open_widths[-1]:
            return False
    return True


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _statement_indents(text: str) -> Iterator[str]:
    """Indentations of lines on which a statement begins, as far as the text has Python tokens."""
    begins = True
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
                continue
            if begins and token.type != tokenize.NEWLINE:
                yield _indent(token.line)
            begins = token.type == tokenize.NEWLINE
    except tokenize.TokenError:  # open brackets or strings at the end
        return


INDENTATION_CHECKS: dict[str, Callable[[str], bool]] = {
    "python": python_indents,
    "json": data_indents,
    "yaml": data_indents,
}
