"""The cost of each combine rule per step, against the mean.

A linear rule mostly needs the members' top-k; any other computes the whole distribution at every step. Drafts are off,
so that a step is its passes and the overhead. A rule that draws one member is compared with the mean with drafts, both
sampling. Since rules write different texts, times per token are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import fmean, median
from typing import Any

from gac_app.bench.rows import Row, Target
from gac_app.bench.workbench import Decoded, Workbench, decode, interleaved
from gac_app.decoding.rules import LinearRule, combine_rules
from gac_app.errors import GacError

_MEAN = "mean"
_PLAIN = {"temperature": 1.0, "alignment": "paper"}  # settings with which one member may stand for all

Pairs = list[tuple[Decoded, Decoded]]  # of the rule and of the mean


def measure(bench: Workbench) -> list[Row]:
    """Milliseconds per token at every step, for each rule, including plug-ins."""
    drawing = [name for name, rule in combine_rules.items() if issubclass(rule, LinearRule) and rule.draws_one]
    others = [name for name in combine_rules if name not in (_MEAN, *drawing)]
    rows = [_row(name, pairs) for name, pairs in _decoded(bench, others, {"speculation": "off"})]
    return rows + [_drawn_row(name, pairs) for name, pairs in _decoded(bench, drawing, _PLAIN)]


def _decoded(bench: Workbench, names: list[str], how: dict[str, Any]) -> Iterator[tuple[str, Pairs]]:
    """Each rule with its answers and the mean's, all rules in turn for each prompt."""

    def answer(prompt: str, rule: str) -> Decoded | None:
        settings = bench.settings(combine=rule, max_new_tokens=bench.num_tokens // 2, **how)
        try:
            return decode(bench.ensemble.session(prompt, settings))
        except GacError:  # some rules end answers early
            return None

    # There are many rules, so each gets every other prompt.
    mean, *own = interleaved(bench.prompts[::2], *(partial(answer, rule=name) for name in (_MEAN, *names)))
    for name, answers in zip(names, own, strict=True):
        yield name, [(one, other) for one, other in zip(answers, mean, strict=True) if one and other]


def _row(name: str, pairs: Pairs, limit: float = 1.15, note: str = "") -> Row:
    what = f"combine rule {name} ÷ mean: ms/token"
    if not pairs:
        return Row(what, None, note="its answers end too soon to be timed")
    own_ms, mean_ms = ([answer.ms_per_token for answer in answers] for answers in zip(*pairs, strict=True))
    return Row.ratio(
        what, own_ms, mean_ms, Target("<=", limit), f"{median(own_ms):.1f}, mean {median(mean_ms):.1f}{note}"
    )


def _drawn_row(name: str, pairs: Pairs) -> Row:
    own, mean = (fmean(map(_num_forwards, answers)) for answers in zip(*pairs, strict=True)) if pairs else (0, 0)
    return _row(f"{name}, sampling", pairs, 1.0, f"; forward passes a token {own:.2f}, mean {mean:.2f}")


def _num_forwards(answer: Decoded) -> float:
    return sum(usage.num_forwards for usage in answer.finished.members.values()) / answer.finished.num_tokens
