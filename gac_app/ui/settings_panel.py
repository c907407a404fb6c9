"""The side panel with the settings of the next run, and the line under the prompt that sums them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from gac_app.config import Config, Settings
from gac_app.errors import RequestError
from gac_app.services.strength import strength_advice
from gac_app.ui import stop_lines
from gac_app.ui.wording import settings_in_words

if TYPE_CHECKING:
    from gac_app.services.lab import Lab

# Order of the components that stand for one setting each; the weights per member come after them.
FIELDS = (
    "mode", "gate", "threshold", "gate_temperature", "gate_policy", "alignment", "weights", "posterior_decay",
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_new_tokens", "stop", "seed", "reproducible",
    "system_prompt",
)  # fmt: skip
OWN_WEIGHTS = "own"
_TEXTS = ("stop", "system_prompt")  # that may be cleared


@dataclass(frozen=True)
class SettingsPanel:
    """The panel's components: `inputs` in the order that `changes_from` expects."""

    sidebar: gr.Sidebar
    inputs: list[Any]
    reset: gr.Button


def build_settings_panel(config: Config) -> SettingsPanel:
    """A side panel, closed at first, holding the configuration's default settings."""
    with gr.Sidebar(open=False, position="right", width=348, elem_id="gac-settings") as sidebar:
        gr.Markdown("## Settings\nThey apply to the next run.", elem_classes="gac-settings-title")
        values = values_of(config, config.settings)
        now = dict(zip(FIELDS, values, strict=False))
        with gr.Group():
            who = _who_decides(config, now)
        with gr.Group():
            weights = _weights(config, now)
        with gr.Group(visible=now["weights"] == "posterior") as memory:
            decay = gr.Slider(0.01, 1, now["posterior_decay"], step=0.01, label="Memory",
                              info="What the evidence of a step earlier counts; 1 forgets nothing.")  # fmt: skip
        with gr.Group(visible=now["weights"] == OWN_WEIGHTS) as own_weights:
            sliders = [
                gr.Slider(0, 1, value, step=0.05, label=f"Weight of {name}")
                for name, value in zip(config.member_names, values[len(FIELDS) :], strict=True)
            ]
        with gr.Group():
            sampling = _sampling(config, now)
        reset = gr.Button("Back to the defaults", size="sm")
        weights.change(
            lambda choice: (gr.Group(visible=choice == "posterior"), gr.Group(visible=choice == OWN_WEIGHTS)),
            weights, [memory, own_weights], queue=False, api_visibility="private", show_progress="hidden",
        )  # fmt: skip
    return SettingsPanel(sidebar, [*who, weights, decay, *sampling, *sliders], reset)


def _who_decides(config: Config, now: dict[str, Any]) -> list[Any]:
    return [
        gr.Radio(
            [("Gate: only where it is unsure", "gate"), ("Every step", "every-step"),
             ("Where they disagree", "agreement")],
            value=now["mode"], label="When the members are asked",
        ),
        gr.Radio(list(config.member_names), value=now["gate"], label="Gate member"),
        gr.Slider(0, 1.01, now["threshold"], step=0.01, label="Threshold",
                  info="Below this confidence of the gate, the others are asked."),
        gr.Slider(0.1, 5, now["gate_temperature"], step=0.05, label="Gate temperature",
                  info="Makes an overconfident gate less sure (above 1); 1 takes it as it is."),
        gr.Radio(
            [("Lazy: when they are asked", "lazy"), ("Eager: along with the gate", "eager")],
            value=now["gate_policy"], label="When the others read what the gate wrote",
            info="Lazy computes least, eager makes you wait least. The answer is the same.",
        ),
        gr.Radio(
            [("Prefix: a longer token also counts for its beginning", "prefix"),
             ("Paper: only equal tokens count together", "paper"),
             ("Unite: as paper, of each member's favourites only", "unite")],
            value=now["alignment"], label="Alignment",
            info="How members agree that cut the same text into different tokens.",
        ),
    ]  # fmt: skip


def _weights(config: Config, now: dict[str, Any]) -> gr.Radio:
    has_scores = all(member.score is not None for member in config.members)
    choices = [
        ("Equal", "average"),
        *([("By score", "score")] if has_scores else []),
        ("Posterior", "posterior"),
        ("Own", OWN_WEIGHTS),
    ]
    info = "Posterior: equal at first, then whoever foretold this text best counts most."
    return gr.Radio(choices, value=now["weights"], label="Weights", info=info)


def _sampling(config: Config, now: dict[str, Any]) -> list[Any]:
    longest = max(1024, config.settings.max_new_tokens)
    return [
        gr.Slider(0, 2, now["temperature"], step=0.05, label="Temperature", info="0 always takes the likeliest token."),
        gr.Slider(0.05, 1, now["top_p"], step=0.05, label="Top-p"),
        gr.Number(now["top_k"], precision=0, label="Top-k", info="0 leaves it off."),
        gr.Slider(0, 1, now["min_p"], step=0.01, label="Min-p", info="Least share of the likeliest token's; 0 is off."),
        gr.Slider(1, 2, now["repetition_penalty"], step=0.05, label="Repetition penalty"),
        gr.Slider(1, longest, now["max_new_tokens"], step=1, label="Longest answer, in tokens"),
        gr.Textbox(
            now["stop"],
            lines=2,
            max_lines=6,
            label="Stop strings",
            placeholder="None",
            info="One a line; each ends the answer. \\n stands for a line break.",
        ),
        gr.Number(now["seed"], precision=0, label="Seed"),
        gr.Radio(
            [("Auto", "auto"), ("On", "on"), ("Off", "off")],
            value=now["reproducible"],
            label="Reproducible",
            info="The same answer to the last bit, whatever else runs. Auto: where that costs nothing.",
        ),
        gr.Textbox(now["system_prompt"], lines=2, max_lines=6, label="System prompt", placeholder="None"),
    ]


def values_of(config: Config, settings: Settings) -> list[Any]:
    """The panel's values for `settings`, in the order of its inputs."""
    values = [getattr(settings, name) for name in FIELDS]
    if isinstance(settings.weights, dict):
        values[FIELDS.index("weights")] = OWN_WEIGHTS
    values[FIELDS.index("stop")] = stop_lines.to_lines(settings.stop)
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
        if value is None and name not in _TEXTS:  # a cleared field
            raise RequestError(name, "is empty; type a number")
    if changes["weights"] == OWN_WEIGHTS:
        changes["weights"] = dict(zip(config.member_names, values[len(FIELDS) :], strict=True))
    for name in _TEXTS:
        changes[name] = "" if changes[name] is None else changes[name]
    if isinstance(changes["stop"], str):
        changes["stop"] = stop_lines.from_lines(changes["stop"])
    return {name: value for name, value in changes.items() if value != getattr(config.settings, name)}


def summary_of(config: Config, values: Sequence[object]) -> str:
    """One line about the settings, or what is wrong with them."""
    try:
        settings = config.settings_from(changes_from(config, values))
    except RequestError as error:
        return f"Settings need a look: {error}"
    return f"Settings: {settings_in_words(settings)}"


def advice_of(config: Config, lab: Lab | None, values: Sequence[object]) -> str:
    """What would fit the members better than the settings do; "" where nothing would, or the settings need a look."""
    try:
        return strength_advice(config, config.settings_from(changes_from(config, values)), lab)
    except RequestError:
        return ""
