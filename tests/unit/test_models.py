"""The values: frozen, checked, and the same again after JSON, pickle, copy and FastAPI."""

import copy
import json
import pickle
import typing
from collections import UserDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, TypeAdapter, ValidationError

from convmemory import (
    Appended,
    Check,
    Conversation,
    Draft,
    InvalidArgument,
    Message,
    Page,
    RetrievedContext,
    Session,
    TierReport,
)
from convmemory.encoding.codec import encode
from convmemory.encoding.message_classes import CLASSES

from .encoding.hard_messages import EXACT
from .encoding.likeness import unlike

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CALL = AIMessage("", tool_calls=[{"name": "f", "args": {"a": [1, None]}, "id": "t"}], id="m1")
RESULT = ToolMessage("r", tool_call_id="t", artifact=b"\x00\xff")
CONTEXT = RetrievedContext("page", "d1", 0.5, {"k": [1]})


def stored(message: BaseMessage = CALL, seq: int = 1) -> Message:
    encoded = encode(message)
    return Message(
        id=UUID(int=seq),
        conversation_id="c",
        seq=seq,
        role=encoded.role,
        content=encoded.content,
        tokens_used=5,
        latency_ms=7,
        created_at=NOW,
        metadata={"a": {"b": [1]}},
        contexts=(CONTEXT,),
        body=encoded.body,
    )


CONVERSATION = Conversation(
    id="c", uuid=UUID(int=9), user_id="ada", created_at=NOW, updated_at=NOW, messages=(stored(),)
)
REPORTS = [TierReport(tier=tier, reachable=True, breaker="closed") for tier in ("PostgreSQL", "Redis")]
VALUES = [
    CONVERSATION,
    stored(),
    stored(RESULT),
    CONTEXT,
    RetrievedContext("page", score=float("inf")),
    Session(id="s", user_id="ada", created_at=NOW, last_active=NOW, metadata={"device": "phone"}),
    Draft(CALL, 5, 7, [CONTEXT], {"a": 1}, NOW),
    Draft(RESULT),
    Appended(conversation_id="c", version=3, stored=1, messages=(stored(), stored(RESULT, 2))),
    Page[Conversation]([CONVERSATION], "next"),
    Page[Message]([stored()]),
    Check(postgres=REPORTS[0], redis=REPORTS[1]),
    Check(postgres=REPORTS[0]),
]


def name(value):
    return type(value).__name__


@pytest.mark.parametrize("value", VALUES, ids=name)
def test_a_value_is_the_same_after_every_journey(value):
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own
    assert copy.copy(value) == value == copy.deepcopy(value)
    assert type(value).model_validate_json(value.model_dump_json()) == value
    assert type(value).model_validate(value.model_dump()) == value
    assert isinstance(typing.get_type_hints(type(value)), dict)
    assert type(value).model_json_schema()["type"] == "object"


@pytest.mark.parametrize("value", VALUES, ids=name)
def test_a_value_stays_as_it_is(value):
    field = next(iter(type(value).model_fields))

    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, field, None)


@pytest.mark.parametrize("label", EXACT)
def test_a_stored_message_brings_back_the_very_message_also_over_json(label):
    message = EXACT[label]
    if type(message).__name__ not in CLASSES:
        pytest.skip("no class that is stored")
    value = stored(message)
    again = Message.model_validate_json(value.model_dump_json())

    assert unlike(value.message, message) is None
    assert unlike(again.message, message) is None
    assert value.message is not value.message  # whoever changes it changes nobody else's


@pytest.mark.parametrize(
    ("message", "role", "openai"),
    [
        (HumanMessage("x"), "human", "user"),
        (AIMessage("x"), "ai", "assistant"),
        (RESULT, "tool", "tool"),
        (ChatMessage("x", role="critic"), "chat", "critic"),
    ],
)
def test_a_role_is_said_in_both_words(message, role, openai):
    value = stored(message)

    assert (value.role, value.openai_role) == (role, openai)
    assert value.model_dump()["openai_role"] == openai


def test_listing_builds_no_langchain_message(monkeypatch):
    values = [stored(HumanMessage(str(n)), n) for n in range(1, 4)]
    monkeypatch.setattr("convmemory.models.decode", lambda *_: pytest.fail("nobody asked for it"))

    assert [(v.seq, v.content, v.model_dump_json()[:1]) for v in values] == [
        (n, str(n), "{") for n in (1, 2, 3)
    ]


# What may go in


@pytest.mark.parametrize(
    ("made", "argument", "why"),
    [
        (lambda: RetrievedContext(None), "content", "a string"),
        (lambda: RetrievedContext("page", doc_id=5), "doc_id", "a string"),
        (lambda: RetrievedContext("page", score="high"), "score", "a number"),
        (lambda: RetrievedContext("page", score=object()), "score", "a number"),
        (lambda: RetrievedContext("page", metadata=[1]), "metadata", "a mapping"),
        (lambda: Draft("x", tokens_used=True), "tokens_used", "a whole number from 0 to 2,147,483,647"),
        (lambda: Draft("x", tokens_used="7"), "tokens_used", "a whole number"),
        (lambda: Draft("x", latency_ms=-1), "latency_ms", "a whole number"),
        (lambda: Draft("x", latency_ms=2**31), "latency_ms", "a whole number"),
        (lambda: Draft("x", contexts=["page"]), r"contexts\.0", "a RetrievedContext"),
        (lambda: Draft("x", metadata="text"), "metadata", "a mapping"),
        (lambda: Draft("x", created_at=datetime(2026, 1, 1)), "created_at", "with a time zone"),  # noqa: DTZ001
        (lambda: Draft("x", created_at="2026"), "created_at", "with a time zone"),
        (lambda: Draft([HumanMessage("x"), "y"]), "message", "one message, not 2"),
    ],
)
def test_what_does_not_fit_is_told_by_its_name(made, argument, why):
    with pytest.raises(InvalidArgument, match=rf"^{argument}: .*{why}"):
        made()


@pytest.mark.parametrize(
    ("score", "kept"), [(1, 1.0), (Decimal("0.25"), 0.25), (Fraction(1, 2), 0.5), (None, None)]
)
def test_a_score_may_be_of_any_number_type(score, kept):
    assert RetrievedContext("page", score=score).score == kept


def test_any_mapping_will_do_and_is_copied():
    given = UserDict(a=1)
    made = RetrievedContext("page", metadata=given)
    given["a"] = 2

    assert made.metadata == {"a": 1}


def test_a_draft_holds_the_very_message_or_makes_one():
    assert Draft(CALL).message is CALL
    assert Draft(("ai", "hi")).message == AIMessage("hi")
    assert Draft({"role": "user", "content": "hi"}).message == HumanMessage("hi")
    assert Draft.bare(CALL) == Draft(CALL)


def test_an_error_quotes_no_value():
    with pytest.raises(InvalidArgument) as refused:
        RetrievedContext("page", score="s3cr3t")
    assert "s3cr3t" not in str(refused.value)


# Lists in pages


def test_a_page_is_walked_counted_and_indexed_like_a_list():
    page = Page(["a", "b", "c"], "next")

    assert (list(page), len(page), page[0], page[-1], "b" in page, bool(Page())) == (
        ["a", "b", "c"], 3, "a", "c", True, False,
    )  # fmt: skip
    assert page == ["a", "b", "c"]
    assert page != Page(["a", "b", "c"])
    assert repr(page) == str(page) == "Page(['a', 'b', 'c'], next_cursor='next')"


def test_a_part_of_a_page_has_no_page_after_it():
    assert Page(["a", "b", "c"], "next")[:2] == ("a", "b")


# What check() says


@pytest.mark.parametrize(
    ("postgres", "redis", "status", "ok", "degraded"),
    [
        (True, True, "ok", True, False),
        (True, None, "ok", True, False),
        (True, False, "degraded", True, True),
        (False, True, "down", False, False),
        (False, False, "down", False, False),
    ],
)
def test_a_memory_without_its_redis_is_degraded_and_still_ready(postgres, redis, status, ok, degraded):
    reports = [
        None if reachable is None else TierReport(tier="t", reachable=reachable, breaker="closed")
        for reachable in (postgres, redis)
    ]
    found = Check(postgres=reports[0], redis=reports[1])

    assert (found.status, found.ok, found.degraded) == (status, ok, degraded)
    assert found.model_dump()["status"] == status


# FastAPI


@pytest.fixture
def client():
    app = FastAPI()

    class Said(BaseModel):
        drafts: list[Draft]

    for value in VALUES:
        app.get(f"/{VALUES.index(value)}", response_model=type(value))(lambda it=value: it)
    app.get("/list", response_model=list[Conversation])(lambda: Page([CONVERSATION]))
    app.get("/bare")(lambda: Page([stored()], "next"))

    @app.post("/said")
    def said(body: Said) -> list[str]:
        return [type(draft.message).__name__ for draft in body.drafts]

    return TestClient(app)


def test_fastapi_answers_with_every_value_and_describes_it(client):
    for number, value in enumerate(VALUES):
        answer = client.get(f"/{number}")
        assert answer.status_code == 200
        assert TypeAdapter(type(value)).validate_json(answer.text) == value
    assert client.get("/list").json() == [CONVERSATION.model_dump(mode="json")]
    assert client.get("/bare").json()["next_cursor"] == "next"
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"Conversation", "Message", "Session", "Check"} <= schemas.keys()


def test_fastapi_takes_drafts_and_says_what_is_wrong_with_them(client):
    good = [{"message": {"role": "user", "content": "hi"}, "tokens_used": 3}, {"message": "plain"}]
    bad = [{"message": {"role": "user", "content": "hi"}, "tokens_used": -3}]

    assert client.post("/said", json={"drafts": good}).json() == ["HumanMessage", "HumanMessage"]
    assert client.post("/said", json={"drafts": bad}).status_code == 422


def test_a_document_of_a_retriever_is_a_context():
    from convmemory.drafts import contexts_of

    document = Document("page", id="d", metadata={"score": 0.5})
    assert contexts_of([document, CONTEXT]) == (
        RetrievedContext("page", "d", 0.5, {"score": 0.5}),
        CONTEXT,
    )
    assert contexts_of(iter([CONTEXT])) == (CONTEXT,)


def test_a_time_is_kept_in_utc():
    there = NOW.astimezone(timezone(timedelta(hours=9), "odd"))
    assert Draft("x", created_at=there).created_at == NOW
    assert Draft("x", created_at=there).created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("kind", "data", "where"),
    [
        (Draft, {}, ("message",)),
        (Draft, {"message": "x", "contexts": [{"nope": 1}]}, ("contexts", 0, "content")),
        (RetrievedContext, {"doc_id": "x"}, ("content",)),
        (Page[Conversation], {"items": 5}, ("items",)),
    ],
)
def test_what_is_missing_in_json_is_told_by_its_place(kind, data, where):
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(data)

    assert refused.value.errors()[0]["loc"] == where


def test_what_is_unknown_in_json_is_let_be():
    assert RetrievedContext.model_validate({"content": "x", "foo": 1}) == RetrievedContext("x")


@pytest.mark.parametrize("body", [None, "no json", 5, "{}"])
def test_a_dict_with_a_body_of_its_own_is_a_message_or_none(body):
    if isinstance(body, str):
        with pytest.raises(InvalidArgument, match=r"^message: has a body that is no stored message"):
            Draft({"role": "user", "content": "hi", "body": body})
    else:
        assert Draft({"role": "user", "content": "hi", "body": body}).message.content == "hi"


def test_a_draft_takes_documents_for_contexts():
    assert Draft("x", contexts=[Document("d", id="1")]).contexts == (RetrievedContext("d", "1"),)


@pytest.mark.parametrize("score", [10**400, type("Odd", (), {"__float__": lambda _: 1 / 0})()])
def test_a_score_that_is_no_number_costs_a_document_only_its_score(score):
    assert RetrievedContext.of_document(Document("d", metadata={"score": score})).score is None
    with pytest.raises(InvalidArgument, match=r"^score: must be a number"):
        RetrievedContext("d", score=score)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf"), 0.5, None])
def test_a_score_is_json_in_every_way(score):
    value = Draft("x", contexts=[RetrievedContext("d", score=score)])
    plain = json.loads(json.dumps(value.model_dump(mode="json"), allow_nan=False))

    assert plain == json.loads(value.model_dump_json())
    assert repr(Draft.model_validate(plain)) == repr(value)


def test_what_a_client_may_send_for_a_message_is_in_the_schema():
    taken = Draft.model_json_schema(mode="validation")["properties"]["message"]
    given = Draft.model_json_schema(mode="serialization")["properties"]["message"]

    assert [form["type"] for form in taken["anyOf"]] == ["string", "object"]
    assert given["required"] == ["role", "content", "body"]
