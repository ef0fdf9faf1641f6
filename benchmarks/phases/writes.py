"""What PostgreSQL writes for a turn: bytes of its log, updates that touch no index, and bytes a message lies in.

A question and an answer with id and usage, 400 characters each, on conversations drawn at random. The log is counted after a
tenth of the turns, and no checkpoint comes in between, so that its full pages are not in it.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import islice
from typing import Any
from uuid import uuid4

import psycopg
from adapter import USER, Adapter
from langchain_core.messages import AIMessage, HumanMessage
from servers import empty_database, redis_url
from texts import turns_ahead

from convmemory import ConversationMemory

CONVERSATIONS = 500
SETTLED = 1.5
"""Seconds until a session has told its statistics."""
_USAGE = {"input_tokens": 120, "output_tokens": 80, "total_tokens": 200}
_LOG = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
_UPDATES = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'conversations'"
_SIZE = (
    "SELECT sum(pg_total_relation_size(c.oid)), (SELECT count(*) FROM convmemory.messages)"
    " FROM pg_class AS c WHERE c.relnamespace = 'convmemory'::regnamespace AND c.relkind = 'r'"
)


def run(_adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    """Store ``options.turns`` turns and say what each cost."""
    url = empty_database("bench_writes")
    with (
        ConversationMemory.from_url(url, redis_url()) as memory,
        psycopg.connect(url, autocommit=True) as conn,
    ):
        memory.init_schema()
        conn.execute("CHECKPOINT")
        warm = options.turns // 10
        _say(memory, warm)
        before = _counted(conn)
        _say(memory, options.turns - warm)
        after = _counted(conn)
        size, messages = conn.execute(_SIZE).fetchone() or (0, 1)
    log, updates, hot = (new - old for old, new in zip(before, after, strict=True))
    found = {
        "log bytes a turn": round(log / (options.turns - warm)),
        "HOT %": round(100 * hot / updates, 1),
        "bytes a message": round(size / messages),
    }
    for name, figure in found.items():
        print(f"{name:20}{figure:>10}")
    return found


def _say(memory: ConversationMemory, turns: int) -> None:
    draw = random.Random(turns)
    for turn in islice(turns_ahead(turns), turns):
        answer = AIMessage(turn.ai, id=f"run-{uuid4()}", usage_metadata=_USAGE)
        where = f"c{draw.randrange(CONVERSATIONS)}"
        memory.save_messages(where, [HumanMessage(turn.human), answer], user_id=USER)


def _counted(conn: psycopg.Connection[Any]) -> tuple[int, int, int]:
    time.sleep(SETTLED)
    [[log]], [[updates, hot]] = conn.execute(_LOG).fetchall(), conn.execute(_UPDATES).fetchall()
    return int(log), updates, hot
