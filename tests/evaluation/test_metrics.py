"""Statistics against published figures; members too unequal for the settings; how alike members cut words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gac_app.cli import app
from gac_app.config import Config
from gac_app.config_file import load_config
from gac_app.errors import ConfigError, RequestError
from gac_app.evaluation.metrics import compare_vocabularies, holm, strength_advice, word_sets
from gac_app.evaluation.metrics.consistency import ConsistencyReport, PrefixCounts, _prefixes
from gac_app.evaluation.metrics.permutation import share_saved
from gac_app.evaluation.metrics.statistics import compare, wilson_interval
from gac_app.vocab.tokens import MemberVocabulary
from tests.command_line import members_file
from tests.vocab.vocabularies import vocabulary


@pytest.mark.parametrize(
    ("num_right", "num_questions", "low", "high"),
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_the_published_ones(num_right: int, num_questions: int, low: float, high: float) -> None:
    assert wilson_interval(num_right, num_questions) == pytest.approx((low, high), abs=5e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
@example([(False, True)])
def test_swapping_the_sides_turns_the_sign_alone(pairs: list[tuple[bool, bool]]) -> None:
    mine, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    there, back = compare(mine, theirs), compare(theirs, mine)
    assert there.delta == -back.delta
    assert -1 <= there.interval[0] == -back.interval[1]
    assert there.p == back.p <= 1


def test_corrected_p_values_by_hand() -> None:
    """0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not be less than the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.slow
def test_it_is_as_wide_as_scipys_test_by_flips_says() -> None:
    """Zero lies outside exactly where the test by all flips rejects it."""
    from scipy.stats import permutation_test

    random, both = np.random.default_rng(3), set()
    for difference_N in random.normal(0.5, 1, (20, 8)):
        p = permutation_test((difference_N,), np.sum, permutation_type="samples", n_resamples=256).pvalue
        _, low, high = share_saved(list(10 - difference_N), [10.0] * 8)
        assert (low > 0 or high < 0) == (p <= 0.05)
        both.add(p <= 0.05)
    assert both == {True, False}


def test_of_six_questions_the_extremes_are_the_ends() -> None:
    assert share_saved([1, 2, 3, 4, 5, 6], [10] * 6) == pytest.approx((0.65, 0.4, 0.9))
    with pytest.raises(RequestError, match="5 texts give no interval; 6 are needed"):
        share_saved([1, 2, 3, 4, 5], [10] * 5)


TOLD = (
    "On trivia (40 questions), behind a: b by 50 %. Such a gap mostly hurts an ensemble. Set weights by strength "
    "(a 1, b 0.5), or use gate mode with a as the gate."
)


def config(*scores: float, **settings: Any) -> Config:
    members = [
        {"name": name, "source": "random:1", **({"score": score} if score else {})}
        for name, score in zip("abc", scores, strict=False)
    ]
    return Config.model_validate({"members": members, "settings": {"mode": "every-step", **settings}})


def benchmark(n: int = 40, task: str = "trivia", **members: tuple[float, float]) -> dict[str, Any]:
    """Of each member its accuracy alone, and p against the best one."""
    systems = {
        f"alone:{name}": {"accuracy": accuracy, "errors": 0, "vs_best_member": {"delta": 0.0, "p": p}}
        for name, (accuracy, p) in members.items()
    }
    return {"task": task, "n": n, "systems": {**systems, "every-step": {"accuracy": 0.5, "errors": 0}}}


UNEQUAL = benchmark(a=(0.8, 1.0), b=(0.4, 0.001))


def told(settled: Config, *benchmarks: dict[str, Any], **changes: Any) -> str:
    return strength_advice(settled, settled.settings_from(changes), benchmarks)


EQUAL, UNCERTAIN = (benchmark(400, a=(0.8, 1.0), b=lagging) for lagging in ((0.8, 1.0), (0.4, 0.5)))
FAILED = {**UNEQUAL, "systems": {**UNEQUAL["systems"], "alone:b": {**UNEQUAL["systems"]["alone:b"], "errors": 1}}}


@pytest.mark.parametrize(
    ("benchmarks", "changes", "expected"),
    [
        ([UNEQUAL], {}, TOLD),
        ([UNEQUAL], {"weights": {"a": 1, "b": 0.5}}, ""),  # the advice is followed
        ([UNEQUAL], {"mode": "gate", "gate": "a"}, ""),
        ([UNEQUAL], {"mode": "gate", "gate": "b"}, TOLD),
        ([UNEQUAL], {"mode": "agreement", "gate": "a"}, TOLD),
        ([UNEQUAL], {"weights": "posterior"}, TOLD),
        ([UNEQUAL], {"weights": {"a": 1, "b": 2}}, TOLD),
        ([benchmark(a=(0.8, 1.0), b=(0.72, 0.001))], {}, ""),  # a small gap
        ([benchmark(a=(0.8, 1.0), b=(0.4, 0.06))], {}, ""),  # one that may be noise
        ([UNEQUAL, EQUAL], {}, ""),  # the largest counts
        ([UNEQUAL, UNCERTAIN], {}, TOLD),
        ([benchmark(a=(0.8, 1.0))], {}, ""),  # not all members alone
        ([benchmark(a=(0.0, 1.0), b=(0.0, 1.0))], {}, ""),
        ([FAILED], {}, ""),
    ],
)
def test_a_member_that_lags_is_told_with_what_fits(
    benchmarks: list[dict[str, Any]], changes: dict[str, Any], expected: str
) -> None:
    assert told(config(0, 0), *benchmarks, **changes) == expected


def test_of_three_members_all_that_lag_are_named_and_no_other() -> None:
    found = told(config(0, 0, 0), benchmark(a=(0.2, 0.001), b=(0.8, 1.0), c=(0.6, 0.04)))
    assert "behind b: a by 75 %, c by 25 %." in found
    assert "(a 0.25, b 1, c 0.75), or use gate mode with b" in found
    assert "behind c: b by 50 %. " in told(config(0, 0, 0), benchmark(a=(0.75, 0.4), b=(0.4, 0.001), c=(0.8, 1.0)))


def test_a_gate_that_does_not_lag_is_strong_enough() -> None:
    three = benchmark(a=(0.75, 0.4), b=(0.4, 0.001), c=(0.8, 1.0))
    assert told(config(0, 0, 0), three, mode="gate", gate="a") == ""
    assert told(config(0, 0, 0), three, weights={"a": 2, "b": 1, "c": 1})
    assert told(config(0, 0, 0), three, weights={"a": 1, "b": 1, "c": 2}) == ""


def test_of_equals_the_newest_benchmark_counts() -> None:
    newer = benchmark(task="sums", a=(0.4, 0.001), b=(0.8, 1.0))
    assert told(config(0, 0), newer, UNEQUAL).startswith("On sums (40 questions), behind b: a by 50 %.")


def test_scores_count_where_no_benchmark_can_tell() -> None:
    by_score = "By score, behind a: b by 25 %. "
    assert told(config(80, 60)).startswith(by_score)
    assert told(config(80, 60), benchmark(a=(0.5, 0.6), b=(0.8, 1.0))).startswith(by_score)
    assert told(config(80, 60), benchmark(a=(0.8, 1.0), b=(0.79, 0.9))) == ""
    assert told(config(80, 60), weights="score") == ""
    assert told(config(80, 73)) == ""
    assert told(config(80, 0)) == ""


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("configs/*.yaml")), ids=lambda path: path.stem)
def test_the_presets_have_members_of_like_strength(path: Path) -> None:
    assert told(load_config(path), mode="every-step", weights="average") == ""


def spelling(*tokens: bytes) -> MemberVocabulary:
    """Single letters and `tokens`; the longest match is taken first. The id 0 ends a text."""
    return vocabulary([b"</s>", *sorted({b"a", b"b", b"c", b" ", *tokens})], end_ids=[0])


VOCABULARIES = {"x": spelling(b"ab", b" ab", b" a"), "y": spelling(b"ab", b" abc", b"bc")}


@pytest.fixture
def report() -> ConsistencyReport:
    return compare_vocabularies(VOCABULARIES, {"few": ("ab", "abc", "c", "a")})


def test_shares_of_words_cut_alike(report: ConsistencyReport) -> None:
    (few,) = report.sets
    (pair,) = few.pairs
    assert pair.members == ("x", "y")
    assert pair.at_start == 1.0  # ab | ab c | c | a
    assert pair.after_space == 0.25  # x: _ab | _ab c | _ c | _a     y: _ ab | _abc | _ c | _ a
    assert few.tokens_per_word == {"x": 1.5, "y": 1.75}


def test_tokens_of_one_member_only(report: ConsistencyReport) -> None:
    x, y = report.tokens["x"], report.tokens["y"]
    assert (x.num_tokens, x.num_only, x.examples) == (7, 2, (b" a", b" ab"))
    assert (y.num_tokens, y.num_only, y.examples) == (7, 2, (b" abc", b"bc"))
    assert x.prefixes == {"y": PrefixCounts(num_tokens=5, num_unknown=2)}  # "_", "_a", "_ab", "a", "b"
    assert y.prefixes == {"x": PrefixCounts(num_tokens=2, num_unknown=0)}  # "_", "a"


_TOKENS = st.sets(st.binary(min_size=1, max_size=4).map(lambda token: bytes(byte % 3 for byte in token)))


@given(_TOKENS, _TOKENS)
def test_prefixes_equal_the_obvious_search(own: set[bytes], other: set[bytes]) -> None:
    found = {token for token in own if any(longer.startswith(token) and longer != token for longer in other)}
    assert _prefixes(own, other, sorted(other)) == PrefixCounts(len(found), len(found - other))


@pytest.mark.slow
def test_word_sets_are_complete() -> None:
    sets = word_sets()
    languages = list(sets)[2:22]
    assert (languages[0], languages[-1]) == ("French", "Chinese")
    assert [len(sets[name]) for name in ("common English", "rare English")] == [5_000, 1_000]
    assert {len(sets[language]) for language in languages} == {1_000}
    assert sets["common English"][:3] == ("the", "to", "and")
    for name in ("code identifiers", "numbers", "chemistry", "medicine"):
        assert len(sets[name]) > 150
    for name, words in sets.items():
        assert len(set(words)) == len(words), f"{name}: a word counts twice"
        assert all(word.strip() == word != "" for word in words)


def test_the_report_is_plain_json() -> None:
    odd = MemberVocabulary((b"\xff", b"<b>"), frozenset(), frozenset(), lambda text: [0] * len(text))
    facts = json.loads(json.dumps(compare_vocabularies({"o": odd, **VOCABULARIES}, {"s": ("a",)}).to_json()))
    assert facts["members"] == ["o", "x", "y"]
    assert facts["tokens"]["o"]["examples"] == ["<b>", "\\xff"]
    assert facts["sets"][0]["pairs"][2] == {"members": ["x", "y"], "at_start": 1.0, "after_space": 0.0}


def test_one_member_has_nobody_to_be_compared_with(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["consistency", "--config", str(members_file(tmp_path, names="a"))])
    assert isinstance(done.exception, ConfigError)
