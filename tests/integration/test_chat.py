"""The chat route in its plain protocol, on both colours of a memory: what is answered, stored, refused, and goes on."""

import asyncio

import pytest

fastapi = pytest.importorskip("fastapi", reason="not installed beside the package alone")
pytest.importorskip("langchain", reason="not installed beside the package alone")
import httpx  # noqa: E402 - comes with the tests of fastapi
from langchain.agents import create_agent  # noqa: E402
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage  # noqa: E402
from langchain_core.output_parsers import StrOutputParser  # noqa: E402
from langchain_core.runnables.history import RunnableWithMessageHistory  # noqa: E402

from convmemory import InvalidArgument  # noqa: E402
from convmemory.api import create_chat_router  # noqa: E402
from convmemory.api.chat import turns  # noqa: E402
from convmemory.middleware import ConversationMemoryMiddleware  # noqa: E402
from fix_chat import events_of, served  # noqa: E402
from fix_memory import until  # noqa: E402
from scripted import PROMPT, Echo, Shelf  # noqa: E402
from scripted_chat import TOOLS, Reader, calling, thinking  # noqa: E402

STREAM = {"accept": "text/event-stream"}


def of_memory(make):
    make.of_memory = True
    return make


def remembering(model, tools=(), **options):
    """An agent that has the memory itself."""

    def made(memory):
        return create_agent(model, list(tools), middleware=[ConversationMemoryMiddleware(memory, **options)])

    return of_memory(made)


def with_history(model):
    """A chain that has the memory itself."""

    def made(memory):
        return RunnableWithMessageHistory(
            model, memory.history_factory, history_factory_config=memory.history_factory_config
        )

    return of_memory(made)


async def generator(turn):
    yield f"{len(turn.messages)} "
    yield AIMessageChunk("shown")


KINDS = {
    "agent with the middleware": lambda: remembering(Reader()),
    "agent without": lambda: create_agent(Reader(), []),
    "chain": Reader,
    "chain of texts": lambda: Reader() | StrOutputParser(),
    "generator": lambda: generator,
    "history": lambda: with_history(Reader()),
}


async def words(client, conversation="c", **headers):
    found = await client.get(f"/conversations/{conversation}/messages", headers=headers)
    return [(one["role"], one["content"]) for one in found.json()["items"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_runnable_answers_remembers_and_is_stored_once(make_chat, kind):
    client = await make_chat(KINDS[kind]())
    first = await client.post("/chat", json={"message": "one"})
    said = first.json()
    assert (first.status_code, said["reply"]) == (200, "1 shown")
    again = {"message": "two", "conversation_id": said["conversation_id"], "session_id": said["session_id"]}
    second = (await client.post("/chat", json=again)).json()
    assert second["reply"] == "3 shown"
    assert (second["conversation_id"], second["session_id"]) == (said["conversation_id"], said["session_id"])
    assert await words(client, said["conversation_id"]) == [
        ("human", "one"),
        ("ai", "1 shown"),
        ("human", "two"),
        ("ai", "3 shown"),
    ]
    assert [one["role"] for one in second["messages"]] == ["human", "ai"]
    assert second["question_id"] == second["messages"][0]["id"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_question_is_answered_anew_or_asked_in_other_words_under_its_id(make_chat, kind):
    client = await make_chat(KINDS[kind]())
    first = (await client.post("/chat", json={"message": "one", "conversation_id": "c"})).json()
    await client.post("/chat", json={"message": "two", "conversation_id": "c"})
    answer = first["messages"][-1]["id"]

    anew = await client.post("/chat", json={"message_id": answer, "conversation_id": "c"})
    assert (anew.status_code, anew.json()["reply"]) == (200, "1 shown")
    assert await words(client) == [("human", "one"), ("ai", "1 shown")]

    await client.post("/chat", json={"message": "two", "conversation_id": "c"})
    other = {"message": "1", "message_id": first["question_id"], "conversation_id": "c"}
    assert (await client.post("/chat", json=other)).json()["question_id"] == first["question_id"]
    assert await words(client) == [("human", "1"), ("ai", "1 shown")]


async def test_a_question_stored_without_an_id_of_its_own_keeps_its_name(make_chat):
    client = await make_chat(remembering(Reader()))
    said = await client.post("/conversations/c/messages", json={"role": "user", "content": "one"})
    anew = {"message_id": said.json()["id"], "conversation_id": "c"}
    for _ in "once", "again":
        assert (await client.post("/chat", json=anew)).json()["reply"] == "1 shown"
    assert await words(client) == [("human", "one"), ("ai", "1 shown")]


async def test_a_session_leads_back_to_its_conversation(make_chat):
    client = await make_chat(Reader())
    first = (await client.post("/chat", json={"message": "one"})).json()
    second = (await client.post("/chat", json={"message": "two", "session_id": first["session_id"]})).json()
    assert second["conversation_id"] == first["conversation_id"]
    ended = (await client.post("/chat", json={"message": "three", "session_id": "gone"})).json()
    assert ended["conversation_id"] != first["conversation_id"]
    assert ended["session_id"] not in {"gone", first["session_id"]}


async def test_a_stream_tells_text_reasoning_calls_and_results_and_then_what_is_stored(make_chat):
    lines = [
        [
            thinking("Let "),
            thinking("me see."),
            *calling(("c1", "add", '{"a": 1, "b": 2}'), ("c2", "add", '{"a": 3, "b": 4}')),
        ],
        ["Three ", "and seven."],
    ]
    client = await make_chat(remembering(Reader(lines=lines), TOOLS))
    answer = await client.post("/chat", json={"message": "add", "conversation_id": "c"}, headers=STREAM)
    told = events_of(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [kind for kind, _ in told] == [
        "begin",
        "reasoning",
        "reasoning",
        "tool_call",
        "tool_call",
        "tool_result",
        "tool_result",
        "text",
        "text",
        "end",
    ]
    assert told[3][1] == {"id": "c1", "name": "add", "arguments": {"a": 1, "b": 2}}
    assert {one[1]["id"]: one[1]["content"] for one in told[5:7]} == {"c1": "3", "c2": "7"}
    assert told[-1][1]["reply"] == "Three and seven."
    assert [one["role"] for one in told[-1][1]["messages"]] == ["human", "ai", "tool", "tool", "ai"]


async def test_what_a_chain_retrieved_and_what_it_cost_is_stored_beside_its_answer(make_chat):
    chain = PROMPT.partial(history=[]) | Echo()

    async def found(turn):
        for document in await Shelf().ainvoke(turn.text):
            yield document
        async for piece in chain.astream({"question": turn.text}):
            yield piece

    client = await make_chat(found)
    answer = (await client.post("/chat", json={"message": "leave"})).json()
    assert [one["doc_id"] for one in answer["messages"][-1]["contexts"]] == ["leave-1", "leave-2"]
    assert (answer["tokens_used"], answer["latency_ms"] >= 0) == (4, True)


async def test_a_chain_with_keys_is_given_what_inputs_makes(make_chat):
    chain = PROMPT | Reader()
    client = await make_chat(chain, inputs=lambda turn: {"question": turn.text, "history": turn.history})
    await client.post("/chat", json={"message": "one", "conversation_id": "c"})
    assert (await client.post("/chat", json={"message": "two", "conversation_id": "c"})).json()[
        "reply"
    ] == "3 shown"


async def test_a_request_sent_again_with_its_key_is_one_turn(make_chat):
    model = Reader()
    client = await make_chat(remembering(model))
    sent = {"json": {"message": "one"}, "headers": {"idempotency-key": "k"}}
    first, again = [(await client.post("/chat", **sent)).json() for _ in range(2)]
    assert first["conversation_id"] == again["conversation_id"]
    assert first["messages"] == again["messages"]
    assert len(model.prompts) == 1
    streamed = await client.post("/chat", json=sent["json"], headers=sent["headers"] | STREAM)
    assert [kind for kind, _ in events_of(streamed.text)] == ["begin", "text", "end"]
    other = await client.post("/chat", **sent | {"headers": sent["headers"] | {"x-user": "bob"}})
    assert other.json()["conversation_id"] != first["conversation_id"]


async def test_an_edit_and_a_new_answer_that_are_sent_again_are_made_once(make_chat):
    model = Reader()
    client = await make_chat(remembering(model))
    first = (await client.post("/chat", json={"message": "one", "conversation_id": "c"})).json()
    answer = first["messages"][-1]["id"]
    for key, body in {
        "k1": {"message_id": answer},
        "k2": {"message": "1", "message_id": first["question_id"]},
    }.items():
        sent = {"json": {"conversation_id": "c", **body}, "headers": {"idempotency-key": key}}
        made, again = [(await client.post("/chat", **sent)).json() for _ in range(2)]
        assert made["messages"] == again["messages"]
    assert len(model.prompts) == 3


async def test_requests_with_one_key_at_the_same_time_are_one_turn(make_chat):
    gate = asyncio.Event()
    model = Reader(lines=[["one ", gate, "answer"]])
    client = await make_chat(model)
    sent = {"json": {"message": "one", "conversation_id": "c"}, "headers": {"idempotency-key": "k"}}
    asking = [asyncio.create_task(client.post("/chat", **sent)) for _ in range(5)]
    await until(lambda: model.prompts)
    await asyncio.sleep(0.05)
    gate.set()
    answers = [one.json()["reply"] for one in await asyncio.gather(*asking)]
    assert answers == ["one answer"] * 5
    assert await words(client) == [("human", "one"), ("ai", "one answer")]


@pytest.mark.parametrize("kind", ["chain", "agent"])
async def test_a_client_that_hangs_up_loses_nothing_and_comes_back_to_the_stream(make_chat, kind):
    gate = asyncio.Event()
    model = Reader(lines=[["half ", gate, "and half"]])
    client = await make_chat(model if kind == "chain" else remembering(model))
    async with served(client.app) as url, httpx.AsyncClient(base_url=url, headers={"x-user": "ada"}) as real:
        said = {"message": "one", "conversation_id": "c"}
        async with real.stream("POST", "/chat", json=said, headers=STREAM) as answer:
            async for line in answer.aiter_lines():
                if "half" in line:
                    break  # and hang up
        refused = await real.post("/chat", json={"message": "two", "conversation_id": "c"})
        assert (refused.status_code, refused.json()["status"], refused.json()["reason"]) == (409, 409, "busy")
        resumed = asyncio.create_task(real.get("/chat/c/stream"))
        await asyncio.sleep(0.1)
        gate.set()
        told = events_of((await resumed).text)
        assert [kind for kind, _ in told] == ["begin", "text", "text", "end"]
        assert (await real.get("/chat/c/stream")).status_code == 204
        assert await words(real) == [("human", "one"), ("ai", "half and half")]


@pytest.mark.parametrize("kind", ["chain", "agent without", "agent"])
async def test_what_was_said_until_it_was_stopped_is_kept_and_marked(make_chat, kind):
    model = Reader(lines=[["half ", asyncio.Event(), "and half"]])
    runnable = {"chain": model, "agent without": create_agent(model, [])}.get(kind) or remembering(
        model, save_partial=True
    )
    client = await make_chat(runnable)
    said = {"message": "one", "conversation_id": "c"}
    answer = asyncio.create_task(client.post("/chat", json=said))
    await until(lambda: model.prompts)
    await asyncio.sleep(0.1)
    assert (await client.post("/chat/c/stop")).status_code == 204
    reply = (await answer).json()
    assert (reply["reply"], reply["stopped"]) == ("half ", True)
    assert (await client.post("/chat/c/stop")).status_code == 204
    assert await words(client) == [("human", "one"), ("ai", "half ")]
    assert (await client.post("/chat", json=said)).json()["reply"] == "3 shown"


@pytest.mark.parametrize("kind", ["chain", "agent without", "agent", "generator"])
async def test_an_error_in_an_answer_tells_nothing_of_itself_and_costs_no_word(make_chat, kind, caplog):
    model = Reader(lines=[["half ", ValueError("s3cret")], ["half ", ValueError("s3cret")]])

    async def failing(turn):
        async for piece in model.astream(turn.messages):
            yield piece

    runnables = {"chain": model, "agent without": create_agent(model, []), "generator": failing}
    client = await make_chat(runnables.get(kind) or remembering(model, save_partial=True))
    said = {"message": "one", "conversation_id": "c"}
    answer = await client.post("/chat", json=said)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    streamed = await client.post("/chat", json={"message": "two", "conversation_id": "c"}, headers=STREAM)
    assert events_of(streamed.text)[-1][0] == "error"
    assert "s3cret" not in answer.text + streamed.text + caplog.text
    assert "ValueError" in caplog.text
    assert await words(client) == [("human", "one"), ("ai", "half "), ("human", "two"), ("ai", "half ")]
    assert (await client.post("/chat", json={"message": "three", "conversation_id": "c"})).status_code == 200


async def test_the_same_request_after_a_failure_is_answered_after_all(make_chat):
    model = Reader(lines=[[ValueError("once")], ["now"]])
    client = await make_chat(model)
    sent = {"json": {"message": "one", "conversation_id": "c"}, "headers": {"idempotency-key": "k"}}
    assert (await client.post("/chat", **sent)).status_code == 500
    assert (await client.post("/chat", **sent)).json()["reply"] == "now"
    assert await words(client) == [("human", "one"), ("ai", "now")]


async def test_what_cannot_be_asked_is_refused_before_anything_changes(make_chat):
    client = await make_chat(Reader(), max_body=2_000)
    await client.post("/chat", json={"message": "one", "conversation_id": "c"})
    refused = [
        ({"conversation_id": "c"}, 422),
        ({"message": ""}, 422),
        ({"message": "two", "more": 1}, 422),
        ({"message": "x" * 2_001}, 413),
        ({"message_id": "nobody's", "conversation_id": "c"}, 409),
        ({"message_id": "nobody's"}, 409),
        ({"message_id": "nobody's", "conversation_id": "none"}, 404),
    ]
    for body, status in refused:
        answer = await client.post("/chat", json=body)
        assert (body, answer.status_code, answer.headers["content-type"]) == (
            body,
            status,
            "application/problem+json",
        )
    assert (await client.post("/chat", json={"message": "a"}, headers={"x-user": ""})).status_code == 401
    assert await words(client) == [("human", "one"), ("ai", "1 shown")]


async def test_a_tab_that_shows_what_was_cut_off_is_told_what_to_do(make_chat):
    client = await make_chat(Reader(), protocol="ai-sdk")

    async def say(*messages):
        sent = [{"id": name, "role": "user", "parts": [{"type": "text", "text": name}]} for name in messages]
        return await client.post("/chat", json={"id": "c", "messages": sent})

    assert (await say("one")).status_code == 200
    assert (await say("one", "two")).status_code == 200
    assert (await client.post("/conversations/c/truncate", json={"after": 2})).json() == {"removed": 2}

    stale = await say("one", "two", "three")
    assert (stale.status_code, stale.json()["reason"]) == (409, "stale")
    assert "read the conversation again, and send once more" in stale.json()["detail"]
    shown = (await client.get("/chat/c")).json()["messages"]
    again = {"id": "three", "role": "user", "parts": [{"type": "text", "text": "three"}]}
    assert (await client.post("/chat", json={"id": "c", "messages": [*shown, again]})).status_code == 200
    said = [m["content"] for m in (await client.get("/conversations/c/messages")).json()["items"]]
    assert said[0::2] == ["one", "three"]


@pytest.mark.parametrize(
    ("protocol", "kinds"),
    [
        ("plain", {"application/json", "text/event-stream"}),
        ("ai-sdk", {"text/event-stream"}),
        ("ag-ui", {"text/event-stream"}),
    ],
)
async def test_the_document_says_what_is_streamed(make_chat, protocol, kinds):
    if protocol == "ag-ui":
        pytest.importorskip("ag_ui", reason="not installed beside the package alone")
    described = (await make_chat(Reader(), protocol=protocol)).app.openapi()["paths"]

    assert set(described["/chat"]["post"]["responses"]["200"]["content"]) == kinds
    resumed = described["/chat/{conversation_id}/stream"]["get"]["responses"]["200"]["content"]
    assert set(resumed) == {"text/event-stream"}


async def test_nobody_reaches_anybody_elses_chat(make_chat):
    gate = asyncio.Event()
    model = Reader(lines=[["one ", gate, "answer"]])
    client = await make_chat(model)
    mine = (await client.post("/conversations")).json()["id"]
    answer = asyncio.create_task(client.post("/chat", json={"message": "one", "conversation_id": mine}))
    await until(lambda: model.prompts)
    bob = {"x-user": "bob"}
    assert (
        await client.post("/chat", json={"message": "a", "conversation_id": mine}, headers=bob)
    ).status_code == 404
    for method, path in (("GET", ""), ("GET", "/stream"), ("POST", "/stop")):
        assert (await client.request(method, f"/chat/{mine}{path}", headers=bob)).status_code == 404
    gate.set()
    assert (await answer).json()["stopped"] is False


async def test_a_user_has_so_many_answers_on_their_way_and_no_more(make_chat):
    gate = asyncio.Event()
    model = Reader(lines=[[gate], [gate]])
    client = await make_chat(model, max_runs=2)
    going = [
        asyncio.create_task(client.post("/chat", json={"message": "a", "conversation_id": f"c{n}"}))
        for n in (0, 1)
    ]
    await until(lambda: len(model.prompts) == 2)
    refused = await client.post("/chat", json={"message": "a", "conversation_id": "c2"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    said = await client.post(
        "/chat", json={"message": "a", "conversation_id": "c2"}, headers={"x-user": "bob"}
    )
    assert said.status_code == 200
    gate.set()
    await asyncio.gather(*going)
    assert (await client.post("/chat", json={"message": "a", "conversation_id": "c2"})).status_code == 200


@pytest.mark.parametrize("kind", ["chain", "agent without", "agent"])
async def test_a_conversation_that_is_deleted_while_it_is_answered_stays_deleted(make_chat, kind):
    gate = asyncio.Event()
    model = Reader(lines=[["half ", gate, "and half"]])
    client = await make_chat(
        {"chain": model, "agent without": create_agent(model, [])}.get(kind) or remembering(model)
    )
    named = (await client.post("/conversations")).json()["id"]
    answer = asyncio.create_task(client.post("/chat", json={"message": "one", "conversation_id": named}))
    await until(lambda: model.prompts)
    assert (await client.delete(f"/conversations/{named}")).status_code == 204
    gate.set()
    assert (await answer).status_code == 500
    assert (await client.get(f"/conversations/{named}")).status_code == 404


async def test_an_answer_that_takes_too_long_breaks_off(make_chat):
    client = await make_chat(Reader(lines=[["half ", asyncio.Event()]]), max_seconds=0.2)
    assert (await client.post("/chat", json={"message": "a", "conversation_id": "c"})).status_code == 500
    assert await words(client) == [("human", "a"), ("ai", "half ")]


@pytest.mark.parametrize("patience", [5.0, 0.1])
async def test_an_application_that_ends_lets_answers_come_to_their_end_or_keeps_what_they_said(
    make_chat, patience
):
    model = Reader(lines=[["half ", 0.5, "and half"]])
    client = await make_chat(model, drain_seconds=patience)
    said = {"message": "one", "conversation_id": "c"}
    async with (
        served(client.app) as url,
        httpx.AsyncClient(base_url=url, headers={"x-user": "ada"}) as real,
        real.stream("POST", "/chat", json=said, headers=STREAM) as answer,
    ):
        async for line in answer.aiter_lines():
            if "half" in line:
                break
    assert await words(client) == [("human", "one"), ("ai", "half and half" if patience > 1 else "half ")]


async def test_without_redis_chats_go_on_without_sessions(make_chat, open_memory):
    client = await make_chat(Reader(), memory=await open_memory(redis=None))
    answer = (await client.post("/chat", json={"message": "one"})).json()
    assert (answer["reply"], answer["session_id"]) == ("1 shown", None)


async def test_a_chat_is_shown_as_it_is_stored(make_chat):
    client = await make_chat(Reader())
    said = (await client.post("/chat", json={"message": "one", "conversation_id": "c"})).json()
    shown = (await client.get("/chat/c")).json()
    assert shown["messages"] == said["messages"]


def test_what_cannot_answer_is_refused_with_what_would_be_right(blocking):
    def user():
        return "ada"

    keyed = RunnableWithMessageHistory(
        PROMPT | Reader(),
        blocking.history_factory,
        input_messages_key="question",
        history_messages_key="history",
        history_factory_config=blocking.history_factory_config,
    )
    for wrong, given in {
        "runnable": {"runnable": str},
        "inputs": {"runnable": keyed},
        "protocol": {"runnable": Reader(), "protocol": "carrier pigeon"},
        "stores": {"runnable": Reader(), "stores": "nobody"},
        "current_user": {"runnable": Reader(), "current_user": "ada"},
        "inputs: must be a function": {"runnable": Reader(), "inputs": {"question": "x"}},
    }.items():
        with pytest.raises(InvalidArgument, match=wrong):
            create_chat_router(blocking, **{"current_user": user} | given)


@pytest.mark.parametrize(
    "given",
    [
        {"window": 0},
        {"window": "6"},
        {"max_body": 0},
        {"max_runs": -1},
        {"max_seconds": 0},
        {"max_seconds": None},
        {"drain_seconds": -1},
        {"drain_seconds": float("nan")},
    ],
    ids=str,
)
def test_a_number_with_which_no_request_could_be_answered_is_refused_at_once(blocking, given):
    with pytest.raises(InvalidArgument, match=f"^{next(iter(given))}: must be "):
        create_chat_router(blocking, Reader(), current_user=lambda: "ada", **given)
    create_chat_router(
        blocking, Reader(), current_user=lambda: "ada", window=None, max_seconds=1, drain_seconds=0
    )


async def test_results_of_tools_that_nobody_called_are_not_told(make_chat):
    async def odd(turn):
        yield ToolMessage("lost", tool_call_id="nobody's", name="add")
        yield "well"

    client = await make_chat(odd)
    answer = await client.post("/chat", json={"message": "one", "conversation_id": "c"}, headers=STREAM)
    assert [kind for kind, _ in events_of(answer.text)] == ["begin", "text", "end"]


async def test_agents_in_tools_and_hooks_do_not_speak_for_the_agent(make_chat):
    from langchain.agents.middleware import before_model
    from langchain_core.tools import tool

    inner = Reader(lines=[["within the tool"], ["within the hook"], ["within the hook"]])

    @tool
    async def ask(about: str) -> str:
        """Ask a model."""
        return (await inner.ainvoke(about)).text

    @before_model
    async def hook(state, runtime):
        await inner.ainvoke([HumanMessage("hook")])

    model = Reader(lines=[calling(("c1", "ask", '{"about": "x"}')), ["done"]])
    client = await make_chat(create_agent(model, [ask], middleware=[hook]))
    answer = await client.post("/chat", json={"message": "one", "conversation_id": "c"}, headers=STREAM)
    assert [data["text"] for kind, data in events_of(answer.text) if kind == "text"] == ["done"]


async def test_an_edit_in_other_words_than_the_one_on_its_way_is_told_to_wait(make_chat):
    gate = asyncio.Event()
    model = Reader(lines=[["zero"], ["half ", gate, "and half"]])
    client = await make_chat(model)
    asked = (await client.post("/chat", json={"message": "q", "conversation_id": "c"})).json()

    def edited(words):
        said = {"message": words, "message_id": asked["question_id"], "conversation_id": "c"}
        return asyncio.create_task(client.post("/chat", json=said))

    first = edited("one")
    await until(lambda: len(model.prompts) == 2)
    same, other = edited("one"), edited("two")
    assert (await other).status_code == 409
    gate.set()
    assert (await same).json() == (await first).json()


@pytest.fixture
async def cut_off(make_chat, open_memory, postgres_proxy):
    """A client, and the answer it waits for, which was made and cannot be stored: PostgreSQL is away by now."""
    gate = asyncio.Event()
    model = Reader(lines=[["half ", gate, "and half"]])
    client = await make_chat(model, memory=await open_memory(postgres=postgres_proxy.url, pool_timeout=0.3))
    answer = asyncio.create_task(client.post("/chat", json={"message": "one", "conversation_id": "c"}))
    await until(lambda: model.prompts)
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    gate.set()
    yield client, answer
    postgres_proxy.mode = "pass"


async def test_an_answer_is_stored_though_postgres_was_away_when_it_was_made(cut_off, postgres_proxy):
    client, answer = cut_off
    await asyncio.sleep(1)
    assert not answer.done()
    postgres_proxy.mode = "pass"

    assert (await answer).json()["reply"] == "half and half"
    stored = (await client.get("/conversations/c/messages")).json()["items"]
    assert [one["content"] for one in stored] == ["one", "half and half"]


async def test_an_answer_that_cannot_be_stored_breaks_off_after_all(monkeypatch, cut_off):
    _, answer = cut_off
    monkeypatch.setattr(turns, "PATIENCE", 0.5)

    assert (await answer).status_code == 500


async def test_a_cancelled_task_of_the_answerers_own_costs_no_word(make_chat):
    async def awaits_one_that_is_cancelled(turn):
        yield "half"
        task = asyncio.create_task(asyncio.sleep(10))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    client = await make_chat(awaits_one_that_is_cancelled)
    answer = await client.post("/chat", json={"message": "one", "conversation_id": "c"})

    assert answer.status_code == 500
    assert await words(client) == [("human", "one"), ("ai", "half")]
