r"""A run -> the lines that the board's script reads (static/js/stream.js parses them).

One JSON value a line, append-only; all streams of a run are multiplexed:

    {"run": {...}}                                          first; a new one starts the board afresh
    [stream, text, flags, winner, prob, confidence, change] flags: see below; winner: member or -1; change: if the gate
                                                            alone would have written something else, that and the token
    {"rest": [stream, text]}                                of a long answer that was over: more tokens, to be asked for
    {"fork": [stream, position]}                            where a member's text first left the ensemble's
    {"end": [stream, {"reason", "detail", ...figures}]}     again: the comparison with the repeated run, in words, or ""
    {"phase": {"status", "place", "runs", "study"}}         of the whole run; what else holds the machine
    {"read": {member: share}}                               of the prompt, by members that read it, until all have
    {"done": {"status", "saved", "outcome"}}                last
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gac_app.decoding.trace import FinishedEvent, StepOutline, is_changed
from gac_app.errors import GacError
from gac_app.services.runs.comparison import compare_streams
from gac_app.services.runs.live_run import LiveRun
from gac_app.services.runs.runs import RunView
from gac_app.services.runs.views import BESIDE, ENSEMBLE, StreamView, is_over
from gac_app.ui.compare.forks import Fork, GrowingText
from gac_app.ui.compare.spelling import label_of
from gac_app.ui.compare.turns import last_turn, versions_of
from gac_app.ui.compare.wording import comparison_in_words
from gac_app.ui.requests import page_line, same
from gac_app.ui.settings.wording import beside_in_words, settings_in_words

GATED, END, FORCED, PARTIAL, DRAWN, COMPARED = 1, 2, 4, 8, 16, 32  # compared with what the gate alone would write
PIECE = 1024  # tokens of a stream that are sent at once, as many as are stored together
ELSEWHERE = "elsewhere"  # the status of a run that another server answers
MAX_ASKED = 4 * PIECE  # tokens in a reply to the page


class RunLines:
    """The lines of a run, growing with it.

    Args:
        before: the run that it repeats, for comparing the answers.
        beside: a run with other settings; its ensemble's answer is shown too.
        others: gives the number of other running runs, and the title of the running study, or "".
        runs: its conversation's, in order.
    """

    def __init__(
        self,
        run: RunView,
        before: RunView | None = None,
        beside: RunView | None = None,
        others: Callable[[], tuple[int, str]] = lambda: (0, ""),
        runs: Sequence[RunView] = (),
    ) -> None:
        self._run = run
        self._others = others
        self._before = before
        self._beside = beside
        self._streams = streams_of(run, beside)
        self._keys = list(self._streams)
        self._num_sent = [0] * len(self._keys)
        self._ended: set[str] = set()
        self._texts = [GrowingText() for _ in self._keys]
        self._forks = {index: Fork() for index in range(1, len(self._keys))}  # not found yet
        self._phase: tuple[object, ...] | None = None
        self._read: dict[str, float] = {}
        self._text = page_line({"run": self._header(runs)})

    def value(self, is_last: bool = False) -> str:
        """All lines so far; with `is_last`, closed by the `done` line."""
        lines: list[Any] = [*self._phase_lines(), *self._read_lines()]
        for index in range(len(self._keys)):
            lines += self._stream_lines(index)
        lines += self._fork_lines()
        if is_last:
            run = self._run
            status = run.status if isinstance(run, LiveRun) or is_over(run) else ELSEWHERE
            lines.append({"done": {"status": status, "saved": run.is_saved, "outcome": run.outcome}})
        self._text += "".join(page_line(line) for line in lines)
        return self._text

    def _header(self, runs: Sequence[RunView]) -> dict[str, Any]:
        run, settings = self._run, self._run.settings
        return {
            **same(run, "id", "prompt", "branch_position", "seeds", "outcome", "is_own", "is_shared", "shares_turns"),
            **same(settings, "mode", "gate", "threshold"),
            "nonce": secrets.token_hex(4),  # opening the same run twice must give different values
            "members": list(run.member_names),
            "streams": self._keys,
            "settings": settings_in_words(settings),
            "is_live": not is_over(run),
            "age_s": round(time.monotonic() - run.came_at, 1) if isinstance(run, LiveRun) else 0,
            "parent": run.parent_run_id,
            "swap": run.swap and [label_of(token) for token in run.swap],
            "is_again": self._before is not None,
            # One answer was regenerated, the others are an earlier run's.
            "is_partly_kept": bool(run.seeds) and run.repeats_run_id is None,
            "beside": self._beside and beside_in_words(self._beside.id, self._beside.settings, settings),
            "has_turns": bool(run.turns),
            "versions": versions_of(run, runs),
            "place": {"conversation": run.conversation_id, "after": last_turn(run, runs).id},  # of the next prompt
        }

    def _phase_lines(self) -> list[Any]:
        others = (0, "") if is_over(self._run) else self._others()
        phase = (self._run.status, self._run.queue_place, *others)
        if phase == self._phase:
            return []
        self._phase = phase
        return [{"phase": dict(zip(("status", "place", "runs", "study"), phase, strict=True))}]

    def _read_lines(self) -> list[Any]:
        """The line about reading, in steps of a hundredth, so that there are few."""
        if all(self._num_sent):
            return []
        shares = {name: round(share, 2) for name, share in self._run.shares_read().items() if share}
        if shares == self._read:
            return []
        self._read = shares
        return [{"read": shares}]

    def _stream_lines(self, index: int) -> list[Any]:
        key = self._keys[index]
        stream, first = self._streams[key], self._num_sent[index]
        if key in self._ended:
            return []
        end, outline = stream.finished, stream.outline  # in this order: an end follows all tokens
        new = outline[first : PIECE if end and not first else None]
        self._num_sent[index] += len(new)
        # Of a run that is over the page asks for forks that come later.
        self._texts[index].extend(new if is_over(self._run) else outline[first:])
        lines: list[Any] = [[index, *token_record(step, self._run.member_names, key)] for step in new]
        if end:
            self._ended.add(key)
            if self._num_sent[index] < len(outline):
                lines.append({"rest": [index, end.text[sum(len(step.text) for step in new) :]]})
            lines.append({"end": [index, {**_figures(end), "again": self._again(key)}]})
        return lines

    def _again(self, key: str) -> str:
        before, now = self._before.streams.get(key) if self._before else None, self._streams[key]
        with suppress(GacError):  # it was deleted meanwhile, or the database is away: this run goes on
            if before and (comparison := compare_streams(before, now)):
                return comparison_in_words(comparison)
        return ""

    def _fork_lines(self) -> list[Any]:
        lines = []
        for index, fork in list(self._forks.items()):
            position = fork.find(self._texts[index], self._texts[0])
            if position is not None:
                del self._forks[index]
                lines.append({"fork": [index, position]})
        return lines


def streams_of(run: RunView, beside: RunView | None) -> dict[str, StreamView]:
    """The streams that the board shows of a run, the ensemble's first, and of another run beside it."""
    return {**run.streams, **({BESIDE: beside.streams[ENSEMBLE]} if beside else {})}


def token_record(step: StepOutline, names: Sequence[str], key: str) -> list[Any]:
    """A token for the page's scripts: text, flags, winner, prob, confidence, and any change of what the gate wanted.

    Args:
        names: of the members; the winner is an index into them.
        key: of the token's stream.
    """
    flags = GATED * (step.is_ensembled and key in (ENSEMBLE, BESIDE)) | END * (not step.token)
    flags |= FORCED * step.is_forced | PARTIAL * step.is_partial | DRAWN * step.is_drawn
    flags |= COMPARED * (step.gate_choice is not None)
    change = [[_word(step.gate_choice or b""), _word(step.token)]] if is_changed(step) else []
    winner = names.index(step.winner) if step.winner in names else -1
    return [step.text, flags, winner, round(step.prob, 4), round(step.gate_confidence, 4), *change]


def _word(token: bytes) -> str:
    """A token in a sentence: without the space before a word; "" = END."""
    return label_of(token.strip(b" ") or token) if token else ""


def _figures(event: FinishedEvent) -> dict[str, Any]:
    return {
        "reason": event.reason.value,
        "detail": "" if event.is_cut else event.detail,  # the page has words for it
        "tokens": event.num_tokens,
        "ensembled": event.num_ensembled,
        "ttft_s": round(event.ttft_s, 3),
        "seconds": round(event.seconds, 3),
        "tokens_per_s": round(event.tokens_per_s, 2),
        "digest": event.digest,
        "reproducible": event.is_reproducible,
        "replayed": event.num_replayed,
        "usage": {name: [usage.num_forwards, round(usage.seconds, 2)] for name, usage in event.members.items()},
    }
