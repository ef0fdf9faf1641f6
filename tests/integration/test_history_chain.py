"""A history driven by ``RunnableWithMessageHistory``: every turn is stored once, whatever happens during it."""

import asyncio
from uuid import uuid4

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from convmemory import (
    AsyncOnly,
    ConfigurationError,
    ConversationNotFound,
    InvalidArgument,
    PostgresStore,
    RedisStore,
    Settings,
    TieredChatMessageHistory,
    thread_as_conversation,
)
from fix_memory import read, texts

PROMPT = ChatPromptTemplate.from_messages([MessagesPlaceholder("past"), ("human", "{said}")])


class Shape:
    """A chain around a step of ours, as ``RunnableWithMessageHistory`` takes it, with or without keys."""

    def __init__(self, keyed: bool) -> None:
        self.keyed = keyed

    def chain(self, memory, step, **more) -> RunnableWithMessageHistory:
        """``step`` is awaited with the prompt's messages and returns the answer."""

        def blocking(prompt):
            return asyncio.run(step(_messages(prompt)))

        async def awaited(prompt):
            return await step(_messages(prompt))

        return self.around(memory, RunnableLambda(blocking, awaited), **more)

    def around(self, memory, runnable, **more) -> RunnableWithMessageHistory:
        keys = {"input_messages_key": "said", "history_messages_key": "past"} if self.keyed else {}
        return RunnableWithMessageHistory(
            PROMPT | runnable if self.keyed else runnable,
            memory.history_factory,
            history_factory_config=memory.history_factory_config,
            **keys,
            **more,
        )

    def input(self, said: str):
        return {"said": said} if self.keyed else [HumanMessage(said)]


def _messages(prompt) -> list:
    return prompt if isinstance(prompt, list) else prompt.to_messages()


@pytest.fixture(params=["keyed", "bare"])
def shape(request):
    return Shape(request.param == "keyed")


@pytest.fixture
def invoke(colour):
    """Run a chain in this test's colour; a blocking one in a thread, as a web framework would."""

    async def run(chain, inputs, config):
        if colour == "blocking":
            return await asyncio.to_thread(chain.invoke, inputs, config)
        return await chain.ainvoke(inputs, config)

    return run


async def counting(prompt) -> AIMessage:
    return AIMessage(f"{len(prompt)} messages")


async def test_a_chain_remembers_its_turns(memory, shape, invoke):
    chain = shape.chain(memory, counting)
    config = memory.run_config(conversation_id="c", user_id="ana")

    answers = [(await invoke(chain, shape.input(f"turn {n}"), config)).content for n in range(4)]

    assert answers == ["1 messages", "3 messages", "5 messages", "7 messages"]
    assert texts(await memory.get_history("c", user_id="ana", limit=None)) == [
        text for n in range(4) for text in (f"turn {n}", answers[n])
    ]


@pytest.mark.parametrize("limit", [1, 2, 6])
async def test_a_chain_sees_the_window_and_stores_every_turn(schema, make_memory, shape, invoke, limit):
    memory = await make_memory(max_history_messages=limit)
    chain = shape.chain(memory, counting)
    config = memory.run_config(conversation_id="c", user_id="ana")
    for n in range(8):
        answer = await invoke(chain, shape.input(f"turn {n}"), config)

    assert answer.content == f"{max(2, limit) + 1} messages"
    assert len(await memory.get_messages("c", user_id="ana", limit=100)) == 16


async def test_another_writer_during_a_turn_costs_no_message(memory, shape, invoke):
    async def slow(prompt):
        await memory.save_messages("c", [HumanMessage("meanwhile"), AIMessage("yes?")], user_id="ana")
        return AIMessage("answer")

    config = memory.run_config(conversation_id="c", user_id="ana")
    await memory.save_messages("c", [HumanMessage("before"), AIMessage("indeed")], user_id="ana")
    await invoke(shape.chain(memory, slow), shape.input("question"), config)

    assert texts(await memory.get_history("c", user_id="ana", limit=None)) == [
        "before",
        "indeed",
        "meanwhile",
        "yes?",
        "question",
        "answer",
    ]


async def test_a_window_that_shrinks_during_a_turn_writes_nothing_again(memory, shape, invoke):
    async def clearing(prompt):
        await memory.clear("c", user_id="ana")
        return AIMessage("answer")

    config = memory.run_config(conversation_id="c", user_id="ana")
    await memory.save_messages("c", [HumanMessage("before"), AIMessage("indeed")], user_id="ana")
    await invoke(shape.chain(memory, clearing), shape.input("question"), config)

    assert texts(await memory.get_history("c", user_id="ana")) == ["question", "answer"]


async def test_a_history_used_inside_a_chain_reads_afresh(memory, shape, invoke):
    seen = []

    async def looking(prompt):
        await memory.save_messages("c", [HumanMessage("meanwhile")], user_id="ana")
        seen.append(texts(await memory.history("c", user_id="ana").aget_messages()))
        return AIMessage("answer")

    await invoke(
        shape.chain(memory, looking),
        shape.input("question"),
        memory.run_config(conversation_id="c", user_id="ana"),
    )

    assert seen == [["meanwhile"]]


async def test_one_history_kept_for_many_turns_sees_them_all(memory, shape, invoke):
    kept = memory.history("c", user_id="ana")
    chain = shape.chain(memory, counting)

    def the_kept_one(user_id, conversation_id):
        return kept

    chain.get_session_history = the_kept_one
    config = memory.run_config(conversation_id="c", user_id="ana")

    answers = [(await invoke(chain, shape.input("again"), config)).content for _ in range(3)]
    await memory.save_message("c", "from elsewhere", user_id="ana")

    assert answers == ["1 messages", "3 messages", "5 messages"]
    assert (await read(kept))[-1] == HumanMessage("from elsewhere")


async def test_a_streamed_answer_is_stored_as_one_message(memory, shape, colour):
    model = GenericFakeChatModel(messages=iter([AIMessage("Hello there, Ana")]))
    chain = shape.around(memory, model)
    config = memory.run_config(conversation_id="c", user_id="ana")

    if colour == "blocking":
        pieces = await asyncio.to_thread(lambda: list(chain.stream(shape.input("hi"), config)))
    else:
        pieces = [piece async for piece in chain.astream(shape.input("hi"), config)]

    assert len(pieces) > 1
    question, answer = await memory.get_history("c", user_id="ana")
    assert question == HumanMessage("hi")
    assert type(answer) is AIMessage
    assert answer.content == "Hello there, Ana"


async def test_a_batch_of_conversations_mixes_nothing(memory, shape, colour):
    async def echo(prompt):
        return AIMessage(f"re: {prompt[-1].content} after {len(prompt)}")

    chain = shape.chain(memory, echo)
    inputs = [shape.input(f"say {n}") for n in range(6)]
    configs = [memory.run_config(conversation_id=f"c{n}", user_id="ana") for n in range(6)]

    for length in (1, 3):
        if colour == "blocking":
            answers = await asyncio.to_thread(chain.batch, inputs, configs)
        else:
            answers = await chain.abatch(inputs, configs)
        assert texts(answers) == [f"re: say {n} after {length}" for n in range(6)]
    for n in range(6):
        assert len(await memory.get_history(f"c{n}", user_id="ana")) == 4


async def test_a_chain_over_somebody_elses_conversation_fails_before_it_runs(memory, shape, invoke):
    async def never(prompt):
        raise AssertionError("the model was called")

    hers = uuid4()
    await memory.save_message(hers, "private", user_id="eve")

    with pytest.raises(ConversationNotFound):
        await invoke(
            shape.chain(memory, never),
            shape.input("mine?"),
            memory.run_config(conversation_id=hers, user_id="ana"),
        )


async def test_a_blocking_chain_over_awaited_stores_is_told_so(memory, colour, shape):
    chain = shape.chain(memory, counting)
    config = memory.run_config(conversation_id="c", user_id="ana")
    if colour == "awaited":
        with pytest.raises(AsyncOnly, match="await aget_messages"):
            await asyncio.to_thread(chain.invoke, shape.input("hi"), config)
    else:  # the other way round works, through threads
        await chain.ainvoke(shape.input("hi"), config)
        assert texts(memory.blocking.get_history("c", user_id="ana")) == ["hi", "1 messages"]


@pytest.mark.usefixtures("schema")
async def test_a_turn_whose_write_fails_is_heard_of_although_langchain_swallows_it(
    make_memory, postgres_proxy, shape, invoke, caplog
):
    heard = []
    memory = await make_memory(
        postgres_proxy.url,
        on_write_error=lambda _error, history: heard.append(history.conversation_id),
        pool_timeout=0.3,
        statement_timeout=0.3,
    )

    async def unplugging(prompt):
        postgres_proxy.mode = "refuse"
        postgres_proxy.reset_all()
        return AIMessage("answer")

    answer = await invoke(
        shape.chain(memory, unplugging),
        shape.input("question"),
        memory.run_config(conversation_id="c", user_id="ana"),
    )

    assert answer.content == "answer"  # as LangChain has it
    assert heard == ["c"]
    assert "were not stored" in caplog.text
    assert (await memory.check()).postgres.figures["failed_writes"] == 1


async def test_a_run_is_told_whose_conversation_it_is(memory):
    name = uuid4()
    config = memory.run_config(conversation_id=name, user_id="ana")

    assert config["configurable"] == {
        "user_id": "ana",
        "conversation_id": str(name),
        "thread_id": str(name),
    }
    assert config["metadata"] == {
        "conversation_id": str(name),
        "conversation_name": str(name),
        "thread_id": str(name),
        "session_id": str(name),
        "user_id": "ana",
    }
    assert [field.id for field in memory.history_factory_config] == ["user_id", "conversation_id"]
    assert all(field.annotation is str and field.is_shared for field in memory.history_factory_config)


async def test_a_run_without_a_conversation_is_refused_by_name(memory, shape, invoke):
    with pytest.raises(ValueError, match="conversation_id"):
        await invoke(shape.chain(memory, counting), shape.input("hi"), {"configurable": {"user_id": "ana"}})
    with pytest.raises(ValueError, match="conversation_id"):
        memory.run_config(conversation_id="", user_id="ana")


async def test_a_thread_names_the_conversation_where_a_chain_is_told_so(memory, shape, invoke):
    chain = shape.chain(memory, counting, config_factories=[thread_as_conversation])
    await invoke(chain, shape.input("one"), {"configurable": {"thread_id": "c", "user_id": "ana"}})
    told = {"thread_id": "d", "conversation_id": "c", "user_id": "ana"}
    await invoke(chain, shape.input("two"), {"configurable": told})

    said = ["one", "1 messages", "two", "3 messages"]
    assert texts(await memory.get_history("c", user_id="ana")) == said
    for config, why in (
        ({"session_id": "c"}, "a session_id, which is a visit"),
        ({}, "the run does not say"),
    ):
        with pytest.raises(ConfigurationError, match=rf"^conversation_id: .*{why}.*run_config"):
            await invoke(chain, shape.input("three"), {"configurable": {"user_id": "ana", **config}})


async def test_a_factory_without_its_fields_says_what_to_give_beside_it(memory, invoke):
    chain = RunnableWithMessageHistory(RunnableLambda(lambda _: AIMessage("yes")), memory.history_factory)

    for told in ({"session_id": "c"}, {"session_id": "c", "user_id": "ana", "conversation_id": "c"}):
        with pytest.raises(
            ConfigurationError, match=r"^history_factory: .*history_factory_config=memory\.history_fac"
        ):
            await invoke(chain, [HumanMessage("one")], {"configurable": told})
    with pytest.raises(InvalidArgument, match=r"^conversation_id: must be a string"):
        memory.history_factory("ana", None)


def test_the_mission_in_three_lines(blocking):
    model = GenericFakeChatModel(messages=iter([AIMessage("Hi, Ana"), AIMessage("Ana")]))
    chain = RunnableWithMessageHistory(
        PROMPT | model,
        blocking.history_factory,
        input_messages_key="said",
        history_messages_key="past",
        history_factory_config=blocking.history_factory_config,
    )
    config = blocking.run_config(conversation_id="c", user_id="ana")
    chain.invoke({"said": "I am Ana"}, config)
    chain.invoke({"said": "Who am I?"}, config)

    assert texts(blocking.get_history("c", user_id="ana")) == ["I am Ana", "Hi, Ana", "Who am I?", "Ana"]
    assert blocking.get_conversation("c", user_id="ana").title == "I am Ana"


def test_the_stores_alone_are_enough(schema, database_url, redis_url, key_prefix):
    settings = Settings(db_schema=schema, key_prefix=key_prefix)
    postgres, redis = PostgresStore(database_url, settings).open(), RedisStore(redis_url, settings)
    history = TieredChatMessageHistory("c", user_id="ana", redis=redis, postgres=postgres)
    history.add_messages([HumanMessage("one")])
    for _ in range(3):
        assert texts(history.messages) == ["one"]
    redis.close()
    postgres.close()

    assert redis.health.counters.hits == 2
