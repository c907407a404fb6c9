"""`Settings`: how one answer is decoded; what a visitor may change for one run.

A field says all there is to say of a setting: the page's panel, the options of `generate` and the line that sums
settings up are made of it. Knows no member: `Config.check_settings` checks whether settings fit the members.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo

from gac_app.validation import Frozen, depth_of

MAX_NEW_TOKENS = 32_768
MAX_BIASES = 1024  # tokens
MAX_BIAS = 100.0  # of a token; also what rules it out, and what leaves only such tokens
MAX_SCHEMA_CHARS, MAX_SCHEMA_DEPTH = 65_536, 100  # of JSON

Mode = Literal["gate", "every-step", "agreement"]
GatePolicy = Literal["auto", "lazy", "eager"]
Alignment = Literal["paper", "prefix"]
Speculation = Literal["off", "auto", "on"]
Reproducible = Literal["off", "auto", "on"]
Weights = str | dict[str, float]
Bias = Annotated[float, Field(ge=-MAX_BIAS, le=MAX_BIAS)]
RuleParams = dict[str, bool | int | float | str]

# Setting that names a rule -> setting with its parameters. `decoding.rules` has the rules.
RULE_PARAMS = {"combine": "combine_params", "gate_rule": "gate_params", "weights": "weight_params"}

Group = Literal["Ensemble", "Sampling", "Advanced"]
Need = Literal["", "members", "gate", "threshold", "confidence", "draw"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Where and how a setting is shown, beside its field's title and description.

    Attributes:
        group: of the page's panel; None = it is not there.
        need: without what it has no effect: several members, a gate among them, its threshold, its confidence, or that
            tokens are drawn.
        labels: of its values, where they are a choice.
        above_one: label of what is above 1, where a share may be.
        fault: the message for an invalid value, if its bounds do not give one.
        words: for the line that sums settings up, where the value is not the default; "" = see `ui.compare.wording`.
        option: help of the option of `generate`; "" = the description, None = there is no such option.
    """

    group: Group | None = None
    need: Need = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    above_one: str = ""
    fault: str = ""
    words: str = ""
    option: str | None = ""


def shown(info: FieldInfo) -> Shown:
    """How a field is shown; a rule's parameter has nothing special."""
    return next((item for item in info.metadata if isinstance(item, Shown)), Shown())


def _setting(default: Any, title: str = "", description: str = "", *, show: Shown, **bounds: Any) -> Any:
    """A field of `Settings`; `bounds` are those of pydantic's `Field`."""
    info = Field(default, title=title or None, description=description or None, **bounds)
    info.metadata.append(show)
    return info


def _params_of(kind: str) -> Any:
    return _setting({}, show=Shown(option=f"NAME=VALUE, a parameter of the {kind}; may be repeated."), max_length=16)


class Settings(Frozen):
    """How one run decodes. Every field may be changed for a run; `Config.settings` has the defaults.

    The panel has the fields of a group in this order.
    """

    # fmt: off
    members: tuple[str, ...] = _setting(  # empty = all
        (), "Members", "Switch one off to leave it out of the next run.", show=Shown("Ensemble", option=None))
    mode: Mode = _setting(
        "gate", "When the members are asked",
        show=Shown("Ensemble", "members", option=None, labels={
            "gate": "Gate: only where it is unsure", "every-step": "Every step", "agreement": "Where they disagree"}))
    gate: str = _setting(  # a member; Config fills in the first one's name
        "", show=Shown(need="gate", option="The member that decodes alone while it is sure."))
    threshold: float = _setting(
        0.5, "Threshold", "Below this confidence of the gate, the others are asked.", ge=0.0, le=1.01,
        show=Shown("Ensemble", "threshold", above_one="always"))
    weights: Weights = _setting(  # a weight rule, or a number for each member
        "average", "Weights",
        show=Shown("Ensemble", "members",
                   option="A weight rule: average, score, posterior ...; or NAME=2,NAME=1."))
    weight_params: RuleParams = _params_of("weight rule")
    combine: str = _setting(
        "mean", "Combine rule", max_length=80,
        show=Shown("Ensemble", "members",
                   option="How the members' distributions become one, such as geometric; `rules` lists them."))
    combine_params: RuleParams = _params_of("combine rule")

    temperature: float = _setting(
        0.0, "Temperature",
        "At 0 the likeliest token is always taken (greedy). Above 0 tokens are drawn at random.", ge=0.0, le=5.0,
        show=Shown("Sampling", fault="Type 0, or a number from 0.01 to 5."))
    top_p: float = _setting(  # less than 1e-6 is nothing among float32 probabilities
        1.0, "Top-p", "Draws from the likeliest tokens that add up to this. 100 % is off.", ge=1e-6, le=1.0,
        show=Shown("Sampling", "draw", words="top-p {value}"))
    top_k: int = _setting(
        0, "Top-k", "Draws from this many of the likeliest tokens. 0 is off.", ge=0, le=1_000_000,
        show=Shown("Sampling", "draw", words="top-k {value}"))
    min_p: float = _setting(
        0.0, "Min-p",
        "Leaves out tokens with less than this share of the likeliest one's probability. 0 % is off.", ge=0.0, le=1.0,
        show=Shown("Sampling", "draw", words="min-p {value}"))
    repetition_penalty: float = _setting(
        1.0, "Repetition penalty", "Makes repeated tokens less likely. 1 is off.", ge=1.0, le=3.0,
        show=Shown("Sampling", words="repetition penalty {value}"))
    seed: int = _setting(
        0, "Seed", "The same seed draws the same answer.", ge=0, lt=2**63, show=Shown("Sampling", "draw"))
    max_new_tokens: int = _setting(
        256, "Maximum length (tokens)", ge=1, le=MAX_NEW_TOKENS,
        show=Shown("Sampling", option="At most this many tokens."))

    system_prompt: str = _setting(
        "", "System prompt", "Every member reads it before the conversation.", max_length=20_000,
        show=Shown("Advanced", words="system prompt", fault="Type at most 20,000 characters."))
    stop: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = _setting(
        (), "Stop strings", "One a line. Each ends the answer. \\n is a line break.", max_length=16,
        show=Shown("Advanced", fault="Type at most 16 stop strings of at most 200 characters each.",
                   option="Ends the answer; may be repeated."))
    gate_rule: str = _setting(  # computes the gate's confidence
        "max-prob", "Gate rule", max_length=80,
        show=Shown("Advanced", "confidence", option="Gate rule, such as margin; `rules` lists them."))
    gate_params: RuleParams = _params_of("gate rule")
    gate_temperature: float = _setting(  # divides the gate's logits, for its confidence only
        1.0, "Gate temperature", "Above 1 makes an overconfident gate less sure. 1 takes it as it is.",
        gt=0.0, le=100.0,
        show=Shown("Advanced", "confidence", words="gate temperature {value}",
                   option="Divides the gate's logits for its confidence; `calibrate` finds it."))
    gate_policy: GatePolicy = _setting(
        "auto", "When the others read what the gate wrote", "The answer is the same.",
        show=Shown("Advanced", "confidence", option="When the others read what the gate wrote.", labels={
            "auto": "Auto: along with the gate while nobody else needs them",
            "lazy": "Lazy: when they are asked, which computes least", "eager": "Eager: always along with the gate"}))
    alignment: Alignment = _setting(
        "prefix", "Alignment", "How members agree that cut the same text into different tokens.",
        show=Shown("Advanced", "members", labels={
            "prefix": "Prefix: a longer token also counts for its beginning",
            "paper": "Paper: only equal tokens count together"}))
    # Text and probabilities depend only on models, messages, settings, seed and kind of processor, never on what else
    # runs or ran. `auto`: if members are batch-invariant; `on`: even if that costs shared passes and drafts.
    reproducible: Reproducible = _setting(
        "auto", "Reproducible", "The same answer to the last bit, whatever else runs.",
        show=Shown("Advanced", words="reproducible {value}", labels={
            "auto": "Auto: where that costs nothing", "on": "On", "off": "Off"}))

    # A member that would wait drafts, and the others verify several tokens in one pass. `auto`: where members share no
    # GPU or core; `on`: there too.
    speculation: Speculation = _setting("auto", show=Shown(
        option="One member drafts and the others verify several tokens per pass; the text stays the same."))
    # What an answer may consist of; it acts on the combined distribution, before the other settings of sampling.
    json_schema: dict[str, Any] | None = _setting(None, show=Shown(words="JSON by a schema", option=None))
    logit_bias: dict[int, Bias] = _setting(  # by ids of the member that answers alone, or of the union
        {}, show=Shown(words="logit bias", option=None), max_length=MAX_BIASES)
    on_member_failure: Literal["stop", "drop"] = _setting("stop", show=Shown(option=None))
    step_timeout_s: float = _setting(120.0, gt=0.0, le=3600.0, show=Shown(option=None))
    # fmt: on

    @field_validator("json_schema")
    @classmethod
    def _check_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is None:
            return None
        if depth_of(schema, MAX_SCHEMA_DEPTH + 1) > MAX_SCHEMA_DEPTH:
            raise ValueError(f"is nested more than {MAX_SCHEMA_DEPTH} deep")
        try:
            num_chars = len(json.dumps(schema, allow_nan=False))
        except (TypeError, ValueError):
            raise ValueError("invalid JSON") from None
        if num_chars > MAX_SCHEMA_CHARS:
            raise ValueError(f"has {num_chars:,} characters as JSON; at most {MAX_SCHEMA_CHARS:,} are taken")
        return schema

    @field_validator("temperature")
    @classmethod
    def _check_temperature(cls, temperature: float) -> float:
        if 0 < temperature < 0.01:
            raise ValueError("must be 0, which takes the likeliest token, or at least 0.01")
        return temperature

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: Weights) -> Weights:
        given = weights.values() if isinstance(weights, dict) else (1.0,)
        if not (min(given, default=0.0) >= 0 and 0 < sum(given) < math.inf):
            raise ValueError("expected finite numbers of at least 0, and one at least above 0")
        return weights

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always chosen."""
        return self.temperature == 0 and self.repetition_penalty == 1 and not self.is_constrained

    @property
    def is_constrained(self) -> bool:
        """Whether not every answer is possible that the members find possible, or as likely."""
        return self.json_schema is not None or bool(self.logit_bias)

    @property
    def samples_plainly(self) -> bool:
        """Whether tokens are drawn from the unchanged combined distribution."""
        filters = SAMPLING - {"temperature", "seed"}
        return (
            self.temperature == 1
            and not self.is_constrained
            and all(getattr(self, name) == Settings.model_fields[name].default for name in filters)
        )

    @property
    def why_no_gate_rule(self) -> str:
        """Why the gate rule has no effect, as a clause; empty = it has one."""
        if self.mode == "agreement":
            return "the mode is agreement"
        return "all members are asked at every step" if self.mode == "every-step" or self.threshold > 1 else ""

    @property
    def asks_lazily(self) -> bool:
        """Whether members that the gate does not ask read nothing, which saves their passes."""
        return self.mode != "every-step" and not self.reads_along

    @property
    def reads_along(self) -> bool:
        """Whether members whom the gate does not ask may read along with it."""
        return self.mode == "gate" and self.gate_policy != "lazy"


# How a token is chosen from a distribution.
SAMPLING = {name for name, info in Settings.model_fields.items() if shown(info).group == "Sampling"} - {
    "max_new_tokens"
}
