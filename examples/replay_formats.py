"""The conversations of a replay, read from a file in one of two shapes; knows nothing of the memory under test.

LoCoMo: ``{name: {speaker_a, speaker_b, session_1: [{speaker, dia_id, text, blip_caption?}], session_2: ...}}``.
OpenAI: ``[{messages: [{role, content, tool_calls?, tool_call_id?, name?}]}]``. A file may hold both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, convert_to_messages

SESSION = re.compile(r"session_(\d+)")
Speakers = dict[str, type[HumanMessage] | type[AIMessage]]


@dataclass(slots=True)
class Talk:
    """One conversation: its sittings in order, each a list of messages with ids unique in the conversation."""

    name: str
    sittings: list[list[BaseMessage]] = field(default_factory=list)

    @property
    def messages(self) -> list[BaseMessage]:
        """All messages in order."""
        return [message for sitting in self.sittings for message in sitting]


@dataclass(frozen=True, slots=True)
class Step:
    """What a chat app stores at once: what the human says, and everything that answers it.

    ``before`` counts the conversation's messages up to here; ``sitting`` is the visit it belongs to, from 1.
    """

    talk: Talk
    sitting: int
    before: int
    messages: list[BaseMessage]


def read_talks(path: Path) -> list[Talk]:
    """Read a file of conversations; ``ValueError`` says what does not look like one."""
    found = json.loads(path.read_text(encoding="utf-8"))
    items = found.items() if isinstance(found, dict) else enumerate(found, 1)
    talks = [_talk(str(name), item) for name, item in items]
    if not any(talk.messages for talk in talks):
        raise ValueError(f"{path.name} holds no messages")
    return talks


def steps_of(talks: Sequence[Talk]) -> list[Step]:
    """Every step of every conversation, in the order of an app with that many users at once."""
    rounds = zip_longest(*map(_steps, talks))
    return [step for simultaneous in rounds for step in simultaneous if step is not None]


def newest_turns(told: Sequence[BaseMessage], limit: int | None, hard: int) -> list[BaseMessage]:
    """What a model must be shown of the messages told so far: the newest whole turns that ``limit`` has room for.

    The newest turn comes whole even where it alone is longer, up to ``hard`` messages. Written apart from the
    library, by adding turns instead of cutting messages, so that the two can be compared.
    """
    if limit is None or len(told) <= limit:
        return list(told)
    if not any(isinstance(message, HumanMessage) for message in told):
        return list(told[-limit:])
    window: list[BaseMessage] = []
    for turn in reversed(_turns(told)):
        if window and len(turn) + len(window) > limit:
            break
        window = turn + window
    return window[-hard:]


def _turns(messages: Sequence[BaseMessage]) -> list[list[BaseMessage]]:
    """A human message and everything up to the next one; what comes before the first one stands alone."""
    turns: list[list[BaseMessage]] = []
    for message in messages:
        if isinstance(message, HumanMessage) or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _steps(talk: Talk) -> Iterator[Step]:
    before = 0
    for number, sitting in enumerate(talk.sittings, 1):
        start = 0
        for at in range(1, len(sitting) + 1):
            if at == len(sitting) or _speaks_up(sitting[at - 1], sitting[at]):
                yield Step(talk, number, before + start, sitting[start:at])
                start = at
        before += len(sitting)


def _speaks_up(last: BaseMessage, message: BaseMessage) -> bool:
    """Whether the human begins anew, and does not go on: two messages in a row are answered together."""
    return isinstance(message, HumanMessage) and not isinstance(last, (HumanMessage, SystemMessage))


def _talk(name: str, item: Any) -> Talk:
    if isinstance(item, Mapping) and "messages" in item:
        return Talk(name, [_from_openai(item["messages"])])
    if not isinstance(item, Mapping) or not {"speaker_a", "speaker_b"} <= item.keys():
        raise ValueError(f"conversation {name!r} has neither messages nor speaker_a and speaker_b")
    sessions = sorted(int(found[1]) for key in item if (found := SESSION.fullmatch(key)))
    speakers: Speakers = {item["speaker_a"]: HumanMessage, item["speaker_b"]: AIMessage}
    return Talk(name, [[_spoken(line, speakers) for line in item[f"session_{n}"]] for n in sessions])


def _from_openai(dicts: Sequence[dict[str, Any]]) -> list[BaseMessage]:
    messages = convert_to_messages(dicts)
    for at, message in enumerate(messages, 1):
        message.id = message.id or f"m{at}"
    return messages


def _spoken(line: Mapping[str, str], speakers: Speakers) -> BaseMessage:
    """One line of LoCoMo; the caption of a picture that was sent goes where LangChain keeps such things."""
    kind = speakers.get(line["speaker"])
    if kind is None:
        raise ValueError(f"message {line['dia_id']}: {line['speaker']!r} is neither speaker_a nor speaker_b")
    more = {"blip_caption": line["blip_caption"]} if "blip_caption" in line else {}
    return kind(content=line["text"], id=line["dia_id"], name=line["speaker"], additional_kwargs=more)
