"""Base of all models of GGUF files, whatever engine computes them: llama.cpp's tokeniser, chat format and slots."""

from __future__ import annotations

from abc import abstractmethod
from heapq import heappop, heappush
from typing import Any

from gac_app.errors import MemberError, ModelLoadError, VocabularyError
from gac_app.models.base import Model, ModelFacts, Sequence
from gac_app.models.chat import ChatFormat, encode_fragments
from gac_app.models.llama_cpp.library import library
from gac_app.models.llama_cpp.tokenizer import LlamaCppTokenizer
from gac_app.models.message import Message
from gac_app.vocab.decoders import check_round_trip

DEFAULT_CONTEXT_LENGTH = 4096
_MOST_BYTES = 256  # of a field's text


class GgufModel(Model):
    """A GGUF file as llama.cpp describes it.

    Args:
        name: the member's name.
        described: the `llama_model *` of the file; its vocabulary and metadata suffice.
        max_sequences: sequences held at once, each in a slot.
        chat_template: Jinja; None = the file's own, "" = none.

    Raises:
        ModelLoadError: the vocabulary cannot be used.
    """

    def __init__(self, name: str, described: Any, max_sequences: int, chat_template: str | None) -> None:
        self.name = name
        self._ffi, self._lib = library()
        self._free_slots = list(range(max_sequences))
        self._tokenizer = LlamaCppTokenizer(self._lib.llama_model_get_vocab(described))
        self.vocabulary = self._tokenizer.vocabulary
        try:
            check_round_trip(self.vocabulary)
        except VocabularyError as error:
            raise ModelLoadError(f"{name}: {error}") from error
        template = self._own_template(described) if chat_template is None else chat_template
        self._chat = ChatFormat(template, *self._tokenizer.special_texts())
        self.chat_stop_strings = self._chat.stop_strings
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

    def encode_chat(self, messages: list[Message]) -> list[int]:
        encode = self._tokenizer
        ids = encode_fragments(
            self._chat.fragments(messages), encode, lambda text: encode(text, recognise_control=True)
        )
        return encode.with_bos(ids)

    def new_sequence(self) -> Sequence:
        if not self._free_slots:
            raise MemberError(self.name, "context", "holds as many sequences as it can; try again when a run has ended")
        # The lowest, because adjacent slots are computed together.
        return Sequence(heappop(self._free_slots))

    def rewind(self, sequence: Sequence, length: int) -> None:
        del sequence.ids[length:]
        if length < sequence.num_cached:
            self._forget_from(sequence.slot, length)
            sequence.num_cached = length

    def fork(self, sequence: Sequence) -> Sequence:
        forked = self.new_sequence()
        self._copy(sequence, forked.slot)
        forked.ids = list(sequence.ids)
        forked.num_cached = sequence.num_cached
        return forked

    def free(self, sequence: Sequence) -> None:
        self._forget_from(sequence.slot, 0)
        heappush(self._free_slots, sequence.slot)

    @abstractmethod
    def _copy(self, sequence: Sequence, slot: int) -> None:
        """Copy a sequence's cache into an empty slot."""

    @abstractmethod
    def _forget_from(self, slot: int, position: int) -> None:
        """Drop the cache from this position on."""

    def _full(self) -> MemberError:
        return MemberError(self.name, "context", f"its cache is full ({self.context_length:,} tokens)")


def _file_type(number: str) -> str:
    """The name of a file type, such as `Q4_K_M`; empty if unknown."""
    from gguf import LlamaFileType

    try:
        return str(LlamaFileType(int(number)).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return ""
