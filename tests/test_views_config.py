"""Views in a configuration: what they take over, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gac_app.config import Config
from gac_app.config_file import config_of, load_config
from gac_app.errors import ConfigError
from gac_app.models.hardware import plan
from gac_app.models.hardware.devices import Devices

BASE = {"name": "a", "source": "random:1", "num_params": 1e6, "notice": "of the model"}
SERVED = {**BASE, "name": "s", "server": {"url": "http://127.0.0.1:1", "api": "vllm"}}
TERSE = {"name": "terse", "of": "a", "system_prompt": "Be terse."}


def refusal(folder: Path, *views: object) -> str:
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
    (tmp_path / "gac.yaml").write_text(
        "members:\n- {name: a, source: 'random:1'}\n- {name: b, of: a, examples: two.jsonl}\n"
        "- {name: c, of: a, examples: [{question: '1+1?', answer: '2'}]}\n"
    )
    config = load_config(tmp_path / "gac.yaml")
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
    message = refusal(tmp_path, view, SERVED, TERSE)
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
    message = refusal(tmp_path, {"name": "b", "of": "a", "examples": "examples.jsonl"})
    assert why in message
    assert "\n" not in message


def test_a_view_is_where_its_member_is(tmp_path: Path) -> None:
    config = config_of({"members": [TERSE, BASE, {"name": "b", "source": "random:2", "num_params": 1e6}]}, tmp_path)
    planned = plan(config.members, Devices((), 2, None))
    assert list(planned.placements) == ["terse", "a", "b"]
    assert {name: placed.num_threads for name, placed in planned.placements.items()} == {"terse": 1, "a": 1, "b": 1}
    assert planned.placements["terse"].size_bytes == 0
    assert not planned.devices_disjoint
