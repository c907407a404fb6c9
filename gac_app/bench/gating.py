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


def measure_lazy(bench: Workbench) -> list[Row]:
    """Forward passes and member-seconds with a lazy gate."""
    rounds = _gated_and_every_step(bench, "lazy")
    answers = [answer for answer, _ in rounds]
    num_tokens = sum(answer.finished.num_tokens for answer in answers)
    num_ensembled = sum(answer.finished.num_ensembled for answer in answers)
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
            note=f"ms/token ÷ every step's: {median_ratio([(a.ms_per_token, b.ms_per_token) for a, b in rounds]):.2f}",
        ),
    ]


def measure_auto(bench: Workbench) -> list[Row]:
    """Time per token with one visitor, and member-seconds with many."""
    return [_waiting(bench), _work_with_many(bench)]


def _waiting(bench: Workbench) -> Row:
    rounds = _gated_and_every_step(bench, "auto")
    num_tokens = sum(answer.finished.num_tokens for answer, _ in rounds)
    num_ensembled = sum(answer.finished.num_ensembled for answer, _ in rounds)
    return Row(
        "gate, auto: ms/token ÷ every step's",
        median_ratio([(auto.ms_per_token, full.ms_per_token) for auto, full in rounds]),
        target=Target("<=", 1.0),
        note=f"{num_ensembled} of {num_tokens} steps ensembled; "
        f"ms/token: {median(answer.ms_per_token for answer, _ in rounds):.1f}",
    )


def _work_with_many(bench: Workbench) -> Row:
    """Member-seconds of eight answers at once against those with a lazy gate."""

    def work_s(prompt: str, policy: GatePolicy) -> float:
        settings = bench.settings(mode="gate", gate_policy=policy)
        return mean(map(_member_s, decode_at_once(bench, eight_from(prompt), settings)))

    rounds = interleaved(first_of_many(bench), partial(work_s, policy="auto"), partial(work_s, policy="lazy"))
    return Row(
        f"gate, auto, {NUM_AT_ONCE} runs at once: member-seconds a token ÷ lazy's",
        median_ratio([(auto_s, lazy_s) for auto_s, lazy_s in rounds]),
        target=Target("<=", 1.05),
        note=f"seconds a token: {median(auto_s for auto_s, _ in rounds):.3f}",
    )


def _gated_and_every_step(bench: Workbench, policy: GatePolicy) -> list[tuple[Decoded, ...]]:
    def gated(prompt: str) -> Decoded:
        settings = bench.settings(mode="gate", gate_policy=policy)
        return decode(bench.ensemble.session(prompt, settings))

    def every_step(prompt: str) -> Decoded:
        return decode(bench.ensemble.session(prompt, bench.settings()))

    return interleaved(bench.prompts, gated, every_step)


def _bound(gate: str, lazy: Decoded, full: Decoded) -> float:
    """The gate's member-seconds at every step, plus the others' times the share of ensembled steps."""
    seconds = {name: usage.seconds for name, usage in full.finished.members.items()}
    share = lazy.finished.num_ensembled / lazy.finished.num_tokens
    return share + (1 - share) * seconds[gate] / sum(seconds.values())


def _member_s(answer: Decoded) -> float:
    """Seconds of all members' forward passes per token, including the prompt's."""
    return sum(usage.seconds for usage in answer.finished.members.values()) / answer.finished.num_tokens
