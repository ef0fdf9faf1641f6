"""What the user said in a turn that failed: found in the input of its chain, and kept."""

from __future__ import annotations

import functools
import logging
from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage

from convmemory.chains.recorder import RECORDER, attach, in_event_loop, listen
from convmemory.chains.turn import KEPT_TURNS
from convmemory.errors import InvalidArgument

logger = logging.getLogger("convmemory.chains.lost_input")


class FailedTurns(BaseCallbackHandler):
    """Stores what the user said in turns that failed: awaited, so it is stored before the error reaches the caller.

    LangChain tells its handlers in an order of its own, so each end is told to the recorder from here as well: twice is
    fine. In an event loop a turn may be lost with any run that ends, also without an error: its answer was no message, or
    its stream was closed, and then the model is the last to hear of it. Elsewhere the recorder keeps it at once.

    Where no turn is to be kept it hears nothing: for a handler that awaits LangChain starts a loop, and in blocking code it
    waits for a thread, at each run that ends.
    """

    run_inline = True
    ignore_retriever = ignore_agent = ignore_retry = ignore_custom_event = True

    @property
    def ignore_chain(self) -> bool:
        """Whether chains need not be told of."""
        return not KEPT_TURNS

    @property
    def ignore_llm(self) -> bool:
        """Whether models need not be told of; their beginnings neither (``ignore_chat_model``)."""
        return not KEPT_TURNS

    ignore_chat_model = ignore_llm

    @property
    def on_chain_end(self) -> Any:
        """A chain came to its end."""
        return self._chain_ended if in_event_loop() else _nothing

    @property
    def on_llm_end(self) -> Any:
        """A model came to its end."""
        return self._model_ended if in_event_loop() else _nothing

    @property
    def on_llm_error(self) -> Any:
        """A model failed, or its stream was closed."""
        return self._model_failed if in_event_loop() else _nothing

    async def _chain_ended(self, *told: Any, run_id: UUID, **more: Any) -> None:
        RECORDER.on_chain_end(*told, run_id=run_id, **more)
        await self._keep(run_id)

    async def _model_ended(self, *told: Any, run_id: UUID, **more: Any) -> None:
        RECORDER.on_llm_end(*told, run_id=run_id, **more)
        await self._keep(run_id)

    async def _model_failed(self, *told: Any, run_id: UUID, **more: Any) -> None:
        RECORDER.on_llm_error(*told, run_id=run_id, **more)
        await self._keep(run_id)

    async def on_chain_error(self, *told: Any, run_id: UUID, **more: Any) -> None:
        """A chain failed, or was cancelled; the history reports what goes wrong."""
        RECORDER.on_chain_error(*told, run_id=run_id, **more)
        await self._keep(run_id)

    async def _keep(self, run_id: UUID) -> None:
        for run in RECORDER.take_unkept(run_id):
            if run.turn is None or run.turn.keeper is None:
                continue
            KEPT_TURNS.discard(run.turn)
            try:
                run.turn.kept = await run.turn.keeper.akeep_input(run.turn, run.inputs)
            except Exception as failure:  # noqa: BLE001 - the caller is to see the turn's error, not this one
                logger.warning("the input of a failed turn was not kept: %s", type(failure).__name__)


def _nothing(*_: Any, **__: Any) -> None:
    """What is told where nobody listens."""


_FAILED_TURNS: Final = FailedTurns()


_failed_turns: ContextVar[BaseCallbackHandler | None] = ContextVar("convmemory_failed", default=_FAILED_TURNS)


@functools.cache
def listen_to_chains() -> None:
    """Attach all that hears of turns, also what keeps the input of failed ones.

    A history may ask for that within a retry or a fall-back that is going on, and then it must have heard of that.
    """
    listen()
    attach(_failed_turns)


def said_in(inputs: Any, input_messages_key: str | None) -> list[BaseMessage]:
    """What the user said, in the input of a chain: found as ``RunnableWithMessageHistory`` finds it.

    Raises:
        InvalidArgument: It is not there; a chain with several inputs needs ``input_messages_key``.
    """
    found = inputs
    if isinstance(inputs, dict):
        only = next(iter(inputs)) if len(inputs) == 1 else "input"
        found = inputs.get(input_messages_key or only)
    if isinstance(found, str):
        return [HumanMessage(found)]
    messages = [found] if isinstance(found, BaseMessage) else found
    if isinstance(messages, (list, tuple)) and len(messages) == 1 and isinstance(messages[0], list):
        messages = messages[0]
    if isinstance(messages, (list, tuple)) and all(isinstance(one, BaseMessage) for one in messages):
        return list(messages)
    raise InvalidArgument(
        "input_messages_key", "must name the key of the chain's input that holds the user's message"
    )
