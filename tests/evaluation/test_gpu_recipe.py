"""The studies among the examples: one fits the GPUs that it names, and all start with tiny members."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gac_app.cli import app
from gac_app.config_file import load_config
from gac_app.evaluation.registered import read_protocol
from gac_app.models.hardware.devices import parse_devices
from gac_app.models.hardware.placement import plan
from tests.models import tiny

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = EXAMPLES / "study-8b"


@pytest.mark.parametrize(
    ("devices", "places", "devices_disjoint"),
    [
        ("1x48GiB", ["cuda:0", "cuda:0"], False),
        ("1x80GiB", ["cuda:0", "cuda:0"], False),
        ("2x24GiB", ["cuda:0", "cuda:1"], True),
        ("4x24GiB", ["cuda:0", "cuda:1"], True),
    ],
)
def test_it_fits_the_gpus_that_it_names(devices: str, places: list[str], devices_disjoint: bool) -> None:
    config, protocol = load_config(RECIPE / "members.yaml"), read_protocol(RECIPE / "study.yaml")
    planned = plan(config.members, parse_devices(devices))
    assert [placement.device for placement in planned.placements.values()] == places
    assert (planned.warnings, planned.devices_disjoint) == ((), devices_disjoint)
    assert all(member.max_sequences >= 2 * protocol.parallel for member in config.members)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "study", "tasks"), [("8b", "study", 2), ("pay", "pay", 3)])
def test_it_runs_in_miniature_with_random_weights(recipe: str, study: str, tasks: int, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / f"study-{recipe}", tmp_path, dirs_exist_ok=True)
    members = yaml.safe_load((tmp_path / "members.yaml").read_text())
    for seed, member in enumerate(members["members"]):
        tiny.save_llama(tmp_path / f"tiny-{seed}", seed, max_position_embeddings=2048)
        member |= {"source": f"tiny-{seed}", "device": "cpu", "dtype": "float32", "num_params": 1e5, "num_threads": 1}
    (tmp_path / "members.yaml").write_text(yaml.safe_dump(members))
    for task in tmp_path.glob("[gm]*.yaml"):
        task.write_text(re.sub(r"max_new_tokens: \d+", "max_new_tokens: 8", task.read_text()))
    for name in ("gsm8k", "mbpp", "triviaqa"):
        questions = [{"id": str(n), "question": f"What is {n} and 1?", "answers": [str(n + 1)]} for n in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, questions)))
    done = CliRunner().invoke(
        app, ["study", str(tmp_path / f"{study}.yaml")], env={"GAC_CACHE": str(tmp_path / "cache")}
    )
    assert done.exit_code == 0, done.exception
    page = (tmp_path / f"{study}.md").read_text()
    assert page.count("### Held out, judged once") == tasks
    assert "gate@0.9" in page
