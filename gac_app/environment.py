"""The environment: the meaning of variables, and default folders.

Variables come from a mapping argument, never from the process itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from gac_app.config import Config, ServerConfig
from gac_app.config_file import load_config
from gac_app.decoding.rules import check_rules
from gac_app.errors import ConfigError, RequestError
from gac_app.folders import CONFIGS_DIR
from gac_app.models.backends import check_backends
from gac_app.plugins import load_plugins
from gac_app.validation import shortened

DEFAULT_CONFIG = CONFIGS_DIR / "default.yaml"
SPACE_DISK = Path("/data")
SPACE_FRAMES = ["https://huggingface.co", "https://*.hf.space"]
# A Space is reached only through its host's proxies, which have private addresses.
SPACE_PROXIES = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]


def config_path(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: the given one, else `GAC_CONFIG`, else the default."""
    return path or Path(environ.get("GAC_CONFIG") or DEFAULT_CONFIG)


def read_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration, with variables applied, plug-ins loaded and rules checked. Raises ConfigError."""
    path = config_path(path, environ)
    config = load_config(path, environment_overrides(environ), space_defaults(environ))
    return with_plugins(config, where=f"{path}: ")


def with_plugins(config: Config, *, where: str = "") -> Config:
    """A copy that knows its rules: its plug-ins are loaded. Relative ones are sought in the current folder.

    Args:
        where: what messages about settings begin with.

    Raises:
        ConfigError: a plug-in cannot be loaded, or a back end or a rule is unknown.
    """
    load_plugins(config.plugins, Path())
    check_backends(config)
    try:
        return config.knowing_rules(check_rules)
    except RequestError as error:
        raise ConfigError(f"{where}settings.{error}") from None


def environment_overrides(environ: Mapping[str, str]) -> dict[str, Any]:
    """The variables that replace values of the configuration file, in the form of `load_config`.

    GAC_CACHE, GAC_DATABASE_URL, GAC_MIRROR, GAC_HOST, GAC_PORT, and the comma-separated GAC_API_KEYS,
    GAC_TRUSTED_HOSTS and GAC_TRUSTED_PROXIES. Without a GAC_ variable, those set by Hugging Face Spaces and other hosts
    count: GRADIO_SERVER_NAME, GRADIO_SERVER_PORT, PORT, SPACE_ID.

    Raises:
        ConfigError: a port is not a number, or a key's hash is invalid.
    """
    named = {"cache_dir": "GAC_CACHE", "database_url": "GAC_DATABASE_URL"}
    overrides: dict[str, Any] = {key: environ[name] for key, name in named.items() if environ.get(name)}
    if mirror := environ.get("GAC_MIRROR"):
        is_folder = mirror.startswith((".", "/", "~"))
        overrides["mirror"] = {"folder": mirror, "dataset": ""} if is_folder else {"folder": None, "dataset": mirror}
    if hashes := _listed(environ, "GAC_API_KEYS"):
        overrides["api"] = {"keys": _api_keys(hashes)}
    if server := _server(environ):
        overrides["server"] = server
    return overrides


def is_space(environ: Mapping[str, str]) -> bool:
    """Whether this is a Hugging Face Space of any kind."""
    return bool(environ.get("SPACE_ID")) or environ.get("SYSTEM") == "spaces"


def space_defaults(environ: Mapping[str, str], disk: Path = SPACE_DISK) -> dict[str, Any]:
    """A Space's defaults: public, with its own host name, and data on its disk.

    Args:
        disk: mount point of the Space's persistent disk, if it has one.
    """
    if not is_space(environ):
        return {}
    own = _listed(environ, "SPACE_HOST") or ["*.hf.space"]  # several with a domain of its own
    hosts = [*ServerConfig.model_fields["trusted_hosts"].default, *own]
    defaults: dict[str, Any] = {"public": True, "server": {"trusted_hosts": hosts, "framed_by": SPACE_FRAMES}}
    if disk.is_dir() and os.access(disk, os.W_OK):
        defaults |= {"database_url": f"sqlite:///{disk / 'gac.sqlite3'}", "cache_dir": disk / "cache"}
    else:
        defaults["server"]["forgets"] = True
    return defaults


def is_zero_gpu(environ: Mapping[str, str]) -> bool:
    """Whether this is a ZeroGPU Space, where Gradio must launch the page."""
    return environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")


def operator_token(environ: Mapping[str, str]) -> str:
    """The token with which the operator gets everybody's votes from the page; "" = there is none."""
    return environ.get("GAC_OPERATOR_TOKEN", "").strip()


def sign_in_secret(environ: Mapping[str, str]) -> str:
    """What a Space with `hf_oauth: true` is given, so that visitors may sign in; "" = they may not.

    Elsewhere Gradio would sign everybody in as whoever runs the server.
    """
    needed = ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
    is_offered = environ.get("SYSTEM") == "spaces" and all(environ.get(name) for name in needed)
    return environ["OAUTH_CLIENT_SECRET"] if is_offered else ""


def cache_dir(config: Config) -> Path:
    """The folder of fetched models and derived files; not created here."""
    return config.cache_dir or platformdirs.user_cache_path("gac")


def mirror_dir(config: Config) -> Path:
    """The local copy of the mirror's dataset; not created here."""
    return cache_dir(config) / "mirror" / config.mirror.dataset.replace("/", "--")


def evaluation_dir(config: Config) -> Path:
    """The folder of cached answers and results of studies; not created here."""
    return cache_dir(config) / "evaluation"


def database_url(config: Config) -> str:
    """The database's SQLAlchemy URL."""
    return config.database_url or f"sqlite:///{platformdirs.user_data_path('gac') / 'gac.sqlite3'}"


def _listed(environ: Mapping[str, str], name: str) -> list[str]:
    """The parts of a variable, separated by commas."""
    return [part for part in map(str.strip, environ.get(name, "").split(",")) if part]


def _api_keys(hashes: list[str]) -> list[dict[str, str]]:
    """Keys of the API from their hashes. A message must not quote what may be a key."""
    if any(re.fullmatch("[0-9A-Fa-f]{64}", one) is None for one in hashes):
        raise ConfigError("GAC_API_KEYS: expected the SHA-256 of each key, 64 hexadecimal digits, separated by commas")
    return [{"name": f"key {number}", "sha256": one.lower()} for number, one in enumerate(hashes, start=1)]


def _server(environ: Mapping[str, str]) -> dict[str, Any]:
    server: dict[str, Any] = {}
    on_space = "0.0.0.0" if is_space(environ) else ""  # noqa: S104 (a Space stands behind its proxy)
    if host := environ.get("GAC_HOST") or environ.get("GRADIO_SERVER_NAME") or on_space:
        server["host"] = host
    for name in ("GAC_PORT", "GRADIO_SERVER_PORT", "PORT"):
        text = environ.get(name, "")
        if text and not text.startswith("tcp://"):  # Kubernetes sets GAC_PORT=tcp://... if a Service is named `gac`
            if not (text.isdecimal() and len(text) <= len("65535")):
                raise ConfigError(f"{name}: expected a port number, got {shortened(repr(text))}")
            server["port"] = int(text)
            break
    for name, variable in (("trusted_hosts", "GAC_TRUSTED_HOSTS"), ("trusted_proxies", "GAC_TRUSTED_PROXIES")):
        if environ.get(variable):
            server[name] = _listed(environ, variable)
    if is_space(environ):
        server.setdefault("trusted_proxies", SPACE_PROXIES)
    return server
