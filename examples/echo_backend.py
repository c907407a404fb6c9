"""A back end: a model without weights that expects its context to repeat itself. To see what a `Model` has to give."""

import torch

from gac_app.models.backends import LoadRequest, backend
from gac_app.models.base import Model
from gac_app.models.sequence import ForwardRequest
from gac_app.vocab.tokens import MemberVocabulary

_END = 256  # after the 256 bytes
_VOCABULARY = MemberVocabulary(
    token_bytes=(*(bytes([byte]) for byte in range(256)), None),
    end_ids=frozenset({_END}),
    byte_ids=frozenset(),
    encode=lambda text: list(text.encode()),
)


class EchoModel(Model):
    """After `ab...a` it expects `b`: what followed the last place like this one."""

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        return [_logits_NV(request.ids, request.num_logits) for request in requests]

    def truncate(self, slot: int, length: int) -> None:
        """There is no cache: a real back end would drop all but the first `length` ids of the slot's."""

    def copy(self, slot: int, other: int, length: int) -> None:
        """A real back end would copy a slot's cache to another slot."""


def _logits_NV(ids: tuple[int, ...], num_logits: int) -> torch.Tensor:
    logits_NV = torch.zeros(num_logits, len(_VOCABULARY))
    for row, end in enumerate(range(len(ids) - num_logits + 1, len(ids) + 1)):
        places = [place for place in range(1, end) if ids[place - 1] == ids[end - 1]]
        logits_NV[row, ids[places[-1]] if places else _END] = 10.0
    return logits_NV


@backend("echo")
def load(request: LoadRequest) -> Model:
    """A real back end would load `request.fetch().path` onto `request.device`."""
    member = request.member
    return EchoModel(member.name, _VOCABULARY, context_length=member.context_length or 4096, max_sequences=8)
