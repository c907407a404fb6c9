r"""A battle -> the lines that the Arena's script reads (static/js/stream.js parses them).

One JSON value a line, append-only:

    {"run": {"id", "nonce", "prompt", "turns": [{"prompt", "left", "right"}]}}     first; starts the cards afresh
    [side, text]                                                                   what is new; 0 = left, 1 = right
    {"state": {...}}                                                               whenever something of it changed

No line names a contestant before the view does.
"""

from __future__ import annotations

import secrets
from typing import Any

from pydantic import ValidationError

from gac_app.arena.outcomes import SIDES
from gac_app.services.battles.views import BattleView, ContestantView
from gac_app.settings import Settings
from gac_app.ui.requests import page_line, same
from gac_app.ui.settings.names import contestant_in_words
from gac_app.ui.settings.wording import settings_in_words

LIVE = ("waiting", "answering")  # phases in which the battle still changes


class BattleLines:
    """The lines of a battle's last turn, growing with it."""

    def __init__(self, view: BattleView) -> None:
        self._num_sent = [0, 0]
        self._state: dict[str, Any] = {}
        earlier = [
            {"prompt": turn.prompt, "left": turn.left.text, "right": turn.right.text} for turn in view.turns[:-1]
        ]
        header = {"id": view.id, "nonce": secrets.token_hex(4), "prompt": view.turns[-1].prompt, "turns": earlier}
        self._text = page_line({"run": header})

    def value(self, view: BattleView) -> str:
        """All lines up to `view`, which must be of the same turn."""
        for index, text in enumerate(texts_of(view)):
            new = text[self._num_sent[index] :]
            if new:
                self._num_sent[index] = len(text)
                self._text += page_line([index, new])
        if (state := state_of(view)) != self._state:
            self._state = state
            self._text += page_line({"state": state})
        return self._text


def texts_of(view: BattleView) -> list[str]:
    """The shown texts of the last turn: left, right."""
    last = view.turns[-1]
    return [last.left.text, last.right.text]


def state_of(view: BattleView) -> dict[str, Any]:
    """A battle's state without its texts."""
    last = view.turns[-1]
    contestants = view.contestants
    return {
        **same(view, "id", "phase", "version", "may_vote", "outcome", "is_saving", "message", "remark"),
        "place": view.queue_place,
        "is_over": [last.left.is_over, last.right.is_over],
        "is_cut": [last.left.is_cut, last.right.is_cut],
        "contestants": [_contestant(contestants[side]) for side in SIDES] if contestants else None,
    }


def _contestant(one: ContestantView) -> dict[str, Any]:
    return {
        "name": contestant_in_words(one.name, one.member, one.settings),
        "member": one.member,
        "settings": "" if one.member else _settings(one),
        "seconds": one.seconds,
        "tokens": one.num_tokens,
        "ensembled": one.num_ensembled,
        "forwards": one.num_forwards,
    }


def _settings(one: ContestantView) -> str:
    """Settings in words; empty for those of another version."""
    try:
        return settings_in_words(Settings.model_validate(one.settings))
    except ValidationError:
        return ""
