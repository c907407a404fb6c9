"""How well systems predict the reference answers of questions: bits per byte. One forward pass over known text tells
more a second than an answer that is written token by token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gac_app.errors import GacError, MemberError, RequestError, VocabularyError
from gac_app.evaluation.running.systems import System
from gac_app.evaluation.tasks import Question, Task

if TYPE_CHECKING:  # it loads torch
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.scoring import Score


class Likelihoods:
    """The scores of systems on reference answers."""

    namespace = "advice"  # of the prefix cache: the worked examples of a task are read once

    def __init__(self, ensemble: Ensemble, task: Task) -> None:
        self._ensemble, self._task, self.config = ensemble, task, ensemble.config
        self._scores: dict[System, dict[str, Score]] = {}

    def measure(
        self, systems: Sequence[System], questions: Iterable[Question], on_done: Callable[[], None] = lambda: None
    ) -> list[Question]:
        """Score the reference answers under each system. Returns the questions that every system could read.

        Raises:
            GacError: none could be read.
        """
        done, first_error = [], ""
        for question in questions:
            try:
                found = {system: self._score(system, question) for system in systems}
            except (MemberError, RequestError, VocabularyError) as error:
                first_error = first_error or str(error)
            else:
                done.append(question)
                for system, score in found.items():
                    self._scores.setdefault(system, {})[question.id] = score
            on_done()
        if first_error and not done:
            raise GacError(f"no reference answer can be read: {first_error}")
        return done

    def measured_on(self, questions: Sequence[Question]) -> list[System]:
        """The systems whose scores on all these questions are known."""
        wanted = {question.id for question in questions}
        return [system for system, scores in self._scores.items() if wanted <= scores.keys()]

    def likeliest(self, systems: Sequence[System], questions: Sequence[Question]) -> System:
        """The one that needs fewest bits; of equals the first."""
        return min(systems, key=lambda system: self.bits(system, questions))

    def bits(self, system: System, questions: Sequence[Question]) -> float:
        """Bits per byte of all reference answers together."""
        scores = [self._scores[system][question.id] for question in questions]
        return sum(map(_bits, scores)) / sum(score.num_bytes for score in scores)

    def share_ensembled(self, system: System, questions: Sequence[Question]) -> float:
        """Of the steps of all reference answers."""
        scores = [self._scores[system][question.id] for question in questions]
        return sum(score.num_ensembled for score in scores) / max(sum(score.num_steps for score in scores), 1)

    def saved(self, system: System, other: System, questions: Sequence[Question]) -> tuple[float, float, float]:
        """The share of `other`'s bits that `system` saves, and its 95 % interval. Raises RequestError for too few."""
        from gac_app.evaluation.metrics.permutation import share_saved

        mine, others = ([_bits(self._scores[one][q.id]) for q in questions] for one in (system, other))
        return share_saved(mine, others)

    def _score(self, system: System, question: Question) -> Score:
        """A member alone is scored as a mean in which it has all the weight: by the same reads as other means, and over
        the same spellings of the text.
        """
        task, settings = self._task, system.settings(self.config)
        if system.alone:
            # Members without any weight would not be asked: the text would count along one spelling alone.
            all_its = {name: 1.0 if name == system.alone else 1e-300 for name in self.config.member_names}
            mean = {"members": (), "mode": "every-step", "combine": "mean", "weights": all_its}
            settings = self.config.settings_from(mean)
        prompt, reference = task.prompt(question), task.reference(question)
        [score] = self._ensemble.score(prompt, [reference], settings, raw=task.is_raw, namespace=self.namespace)
        return replace(score, num_ensembled=0) if system.alone else score


def _bits(score: Score) -> float:
    return score.bits_per_byte * score.num_bytes
