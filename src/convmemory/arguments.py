"""What callers pass in, checked at the door: each error names the argument and says what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import EllipsisType
from typing import Any, Final, TypeAlias
from uuid import UUID

from convmemory.encoding.storable_text import clean_text, outline
from convmemory.environment import PLACES
from convmemory.errors import ConfigurationError, ConversationNotFound, InvalidArgument
from convmemory.ids import ConversationKey, checked_id, conversation_key
from convmemory.models import Conversation, Message, Session, Telemetry
from convmemory.settings import Settings
from convmemory.windows.window_size import TokenCounter, WindowSize

MOST: Final = 10_000
TITLE_LENGTH: Final = 500
KEYS_LENGTH: Final = 5_000
_ROLES: Final = {"user": "human", "assistant": "ai", "developer": "system"}
FORMATS: Final = ("langchain", "openai", "anthropic")
NO_COUNTER: Final = "token_counter: needed with max_tokens, e.g. model.get_num_tokens_from_messages"


ConversationRef: TypeAlias = str | UUID | Conversation
"""A conversation: its UUID, a name of 1 to 255 characters that is scoped to its user, or the value itself."""

SessionRef: TypeAlias = str | Session
"""A session: its id, or the value itself."""

MessageRef: TypeAlias = str | UUID | Message
"""A stored message: its row's id, or the value itself."""

Size: TypeAlias = int | EllipsisType | None
"""A number of messages, ``None`` for all of them, ``...`` for the default."""


def checked_limit(argument: str, value: object, most: int = MOST) -> int:
    """A number of items to return.

    Raises:
        InvalidArgument: Not a whole number from 1 to ``most``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidArgument(argument, f"must be a whole number from 1 to {most:,}, not {_shown(value)}")
    return value


def window_size(argument: str, value: Size, default: int | None) -> int | None:
    """A ``Size`` as a number, or ``None`` for all."""
    if value is ...:
        return default
    return None if value is None else checked_limit(argument, value)


def history_size(
    settings: Settings,
    max_messages: Size,
    max_turns: int | None,
    max_tokens: int | None,
    token_counter: TokenCounter | None,
) -> WindowSize:
    """How much of a conversation a history shows, by what it was asked for.

    Raises:
        ConfigurationError: ``max_tokens`` without a ``token_counter``.
        InvalidArgument: One of them is no number of that kind, or ``token_counter`` no function.
    """
    hard = settings.hard_max_messages
    if max_turns is None:
        messages = window_size("max_messages", max_messages, settings.max_history_messages)
    else:
        messages = window_size("max_messages", max_messages, hard) or hard
        max_turns = checked_limit("max_turns", max_turns)
    token_counter = checked_counter(max_tokens, token_counter)
    return WindowSize(messages, max(hard, messages or 1), max_turns, max_tokens, token_counter)


def checked_counter(max_tokens: int | None, token_counter: TokenCounter | None) -> TokenCounter | None:
    """What counts tokens, where so many may be shown."""
    if max_tokens is not None:
        checked_limit("max_tokens", max_tokens, 2**31)
        if token_counter is None:
            raise ConfigurationError(NO_COUNTER)
    if token_counter is not None and not callable(token_counter):
        raise InvalidArgument("token_counter", f"must be a function, not {_shown(token_counter)}")
    return token_counter


def keeps_input(save_on_error: object) -> bool:
    """Whether what the user said is to be kept of a turn that fails."""
    if save_on_error not in (None, "input"):
        raise InvalidArgument("save_on_error", f"must be 'input' or None, not {save_on_error!r:.40}")
    return save_on_error is not None


def checked_format(value: object) -> str:
    """What messages are asked for as."""
    if value not in FORMATS:
        raise InvalidArgument("format", f"must be 'langchain', 'openai' or 'anthropic', not {_shown(value)}")
    return str(value)


def checked_telemetry(value: object) -> Telemetry:
    """How much is kept beside replies.

    Raises:
        InvalidArgument: None of what it may be.
    """
    if not isinstance(value, bool) and value not in ("ids", "excerpt", "whole"):
        raise InvalidArgument(
            "telemetry", f"must be True, False, 'whole', 'excerpt' or 'ids', not {_shown(value)}"
        )
    return value


def optional_id(argument: str, value: object) -> str | None:
    """An id that may be left out."""
    return None if value is None else checked_id(argument, value)


def given_url(value: Any) -> Any:
    """The URL of PostgreSQL, which must be given: ``None``, of a variable that is not set, would mean some server.

    Raises:
        InvalidArgument: There is none.
    """
    if value is None or value == "":
        raise InvalidArgument("postgres", "must be a URL; from_env() takes it from the environment")
    return value


def refuse_parts(settings: Mapping[str, Any]) -> None:
    """See that nothing names a server beside the URLs, which name it whole.

    Raises:
        InvalidArgument: Something does.
    """
    for name in settings:
        if name in ("database_url", "redis_url") or any(name in parts for parts in PLACES.values()):
            raise InvalidArgument(name, "belongs into the URL; from_env() takes servers in parts")


def checked_stores(maker: str, postgres: tuple[object, type], redis: tuple[object, type]) -> None:
    """See that a memory is made of stores of its own colour: a URL is the usual first guess.

    Raises:
        InvalidArgument: Something is no such store; the message names what takes URLs.
    """
    for argument, (value, kind) in (("postgres", postgres), ("redis", redis)):
        if not isinstance(value, kind) and not (value is None and argument == "redis"):
            wanted = f"must be the {kind.__name__} of this memory, not of type {type(value).__name__}"
            raise InvalidArgument(argument, f"{wanted}; {maker}.from_url(...) takes URLs")


def checked_embeddings(value: Any, settings: Settings) -> Any:
    """A model of embeddings, with the setting that names it; ``None`` for none.

    Raises:
        InvalidArgument: It is none.
        ConfigurationError: The setting does not name it: vectors of two models cannot be compared.
    """
    if value is None:
        return None
    if not (
        callable(getattr(value, "embed_documents", None)) and callable(getattr(value, "embed_query", None))
    ):
        raise InvalidArgument(
            "embeddings", f"must be Embeddings of LangChain, not of type {type(value).__name__}"
        )
    if settings.search_model is None or not settings.search_configurations:
        raise ConfigurationError(
            "embeddings: needs the settings search, such as 'english', and search_vectors, a name for the model"
            " (CONVMEMORY_SEARCH, CONVMEMORY_SEARCH_VECTORS)"
        )
    return value


def row_of(message: object) -> UUID:
    """The row of a stored message, given as such or by its id.

    Raises:
        InvalidArgument: It is neither.
    """
    if isinstance(message, Message):
        return message.id
    try:
        return message if isinstance(message, UUID) else UUID(checked_id("message_id", message))
    except ValueError:
        raise InvalidArgument("message_id", f"must be the id of a Message, not {_shown(message)}") from None


def places_of(seqs: object, ids: object) -> tuple[list[int], list[UUID]]:
    """Which messages are meant, by their places or their ids.

    Raises:
        InvalidArgument: Neither was given, or both, or too many, or something that is none.
    """
    if (seqs is None) == (ids is None):
        raise InvalidArgument("seqs", "or ids: give one of them")
    name, given = ("seqs", seqs) if ids is None else ("ids", ids)
    if isinstance(given, (str, bytes, Mapping, Message)) or not isinstance(given, Iterable):
        raise InvalidArgument(name, f"must be a list, not {type(given).__name__}")
    which = list(given)
    if len(which) > MOST:
        raise InvalidArgument(
            name, f"must be at most {MOST:,}, not {len(which):,}; truncate takes any number"
        )
    if ids is None:
        return [required_seq(name, seq) for seq in which], []
    return [], [row_of(one) for one in which]


def required_seq(argument: str, value: object) -> int:
    """A position in a conversation."""
    seq = checked_seq(argument, value)
    if seq is None:
        raise InvalidArgument(argument, "must be the seq of a message, not None")
    return seq


def moment_of(argument: str, value: object) -> datetime:
    """A time with a zone, given as such or as how long ago it was.

    Raises:
        InvalidArgument: It is neither, or lies before the first of all times or in the future.
    """
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise InvalidArgument(argument, "must not be in the future")
        try:
            return datetime.now(UTC) - value
        except OverflowError:
            raise InvalidArgument(argument, "must not be before the year 1") from None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidArgument(
            argument, f"must be a timedelta, or a datetime with a time zone, not {_shown(value)}"
        )
    if value > datetime.now(UTC):
        raise InvalidArgument(argument, "must not be in the future")
    return value


def optional_moment(argument: str, value: object) -> datetime | None:
    """A time with a zone, or how long ago it was; it may be left out, and lie in the future.

    Raises:
        InvalidArgument: It is neither.
    """
    if value is None or (isinstance(value, datetime) and value.utcoffset() is not None):
        return value
    return moment_of(argument, value)


def optional_span(argument: str, value: object) -> float | None:
    """A ``timedelta`` in seconds; it may be left out.

    Raises:
        InvalidArgument: It is none, or not positive.
    """
    if value is None:
        return None
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise InvalidArgument(argument, f"must be a timedelta of more than nothing, not {_shown(value)}")
    return value.total_seconds()


def checked_flag(argument: str, value: object) -> bool:
    """``True`` or ``False``, and no other value that is taken for one of them."""
    if not isinstance(value, bool):
        raise InvalidArgument(argument, f"must be True or False, not {_shown(value)}")
    return value


def optional_flag(argument: str, value: object) -> bool | None:
    """``True``, ``False``, or ``None`` where it does not matter."""
    return None if value is None else checked_flag(argument, value)


def checked_share(argument: str, value: object) -> float:
    """A number from 0 to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise InvalidArgument(argument, f"must be a number from 0 to 1, not {_shown(value)}")
    return float(value)


def checked_roles(argument: str, value: object) -> list[str] | None:
    """Roles in LangChain's words, from those or from Chat Completions'; ``None`` for all of them.

    Raises:
        InvalidArgument: It is no list of such words.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidArgument(argument, f"must be a list such as ['human'], not {_shown(value)}")
    roles = [checked_id(argument, role) for role in value]
    return [_ROLES.get(role, role) for role in roles]


def joined_keys(value: object) -> str | None:
    """What a message is found by besides its words, as one text; ``None`` for nothing.

    Raises:
        InvalidArgument: No text, nor texts, or too long.
    """
    given: Any = [value] if isinstance(value, str) else () if value is None else value
    keys: list[Any] = list(given) if isinstance(given, Iterable) else [None]
    if not all(isinstance(key, str) for key in keys):
        raise InvalidArgument("keys", f"must be a text, or several, not {_shown(value)}")
    text = clean_text(" / ".join(key for key in keys if key.strip()))
    if len(text) > KEYS_LENGTH:
        raise InvalidArgument("keys", f"must have at most {KEYS_LENGTH:,} characters, has {len(text):,}")
    return text or None


def checked_title(value: object) -> str:
    """A title: 1 to 500 characters, white space folded, without what PostgreSQL cannot store."""
    if not isinstance(value, str):
        raise InvalidArgument("title", f"must be a string, not {type(value).__name__}")
    title = " ".join(clean_text(value).split())
    if not 1 <= len(title) <= TITLE_LENGTH:
        raise InvalidArgument("title", f"must have 1 to {TITLE_LENGTH} characters, has {len(title)}")
    return title


def checked_seq(argument: str, value: object) -> int | None:
    """A position in a conversation, or ``None``."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise InvalidArgument(argument, "must be the seq of a message, or None")
    return value


def checked_version(argument: str, value: object) -> int | None:
    """A version of a conversation, or ``None``."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
        raise InvalidArgument(argument, "must be the version of a conversation, or None")
    return value


def key_of(conversation: object, user_id: object) -> ConversationKey:
    """The conversation that is meant, on behalf of a user.

    Raises:
        ConversationNotFound: It is another user's ``Conversation``.
        InvalidArgument: One of the two is nothing that can name a conversation or a user.
    """
    if not isinstance(conversation, Conversation):
        if isinstance(conversation, Session):
            raise InvalidArgument(
                "conversation_id", "is a Session: pass its conversation_id, which is None until it has one"
            )
        return conversation_key(conversation, user_id)
    if conversation.user_id != checked_id("user_id", user_id):
        raise ConversationNotFound(conversation.id)
    return conversation_key(conversation.id, user_id)  # what its uuid says is no more than what its id does


def row_of_conversation(conversation: object) -> UUID:
    """The row of a conversation, by its UUID or the ``Conversation`` itself.

    Raises:
        InvalidArgument: It is a name, of which only its owner knows the row, or nothing that can name one.
    """
    if isinstance(conversation, Conversation):
        return conversation.uuid
    try:
        return conversation if isinstance(conversation, UUID) else UUID(name_of(conversation))
    except ValueError:
        raise InvalidArgument(
            "conversation_id", f"must be the UUID of a conversation, not {_shown(conversation)}"
        ) from None


def name_of(conversation: object) -> str:
    """A conversation as it is called."""
    if isinstance(conversation, Conversation):
        return conversation.id
    if isinstance(conversation, Session):
        raise InvalidArgument("conversation_id", "is a Session: pass its conversation_id")
    return checked_id(
        "conversation_id", str(conversation) if isinstance(conversation, UUID) else conversation
    )


def session_name(session: object) -> str:
    """The id of a session, given as such or as the session itself."""
    return session.id if isinstance(session, Session) else checked_id("session_id", session)


def _shown(value: object) -> str:
    """A value as an error may show it: of any size, and whatever its own ``repr`` does."""
    return outline(value)[:40]
