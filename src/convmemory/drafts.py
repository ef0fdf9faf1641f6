"""Messages on their way in: whatever callers pass, checked, as drafts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, RemoveMessage

from convmemory.dialects.message_likes import as_messages, is_one, unknown_role
from convmemory.encoding.message_classes import CLASSES
from convmemory.errors import InvalidArgument
from convmemory.models import Draft, Message, RetrievedContext


def drafts_of(messages: Any) -> list[Draft]:
    """Messages in any form LangChain takes, or drafts, as drafts.

    Raises:
        InvalidArgument: Something among them is no message.
    """
    if type(messages) is list and all(type(message) in _KINDS for message in messages):
        return [Draft.bare(message) for message in messages]  # the usual case, and every append pays for it
    if isinstance(messages, Draft):
        return [messages]
    if isinstance(messages, Message):
        return [_again(messages)]
    if not is_one(messages) and isinstance(messages, Iterable):
        # a tuple may be one (role, text) pair
        items = messages if isinstance(messages, tuple) else list(messages)
        if any(isinstance(item, (Draft, Message)) for item in items):
            return [draft for item in items for draft in drafts_of(item)]
        messages = items
    return [Draft.bare(message) for message in as_messages(messages)]


def draft_of(role_or_message: Any, content: Any, known: Mapping[str, Any]) -> Draft:
    """One message, said as a role and its content or as a message, with what is known of it.

    Raises:
        InvalidArgument: It is no message, or more than one; a fact about it cannot be stored.
    """
    if isinstance(role_or_message, (Draft, Message)):
        kind = type(role_or_message).__name__
        raise InvalidArgument("message", f"is a {kind}, which brings its own facts: pass it to save_messages")
    if content is None:
        raise InvalidArgument(
            "content", "is None: a role goes with what was said, a whole message with nothing"
        )
    if content is not ...:
        if not isinstance(role_or_message, str):
            raise InvalidArgument(
                "content", "goes with a role, such as 'user'; a message brings its content itself"
            )
        if why := unknown_role(role_or_message):
            raise InvalidArgument("role", why)
        role_or_message = (role_or_message, content)
    elif isinstance(role_or_message, list):
        raise InvalidArgument("message", "is a list: pass it to save_messages")
    contexts = contexts_of(known["contexts"])
    return Draft(role_or_message, **{**known, "contexts": contexts})


def _again(message: Message) -> Draft:
    """A stored message on its way into another conversation, with all that is known of it."""
    return Draft.built(
        message=message.message,
        tokens_used=message.tokens_used,
        latency_ms=message.latency_ms,
        contexts=message.contexts,
        metadata=message.metadata,
        facts=message.facts,
        created_at=message.created_at,
    )


def contexts_of(contexts: Any) -> tuple[RetrievedContext, ...]:
    """What an answer leaned on: contexts, or the documents of a retriever.

    Raises:
        InvalidArgument: Something among them is neither.
    """
    if isinstance(contexts, (str, bytes, Mapping, RetrievedContext, Document)) or not isinstance(
        contexts, Iterable
    ):
        raise InvalidArgument("contexts", f"must be a list of RetrievedContext or Document, {_not(contexts)}")
    return tuple(_context(context) for context in contexts)


def _context(context: object) -> RetrievedContext:
    if isinstance(context, Document):
        return RetrievedContext.of_document(context)
    if not isinstance(context, RetrievedContext):
        raise InvalidArgument("contexts", f"must be RetrievedContext or Document values, {_not(context)}")
    return context


def _not(value: object) -> str:
    return f"not {type(value).__name__}"


_KINDS: Final[frozenset[type[BaseMessage]]] = frozenset(CLASSES.values()) - {RemoveMessage}
