"""What the real LangSmith client sends of a chain with memory, decoded: every run can be found by its conversation."""

from __future__ import annotations

import subprocess
import sys
from uuid import uuid4

import pytest

from langsmith_collector import Collector, metadata

pytestmark = pytest.mark.usefixtures("unmeasured")
PROGRAM = """
import asyncio, sys
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.graph import START, MessagesState, StateGraph
from langsmith import Client, run_trees

from convmemory import AsyncConversationMemory, ConversationMemory

class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return []

prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
model = GenericFakeChatModel(messages=iter(AIMessage("yes") for _ in range(99)))
inner = RunnablePassthrough.assign(documents=lambda said: Shelf().invoke(said["question"])) | prompt | model

def chain(memory, inner=inner, **keys):
    keys = keys or {"input_messages_key": "question", "history_messages_key": "history"}
    config = memory.history_factory_config
    return RunnableWithMessageHistory(inner, memory.history_factory, history_factory_config=config, **keys)

said = {"question": "Are you there?"}

def about(memory, name, **more):
    config = memory.run_config(conversation_id=name, user_id="ada")
    return {**config, "configurable": {**config["configurable"], **more}}

with ConversationMemory.from_env() as memory:
    memory.init_schema()
    chain(memory).invoke(said, about(memory, "invoke", token="hunter2"))
    list(chain(memory).stream(said, about(memory, "stream")))
    chain(memory).batch([said, said], [about(memory, "batch 1"), about(memory, "batch 2")])
    bare = chain(memory, model, input_messages_key=None)
    bare.invoke([HumanMessage("Are you there?")], about(memory, "bare"))
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "answer")
    graph.compile().invoke({"messages": [HumanMessage("Are you there?")]}, about(memory, "graph"))
    stored = [c.conversation_id for c in memory.list_user_conversations("ada")]

async def awaited():
    async with AsyncConversationMemory.from_env() as memory:
        await chain(memory).ainvoke(said, about(memory, "ainvoke"))
        [chunk async for chunk in chain(memory).astream(said, about(memory, "astream"))]

asyncio.run(awaited())
if run_trees._CLIENT is not None:
    run_trees._CLIENT.flush()
print(sorted(stored))
"""
CONVERSATIONS = {"invoke", "stream", "batch 1", "batch 2", "bare", "graph", "ainvoke", "astream"}
KEYS = ("conversation_id", "thread_id", "session_id")


def traced(collector: Collector, servers: dict[str, str], *, tracing: bool) -> None:
    """Run the program in a process of its own: the client reads its environment once, when it is imported."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    environment = collector.environment(tracing=tracing) | servers
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['bare', 'batch 1', 'batch 2', 'invoke', 'stream']"


@pytest.fixture(scope="module")
def told(database_url, redis_url):
    """A collector by what it can decode, which was told all about a run of the program."""
    found = {}
    for coding, zstd in (("zstd", True), ("multipart", False)):
        servers = {"CONVMEMORY_DB_SCHEMA": f"smith_{coding}", "CONVMEMORY_KEY_PREFIX": f"smith_{coding}:"}
        with Collector(zstd=zstd) as collector:
            traced(collector, servers | {"DATABASE_URL": database_url, "REDIS_URL": redis_url}, tracing=True)
        found[coding] = collector
    return found


@pytest.fixture(params=["zstd", "multipart"])
def collector(told, request):
    return told[request.param]


def test_the_real_client_sent_it_in_the_coding_under_test(told):
    sent = {
        coding: {request for request in told[coding].requests if "/runs" in request[0]} for coding in told
    }

    assert sent == {
        "zstd": {("/runs/multipart", "multipart/form-data", "zstd")},
        "multipart": {("/runs/multipart", "multipart/form-data", "")},
    }


def test_every_run_of_every_trace_carries_the_thread_the_name_and_the_user(collector):
    traces = collector.traces()
    threads = {name: metadata(runs[0])["thread_id"] for name, runs in traces.items()}
    wrong = [
        (name, run["name"], {key: metadata(run).get(key) for key in (*KEYS, "conversation_name", "user_id")})
        for name, runs in traces.items()
        for run in runs
        if [metadata(run).get(key) for key in KEYS] != [threads[name]] * 3
        or (metadata(run).get("conversation_name"), metadata(run).get("user_id")) != (name, "ada")
    ]

    assert wrong == []
    assert set(traces) == CONVERSATIONS
    assert len(set(threads.values())) == len(CONVERSATIONS)


def test_two_users_conversations_of_one_name_are_two_threads(blocking_memory):
    def threads(user, name="vacation"):
        about = blocking_memory.run_config(conversation_id=name, user_id=user)["metadata"]
        assert about["conversation_name"] == name
        return {about[key] for key in KEYS}

    assert len(threads("ada") | threads("ben")) == 2
    assert threads("ada") == threads("ada")
    assert len(threads("a", "bc") | threads("ab", "c")) == 2
    assert threads("ada", name := str(uuid4())) == {name}


def test_there_are_children_and_they_are_the_chains_own(collector):
    traces = collector.traces()
    roots = [[run for run in runs if not run.get("parent_run_id")] for runs in traces.values()]
    kinds = {
        name: {run["run_type"] for run in runs if run.get("parent_run_id")} for name, runs in traces.items()
    }

    assert [len(found) for found in roots] == [1] * len(CONVERSATIONS)
    assert kinds["invoke"] >= {"chain", "llm", "prompt", "retriever"}
    assert all("llm" in found for found in kinds.values())


def test_what_else_lies_in_configurable_is_sent_in_the_clear(collector):
    """Which is why the page on LangSmith warns of it; if LangChain mends this, mend the page."""
    assert any(b"hunter2" in body for body in collector.bodies)


def test_nothing_is_sent_while_tracing_is_off(database_url, redis_url):
    servers = {"CONVMEMORY_DB_SCHEMA": "smith_off", "CONVMEMORY_KEY_PREFIX": "smith_off:"}
    with Collector() as collector:
        traced(collector, servers | {"DATABASE_URL": database_url, "REDIS_URL": redis_url}, tracing=False)

    assert collector.requests == []
