"""The Lab tab: studies on a small sample, the list of results, and the selected one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from gac_app.errors import GacError, without_folders
from gac_app.evaluation.studies import studies
from gac_app.evaluation.tasks import MAX_OWN_CHARS
from gac_app.services.lab.lab import MIN_QUESTIONS, OWN, STUDIES, Lab, Running
from gac_app.services.visitors import owner_of
from gac_app.ui.assets import called, component
from gac_app.ui.lab.result import ResultView
from gac_app.ui.requests import Fields, PageFunction, Reply, client_here, same, started_by
from gac_app.ui.streaming import QUIET
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word


def lab_tab(context: TabContext) -> None:
    """Where there is a lab: its studies and results, with the chosen result below. The list's event `kept` tells that
    the results have changed, the result's event `ask` puts a question into the prompt box.
    """
    if (lab := context.lab) is None:
        return
    with opened("lab", word("tab.lab"), called("lab/lab", "refreshLab")):
        listed = component("lab", "lab/lab", events=("started", "shown", "kept"), functions=lab_functions(lab))
        view = ResultView(lab, context.service.config)
        listed.shown(_shown(lab, view), outputs=view.outputs, trigger_mode="multiple", queue=False, **QUIET)
        listed.started(start_study(lab), outputs=listed, **QUIET)
        # A new benchmark may change the advice on settings.
        listed.kept(None, js=called("settings/settings", "checkSettings"), api_visibility="private")
        context.compare.ask_on(view.body.ask, called("lab/body", "askedInLab"))
        context.show_compare_on(view.body.ask)


def _shown(lab: Lab, view: ResultView) -> Callable[[gr.EventData], list[Any]]:
    """Handles the event `shown`."""

    def shown(event: gr.EventData) -> list[Any]:
        try:
            fields = Fields(event._data)
            if not fields.text("result"):
                return view.nothing()
            kept = lab.results.load(fields.visitor_key, fields.text("result"))
            return view.of(kept, fields.text("said_in"))
        except GacError as error:
            return view.nothing(without_folders(error.user_message))

    return shown


def start_study(lab: Lab) -> Callable[..., str]:
    """Handles the event `started`."""

    def start(fields: Fields) -> None:
        own = fields.text("own", MAX_OWN_CHARS)
        chosen = fields.text("study"), fields.text("set"), fields.number("questions")
        lab.start(fields.visitor_key, *chosen, own, client=client_here())

    return started_by(start)


def lab_functions(lab: Lab) -> list[PageFunction]:
    """The functions that the script calls, by name."""

    def lab_overview(fields: Fields) -> Reply:
        return {
            "studies": [same(study, "name", "title", "about", "needs") for study in STUDIES],
            "sets": [{"name": s.name, "about": s.task.about, "count": len(s.questions)} for s in lab.sets],
            "titles": {study.name: study.title for study in studies()},  # of results of the command line too
            "own": OWN,
            "max_own_chars": MAX_OWN_CHARS,
            "min_questions": MIN_QUESTIONS,
            "max_questions": lab.max_questions,
            "may_start": lab.may_start(fields.visitor_key),
            "browser": owner_of(fields.visitor_key),
        }

    def lab_state(fields: Fields) -> Reply:
        running = lab.running
        return {
            "running": _running(running, lab, fields.visitor_key) if running else None,
            "error": without_folders(lab.last_error),
            "results": [asdict(listed) for listed in lab.results.of(fields.visitor_key)],
        }

    def lab_cancel(fields: Fields) -> None:
        lab.cancel(fields.visitor_key)

    def lab_rename(fields: Fields) -> None:
        lab.results.rename(fields.visitor_key, fields.text("result"), fields.text("name"))

    def lab_delete(fields: Fields) -> None:
        lab.results.delete(fields.visitor_key, fields.text("result"))

    return [lab_overview, lab_state, lab_cancel, lab_rename, lab_delete]


def _running(running: Running, lab: Lab, visitor_key: str) -> Reply:
    return {
        "title": running.study.title,
        "set": running.set_name,
        **same(running, "round", "num_done", "num_total", "seconds_left"),
        "is_mine": lab.is_mine(visitor_key, running),
        "may_cancel": lab.may_cancel(visitor_key, running),
    }
