"""The gate's savings against every step.

With a lazy gate, a member is asked only at ensembled steps, and reads what it missed in the same pass. So it has at
most as many forward passes as there are such steps, and the members' time per token is at most the gate's plus that
share of the others' at every step. By default (`auto`) the others read along while nobody else uses them. So with one
visitor a token takes at most as long as at every step, and with many the members work as much as with a lazy gate.
"""

from __future__ import annotations

from functools import partial
from statistics import mean, median

from gac_app.bench.rows import Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio
from gac_app.bench.together import NUM_AT_ONCE, decode_at_once, eight_from, first_of_many
from gac_app.bench.workbench import Workbench
from gac_app.settings import GatePolicy


def measure(bench: Workbench) -> list[Row]:
    """A lazy gate, the default one and every step in turn; then eight answers at once with either gate."""

    def answer(prompt: str, **how: str) -> Decoded:
        return decode(bench.ensemble.session(prompt, bench.settings(**how)))

    gated = [partial(answer, mode="gate", gate_policy=policy) for policy in ("lazy", "auto")]
    rounds = interleaved(bench.prompts, *gated, answer)
    lazy = [(lazy, full) for lazy, _, full in rounds]
    auto = [(auto, full) for _, auto, full in rounds]
    return [*_lazy_rows(bench, lazy), _auto_row(bench, auto), _work_with_many(bench)]


def _lazy_rows(bench: Workbench, rounds: list[tuple[Decoded, Decoded]]) -> list[Row]:
    """Forward passes and member-seconds with a lazy gate, against every step."""
    answers = [answer for answer, _ in rounds]
    num_tokens, num_ensembled = _counts(answers)
    num_others = len(bench.config.members) - 1
    gate = bench.config.settings.gate
    num_forwards = sum(
        usage.num_forwards for answer in answers for name, usage in answer.finished.members.items() if name != gate
    )
    return [
        Row(
            "gate, lazy: supportive forwards ÷ tokens",
            num_forwards / max(1, num_others) / num_tokens,
            target=Target("<=", num_ensembled / num_tokens),
            note=f"threshold {bench.config.settings.threshold}: {num_ensembled} of {num_tokens} steps ensembled",
        ),
        Row(
            "gate, lazy: member-seconds a token ÷ every step's",
            median_ratio([(_member_s(lazy), _member_s(full)) for lazy, full in rounds]),
            target=Target("<=", median(_bound(gate, lazy, full) for lazy, full in rounds)),
            note=f"ms/token ÷ every step's: {_ratio_of_times(rounds):.2f}",
        ),
    ]


def _auto_row(bench: Workbench, rounds: list[tuple[Decoded, Decoded]]) -> Row:
    answers = [answer for answer, _ in rounds]
    num_tokens, num_ensembled = _counts(answers)
    return Row(
        "gate, auto: ms/token ÷ every step's",
        _ratio_of_times(rounds),
        target=Target("<=", 1.0),
        note=f"{num_ensembled} of {num_tokens} steps ensembled; "
        f"ms/token: {median(answer.ms_per_token for answer in answers):.1f}; "
        f"the gate's passes ÷ every step's: {_ratio_of_passes(bench.config.settings.gate, rounds):.2f}",
    )


def _work_with_many(bench: Workbench) -> Row:
    """Member-seconds of eight answers at once against those with a lazy gate."""

    def work_s(prompt: str, policy: GatePolicy) -> float:
        settings = bench.settings(mode="gate", gate_policy=policy)
        return mean(map(_member_s, decode_at_once(bench, eight_from(prompt), settings)))

    policies = (partial(work_s, policy="auto"), partial(work_s, policy="lazy"))
    rounds = interleaved(first_of_many(bench), *policies, warm_up=False)  # warm by now
    return Row(
        f"gate, auto, {NUM_AT_ONCE} runs at once: member-seconds a token ÷ lazy's",
        median_ratio([(auto_s, lazy_s) for auto_s, lazy_s in rounds]),
        target=Target("<=", 1.05),
        note=f"seconds a token: {median(auto_s for auto_s, _ in rounds):.3f}",
    )


def _counts(answers: list[Decoded]) -> tuple[int, int]:
    """The tokens of all answers, and those chosen by all members."""
    ends = [answer.finished for answer in answers]
    return sum(end.num_tokens for end in ends), sum(end.num_ensembled for end in ends)


def _ratio_of_times(rounds: list[tuple[Decoded, Decoded]]) -> float:
    return median_ratio([(gated.ms_per_token, full.ms_per_token) for gated, full in rounds])


def _ratio_of_passes(gate: str, rounds: list[tuple[Decoded, Decoded]]) -> float:
    """Of the gate's forward passes per token: the texts differ, and so do the drafts that are accepted."""
    gated, full = (_passes(gate, [pair[which] for pair in rounds]) for which in (0, 1))
    return gated / full


def _passes(gate: str, answers: list[Decoded]) -> float:
    """The gate's forward passes per token."""
    ends = [answer.finished for answer in answers]
    return sum(end.members[gate].num_forwards for end in ends) / sum(end.num_tokens for end in ends)


def _bound(gate: str, lazy: Decoded, full: Decoded) -> float:
    """The gate's member-seconds at every step, plus the others' times the share of ensembled steps."""
    seconds = {name: usage.seconds for name, usage in full.finished.members.items()}
    share = lazy.finished.num_ensembled / lazy.finished.num_tokens
    return share + (1 - share) * seconds[gate] / sum(seconds.values())


def _member_s(answer: Decoded) -> float:
    """Seconds of all members' forward passes per token, including the prompt's."""
    return sum(usage.seconds for usage in answer.finished.members.values()) / answer.finished.num_tokens
