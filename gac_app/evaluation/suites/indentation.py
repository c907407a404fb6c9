"""Checks whether a document is indented consistently."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Callable, Iterator

from gac_app.evaluation.suites.parsing import complete_lines


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
