"""Everything that can go wrong, under one root."""

from __future__ import annotations

from typing import Any, Final, cast


class ConvMemoryError(Exception):
    """The root of every error this library raises: one ``except`` catches them all."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__module__ = "convmemory"  # tracebacks show the path people import from

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as it is: what the constructors take is not what the text is."""
        _, args, *state = cast("tuple[Any, ...]", super().__reduce__())
        return (_made_again, (type(self), args), *state)


def _made_again(kind: type[ConvMemoryError], args: tuple[Any, ...]) -> ConvMemoryError:
    return kind.__new__(kind, *args)


class ConfigurationError(ConvMemoryError, ValueError):
    """A setting is missing or wrong; the message names it and says what would be right."""


class InvalidArgument(ConvMemoryError, ValueError):
    """An argument cannot be used; the message names it and says what would be right."""

    def __init__(self, argument: str, why: str) -> None:
        super().__init__(f"{argument}: {why}")
        self.argument = argument


class ConversationNotFound(ConvMemoryError, LookupError):
    """No such conversation for this user: it does not exist, or it is somebody else's (not told apart)."""

    def __init__(self, conversation_id: object) -> None:
        super().__init__(f"no conversation {str(conversation_id)!r} for this user")
        self.conversation_id = str(conversation_id)


class MessageNotFound(ConvMemoryError, LookupError):
    """No message of that id in this conversation: it was never there, or is deleted."""

    def __init__(self, message_id: object) -> None:
        super().__init__(f"no message {str(message_id)!r} in this conversation")
        self.message_id = str(message_id)


class ConversationExists(ConvMemoryError, ValueError):
    """The user has a conversation of that id already, and the caller asked to be told (``exists="error"``)."""

    def __init__(self, conversation_id: object) -> None:
        super().__init__(f"there is a conversation {str(conversation_id)!r} already")
        self.conversation_id = str(conversation_id)


class ConversationChanged(ConvMemoryError, ValueError):
    """The conversation is of another ``version`` than the caller wanted to change (``if_version``): read it again."""

    def __init__(self, conversation_id: object, version: int) -> None:
        super().__init__(
            f"conversation {str(conversation_id)!r} is at version {version} by now: read it again"
        )
        self.conversation_id = str(conversation_id)
        self.version = version


class NotOpen(ConvMemoryError, RuntimeError):
    """The memory or store was used before ``open()`` or after ``close()``, or where no event loop of asyncio's runs in this process."""


class AsyncOnly(ConvMemoryError, RuntimeError):
    """A blocking call reached a history over async stores; the message names what to use instead."""


class MissingExtra(ConvMemoryError, ImportError):
    """An optional part was used without its extra; the message is the command that installs it.

    The command names the distribution, ``langchain-convmemory``: on package indexes ``convmemory`` is another project.
    """

    def __init__(self, part: str, extra: str) -> None:
        super().__init__(f"{part} needs an extra: pip install 'langchain-convmemory[{extra}]'", name=extra)
        self.extra = extra


class StorageError(ConvMemoryError):
    """A tier failed in a way that trying again will not mend; the driver's error is its cause.

    ``tier`` is ``"PostgreSQL"`` or ``"Redis"``, and ``operation`` says in words what it was to do, ``"save messages"``.
    """

    def __init__(self, tier: str, operation: str, why: str) -> None:
        self.tier = tier
        self.operation = in_words(operation)
        super().__init__(f"{tier} failed to {self.operation}: {why}")


class StorageUnavailable(StorageError):
    """A tier could not be reached in time.

    Nothing was half-written. A write may have been stored all the same, if only its answer was lost: try again with
    the same ``idempotency_key``, or with the same words under ids of their own, and it is stored once. Reads may be
    tried again.
    """


class SchemaOutdated(StorageError):
    """The database's schema does not fit this version; the message says which command mends it."""

    def __init__(self, schema: str, found: int | None, wanted: int) -> None:
        if found is None:
            why = f"schema {schema!r} is not there: run `convmemory init` (or memory.init_schema())"
        elif found < wanted:
            why = f"schema {schema!r} is at version {found} of {wanted}: run `convmemory init`"
        else:
            why = f"schema {schema!r} is at version {found}, newer than this library's {wanted}: upgrade convmemory"
        super().__init__("PostgreSQL", "check the schema", why)
        self.args = (f"PostgreSQL: {why}",)
        self.found = found
        self.wanted = wanted


_WORDS: Final = {
    # statements
    "annotate_message": "note something of a message",
    "append": "save messages",
    "append_in_life": "save messages",
    "clear_conversation": "clear the conversation",
    "create_conversation": "create the conversation",
    "delete_conversation": "delete the conversation",
    "erase_conversation": "delete the conversation",
    "get_conversation": "read the conversation",
    "list_by_creation": "list conversations",
    "list_conversations": "list conversations",
    "list_everybodys": "list conversations",
    "count_conversations": "count conversations",
    "find_conversation": "read the conversation",
    "first_turn": "read a first turn to make a title of it",
    "entitle_conversation": "give the conversation a title",
    "old_conversations": "look for conversations to delete",
    "owner": "look whose conversation it is",
    "pop_message": "remove the newest message",
    "read_all": "read messages",
    "read_messages": "read messages",
    "read_messages_by_id": "read messages",
    "remove_messages": "delete messages",
    "replace_message": "replace a message",
    "revise_messages": "take a message back",
    "sweep": "take away what was deleted",
    "sweep_documents": "take away documents that nobody has any more",
    "read_window": "read messages",
    "unfinished": "look for what a delete has left",
    "update_conversation": "change the conversation",
    "walk_conversations": "look for conversations to delete",
    "walk_user_conversations": "list conversations",
    "count_marks": "give a sign of life",
    "index_conversation": "have messages found by their words",
    "key_message": "note what a message is found by",
    "search_messages": "find messages",
    "store_vectors": "keep what messages mean",
    "to_embed": "look for messages without a vector",
    "without_vector": "look for messages without a vector",
    "find_room": "see what the database can do",
    "unknown_configurations": "check the text search configurations",
    "installed": "check the schema",
    "allow_journals": "have writes wait beside the windows",
    "refused_entries": "list what was refused",
    "store_entries": "save messages",
    "tidy_removed": "forget what was removed long ago",
    "read_window_rows": "read messages",
    "look": "check the cached windows",
    "register": "note who caches windows",
    "mark": "note that a cached window is behind",
    "clear_marks": "check the cached windows",
    "tidy_caches": "check the cached windows",
    "forget_caches": "forget the caches",
    # scripts and commands
    "window_fill": "fill the window",
    "window_publish": "add messages to the window",
    "window_read": "read the window",
    "window_drop": "drop windows",
    "info": "learn which server it is",
    "run_begin": "look whether an answer is on its way",
    "run_drop": "forget an answer",
    "run_read": "read an answer that is on its way",
    "run_stop": "stop an answer",
    "run_write": "hand on an answer that is on its way",
    "session_end": "end the session",
    "session_list": "keep the list of sessions",
    "session_write": "keep the session",
    "list_user_sessions": "list sessions",
    "ping": "give a sign of life",
    "journal_append": "accept messages",
    "journal_fill": "fill the window",
    "journal_read": "read the window",
    "journal_settle": "add messages to the window",
    "journal_sweep": "look for messages that wait",
    "journal_take": "read what waits to be stored",
    "journal_trim": "let go of what is stored",
    # what opens and sets up
    "open": "connect",
    "init_schema": "set up the schema",
}
"""What the files and calls that a tier is asked by are for, as whoever reads an error would put it."""


def in_words(operation: str) -> str:
    """What a tier was asked to do, as whoever reads an error would put it."""
    return _WORDS.get(operation) or operation.replace("_", " ")
