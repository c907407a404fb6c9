"""Growth of a step's time and of memory with the context and with the number of members.

Every ensemble runs in its own process, so that its memory can be measured. Figures are medians over steps, drawn as
`docs/scaling-context.svg` and `docs/scaling-members.svg`.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from statistics import median

from gac_app.bench.children import run_child
from gac_app.bench.measurements import TRANSFORMERS_CONFIG
from gac_app.bench.memory import MIB, peak_bytes
from gac_app.bench.timing import decode
from gac_app.bench.workbench import Workbench
from gac_app.charts import Panel, Series, line_charts, to_svg
from gac_app.decoding.ensemble import Ensemble
from gac_app.environment import DEFAULT_CONFIG, read_config

LENGTHS, LENGTHS_QUICK = (128, 512, 1024, 2048, 3072, 4064), (128, 512)
NUM_MEMBERS = (2, 3, 4)
DOCS = DEFAULT_CONFIG.parent.parent / "docs"
_NUM_TOKENS = 16
_REAL, _RANDOM = "default.yaml, from GGUF files", "two members of random weights, on transformers"

Sample = tuple[int, float, float]  # the varied number, ms per step, the process's peak MiB so far


def draw_scaling(is_quick: bool, folder: Path = DOCS) -> list[Path]:
    """Measure and draw. Returns the paths of the files."""
    lengths = LENGTHS_QUICK if is_quick else LENGTHS
    by_length = {_REAL: _child("real", "2", lengths), _RANDOM: _child("random", "2", lengths)}
    counted = [(count, *_child("random", str(count), (256,))[0][1:]) for count in NUM_MEMBERS]
    plots = {
        "scaling-context.svg": ("A step as the context grows", "tokens in the context", by_length),
        "scaling-members.svg": (
            "A step with more members",
            "members of random weights, context of 256 tokens",
            {"on transformers, the cores shared": counted},
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, x_label, samples) in plots.items():
        panels = [
            Panel(x_label, "ms a step", _points(samples, 1)),
            Panel(x_label, "MiB, at the peak", _points(samples, 2)),
        ]
        (folder / name).write_text(to_svg(line_charts(title, panels)), encoding="utf-8")
    return [folder / name for name in plots]


def _child(kind: str, num_members: str, lengths: tuple[int, ...]) -> list[Sample]:
    return [tuple(sample) for sample in run_child(__name__, kind, num_members, *map(str, lengths))]


def _points(samples: dict[str, list[Sample]], column: int) -> dict[str, Series]:
    return {name: Series([(sample[0], sample[column]) for sample in line]) for name, line in samples.items()}


def _sample(ensemble: Ensemble, length: int) -> Sample:
    settings = ensemble.config.settings_from({"mode": "every-step", "max_new_tokens": _NUM_TOKENS, "temperature": 0})
    # A token of most vocabularies, so that all members' contexts are about equally long.
    answer = decode(ensemble.session(" the" * length, settings, raw=True))
    gaps_ms = [1000 * (after - before) for before, after in zip(answer.marks_s, answer.marks_s[1:], strict=False)]
    return length, median(gaps_ms), peak_bytes() / MIB


def _main(kind: str, num_members: str, *lengths: str) -> None:
    path = DEFAULT_CONFIG if kind == "real" else TRANSFORMERS_CONFIG
    with closing(Workbench(path, read_config(path, os.environ))) as bench:
        if kind == "real":
            samples = [_sample(bench.ensemble, int(length)) for length in lengths]
        else:
            from gac_app.bench.random_weights import random_ensemble

            with closing(random_ensemble(bench, int(num_members))) as ensemble:
                samples = [_sample(ensemble, int(length)) for length in lengths]
    print(json.dumps(samples))


if __name__ == "__main__":
    _main(*sys.argv[1:])
