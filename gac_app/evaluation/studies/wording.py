"""The format of figures in studies, and the colours of systems: a member alone has the same colour as on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

from gac_app.charts import MEMBERS, OTHERS
from gac_app.evaluation.metrics import Comparison, wilson_interval
from gac_app.evaluation.running import SystemReport
from gac_app.evaluation.studies.result import NOT_KNOWN

SHARED_TIMES = "Times say little here: systems share what they read of a question's choices."


def accuracy(report: SystemReport) -> str:
    """Example: "15.5% (11.1% to 21.2%)"."""
    return share(report.num_right, report.num_questions)


def share(num_right: int, num_all: int) -> str:
    """A share with its 95 % interval; a dash if the total is 0."""
    if not num_all:
        return NOT_KNOWN
    low, high = wilson_interval(num_right, num_all)
    return f"{num_right / num_all:.1%} ({low:.1%} to {high:.1%})"


def figure(value: float | None, digits: int) -> str:
    """The number; a dash if unknown."""
    return NOT_KNOWN if value is None else f"{value:.{digits}f}"


def compared(comparison: Comparison | None) -> str:
    """Example: "+2.0% (p 0.34)"; a dash for what is compared with itself."""
    return NOT_KNOWN if comparison is None else f"{comparison.delta:+.1%} (p {comparison.p:.2g})"


def failure(reports: Iterable[SystemReport]) -> str:
    """A sentence on answers that failed and count as wrong; "" if there are none."""
    failed = {report.system: report for report in reports if report.num_failed}
    if not failed:
        return ""
    counts = ", ".join(f"{system.name} {report.num_failed}" for system, report in failed.items())
    first = next(iter(failed.values())).first_error
    return f"answers failed and count as wrong ({counts}); the first: {first}"


def colours_of(names: Sequence[str], members: Sequence[str]) -> dict[str, str]:
    """A colour for each system's name."""
    others = cycle(OTHERS)
    return {name: member_colour(name.removeprefix("alone:"), members) or next(others) for name in names}


def member_colour(name: str, members: Sequence[str]) -> str:
    """A member's colour on the page; "" if there is no such member."""
    return MEMBERS[members.index(name) % len(MEMBERS)] if name in members else ""
