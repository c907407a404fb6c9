"""The cost of each combine rule per step, against the mean.

A linear rule mostly needs the members' top-k; any other computes the whole distribution at every step. Drafts are off,
so that a step is its passes and the overhead. A rule that draws one member is compared with the mean with drafts, both
sampling. Since rules write different texts, times per token are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from gac_app.bench.rows import Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio
from gac_app.bench.workbench import Workbench
from gac_app.decoding.rules import LinearRule, combine_rules
from gac_app.errors import GacError

_MEAN = "mean"
_PLAIN = {"temperature": 1.0, "alignment": "paper"}  # settings with which one member may stand for all
_NUM_PROMPTS = 4  # there are many rules

Times = list[tuple[Decoded | None, Decoded | None]]  # pairs: of the rule and of the mean


def measure(bench: Workbench) -> list[Row]:
    """Milliseconds per token at every step, for each rule, including plug-ins."""
    drawing = [e.name for e in combine_rules if issubclass(e.rule, LinearRule) and e.rule.draws_one]
    others = [name for name in combine_rules.names if name not in (_MEAN, *drawing)]
    rows = [_row(name, times) for name, times in _decoded(bench, others, {"speculation": "off"})]
    return rows + [_drawn_row(name, times) for name, times in _decoded(bench, drawing, _PLAIN)]


def _decoded(bench: Workbench, names: list[str], how: dict[str, Any]) -> Iterator[tuple[str, Times]]:
    """Each rule with its answers and the mean's, all rules in turn for each prompt."""

    def answer(prompt: str, rule: str) -> Decoded | None:
        try:
            return decode(bench.ensemble.session(prompt, bench.settings(combine=rule, **how)))
        except GacError:  # some rules end answers early
            return None

    rounds = interleaved(bench.prompts[:_NUM_PROMPTS], *(partial(answer, rule=name) for name in (_MEAN, *names)))
    mean, *own = zip(*rounds, strict=True)
    for name, answers in zip(names, own, strict=True):
        yield name, list(zip(answers, mean, strict=True))


def _row(name: str, times: Times) -> Row:
    pairs = [(own.ms_per_token, mean.ms_per_token) for own, mean in times if own and mean]
    what = f"combine rule {name} ÷ mean: ms/token"
    if not pairs:
        return Row(what, None, note="its answers end too soon to be timed")
    note = f"{median(own for own, _ in pairs):.1f}, mean {median(mean for _, mean in pairs):.1f}"
    return Row(what, median_ratio(pairs), target=Target("<=", 1.15), note=note)


def _drawn_row(name: str, times: Times) -> Row:
    row = _row(f"{name}, sampling", times)
    passes = [(_num_forwards(own), _num_forwards(mean)) for own, mean in times if own and mean]
    if not passes:
        return row
    own, mean = (median(each) for each in zip(*passes, strict=True))
    note = f"{row.note}; forward passes a token {own:.2f}, mean {mean:.2f}"
    return Row(row.name, row.value, target=Target("<=", 1.0), note=note)


def _num_forwards(answer: Decoded) -> float:
    return sum(usage.num_forwards for usage in answer.finished.members.values()) / answer.finished.num_tokens
