"""The page of a study of pairs, in Markdown, and its plot. Equal readings give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.evaluation.metrics import holm
from gac_app.evaluation.metrics.dependence import partial_correlation, rank_correlation
from gac_app.evaluation.registered.gated import KEPT, Gated
from gac_app.evaluation.registered.page import in_points
from gac_app.evaluation.registered.pairs import Gain, PairFound, PairRun, PairsFound

_GAPS = (-1.0, 0.02, 0.1, 0.25, 0.5, float("inf"))  # between which gaps pairs are counted together


def page_of(run: PairRun, outcome: PairsFound, command: str, plot: str) -> str:
    """The page. Arguments as of a study of settings."""
    found = outcome.pairs
    level, tasks = run.protocol.level, list(dict.fromkeys(pair.task for pair in found))
    of_right = [pair for pair in found if pair.right]
    lines = [f"# {run.name}", "", run.protocol.about, "", "```", command, "```", "", *_registered(run), ""]
    lines += ["## Gain over the gap", "", *_by_gap(found, lambda pair: pair.bits, level, "bits saved"), ""]
    if of_right:
        lines += [*_by_gap(of_right, lambda pair: pair.right, level, "points"), ""]
    lines += [f"![Gain over the gap, and over disagreement]({plot})", ""]
    lines += ["## On what it depends", "", *_dependences(found, tasks), ""]
    if run.protocol.gated:
        lines += ["## Gates", "", *_gates(run.protocol.gated, outcome.gated), ""]
    for task in tasks:
        lines += [f"## {task}", "", *_members(outcome, task), ""]
        lines += [*_pairs([pair for pair in found if pair.task == task], level), ""]
    return "\n".join(lines)


def plot_of(outcome: PairsFound) -> list[Spec]:
    """Gain over the gap and over disagreement, in bits; over the gap, in right answers of multiple choice."""

    def panel(x: str, y: str, point: Callable[[PairFound], tuple[float, float] | None]) -> Panel:
        points: dict[str, list[tuple[float, float]]] = {}
        for pair in outcome.pairs:
            if at := point(pair):
                points.setdefault(pair.task, []).append((100 * at[0], 100 * at[1]))
        return Panel(x, y, {task: Series(of_task) for task, of_task in points.items()}, are_joined=False)

    gained, gap = "bits saved against the better member, %", "bits the other member needs more, %"
    panels = [
        panel(gap, gained, lambda pair: (pair.bits.gap, pair.bits.gain)),
        panel("places where their argmax tokens differ, %", gained, lambda pair: (pair.differ, pair.bits.gain)),
    ]
    if any(pair.right for pair in outcome.pairs):
        panels.append(
            panel(
                "right answers the other member has fewer, points",
                "right answers more than the better member, points",
                lambda pair: (pair.right.gap, pair.right.gain) if pair.right else None,
            )
        )
    return line_charts("Pairs, held-out questions", panels)


def _registered(run: PairRun) -> Iterator[str]:
    yield (
        f"Registered on {run.register.registered_on}, before any answer. Every two of {len(run.config.member_names)} "
        f"members, {len(run.pairs)} pairs. The development questions say which member is the better one and choose its "
        f"weight among {', '.join(f'{weight:g}' for weight in run.protocol.weights)}; those held out judge once."
    )
    yield ""
    yield (
        "*Bits saved*: of the reference answer, against the better member alone, with the interval of a paired "
        "bootstrap over questions. *Points*: right answers of multiple choice, where the choice with the fewest bits "
        "per byte is the answer; McNemar's exact test. Corrected after Holm, for all tests of the measure together; "
        f"the level is {run.protocol.level:g}."
    )
    yield ""
    yield "| task | development | held out |"
    yield "|---|---|---|"
    for part in run.parts:
        yield f"| {part.task.name} | {len(part.development)} | {len(part.held_out)} |"


def _by_gap(
    found: Sequence[PairFound], measure: Callable[[PairFound], Gain | None], level: float, unit: str
) -> Iterator[str]:
    yield (
        f"| gap | pairs | {unit}, equal weights | of these above zero | {unit}, weights chosen | of these above zero "
        "| shown better | shown worse |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for low, high in pairwise(_GAPS):
        gains = [gain for pair in found if (gain := measure(pair)) and low <= gain.gap < high]
        if not gains:
            continue
        shown = [gain for gain in gains if gain.adjusted < level]
        span = f"below {high:.0%}" if low < 0 else f"{low:.0%} or more" if high > 1 else f"{low:.0%} to {high:.0%}"
        num_better = sum(gain.gain > 0 for gain in shown)
        yield (
            f"| {span} | {len(gains)} | {_mean([g.even for g in gains])} | {_positive([g.even for g in gains])} "
            f"| {_mean([g.gain for g in gains])} | {_positive([g.gain for g in gains])} "
            f"| {num_better} | {len(shown) - num_better} |"
        )


def _dependences(found: Sequence[PairFound], tasks: Sequence[str]) -> Iterator[str]:
    yield (
        "Spearman's correlation over the pairs of the gain, with weights chosen, with the gap and with the share of "
        f"places at which the argmax tokens differ; p by permuting the members, corrected for {2 * len(tasks)} tests "
        "after Holm. The last column is the correlation with disagreement at an equal gap."
    )
    yield ""
    yield "| task | bits saved with gap | corrected p | with disagreement | corrected p | at an equal gap |"
    yield "|---|---|---|---|---|---|"
    rows = []
    for task in tasks:
        pairs = {(pair.first, pair.second): pair for pair in found if pair.task == task}
        gains = {names: pair.bits.gain for names, pair in pairs.items()}
        gaps = {names: pair.bits.gap for names, pair in pairs.items()}
        differ = {names: pair.differ for names, pair in pairs.items()}
        both = rank_correlation(gaps, gains), rank_correlation(differ, gains)
        rest = partial_correlation(both[1][0], both[0][0], rank_correlation(gaps, differ)[0])
        rows.append((task, both, rest))
    adjusted = iter(holm([p for _, both, _ in rows for _, p in both]))
    for task, ((by_gap, _), (by_differ, _)), rest in rows:
        first, second = next(adjusted), next(adjusted)
        yield f"| {task} | {by_gap:+.2f} | {first:.3g} | {by_differ:+.2f} | {second:.3g} | {rest:+.2f} |"


def _gates(names: tuple[str, str], found: Sequence[Gated]) -> Iterator[str]:
    yield (
        f"{names[0]} as the gate of {names[1]}, its weight chosen on the development questions. The threshold is the "
        f"least that keeps {KEPT:.0%} of the bits that every step saves: on the task's development questions, and on "
        "those of all tasks together, each counted alike."
    )
    yield ""
    yield (
        "| task | weight | saved by every step | rule | threshold | steps ensembled | kept | common threshold "
        "| steps ensembled | kept |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for gated in sorted(found, key=lambda gated: gated.task):
        at = (f"| {t:g} | {ensembled:.0%} | {kept:.0%} " for t, ensembled, kept in (gated.own, gated.common))
        yield f"| {gated.task} | {gated.weight:g} | {gated.saved:.1%} | {gated.rule} {''.join(at)}|"


def _members(outcome: PairsFound, task: str) -> Iterator[str]:
    alone = outcome.alone[task]
    is_choice = any(pair.task == task and pair.right for pair in outcome.pairs)
    yield f"| member | bits per byte |{' right |' if is_choice else ''}"
    yield f"|---|---|{'---|' if is_choice else ''}"
    for name, (bits, right) in alone.items():
        yield f"| {name} | {bits:.3f} |{f' {right:.1%} |' if is_choice else ''}"


def _pairs(found: Sequence[PairFound], level: float) -> Iterator[str]:
    is_choice = any(pair.right for pair in found)
    more = " right: gap | equal weights | weights chosen (95 %) | corrected p |" if is_choice else ""
    yield (
        "| better member (its weight) + other | gap | argmax differs | bits saved, equal weights "
        f"| weights chosen (95 %) | corrected p | argmax right, points |{more}"
    )
    yield f"|---|---|---|---|---|---|---|{'---|---|---|---|' if is_choice else ''}"
    for pair in sorted(found, key=lambda pair: pair.bits.gap):
        bits, right = pair.bits, pair.right
        other = pair.second if bits.best == pair.first else pair.first
        names = f"{bits.best} ({bits.weight:g}) + {other}"
        row = f"| {names} | {bits.gap:.1%} | {pair.differ:.0%} | {_gained(bits, level)} | {100 * pair.hits:+.1f} |"
        yield f"{row} {100 * right.gap:+.1f} | {_gained(right, level)} |" if right else row


def _gained(gain: Gain, level: float) -> str:
    told = in_points(gain.gain, gain.interval)
    told = f"**{told}**" if gain.adjusted < level else told
    return f"{100 * gain.even:+.1f} | {told} | {gain.adjusted:.2g}"


def _mean(values: Sequence[float]) -> str:
    return f"{100 * sum(values) / len(values):+.1f}"


def _positive(values: Sequence[float]) -> str:
    return f"{sum(value > 0 for value in values) / len(values):.0%}"
