"""Celery tasks whose memories, one of each colour, are open before the worker forks its children."""

import asyncio
import os
from pathlib import Path

from celery import Celery

from convmemory import AsyncConversationMemory, ConversationMemory

HERE = Path(os.environ["QUEUE"])
app = Celery("tasks", broker="filesystem://", backend=f"file://{HERE / 'results'}")
app.conf.broker_transport_options = {
    "data_folder_in": str(HERE / "queue"),
    "data_folder_out": str(HERE / "queue"),
    "control_folder": str(HERE / "control"),
}
app.conf.worker_prefetch_multiplier = 1

SETTINGS = {"key_prefix": os.environ["PREFIX"]}
memory = ConversationMemory.from_env(**SETTINGS).open()
memory.check()
awaited = AsyncConversationMemory.from_env(**SETTINGS)
asyncio.run(awaited.open())


@app.task
def blocking_turn(user, number):
    memory.save_message("chat", f"{user} {number}", user_id=user)
    found = memory.get_history("chat", user_id=user) + memory.get_messages("chat", user_id=user, limit=6)
    return os.getpid(), [message.content for message in found]


@app.task
def awaited_turn(user, number):
    return os.getpid(), asyncio.run(_turn(user, number))


async def _turn(user, number):
    await awaited.save_message("chat", f"{user} {number}", user_id=user)
    found = await awaited.get_history("chat", user_id=user)
    found += await awaited.get_messages("chat", user_id=user, limit=6)
    return [message.content for message in found]
