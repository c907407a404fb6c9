"""`Config`: what an operator configures. Frozen pydantic models, checked once, here.

`config_file` reads them from a YAML file; `settings` has the part that a visitor may change for one run. Nothing here
reads the environment: `bootstrap` passes the variables in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from gac_app.errors import ConfigError, RequestError
from gac_app.member_config import MemberConfig, RayConfig, RayShare, plugin_beside, with_views
from gac_app.settings import RULE_PARAMS, Settings
from gac_app.validation import Frozen, HomePath, fault_of

MAX_MEMBERS = 16
MAX_PROMPT_CHARS = 200_000
HostName = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[^*]+)$")]  # a star only for all hosts, or for all of a domain
MembersGiven = Annotated[tuple[MemberConfig, ...], BeforeValidator(with_views)]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServerConfig(Frozen):
    """The host: address, proxies and limits."""

    host: str = "127.0.0.1"
    port: int = Field(7860, ge=1, le=65_535)
    trusted_hosts: tuple[HostName, ...] = ("localhost", "127.0.0.1", "[::1]")
    allowed_origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/*A-Z]+$")], ...] = ()  # CORS; as browsers say
    max_running: int = Field(2, ge=1, le=256)  # runs decoding at once
    max_waiting: int = Field(20, ge=0, le=10_000)  # runs in the queue beyond those
    # Addresses and networks of proxies whose X-Forwarded-* headers are trusted; "*" trusts everybody's.
    trusted_proxies: tuple[str, ...] = ()
    # Visitors per address, such as an office, a school or an untrusted proxy. Sessions, connections and requests of an
    # address are limited accordingly.
    visitors_per_client: int = Field(64, ge=1, le=10_000)
    max_connections: int = Field(1000, ge=10, le=100_000)
    # Sites that may show the page in a frame, such as "https://huggingface.co"; on a Space, Hugging Face's.
    forgets: bool = False  # the page says that histories end when the server restarts, unless there is a `database_url`
    framed_by: tuple[Annotated[str, Field(pattern=r"^https?://[\w.*:\[\]-]+$")], ...] = ()
    sharing: bool | None = None  # links by which anybody may read a run; None = see `Config.is_sharing`


class ApiKeyConfig(Frozen):
    """A key with which programs may ask. Only its hash is known here."""

    name: str = Field(min_length=1, max_length=80)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")  # of the key, in hexadecimal
    requests_per_minute: int = Field(60, ge=1, le=100_000)
    max_at_once: int = Field(4, ge=1, le=1000)  # requests that wait or are answered


class ApiConfig(Frozen):
    """The API for programs. On a host that strangers may visit, it needs a key."""

    is_open: bool = True  # whether there is one
    keys: tuple[ApiKeyConfig, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what in ("name", "sha256"):
            values = [getattr(key, what) for key in self.keys]
            if len(set(values)) < len(values):
                raise ValueError(f"keys: two have the same {what}")
        return self


class LabConfig(Frozen):
    """The page's Lab: studies that visitors may run on small samples."""

    is_open: bool = True  # whether there is one
    open_to: Literal["auto", "visitors", "operators"] = "auto"  # who may start studies; auto: operators if public
    operators: tuple[str, ...] = ()  # browser names, as the Lab shows them; operators may also cancel others' studies
    max_per_hour: int = Field(6, ge=1, le=1000)  # studies per visitor, and per address
    max_questions: int = Field(40, ge=4, le=10_000)  # of one study
    questions: dict[str, Path] = Field({})  # task -> a file of questions, beside the built-in ones


class ContestantConfig(Frozen):
    """A contestant of the arena: one member alone, or the ensemble with its own settings."""

    name: str = Field(min_length=1, max_length=80)
    member: str = ""  # the member that answers alone; "" = the ensemble
    settings: dict[str, Any] = Field({})  # differences from the configuration's settings


class ArenaConfig(Frozen):
    """The page's arena: blind battles between contestants, and their leaderboard."""

    is_open: bool = True  # whether there is one
    contestants: tuple[ContestantConfig, ...] = ()  # empty = each member alone, every step, and the gate
    min_votes: int = Field(20, ge=1, le=1_000_000)  # per contestant, before the leaderboard ranks it
    max_per_hour: int = Field(120, ge=1, le=100_000)  # battles per visitor
    # Of contestants that would answer greedily. 0 = they do, and the same prompt on Compare tells who they are.
    temperature: float = Field(0.7, ge=0.0, le=2.0)
    min_seconds: float = Field(2.0, ge=0.0, le=600.0)  # a vote sooner after the start of the answers is flagged


class MirrorConfig(Frozen):
    """The mirror, where published votes are written; off unless a dataset or a folder is given."""

    dataset: str = Field("", pattern=r"^([\w.-]+/[\w.-]+)?$", max_length=200)  # on the Hugging Face Hub: org/name
    folder: HomePath | None = None
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

    members: MembersGiven = Field(min_length=1, max_length=MAX_MEMBERS)
    settings: Settings = Settings()
    # Of a member's control tokens, its end tokens apart: mask: they have no probability, and the others are divided by
    # their sum; keep: they count as the end of the answer, and the others keep theirs.
    control_tokens: Literal["mask", "keep"] = "mask"
    server: ServerConfig = ServerConfig()
    ray: RayConfig = RayConfig()
    api: ApiConfig = ApiConfig()
    lab: LabConfig = LabConfig()
    arena: ArenaConfig = ArenaConfig()
    mirror: MirrorConfig = MirrorConfig()
    public: bool | None = None  # whether strangers visit; None = see `is_public`
    database_url: str = ""  # any SQLAlchemy URL; "" = a SQLite file in the data directory
    cache_dir: HomePath | None = None  # fetched models and derived files; None = the platform's cache directory
    examples: tuple[str, ...] = ()  # prompts offered on the page
    plugins: tuple[Annotated[str, BeforeValidator(plugin_beside)], ...] = ()  # Python files and modules that add rules

    _check_rules: Callable[[Settings], None] | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = self.member_names
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"members: the name {name!r} is used twice; names must differ")
        num_needed = 2 * (self.server.max_running + self.lab.is_open)
        wanted = f"{self.server.max_running} runs at once" + " and a study of the lab (lab.is_open)" * self.lab.is_open
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

    def run_by(self, executor: Literal["threads", "ray"], ray_address: str | None = None) -> Self:
        """A copy whose members run in threads here or on Ray; those on inference servers stay there.

        Raises ConfigError if the address is invalid.
        """
        shares = [
            None if executor == "threads" or member.server or member.backend == "vllm" else member.ray or RayShare()
            for member in self.members
        ]
        pairs = zip(self.members, shares, strict=True)
        members = tuple(member.model_copy(update={"ray": share}) for member, share in pairs)
        try:
            ray = RayConfig.model_validate({**self.ray.model_dump(), "address": ray_address or self.ray.address})
        except ValidationError as error:
            raise ConfigError(f"ray.address: {fault_of(error)[1]}") from None
        return self.model_copy(update={"members": members, "ray": ray})

    def knowing_rules(self, check_rules: Callable[[Settings], None]) -> Self:
        """A copy that also checks the rules in settings, by `check_rules`, which raises RequestError."""
        knowing = self.model_copy()
        knowing._check_rules = check_rules
        knowing.check_settings(knowing.settings)
        for contestant in knowing.arena.contestants:
            knowing.settings_from(contestant.settings)
        return knowing

    def _check_contestants(self) -> None:
        try:
            self.settings_from({"temperature": self.arena.temperature})
        except RequestError as error:
            raise ValueError(f"arena.{error}") from None
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
        """Whether strangers may visit: as configured, else if it listens beyond loopback or has own host names."""
        if self.public is not None:
            return self.public
        local = ServerConfig.model_fields["trusted_hosts"].default
        return self.server.host not in _LOOPBACK or not set(self.server.trusted_hosts) <= set(local)

    @property
    def is_sharing(self) -> bool:
        """Whether runs may be shared: as configured, else only on loopback without strangers."""
        is_private = not self.is_public and self.server.host in _LOOPBACK
        return is_private if self.server.sharing is None else self.server.sharing

    @property
    def member_names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    @property
    def loaded(self) -> tuple[MemberConfig, ...]:
        """The members with a model of their own, each with room for its views' sequences too."""
        num, own = Counter(m.of or m.name for m in self.members), [m for m in self.members if not m.of]
        return tuple(m.model_copy(update={"max_sequences": m.max_sequences * num[m.name]}) for m in own)

    def member(self, name: str) -> MemberConfig:
        """The member of that name. Raises ConfigError if there is none."""
        if name not in self.member_names:
            raise ConfigError(f"no member is named {name!r}; the members are {self._listed()}")
        return self.members[self.member_names.index(name)]

    def check_settings(self, settings: Settings) -> None:
        """Raise RequestError if `settings` do not fit the members or the rules."""
        if self._check_rules:
            self._check_rules(settings)
        if settings.gate not in self.member_names:
            raise RequestError("gate", f"{settings.gate!r} is not a member; expected one of {self._listed()}")
        if strangers := set(settings.members).difference(self.member_names):
            raise RequestError("members", f"{min(strangers)!r} is not a member; expected {self._listed()}")
        if settings.mode != "every-step" and settings.gate not in self.taking_part(settings):
            raise RequestError("members", f"{settings.gate!r} is the gate, so has to be one of them")
        if isinstance(settings.weights, dict):
            if strangers := set(settings.weights).difference(self.member_names):
                raise RequestError("weights", f"{min(strangers)!r} is not a member; expected {self._listed()}")
            if not any(settings.weights.get(name, 0.0) for name in self.taking_part(settings)):
                raise RequestError("weights", "at least one member that takes part needs a weight above 0")
        unscored = [member.name for member in self.members if member.score is None]
        if settings.weights == "score" and unscored:
            raise RequestError("weights", f"'score' needs a score for every member; missing: {', '.join(unscored)}")

    def settings_from(self, changes: Mapping[str, Any], base: Settings | None = None) -> Settings:
        """The default settings, or `base`, with `changes`, all checked. RequestError names the first faulty field."""
        default = (base or self.settings).model_dump()
        for name, params in RULE_PARAMS.items():  # another rule has other parameters
            if changes.get(name, default[name]) != default[name]:
                default[params] = {}
        try:
            settings = Settings.model_validate({**default, **changes})
        except ValidationError as error:
            place, message = fault_of(error)
            raise RequestError(place or "settings", message) from None
        self.check_settings(settings)
        return settings

    def taking_part(self, settings: Settings) -> tuple[str, ...]:
        """The names of the members that take part in a run with `settings`, in the configuration's order."""
        return tuple(name for name in self.member_names if not settings.members or name in settings.members)

    def asked(self, settings: Settings) -> list[str]:
        """The names of the members that are asked, the gate first. Without weight, only a gate can change a step."""
        weights = self.weights(settings) | ({} if settings.mode == "every-step" else {settings.gate: 1.0})
        return sorted((name for name in weights if weights[name]), key=lambda name: name != settings.gate)

    def weights(self, settings: Settings) -> dict[str, float]:
        """Member name -> weight, summing to 1 (paper, section 3.2: given, by score, else equal). Weight rules start
        from these.

        Members that do not take part have weight 0.
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
