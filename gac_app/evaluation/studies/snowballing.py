"""Which systems recover from a wrong beginning of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.charts import SOFT, Panel, Series, Spec, line_charts
from gac_app.evaluation.analyses import Plant, SnowballReport, judge_snowball, planted
from gac_app.evaluation.running import System
from gac_app.evaluation.studies.colours import colours_of
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.wording import compared, share
from gac_app.evaluation.tasks import Question

_COLUMNS = ("system", "right without", "right with it (95 %)", "recovered (95 %)", "vs best member")


def run_snowball(
    ask: Evaluator,
    all_questions: Sequence[Question],
    questions: Sequence[Question],
    systems: Sequence[System],
    plant: Plant,
) -> StudyResult:
    """Put `questions` to `systems` without and with a wrong beginning.

    Args:
        all_questions: all questions of the file; wrong beginnings come from other questions.

    Raises:
        RequestError: no wrong beginning can be planted.
    """
    spoilt = planted(ask.task, all_questions, plant)
    without, with_plants = ask(systems, questions), ask.by(spoilt, ", wrong beginning")(systems, questions)
    report = judge_snowball(ask.task, plant, questions, without, with_plants)
    errors = [answer.error for given in (*without.values(), *with_plants.values()) for answer in given if answer.error]
    return StudyResult(
        study="snowball",
        heading=f"{report.task}, a wrong {report.plant} planted: {len(questions)} questions",
        tables=[Table(_COLUMNS, _rows(report, len(questions))), _spread(report)],
        data=report.to_json(),
        plots=_plots(report, len(questions), ask.ensemble.config.member_names),
        failure=f"answers failed and count as wrong; the first: {errors[0]}" if errors else "",
    )


def _rows(report: SnowballReport, num_questions: int) -> list[list[str]]:
    return [
        [
            found.system.name,
            f"{found.num_right_without / num_questions:.1%}",
            share(found.num_right_planted, num_questions),
            share(found.num_recovered, found.num_right_without),
            compared(found.vs_best_member),
        ]
        for found in report.systems
    ]


def _spread(report: SnowballReport) -> Table:
    """The spread of the error."""
    places = sorted({(kept.first, kept.last) for found in report.systems for kept in found.kept})
    rows = []
    for found in report.systems:
        shares = {(kept.first, kept.last): f"{kept.share:.0%} of {kept.num_words:,}" for kept in found.kept}
        rows.append([found.system.name, *(shares.get(place, "") for place in places)])
    columns = ("system", *(f"word {first}" if first == last else f"{first} to {last}" for first, last in places))
    return Table(columns, rows, "Words of the answer without the plant that are still written with it, by their place")


def _plots(report: SnowballReport, num_questions: int, members: Sequence[str]) -> list[Spec]:
    colours = colours_of([found.system.name for found in report.systems], members)
    places = {
        found.system.name: Series(
            [(100 * found.num_right_without / num_questions, 100 * found.num_right_planted / num_questions)],
            colours[found.system.name],
        )
        for found in report.systems
    }
    furthest = max(line.points[0][0] for line in places.values())
    places["as often with it as without"] = Series([(0.0, 0.0), (furthest, furthest)], SOFT)
    spread = {
        found.system.name: Series(
            [(float(kept.first), 100 * kept.share) for kept in found.kept], colours[found.system.name]
        )
        for found in report.systems
    }
    title = f"A wrong {report.plant} planted: {report.task}, {num_questions} questions"
    panels = [
        Panel("right without, %", "right with it, %", places),
        Panel("place in the answer, words", "words kept of the answer without it, %", spread),
    ]
    return line_charts(title, panels)
