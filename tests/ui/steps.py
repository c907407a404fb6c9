"""Steps written out by hand, with two members that cut the text differently."""

from __future__ import annotations

from gac_app.decoding.trace.events import Candidate, MemberTrace, StepTrace

Top = dict[bytes, float]


def token_id(token: bytes) -> int:
    return int.from_bytes(token, "big") + 1


def candidates(top: Top) -> tuple[Candidate, ...]:
    return tuple(Candidate(token_id(token), token, prob) for token, prob in top.items())


def member(name: str, prob: float, top: Top | None = None, weight: float = 0.5, num_read: int = 1) -> MemberTrace:
    return MemberTrace(name, weight, prob, 1, candidates(top or {}), num_read, 0.01)


def step(
    position: int,
    token: bytes,
    spellings: dict[str, tuple[bytes, ...]] | None = None,
    *,
    members: tuple[MemberTrace, ...] | None = None,
    is_partial: bool = False,
    prob: float = 0.5,
    top: Top | None = None,
) -> StepTrace:
    members = members or (member("Small", 0.5), member("Large", 0.5))
    top, is_ensembled = candidates(top or {}), len(members) > 1
    more = {"spellings": spellings or {}, "is_partial": is_partial}
    return StepTrace(position, token_id(token), token, prob, top, 0.4, is_ensembled, "Small", members, **more)
