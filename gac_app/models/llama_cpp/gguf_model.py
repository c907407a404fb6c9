"""Base of all models of GGUF files, whatever engine computes them: llama.cpp's tokeniser and chat format.

The vocabulary is in bytes, and the ids of a text have exactly its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from gac_app.errors import ModelLoadError, VocabularyError
from gac_app.models.base import Model, ModelFacts
from gac_app.models.chat import ChatFormat
from gac_app.models.llama_cpp.library import library, load_weights
from gac_app.models.message import Message
from gac_app.vocab.decoders import GUARD, SPACE_MARK, check_round_trip
from gac_app.vocab.tokens import MemberVocabulary, bytes_of

_ATTR_CONTROL, _ATTR_USER_DEFINED, _ATTR_BYTE = 8, 16, 32  # enum llama_token_attr, bits
_MAX_TOKEN_BYTES = 1 << 16
DEFAULT_CONTEXT_LENGTH = 4096
_MOST_BYTES = 256  # of a field's text


class LlamaCppTokenizer:
    """llama.cpp's tokeniser of one model.

    Args:
        vocab: the model's `llama_vocab *`.
    """

    def __init__(self, vocab: Any) -> None:
        self._ffi, self._lib = library()
        self._vocab = vocab
        self.bos, self.eos = self._lib.llama_vocab_bos(vocab), self._lib.llama_vocab_eos(vocab)  # below 0: none
        self._is_sentencepiece = self._lib.llama_vocab_type(vocab) == self._lib.LLAMA_VOCAB_TYPE_SPM
        self.vocabulary = self._read_vocabulary()

    def __call__(self, text: str, recognise_control: bool = False) -> list[int]:
        """Ids of exactly `text`, with none added. Lone surrogates are read as question marks.

        SentencePiece would read its own mark for a space as a space, so a mark in the text is spelt in bytes.
        """
        if not self._is_sentencepiece:
            return self._tokenize(text, recognise_control)
        first, *others = (self._encode_unspaced(piece, recognise_control) for piece in text.split(SPACE_MARK))
        for piece in others:
            first += self._mark_ids + piece
        return first

    def document(self, text: str) -> list[int]:
        """Ids of `text` by the model's own rules for the start of a document: BOS, a space in front."""
        ids, data = self._tokenize(text, recognise_control=False), bytes_of(text)
        # Any other change of the text would make members' contexts differ.
        is_faithful = self.vocabulary.decode(ids) in (data, b" " + data)
        return self.with_bos(ids if is_faithful else self(text))

    def with_bos(self, ids: list[int]) -> list[int]:
        """`ids` after a BOS if the model wants one."""
        wants_bos = self._lib.llama_vocab_get_add_bos(self._vocab) and self.bos >= 0
        return [self.bos, *ids] if wants_bos and ids[:1] != [self.bos] else ids

    def text_of(self, token_id: int) -> str:
        """How a control token is written; empty without one."""
        if token_id < 0:
            return ""
        text: bytes = self._ffi.string(self._lib.llama_vocab_get_text(self._vocab, token_id))
        return text.decode("utf-8", "replace")

    def _read_vocabulary(self) -> MemberVocabulary:
        ffi, lib, vocab = self._ffi, self._lib, self._vocab
        piece_of, attributes_of, unpack = lib.llama_token_to_piece, lib.llama_vocab_get_attr, ffi.unpack
        buffer = ffi.new("char[]", _MAX_TOKEN_BYTES)
        pieces: list[bytes | None] = []
        end_ids: set[int] = set()
        byte_ids: set[int] = set()
        for token_id in range(lib.llama_vocab_n_tokens(vocab)):
            length = piece_of(vocab, token_id, buffer, _MAX_TOKEN_BYTES, 0, True)
            attributes = attributes_of(vocab, token_id)
            # llama.cpp takes some ordinary tokens for control tokens by their look (Gemma's `</s>` is the HTML tag),
            # but keeps the file's flag that they are text.
            is_control = attributes & _ATTR_CONTROL and not attributes & _ATTR_USER_DEFINED
            pieces.append(None if is_control or length <= 0 else unpack(buffer, length))
            if attributes & _ATTR_BYTE:
                byte_ids.add(token_id)
            if is_control and lib.llama_vocab_is_eog(vocab, token_id):
                end_ids.add(token_id)
        # llama.cpp counts fill-in-the-middle marks as end tokens; they end no answer.
        end_ids -= {lib.llama_vocab_fim_pad(vocab), lib.llama_vocab_fim_rep(vocab), lib.llama_vocab_fim_sep(vocab)}
        texts, configured = {i: self.text_of(i) for i in end_ids}, frozenset({self.eos})
        return MemberVocabulary(tuple(pieces), frozenset(end_ids), frozenset(byte_ids), self, configured, texts)

    def _tokenize(self, text: str, recognise_control: bool) -> list[int]:
        data = bytes_of(text)
        capacity = len(data) + 8
        ids = self._ffi.new("llama_token[]", capacity)
        count = self._lib.llama_tokenize(self._vocab, data, len(data), ids, capacity, False, recognise_control)
        return list(ids[0:count])

    def _encode_unspaced(self, text: str, recognise_control: bool) -> list[int]:
        """Ids without the space that some SentencePiece models put before every text."""
        if not text or not self._space_and_guard:
            return self._tokenize(text, recognise_control)
        return self._tokenize(GUARD + text, recognise_control)[len(self._space_and_guard) :]

    @cached_property
    def _space_and_guard(self) -> list[int]:
        """The ids to cut off so that a text is left unchanged; none if the model puts no space first."""
        ids = self._tokenize(GUARD, recognise_control=False)
        return ids if self.vocabulary.decode(ids) == b" " + GUARD.encode() else []

    @cached_property
    def _mark_ids(self) -> list[int]:
        """The byte-fallback ids of the mark."""
        tokens = self.vocabulary.token_bytes
        id_of_byte = {tokens[token_id]: token_id for token_id in self.vocabulary.byte_ids}
        return [id_of_byte[bytes([byte])] for byte in SPACE_MARK.encode()]


class GgufModel(Model):
    """A GGUF file as llama.cpp describes it.

    Args:
        name: the member's name.
        described: the `llama_model *` of the file; its vocabulary and metadata suffice.
        num_threads: threads of one forward pass. More than the free cores make llama.cpp a hundred times slower.
        context_length: most ids per sequence; None = the model's training length, at most 4,096.
        max_sequences: sequences held at once.
        chat_template: Jinja; None = the file's own, "" = none.
        template_options: arguments that the template gets beside the messages.

    Raises:
        ModelLoadError: the vocabulary cannot be used.
    """

    chunk_size = 128

    def __init__(
        self,
        name: str,
        described: Any,
        *,
        num_threads: int = 1,
        context_length: int | None = None,
        max_sequences: int = 8,
        chat_template: str | None = None,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._ffi, self._lib = library()
        self._tokenizer = own = LlamaCppTokenizer(self._lib.llama_model_get_vocab(described))
        try:
            check_round_trip(own.vocabulary)
        except VocabularyError as error:
            raise ModelLoadError(f"{name}: {error}") from error
        template = self._own_template(described) if chat_template is None else chat_template
        wanted = context_length or DEFAULT_CONTEXT_LENGTH
        trained_for = self._lib.llama_model_n_ctx_train(described) or wanted  # 0 where only the vocabulary was loaded
        super().__init__(
            name,
            own.vocabulary,
            context_length=min(wanted, trained_for),
            max_sequences=max_sequences,
            chat=ChatFormat(template, own.text_of(own.bos), own.text_of(own.eos), template_options),
            num_threads=num_threads,
        )
        self.about = self._facts(described)

    def _facts(self, described: Any) -> ModelFacts:
        return ModelFacts(
            family=self._said(described, "general.architecture"),
            size=self._said(described, "general.size_label"),
            quantization=_file_type(self._said(described, "general.file_type")),
            licence=self._said(described, "general.license"),
        )

    def _said(self, described: Any, key: str) -> str:
        """A field of the file; empty if it is missing."""
        value = self._ffi.new("char[]", _MOST_BYTES)
        length = self._lib.llama_model_meta_val_str(described, key.encode(), value, _MOST_BYTES)
        return self._ffi.string(value).decode("utf-8", "replace") if length > 0 else ""

    def _own_template(self, described: Any) -> str:
        template = self._lib.llama_model_chat_template(described, self._ffi.NULL)
        return "" if template == self._ffi.NULL else self._ffi.string(template).decode("utf-8", "replace")

    def encode_raw(self, text: str) -> list[int]:
        return self._tokenizer.document(text)

    def encode_control(self, text: str) -> list[int]:
        return self._tokenizer(text, recognise_control=True)

    def encode_chat(self, messages: list[Message]) -> list[int]:
        return self._tokenizer.with_bos(super().encode_chat(messages))


class DescribedGguf(GgufModel):
    """One whose weights llama.cpp does not load."""

    def __init__(self, name: str, path: Path, **options: Any) -> None:
        self._described = load_weights(path, vocab_only=True)
        super().__init__(name, self._described, **options)

    def close(self) -> None:
        self._lib.llama_model_free(self._described)


def _file_type(number: str) -> str:
    """The name of a file type, such as `Q4_K_M`; empty if unknown."""
    from gguf import LlamaFileType

    try:
        return str(LlamaFileType(int(number)).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return ""
