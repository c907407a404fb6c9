"""What a study is: a class in a file of this folder. Its command and options are made of it, and the page's list."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from gac_app.config import Config
from gac_app.errors import ConfigError
from gac_app.evaluation.running import StudyProgress, System
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult
from gac_app.evaluation.tasks import Question, Task

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

Needs = Literal["any", "choice", "generation", "nothing"]


class Study(BaseModel):
    """One kind of study. The fields of a subclass are its arguments, each with a default and a description.

    Its docstring is the help of its command.

    Attributes:
        name: of its results, and of its command.
        title: of its results.
        about: on the page; "" = it is on the command line alone.
        needs: the kind of tasks that fit.
        place: in lists; the smallest comes first.
        sample: questions of the package that its command asks where no file is given; "" = a file is needed.
        has_charts: whether its command can write some.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str] = ""
    needs: ClassVar[Needs] = "any"
    place: ClassVar[int] = 100
    sample: ClassVar[str] = ""
    has_charts: ClassVar[bool] = True


class QuestionStudy(Study, ABC):
    """Puts questions to systems."""

    def systems_of(self, config: Config) -> Sequence[System]:
        """The systems that a user named. Raises RequestError if one does not fit."""
        return ()

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        """Raise RequestError if the study cannot run; called before the members are loaded.

        Args:
            questions: all questions of the file.
            asked: those of them to be asked.
        """

    @abstractmethod
    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Put `asked` to the systems. Raises RequestError as `check`, or GacError."""


class EnsembleStudy(Study, ABC):
    """Looks at the members, or asks them what needs no questions of a task."""

    needs: ClassVar[Needs] = "nothing"

    def check(self, config: Config) -> None:
        """Raise ConfigError if there is only one member; called before the members are loaded."""
        if len(config.members) < 2:
            raise ConfigError("members: there is one; expected two or more, to compare")

    @abstractmethod
    def run(self, ensemble: Ensemble, on_progress: Callable[[StudyProgress], None] = lambda _: None) -> StudyResult:
        """Look at the members. An exception from `on_progress` ends it."""


@cache
def studies() -> tuple[type[QuestionStudy | EnsembleStudy], ...]:
    """Every study that a module of this package defines, in their order."""
    package = __name__.rpartition(".")[0]
    path = importlib.import_module(package).__path__
    modules = [importlib.import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(path)]
    here = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, QuestionStudy | EnsembleStudy)
        and hasattr(value, "name")
        and value.__module__ == module.__name__
    ]
    return tuple(sorted(here, key=lambda study: study.place))
