"""Accuracy of systems on a benchmark, with intervals, paired tests and cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic import Field

from gac_app.config import Config
from gac_app.errors import Phrase
from gac_app.evaluation.metrics import strength_advice
from gac_app.evaluation.running import System, SystemReport, default_systems, parse_systems, summarise
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import (
    SHARED_TIMES,
    StudyResult,
    compared,
    failure,
    questions_asked,
    report_cells,
    table_of,
)
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question

_COLUMNS = ("system", "accuracy (95 %)", "failed", "ensembled", "ms/token", "s/answer", "member-s", "vs best member")


class Benchmark(QuestionStudy):
    """Put a benchmark's questions to members alone and to ensembles, and measure accuracy, with paired tests, and cost.

    When it is started again after an interruption, it resumes.
    """

    name = "eval"
    title = "Benchmark"
    about = "How often each member and the ensemble answer right, and what an answer costs."
    place = 1
    has_charts = False
    systems: str | None = Field(
        None,
        description="alone:MEMBER, every-step, gate@0.5, agreement, vote, mbr; options after '+': every-step+prefix.",
    )
    against: str | None = Field(None, description="Compare with this system too, not only with the best member.")

    def systems_of(self, config: Config) -> list[System]:
        return [*self._systems(config), *self._rivals(config)]

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        config = ask.ensemble.config
        rivals = self._rivals(config)
        reports = summarise(ask(list(dict.fromkeys([*self._systems(config), *rivals])), asked), rivals).values()
        data = {
            "task": ask.task.name,
            "n": len(asked),
            "systems": {report.system.name: report.to_json() for report in reports},
        }
        remarks = [SHARED_TIMES if ask.task.kind == "choice" else "", strength_advice(config, config.settings, [data])]
        more = {Phrase("vs {name}", name=rival.name): partial(_compared, rival.name) for rival in rivals}
        return StudyResult(
            study=self.name,
            heading=questions_asked(ask.task.name, len(asked)),
            tables=[table_of(report_cells(*_COLUMNS) | more, reports)],
            data=data,
            remarks=[remark for remark in remarks if remark],
            failure=failure(reports),
        )

    def _systems(self, config: Config) -> list[System]:
        return parse_systems(self.systems, config) if self.systems else default_systems(config)

    def _rivals(self, config: Config) -> list[System]:
        return parse_systems(self.against, config) if self.against else []


def _compared(rival: str, report: SystemReport) -> str:
    return compared(report.vs[rival])
