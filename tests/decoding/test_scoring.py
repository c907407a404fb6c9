"""Scores of texts: the chain rule by hand, sums over all texts, and what a score reads."""

from __future__ import annotations

import itertools
import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gac_app.decoding.contexts import Wait
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules.weights import LEAST_LOG_PROB
from gac_app.decoding.scoring import ReadPrompt, Score, SingleFlightCache, bits_per_byte, single_flight
from gac_app.errors import MemberError, RequestError, SessionStopped
from gac_app.models.sequence import LOCAL, KVSequence
from tests.decoding.conftest import make
from tests.decoding.toy import Toy, ToyModel, model_of, tokenisations, toy_ensemble, toys
from tests.examples import FEW
from tests.fakes import WAIT_S, FixedModel, ensemble_of

PROMPT = "ba"
LATITUDE = 1e-4  # of float32


def chain(toy: Toy, pieces: list[bytes]) -> float:
    """Log-probability of `pieces` after the prompt."""
    text, total = PROMPT.encode(), 0.0
    for piece in pieces:
        prob = toy.probs(text)[piece]
        total += math.log(prob) if prob else LEAST_LOG_PROB
        text += piece
    return total


def test_bits_per_byte_by_hand() -> None:
    assert Score(math.log(1 / 8), num_bytes=2, num_steps=1, num_ensembled=0).bits_per_byte == pytest.approx(1.5)
    assert Score(0.0, num_bytes=0, num_steps=0, num_ensembled=0).bits_per_byte == 0


@pytest.mark.parametrize("nats", [30, 60, 120, 700])
@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_what_a_sharp_model_finds_improbable_is_not_rounded(alignment: str, nats: int) -> None:
    """Float32 has no probability below 103 nats."""
    sharp = FixedModel("m1", {b"a": 1.0, b"b": math.exp(-nats)})
    also = FixedModel("m2", {b"a": 1.0, b"b": math.exp(10 - nats)})
    ensemble = ensemble_of([sharp, also], member=InlineMember)
    settings = ensemble.config.settings_from({"mode": "every-step", "alignment": alignment})
    (alone,) = ensemble.score("x", ["ba"], settings, alone="m1", raw=True)
    (both,) = ensemble.score("x", ["ba"], settings, raw=True)
    assert alone.log_prob == pytest.approx(-nats, rel=1e-6)
    assert both.log_prob == pytest.approx(10 - nats + math.log((1 + math.exp(-10)) / 2), rel=1e-6)
    (impossible,) = ensemble.score("x", ["c"], settings, raw=True)
    assert impossible.log_prob == LEAST_LOG_PROB


@pytest.mark.parametrize("name", ["unite", "contrastive"])
def test_a_rule_that_rules_texts_out_scores_none(name: str) -> None:
    ensemble = make(1, 2)
    settings = ensemble.config.settings_from({"combine": name})
    with pytest.raises(RequestError, match=f"combine: by '{name}'"):
        ensemble.score("the", [" model"], settings, raw=True)
    assert ensemble.score("the", [" model"], settings, alone="m1", raw=True)


def test_rules_of_whole_distributions_end_at_float32() -> None:
    sharp = [FixedModel(f"m{number}", {b"a": 1.0, b"b": math.exp(-200)}) for number in (1, 2)]
    ensemble = ensemble_of(sharp, member=InlineMember)
    settings = ensemble.config.settings_from({"mode": "every-step", "combine": "geometric"})
    (score,) = ensemble.score("x", ["b"], settings, raw=True)
    assert score.log_prob == pytest.approx(math.log(1e-30), rel=0.3)


@FEW
@given(seed=st.integers(0, 200), text=st.text("ab", min_size=1, max_size=8))
@example(seed=0, text="ab" * 40)  # read in parts
def test_a_member_alone_scores_by_the_chain_rule(seed: int, text: str) -> None:
    members = toys(seed, 2)
    ensemble = toy_ensemble(members)
    for name, toy in zip(ensemble.members, members, strict=True):
        pieces = toy.cut(text.encode())
        (score,) = ensemble.score(PROMPT, [text], alone=name, raw=True)
        assert score.log_prob == pytest.approx(chain(toy, pieces), rel=LATITUDE)
        assert (score.num_bytes, score.num_steps, score.num_ensembled) == (len(text), len(pieces), 0)


class SpacedModel(ToyModel):
    """Puts a space before each document."""

    def encode_raw(self, text: str) -> list[int]:
        return [len(self.toy.tokens), *(self.vocabulary.encode(f" {text}") if text else ())]


def test_a_document_is_scored_with_the_space_that_is_put_first() -> None:
    toy = Toy((b"a", b"b", b" ", b" a"), 1, sparsity=0)
    with closing(ensemble_of([SpacedModel("m0", toy)], member=InlineMember)) as ensemble:
        (score,) = ensemble.score("", ["ab"], alone="m0", raw=True)
        log_prob = math.log(toy.probs(b"")[b" a"] * toy.probs(b" a")[b"b"])
        assert score == Score(pytest.approx(log_prob, rel=LATITUDE), num_bytes=2, num_steps=2, num_ensembled=0)
        with closing(ReadPrompt([ensemble.members["m0"]], [[4]], WAIT_S, LOCAL)) as read:
            assert bits_per_byte(read, "ab") == pytest.approx(score.bits_per_byte, rel=LATITUDE)
        (behind,) = ensemble.score("a", ["a"], alone="m0", raw=True)
        assert behind.log_prob == pytest.approx(math.log(toy.probs(b" a")[b"a"]), rel=LATITUDE)


def bytes_by_hand(members: list[Toy], weights: list[float], text: bytes) -> float:
    """The log-probability under `prefix`, by brute force: of each member all tokenisations count whose tokens, apart
    from the last one, end where its tokeniser cuts; weights count from one place to the next at which every member
    ends a token in nine cases of ten.
    """
    start, whole = len(PROMPT), PROMPT.encode() + text
    begun, ended = [[[1.0] for _ in members] for _ in range(2)]
    for toy, begun_at, ended_at in zip(members, begun, ended, strict=True):
        cuts = set(itertools.accumulate(map(len, toy.cut(text)), initial=start))
        for end in range(start + 1, len(whole) + 1):
            found = list(tokenisations(toy, whole[:end], set(), start))
            probs = [(prob, rest) for ends, rest, prob in found if {*ends} - {end} <= cuts]
            begun_at.append(sum(prob for prob, _ in probs))
            ended_at.append(sum(prob for prob, rest in probs if rest is None))
    shared = [i for i in range(1, len(text)) if all(e[i] >= 0.9 * b[i] for b, e in zip(begun, ended, strict=True))]
    return sum(
        math.log(sum(w * b[to] / b[at] for w, b in zip(weights, begun, strict=True)))
        for at, to in itertools.pairwise([0, *shared, len(text)])
    )


@FEW
@given(seed=st.integers(0, 500), text=st.text("ab", min_size=2, max_size=6))
def test_bytes_of_unlike_vocabularies_score_as_by_hand(seed: int, text: str) -> None:
    """One member ends a token after every letter, the other one seldom."""
    members = [Toy((b"a", b"b"), seed, sparsity=0.0), Toy((b"a", b"ab", b"abb", b"b", b"ba"), seed + 1, sparsity=0.0)]
    ensemble = toy_ensemble(members, alignment="prefix", weights={"m0": 1, "m1": 3})
    (score,) = ensemble.score(PROMPT, [text], raw=True)
    assert score.log_prob == pytest.approx(bytes_by_hand(members, [0.25, 0.75], text.encode()), rel=LATITUDE)


@dataclass(frozen=True)
class Settled(Toy):
    """A toy that gives the same distribution after every text, and another one after `ab`."""

    given: tuple[tuple[bytes, float], ...] = ()
    after_ab: tuple[tuple[bytes, float], ...] = ()

    def probs(self, text: bytes) -> dict[bytes, float]:
        return {**dict(self.after_ab if text.endswith(b"ab") else self.given), b"": 0.1}


@pytest.mark.parametrize(("whole", "expected"), [(0.7, 0.7 / 2), (0.01, (0.5 + 0.1) / 2 * (0.4 + 0.79) / 2)])
def test_under_the_paper_the_likeliest_cut_counts(whole: float, expected: float) -> None:
    """Of `ab` in one piece, which the first member does not know, and in two."""
    letters = Settled((b"a", b"b"), 0, given=((b"a", 0.5), (b"b", 0.4)))
    pairs = Settled((b"a", b"ab", b"b"), 0, given=((b"a", 0.1), (b"ab", whole), (b"b", 0.8 - whole)))
    ensemble = toy_ensemble([letters, pairs], mode="every-step", alignment="paper")
    (score,) = ensemble.score(PROMPT, ["ab"], raw=True)
    assert math.exp(score.log_prob) == pytest.approx(expected, rel=LATITUDE)


def test_under_the_paper_the_union_s_own_cut_counts_too() -> None:
    """Of `abba` as `ab`, `ba`, where each member knows one of the two."""
    letters = (b"a", 0.01), (b"b", 0.01)
    given = {pair: (*letters, (pair, 0.88)) for pair in (b"ab", b"ba")}
    members = [Settled((b"a", b"b", pair), 0, given=probs, after_ab=probs) for pair, probs in given.items()]
    (score,) = toy_ensemble(members, mode="every-step", alignment="paper").score(PROMPT, ["abba"], raw=True)
    assert math.exp(score.log_prob) == pytest.approx((0.88 / 2) ** 2, rel=LATITUDE)


def test_by_agreement_who_reads_a_piece_as_two_calls_nobody() -> None:
    """After `ab` they disagree, but one has just read it as two tokens: the gate counts alone."""
    given = (b"ab", 0.5), (b"a", 0.3), (b"b", 0.1)
    one = Settled((b"a", b"ab", b"b"), 0, given=given, after_ab=((b"a", 0.6), (b"b", 0.3)))
    other = Settled((b"a", b"b"), 0, given=((b"a", 0.5), (b"b", 0.4)), after_ab=((b"a", 0.4), (b"b", 0.5)))
    ensemble = toy_ensemble([one, other], mode="agreement", alignment="paper")
    (score,) = ensemble.score(PROMPT, ["aba"], raw=True)
    assert score.log_prob == pytest.approx(math.log((0.5 / 2) * 0.6), rel=LATITUDE)
    assert (score.num_steps, score.num_ensembled) == (2, 1)


def test_bytes_under_a_gate_are_scored_by_the_gate_s_tokens() -> None:
    """The other member ends a token after four letters only, which no gate that decides alone waits for."""
    gate = Settled((b"a", b"b"), 0, given=((b"a", 0.5), (b"b", 0.4)), after_ab=((b"a", 0.6), (b"b", 0.3)))
    other = Settled((b"a", b"abab", b"b"), 0, given=((b"abab", 0.9),), after_ab=((b"abab", 0.9),))
    ensemble = toy_ensemble([gate, other], mode="gate", threshold=0.0, alignment="prefix")
    (score,) = ensemble.score(PROMPT, ["abab"], raw=True)
    assert score.log_prob == pytest.approx(math.log(0.5 * 0.4 * 0.6 * 0.4), rel=LATITUDE)
    assert (score.num_steps, score.num_ensembled) == (4, 0)


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_the_prompt_is_read_once_for_all_texts(alignment: str) -> None:
    ensemble = toy_ensemble(toys(1, 2), alignment=alignment)
    prompt = "ab" * 600
    texts = ["".join(letters) for letters in itertools.product("ab", repeat=3)]
    model = model_of(ensemble, "m0")
    num_prompt_ids = len(model.encode_raw(prompt))
    ensemble.score(prompt, texts, alone="m0", raw=True)
    assert model.num_read == num_prompt_ids - 1 + sum(len(model.toy.cut(text.encode())) for text in texts)
    model.num_read_at_once.clear()
    ensemble.score(prompt, texts, raw=True)
    at_most = 4 * 2 * sum(map(len, texts))  # at most four ways to cut, no letter read more than twice
    assert at_most < num_prompt_ids < model.num_read <= num_prompt_ids + at_most


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_other_weights_and_gates_need_no_new_reads(alignment: str) -> None:
    ensemble, other = (toy_ensemble(toys(1, 2), alignment=alignment) for _ in range(2))
    model = model_of(ensemble, "m0")
    texts = ["abba", "ab"]
    first = ensemble.score(PROMPT, texts, raw=True)
    model.num_read_at_once.clear()
    changes: list[dict[str, Any]] = [{}, {"weights": {"m0": 3, "m1": 1}}, {"mode": "gate", "threshold": 0.4}]
    for change in changes:
        settings = ensemble.config.settings_from({"mode": "every-step", "alignment": alignment, **change})
        assert ensemble.score(PROMPT, texts, settings, raw=True) == other.score(PROMPT, texts, settings, raw=True)
    assert model.num_read == 0
    again = ensemble.score(PROMPT, texts, raw=True)
    assert [score.seconds for score in again] == [score.seconds for score in first]
    assert first[0].seconds > 0
    for change in ({"mode": "gate", "threshold": 0.4, "gate_temperature": 2.0}, {"weights": {"m0": 1, "m1": 0}}):
        model.num_read_at_once.clear()
        settings = ensemble.config.settings_from({"alignment": alignment, **change})
        assert ensemble.score(PROMPT, texts, settings, raw=True) == other.score(PROMPT, texts, settings, raw=True)
        assert model.num_read > 0, "another temperature and other members have to be read"
    for prompt, namespace in ((PROMPT + "a", ""), (PROMPT, "another")):
        model.num_read_at_once.clear()
        ensemble.score(prompt, texts, raw=True, namespace=namespace)
        assert model.num_read > 0, "behind another prompt as well, and for somebody else"


def test_other_rules_score_anew_and_the_same_ones_do_not() -> None:
    ensemble = toy_ensemble(toys(1, 2))
    geometric = {"combine": "geometric"}
    gated = [{**geometric, "mode": "gate", "threshold": threshold} for threshold in (0.4, 0.7)]
    for how in (geometric, {"combine": "core"}, {"weights": {"m0": 3, "m1": 1}, **geometric}, *gated):
        settings = ensemble.config.settings_from({"mode": "every-step", **how})
        fresh = toy_ensemble(toys(1, 2))
        scored = [one.score(PROMPT, ["abba"], settings, raw=True)[0] for one in (ensemble, ensemble, fresh)]
        assert len({score.log_prob for score in scored}) == 1


def test_who_has_read_is_not_late_while_others_read_on() -> None:
    [member], read = make(1).members.values(), Future[Any]()
    sequence = KVSequence(0, timeout_s=-1.0)  # nothing of it was read for longer
    with pytest.raises(MemberError, match="no answer in time"):
        Wait([sequence]).until_done(read, member, sequence)
    read = Future()
    read.set_result("read")
    Wait([sequence]).until_done(read, member, sequence)
    sequence.stopped.set()
    with pytest.raises(SessionStopped):
        Wait([sequence]).until_done(read, member, sequence)


def test_of_what_was_scored_only_the_latest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_flight, "_MAX_KEPT_BYTES", 2 * single_flight._OWN_BYTES + 10)
    read_texts, calls = SingleFlightCache(), []

    def once(key: str, num_bytes: int) -> str:
        return read_texts.get_or_compute(key, num_bytes, lambda: calls.append(key) or key)[0]

    for key in ("a", "b", "a", "c", "b", "a"):
        assert once(key, 4) == key
    assert calls == ["a", "b", "c", "a"]
    assert once("huge", 99) == "huge"
    assert once("a", 4) == "a"
    assert calls == ["a", "b", "c", "a", "huge", "a"]
    with pytest.raises(KeyboardInterrupt):
        read_texts.get_or_compute("interrupted", 4, Mock(side_effect=KeyboardInterrupt))
    assert list(read_texts._reads) == ["a"], "who asks again would wait for ever"


@pytest.mark.parametrize("fails", [False, True])
def test_what_several_ask_for_at_once_is_read_once(fails: bool) -> None:
    read_texts, calls, waiting = SingleFlightCache(), [], threading.Event()

    def read() -> str:
        calls.append(1)
        assert waiting.wait(WAIT_S)
        if fails:
            raise MemberError("a", "exception", "broke")
        return "read"

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(read_texts.get_or_compute, "key", 4, read) for _ in range(3)]
        while not calls:
            time.sleep(0.001)
        waiting.set()
        if fails:
            assert {str(future.exception(WAIT_S)) for future in asked} == {"a: broke"}
            assert read_texts.get_or_compute("key", 4, lambda: "mended")[0] == "mended", "a failure is not kept"
        else:
            assert {future.result(WAIT_S)[0] for future in asked} == {"read"}
            assert len(calls) == 1


def test_scoring_gives_all_sequences_back() -> None:
    ensemble = make(1, 2)
    models = [member.model for member in ensemble.members.values()]  # type: ignore[attr-defined]
    num_free = [len(model._free_slots) for model in models]
    ensemble.score("the model", ["votes", " for"], raw=True)
    assert [len(model._free_slots) for model in models] == num_free
    models[1]._free_slots.clear()
    for ask in (lambda: ensemble.score("the model", ["others"], raw=True), lambda: ensemble.generate("the", raw=True)):
        with pytest.raises(MemberError, match="holds as many sequences as it can"):
            ask()
        assert len(models[0]._free_slots) == num_free[0]
