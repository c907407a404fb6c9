"""Members for studies: their forward passes wait while runs decode, and fail once the study is stopped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from gac_app.decoding.distribution import MayDraft, ReadResult
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import SharingMember
from gac_app.decoding.view import ViewMember
from gac_app.errors import MemberError
from gac_app.executors.remote import RemoteMember
from gac_app.executors.threads import ThreadMember
from gac_app.models.base import Read, Sequence


class BackgroundMember(SharingMember):
    """A member at low priority: runs come first."""

    base: ThreadMember | RemoteMember

    def __init__(self, base: ThreadMember | RemoteMember) -> None:
        super().__init__(base)
        self._is_stopped = False

    def begin(self, read: Read, may_draft: MayDraft | None = None) -> Future[ReadResult]:
        if self._is_stopped:
            future: Future[ReadResult] = Future()
            future.set_exception(MemberError(self.name, "exception", "was stopped"))
            return future
        return self.base.begin(read, may_draft, is_background=True)

    def is_free_for(self, sequence: Sequence) -> bool:
        """Never: the reads of other answers, of runs and of the study, come first."""
        return False

    def stop(self) -> None:
        """Let all pending and future reads fail."""
        self._is_stopped = True
        self.base.drop_background()


def in_background(ensemble: Ensemble) -> tuple[Ensemble, Callable[[], None]]:
    """An ensemble of the same members at low priority, for one study, and the function that stops it."""
    found = ensemble.members
    own = {n: BackgroundMember(m) for n, m in found.items() if isinstance(m, ThreadMember | RemoteMember)}
    views = {n: ViewMember(own[m.base.name], m.view) for n, m in found.items() if isinstance(m, ViewMember)}
    members = [(own | views)[name] for name in found]

    def stop() -> None:
        for member in own.values():
            member.stop()

    return Ensemble(members, ensemble.config, are_apart=ensemble.are_apart), stop
