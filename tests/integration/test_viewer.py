"""The viewer's routes: the page and its policy, messages as the page shows them, and nothing of anybody else's."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from convmemory import Draft, RetrievedContext
from convmemory.api import create_router, create_viewer
from convmemory.errors import InvalidArgument, MissingExtra

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


@pytest.fixture(params=["awaited", "blocking"])
def colour(request):
    return request.param


def user_of(x_user: str = ""):
    return x_user


@pytest.fixture
async def client(open_memory):
    """A client, as ada, of an application that has the viewer under a prefix."""
    import httpx
    from fastapi import FastAPI, Header, HTTPException

    def current_user(x_user: str = Header(default="")) -> str:
        if not x_user:
            raise HTTPException(401, "log in first")
        return x_user

    memory = await open_memory()
    app = FastAPI()
    app.include_router(create_router(memory, current_user=current_user), prefix="/v1")
    viewer = create_viewer(memory, current_user=current_user, api="/v1/", chat="/v1/chat", title="<Talks>")
    app.include_router(viewer, prefix="/talks")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, root_path="/behind"),
        base_url="http://host",
        headers={"x-user": "ada"},
    ) as made:
        made.memory = memory
        yield made


async def stored(client, *drafts, conversation="c"):
    saved = client.memory.for_user("ada").save_messages(conversation, list(drafts))
    return saved if not hasattr(saved, "__await__") else await saved


@pytest.mark.parametrize(
    "path", ["/talks/", "/talks/files/main.js", "/talks/files/none.js", "/talks/conversations/c/shown"]
)
async def test_every_answer_is_under_the_policy(client, path):
    answer = await client.get(f"/behind{path}")

    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_knows_where_everything_is_also_behind_a_prefix(client):
    page = (await client.get("/behind/talks/")).text

    assert 'data-base="/behind/talks" data-api="/behind/v1" data-chat="/behind/v1/chat" data-login=""' in page
    assert 'data-search=""' in page, "it asks for no hits where nothing is searched"
    assert "<title>&lt;Talks&gt;</title>" in page


async def test_messages_come_as_they_are_shown(client):
    call = {"name": "find", "args": {"n": 1}, "id": "c1"}
    await stored(
        client,
        Draft(
            AIMessage(
                [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "*Wait*"}],
                tool_calls=[call],
            )
        ),
        Draft(ToolMessage("<b>no</b>", tool_call_id="c1", name="find", status="error")),
        Draft(
            AIMessage("**Well**", response_metadata={"partial": True}),
            tokens_used=3,
            latency_ms=5,
            contexts=[RetrievedContext("text", "d1", 0.5)],
        ),
    )

    asks, result, reply = (await client.get("/behind/talks/conversations/c/shown")).json()["items"]

    assert (asks["html"], asks["reasoning"], asks["tool_calls"][0]["name"]) == (
        "<p><em>Wait</em></p>\n",
        "Hm.",
        "find",
    )
    assert (result["html"], result["content"], result["tool"], result["failed"]) == (
        None,
        "<b>no</b>",
        "find",
        True,
    )
    assert (reply["html"], reply["partial"]) == ("<p><strong>Well</strong></p>\n", True)
    assert (reply["tokens_used"], reply["latency_ms"], reply["contexts"][0]["score"]) == (3, 5, 0.5)


async def test_what_a_user_typed_is_no_markdown(client):
    await client.post("/behind/v1/conversations/c/messages", json={"role": "user", "content": "# <b>"})

    [shown] = (await client.get("/behind/talks/conversations/c/shown")).json()["items"]

    assert (shown["html"], shown["content"]) == (None, "# <b>")


async def test_pages_go_both_ways(client):
    await stored(client, *(Draft(AIMessage(str(number))) for number in range(1, 8)))

    async def page(**where):
        found = await client.get("/behind/talks/conversations/c/shown", params={"limit": 3, **where})
        return [one["seq"] for one in found.json()["items"]]

    assert await page() == [5, 6, 7]
    assert await page(before=5) == [2, 3, 4]
    assert await page(after=6) == [7]


async def test_nobody_is_shown_anybody_elses(client):
    await stored(client, Draft(AIMessage("mine")))
    path = "/behind/talks/conversations/c/shown"

    other = await client.get(path, headers={"x-user": "bob"})
    none = await client.get("/behind/talks/conversations/none/shown", headers={"x-user": "bob"})

    assert (other.status_code, other.json()) == (none.status_code, none.json())
    assert other.status_code == 404
    assert (await client.get(path, headers={"x-user": ""})).status_code == 401


def test_a_viewer_needs_to_know_who_is_asking_and_where_the_routes_are(memory):
    with pytest.raises(InvalidArgument, match="current_user: must be a dependency"):
        create_viewer(memory, current_user=None, api="/v1")
    for wrong in "v1", "//elsewhere.example", "https://elsewhere.example/v1":
        with pytest.raises(InvalidArgument, match="api: must be a path of this application"):
            create_viewer(memory, current_user=user_of, api=wrong)


def test_without_its_extra_the_viewer_says_so(monkeypatch):
    import sys

    import convmemory.api

    monkeypatch.setitem(sys.modules, "markdown_it", None)
    for name in [name for name in sys.modules if name.startswith("convmemory.api.viewer")]:
        monkeypatch.delitem(sys.modules, name)

    with pytest.raises(MissingExtra, match=r"pip install 'langchain-convmemory\[viewer\]'"):
        _ = convmemory.api.create_viewer
    with pytest.raises(AttributeError, match="no attribute 'create_view'"):
        _ = convmemory.api.create_view
