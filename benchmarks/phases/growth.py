"""Every verb on a database of many messages, and on an almost empty one, in turns: what grows with what is stored.

The large one is filled by COPY, in the library's own form and with a skew: two conversations have a fifth of all messages
each, five a fiftieth, 24 a five-hundredth; the rest have some 30, and a few thousand just ten, which are those that small
operations are tried on. One user has a fifth of the conversations, the others share the rest by Zipf's law. Messages of
different conversations interleave in time, so that those of one lie about one to a page.
"""

from __future__ import annotations

import argparse
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psycopg
from adapter import Adapter
from langchain_core.messages import AIMessage, HumanMessage
from servers import empty_database, redis_url
from timing import summary

from convmemory import ConversationMemory
from convmemory.encoding.codec import encode
from convmemory.ids import message_key, new_row_id

TEN = 3000
"""Conversations of ten messages in each database; each is deleted, cleared or made longer by one call at most."""
READ = 20
"""Conversations that are read again and again, each once before the clock starts."""
CALLS = 120
EACH = 2
"""Calls on one database before the other's turn."""
QUIET = 4.0
"""Seconds for which appends are timed while nothing else goes on."""
Verb = Callable[[ConversationMemory, "Place"], Any]


class Place:
    """A filled database: whom to ask for what."""

    def __init__(self, name: str, lengths: list[int], seed: int) -> None:
        draw = random.Random(seed)
        self.lengths = lengths
        self.ids = [uuid4() for _ in lengths]
        crowd = max(1, len(lengths) // 50)
        weights = list(itertools.accumulate(1 / (n + 1) for n in range(crowd)))
        self.users = [
            "crowd" if draw.random() < 0.2 else f"u{draw.choices(range(crowd), cum_weights=weights)[0]}"
            for _ in lengths
        ]
        self.users[0] = "one"
        self.url = empty_database(name)
        tens = [n for n, length in enumerate(lengths) if length == 10]
        self._tens = iter(tens[READ:])
        self._read = itertools.cycle(tens[:READ])
        self._draw = draw

    def fill(self) -> float:
        """Store it all; seconds it took."""
        with ConversationMemory.from_url(self.url, None) as memory:
            memory.init_schema()
        began = time.perf_counter()
        with psycopg.connect(self.url, autocommit=True) as conn, conn.cursor() as cursor:
            with cursor.copy(
                "COPY convmemory.conversations (conversation_id, user_id, title, title_source, version, last_seq,"
                " last_human_seq, updated_at) FROM STDIN"
            ) as copy:
                for n, length in enumerate(self.lengths):
                    copy.write_row(
                        (
                            self.ids[n],
                            self.users[n],
                            "A question",
                            "auto",
                            length,
                            length,
                            length - 1,
                            _moment(n * 10),
                        )
                    )
            with cursor.copy(
                "COPY convmemory.messages (conversation_id, seq, id, role, content, body, tokens_used, created_at) FROM STDIN"
            ) as copy:
                for row in self._messages():
                    copy.write_row(row)
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")
        return time.perf_counter() - began

    def _messages(self) -> Iterator[tuple[Any, ...]]:
        order = [n for n, length in enumerate(self.lengths) for _ in range(length)]
        self._draw.shuffle(order)
        words = "".join(self._draw.choices("abcdefghijklmnopqrstuvwxyz    ", k=20_000))
        human = encode(HumanMessage("x")).body
        reply = encode(
            AIMessage(
                "x",
                id="ID",
                usage_metadata=dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), 100),
            )
        ).body
        seqs = [0] * len(self.lengths)
        for at, n in enumerate(order):
            seqs[n] += 1
            start = self._draw.randrange(19_000)
            text = words[start : start + self._draw.randrange(100, 700)]
            if seqs[n] % 2:
                yield self.ids[n], seqs[n], new_row_id(), "human", text, human, None, _moment(at)
            else:
                given = f"run-{at:032x}"
                row_id = message_key(self.ids[n], given)
                yield self.ids[n], seqs[n], row_id, "ai", text, reply.replace("ID", given), 100, _moment(at)

    def ten(self) -> tuple[UUID, str]:
        """A conversation of ten messages that nobody has touched yet, and its user."""
        n = next(self._tens)
        return self.ids[n], self.users[n]

    def read(self) -> tuple[UUID, str]:
        """A conversation of ten messages of a few that are read again and again: a first touch would measure the memory that the server has."""
        n = next(self._read)
        return self.ids[n], self.users[n]

    def longest(self) -> tuple[UUID, str]:
        return self.ids[0], self.users[0]


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(1_767_225_600 + seconds))


def lengths(messages: int, draw: random.Random) -> list[int]:
    """How long the conversations of the large database are, the longest first."""
    found = [
        *[messages // 5] * 2,
        *[messages // 50] * 5,
        *[max(100, messages // 500)] * 24,
        *[1000] * 4,
        *[10] * TEN,
    ]
    while (left := messages - sum(found)) > 0:
        found += [min(300, max(2, round(draw.lognormvariate(3.4, 0.8)))) for _ in range(1 + left // 60)]
    return found


def _turn() -> list[Any]:
    usage = {"input_tokens": 100, "output_tokens": 100, "total_tokens": 200}
    return [HumanMessage("word " * 80), AIMessage("word " * 80, id=f"run-{uuid4()}", usage_metadata=usage)]


def _named(call: Callable[..., Any], where: Callable[[Place], tuple[UUID, str]], **more: Any) -> Verb:
    def verb(memory: ConversationMemory, place: Place) -> Any:
        conversation, user = where(place)
        return getattr(memory, call.__name__)(conversation, user_id=user, **more)

    return verb


def _deep(memory: ConversationMemory) -> Callable[[], Any]:
    """The list from its 100th page on, or its last."""
    cursor = None
    for _ in range(99):
        page = memory.list_user_conversations("crowd", 50, cursor=cursor)
        cursor = page.next_cursor or cursor
    return lambda: memory.list_user_conversations("crowd", 50, cursor=cursor)


def verbs() -> dict[str, Verb]:
    """What is measured, by name; each is called on the large database and on the small one."""
    kind = ConversationMemory
    read, ten, longest = Place.read, Place.ten, Place.longest
    return {
        "window": _named(kind.get_history, read),
        "window, not read for long": _named(kind.get_history, ten),
        "window, longest": _named(kind.get_history, longest),
        "whole history of 10": _named(kind.get_history, read, limit=None),
        "page of 10": _named(kind.get_messages, read, limit=10),
        "page of 10, longest": _named(kind.get_messages, longest, limit=10),
        "oldest page of 10, longest": _named(kind.get_messages, longest, limit=10, after=0),
        "save a turn": lambda memory, place: _save(memory, *place.ten()),
        "save a turn, longest": lambda memory, place: _save(memory, *place.longest()),
        "save a turn, new conversation": lambda memory, _: _save(memory, uuid4(), "u0"),
        "list": lambda memory, _: memory.list_user_conversations("u0"),
        "list, user of a fifth": lambda memory, _: memory.list_user_conversations("crowd"),
        "rename": _named(kind.rename_conversation, ten, title="t"),
        "create": lambda memory, _: memory.create_conversation("u0"),
        "clear 10": _named(kind.clear, ten),
        "delete 10": _named(kind.delete_conversation, ten),
    }


def _save(memory: ConversationMemory, conversation: UUID, user: str) -> Any:
    return memory.save_messages(conversation, _turn(), user_id=user)


def run(_adapters: list[Adapter], options: argparse.Namespace) -> dict[str, Any]:
    draw = random.Random(options.messages)
    full = Place("bench_growth", lengths(options.messages, draw), 1)
    small = Place("bench_growth_small", [10] * TEN, 2)
    took = full.fill()
    small.fill()
    print(
        f"\nfilled by COPY: {sum(full.lengths):,} messages in {len(full.lengths):,} conversations, {took:.0f} s"
    )
    figures: dict[str, Any] = {"bytes a message": _size(full)}
    print(f"bytes a message, indexes and all: {figures['bytes a message']:.0f}")
    for redis in (None, redis_url()):
        where = "PostgreSQL alone" if redis is None else "with Redis"
        print(f"\n{where}: milliseconds, half of the calls took less    small   large   ratio of neighbours")
        with (
            ConversationMemory.from_url(small.url, redis, key_prefix="small:") as one,
            ConversationMemory.from_url(full.url, redis, key_prefix="large:") as other,
        ):
            figures[where] = _compare(one, small, other, full)
    figures["large deletes"] = _deletes(full)
    return figures


def _compare(one: ConversationMemory, small: Place, other: ConversationMemory, full: Place) -> dict[str, Any]:
    found: dict[str, Any] = {}
    deep = {id(one): _deep(one), id(other): _deep(other)}
    more = verbs() | {"list, page 100": lambda memory, _: deep[id(memory)]()}
    for name, verb in more.items():
        taken: dict[int, list[float]] = {id(one): [], id(other): []}
        for turn in range(CALLS // EACH):
            for memory, place in ((one, small), (other, full)):
                for _ in range(EACH):
                    began = time.perf_counter()
                    verb(memory, place)
                    if turn >= READ // EACH:  # before that each conversation that is read was not in memory
                        taken[id(memory)].append(time.perf_counter() - began)
        figures = [summary(taken[id(memory)]) for memory in (one, other)]
        pairs = zip(taken[id(one)], taken[id(other)], strict=True)
        ratio = median(large / few for few, large in pairs)
        found[name] = {"small": figures[0], "large": figures[1], "ratio": ratio}
        halves = [figure["p50"] / 1000 for figure in figures]
        print(f"{name:48} {halves[0]:9.2f} {halves[1]:7.2f} {ratio:7.2f}")
    return found


def _deletes(full: Place) -> dict[str, Any]:
    """Clear and delete long conversations, and how long another user's appends take meanwhile."""
    found: dict[str, Any] = {}
    print(
        "\nlong conversations: seconds, messages a second; another user's append, p50 and p99 in ms, before it and meanwhile"
    )
    with ConversationMemory.from_url(full.url, redis_url(), key_prefix="large:") as memory:
        for verb, place in (
            ("whole history", 7),
            ("whole history", 2),
            ("clear", 7),
            ("clear", 2),
            ("delete_conversation", 3),
            ("clear", 1),
            ("delete_conversation", 0),
        ):
            _, quiet = _meanwhile(memory, lambda: time.sleep(QUIET))
            call = partial(_all_of, memory, verb, full.ids[place], full.users[place])
            took, others = _meanwhile(memory, call)
            length = full.lengths[place]
            found[f"{verb} of {length}"] = {"seconds": took, "others": others, "quiet": quiet}
            print(
                f"{f'{verb} of {length:,}':48} {took:9.2f} {length / took:14,.0f}"
                f" {quiet['p50'] / 1000:6.2f} {quiet['p99'] / 1000:6.2f}"
                f" {others['p50'] / 1000:6.2f} {others['p99'] / 1000:6.2f}"
            )
    return found


def _all_of(memory: ConversationMemory, verb: str, conversation: UUID, user: str) -> Any:
    if verb == "whole history":
        return memory.history(conversation, user_id=user, max_messages=None).messages
    return getattr(memory, verb)(conversation, user_id=user)


def _meanwhile(memory: ConversationMemory, call: Callable[[], Any]) -> tuple[float, dict[str, float]]:
    taken: list[float] = []
    done = threading.Event()

    def others() -> None:
        conversation = uuid4()
        while not done.is_set():
            began = time.perf_counter()
            _save(memory, conversation, "somebody else")
            taken.append(time.perf_counter() - began)

    thread = threading.Thread(target=others)
    thread.start()
    began = time.perf_counter()
    try:
        call()
        took = time.perf_counter() - began
    finally:
        done.set()
        thread.join()
    return took, summary(taken)


def _size(place: Place) -> float:
    with psycopg.connect(place.url) as conn:
        [[size]] = conn.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c"
            " WHERE c.relnamespace = 'convmemory'::regnamespace AND c.relkind = 'r'"
        ).fetchall()
    return float(size) / sum(place.lengths)
