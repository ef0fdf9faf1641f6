"""Which turn of ``RunnableWithMessageHistory`` is calling a history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langchain_core.runnables.config import var_child_runnable_config

from convmemory.chains.passes import READING, STORING, whole_pass
from convmemory.chains.recorder import RECORDER, listen
from convmemory.chains.turn import Run, Turn


@dataclass(frozen=True, slots=True)
class Step:
    """One pass of ``RunnableWithMessageHistory`` at one of its two steps: ``entering`` reads, leaving reads and writes.

    ``inputs`` is what the chain was given, where it is entering.
    """

    run: Run
    turn: Turn
    entering: bool
    inputs: Any = None


def step_of(history: object) -> Step | None:
    """The step of the chain that is calling ``history`` now; ``None`` when somebody else uses it.

    ``RunnableWithMessageHistory`` names the object in the running config, and calls it only from its own two
    steps: code inside the chain that uses the same object wants to see what is there now.
    """
    config = var_child_runnable_config.get()
    if config is None or (config.get("configurable") or {}).get("message_history") is not history:
        return _late_step(history)
    listen()
    run = RECORDER.find(getattr(config.get("callbacks"), "parent_run_id", None))
    if run is None or run.name not in (READING, STORING):
        return None
    whole = whole_pass(run)
    if whole is None:
        return None
    whole.turn = whole.turn or Turn()
    if run.name == READING:
        whole.turn.keep_with(getattr(history, "keeper", None))  # before it is read, which may be cancelled
        whole.turn.conversation = getattr(history, "conversation", None)
    return Step(whole, whole.turn, run.name == READING, run.inputs)


def _late_step(history: object) -> Step | None:
    """The exit of a stream that was closed midway: it runs wherever the stream was closed, without its config."""
    run = RECORDER.closed_early()
    if run is None or run.turn is None or run.turn.history is not history or run.turn.stored:
        return None
    return Step(run, run.turn, entering=False)
