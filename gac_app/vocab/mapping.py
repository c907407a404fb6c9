"""The mapping between one member's ids and the union's (paper, section 3.1: the matrix M^i, as its non-zeros).

Shape suffixes: `N` positions, `V` the member's vocabulary, `U` the union, `C` a few of its ids.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from gac_app.errors import VocabularyError
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import IdsV, UnionVocabulary

ProbsC = npt.NDArray[np.float32]
FloatV = npt.NDArray[np.float32]  # on a CPU: numpy reads a few values in a third of torch's time

MAX_TOKEN_BYTES = 128  # longest token tried when bytes are spelt greedily


class VocabMapping:
    """Sends one member's distributions into the union, and union tokens back into the member's ids.

    Args:
        keeps_control: control tokens count as END, so that every other probability stays the member's own. Otherwise
            they get none, and the others are divided by their sum.
    """

    def __init__(self, vocabulary: MemberVocabulary, union: UnionVocabulary, *, keeps_control: bool = False) -> None:
        self.vocabulary, self.union = vocabulary, union
        self._fed: dict[int, tuple[int, ...]] = {}
        ids_V = union.ids_of(vocabulary)
        duplicates = self._duplicates(ids_V)
        # A union token that the member lacks reads an extra last place, whose logit is -inf and whose probability is 0.
        own_U = np.full(len(union), len(vocabulary), dtype=np.int64)
        has_token_V = ids_V >= 0
        own_U[ids_V[has_token_V]] = np.flatnonzero(has_token_V)
        own_U[list(duplicates)] = [ids[0] for ids in duplicates.values()]
        lacking_V = np.flatnonzero(~has_token_V)
        kept = [own for own in lacking_V.tolist() if keeps_control and not vocabulary.token_bytes[own]]
        self._masked_V = np.setdiff1d(lacking_V, kept)
        self.union_ids_V = ids_V.copy()  # -1 = it has no probability
        self.union_ids_V[kept] = union.end_id
        if kept and own_U[union.end_id] == len(vocabulary):  # it has no end token
            own_U[union.end_id] = kept.pop()
        self._kept_V = torch.tensor(kept, dtype=torch.int64)  # counted as END, beside END's own place
        self._own_U = own_U
        self._source_U = torch.tensor(own_U, dtype=torch.int32)
        self._added = _rounds(duplicates)
        self._own_added = [(own_U[union_ids.numpy()], ids.numpy()) for union_ids, ids in self._added]
        self._has_U = own_U < len(vocabulary)

    @cached_property
    def counts_U(self) -> FloatV:
        """How many of the member's ids stand for each union token, [U]."""
        counts: FloatV = np.bincount(self.union_ids_V[self.union_ids_V >= 0], minlength=len(self.union)).astype(
            np.float32
        )
        return counts

    def to(self, device: torch.device) -> VocabMapping:
        """Move the index tensors to where the member's logits are."""
        self._source_U = self._source_U.to(device)
        self._added = [(union_ids.to(device), ids.to(device)) for union_ids, ids in self._added]
        self._kept_V = self._kept_V.to(device)
        return self

    def project(self, logits_NV: torch.Tensor) -> torch.Tensor:
        """Probabilities in the union, float32 [N, U], each row summing to 1.

        Ids with equal bytes add their probabilities. Control tokens get none, unless they are kept; their entries in
        `logits_NV` may be overwritten.
        """
        if logits_NV.device.type == "cpu":
            return _stacked([self._project_row(logits_V) for logits_V in logits_NV.numpy()])
        return self._project_logits(logits_NV)

    def _project_row(self, logits_V: FloatV) -> torch.Tensor:
        """On a CPU the softmax comes before the mapping, because it reads contiguous values faster."""
        logits_V[self._masked_V] = -np.inf
        probs_V: FloatV = np.zeros(len(logits_V) + 1, np.float32)
        torch.softmax(torch.from_numpy(logits_V), 0, out=torch.from_numpy(probs_V[:-1]))  # in half of numpy's time
        for fed, ids in self._own_added:
            probs_V[fed] += probs_V[ids]
            probs_V[ids] = 0.0
        if len(self._kept_V):
            kept = self._kept_V.numpy()
            probs_V[self._own_U[-1]] += probs_V[kept].sum()
            probs_V[kept] = 0.0
        return torch.from_numpy(probs_V).index_select(0, self._source_U)

    def project_logs(self, logits_NV: torch.Tensor) -> torch.Tensor:
        """The natural logarithms of `project`, float32 [N, U]: no probability is too small for them."""
        return torch.log_softmax(self._map_logits(logits_NV), dim=1, dtype=torch.float32)

    def _project_logits(self, logits_NV: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self._map_logits(logits_NV), dim=1, dtype=torch.float32)

    def _map_logits(self, logits_NV: torch.Tensor) -> torch.Tensor:
        """Map logits first, so that one softmax over the union suffices and the host does not wait for the device."""
        lacking_N1 = logits_NV.new_full((logits_NV.shape[0], 1), -torch.inf)
        padded_NV = torch.cat([logits_NV, lacking_N1], dim=1)
        # Row by row: torch gathers from one dimension twice as fast as from two.
        logits_NU = _stacked([padded_V.index_select(0, self._source_U) for padded_V in padded_NV])
        for union_ids, ids in self._added:
            logits_NU[:, union_ids] = torch.logaddexp(logits_NU[:, union_ids], logits_NV[:, ids])
        if len(self._kept_V):
            logits_NU[:, -1] = torch.logaddexp(logits_NU[:, -1], logits_NV[:, self._kept_V].logsumexp(1))
        return logits_NU

    def feed(self, union_id: int) -> tuple[int, ...]:
        """The member's ids for a union token: its own id, else its tokeniser's ids, else the longest pieces that fit.

        The ids' bytes are always exactly the token's. END has none.

        Raises:
            VocabularyError: the member has no token for one of the bytes.
        """
        if union_id not in self._fed:
            own = int(self._own_U[union_id])
            is_own = own < len(self.vocabulary) and union_id != self.union.end_id
            self._fed[union_id] = (own,) if is_own else self.spell(self.union.token(union_id))
        return self._fed[union_id]

    def first(self, union_id: int) -> int:
        """The union token by which the member begins to write this one: itself, or the first piece of its spelling."""
        if self._has_U[union_id] or union_id == self.union.end_id:
            return union_id
        first = self.vocabulary.token_bytes[self.feed(union_id)[0]]
        return self.union.ids.get(first or b"", union_id)

    def spans(self, before: bytes, piece: bytes) -> bool:
        """Whether the member has a token that begins with `before` and continues with `piece`, a beginning of `piece`,
        or more.
        """
        ids = self.union.extensions(before + piece)
        if self._has_U[ids.start : ids.stop].any():
            return True
        parts = (self.union.ids.get(before + piece[:length]) for length in range(1, len(piece)))
        return any(part is not None and self._has_U[part] for part in parts)

    def spell(self, text: bytes) -> tuple[int, ...]:
        """Ids of the member whose bytes are exactly `text`, which may be any bytes, half characters included."""
        try:
            ids = self.vocabulary.encode(text.decode("utf-8"))
        except UnicodeDecodeError:
            return self._spell_greedily(text)
        is_text = all(self.vocabulary.token_bytes[i] and i not in self.vocabulary.end_ids for i in ids)
        return tuple(ids) if is_text and self.vocabulary.decode(ids) == text else self._spell_greedily(text)

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
        """The id to feed, by byte string, including strings that the union lacks (mostly lone bytes)."""
        ends, size = self.vocabulary.end_ids, len(self.vocabulary)
        found = {token: i for i, token in enumerate(self.vocabulary.token_bytes) if token and i not in ends}
        return found | {t: own for t, own in zip(self.union.tokens, self._own_U.tolist(), strict=False) if own < size}

    def _duplicates(self, union_ids_V: IdsV) -> dict[int, list[int]]:
        """The ids of each union token that has several, the one to feed first."""
        counts_U = np.bincount(union_ids_V[union_ids_V >= 0], minlength=len(self.union))
        is_duplicate_V = (union_ids_V >= 0) & (counts_U[union_ids_V] > 1)
        found: dict[int, list[int]] = {}
        for own in np.flatnonzero(is_duplicate_V).tolist():
            found.setdefault(int(union_ids_V[own]), []).append(own)
        for union_id, ids in found.items():
            if union_id != self.union.end_id:
                ids.sort(key=self._preference(self.union.tokens[union_id]))
        return found

    def _preference(self, token: bytes) -> Callable[[int], tuple[bool, bool, int]]:
        """Sort key for ids of equal bytes: ordinary tokens first; among these, the one that the tokeniser produces."""
        try:
            canonical = self.vocabulary.encode(token.decode("utf-8"))
        except UnicodeDecodeError:
            canonical = []
        return lambda own: (own in self.vocabulary.byte_ids, [own] != canonical, own)


def _stacked(rows: list[torch.Tensor]) -> torch.Tensor:
    """Rows as one tensor; a single row is not copied."""
    return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)


def _rounds(duplicates: dict[int, list[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(union ids, member ids) to add to the first ids, in rounds, so that no round has a union id twice."""
    rounds: list[tuple[torch.Tensor, torch.Tensor]] = []
    for depth in range(1, max(map(len, duplicates.values()), default=0)):
        pairs = [(union_id, ids[depth]) for union_id, ids in duplicates.items() if len(ids) > depth]
        columns = torch.tensor(pairs, dtype=torch.int64)
        rounds.append((columns[:, 0].contiguous(), columns[:, 1].contiguous()))
    return rounds
