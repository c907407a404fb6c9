"""A member as a distribution over byte strings, whatever pieces its tokens cut them into.

The bytes written so far may have been cut by another member's tokens. This member then has several *covers* of them:
its own tokens up to a *boundary*, then one longer token that begins with the remaining bytes and goes on beyond the
end. With the boundaries b_j, their weights w_j (the probability that the member's tokens passed through them, given the
bytes), and r_j the bytes after b_j, the next piece u after the bytes has

    q(u) = w_end p_end(u) + sum_j w_j p_j(r_j + u)

All p_j were computed when the boundaries were read, so this costs no forward pass; tokens that begin with r_j are
neighbours in the sorted union. Sources: Phan et al., arXiv 2410.09303; Vieira et al., arXiv 2412.03719.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from gac_app.decoding.alignment.boundary import Boundary
from gac_app.decoding.distribution import ScaledDistribution, TokenDistribution, with_added
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import whole_characters

NEGLIGIBLE = 1e-3  # of the weight of all covers, below which a cover is forgotten
WORTH_READING = 0.02  # of the same, from which a boundary is read
_MAX_PARTIAL = 256  # longer tokens kept per boundary, likeliest first


@dataclass(slots=True)
class Cover:
    """The covers with the same last boundary, as one: what they may be followed by is equal.

    Attributes:
        weight: w_j of the module's formula, up to a factor that all have in common: how probable it is that the
            member's tokens came through the boundary. It leaves out that the token after it is as long as it has to be:
            `_mass` multiplies by that. At the end of the text there is no such token, so the weight is the mass.
        distribution: the member's distribution there; None until it is read.
        allowed: the same without the tokens that the answer's constraints forbid there; None until it is needed.
    """

    boundary: Boundary
    weight: float = 1.0
    distribution: TokenDistribution | None = None
    allowed: TokenDistribution | None = None

    @property
    def known_distribution(self) -> TokenDistribution:
        """The distribution. Callers must have read it."""
        if self.distribution is None:
            raise RuntimeError("the distribution at this boundary is not read yet")
        return self.distribution


class Covers:
    """The covers of one answer's bytes by one member's tokens. Knows distributions, but no model.

    Attributes:
        text: the answer so far.
        beam: those that still count, the last boundary last. Unread ones come last; if there are several, each is one
            id after the other.
        allowed_after: gives the tokens that the answer's constraints allow after its first bytes; see
            `SchemaConstraint.allowed_U`. A token that they forbid is in no cover.
    """

    def __init__(self, mapping: VocabMapping) -> None:
        self.text = bytearray()
        self.beam = [Cover(Boundary(parent=None, ids=(), end=0))]
        self.allowed_after: Callable[[int], torch.Tensor | None] = lambda num_bytes: None
        self._has_resynced = False  # their weights are still to be computed
        self._mapping = mapping
        self._union = mapping.union

    def fork(self) -> Covers:
        """An independent copy."""
        forked = Covers(self._mapping)
        forked.text = bytearray(self.text)
        forked.beam = [replace(cover) for cover in self.beam]
        forked.allowed_after, forked._has_resynced = self.allowed_after, self._has_resynced
        return forked

    @property
    def unread(self) -> list[Boundary]:
        """The boundaries whose distributions are needed before anything else."""
        if self.beam[-1].distribution is not None:  # unread ones come last
            return []
        return [cover.boundary for cover in self.beam if cover.distribution is None]

    @property
    def last(self) -> Boundary:
        """The last boundary."""
        return self.beam[-1].boundary

    @property
    def likeliest(self) -> Boundary:
        """The boundary that the member's tokens came through most probably."""
        return self._heaviest.boundary

    @property
    def is_at_end(self) -> bool:
        """Whether the member is known to be at the end of one of its tokens: the last boundary, and no other."""
        return len(self.beam) == 1 and self.last.end == len(self.text)

    def advance(self, piece: bytes, *, is_partial: bool) -> Boundary | None:
        """Append `piece` to the answer. All boundaries must have been read. Returns the boundary at the new end, if
        any.

        Args:
            is_partial: whether the member's tokens may go on beyond the piece. Otherwise they end there, and covers
                that go on are dropped.
        """
        self.text += piece
        if not is_partial and len(self.beam) == 1 and self.last.end == len(self.text) - len(piece):
            return self._end_at(self._child(self.last))
        ended = [(cover, self._prob_to_end(cover)) for cover in self.beam]
        going_on = [] if not is_partial else [(cover, self._prob_beyond(cover)) for cover in self.beam]
        ended_weight = sum(prob for _, prob in ended)
        total = ended_weight + sum(prob for _, prob in going_on)
        if total <= 0:
            # None of its tokens fits: continue with its own spelling of the bytes.
            return self._end_at(self._child(self.likeliest))
        before = max(ended, key=lambda pair: pair[1])[0].boundary
        if not is_partial:
            return self._end_at(self._child(before))
        self.beam = [replace(c, weight=c.weight / total) for c, prob in going_on if prob > NEGLIGIBLE * total]
        if ended_weight < WORTH_READING * total and self.beam:
            return None
        self.beam.append(Cover(self._child(before), ended_weight / total))
        return self.last

    def resync(self, piece: bytes, likely: Sequence[bytes] | None = None) -> bytes:
        """Append a `piece` that was written while the member was not asked, spelt as its tokeniser would.

        The last two boundaries of that spelling remain. Only the last remains if none of the `likely` next pieces could
        continue its token. Returns the incomplete character at the end of `piece`; `advance` by it once the boundaries
        are read.

        Args:
            likely: pieces; None = not known.
        """
        base = self._heaviest if piece else self.beam[-1]
        boundary, ids, rest = self.spelling(piece)
        self.text += piece
        del self.text[len(self.text) - len(rest) :]
        if not ids:
            base.weight = 1.0
            self.beam, self._has_resynced = [base], False
            return rest
        last_bytes = self._mapping.vocabulary.decode(list(ids[-1:]))
        if likely is not None and not any(self._mapping.spans(last_bytes, rest or following) for following in likely):
            self._end_at(Boundary(boundary, ids, len(self.text)))
            return rest
        before = Cover(Boundary(boundary, ids[:-1], len(self.text) - len(last_bytes))) if len(ids) > 1 else base
        self.beam = [before, Cover(Boundary(before.boundary, ids[-1:], len(self.text)))]
        self._has_resynced = True
        return rest

    def take_start(self, piece: bytes, num_kept: int) -> int:
        """As `resync`, but only up to a place where the tokeniser cuts in any case: at least the last `num_kept` bytes
        are left, and no character and no run of white space is cut. Returns how many bytes of `piece` were taken.
        """
        base, ids, _ = self.spelling(piece)
        text = self._rest(base) + piece
        sizes = (len(self._mapping.vocabulary.token_bytes[own] or b"") for own in ids)
        for num, end in reversed([*enumerate(accumulate(sizes), 1)]):
            before, after = text[end - 1 : end], text[end : end + 2]
            is_within = before.isspace() or after.isspace() or b"\x80" <= after < b"\xc0"
            taken = base.end + end - len(self.text)
            if taken > 0 and len(text) - end >= num_kept and not is_within:
                self.text += piece[:taken]
                self._end_at(Boundary(base, ids[:num], len(self.text)))
                return taken
        return 0

    def spelling(self, piece: bytes) -> tuple[Boundary, tuple[int, ...], bytes]:
        """How the member would spell `piece`: the boundary it starts from, the ids, and the incomplete character left
        over. For an empty piece: the last boundary and no ids.
        """
        if not piece:
            return self.last, (), b""
        base = self.likeliest
        text = self._rest(base) + piece
        whole = whole_characters(text)
        return base, self._mapping.spell(whole), text[len(whole) :]

    def surely_fits(self, num_more: int, max_ids: int) -> bool:
        """Whether the answer and so many more bytes take at most `max_ids` ids, however the members cut them."""
        lengths = (cover.boundary.num_ids + len(self.text) - cover.boundary.end for cover in self.beam)
        return max(lengths) + num_more <= max_ids  # a byte takes at most one id

    def learn(self, distributions: Sequence[TokenDistribution]) -> None:
        """Take the distributions of the unread boundaries."""
        unread = [cover for cover in self.beam if cover.distribution is None]
        for cover, distribution in zip(unread, distributions, strict=True):
            cover.distribution = distribution
        if self._has_resynced:
            self._has_resynced = False
            self._weigh(*self.beam)

    def _weigh(self, before: Cover, last: Cover) -> None:
        before.weight = 1.0
        ended, beyond = self._prob_to_end(before), self._prob_beyond(before)
        if beyond <= NEGLIGIBLE * (ended + beyond) or ended <= 0:
            last.weight = 1.0
            self.beam = [last]
        else:
            before.weight, last.weight = 1 / (ended + beyond), ended / (ended + beyond)

    def distribution(self) -> TokenDistribution:
        """The distribution of the next piece. Needs all boundaries read."""
        last = self.beam[-1]
        if self.is_at_end:
            return last.known_distribution
        has_ended = last.boundary.end == len(self.text)
        left_over: dict[int, float] = {}
        partial_ids: dict[int, float] = {}
        for cover in self.beam[:-1] if has_ended else self.beam:
            self._add_longer(cover, left_over, partial_ids)
        total = sum(left_over.values(), last.weight if has_ended else 0.0)
        added, partial_ids = ({own: prob / total for own, prob in probs.items()} for probs in (left_over, partial_ids))
        base, known = last.known_distribution, [cover.known_distribution for cover in self.beam]
        scale = last.weight / total if has_ended else 0.0
        if scale and not base.is_whole:
            return ScaledDistribution(base, scale, added, partial_ids, parts=known)
        probs_U = base.probs_U * scale if scale else torch.zeros(len(self._union), device=base.probs_U.device)
        return TokenDistribution(with_added(probs_U, added), partial_ids, parts=known)

    @property
    def _heaviest(self) -> Cover:
        return self.beam[0] if len(self.beam) == 1 else max(self.beam, key=self._mass)

    def _mass(self, cover: Cover) -> float:
        """The probability of the covers through this boundary; of one that is to be read after a resync, a bound."""
        is_at_end = cover.boundary.end == len(self.text)
        return cover.weight if is_at_end or cover.distribution is None else self._prob_beyond(cover)

    # --- one boundary's part

    def _prob_to_end(self, cover: Cover) -> float:
        """Weight of the covers through this boundary that end with the text."""
        token_id = self._union.ids.get(self._rest(cover.boundary))
        return 0.0 if token_id is None else cover.weight * cover.known_distribution.prob_of(token_id)

    def _prob_beyond(self, cover: Cover) -> float:
        """Weight of the covers through this boundary whose last token goes on beyond the text."""
        longer = self._longer(cover.boundary)
        return cover.weight * self._allowed(cover).prob_within(longer) if longer else 0.0

    def _allowed(self, cover: Cover) -> TokenDistribution:
        if cover.allowed is None:
            cover.allowed = cover.known_distribution.masked(self.allowed_after(cover.boundary.end))
        return cover.allowed

    def _add_longer(self, cover: Cover, left_over: dict[int, float], partial_ids: dict[int, float]) -> None:
        """Add the remainders of the longer tokens, as union tokens."""
        longer, num_covered = self._longer(cover.boundary), len(self.text) - cover.boundary.end
        probs = self._allowed(cover).within(longer)
        top = probs.topk(min(_MAX_PARTIAL, len(probs)))
        # The tokens left out count as if distributed like those kept.
        scale = cover.weight * float(probs.sum()) / max(float(top.values.sum()), 1e-30)
        for index, prob in zip(top.indices.tolist(), (top.values * scale).tolist(), strict=True):
            if prob <= 0:
                break
            token_id, is_partial = self._union.after(longer.start + index, num_covered)
            left_over[token_id] = left_over.get(token_id, 0.0) + prob
            if is_partial:
                partial_ids[token_id] = partial_ids.get(token_id, 0.0) + prob

    def _rest(self, boundary: Boundary) -> bytes:
        return bytes(self.text[boundary.end :])

    def _longer(self, boundary: Boundary) -> range:
        """Ids of the tokens that begin with the bytes after `boundary` and are longer."""
        rest = self._rest(boundary)
        ids = self._union.extensions(rest)
        return ids[1:] if ids and self._union.tokens[ids.start] == rest else ids

    def _child(self, boundary: Boundary) -> Boundary:
        rest = self._rest(boundary)
        token_id = self._union.ids.get(rest)
        ids = self._mapping.spell(rest) if token_id is None else self._mapping.feed(token_id)
        return Boundary(boundary, ids, len(self.text))

    def _end_at(self, boundary: Boundary) -> Boundary:
        """Keep this boundary alone."""
        self.beam, self._has_resynced = [Cover(boundary)], False
        return boundary
