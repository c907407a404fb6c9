"""An ensemble inside transformers' `model.generate`.

Shape suffixes: `B` the rows of a batch, `N` ids, `V` the model's vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers import LogitsProcessor

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import Member
from gac_app.decoding.rules import weight_rules
from gac_app.environment import with_plugins
from gac_app.errors import ConfigError, RequestError
from gac_app.executors.members import new_member
from gac_app.library.closing import Owner
from gac_app.library.given import GivenMember, GivenModel
from gac_app.library.prompts import Prompt, messages_of
from gac_app.library.sources import MemberSource, described
from gac_app.library.step import Decoding
from gac_app.loading import InHand, load_models, planned, unite
from gac_app.models.base import Model
from gac_app.models.message import Message
from gac_app.settings import MAX_NEW_TOKENS
from gac_app.vocab.mapping import VocabMapping

_FIXED = {"alignment": "paper", "speculation": "off", "max_new_tokens": MAX_NEW_TOKENS}


@dataclass(slots=True, eq=False)
class _Row:
    """One answer of the batch.

    Attributes:
        ids: what the model has been given: its prompt, and the ids that spell the tokens chosen.
        due: ids that spell what was chosen, still to be written.
    """

    ids: list[int]
    decoding: Decoding
    due: deque[int] = field(default_factory=deque)


class GacLogitsProcessor(LogitsProcessor, Owner):  # type: ignore[misc]
    """Makes `generate` of one model write the answer of an ensemble of it and `others`.

    At each step the model's logits, as earlier processors left them, are its part in the ensemble. The settings choose
    the token, greedily or by sampling with their seed; its ids in the model's vocabulary are forced one after another.
    So `generate`'s own sampling has no effect, and beams are of no use. The alignment is `paper`.

    Args:
        model: (model, tokenizer); the model whose `generate` is called.
        others: the other members, as for `gac_app.load`.
        prompts: what the others read, one for all rows or one for each: a text is read as it is, a chat through each
            one's own template. None = the text of the model's own prompt, without control tokens.
        settings: fields of `Settings`.

    Raises:
        ConfigError, RequestError, ModelLoadError, VocabularyError: see `load`.

    Example:
        >>> with GacLogitsProcessor((model, tokenizer), others=["hub:org/name"], mode="every-step") as processor:
        ...     model.generate(**inputs, logits_processor=[processor])
    """

    def __init__(
        self,
        model: tuple[Any, Any],
        others: Sequence[MemberSource],
        prompts: Prompt | Sequence[Prompt] | None = None,
        **settings: Any,
    ) -> None:
        if not others:
            raise ConfigError("others: expected at least one more member")
        config, in_hand = described([model, *others])
        config = with_plugins(config)
        self._settings = config.settings_from({**settings, **_FIXED})
        if weight_rules.of(self._settings).needs_prompt:
            raise RequestError("weights", "this rule reads the prompt once more, which generate does not; use another")
        self._tokenizer, self._prompts = model[1], prompts
        ensemble, self._member = _ensemble_of(config, model, in_hand)
        self.own(ensemble)
        self._end_id = _end_id(model[0], self._member)
        pads = {self._tokenizer.pad_token_id, model[0].generation_config.pad_token_id, self._end_id}
        self._pad_ids = pads | self._member.mapping.vocabulary.end_ids
        self._rows: list[_Row] = []

    def close(self) -> None:
        """Release the other members."""
        self._begin_anew()
        self._release()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """[B, N] ids so far and [B, V] logits -> [B, V], minus infinity but for the id to be written next."""
        forced_B = [self._next_of(number, ids, scores[number]) for number, ids in enumerate(input_ids.tolist())]
        forced_BV = torch.full_like(scores, -torch.inf)
        forced_BV[range(len(forced_B)), forced_B] = 0.0
        return forced_BV

    def _next_of(self, number: int, ids: list[int], logits_V: torch.Tensor) -> int:
        """The id that a row writes next."""
        row = self._row(number, self._unpadded(ids))
        if not row.due and not row.decoding.is_finished:
            with self._member.given(str(number), logits_V):
                row.decoding.look()
            row.due.extend(self._member.mapping.feed(row.decoding.feed().token_id))
        row.ids.append(row.due.popleft() if row.due else self._end_id)
        return row.ids[-1]

    def _row(self, number: int, ids: list[int]) -> _Row:
        """The answer that these ids belong to; a new one where `generate` has begun anew."""
        for row in self._rows[number : number + 1]:
            if row.ids == ids:
                return row
            if ids in ([*row.ids[:-1], pad_id] for pad_id in self._pad_ids):  # `generate` pads a row that it has ended
                row.decoding.close()
                row.due.clear()
                row.ids = ids
                return row
        self._begin_anew(number)
        raw, prompt = self._prompt_of(number, ids)
        self.check_usable()
        request = self.ensemble.request(prompt, self._settings, raw=raw)
        own = [ids if member is self._member else its for member, its in zip(request.members, request.ids, strict=True)]
        session = self.ensemble.open(replace(request, ids=own), (str(number),))
        self._rows.append(_Row(list(ids), Decoding(session, self, lambda: None)))
        return self._rows[number]

    def _begin_anew(self, number: int = 0) -> None:
        """Forget the answers of this row and those after it."""
        for row in self._rows[number:]:
            row.decoding.close()
        del self._rows[number:]

    def _prompt_of(self, number: int, ids: list[int]) -> tuple[bool, str | list[Message]]:
        """What the others read, and whether it is raw."""
        if self._prompts is None:
            return True, self._tokenizer.decode(ids, skip_special_tokens=True)
        is_one = isinstance(self._prompts, str) or isinstance(self._prompts[0], Mapping | Message)
        if not is_one and number >= len(self._prompts):
            raise RequestError("prompts", f"expected one for each row; got {len(self._prompts)}")
        prompt = messages_of(self._prompts if is_one else self._prompts[number])  # type: ignore[arg-type]
        return isinstance(prompt, str), prompt

    def _unpadded(self, ids: list[int]) -> list[int]:
        """Without what fills up a row at its left."""
        pad_id = self._tokenizer.pad_token_id
        start = next((place for place, own in enumerate(ids) if own != pad_id), len(ids))
        return ids[max(0, start - (pad_id == self._tokenizer.bos_token_id)) :]


def _ensemble_of(config: Config, model: tuple[Any, Any], in_hand: InHand) -> tuple[Ensemble, GivenMember]:
    """The ensemble, whose first member is run by its caller, and that member."""
    first, *rest = config.members
    given = GivenModel(first.name, *model)
    places = planned(config)
    others = load_models(config.model_copy(update={"members": tuple(rest)}), places, in_hand=in_hand)

    def member_of(model: Model, mapping: VocabMapping) -> Member:
        return GivenMember(model, mapping) if isinstance(model, GivenModel) else new_member(model, mapping)

    ensemble = unite([given, *others], config, member_of, devices_disjoint=places.devices_disjoint)
    member = ensemble.members[first.name]
    assert isinstance(member, GivenMember)  # noqa: S101 (made above)
    return ensemble, member


def _end_id(model: Any, member: Member) -> int:
    """The id that ends a row of `generate`."""
    named = model.generation_config.eos_token_id
    first = named[0] if isinstance(named, list) else named
    return min(member.mapping.vocabulary.end_ids) if first is None else int(first)
