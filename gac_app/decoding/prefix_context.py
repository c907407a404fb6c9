"""The context of a member that reads the answer's bytes by its own tokens, whatever pieces others cut them into."""

from __future__ import annotations

from concurrent.futures import Future

import torch

from gac_app.decoding.context import Expectation, MemberContext
from gac_app.decoding.covers import Boundary, Covers
from gac_app.decoding.member import TOP_K, Member, Reading
from gac_app.decoding.ranking import top_k
from gac_app.models.base import Sequence, num_common


class PrefixContext(MemberContext):
    """A context whose member may be inside one of its own tokens when another member's ends (see `covers`)."""

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        super().__init__(member, prompt_ids, sequence)
        self._covers = Covers(member.mapping)
        self._chain = list(self._covers.boundaries)  # those whose ids the sequence holds, from the prompt's end on
        self._missed = bytearray()  # fed since the member was asked last
        self._rest = b""  # the end of what it has read by now that is no whole character
        self._rows: dict[int, torch.Tensor] = {}  # ids behind the prompt -> distribution there, of the last two places
        self._is_current = False

    @property
    def is_full(self) -> bool:
        return not self._covers.fits(bytes(self._missed), self.member.context_length - self.num_prompt_ids)

    @property
    def written(self) -> bytes:
        return bytes(self._covers.text) + self._rest + bytes(self._missed)

    def ask(self) -> Future[Reading] | None:
        if self._ahead:
            return self._ahead
        if self._missed:
            self._rest = self._covers.leap(bytes(self._missed))
            self._missed.clear()
        unread = self._covers.unread
        if not unread:
            return None
        self._hold(unread[-1])
        return self._read(len(unread))

    def expect(self, reading: Reading | None) -> Expectation | None:
        if reading is not None:
            self._keep(reading)
        if self._ahead:
            self._ahead = None
            return None
        if unread := self._covers.unread:
            self._covers.learn([self._rows[boundary.num_ids] for boundary in unread])
        if self._rest:
            self._covers.advance(self._rest, is_open=True)
            self._rest = b""
            if self._covers.unread:
                return None
        self._is_current = True
        row = self._covers.row()
        if reading is not None and self._covers.is_settled:
            return Expectation(row, reading.top_probs_NK[-1], reading.top_ids_NK[-1], reading.num_read, reading.seconds)
        top_probs_NK, top_ids_NK = top_k(row.probs_U.unsqueeze(0), TOP_K)
        num_read, seconds = (reading.num_read, reading.seconds) if reading else (0, 0.0)
        return Expectation(row, top_probs_NK[0], top_ids_NK[0], num_read, seconds)

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        """Append a union token.

        Returns:
            The pieces behind the boundary before: more bytes than the token has where it is read as a part of a longer
            one; none where the member is inside a token now.
        """
        token = self.member.mapping.union.token(token_id)
        if not self._is_current or not token:
            self._missed += token
            return (token,)
        self._is_current = False
        boundary = self._covers.advance(token, is_open=is_open)
        return self._pieces(boundary.ids) if boundary else ()

    def read_ahead(self) -> Future[Reading] | None:
        if self._ahead:
            if not self._ahead.done() or self._ahead.exception():
                return self._ahead
            self._keep(self._ahead.result())
            self._ahead = None
        boundary, ids, _ = self._covers.spelling(bytes(self._missed))
        self._hold(boundary, ids)
        self._begin(self._read(min(2, len(ids) + (boundary.probs_U is None))))
        return self._ahead

    def _hold(self, boundary: Boundary, ahead: tuple[int, ...] = ()) -> None:
        """Let the sequence be the ids up to `boundary` and those of `ahead`. What it has read of them stays read."""
        new: list[Boundary] = []
        while boundary.parent and boundary not in self._chain[boundary.depth : boundary.depth + 1]:
            new.insert(0, boundary)
            boundary = boundary.parent
        del self._chain[boundary.depth + 1 :]
        self._chain += new
        ids = [*(own for added in new for own in added.ids), *ahead]
        held = self._sequence.ids[self.num_prompt_ids + boundary.num_ids :]
        num_same = num_common(held, ids)
        start = boundary.num_ids + num_same
        self._rows = {num_ids: probs_U for num_ids, probs_U in self._rows.items() if num_ids <= start}
        self._sequence.rewrite(self.num_prompt_ids + start, ids[num_same:])

    def _read(self, num_rows: int) -> Future[Reading] | None:
        """Read until the distributions at the sequence's last places are known; None where they are."""
        end = len(self._sequence.ids) - self.num_prompt_ids
        unknown = [num_ids for num_ids in range(end - num_rows + 1, end + 1) if num_ids not in self._rows]
        if not unknown:
            return None
        num_logits = end - unknown[0] + 1
        if num_logits > self._sequence.num_pending:  # read once, but not for its distribution
            self._sequence.rewrite(len(self._sequence.ids) - num_logits, self._sequence.ids[-num_logits:])
        return self.member.read(self._sequence, num_logits=num_logits)

    def _keep(self, reading: Reading) -> None:
        self._count(reading)
        end = len(self._sequence.ids) - self.num_prompt_ids
        start = end - len(reading.probs_NU) + 1
        self._rows |= {start + index: probs_U for index, probs_U in enumerate(reading.probs_NU)}
        self._rows = {num_ids: probs_U for num_ids, probs_U in self._rows.items() if num_ids >= end - 1}
