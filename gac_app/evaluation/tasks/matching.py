"""Whether an answer is right: its extraction from the generated text, and the comparison."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal

from gac_app.evaluation.tasks.programs import passes

Match = Literal["words", "trivia", "number", "text", "program"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation + "‘’“”´`")
_SPACES = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def extracted(text: str, pattern: str) -> str:
    """The first group of the last match of `pattern`, stripped; "" without a match, or if the group has no part in it.

    Example: ("5 - 2 = 3. The answer is 3.", r"(\\d+)") -> "3"
    """
    found = list(re.finditer(pattern, text))
    return (found[-1][1] or "").strip() if found else ""


def is_right(answer: str, accepted: Sequence[str], match: Match) -> bool:
    """Whether `answer` equals one of `accepted`; of a program, whether it passes one of these tests. An empty answer is
    never right.
    """
    if match == "program":
        return answer != "" and any(passes(answer, tests) for tests in accepted)
    wanted = normalised(answer, match)
    return wanted != "" and wanted in {normalised(text, match) for text in accepted}


def normalised(answer: str, match: Match) -> str:
    """The form of an answer that is compared; "" if there is nothing to compare."""
    return {"words": _words, "trivia": _trivia, "number": _number, "text": _text, "program": _text}[match](answer)


def _words(text: str) -> str:
    """SQuAD's rule, usual for NQ: lower case, without punctuation and articles.

    Example: "The  Beatles!" -> "beatles"
    """
    bare = _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION))
    return " ".join(bare.split()) or _text(text)  # "The" and "?" may be answers too


def _trivia(text: str) -> str:
    """The rule of TriviaQA's own script: as SQuAD's, but with a space in place of each punctuation mark.

    Example: "Jean-Paul O’Hara" -> "jean paul o hara"
    """
    bare = _ARTICLES.sub(" ", text.lower().translate(_SPACES))
    return " ".join(bare.split()) or _text(text)


def _number(text: str) -> str:
    """Examples: "$1,200.50" -> "1200.5", ".5" -> "0.5"; "" if it is not a number."""
    try:
        number = Decimal(text.strip().lstrip("$").rstrip("$%.").replace(",", ""))
    except InvalidOperation:
        return ""
    return f"{number.normalize():f}" if number.is_finite() else ""


def _text(text: str) -> str:
    """Example: " (B). " -> "(b)"."""
    return " ".join(text.casefold().split()).rstrip(".").rstrip()
