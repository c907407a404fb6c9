"""The time of a token: every step and the gate against the slower member alone, and what of a step is no forward pass.

Members run at the same time, so a step should take little longer than its slowest member: 1.008 to 1.016 times in the
paper, and less if a member drafts while it would wait. "Alone" means with the same threads, through the same engine.
With the default gate the others read along while nobody waits for them, so that a token takes at most as long as at
every step. A lazy gate asks them only at ensembled steps, so that the members compute least.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from statistics import median
from typing import Any

from gac_app.bench.rows import Row, Target
from gac_app.bench.workbench import Decoded, Workbench, decode, interleaved
from gac_app.config import Config


def measure(bench: Workbench) -> list[Row]:
    """Each prompt answered in turn at every step, with drafts and without, by a gate, and by each member alone."""

    def run(prompt: str, alone: str | None = None, **how: Any) -> Decoded:
        return decode(bench.ensemble.session(prompt, bench.settings(**how), alone=alone))

    names = bench.config.member_names
    ways: list[Callable[[str], Decoded]] = [run, partial(run, speculation="off")]
    ways += [partial(run, mode="gate", gate_policy=policy) for policy in ("auto", "lazy")]
    ways += [partial(run, alone=name) for name in names]
    full, plain, auto, lazy, *alone = interleaved(bench.prompts, *ways)
    alone_ms = [_ms(answers) for answers in alone]
    slower_ms = max(alone_ms, key=median)
    figures = ", ".join(f"{name} {median(times):.1f}" for name, times in zip(names, alone_ms, strict=True))
    overheads = [answer.overhead_ms for answer in plain]  # without drafts, a step is its passes and the overhead
    note = f"ms/token: {median(_ms(full)):.1f}; alone: {figures}; without drafts {median(_ms(plain)):.1f}"
    return [
        Row.ratio("every step ÷ slower member alone", _ms(full), slower_ms, Target("<=", 1.08), note),
        Row.ratio(
            "combine, sample and trace ÷ slower member's step",
            overheads,
            slower_ms,
            Target("<=", 0.05),
            f"{median(overheads):.2f} ms a step",
        ),
        Row("Python calls of a step of two random members", num_calls(), "calls", Target("<=", 700)),
        *_gate_rows(bench.config.settings.gate, full, auto, lazy),
    ]


def num_calls() -> float:
    """Of a step that asks two members in this thread and draws a token: the same on every machine."""
    from gac_app.decoding.member import InlineMember
    from gac_app.loading import unite
    from gac_app.models.base import Model
    from gac_app.models.random_model import RandomModel

    models: list[Model] = [RandomModel("a", 1), RandomModel("b", 2)]
    config = Config.model_validate({"members": [{"name": model.name, "source": "random:0"} for model in models]})
    settings = config.settings_from({"mode": "every-step", "temperature": 0.7, "max_new_tokens": 64, "stop": ()})
    events = unite(models, config, InlineMember, devices_disjoint=False).generate("the vote", settings, raw=True)
    next(events)
    calls = count()
    sys.setprofile(lambda _, event, __: next(calls) if event == "call" else None)
    try:
        num_events = sum(1 for _ in events)
    finally:
        sys.setprofile(None)
    return next(calls) / num_events


def _gate_rows(gate: str, full: list[Decoded], auto: list[Decoded], lazy: list[Decoded]) -> list[Row]:
    """The gate against every step: the time of a token, and the members' work."""
    share = sum(a.finished.num_ensembled for a in auto) / sum(a.finished.num_tokens for a in auto)
    passes = _passes(gate, auto) / _passes(gate, full)
    note = f"{share:.1%} of the steps ensembled; the gate's passes ÷ every step's: {passes:.2f}"
    bound = median(_bound(gate, *pair) for pair in zip(lazy, full, strict=True))
    return [
        Row.ratio("gate, auto: ms/token ÷ every step's", _ms(auto), _ms(full), Target("<=", 1.0), note),
        Row.ratio(
            "gate, lazy: member-seconds a token ÷ every step's",
            [answer.member_s for answer in lazy],
            [answer.member_s for answer in full],
            Target("<=", bound),
            f"ms/token {median(_ms(lazy)):.1f}",
        ),
    ]


def _ms(answers: Iterable[Decoded]) -> list[float]:
    return [answer.ms_per_token for answer in answers]


def _passes(member: str, answers: Sequence[Decoded]) -> float:
    """A member's forward passes per token. The texts of two ways differ, and so do the drafts that are accepted."""
    ends = [answer.finished for answer in answers]
    return sum(end.members[member].num_forwards for end in ends) / sum(end.num_tokens for end in ends)


def _bound(gate: str, lazy: Decoded, full: Decoded) -> float:
    """The gate's member-seconds at every step, plus the others' times the share of ensembled steps."""
    seconds = {name: usage.seconds for name, usage in full.finished.members.items()}
    share = lazy.finished.num_ensembled / lazy.finished.num_tokens
    return share + (1 - share) * seconds[gate] / sum(seconds.values())
