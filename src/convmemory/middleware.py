"""A conversation's memory for ``langchain.agents.create_agent``: ``pip install 'langchain-convmemory[agents]'``.

agent = create_agent(model, tools, middleware=[ConversationMemoryMiddleware(memory)])
agent.invoke({"messages": [("human", "hi")]}, memory.run_config(conversation_id="vacation", user_id="ada"))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables.config import run_in_executor

from convmemory._async.memory import AsyncConversationMemory
from convmemory._sync.memory import ConversationMemory
from convmemory.agent_turn import AgentTurn
from convmemory.arguments import Size, checked_telemetry, history_size, key_of, optional_id
from convmemory.chains.lost_input import listen_to_chains
from convmemory.chains.recorder import RECORDER, listen
from convmemory.chains.run_config import USER_MISSING, conversation_missing, told_conversation
from convmemory.chains.turn import PARTIAL_KEY, Partial, Run, Told, Turn
from convmemory.drafts import drafts_of
from convmemory.errors import AsyncOnly, ConfigurationError, InvalidArgument, MissingExtra
from convmemory.history import TieredChatMessageHistory
from convmemory.models import Telemetry
from convmemory.recalled_block import Recalls, nothing_recalled, question_in
from convmemory.search_results import Recalled
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


@dataclass(frozen=True, slots=True)
class HalfAnswer:
    """Stores what an agent said and did in a run that ended too early: its steps, and the part of an answer that came."""

    history: TieredChatMessageHistory
    agent_turn: AgentTurn

    def keep_input(self, turn: Turn, inputs: Any) -> list[BaseMessage]:  # noqa: ARG002 - see below
        """Nothing: what ended without an error was interrupted, and goes on."""
        return []

    async def akeep_input(self, turn: Turn, inputs: Any) -> list[BaseMessage]:  # noqa: ARG002 - what was given is stored
        """Store it."""
        pending = self.agent_turn.pending
        if (half := _half_of(turn)) is not None:
            pending[half.id or PARTIAL_KEY] = half
        await self.history.astore_turn(self.agent_turn, Told(drafts_of(list(pending.values()))))
        return []


def _half_of(turn: Turn) -> AIMessage | None:
    """What came of an answer; not of one that came whole, and of which a hook made an error."""
    partial = turn.partial
    text = "".join(partial.pieces) if partial is not None else ""
    if partial is None or not text or (partial.whole and not turn.left):
        return None
    return AIMessage(text, id=partial.message_id, response_metadata={PARTIAL_KEY: True})


class ConversationMemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Gives an agent the recent window of its conversation, and stores every turn.

    The user's message is stored before the model is called, the rest when the agent is done: one read and
    two writes a turn. An error of the memory is the agent's error, but that of a recall, which is logged: then nothing is
    recalled. What a checkpointer keeps is untouched.

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
        telemetry: Store tokens, latency and retrieved documents beside the replies: ``True`` or ``"whole"``; ``"ids"`` keeps of
            documents their ids and scores, ``"excerpt"`` 200 characters as well, ``False`` nothing at all.
        store: ``"turn"`` stores a turn when it is done; ``"step"`` after each step, and a call before its tool runs.
        save_partial: Keep what came of an answer whose reader went away or whose model broke off, marked
            ``response_metadata["partial"]``. No guardrail has seen it.
        recall: Show the model so many messages of the user's past conversations that answer the question, in a marked block before it;
            they are stored nowhere.
        recall_options: Others of ``search.recall``, such as ``rerank``, ``floor`` or ``neighbours``; ``max_tokens`` counts what is shown.

    Raises:
        InvalidArgument: ``memory`` is none, ``mode`` is neither, an id or a size is none of its kind, or ``recall`` has no such option.
        ConfigurationError: ``recall`` is asked for, and the setting ``search`` is off; ``max_tokens`` without a ``token_counter``.
    """

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
        telemetry: Telemetry = True,
        store: Store = "turn",
        save_partial: bool = False,
        recall: int = 0,
        recall_options: Mapping[str, Any] | None = None,
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
        self._named = {"conversation_id": conversation_id, "user_id": optional_id("user_id", user_id)}
        if conversation_id is not None:
            key_of(conversation_id, user_id or "anybody")
        if max_messages is ... and max_turns is None:
            # in turns: one of an agent's may be many messages
            max_turns = memory.settings.max_history_messages
        self._window: dict[str, Any] = {"max_messages": max_messages, "max_turns": max_turns}
        self._window |= {"max_tokens": max_tokens, "token_counter": token_counter}
        # what cannot be used is told here, and not in somebody's turn
        history_size(memory.settings, **self._window)
        self._recalls = Recalls(recall, recall_options or {})
        if self._recalls.most and not memory.settings.search_configurations:
            raise ConfigurationError(
                "recall: needs the setting search (CONVMEMORY_SEARCH), such as 'english'"
            )
        self._saves_partial = save_partial
        self._injects = mode == "window"
        self._telemetry = checked_telemetry(telemetry)
        self._turns: WeakKeyDictionary[Run, AgentTurn] = WeakKeyDictionary()
        if self._stepwise or save_partial:
            # LangChain asks the class, and other agents need not pay for it
            self.__class__ = _around_tools(type(self))
        listen()
        if save_partial:
            listen_to_chains()

    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Read the window; what the user said is stored once the guardrails have seen it."""
        self._turn(self._blocking_history(), state)

    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Read the window; what the user said is stored once the guardrails have seen it."""
        await self._aturn(self._history(), state)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Store what the user said as the hooks left it, then show the model the window before it."""
        turn = self._store(request.state)
        if turn.alone:
            return handler(request)
        if self._is_unasked(turn, request.messages):
            turn.recalled = self._recalled(turn, request.messages, self._found_by(turn, request.messages))
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
        turn = await self._astore(request.state)
        if turn.alone:
            return await handler(request)
        if self._is_unasked(turn, request.messages):
            found = await self._afound_by(turn, request.messages)
            turn.recalled = self._recalled(turn, request.messages, found)
        with self._shown(request, turn) as shown:
            response = await handler(shown)
        turn.answered(response.result)
        return response

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Store what the agent said and did."""
        self._store(state, done=True)

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:  # noqa: ARG002 - LangChain's
        """Store what the agent said and did."""
        await self._astore(state, done=True)

    def _store(self, state: Any, *, done: bool = False) -> AgentTurn:
        """This run's turn, with what is due of it stored; calls of models and tools may come side by side."""
        history = self._blocking_history()
        turn = self._turn(history, state)
        if not turn.alone:
            with turn.lock:
                self._look(history, turn, state, done=done)
                if done or self._is_due(turn):
                    history.store_turn(turn, self._told(turn))
        return turn

    async def _astore(self, state: Any, *, done: bool = False) -> AgentTurn:
        history = self._history()
        turn = await self._aturn(history, state)
        if not turn.alone:
            async with turn.async_lock:
                self._look(history, turn, state, done=done)
                if done or self._is_due(turn):
                    await history.astore_turn(turn, self._told(turn))
        return turn

    def _look(self, history: TieredChatMessageHistory, turn: AgentTurn, state: Any, *, done: bool) -> None:
        turn.look(state["messages"], done=done)
        run = _agent_run()
        if self._saves_partial and run is not None and run.turn is not None:
            run.turn.partial = Partial()  # what was said so far is in the state
            run.turn.keep_with(None if done else HalfAnswer(history, turn))

    def _turn(self, history: TieredChatMessageHistory, state: Any) -> AgentTurn:
        """This run's turn; one that was resumed, or sent here past its beginning, begins it now."""
        run = _agent_run()
        turn = self._found(run, history.conversation)
        return turn or self._noted(run, history.begin_turn(state["messages"], run))

    async def _aturn(self, history: TieredChatMessageHistory, state: Any) -> AgentTurn:
        run = _agent_run()
        turn = self._found(run, history.conversation)
        return turn or self._noted(run, await history.abegin_turn(state["messages"], run))

    def _found(self, run: Run | None, conversation: object) -> AgentTurn | None:
        """The turn of a run; an agent that another one calls on the same conversation is left alone."""
        if run is None:
            return None
        if run not in self._turns and run.turn is None:
            above = [one.turn for one in run.above() if one.turn is not None and one.turn.progress]
            if any(turn.conversation == conversation for turn in above):
                return self._noted(run, AgentTurn(alone=True))
            run.turn = Turn(conversation=conversation)
        return self._turns.get(run)

    def _noted(self, run: Run | None, turn: AgentTurn) -> AgentTurn:
        """The turn of a run from now on; the first of two that began side by side."""
        if run is None:
            return turn
        turn = self._turns.setdefault(run, turn)
        if turn.alone:
            run.turn = None  # it is another agent's
        elif run.turn is not None:
            run.turn.progress = turn
        return turn

    def _is_due(self, turn: AgentTurn) -> bool:
        """Whether something is to be stored before this call of the model."""
        return turn.owes_the_question or bool(turn.changes) or (self._stepwise and bool(turn.pending))

    @contextmanager
    def _shown(self, request: ModelRequest[Any], turn: AgentTurn) -> Iterator[ModelRequest[Any]]:
        """The request with the window in it. What others do to its list of messages they do to the state's, as without us."""
        window = turn.shown(request.messages) if self._injects else []
        block = turn.recalled[1] if turn.recalled is not None else None
        if not window and block is None:
            yield request
            return
        messages = [*window, *request.messages]
        if block is not None:
            at = max(question_in(request.messages)[0], 0)  # another middleware may have taken it away
            messages.insert(len(window) + at, block)
        ours = {id(message) for message in (*window, block)}
        try:
            yield request.override(messages=messages)
        finally:
            left: list[Any] = [message for message in messages if id(message) not in ours]
            if list(map(id, left)) != list(map(id, request.messages)):
                request.messages[:] = left

    def _is_unasked(self, turn: AgentTurn, messages: list[Any]) -> bool:
        """Whether past conversations are still to be asked what the user asks now."""
        at, question = question_in(messages)
        return bool(self._recalls.most and at >= 0) and (
            turn.recalled is None or turn.recalled[0] != question
        )

    def _found_by(self, turn: AgentTurn, messages: list[Any]) -> Recalled:
        wanted = self._wanted(turn, messages)
        try:
            return cast("ConversationMemory", self._memory).search.recall(**wanted)
        except Exception as error:  # noqa: BLE001 - see there
            return nothing_recalled(error)

    async def _afound_by(self, turn: AgentTurn, messages: list[Any]) -> Recalled:
        if isinstance(self._memory, AsyncConversationMemory):
            wanted = self._wanted(turn, messages)
            try:
                return await self._memory.search.recall(**wanted)
            except Exception as error:  # noqa: BLE001 - see there
                return nothing_recalled(error)
        return await run_in_executor(None, self._found_by, turn, messages)

    def _wanted(self, turn: AgentTurn, messages: list[Any]) -> dict[str, Any]:
        return self._recalls.asked(messages, self._given("user_id"), len(turn.window))

    def _recalled(
        self, turn: AgentTurn, messages: list[Any], found: Recalled
    ) -> tuple[str, BaseMessage | None]:
        window = turn.window if self._injects else []
        return question_in(messages)[1], self._recalls.shown(found, [*window, *messages])

    def _told(self, turn: AgentTurn) -> Told:
        return RECORDER.tell(_agent_run(), drafts_of(list(turn.pending.values())), self._telemetry)

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
        value = self._named[name]
        if value is None:
            value = told_conversation(told) if name == "conversation_id" else told.get(name)
        if value is None:
            why = conversation_missing(told) if name == "conversation_id" else USER_MISSING
            raise ConfigurationError(f"{why}, or give {name} to the middleware")
        return value


class AroundTools(ConversationMemoryMiddleware):
    """Goes around the tools as well: a call with effects is on record even if the run dies in it."""

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Store what is due of what the agent has done so far, then call the tool."""
        self._store(request.state)
        around = super().wrap_tool_call
        return handler(request) if _is_langchains(around) else around(request, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Store what is due of what the agent has done so far, then call the tool."""
        await self._astore(request.state)
        around = super().awrap_tool_call
        return await (handler(request) if _is_langchains(around) else around(request, handler))


def _around_tools(kind: type[ConversationMemoryMiddleware]) -> type[ConversationMemoryMiddleware]:
    """The class that goes around tools before ``kind`` does, under the same name, which is a node's in the agent's graph."""
    if issubclass(kind, AroundTools):
        return kind
    return cast(
        "type[ConversationMemoryMiddleware]",
        type(kind.__name__, (AroundTools, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__}),
    )


def _is_langchains(method: Any) -> bool:
    """Whether a hook is the one that LangChain's own class has for those who have none."""
    return method.__func__ in (AgentMiddleware.wrap_tool_call, AgentMiddleware.awrap_tool_call)


def _agent_run() -> Run | None:
    """The agent's own run, above the step that is going on."""
    step = RECORDER.find(getattr(get_config().get("callbacks"), "parent_run_id", None))
    return None if step is None else step.parent
