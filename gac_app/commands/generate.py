"""`generate`: one answer on the terminal."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import closing
from typing import Annotated, Any, Literal

import typer

from gac_app.commands.options import ConfigOption, JsonOption, load, warn
from gac_app.commands.setting_options import takes_settings
from gac_app.config import Config
from gac_app.decoding.rules import without_effect
from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.errors import GacError, RequestError
from gac_app.settings import RULE_PARAMS, Settings


@takes_settings
def generate(
    prompt: Annotated[str, typer.Argument(help="What to answer; '-' reads it from stdin.")],
    mode: Annotated[
        Literal["every-step", "gate", "agreement", "alone"] | None,
        typer.Option(help="Default: the configuration's."),
    ] = None,
    member: Annotated[
        str | None, typer.Option(help="With --mode alone: the member that answers. Default: the gate.")
    ] = None,
    *,
    changes: dict[str, Any],
    raw: Annotated[bool, typer.Option("--raw", help="Feed the text as it is, without a chat template.")] = False,
    digest: Annotated[
        bool,
        typer.Option("--digest", help="Print the answer's digest as the last line on stderr; --json always has it."),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a prompt by the ensemble or by one member, streaming."""
    settled = load(config)
    if mode and mode != "alone":
        changes["mode"] = mode
    settings = settled.settings_from(changes)
    if member is not None and mode != "alone":
        raise RequestError("member", "goes with --mode alone")
    alone = (member or settings.gate) if mode == "alone" else None
    if alone is not None and alone not in settled.member_names:
        raise RequestError("member", f"{alone!r} is not a member; expected one of {', '.join(settled.member_names)}")
    warn(without_effect(settings, changes, is_alone=alone is not None))
    text = sys.stdin.read() if prompt == "-" else prompt
    if not text:
        raise RequestError("prompt", "Enter a prompt")
    _answer(settled, text, settings=settings, alone=alone, raw=raw, as_json=as_json, with_digest=digest)


def _answer(config: Config, text: str, *, as_json: bool, with_digest: bool, **how: Any) -> None:
    from gac_app.loading import load_ensemble

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    finished = None
    rules = _rules(how["settings"], how["alone"])
    with closing(load_ensemble(config)) as ensemble, closing(ensemble.generate(text, **how)) as events:
        for event in events:
            finished = event
            if as_json:
                line = _token(event) if isinstance(event, TokenEvent) else {**_finished(event), "rules": rules}
                print(json.dumps(line, ensure_ascii=False), flush=True)
            elif isinstance(event, TokenEvent):
                print(event.text, end="", flush=True)
    if isinstance(finished, FinishedEvent):
        if not as_json:
            print(f"\n{_summary(finished)}", file=sys.stderr)
            if with_digest:
                word = "reproducible" if finished.is_reproducible else "not reproducible"
                print(f"digest {finished.digest}, {word}", file=sys.stderr)
        if finished.reason is FinishReason.ERROR:
            raise GacError(finished.detail)


def _rules(settings: Settings, alone: str | None) -> dict[str, Any]:
    """The rules that decided, with their parameters; null if none did, {} if one member answered alone."""
    if alone is not None:
        return {}
    rules = {field: getattr(settings, field) for pair in RULE_PARAMS.items() for field in pair}
    return rules | ({"gate_rule": None, "gate_params": {}} if settings.why_no_gate_rule else {})


def _token(event: TokenEvent) -> dict[str, Any]:
    step = event.step
    return {
        "type": "token",
        "text": event.text,
        "bytes": step.token.hex(),
        "ensembled": step.is_ensembled,
        "partial": step.is_partial,
        "drafted": step.is_drafted,
        **_same(step, "prob", "gate_confidence", "winner", "drafted_by", "drawn"),
        "spellings": {name: [piece.hex() for piece in pieces] for name, pieces in step.spellings.items()},
        "members": {
            one.member: _same(one, "weight", "prob", "num_read", *(("num_told", "missing") if one.num_told else ()))
            for one in step.members
        },
    }


def _finished(event: FinishedEvent) -> dict[str, Any]:
    return {
        "type": "finished",
        **_same(event, "reason", "text", "num_tokens", "num_ensembled", "ttft_s", "tokens_per_s"),
        "members": {name: _same(one, "num_forwards", "num_tokens_read") for name, one in event.members.items()},
        **_same(event, "detail", "digest", "is_reproducible"),
    }


def _same(one: object, *names: str) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}


def _summary(event: FinishedEvent) -> str:
    why = f" ({event.detail})" if event.detail and event.reason is not FinishReason.ERROR else ""
    forwards = ", ".join(f"{name} {usage.num_forwards}" for name, usage in event.members.items())
    return (
        f"[{event.reason.value}{why}: {event.num_tokens} tokens, {event.num_ensembled} ensembled, "
        f"{event.tokens_per_s:.1f} tokens/s; forward passes: {forwards}]"
    )
