"""Runs a registered study of pairs: what does a mixture of two members gain over the better one, and on what does that
depend?

All members read the reference answers once. The development questions say which member of a pair is the better one, and
choose the pair's weights; the held-out questions judge once. The rest is arithmetic.

Shape suffixes: `P` pairs, `N` questions, `S` samples of the bootstrap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.metrics import compare, holm, paired_interval
from gac_app.evaluation.metrics.bootstrap import drawn_counts, interval, p_value
from gac_app.evaluation.registered.gated import Gated, GatedPieces, gated_pieces, judged_gates
from gac_app.evaluation.registered.pair_figures import MemberFigures, PairFigures, member_figures, pair_figures
from gac_app.evaluation.registered.protocol import PairProtocol, Part, parts_of
from gac_app.evaluation.registered.readings import ReadingCache, read_all, texts_of
from gac_app.evaluation.registered.register import Register
from gac_app.evaluation.running import StudyProgress
from gac_app.evaluation.tasks import Question

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


@dataclass(frozen=True, slots=True)
class Gain:
    """A pair against the better of its members on the held-out questions.

    Attributes:
        best: the better member on the development questions.
        weight: its weight, chosen there.
        gap: how far the other member is behind it.
        even: the gain with equal weights.
        interval: the gain's, 95 %.
        adjusted: p for all tests of this measure together (Holm).
    """

    best: str
    weight: float
    gap: float
    even: float
    gain: float
    interval: tuple[float, float]
    p: float
    adjusted: float


@dataclass(frozen=True, slots=True)
class PairFound:
    """One pair on one task.

    Attributes:
        differ: share of places at which the argmax tokens differ.
        bits: shares of the better member's bits: the gap is what the other needs more, the gain what the pair needs
            less.
        hits: what the mixture by which `bits` was judged adds to the share of places at which the better member's
            argmax is what the text goes on with.
        right: of multiple choice, in shares of the questions.
    """

    task: str
    first: str
    second: str
    differ: float
    bits: Gain
    hits: float
    right: Gain | None


@dataclass(frozen=True, slots=True)
class PairsFound:
    """The outcome. `alone`: of each task and member, bits per byte and the share of right answers, held out."""

    pairs: list[PairFound]
    alone: dict[str, dict[str, tuple[float, float]]]
    gated: list[Gated]


@dataclass(frozen=True, slots=True)
class Half:
    """A task's half, with the figures of members and pairs."""

    num_bytes: int
    members: dict[str, MemberFigures]
    pairs: dict[tuple[str, str], PairFigures]
    gated: GatedPieces | None

    @property
    def alone(self) -> dict[str, tuple[float, float]]:
        """Each member's bits per byte and share of right answers."""
        return {
            name: (float(figures.bits_N.sum() / self.num_bytes), float(figures.is_right_N.mean()))
            for name, figures in self.members.items()
        }


class PairRun:
    """One registered study of pairs. Arguments and errors as of `StudyRun`."""

    def __init__(self, path: Path, protocol: PairProtocol, config: Config, folder: Path) -> None:
        self.protocol, self.config, self.name = protocol, config, path.stem
        if len(config.member_names) < 2:
            raise RequestError("members", "there is only one, so there is no pair")
        if unknown := set(protocol.gated or ()) - set(config.member_names):
            raise RequestError("gated", f"{', '.join(unknown)}: is no member")
        self.parts = parts_of(protocol)
        self.pairs = list(combinations(config.member_names, 2))
        self.register = Register(path, folder / "judged", protocol, config, self.parts)
        self._folder = folder

    def measure(self, ensemble: Ensemble) -> None:
        """Register the study, with the pace of each task: that of its second development question."""
        seconds = dict[str, float]()
        for part in self.parts:
            for question in part.development[:2]:
                started = time.monotonic()
                self._read(ensemble, part, [question])
                seconds[part.task.name] = round(time.monotonic() - started, 3)
        self.register.register(seconds, dict.fromkeys(seconds, 1.0))

    def plan_lines(self) -> list[str]:
        """The plan for a terminal. Needs `measure` or an earlier registration."""
        found = []
        for part in self.parts:
            num = len(part.development) + len(part.held_out)
            minutes = num * self.register.seconds_per_step[part.task.name] / 60
            found.append(
                f"{part.task.name}: {len(part.development)} development and {len(part.held_out)} held-out questions, "
                f"{len(self.config.member_names)} members, {len(self.pairs)} pairs, about {minutes:,.0f} minutes"
            )
        return found

    def run(self, ensemble: Ensemble, on_progress: Callable[[str, StudyProgress], None]) -> PairsFound:
        """Read what has not been read. Raises RequestError if it was judged before, MemberError if a member failed."""
        self.register.refuse_judged()
        first = {part.task.name: self._half(ensemble, part, part.development, on_progress) for part in self.parts}
        chosen = {
            f"{task}: {' + '.join(names)}": f"{self._best(half, names)} {self._chosen(half, names)}"
            for task, half in first.items()
            for names in self.pairs
        }
        self.register.open_held_out(chosen)
        last = {part.task.name: self._half(ensemble, part, part.held_out, on_progress) for part in self.parts}
        pairs = [
            pair for part in self.parts for pair in self._judged(part, first[part.task.name], last[part.task.name])
        ]
        gated = judged_gates(_gated(first), _gated(last), self.protocol.weights) if self.protocol.gated else []
        return PairsFound(_corrected(pairs), {task: half.alone for task, half in last.items()}, gated)

    def _read(
        self,
        ensemble: Ensemble,
        part: Part,
        questions: Sequence[Question],
        on_progress: Callable[[str, StudyProgress], None] = lambda _name, _progress: None,
    ) -> ReadingCache:
        cache, name = ReadingCache(self._folder, self.config, ensemble.engines, part.task), part.task.name
        parallel = self.protocol.parallel
        read_all(ensemble, part.task, questions, cache, parallel=parallel, on_progress=partial(on_progress, name))
        return cache

    def _half(
        self,
        ensemble: Ensemble,
        part: Part,
        questions: Sequence[Question],
        on_progress: Callable[[str, StudyProgress], None],
    ) -> Half:
        cache = self._read(ensemble, part, questions, on_progress)
        read = [cache[question] for question in questions]
        rights = [texts_of(part.task, question)[1] for question in questions]
        names = self.config.member_names
        return Half(
            sum(of_all[names[0]][right].num_bytes for of_all, right in zip(read, rights, strict=True)),
            {name: member_figures(read, rights, name) for name in names},
            {pair: pair_figures(read, rights, pair, self.protocol.weights) for pair in self.pairs},
            gated_pieces(read, rights, gated, self.protocol.weights) if (gated := self.protocol.gated) else None,
        )

    def _best(self, half: Half, names: tuple[str, str], *, by_right: bool = False) -> str:
        """The member that is right more often, if that counts; with fewer bits; the first."""

        def rank(name: str) -> tuple[float, float]:
            figures = half.members[name]
            return float(figures.is_right_N.sum()) * by_right, -float(figures.bits_N.sum())

        return max(names, key=rank)

    def _chosen(self, half: Half, names: tuple[str, str], *, by_right: bool = False) -> float:
        """The first member's weight, by the same measure; of equals the one nearest to equal weights."""
        figures = half.pairs[names]
        bits_W, right_W = figures.bits_NW.sum(0), figures.is_right_NW.sum(0) * by_right
        weights = self.protocol.weights

        def rank(at: int) -> tuple[float, float, float]:
            return float(right_W[at]), -abs(weights[at] - 0.5) * by_right, -float(bits_W[at])

        return weights[max(range(len(weights)), key=rank)]

    def _judged(self, part: Part, first: Half, last: Half) -> list[PairFound]:
        counts_SN = drawn_counts(len(next(iter(last.members.values())).bits_N))
        found = []
        for names in self.pairs:
            figures = last.pairs[names]
            best, weight = self._best(first, names), self._chosen(first, names)
            places, at = figures.places_N.sum(), self.protocol.weights.index(weight)
            hits = figures.hits_NW[:, at].sum() - figures.hits_N2[:, names.index(best)].sum()
            found.append(
                PairFound(
                    part.task.name,
                    *names,
                    float(figures.differ_N.sum() / places),
                    self._gain_of_bits(last, names, best, weight, counts_SN),
                    float(hits / places),
                    self._gain_of_right(first, last, names) if part.task.kind == "choice" else None,
                )
            )
        return found

    def _gain_of_bits(
        self, last: Half, names: tuple[str, str], best: str, weight: float, counts_SN: np.ndarray
    ) -> Gain:
        bits_NW, weights = last.pairs[names].bits_NW, self.protocol.weights
        best_N, other_N = (last.members[name].bits_N for name in (best, _other(names, best)))
        mixed_N, even_N = bits_NW[:, weights.index(weight)], bits_NW[:, weights.index(0.5)]
        gain_S = 1 - (counts_SN @ mixed_N) / (counts_SN @ best_N)
        return Gain(
            best,
            weight if best == names[0] else round(1 - weight, 9),
            float(other_N.sum() / best_N.sum() - 1),
            float(1 - even_N.sum() / best_N.sum()),
            float(1 - mixed_N.sum() / best_N.sum()),
            interval(gain_S),
            p := p_value(gain_S),
            p,
        )

    def _gain_of_right(self, first: Half, last: Half, names: tuple[str, str]) -> Gain:
        best = self._best(first, names, by_right=True)
        weight, weights = self._chosen(first, names, by_right=True), self.protocol.weights
        right_NW = last.pairs[names].is_right_NW
        best_N, other_N = (last.members[name].is_right_N for name in (best, _other(names, best)))
        mixed_N, even_N = right_NW[:, weights.index(weight)], right_NW[:, weights.index(0.5)]
        compared = compare(mixed_N.tolist(), best_N.tolist())
        return Gain(
            best,
            weight if best == names[0] else round(1 - weight, 9),
            float(best_N.mean() - other_N.mean()),
            float(even_N.mean() - best_N.mean()),
            compared.delta,
            paired_interval(mixed_N.tolist(), best_N.tolist()),
            compared.p,
            compared.p,
        )


def _gated(halves: Mapping[str, Half]) -> dict[str, GatedPieces]:
    return {task: half.gated for task, half in halves.items() if half.gated}


def _other(names: tuple[str, str], one: str) -> str:
    return names[1] if one == names[0] else names[0]


def _corrected(found: Sequence[PairFound]) -> list[PairFound]:
    """With the p-values corrected for their number: those of bits together, and those of right answers."""
    of_bits = iter(holm([pair.bits.p for pair in found]))
    of_right = iter(holm([pair.right.p for pair in found if pair.right]))
    return [
        replace(
            pair,
            bits=replace(pair.bits, adjusted=next(of_bits)),
            right=replace(pair.right, adjusted=next(of_right)) if pair.right else None,
        )
        for pair in found
    ]
