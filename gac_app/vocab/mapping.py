"""The mapping between one member's ids and the union's (paper, section 3.1: the matrix M^i, as its non-zeros).

Shape suffixes: `N` positions, `V` the member's vocabulary, `U` the union, `C` a few of its ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from gac_app.errors import VocabularyError
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import IdsV, UnionVocabulary

ProbsC = npt.NDArray[np.float32]
FloatV = npt.NDArray[np.float32]  # on a CPU: numpy reads a few values in a third of torch's time
IdArray = npt.NDArray[np.int64]

MAX_TOKEN_BYTES = 128  # longest token tried when bytes are spelt greedily


class VocabMapping:
    """Sends one member's distributions into the union, and union tokens back into the member's ids.

    Args:
        union_ids_V: `union.ids_of(vocabulary)`, if known already.
        keeps_control: control tokens count as END, so that every other probability stays the member's own. Otherwise
            they get none, and the others are divided by their sum.
    """

    def __init__(
        self,
        vocabulary: MemberVocabulary,
        union: UnionVocabulary,
        union_ids_V: IdsV | None = None,
        *,
        keeps_control: bool = False,
    ) -> None:
        self.vocabulary = vocabulary
        self.union = union
        self._fed: dict[int, tuple[int, ...]] = {}
        ids_V = union.ids_of(vocabulary) if union_ids_V is None else union_ids_V
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
        self._most_shared = math.log(1 + len(self._added) + len(kept))  # by ids of one token
        shared = {own for ids in duplicates.values() for own in ids}.union([*kept, own_U[union.end_id]] if kept else ())
        self._duplicates_V = np.array(sorted(shared), dtype=np.int64)
        self._has_U = own_U < len(vocabulary)
        # For a vocabulary much smaller than the union, scattering into zeros is faster than gathering. Ids without a
        # union token, and the extra place, go to an extra place after the last.
        self._is_small = 3 * len(vocabulary) < len(union)
        self._place_V = np.full(len(vocabulary) + 1, len(union), dtype=np.int64)
        self._place_V[own_U[self._has_U]] = np.flatnonzero(self._has_U)

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
            rows = [self.spread(self.own_probs(logits_V)) for logits_V in logits_NV.numpy()]
            return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)
        return self._project_logits(logits_NV)

    def own_probs(self, logits_V: FloatV) -> FloatV:
        """The first half of `project` on a CPU. The softmax comes before the mapping, because it reads contiguous
        values faster.

        Returns:
            Probabilities by the member's own ids, [V + 1]. Among ids with equal bytes, the one that is fed holds the
            sum. Control tokens, and the last place, have 0.
        """
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
        return probs_V

    def spread(self, probs_V: FloatV) -> torch.Tensor:
        """The second half: `own_probs` by union ids, [U]."""
        if self._is_small:
            padded_U = np.zeros(len(self.union) + 1, dtype=np.float32)
            padded_U[self._place_V] = probs_V
            return torch.from_numpy(padded_U[:-1])
        return torch.from_numpy(probs_V.take(self._own_U))

    def at(self, union_ids: list[int], probs_V: FloatV) -> ProbsC:
        """A few of the values of `spread`, at a fraction of its cost."""
        found: ProbsC = probs_V[self._own_U[union_ids]]
        return found

    def within(self, ranges: SequenceOf[range], probs_V: FloatV) -> ProbsC:
        """The same for ranges of union ids, concatenated."""
        return probs_V.take(np.concatenate([self._own_U[ids.start : ids.stop] for ids in ranges]))

    def places(self, ids: IdArray) -> IdArray | None:
        """The union ids under which `spread` puts values of the member's own ids; None if one of them has none."""
        places: IdArray = self._place_V[ids]
        return None if places.max(initial=0) == len(self.union) else places

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
        rows = [padded_V.index_select(0, self._source_U) for padded_V in padded_NV]
        logits_NU = rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(rows)
        for union_ids, ids in self._added:
            logits_NU[:, union_ids] = torch.logaddexp(logits_NU[:, union_ids], logits_NV[:, ids])
        if len(self._kept_V):
            logits_NU[:, -1] = torch.logaddexp(logits_NU[:, -1], logits_NV[:, self._kept_V].logsumexp(1))
        return logits_NU

    def likeliest(self, logits_V: FloatV) -> int | None:
        """The argmax of `project`, at a fraction of its cost; None if only `project` can tell."""
        own = int(logits_V.argmax())
        place, most = int(self._place_V[own]), float(logits_V[own])
        if place == len(self.union) or not math.isfinite(most):
            return None
        # Ids with equal bytes add up. Could their sum win if all were as likely as the likeliest of them?
        if len(self._duplicates_V) and float(logits_V[self._duplicates_V].max()) + self._most_shared >= most:
            return None
        return place

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
        if self._has_U[union_id]:
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


def _rounds(duplicates: dict[int, list[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(union ids, member ids) to add to the first ids, in rounds, so that no round has a union id twice."""
    rounds: list[tuple[torch.Tensor, torch.Tensor]] = []
    for depth in range(1, max(map(len, duplicates.values()), default=0)):
        pairs = [(union_id, ids[depth]) for union_id, ids in duplicates.items() if len(ids) > depth]
        columns = torch.tensor(pairs, dtype=torch.int64)
        rounds.append((columns[:, 0].contiguous(), columns[:, 1].contiguous()))
    return rounds
