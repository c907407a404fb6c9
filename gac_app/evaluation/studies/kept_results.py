"""Results of studies in a folder, one JSON file each."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from gac_app.errors import NotFoundError, Phrase, StorageError, packed, unpacked
from gac_app.evaluation.running import replace_file
from gac_app.evaluation.studies.result import StudyResult

MAX_LISTED = 200
_ID = re.compile(r"\d{8}T\d{6}-[a-z]+-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class KeptResult:
    """A result with its id. `created_at` is UTC, ISO 8601."""

    id: str
    created_at: str
    members: tuple[str, ...]
    result: StudyResult
    name: str = ""  # given by a user


_KEPT = TypeAdapter(KeptResult)


@dataclass(frozen=True, slots=True)
class Listed:
    """A result's entry in a list."""

    id: str
    created_at: str
    members: tuple[str, ...]
    study: str
    heading: str
    name: str


def is_result_id(text: str) -> bool:
    """Whether `text` has the form of a result's id."""
    return bool(_ID.fullmatch(text))


class KeptResults:
    """The results of one folder, which is created with the first one. Only a result's name can change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[str, Listed | None] = {}  # by id, as far as read; None = the file is not a result

    def keep(self, result: StudyResult, members: tuple[str, ...]) -> KeptResult:
        """Store a result. Raises StorageError if the folder cannot be written."""
        now = datetime.now(UTC)
        result_id = f"{now:%Y%m%dT%H%M%S}-{result.study}-{secrets.token_hex(3)}"
        kept = KeptResult(result_id, now.isoformat(timespec="seconds"), members, result)
        self._write(kept)
        return kept

    def rename(self, result_id: str, name: str) -> None:
        """Raises NotFoundError, StorageError."""
        self._write(replace(self.load(result_id), name=name))
        self._listed.pop(result_id, None)

    def delete(self, result_id: str) -> None:
        """Raises NotFoundError, StorageError."""
        self.load(result_id)
        try:
            (self._folder / f"{result_id}.json").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{result_id}: cannot be deleted ({error.strerror})") from None

    def list(self) -> list[Listed]:
        """At most `MAX_LISTED` entries, newest first. Files that are not results are skipped."""
        names = sorted((path.stem for path in self._folder.glob("*.json") if _ID.fullmatch(path.stem)), reverse=True)
        found = (self._summary(name) for name in names[:MAX_LISTED])
        return [listed for listed in found if listed]

    def load(self, result_id: str) -> KeptResult:
        """One result. Raises NotFoundError."""
        kept = self._read(result_id) if is_result_id(result_id) else None
        if kept is None:
            raise NotFoundError(Phrase("No such result."))
        return kept

    def _write(self, kept: KeptResult) -> None:
        replace_file(self._folder / f"{kept.id}.json", json.dumps(packed(asdict(kept)), ensure_ascii=False))

    def _summary(self, result_id: str) -> Listed | None:
        if result_id not in self._listed:
            kept = self._read(result_id)
            self._listed[result_id] = _listed(kept) if kept else None
        return self._listed[result_id]

    def _read(self, result_id: str) -> KeptResult | None:
        try:
            return _KEPT.validate_python(unpacked(orjson.loads((self._folder / f"{result_id}.json").read_bytes())))
        except (OSError, ValueError):
            return None


def _listed(kept: KeptResult) -> Listed:
    return Listed(kept.id, kept.created_at, kept.members, kept.result.study, kept.result.heading, kept.name)
