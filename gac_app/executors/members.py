"""The member for a loaded model, or for a view of another member."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

from gac_app.decoding.member import Member
from gac_app.decoding.view import ViewMember
from gac_app.executors.prefix_cache import shared_prefix
from gac_app.executors.remote import RemoteMember
from gac_app.executors.threads import ThreadMember
from gac_app.member_config import MemberConfig
from gac_app.models.base import Model
from gac_app.models.message import Message
from gac_app.models.remote.model import RemoteModel
from gac_app.vocab.mapping import VocabMapping


def new_member(model: Model, mapping: VocabMapping) -> Member:
    """One with a worker thread, or one that asks its server."""
    return RemoteMember(model, mapping) if isinstance(model, RemoteModel) else ThreadMember(model, mapping)


def with_views(loaded: list[Member], configs: SequenceOf[MemberConfig]) -> list[Member]:
    """The loaded members, and the views of them, in the order of `configs`."""
    members = {member.name: member for member in loaded}
    for config in configs:
        if config.of:
            base = members[config.of]
            view = members[config.name] = ViewMember(base, config)
            if isinstance(base, ThreadMember):
                base.add_view(_prefixes(view))
    return [members[config.name] for config in configs]


def _prefixes(view: ViewMember) -> list[list[int]]:
    """The ids that a view's chats and its documents begin with."""
    chats = shared_prefix(view.model, lambda text: view.encode([Message("user", text)]))
    return [prefix for prefix in (chats, shared_prefix(view.model, view.encode)) if prefix]
