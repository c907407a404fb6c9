"""A member's part of the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ByteSize, Field, ValidationError, ValidationInfo, field_validator, model_validator

from gac_app.validation import Frozen, shortened, text_of

SOURCE_SCHEMES = ("hub", "pypi", "random")
_SCHEME = re.compile(r"(\w{2,}):")  # two letters or more: C: is a drive
RANDOM_PREFIX = "random:"
_RAY_ADDRESS = re.compile(r"auto|(\[[0-9A-Fa-f:]+\]|[^\s/:]+):\d{1,5}")
_DEVICE = re.compile(r"cpu|mps|[a-z]+:\d+")

FOLDER = "folder"  # in the context of a validation: where relative files lie
_OF_A_VIEW = dict.fromkeys(("name", "of", "system_prompt", "examples", "score"))  # what it does not take over

Source = str | tuple[str | tuple[str, ...], ...]


class ServerConfig(Frozen):
    """An inference server that computes a member's forward passes."""

    url: str  # http://host:port
    api: Literal["llama-server", "vllm", "sglang", "openai"]
    model: str = Field("", max_length=200)  # its name there; "" = the first one's
    api_key_env: str = Field("", max_length=200)  # the environment variable that holds the key; "" = none is needed
    top_logprobs: int = Field(64, ge=2, le=100_000)  # likeliest tokens to ask for first

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        is_plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        if not is_plain or parts.query or parts.fragment:
            raise ValueError("expected an address such as http://127.0.0.1:8080; a key goes into 'api_key_env'")
        return value.rstrip("/")


class RayConfig(Frozen):
    """The Ray cluster of the members that have `ray`. This process must run on one of its nodes."""

    # Of its head, host:port; auto: RAY_ADDRESS, or the cluster of this machine.
    address: str = Field("auto", max_length=300)
    strategy: Literal["SPREAD", "STRICT_SPREAD", "PACK", "STRICT_PACK"] = "SPREAD"  # of members over nodes
    wait_s: float = Field(60.0, ge=1, le=3600)  # for nodes with room, such as those that an autoscaler starts

    @field_validator("address")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if not _RAY_ADDRESS.fullmatch(value):
            raise ValueError(f"expected host:port of the cluster's head, or auto; got {value!r}")
        return value


class RayShare(Frozen):
    """What a member's actor takes of a Ray cluster: whole GPUs, or a part of one."""

    num_gpus: float = Field(0, ge=0, le=64)
    num_cpus: float = Field(1, ge=0, le=512)  # and as many threads of a forward pass, unless `num_threads` says more
    resources: dict[str, float] = Field({})  # others, by which nodes are chosen: {"a100": 1}

    @property
    def bundle(self) -> dict[str, float]:
        """By Ray's names."""
        bundle = {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.resources}
        return {name: number for name, number in bundle.items() if number} or {"CPU": 0.001}


class Example(Frozen):
    """A question and its answer, which a view reads before what it is asked."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)


class MemberConfig(Frozen):
    """A member: the source of its files, loading, and placement. Or a view, which is another prompt for a member's
    model; everything else is that member's. A member with `of` and an `adapter` is loaded as one of its own, and takes
    over what it does not set; once checked, its `of` is "".
    """

    name: str = Field(min_length=1, max_length=80)
    of: str = ""  # the member whose model a view asks; "" = it is no view
    adapter: Annotated[str, BeforeValidator(_beside)] = ""  # a LoRA adapter's directory (PEFT, safetensors); "" = none
    system_prompt: str = ""  # of a view; comes before a visitor's
    # Of a view; in a file, the path of a JSON Lines file may stand instead.
    examples: Annotated[tuple[Example, ...], BeforeValidator(_examples_of)] = ()
    # hub:org/name[@revision][#file] | pypi:package==version#file | a directory | a .gguf file | random:SEED
    # Or a list of mirrors, tried in order. A mirror that is a list is one file cut into parts, joined in order.
    source: Source
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")  # of the whole file
    # Where its forward passes are computed, if not here. Of `source`, only tokeniser, template and configuration are
    # read then.
    server: ServerConfig | None = None
    ray: RayShare | None = None  # its model is in an actor of a Ray cluster
    # auto: GGUF files on a CPU by onnxruntime or llama.cpp, whichever is faster; everything else by transformers.
    # Or a name in `models.backends`, where plug-ins register theirs.
    backend: str = Field("auto", max_length=80)
    vllm: dict[str, bool | int | float | str] = Field({})  # more arguments of its engine, for `backend: vllm`
    device: str | tuple[str, ...] = "auto"  # "cpu", "cuda:1", ("cuda:0", "cuda:1") to span several
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    max_memory: dict[str, ByteSize] = Field(
        {}
    )  # of its weights, the most on each: {"cuda:0": "70GiB", "cpu": "100GiB"}
    num_threads: int | None = Field(None, ge=1, le=512)  # None = a share of the free cores, by `num_params`
    context_length: int | None = Field(None, ge=16)  # tokens a sequence may hold; None = the model's own limit,
    # of GGUF files on a CPU at most 4,096: llama.cpp sets the memory for all sequences aside at once
    max_sequences: int = Field(8, ge=1, le=256)  # held at once: two per run that decodes
    num_params: float | None = Field(None, gt=0)  # for planning without the weights
    chat_template: str | None = None  # Jinja; None = the model's own, "" = none
    chat_template_kwargs: dict[str, bool | int | float | str] = Field({})  # the template's, such as enable_thinking
    end_tokens: Literal["known", "configured"] = "known"  # configured: those of the model's own configuration alone
    score: float | None = Field(None, gt=0)  # benchmark score, for `weights: score`
    allow_remote_code: bool = False  # runs the model repository's Python code
    allow_pickle: bool = False  # loads .bin weights, which can run code
    notice: str = ""  # licence notice, shown when the model is fetched and on the page
    url: str = ""  # the model's page

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip():
            raise ValueError("needs printable characters without spaces at its ends")
        return name

    @field_validator("source", mode="wrap")
    @classmethod
    def _check_source(cls, value: Any, check: Callable[[Any], Source], info: ValidationInfo) -> Source:
        try:
            source = check(value)
        except ValidationError:  # would name types, one error for each
            raise ValueError("expected a source, or a list of mirrors, each a source or a list of parts") from None
        mirrors = _mirrors_of(source)
        if not mirrors or not all(parts and all(parts) for parts in mirrors):
            raise ValueError("expected at least one source, and none that is empty")
        for part in chain(*mirrors):
            if scheme_of(part) not in ("", *SOURCE_SCHEMES):
                raise ValueError(
                    f"unknown source {part!r}; expected hub:organisation/name, pypi:package==version#file, "
                    "random:SEED, a directory or a .gguf file"
                )
            if part.startswith(RANDOM_PREFIX) and part != source:
                raise ValueError(f"{part!r} cannot be mirrored or split")
        placed = tuple(tuple(_beside(part, info) for part in parts) for parts in mirrors)
        if placed == mirrors:
            return source
        return placed[0][0] if placed == ((placed[0][0],),) else placed

    @field_validator("device", "max_memory")
    @classmethod
    def _check_devices(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else [*value]
        if value == () or (value != "auto" and not all(map(_DEVICE.fullmatch, names))):
            raise ValueError(f"expected cpu, or GPUs by number, such as cuda:0; got {shortened(repr(value))}")
        return value

    @model_validator(mode="after")
    def _check_view(self) -> MemberConfig:
        has_prompt = bool(self.system_prompt.strip() or self.examples)
        if self.of and not has_prompt:
            raise ValueError(f"a view of {self.of} needs a system_prompt, examples or both")
        if has_prompt and not self.of:
            raise ValueError("expected 'of' with the name of a member: system_prompt and examples make a view of it")
        return self

    @model_validator(mode="after")
    def _check_engine(self) -> MemberConfig:
        if self.server and self.backend != "auto":
            raise ValueError("backend: expected no back end where a server computes")
        if self.ray and (self.server or self.backend == "vllm"):
            raise ValueError("expected a server, vLLM or Ray, and no two of them")
        if self.vllm and self.backend != "vllm":
            raise ValueError("vllm: expected no arguments of vLLM without backend: vllm")
        if self.max_memory and self.backend == "vllm":
            raise ValueError("max_memory: expected vllm: {gpu_memory_utilization: 0.4}, vLLM's share of each GPU")
        named = {*self.max_memory, *((self.device,) if isinstance(self.device, str) else self.device)} - {"auto"}
        if (self.backend == "vllm" or self.quantization != "none") and {"cpu"} < named:
            raise ValueError("device, max_memory: expected GPUs or the CPU for vLLM or quantised layers, not both")
        if self.adapter and (self.server or self.is_random or self.backend not in ("auto", "transformers")):
            raise ValueError("adapter: expected a model's files, computed here or on Ray by transformers")
        return self

    @property
    def mirrors(self) -> tuple[tuple[str, ...], ...]:
        """The mirrors of the files, in the order to try. Each is a tuple of parts to join, mostly one."""
        return _mirrors_of(self.source)

    @property
    def unset(self) -> set[str]:
        """Keys that say nothing where they are not set, so that a digest of the others stays what it was."""
        defaults = {key: type(self).model_fields[key].default for key in ("adapter", "end_tokens", "vllm")}
        return {key for key, default in defaults.items() if getattr(self, key) == default}

    @property
    def model_options(self) -> dict[str, Any]:
        """What every model takes of it."""
        return {
            "context_length": self.context_length,
            "max_sequences": self.max_sequences,
            "chat_template": self.chat_template,
            "template_options": self.chat_template_kwargs,
        }

    @property
    def is_elsewhere(self) -> bool:
        """Whether its weights are not needed here."""
        return self.server is not None or self.ray is not None

    @property
    def is_random(self) -> bool:
        """Whether the model is made from a seed, not from files."""
        return isinstance(self.source, str) and self.source.startswith(RANDOM_PREFIX)


def with_views(members: Any) -> Any:
    """The given members, before they are checked: each view or adapter has what it takes over from its member.

    Raises:
        ValueError: there is no such member, or something else of a view is its own.
    """
    if not isinstance(members, list | tuple):
        return members
    given = [dict(member) if isinstance(member, Mapping | MemberConfig) else {} for member in members]
    bases = {str(member.get("name")): member for member in given if not member.get("of")}
    for one in given:  # with an adapter of its own, it may have views
        if one.get("adapter") and str(one.get("of")) in bases and not (whole := _whole_view(one, bases))["of"]:
            bases[str(one.get("name"))] = whole
    pairs = zip(members, given, strict=True)
    return [_whole_view(found, bases) if found.get("of") else member for member, found in pairs]


def _whole_view(view: dict[str, Any], bases: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    of, where = str(view["of"]), f"{view.get('name')}.of"
    if of not in bases:
        raise ValueError(f"{where}: {of!r} is not a member with its own model; expected one of {', '.join(bases)}")
    base = bases[of]
    if view.get("adapter") not in (None, "", base.get("adapter")):
        return {key: value for key, value in base.items() if key != "score"} | view | {"of": ""}
    if base.get("server"):
        raise ValueError(f"{where}: {of} runs on a server; a view shares the forward passes of a member that runs here")
    others = {key: value for key, value in base.items() if key not in _OF_A_VIEW}
    for key in view.keys() & MemberConfig.model_fields.keys() - _OF_A_VIEW:
        if view[key] != others.get(key, MemberConfig.model_fields[key].default):
            raise ValueError(f"{view.get('name')}.{key}: is that of {of}; a view has only {', '.join(_OF_A_VIEW)}")
    return {**others, **view}


def scheme_of(source: str) -> str:
    """The scheme of a source, such as `hub`; empty for a local path."""
    scheme = _SCHEME.match(source)
    return scheme[1] if scheme else ""


def _beside(part: Any, info: ValidationInfo) -> Any:
    """A local path, relative to the folder of the configuration that is checked."""
    if not (isinstance(part, str) and part and info.context) or scheme_of(part):
        return part
    return str(info.context[FOLDER] / os.path.expanduser(part))  # noqa: PTH111 (Path's raises for an unknown user)


def plugin_beside(plugin: Any, info: ValidationInfo) -> Any:
    """A plug-in's file; a module stays as it is."""
    return _beside(plugin, info) if str(plugin).endswith(".py") else plugin


def _examples_of(given: Any, info: ValidationInfo) -> Any:
    """Examples from the JSON Lines file whose path is given; others are given themselves."""
    if not isinstance(given, str) or not info.context:
        return given
    path, found = Path(_beside(given, info)), list[Example]()
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        try:
            found += [Example.model_validate_json(line)] if line.strip() else []
        except ValidationError:
            form = '{"question": "...", "answer": "..."}'
            raise ValueError(f"{path}, line {number}: invalid example {shortened(line)}; expected {form}") from None
    if not found:
        raise ValueError(f"{path}: has no examples; expected one a line")
    return found


def _mirrors_of(source: Source) -> tuple[tuple[str, ...], ...]:
    mirrors = (source,) if isinstance(source, str) else source
    return tuple((mirror,) if isinstance(mirror, str) else mirror for mirror in mirrors)
