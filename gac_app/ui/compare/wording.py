"""What came of running a run again, in words."""

from __future__ import annotations

import math

from gac_app.services.runs.comparison import Comparison
from gac_app.ui.compare.spelling import label_of

_SAME = "same text as the run before"


def comparison_in_words(comparison: Comparison) -> str:
    """Such as: same text as the run before, probabilities differ from token 5 on, by at most 0.0003."""
    if comparison.digests == "equal":
        return "identical to the previous run"
    if comparison.tokens is not None:
        return _parting_in_words(comparison.num_same, *comparison.tokens)
    if comparison.probs_from is not None:
        start = f"{_SAME}, probabilities differ from token {comparison.probs_from + 1} on"
        return f"{start}, {_amount(comparison.most)}"
    if comparison.digests == "different":
        return f"{_SAME}; probabilities differ in the last digits"
    return f"{_SAME}, and the same probabilities to six digits"


def _parting_in_words(num_same: int, before: bytes | None, now: bytes | None) -> str:
    if before is None:
        return f"{_SAME} up to token {num_same}, where that one ended"
    if now is None:
        return f"{_SAME} up to token {num_same}, where this one ended"
    return f"differs from the run before at token {num_same + 1}: {_quoted(now)} instead of {_quoted(before)}"


def _quoted(token: bytes) -> str:
    return f'"{label_of(token)}"' if token else "the end"


def _amount(most: float) -> str:
    """One digit, rounded up: 0.00027 -> "by at most 0.0003"."""
    if most < 1e-6:
        return "in the last digits"
    num_decimals = -math.floor(math.log10(most))
    # Rounded first, so that 0.00030000000000000003 does not become 0.0004.
    digit = math.ceil(round(most * 10**num_decimals, 3))
    return f"by at most {digit / 10**num_decimals:.{max(num_decimals, 0)}f}"
