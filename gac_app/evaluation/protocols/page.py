"""The page of a study, in Markdown, and its plot. Equal answers give equal bytes."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jinja2

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.evaluation.metrics import Comparison, compare
from gac_app.evaluation.protocols.running import StudyRun, TaskResult
from gac_app.evaluation.studies.result import SHARED_TIMES

_TEMPLATE = Path(__file__).with_name("page.md.jinja")


def page_of(run: StudyRun, judged: Sequence[TaskResult], plot: str) -> str:
    """The page.

    Args:
        plot: the file of its plot, beside the page.
    """
    # Markdown, of names in the operator's own files.
    environment = jinja2.Environment(  # noqa: S701
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    spared = [
        (one, other, compare(one.held_out[one.sparing].is_right, one.held_out[other].is_right))
        for one in judged
        if one.sparing
        for other in dict.fromkeys((one.best, one.chosen))
        if other != one.sparing
    ]
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        protocol=run.protocol,
        judged=judged,
        tests=run.tests(judged),
        spared=spared,
        digest=hashlib.sha256(run.path.read_bytes()).hexdigest(),
        committed_on=_committed_on(run.path),
        plot=plot,
        in_points=_in_points,
        shared_times=SHARED_TIMES,
    )


def plot_of(judged: Sequence[TaskResult]) -> list[Spec]:
    """Accuracy over cost on the held-out questions, a panel for each task."""

    def points(one: TaskResult) -> dict[str, Series]:
        costs = {
            system: timed.member_seconds_per_answer or timed.seconds_per_answer for system, timed in one.timed.items()
        }
        return {
            score.system.name: Series([(costs[score.system], 100 * score.accuracy)]) for score in one.held_out.values()
        }

    def label(one: TaskResult) -> str:
        unit = "seconds" if one.part.task.kind == "choice" else "member-seconds"
        return f"{one.part.task.name}: {unit} an answer"

    panels = [Panel(label(one), "accuracy, %", points(one)) for one in judged]
    return line_charts("Held-out questions", panels)


def _committed_on(path: Path) -> str:
    """The day of the commit that changed a file last (ISO 8601); "" if what it holds is in no commit."""

    def git(*command: str) -> str | None:
        try:
            told = subprocess.run(
                ["git", "-C", str(path.parent), *command, "--", path.name],
                capture_output=True, text=True, timeout=10, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        return told.stdout.strip()

    return git("log", "-1", "--format=%cs") or "" if git("status", "--porcelain") == "" else ""


def _in_points(found: Comparison) -> str:
    """A difference of accuracies, with its interval. Example: "+2.0 (+1.0 to +3.0)"."""
    low, high = (100 * end for end in found.interval)
    return f"{100 * found.delta:+.1f} ({low:+.1f} to {high:+.1f})"
