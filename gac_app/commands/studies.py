"""Commands of the studies: their options are those that all share and the study's own fields.

Loads the members, prints progress on stderr, and shows the result.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from inspect import Parameter, getdoc
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from gac_app.charts import to_svg
from gac_app.commands.options import (
    ConfigOption,
    DataOption,
    DataOrSampleOption,
    ExamplesOption,
    FreshOption,
    JsonOption,
    LimitOption,
    OutOption,
    ParallelOption,
    ReproducibleOption,
    in_a_folder,
    load,
    warn_without_effect,
    writing,
)
from gac_app.commands.setting_options import sign
from gac_app.commands.show import show
from gac_app.config import Config
from gac_app.environment import evaluation_dir
from gac_app.errors import RequestError
from gac_app.evaluation.running import StudyProgress
from gac_app.evaluation.studies import EnsembleStudy, Evaluator, QuestionStudy, StudyResult, check_room, studies
from gac_app.evaluation.tasks import SAMPLES, Question, Task, asked, first_of_each_domain
from gac_app.validation import fault_of

_EVERY_S = 5.0
_TASKS = {
    "any": "triviaqa, nq, gsm8k, bbh, mmlu, mmlu_cloze, arc_challenge, piqa, or a task's .yaml file.",
    "choice": "A task of multiple choice: mmlu, mmlu_cloze, arc_challenge or piqa.",
    "generation": "A task whose answers are written: gsm8k, bbh, triviaqa or nq.",
}

Kind = type[QuestionStudy | EnsembleStudy]


def study_commands() -> dict[str, Callable[..., None]]:
    """The command of every study by its name, in the order of the names."""
    return {kind.name: _command(kind) for kind in sorted(studies(), key=lambda kind: kind.name)}


def _command(kind: Kind) -> Callable[..., None]:
    """A function from whose signature typer makes the command of a study."""

    def command(*, config: Path | None, as_json: bool, out: Path | None = None, **given: Any) -> None:
        try:
            study = kind(**{name: given[name] for name in kind.model_fields})
        except ValidationError as error:
            raise RequestError(*fault_of(error)) from None
        settled = load(config, reproducible=given.get("reproducible"))
        result = _look_at(study, settled) if isinstance(study, EnsembleStudy) else _put_questions(study, settled, given)
        show(result, settled, as_json=as_json, out=out)

    command.__doc__ = getdoc(kind)
    sign(command, _options(kind))
    return command


def _options(kind: Kind) -> Iterator[tuple[str, Any, Any]]:
    """Each option's name, type and default."""
    if kind.sample:
        named = f"{_TASKS[kind.needs]} Without --data, questions of the package: {', '.join(SAMPLES)}."
        yield "task", Annotated[str, typer.Option(help=named)], kind.sample
        yield "data", DataOrSampleOption, None
    elif kind.needs != "nothing":
        yield "task", Annotated[str, typer.Option(help=_TASKS[kind.needs])], Parameter.empty
        yield "data", DataOption, Parameter.empty
    for name, field in kind.model_fields.items():
        yield name, Annotated[field.annotation, typer.Option(help=field.description)], field.default
    if kind.needs != "nothing":
        yield "limit", LimitOption, None
        yield "examples", ExamplesOption, None
        yield "parallel", ParallelOption, 4
        yield "fresh", FreshOption, False
        yield "reproducible", ReproducibleOption, None
    if kind.has_charts:
        yield "out", OutOption, None
    yield "config", ConfigOption, None
    yield "as_json", JsonOption, False


def _put_questions(study: QuestionStudy, config: Config, given: Mapping[str, Any]) -> StudyResult:
    """Run a study over a file's questions, or over those that come with the package. `given`: the options."""
    task, data, parallel = given["task"], given["data"], given["parallel"]
    if data is None and task not in SAMPLES:
        raise RequestError("data", f"is missing; without it, task is one of {', '.join(SAMPLES)}, not {task!r}")
    check_room(config, parallel)
    warn_without_effect(study.systems_of(config), config)
    if data is None:
        task, data = SAMPLES[task]
    protocol, questions = asked(task, data, given["examples"])
    sample = first_of_each_domain(questions, given["limit"])
    study.check(config, protocol, questions, sample)
    with evaluating(config, protocol, questions, parallel=parallel, fresh=given["fresh"]) as ask:
        return study.run(ask, sample)


def _look_at(study: EnsembleStudy, config: Config) -> StudyResult:
    from gac_app.loading import load_ensemble

    study.check(config)
    with closing(load_ensemble(config)) as ensemble:
        return study.run(ensemble, Reporter(study.name))


def study(
    file: Annotated[Path, typer.Argument(help="The study's file (YAML); see docs/studies.md.")],
    page: Annotated[
        Path | None, typer.Option(help="Where the page goes. Default: beside the file, as .md.", callback=in_a_folder)
    ] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Print the study's plan, no more.")] = False,
) -> None:
    """Run a study: choose a setting on some questions, judge it on others, write a page.

    A call after an interruption goes on where that one was.
    """
    from gac_app.evaluation.protocols import StudyRun, page_of, plot_of, read_protocol
    from gac_app.loading import load_ensemble

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    protocol = read_protocol(file)
    config = load(protocol.config)
    run = StudyRun(file, protocol, config, evaluation_dir(config))
    typer.echo("\n".join(run.plan_lines()))
    if only_plan:
        return
    with closing(load_ensemble(config)) as ensemble:
        reporters = {part.task.name: Reporter(part.task.name) for part in run.parts}
        judged = run.run(ensemble, lambda name, progress: reporters[name](progress))
    target = page or file.with_suffix(".md")
    plot = target.with_suffix(".svg")
    with writing(target, "--page"):
        plot.write_text(to_svg(plot_of(judged)), "utf-8")
        target.write_text(page_of(run, judged, plot.name), "utf-8")
    typer.echo(str(target))


@contextmanager
def evaluating(
    config: Config, task: Task, questions: Sequence[Question], *, parallel: int, fresh: bool
) -> Iterator[Evaluator]:
    """An `Evaluator` over the configuration's members, which are loaded for the block.

    Args:
        questions: all questions of the file.
        parallel, fresh: see `Evaluator`.
    """
    from gac_app.loading import load_ensemble

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    reporter = Reporter(task.name)
    with closing(load_ensemble(config)) as ensemble:
        folder = evaluation_dir(config)
        ask = Evaluator(ensemble, task, questions, folder, parallel=parallel, fresh=fresh)
        ask.on_progress = reporter
        yield ask


class Reporter:
    """Prints progress on stderr every few seconds, and at the start and end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last_s = -_EVERY_S

    def __call__(self, progress: StudyProgress) -> None:
        if progress.num_done == progress.num_kept:
            self._last_s = -_EVERY_S  # a new call begins
        if progress.seconds - self._last_s < _EVERY_S and progress.num_done < progress.num_total:
            return
        self._last_s = progress.seconds
        parts = [f"{self._name}: {progress.num_done} of {progress.num_total} {progress.unit}"]
        if progress.num_kept:
            parts.append(f"{progress.num_kept} from earlier runs")
        if progress.num_failed:
            parts.append(f"{progress.num_failed} failed")
        if progress.seconds_left:
            parts.append(f"{timedelta(seconds=round(progress.seconds_left))} left")
        print(", ".join(parts), file=sys.stderr, flush=True)
