"""Advice on members of unequal strength.

Ensembles of tokens gain with members of similar strength. If a member is more than about 10 % behind, they mostly lose
(UniTE, arXiv 2410.03777, on model selection).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gac_app.config import Config
from gac_app.errors import Phrase, joined
from gac_app.settings import Settings

MAX_GAP = 0.1  # relative to the strongest member
_MAX_P = 0.05  # above this, a difference may be noise


@dataclass(frozen=True, slots=True)
class Strengths:
    """Each member's result alone.

    Attributes:
        source: the origin of the figures: "On trivia (40 questions)".
        by_member: accuracies or scores.
        uncertain: members whose distance to the strongest member may be noise.
    """

    source: str
    by_member: Mapping[str, float]
    uncertain: frozenset[str] = frozenset()

    @property
    def strongest(self) -> str:
        return max(self.by_member, key=self.by_member.__getitem__)

    @property
    def gaps(self) -> dict[str, float]:
        """The relative distances to the strongest member, of members that lag too far."""
        best = self.by_member[self.strongest]
        # Rounded, so that 0.72 is exactly 10 % behind 0.8 in spite of binary fractions.
        gaps = {name: round(1 - value / best, 6) for name, value in self.by_member.items()} if best else {}
        return {name: gap for name, gap in gaps.items() if gap > MAX_GAP}

    @property
    def lagging(self) -> dict[str, float]:
        """The gaps that are more than noise."""
        return {name: gap for name, gap in self.gaps.items() if name not in self.uncertain}


def strength_advice(config: Config, settings: Settings, benchmarks: Iterable[Mapping[str, Any]] = ()) -> str:
    """Advice on members that are too unequal for `settings`; "" if there is none.

    Args:
        benchmarks: data of results of `eval` over these members, newest first. Among the conclusive ones, the
            one with most questions counts; without one, the configuration's scores count.
    """
    measured = sorted(benchmarks, key=lambda data: data["n"], reverse=True)
    known = [*(_measured(config, data) for data in measured), _scored(config)]
    found = next((one for one in known if one and (one.lagging or not one.gaps)), None)
    if found is None or not found.lagging or _is_heeded(found, config, settings):
        return ""
    return _in_words(found)


def _measured(config: Config, data: Mapping[str, Any]) -> Strengths | None:
    """The strengths from a benchmark; None if not every member answered alone, or an answer is missing."""
    alone = {name: data["systems"].get(f"alone:{name}") for name in config.member_names}
    if not all(found and not found["errors"] for found in alone.values()):
        return None
    return Strengths(
        source=Phrase("On {task} ({count} questions)", task=Phrase(data["task"]), count=data["n"]),
        by_member={name: found["accuracy"] for name, found in alone.items()},
        uncertain=frozenset(
            name for name, found in alone.items() if (compared := found["vs_best_member"]) and compared["p"] >= _MAX_P
        ),
    )


def _scored(config: Config) -> Strengths | None:
    scores = {member.name: member.score for member in config.members if member.score is not None}
    return Strengths(Phrase("By score"), scores) if len(scores) == len(config.members) else None


def _is_heeded(found: Strengths, config: Config, settings: Settings) -> bool:
    """Whether the settings already let a strong member decide first, or count more."""
    if settings.mode == "gate" and settings.gate not in found.lagging:
        return True
    weights = config.weights(settings)
    return all(weights[name] < weights[found.strongest] for name in found.lagging)


def _in_words(found: Strengths) -> str:
    best = found.strongest
    behind = [Phrase("{name} by {gap}", name=first, gap=f"{gap * 100:.0f} %") for first, gap in found.lagging.items()]
    weights = ", ".join(f"{name} {value / found.by_member[best]:.2g}" for name, value in found.by_member.items())
    return Phrase(
        "{source}, behind {best}: {behind}. Such a gap mostly hurts an ensemble. Set weights by strength ({weights}), "
        "or use gate mode with {best} as the gate.",
        source=found.source,
        behind=joined(", ", behind),
        weights=weights,
        best=best,
    )
