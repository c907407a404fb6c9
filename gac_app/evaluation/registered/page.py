"""The page of a registered study, in Markdown, and its plot. Equal answers give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.evaluation.metrics import wilson_interval
from gac_app.evaluation.registered.running import Paired, Scored, StudyRun, TaskResult


def page_of(run: StudyRun, judged: Sequence[TaskResult], command: str, plot: str) -> str:
    """The page.

    Args:
        command: that ran the study.
        plot: the file of its plot, beside the page.
    """
    tests, step_s = run.tests(judged), run.register.seconds_per_step
    lines = [f"# {run.name}", "", run.protocol.about, "", "```", command, "```", ""]
    lines += [*_in_short(run, tests), "", *_registered(run), ""]
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
        "Chosen on the development half, judged on the held-out half; p of McNemar's exact test, corrected for "
        f"{len(tests)} tests after Holm; the level is {level:g}."
    )
    yield ""
    yield "| task | chosen setting | against | difference (95 %) | p | corrected | at that level |"
    yield "|---|---|---|---|---|---|---|"
    for test in tests:
        low, high = (100 * end for end in test.interval)
        is_shown = test.adjusted < level
        verdict = ("better" if test.delta > 0 else "worse") if is_shown else "no difference shown"
        names = f"| {test.task} | {test.chosen.system.name} | {test.other.system.name} "
        yield (
            f"{names}| {100 * test.delta:+.1f} ({low:+.1f} to {high:+.1f}) | {test.p:.3g} | {test.adjusted:.3g} "
            f"| {verdict} |"
        )


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
        f"{judged.part.task.about} Chosen: `{judged.chosen.name}`. The best member of the development half: "
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
