"""What LangChain's runs tell while they go: which turn a call belongs to, and what the turn cost.

One recorder listens to every run of the process once a chat history or a middleware is made. It keeps a run
while it is open and a few hundred bytes with it; what it learnt is handed to whoever stores the turn.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final, ParamSpec
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.outputs import LLMResult

from convmemory.chains.answer_matching import Answer, Event, Retrieval, answer_of, with_telemetry
from convmemory.chains.passes import begin_to_store, begin_turn
from convmemory.chains.turn import KEPT_TURNS, Partial, Run, Told, each_once
from convmemory.models import Draft, Telemetry

logger = logging.getLogger("convmemory.chains.recorder")
P = ParamSpec("P")

MOST_RUNS: Final = 10_000
"""Runs that are open at once; past it the oldest is let go of: one that nobody ended, as of a stream left lying."""


def _quietly(method: Callable[P, None]) -> Callable[P, None]:
    """Telemetry never costs a turn: a failure is one log line, without the text that caused it."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the turn goes on
            logger.warning("%s: %s; the turn goes on without it", method.__name__, type(error).__name__)

    return guarded


class RunRecorder(BaseCallbackHandler):
    """Keeps the tree of open runs, and in each the answers and documents that its turn will want.

    What happened in a run becomes its parent's when it ends, but never leaves a turn: two turns under one
    root, such as a batch, do not mix. Safe from any thread.
    """

    run_inline = True  # under asyncio too: in order, and before the listeners that store the turn

    def __init__(self) -> None:
        self._runs: dict[int, Run] = {}
        self._unkept: dict[int, tuple[Run, ...]] = {}
        self._forgotten: deque[int] = deque()
        self._here = threading.local()
        self._orders = itertools.count()
        self._lock = threading.Lock()

    @property
    def open_runs(self) -> int:
        """How many runs are kept right now: 0 when nothing is going on."""
        self._sweep()
        return len(self._runs) + len(self._unkept)

    def find(self, run_id: UUID | None) -> Run | None:
        """The run of this id while it is open."""
        return None if run_id is None else self._runs.get(run_id.int)

    def closed_early(self) -> Run | None:
        """The turn that ended last in this thread while something still goes on in it: a stream its reader is closing."""
        run: Run | None = getattr(self._here, "closed_early", None)
        return run if run is not None and self._runs.get(run.number) is run else None

    def take_unkept(self, run_id: UUID) -> Sequence[Run]:
        """The turns that failed with this run and whose input is to be kept; once."""
        return self._unkept.pop(run_id.int, ())

    def tell(self, run: Run | None, drafts: list[Draft], telemetry: Telemetry = "whole") -> Told:
        """Give messages about to be stored what happened in their turn, ``run``; as they are where that fails, or nothing is to be kept.

        What answers have been told is told once, when they are stored: an agent may store its turn in parts.
        """
        try:
            if (
                run is None
                or telemetry is False
                or not any(isinstance(draft.message, AIMessage) for draft in drafts)
            ):
                return Told(drafts)
            events = [event for event in self.heard(run) if event.order > run.told]
            upto = max((event.order for event in events), default=run.told)
            return Told(with_telemetry(drafts, events, telemetry), run, upto)
        except Exception as error:  # noqa: BLE001 - whatever it is, the turn is stored
            logger.warning("a turn is stored without its telemetry: %s", type(error).__name__)
            return Told(drafts)

    def heard(self, run: Run) -> list[Event]:
        """What happened in the turn that is ``run``, in order; and what was retrieved for it before it began."""
        with self._lock:
            events = list(_inside(run))
            for above in run.above():
                events += above.retrieved_for(run)
        return sorted(events, key=lambda event: event.order)

    @_quietly
    def on_chain_start(
        self, *told: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        """A chain, a graph, or a step of one begins; ``told`` is how it would be rebuilt, and its input."""
        name, tags = more.get("name"), more.get("tags")
        begin_turn(self._begin("chain", run_id, parent_run_id, name=name, inputs=told[-1], tags=tags))

    @_quietly
    def on_chain_end(self, *_: Any, run_id: UUID, **more: Any) -> None:
        """It came to its end; a streamed one says only now what its input was."""
        run = self._runs.get(run_id.int)
        if run is None:
            return
        begin_to_store(run)
        done = not run.children  # a stream that is closed ends from the outside in
        lost = self._end(run, more.get("inputs"))
        self._keep(run, lost)
        turn = run.turn
        if done and turn is not None and turn.history is not None and not turn.stored:
            turn.history.tell_unstored(turn.refused)

    @_quietly
    def on_chain_error(self, error: BaseException, *_: Any, run_id: UUID, **more: Any) -> None:
        """It failed, or was cancelled; a turn whose input is to be kept waits for ``FailedTurns``."""
        run = self._runs.get(run_id.int)
        if run is None:
            return
        cancelled = isinstance(error, asyncio.CancelledError)
        self._abandon(run, whole=cancelled)
        turn = run.turn
        if turn is not None:
            turn.break_off(error)
        lost = self._end(run, more.get("inputs"))
        failed = each_once(run.deferred, lost, run if turn is not None and turn.progress else None)
        if failed and not run.put_off(failed, cancelled=cancelled):
            self._leave(failed, run)

    def _keep(self, ended: Run, lost: Run | None) -> None:
        """Keep what was said in turns that were lost as a run ended, without an error of its own."""
        if lost is None and not ended.deferred:
            return
        over = each_once(ended.deferred, lost)
        if in_event_loop():  # only FailedTurns can wait there
            self._leave(over, ended)
        else:
            for one in over:
                _keep_at_once(one)

    def _leave(self, over: Sequence[Run], ended: Run) -> None:
        if lost := tuple(one for one in over if one.is_lost):
            with self._lock:
                _put(self._unkept, ended.number, lost)

    @_quietly
    def on_tool_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **__: Any) -> None:
        """A tool is called: what it retrieves is part of the turn."""
        self._begin("tool", run_id, parent_run_id)

    @_quietly
    def on_retriever_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **__: Any) -> None:
        """A retriever is asked."""
        self._begin("retriever", run_id, parent_run_id)

    @_quietly
    def on_chat_model_start(
        self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        """A chat model is called."""
        self._begin("model", run_id, parent_run_id, model=(more.get("metadata") or {}).get("ls_model_name"))

    @_quietly
    def on_llm_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any) -> None:
        """A plain language model is called."""
        self._begin("model", run_id, parent_run_id, model=(more.get("metadata") or {}).get("ls_model_name"))

    @_quietly
    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **__: Any) -> None:
        """A piece of a streamed answer came; the first one's time matters, and its words to who keeps half an answer."""
        run = self.find(run_id)
        if run is None:
            return
        if run.first_token is None:
            run.first_token = time.perf_counter()
        partial = _partial_of(run)
        if partial is not None:
            message = getattr(chunk, "message", None)
            text = token if isinstance(token, str) else getattr(chunk, "text", "")
            partial.hear(run_id, getattr(message, "id", None), text)

    @_quietly
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **__: Any) -> None:
        """A model answered; the time a streamed answer takes includes the time its reader takes."""
        run = self._runs.get(run_id.int)
        if run is None:
            return
        begin_to_store(run)
        try:
            run.add([_answer(run, response)])
            partial = _partial_of(run)
            if partial is not None and partial.run_id == run_id:
                partial.whole = True
        finally:
            self._keep(run, self._end(run))

    @_quietly
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **__: Any) -> None:
        """A retriever returned; of those inside another (an ensemble's, a reranker's) only the outer one counts."""
        run = self._runs.get(run_id.int)
        if run is None:
            return
        if documents and all(above.kind != "retriever" for above in run.above()):
            run.add([Retrieval(next(self._orders), documents)])
        self._end(run)

    @_quietly
    def on_tool_end(self, *_: Any, run_id: UUID, **__: Any) -> None:
        """A tool is done, or something failed that is not a chain."""
        run = self._runs.get(run_id.int)
        if run is not None:
            self._keep(run, self._end(run))

    on_tool_error = on_retriever_error = on_llm_error = on_tool_end

    def _begin(
        self, kind: str, run_id: UUID, parent_run_id: UUID | None, *, name: str | None = None, **known: Any
    ) -> Run:
        if self._forgotten:
            self._sweep()
        number = run_id.int
        # looks at LangChain's own id, which whoever can still end the run holds
        held = weakref.ref(run_id, lambda _: self._forgotten.append(number))
        with self._lock:
            parent = None if parent_run_id is None else self._runs.get(parent_run_id.int)
            run = Run(number, kind, name, parent, next(self._orders), held=held, **known)
            if parent is not None:
                parent.children[number] = run
                if parent.first_inputs is None:
                    parent.first_inputs = run.inputs
            _put(self._runs, number, run)
        return run

    def _sweep(self) -> None:
        """Let go of runs that nobody will end: LangChain has forgotten their ids, as where one is cancelled while it is told to begin."""
        while True:
            try:
                run = self._runs.get(self._forgotten.popleft())
            except IndexError:
                return
            if run is not None:
                self._abandon(run, whole=True)
                for one in each_once(run.deferred, self._end(run)):
                    _keep_at_once(one)

    def _abandon(self, run: Run, *, whole: bool) -> None:
        """Close what a failed run had called and nobody will end: LangChain says nothing of a cancelled model or tool.

        Of a cancelled run that is the ``whole``: what it awaited has been cancelled before, perhaps while it was told to begin.
        """
        for child in list(run.children.values()):
            if whole:
                self._abandon(child, whole=True)
            if whole or child.kind != "chain":
                self._end(child)
                run.inherit(child)

    def _end(self, run: Run, inputs: Any = None) -> Run | None:
        """End a run; the turn that is over with it and was not stored, if its input is to be kept."""
        with self._lock:
            if self._runs.get(run.number) is not run:  # another thread was faster
                return None
            run.ended = True
            run.inputs = run.inputs if inputs is None else inputs
            if run.turn is not None:
                self._here.closed_early = run if run.children else None
            return self._close(run)

    def _close(self, run: Run | None) -> Run | None:
        """Let go of a run that ended, with all that is in it, and of those above that only waited for it.

        A stream that is closed early ends its outer runs first: whether its turn is stored is known only when
        the innermost has ended.
        """
        lost = None
        while run is not None and run.ended and not run.children:
            self._runs.pop(run.number, None)  # it may have been let go of while it waited
            parent = run.parent
            if parent is not None:
                del parent.children[run.number]
            if run.turn is None:
                if run.events and parent is not None:
                    parent.add(run.left())
            else:
                if run.is_lost:
                    lost = run
                else:
                    KEPT_TURNS.discard(run.turn)
                self._settle(run)
                if run.turn.stored:
                    run.end_tries()
            run = parent
        return lost

    def _settle(self, turn: Run) -> None:
        """A turn is over: what had been retrieved for it, before it began, stays where that was done."""
        now = next(self._orders)
        for above in turn.above():
            above.settle(now)


def _answer(run: Run, response: LLMResult) -> Answer:
    """What a model's run, which ends now, came to."""
    taken = _milliseconds(time.perf_counter() - run.began)
    first = None if run.first_token is None else _milliseconds(run.first_token - run.began)
    return answer_of(response, run.order, latency_ms=taken, first_token_ms=first, model=run.model)


def _put(runs: dict[int, Any], number: int, run: object) -> None:
    """Keep a run, and let go of the oldest where they become too many."""
    runs[number] = run
    if len(runs) > MOST_RUNS:
        del runs[next(iter(runs))]


def _inside(run: Run) -> Iterator[Event]:
    """What happened in a run and in what is still going on in it, but for turns of their own."""
    yield from run.events
    for child in run.children.values():
        if child.turn is None:
            yield from _inside(child)


def _partial_of(run: Run) -> Partial | None:
    """Where the agent keeps half an answer whose model this is, called by its own step and by no tool or hook."""
    step = run.parent
    agent = None if step is None or step.name != "model" else step.parent
    return None if agent is None or agent.turn is None else agent.turn.partial


def _keep_at_once(lost: Run | None) -> None:
    """Keep what was said in a turn that ended without an error and unstored: a stream its reader closed.

    Only from blocking code; a stream closed under asyncio ends with an error, and is kept by ``FailedTurns``.
    """
    if lost is not None and lost.turn is not None and lost.turn.keeper is not None and not in_event_loop():
        KEPT_TURNS.discard(lost.turn)
        lost.turn.kept = lost.turn.keeper.keep_input(lost.turn, lost.inputs)


def in_event_loop() -> bool:
    """Whether this thread runs an event loop, in which nothing may block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


RECORDER: Final = RunRecorder()

_recorder: ContextVar[BaseCallbackHandler | None] = ContextVar("convmemory_recorder", default=RECORDER)


@functools.cache
def listen() -> None:
    """Attach the recorder to every run from now on, without anybody passing callbacks.

    The variable's default attaches it in every thread and task: a history that an application keeps is
    driven from contexts that know nothing of where it was made.
    """
    attach(_recorder)


def attach(variable: ContextVar[BaseCallbackHandler | None]) -> None:
    """Let every run from now on be heard by the handler in ``variable``."""
    from langchain_core.tracers.context import register_configure_hook  # noqa: PLC0415 - 0.4 s, and only chains need it

    register_configure_hook(variable, inheritable=True)
