"""Tokens, latency and retrieved documents beside every reply, without anybody passing callbacks."""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import UUID, uuid4

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel, RunnablePassthrough

from convmemory import InvalidArgument, RetrievedContext
from convmemory.chains.recorder import RunRecorder
from convmemory.chains.turn import MOST_EVENTS
from fix_memory import texts
from scripted import AWAITED, BLOCKING, DRIVES, PROMPT, Echo, Shelf, bare, keyed, reply_to, session

MINE = {"user_id": "ana"}
QUESTIONS = RunnableLambda(lambda given: given["question"])


pytestmark = pytest.mark.usefixtures("no_run_left")


@pytest.fixture(params=[*BLOCKING, *AWAITED])
def drive(request, colour):
    if colour == "awaited" and request.param in BLOCKING:
        pytest.skip("an async memory refuses blocking calls")
    return DRIVES[request.param]


@pytest.fixture
def run(colour):
    return DRIVES["ainvoke" if colour == "awaited" else "invoke"]


def factory(memory, **options):
    return lambda session_id: memory.history(session_id, **MINE, **options)


def rag(model: Runnable, retriever: BaseRetriever | None = None) -> Runnable:
    """Retrieve, put into the prompt, answer."""
    return RunnablePassthrough.assign(context=QUESTIONS | (retriever or Shelf())) | PROMPT | model


def found_by(question):
    """What ``Shelf`` finds, as it is stored."""
    return tuple(
        RetrievedContext(f"{question} {n}", f"{question}-{n}", n / 4, {"score": n / 4, "page": n})
        for n in (1, 2)
    )


def chain_of(runnable, make):
    from langchain_core.runnables.history import RunnableWithMessageHistory

    return RunnableWithMessageHistory(
        runnable, make, input_messages_key="question", history_messages_key="history"
    )


@pytest.mark.parametrize("ending", [None, StrOutputParser()], ids=["message", "text"])
async def test_every_reply_has_its_tokens_latency_model_and_documents(memory, drive, ending):
    model = Echo(pause=0.02)
    chain = chain_of(rag(model if ending is None else model | ending), factory(memory))
    for question in ("one", "two"):
        await drive(chain, {"question": question}, session("s"))
    stored = await memory.get_messages("s", **MINE)
    assert texts(stored) == ["one", reply_to("one"), "two", reply_to("two")]
    for said in stored[::2]:
        assert (said.tokens_used, said.latency_ms, said.contexts, said.facts) == (None, None, (), {})
    for question, reply, before in zip(("one", "two"), stored[1::2], (1, 3), strict=True):
        assert reply.contexts == found_by(question)
        assert reply.tokens_used == before + 3
        assert 20 <= reply.latency_ms < 5_000
        figures = dict(reply.facts)
        first = figures.pop("first_token_ms", None)
        assert figures == {"model": "echo-1", "input_tokens": before, "output_tokens": 3}
        assert first is None or 20 <= first <= reply.latency_ms


@pytest.mark.parametrize("mode", ["stream", "astream"])
async def test_a_streamed_reply_tells_when_its_first_token_came(memory, colour, mode):
    if colour == "awaited" and mode == "stream":
        pytest.skip("an async memory refuses blocking calls")
    await DRIVES[mode](keyed(Echo(pause=0.02, pace=0.05), factory(memory)), {"question": "one"}, session("s"))
    reply = (await memory.get_messages("s", **MINE))[-1]
    assert 70 <= reply.facts["first_token_ms"] < reply.latency_ms - 90  # three more chunks come after it


async def test_what_is_stored_equals_what_was_said(memory, run):
    """The figures go beside the message: in it they would be a difference."""
    said = await run(keyed(Echo(), factory(memory)), {"question": "one"}, session("s"))
    assert (await memory.get_messages("s", **MINE))[-1].message == said


async def test_turns_in_a_batch_do_not_mix(memory, colour):
    chain = chain_of(rag(Echo(pause=0.05), Shelf(pause=0.02)), factory(memory))
    questions = [f"q{n}" for n in range(12)]
    given, configs = [{"question": q} for q in questions], [session(f"s{n % 4}") for n in range(12)]
    if colour == "awaited":
        await chain.abatch(given, configs)
    else:
        chain.batch(given, configs)
    await all_found_their_own(memory, [f"s{n}" for n in range(4)])


async def test_turns_of_one_run_do_not_mix(memory, run):
    """Chains side by side under one root, and retrieval that happens before a chain with a history begins."""
    chain = chain_of(rag(Echo()), factory(memory))
    inner = RunnableParallel(
        {name: RunnableLambda(lambda _, q=name: {"question": q}) | chain for name in ("a", "b")}
    )
    await run(inner, "go", session("inside"))
    await all_found_their_own(memory, ["inside"])
    first = RunnablePassthrough.assign(context=QUESTIONS | Shelf()) | keyed(Echo(), factory(memory))
    outer = RunnableParallel(
        {name: RunnableLambda(lambda _, q=name: {"question": q}) | first for name in ("a", "b")}
    )
    await run(outer, "go", session("before"))
    await all_found_their_own(memory, ["before"])


async def test_turns_one_after_the_other_under_one_root_do_not_mix(memory, run):
    """What the first turn retrieved is not the second one's."""
    first = chain_of(rag(Echo() | StrOutputParser()), factory(memory))
    second = keyed(Echo(), factory(memory))
    both = first | RunnableLambda(lambda text: {"question": text}) | second
    await run(both, {"question": "one"}, session("s"))
    stored = await memory.get_messages("s", **MINE)
    assert texts(stored) == ["one", "you said one", "you said one", "you said you said one"]
    assert [len(message.contexts) for message in stored] == [0, 2, 0, 0]


async def test_what_was_retrieved_before_one_turn_is_not_the_next_ones(memory, colour):
    """One root, and each turn's documents are found outside the chain that has the history."""
    turn = RunnablePassthrough.assign(context=QUESTIONS | Shelf()) | keyed(Echo(), factory(memory))

    def both(_, config):
        return [turn.invoke({"question": name}, config) for name in "ab"]

    async def aboth(_, config):
        return [await turn.ainvoke({"question": name}, config) for name in "ab"]

    await DRIVES["ainvoke" if colour == "awaited" else "invoke"](
        RunnableLambda(both, aboth), "go", session("s")
    )
    await all_found_their_own(memory, ["s"])


async def test_what_was_retrieved_for_two_turns_is_both_ones(memory, run):
    shared = RunnablePassthrough.assign(context=QUESTIONS | Shelf())
    turns = {name: keyed(Echo(), factory(memory)) for name in "ab"}
    await run(shared | RunnableParallel(turns), {"question": "one"}, session("s"))
    assert [m.contexts for m in await memory.get_messages("s", **MINE)] == [(), found_by("one")] * 2


async def all_found_their_own(memory, sessions):
    for name in sessions:
        stored = await memory.get_messages(name, **MINE)
        assert stored
        for said, reply in zip(stored[::2], stored[1::2], strict=True):
            assert reply.content == reply_to(said.content)
            assert reply.contexts == found_by(said.content)
            assert None not in (reply.tokens_used, reply.latency_ms, reply.facts.get("model"))


async def test_what_was_retrieved_for_a_turn_is_not_told_to_the_next_one_of_the_run(memory, run):
    """A loop in one run: each question has its documents."""
    chain = keyed(Echo(), factory(memory))
    names = ["salary", "vacation", "parking"]

    async def ask_all(names):
        for name in names:
            Shelf().invoke(name)
            await run(chain, {"question": name}, session(name))

    await RunnableLambda(ask_all).ainvoke(names)
    for name in names:
        *_, reply = await memory.get_messages(name, **MINE)
        assert reply.contexts == found_by(name)


async def test_a_turns_messages_add_up_to_what_it_cost(memory, run):
    """A call that makes no message, such as one that rewrites the question, is on the bill of the one that does."""
    spent = {"input_tokens": 5000, "output_tokens": 2, "total_tokens": 5002}
    helper = GenericFakeChatModel(messages=iter([AIMessage("better", usage_metadata=spent)]))
    rewritten = RunnablePassthrough.assign(rewritten=PROMPT | helper)
    await run(chain_of(rewritten | PROMPT | Echo(), factory(memory)), {"question": "one"}, session("s"))
    asked, reply = await memory.get_messages("s", **MINE)
    assert asked.tokens_used is None
    assert reply.tokens_used == 5002 + 4
    assert (reply.facts["input_tokens"], reply.facts["output_tokens"]) == (5001, 5)
    assert reply.facts["model"] == "echo-1"


@pytest.mark.parametrize("model", [Echo(), Echo().bind(stop=["never"])], ids=["model", "bound model"])
async def test_a_bare_model_has_its_figures_too(memory, drive, model):
    for _ in range(5):
        await drive(bare(model, factory(memory)), [HumanMessage("one")], session("s"))
    replies = (await memory.get_messages("s", **MINE))[1::2]
    assert [reply.tokens_used for reply in replies] == [4, 6, 8, 10, 10]  # six messages fit the window
    for reply in replies:
        assert reply.latency_ms is not None
        assert reply.facts["model"] == "echo-1"
        assert reply.facts["input_tokens"] + reply.facts["output_tokens"] == reply.tokens_used


async def test_a_plain_language_model_has_its_latency(memory, run):
    chain = chain_of(rag(FakeListLLM(responses=["yes"])), factory(memory))
    await run(chain, {"question": "one"}, session("s"))
    reply = (await memory.get_messages("s", **MINE))[-1]
    assert (reply.content, reply.contexts) == ("yes", found_by("one"))
    assert reply.latency_ms is not None


async def test_a_reply_that_was_rewritten_belongs_to_the_last_call(memory, run):
    """The first call puts the question anew, the second answers, and its text is changed after it."""
    rephrase = QUESTIONS | Echo() | RunnableLambda(lambda m: m.text.replace("you said ", ""))
    answer = Echo(model_name="echo-2") | StrOutputParser() | RunnableLambda(str.upper)
    chain = chain_of(RunnablePassthrough.assign(better=rephrase) | rag(answer), factory(memory))
    await run(chain, {"question": "one"}, session("s"))
    reply = (await memory.get_messages("s", **MINE))[-1]
    assert (reply.content, reply.facts["model"]) == ("YOU SAID ONE", "echo-2")


class Twice(BaseRetriever):
    """Asks another retriever, as a reranker or an ensemble does, and keeps its best."""

    inner: BaseRetriever

    def _get_relevant_documents(self, query, *, run_manager):
        return self.inner.invoke(query, {"callbacks": run_manager.get_child()})[-1:]


async def test_a_retriever_inside_a_retriever_does_not_count(memory, run):
    await run(chain_of(rag(Echo(), Twice(inner=Shelf())), factory(memory)), {"question": "one"}, session("s"))
    assert (await memory.get_messages("s", **MINE))[-1].contexts == found_by("one")[-1:]


async def test_a_retriever_that_fails_costs_the_reply_its_documents_only(memory, run):
    class Broken(BaseRetriever):
        def _get_relevant_documents(self, *_, **__):
            raise ConnectionError("no index")

    chain = chain_of(rag(Echo(), Broken()).with_fallbacks([PROMPT | Echo()]), factory(memory))
    await run(chain, {"question": "one"}, session("s"))
    reply = (await memory.get_messages("s", **MINE))[-1]
    assert reply.contexts == ()
    assert reply.tokens_used == 4


class Odd:
    """A thing from a vector store that knows how to be difficult."""

    def __float__(self):
        raise ValueError("not today")

    def __repr__(self):
        raise RuntimeError("not this either")


@pytest.mark.parametrize(
    ("document", "stored"),
    [
        (Document("d"), RetrievedContext("d")),
        (Document("d", id="7"), RetrievedContext("d", "7")),
        (Document("d", metadata={"id": 7}), RetrievedContext("d", "7", None, {"id": 7})),
        (Document("d", metadata={"score": float("nan"), "relevance_score": 0.5}), ("d", None, 0.5)),
        (Document("d\0", metadata={"score": Odd(), 3: Odd()}), ("d", None, None)),
    ],
)
async def test_any_document_is_stored(memory, run, document, stored):
    class Given(BaseRetriever):
        def _get_relevant_documents(self, *_, **__):
            return [document]

    await run(chain_of(rag(Echo(), Given()), factory(memory)), {"question": "one"}, session("s"))
    [context] = (await memory.get_messages("s", **MINE))[-1].contexts
    if isinstance(stored, RetrievedContext):
        assert context == stored
    else:
        assert (context.content, context.doc_id, context.score) == stored


async def test_telemetry_can_be_left_out(memory, run):
    await run(chain_of(rag(Echo()), factory(memory, telemetry=False)), {"question": "one"}, session("s"))
    reply = (await memory.get_messages("s", **MINE))[-1]
    assert (reply.latency_ms, reply.contexts) == (None, ())
    assert reply.tokens_used == 4  # the message's own


LONG = "a document of many words " * 20


class OneBook(BaseRetriever):
    book: Document

    def _get_relevant_documents(self, query, **_):
        del query
        return [self.book]


@pytest.mark.parametrize(
    ("telemetry", "kept"),
    [
        ("whole", RetrievedContext(LONG, "d", 0.5, {"score": 0.5, "source": "a"})),
        ("excerpt", RetrievedContext(f"{LONG[:199]}…", "d", 0.5)),
        ("ids", RetrievedContext("", "d", 0.5)),
    ],
)
async def test_of_a_document_as_much_is_kept_as_was_asked_for(memory, run, database, telemetry, kept):
    shelf = OneBook(book=Document(LONG, id="d", metadata={"score": 0.5, "source": "a"}))
    chain = chain_of(rag(Echo(), shelf), factory(memory, telemetry=telemetry))
    await run(chain, {"question": "one"}, session("s"))
    reply = (await memory.get_messages("s", **MINE))[-1]

    assert reply.contexts == (kept,)
    assert reply.latency_ms is not None
    stored = database.execute("SELECT content, metadata FROM documents").fetchall()
    assert stored == (
        [] if telemetry == "ids" else [(kept.content, {} if telemetry == "excerpt" else {"source": "a"})]
    )


@pytest.mark.parametrize("wrong", ["all", 1, None])
async def test_what_telemetry_may_be_is_said(memory, wrong):
    with pytest.raises(InvalidArgument, match="telemetry: must be True, False, 'whole', 'excerpt' or 'ids'"):
        memory.history("s", **MINE, telemetry=wrong)


async def test_a_history_that_the_application_keeps_is_served_in_every_context(memory, run):
    history = memory.history("s", **MINE)
    chain = chain_of(rag(Echo()), lambda _: history)
    for question in ("one", "two"):
        if run is DRIVES["invoke"]:
            await asyncio.to_thread(chain.invoke, {"question": question}, session("s"))
        else:
            await asyncio.create_task(chain.ainvoke({"question": question}, session("s")))
    await all_found_their_own(memory, ["s"])


def test_a_handler_that_fails_costs_no_turn_and_one_line(caplog):
    with caplog.at_level(logging.WARNING):
        RunRecorder().on_llm_start(run_id=None, metadata=7)
    [record] = caplog.records
    assert record.getMessage() == "on_llm_start: AttributeError; the turn goes on without it"


@pytest.mark.parametrize("failing", ["with_telemetry", "answer_of"])
async def test_telemetry_that_fails_costs_no_turn_and_logs_nothing_that_was_said(
    memory, run, monkeypatch, caplog, failing
):
    def fail(*told, **more):
        raise ValueError(told, more)

    monkeypatch.setattr(f"convmemory.chains.recorder.{failing}", fail)
    with caplog.at_level(logging.DEBUG, "convmemory"):
        await run(chain_of(rag(Echo()), factory(memory)), {"question": "hunter2"}, session("s"))
    ours = [record for record in caplog.records if record.name.startswith("convmemory")]
    assert texts(await memory.get_messages("s", **MINE)) == ["hunter2", reply_to("hunter2")]
    assert ours
    assert "hunter2" not in "".join(f"{record.getMessage()} {record.exc_info}" for record in ours)


RUNS = [UUID(int=n) for n in range(5_000)]
"""Ids of runs, as LangChain holds them while a run can still end."""


def test_a_run_whose_id_nobody_holds_is_let_go_of():
    """LangChain tells nobody of the end of one that is cancelled while it is told to begin."""
    recorder = RunRecorder()
    outer = uuid4()
    recorder.on_chain_start({}, {}, run_id=outer)
    recorder.on_chain_start({}, {}, run_id=uuid4(), parent_run_id=outer)
    assert recorder.open_runs == 1
    recorder.on_chain_end({}, run_id=outer)
    assert recorder.open_runs == 0


async def test_runs_that_nobody_ends_are_let_go_of(monkeypatch):
    monkeypatch.setattr("convmemory.chains.recorder.MOST_RUNS", 3)
    recorder = RunRecorder()
    for run_id in RUNS[:10]:
        recorder.on_chain_start({}, {}, run_id=run_id)
    assert recorder.open_runs == 3


def test_a_run_let_go_of_while_it_waits_for_its_last_step_ends_without_a_word(monkeypatch, caplog):
    monkeypatch.setattr("convmemory.chains.recorder.MOST_RUNS", 2)
    recorder = RunRecorder()
    recorder.on_chain_start({}, {}, run_id=RUNS[1])
    recorder.on_chain_start({}, {}, run_id=RUNS[2], parent_run_id=RUNS[1])
    recorder.on_chain_end({}, run_id=RUNS[1])  # a stream that is closed ends from the outside in
    recorder.on_chain_start({}, {}, run_id=RUNS[3])
    for run_id in RUNS[2:4]:
        recorder.on_chain_end({}, run_id=run_id)
    assert (recorder.open_runs, caplog.records) == (0, [])


def test_a_run_holds_a_bounded_number_of_documents():
    recorder = RunRecorder()
    recorder.on_chain_start({}, {}, run_id=RUNS[1])
    for n in range(2, MOST_EVENTS + 100):
        recorder.on_retriever_start({}, "q", run_id=RUNS[n], parent_run_id=RUNS[1])
        recorder.on_retriever_end([Document(str(n))], run_id=RUNS[n])
    run = recorder.find(RUNS[1])
    assert len(run.events) == MOST_EVENTS
    assert run.events[-1].documents == [Document(str(MOST_EVENTS + 99))]


def test_listening_to_a_run_that_is_not_ours_costs_little():
    """Twenty microseconds for a run of two steps: LangChain itself takes hundreds."""
    recorder, rounds = RunRecorder(), 2_000
    began = time.perf_counter()
    for n in range(rounds):
        recorder.on_chain_start({}, {}, run_id=RUNS[-n - 1], name="chain")
        recorder.on_chain_start({}, {}, run_id=RUNS[n], parent_run_id=RUNS[-n - 1], name="step")
        recorder.on_chain_end({}, run_id=RUNS[n], parent_run_id=RUNS[-n - 1])
        recorder.on_chain_end({}, run_id=RUNS[-n - 1])
    assert (time.perf_counter() - began) / rounds < 200e-6
    assert recorder.open_runs == 0


async def test_messages_added_by_hand_have_no_telemetry(memory, run):
    history = memory.history("s", **MINE)

    async def by_hand(message):
        await history.aadd_messages([AIMessage("by hand")])
        return message

    await keyed(Echo() | RunnableLambda(lambda m: m, by_hand), lambda _: history).ainvoke(
        {"question": "one"}, session("s")
    )
    stored = await memory.get_messages("s", **MINE)
    assert texts(stored) == ["by hand", "one", reply_to("one")]
    assert [one.latency_ms is None for one in stored] == [True, True, False]
