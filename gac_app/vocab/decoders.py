"""Hugging Face tokenizers -> bytes per token id, and an encoder whose ids have exactly the text's bytes.

Two families cover the field: byte-level BPE, whose alphabet writes each byte as one printable character, and
SentencePiece, which writes a space as `▁` and may spell bytes as `<0x2E>`. A vocabulary is returned only after hard
strings have survived a round trip.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gac_app.errors import VocabularyError
from gac_app.vocab.tokens import MemberVocabulary, bytes_of

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

SPACE_MARK = "▁"
GUARD = "\x01"  # a character that no longer token contains
HARD_STRINGS = (
    "Hello, world! It's 12.5 % of 3,000.",
    " leading, trailing and  runs   of    spaces ",
    "café naïve Ünïcödé",
    "日本語のテキストと中文字符, 한국어",
    "Ещё русский, عربي, हिन्दी",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🧑‍🚀",
    "def f(x):\n    return x**2  # why\n\tif x != 0: pass\n\n\n",
    "tab\tand CR LF\r\nand\rCR",
    "e\u0301 is not \u00e9, ▁ is no space, \u200b\u202e\ufeff",
)


class TextEncoder:
    """A tokenizer's ids of plain text; control tokens are recognised only where asked for. Thread-safe.

    The tokenizer is changed so that decoding gives back exactly what was encoded: no Unicode normalisation, no leading
    space but a template's own.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._own = tokenizer
        self._literal = _made_literal(tokenizer)
        self._lock = threading.Lock()
        is_sentencepiece = _token_to_bytes(tokenizer) is _sentencepiece_bytes
        # SentencePiece reads a `▁` in the text as a space, so it is spelt in bytes.
        self._mark_ids = _byte_token_ids(tokenizer, SPACE_MARK.encode()) if is_sentencepiece else []
        self.bos_ids: list[int] = self.document("a", num_kept=0)

    def __call__(self, text: str, recognise_control: bool = False) -> list[int]:
        """Ids of `text`, none added. Lone surrogates are read as question marks."""
        text, ids = _without_surrogates(text), list[int]()
        for index, piece in enumerate(text.split(SPACE_MARK) if self._mark_ids else [text]):
            ids += (self._mark_ids if index else []) + self._ids_of(piece, recognise_control)
        return ids

    def _ids_of(self, text: str, recognise_control: bool) -> list[int]:
        if not (recognise_control and self._space_and_guard):
            return list(self._encode(self._literal, text, recognise_control).ids)
        # A template was trained with the tokenizer's own spaces, such as one after each control token.
        return list(self._encode(self._own, GUARD + text, recognise_control).ids[len(self._space_and_guard) :])

    @cached_property
    def _space_and_guard(self) -> list[int]:
        """The ids to cut off a text that follows no other; none if the tokenizer puts no space first."""
        own, literal = (list(self._encode(tokenizer, GUARD).ids) for tokenizer in (self._own, self._literal))
        return own if own != literal else []

    def _encode(
        self, tokenizer: Tokenizer, text: str, recognise_control: bool = False, is_document: bool = False
    ) -> Encoding:
        with self._lock:  # these are state of the tokenizer, not arguments
            tokenizer.encode_special_tokens = not recognise_control
            tokenizer.no_truncation()  # set by some files, and by transformers, which leaves what its last call set
            tokenizer.no_padding()
            return tokenizer.encode(text, add_special_tokens=is_document)

    def document(self, text: str, num_kept: int | None = None) -> list[int]:
        """Ids of `text` by the tokenizer's own rules for the start of a document, BOS and changes to the text included.

        If `num_kept` is set, only so many ids after the BOS are given.
        """
        if not text:  # none of its ids tells where end tokens would begin
            return list(self.bos_ids)
        encoding = self._encode(self._own, _without_surrogates(text), is_document=True)
        is_added = encoding.special_tokens_mask
        start = is_added.index(0) if 0 in is_added else len(is_added)
        end = len(is_added) - is_added[::-1].index(0) if 0 in is_added else start  # end tokens are left out
        return list(encoding.ids[: end if num_kept is None else start + num_kept])


def read_vocabulary(
    tokenizer: Tokenizer, vocab_size: int, end_ids: frozenset[int], encode: TextEncoder
) -> MemberVocabulary:
    """A tokenizer's vocabulary in bytes.

    Args:
        tokenizer: its added tokens say which ids are control tokens; not their look.
        vocab_size: rows of the embedding; ids that the tokenizer lacks stand for no text.
        end_ids: see `MemberVocabulary`; those beyond the embedding are left out.
        encode: the tokenizer's encoder.

    Raises:
        VocabularyError: the tokenizer's family is unknown, or hard strings fail the round trip.
    """
    to_bytes = _token_to_bytes(tokenizer)
    added = tokenizer.get_added_tokens_decoder()
    token_bytes: list[bytes | None] = [None] * vocab_size
    for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items():
        if token_id < vocab_size and not (token_id in added and added[token_id].special):
            is_plain = token_id in added and to_bytes is _byte_level_bytes  # such as `für`, all letters of the alphabet
            token_bytes[token_id] = token.encode() if is_plain else to_bytes(token)
    byte_ids: set[int] = set()
    if to_bytes is _sentencepiece_bytes:
        for byte, token_id in enumerate(_byte_token_ids(tokenizer, bytes(range(256)))):
            token_bytes[token_id] = bytes([byte])
            byte_ids.add(token_id)
    known_end_ids = end_ids & frozenset(range(vocab_size))
    vocabulary = MemberVocabulary(tuple(token_bytes), known_end_ids, frozenset(byte_ids), encode)
    check_round_trip(vocabulary)
    return vocabulary


def _without_surrogates(text: str) -> str:
    return bytes_of(text).decode()


def check_round_trip(vocabulary: MemberVocabulary) -> None:
    """Raise VocabularyError unless hard strings come back from ids unchanged."""
    for text in HARD_STRINGS:
        found = vocabulary.decode(vocabulary.encode(text))
        if found != text.encode():
            raise VocabularyError(f"the tokenizer turns {text!r} into {found.decode(errors='replace')!r}")


def _token_to_bytes(tokenizer: Tokenizer) -> Callable[[str], bytes]:
    """How the tokenizer's decoder turns a token into bytes."""
    kinds = {kind["type"] for kind in _flattened(_state(tokenizer.decoder))}
    if "ByteLevel" in kinds:
        return _byte_level_bytes
    if kinds & {"Metaspace", "ByteFallback", "Replace"}:
        return _sentencepiece_bytes
    raise VocabularyError(
        f"the tokenizer's decoder is {', '.join(sorted(kinds)) or 'missing'}; expected byte-level BPE or SentencePiece"
    )


def _byte_level_bytes(token: str) -> bytes:
    try:
        return bytes(_BYTE_OF_CHAR[char] for char in token)
    except KeyError:  # plain text, not written in the alphabet
        return token.encode()


def _sentencepiece_bytes(token: str) -> bytes:
    return token.replace(SPACE_MARK, " ").encode()


def _byte_token_ids(tokenizer: Tokenizer, data: bytes) -> list[int]:
    """Byte-fallback ids spelling `data`; none if the model does not fall back to bytes."""
    if not getattr(tokenizer.model, "byte_fallback", False):
        return []
    found = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in data]
    ids = [token_id for token_id in found if token_id is not None]
    return ids if len(ids) == len(data) else []


def _byte_level_alphabet() -> dict[str, int]:
    """Character -> byte of GPT-2's alphabet: printable Latin-1 stands for itself, the rest follows from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_OF_CHAR = _byte_level_alphabet()


def _made_literal(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, or a copy without normalisers and without a space put in front, which change the text."""
    normalizers = list(_flattened(_state(tokenizer.normalizer), "normalizers"))
    kept = [part for part in normalizers if part.get("pattern") == {"String": " "}]
    pre_tokenizers = list(_flattened(_state(tokenizer.pre_tokenizer), "pretokenizers"))
    adds_space = any(
        part.get("add_prefix_space") or part.get("prepend_scheme", "never") != "never" for part in pre_tokenizers
    )
    if kept == normalizers and not adds_space:
        return tokenizer
    from tokenizers import Tokenizer

    spec = json.loads(tokenizer.to_str())
    spec["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
    for part in _flattened(spec["pre_tokenizer"], "pretokenizers"):
        if "add_prefix_space" in part:
            part["add_prefix_space"] = False
        if "prepend_scheme" in part:
            part["prepend_scheme"] = "never"
    return Tokenizer.from_str(json.dumps(spec))


def _state(component: Any) -> dict[str, Any] | None:
    return None if component is None else json.loads(component.__getstate__())


def _flattened(component: dict[str, Any] | None, key: str = "decoders") -> Iterator[dict[str, Any]]:
    """The parts of a tokenizer's component, which may be a sequence of sequences."""
    if component is None:
        return
    if component["type"] == "Sequence":
        for part in component[key]:
            yield from _flattened(part, key)
    else:
        yield component
