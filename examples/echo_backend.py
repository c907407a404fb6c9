"""A back end: a model without weights that expects its context to repeat itself. To see what a `Model` has to do."""

import torch

from gac_app.models.backends import LoadRequest, backend
from gac_app.models.base import Model, Read, Sequence
from gac_app.models.message import Message
from gac_app.vocab.tokens import MemberVocabulary

_END = 256  # after the 256 bytes


class EchoModel(Model):
    """After `ab...a` it expects `b`: what followed the last place like this one."""

    engine = "echo"
    chat_stop_strings = ()
    device = torch.device("cpu")
    is_chunk_consistent = is_batch_invariant = is_chunk_invariant = True

    def __init__(self, name: str, context_length: int) -> None:
        self.name = name
        self.context_length = context_length
        tokens = (*(bytes([byte]) for byte in range(256)), None)
        encode = self.encode_raw
        self.vocabulary = MemberVocabulary(tokens, frozenset({_END}), byte_ids=frozenset(), encode=encode)
        self._num_opened = 0

    def encode_raw(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_chat(self, messages: list[Message]) -> list[int]:
        return self.encode_raw("\n".join(message.content for message in messages) + "\n")

    def new_sequence(self) -> Sequence:
        self._num_opened += 1
        return Sequence(self._num_opened)

    def read(self, reads: list[Read]) -> list[torch.Tensor]:
        return [self._read_one(read.sequence, read.num_logits) for read in reads]

    def _read_one(self, sequence: Sequence, num_logits: int) -> torch.Tensor:
        sequence.num_cached = len(sequence.ids)
        ends = range(len(sequence.ids) - num_logits + 1, len(sequence.ids) + 1)
        return torch.stack([self._logits_V(sequence.ids[:end]) for end in ends])

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        logits_V = torch.zeros(_END + 1)
        places = [place for place in range(1, len(ids)) if ids[place - 1] == ids[-1]]
        logits_V[ids[places[-1]] if places else _END] = 10.0
        return logits_V

    def rewind(self, sequence: Sequence, length: int) -> None:
        del sequence.ids[length:]
        sequence.num_cached = min(sequence.num_cached, length)

    def fork(self, sequence: Sequence) -> Sequence:
        forked = self.new_sequence()
        forked.ids, forked.num_cached = list(sequence.ids), sequence.num_cached
        return forked

    def free(self, sequence: Sequence) -> None:
        """Nothing is held."""


@backend("echo")
def load(request: LoadRequest) -> Model:
    """A real back end would load `request.fetch()` onto `request.device`."""
    return EchoModel(request.member.name, request.member.context_length or 4096)
