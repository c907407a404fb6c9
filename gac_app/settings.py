"""`Settings`: how one answer is decoded; what a visitor may change for one run.

Knows no member: `Config.check_settings` checks whether settings fit the members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from gac_app.validation import Frozen

MAX_NEW_TOKENS = 32_768

Mode = Literal["gate", "every-step", "agreement"]
GatePolicy = Literal["auto", "lazy", "eager"]
Alignment = Literal["paper", "prefix"]
Speculation = Literal["off", "auto", "on"]
Reproducible = Literal["off", "auto", "on"]
Weights = str | dict[str, float]
RuleParams = dict[str, bool | int | float | str]

# Setting that names a rule -> setting with its parameters. `decoding.rules` has the rules.
RULE_PARAMS = {"combine": "combine_params", "gate_rule": "gate_params", "weights": "weight_params"}


class Settings(Frozen):
    """How one run decodes. Every field may be changed for a run; `Config.settings` has the defaults."""

    members: tuple[str, ...] = ()  # members that take part; empty = all
    mode: Mode = "gate"
    gate: str = ""  # member name; Config fills in the first member's
    threshold: float = Field(0.5, ge=0.0, le=1.01)
    gate_rule: str = Field("max-prob", max_length=80)  # computes the gate's confidence
    gate_params: RuleParams = Field({}, max_length=16)
    gate_temperature: float = Field(1.0, gt=0.0, le=100.0)  # divides the gate's logits, for its confidence only
    # When the other members read. `lazy`: when they are asked; `eager`: along with the gate; `auto`: along with it
    # while no other answer uses them.
    gate_policy: GatePolicy = "auto"
    weights: Weights = "average"  # a weight rule, or a number for each member
    weight_params: RuleParams = Field({}, max_length=16)
    alignment: Alignment = "prefix"  # how members of different vocabularies agree on a piece
    combine: str = Field("mean", max_length=80)  # makes one distribution of the aligned ones
    combine_params: RuleParams = Field({}, max_length=16)
    # One member drafts, and the others verify several tokens in one pass; the text stays the same. `auto`: if it is
    # measured to be faster and every model reads several ids as exactly as one.
    speculation: Speculation = "auto"
    # Text and probabilities depend only on models, messages, settings, seed and kind of processor, never on what else
    # runs or ran. `auto`: if members are batch-invariant; `on`: even if that costs shared passes and drafts.
    reproducible: Reproducible = "auto"
    temperature: float = Field(0.0, ge=0.0, le=5.0)
    top_k: int = Field(0, ge=0, le=1_000_000)  # 0 = off
    top_p: float = Field(1.0, ge=1e-6, le=1.0)  # less is nothing among float32 probabilities
    min_p: float = Field(0.0, ge=0.0, le=1.0)
    repetition_penalty: float = Field(1.0, ge=1.0, le=3.0)
    max_new_tokens: int = Field(256, ge=1, le=MAX_NEW_TOKENS)
    seed: int = Field(0, ge=0, lt=2**63)
    stop: tuple[str, ...] = Field((), max_length=16)
    system_prompt: str = Field("", max_length=20_000)
    on_member_failure: Literal["stop", "drop"] = "stop"
    step_timeout_s: float = Field(120.0, gt=0.0, le=3600.0)

    @model_validator(mode="before")
    @classmethod
    def _read_old_spellings(cls, data: Any) -> Any:
        """In older versions UniTE was an alignment, and the parameters of UniTE and of posterior weights were
        settings.
        """
        if not isinstance(data, Mapping):
            return data
        data = dict(data)
        if data.get("alignment") == "unite":
            data |= {"alignment": "paper", "combine": "unite", "combine_params": {}}
        for old, field, name, param in (
            ("unite_top_k", "combine", "unite", "top_k"),
            ("posterior_decay", "weights", "posterior", "decay"),
        ):
            value = data.pop(old, None)
            params = data.get(RULE_PARAMS[field]) or {}
            if value is not None and data.get(field) == name and isinstance(params, Mapping):
                data[RULE_PARAMS[field]] = {**params, param: value}
        return data

    @field_validator("stop")
    @classmethod
    def _check_stop(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if any(not text or len(text) > 200 for text in stop):
            raise ValueError("each stop string needs 1 to 200 characters")
        return stop

    @field_validator("temperature")
    @classmethod
    def _check_temperature(cls, temperature: float) -> float:
        if 0 < temperature < 0.01:
            raise ValueError("must be 0, which takes the likeliest token, or at least 0.01")
        return temperature

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: Weights) -> Weights:
        if isinstance(weights, dict):
            if any(not math.isfinite(weight) or weight < 0 for weight in weights.values()):
                raise ValueError("each weight must be a finite number of at least 0")
            if sum(weights.values()) <= 0:
                raise ValueError("at least one weight must be above 0")
            if not math.isfinite(sum(weights.values())):
                raise ValueError("the weights' sum must be finite")
        return weights

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always chosen."""
        return self.temperature == 0 and self.repetition_penalty == 1

    @property
    def samples_plainly(self) -> bool:
        """Whether tokens are drawn from the unchanged combined distribution."""
        filters = (self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty)
        return filters == (1, 0, 1, 0, 1)

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
