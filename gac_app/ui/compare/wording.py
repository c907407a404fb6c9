"""What came of running a run again, in words."""

from __future__ import annotations

import math

from gac_app.errors import Phrase
from gac_app.services.runs.comparison import Comparison
from gac_app.ui.compare.spelling import label_of

_SAME_TEXT = "same text as the previous run"


def comparison_in_words(comparison: Comparison) -> str:
    """Such as: same text as the previous run; probabilities differ from token 5 on, by at most 0.0003."""
    if comparison.digests == "equal":
        return Phrase("identical to the previous run")
    if comparison.tokens is not None:
        return _parting_in_words(comparison.num_same, *comparison.tokens)
    if comparison.probs_from is not None:
        template = _SAME_TEXT + "; probabilities differ from token {token} on, by at most {most}"
        return Phrase(template, token=comparison.probs_from + 1, most=_amount(comparison.most))
    if comparison.digests == "different":
        return Phrase(_SAME_TEXT + "; probabilities differ in the last digits")
    return Phrase(_SAME_TEXT + " and the same probabilities to six digits")


def _parting_in_words(num_same: int, before: bytes | None, now: bytes | None) -> str:
    if before is None:
        return Phrase(_SAME_TEXT + " up to token {token}, where that one ended", token=num_same)
    if now is None:
        return Phrase(_SAME_TEXT + " up to token {token}, where this one ended", token=num_same)
    template = "differs from the previous run at token {token}: {now} instead of {before}"
    return Phrase(template, token=num_same + 1, now=_quoted(now), before=_quoted(before))


def _quoted(token: bytes) -> str:
    return f'"{label_of(token)}"' if token else Phrase("the end")


def _amount(most: float) -> str:
    """One digit, rounded up: 0.00027 -> "0.0003"."""
    most = max(most, 1e-6)
    num_decimals = -math.floor(math.log10(most))
    # Rounded first, so that 0.00030000000000000003 does not become 0.0004.
    digit = math.ceil(round(most * 10**num_decimals, 3))
    return f"{digit / 10**num_decimals:.{max(num_decimals, 0)}f}"
