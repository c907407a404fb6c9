"""Members for studies: their forward passes wait while runs decode, and fail once the study is stopped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from gac_app.decoding.distribution import MayDraft, ReadResult
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import Member
from gac_app.errors import MemberError
from gac_app.executors.remote import RemoteMember
from gac_app.executors.threads import ThreadMember
from gac_app.models.base import Sequence


class BackgroundMember(Member):
    """A member at low priority: runs come first. It shares the model and the worker of `member`."""

    def __init__(self, member: ThreadMember | RemoteMember) -> None:
        super().__init__(member.model, member.mapping)
        self._member = member
        self._is_stopped = False

    def open(self, ids: list[int], namespace: str = "", *, is_reproducible: bool = False) -> Sequence:
        return self._member.open(ids, namespace, is_reproducible=is_reproducible)

    def read(
        self,
        sequence: Sequence,
        num_logits: int = 1,
        may_draft: MayDraft | None = None,
        *,
        with_logs: bool = False,
    ) -> Future[ReadResult]:
        if self._is_stopped:
            future: Future[ReadResult] = Future()
            future.set_exception(MemberError(self.name, "exception", "was stopped"))
            return future
        return self._member.read(sequence, num_logits, may_draft, is_background=True, with_logs=with_logs)

    def skip_step(self, sequence: Sequence) -> None:
        self._member.skip_step(sequence)

    def is_free_for(self, sequence: Sequence) -> bool:
        """Never: the reads of other answers, of runs and of the study, come first."""
        return False

    def fork(self, sequence: Sequence) -> Sequence:
        return self._member.fork(sequence)

    def free(self, sequence: Sequence) -> None:
        self._member.free(sequence)

    def forget(self, namespace: str) -> None:
        self._member.forget(namespace)

    def stop(self) -> None:
        """Let all pending and future reads fail."""
        self._is_stopped = True
        self._member.drop_background()

    def close(self) -> None:
        """Nothing to release: the model belongs to the runs."""


def in_background(ensemble: Ensemble) -> tuple[Ensemble, Callable[[], None]]:
    """An ensemble of the same members at low priority, for one study, and the function that stops it."""
    found = ensemble.members.values()
    members = [BackgroundMember(member) for member in found if isinstance(member, ThreadMember | RemoteMember)]

    def stop() -> None:
        for member in members:
            member.stop()

    return Ensemble(members, ensemble.config, are_apart=ensemble.are_apart), stop
