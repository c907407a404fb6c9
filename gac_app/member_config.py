"""A member's part of the configuration."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from gac_app.validation import Frozen

SOURCE_SCHEMES = ("hub", "pypi", "random")
_SCHEME = re.compile(r"(\w{2,}):")  # two letters or more: C: is a drive
RANDOM_PREFIX = "random:"

Source = str | tuple[str | tuple[str, ...], ...]


class ServerConfig(Frozen):
    """An inference server that computes a member's forward passes."""

    url: str  # http://host:port
    api: Literal["llama-server", "vllm"]
    model: str = Field("", max_length=200)  # its name there; "" = the first one's
    api_key_env: str = Field("", max_length=200)  # the environment variable that holds the key; "" = none is needed
    top_logprobs: int = Field(64, ge=2, le=100_000)  # likeliest tokens to ask for

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        is_plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        if not is_plain or parts.query or parts.fragment:
            raise ValueError("expected an address such as http://127.0.0.1:8080; a key goes into 'api_key_env'")
        return value.rstrip("/")


class MemberConfig(Frozen):
    """A member: the source of its files, loading, and placement."""

    name: str = Field(min_length=1, max_length=80)
    # hub:org/name[@revision][#file] | pypi:package==version#file | a directory | a .gguf file | random:SEED
    # Or a list of mirrors, tried in order. A mirror that is a list is one file cut into parts, joined in order.
    source: Source
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")  # of the whole file
    # Where its forward passes are computed, if not here. Of `source`, only tokeniser, template and configuration are
    # read then.
    server: ServerConfig | None = None
    # auto: GGUF files on a CPU by onnxruntime or llama.cpp, whichever is faster; everything else by transformers.
    # Or a name in `models.backends`, where plug-ins register theirs.
    backend: str = Field("auto", max_length=80)
    device: str | tuple[str, ...] = "auto"  # "cpu", "cuda:1", ("cuda:0", "cuda:1") to span several
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    max_memory: dict[str, str] = Field({})  # accelerate's: {"cuda:0": "70GiB", "cpu": "100GiB"}
    num_threads: int | None = Field(None, ge=1, le=512)  # None = a share of the free cores, by `num_params`
    context_length: int | None = Field(None, ge=16)  # tokens a sequence may hold; None = the model's own limit,
    # of GGUF files on a CPU at most 4,096: llama.cpp sets the memory for all sequences aside at once
    max_sequences: int = Field(8, ge=1, le=256)  # held at once: two per run that decodes
    num_params: float | None = Field(None, gt=0)  # for planning without the weights
    chat_template: str | None = None  # Jinja; None = the model's own, "" = none
    chat_template_kwargs: dict[str, bool | int | float | str] = Field({})  # the template's, such as enable_thinking
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
    def _check_source(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Source:
        try:
            source: Source = check(value)
        except ValidationError:  # would name types, one error for each
            raise ValueError("expected a source, or a list of mirrors, each a source or a list of parts") from None
        mirrors = _mirrors_of(source)
        if not mirrors or not all(parts and all(parts) for parts in mirrors):
            raise ValueError("expected at least one source, and none that is empty")
        for part in chain(*mirrors):
            if scheme_of(part) not in ("", *SOURCE_SCHEMES):
                raise ValueError(
                    f"{part!r} is no source; expected hub:organisation/name, pypi:package==version#file, "
                    "random:SEED, a directory or a .gguf file"
                )
            if part.startswith(RANDOM_PREFIX) and part != source:
                raise ValueError(f"{part!r} has no mirrors and is no part")
        return source

    @model_validator(mode="after")
    def _check_server(self) -> MemberConfig:
        if self.server and self.backend != "auto":
            raise ValueError("backend: expected no back end where a server computes")
        return self

    @property
    def mirrors(self) -> tuple[tuple[str, ...], ...]:
        """The mirrors of the files, in the order to try. Each is a tuple of parts to join, mostly one."""
        return _mirrors_of(self.source)

    @property
    def model_options(self) -> dict[str, Any]:
        """What every model takes of it."""
        return {
            "context_length": self.context_length,
            "max_sequences": self.max_sequences,
            "chat_template": self.chat_template,
            "template_options": self.chat_template_kwargs,
        }

    def beside(self, folder: Path) -> MemberConfig:
        """A copy whose local files lie relative to `folder`. One that is the same if it names none."""
        mirrors = tuple(tuple(_beside(part, folder) for part in parts) for parts in self.mirrors)
        if mirrors == self.mirrors:
            return self
        return self.model_copy(update={"source": mirrors[0][0] if mirrors == ((mirrors[0][0],),) else mirrors})

    @property
    def is_random(self) -> bool:
        """Whether the model is made from a seed, not from files."""
        return isinstance(self.source, str) and self.source.startswith(RANDOM_PREFIX)


def scheme_of(source: str) -> str:
    """The scheme of a source, such as `hub`; empty for a local path."""
    scheme = _SCHEME.match(source)
    return scheme[1] if scheme else ""


def _beside(part: str, folder: Path) -> str:
    return part if scheme_of(part) else str(folder / Path(part).expanduser())


def _mirrors_of(source: Source) -> tuple[tuple[str, ...], ...]:
    mirrors = (source,) if isinstance(source, str) else source
    return tuple((mirror,) if isinstance(mirror, str) else mirror for mirror in mirrors)
