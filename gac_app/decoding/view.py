"""Views: other prompts for one member's model. They share its weights, its forward passes and its prefix cache."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.decoding.member import Member, Prompt, SharingMember
from gac_app.errors import MemberError
from gac_app.member_config import MemberConfig
from gac_app.models.message import Message
from gac_app.models.sequence import KVSequence, Share


class ViewMember(SharingMember):
    """A member whose chats and documents begin with a system prompt and worked examples of its own.

    Its sequences are those of `base`, which batches them with its other reads. They have a namespace of their
    own below a conversation's, so that they do not wait for each other's prompts.

    Args:
        base: the member whose model it asks, and which is closed by others.
        view: its configuration.
    """

    def __init__(self, base: Member, view: MemberConfig) -> None:
        self.view = view
        super().__init__(base)

    @property
    def name(self) -> str:
        return self.view.name

    def encode(self, prompt: Prompt) -> list[int]:
        """The member's own ids of a prompt, the view's part included."""
        if isinstance(prompt, str):
            return self.base.encode(_document(self.view) + prompt)
        return self.base.encode(_chat(self.view, prompt))

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        own = f"{namespace}/{self.name}" if namespace else ""
        try:
            return super().open(ids, share, own, is_reproducible=is_reproducible)
        except MemberError as error:
            raise MemberError(self.name, error.kind, error.message) from error

    def forget(self, namespace: str) -> None:
        """Nothing is kept here: the base forgets the namespaces below this one too."""


def _chat(view: MemberConfig, messages: Sequence[Message]) -> list[Message]:
    """A chat with the view's system prompt before the visitor's, and its examples as the first turns."""
    has_system = bool(messages) and messages[0].role == "system"
    system = [view.system_prompt.strip(), *(message.content for message in messages[:has_system])]
    text = "\n\n".join(filter(None, system))
    turns = [
        turn
        for example in view.examples
        for turn in (Message("user", example.question), Message("assistant", example.answer))
    ]
    return [*([Message("system", text)] if text else []), *turns, *messages[has_system:]]


def _document(view: MemberConfig) -> str:
    """What stands before a document: the system prompt and the examples, each followed by an empty line."""
    examples = [f"Question: {example.question}\nAnswer: {example.answer}" for example in view.examples]
    return "".join(f"{part}\n\n" for part in (view.system_prompt.strip(), *examples) if part)
