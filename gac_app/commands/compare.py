"""`compare`: many prompts, each answered by the ensemble and by every member alone, as a table."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from gac_app.commands.options import ConfigOption, JsonOption, load, plain_console, warn
from gac_app.commands.setting_options import takes_settings
from gac_app.config import Config
from gac_app.decoding.rules import without_effect
from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.tasks import parse_prompts, read_text
from gac_app.settings import Mode

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


Told = dict[str, Any]  # text, num_tokens, seconds, and the error: why it has none
_MAX_PROMPTS = 100_000
_ENSEMBLE = "Ensemble"


@takes_settings
def compare(
    file: Annotated[
        str, typer.Argument(help="Prompts: JSON Lines, CSV with a column 'prompt', or one per line; '-' reads stdin.")
    ],
    mode: Annotated[Mode | None, typer.Option(help="Default: the configuration's.")] = None,
    *,
    changes: dict[str, Any],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer every prompt of a file by the ensemble and by each member alone."""
    settled = load(config, mode=mode, **changes)
    warn(without_effect(settled.settings, changes))
    prompts = parse_prompts(sys.stdin.read() if file == "-" else read_text(Path(file), "prompts"), _MAX_PROMPTS)
    logging.getLogger("gac_app").setLevel(logging.WARNING)
    columns = [Column(name, overflow="fold") for name in ("Prompt", _ENSEMBLE, *settled.member_names)]
    failed, is_cancelled, table = [], False, Table(*columns, show_lines=True)
    try:
        for number, (prompt, answers) in enumerate(_answered(settled, prompts), start=1):
            print(f"{number} of {len(prompts)} prompts", file=sys.stderr, flush=True)
            failed += [answer["error"] for answer in answers.values() if answer["error"]]
            if as_json:
                print(json.dumps({"prompt": prompt, "answers": answers}, ensure_ascii=False), flush=True)
            else:
                table.add_row(prompt, *map(_shown, answers.values()))
    except KeyboardInterrupt:
        is_cancelled = True
        print("cancelled" if as_json else "cancelled; the answers so far follow", file=sys.stderr)
    if not as_json:
        plain_console().print(table)
    if is_cancelled:
        raise KeyboardInterrupt
    if failed:
        raise GacError(f"{len(failed)} answers failed; the first: {failed[0]}")


def _answered(config: Config, prompts: list[str]) -> Iterator[tuple[str, dict[str, Told]]]:
    """Each prompt with every system's answer by name. The answers to a prompt are decoded at once."""
    from gac_app.loading import load_ensemble

    systems: dict[str, str | None] = {_ENSEMBLE: None, **{name: name for name in config.member_names}}
    with closing(load_ensemble(config)) as ensemble, ThreadPoolExecutor(len(systems)) as pool:
        for number, prompt in enumerate(prompts):
            namespace = f"compare/{number}"
            under_way = {
                name: pool.submit(_answer, ensemble, prompt, alone=alone, namespace=namespace)
                for name, alone in systems.items()
            }
            yield prompt, {name: answer.result() for name, answer in under_way.items()}
            ensemble.forget(namespace)


def _answer(ensemble: Ensemble, prompt: str, **how: Any) -> Told:
    try:
        with closing(ensemble.generate(prompt, ensemble.config.settings, **how)) as events:
            end = next(event for event in events if isinstance(event, FinishedEvent))
    except RequestError as error:  # this prompt does not fit; others may
        return {"text": "", "num_tokens": 0, "seconds": 0.0, "error": str(error)}
    why = end.detail if end.reason is FinishReason.ERROR else ""
    return {"text": end.text, "num_tokens": end.num_tokens, "seconds": end.seconds, "error": why}


def _shown(answer: Told) -> str:
    return f"[{answer['error']}]" if answer["error"] else str(answer["text"]).strip()
