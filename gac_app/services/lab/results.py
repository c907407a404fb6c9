"""The results that a visitor sees in the Lab: the operator's, in files, and the visitor's own, in the database."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from gac_app.errors import NotFoundError, Phrase, RequestError, StorageError, packed, too_long, unpacked
from gac_app.evaluation.studies import KeptResult, KeptResults, Listed, StudyResult, is_result_id, result_from_json
from gac_app.services.writes import wait_for
from gac_app.storage import Store, StoredStudy, clean_text

MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class ListedResult(Listed):
    """A result's entry in a list, and whether this visitor may change it."""

    is_mine: bool
    may_edit: bool


class LabResults:
    """The Lab's results. Each method serves one visitor, who sees no other visitor's results.

    Args:
        files: the command line's results. Everybody sees those of these members.
        may_edit_files: whether a visitor may see, rename and delete all of them.
        members: of this configuration.
    """

    def __init__(
        self, files: KeptResults, store: Store, may_edit_files: Callable[[str], bool], members: Sequence[str]
    ) -> None:
        self.files = files
        self._names, self._members = tuple(members), set(members)
        self._data: dict[str, Mapping[str, Any]] = {}  # of files' benchmarks, by id; only a result's name can change
        self._store = store
        self._may_edit_files = may_edit_files
        self._benchmarks: list[tuple[str, Mapping[str, Any]]] | None = None  # visitors'; None = not read yet
        self._lock = threading.Lock()

    def of(self, visitor_key: str) -> list[ListedResult]:
        """A visitor's list, newest first. While the database is unavailable, only the operator's results."""
        may_edit = self._may_edit_files(visitor_key)
        listed = [one for one in self.files.list() if self._may_see(visitor_key, one)]
        found = [ListedResult(**asdict(one), is_mine=False, may_edit=may_edit) for one in listed]
        with suppress(StorageError):
            found += [_listed(study) for study in self._store.list_studies(visitor_key)]
        return sorted(found, key=lambda one: one.created_at, reverse=True)

    def load(self, visitor_key: str, result_id: str) -> KeptResult:
        """One result. Raises NotFoundError, DamagedError, StorageError."""
        if is_result_id(result_id):
            kept = self.files.load(result_id)
            if not self._may_see(visitor_key, kept):
                raise NotFoundError(Phrase("No such result."))
            return kept
        study = self._store.load_study(visitor_key, result_id)
        listed = _listed(study)
        try:
            result = result_from_json(unpacked(study.body))
        except ValueError:
            raise NotFoundError(Phrase("This result was kept by another version and cannot be shown.")) from None
        return KeptResult(listed.id, listed.created_at, tuple(listed.members), result, listed.name)

    def ready_to_keep(self, visitor_key: str, result: StudyResult, *, is_own: bool) -> Callable[[], Future[None]]:
        """What begins to write a result for its visitor. `is_own`: the questions were the visitor's."""
        # Figures on the operator's questions reveal nothing about a visitor, so they serve as advice for everybody.
        benchmark = None if is_own or result.study != "eval" else result.data
        about = {"study": result.study, "heading": result.heading, "members": self._names}
        head = {"name": "", **about, "benchmark": benchmark}
        parts = packed(head), packed(asdict(result))

        def begin() -> Future[None]:
            write: Future[None] = self._store.save_study(visitor_key, uuid.uuid4().hex, *parts)
            write.add_done_callback(lambda _: self.forget())
            return write

        return begin

    def rename(self, visitor_key: str, result_id: str, name: str) -> None:
        """Rename a result; "" restores its own name. Raises RequestError, NotFoundError, StorageError."""
        name = clean_text(name).strip()
        if len(name) > MAX_NAME_CHARS:
            raise RequestError("name", too_long(len(name), MAX_NAME_CHARS))
        if is_result_id(result_id):
            self._check_files(visitor_key)
            self.files.rename(result_id, name)
        else:
            wait_for(self._store.rename_study(visitor_key, result_id, name))

    def delete(self, visitor_key: str, result_id: str) -> None:
        """Delete a result with everything in it. Raises RequestError, NotFoundError, StorageError."""
        if is_result_id(result_id):
            self._check_files(visitor_key)
            self.files.delete(result_id)
        else:
            wait_for(self._store.delete_study(visitor_key, result_id))
            self.forget()

    def benchmarks(self) -> list[Mapping[str, Any]]:
        """Data of benchmarks of these members on the operator's questions, newest first."""
        listed = [one for one in self.files.list() if one.study == "eval" and set(one.members) == self._members]
        self._data = {one.id: self._data.get(one.id) or self.files.load(one.id).result.data for one in listed}
        found = [*((one.created_at, self._data[one.id]) for one in listed), *self._of_visitors()]
        return [data for _, data in sorted(found, key=lambda one: one[0], reverse=True)]

    def _of_visitors(self) -> list[tuple[str, Mapping[str, Any]]]:
        """When visitors ran benchmarks, and their data."""
        with self._lock:
            if self._benchmarks is None:
                try:
                    heads = [(_time(study), study.head) for study in self._store.all_studies()]
                except StorageError:
                    return []
                own = [(at, head) for at, head in heads if set(head.get("members", ())) == self._members]
                self._benchmarks = [(at, head["benchmark"]) for at, head in own if head.get("benchmark")]
            return self._benchmarks

    def forget(self) -> None:
        """Read the visitors' benchmarks anew when they are asked for next."""
        with self._lock:
            self._benchmarks = None

    def _may_see(self, visitor_key: str, result: Listed | KeptResult) -> bool:
        return set(result.members) == self._members or self._may_edit_files(visitor_key)

    def _check_files(self, visitor_key: str) -> None:
        if not self._may_edit_files(visitor_key):
            raise RequestError("result", Phrase("Only the operator can change this result."))


def _listed(study: StoredStudy) -> ListedResult:
    """The entries of a folder. Damaged results are listed, so that they can be deleted."""
    head = study.head
    return ListedResult(
        id=study.study_id,
        created_at=_time(study),
        members=tuple(head.get("members", ())),
        study=head.get("study", ""),
        heading=unpacked(head.get("heading", "damaged")),
        name=head.get("name", ""),
        is_mine=True,
        may_edit=True,
    )


def _time(study: StoredStudy) -> str:
    return study.created_at.isoformat(timespec="seconds")
