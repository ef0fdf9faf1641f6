"""The parts of the chat route that wait for nobody: what is heard, who may run, where a turn goes."""

import asyncio
import time
from uuid import UUID, uuid4

import pytest

fastapi = pytest.importorskip("fastapi", reason="not installed beside the package alone")
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage  # noqa: E402

from convmemory.api.chat import runs  # noqa: E402
from convmemory.api.chat.events import Answered, CallBegan, Called, MessageBegan, PartEnded, PartGrew  # noqa: E402
from convmemory.api.chat.hearing import Hearing  # noqa: E402
from convmemory.api.chat.runnables import Heard, _Naming  # noqa: E402
from convmemory.api.chat.runs import Busy, Run, Runs, TooLong, TooManyRuns  # noqa: E402


def heard(*messages):
    hearing = Hearing()
    return [event for message in messages for event in hearing.hear(message)] + list(hearing.done())


def piece(text="", **more):
    return AIMessageChunk(text, **more)


def call(args, index=0, name=None, call_id=None):
    return piece(
        tool_call_chunks=[
            {"name": name, "args": args, "id": call_id, "index": index, "type": "tool_call_chunk"}
        ]
    )


def test_arguments_that_are_no_json_are_told_as_such():
    events = heard(call('{"a":', name="add", call_id="c1"))
    assert [type(event) for event in events][-1] is Called
    assert (events[-1].arguments, events[-1].why_not) == ('{"a":', "the arguments are not JSON")
    whole = AIMessage(
        "",
        invalid_tool_calls=[
            {"name": "add", "args": "{", "id": "c", "error": None, "type": "invalid_tool_call"}
        ],
    )
    assert heard(whole)[-1].why_not == "the arguments are not JSON"


def test_a_call_whose_name_comes_late_is_begun_when_it_does():
    events = heard(call('{"a"', call_id="c1"), call(":1}", name="add"))
    assert [event for event in events if isinstance(event, CallBegan)] == [CallBegan("c1", "add")]
    assert events[-1].arguments == {"a": 1}


def test_a_call_without_a_name_is_none():
    assert not [event for event in heard(call("{}", call_id="c1")) if isinstance(event, CallBegan | Called)]


def test_an_id_that_is_used_again_is_another_on_the_wire_and_its_results_find_it():
    asking = AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "c"}])
    events = heard(asking, ToolMessage("1", tool_call_id="c"), asking, ToolMessage("2", tool_call_id="c"))
    assert [(e.call, e.content) for e in events if isinstance(e, Answered)] == [("c", "1"), ("c~2", "2")]


def test_text_around_reasoning_is_in_parts_of_its_own():
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "a"},
        "b",
        {"type": "image", "url": "x"},
    ]
    openai = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "why"}]}
    deepseek = AIMessage("a", additional_kwargs={"reasoning_content": "hm"})
    for message, told in {
        AIMessage(blocks).model_dump_json(): [("reasoning", "hm"), ("text", "a"), ("text", "b")],
        AIMessage([openai]).model_dump_json(): [("reasoning", "why")],
        deepseek.model_dump_json(): [("reasoning", "hm"), ("text", "a")],
    }.items():
        events = heard(AIMessage.model_validate_json(message))
        assert [(e.kind, e.text) for e in events if isinstance(e, PartGrew)] == told
        assert isinstance(events[-1], PartEnded)


def names(*messages):
    naming = _Naming()
    return [naming.name(message).id for message in messages]


def test_pieces_that_a_provider_and_langchain_name_differently_are_one_message():
    last = piece(id="lc_run--1", chunk_position="last")
    assert names(piece("a", id="msg_1"), piece("b", id="lc_run--1"), last) == ["msg_1"] * 3
    assert names(piece("a", id="lc_run--1"), piece("b", id="msg_1"), last) == ["lc_run--1"] * 3
    both = names(piece("a", id="msg_1"), piece("b", id="lc_run--1"), last, piece("c", id="lc_run--2"))
    assert both[-1] == "lc_run--2"
    first, second = names(piece("a"), piece("b"))
    assert first == second
    one, _, other = names(piece("a"), ToolMessage("b", tool_call_id="c"), piece("c"))
    assert one != other


def test_what_a_state_has_is_not_stored_once_more_under_the_id_of_its_pieces():
    answer = Heard()
    answer.piece(piece("half", id="lc_run--1"), in_state=True)
    answer.state([AIMessage("half", id="msg_1")])
    assert [draft.message.id for draft in answer.drafts(partial=False)] == ["msg_1"]


def test_one_run_in_a_conversation_and_so_many_for_a_user():
    here, there, third = uuid4(), uuid4(), uuid4()
    known = Runs(2)
    first = Run("1", "ada", here, "k", question=here)
    known.begin(first)
    with pytest.raises(Busy):
        known.begin(Run("2", "ada", here))
    known.begin(Run("2", "ada", there))
    with pytest.raises(TooManyRuns):
        known.begin(Run("3", "ada", third))
    known.begin(Run("3", "bob", third))
    known.forget(first)
    assert known.find(here) is None
    assert (known.answered(here, "k"), known.answered(here, "other"), known.answered(here, None)) == (
        here,
        None,
        None,
    )
    known.forget(Run("x", "ada", there))
    assert known.find(there)


def test_the_last_requests_of_so_many_conversations_are_known(monkeypatch):
    monkeypatch.setattr(runs, "MOST_KNOWN", 2)
    known, ids = Runs(1), [UUID(int=n) for n in range(3)]
    for one in ids:
        run = Run("r", "ada", one, "k", question=one)
        known.begin(run)
        known.forget(run)
    assert [known.answered(one, "k") for one in ids] == [None, *ids[1:]]


async def test_readers_of_a_run_get_all_of_it_however_late_and_slow_they_are(monkeypatch):
    monkeypatch.setattr(runs, "HEARTBEAT", 0.05)
    run = Run("r", "ada", uuid4())
    early = [asyncio.create_task(collected(run)) for _ in range(3)]
    run.write(b"a")
    await asyncio.sleep(0.12)
    run.write(b"b")
    late = asyncio.create_task(collected(run))
    await asyncio.sleep(0)
    run.end("finished", b"c")
    run.end("failed", b"d")
    run.write(b"e")
    for one in (*early, late):
        assert b"".join(await one).replace(runs.BEAT, b"") == b"abc"
    assert runs.BEAT in await early[0]
    assert await collected(run) == [b"abc"]
    await run.ended()


async def collected(run):
    return [sent async for sent in run.follow()]


def test_a_run_that_sends_without_end_is_ended(monkeypatch):
    monkeypatch.setattr(runs, "MOST_BYTES", 10)
    run = Run("r", "ada", uuid4())
    run.write(b"123456789")
    with pytest.raises(TooLong):
        run.write(b"12")


def test_hearing_a_long_answer_takes_time_in_proportion_to_it():
    def seconds(pieces):
        hearing = Hearing()
        began = time.perf_counter()
        for _ in range(pieces):
            list(hearing.hear(piece("word ", id="lc_run--1")))
        return time.perf_counter() - began

    seconds(1_000)
    assert seconds(20_000) < 200 * max(seconds(1_000), 1e-4)


def test_steps_are_told_apart_by_the_results_between_them():
    asking = AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "c"}], id="1")
    events = heard(
        asking, ToolMessage("1", tool_call_id="c"), AIMessage("done", id="2"), AIMessage("and", id="3")
    )
    assert [e.after_results for e in events if isinstance(e, MessageBegan)] == [False, True, False]
