"""The board: a `gr.HTML` with a run's streams, inspector, plot and votes.

Its value is the text of `records.RunLines`; its script appends new lines once per animation frame. Its events `branch`,
`rerun` and `open` carry the visitor's key; `server_functions` answer queries about a run.
"""

from __future__ import annotations

from threading import Semaphore

import gradio as gr

from gac_app.services.runs.runs import RunService, RunView
from gac_app.services.runs.views import StreamView
from gac_app.ui.assets import component, markup_of
from gac_app.ui.compare.forks import forks_of
from gac_app.ui.compare.inspection import describe_step
from gac_app.ui.compare.records import MAX_ASKED, PIECE, streams_of, token_record
from gac_app.ui.compare.turns import whole_turns
from gac_app.ui.requests import Fields, PageFunction, Reply

EVENTS = ("open", "rerun", "branch", "revise", "compare", "regenerate", "extend")


def build_board(service: RunService, computing: Semaphore) -> gr.HTML:
    """The board component, empty until it gets a run's lines.

    Args:
        computing: see `board_functions`.
    """
    sharing = "on" if service.config.is_sharing else "off"
    return component(
        "board",
        "compare/compare",
        events=(*EVENTS, "cleared"),
        functions=board_functions(service, computing),
        markup=markup_of("board").replace('data-sharing="off"', f'data-sharing="{sharing}"'),
    )


def board_functions(service: RunService, computing: Semaphore) -> list[PageFunction]:
    """The functions that the script calls, by name.

    Args:
        computing: held while the tokens of a long answer are written, for some hundredths of a second.
    """

    def inspect_step(fields: Fields) -> Reply:
        position = fields.number("position")
        steps, settings = service.history.steps(fields.visitor_key, fields.text("run"), fields.text("stream"), position)
        return describe_step(steps, position, settings)

    def read_tokens(fields: Fields) -> Reply:
        run, streams = shown(fields)
        key, first = fields.choice("stream", list(streams)), fields.number("first")
        with computing:
            steps = streams[key].outline[first : first + MAX_ASKED]
            return {"tokens": [token_record(step, run.member_names, key) for step in steps]}

    def find_forks(fields: Fields) -> Reply:
        _, streams = shown(fields)
        with computing:
            forks = forks_of([stream.outline for stream in streams.values()], PIECE)
        return {"forks": list(forks.items())}

    def shown(fields: Fields) -> tuple[RunView, dict[str, StreamView]]:
        run = service.history.look(fields.visitor_key, fields.text("run"))
        return run, streams_of(run, service.history.run_beside(fields.visitor_key, run))

    def seen_run(fields: Fields) -> None:
        service.note_seen(fields.visitor_key, fields.text("run"))

    def stop_run(fields: Fields) -> None:
        service.stop(fields.visitor_key, fields.text("run"))

    def saved_run(fields: Fields) -> Reply:
        return {"saved": service.history.find(fields.visitor_key, fields.text("run")).is_saved}

    def share_run(fields: Fields) -> None:
        run_id, is_shared, with_turns = fields.text("run"), fields.flag("is_shared"), fields.flag("with_turns")
        service.history.share(fields.visitor_key, run_id, is_shared, with_turns=with_turns)

    def read_turns(fields: Fields) -> Reply:
        return {"turns": whole_turns(service.history.look(fields.visitor_key, fields.text("run")))}

    shown_only = [inspect_step, read_tokens, find_forks, read_turns]
    return [*shown_only, seen_run, stop_run, saved_run, share_run, voting(service)]


def voting(service: RunService) -> PageFunction:
    """The function by which the script votes on a run."""

    def vote_run(fields: Fields) -> None:
        if outcome := fields.text("outcome"):
            service.history.vote(fields.visitor_key, fields.text("run"), outcome)
        else:
            service.history.undo_vote(fields.visitor_key, fields.text("run"))

    return vote_run
