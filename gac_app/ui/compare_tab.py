"""The Compare tab: earlier turns, the board, and the dock with the prompt and the examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from gac_app.config import MAX_PROMPT_CHARS, Config
from gac_app.ui.assets import script_of
from gac_app.ui.board import build_board
from gac_app.ui.run_handlers import RunHandlers
from gac_app.ui.settings_panel import SettingsPanel, advice_of, summary_of, values_of

if TYPE_CHECKING:
    from gac_app.services.lab import Lab
    from gac_app.services.runs import RunService

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Values reach the handlers as they were sent: Gradio's own checks of them end in a server error that names no field.
UNCHECKED: dict[str, Any] = {**QUIET, "preprocess": False}
# Run in the browser before the event's call. The board first ends a run that it still shows; the visitor's key stands
# in no component, so that nothing can store or show it.
_BEFORE_RUN = """async (key, conversation, prompt, ...rest) => {
  await window.gac.beforeRun(prompt);
  return [window.gac.visitorKey(), conversation, prompt, ...rest];
}"""
_FILL_PROMPT = "() => {{ window.gac.focusPrompt(); return {text}; }}"


class CompareTab:
    """Builds the tab inside the current Blocks; other components reach the board through `connect`."""

    def __init__(self, service: RunService, panel: SettingsPanel, lab: Lab | None = None) -> None:
        config = service.config
        self._config, self._panel, self._lab = config, panel, lab
        self._handlers = RunHandlers(service)
        # One more than the service takes, so that its own friendly refusal is what people meet.
        limit = config.server.max_running + config.server.max_waiting + 1
        self._streaming = {**QUIET, "concurrency_id": "runs", "concurrency_limit": limit}
        self._conversation = gr.State(None)
        with gr.Column(elem_id="gac-compare"):
            self._turns = _drawn_by("turns", '<ol class="gac-turns" aria-label="Earlier turns" hidden></ol>')
            self._board = build_board(service)
            with gr.Column(elem_id="gac-dock"):
                new_conversation = self._build_dock(config)
        self._outputs = [self._board, self._turns, self._conversation, self._prompt, self._notice]
        self._connect_prompt(panel, new_conversation)
        self.connect(self._board, "open", "rerun", "branch")
        self.connect(self._turns, "open")
        self._connect_settings(panel)

    def _build_dock(self, config: Config) -> gr.Button:
        """The prompt and what belongs to it; returns the button for a new conversation."""
        self._notice = _drawn_by("notice", '<p class="gac-notice" role="alert" hidden></p>')
        self._prompt = _prompt_box()
        with gr.Row(elem_id="gac-under-prompt"):
            self._summary = gr.Button(
                summary_of(config, values_of(config, config.settings)), size="sm", elem_id="gac-summary"
            )
            gr.HTML('<p class="gac-hint" role="status"></p>', js_on_load=None, apply_default_css=False)
            new_conversation = gr.Button("New conversation", size="sm", elem_id="gac-new")
        self._advice = _drawn_by("advice", '<p class="gac-advice" role="status" hidden></p>')
        _example_chips(config, self._prompt)
        return new_conversation

    def connect(self, source: gr.HTML, *events: str) -> None:
        """Let the named events of `source` ("open", "rerun", "branch") fill the board."""
        for name in events:
            handler, listen = getattr(self._handlers, name), getattr(source, name)
            listen(handler, outputs=self._outputs, trigger_mode="multiple", **self._streaming)

    def describe_settings_on(self, event: Callable[..., Any]) -> None:
        """Let an event sum the settings up anew, with what would fit the members better."""

        def describe(*values: object) -> tuple[str, str]:
            advice = json.dumps(advice_of(self._config, self._lab, values))
            return summary_of(self._config, values), advice.replace("<", "\\u003c")

        event(describe, self._panel.inputs, [self._summary, self._advice], queue=False, **UNCHECKED)

    def _connect_settings(self, panel: SettingsPanel) -> None:
        defaults = values_of(self._config, self._config.settings)
        self.describe_settings_on(partial(gr.on, [component.change for component in panel.inputs]))
        panel.reset.click(lambda: defaults, None, panel.inputs, queue=False, **QUIET)
        self._summary.click(lambda: gr.Sidebar(open=True), None, panel.sidebar, queue=False, **QUIET)

    def _connect_prompt(self, panel: SettingsPanel, new_conversation: gr.Button) -> None:
        key = gr.Textbox(visible=False)
        inputs = [key, self._conversation, self._prompt, *panel.inputs]
        options = {**self._streaming, **UNCHECKED}
        self._prompt.submit(self._handlers.run, inputs, self._outputs, js=_BEFORE_RUN, **options)
        self._prompt.stop(None, js="() => window.gac.stop()", api_visibility="private")
        self.start_afresh_on(new_conversation.click)

    def start_afresh_on(self, event: Callable[..., Any]) -> None:
        """Let an event empty the board and begin a new conversation."""
        event(
            lambda: ("", "[]", None, gr.skip(), ""),
            outputs=self._outputs, js="() => window.gac.clear()", queue=False, **QUIET,
        )  # fmt: skip


def _prompt_box() -> gr.Textbox:
    return gr.Textbox(
        lines=1,
        max_lines=8,
        max_length=MAX_PROMPT_CHARS,
        placeholder="Ask every model at once",
        show_label=False,
        label="Prompt",
        container=False,
        autofocus=True,
        submit_btn="Run",
        stop_btn="Stop",
        elem_id="gac-prompt",
    )


def _drawn_by(script: str, markup: str) -> gr.HTML:
    """A part beside the prompt that its script draws from a JSON value."""
    return gr.HTML(
        value="",
        html_template=markup,
        js_on_load=script_of("core", script),
        apply_default_css=False,
        elem_id=f"gac-{script}",
    )


def _example_chips(config: Config, prompt: gr.Textbox) -> None:
    if not config.examples:
        return
    with gr.Row(elem_id="gac-examples"):
        for example in config.examples:
            chip = gr.Button(example, size="sm", elem_classes="gac-example")
            chip.click(None, None, prompt, js=_FILL_PROMPT.format(text=json.dumps(example)), api_visibility="private")
