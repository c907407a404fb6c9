"""The union vocabulary V^U (paper, section 3.1): every byte string that is a token of some member, and END."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from gac_app.errors import VocabularyError
from gac_app.vocab.tokens import MemberVocabulary

_MAX_REMEMBERED = 20_000  # prefixes, and rests of tokens; answers ask for the same ones repeatedly

IdsV = np.ndarray[Any, np.dtype[np.int32]]


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
        self.ids = {token: token_id for token_id, token in enumerate(self.tokens)}
        self.extensions = lru_cache(_MAX_REMEMBERED)(self._extensions)
        self.after = lru_cache(_MAX_REMEMBERED)(self._after)
        self.token = (*self.tokens, b"").__getitem__  # the bytes of a union token; none for END

    @classmethod
    def build(cls, vocabularies: Iterable[MemberVocabulary]) -> UnionVocabulary:
        """The union of `vocabularies`. Control tokens are left out, and all end tokens become END.

        A token that some member cannot be fed is left out too. SmolLM2 has no token for 21 bytes, most of which are
        never part of valid UTF-8; if one were chosen, SmolLM2 could not follow.
        """
        members = [vocabulary.texts() for vocabulary in vocabularies]
        tokens = set[bytes]().union(*members)
        for member in members:
            missing = bytes(byte for byte in range(256) if bytes([byte]) not in member)
            if missing:
                tokens -= {token for token in tokens - member if token.translate(None, missing) != token}
        return cls(tokens)

    def ids_of(self, vocabulary: MemberVocabulary) -> IdsV:
        """Union id per id of a member, int32 [V]; -1 for ids that stand for no union token."""
        found = (self.ids.get(token or b"", -1) for token in vocabulary.token_bytes)
        union_ids_V = np.fromiter(found, np.int32, len(vocabulary))
        union_ids_V[list(vocabulary.end_ids)] = self.end_id
        return union_ids_V

    def __len__(self) -> int:
        return len(self.tokens) + 1

    @property
    def end_id(self) -> int:
        return len(self.tokens)

    def _extensions(self, prefix: bytes) -> range:
        """Ids of the tokens that begin with `prefix`, a token equal to it included: neighbours, as ids are ranks.

        Example:
            >>> UnionVocabulary([b"a", b"b", b"ab"]).extensions(b"a")
            range(0, 2)
        """
        start = bisect_left(self.tokens, prefix)
        stem = prefix.rstrip(b"\xff")
        if not stem:
            return range(start, len(self.tokens))
        after = stem[:-1] + bytes([stem[-1] + 1])  # the first string after all that begin with the prefix
        return range(start, bisect_left(self.tokens, after, lo=start))

    def longest(self, text: bytes) -> int:
        """The id of the longest token that `text` begins with. Raises VocabularyError if there is none."""
        found, beginning = bisect_right(self.tokens, text) - 1, text
        while found >= 0:
            token = self.tokens[found]
            if beginning.startswith(token):
                return found
            # A token that begins the text also begins all tokens sorted between it and the text, this one included.
            num_equal = next(place for place, (a, b) in enumerate(zip(beginning, token, strict=False)) if a != b)
            beginning = beginning[:num_equal]
            found = bisect_right(self.tokens, beginning, hi=found) - 1
        raise VocabularyError(f"no token begins the bytes {text[:8]!r}")

    def cut(self, text: bytes) -> list[int]:
        """The ids of a text, each of the longest token that fits, from its beginning on. Raises VocabularyError."""
        ids, start = list[int](), 0
        while start < len(text):
            ids.append(self.longest(text[start : start + self.max_token_bytes]))
            start += len(self.tokens[ids[-1]])
        return ids

    def _after(self, token_id: int, num_bytes: int) -> tuple[int, bool]:
        """What `longest` finds after so many bytes of a token, and whether the token goes on beyond that."""
        rest = self.tokens[token_id][num_bytes:]
        found = self.longest(rest)
        return found, len(self.tokens[found]) < len(rest)

    @cached_property
    def max_token_bytes(self) -> int:
        """Length of the longest token."""
        return max(map(len, self.tokens), default=0)
