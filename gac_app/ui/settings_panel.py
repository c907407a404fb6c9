"""The side panel with the settings of the next run, and the line under the prompt that sums them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gac_app.config import Config, Settings
from gac_app.errors import RequestError

# Order of the components that stand for one setting each; the weights per member come after them.
FIELDS = (
    "mode", "gate", "threshold", "weights", "temperature", "top_p", "top_k",
    "repetition_penalty", "max_new_tokens", "seed", "system_prompt",
)  # fmt: skip
OWN_WEIGHTS = "own"


@dataclass(frozen=True)
class SettingsPanel:
    """The panel's components: `inputs` in the order that `changes_from` expects."""

    sidebar: gr.Sidebar
    inputs: list[Any]
    reset: gr.Button


def build_settings_panel(config: Config) -> SettingsPanel:
    """A side panel, closed at first, holding the configuration's default settings."""
    with gr.Sidebar(open=False, position="right", width=348, elem_id="gac-settings") as sidebar:
        gr.Markdown("### Settings\nThey apply to the next run.", elem_classes="gac-settings-title")
        values = values_of(config, config.settings)
        with gr.Group():
            who = _who_decides(config, values)
        with gr.Group(visible=values[FIELDS.index("weights")] == OWN_WEIGHTS) as own_weights:
            sliders = [
                gr.Slider(0, 1, value, step=0.05, label=f"Weight of {name}")
                for name, value in zip(config.member_names, values[len(FIELDS) :], strict=True)
            ]
        with gr.Group():
            sampling = _sampling(config, values)
        reset = gr.Button("Back to the defaults", size="sm")
        weights = who[FIELDS.index("weights")]
        weights.change(
            lambda choice: gr.Group(visible=choice == OWN_WEIGHTS),
            weights, own_weights, queue=False, api_visibility="private", show_progress="hidden",
        )  # fmt: skip
    return SettingsPanel(sidebar, [*who, *sampling, *sliders], reset)


def _who_decides(config: Config, values: list[Any]) -> list[Any]:
    has_scores = all(member.score is not None for member in config.members)
    choices = [("Equal", "average"), *([("By score", "score")] if has_scores else []), ("Own", OWN_WEIGHTS)]
    return [
        gr.Radio(
            [("Gate: only where it is unsure", "gate"), ("Every step", "every-step")],
            value=values[0], label="When the members are asked",
        ),
        gr.Radio(list(config.member_names), value=values[1], label="Gate member"),
        gr.Slider(0, 1.01, values[2], step=0.01, label="Threshold",
                  info="Below this confidence of the gate, the others are asked."),
        gr.Radio(choices, value=values[3], label="Weights"),
    ]  # fmt: skip


def _sampling(config: Config, values: list[Any]) -> list[Any]:
    longest = max(1024, config.settings.max_new_tokens)
    return [
        gr.Slider(0, 2, values[4], step=0.05, label="Temperature", info="0 always takes the likeliest token."),
        gr.Slider(0.05, 1, values[5], step=0.05, label="Top-p"),
        gr.Number(values[6], precision=0, label="Top-k", info="0 leaves it off."),
        gr.Slider(1, 2, values[7], step=0.05, label="Repetition penalty"),
        gr.Slider(1, longest, values[8], step=1, label="Longest answer, in tokens"),
        gr.Number(values[9], precision=0, label="Seed"),
        gr.Textbox(values[10], lines=2, max_lines=6, label="System prompt", placeholder="None"),
    ]


def values_of(config: Config, settings: Settings) -> list[Any]:
    """The panel's values for `settings`, in the order of its inputs."""
    values = [getattr(settings, name) for name in FIELDS]
    if isinstance(settings.weights, dict):
        values[FIELDS.index("weights")] = OWN_WEIGHTS
    weights = config.weights(settings)
    return values + [round(weights[name], 2) for name in config.member_names]


def changes_from(config: Config, values: Sequence[object]) -> dict[str, object]:
    """The settings that differ from the defaults; RequestError where values are missing.

    Args:
        values: as the browser sent them, in the order of the panel's inputs, not yet checked.
    """
    if len(values) != len(FIELDS) + len(config.members):
        raise RequestError("settings", f"expected {len(FIELDS) + len(config.members)} values")
    changes = dict(zip(FIELDS, values, strict=False))
    for name, value in changes.items():
        if value is None and name != "system_prompt":  # a cleared field
            raise RequestError(name, "is empty; type a number")
    if changes["weights"] == OWN_WEIGHTS:
        changes["weights"] = dict(zip(config.member_names, values[len(FIELDS) :], strict=True))
    if changes["system_prompt"] is None:
        changes["system_prompt"] = ""
    return {name: value for name, value in changes.items() if value != getattr(config.settings, name)}


def summary_of(config: Config, values: Sequence[object]) -> str:
    """One line about the settings, or what is wrong with them."""
    try:
        settings = config.settings_from(changes_from(config, values))
    except RequestError as error:
        return f"Settings need a look: {error}"
    if settings.mode == "gate":
        parts = [f"gate {settings.gate}", f"others asked below {settings.threshold:.0%}"]
    else:
        parts = ["every step combined"]
    parts.append({"average": "equal weights", "score": "weights by score"}.get(str(settings.weights), "own weights"))
    parts.append(f"temperature {settings.temperature:g}" if settings.temperature else "greedy")
    parts.append(f"up to {settings.max_new_tokens} tokens")
    if settings.system_prompt:
        parts.append("system prompt")
    return "Settings: " + " · ".join(parts)
