"""Turns: from what a client asks to what is stored, with a run in between that no client can break off by leaving."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile
from traceback import format_tb
from typing import Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID

from langchain_core.messages import BaseMessage, HumanMessage

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.callers import Served
from convmemory.api.chat.events import Begun, Over
from convmemory.api.chat.places import PAGE, Asked, Place, place_of
from convmemory.api.chat.protocols import Protocol, Speaker
from convmemory.api.chat.relay import Relay, RunElsewhere
from convmemory.api.chat.runnables import Answerer, ChatTurn, Heard
from convmemory.api.chat.runs import Busy, Run, Runs
from convmemory.api.chat.visits import conversation_of, session_of, visited
from convmemory.arguments import Size, key_of
from convmemory.errors import ConversationNotFound, StorageUnavailable
from convmemory.ids import message_key, new_uuid
from convmemory.models import Conversation, Draft, Message

logger = logging.getLogger("convmemory.api.chat")

AnyRun: TypeAlias = Run | RunElsewhere
T = TypeVar("T")

PATIENCE: Final = 30.0
"""Seconds for which a run asks again where a tier is away: what its model said, or is about to, was paid for."""


class StoredRows:
    """The messages of one conversation, as whoever looks for a place asks for them."""

    def __init__(self, served: Served, mine: AsyncUserMemory, conversation: UUID) -> None:
        self._store, self._tiers = served.postgres, served.tiers
        self._mine = mine
        self._conversation = conversation

    async def add(self, drafts: Sequence[Draft]) -> None:
        """Store what was answered; a conversation that was deleted meanwhile stays deleted.

        Raises:
            ConversationNotFound: It was.
        """
        await self._tiers.append(key_of(self._conversation, self._mine.user_id), drafts, must_exist=True)

    async def by_id(self, rows: Iterable[UUID]) -> list[Message]:
        """The messages with these row ids."""
        key = key_of(self._conversation, self._mine.user_id)
        await self._tiers.drained(key)
        return await self._store.read_messages_by_id(key, [row.hex for row in rows])

    async def page(self, *, limit: int, before: int | None = None, after: int | None = None) -> list[Message]:
        """A page of messages, oldest first."""
        return await self._mine.get_messages(self._conversation, limit=limit, before=before, after=after)

    async def newest(self, limit: int = PAGE) -> list[Message]:
        """The newest messages, from the beginning of a turn where there are more."""
        found = await self.page(limit=limit)
        if len(found) < limit:
            return found
        return list(dropwhile(lambda one: one.role != "human", found)) or found

    async def turn(self, after: int) -> list[Message]:
        """The messages behind a place, to the end of the turn there."""
        found = await self.page(limit=PAGE, after=after)
        ends = (at for at, one in enumerate(found) if at and one.role == "human")
        return found[: next(ends, len(found))]


@dataclass(slots=True)
class _Going:
    """A turn that goes on."""

    run: Run
    begun: Begun
    mine: AsyncUserMemory
    rows: StoredRows
    question: BaseMessage
    since: int
    speaker: Speaker


class Turns:
    """The turns of one router.

    Args:
        served: Where they are stored.
        answerer: What answers.
        protocol: How clients are told.
        window: How many messages a runnable without memory is shown.
        most_runs: How many runs a user may have at once.
        seconds: How long a run may take.
    """

    def __init__(
        self,
        served: Served,
        answerer: Answerer,
        protocol: Protocol,
        *,
        window: Size,
        most_runs: int,
        seconds: float,
    ) -> None:
        self._served = served
        self._answerer = answerer
        self._protocol = protocol
        self._window = window
        self._seconds = seconds
        self._lost = protocol.broke_off().encode()
        self._relay = Relay(served.relay, self._lost)
        self.runs = Runs(most_runs)

    async def begin(self, mine: AsyncUserMemory, asked: Asked) -> AnyRun:
        """Begin the run that is asked for; the one that goes on, or that was, where it was asked for before.

        Raises:
            Busy, TooManyRuns, UnknownMessage, NoQuestion: It may not begin.
        """
        visit = await session_of(mine, asked.session_id)
        found = await conversation_of(mine, asked, visit)
        session = await visited(mine, asked, visit, found)
        known_by = asked.known_by
        while (going := self.runs.find(found.uuid)) is not None and known_by and going.key == known_by:
            if going.task is not None:
                return going
            await going.settled.wait()  # it may turn out to be elsewhere, or refused
        run = Run(new_uuid().hex, mine.user_id, found.uuid, known_by)
        self.runs.begin(run)
        try:
            elsewhere = await self._relay.begin(run)
            if elsewhere is not None:
                self.runs.forget(run)
                return elsewhere
            return await self._begin(run, mine, asked, found, session)
        except Busy:
            self.runs.forget(run)
            raise
        except BaseException:
            await self._let_go(run)
            raise

    async def _begin(
        self, run: Run, mine: AsyncUserMemory, asked: Asked, found: Conversation, session: str | None
    ) -> AnyRun:
        rows = StoredRows(self._served, mine, found.uuid)
        place = await self._sent_before(run, asked, rows) or await place_of(asked, found.uuid, rows)
        if self._answerer.restates and not place.again:
            place = place.restated()
        question, since = _question(asked, place)
        row = place.question.id if place.question else message_key(found.uuid, str(question.id))
        begun = Begun(run.run_id, found.id, found.uuid, row, session, asked.client_run)
        run.question = row
        speaker = self._protocol.speaker(begun)
        if place.again:
            stored = await rows.turn(since)
            if _is_answered(stored):
                await self._let_go(run)
                return replayed(run, speaker, Over(begun, stored))
        if run.answered_before and (elsewhere := await self._relay.begin(run, over=True)) is not None:
            self.runs.forget(run)
            return elsewhere
        if place.cuts or place.again:
            await mine.truncate(found.uuid, after=place.after)
        if not self._answerer.stores and place.question is None:
            await mine.save_message(found.uuid, question)
        going = _Going(run, begun, mine, rows, question, since, speaker)
        run.task = asyncio.create_task(self._run(going), name="convmemory chat")
        run.task.add_done_callback(lambda _: self._settle(run))
        run.settled.set()
        self._relay.hand_on(run)
        return run

    async def _let_go(self, run: Run) -> None:
        """Let go of a run that did not begin; here last, since whoever waits for that finds nothing of it elsewhere then."""
        try:
            await self._relay.release(run)
        finally:
            self.runs.forget(run)

    async def _sent_before(self, run: Run, asked: Asked, rows: StoredRows) -> Place | None:
        """The place of a turn that this very request has begun before, here or elsewhere."""
        question = self.runs.answered(run.conversation, asked.key)
        if question is None and asked.key and run.answered_before:
            question = await self._relay.answered(run.conversation)
        for stored in [] if question is None else await rows.by_id([question]):
            return Place(stored.place, question=stored, again=True)
        return None

    async def _run(self, going: _Going) -> None:
        run, speaker = going.run, going.speaker
        heard = Heard()
        try:
            if run.wants_stop:  # before there was a task to cancel
                await self._broke_off(going, heard)
                return
            run.write(speaker.begin().encode())
            async with asyncio.timeout(self._seconds):
                await self._answer(going, heard)
            stored = await self._stored(going, heard, partial=False)
            over = await self._over(going, Over(going.begun, stored))
            run.end("finished", speaker.finish(over).encode(), over)
        except asyncio.CancelledError:
            if not run.wants_stop and _is_cancelled():
                raise
            # else one that the answerer let through, of a task of its own
            await self._broke_off(going, heard, failed=not run.wants_stop)
        except Exception as error:  # noqa: BLE001 - whatever an answer raises, its reader is told that it broke off
            where = "".join(format_tb(error.__traceback__))  # the places in code, and no words of anybody's
            logger.warning("an answer broke off: %s\n%s", type(error).__name__, where)
            await self._broke_off(going, heard, failed=True)
        finally:
            self._settle(run)

    def _settle(self, run: Run) -> None:
        """See that a run is over, also one whose task was cancelled before it began."""
        run.end("failed", self._lost)
        self.runs.forget(run)

    async def _answer(self, going: _Going, heard: Heard) -> None:
        speaker, run = going.speaker, going.run
        hearing = speaker.hearing()
        mine, found = going.mine, going.begun.conversation_id
        messages = [going.question]
        if not self._answerer.stores:
            messages = await patiently(lambda: mine.get_history(going.begun.conversation, self._window))
            heard.given(messages)
        config = self._served.run_config(conversation_id=found, user_id=mine.user_id)
        turn = ChatTurn(mine.user_id, found, messages, config)
        async for message in self._answerer.stream(turn, heard):
            run.write("".join(map(speaker.say, hearing.hear(message))).encode())
        run.write("".join(map(speaker.say, hearing.done())).encode())

    async def _stored(self, going: _Going, heard: Heard, *, partial: bool) -> list[Message]:
        """What is stored of the turn, with what the route has to store itself."""
        if not self._answerer.stores and (drafts := heard.drafts(partial=partial)):
            await patiently(lambda: going.rows.add(drafts))  # the same again is known by its ids
        return await patiently(lambda: going.rows.turn(going.since))

    async def _over(self, going: _Going, over: Over) -> Over:
        """The end of a turn, with the whole conversation where the protocol tells it so."""
        if not going.speaker.wants_everything(over):
            return over
        return replace(over, everything=await going.rows.newest())

    async def shown(self, mine: AsyncUserMemory, conversation_id: str, limit: int) -> Any:
        """A conversation as the protocol's front ends begin with it.

        Raises:
            ConversationNotFound: The user has no such conversation.
        """
        found = await mine.get_conversation(conversation_id)
        stored = await StoredRows(self._served, mine, found.uuid).newest(limit)
        return self._protocol.shown(found, stored)

    async def look(self, mine: AsyncUserMemory, asked: Asked) -> tuple[str, AnyRun | None]:
        """What a client is told that only looks: what is stored, and the run that goes on from there."""
        try:
            found = await mine.get_conversation(str(asked.conversation_id))
        except ConversationNotFound:
            return self._protocol.snapshot(asked, ()) or "", None
        run = await self.find(found.uuid)
        rows = StoredRows(self._served, mine, found.uuid)
        stored = await rows.newest()
        if run is not None:  # which tells itself what comes after its question
            ends = (at + 1 for at, one in enumerate(stored) if one.id == run.question)
            stored = stored[: next(ends, len(stored))]
        return self._protocol.snapshot(asked, stored) or "", run

    async def _broke_off(self, going: _Going, heard: Heard, *, failed: bool = False) -> None:
        """Store what came of an answer, and say how it ended."""
        speaker = going.speaker
        try:
            stored = await self._stored(going, heard, partial=True)
            over = await self._over(going, Over(going.begun, stored, stopped=True))
        except Exception as error:  # noqa: BLE001 - what is said next is all that is left
            logger.warning("what came of an answer was not stored: %s", error)
            failed = True
        if failed:
            going.run.end("failed", self._lost)
        else:
            going.run.end("stopped", speaker.finish(over).encode(), over)

    async def find(self, conversation: UUID) -> AnyRun | None:
        """The run that is on its way in a conversation, here or elsewhere."""
        return self.runs.find(conversation) or await self._relay.find(conversation)

    async def stop(self, conversation: UUID) -> None:
        """End the run that is on its way in a conversation, here or elsewhere."""
        run = self.runs.find(conversation)
        if run is not None:
            run.stop()
        else:
            await self._relay.stop(conversation)

    async def drain(self, seconds: float) -> None:
        """Let runs come to their end, for so long; then stop them, and keep what they have said."""
        tasks = [run.task for run in self.runs.all() if run.task is not None]
        _, late = await asyncio.wait(tasks, timeout=seconds) if tasks else (None, None)
        if late:
            for run in self.runs.all():
                run.stop()
            await asyncio.wait(late, timeout=seconds)
        await self._relay.drained()


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What a call gives, asked again while a tier is away or has no connection to spare; each time after a longer while.

    Raises:
        StorageUnavailable: It was for all of ``PATIENCE``.
    """
    until, pause = time.monotonic() + PATIENCE, 0.2
    while True:
        try:
            return await call()
        except StorageUnavailable:
            if time.monotonic() + pause > until:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)


def _question(asked: Asked, place: Place) -> tuple[BaseMessage, int]:
    """What is asked, as a message with an id, and the place its turn is behind."""
    if place.question is not None:
        return place.question.message, place.question.place - 1
    words = asked.text if place.words is None else place.words.message.content
    return HumanMessage(cast("Any", words), id=place.name or str(new_uuid())), place.after


def _is_cancelled() -> bool:
    """Whether somebody cancelled the task that is running."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_answered(stored: Sequence[Message]) -> bool:
    """Whether a turn has come to its end, or was ended by somebody."""
    last = stored[-1].message if len(stored) > 1 else None
    return last is not None and last.type == "ai" and not getattr(last, "tool_calls", None)


def replayed(run: Run, speaker: Speaker, over: Over) -> Run:
    """A run that is over, with what is stored of it to tell."""
    hearing = speaker.hearing()
    run.write(speaker.begin().encode())
    for one in over.answers:
        run.write("".join(map(speaker.say, hearing.hear(one.message))).encode())
    run.write("".join(map(speaker.say, hearing.done())).encode())
    run.end("finished", speaker.finish(over).encode(), over)
    return run
