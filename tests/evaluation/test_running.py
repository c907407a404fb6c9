"""Questions, one and many: what the engine is asked, what is made of its answers, and which of several is chosen."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import MemberError, RequestError, VocabularyError
from gac_app.evaluation.running import StudyProgress
from gac_app.evaluation.running.answering import answer, choose, lowest_perplexity, most_frequent
from gac_app.evaluation.running.report import SystemReport
from gac_app.evaluation.running.result_cache import Graded, ResultCache, result_cache_path
from gac_app.evaluation.running.systems import System, parse_system, parse_systems
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.tasks.questions import Question
from gac_app.evaluation.tasks.task import Task, load_task
from gac_app.plugins import load_plugins
from tests.evaluation.conftest import call
from tests.evaluation.fakes import CAPITALS, CHOICES, CONFIG, FakeEnsemble
from tests.fakes import config_of

NQ, PIQA = load_task("nq"), load_task("piqa")


def _ask(fake: FakeEnsemble, task: Task = NQ, system: str = "every-step") -> Graded:
    return answer(cast(Ensemble, fake), task, CAPITALS[1], parse_system(system, CONFIG))


def test_a_setting_in_a_name_goes_before_the_task_s() -> None:
    fake = FakeEnsemble({"Italy": " Rome"})
    for name in ("every-step", "every-step+max-new-tokens=8"):
        _ask(fake, system=name)
    assert [settings.max_new_tokens for *_, settings in fake.asked] == [NQ.max_new_tokens, 8]


@pytest.mark.parametrize(("form", "raw"), [("document", True), ("chat", False)])
def test_a_chat_goes_through_the_template(form: str, raw: bool) -> None:
    fake = FakeEnsemble({"Italy": " Rome"})
    assert _ask(fake, Task.model_validate({**NQ.model_dump(), "form": form})).is_right
    assert fake.raws == [raw]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (MemberError("b", "exception", "broke"), "b: broke"),
        (RequestError("prompt", "is too long"), "prompt: is too long"),
        (VocabularyError("lacks 0x01"), "lacks 0x01"),
        (FinishReason.ERROR, "b: broke"),
    ],
)
def test_a_failure_is_an_error_never_an_answer(failure: Exception | FinishReason, error: str) -> None:
    given = _ask(FakeEnsemble({"Italy": failure}))
    assert (given.is_right, given.error) == (False, error)


SYSTEMS = [parse_system(name, CONFIG) for name in ("alone:a", "every-step")]
RIGHT = {"France": " Paris", "Italy": " Rome", "Poland": " Krakow"}


def _run(
    fake: FakeEnsemble, folder: Path, num_parallel: int = 4, heard: list[StudyProgress] | None = None
) -> dict[System, list[Graded]]:
    ask = Evaluator(cast(Ensemble, fake), NQ, CAPITALS, folder, parallel=num_parallel)
    ask.on_progress = (heard if heard is not None else []).append
    return ask(SYSTEMS, CAPITALS)


def _cache(folder: Path, system: str) -> Path:
    (path,) = folder.glob(f"nq-{system}-*.jsonl")
    return path


@pytest.mark.parametrize("num_parallel", [1, 3])
def test_no_more_at_once_than_said(tmp_path: Path, num_parallel: int) -> None:
    fake = FakeEnsemble(RIGHT, delays=dict.fromkeys(RIGHT, 0.05))
    _run(fake, tmp_path, num_parallel)
    assert fake.most_at_once == num_parallel


def test_what_questions_share_is_read_once_unless_each_is_timed(tmp_path: Path) -> None:
    fake = FakeEnsemble(RIGHT)
    _run(fake, tmp_path)
    assert fake.namespaces == ["evaluation/nq"] * 6  # the worked examples before the questions are computed once
    assert fake.forgotten == ["evaluation"]
    single = FakeEnsemble(RIGHT)
    _run(single, tmp_path, num_parallel=1)
    assert single.namespaces == [""] * 6, "no answer whose time the others shared is kept for these"


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    first = _run(FakeEnsemble(RIGHT), tmp_path)
    path = _cache(tmp_path, "every-step")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:30])
    again, heard = FakeEnsemble(RIGHT), list[StudyProgress]()
    assert _run(again, tmp_path, heard=heard) == first
    assert [alone for _, alone, _ in again.asked] == [None, None]
    assert [(p.num_done, p.num_total, p.num_kept) for p in heard] == [(4, 6, 4), (5, 6, 4), (6, 6, 4)]
    assert _run(FakeEnsemble({}), tmp_path) == first, "nothing is left to ask"


def test_a_model_that_changed_is_asked_again(tmp_path: Path) -> None:
    own = "from gac_app.models.backends import backend\nbackend('own-file', replace=True)(lambda _: None)\n"
    (tmp_path / "own.py").write_text(own)
    load_plugins(["own.py"], tmp_path)
    members = [
        {"name": "a", "source": f"{tmp_path}/model", "adapter": f"{tmp_path}/lora"},
        {"name": "b", "source": [["pypi:b==1#b.gguf"], [f"{tmp_path}/b.gguf"]], "backend": "own-file"},
    ]
    config = Config.model_validate({"members": members})
    name = partial(result_cache_path, tmp_path, config, (), NQ, SYSTEMS[0], CAPITALS)
    names = [name()]
    for changed in ("model/model.safetensors", "lora/adapter_model.safetensors", "b.gguf", "own.py", "again.py"):
        (tmp_path / changed).parent.mkdir(exist_ok=True)
        (tmp_path / changed).write_text(f"{own}# another")
        load_plugins([changed] * changed.endswith(".py"), tmp_path)
        names.append(name())
    assert names[4] == names[3], "what runs is the code as it was loaded"
    assert (len(set(names)), name()) == (5, names[-1])
    os.utime(tmp_path / "b.gguf", (1, 1))
    assert name() not in names, "overwritten by others of the same size"


def test_a_failure_is_counted_and_tried_again_next_time(tmp_path: Path) -> None:
    heard = list[StudyProgress]()
    broken = _run(FakeEnsemble({**RIGHT, "Italy": MemberError("b", "exception", "broke")}), tmp_path, heard=heard)
    for given in broken.values():
        assert [answer.error for answer in given] == ["", "b: broke", ""]
    assert heard[-1].num_failed == 2
    mended = FakeEnsemble(RIGHT)
    assert all(not answer.error for given in _run(mended, tmp_path).values() for answer in given)
    assert len(mended.asked) == 2


def test_a_fault_of_ours_keeps_what_was_answered(tmp_path: Path) -> None:
    fake = FakeEnsemble({**RIGHT, "Italy": ZeroDivisionError()}, delays={"France": 0.5, "Poland": 0.5})
    with pytest.raises(ZeroDivisionError):
        _run(fake, tmp_path, num_parallel=3)
    assert ResultCache(_cache(tmp_path, "alone_a")).answers["fr"].is_right, "under way when the fault fell"
    assert len(fake.asked) < 6, "what had not begun is called off"


def test_the_time_left_is_judged_by_this_run_alone() -> None:
    assert StudyProgress(num_done=60, num_total=100, num_kept=50, seconds=20.0).seconds_left == 80.0
    assert StudyProgress(num_done=50, num_total=100, num_kept=50, seconds=1.0).seconds_left is None


def test_silence_is_chosen_last() -> None:
    for texts, chosen in ((["", "", "Paris"], 2), (["", ""], 0), (["Rome", "Paris", "Paris"], 1)):
        assert most_frequent(texts) == chosen
    fake = cast(Ensemble, FakeEnsemble(bits={" ab": 3.0}))
    assert [lowest_perplexity(fake, "?\nA:", texts) for texts in (["", " ab"], ["", ""])] == [1, 0]


CANDIDATES = [
    Graded("it", False, "Milan", " Milan", num_tokens=3, seconds=1.0, ttft_s=0.2, member_seconds=0.5),
    Graded("it", True, "Rome", " Rome", num_tokens=4, seconds=3.0, ttft_s=0.5, member_seconds=2.0),
    Graded("it", True, "Rome", " Rome.", num_tokens=5, seconds=2.0, ttft_s=0.5, member_seconds=1.0),
]


def test_a_choice_costs_the_longest_time_and_all_passes() -> None:
    chosen = choose(cast(Ensemble, FakeEnsemble()), NQ, CAPITALS[1], "vote", CANDIDATES)
    assert (chosen.is_right, chosen.text, chosen.num_tokens, chosen.num_ensembled) == (True, " Rome", 4, 0)
    assert chosen.seconds == pytest.approx(3.0, abs=0.5)
    assert (chosen.ttft_s, chosen.member_seconds) == (0.0, 3.5)
    assert SystemReport(SYSTEMS[1], CANDIDATES).member_seconds_per_answer == pytest.approx(3.5 / 3)
    for task, winner in ((NQ, "C++"), (PIQA, "c")):  # an answer's signs do not count, those of a choice do
        votes = [Graded("it", False, text) for text in ("C++", "c", "c")]
        asked = Question(question="Which?", choices=("C++", "c"), answer=0)
        assert choose(cast(Ensemble, FakeEnsemble()), task, asked, "vote", votes).prediction == winner


def test_of_choices_a_text_is_chosen_without_probabilities() -> None:
    fake = FakeEnsemble(bits={" green": 3.0, " blue": 2.0})
    given = [Graded("sky", False, "green", log_probs=(-1.0, -2.0)), Graded("sky", True, "blue", log_probs=(-2.0, -1.0))]
    chosen = choose(cast(Ensemble, fake), PIQA, CHOICES[0], "lowest-perplexity", given)
    assert (chosen.is_right, chosen.prediction, chosen.log_probs) == (True, "blue", ())


def test_a_name_says_the_candidates() -> None:
    system = parse_system("vote+samples=2+temperature=0.5", config_of(["a", "b"], {"gate": "b"}))
    assert [(c.alone, dict(c.changes)) for c in system.candidates] == [
        ("b", {}),
        ("a", {}),
        *((name, {"temperature": 0.5, "seed": seed}) for seed in (1, 2) for name in "ba"),
    ]
    alone = parse_system("vote+of=a+samples=2", config_of(["a", "b"], {"gate": "b"}))  # self-consistency
    assert [c.alone for c in alone.candidates] == ["a", "a", "a"]
    assert [len(parse_system(name, CONFIG).candidates) for name in ("mbr", "lowest-perplexity")] == [2, 2]


def test_members_are_asked_once_for_all_rules(tmp_path: Path) -> None:
    systems = parse_systems("vote,alone:a,mbr+samples=1", CONFIG)
    fake = FakeEnsemble({"France": " Paris", "Italy": " Rome", "Poland": " Krakow"})
    answers = Evaluator(cast(Ensemble, fake), NQ, CAPITALS, tmp_path, parallel=4)(systems, CAPITALS)
    assert len(fake.asked) == 4 * len(CAPITALS), "two members, greedy and one sample"
    assert [answer.is_right for answer in answers[systems[0]]] == [True, True, False]
    temperatures = [settings.temperature for _, _, settings in fake.asked]
    assert (temperatures.count(0.0), temperatures.count(0.7)) == (6, 6)
    assert len(list(tmp_path.iterdir())) == 2 + 4, "a cache for each system and each candidate"


def test_where_systems_must_decode_rules_are_refused(folder: Path) -> None:
    assert isinstance(call(folder, "calibrate", "--systems", "vote", task="piqa").exception, RequestError)
