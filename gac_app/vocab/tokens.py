"""A member's vocabulary as bytes: the canonical form of tokens everywhere in this project.

Text is for the edge: one character may span several tokens, one token several half characters.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from gac_app.errors import VocabularyError

Encode = Callable[[str], list[int]]


def bytes_of(text: str) -> bytes:
    """A text in UTF-8. Lone surrogates, which have none, are read as question marks."""
    return text.encode("utf-8", "replace")


def whole_characters(text: bytes) -> bytes:
    """`text` without an incomplete UTF-8 character at its end."""
    return text[: codecs.utf_8_decode(text, "ignore", False)[1]]


@dataclass(frozen=True, slots=True, eq=False)
class MemberVocabulary:
    """One member's ids.

    Attributes:
        token_bytes: bytes per id; None for ids that stand for no text (control tokens, padding of the embedding).
        end_ids: ids that end a text or a turn.
        byte_ids: byte-fallback ids (`<0x2E>`), fed only where no ordinary token has the same bytes.
        encode: the tokeniser: plain text -> ids, no special tokens added, none recognised.
        configured_ids: those of the end ids that the model's own configuration names; none = it is not known.
        end_texts: how the end tokens are written, by id, where that is known.
    """

    token_bytes: tuple[bytes | None, ...]
    end_ids: frozenset[int]
    byte_ids: frozenset[int]
    encode: Encode
    configured_ids: frozenset[int] = frozenset()
    end_texts: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises VocabularyError if an id is outside the vocabulary."""
        if outside := {i for i in self.end_ids | self.byte_ids if not 0 <= i < len(self.token_bytes)}:
            raise VocabularyError(f"the id {min(outside)} is beyond its {len(self.token_bytes):,} tokens")

    def __len__(self) -> int:
        return len(self.token_bytes)

    @property
    def as_configured(self) -> MemberVocabulary:
        """It with no other end tokens than those that the model's own configuration names, where these are known."""
        return replace(self, end_ids=self.end_ids & self.configured_ids or self.end_ids)

    def texts(self) -> set[bytes]:
        """The distinct byte strings that the ids stand for. End tokens stand for none."""
        tokens = list(self.token_bytes)
        for end_id in self.end_ids:
            tokens[end_id] = None
        return {token for token in set(tokens) if token}

    def decode(self, ids: list[int]) -> bytes:
        """The bytes that `ids` stand for; control tokens stand for none."""
        return b"".join(self.token_bytes[i] or b"" for i in ids)
