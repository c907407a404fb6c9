"""The union vocabulary V^U (paper, section 3.1): every byte string that is a token of some member, and END."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from gac_app.vocab.tokens import MemberVocabulary


class UnionVocabulary:
    """The sorted byte strings of all members' tokens, plus END.

    A token's id is its rank, END's is the last one: ids depend on the set of byte strings alone, neither on the order
    of the members nor on the hash seed, and are equal in every process.

    Example:
        >>> union = UnionVocabulary([b"a", b"b", b"ab"])
        >>> union.tokens, union.end_id, len(union)
        ((b'a', b'ab', b'b'), 3, 4)
    """

    def __init__(self, tokens: Iterable[bytes]) -> None:
        self.tokens: tuple[bytes, ...] = tuple(sorted(set(tokens)))

    @classmethod
    def build(cls, vocabularies: Iterable[MemberVocabulary]) -> UnionVocabulary:
        """The union of `vocabularies`; their control tokens stay out, their end tokens are all END."""
        tokens: set[bytes] = set()
        for vocabulary in vocabularies:
            tokens.update(t for i, t in enumerate(vocabulary.token_bytes) if t and i not in vocabulary.end_ids)
        return cls(tokens)

    def __len__(self) -> int:
        return len(self.tokens) + 1

    @property
    def end_id(self) -> int:
        return len(self.tokens)

    def token(self, token_id: int) -> bytes:
        """The bytes of a union token; none for END."""
        return self.tokens[token_id] if token_id < len(self.tokens) else b""

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """Union id per byte string."""
        return {token: token_id for token_id, token in enumerate(self.tokens)}
