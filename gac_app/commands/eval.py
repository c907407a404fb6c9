"""`eval`: each system's accuracy on a benchmark, or its results on a suite; `lm-eval`: the same by another harness."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from gac_app.commands.options import (
    ConfigOption,
    ExamplesOption,
    FreshOption,
    JsonOption,
    LimitOption,
    ParallelOption,
    ReproducibleOption,
    load,
    warn_without_effect,
)
from gac_app.commands.show import show
from gac_app.commands.studies import Reporter, put_questions
from gac_app.config import Config
from gac_app.errors import ConfigError, RequestError
from gac_app.evaluation.running import parse_systems, refuse_rules
from gac_app.evaluation.studies import check_room
from gac_app.evaluation.studies.benchmark import Benchmark
from gac_app.evaluation.suites import (
    KINDS,
    alignment_systems,
    check_kinds,
    run_alignment_suite,
    tables,
)

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


def evaluate_systems(
    task: Annotated[
        str | None,
        typer.Option(help="piqa, arc_challenge, triviaqa, nq, mmlu, mmlu_cloze, gsm8k, bbh, or a task's .yaml file."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The questions: JSON Lines, one question a line.")] = None,
    suite: Annotated[
        Literal["alignment"] | None,
        typer.Option(help="Instead of a task: built-in texts in ten languages, emoji and code."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="With --suite: only these kinds of text (french,python); comma-separated.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="With --suite: length of an answer.")] = 48,
    limit: LimitOption = None,
    systems: Annotated[
        str | None,
        typer.Option(
            help="alone:MEMBER, every-step, gate@0.5, agreement, vote, mbr; options after '+': every-step+prefix."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this system too, not only with the best member.")
    ] = None,
    examples: ExamplesOption = None,
    parallel: ParallelOption = 4,
    fresh: FreshOption = False,
    reproducible: ReproducibleOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a benchmark's questions, or a suite's texts, to members alone and to ensembles.

    An interrupted benchmark resumes when it is started again.
    """
    settled = load(config, reproducible=reproducible)
    check_room(settled, parallel)
    if suite:
        _refuse_with_suite(task=task, data=data, limit=limit, against=against, examples=examples, fresh=fresh)
        _run_suite(
            settled, systems=systems, only=only, max_new_tokens=max_new_tokens, parallel=parallel, as_json=as_json
        )
        return
    if only:
        raise RequestError("only", "goes with --suite alignment")
    if task is None or data is None:
        raise RequestError("task", "give --task and --data, or --suite alignment")
    study = Benchmark(systems=systems, against=against)
    result = put_questions(study, settled, task, data, limit=limit, examples=examples, parallel=parallel, fresh=fresh)
    show(result, settled, as_json=as_json)


def _refuse_with_suite(**options: Any) -> None:
    for name, value in options.items():
        if value:
            raise RequestError(name, "goes with --task, not with --suite")


def _run_suite(
    config: Config, *, systems: str | None, only: str | None, max_new_tokens: int, parallel: int, as_json: bool
) -> None:
    """Run the alignment suite and print its report.

    Args:
        systems: comma-separated names; None = each member alone and both alignments.
        only: comma-separated kinds of text; None = all.
    """
    from gac_app.loading import load_ensemble

    chosen = parse_systems(systems, config) if systems else alignment_systems(config)
    warn_without_effect(chosen, config)
    refuse_rules(chosen)
    kinds = tuple(dict.fromkeys(name.strip() for name in only.split(","))) if only else KINDS
    check_kinds(kinds)
    logging.getLogger("gac_app").setLevel(logging.WARNING)
    with closing(load_ensemble(config)) as ensemble:
        report = run_alignment_suite(
            ensemble,
            chosen,
            kinds=kinds,
            max_new_tokens=max_new_tokens,
            num_in_flight=parallel,
            on_progress=Reporter("alignment"),
        )
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False))
        return
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for table in tables(report):
        console.print(table)


def lm_eval(context: typer.Context) -> None:
    """Run the lm-evaluation-harness with its own arguments.

    --model gac is the ensemble; --model_args config=FILE,system=gate@0.5 chooses configuration and system, as for eval.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError("the lm-evaluation-harness is not installed; pip install 'lm_eval>=0.4.9'")
    from lm_eval.__main__ import cli_evaluate

    from gac_app.evaluation.harness import register

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    register(_load)
    sys.argv = ["lm-eval", *context.args]
    cli_evaluate()


def _load(path: str | None) -> Ensemble:
    from gac_app.loading import load_ensemble

    return load_ensemble(load(Path(path) if path else None))
