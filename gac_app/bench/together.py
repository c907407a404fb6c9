"""Several answers at once, and several views of a model: their cost against one alone. Pending reads of a model share
its next forward pass, so they do not cost a multiple.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from statistics import median

from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.workbench import PROMPTS, Workbench, decode, interleaved
from gac_app.config import Config

NUM_AT_ONCE = 8
_SYSTEM_PROMPTS = ("Answer in plain words.", "Think step by step.", "Be exact, and give examples.")


def measure_many(bench: Workbench) -> list[Row]:
    """Eight answers at once: their tokens per second against one answer's, and against what the gate allows if all of
    its passes are shared by eight.

    Raises NotMeasured if a member has no room for them.
    """
    if any(member.max_sequences < NUM_AT_ONCE for member in bench.config.members):
        raise NotMeasured(f"needs max_sequences of at least {NUM_AT_ONCE} in every member")

    def decoded(start: int, number: int = NUM_AT_ONCE, alone: str | None = None) -> tuple[float, float]:
        """Tokens per second, with prompts, and the seconds of the gate's passes."""
        settings = bench.settings(mode="gate")
        prompts = (PROMPTS * 2)[start : start + number]
        sessions = [bench.ensemble.session(prompt, settings, alone=alone) for prompt in prompts]
        started = time.monotonic()
        with ThreadPoolExecutor(number) as pool:
            answers = list(pool.map(decode, sessions))
        num_tokens = sum(answer.finished.num_tokens for answer in answers)
        pass_s = median(step.members[0].seconds for answer in answers for step in answer.steps[1:])
        return num_tokens / (time.monotonic() - started), pass_s

    ways = decoded, partial(decoded, alone=bench.config.settings.gate), partial(decoded, number=1)
    many, gates, one = interleaved(range(1 if bench.is_quick else 3), *ways)
    many_per_s, one_per_s = ([per_s for per_s, _ in way] for way in (many, one))
    allowed_per_s = [NUM_AT_ONCE / pass_s for _, pass_s in gates]
    note = f"gate, auto; tokens/s: {median(many_per_s):.1f}, one alone {median(one_per_s):.1f}"
    allowed = f"{NUM_AT_ONCE} runs at once: tokens/s ÷ what the gate's passes of {NUM_AT_ONCE} allow"
    return [
        Row.ratio(f"{NUM_AT_ONCE} runs at once: tokens/s ÷ one run's", many_per_s, one_per_s, Target(">=", 1.9), note),
        Row.ratio(allowed, many_per_s, allowed_per_s, Target(">=", 0.85), f"{median(allowed_per_s):.1f} tokens/s"),
    ]


def measure_views(bench: Workbench) -> list[Row]:
    """Milliseconds per token of three views of the gate's model at every step, against that of one of them alone.

    Raises NotMeasured if a server computes it.
    """
    gate = bench.config.member(bench.config.settings.gate)
    base = bench.config.member(gate.of or gate.name)
    if base.server:
        raise NotMeasured(f"{base.name} runs on a server, so it has no views")
    members = [base, *({"name": f"view: {text}", "of": base.name, "system_prompt": text} for text in _SYSTEM_PROMPTS)]
    config = Config.model_validate({**dict(bench.config), "members": members, "settings": {}, "arena": {}})
    views = config.member_names[1:]
    settings = bench.settings(config, members=views, gate=views[0])
    with closing(bench.loaded(config)) as ensemble:

        def ms_per_token(prompt: str, alone: str | None = None) -> float:
            return decode(ensemble.session(prompt, settings, alone=alone)).ms_per_token

        three, one = interleaved(bench.prompts, ms_per_token, partial(ms_per_token, alone=views[0]))
    note = f"ms/token: {median(three):.1f}, one {median(one):.1f}"
    return [Row.ratio("three views ÷ one", three, one, Target("<=", 1.6), note)]
