"""A seeded random model: no files, no weights, and a distribution that depends on the whole context.

For tests and demonstrations, where real weights would only cost time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import torch

from gac_app.models.base import Model
from gac_app.models.sequence import ForwardRequest
from gac_app.vocab.tokens import MemberVocabulary, bytes_of

_WORDS = (
    b" the a of and to in is that it for on as with was at by this from or an be are not but have had one all we can "
    b"model token vote gate union weight answer word next step probability language sentence together"
).split()


def make_vocabulary(seed: int) -> MemberVocabulary:
    """256 byte tokens, END, a control token, and words that depend on the seed.

    Example: `make_vocabulary(0).encode("at")` gives the ids of a greedy longest match over bytes.
    """
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(len(_WORDS), generator=generator) < 0.8
    words = [word for word, is_kept in zip(_WORDS, keep.tolist(), strict=True) if is_kept]
    texts = sorted({*words, *(b" " + word for word in words), b"  ", b"    ", b"\r\n", "é".encode(), "日".encode()})
    tokens: list[bytes | None] = [*(bytes([byte]) for byte in range(256)), None, None, *texts]
    ids = {token: i for i, token in enumerate(tokens) if token}
    longest = max(map(len, ids))

    def encode(text: str) -> list[int]:
        data, found, start = bytes_of(text), [], 0
        while start < len(data):
            end = next(e for e in range(min(len(data), start + longest), start, -1) if data[start:e] in ids)
            found.append(ids[data[start:end]])
            start = end
        return found

    return MemberVocabulary(tuple(tokens), end_ids=frozenset({256}), byte_ids=frozenset(), encode=encode)


class RandomModel(Model):
    """Logits from a generator seeded by (seed, all ids so far): reading in parts or at once gives equal bits.

    Args:
        name: the member's name.
        seed: chooses vocabulary and distributions.
        sharpness: scale of the logits; the larger, the surer the model.
        vocabulary: instead of the seed's own.
    """

    engine = "random"

    def __init__(
        self,
        name: str,
        seed: int = 0,
        *,
        sharpness: float = 3.0,
        context_length: int = 4096,
        max_sequences: int = 64,
        vocabulary: MemberVocabulary | None = None,
    ) -> None:
        vocabulary = vocabulary or make_vocabulary(seed)
        super().__init__(name, vocabulary, context_length=context_length, max_sequences=max_sequences)
        self._seed = seed
        self._sharpness = sharpness
        self._cached: defaultdict[int, list[int]] = defaultdict(list)

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        return [self._read_one(request) for request in requests]

    def _read_one(self, request: ForwardRequest) -> torch.Tensor:
        cached = self._cached[request.sequence.slot]
        cached += request.uncomputed
        ends = range(len(cached) - request.num_logits + 1, len(cached) + 1)
        return torch.stack([self._logits_V(cached[:end]) for end in ends])

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        digest = hashlib.blake2b(repr((self._seed, ids)).encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        logits_V = torch.randn(len(self.vocabulary), generator=generator) * self._sharpness
        logits_V[:256] -= self._sharpness  # words are likelier than lone bytes
        return logits_V

    def truncate(self, slot: int, length: int) -> None:
        del self._cached[slot][length:]

    def copy(self, slot: int, other: int, length: int) -> None:
        self._cached[other] = list(self._cached[slot])
