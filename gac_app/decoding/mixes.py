"""How settings mix the distributions of the members that take part, where texts are scored."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import closing
from functools import partial

from gac_app.decoding.member import Member
from gac_app.decoding.request import Request
from gac_app.decoding.rules import combine_rules, draws_one, weight_rules
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.gate import Gate, make_gate
from gac_app.decoding.rules.weights import StepWeights
from gac_app.decoding.scoring import Mix, PromptForks, Score, Scorer, SingleFlightCache, rules_key
from gac_app.decoding.tokenizer import document_start
from gac_app.models.sequence import Share
from gac_app.settings import Settings
from gac_app.vocab.tokens import bytes_of

_PROMPT_CHARS_READ = 2000  # for its perplexity: every token takes a distribution over the whole vocabulary


def mix_of(request: Request, prior: Mapping[str, float], share: Share, stopped: threading.Event | None = None) -> Mix:
    """How the members' distributions become one. A rule that needs the prompt reads it before texts take sequences.

    Args:
        prior: the members' weights in the configuration.
        share: in which the prompt is read.

    Raises:
        SessionStopped: soon after `stopped` is set.
    """
    rule = weight_rules.of(request.settings)
    needs_prompt = rule.needs_prompt and len(request.members) > 1
    bits = {m.name: prompt_bits(request, share, stopped, m.name) for m in request.members} if needs_prompt else {}
    weights = partial(StepWeights, prior, rule, bits.__getitem__)
    gate = Gate() if request.alone else make_gate(request.settings)
    return Mix(gate, combiner_of(request.members, request.settings), weights, rules_key(request.settings))


def prompt_bits(request: Request, share: Share, stopped: threading.Event | None, name: str) -> float:
    """Bits per byte of the prompt's text under a member alone, as a document. Of a long prompt, its end counts. Takes a
    sequence of the member.

    Raises:
        SessionStopped: soon after `stopped` is set.
        MemberError: the member fails.
    """
    [member] = (member for member in request.members if member.name == name)
    text = request.text[-_PROMPT_CHARS_READ:]
    return _score_alone(member, request.settings, text, share, stopped).bits_per_byte


def _score_alone(member: Member, settings: Settings, text: str, share: Share, stopped: threading.Event | None) -> Score:
    """As `score`, for the start of a document, but nothing of a visitor's text is cached."""
    is_fixed = is_reproducible([member], settings)
    mix = Mix(Gate(), combiner_of([member], settings), partial(StepWeights, {member.name: 1.0}), rules_key(settings))
    ids, timeout_s = [document_start(member)], settings.step_timeout_s
    with closing(PromptForks([member], ids, timeout_s, share, is_reproducible=is_fixed, stopped=stopped)) as forks:
        scorer = Scorer(forks, (), mix, SingleFlightCache())
        return scorer.by_pieces(bytes_of(text)) if text else Score(0.0, 0, 0, 0)


def is_of_bytes(settings: Settings, members: list[Member], mix: Mix) -> bool:
    """Whether texts are scored by their bytes."""
    return settings.alignment == "prefix" and len(members) > 1 and not mix.needs_distributions


def is_reproducible(members: list[Member], settings: Settings) -> bool:
    if settings.reproducible == "auto":
        return all(member.model.is_batch_invariant for member in members)
    return settings.reproducible == "on"


def combiner_of(members: list[Member], settings: Settings) -> Combiner:
    mappings = {member.name: member.mapping for member in members}
    return Combiner(combine_rules.of(settings), mappings, draws_one=draws_one(settings))
