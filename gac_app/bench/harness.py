"""The harness of the measurements: one ensemble, loaded once; answers in several ways, in turn, with their times; and a
process of its own for what needs a fresh one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.errors import GacError
from gac_app.member_config import MemberConfig
from gac_app.models.child_process import ChildFailed, run_module
from gac_app.settings import Settings

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.loop import DecodingSession
    from gac_app.models.sources import ModelFiles


MIN_TOKENS = 8  # an answer with fewer is too short to time
CHILD_TIMEOUT_S = 900

# Prompts with long answers, so that runs have equally many tokens.
PROMPTS = (
    "Write a long story about a lighthouse keeper who finds a message in a bottle.",
    "Explain in detail how a steam engine works, step by step.",
    "Describe a day in the life of a medieval blacksmith, from morning to night.",
    "Give ten tips for learning to play the guitar, with a reason for each.",
    "Tell the history of the bicycle from its invention until today.",
    "Write a letter to a friend about a long journey through the mountains.",
    "Explain what causes the seasons, and how they differ around the world.",
    "Describe how bread is made, from the field to the table.",
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One answer, with the trace of each step."""

    steps: list[StepTrace]
    finished: FinishedEvent

    @property
    def ms_per_token(self) -> float:
        """Mean time of the tokens after the first, so without the prompt."""
        return 1000 / self.finished.tokens_per_s

    @property
    def overhead_ms(self) -> float:
        """Mean time of a step beyond its slowest member's forward pass, without the first step."""
        waited_s = sum(max(member.seconds for member in step.members) for step in self.steps[1:])
        return self.ms_per_token - 1000 * waited_s / (len(self.steps) - 1)

    @property
    def pass_s(self) -> float:
        """Median seconds of the forward passes of the member that comes first."""
        return median(step.members[0].seconds for step in self.steps[1:])

    @property
    def member_s(self) -> float:
        """Seconds of all members' forward passes per token, including the prompt's."""
        return sum(usage.seconds for usage in self.finished.members.values()) / self.finished.num_tokens


def decode(session: DecodingSession) -> Decoded:
    """Run a session to its end. Raises GacError if the answer failed or is too short to time."""
    *events, end = session.events()
    assert isinstance(end, FinishedEvent)  # noqa: S101 (every session ends with it)
    steps = [event.step for event in events if isinstance(event, TokenEvent)]
    if len(steps) < MIN_TOKENS or end.reason is FinishReason.ERROR:
        raise GacError(f"an answer ended after {len(steps)} tokens and cannot be timed: {end.detail or end.text}")
    return Decoded(steps, end)


@dataclass(frozen=True)
class Way:
    """How prompts are answered.

    Attributes:
        changes: of the settings, which are greedy and ask all members at every step.
        alone: a member; "" = the ensemble.
        num_at_once: so many prompts are answered at the same time.
    """

    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    alone: str = ""
    num_at_once: int = 1


@dataclass(frozen=True, slots=True)
class Answers:
    """What one way gave at one turn."""

    decoded: list[Decoded]
    seconds: float  # with the prompts

    @property
    def tokens_per_s(self) -> float:
        """All together, with the prompts."""
        return sum(answer.finished.num_tokens for answer in self.decoded) / self.seconds

    def mean(self, figure: Callable[[Decoded], float]) -> float:
        return fmean(map(figure, self.decoded))


class Harness:
    """One configuration for measurement. Close it to release the models.

    Args:
        path: the configuration file, which child processes read again.
        is_quick: fewer prompts and tokens, to check that everything works; the figures are not for publication.

    Attributes:
        num_turns: of each way; six are the fewest with an interval.
        num_tokens: of an answer.
    """

    def __init__(self, path: Path, config: Config, *, is_quick: bool = False) -> None:
        self.path = path
        self.config = config
        self.is_quick = is_quick
        self.num_turns = 2 if is_quick else 6
        self.num_tokens = 16 if is_quick else 48

    @cached_property
    def ensemble(self) -> Ensemble:
        """The configuration's members, which have given an answer, so that none of those measured is the first."""
        ensemble = self.loaded(self.config)
        list(ensemble.generate(PROMPTS[-1], self.settings(self.config)))
        return ensemble

    def loaded(self, config: Config) -> Ensemble:
        """The members of a configuration, to be closed by the caller."""
        from gac_app.loading import load_ensemble

        return load_ensemble(config)

    def in_turn(self, ensemble: Ensemble, *ways: Way) -> list[list[Answers]]:
        """Every way answers, A B A B ..., each time another prompt: a list of each way's answers."""
        turns = [[self._answered(ensemble, way, turn) for way in ways] for turn in range(self.num_turns)]
        return [list(answers) for answers in zip(*turns, strict=True)]

    def _answered(self, ensemble: Ensemble, way: Way, turn: int) -> Answers:
        settings = self.settings(ensemble.config, **way.changes)
        prompts = (PROMPTS * 2)[turn : turn + way.num_at_once]
        sessions = [ensemble.session(prompt, settings, alone=way.alone or None) for prompt in prompts]
        started = time.monotonic()
        with ThreadPoolExecutor(len(sessions)) as pool:
            decoded = list(pool.map(decode, sessions))
        return Answers(decoded, time.monotonic() - started)

    def settings(self, config: Config, **changes: Any) -> Settings:
        """Greedy settings of `num_tokens` tokens at every step, with `changes`."""
        base = {"mode": "every-step", "temperature": 0, "max_new_tokens": self.num_tokens, "stop": ()}
        return config.settings_from({**base, **changes})

    def files(self, member: MemberConfig) -> ModelFiles:
        """A member's files in the cache."""
        from gac_app.environment import cache_dir
        from gac_app.models.sources import resolve

        return resolve(member, cache_dir(self.config), lambda _: None)

    def in_child(self, module: str) -> Any:
        """What `print_found` of a module prints in a process of its own. Raises GacError if it fails."""
        try:
            return json.loads(run_module(module, self.path, json.dumps(self.is_quick), timeout_s=CHILD_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            raise GacError(f"{module} did not end within {CHILD_TIMEOUT_S} s") from None
        except ChildFailed as failure:
            raise GacError(f"{module} failed: {failure}") from None

    def close(self) -> None:
        if loaded := self.__dict__.pop("ensemble", None):  # of the cached property
            loaded.close()


def print_found(find: Callable[[Harness], Any], path: str, is_quick: str) -> None:
    """The other side of `in_child`: print the result of `find` as JSON."""
    from gac_app.environment import read_config

    with closing(Harness(Path(path), read_config(Path(path), os.environ), is_quick=json.loads(is_quick))) as harness:
        print(json.dumps(find(harness)))
