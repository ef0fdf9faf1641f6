"""What answers: a chain, an agent or an async generator, and what it streams, as LangChain's messages."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import (
    LC_ID_PREFIX,
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.runnables import Runnable, RunnableConfig

from convmemory.chains.turn import PARTIAL_KEY
from convmemory.errors import InvalidArgument
from convmemory.ids import new_uuid
from convmemory.models import Draft, RetrievedContext

Keeper = Literal["route", "runnable"]
_SAID: Final = ("answer", "output", "text", "response")
_KEYED: Final = (
    "is a RunnableWithMessageHistory with an input_messages_key, whose messages have no ids a front end could name them by: "
    "give the chain inside it, with inputs=lambda turn: {...}; the route reads the window and stores the turn"
)


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """What is asked, for whoever answers: the argument of an async generator, and of ``inputs``.

    ``messages`` is the recent window with the question at its end, ready for a model; for a runnable that has the memory
    itself it is the question alone. ``config`` is what the run is given.
    """

    user_id: str
    conversation_id: str
    messages: list[BaseMessage]
    config: RunnableConfig

    @property
    def question(self) -> BaseMessage:
        """What the user said."""
        return self.messages[-1]

    @property
    def history(self) -> list[BaseMessage]:
        """What was said before."""
        return self.messages[:-1]

    @property
    def text(self) -> str:
        """What the user said, as text."""
        return str(self.question.text)


Inputs = Callable[[ChatTurn], Any]


class Listener(BaseCallbackHandler):
    """Hears what a chain's answer leaned on, and what its models cost."""

    run_inline = True

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.tokens: int | None = None

    def on_retriever_end(self, documents: Sequence[Document], **_: Any) -> None:
        """A retriever returned."""
        self.note(documents)

    def note(self, documents: Sequence[Document]) -> None:
        """Keep what was retrieved, once: a retriever inside another returns the same."""
        self.documents += [one for one in documents if one not in self.documents]

    def on_llm_end(self, response: Any, **_: Any) -> None:
        """A model answered."""
        for one in response.generations[-1:]:
            usage = getattr(getattr(one[-1], "message", None), "usage_metadata", None) if one else None
            if usage:
                self.tokens = (self.tokens or 0) + int(usage["total_tokens"])


class Heard:
    """What came of an answer so far, as it is to be stored where the route does so."""

    def __init__(self) -> None:
        self._given: set[str | None] = set()
        self._whole: list[BaseMessage] = []
        self._pieces: list[AIMessageChunk] = []
        self._began = time.perf_counter()
        self.listener = Listener()

    def given(self, messages: Sequence[BaseMessage]) -> None:
        """What the answerer was shown: no part of the answer."""
        self._given = {one.id for one in messages}

    def state(self, messages: Sequence[BaseMessage]) -> None:
        """What a graph's state says now: what its steps have come to."""
        spoken = sum(isinstance(one, AIMessage) for one in self._whole)
        self._whole = [
            one for one in messages if one.id not in self._given and isinstance(one, AIMessage | ToolMessage)
        ]
        if sum(isinstance(one, AIMessage) for one in self._whole) > spoken:
            self._pieces = []  # they are whole now, perhaps under the id of a provider that came late

    def piece(self, message: BaseMessage, *, in_state: bool) -> None:
        """What was streamed; ``in_state`` where a state will have it when it is whole."""
        if isinstance(message, AIMessageChunk):
            if self._pieces and self._pieces[-1].id != message.id:
                self._settle(keep=not in_state)
            self._pieces.append(message)
        elif not in_state:
            self._settle(keep=True)
            self._whole.append(message)

    def drafts(self, *, partial: bool) -> list[Draft]:
        """What is to be stored; what was broken off is marked, and calls nothing."""
        messages = list(self._whole)
        if self._pieces:
            last = _merged(self._pieces)
            if partial:
                marked = {**last.response_metadata, PARTIAL_KEY: True}
                last = AIMessage(last.content, id=last.id, response_metadata=marked)
            if not partial or last.text:
                messages.append(last)
        spoken = [at for at, one in enumerate(messages) if isinstance(one, AIMessage)]
        return [
            self._draft(one, last=at == spoken[-1]) if spoken else Draft(one)
            for at, one in enumerate(messages)
        ]

    def _draft(self, message: BaseMessage, *, last: bool) -> Draft:
        if not last:
            return Draft(message)
        known = getattr(message, "usage_metadata", None)
        return Draft(
            message,
            tokens_used=None if known else self.listener.tokens,
            latency_ms=(time.perf_counter() - self._began) * 1000,
            contexts=[RetrievedContext.of_document(one) for one in self.listener.documents],
        )

    def _settle(self, *, keep: bool) -> None:
        if self._pieces and keep:
            self._whole.append(_merged(self._pieces))
        self._pieces = []


def _merged(pieces: Sequence[AIMessageChunk]) -> AIMessage:
    first, *rest = pieces
    whole = first + rest if rest else first
    return cast("AIMessage", message_chunk_to_message(whole))


class Answerer:
    """What answers, whichever of the three it is.

    Args:
        runnable: A chain, an agent or another graph, or an async generator function that is given a ``ChatTurn``.
        inputs: Makes the runnable's input; by default ``{"messages": [...]}`` for a graph and a list of messages else.
        stores: Who reads the window and stores the turn; by default whoever has the memory.
    """

    def __init__(self, runnable: Any, inputs: Inputs | None, stores: Keeper | None) -> None:
        if not isinstance(runnable, Runnable) and not inspect.isasyncgenfunction(runnable):
            raise InvalidArgument(
                "runnable",
                "must be a Runnable (a chain, an agent) or an async generator function, "
                f"not {type(runnable).__name__}",
            )
        if stores not in (None, "route", "runnable"):
            raise InvalidArgument("stores", f"must be 'route' or 'runnable', not {stores!r:.40}")
        self._runnable = runnable
        self._inputs = inputs
        core = _unwrapped(runnable)
        self._is_graph = hasattr(core, "stream_mode") and hasattr(core, "nodes")
        self.restates = _is_history(core)
        """Whether it stores a question together with its answer, and would be shown one that is stored twice."""
        self.stores = (stores or ("runnable" if has_memory(core) else "route")) == "runnable"

    async def stream(self, turn: ChatTurn, heard: Heard) -> AsyncIterator[BaseMessage]:
        """What is answered, as messages and pieces of messages, each with an id."""
        naming = _Naming()
        async for told in self._told(turn, heard):
            for message in _messages(told, heard.listener):
                named = naming.name(message)
                heard.piece(named, in_state=self._is_graph)
                yield named

    async def _told(self, turn: ChatTurn, heard: Heard) -> AsyncIterator[Any]:
        if not isinstance(self._runnable, Runnable):
            async for one in self._runnable(turn):
                yield one
            return
        config = turn.config if self.stores else {**turn.config, "callbacks": [heard.listener]}
        if not self._is_graph:
            given = turn.messages if self._inputs is None else self._inputs(turn)
            async for one in self._runnable.astream(given, config):
                yield one
            return
        given = {"messages": turn.messages} if self._inputs is None else self._inputs(turn)
        async for mode, told in self._runnable.astream(given, config, stream_mode=["messages", "values"]):
            if mode == "values":
                heard.state(told.get("messages") or () if isinstance(told, Mapping) else ())
            elif _is_said(*told):
                yield told[0]


def _is_said(message: BaseMessage, about: Mapping[str, Any]) -> bool:
    """Whether a graph's message is for the user: not what a model says inside a tool or a hook."""
    node = str(about.get("langgraph_node", ""))
    return isinstance(message, ToolMessage) or (node != "tools" and "." not in node)


def _messages(told: Any, listener: Listener) -> Iterator[BaseMessage]:
    """What a chain or a generator streamed, as messages."""
    if isinstance(told, str):
        if told:
            yield AIMessageChunk(content=told)
    elif isinstance(told, AIMessage | ToolMessage):
        yield told
    elif isinstance(told, Document):
        listener.note([told])
    elif isinstance(told, Mapping):
        for name, value in told.items():
            if isinstance(value, list | tuple) and value and all(isinstance(one, Document) for one in value):
                listener.note(value)
            elif name in _SAID:
                yield from _messages(value, listener)


class _Naming:
    """Gives every message an id, the same to the pieces of one.

    A provider names its first piece, or a later one, and LangChain names the others after the run (``lc_run-...``): such
    pieces are of one message, which has the id that came first.
    """

    def __init__(self) -> None:
        self._unnamed: str | None = None
        self._runs: dict[str, str] = {}
        self._first: str | None = None
        """The provider's id that has yet to meet its run's."""
        self._run: str | None = None
        """The run whose pieces come, and whose message the provider has not named."""

    def name(self, message: BaseMessage) -> BaseMessage:
        """The message under its id."""
        piece = isinstance(message, AIMessageChunk)
        if message.id is None:
            self._unnamed = (piece and self._unnamed) or str(new_uuid())
            named = self._unnamed
        else:
            named = self._met(message.id) if piece else message.id
        if not piece or getattr(message, "chunk_position", None) == "last":
            self._unnamed = self._first = self._run = None
        return message if message.id == named else message.model_copy(update={"id": named})

    def _met(self, given: str) -> str:
        if given.startswith(LC_ID_PREFIX):
            known = self._runs.setdefault(given, self._first or given)
            self._first, self._run = None, given if known == given else None
            return known
        if self._run is not None:
            return self._run
        self._first = given
        return given


def _unwrapped(runnable: Any) -> Any:
    """A runnable without what was bound to it."""
    while not hasattr(runnable, "nodes") and not _is_history(runnable) and hasattr(runnable, "bound"):
        runnable = runnable.bound
    return runnable


def has_memory(runnable: Any) -> bool:
    """Whether it reads the window and stores turns itself: an agent with our middleware, a chain with a history.

    Raises:
        InvalidArgument: It stores messages that nobody could name.
    """
    if _is_history(runnable):
        if runnable.input_messages_key:
            raise InvalidArgument("runnable", _KEYED)
        return True
    if any(_is_ours(node) for node in getattr(runnable, "nodes", {}).values()):
        return True
    return any(
        has_memory(_unwrapped(step)) for step in getattr(runnable, "steps", ()) if step is not runnable
    )


def _is_history(runnable: Any) -> bool:
    module = sys.modules.get("langchain_core.runnables.history")  # to import it is to be told of its end
    return module is not None and isinstance(runnable, module.RunnableWithMessageHistory)


def _is_ours(node: Any) -> bool:
    """Whether a graph's node is a hook of the middleware's."""
    hook = getattr(node, "bound", None)
    owners = [getattr(getattr(hook, name, None), "__self__", None) for name in ("func", "afunc")]
    return any(kind.__module__ == "convmemory.middleware" for owner in owners for kind in type(owner).__mro__)
