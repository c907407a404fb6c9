from __future__ import annotations

from pathlib import Path

import pytest

from gac_app import environment
from gac_app.config import Config
from gac_app.config_file import load_config
from gac_app.errors import ConfigError
from tests.command_line import members_file


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    path = members_file(tmp_path, "server: {port: 1, max_running: 3}\n")
    environ = {
        "GAC_CACHE": "~/c",
        "GAC_DATABASE_URL": "sqlite:///x",
        "GAC_HOST": "0.0.0.0",  # noqa: S104
        "GAC_PORT": "8000",
        "GAC_TRUSTED_HOSTS": "a.example, b.example,",
        "GAC_TRUSTED_PROXIES": "192.0.2.1",
    }
    config = load_config(path, environment.environment_overrides(environ))
    assert (config.server.host, config.server.port, config.server.max_running) == ("0.0.0.0", 8000, 3)  # noqa: S104
    assert config.server.trusted_hosts == ("a.example", "b.example")
    assert config.server.trusted_proxies == ("192.0.2.1",)
    assert (environment.cache_dir(config), environment.database_url(config)) == (Path.home() / "c", "sqlite:///x")
    with pytest.raises(ConfigError, match="cache_dir: ~nobody-here/c: this machine has no user"):
        load_config(path, {"cache_dir": "~nobody-here/c"})


def test_a_space_listens_where_its_proxy_looks() -> None:
    environ = {"SPACE_ID": "me/gac", "GRADIO_SERVER_PORT": "7861", "PORT": "80"}
    behind = {"trusted_proxies": environment.SPACE_PROXIES}
    assert environment.environment_overrides(environ) == {"server": {"host": "0.0.0.0", "port": 7861, **behind}}  # noqa: S104
    assert environment.environment_overrides({**environ, "GAC_HOST": "127.0.0.1", "GAC_PORT": "9"}) == {
        "server": {"host": "127.0.0.1", "port": 9, **behind}
    }
    named = {**environ, "GAC_TRUSTED_PROXIES": "192.0.2.1"}
    assert environment.environment_overrides(named)["server"]["trusted_proxies"] == ["192.0.2.1"]


def test_a_space_is_public_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    path = members_file(tmp_path)
    for is_told in ({"SPACE_ID": "me/gac"}, {"SYSTEM": "spaces"}):
        environ = {**is_told, "SPACE_HOST": "gac.example"}
        config = environment.read_config(path, environ)
        assert config.is_public
        assert config.server.trusted_hosts == ("localhost", "127.0.0.1", "[::1]", "gac.example")
        assert config.server.host == "0.0.0.0"  # noqa: S104
    members_file(tmp_path, "public: false\nserver: {trusted_hosts: [mine.example]}\n")
    config = environment.read_config(path, environ)
    assert not config.is_public
    assert config.server.trusted_hosts == ("mine.example",)
    environ["GAC_TRUSTED_HOSTS"] = "other.example"
    assert environment.read_config(path, environ).server.trusted_hosts == ("other.example",)
    assert not environment.read_config(members_file(tmp_path), {}).is_public


def test_a_space_with_a_domain_of_its_own_has_several_names() -> None:
    for named, own in (("gac.example, me-gac.hf.space", ["gac.example", "me-gac.hf.space"]), ("", ["*.hf.space"])):
        hosts = environment.space_defaults({"SPACE_ID": "me/gac", "SPACE_HOST": named})["server"]["trusted_hosts"]
        assert hosts == ["localhost", "127.0.0.1", "[::1]", *own]


def test_a_space_keeps_what_it_has_on_its_disk_if_there_is_one(tmp_path: Path) -> None:
    environ = {"SPACE_ID": "me/gac"}
    disk = tmp_path / "data"
    found = environment.space_defaults(environ, disk)
    assert "database_url" not in found
    assert found["server"]["forgets"], "the page says so"
    disk.mkdir()
    found = environment.space_defaults(environ, disk)
    assert found["database_url"] == f"sqlite:///{disk}/gac.sqlite3"
    assert found["cache_dir"] == disk / "cache"
    assert "forgets" not in found["server"]
    assert environment.space_defaults({}, disk) == {}


def test_a_mirror_is_a_dataset_or_a_folder(tmp_path: Path) -> None:
    path = members_file(tmp_path, "mirror: {dataset: me/votes}\n")
    assert environment.read_config(path, {}).mirror.dataset == "me/votes"
    folder = environment.read_config(path, {"GAC_MIRROR": "/mnt/votes"}).mirror
    assert (folder.folder, folder.dataset) == (Path("/mnt/votes"), "")
    assert environment.read_config(path, {"GAC_MIRROR": "you/votes"}).mirror.dataset == "you/votes"
    with pytest.raises(ConfigError, match=r"mirror.dataset"):
        environment.read_config(path, {"GAC_MIRROR": "no dataset"})
    members_file(tmp_path, "mirror: {dataset: me/votes, folder: /mnt}\n")
    with pytest.raises(ConfigError, match="a dataset or a folder, not both"):
        environment.read_config(path, {})


@pytest.mark.parametrize("port", ["80a", "9" * 5000])
def test_a_port_that_is_no_number_is_named(port: str) -> None:
    with pytest.raises(ConfigError, match=f"PORT: expected a port number, got '{port[:3]}"):
        environment.environment_overrides({"PORT": port})


def test_zero_gpu_is_told_from_other_spaces() -> None:
    assert environment.is_zero_gpu({"SPACES_ZERO_GPU": "true"})
    assert not environment.is_zero_gpu({"SPACE_ID": "me/gac"})


@pytest.mark.parametrize("absent", ["", "SYSTEM", "SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES"])
def test_visitors_sign_in_only_where_a_space_offers_it(absent: str) -> None:
    environ = {
        "SYSTEM": "spaces", "SPACE_ID": "me/gac", "OAUTH_CLIENT_ID": "one", "OAUTH_CLIENT_SECRET": "two",
        "OAUTH_SCOPES": "openid profile", "OPENID_PROVIDER_URL": "https://huggingface.co",
    }  # fmt: skip
    assert environment.sign_in_secret({**environ, absent: ""}) == ("" if absent else "two")


def test_defaults_lie_in_the_users_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config.model_validate({"members": [{"name": "a", "source": "random:1"}]})
    assert environment.database_url(config).startswith(f"sqlite:///{tmp_path}")
    assert environment.cache_dir(config).name == "gac"


def test_a_token_pasted_with_its_newline_is_the_token() -> None:
    assert environment.operator_token({"GAC_OPERATOR_TOKEN": "secret\n"}) == "secret"


def test_keys_of_the_api_are_hashes() -> None:
    hashes = ["a" * 64, "b" * 64]
    assert environment.environment_overrides({"GAC_API_KEYS": f"{hashes[0]}, {hashes[1].upper()},"})["api"] == {
        "keys": [{"name": "key 1", "sha256": hashes[0]}, {"name": "key 2", "sha256": hashes[1]}]
    }
    with pytest.raises(ConfigError, match="GAC_API_KEYS: expected the SHA-256") as refusal:
        environment.environment_overrides({"GAC_API_KEYS": "my secret"})
    assert "my secret" not in str(refusal.value)
