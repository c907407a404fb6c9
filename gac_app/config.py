"""The configuration: frozen pydantic models, checked once, here; `config_file` reads them from a YAML file.

`Config` is what an operator writes; `Settings` is the part of it that a visitor may change for one run.
Nothing in this module reads the environment: `bootstrap` passes the variables in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from gac_app.errors import ConfigError, RequestError
from gac_app.member_config import MemberConfig
from gac_app.validation import Frozen, message_of, path_of

MAX_MEMBERS = 16
MAX_NEW_TOKENS = 32_768
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_PROMPT_CHARS = 200_000

Mode = Literal["gate", "every-step", "agreement"]
GatePolicy = Literal["lazy", "eager"]
Alignment = Literal["paper", "prefix"]
Speculation = Literal["off", "auto", "on"]
Reproducible = Literal["off", "auto", "on"]
Weights = str | dict[str, float]
RuleParams = dict[str, bool | int | float | str]

# Settings that name a rule -> those that hold its parameters. Which rules there are, `decoding.rules` knows.
RULE_PARAMS = {"combine": "combine_params", "gate_rule": "gate_params", "weights": "weight_params"}


class Settings(Frozen):
    """How one run decodes. Every field may be changed for a run; `Config.settings` holds the defaults."""

    members: tuple[str, ...] = ()  # those that take part; empty = all
    mode: Mode = "gate"
    gate: str = ""  # member name; filled with the first member's by Config
    threshold: float = Field(0.5, ge=0.0, le=1.01)
    gate_rule: str = Field("max-prob", max_length=80)  # what the gate's confidence is
    gate_params: RuleParams = Field({}, max_length=16)
    gate_temperature: float = Field(1.0, gt=0.0, le=100.0)  # divides the gate's logits for its confidence alone
    gate_policy: GatePolicy = "lazy"  # when members not asked read: when called, or along with the gate
    weights: Weights = "average"  # a weight rule, or a number for each member
    weight_params: RuleParams = Field({}, max_length=16)
    alignment: Alignment = "prefix"  # how members of different vocabularies are brought to agree
    combine: str = Field("mean", max_length=80)  # how the members' distributions, once aligned, become one
    combine_params: RuleParams = Field({}, max_length=16)
    # One member drafts, the others verify several tokens in one pass; the text stays the same. `auto`: where it is
    # measured to be faster and every model reads several ids as exactly as one.
    speculation: Speculation = "auto"
    # Text and probabilities depend on models, messages, settings, seed and kind of processor alone, never on what else
    # runs or ran. `auto`: where members are batch-invariant; `on`: also where that costs shared passes and drafts.
    reproducible: Reproducible = "auto"
    temperature: float = Field(0.0, ge=0.0, le=5.0)
    top_k: int = Field(0, ge=0, le=1_000_000)  # 0 = off
    top_p: float = Field(1.0, ge=1e-6, le=1.0)  # what is less is nothing among float32 probabilities
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
        """UniTE was an alignment once, and the parameters of UniTE and of posterior weights settings of their own."""
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
            if value is not None and data.get(field) == name:
                data[RULE_PARAMS[field]] = {**(data.get(RULE_PARAMS[field]) or {}), param: value}
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
        return weights

    @property
    def is_greedy(self) -> bool:
        """Whether the token taken is always the likeliest one."""
        return self.temperature == 0 and self.repetition_penalty == 1

    @property
    def samples_plainly(self) -> bool:
        """Whether tokens are drawn from the combined distribution as it is."""
        filters = (self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty)
        return filters == (1, 0, 1, 0, 1)

    @property
    def why_no_gate_rule(self) -> str:
        """Why the gate rule decides nothing, as a clause; empty = it decides."""
        if self.mode == "agreement":
            return "the mode is agreement"
        return "all members are asked at every step" if self.mode == "every-step" or self.threshold > 1 else ""

    @property
    def asks_lazily(self) -> bool:
        """Whether members whom the gate does not ask read nothing, so that their passes are saved."""
        return self.mode != "every-step" and self.gate_policy == "lazy"


class ServerConfig(Frozen):
    """The host: what it listens on and how much it takes at once."""

    host: str = "127.0.0.1"
    port: int = Field(7860, ge=1, le=65_535)
    trusted_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]", "*.hf.space")
    allowed_origins: tuple[str, ...] = ()  # CORS; closed by default
    max_running: int = Field(2, ge=1, le=256)  # runs decoding at once
    max_waiting: int = Field(20, ge=0, le=10_000)  # runs in the queue beyond those
    # Addresses and networks of proxies whose X-Forwarded-* headers are believed; with "*" anyone's are.
    trusted_proxies: tuple[str, ...] = ()
    # How many visitors one address may stand for: an office, a school, a proxy that is not trusted. Its sessions,
    # connections and requests are limited by that.
    visitors_per_client: int = Field(64, ge=1, le=10_000)
    max_connections: int = Field(1000, ge=10, le=100_000)
    sharing: bool | None = None  # links by which anybody may read a run; None = only where no other machine comes in

    @property
    def is_sharing(self) -> bool:
        return self.sharing if self.sharing is not None else self.host in _LOOPBACK


class LabConfig(Frozen):
    """The page's Lab: studies that visitors may run on small samples."""

    is_open: bool = True  # whether there is one
    open_to: Literal["auto", "visitors", "operators"] = (
        "auto"  # who may start studies; auto: on a public host operators
    )
    operators: tuple[str, ...] = ()  # browsers, as the Lab calls them; they may also cancel others' studies
    max_per_hour: int = Field(6, ge=1, le=1000)  # studies that one visitor starts
    max_questions: int = Field(40, ge=4, le=10_000)  # of one study
    questions: dict[str, Path] = Field({})  # task -> a file of questions, beside the built-in ones


class ContestantConfig(Frozen):
    """Who battles in the arena: one member alone, or the ensemble with settings of its own."""

    name: str = Field(min_length=1, max_length=80)
    member: str = ""  # that answers alone; "" = the ensemble
    settings: dict[str, Any] = Field({})  # those that differ from the configuration's


class ArenaConfig(Frozen):
    """The page's arena: blind battles between contestants, and their leaderboard."""

    is_open: bool = True  # whether there is one
    contestants: tuple[ContestantConfig, ...] = ()  # empty = each member alone, every step, and the gate
    min_votes: int = Field(20, ge=1, le=1_000_000)  # of every contestant, before the leaderboard ranks
    max_per_hour: int = Field(120, ge=1, le=100_000)  # battles that one visitor starts
    min_seconds: float = Field(2.0, ge=0.0, le=600.0)  # a vote that comes sooner after the answers begin is flagged


class MirrorConfig(Frozen):
    """Where what visitors agree to hand on is copied to, as it comes; nowhere unless one of the two is given."""

    dataset: str = Field("", pattern=r"^([\w.-]+/[\w.-]+)?$", max_length=200)  # on the Hugging Face Hub: org/name
    folder: Path | None = None
    every_minutes: float = Field(5.0, ge=0.1, le=1440.0)  # between commits to the dataset

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dataset and self.folder:
            raise ValueError("expected a dataset or a folder, not both")
        return self

    @property
    def is_on(self) -> bool:
        return bool(self.dataset or self.folder)


class Config(Frozen):
    """A whole configuration; see `configs/` for commented examples."""

    members: tuple[MemberConfig, ...] = Field(min_length=1, max_length=MAX_MEMBERS)
    settings: Settings = Settings()
    server: ServerConfig = ServerConfig()
    lab: LabConfig = LabConfig()
    arena: ArenaConfig = ArenaConfig()
    mirror: MirrorConfig = MirrorConfig()
    public: bool | None = None  # whether strangers come; None = where it listens to all, or has names of its own
    database_url: str = ""  # any SQLAlchemy URL; "" = a SQLite file in the data directory
    cache_dir: Path | None = None  # fetched models and derived files; None = the platform's cache directory
    examples: tuple[str, ...] = ()  # prompts offered on the page
    plugins: tuple[str, ...] = ()  # Python files (relative to this one) and modules that add rules

    _check_rules: Callable[[Settings], None] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = self.member_names
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"members: the name {name!r} is used twice; names must differ")
        num_needed = 2 * (self.server.max_running + self.lab.is_open)
        wanted = f"{self.server.max_running} runs at once" + (
            " and a study of the lab (lab.is_open)" if self.lab.is_open else ""
        )
        for member in self.members:
            if member.max_sequences < num_needed:
                raise ValueError(
                    f"server.max_running: {wanted} need {num_needed} sequences in every member; "
                    f"{member.name} has max_sequences {member.max_sequences}"
                )
        if not self.settings.gate:
            object.__setattr__(self, "settings", self.settings.model_copy(update={"gate": names[0]}))
        try:
            self.check_settings(self.settings)
        except RequestError as error:
            raise ValueError(f"settings.{error}") from None
        self._check_contestants()
        return self

    def knowing_rules(self, check_rules: Callable[[Settings], None]) -> Self:
        """The same, checking the rules that settings name as well: by what raises RequestError, as these do."""
        knowing = self.model_copy()
        knowing._check_rules = check_rules
        knowing.check_settings(knowing.settings)
        for contestant in knowing.arena.contestants:
            knowing.settings_from(contestant.settings)
        return knowing

    def _check_contestants(self) -> None:
        names = [contestant.name for contestant in self.arena.contestants]
        for position, contestant in enumerate(self.arena.contestants):
            path = f"arena.contestants.{position}"
            if names.count(contestant.name) > 1:
                raise ValueError(f"{path}.name: {contestant.name!r} is used twice; names must differ")
            if contestant.member and contestant.member not in self.member_names:
                raise ValueError(f"{path}.member: {contestant.member!r} is not a member; expected {self._listed()}")
            try:
                self.settings_from(contestant.settings)
            except RequestError as error:
                raise ValueError(f"{path}.settings.{error}") from None
        if len(names) == 1:
            raise ValueError("arena.contestants: expected at least two, or none for the usual ones")

    @property
    def is_public(self) -> bool:
        """Whether others than this machine's users are expected: as said, or by where it listens and its names."""
        if self.public is not None:
            return self.public
        local = ServerConfig.model_fields["trusted_hosts"].default
        return self.server.host not in _LOOPBACK or not set(self.server.trusted_hosts) <= set(local)

    @property
    def member_names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    def member(self, name: str) -> MemberConfig:
        """The member of that name; ConfigError if there is none."""
        for member in self.members:
            if member.name == name:
                return member
        raise ConfigError(f"no member is named {name!r}; the members are {', '.join(self.member_names)}")

    def check_settings(self, settings: Settings) -> None:
        """Raise RequestError where `settings` do not fit these members, or the rules there are."""
        if self._check_rules:
            self._check_rules(settings)
        if settings.gate not in self.member_names:
            raise RequestError("gate", f"{settings.gate!r} is not a member; expected one of {self._listed()}")
        if strangers := set(settings.members).difference(self.member_names):
            raise RequestError("members", f"{min(strangers)!r} is not a member; expected {self._listed()}")
        if settings.mode != "every-step" and settings.gate not in self.taking_part(settings):
            raise RequestError("members", f"{settings.gate!r} is the gate, so has to be one of them")
        if isinstance(settings.weights, dict):
            for name in settings.weights:
                if name not in self.member_names:
                    raise RequestError("weights", f"{name!r} is not a member; expected {self._listed()}")
            if not any(settings.weights.get(name, 0.0) for name in self.taking_part(settings)):
                raise RequestError("weights", "at least one member that takes part needs a weight above 0")
        if settings.weights == "score":
            unscored = [member.name for member in self.members if member.score is None]
            if unscored:
                raise RequestError("weights", f"'score' needs a score for every member; missing: {', '.join(unscored)}")

    def settings_from(self, changes: Mapping[str, Any]) -> Settings:
        """The default settings with `changes` applied, all checked; RequestError names the first bad field."""
        default = self.settings.model_dump()
        for name, params in RULE_PARAMS.items():  # another rule has parameters of its own
            if changes.get(name, default[name]) != default[name]:
                default[params] = {}
        try:
            settings = Settings.model_validate({**default, **changes})
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(path_of(first["loc"]) or "settings", message_of(first)) from None
        self.check_settings(settings)
        return settings

    def taking_part(self, settings: Settings) -> tuple[str, ...]:
        """The names of the members that a run with `settings` has, in the configuration's order."""
        return tuple(name for name in self.member_names if not settings.members or name in settings.members)

    def weights(self, settings: Settings) -> dict[str, float]:
        """Member name -> weight, summing to 1 (paper, section 3.2: given, by score, else equal): what rules start from.

        Members that do not take part have none.
        """
        if isinstance(settings.weights, dict):
            raw = {name: settings.weights.get(name, 0.0) for name in self.member_names}
        elif settings.weights == "score":
            raw = {member.name: member.score or 0.0 for member in self.members}
        else:
            raw = dict.fromkeys(self.member_names, 1.0)
        raw |= dict.fromkeys(set(raw).difference(self.taking_part(settings)), 0.0)
        total = sum(raw.values())
        return {name: weight / total for name, weight in raw.items()}

    def _listed(self) -> str:
        return ", ".join(self.member_names)
