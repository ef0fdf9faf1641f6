"""Titles that a caller's model or function makes once a first turn is stored: beside the request, once, and never over a user's."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from convmemory import AsyncConversationMemory, ConversationMemory, InvalidArgument
from convmemory._async import titler as awaited_titler
from convmemory._sync import titler as blocking_titler
from fix_memory import add, is_blocking, until

QUESTION, ANSWER = HumanMessage("How many days off do I have?"), AIMessage("Thirty days.")
AUTOMATIC = "How many days off do I have?"


class Made:
    """A function that makes titles, and what it was shown."""

    def __init__(self, title: Any = "Days off") -> None:
        self.title = title
        self.shown: list[list[BaseMessage]] = []
        self.let = threading.Event()
        self.let.set()

    def __call__(self, messages: list[BaseMessage]) -> Any:
        self.shown.append(messages)
        assert self.let.wait(20)
        if isinstance(self.title, Exception):
            raise self.title
        return self.title


class Awaited(Made):
    """The same, to be awaited."""

    async def __call__(self, messages: list[BaseMessage]) -> Any:
        await asyncio.sleep(0)
        return super().__call__(messages)


@pytest.fixture
def look(database):
    """A function that returns title, source and version of a conversation."""

    def looked(name="c"):
        query = "SELECT title, title_source, version FROM conversations WHERE external_id = %s"
        return database.execute(query, [name]).fetchone()

    return looked


@pytest.fixture
def titled(look):
    """Wait until a conversation has a title of that source."""

    async def wait(source, name="c"):
        await until(lambda: look(name)[1] == source)
        return look(name)[0]

    return wait


async def quiet(memory):
    """Wait until nobody makes a title any more."""
    titler = getattr(memory, "blocking", memory)._titler
    await until(lambda: not titler._works and not titler._waiting)


@pytest.mark.parametrize("kind", [Made, Awaited])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_function_makes_a_title_of_the_first_turn(make_memory, schema, titled, look, kind, at_once):
    made = kind()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")

    if at_once:
        await ana.save_messages("c", [QUESTION, ANSWER])
    else:
        await ana.save_message("c", QUESTION)
        await quiet(memory)
        assert (look()[:2], made.shown) == ((AUTOMATIC, "auto"), []), "nobody has answered yet"
        await ana.save_message("c", ANSWER)
    assert await titled("model") == "Days off"
    assert made.shown == [[QUESTION, ANSWER]]
    found = await ana.get_conversation("c")
    assert (found.title, found.title_source) == ("Days off", "model")
    assert [c.title for c in await ana.list_user_conversations()] == ["Days off"]

    await ana.save_messages("c", [HumanMessage("And in summer?"), AIMessage("As many.")])
    await quiet(memory)
    assert len(made.shown) == 1, "never twice"
    assert (await ana.rename_conversation("c", "Mine")).title_source == "user"


async def test_a_model_is_asked_in_words_of_ours(make_memory, schema, titled):
    asked = []

    class Model(FakeListChatModel):
        def _call(self, messages, *args, **kwargs):
            asked.append(messages)
            return super()._call(messages, *args, **kwargs)

    memory = await make_memory(
        titles=Model(responses=['"**Days off this year**"\n\nBecause ...']).with_retry()
    )
    await memory.for_user("ana").save_messages("c", [SystemMessage("Be kind."), QUESTION, ANSWER])

    assert await titled("model") == "Days off this year"
    [[told, transcript]] = asked
    assert "title" in told.content
    assert transcript.content == f"User: {QUESTION.content}\n\nAssistant: {ANSWER.content}"


async def test_a_turn_with_tools_is_over_when_it_is_answered(make_memory, schema, titled, look):
    made = Made()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")
    call = AIMessage("", tool_calls=[{"name": "look_up", "args": {}, "id": "t"}])
    for step in (QUESTION, call, ToolMessage("30", tool_call_id="t")):
        await ana.save_message("c", step)
    await quiet(memory)
    assert made.shown == []

    await ana.save_message("c", ANSWER)
    assert await titled("model") == "Days off"
    assert [m.type for m in made.shown[0]] == ["human", "ai", "tool", "ai"]


@pytest.mark.parametrize("title", [RuntimeError("secret words"), None, "", " \n ", 7, {"title": "x"}])
async def test_what_goes_wrong_leaves_the_automatic_title(make_memory, schema, look, caplog, title):
    made = Made(title)
    memory = await make_memory(titles=made)
    with caplog.at_level(logging.DEBUG):
        await memory.for_user("ana").save_messages("c", [QUESTION, ANSWER])
        await quiet(memory)

    assert made.shown
    assert look()[:2] == (AUTOMATIC, "auto")
    assert "secret words" not in caplog.text
    assert ("a title was not made: RuntimeError" in caplog.text) == isinstance(title, Exception)


async def test_a_users_title_is_never_replaced_not_even_one_given_meanwhile(make_memory, schema, look):
    made = Made()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")
    await ana.create_conversation(conversation_id="named", title="Mine")
    await ana.save_messages("named", [QUESTION, ANSWER])
    await quiet(memory)
    assert made.shown == []

    made.let.clear()
    await ana.save_messages("c", [QUESTION, ANSWER])
    await until(lambda: bool(made.shown))
    await ana.rename_conversation("c", "Mine as well")
    made.let.set()
    await quiet(memory)
    assert look("c")[:2] == ("Mine as well", "user")


async def test_nobody_waits_for_a_title_and_a_second_turn_does_not_lose_it(make_memory, schema, titled):
    made = Made()
    made.let.clear()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")
    await ana.save_messages("c", [QUESTION, ANSWER])  # would wait for ever
    await until(lambda: bool(made.shown))
    assert (await ana.get_conversation("c")).title == AUTOMATIC
    await ana.update_conversation("c", metadata={"a": 1})  # it is at another version now
    made.let.set()

    assert await titled("model") == "Days off"
    assert len(made.shown) == 1, "the words are the same"


async def test_what_was_deleted_while_a_title_was_made_is_not_told_in_it(make_memory, schema, look, titled):
    made = Made("Told in confidence")
    made.let.clear()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")
    await ana.save_messages("c", [QUESTION, ANSWER])
    await until(lambda: bool(made.shown))
    await ana.clear("c")
    made.let.set()
    await quiet(memory)
    assert look()[:2] == (None, "none")

    made.title = "Another matter"
    await ana.save_messages("c", [HumanMessage("Another question"), AIMessage("Yes.")])
    assert await titled("model") == "Another matter"


async def test_what_was_deleted_while_a_title_was_made_gives_none_to_what_is_made_anew(
    make_memory, schema, look, titled
):
    """By another process, which is the only one that knows; and it is at the same version again."""
    shown, let = threading.Event(), threading.Event()

    def quoted(messages):
        shown.set()
        assert let.wait(20)
        return f"On {messages[0].content}"

    memory = await make_memory(titles=quoted)
    other = (await make_memory()).for_user("ana")
    await memory.for_user("ana").save_messages("c", [HumanMessage("my secret"), AIMessage("I see.")])
    await until(shown.is_set)
    await other.delete_conversation("c")
    await other.save_messages("c", [HumanMessage("the weather"), AIMessage("Sunny.")])
    let.set()

    assert await titled("model") == "On the weather"


async def clear(ana):
    await ana.clear("c")


async def cut(ana):
    await ana.truncate("c", after=1)


async def take_away(ana):
    await ana.delete_messages("c", seqs=[2])


async def reword(ana):
    [_, answer] = await ana.get_messages("c")
    await ana.replace_message("c", answer, AIMessage("Forty days."))


@pytest.mark.parametrize("change", [clear, cut, take_away])
async def test_a_made_title_goes_with_what_it_was_made_of(make_memory, schema, look, titled, change):
    made = Made()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")
    await ana.save_messages("c", [QUESTION, ANSWER])
    await titled("model")

    await change(ana)
    assert look()[:2] == (None, "none")
    made.title = "Made anew"
    await ana.save_messages("c", [QUESTION, ANSWER] if change is clear else [AIMessage("Forty days.")])
    assert await titled("model") == "Made anew"


async def test_a_made_title_stays_where_something_else_goes(make_memory, schema, look, titled):
    memory = await make_memory(titles=Made())
    ana = memory.for_user("ana")
    await ana.save_messages("c", [QUESTION, ANSWER])
    await titled("model")
    await ana.save_messages("c", [HumanMessage("More?"), AIMessage("No.")])

    await ana.truncate("c", after=2)
    await ana.save_message("c", HumanMessage("Again?"))
    await ana.delete_messages("c", seqs=[5])
    assert look()[:2] == ("Days off", "model")


async def test_a_title_is_made_anew_where_the_answer_got_other_words(make_memory, schema, look, titled):
    made = Made()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")
    await ana.save_messages("c", [QUESTION, ANSWER])
    await titled("model")
    made.title = "Forty days off"
    await reword(ana)
    assert await titled("model") == "Forty days off"
    assert made.shown[-1][-1].content == "Forty days."

    made.title = RuntimeError()
    await reword(ana)
    assert await titled("auto") == AUTOMATIC, "where none is made, the automatic one is there again"


async def test_no_context_of_the_request_is_seen(make_memory, schema, titled):
    whose = contextvars.ContextVar("whose", default="nobody's")
    seen = []
    memory = await make_memory(titles=lambda _: seen.append(whose.get()) or "Days off")
    whose.set("ana's request")
    await memory.for_user("ana").save_messages("c", [QUESTION, ANSWER])

    await titled("model")
    assert seen == ["nobody's"]


async def test_a_chain_and_a_history_have_titles_too(make_memory, schema, titled):
    memory = await make_memory(titles=Made())
    history = memory.history("c", user_id="ana")
    await add(history, [QUESTION, ANSWER])
    assert await titled("model") == "Days off"

    model = FakeMessagesListChatModel(responses=[ANSWER])
    chain = RunnableWithMessageHistory(
        RunnableLambda(model.invoke),
        memory.history_factory,
        history_factory_config=memory.history_factory_config,
    )
    config = memory.run_config(conversation_id="d", user_id="ana")
    if is_blocking(history):
        chain.invoke([QUESTION], config)
    else:
        await chain.ainvoke([QUESTION], config)
    assert await titled("model", "d") == "Days off"


async def test_an_agent_has_titles_and_its_stream_none_of_their_tokens(make_memory, schema, titled):
    agents = pytest.importorskip("langchain.agents", reason="not installed beside the package alone")
    from convmemory.middleware import ConversationMemoryMiddleware

    memory = await make_memory(titles=FakeListChatModel(responses=["Made of tokens"]))
    middleware = ConversationMemoryMiddleware(getattr(memory, "blocking", memory))
    agent = agents.create_agent(FakeListChatModel(responses=["Thirty days."]), [], middleware=[middleware])
    config = memory.run_config(conversation_id="c", user_id="ana")
    said = {"messages": [QUESTION]}
    if hasattr(memory, "blocking"):
        told = [piece.text for piece, _ in agent.stream(said, config, stream_mode="messages")]
    else:
        told = [piece.text async for piece, _ in agent.astream(said, config, stream_mode="messages")]
    assert await titled("model") == "Made of tokens"
    assert "tokens" not in "".join(told)


async def test_a_chat_route_has_titles(make_memory, schema, titled):
    pytest.importorskip("fastapi", reason="not installed beside the package alone")
    import httpx
    from fastapi import FastAPI

    from convmemory.api import create_chat_router

    memory = await make_memory(titles=Made())
    app = FastAPI()
    model = FakeListChatModel(responses=["Thirty days."])
    blocking_or_not = getattr(memory, "blocking", memory)
    app.include_router(create_chat_router(blocking_or_not, model, current_user=lambda: "ana"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat") as client:
        answer = await client.post("/chat", json={"message": QUESTION.content, "conversation_id": "c"})
    assert answer.json()["reply"] == "Thirty days."
    assert await titled("model") == "Days off"


async def test_closing_waits_for_a_title_that_is_being_made(make_memory, schema, look):
    made = Made()
    memory = await make_memory(titles=made)
    await memory.for_user("ana").save_messages("c", [QUESTION, ANSWER])
    await memory.close()

    assert look()[:2] == ("Days off", "model")


async def test_many_are_made_a_few_at_a_time(make_memory, schema, database):
    going, most = 0, 0
    lock = threading.Lock()

    def titles(messages):
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        threading.Event().wait(0.01)
        with lock:
            going -= 1
        return f"Title of {messages[0].content}"

    memory = await make_memory(titles=titles)
    ana = memory.for_user("ana")
    for n in range(25):
        await ana.save_messages(f"c{n}", [HumanMessage(f"q{n}"), ANSWER])
    await quiet(memory)

    found = database.execute("SELECT external_id, title FROM conversations").fetchall()
    assert dict(found) == {f"c{n}": f"Title of q{n}" for n in range(25)}
    assert most <= 4


async def test_one_that_hangs_takes_nothing_but_titles(make_memory, schema, look, monkeypatch, caplog):
    for module in (awaited_titler, blocking_titler):
        monkeypatch.setattr(module, "LONGEST", 0.05)
    made = Made()
    made.let.clear()
    memory = await make_memory(titles=made)
    ana = memory.for_user("ana")
    for n in range(30):
        await ana.save_messages(f"c{n}", [QUESTION, ANSWER])
    await until(lambda: len(made.shown) >= 4)

    for _ in range(40):  # as many threads as the event loop has, and more
        assert await asyncio.wait_for(asyncio.to_thread(int), 10) == 0
    if not hasattr(memory, "blocking"):
        await quiet(memory)
        assert "asked for before did not come" in caplog.text
    assert len(made.shown) <= 8
    assert look("c0")[:2] == (AUTOMATIC, "auto")
    made.let.set()


async def test_what_another_process_cleared_has_a_title_again_within_a_minute(
    make_memory, schema, titled, monkeypatch
):
    made = Made()
    memory = await make_memory(titles=made)
    other = (await make_memory()).for_user("ana")
    ana = memory.for_user("ana")
    await ana.save_messages("c", [QUESTION, ANSWER])
    await titled("model")
    await quiet(memory)
    await other.clear("c")
    made.title = "Made anew"

    later = time.monotonic() + 61
    for module in (awaited_titler, blocking_titler):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: later))
    await ana.save_messages("c", [HumanMessage("Another question"), ANSWER])
    assert await titled("model") == "Made anew"


async def test_what_cannot_make_a_title_is_refused_at_once(make_memory):
    with pytest.raises(InvalidArgument, match=r"^titles: must be a model or a function"):
        await make_memory(titles="openai:gpt-5-mini")


async def test_a_made_title_is_found_by_its_words(make_memory, schema, titled):
    memory = await make_memory(titles=Made("Vacation entitlement"), search="english")
    await memory.for_user("ana").save_messages("c", [QUESTION, ANSWER])
    await titled("model")

    [hit] = await memory.for_user("ana").search.messages("entitlement")
    assert (hit.seq, hit.title) == (None, "Vacation entitlement")


def test_in_one_event_loop_after_another(database_url, schema, database):
    memory = AsyncConversationMemory.from_url(database_url, db_schema=schema, titles=Awaited())

    def titles():
        return sorted(title for [title] in database.execute("SELECT title FROM conversations").fetchall())

    async def left_in_the_middle():
        await memory.open()
        # the loop ends before its title is made
        await memory.save_messages("a", [QUESTION, ANSWER], user_id="ana")

    async def to_the_end():
        await memory.save_messages("b", [QUESTION, ANSWER], user_id="ana")
        await until(lambda: "Days off" in titles())
        await memory.close()

    asyncio.run(left_in_the_middle())
    asyncio.run(to_the_end())
    assert titles()[0] in {"Days off", AUTOMATIC}
    assert "Days off" in titles()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_in_a_forked_process(database_url, schema, database):
    with ConversationMemory.from_url(database_url, db_schema=schema, titles=Made()) as memory:
        memory.save_messages("parent", [QUESTION, ANSWER], user_id="ana")
        pid = os.fork()
        if pid == 0:
            memory.save_messages("child", [QUESTION, ANSWER], user_id="ana")
            memory._titler.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    found = dict(database.execute("SELECT external_id, title FROM conversations").fetchall())
    assert found == {"parent": "Days off", "child": "Days off"}
