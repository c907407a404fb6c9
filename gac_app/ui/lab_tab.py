"""The Lab tab: studies on a small sample, and the results that are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import gradio as gr

from gac_app.errors import without_folders
from gac_app.evaluation.studies.result import to_csv
from gac_app.services.lab import MIN_QUESTIONS, STUDIES
from gac_app.services.live_runs import owner_of
from gac_app.ui.assets import markup_of, script_of
from gac_app.ui.requests import Fields, Reply, replying

if TYPE_CHECKING:
    from gac_app.evaluation.kept_results import KeptResult
    from gac_app.services.lab import Lab, QuestionSet, Running, Study


def build_lab(lab: Lab) -> gr.HTML:
    """The studies to choose from, the one that runs, and the results; its script asks for all of them.

    Its event `kept` says that other results are listed than before.
    """
    return gr.HTML(
        value="",
        html_template=markup_of("lab"),
        js_on_load=script_of("core", "lab"),
        server_functions=lab_functions(lab),
        apply_default_css=False,
        elem_id="gac-lab",
    )


def lab_functions(lab: Lab) -> list[Callable[[object], Reply]]:
    """What the script asks for, by the functions' names."""

    @replying
    def lab_overview(fields: Fields) -> Reply:
        studies = [_study(study, lab.sets) for study in STUDIES]
        who = {"may_start": lab.may_start(fields.visitor_key), "browser": owner_of(fields.visitor_key)}
        return {"studies": studies, "min_questions": MIN_QUESTIONS, "max_questions": lab.max_questions, **who}

    @replying
    def lab_state(fields: Fields) -> Reply:
        running = lab.running
        return {
            "running": _running(running, lab, fields.visitor_key) if running else None,
            "error": without_folders(lab.last_error),
            "results": [asdict(listed) for listed in lab.results.list()],
        }

    @replying
    def lab_start(fields: Fields) -> Reply:
        lab.start(fields.visitor_key, fields.text("study"), fields.text("set"), fields.number("questions"))
        return {}

    @replying
    def lab_cancel(fields: Fields) -> Reply:
        lab.cancel(fields.visitor_key)
        return {}

    @replying
    def lab_result(fields: Fields) -> Reply:
        return _result(lab.results.load(fields.text("result")))

    return [lab_overview, lab_state, lab_start, lab_cancel, lab_result]


def _study(study: Study, sets: tuple[QuestionSet, ...]) -> Reply:
    fitting = [{"name": s.name, "about": s.task.about, "count": len(s.questions)} for s in sets if s.fits(study)]
    return {"name": study.name, "title": study.title, "about": study.about, "sets": fitting}


def _running(running: Running, lab: Lab, visitor_key: str) -> Reply:
    return {
        "title": running.study.title,
        "set": running.set_name,
        "round": running.round,
        "num_done": running.num_done,
        "num_total": running.num_total,
        "seconds_left": running.seconds_left,
        "is_mine": running.owner == owner_of(visitor_key),
        "may_cancel": lab.may_cancel(visitor_key, running),
    }


def _result(kept: KeptResult) -> Reply:
    result = kept.result
    return {
        "id": kept.id,
        "study": result.study,
        "heading": result.heading,
        "created_at": kept.created_at,
        "members": list(kept.members),
        "tables": [
            {"title": table.title, "columns": list(table.columns), "rows": [list(row) for row in table.rows]}
            for table in result.tables
        ],
        "remarks": [*result.remarks, *([f"Note: {result.failure}"] if result.failure else [])],
        "plot": result.plot,
        "csv": to_csv(result.tables),
        "json": json.dumps(result.data, ensure_ascii=False, indent=2),
    }
