"""Text <-> token ids: a member's own, or those of the union."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.decoding.member import Member
from gac_app.errors import RequestError, VocabularyError, too_long
from gac_app.vocab.tokens import bytes_of
from gac_app.vocab.union import UnionVocabulary


def document_start(member: Member) -> list[int]:
    """What a document begins with: the member's BOS, else the token that ends the document before. Raises
    VocabularyError without both.
    """
    start = member.encode("") or sorted(member.mapping.vocabulary.end_ids)[:1]
    if not start:
        raise VocabularyError(f"{member.name}: has neither a BOS nor an end token, so an empty document has no start")
    return start


class Tokenizer(ABC):
    """The ids of one vocabulary.

    Attributes:
        size: ids are below it.
        start: what stands for the start of a document.
    """

    size: int
    start: list[int]

    @abstractmethod
    def encode(self, text: str, *, is_document: bool = False) -> list[int]:
        """The ids of a text.

        Args:
            is_document: as the start of a document, with BOS where the model wants it.

        Raises:
            RequestError: the text has none.
        """

    def tokens(self, ids: Iterable[int], field: str = "prompt") -> list[bytes]:
        """The bytes of each id; none for control tokens. Raises RequestError, naming `field`, for an id outside the
        vocabulary.
        """
        tokens = []
        for token_id in ids:
            if not 0 <= token_id < self.size:
                raise RequestError(field, f"unknown token id {token_id}; expected 0 to {self.size - 1:,}")
            tokens.append(self._token(token_id))
        return tokens

    def document(self, ids: Iterable[int]) -> bytes:
        """The bytes of a document. Raises RequestError as `tokens`, and for more characters than a prompt may have."""
        data = b"".join(self.tokens(ids))
        if (num := len(data.decode("utf-8", "replace"))) > MAX_PROMPT_CHARS:
            raise RequestError("prompt", too_long(num, MAX_PROMPT_CHARS))
        return data

    @abstractmethod
    def in_union(self, token_id: int) -> int | None:
        """The union's id of one below `size`; None for a control token, which is never written."""

    @abstractmethod
    def _token(self, token_id: int) -> bytes: ...


class MemberTokenizer(Tokenizer):
    """A member's own."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.size = len(member.mapping.vocabulary)
        self.start = document_start(member)

    def encode(self, text: str, *, is_document: bool = False) -> list[int]:
        return self._member.encode(text) if is_document else list(self._member.mapping.vocabulary.encode(text))

    def in_union(self, token_id: int) -> int | None:
        union = self._member.mapping.union
        is_end = token_id in self._member.mapping.vocabulary.end_ids
        return union.end_id if is_end else union.ids.get(self._token(token_id))

    def _token(self, token_id: int) -> bytes:
        return self._member.mapping.vocabulary.token_bytes[token_id] or b""


class UnionTokenizer(Tokenizer):
    """The union's: from the beginning of a text on, the longest token that fits. It has no BOS."""

    def __init__(self, union: UnionVocabulary) -> None:
        self._union = union
        self.size = len(union)
        self.start = [union.end_id]

    def encode(self, text: str, *, is_document: bool = False) -> list[int]:
        try:
            return self._union.cut(bytes_of(text))
        except VocabularyError as error:
            raise RequestError("prompt", str(error)) from None

    def in_union(self, token_id: int) -> int | None:
        return token_id

    def _token(self, token_id: int) -> bytes:
        return self._union.token(token_id)
