"""What LangChain's runs tell while they go: which turn a call belongs to, and what the turn cost.

One recorder listens to every run of the process once a chat history or a middleware is made. It keeps a run
while it is open and a few hundred bytes with it; what it learnt is handed to whoever stores the turn.
"""

from __future__ import annotations

import functools
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, Protocol
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables.config import ensure_config

from convmemory.telemetry import Event, Retrieval, answer_of

logger = logging.getLogger("convmemory.callbacks")
P = ParamSpec("P")

MOST_RUNS: Final = 20_000
"""Runs kept open at once; the oldest is let go of, as one that was never ended would be."""
MOST_EVENTS: Final = 1_000
"""What one run may hold of what was retrieved and answered in it; the oldest is let go of."""


class InputKeeper(Protocol):
    """Whoever stores what the user said in a turn that ended without being stored."""

    def keep_input(self, inputs: Any) -> None:
        """Store it, blocking."""

    async def akeep_input(self, inputs: Any) -> None:
        """Store it, awaited."""


@dataclass(slots=True, eq=False)
class Turn:
    """One pass through a chain or an agent: from the user's message until the answer is stored.

    ``pinned`` is the window the pass was shown; ``stored`` says that its write was tried.
    """

    pinned: list[BaseMessage] | None = None
    stored: bool = False
    keeper: InputKeeper | None = None


@dataclass(slots=True, eq=False)
class Run:
    """A run that is going on, and what happened in it so far."""

    kind: str
    name: str | None
    parent: Run | None
    order: int
    inputs: Any = None
    model: str | None = None
    began: float = field(default_factory=time.perf_counter)
    first_token: float | None = None
    events: list[Event] = field(default_factory=list)
    children: int = 0
    ended: bool = False
    turn: Turn | None = None

    def lineage(self) -> Iterator[Run]:
        """This run, the run it is part of, and so on up to the root."""
        run: Run | None = self
        while run is not None:
            yield run
            run = run.parent

    def add(self, events: Sequence[Event]) -> None:
        """Note what happened, and let go of the oldest where it becomes too much."""
        self.events.extend(events)
        del self.events[:-MOST_EVENTS]


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
        self._runs: dict[UUID, Run] = {}
        self._unkept: dict[UUID, Run] = {}
        self._orders = itertools.count()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._runs) + len(self._unkept)

    def __bool__(self) -> bool:
        return True

    def open_run(self, run_id: UUID | None) -> Run | None:
        """The run of this id while it is open."""
        return None if run_id is None else self._runs.get(run_id)

    def take_unkept(self, run_id: UUID) -> Run | None:
        """The turn that failed with this run and whose input is to be kept; once."""
        return self._unkept.pop(run_id, None)

    def heard(self, run: Run) -> list[Event]:
        """What belongs to the turn that ``run`` is part of, in order; and what was retrieved before it began."""
        events: list[Event] = []
        inside = True
        with self._lock:
            for one in run.lineage():
                events += one.events if inside else [e for e in one.events if isinstance(e, Retrieval)]
                inside = inside and one.turn is None
        return sorted(events, key=lambda event: event.order)

    @_quietly
    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A chain, a graph or a step of one begins."""
        self._begin("chain", run_id, parent_run_id, name=kwargs.get("name"), inputs=inputs)

    @_quietly
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It came to its end; a streamed one says only now what its input was."""
        if (over := self._end(run_id, kwargs.get("inputs"))) is not None:
            _keep_at_once(over)

    @_quietly
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It failed, or was cancelled; a turn whose input is to be kept waits for ``FailedTurns``."""
        if (over := self._end(run_id, kwargs.get("inputs"))) is not None:
            self._unkept[run_id] = over

    @_quietly
    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A tool is called: what it retrieves is part of the turn."""
        self._begin("tool", run_id, parent_run_id)

    @_quietly
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """The tool is done."""
        self._end(run_id)

    @_quietly
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """The tool failed."""
        self._end(run_id)

    @_quietly
    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A retriever is asked."""
        self._begin("retriever", run_id, parent_run_id)

    @_quietly
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """A retriever returned; of one inside another (a reranker's, an ensemble's) only the outer one's count."""
        run = self.open_run(run_id)
        if run and documents and not any(above.kind == "retriever" for above in run.lineage() if above is not run):
            run.add([Retrieval(next(self._orders), documents)])
        self._end(run_id)

    @_quietly
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """The retriever failed."""
        self._end(run_id)

    @_quietly
    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A chat model is called."""
        model = (kwargs.get("metadata") or {}).get("ls_model_name")
        self._begin("model", run_id, parent_run_id, model=model)

    @_quietly
    def on_llm_start(
        self, serialized: Any, prompts: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A plain language model is called."""
        model = (kwargs.get("metadata") or {}).get("ls_model_name")
        self._begin("model", run_id, parent_run_id, model=model)

    @_quietly
    def on_llm_new_token(self, token: str, *, run_id: UUID, **kwargs: Any) -> None:
        """A piece of a streamed answer came; only the first one's time matters."""
        run = self.open_run(run_id)
        if run is not None and run.first_token is None:
            run.first_token = time.perf_counter()

    @_quietly
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """A model answered; the time a streamed answer takes includes the time its reader takes."""
        run = self.open_run(run_id)
        if run is not None:
            first = None if run.first_token is None else _milliseconds(run.first_token - run.began)
            taken = _milliseconds(time.perf_counter() - run.began)
            run.add(
                [answer_of(response, order=run.order, latency_ms=taken, first_token_ms=first, model=run.model)]
            )
        self._end(run_id)

    @_quietly
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """The model failed."""
        self._end(run_id)

    def _begin(self, kind: str, run_id: UUID, parent_run_id: UUID | None, **known: Any) -> None:
        with self._lock:
            parent = self.open_run(parent_run_id)
            if parent is not None:
                parent.children += 1
            name = known.pop("name", None)
            self._runs[run_id] = Run(kind, name, parent, next(self._orders), **known)
            for runs in (self._runs, self._unkept):
                if len(runs) > MOST_RUNS:
                    del runs[next(iter(runs))]

    def _end(self, run_id: UUID, inputs: Any = None) -> Run | None:
        """Close a run; the turn that is over with it and was not stored, if its input is to be kept."""
        with self._lock:
            run = self._runs.pop(run_id, None)
            if run is None:
                return None
            run.ended = True
            run.inputs = run.inputs if inputs is None else inputs
            parent = run.parent
            if parent is not None:
                parent.children -= 1
                if run.turn is None:
                    parent.add(run.events)
            return next((one for one in (run, parent) if one is not None and _lost(one)), None)


def _lost(run: Run) -> bool:
    """Whether a turn is over, unstored, and wanted; once. A stream that is closed early ends its outer run first."""
    turn = run.turn
    if turn is None or turn.keeper is None or turn.stored or not run.ended or run.children:
        return False
    turn.stored = True
    return True


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
