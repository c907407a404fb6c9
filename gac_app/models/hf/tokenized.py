"""What a model of transformers has beside its forward passes: tokens, tokeniser, chat template, facts."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gac_app.errors import ModelLoadError, VocabularyError
from gac_app.models.base import Model, ModelFacts
from gac_app.models.chat import ChatFormat
from gac_app.models.message import Message
from gac_app.vocab.decoders import TextEncoder, read_vocabulary
from gac_app.vocab.tokens import bytes_of

# Control tokens that end a turn or a text, beside the end tokens in a model's own configuration.
END_TEXTS = frozenset(
    {
        *("<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|eom_id|>", "</s>"),
        *("<|end|>", "<|return|>", "<|END_OF_TURN_TOKEN|>", "<end_of_utterance>", "<｜end▁of▁sentence｜>", "<turn|>"),
    }
)


class TokenizedModel(Model, ABC):
    """A causal language model of transformers, whoever runs it.

    Args:
        name: the member's name.
        model: a transformers causal language model.
        tokenizer: its tokenizer, a fast one.
        num_threads: CPU threads of one forward pass; None = torch's own choice.
        context_length: most ids per sequence; None = the model's own limit.
        max_sequences: sequences held at once.
        chat_template: in place of the tokenizer's; "" = none.
        template_options: arguments that the template gets beside the messages.

    Raises:
        ModelLoadError: the tokenizer does not fit this engine.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        *,
        num_threads: int | None = None,
        context_length: int | None = None,
        max_sequences: int = 16,
        chat_template: str | None = None,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelLoadError(f"{name}: only tokenizers with a tokenizer.json are supported")
        self._encode = TextEncoder(backend)
        vocab_size: int = model.get_output_embeddings().weight.shape[0]
        try:
            configured, known = _end_ids(model, tokenizer)
            vocabulary = read_vocabulary(backend, vocab_size, configured | known, self._encode)
        except VocabularyError as error:
            raise ModelLoadError(f"{name}: {error}") from error
        texts = {i: backend.id_to_token(i) or "" for i in vocabulary.end_ids}
        vocabulary = replace(vocabulary, configured_ids=configured, end_texts=texts)
        template = _one_template(tokenizer.chat_template) if chat_template is None else chat_template
        self._has_template = bool(template)
        super().__init__(
            name,
            vocabulary,
            context_length=length_of_context(model, context_length),
            max_sequences=max_sequences,
            chat=ChatFormat(template, tokenizer.bos_token or "", tokenizer.eos_token or "", template_options),
            num_threads=num_threads,
        )
        self.device = model.device
        self.engine = f"transformers {self.device.type} {model.dtype}"
        self.about = _facts(model)

    def encode_raw(self, text: str) -> list[int]:
        ids, data = self._encode.document(text), bytes_of(text)
        # A leading space is the model's convention. Any other change of the text would make members' contexts differ.
        is_faithful = self.vocabulary.decode(ids) in (data, b" " + data)
        return ids if is_faithful else self._encode.bos_ids + self._encode(text)

    def encode_control(self, text: str) -> list[int]:
        return self._encode(text, recognise_control=True)

    def encode_chat(self, messages: list[Message]) -> list[int]:
        ids = super().encode_chat(messages)
        # A template writes BOS itself.
        return ids if self._has_template else self._encode.bos_ids + ids


def _facts(model: Any) -> ModelFacts:
    quantized = getattr(model.config, "quantization_config", None)
    method = getattr(quantized, "quant_method", None)
    return ModelFacts(
        family=str(model.config.model_type),
        quantization=str(getattr(method, "value", method) or str(model.dtype).removeprefix("torch.")),
    )


def length_of_context(model: Any, wanted: int | None) -> int:
    """Most ids of a sequence: the model's limit, or fewer. Raises ModelLoadError if neither is known."""
    trained_for: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    lengths = [length for length in (wanted, trained_for) if length]
    if not lengths:
        raise ModelLoadError("the model does not say how long its context is; set 'context_length' in the config")
    return min(lengths)


def _end_ids(model: Any, tokenizer: Any) -> tuple[frozenset[int], frozenset[int]]:
    """End tokens in the model's generation config and tokenizer; control tokens known to end a turn."""
    named = model.generation_config.eos_token_id
    named_ids = named if isinstance(named, list) else [named]
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    known = frozenset(i for i, token in added.items() if token.special and token.content in END_TEXTS)
    return frozenset(i for i in (*named_ids, tokenizer.eos_token_id) if i is not None), known


def _one_template(template: Any) -> str:
    """The tokenizer's template; of several named ones, the default."""
    return str(template.get("default", "")) if isinstance(template, dict) else template or ""
