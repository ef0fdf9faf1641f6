"""Words that JSON or UTF-8 has no place for, from models, tools and clients: told in every protocol, and read again."""

import json

import pytest

fastapi = pytest.importorskip("fastapi", reason="not installed beside the package alone")
pytest.importorskip("langchain", reason="not installed beside the package alone")
pytest.importorskip("ag_ui", reason="not installed beside the package alone")
from langchain_core.tools import tool  # noqa: E402 - comes with langchain

from scripted_chat import Reader, agent_of, calling  # noqa: E402

STREAM = {"accept": "text/event-stream"}
DEEP = "[" * 100_000


@pytest.fixture
def colour():
    return "awaited"


@tool
async def not_a_number() -> str:
    """Measure."""
    return json.dumps({"mean": float("nan")})


@tool
async def deep() -> str:
    """Dig."""
    return DEEP


def run(**more):
    told = {"threadId": "c", "runId": "r", "state": {}, "tools": [], "context": [], "forwardedProps": {}}
    return {**told, "messages": [{"id": "m", "role": "user", "content": "go"}], **more}


BODIES = {
    "plain": {"message": "go", "conversation_id": "c"},
    "ai-sdk": {
        "id": "c",
        "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "go"}]}],
    },
    "ag-ui": run(),
}


def no_constant(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.fixture(params=BODIES)
def answered(request, make_chat):
    """A function that has a runnable answer in this protocol: what was streamed, each part of it read as strict JSON."""

    async def told(runnable):
        client = await make_chat(runnable, protocol=request.param)
        found = await client.post("/chat", json=BODIES[request.param], headers=STREAM)
        lines = [line[6:] for line in found.text.splitlines() if line.startswith("data: ")]
        parts = [json.loads(line, parse_constant=no_constant) for line in lines if line != "[DONE]"]
        assert "broke off" not in found.text
        for path in "/chat/c", "/conversations/c/messages":
            assert (await client.get(path)).status_code == 200
        return parts

    return told


@pytest.mark.parametrize("which", [not_a_number, deep], ids=["not a number", "deep"])
async def test_what_a_tool_answers_breaks_off_no_answer(answered, which):
    model = Reader(lines=[calling(("t1", which.name, "{}")), ["done"]])
    parts = await answered(agent_of(model, [which]))
    told = [part.get("output") or part.get("content") for part in parts]
    expected = '{"mean": NaN}' if which is not_a_number else DEEP
    assert expected in told


@pytest.mark.parametrize(
    "arguments",
    ['{"x": NaN}', '{"x": ' + "[" * 300 + "]" * 300 + "}", '{"x": ' + "9" * 5_000 + "}"],
    ids=["not a number", "deep", "long"],
)
async def test_what_a_tool_is_called_with_breaks_off_no_answer(answered, arguments):
    async def generator(turn):
        for piece in calling(("t1", "f", arguments)):
            yield piece

    await answered(generator)


async def test_half_a_character_breaks_off_no_answer(answered):
    async def generator(turn):
        yield "a smile \ud83d"
        yield " and \ud83d\ude00"

    told = json.dumps(await answered(generator), ensure_ascii=False)
    assert "a smile \ufffd" in told
    assert " and \N{GRINNING FACE}" in told


@pytest.mark.parametrize(
    "wrong", [{"runId": "r" * 256}, {"messages": [{"id": "m" * 256, "role": "user", "content": "go"}]}]
)
async def test_an_id_without_end_is_refused(make_chat, wrong):
    client = await make_chat(Reader(), protocol="ag-ui")
    refused = await client.post("/chat", json=run(**wrong))
    assert refused.status_code == 422
    assert "255" in refused.json()["detail"]
