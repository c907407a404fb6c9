"""The page of a registered study, in Markdown, and its plot. Equal answers give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.evaluation.metrics import paired_interval, wilson_interval
from gac_app.evaluation.registered.running import Paired, Scored, StudyRun, TaskResult


def page_of(run: StudyRun, judged: Sequence[TaskResult], command: str, plot: str) -> str:
    """The page.

    Args:
        command: that ran the study.
        plot: the file of its plot, beside the page.
    """
    tests, step_s = run.tests(judged), run.register.seconds_per_step
    lines = [f"# {run.name}", "", run.protocol.about, "", "```", command, "```", ""]
    lines += [*_in_short(run, tests), "", *_sparing(run, judged), *_registered(run), ""]
    for one in judged:
        lines += [f"## {one.part.task.name}", "", *_chosen(one), ""]
        lines += ["### Held out, judged once", "", *_systems(one.held_out, one, step_s[one.part.task.name]), ""]
        lines += ["### Development", "", *_systems(one.development, one, step_s[one.part.task.name]), ""]
    lines += [f"![Accuracy over cost on the held-out questions]({plot})", ""]
    return "\n".join(lines)


def plot_of(judged: Sequence[TaskResult]) -> list[Spec]:
    """Accuracy over cost on the held-out questions, a panel for each task."""
    panels = [
        Panel(
            f"{one.part.task.name}: forward passes an answer",
            "accuracy, %",
            {score.system.name: Series([(score.steps, 100 * score.accuracy)]) for score in one.held_out},
        )
        for one in judged
    ]
    return line_charts("Held-out questions", panels)


def _in_short(run: StudyRun, tests: Sequence[Paired]) -> Iterator[str]:
    level = run.protocol.level
    yield (
        "Chosen on the development questions, judged on those held out; p of McNemar's exact test, corrected for "
        f"{len(tests)} tests after Holm; the level is {level:g}."
    )
    yield ""
    yield "| task | setting | against | difference (95 %) | p | corrected | at that level |"
    yield "|---|---|---|---|---|---|---|"
    for test in tests:
        is_shown = test.adjusted < level
        verdict = ("better" if test.delta > 0 else "worse") if is_shown else "no difference shown"
        names = f"| {test.task} | {test.setting.system.name} | {test.other.system.name} "
        difference = _in_points(test.delta, test.interval)
        yield f"{names}| {difference} | {test.p:.3g} | {test.adjusted:.3g} | {verdict} |"


def _in_points(delta: float, interval: tuple[float, float]) -> str:
    """A difference of shares, with its interval. Example: 0.02, (0.01, 0.03) -> "+2.0 (+1.0 to +3.0)"."""
    low, high = (100 * end for end in interval)
    return f"{100 * delta:+.1f} ({low:+.1f} to {high:+.1f})"


def _sparing(run: StudyRun, judged: Sequence[TaskResult]) -> Iterator[str]:
    """The sparing setting against the chosen one, if the study asked for one."""
    if not (protocol := run.protocol).sparing:
        return
    wanted = f"at most {protocol.sparing:.0%} of the steps ensembled on every task"
    if not (sparing := judged[0].sparing):
        yield from (f"No setting of the grid had {wanted}.", "")
        return
    points = f"{100 * protocol.effect:g}"
    yield (
        f"Sparing, one for all tasks: `{sparing.name}`, the most accurate of the settings with {wanted}. It is *as "
        f"good* as a task's chosen setting if the whole interval of their difference lies above -{points} points."
    )
    yield ""
    yield f"| task | steps ensembled | to the chosen setting (95 %) | as good, within {points} points |"
    yield "|---|---|---|---|"
    for one in judged:
        scored = {score.system: score for score in one.held_out}
        mine, chosen = scored[sparing], scored[one.chosen]
        interval = paired_interval(mine.is_right, chosen.is_right)
        difference = _in_points(mine.accuracy - chosen.accuracy, interval)
        verdict = "yes" if interval[0] > -protocol.effect else "not shown"
        yield f"| {one.part.task.name} | {mine.share_ensembled:.0%} | {difference} | {verdict} |"
    yield ""


def _registered(run: StudyRun) -> Iterator[str]:
    protocol = run.protocol
    yield (
        f"Registered on {run.register.registered_on}, before any answer. To show {100 * protocol.effect:g} points with "
        f"a power of {protocol.power:.0%} takes {protocol.num_needed:,} held-out questions of a task, if one of two "
        f"systems alone is right on {protocol.discordant:.0%} of them."
    )
    yield ""
    yield "| task | development | held out | shown with that power, points | grid | rivals |"
    yield "|---|---|---|---|---|---|"
    grid, rivals = (", ".join(system.name for system in systems) for systems in (run.grid, run.rivals))
    for part in run.parts:
        counts = f"{len(part.development)} | {len(part.held_out)} | {run.points_shown(part)}"
        yield f"| {part.task.name} | {counts} | {grid} | {rivals or '–'} |"


def _chosen(judged: TaskResult) -> Iterator[str]:
    yield (
        f"{judged.part.task.about} Chosen: `{judged.chosen.name}`. The best member on the development questions: "
        f"`{judged.best.name.removeprefix('alone:')}`."
    )


def _systems(scores: Sequence[Scored], judged: TaskResult, step_s: float) -> Iterator[str]:
    """`step_s`: seconds of a forward pass for a step."""
    yield f"{len(scores[0].is_right)} questions. Member-seconds are forward passes at the pace of the registration."
    yield ""
    yield "| system | right (95 %) | steps ensembled | forward passes an answer | member-seconds an answer |"
    yield "|---|---|---|---|---|"
    for score in scores:
        low, high = wilson_interval(score.num_right, len(score.is_right))
        name = f"**{score.system.name}**" if score.system == judged.chosen else score.system.name
        share = "–" if score.system.alone else f"{score.share_ensembled:.0%}"
        yield (
            f"| {name} | {score.accuracy:.1%} ({low:.1%} to {high:.1%}) | {share} | {score.steps:.1f} "
            f"| {score.steps * step_s:.2f} |"
        )
