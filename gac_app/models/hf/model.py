"""Models run by transformers: any causal language model with a KV cache.

Shape suffixes: `N` positions, `V` the model's vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch

from gac_app.errors import MemberError, ModelLoadError, VocabularyError
from gac_app.models.base import Model, ModelFacts, Read, Sequence
from gac_app.models.chat import ChatFormat, encode_fragments
from gac_app.models.hf.forward_passes import Cache, Work
from gac_app.models.hf.packed_linear import pack
from gac_app.models.hf.probe import passes_for
from gac_app.models.message import Message
from gac_app.vocab.decoders import TextEncoder, read_vocabulary

# Control tokens that end a turn or a text, beside the end tokens in a model's own configuration.
END_TEXTS = frozenset(
    {
        *("<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|eom_id|>", "</s>"),
        *("<|end|>", "<|return|>", "<|END_OF_TURN_TOKEN|>", "<end_of_utterance>", "<｜end▁of▁sentence｜>", "<turn|>"),
    }
)
_REWINDABLE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class TransformersModel(Model):
    """A loaded causal model and its tokenizer; `loading.load` makes one from files.

    Every sequence has its own KV cache, which keeps positions that slid out of a window, for rewinds. If the model
    allows it (`probe`), sequences share forward passes. The number of ids in a pass decides which kernels run, so
    logits are equal up to rounding, not to the bit, and text may differ at near-ties.

    Args:
        name: the member's name.
        model: a transformers causal language model in evaluation mode.
        tokenizer: its tokenizer, a fast one.
        num_threads: CPU threads of one forward pass; None = torch's own choice.
        context_length: most ids per sequence; None = the model's own limit.
        max_sequences: sequences held at once.

    Raises:
        ModelLoadError: the tokenizer or the model's kind of memory does not fit this engine.
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
    ) -> None:
        _refuse_running_state(name, model)
        self.name = name
        self.device: torch.device = model.device
        self.engine = f"transformers {self.device.type} {model.dtype}"
        self.about = _facts(model)
        self.is_chunk_consistent = model.dtype == torch.float32
        self.context_length = _context_length(model, context_length)
        self._model = model
        self.num_threads = num_threads
        self._free_slots = list(range(max_sequences))[::-1]
        self._caches: dict[int, Cache] = {}

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelLoadError(f"{name}: only tokenizers with a tokenizer.json are supported")
        self._encode = TextEncoder(backend)
        end_ids = _end_ids(model, tokenizer)
        vocab_size: int = model.get_output_embeddings().weight.shape[0]
        try:
            self.vocabulary = read_vocabulary(backend, vocab_size, end_ids, self._encode)
        except VocabularyError as error:
            raise ModelLoadError(f"{name}: {error}") from error
        template = tokenizer.chat_template
        self._chat = ChatFormat(_one_template(template), tokenizer.bos_token or "", tokenizer.eos_token or "")
        self._has_template = bool(template)
        self.chat_stop_strings = self._chat.stop_strings
        self.take_threads()
        pack(model)
        self._passes = passes_for(name, model)
        self.max_batched_ids = self._passes.max_batched_ids

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Weights by the names in the model's own class."""
        weights: dict[str, torch.Tensor] = self._model.state_dict()
        return weights

    def encode_raw(self, text: str) -> list[int]:
        ids, data = self._encode.document(text), text.encode("utf-8", "replace")
        # A leading space is the model's convention. Any other change of the text would make members' contexts differ.
        is_faithful = self.vocabulary.decode(ids) in (data, b" " + data)
        return ids if is_faithful else self._encode.bos_ids + self._encode(text)

    def encode_chat(self, messages: list[Message]) -> list[int]:
        fragments = self._chat.fragments(messages)
        ids = encode_fragments(fragments, self._encode, lambda text: self._encode(text, recognise_control=True))
        # A template writes BOS itself.
        return ids if self._has_template else self._encode.bos_ids + ids

    def new_sequence(self) -> Sequence:
        if not self._free_slots:
            raise MemberError(self.name, "context", "holds as many sequences as it can; try again when a run has ended")
        slot = self._free_slots.pop()
        self._caches[slot] = self._passes.new_cache()
        return Sequence(slot)

    def read(self, reads: list[Read]) -> list[torch.Tensor]:
        for read in reads:
            self._check_length(read.sequence)
        self.take_threads()
        works = [Work(self._caches[read.sequence.slot], read.sequence.uncomputed, read.num_logits) for read in reads]
        try:
            with torch.inference_mode():
                logits = self._passes.run(works)
                return [logits_NV.to(device=self.device, dtype=torch.float32) for logits_NV in logits]
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemberError(self.name, "out-of-memory", f"no memory left on {self.device}") from error
        except (RuntimeError, IndexError, ValueError) as error:
            raise MemberError(self.name, "exception", f"{type(error).__name__}: {error}") from error
        finally:
            for read, work in zip(reads, works, strict=True):
                read.sequence.num_cached = work.cache.length

    def _check_length(self, sequence: Sequence) -> None:
        if len(sequence.ids) > self.context_length:
            raise MemberError(
                self.name, "context", f"{len(sequence.ids):,} tokens do not fit its context of {self.context_length:,}"
            )

    def rewind(self, sequence: Sequence, length: int) -> None:
        if length < sequence.num_cached:
            self._caches[sequence.slot].rewind(length)
            sequence.num_cached = length
        del sequence.ids[length:]

    def fork(self, sequence: Sequence) -> Sequence:
        copied = self._caches[sequence.slot].fork()  # before taking a slot, so that none is lost if memory runs out
        forked = self.new_sequence()
        self._caches[forked.slot] = copied
        forked.ids = list(sequence.ids)
        forked.num_cached = sequence.num_cached
        return forked

    def free(self, sequence: Sequence) -> None:
        del self._caches[sequence.slot]
        self._free_slots.append(sequence.slot)

    def close(self) -> None:
        self._caches.clear()
        del self._model, self._passes
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _refuse_running_state(name: str, model: Any) -> None:
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if getattr(model, "_is_stateful", False) or kinds - _REWINDABLE_LAYERS:
        raise ModelLoadError(
            f"{name}: {model.config.model_type} keeps a running state instead of a KV cache and cannot be rewound; "
            "expected a model of attention layers only"
        )


def _facts(model: Any) -> ModelFacts:
    quantized = getattr(model.config, "quantization_config", None)
    method = getattr(quantized, "quant_method", None)
    return ModelFacts(
        family=str(model.config.model_type),
        quantization=str(getattr(method, "value", method) or str(model.dtype).removeprefix("torch.")),
    )


def _context_length(model: Any, wanted: int | None) -> int:
    trained_for: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    lengths = [length for length in (wanted, trained_for) if length]
    if not lengths:
        raise ModelLoadError("the model does not say how long its context is; set 'context_length' in the config")
    return min(lengths)


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """End tokens in the model's generation config and tokenizer, and control tokens known to end a turn."""
    named = model.generation_config.eos_token_id
    named_ids = named if isinstance(named, list) else [named]
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    known = [i for i, token in added.items() if token.special and token.content in END_TEXTS]
    return frozenset(i for i in (*named_ids, tokenizer.eos_token_id, *known) if i is not None)


def _one_template(template: Any) -> str:
    """The tokenizer's template; of several named ones, the default."""
    return str(template.get("default", "")) if isinstance(template, dict) else template or ""
