"""One decoding step of several members (paper, section 3): ask, combine, choose, feed.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from itertools import islice

import torch

from gac_app.config import Settings
from gac_app.decoding.alignment.contested import begun, contested, ends_there, goes_on, look_ahead
from gac_app.decoding.contexts.context import MemberContext, SessionStopped, gather
from gac_app.decoding.distribution.expectation import Expectation
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.loop.tracing import TOP_K, Decision
from gac_app.decoding.rules.combine import Combine
from gac_app.decoding.rules.gate import Gate, GateDecision
from gac_app.decoding.rules.weights import StepWeights
from gac_app.decoding.speculation.favourite_drafts import FavouriteDrafts
from gac_app.decoding.speculation.speculative import Speculation
from gac_app.decoding.trace.events import StepTrace
from gac_app.vocab.union import UnionVocabulary

_LIKELY = 0.01  # probability of a favourite of the gate from which it is a likely next piece
_LEAST_PROB = 1e-30  # of which there is a logarithm

Choose = Callable[[torch.Tensor], int]  # probabilities over the union, [U] -> union id


class Stepper:
    """Takes the members of one answer from token to token. Knows nothing of texts, limits or reasons to finish.

    Args:
        contexts: of the members taking part, the gate first; `close` closes them.
        weights: of the members, at each step.
        settings: time limit of a step, what to do where a member fails, alignment.
        stopped: ends a wait for members when set.
        drafts: who reads on while others are waited for.
        speculation: reads ahead of need; None = members are asked step by step.
    """

    def __init__(
        self,
        contexts: list[MemberContext],
        union: UnionVocabulary,
        gate: Gate,
        combine: Combine,
        weights: StepWeights,
        settings: Settings,
        stopped: threading.Event,
        drafts: FavouriteDrafts,
        speculation: Speculation | None = None,
    ) -> None:
        self.contexts = {context.name: context for context in contexts}
        self.alive = [context.name for context in contexts]
        self._dropped: tuple[str, ...] = ()
        self._union = union
        self._gate = gate
        self._combine = combine
        self._weights = weights
        self._settings = settings
        self._stopped = stopped
        self._speculation = speculation
        self._drafts = drafts
        self._open: dict[str, float] = {}  # the members whose tokens go on beyond the token decided
        self._is_foreseeable = False  # what all members like best is taken, and all read it for the next step
        self._is_stable = True  # all members read the token fed last as one of their own

    def decide(self, choose: Choose, *, takes_favourite: bool = False, num_left: int = 1) -> Decision:
        """Ask the members, combine what they expect, and choose.

        Args:
            takes_favourite: `choose` takes the likeliest token, whichever it is.
            num_left: steps that may follow, in which `choose` does as in this one.

        Raises:
            SessionStopped, MemberError.
        """
        if self._stopped.is_set():
            raise SessionStopped
        if len(self.contexts) == 1:
            return self._decide_alone(choose, takes_favourite=takes_favourite)
        first = self._gate.asked_first(self.alive)
        all_are_asked = len(first) == len(self.alive)
        may_draft = takes_favourite and not self._settings.asks_lazily
        self._drafts.begin_step(first, self.alive, num_left if may_draft else 0)
        self._is_foreseeable = takes_favourite and all_are_asked and num_left > 0 and not self._drafts.is_on
        asked, decision = self._ask()
        expected = asked if decision.is_open else dict(islice(asked.items(), 1))
        weights = self._weights.of(list(expected))
        ranges = self._contested(expected, weights)
        mixture = Mixture(expected, weights, self._combine, ranges)
        token_id = mixture.favourite_id if takes_favourite else choose(mixture.probs_U)
        self._open = self._inside(token_id, asked, decision, is_contested=any(token_id == ids.start for ids in ranges))
        probs = {name: self._open.get(name, e.row.prob_of(token_id)) for name, e in expected.items()}
        is_shared = all(ends_there(asked[name].row, token_id, begun) for name, begun in self._open.items())
        self._note(probs, is_shared=is_shared)
        return Decision(
            token_id,
            mixture,
            gate_confidence=decision.confidence,
            dropped=self._dropped,
            evidence=probs,
            is_open=bool(self._open),
            is_shared=is_shared,
            is_drafted=(self._speculation or self._drafts).expects(token_id),
        )

    def _decide_alone(self, choose: Choose, *, takes_favourite: bool) -> Decision:
        """Let the only member decide. What it expects besides its favourite is looked at by whoever traces the step."""
        [(name, expectation)] = self._collect(self.alive).items()
        token_id = expectation.favourite_id if takes_favourite else choose(expectation.row.probs_U)
        return Decision(token_id, Mixture({name: expectation}, {name: 1.0}))

    def recall(self, step: StepTrace) -> None:
        """Learn from a step of another session what `decide` learnt from it there."""
        given = {member.member: member.prob for member in step.members}
        self._note({**given, **step.evidence}, is_shared=step.is_shared)

    def _note(self, probs: dict[str, float], *, is_shared: bool) -> None:
        """Let the weights learn from what each member gave to the token decided; one member alone proves nothing."""
        log_probs = {name: math.log(max(prob, _LEAST_PROB)) for name, prob in probs.items()}
        self._weights.note(log_probs if len(probs) > 1 else {}, is_shared=is_shared or len(probs) == 1)

    def feed(self, token_id: int) -> dict[str, tuple[bytes, ...]]:
        """Feed a decided token to every member; returns the pieces of those that do not read it as it is."""
        fed = {name: self.contexts[name].feed(token_id, is_open=name in self._open) for name in self.alive}
        self._open = {}
        if self._speculation:
            self._speculation.feed(token_id)
        token = self._union.token(token_id)
        spellings = {name: pieces for name, pieces in fed.items() if token and pieces != (token,)}
        self._is_stable = not spellings
        return spellings

    def read_on(self) -> None:
        """Begin the passes that the next step is sure to need, so that members compute while this one is told of."""
        if not self._speculation:
            first = self._gate.asked_first(self.alive)
            contexts = [self.contexts[name] for name in first]
            self._drafts.offer()
            for context in sorted(contexts, key=lambda context: -context.usage.seconds):  # the slowest first
                context.read_ahead()
                time.sleep(0)  # lets the member's thread have the interpreter
            for name in self.alive:
                if name not in first:
                    self.contexts[name].skip_step()

    def close(self) -> None:
        """Free the members' sequences."""
        for context in self.contexts.values():
            context.close()

    def _ask(self) -> tuple[dict[str, Expectation], GateDecision]:
        """What the members asked at this step expect, the gate first, and whether all take part or the gate alone."""
        expected: dict[str, Expectation] = {}
        while True:
            first = self._gate.asked_first(self.alive)
            expected |= self._collect([name for name in first if name not in expected], self._reading_along(first))
            if first[0] not in expected:
                continue  # the gate was lost: the next member is the gate now
            favourites = [expected[name].favourite(self._gate.temperature) for name in first if name in expected]
            decision = self._gate.decide(favourites, is_stable=self._is_stable)
            if decision.is_open:
                self._tell_what_is_likely(expected[first[0]])
                if others := [name for name in self.alive if name not in expected]:
                    self._drafts.go_on(expected)
                    expected |= self._collect(others)
            return expected, decision

    def _tell_what_is_likely(self, gate: Expectation) -> None:
        """Those that were not asked so far may have to know how the gate goes on."""
        tokens = [self._union.token(token_id) for token_id, prob in gate.favourites(TOP_K) if prob >= _LIKELY]
        for context in self.contexts.values():
            context.likely = [token for token in tokens if token]

    def _reading_along(self, asked: list[str]) -> list[str]:
        """The members that read what is pending while those asked are waited for."""
        return [name for name in self.alive if name not in asked] if self._settings.gate_policy == "eager" else []

    def _collect(self, names: list[str], reading_along: SequenceOf[str] = ()) -> dict[str, Expectation]:
        """Ask the members named; those that fail are dropped if the settings say so, else the session ends."""
        contexts = [self.contexts[name] for name in names]
        idle = [self.contexts[name] for name in reading_along]
        if self._speculation:
            expected, errors = self._speculation.gather(contexts, self._settings.step_timeout_s, self._stopped)
        else:
            expected, errors = gather(
                contexts, self._settings.step_timeout_s, self._stopped, idle, meanwhile=self._meanwhile
            )
        for error in errors:
            self.alive.remove(error.member)
            self._dropped += (error.member,)
            if self._settings.on_member_failure == "stop" or not self.alive:
                raise error
        return expected

    def _meanwhile(self, expected: dict[str, Expectation], awaited: list[MemberContext]) -> None:
        """What can be done with what some expect as long as others are waited for."""
        favourites = {expectation.favourite_id for expectation in expected.values()}
        self._drafts.go_on(expected)
        if self._is_foreseeable and len(favourites) == 1:
            for context in awaited:
                context.foresee(*favourites)
        *_, last = expected.values()
        # On a CPU, where looking at single values is no wait for a device.
        if self._settings.alignment == "prefix" and last.row.is_on_cpu:
            look_ahead(last, self._union)

    def _contested(self, expected: dict[str, Expectation], weights: dict[str, float]) -> list[range]:
        if self._settings.alignment != "prefix" or len(expected) == 1:
            return []
        return contested(expected, weights, self._union)

    def _inside(
        self, token_id: int, asked: dict[str, Expectation], decision: GateDecision, *, is_contested: bool
    ) -> dict[str, float]:
        """The members that may be inside a token of theirs behind the one chosen -> what they gave to its bytes."""
        if self._settings.alignment != "prefix" or token_id == self._union.end_id:
            return {}
        ids = self._union.extensions(self._union.tokens[token_id])
        alone = "" if len(asked) > 1 and decision.is_open else next(iter(asked))  # it has chosen by its own tokens
        return {
            name: begun(e.row, ids)
            for name, e in asked.items()
            if is_contested or token_id in e.row.open_ids or (name != alone and len(ids) > 1 and goes_on(e.row, ids))
        }
