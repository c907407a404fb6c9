"""Stores the answers of systems as they come, one line each, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from gac_app import __version__
from gac_app.config import Config
from gac_app.decoding.rules import plugin_code
from gac_app.errors import GacError, StorageError
from gac_app.evaluation.running.systems import System
from gac_app.evaluation.tasks import Question, Task
from gac_app.folders import put
from gac_app.member_config import scheme_of
from gac_app.models.backends import loader_of
from gac_app.plugins import code_of

_WITHOUT_EFFECT = {"max_sequences", "num_params", "notice", "url"}  # facts of a member that do not affect answers
_JUDGING = 3  # counts changes of how answers are made and judged


@dataclass(frozen=True, slots=True)
class Graded:
    """A system's answer to a question, judged, and its cost. `prediction` is the part extracted from its `text`."""

    question_id: str
    is_right: bool = False
    prediction: str = ""
    text: str = ""
    log_probs: tuple[float, ...] = ()  # of the choices, in nats
    num_tokens: int = 0  # steps decoded, END included; for choices, positions scored
    num_ensembled: int = 0
    seconds: float = 0.0
    ttft_s: float = 0.0  # of `seconds`, until the first token
    member_seconds: float = 0.0  # of all members' forward passes; 0 if unknown
    error: str = ""  # why the answer failed


class ResultCache:
    """The answers of one system, in a file. Failed answers are not stored, so the next run retries them.

    Args:
        path: created with the first answer. An incomplete last line is cut off. None keeps the answers in memory only.

    Raises:
        GacError: another line is damaged.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.answers = {answer.question_id: answer for answer in (_read(path) if path else ())}

    def add(self, answer: Graded) -> None:
        """Store an answer. When this returns, the operating system has it, if it has a path."""
        if answer.error:
            return
        self.answers[answer.question_id] = answer
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(json.dumps(asdict(answer)).encode() + b"\n")


def _read(path: Path) -> Iterator[Graded]:
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            kept = json.loads(line)
            yield Graded(**{**kept, "log_probs": tuple(kept["log_probs"])})
        except (ValueError, TypeError, KeyError):
            raise GacError(f"{path.name}, line {number}: is damaged; --fresh starts over") from None


def facts_of_members(config: Config) -> list[dict[str, Any]]:
    """What of the members may change an answer."""
    return [member.model_dump(mode="json", exclude=_WITHOUT_EFFECT | member.unset) for member in config.members]


def _files_of_members(config: Config) -> list[Any]:
    """What of the members may change under one name: the code of plug-ins' back ends, and files on this machine."""
    parts = chain.from_iterable((member.adapter, *chain(*member.mirrors)) for member in config.loaded)
    paths = [Path(part).expanduser() for part in parts if part and not scheme_of(part)]
    files = [(str(file), file.stat()) for path in paths for file in (path, *path.glob("*")) if file.is_file()]
    loaders = [code_of(loader_of(member.backend)) for member in config.loaded]
    return [loaders, sorted((name, found.st_size, found.st_mtime_ns) for name, found in files)]


def digest_of(facts: Any) -> str:
    """Of JSON's own types."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def result_cache_path(
    folder: Path,
    config: Config,
    engines: Sequence[str],
    task: Task,
    system: System,
    questions: Sequence[Question],
    parallel: int = 1,
) -> Path:
    """The path of a system's cache. Everything that could change an answer changes the name, and so does `parallel`,
    since answers at once share their time.

    That is the members, their files and their engines, the settings, the code of plug-ins, the task, all `questions` of
    the file, the version, and the stored fields.
    """
    facts: list[Any] = [
        __version__,
        _JUDGING,
        [field.name for field in fields(Graded)],
        facts_of_members(config),
        _files_of_members(config),
        list(engines),
        system.settings(config).model_dump(mode="json"),
        plugin_code(system.settings(config)),
        system.alone,
        task.model_dump(mode="json", exclude={"about"}),
        [question.model_dump(mode="json") for question in questions],
        parallel,
    ]
    if config.control_tokens != "mask":
        facts.append(config.control_tokens)
    if system.rule:
        facts += [system.rule, [[c.alone, c.settings(config).model_dump(mode="json")] for c in system.candidates]]
    readable = re.sub(r"[^\w.@=+-]+", "_", f"{task.name}-{system.name}")[:80]
    return folder / f"{readable}-{digest_of(facts)[:16]}.jsonl"


def replace_file(path: Path, text: str) -> None:
    """Write a file to the disk, or leave the old one. Its folder is created. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_suffix(".part")
        work.write_text(text, encoding="utf-8")
        put(work, path)
    except OSError as error:
        raise StorageError(f"{path.name}: cannot be written ({error.strerror})") from None
