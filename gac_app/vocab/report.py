"""What the members' vocabularies have in common (paper, section 3.1 and figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gac_app.vocab.tokens import MemberVocabulary


@dataclass(frozen=True, slots=True)
class VocabularyReport:
    """Counts of distinct texts, without control tokens.

    Attributes:
        sizes: ids of each member, all kinds.
        num_shared: texts of each member that every other member also has.
        overlap: [i][j] = the share of member i's texts that member j has.
    """

    sizes: tuple[int, ...]
    num_shared: tuple[int, ...]
    overlap: tuple[tuple[float, ...], ...]


def report(vocabularies: Sequence[MemberVocabulary]) -> VocabularyReport:
    """Compare every pair of vocabularies."""
    texts = [vocabulary.texts() for vocabulary in vocabularies]
    common = set.intersection(*texts)
    return VocabularyReport(
        sizes=tuple(map(len, vocabularies)),
        num_shared=tuple(len(common) for _ in texts),
        overlap=tuple(tuple(len(own & other) / len(own) for other in texts) for own in texts),
    )
