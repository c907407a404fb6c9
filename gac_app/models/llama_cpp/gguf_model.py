"""Base of all models of GGUF files, whatever engine computes them: llama.cpp's tokeniser and chat format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from gac_app.errors import ModelLoadError, VocabularyError
from gac_app.models.base import Model, ModelFacts
from gac_app.models.chat import ChatFormat
from gac_app.models.llama_cpp.library import library, load_weights
from gac_app.models.llama_cpp.tokenizer import LlamaCppTokenizer
from gac_app.models.message import Message
from gac_app.vocab.decoders import check_round_trip

DEFAULT_CONTEXT_LENGTH = 4096
_MOST_BYTES = 256  # of a field's text


class GgufOptions(TypedDict, total=False):
    """The options of a `GgufModel`."""

    num_threads: int
    context_length: int | None
    max_sequences: int
    chat_template: str | None
    template_options: Mapping[str, Any]


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
        self._tokenizer = LlamaCppTokenizer(self._lib.llama_model_get_vocab(described))
        try:
            check_round_trip(self._tokenizer.vocabulary)
        except VocabularyError as error:
            raise ModelLoadError(f"{name}: {error}") from error
        template = self._own_template(described) if chat_template is None else chat_template
        wanted = context_length or DEFAULT_CONTEXT_LENGTH
        trained_for = self._lib.llama_model_n_ctx_train(described) or wanted  # 0 where only the vocabulary was loaded
        super().__init__(
            name,
            self._tokenizer.vocabulary,
            context_length=min(wanted, trained_for),
            max_sequences=max_sequences,
            chat=ChatFormat(template, *self._tokenizer.special_texts(), template_options),
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
    """One whose weights are not loaded here."""

    def __init__(self, name: str, path: Path, **options: Unpack[GgufOptions]) -> None:
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
