"""Which systems recover from a wrong beginning of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from gac_app.charts import SOFT, Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.evaluation.analyses import Plant, SnowballReport, judge_snowball, planted
from gac_app.evaluation.running import System, parse_systems, with_whole_answers
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import NOT_KNOWN, StudyResult, Table
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.wording import colours_of, compared, share
from gac_app.evaluation.tasks import Question, Task

_COLUMNS = ("system", "right without", "right with it (95 %)", "recovered (95 %)", "vs best member")


class Snowball(QuestionStudy):
    """Plant a wrong beginning in each answer, and measure how often each system still answers right."""

    name = "snowball"
    title = "Snowball"
    about = "Who recovers from a wrong beginning of the answer."
    needs = "generation"
    place = 6
    plant: Plant = Field("word", description="A wrong first word, or a whole wrong sentence.")
    systems: str | None = Field(
        None, description="As for eval. Default: members alone, every step, the gate, vote, mbr, lowest-perplexity."
    )

    def systems_of(self, config: Config) -> list[System]:
        return parse_systems(self.systems, config) if self.systems else with_whole_answers(config)

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        planted(task, questions, self.plant)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Put the questions without and with a wrong beginning, which comes from other questions of the file."""
        spoilt = planted(ask.task, ask.questions, self.plant)
        config = ask.ensemble.config
        systems = self.systems_of(config)
        without, with_plants = ask(systems, asked), ask.by(spoilt, ", wrong beginning")(systems, asked)
        report = judge_snowball(ask.task, self.plant, asked, without, with_plants)
        given = (answer for answers in (*without.values(), *with_plants.values()) for answer in answers)
        errors = [answer.error for answer in given if answer.error]
        return StudyResult(
            study=self.name,
            heading=f"{report.task}, a wrong {report.plant} planted: {len(asked)} questions",
            tables=[Table(_COLUMNS, _rows(report, len(asked))), _spread(report)],
            data=report.to_json(),
            plots=_plots(report, len(asked), config.member_names),
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
        rows.append([found.system.name, *(shares.get(place, NOT_KNOWN) for place in places)])
    columns = ("system", *(f"word {first}" if first == last else f"words {first} to {last}" for first, last in places))
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
