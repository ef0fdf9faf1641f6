"""What of an agent's input is new: clients send their whole transcript again, and a checkpointer brings its thread along."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage

from convmemory.chains.turn import Run
from convmemory.encoding.same_words import says_the_same
from convmemory.encoding.searchable import text_of
from convmemory.encoding.tool_blocks import begins_turn, call_ids


def threads_ids(run: Run | None) -> set[str]:
    """The ids of the messages that were in a state before its run began: a checkpointer brought them, no input did.

    An agent inside another graph is given that graph's whole state, so the runs above are asked as well.
    """
    found: set[str] = set()
    for one in () if run is None else (run, *run.above()):
        start, given = _messages(one.first_inputs), _given(one.inputs)
        if start is not None and given is not None:
            found |= _before(start, given)
    return found


def is_called_by_tool(
    run: Run | None, window: Sequence[BaseMessage], messages: Sequence[BaseMessage]
) -> bool:
    """Whether a tool calls this agent for another one that goes on after a person's answer.

    That one calls its tools at once, and none of its hooks has run that could tell of its turn. What tells is that the
    conversation's newest turn waits for its answer, and is neither this agent's own nor that of one beside it.
    """
    if run is None or not window or not _is_awaited(window[-1]) or _ids(window) & _ids(messages):
        return False
    above = list(run.above())
    tool = next((at for at, one in enumerate(above) if one.kind == "tool"), len(above))
    gone_on = (one for one in above[tool:] if one.kind == "chain" and is_resumed(one))
    caller = next(gone_on, None)
    if caller is None or caller.settled:
        return False
    return not any(one.turn and one.turn.progress for one in caller.below() if one is not run)


def _is_awaited(message: BaseMessage) -> bool:
    return not isinstance(message, AIMessage) or bool(call_ids(message))


def name_all(
    messages: Sequence[BaseMessage], window: Sequence[BaseMessage] = (), run: Run | None = None
) -> None:
    """Give each message of a state that has no id one, in its place there.

    LangGraph does so for every message object; what an input says as a tuple or a dict has none in graphs with a reducer of their own,
    as deepagents'. Each run is given that anew from a checkpointer, and then it is called what it is called in the window.
    """
    nameless = [at for at, message in enumerate(messages) if not message.id]
    if not nameless:
        return
    given = None if run is None else _given(run.inputs)
    old = 0 if given is None else len(messages) - len(given)
    taken = {message.id for message in messages}
    stored = [message for message in window if message.id and message.id not in taken]
    for at in reversed(nameless):
        message = messages[at]
        place = next((n for n in reversed(range(len(stored))) if says_the_same(stored[n], message)), None)
        if at < old and place is not None:
            message.id = stored[place].id
            del stored[place:]
        else:
            message.id = str(uuid4())


def name_again(
    messages: Sequence[BaseMessage], window: Sequence[BaseMessage], tried: Container[str | None]
) -> None:
    """Call what a run is given what it was called when another try of that run stored it: ``tried`` has the names.

    Each try makes messages anew of what an input says as a tuple or a dict.
    """
    there = {message.id for message in messages}
    stored = [one for one in window if one.id in tried and one.id not in there]
    for message in messages:
        place = next((n for n, one in enumerate(stored) if says_the_same(one, message)), None)
        if place is not None:
            message.id = stored[place].id
            del stored[: place + 1]


def is_resumed(run: Run | None) -> bool:
    """Whether a run goes on where another stopped, and was given no message."""
    return run is not None and _given(run.inputs) == []


def given_last(run: Run | None, messages: Sequence[BaseMessage]) -> BaseMessage | None:
    """The newest message of a run's input, as the state has it."""
    given = None if run is None else _given(run.inputs)
    if given and (named := _id(given[-1])):
        return next((message for message in messages if message.id == named), None)
    return messages[-1] if messages and given != [] else None


def given_again(window: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> tuple[int, int]:
    """How many of the messages given are a transcript of the conversation, and where in the window that begins.

    Without ids a transcript is known by the model's own words: the newest stored answer, and before it as many turns as
    both have, with the same answers. What the user said there may have been redacted since. Clients leave out tools.
    """
    stored, told = _spoken(window), _spoken(given)
    unanswered = next((n for n, (_, one) in enumerate(reversed(stored)) if isinstance(one, AIMessage)), None)
    if unanswered is None:
        return 0, len(window)
    tail, stored = stored[len(stored) - unanswered :], stored[: len(stored) - unanswered]
    for end in range(len(told), 0, -1):
        both = min(end, len(stored))
        pairs = zip(stored[len(stored) - both :], told[end - both : end], strict=True)
        if isinstance(told[end - 1][1], AIMessage) and all(_same_turn(a, b) for (_, a), (_, b) in pairs):
            for (_, waiting), (_, next_) in zip(tail, told[end:], strict=False):
                if not says_the_same(waiting, next_):
                    break
                end += 1  # noqa: PLW2901 - what was stored and never answered is sent again as well
            return told[end - 1][0] + 1, stored[len(stored) - both][0]
    return 0, len(window)


def without_transcript(
    messages: Sequence[Any], shown: Sequence[BaseMessage], said: Sequence[BaseMessage]
) -> Sequence[Any]:
    """The messages of a chain's turn, ``said`` and what it answered, without what an answer repeats of them.

    A graph or an agent in a chain answers with all of its state: what it was ``shown``, what was said, and only then
    what is new. What a prompt puts in front goes with it.
    """
    if len(messages) <= len(said) or not all(map(_is_same, said, messages)):
        return messages
    answer = messages[len(said) :]
    begin = next((at for at, one in enumerate(answer) if not isinstance(one, SystemMessage)), 0)
    again = [*shown, *said]
    end = begin + len(again)
    if not again or len(answer) <= end or not all(map(_is_same, again, answer[begin:end])):
        return messages
    return [*said, *answer[end:]]


def _is_same(known: BaseMessage, again: object) -> bool:
    if not isinstance(again, BaseMessage):
        return False
    if known.id and again.id:
        return known.id == again.id
    return says_the_same(known, again)


def _same_turn(stored: BaseMessage, told: BaseMessage) -> bool:
    return stored.type == told.type and (isinstance(told, HumanMessage) or _words(stored) == _words(told))


def _words(message: BaseMessage) -> str:
    """The text of a message, the same for one of blocks and for a client's copy that has them as one text."""
    return text_of(message.content).replace("\n", "")


def _spoken(messages: Sequence[BaseMessage]) -> list[tuple[int, BaseMessage]]:
    """What people read: what they said themselves, and answers that have text."""
    return [
        (at, one)
        for at, one in enumerate(messages)
        if begins_turn(one) or (isinstance(one, AIMessage) and text_of(one.content))
    ]


def _before(start: Sequence[Any], given: Sequence[Any]) -> set[str]:
    """The ids in a state, less those of what was given; what was given without an id stands at the end."""
    names = [_id(one) for one in given]
    old = start if all(names) else start[: max(0, len(start) - len(given))]
    return {name for one in old if (name := _id(one)) and name not in names}


def _given(inputs: Any) -> list[Any] | None:
    """The messages a run was given; none for one that is resumed, ``None`` where it does not say."""
    if inputs is None:
        return []
    if hasattr(inputs, "resume") and hasattr(inputs, "update"):  # a Command of LangGraph's
        return _messages(inputs.update) or []
    return _messages(inputs)


def _messages(state: Any) -> list[Any] | None:
    found = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    if isinstance(found, str | BaseMessage | tuple | Mapping):
        found = [found]
    if not isinstance(found, list):
        return None
    return [one for one in found if not isinstance(one, RemoveMessage)]


def _ids(messages: Sequence[BaseMessage]) -> set[str]:
    return {message.id for message in messages if message.id}


def _id(message: Any) -> str | None:
    found = message.get("id") if isinstance(message, Mapping) else getattr(message, "id", None)
    return found if isinstance(found, str) else None
