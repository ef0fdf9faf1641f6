"""The chat app of a replay: every turn is a request that reads the window a model is shown, then stores the turn.

    python examples/replay_app.py FILE RUN START

Run by replay.py, which kills it in the middle. It begins at the step START of FILE and prints a line of JSON before it
stores a step (what was seen) and after (``{"stored": step}``): the acknowledgement, as far as the outside knows.
DATABASE_URL and REDIS_URL name the servers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from replay_formats import Step, Talk, newest_turns, read_talks, steps_of

from convmemory import ConversationMemory, Session

Report = Callable[[dict[str, Any]], None]


def replay(memory: ConversationMemory, steps: Sequence[Step], run: str, start: int, report: Report) -> None:
    """Play the steps from ``start`` on; the first of them may have been stored before, by an app that died."""
    for number, step in enumerate(steps[start:], start):
        session = visit(memory, owner(run, step.talk), step)
        history = memory.history(session.conversation_id, user_id=session.user_id)
        wrong = misfit(memory, history.messages, step, sent_again=number == start)
        report({"step": number, "session": session.handle, "wrong": wrong})
        history.add_messages(step.messages)
        report({"stored": number})


def visit(memory: ConversationMemory, user: str, step: Step) -> Session:
    """The user's live session, also after a restart; at a new sitting a new one, in the same conversation."""
    for session in memory.list_user_sessions(user):
        if session.metadata["sitting"] == step.sitting:
            return session  # under its handle: a browser would bring the id back in its cookie
        memory.end_session(session.handle)
    return memory.create_session(user, conversation_id=step.talk.name, metadata={"sitting": step.sitting})


def misfit(
    memory: ConversationMemory, window: Sequence[BaseMessage], step: Step, *, sent_again: bool = False
) -> str | None:
    """What is wrong with the window shown before a step, if anything.

    A step that is sent again may stand in it already: it had been committed, and the app died before it knew.
    """
    limit, hard = memory.settings.max_history_messages, memory.settings.hard_max_messages
    ends = [step.before, step.before + len(step.messages)] if sent_again else [step.before]
    if any(window == newest_turns(step.talk.messages[:end], limit, hard) for end in ends):
        return None
    return f"{step.talk.name}, before message {step.before + 1}, showed {[m.id for m in window]}"


def owner(run: str, talk: Talk) -> str:
    """The user a conversation belongs to: one each; ``run`` keeps two replays in one database apart."""
    return f"replay-{run}-{talk.name}"


def main(file: str, run: str, start: str) -> None:
    """Play one file against the servers the environment names."""
    with ConversationMemory.from_env() as memory:
        steps = steps_of(read_talks(Path(file)))
        replay(memory, steps, run, int(start), lambda event: print(json.dumps(event), flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
