"""The member for a loaded model, for a view of another member, and for studies.

A study's forward passes wait while runs decode, and fail once it is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from gac_app.decoding.distribution import ReadResult
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import Member, SharingMember
from gac_app.decoding.view import ViewMember
from gac_app.errors import MemberError
from gac_app.executors.prefix_cache import shared_prefix
from gac_app.executors.remote import RemoteMember
from gac_app.executors.threads import ThreadMember
from gac_app.member_config import MemberConfig
from gac_app.models.base import Model
from gac_app.models.message import Message
from gac_app.models.remote.model import RemoteModel
from gac_app.models.sequence import BACKGROUND, ForwardRequest, KVSequence, Share
from gac_app.vocab.mapping import VocabMapping


class BackgroundMember(SharingMember):
    """A member at low priority: runs come first."""

    base: ThreadMember | RemoteMember

    def __init__(self, base: ThreadMember | RemoteMember) -> None:
        super().__init__(base)
        self._share = (*BACKGROUND, hex(id(self)))  # others may be in the background too
        self._is_stopped = False

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        return super().open(ids, self._share, namespace, is_reproducible=is_reproducible)

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        if self._is_stopped:
            future: Future[ReadResult] = Future()
            future.set_exception(MemberError(self.name, "exception", "was stopped"))
            return future
        return super().read(request)

    def is_free_for(self, sequence: KVSequence) -> bool:
        """Never: the reads of other answers, of runs and of the study, come first."""
        return False

    def stop(self) -> None:
        """Let all pending and future reads fail."""
        self._is_stopped = True
        self.base.refuse(self._share)


def in_background(ensemble: Ensemble) -> tuple[Ensemble, Callable[[], None]]:
    """An ensemble of the same members at low priority, for one study, and the function that stops it."""
    found = ensemble.members
    own = {n: BackgroundMember(m) for n, m in found.items() if isinstance(m, ThreadMember | RemoteMember)}
    views = {n: ViewMember(own[m.base.name], m.view) for n, m in found.items() if isinstance(m, ViewMember)}
    members = [(own | views)[name] for name in found]

    def stop() -> None:
        for member in own.values():
            member.stop()

    return Ensemble(members, ensemble.config, devices_disjoint=ensemble.devices_disjoint), stop


def new_member(model: Model, mapping: VocabMapping) -> Member:
    """One with a worker thread, or one that asks its server."""
    return RemoteMember(model, mapping) if isinstance(model, RemoteModel) else ThreadMember(model, mapping)


def with_views(loaded: list[Member], configs: Sequence[MemberConfig]) -> list[Member]:
    """The loaded members, and the views of them, in the order of `configs`."""
    members = {member.name: member for member in loaded}
    for config in configs:
        if config.of:
            base = members[config.of]
            view = members[config.name] = ViewMember(base, config)
            if isinstance(base, ThreadMember):
                base.add_view(_prefixes(view))
    return [members[config.name] for config in configs]


def _prefixes(view: ViewMember) -> list[tuple[int, ...]]:
    """The ids that a view's chats and its documents begin with."""
    chats = shared_prefix(view.model, lambda text: view.encode([Message("user", text)]))
    return [prefix for prefix in (chats, shared_prefix(view.model, view.encode)) if prefix]
