"""A battle and its vote, read from the record. Exports make their rows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gac_app.arena.outcomes import SIDES, Outcome, Side, flags_of
from gac_app.storage import Kind, StoredBattle

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """A battle with its final vote.

    Attributes:
        facts: of the vote; see `services.battles.records.facts_of`.
        reasons: by side.
        flags: why it does not count; empty = it does.
    """

    record: StoredBattle
    outcome: Outcome
    voted_at: str  # ISO 8601
    facts: Mapping[str, Any]
    reasons: Mapping[str, Sequence[str]]
    comment: str
    flags: tuple[str, ...]

    @property
    def winner(self) -> Side | None:
        return {Outcome.LEFT: SIDES[0], Outcome.RIGHT: SIDES[1]}.get(self.outcome)

    @property
    def first_prompt(self) -> list[Message]:
        """The first prompt of both sides, with the system prompt if they had the same one."""
        left, right = (self._asked(side) for side in SIDES)
        return [one for one in left if one["role"] != "system" or one in right]

    @property
    def last_prompt(self) -> str:
        """The prompt of the last turn that was judged."""
        prompt: str = self._turns[-1]["prompt"]
        return prompt

    @property
    def _turns(self) -> Sequence[Mapping[str, Any]]:
        """Those that were judged."""
        turns: Sequence[Mapping[str, Any]] = self.record.body["turns"]
        return (turns[: self.facts.get("turn", 1)] if "shown" in self.facts else ()) or turns

    def completion(self, side: Side) -> list[Message]:
        """A side's conversation after the first prompt, as far as it was shown when the vote came."""
        turns = self._turns
        messages: list[Message] = []
        for number, turn in enumerate(turns):
            if number:
                messages.append({"role": "user", "content": turn["prompt"]})
            text = turn[side]["text"]
            is_last = number == len(turns) - 1
            shown = (self.facts if is_last else turn).get("shown", {}).get(side)
            messages.append({"role": "assistant", "content": text if shown is None else text[:shown]})
        return messages

    def conversation(self, side: Side) -> list[Message]:
        """A side's whole conversation, with its own system prompt."""
        return [*self._asked(side), *self.completion(side)]

    def _asked(self, side: Side) -> list[Message]:
        """The messages of the first turn."""
        asked: list[Message] = self.record.body["turns"][0][side]["messages"]
        return asked


def judged(records: Iterable[StoredBattle]) -> Iterator[Judged]:
    """The battles that have a vote which was not taken back."""
    for record in records:
        if vote := record.vote:
            remark, verdict = record.last(Kind.REMARK), record.last(Kind.VERDICT)
            said: Mapping[str, Any] = remark["body"] if remark else {"reasons": {}, "comment": ""}
            yield Judged(
                record=record,
                outcome=Outcome(vote["outcome"]),
                voted_at=vote["created_at"],
                facts=vote["facts"],
                reasons=said["reasons"],
                comment=said["comment"],
                flags=flags_of(vote["facts"].get("flags", ()), verdict["outcome"] if verdict else None),
            )
