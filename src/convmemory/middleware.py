"""A conversation's memory for ``langchain.agents.create_agent``: ``pip install 'langchain-convmemory[agents]'``.

agent = create_agent(model, tools, middleware=[ConversationMemoryMiddleware(memory)])
agent.invoke({"messages": [("human", "hi")]}, memory.run_config(conversation_id="vacation", user_id="ada"))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self
from weakref import WeakKeyDictionary

from langchain_core.messages import AIMessage, BaseMessage

from convmemory._async.memory import AsyncConversationMemory
from convmemory._sync.memory import ConversationMemory
from convmemory.agent_turn import AgentTurn
from convmemory.arguments import Size
from convmemory.chains.lost_input import listen_for_failures
from convmemory.chains.recorder import RECORDER, listen
from convmemory.chains.run_config import conversation_missing, told_conversation
from convmemory.chains.turn import Partial, Run, Turn
from convmemory.drafts import drafts_of
from convmemory.errors import AsyncOnly, ConfigurationError, InvalidArgument, MissingExtra
from convmemory.history import TieredChatMessageHistory
from convmemory.models import Draft
from convmemory.windows.window_size import TokenCounter

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState
    from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
    from langgraph.config import get_config
    from langgraph.runtime import Runtime
except ImportError as error:
    raise MissingExtra("convmemory.middleware", "agents") from error

__all__ = ["ConversationMemoryMiddleware"]

Mode = Literal["window", "log-only"]
Store = Literal["turn", "step"]
PARTIAL_KEY = "partial"
"""In ``response_metadata`` of an answer that was broken off."""
_NO_USER = "user_id: the run does not say; run the agent with config=memory.run_config(conversation_id=..., user_id=...)"


@dataclass(frozen=True, slots=True)
class HalfAnswer:
    """Stores what an agent said and did in a run that ended too early: its steps, and the part of an answer that came."""

    history: TieredChatMessageHistory
    agent_turn: AgentTurn
    turn: Turn

    def keep_input(self, inputs: Any) -> list[BaseMessage]:  # noqa: ARG002 - see below
        """Nothing: what ended without an error was interrupted, and goes on."""
        return []

    async def akeep_input(self, inputs: Any) -> list[BaseMessage]:  # noqa: ARG002 - what was given is stored
        """Store it."""
        if said := self._said():
            await self.history.aadd_messages(said)
        return []

    def _said(self) -> list[BaseMessage]:
        partial = self.turn.partial
        text = "".join(partial.pieces) if partial is not None else ""
        if partial is None or not text:
            return []
        half = AIMessage(text, id=partial.message_id, response_metadata={PARTIAL_KEY: True})
        return [*self.agent_turn.pending.values(), half]


class ConversationMemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Gives an agent the recent window of its conversation, and stores every turn.

    The user's message is stored before the model is called, the rest when the agent is done: one read and
    two writes a turn. An error of the memory is the agent's error. What a checkpointer keeps is untouched.

    Args:
        memory: A ``ConversationMemory``, or an ``AsyncConversationMemory`` for ``ainvoke`` and ``astream`` only.
        conversation_id: Fixed for this agent; by default each run's config names it, see ``memory.run_config``, or
            else its ``thread_id`` does.
        user_id: Whose conversation it is; by default each run's config says.
        max_messages: The size of the window in messages; by default it is counted in turns.
        max_turns: The size of the window in turns (default: the number of the setting ``max_history_messages``, 6), all
            of them within ``hard_max_messages``.
        max_tokens: The size of the window in tokens, in whole turns, as ``token_counter`` counts them.
        mode: ``"window"`` shows the model the window; ``"log-only"`` only stores, for an agent whose
            checkpointer has the conversation already.
        telemetry: Store tokens, latency and retrieved documents beside the replies.
        store: ``"turn"`` stores a turn when it is done; ``"step"`` after each step, and a call before its tool runs.
        save_partial: Keep what came of an answer whose reader went away or whose model broke off, marked
            ``response_metadata["partial"]``. No guardrail has seen it.

    Raises:
        InvalidArgument: ``memory`` is none, or ``mode`` is neither.
    """

    def __new__(cls, *_: Any, store: Store = "turn", **__: Any) -> Self:
        """The middleware; one that stores each step also goes around the tools, which others need not pay for."""
        chosen: Any = StepwiseMiddleware if cls is ConversationMemoryMiddleware and store == "step" else cls
        made: Self = super().__new__(chosen)
        return made

    def __init__(
        self,
        memory: ConversationMemory | AsyncConversationMemory,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        max_messages: Size = ...,
        max_turns: int | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        mode: Mode = "window",
        telemetry: bool = True,
        store: Store = "turn",
        save_partial: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(memory, ConversationMemory | AsyncConversationMemory):
            wanted = "must be a ConversationMemory or an AsyncConversationMemory, as from_url(...) makes them"
            raise InvalidArgument("memory", f"{wanted}, not of type {type(memory).__name__}")
        if mode not in ("window", "log-only"):
            raise InvalidArgument("mode", f"must be 'window' or 'log-only', not {mode!r:.40}")
        if store not in ("turn", "step"):
            raise InvalidArgument("store", f"must be 'turn' or 'step', not {store!r:.40}")
        self._memory = memory
        self._stepwise = store == "step"
        self._named = {"conversation_id": conversation_id, "user_id": user_id}
        if max_messages is ... and max_turns is None:
            max_turns = (
                memory.settings.max_history_messages
            )  # in turns: one of an agent's may be many messages
        self._window: dict[str, Any] = {"max_messages": max_messages, "max_turns": max_turns}
        self._window |= {"max_tokens": max_tokens, "token_counter": token_counter}
        self._saves_partial = save_partial
        self._injects = mode == "window"
        self._telemetry = telemetry
        self._turns: WeakKeyDictionary[Run, AgentTurn] = WeakKeyDictionary()
        listen()
        if save_partial:
            listen_for_failures()
        RECORDER.keeps_inputs = True  # what a run was given is new, and what a checkpointer brought is not

    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Read the window; what the user said is stored once the guardrails have seen it."""
        self._turn(state)

    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Read the window; what the user said is stored once the guardrails have seen it."""
        await self._aturn(state)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Store what the user said as the hooks left it, then show the model the window before it."""
        turn = self._turn(request.state)
        if turn.alone:
            return handler(request)
        self._look(turn, request.state)
        if self._is_due(turn):
            self._blocking_history().store_turn(turn, self._drafts(turn))
        with self._shown(request, turn) as shown:
            response = handler(shown)
        turn.answered(response.result)
        return response

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Store what the user said as the hooks left it, then show the model the window before it."""
        turn = await self._aturn(request.state)
        if turn.alone:
            return await handler(request)
        self._look(turn, request.state)
        if self._is_due(turn):
            await self._history().astore_turn(turn, self._drafts(turn))
        with self._shown(request, turn) as shown:
            response = await handler(shown)
        turn.answered(response.result)
        return response

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Store what the agent said and did."""
        turn = self._turn(state)
        if not turn.alone:
            self._look(turn, state, done=True)
            self._blocking_history().store_turn(turn, self._drafts(turn))

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Store what the agent said and did."""
        turn = await self._aturn(state)
        if not turn.alone:
            self._look(turn, state, done=True)
            await self._history().astore_turn(turn, self._drafts(turn))

    def _look(self, turn: AgentTurn, state: Any, *, done: bool = False) -> None:
        turn.look(state["messages"])
        run = _agent_run()
        if self._saves_partial and run is not None and run.turn is not None:
            run.turn.partial = Partial()  # what was said so far is in the state
            run.turn.keeper = None if done else HalfAnswer(self._history(), turn, run.turn)

    def _turn(self, state: Any) -> AgentTurn:
        """This run's turn; one that was resumed, or sent here past its beginning, begins it now."""
        history, run = self._blocking_history(), _agent_run()
        turn = self._found(run, (history.user_id, history.conversation_id))
        return turn or self._noted(run, history.begin_turn(state["messages"], run))

    async def _aturn(self, state: Any) -> AgentTurn:
        history, run = self._history(), _agent_run()
        turn = self._found(run, (history.user_id, history.conversation_id))
        return turn or self._noted(run, await history.abegin_turn(state["messages"], run))

    def _found(self, run: Run | None, conversation: object) -> AgentTurn | None:
        """The turn of a run; an agent that another one calls on the same conversation is left alone."""
        if run is None:
            return None
        if run not in self._turns and run.turn is None:
            if any(
                above.turn is not None and above.turn.conversation == conversation for above in run.above()
            ):
                return self._noted(run, AgentTurn(alone=True))
            run.turn = Turn(conversation=conversation)
        return self._turns.get(run)

    def _noted(self, run: Run | None, turn: AgentTurn) -> AgentTurn:
        if run is not None:
            self._turns[run] = turn
        return turn

    def _is_due(self, turn: AgentTurn) -> bool:
        """Whether something is to be stored before this call of the model."""
        return turn.owes_the_question or bool(turn.changes) or (self._stepwise and bool(turn.pending))

    @contextmanager
    def _shown(self, request: ModelRequest[Any], turn: AgentTurn) -> Iterator[ModelRequest[Any]]:
        """The request with the window in it. What others do to its list of messages they do to the state's, as without us."""
        window = turn.shown(request.messages) if self._injects else []
        if not window:
            yield request
            return
        messages = [*window, *request.messages]
        ours = {id(message) for message in window}
        try:
            yield request.override(messages=messages)
        finally:
            left: list[Any] = [message for message in messages if id(message) not in ours]
            if list(map(id, left)) != list(map(id, request.messages)):
                request.messages[:] = left

    def _drafts(self, turn: AgentTurn) -> list[Draft]:
        drafts = drafts_of(list(turn.pending.values()))
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
            self._given("conversation_id"), user_id=self._given("user_id"), **self._window
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


class StepwiseMiddleware(ConversationMemoryMiddleware):
    """Stores the calls of a step before a tool is called: what has effects is on record even if the run dies in it."""

    @property
    def name(self) -> str:
        """The name of the middleware in the agent's graph."""
        return ConversationMemoryMiddleware.__name__

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Store what the agent has done so far, then call the tool."""
        turn = self._turn(request.state)
        with turn.lock:  # calls of one step run side by side
            turn.look(request.state["messages"])
            if turn.pending and not turn.alone:
                self._blocking_history().store_turn(turn, self._drafts(turn))
        return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Store what the agent has done so far, then call the tool."""
        turn = await self._aturn(request.state)
        async with turn.async_lock:
            turn.look(request.state["messages"])
            if turn.pending and not turn.alone:
                await self._history().astore_turn(turn, self._drafts(turn))
        return await handler(request)


def _agent_run() -> Run | None:
    """The agent's own run, above the step that is going on."""
    step = RECORDER.find(getattr(get_config().get("callbacks"), "parent_run_id", None))
    return None if step is None else step.parent
