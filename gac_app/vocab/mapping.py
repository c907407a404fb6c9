"""The mapping between one member's ids and the union's (paper, section 3.1: the matrix M^i, as its non-zeros).

Shape suffixes: `N` positions, `V` the member's vocabulary, `U` the union.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch

from gac_app.errors import VocabularyError
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary

MAX_TOKEN_BYTES = 128  # longest token tried when bytes are spelt greedily


class VocabMapping:
    """Sends one member's distributions into the union, and union tokens back into the member's ids."""

    def __init__(self, vocabulary: MemberVocabulary, union: UnionVocabulary) -> None:
        self.vocabulary = vocabulary
        self.union = union
        self._fed: dict[int, tuple[int, ...]] = {}
        ids_by_union = self._ids_by_union_id()
        # A union token that the member lacks reads the extra last column, whose logit is -inf.
        source_U = torch.full((len(union),), len(vocabulary), dtype=torch.int64)
        owned = torch.tensor(list(ids_by_union), dtype=torch.int64)
        source_U[owned] = torch.tensor([ids[0] for ids in ids_by_union.values()], dtype=torch.int64)
        self.source_U = source_U
        self._own_id = {union_id: ids[0] for union_id, ids in ids_by_union.items()}
        self._twins = _rounds({u: ids[1:] for u, ids in ids_by_union.items() if len(ids) > 1})

    def to(self, device: torch.device) -> VocabMapping:
        """Move the index tensors to where the member's logits are."""
        self.source_U = self.source_U.to(device)
        self._twins = [(union_ids.to(device), ids.to(device)) for union_ids, ids in self._twins]
        return self

    def project(self, logits_NV: torch.Tensor) -> torch.Tensor:
        """Probabilities in the union, float32 [N, U], each row summing to 1.

        Ids with equal bytes add their probabilities; the mass on control tokens is dropped and the rest renormalised
        (both happen in logit space, so that one softmax over the union does it all).
        """
        lacking_N1 = logits_NV.new_full((logits_NV.shape[0], 1), -torch.inf)
        padded_NV = torch.cat([logits_NV[:, : len(self.vocabulary)], lacking_N1], dim=1)
        logits_NU = padded_NV.index_select(1, self.source_U)
        for union_ids, ids in self._twins:
            logits_NU[:, union_ids] = torch.logaddexp(logits_NU[:, union_ids], logits_NV[:, ids])
        return torch.softmax(logits_NU, dim=1, dtype=torch.float32)

    def feed(self, union_id: int) -> tuple[int, ...]:
        """The member's ids for a union token: its own id, else its tokeniser's ids, else the longest pieces that fit.

        The ids' bytes are always exactly the token's. END has none.

        Raises:
            VocabularyError: where the member has no token for one of the bytes.
        """
        if union_id not in self._fed:
            own = self._own_id.get(union_id)
            is_own = own is not None and union_id != self.union.end_id
            self._fed[union_id] = (own,) if is_own and own is not None else self.spell(self.union.token(union_id))
        return self._fed[union_id]

    def spell(self, text: bytes) -> tuple[int, ...]:
        """Ids of the member whose bytes are exactly `text`, which may be any bytes, half characters included."""
        try:
            ids = self.vocabulary.encode(text.decode("utf-8"))
        except UnicodeDecodeError:
            return self._spell_greedily(text)
        has_control = any(self.vocabulary.token_bytes[i] is None for i in ids)
        return tuple(ids) if not has_control and self.vocabulary.decode(ids) == text else self._spell_greedily(text)

    def _spell_greedily(self, text: bytes) -> tuple[int, ...]:
        ids: list[int] = []
        start = 0
        while start < len(text):
            for end in range(min(len(text), start + MAX_TOKEN_BYTES), start, -1):
                own = self._id_of_bytes.get(text[start:end])
                if own is not None:
                    ids.append(own)
                    start = end
                    break
            else:
                raise VocabularyError(f"no token for the byte 0x{text[start]:02X}, so not every text can be fed")
        return tuple(ids)

    @cached_property
    def _id_of_bytes(self) -> dict[bytes, int]:
        return {self.union.tokens[u]: own for u, own in self._own_id.items() if u != self.union.end_id}

    def _ids_by_union_id(self) -> dict[int, list[int]]:
        """The member's ids of each union token it has, the one to be fed first."""
        vocabulary = self.vocabulary
        found: dict[int, list[int]] = {}
        for own, token in enumerate(vocabulary.token_bytes):
            if own in vocabulary.end_ids:
                found.setdefault(self.union.end_id, []).append(own)
            elif token in self.union.ids:
                found.setdefault(self.union.ids[token], []).append(own)
        for union_id, ids in found.items():
            if len(ids) > 1 and union_id != self.union.end_id:
                ids.sort(key=self._preference(self.union.tokens[union_id]))
        return found

    def _preference(self, token: bytes) -> Callable[[int], tuple[bool, bool, int]]:
        """Sort key for ids of equal bytes: an ordinary token first, and of several the one the tokeniser produces."""
        try:
            canonical = self.vocabulary.encode(token.decode("utf-8"))
        except UnicodeDecodeError:
            canonical = []
        return lambda own: (own in self.vocabulary.byte_ids, [own] != canonical, own)


def _rounds(twins: dict[int, list[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(union ids, member ids) to be added one after the other, so that no round has a union id twice."""
    rounds: list[tuple[torch.Tensor, torch.Tensor]] = []
    for depth in range(max(map(len, twins.values()), default=0)):
        pairs = [(union_id, ids[depth]) for union_id, ids in twins.items() if len(ids) > depth]
        columns = torch.tensor(pairs, dtype=torch.int64)
        rounds.append((columns[:, 0].contiguous(), columns[:, 1].contiguous()))
    return rounds
