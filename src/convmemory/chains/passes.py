"""The steps of ``RunnableWithMessageHistory``, known by the names it gives them: when a turn begins, and when it is to be stored."""

from __future__ import annotations

from typing import Final

from langchain_core.runnables.config import var_child_runnable_config

from convmemory.chains.turn import Run, Turn

READING: Final = "load_history"
"""Its step that reads; what it is given may answer the calls of the turn before."""

STORING: Final = "check_sync_or_async"
"""Its step in which its chain runs, and at whose end it stores."""

_INSERTING: Final = "insert_history"
"""What is around the step that reads where the prompt has a place for the history."""

_FIRST_STEPS: Final = frozenset({_INSERTING, READING})


def whole_pass(step: Run) -> Run | None:
    """The run of ``RunnableWithMessageHistory`` itself, above one of its steps."""
    above = step.parent
    if above is not None and above.parent is not None and above.parent.name == _INSERTING:
        return above.parent.parent  # insert_history > RunnableParallel > load_history
    return above


def begin_turn(step: Run) -> None:
    """Note the turn with its first step: from here on what was said in it is to be kept, where its history asks for that.

    The config tells the history, if it is the one in which this step was called; a batch has it one step further in.
    """
    around = step.parent
    if around is None:
        return
    first = around if around.name == _INSERTING else step
    if first.name not in _FIRST_STEPS:
        return
    whole = whole_pass(first)
    if whole is None or whole.turn is not None:
        return
    config = var_child_runnable_config.get() or {}
    keeper = getattr((config.get("configurable") or {}).get("message_history"), "keeper", None)
    running = getattr(config.get("callbacks"), "parent_run_id", None)
    if keeper is not None and running is not None and running.int == around.number:
        whole.turn = Turn()
        whole.turn.keep_with(keeper)
        whole.turn.conversation = getattr(keeper, "conversation", None)


def begin_to_store(run: Run | None) -> None:
    """Note that the chain of a turn is done: who stores it is told next, shielded from any cancellation."""
    if run is None or run.parent is None or run.parent.name != STORING:
        return
    whole = whole_pass(run.parent)
    if whole is not None and whole.turn is not None:
        whole.turn.leaving = True
