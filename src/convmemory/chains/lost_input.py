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
from convmemory.errors import InvalidArgument

logger = logging.getLogger("convmemory.chains.lost_input")


class FailedTurns(BaseCallbackHandler):
    """Stores what the user said in turns that failed: awaited, so it is stored before the error reaches the caller."""

    run_inline = True

    @property
    def on_chain_end(self) -> Any:
        """A run ended: in an event loop a turn may be lost with it, such as one whose answer was no message.

        Elsewhere the recorder keeps it at once: LangChain would start a loop for each run that ends.
        """
        return self._ended if in_event_loop() else _nothing

    @property
    def on_llm_end(self) -> Any:
        """A model came to its end, the last of what a closed stream leaves: the turn may be lost with it, as told just before."""
        return self._model_ended if RECORDER.has_unkept and in_event_loop() else _nothing

    on_llm_error = on_llm_end

    async def _model_ended(self, *_: Any, run_id: UUID, **__: Any) -> None:
        await self._keep(run_id)

    async def _ended(self, *told: Any, run_id: UUID, **more: Any) -> None:
        RECORDER.on_chain_end(*told, run_id=run_id, **more)  # may be told after us; twice is fine
        await self._keep(run_id)

    async def on_chain_error(self, *told: Any, run_id: UUID, **more: Any) -> None:
        """A run failed: if a turn was lost with it, keep its input. The history reports what goes wrong."""
        RECORDER.on_chain_error(*told, run_id=run_id, **more)
        await self._keep(run_id)

    async def _keep(self, run_id: UUID) -> None:
        run = RECORDER.take_unkept(run_id)
        if run is None or run.turn is None or run.turn.keeper is None:
            return
        try:
            run.turn.kept = await run.turn.keeper.akeep_input(run.turn, run.inputs)
        except Exception as failure:  # noqa: BLE001 - the caller is to see the turn's error, not this one
            logger.warning("the input of a failed turn was not kept: %s", type(failure).__name__)


def _nothing(*_: Any, **__: Any) -> None:
    """What is told where nobody listens."""


_FAILED_TURNS: Final = FailedTurns()


_failed_turns: ContextVar[BaseCallbackHandler | None] = ContextVar("convmemory_failed", default=_FAILED_TURNS)


@functools.cache
def listen_for_failures() -> None:
    """Attach what keeps the input of failed turns; only where a history asks for it, for it costs every error a task."""
    listen()
    RECORDER.keeps_inputs = True
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
