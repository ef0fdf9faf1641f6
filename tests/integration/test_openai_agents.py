"""The Agents SDK's own runner over a session of ours, and what the SDK expects of any session."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from agents import Agent, RunConfig, Runner, function_tool, set_tracing_disabled
from agents.extensions.memory import EncryptedSession
from agents.memory import OpenAIResponsesCompactionSession, Session, SessionSettings
from agents.testing import ScriptedModel, assistant_message, function_call
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from openai.types.responses import ResponseReasoningItem

from convmemory import (
    AsyncConversationMemory,
    ConversationMemory,
    ConversationNotFound,
    InvalidArgument,
    NotOpen,
    StorageUnavailable,
)
from convmemory.openai_agents import ConversationSession, recall_function
from fix_memory import texts
from pairing import pairing_errors

ADA = {"user_id": "ada"}
CHAT = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "bye"},
]


@pytest.fixture(autouse=True)
def _nothing_is_sent():
    set_tracing_disabled(disabled=True)


@pytest.fixture
async def memory(database_url, redis_url, schema, key_prefix):
    made = AsyncConversationMemory.from_url(database_url, redis_url, db_schema=schema, key_prefix=key_prefix)
    async with made as memory:
        yield memory


@pytest.fixture
def session(memory):
    return ConversationSession(memory, "vacation", **ADA)


@function_tool
def days_left(who: str) -> str:
    """Days of vacation a person has left."""
    return f"{who} has 12 days left"


def agent(*steps, tools=(days_left,)) -> tuple[Agent, ScriptedModel]:
    model = ScriptedModel(steps)
    return Agent(name="HR", model=model, tools=list(tools)), model


# With the SDK's runner


async def test_a_second_run_sees_the_first(session):
    hr, model = agent([assistant_message("Twenty days.")], [assistant_message("In the portal.")])
    await Runner.run(hr, "What is the vacation policy?", session=session)
    result = await Runner.run(hr, "How do I request it?", session=session)

    assert result.final_output == "In the portal."
    said = [(item["role"], item["content"]) for item in model.last_call.input]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert said[0][1] == "What is the vacation policy?"
    assert said[1][1][0]["text"] == "Twenty days."


async def test_a_run_with_tools_and_reasoning_is_stored_item_by_item(session, memory):
    thought = ResponseReasoningItem(
        id="rs_1", type="reasoning", summary=[{"type": "summary_text", "text": "look"}]
    )
    calls = [function_call("days_left", {"who": who}, call_id=f"call_{who}") for who in ("ada", "bob")]
    hr, model = agent([thought, *calls], [assistant_message("12 each.")], [assistant_message("Yes.")])
    result = await Runner.run(hr, "How many days are left?", session=session)
    stored = await session.get_items()

    assert stored == result.to_input_list()
    assert [item.get("type", item.get("role")) for item in stored] == [
        "user", "reasoning", "function_call", "function_call", "function_call_output", "function_call_output", "message"
    ]  # fmt: skip
    await Runner.run(hr, "Sure?", session=session)
    assert model.last_call.input[:-1] == stored
    told = await memory.get_history("vacation", limit=None, format="openai", **ADA)
    assert [[call["id"] for call in m.get("tool_calls", ())] or m.get("tool_call_id") for m in told[2:5]] == [
        ["call_ada", "call_bob"], "call_ada", "call_bob"
    ]  # fmt: skip
    kinds = [type(m.message) for m in await memory.get_messages("vacation", **ADA)][:6]
    assert kinds == [HumanMessage, AIMessage, AIMessage, AIMessage, ToolMessage, ToolMessage]


async def test_parallel_calls_are_one_message_for_langchain_too(session, memory):
    calls = [function_call("days_left", {"who": who}, call_id=who) for who in ("ada", "bob")]
    hr, _ = agent(calls, [assistant_message("12 each.")])
    await Runner.run(hr, "How many days are left?", session=session)
    for window in (
        await memory.history("vacation", **ADA, max_messages=None).awindow(),
        await memory.get_history("vacation", **ADA),
    ):
        kinds = [type(message) for message in window]
        assert kinds == [HumanMessage, AIMessage, ToolMessage, ToolMessage, AIMessage]
        assert [call["id"] for call in window[1].tool_calls] == ["ada", "bob"]
        assert pairing_errors(window) == []


async def test_a_streamed_run_is_stored_too(session):
    hr, _ = agent([function_call("days_left", {"who": "ada"}, call_id="c")], [assistant_message("Twelve.")])
    run = Runner.run_streamed(hr, "How many?", session=session)
    async for _ in run.stream_events():
        pass

    assert await session.get_items() == run.to_input_list()


async def test_the_runners_limit_is_the_newest_items(session):
    hr, model = agent(*([assistant_message(f"answer {n}")] for n in range(4)))
    for n in range(3):
        await Runner.run(hr, f"question {n}", session=session)
    config = RunConfig(session_settings=SessionSettings(limit=2))
    await Runner.run(hr, "question 3", session=session, run_config=config)

    assert [item["content"] for item in model.last_call.input if item["role"] == "user"] == [
        "question 2",
        "question 3",
    ]


async def test_a_failed_run_leaves_what_the_user_said(session):
    hr, _ = agent(RuntimeError("the model is away"), [assistant_message("Here I am.")])
    with pytest.raises(RuntimeError, match="away"):
        await Runner.run(hr, "Are you there?", session=session)

    assert await session.get_items() == [{"role": "user", "content": "Are you there?"}]


async def test_a_correction_takes_back_answer_and_question(session):
    hr, model = agent([assistant_message("4.")], [assistant_message("6.")])
    await Runner.run(hr, "What is 2 + 2?", session=session)
    answer, question = await session.pop_item(), await session.pop_item()
    await Runner.run(hr, "What is 2 + 4?", session=session)

    assert (answer["role"], question) == ("assistant", {"role": "user", "content": "What is 2 + 2?"})
    assert model.last_call.input == [{"role": "user", "content": "What is 2 + 4?"}]


# What the SDK expects of a session


def test_it_is_a_session(session):
    assert isinstance(session, Session)
    assert session.session_id == "vacation"
    assert session.session_settings == SessionSettings(limit=None)
    assert repr(session) == "ConversationSession('vacation', user_id='ada')"


async def test_a_new_session_is_empty(session, memory):
    assert await session.get_items() == []
    assert await session.pop_item() is None
    await session.clear_session()
    await session.add_items([])

    assert await memory.list_user_conversations("ada") == []  # looking makes none


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, CHAT), (0, []), (1, CHAT[2:]), (2, CHAT[1:]), (3, CHAT), (9, CHAT)]
)
async def test_a_limit_is_the_newest_items_in_their_order(session, limit, expected):
    await session.add_items(CHAT)

    assert await session.get_items(limit) == expected
    assert await session.get_items(limit=limit) == expected  # once more, from the window


async def test_the_sessions_own_limit_holds_where_none_is_given(memory):
    session = ConversationSession(memory, "vacation", **ADA, session_settings=SessionSettings(limit=1))
    await session.add_items(CHAT)

    assert await session.get_items() == CHAT[2:]
    assert await session.get_items(2) == CHAT[1:]


async def test_the_same_item_twice_is_two_items(session):
    item = {"role": "user", "content": "again", "id": "__fake_id__"}
    await session.add_items([item, item])
    await session.add_items([item])

    assert await session.get_items() == [item] * 3


async def test_items_are_taken_back_one_by_one_and_can_be_given_back(session):
    await session.add_items(CHAT)
    popped = [await session.pop_item() for _ in range(4)]

    assert popped == [*reversed(CHAT), None]
    await session.add_items(CHAT[:2])
    assert await session.get_items() == CHAT[:2]


async def test_clearing_removes_the_items_of_this_session_only(session, memory):
    other = ConversationSession(memory, "another", **ADA)
    await session.add_items(CHAT)
    await other.add_items(CHAT[:1])
    await session.clear_session()

    assert await session.get_items() == []
    assert await other.get_items() == CHAT[:1]


async def test_a_session_made_anew_goes_on_where_the_last_one_was(
    session, database_url, redis_url, schema, key_prefix
):
    await session.add_items(CHAT)
    made = AsyncConversationMemory.from_url(database_url, redis_url, db_schema=schema, key_prefix=key_prefix)
    async with made as elsewhere:
        assert await ConversationSession(elsewhere, "vacation", **ADA).get_items() == CHAT


async def test_writers_at_once_lose_nothing(session):
    await asyncio.gather(*(session.add_items([{"role": "user", "content": f"{n}"}]) for n in range(20)))

    assert sorted(int(item["content"]) for item in await session.get_items()) == list(range(20))


@pytest.mark.parametrize("given", [{"limit": 1}, SessionSettings(limit=1)], ids=["dict", "settings"])
async def test_settings_are_the_sdks_own_or_a_dict_of_them(memory, given):
    session = ConversationSession(memory, "vacation", **ADA, session_settings=given)
    await session.add_items(CHAT)
    hr, model = agent([assistant_message("Twelve.")])
    await Runner.run(hr, "How many?", session=session)

    assert session.session_settings == SessionSettings(limit=1)
    assert [item["content"] for item in model.last_call.input] == ["bye", "How many?"]
    session.session_settings = {"limit": None}
    assert len(await session.get_items()) == len(CHAT) + 2
    session.session_settings = None
    assert session.session_settings == SessionSettings()


@pytest.mark.parametrize(
    "given", [5, "limit", {"size": 1}, {"limit": 1, "size": 1}, {5: 1}, {"limit": "many"}, {"limit": -1}]
)
def test_settings_that_are_none_are_refused_at_once(memory, given):
    with pytest.raises(InvalidArgument, match=r"^(session_settings|limit): "):
        ConversationSession(memory, "vacation", **ADA, session_settings=given)


@pytest.mark.parametrize(
    "item", [{"role": "user", "content": object()}, {"role": "user", "content": [{"text": object()}]}]
)
async def test_what_would_not_come_back_equal_is_refused_and_nothing_is_stored(session, item):
    with pytest.raises(InvalidArgument, match=r"^items: 'content' holds"):
        await session.add_items([*CHAT, item])

    assert await session.get_items() == []


async def test_an_item_of_an_odd_shape_keeps_its_role(session, memory):
    odd = [{"role": "user", "content": [{"text": "hi"}]}, {"role": "system", "content": 5}]
    await session.add_items(odd)

    assert await session.get_items() == odd
    assert [(m.role, m.content) for m in await memory.get_messages("vacation", **ADA)] == [
        ("human", "hi"),
        ("system", "[message]"),
    ]


# Under the SDK's own wrappers


async def test_sealed_items_lie_in_it_and_come_out_in_clear(session, memory):
    sealed = EncryptedSession("vault", session, encryption_key="correct horse battery staple")
    hr, model = agent(
        [function_call("days_left", {"who": "ada"}, call_id="c")],
        [assistant_message("Twelve.")],
        [assistant_message("Yes.")],
    )
    result = await Runner.run(hr, "How many?", session=sealed)
    await Runner.run(hr, "Sure?", session=sealed)

    assert model.last_call.input[:-1] == result.to_input_list()
    assert await sealed.get_items(2) == (await sealed.get_items())[-2:]
    [newest] = await sealed.get_items(1)
    assert await sealed.pop_item() == newest
    told = await memory.get_messages("vacation", **ADA)
    assert {m.content for m in told} == {"[item]"}
    assert "How many?" not in "".join(m.body for m in told)
    assert pairing_errors(await memory.get_history("vacation", **ADA)) == []
    await sealed.clear_session()
    assert await session.get_items() == []


class Compacts:
    """What the API makes of a history, without the API."""

    def __init__(self):
        self.responses = self
        self.asked = []

    async def compact(self, **asked):
        self.asked.append(asked)
        output = [
            {"role": "user", "content": "hi"},
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "zz"},
        ]
        return SimpleNamespace(output=output, usage=None)


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_history_is_compacted(session, sealed):
    inner = EncryptedSession("vault", session, encryption_key="k") if sealed else session
    client = Compacts()
    compacting = OpenAIResponsesCompactionSession("vacation", inner, client=client, compaction_mode="input")
    await compacting.add_items(CHAT)
    await compacting.run_compaction({"force": True})
    await compacting.add_items(CHAT[-1:])

    assert client.asked[0]["input"] == CHAT
    assert [item.get("type") or item["role"] for item in await compacting.get_items()] == [
        "user",
        "compaction",
        "user",
    ]


# What it is besides: a conversation of the user's


async def test_it_is_a_conversation_with_a_title_and_a_department(memory):
    session = ConversationSession(memory, "vacation", **ADA, dept_id="hr")
    await session.add_items(
        [{"role": "user", "content": [{"type": "input_text", "text": "What is the policy?"}]}]
    )
    [found] = await memory.list_user_conversations("ada")

    assert (found.conversation_id, found.title, found.dept_id) == ("vacation", "What is the policy?", "hr")


async def test_what_langchain_and_others_stored_is_items(session, memory):
    calls = [{"name": "days_left", "args": {"who": w}, "id": w} for w in ("ada", "bob")]
    await memory.save_messages("vacation", ["How many?", AIMessage("Let me see.", tool_calls=calls)], **ADA)
    items = await session.get_items()

    assert [item.get("type", item.get("role")) for item in items] == [
        "user",
        "assistant",
        "function_call",
        "function_call",
    ]
    assert await session.get_items(1) == items[-1:]
    assert await session.get_items(3) == items[-3:]
    assert await session.pop_item() == items[-1]  # and its message goes whole
    assert texts(await memory.get_history("vacation", **ADA)) == ["How many?"]


async def test_somebody_elses_conversation_is_not_found(session, memory):
    await session.add_items(CHAT)
    uuid = str((await memory.get_conversation("vacation", **ADA)).uuid)
    stranger = ConversationSession(memory, uuid, user_id="eve")
    for attempt in (
        stranger.get_items,
        stranger.pop_item,
        stranger.clear_session,
        lambda: stranger.get_items(2),
    ):
        with pytest.raises(ConversationNotFound):
            await attempt()
    with pytest.raises(ConversationNotFound):
        await stranger.add_items(CHAT)

    assert await session.get_items() == CHAT


async def test_without_redis_it_is_the_same(database_url, schema):
    async with AsyncConversationMemory.from_url(database_url, db_schema=schema) as memory:
        session = ConversationSession(memory, "vacation", **ADA)
        await session.add_items(CHAT)

        assert await session.get_items(2) == CHAT[1:]
        assert await session.pop_item() == CHAT[2]


# Bad usage


@pytest.mark.parametrize("limit", [-1, 1.5, "2", True])
async def test_a_limit_that_is_none_is_refused(session, limit):
    with pytest.raises(InvalidArgument, match=r"^limit: must be a whole number from 0"):
        await session.get_items(limit)


@pytest.mark.parametrize("items", ["hi", {"role": "user", "content": "hi"}, b"hi", None, 5])
async def test_what_is_no_list_of_items_is_refused(session, items):
    with pytest.raises(InvalidArgument, match=r"^items: must be a list of items"):
        await session.add_items(items)


async def test_one_bad_item_and_nothing_is_stored(session):
    with pytest.raises(InvalidArgument, match=r"^items: must be dicts"):
        await session.add_items([*CHAT, "hi"])

    assert await session.get_items() == []


def test_a_blocking_memory_is_refused(database_url):
    blocking = ConversationMemory.from_url(database_url)
    with pytest.raises(InvalidArgument, match=r"^memory: must be an AsyncConversationMemory"):
        ConversationSession(blocking, "vacation", **ADA)


@pytest.mark.parametrize("wrong", ["postgresql://app:s3cr3t@db/app", None])
def test_what_is_no_memory_is_told_what_makes_one(wrong):
    with pytest.raises(
        InvalidArgument, match=r"^memory: .* AsyncConversationMemory\.from_url\(\.\.\.\)"
    ) as told:
        ConversationSession(wrong, "vacation", **ADA)
    assert "s3cr3t" not in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"conversation_id": "", **ADA}, "conversation_id"),
        ({"conversation_id": None, **ADA}, "conversation_id"),
        ({"conversation_id": "c", "user_id": ""}, "user_id"),
        ({"conversation_id": "c", **ADA, "dept_id": ""}, "dept_id"),
    ],
)
def test_ids_are_checked_at_once(memory, arguments, argument):
    with pytest.raises(InvalidArgument) as caught:
        ConversationSession(memory, **arguments)
    assert caught.value.argument == argument


async def test_a_memory_that_is_not_open_says_so(database_url, schema):
    session = ConversationSession(
        AsyncConversationMemory.from_url(database_url, db_schema=schema), "c", **ADA
    )
    with pytest.raises(NotOpen):
        await session.get_items()


async def test_a_write_that_fails_fails_the_run(database_url, schema, make_proxy):
    proxy = make_proxy(database_url)
    async with AsyncConversationMemory.from_url(proxy.url, db_schema=schema, pool_timeout=0.5) as memory:
        proxy.mode = "refuse"
        proxy.reset_all()
        hr, _ = agent([assistant_message("Twenty days.")])
        with pytest.raises(StorageUnavailable):
            await Runner.run(hr, "What is the policy?", session=ConversationSession(memory, "c", **ADA))


async def test_an_agent_recalls_what_its_user_said_before(database_url, schema):
    async with AsyncConversationMemory.from_url(database_url, db_schema=schema, search="english") as memory:
        await memory.save_message("trip", "user", "We go to Lisbon in May", **ADA)
        await memory.save_message("trip", "user", "Lisbon is what bob hides", user_id="bob")
        asking, _ = agent(
            [function_call("recall", {"query": "when do we go to Lisbon?"}, call_id="1")],
            [assistant_message("In May.")],
            tools=[recall_function(memory.for_user("ada"), k=3)],
        )

        done = await Runner.run(asking, "when is my trip?", session=ConversationSession(memory, "now", **ADA))

        assert done.final_output == "In May."
        told = str(done.to_input_list())
        assert "We go to Lisbon in May" in told
        assert "bob" not in told
        with pytest.raises(InvalidArgument, match="mine"):
            recall_function(memory)
