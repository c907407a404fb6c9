"""The Arena tab: a prompt, two anonymous answers, a vote, then the names; and the visitor's own battles.

Its value is the text of `battle_lines.BattleLines`, or `{"error", "at"}`; its events `start`, `next`, `follow` carry
the visitor's key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from gac_app.arena.outcomes import MAX_COMMENT_CHARS, SIDES, Reason
from gac_app.config import MAX_PROMPT_CHARS, Config
from gac_app.errors import GacError, NotFoundError
from gac_app.services.battles.arena import ArenaService
from gac_app.services.battles.views import BattleView
from gac_app.services.exports.formats import Format
from gac_app.services.mirror.exports import content_of
from gac_app.services.runs.views import ENSEMBLE, step_at
from gac_app.storage import StoredBattle
from gac_app.ui.arena.lines import LIVE, BattleLines, state_of
from gac_app.ui.assets import called, component, markup_of
from gac_app.ui.compare.inspection import describe_step
from gac_app.ui.compare.records import token_record
from gac_app.ui.requests import Fields, PageFunction, Reply, Threads, has_listener, refusal_json, same
from gac_app.ui.settings.names import contestant_in_words
from gac_app.ui.streaming import STREAMED, start_and_follow, stream_handler
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word

EVENTS = ("start", "next", "follow")
PERIOD_S = 1 / 12  # between two updates
TEXT_FORMATS = tuple(one for one in Format if one is not Format.PARQUET)
MAX_LISTED = 100  # of the visitor's battles


def arena_tab(context: TabContext) -> None:
    """Build the tab, where there is an arena. A public host asks for consent before it stores anything, a mirror before
    it publishes.
    """
    if context.arena is None:
        return
    arena, config = context.arena, context.service.config
    with opened("arena", word("tab.battles"), called("arena/arena", "showArena")):
        functions, markup = arena_functions(arena, config.member_names), _markup(config)
        page = component("arena", "arena/arena", events=EVENTS, functions=functions, markup=markup)
    handlers = ArenaHandlers(arena)
    for name in EVENTS:
        listen, handler = getattr(page, name), stream_handler(handlers.stream, getattr(handlers, name))
        listen(handler, outputs=page, trigger_mode="multiple", **STREAMED)


def _markup(config: Config) -> str:
    markup = markup_of("arena")
    if config.mirror.is_on:
        markup = markup.replace('data-t="arena.consent"', 'data-t="arena.consent.published"')
    asked = "published" if config.mirror.is_on else "kept" if config.is_public else "off"
    return markup.replace('data-consent="off"', f'data-consent="{asked}"')


class ArenaHandlers:
    """Gradio event handlers that stream a battle. Errors become the value."""

    def __init__(self, arena: ArenaService) -> None:
        self._arena = arena
        self._threads = Threads()

    def start(self, fields: Fields, client: str) -> BattleView:
        """Start a battle. With `again`, the id of an earlier battle, two other contestants answer its prompt."""
        prompt, again = fields.text("prompt", MAX_PROMPT_CHARS), fields.text("again")
        consents = fields.flag("consents")
        start = partial(self._arena.start, fields.visitor_key, prompt, client=client, consents=consents)
        try:
            return start(again=again)
        except NotFoundError:  # no longer in memory
            return start()

    def next(self, fields: Fields, client: str) -> BattleView:
        """Continue a battle's conversation."""
        prompt = fields.text("prompt", MAX_PROMPT_CHARS)
        return self._arena.next_turn(fields.visitor_key, fields.text("battle"), prompt)

    def follow(self, fields: Fields, client: str) -> BattleView:
        """Show a battle, and follow it while it continues."""
        return self._arena.battles.look(fields.visitor_key, fields.text("battle"))

    async def stream(self, start: Callable[[], tuple[str, BattleView]]) -> AsyncIterator[str]:
        """The values for the battle that `start` gives to a visitor's key."""
        if not await has_listener():
            return
        try:
            async with start_and_follow(self._threads, start, self._following) as (key, view):
                lines = BattleLines(view)
                yield lines.value(view)
                while view.phase in LIVE:
                    await asyncio.sleep(PERIOD_S)
                    view = await self._threads.run(self._arena.battles.look, key, view.id)
                    yield lines.value(view)
        except GacError as error:
            yield refusal_json(error)

    def _following(self, found: tuple[str, BattleView]) -> AbstractContextManager[None]:
        key, view = found
        return self._arena.following(key, view.id) if view.phase in LIVE else nullcontext()


def arena_functions(arena: ArenaService, member_names: tuple[str, ...]) -> list[PageFunction]:
    """The functions that the script calls, by name."""

    def look_battle(fields: Fields) -> Reply:
        return _seen(arena.battles.look(fields.visitor_key, fields.text("battle")))

    def seen_battle(fields: Fields) -> None:
        arena.note_seen(fields.visitor_key, fields.text("battle"))

    def stop_battle(fields: Fields) -> None:
        arena.stop(fields.visitor_key, fields.text("battle"))

    def skip_battle(fields: Fields) -> Reply:
        return _seen(arena.skip(fields.visitor_key, fields.text("battle")))

    def vote_battle(fields: Fields) -> Reply:
        battle, version = fields.text("battle"), fields.number("version")
        return _seen(arena.judge.vote(fields.visitor_key, battle, fields.text("outcome"), version))

    def remark_battle(fields: Fields) -> Reply:
        reasons: dict[str, list[str]] = {side: fields.texts(side, len(Reason)) for side in SIDES}
        comment = fields.text("comment", MAX_COMMENT_CHARS)
        return _seen(arena.judge.remark(fields.visitor_key, fields.text("battle"), reasons, comment))

    def battle_tokens(fields: Fields) -> Reply:
        side = fields.choice("side", SIDES)
        stream, settings = arena.battles.answer(fields.visitor_key, fields.text("battle"), fields.number("turn"), side)
        is_alone = bool(fields.text("member"))
        tokens = [token_record(step, member_names, "" if is_alone else ENSEMBLE) for step in stream.outline]
        return {"tokens": tokens, "members": list(member_names), **same(settings, "mode", "gate", "threshold")}

    def inspect_answer(fields: Fields) -> Reply:
        battle, turn, position = fields.text("battle"), fields.number("turn"), fields.number("position")
        stream, settings = arena.battles.answer(fields.visitor_key, battle, turn, fields.choice("side", SIDES))
        step_at(stream.steps, position)
        return describe_step(stream.steps, position, settings)

    def own_battles(fields: Fields) -> Reply:
        newest, num = arena.battles.newest(fields.visitor_key, MAX_LISTED)
        return {"battles": list(map(_row, newest)), "num": num}

    def save_battles(fields: Fields) -> Reply:
        wanted = Format(fields.choice("format", TEXT_FORMATS))
        content = content_of(arena.battles.own(fields.visitor_key), wanted)
        return {"name": f"gac-battles-{wanted}.{wanted.suffix}", "content": content.decode()}

    def delete_battle(fields: Fields) -> None:
        arena.battles.delete(fields.visitor_key, fields.text("battle"))

    return [
        look_battle, seen_battle, stop_battle, skip_battle, vote_battle, remark_battle, battle_tokens,
        inspect_answer, own_battles, save_battles, delete_battle,
    ]  # fmt: skip


def _seen(view: BattleView) -> Reply:
    return {"state": state_of(view)}


def _named(side: Mapping[str, Any]) -> str:
    return contestant_in_words(side["contestant"], side["member"], side["settings"])


def _row(battle: StoredBattle) -> Reply:
    return {
        "id": battle.battle_id,
        "prompt": battle.body["turns"][0]["prompt"] if battle.body["turns"] else "",
        "turns": len(battle.body["turns"]),
        "created_at": battle.created_at,
        "names": [_named(battle.body["sides"][side]) for side in SIDES] if battle.names_revealed else [],
        "outcome": battle.outcome,
        "is_blind": battle.is_blind,
    }
