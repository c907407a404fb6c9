"""Whatever stands in a configuration file, it is taken or refused in one readable message."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gac_app.config_file import config_of, load_config
from gac_app.environment import DEFAULT_CONFIG, read_config
from gac_app.errors import ConfigError

SMALL = "members: [{name: a, source: 'random:1'}, {name: b, source: 'random:2'}]\n"
# Each ended in a trace, or was taken and broke later.
KINDS = {
    "a list as key": "? [a]\n: 1\n",
    "an object as key": "? {a: b}\n: 1\n",
    "a number of 5,000 digits": f"server: {{port: {'9' * 5000}}}\n",
    "a hexadecimal number": f"settings: {{temperature: 0x{'f' * 6000}}}\n",
    "a number that is none": "settings: {temperature: .nan}\n",
    "a day that is none": "examples: [2001-99-99]\n",
    "an hour that is none": "examples: [2001-01-01 25:61:61]\n",
    "a text as number": "examples: [!!int abc]\n",
    "a text as truth": "examples: [!!bool maybe]\n",
    "a list as mapping": "lab: !!map [a]\n",
    "5,000 levels": f"lab: {'[' * 5000}{']' * 5000}\n",
    "an alias bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "parameters that are a list": "settings: {combine: unite, combine_params: [1]}\n",
    "weights without a finite sum": "settings: {weights: {a: 1.0e+308, b: 1.0e+308}}\n",
    "a zero byte": 'cache_dir: "a\\0b"\n',
    "half a character": 'plugins: ["\\ud800.py"]\n',
    "a host with a star inside": "server: {trusted_hosts: ['*bad*']}\n",
    "a long text": f"settings: {{mode: {'x' * 5000}}}\n",
}


def refusal(folder: Path, text: str) -> str:
    file = folder / "gac.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(file, {})
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALL + KINDS[kind])
    assert "gac.yaml: " in message
    assert len(message) < 600
    message.encode()


def test_a_refusal_says_where(tmp_path: Path) -> None:
    assert "'2001-99-99' is not a valid timestamp (line 2)" in refusal(tmp_path, f"{SMALL}examples: [2001-99-99]\n")
    assert "a key must be plain text (line 2)" in refusal(tmp_path, f"{SMALL}? [a]\n: 1\n")
    assert "is a number beyond 64 bits (line 2)" in refusal(tmp_path, f"{SMALL}server: {{port: {'9' * 400}}}\n")
    assert "settings.combine_params" in refusal(tmp_path, SMALL + KINDS["parameters that are a list"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_file_is_taken_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    text = DEFAULT_CONFIG.read_text()
    pieces = st.sampled_from(["[", "{", "? ", ": ", "- ", "!!int ", "!!set ", "&a ", "*a", "<<: ", "'", "\t", "---\n"])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 30))
        text = text[:start] + data.draw(pieces | st.text(max_size=8)) + text[end:]
    file = tmp_path / "gac.yaml"
    file.write_text(text, errors="replace")
    with suppress(ConfigError):
        read_config(file, {})


def test_relative_files_lie_beside_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "members:\n- {name: a, source: models/a}\n- {name: b, source: [[x.part0, /abs/x.part1], 'hub:org/b']}\n"
        "- {name: c, source: 'random:1'}\nplugins: [rules/mine.py, my.module]\n"
    )
    config = load_config(path)
    assert [member.source for member in config.members] == [
        str(tmp_path / "models" / "a"),
        ((str(tmp_path / "x.part0"), "/abs/x.part1"), ("hub:org/b",)),
        "random:1",
    ]
    assert config.plugins == (str(tmp_path / "rules" / "mine.py"), "my.module")


def test_a_key_that_is_gone_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"api\.mcp: no longer exists; remove it"):
        config_of({"api": {"mcp": True}}, Path())
