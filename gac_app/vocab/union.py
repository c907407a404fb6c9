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
        """The union of `vocabularies`; their control tokens stay out, their end tokens are all END.

        A token that some member cannot be fed stays out too: SmolLM2 has no token for 21 bytes, most of which are
        never part of valid UTF-8, and choosing one would leave that member behind.
        """
        members = [
            {token for i, token in enumerate(v.token_bytes) if token and i not in v.end_ids} for v in vocabularies
        ]
        tokens = set[bytes]().union(*members)
        for member in members:
            missing = bytes(byte for byte in range(256) if bytes([byte]) not in member)
            if missing:
                tokens = {t for t in tokens if t in member or t.translate(None, missing) == t}
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
