"""Actors that move when they are told to: coroutines of the library, stopped before everything they ask of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from enum import Enum
from typing import Any

_PLAYING: ContextVar[Actor] = ContextVar("playing")


class Order(Enum):
    """What a stopped actor is told."""

    GO = "go"
    HOLD = "go, and stop again with the answer in hand"
    TWICE = "go, and what was asked is on its way once more"
    LOSE_REQUEST = "the server never hears of it"
    LOSE_ANSWER = "the server does it, and the connection breaks"


class Actor:
    """One call of the library, on its way through its steps; ``at`` names the one it waits to take."""

    def __init__(self, name: str, process: Any) -> None:
        self.name = name
        self.process = process
        self.at: str | None = None
        self.task: asyncio.Task[Any]
        self._told: asyncio.Future[Order]
        self._settled: asyncio.Future[None]

    def __repr__(self) -> str:
        return f"{self.name} at {self.at}"

    @property
    def over(self) -> bool:
        """Whether the call came to its end."""
        return self.task.done()

    async def stop(self, at: str) -> Order:
        """Wait here to be told."""
        self.at = at
        self._told = asyncio.get_running_loop().create_future()
        self.settle()
        order = await self._told
        self.at = None
        return order

    def settle(self) -> None:
        """It stopped, or ended: let the stage go on."""
        if not self._settled.done():
            self._settled.set_result(None)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Play in this task."""
        self.task = task
        self._settled = task.get_loop().create_future()
        task.add_done_callback(lambda _: self.settle())

    def tell(self, order: Order) -> None:
        self._settled = self.task.get_loop().create_future()
        self._told.set_result(order)

    async def settled(self) -> None:
        await self._settled


def playing() -> Actor:
    """Whose step is being taken."""
    return _PLAYING.get()


class Stage:
    """Lets one actor at a time take one step; nothing else moves meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.actors: list[Actor] = []

    def begin(self, actor: Actor, call: Coroutine[Any, Any, Any]) -> None:
        """Start a call; it goes as far as its first question to a server."""
        context = copy_context()
        context.run(_PLAYING.set, actor)
        actor.adopt(self.loop.create_task(call, context=context))
        self.actors.append(actor)
        self.loop.run_until_complete(actor.settled())

    def join(self, actor: Actor) -> None:
        """Have the running task, which the library began by itself, play as ``actor``."""
        task = asyncio.current_task()
        assert task is not None
        _PLAYING.set(actor)
        actor.adopt(task)
        self.actors.append(actor)

    def step(self, actor: Actor, order: Order = Order.GO) -> None:
        """Let an actor take the step it waits for."""
        actor.tell(order)
        self.loop.run_until_complete(actor.settled())

    def crash(self, actor: Actor) -> None:
        """End a call where it stands."""
        actor.task.cancel()
        self.loop.run_until_complete(asyncio.wait([actor.task]))

    def waiting(self) -> list[Actor]:
        """Who can be told to go on."""
        return [actor for actor in self.actors if actor.at is not None and not actor.over]

    def clear(self) -> None:
        """Send everybody home, those too who have only just come."""
        self.loop.run_until_complete(asyncio.sleep(0))
        for actor in self.actors:
            if not actor.over:
                self.crash(actor)
            if not actor.task.cancelled():
                actor.task.exception()  # whoever it concerned has heard of it
        self.actors.clear()
