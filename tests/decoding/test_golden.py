"""Answers and scores that do not change when the engine is rewritten, over all settings, faults, branches and views.

A case is drawn from its number, and `tests/data/golden.json` has what it gave. What is compared does not depend on the
last bits of a processor. `python -m tests.decoding.test_golden FILE` writes them with the cases' digests, to the last
bit, so that two versions of the engine can be compared on one machine; with `tests/data/golden.json` it freezes the
answers anew.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishedEvent, StepTrace
from gac_app.decoding.view import ViewMember
from gac_app.errors import GacError
from gac_app.executors.threads import ThreadMember
from gac_app.member_config import MemberConfig
from gac_app.models.random_model import RandomModel
from tests.fakes import FakeModel, Fault, config_of, ensemble_of, steps_and_end
from tests.told_member import ToldMember

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"
NUM_CASES, NUM_AT_ONCE = 600, 50
NUM_SCORED = 120  # cases whose settings score texts too
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["at", "the"]}, "b": {"type": "integer"}}, "required": ["a"]}
PROMPTS = ("ab é", "the vote of", "we can model one word  at a time", "日 union")


def settings_of(draw: random.Random) -> dict[str, Any]:
    """Most settings have their default in most cases, so that each meets each."""
    one_of: dict[str, tuple[Any, ...]] = {
        "mode": ("gate", "gate", "every-step", "agreement"),
        "threshold": (0.3, 0.5, 0.8, 1.01),
        "gate_rule": ("max-prob", "max-prob", "margin", "entropy"),
        "gate_policy": ("auto", "lazy", "eager"),
        "alignment": ("prefix", "prefix", "paper"),
        "weights": ("average", "average", "posterior", "entropy", "prompt-perplexity"),
        "combine": ("mean",) * 6
        + ("geometric", "power", "contrastive", "core", "most-confident", "sharpened", "unite"),
        "temperature": (0.0, 0.0, 0.7, 1.0),
        "top_k": (0, 0, 0, 5),
        "top_p": (1.0, 1.0, 0.9),
        "min_p": (0.0, 0.0, 0.05),
        "repetition_penalty": (1.0, 1.0, 1.0, 1.3),
        "speculation": ("off", "auto", "on"),
        "reproducible": ("auto", "on"),
        "stop": ((), (), (), (" the",), ("e", "日")),
        "json_schema": (None, None, None, None, None, SCHEMA),
        "on_member_failure": ("stop", "drop"),
    }
    settings = {name: draw.choice(values) for name, values in one_of.items()}
    if settings["temperature"] == 1.0 and draw.random() < 0.5:  # one member is drawn for each token
        plain = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "json_schema": None}
        settings |= {**plain, "combine": "random-member", "alignment": "paper"}
    return {**settings, "seed": draw.randrange(1000), "max_new_tokens": draw.choice((1, 8, 16, 24))}


def ensemble_of_case(draw: random.Random) -> Ensemble:
    """One to three members: that end or not, with short contexts, failing, in threads, told by a server, or views."""
    names = "abc"[: draw.choice((1, 2, 2, 2, 3))]
    kind = draw.choice((InlineMember, InlineMember, ThreadMember, "told"))
    fails = draw.random() < 0.15 and kind != "told"
    models: list[RandomModel] = []
    for name in names:
        length, seed = draw.choice((4096, 4096, 60, 40)), draw.choice((5, draw.randrange(100)))
        if fails and name == names[-1]:
            fault = Fault("raise" if draw.random() < 0.5 else "nan", marker=draw.choice((b"e", b"the")))
            models.append(FakeModel(name=name, seed=seed, context_length=length, fault=fault))
        elif draw.random() < 0.3:
            models.append(FakeModel(name=name, seed=seed, context_length=length))
        else:
            models.append(RandomModel(name, seed, sharpness=draw.choice((3.0, 6.0)), context_length=length))
    has_view = draw.random() < 0.15
    config = config_of([*names, "v"] if has_view else names)
    make = (lambda model, mapping: ToldMember(model, mapping, 20)) if kind == "told" else kind
    found = list(ensemble_of(models, config, make).members.values())
    if has_view:
        view = MemberConfig(name="v", source="random:0", of=found[-1].name, system_prompt="the word")
        found.append(ViewMember(found[-1], view))
    return Ensemble(found, config)


def answer(number: int) -> tuple[list[StepTrace], FinishedEvent]:
    draw = random.Random(number)
    settings = settings_of(draw)
    how: dict[str, Any] = {}
    with closing(ensemble_of_case(draw)) as ensemble:
        if draw.random() < 0.15:
            how["alone"] = draw.choice(list(ensemble.members))
        prompt, raw = draw.choice(PROMPTS), draw.random() < 0.7
        checked = ensemble.config.settings_from(settings)
        steps, finished = steps_and_end(ensemble.session(prompt, checked, raw=raw, **how).events())
        if len(steps) > 3 and draw.random() < 0.15:
            branch = Branch(tuple(steps[:3]), b"t" if draw.random() < 0.7 else None)
            return steps_and_end(ensemble.session(prompt, checked, raw=raw, branch=branch, **how).events())
    return steps, finished


def told(number: int, *, to_the_bit: bool = False) -> str:
    """What a case gave, hashed; without what a processor's last bits change, and how much a server told."""
    steps, finished = answer(number)
    is_told = any(member.num_told for step in steps for member in step.members)
    chosen = [(s.token, s.is_ensembled, s.spellings, s.is_partial, s.dropped, s.drawn) for s in steps]
    probs = [] if is_told else [round(step.prob, 3) for step in steps]
    digest = finished.digest if to_the_bit and not is_told else ""
    return hashlib.sha256(repr((chosen, probs, finished.reason, finished.detail, digest)).encode()).hexdigest()[:8]


def scores(number: int) -> list[float]:
    """The log-probabilities of two texts; none where the combine rule gives most texts none, or a member fails."""
    draw = random.Random(number)
    settings = settings_of(draw)
    with closing(ensemble_of_case(draw)) as ensemble:
        checked, raw = ensemble.config.settings_from(settings), draw.random() < 0.7
        try:
            found = ensemble.score(draw.choice(PROMPTS), ["the vote é", " at"], checked, raw=raw)
        except GacError as error:
            return [float(len(str(error)))]
    return [one.log_prob for one in found]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, NUM_CASES, NUM_AT_ONCE))
def test_an_answer_is_as_it_was(first: int) -> None:
    golden = json.loads(GOLDEN.read_text())["answers"]
    found = {number: told(number) for number in range(first, first + NUM_AT_ONCE)}
    assert found == {number: golden[number] for number in found}


@pytest.mark.slow
def test_a_score_is_as_it_was() -> None:
    golden = json.loads(GOLDEN.read_text())["scores"]
    for number, expected in enumerate(golden):
        assert scores(number) == pytest.approx(expected, abs=2e-4), number


def freeze(file: Path) -> None:
    to_the_bit = file.name != GOLDEN.name
    answers = [told(number, to_the_bit=to_the_bit) for number in range(NUM_CASES)]
    found = [[score if to_the_bit else round(score, 4) for score in scores(number)] for number in range(NUM_SCORED)]
    file.write_text(json.dumps({"answers": answers, "scores": found}, indent=0))


if __name__ == "__main__":
    freeze(Path(sys.argv[1]))
