"""A conversation's memory for ``langchain.agents.create_agent``: ``pip install 'langchain-convmemory[agents]'``.

agent = create_agent(model, tools, middleware=[ConversationMemoryMiddleware(memory)])
agent.invoke({"messages": [("human", "hi")]}, memory.run_config(conversation_id="vacation", user_id="ada"))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.messages import BaseMessage, RemoveMessage

from convmemory._async.memory import AsyncConversationMemory
from convmemory._sync.memory import ConversationMemory
from convmemory.chains.recorder import RECORDER, listen
from convmemory.chains.run_config import conversation_missing, told_conversation
from convmemory.chains.turn import Run, Turn
from convmemory.drafts import drafts_of
from convmemory.errors import AsyncOnly, ConfigurationError, InvalidArgument, MissingExtra
from convmemory.history import TieredChatMessageHistory
from convmemory.models import Draft
from convmemory.windows.tool_pairing import for_prompt

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ExtendedModelResponse
    from langchain.agents.middleware.types import ModelRequest, ModelResponse, PrivateStateAttr
    from langgraph.channels.untracked_value import UntrackedValue
    from langgraph.config import get_config
    from langgraph.runtime import Runtime
    from langgraph.types import Command
except ImportError as error:
    raise MissingExtra("convmemory.middleware", "agents") from error

__all__ = ["ConversationMemoryMiddleware"]

Mode = Literal["window", "log-only"]
_CHANNEL = "convmemory_turn"
_NO_USER = "user_id: the run does not say; run the agent with config=memory.run_config(conversation_id=..., user_id=...)"


@dataclass(slots=True)
class AgentTurn:
    """What is known of one run of an agent: lives as long as the run, and in no checkpoint.

    ``window`` is what the model is shown of earlier turns; ``stored`` are the ids known to be in the memory;
    ``unstored`` the messages met since, by id, in the order they were met.
    """

    window: list[BaseMessage]
    stored: set[str]
    unstored: dict[str, BaseMessage]

    @classmethod
    def begun(cls, window: Sequence[BaseMessage], messages: Sequence[BaseMessage]) -> AgentTurn:
        """The turn of an agent whose state holds ``messages``: new is what follows the newest one that is stored."""
        stored = {message.id for message in window if message.id}
        known = max((at + 1 for at, message in enumerate(messages) if message.id in stored), default=0)
        stored |= {message.id for message in messages[:known] if message.id}
        turn = cls(list(window), stored, {})
        turn.meet(messages)
        return turn

    def meet(self, messages: Sequence[BaseMessage]) -> None:
        """Note what is to be stored: all that was said, before a summary takes its place in the agent's state."""
        for message in messages:
            if message.id and message.id not in self.stored and _was_said(message):
                self.unstored[message.id] = message

    def shown(self, messages: Sequence[BaseMessage]) -> list[Any]:
        """The prompt: what the window has and the agent's own state has not, then the state."""
        own = {message.id for message in messages if message.id}
        return [*for_prompt([m for m in self.window if m.id not in own]), *messages]

    def settle(self) -> None:
        """All that was met is stored now."""
        self.stored.update(self.unstored)
        self.unstored = {}


class MemoryState(AgentState[Any]):
    """The agent's state with this run's turn in it, which no checkpoint, input or output has."""

    convmemory_turn: NotRequired[Annotated[AgentTurn, UntrackedValue, PrivateStateAttr]]


class ConversationMemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Gives an agent the recent window of its conversation, and stores every turn.

    The user's message is stored before the model is called, the rest when the agent is done: one read and
    two writes a turn. An error of the memory is the agent's error. What a checkpointer keeps is untouched.

    Args:
        memory: A ``ConversationMemory``, or an ``AsyncConversationMemory`` for ``ainvoke`` and ``astream`` only.
        conversation_id: Fixed for this agent; by default each run's config names it, see ``memory.run_config``, or
            else its ``thread_id`` does.
        user_id: Whose conversation it is; by default each run's config says.
        max_messages: The size of the window, as ``memory.history`` takes it.
        mode: ``"window"`` shows the model the window; ``"log-only"`` only stores, for an agent whose
            checkpointer has the conversation already.
        telemetry: Store tokens, latency and retrieved documents beside the replies.

    Raises:
        InvalidArgument: ``memory`` is none, or ``mode`` is neither.
    """

    state_schema = MemoryState

    def __init__(
        self,
        memory: ConversationMemory | AsyncConversationMemory,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        max_messages: int | EllipsisType | None = ...,
        mode: Mode = "window",
        telemetry: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(memory, ConversationMemory | AsyncConversationMemory):
            wanted = "must be a ConversationMemory or an AsyncConversationMemory, as from_url(...) makes them"
            raise InvalidArgument("memory", f"{wanted}, not of type {type(memory).__name__}")
        if mode not in ("window", "log-only"):
            raise InvalidArgument("mode", f"must be 'window' or 'log-only', not {mode!r:.40}")
        self._memory = memory
        self._named = {"conversation_id": conversation_id, "user_id": user_id}
        self._max_messages = max_messages
        self._injects = mode == "window"
        self._telemetry = telemetry
        listen()

    def before_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:  # noqa: ARG002 - LangChain's
        """Read the window, then store what the user said."""
        history = self._blocking_history()
        turn = AgentTurn.begun(history.window(), state["messages"])
        _open_turn()
        history.add_messages(list(turn.unstored.values()))
        turn.settle()
        return {_CHANNEL: turn}

    async def abefore_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:  # noqa: ARG002 - LangChain's
        """Read the window, then store what the user said."""
        history = self._history()
        turn = AgentTurn.begun(await history.awindow(), state["messages"])
        _open_turn()
        await history.aadd_messages(list(turn.unstored.values()))
        turn.settle()
        return {_CHANNEL: turn}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Show the model the window; a run that was resumed reads it anew."""
        turn = _turn_in(request.state)
        if turn is not None:
            return handler(self._shown(request, turn))
        turn = AgentTurn.begun(self._blocking_history().window(), request.state["messages"])
        return _resumed(handler(self._shown(request, turn)), turn)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Show the model the window; a run that was resumed reads it anew."""
        turn = _turn_in(request.state)
        if turn is not None:
            return await handler(self._shown(request, turn))
        turn = AgentTurn.begun(await self._history().awindow(), request.state["messages"])
        return _resumed(await handler(self._shown(request, turn)), turn)

    def after_agent(self, state: MemoryState, runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Store what the agent said and did."""
        history = self._blocking_history()
        turn = _turn_in(state) or AgentTurn.begun(history.window(), state["messages"])
        history.add_messages(self._drafts(turn, state))

    async def aafter_agent(self, state: MemoryState, runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Store what the agent said and did."""
        history = self._history()
        turn = _turn_in(state) or AgentTurn.begun(await history.awindow(), state["messages"])
        await history.aadd_messages(self._drafts(turn, state))

    def _shown(self, request: ModelRequest[Any], turn: AgentTurn) -> ModelRequest[Any]:
        turn.meet(request.state["messages"])  # the state, not the prompt that others may have cut already
        return request.override(messages=turn.shown(request.messages)) if self._injects else request

    def _drafts(self, turn: AgentTurn, state: MemoryState) -> list[Draft]:
        turn.meet(state["messages"])
        drafts = drafts_of(list(turn.unstored.values()))
        return RECORDER.tell(_agent_run(), drafts) if self._telemetry else drafts

    def _blocking_history(self) -> TieredChatMessageHistory:
        if isinstance(self._memory, AsyncConversationMemory):
            raise AsyncOnly(
                "this middleware has an AsyncConversationMemory: run the agent with ainvoke or astream, "
                "or give the middleware a ConversationMemory"
            )
        return self._history()

    def _history(self) -> TieredChatMessageHistory:
        return self._memory.history(
            self._given("conversation_id"), user_id=self._given("user_id"), max_messages=self._max_messages
        )

    def _given(self, name: str) -> Any:
        """What the middleware was made with, or else what the run's config says."""
        told = get_config().get("configurable") or {}
        value = self._named[name] or (
            told_conversation(told) if name == "conversation_id" else told.get(name)
        )
        if value is None:
            why = conversation_missing(told) if name == "conversation_id" else _NO_USER
            raise ConfigurationError(f"{why}, or give {name} to the middleware")
        return value


def _was_said(message: BaseMessage) -> bool:
    """Whether somebody said this: not a summary that ``SummarizationMiddleware`` wrote, nor an order to delete."""
    return (
        not isinstance(message, RemoveMessage)
        and message.additional_kwargs.get("lc_source") != "summarization"
    )


def _turn_in(state: Any) -> AgentTurn | None:
    turn: AgentTurn | None = state.get(_CHANNEL)
    return turn


def _resumed(response: ModelResponse[Any], turn: AgentTurn) -> ExtendedModelResponse[Any]:
    """A run that goes on after an interrupt has no turn yet: from here on it has."""
    return ExtendedModelResponse(response, Command(update={_CHANNEL: turn}))


def _agent_run() -> Run | None:
    """The agent's own run, above the step that is going on."""
    step = RECORDER.find(getattr(get_config().get("callbacks"), "parent_run_id", None))
    return None if step is None else step.parent


def _open_turn() -> None:
    """What happens in this run belongs to its turn: a chain that runs several agents does not mix them."""
    run = _agent_run()
    if run is not None:
        run.turn = run.turn or Turn()
