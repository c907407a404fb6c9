"""Registered studies: what is asked, of whom, and how it is judged stands in a file before anything is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.charts import Spec
from gac_app.config import Config
from gac_app.evaluation.registered import page, pairs_page
from gac_app.evaluation.registered.pairs import PairRun
from gac_app.evaluation.registered.protocol import PairProtocol, Protocol, read_protocol
from gac_app.evaluation.registered.running import StudyRun
from gac_app.evaluation.running import StudyProgress

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

__all__ = ["Outcome", "PairProtocol", "PairRun", "Protocol", "StudyRun", "judge", "open_study", "read_protocol"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a study publishes. `page` makes it from the command that ran the study and the name of the plot's file."""

    page: Callable[[str, str], str]
    plot: list[Spec]


def open_study(path: Path, protocol: Protocol | PairProtocol, config: Config, folder: Path) -> StudyRun | PairRun:
    """The study of a protocol. Arguments and errors as of `StudyRun`."""
    if isinstance(protocol, PairProtocol):
        return PairRun(path, protocol, config, folder)
    return StudyRun(path, protocol, config, folder)


def judge(study: StudyRun | PairRun, ensemble: Ensemble, on_progress: Callable[[str, StudyProgress], None]) -> Outcome:
    """Run a study to its end. Raises what `run` of the study raises."""
    if isinstance(study, PairRun):
        found = study.run(ensemble, on_progress)
        return Outcome(partial(pairs_page.page_of, study, found), pairs_page.plot_of(found))
    judged = study.run(ensemble, on_progress)
    return Outcome(partial(page.page_of, study, judged), page.plot_of(judged))
