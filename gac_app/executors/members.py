"""The member for a loaded model."""

from __future__ import annotations

from gac_app.decoding.member import Member
from gac_app.executors.remote import RemoteMember
from gac_app.executors.threads import ThreadMember
from gac_app.models.base import Model
from gac_app.models.remote.model import RemoteModel
from gac_app.vocab.mapping import VocabMapping


def new_member(model: Model, mapping: VocabMapping) -> Member:
    """One with a worker thread, or one that asks its server."""
    return RemoteMember(model, mapping) if isinstance(model, RemoteModel) else ThreadMember(model, mapping)
