"""A member as a distribution over byte strings, whatever pieces its tokens cut them into.

The bytes written so far may have been cut by another member's tokens. This member then has several *covers* of them:
its own tokens up to a *boundary*, and one longer token that begins with what stands behind that boundary and goes on
beyond the end. With the boundaries b_j, their weights w_j (the probability of having come to them, given the bytes),
and r_j the bytes behind b_j, the next piece u after the bytes has

    q(u) = w_end p_end(u) + sum_j w_j p_j(r_j + u)

All p_j were computed when the boundaries were read, so this costs no forward pass; tokens that begin with r_j are
neighbours in the sorted union. Sources: Phan et al., arXiv 2410.09303; Vieira et al., arXiv 2412.03719.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import torch

from gac_app.vocab.mapping import VocabMapping

NEGLIGIBLE = 1e-3  # share of the weight below which a cover is forgotten
WORTH_READING = 0.02  # share of the weight from which a boundary is read
_MAX_OPEN = 256  # longer tokens kept per boundary, likeliest first


@dataclass(slots=True, eq=False)
class Boundary:
    """A place at which the member's own tokens end.

    Attributes:
        parent: the boundary before; None for the end of the prompt.
        ids: the member's ids between the two.
        end: bytes of the answer before it.
        weight: probability of having come to it, of all covers of the bytes so far.
        probs_U: the member's distribution there; None until it is read, and when it can matter no more.
    """

    parent: Boundary | None
    ids: tuple[int, ...]
    end: int
    weight: float = 1.0
    probs_U: torch.Tensor | None = None
    depth: int = field(init=False)
    num_ids: int = field(init=False)  # since the end of the prompt

    def __post_init__(self) -> None:
        self.depth = self.parent.depth + 1 if self.parent else 0
        self.num_ids = len(self.ids) + (self.parent.num_ids if self.parent else 0)

    @property
    def known_probs_U(self) -> torch.Tensor:
        """The distribution; an error in this module's caller where it is not read yet."""
        if self.probs_U is None:
            raise RuntimeError("the distribution at this boundary is not read yet")
        return self.probs_U


@dataclass(frozen=True, slots=True)
class Row:
    """What a member expects next.

    Attributes:
        probs_U: by union token, summing to 1.
        open_ids: tokens that stand for longer ones, which begin with them but are no union tokens themselves -> the
            part of the token's probability that belongs to such.
    """

    probs_U: torch.Tensor
    open_ids: dict[int, float] = field(default_factory=dict)

    def ends_at(self, token_id: int) -> float:
        """Probability that the member's own next boundary is right behind this token."""
        return float(self.probs_U[token_id]) - self.open_ids.get(token_id, 0.0)


class Covers:
    """The covers of one answer's bytes by one member's tokens. Knows distributions, but no model.

    Attributes:
        text: the answer so far.
        boundaries: those that matter for what follows, the last one last. The unread ones are its last ones, an id
            apart if there are several.
    """

    def __init__(self, mapping: VocabMapping) -> None:
        self.text = bytearray()
        self.boundaries = [Boundary(parent=None, ids=(), end=0)]
        self._has_leapt = False  # the boundaries are to be weighed
        self._mapping = mapping
        self._union = mapping.union

    @property
    def unread(self) -> list[Boundary]:
        """The boundaries whose distributions are needed before anything else."""
        return [boundary for boundary in self.boundaries if boundary.probs_U is None]

    @property
    def is_settled(self) -> bool:
        """Whether the member is known to be at the end of one of its tokens: the last boundary, and no other."""
        return len(self.boundaries) == 1 and self.boundaries[0].end == len(self.text)

    def advance(self, piece: bytes, *, is_open: bool) -> Boundary | None:
        """The answer goes on with `piece`; needs all boundaries read. Returns the boundary at its new end, if any.

        Args:
            is_open: whether the member's tokens may go on beyond the piece. Else it is known that they end there, and
                the covers that go on are forgotten.
        """
        self.text += piece
        if not is_open and len(self.boundaries) == 1 and self.boundaries[0].end == len(self.text) - len(piece):
            return self._settle(self._child(self.boundaries[0]))
        ended = [(boundary, self._prob_to_end(boundary)) for boundary in self.boundaries]
        going_on = [] if not is_open else [(boundary, self._prob_beyond(boundary)) for boundary in self.boundaries]
        ended_weight = sum(prob for _, prob in ended)
        total = ended_weight + sum(prob for _, prob in going_on)
        if total <= 0:
            # None of its tokens fits: it is taken there by its own spelling of the bytes.
            return self._settle(self._child(self._heaviest))
        likeliest = max(ended, key=lambda pair: pair[1])[0]
        if not is_open:
            return self._settle(self._child(likeliest))
        kept = []
        for boundary, prob in going_on:
            if prob > NEGLIGIBLE * total:
                boundary.weight /= total
                kept.append(boundary)
            else:
                boundary.probs_U = None
        new = self._child(likeliest) if ended_weight >= WORTH_READING * total or not kept else None
        if new:
            new.weight = ended_weight / total
            kept.append(new)
        self.boundaries = kept
        return new

    def leap(self, piece: bytes) -> bytes:
        """The answer went on with `piece` while the member was not asked: it spells it as its tokeniser would.

        The boundaries left are the last two of that spelling. Returns the end of `piece` that is no whole character:
        once they are read, `advance` by it.
        """
        base, ids, rest = self.spelling(piece)
        self.text += piece
        del self.text[len(self.text) - len(rest) :]
        for boundary in self.boundaries:
            if boundary is not base:
                boundary.probs_U = None
        if not ids:
            self._settle(base)
            return rest
        last_bytes = self._mapping.vocabulary.decode(list(ids[-1:]))
        before = Boundary(base, ids[:-1], len(self.text) - len(last_bytes)) if len(ids) > 1 else base
        self.boundaries = [before, Boundary(before, ids[-1:], len(self.text))]
        self._has_leapt = True
        return rest

    def spelling(self, piece: bytes) -> tuple[Boundary, tuple[int, ...], bytes]:
        """How the member would be taken on by `piece`: from which boundary, by which ids, and what is then left over of
        `piece` because it is no whole character. Without a piece: nothing behind the last boundary.
        """
        if not piece:
            return self.boundaries[-1], (), b""
        base = self._heaviest
        text = self._behind(base) + piece
        rest = _partial_character(text)
        return base, self._mapping.spell(text[: len(text) - len(rest)]), rest

    def fits(self, missed: bytes, max_ids: int) -> bool:
        """Whether what is to be read, should the answer go on with `missed`, is at most `max_ids` behind the prompt."""
        if not missed:
            return self.boundaries[-1].num_ids <= max_ids
        text, room = self._behind(self._heaviest) + missed, max_ids - self._heaviest.num_ids
        if len(text) <= room:
            return True  # at most an id a byte
        rest = _partial_character(text)
        return len(self._mapping.spell(text[: len(text) - len(rest)])) + len(rest) <= room

    def learn(self, rows: SequenceOf[torch.Tensor]) -> None:
        """Take the distributions of the unread boundaries, [U] each."""
        for boundary, probs_U in zip(self.unread, rows, strict=True):
            boundary.probs_U = probs_U
        if self._has_leapt:
            self._has_leapt = False
            self._weigh(*self.boundaries)

    def _weigh(self, before: Boundary, last: Boundary) -> None:
        before.weight = 1.0
        ended, beyond = self._prob_to_end(before), self._prob_beyond(before)
        if beyond <= NEGLIGIBLE * (ended + beyond) or ended <= 0:
            self._settle(last)
        else:
            before.weight, last.weight = 1 / (ended + beyond), ended / (ended + beyond)

    def row(self) -> Row:
        """The distribution of the next piece. Needs all boundaries read."""
        last = self.boundaries[-1]
        if self.is_settled:
            return Row(last.known_probs_U)
        row_U = torch.zeros_like(last.known_probs_U)
        open_ids: dict[int, float] = {}
        for boundary in self.boundaries:
            if boundary.end == len(self.text):
                row_U.add_(boundary.known_probs_U, alpha=boundary.weight)
            else:
                self._add_longer(boundary, row_U, open_ids)
        total = float(row_U.sum())
        return Row(row_U / total, {token_id: prob / total for token_id, prob in open_ids.items()})

    @property
    def _heaviest(self) -> Boundary:
        return max(self.boundaries, key=lambda boundary: boundary.weight)

    # --- one boundary's part

    def _prob_to_end(self, boundary: Boundary) -> float:
        """Weight of the cover that ends with the text."""
        token_id = self._union.ids.get(self._behind(boundary))
        return 0.0 if token_id is None else boundary.weight * float(boundary.known_probs_U[token_id])

    def _prob_beyond(self, boundary: Boundary) -> float:
        """Weight of the covers whose last token goes on beyond the text."""
        longer = self._longer(boundary)
        return boundary.weight * float(boundary.known_probs_U[longer.start : longer.stop].sum()) if longer else 0.0

    def _add_longer(self, boundary: Boundary, row_U: torch.Tensor, open_ids: dict[int, float]) -> None:
        """Add what the longer tokens leave over of themselves to `row_U`."""
        longer, num_covered = self._longer(boundary), len(self.text) - boundary.end
        probs = boundary.known_probs_U[longer.start : longer.stop]
        top = probs.topk(min(_MAX_OPEN, len(probs)))
        # What is left out counts as if it were spread like what is kept.
        scale = boundary.weight * float(probs.sum()) / max(float(top.values.sum()), 1e-30)
        rest: dict[int, float] = {}
        for index, prob in zip(top.indices.tolist(), (top.values * scale).tolist(), strict=True):
            if prob <= 0:
                break
            left_over = self._union.tokens[longer.start + index][num_covered:]
            token_id = self._union.longest(left_over)
            rest[token_id] = rest.get(token_id, 0.0) + prob
            if len(self._union.tokens[token_id]) < len(left_over):
                open_ids[token_id] = open_ids.get(token_id, 0.0) + prob
        if rest:
            ids = torch.tensor(list(rest), device=row_U.device)
            row_U[ids] += torch.tensor(list(rest.values()), device=row_U.device)

    def _behind(self, boundary: Boundary) -> bytes:
        return bytes(self.text[boundary.end :])

    def _longer(self, boundary: Boundary) -> range:
        """Ids of the tokens that begin with the bytes behind `boundary` and are longer."""
        behind = self._behind(boundary)
        ids = self._union.extensions(behind)
        return ids[1:] if ids and self._union.tokens[ids.start] == behind else ids

    def _child(self, boundary: Boundary) -> Boundary:
        behind = self._behind(boundary)
        token_id = self._union.ids.get(behind)
        ids = self._mapping.spell(behind) if token_id is None else self._mapping.feed(token_id)
        return Boundary(boundary, ids, len(self.text))

    def _settle(self, boundary: Boundary) -> Boundary:
        """Keep this boundary alone."""
        for old in self.boundaries:
            if old is not boundary:
                old.probs_U = None
        boundary.weight = 1.0
        self.boundaries = [boundary]
        return boundary


def _partial_character(text: bytes) -> bytes:
    """The end of `text` that begins a UTF-8 character without completing it."""
    for length in range(1, min(3, len(text)) + 1):
        lead = text[-length]
        if lead >= 0xC0:
            size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return text[-length:] if length < size else b""
        if lead < 0x80:
            return b""
    return b""
