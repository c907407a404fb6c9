"""The Compare tab: earlier turns, the board, and the dock with the prompt and the examples."""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore
from typing import Any

import gradio as gr

from gac_app.config import Config
from gac_app.services.lab.lab import Lab
from gac_app.services.runs.runs import RunService
from gac_app.ui.assets import called, component
from gac_app.ui.compare.board import EVENTS, build_board
from gac_app.ui.compare.run_handlers import RunHandlers
from gac_app.ui.requests import page_json
from gac_app.ui.streaming import QUIET, STREAMED
from gac_app.ui.words import word

# Handlers get values as they were sent, since Gradio's own checks end in a server error without a field's name.
UNCHECKED: dict[str, Any] = {**QUIET, "preprocess": False}
# Runs in the browser before the event's call. The board first ends a run that it still shows. The visitor's key is in
# no component, so that nothing can store or show it.
_BEFORE_RUN = called("compare/compare", "beforeRun")
_REFUSED = called("compare/compare", "refused")  # by the host, or the handler broke: no notice tells of it
_SUMMARY = (
    '<button type="button" class="gac-summary" aria-haspopup="dialog"><b data-t="settings"></b> '
    '<span class="gac-summary-text"></span></button>'
)


class CompareTab:
    """Builds the tab inside the current Blocks. Other components reach the board through `connect`."""

    def __init__(self, service: RunService, lab: Lab | None = None) -> None:
        # One at a time: several would keep the interpreter's lock from the event loop, and none would be done sooner.
        computing = Semaphore()
        self._handlers = RunHandlers(service, computing, lab)
        with gr.Column(elem_id="gac-compare"):
            self._turns = component(
                "turns",
                "compare/turns",
                events=["open"],
                markup='<ol class="gac-turns" data-t-at="aria-label:turns" hidden></ol>',
            )
            self._board = build_board(service, computing)
            with gr.Column(elem_id="gac-dock"):
                new_conversation = self._build_dock(service)
        self._outputs = [self._board, self._turns, self._prompt, self._notice]
        self._connect_prompt(new_conversation)
        self.connect(self._board, *EVENTS)
        self.start_afresh_on(self._board.cleared)
        self.connect(self._turns, "open")

    def _build_dock(self, service: RunService) -> gr.Button:
        """The prompt and its buttons. Returns the button for a new conversation."""
        self._prompt = _prompt_box()
        _example_chips(service.config)
        self._notice = component("notice", "compare/notice", markup='<p class="gac-notice" role="alert" hidden></p>')
        self._prompt.render()
        with gr.Row(elem_id="gac-under-prompt"):
            component("summary", "settings/summary", markup=_SUMMARY)
            gr.HTML('<p class="gac-hint" role="status"></p>', js_on_load=None, apply_default_css=False)
            new_conversation = gr.Button(word("prompt.new"), size="sm", elem_id="gac-new")
        gr.HTML('<p class="gac-advice" role="status" hidden></p>', js_on_load=None, apply_default_css=False)
        return new_conversation

    def connect(self, source: gr.HTML, *events: str) -> None:
        """Let the named events of `source` ("open", "rerun" and others) fill the board."""
        for name in events:
            listen = getattr(source, name)
            asked = listen(self._handlers.on(name), outputs=self._outputs, trigger_mode="multiple", **STREAMED)
            asked.failure(None, js=_REFUSED)

    def _connect_prompt(self, new_conversation: gr.Button) -> None:
        key, place, settings = (gr.Textbox(visible=False) for _ in range(3))
        inputs = [key, place, self._prompt, settings]
        options = {**STREAMED, **UNCHECKED}
        asked = self._prompt.submit(self._handlers.run, inputs, self._outputs, js=_BEFORE_RUN, **options)
        asked.failure(None, js=_REFUSED)
        self._prompt.stop(None, js=called("compare/compare", "stop"), api_visibility="private")
        self.start_afresh_on(new_conversation.click)

    def ask_on(self, event: Callable[..., Any], js: str) -> None:
        """Let an event put a browser script's result into the prompt box."""
        event(None, None, self._prompt, js=js, api_visibility="private")

    def start_afresh_on(self, event: Callable[..., Any]) -> None:
        """Let an event clear the board and begin a new conversation."""
        event(
            lambda: ("", "[]", gr.skip(), ""),
            outputs=self._outputs, js=called("compare/compare", "clear"), queue=False, **QUIET,
        )  # fmt: skip


def _prompt_box() -> gr.Textbox:
    return gr.Textbox(
        lines=1,
        max_lines=8,
        placeholder=word("prompt.placeholder"),
        show_label=False,
        label=word("prompt"),
        container=False,
        autofocus=True,
        submit_btn=word("prompt.run"),
        stop_btn=word("prompt.stop"),
        elem_id="gac-prompt",
        render=False,
    )


def _example_chips(config: Config) -> None:
    if not config.examples:
        return
    markup = '<ul class="gac-examples" data-t-at="aria-label:examples"></ul>'
    component("examples", "page/examples", markup=markup, value=page_json(config.examples))
