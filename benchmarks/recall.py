"""How much of what answers a question recall finds, on conversations in the shape of LoCoMo's.

    python benchmarks/recall.py FILE
    python benchmarks/recall.py FILE --together      # all of them as one user's

FILE is JSON, {id: {session_N: [{speaker, dia_id, text, blip_caption?}], qa: [{question, evidence, category}]}}. Each conversation is a
user, and each session of it a conversation of that user's. recall@K is the mean share of the messages in `evidence` among the first K
messages, on the level of messages, over the questions of categories 1 to 4. A server is started for the run unless DATABASE_URL
and REDIS_URL name some.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers import empty_database, servers

from convmemory import ConversationMemory

KS = (1, 5, 10, 20)
SESSION = re.compile(r"session_\d+")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="conversations with questions, as JSON")
    parser.add_argument("--together", action="store_true", help="all conversations are one user's")
    parser.add_argument("--language", default="english", help="the setting search")
    return parser.parse_args()


def filled(
    memory: ConversationMemory, told: dict[str, Any], together: bool
) -> dict[tuple[str, str, int], str]:
    """Store everything; which place each message has, by user."""
    places = {}
    for name, conversation in told.items():
        user = "everybody" if together else name
        sessions = sorted(
            (key for key in conversation if SESSION.fullmatch(key)), key=lambda key: int(key[8:])
        )
        for session in sessions:
            messages = []
            for one in conversation[session]:
                role = "user" if one["speaker"] == conversation["speaker_a"] else "assistant"
                words = [f"{one['speaker']}: {one['text']}", one.get("blip_caption")]
                messages.append({"role": role, "content": " ".join(filter(None, words))})
            stored = memory.save_messages(f"{name}/{session}", messages, user_id=user)
            for seq, one in zip(stored.seqs, conversation[session], strict=True):
                places[user, f"{name}/{session}", seq] = f"{name}/{one['dia_id']}"
    return places


def questions(told: dict[str, Any], together: bool) -> Iterator[tuple[str, str, set[str]]]:
    for name, conversation in told.items():
        for qa in conversation["qa"]:
            evidence = {f"{name}/{one}" for one in qa["evidence"]}
            if qa["category"] != 5 and evidence:
                yield "everybody" if together else name, qa["question"], evidence


def main() -> None:
    given = parsed()
    told = json.loads(given.file.read_text("utf-8"))
    with servers() as what:
        url = empty_database("convmemory_recall")
        with ConversationMemory.from_url(url, search=given.language) as memory:
            memory.init_schema()
            places = filled(memory, told, given.together)
            shares: dict[int, list[float]] = {k: [] for k in KS}
            took = []
            for user, question, evidence in questions(told, given.together):
                began = time.perf_counter()
                found = memory.search.recall(question, max(KS), user_id=user)
                took.append((time.perf_counter() - began) * 1000)
                names = [places[user, one.conversation_id, one.seq] for one in found]
                for k in KS:
                    shares[k].append(len(evidence & set(names[:k])) / len(evidence))
    print(
        f"{len(places)} messages, {len(took)} questions of categories 1 to 4; share of evidence messages; {what}"
    )
    for k in KS:
        print(f"recall@{k} {statistics.mean(shares[k]):.3f}")
    took.sort()
    print(
        f"a question took {statistics.median(took):.1f} ms at the median, {took[int(len(took) * 0.95)]:.1f} at the 95th percentile"
    )


if __name__ == "__main__":
    main()
