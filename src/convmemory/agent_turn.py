"""One turn of an agent: what it is shown of the conversation, and what of its state is to be stored.

The agent's state is what others leave of it: guardrails replace and remove messages, summaries take their place. What is
stored is the state as it stands after their hooks, looked at before each call of the model and when the agent is done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from convmemory.chains.resent import (
    given_again,
    given_last,
    is_called_by_tool,
    is_resumed,
    name_again,
    name_all,
    threads_ids,
)
from convmemory.chains.turn import Run
from convmemory.encoding.codec import Encoded, encode
from convmemory.encoding.same_words import says_the_same
from convmemory.storage.postgres_rows import StoredBatch
from convmemory.storage.revisions import Place, Revision, place_of, taken_back
from convmemory.windows.snapshots import Snapshot
from convmemory.windows.tool_pairing import for_prompt


@dataclass(slots=True)
class AgentTurn:
    """What is known of one run of an agent; lives as long as the run, and in no state of the agent's.

    ``window`` is what is stored of earlier turns and shown to the model, ``since`` where the conversation stood then, and
    ``there`` whether there is one. ``known`` are the ids that are not to be stored: earlier turns', or erased since.
    ``pending`` waits to be stored, in the order it was
    met; ``stored`` is what this run has stored, and where. ``alone`` leaves an agent alone that another one calls.
    ``tried`` are the ids that tries before this one stored.
    ``recalled`` is a question that past conversations were asked, and what the model is shown of what was found.
    """

    window: list[BaseMessage] = field(default_factory=list)
    since: int = 0
    there: bool = False
    known: set[str] = field(default_factory=set)
    resumed: bool = False
    alone: bool = False
    pending: dict[str, BaseMessage] = field(default_factory=dict)
    stored: dict[str, tuple[Place, Encoded]] = field(default_factory=dict)
    changes: list[Revision] = field(default_factory=list)
    recalled: tuple[str, BaseMessage | None] | None = None
    tried: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    async_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _order: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _answer: list[BaseMessage] = field(default_factory=list)
    _asked: bool = False

    @classmethod
    def begun(
        cls, window: Sequence[BaseMessage], found: Snapshot, messages: Sequence[BaseMessage], run: Run | None
    ) -> AgentTurn:
        """The turn of an agent whose state holds ``messages``, over a conversation that holds ``window`` as it is stored."""
        if is_called_by_tool(run, window, messages):
            return cls(alone=True)
        name_all(messages, window, run)
        before = None if run is None else run.turn_before()
        other = before.progress if before is not None else None
        if before is None or not isinstance(other, AgentTurn):
            return cls._begun(window, found, messages, run)
        tried = set() if before.handed_over else {*other.stored, *other.tried}
        name_again(messages, window, tried)
        turn = cls._begun(window, found, messages, run)
        turn.tried = tried
        if before.handed_over:
            turn.pending = other.unstored()
        return turn

    @classmethod
    def _begun(
        cls, window: Sequence[BaseMessage], found: Snapshot, messages: Sequence[BaseMessage], run: Run | None
    ) -> AgentTurn:
        resumed = is_resumed(run)
        stored = {message.id: message for message in window if message.id}
        edited = _edited(stored, messages, None if resumed else given_last(run, messages))
        first = next((at for at, message in enumerate(window) if message.id in edited), len(window))
        stored = {name: message for name, message in stored.items() if name not in edited}
        newest = max((at + 1 for at, message in enumerate(messages) if message.id in stored), default=0)
        if newest:
            newest = max(newest, given_again(window, messages)[0])  # a transcript may have ids here and there
            known = _ids(messages[:newest]) - edited
            shown = next(at for at, message in enumerate(window) if message.id in known)
            return cls(list(window[:shown]), found.since, found.there, known, resumed)
        thread = threads_ids(run)
        new = [message for message in messages if message.id not in thread]
        again, shown = given_again(window, new)
        known = thread | _ids(new[:again])
        if resumed:  # nobody knows where it stopped: its question is stored, or everything was erased since
            known = _ids(messages[: _last_question(messages)] if window else messages) - edited
            shown = min(shown, first)
        return cls(list(window[:shown]), found.since, found.there, known, resumed)

    def unstored(self) -> dict[str, BaseMessage]:
        """What this agent said and did and has not stored, which another one stores that it handed over to.

        Of its last answer that is the call by which it did so: the words no guardrail has been seen to let through.
        """
        calls = [one for one in self._answer if isinstance(one, AIMessage) and one.id and one.tool_calls]
        return self.pending | {
            str(one.id): AIMessage("", id=one.id, name=one.name, tool_calls=one.tool_calls) for one in calls
        }

    def look(self, messages: Sequence[BaseMessage], *, done: bool = False) -> None:
        """Take over what the state says now; ``done`` says that the agent is.

        A message that left is taken back if nothing that came after it is left, if the answer the model just gave left as
        well, or if it was the user's and other words of the user's came in its place. One that left from before others was
        summed up or trimmed: it was said, and is stored.
        """
        name_all(messages)
        now = {m.id: m for m in messages if m.id and m.id not in self.known and _was_said(m)}
        there = _ids(messages)
        end = self._end(there, done=done)
        unasked = self._is_unanswered(messages, there, done=done) or self._is_replaced(
            messages, there, done=done
        )
        for at, name in enumerate(self._order):
            if name not in now and (at >= end or (unasked and self._is_question(name))):
                self._take_back(name)
        for name, message in now.items():
            self._take_over(name, message)
        self._order, self._seen, self._answer = list(now), there, []

    def _end(self, there: Container[str], *, done: bool) -> int:
        """Which of the messages looked at before is the first of those that were taken back, if they left.

        Where all of them left and the agent goes on, all was summed up; where the answer is still there, it was trimmed.
        """
        if any(message.id in there for message in self._answer):
            return len(self._order)
        end = max((at + 1 for at, name in enumerate(self._order) if name in there), default=0)
        return end if done or (end and not self._answer) else len(self._order)

    def _is_unanswered(self, messages: Sequence[BaseMessage], there: Container[str], *, done: bool) -> bool:
        """Whether the answer was taken back, and its question with it if that left as well.

        Not where the agent went on after it: another answer came in its place, as from a middleware around ours. And not
        where earlier turns left with it: all of it was summed up.
        """
        if not done or not self._answer or any(message.id in there for message in self._answer):
            return False
        went_on = any(isinstance(m, ToolMessage) and m.id not in self._seen for m in messages)
        return not went_on and not any(name in self.known and name not in there for name in self._seen)

    def _is_replaced(self, messages: Sequence[BaseMessage], there: set[str], *, done: bool) -> bool:
        """Whether new words of the user's stand where others were: as many of them, and not in front of all that was there.

        What stands in front, or for more than one message, is a summary, whoever wrote it.
        """
        before = self._seen | _ids(self._answer)
        came, behind, is_inside = 0, False, done
        for message in messages:
            if message.id in before:
                behind = behind or not isinstance(message, SystemMessage)
            elif isinstance(message, HumanMessage) and message.id not in self.known and _was_said(message):
                came += 1
                is_inside = is_inside or behind
        return is_inside and len(self._seen - there) <= came != 0

    def _is_question(self, name: str) -> bool:
        if name in self.stored:
            return self.stored[name][1].role == "human"
        return isinstance(self.pending.get(name), HumanMessage)

    def _take_back(self, name: str) -> None:
        self.pending.pop(name, None)
        if name in self.stored:
            seq, encoded = self.stored.pop(name)
            self.changes.append(taken_back(seq, encoded))

    def _take_over(self, name: str, message: BaseMessage) -> None:
        if name not in self.stored:
            self.pending[name] = message
            return
        seq, encoded = self.stored[name]
        now = encode(message)
        if (now.content, now.body) != (encoded.content, encoded.body):
            self.changes.append(Revision(seq, encoded, message, gone=False))
            self.stored[name] = seq, now

    def answered(self, messages: Sequence[BaseMessage]) -> None:
        """The model said this: a new message, also where a cache or a short id gives it the id of an old one."""
        answer = [message for message in messages if message.id]
        self._answer += answer  # of several calls at once others may choose one
        self.known -= _ids(answer)

    @property
    def owes_the_question(self) -> bool:
        """Whether what the user said is to be stored now, before the model is asked for the first time."""
        return not self._asked and (not self.resumed or self.has_question)

    @property
    def has_question(self) -> bool:
        """Whether something the user said waits to be stored."""
        return any(isinstance(message, HumanMessage) for message in self.pending.values())

    @property
    def said_since(self) -> int | None:
        """Where the conversation stood when what is pending was said; a question may have been sent before that."""
        return None if self.has_question else self.since

    def shown(self, messages: Sequence[BaseMessage]) -> list[Any]:
        """What goes before the state in a prompt: the window, without what the state has of it."""
        own = _ids(messages) & self.known
        return for_prompt([message for message in self.window if message.id not in own])

    def settle(self, batch: StoredBatch | None) -> None:
        """All that was pending is stored now, as ``batch`` says; with it goes what was to be changed."""
        if batch is not None:
            for name, place in zip(self.pending, batch.batch.places, strict=True):
                self.stored[name] = place_of(batch, place), batch.batch.encoded[place]
        self.pending, self._asked = {}, True


def _edited(
    stored: Mapping[str, BaseMessage], messages: Sequence[BaseMessage], asked: BaseMessage | None
) -> set[str]:
    """The ids under which the state says other words than were stored: an edit, or a client that counts from 1 each time.

    Of a run's input that is told by what was ``asked``: the rest of a transcript may have been redacted since. A run that
    goes on (``None``) has the thread's own messages, and what is not as it was stored was edited there.
    """
    asking = messages if asked is None else [asked] if isinstance(asked, HumanMessage) else []
    return {m.id for m in asking if m.id and m.id in stored and not says_the_same(stored[m.id], m)}


def _ids(messages: Iterable[BaseMessage]) -> set[str]:
    return {message.id for message in messages if message.id}


def _last_question(messages: Sequence[BaseMessage]) -> int:
    return max((at for at, message in enumerate(messages) if isinstance(message, HumanMessage)), default=0)


def _was_said(message: BaseMessage) -> bool:
    """Whether somebody said this: not a summary that ``SummarizationMiddleware`` wrote, nor an order to delete."""
    return (
        not isinstance(message, RemoveMessage)
        and message.additional_kwargs.get("lc_source") != "summarization"
    )
