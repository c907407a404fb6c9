"""Whatever stands in a configuration file, it is taken or refused in one readable message; views, too."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gac_app.config import Config
from gac_app.config_file import config_of, load_config
from gac_app.environment import DEFAULT_CONFIG, read_config
from gac_app.errors import ConfigError
from gac_app.models.hardware import plan
from gac_app.models.hardware.devices import Devices
from tests.command_line import config_file

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
    "an origin with a slash at its end": "server: {allowed_origins: ['https://example.org/']}\n",
    "a host with a star inside": "server: {trusted_hosts: ['*bad*']}\n",
    "a long text": f"settings: {{mode: {'x' * 5000}}}\n",
}


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(config_file(folder, text), {})
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALL + KINDS[kind])
    assert "members.yaml: " in message
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
    path = config_file(
        tmp_path,
        "members:\n- {name: a, source: models/a}\n- {name: b, source: [[x.part0, /abs/x.part1], 'hub:org/b']}\n"
        "- {name: c, source: 'random:1'}\nplugins: [rules/mine.py, my.module]\n",
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


BASE = {"name": "a", "source": "random:1", "num_params": 1e6, "notice": "of the model"}
SERVED = {**BASE, "name": "s", "server": {"url": "http://127.0.0.1:1", "api": "vllm"}}
TERSE = {"name": "terse", "of": "a", "system_prompt": "Be terse."}


def refusal_of_views(folder: Path, *views: object) -> str:
    with pytest.raises(ConfigError) as caught:
        config_of({"members": [BASE, *views]}, folder)
    return str(caught.value)


def test_a_view_takes_over_what_is_not_its_own(tmp_path: Path) -> None:
    config = config_of({"members": [TERSE, BASE]}, tmp_path)
    view = config.member("terse")
    assert (view.of, view.source, view.notice, view.system_prompt) == ("a", "random:1", "of the model", "Be terse.")
    assert Config.model_validate(config.model_dump()) == config


def test_examples_stand_in_the_file_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "two.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n\n{"question": "2+2?", "answer": "4"}\n')
    views = "- {name: b, of: a, examples: two.jsonl}\n- {name: c, of: a, examples: [{question: '1+1?', answer: '2'}]}\n"
    config = load_config(config_file(tmp_path, f"members:\n- {{name: a, source: 'random:1'}}\n{views}"))
    assert [example.answer for example in config.member("b").examples] == ["2", "4"]
    assert config.member("c").examples == config.member("b").examples[:1]


@pytest.mark.parametrize(
    ("view", "why"),
    [
        ({**TERSE, "of": "s"}, "terse.of: s runs on a server"),
        ({**TERSE, "name": "b", "of": "terse"}, "b.of: 'terse' is not a member with its own model"),
        ({**TERSE, "of": "x"}, "terse.of: 'x' is not a member with its own model; expected one of a, s"),
        ({"name": "t", "of": "a"}, "members.1: a view of a needs a system_prompt, examples or both"),
        ({"name": "t", "of": "a", "system_prompt": " "}, "members.1: a view of a needs a system_prompt, examples"),
        ({"name": "t", "of": "a", "examples": []}, "members.1: a view of a needs a system_prompt, examples or both"),
        ({**TERSE, "device": "cpu"}, "terse.device: is that of a; a view has only name, of, system_prompt, examples"),
        ({**TERSE, "colour": "red"}, "members.1.colour: unknown key"),
        ({"name": "t", "source": "random:2", "system_prompt": "x"}, "members.1: expected 'of' with the name of a"),
        ({"name": "t", "of": "a", "examples": [{"question": "?"}]}, "members.1.examples.0.answer: Field required"),
        ({"name": "t", "of": ["a"], "system_prompt": "x"}, "t.of: \"['a']\" is not a member"),
    ],
)
def test_a_faulty_view_is_refused(view: dict[str, object], why: str, tmp_path: Path) -> None:
    message = refusal_of_views(tmp_path, view, SERVED, TERSE)
    assert why in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "examples.jsonl: cannot be read (No such file or directory)"),
        (b"\xff", "examples.jsonl: is not UTF-8 text"),
        (b"\n", "examples.jsonl: has no examples; expected one a line"),
        (
            b'{"question": "a", "answer": "b"}\nb',
            'line 2: invalid example b; expected {"question": "...", "answer": "..."}',
        ),
        (b'{"question": "a"}', 'line 1: invalid example {"question": "a"}'),
        (b"x" * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_a_faulty_file_of_examples_is_refused(content: bytes | None, why: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "examples.jsonl").write_bytes(content)
    message = refusal_of_views(tmp_path, {"name": "b", "of": "a", "examples": "examples.jsonl"})
    assert why in message
    assert "\n" not in message


def test_a_view_is_where_its_member_is(tmp_path: Path) -> None:
    config = config_of({"members": [TERSE, BASE, {"name": "b", "source": "random:2", "num_params": 1e6}]}, tmp_path)
    planned = plan(config.members, Devices((), 2, None))
    assert list(planned.placements) == ["terse", "a", "b"]
    assert {name: placed.num_threads for name, placed in planned.placements.items()} == {"terse": 1, "a": 1, "b": 1}
    assert planned.placements["terse"].size_bytes == 0
    assert not planned.devices_disjoint
