"""What each combine rule costs a step, against the mean.

A linear rule is mostly told from the members' top-k; any other makes the whole distribution of every step. Without
drafts, so that a step is its passes and the rest. Rules write different texts: what is compared is a token's time.
"""

from __future__ import annotations

from functools import partial
from statistics import median

from gac_app.bench.rows import Row, Target
from gac_app.bench.timing import decode, interleaved, median_ratio
from gac_app.bench.workbench import Workbench
from gac_app.decoding.rules import combine_rules
from gac_app.errors import GacError

_MEAN = "mean"


def measure(bench: Workbench) -> list[Row]:
    """Milliseconds a token at every step, by each rule there is, plug-ins' too."""

    def ms_per_token(prompt: str, rule: str) -> float | None:
        settings = bench.settings(combine=rule, speculation="off")
        try:
            return decode(bench.ensemble.session(prompt, settings)).ms_per_token
        except GacError:  # some rules soon end an answer
            return None

    names = [_MEAN, *(name for name in combine_rules.names if name != _MEAN)]
    rounds = interleaved(bench.prompts, *(partial(ms_per_token, rule=name) for name in names))
    return [_row(name, [(times[index], times[0]) for times in rounds]) for index, name in enumerate(names) if index]


def _row(name: str, times: list[tuple[float | None, float | None]]) -> Row:
    pairs = [(own, mean) for own, mean in times if own and mean]
    what = f"combine rule {name} ÷ mean: ms/token"
    if not pairs:
        return Row(what, None, note="its answers end too soon to be timed")
    note = f"{median(own for own, _ in pairs):.1f}, mean {median(mean for _, mean in pairs):.1f}"
    return Row(what, median_ratio(pairs), target=Target("<=", 1.15), note=note)
