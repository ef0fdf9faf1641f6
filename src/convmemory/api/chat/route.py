"""The chat router: its routes, and how what they find is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from convmemory._async.user_memory import AsyncUserMemory
from convmemory.api.callers import CurrentUser, Memory, Served, caller, checked_login
from convmemory.api.chat.ai_sdk import AISDK
from convmemory.api.chat.events import Over
from convmemory.api.chat.places import Asked, NoQuestion, UnknownMessage
from convmemory.api.chat.plain import Plain, Reply
from convmemory.api.chat.protocols import BROKE_OFF, Protocol, Unanswerable
from convmemory.api.chat.relay import RunElsewhere
from convmemory.api.chat.runnables import Answerer, Inputs, Keeper
from convmemory.api.chat.runs import Busy, TooManyRuns
from convmemory.api.chat.turns import AnyRun, Turns
from convmemory.api.problems import Refused, responses, route_of_at_most
from convmemory.arguments import Size, checked_limit, window_size
from convmemory.errors import InvalidArgument

_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "the answer while it comes, as server-sent events in the words of the protocol",
        "content": {"text/event-stream": {}},
    }
}
ProtocolName = Literal["plain", "ai-sdk", "ag-ui"]
_REFUSED: Final[dict[type[Exception], tuple[int, str, str]]] = {
    Busy: (409, "busy", "an answer is on its way in this conversation: wait for it, or stop it"),
    UnknownMessage: (
        409,
        "stale",
        "messages that this client shows are not there any more: read the conversation again, and send once more",
    ),
    NoQuestion: (422, "no-question", "there is nothing to be answered"),
    TooManyRuns: (429, "too-many", "too many answers are on their way at once: wait for one of them"),
}


def create_chat_router(
    memory: Memory,
    runnable: Any,
    *,
    current_user: CurrentUser,
    protocol: ProtocolName = "plain",
    inputs: Inputs | None = None,
    stores: Keeper | None = None,
    window: Size = ...,
    max_body: int = 1_000_000,
    max_runs: int = 8,
    max_seconds: float = 600.0,
    drain_seconds: float = 10.0,
) -> APIRouter:
    """Routes for a chat with a runnable, in the protocol of a front end, to be included in an application of FastAPI.

    Args:
        memory: The application's memory, awaited or blocking; the application opens and closes it.
        runnable: A chain, an agent or another graph, or an async generator function that is given a ``ChatTurn`` and yields
            text or messages.
        current_user: The application's own dependency: gives the id of the user who is asking, or raises.
        protocol: ``"plain"`` (JSON and server-sent events), ``"ai-sdk"`` (``useChat``) or ``"ag-ui"``.
        inputs: Makes the runnable's input of a ``ChatTurn``; by default ``{"messages": [...]}`` for a graph, and a list of
            messages for a chain.
        stores: Who reads the window and stores the turn, ``"route"`` or ``"runnable"``; by default the runnable where it has
            the memory (``ConversationMemoryMiddleware``, ``RunnableWithMessageHistory``), and the route else.
        window: How many messages a runnable without memory is shown (default: the setting ``max_history_messages``).
        max_body: Bytes a request may have.
        max_runs: Answers that may be on their way for one user at once, in each process of the application.
        max_seconds: How long one may take.
        drain_seconds: How long the application waits for them when it ends, before it stops them.

    Raises:
        InvalidArgument: One of the arguments cannot be used; the message names it.
        MissingExtra: The protocol needs a package that is not installed.
    """
    checked_login(current_user)
    if inputs is not None and not callable(inputs):
        raise InvalidArgument("inputs", "must be a function of a ChatTurn that makes the runnable's input")
    window_size("window", window, None)
    if max_runs != 0:  # then nobody is answered, as while an application is looked after
        checked_limit("max_runs", max_runs)
    _check_seconds("max_seconds", max_seconds, least=0.1)
    _check_seconds("drain_seconds", drain_seconds, least=0.0)
    served = Served.of(memory)
    spoken = _protocol(protocol)
    turns = Turns(
        served,
        Answerer(runnable, inputs, stores),
        spoken,
        window=window,
        most_runs=max_runs,
        seconds=max_seconds,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 - Starlette's
        yield
        await turns.drain(drain_seconds)

    router = APIRouter(
        route_class=route_of_at_most(max_body),
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
    )
    mine = caller(served, current_user)
    _add_chat(router, turns, spoken, mine)
    _add_runs(router, turns, spoken, mine)
    return router


def _check_seconds(argument: str, value: object, least: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= least:
        raise InvalidArgument(argument, f"must be a number of seconds, {least:g} or more")


def _protocol(name: str) -> Protocol:
    if name == "plain":
        return Plain()
    if name == "ai-sdk":
        return AISDK()
    if name == "ag-ui":
        from convmemory.api.chat.ag_ui import AGUI  # noqa: PLC0415 - an extra of its own

        return AGUI()
    raise InvalidArgument("protocol", f"must be 'plain', 'ai-sdk' or 'ag-ui', not {name!r:.40}")


def _add_chat(router: APIRouter, turns: Turns, protocol: Protocol, caller: Callable[..., Any]) -> None:
    mine_of = Depends(caller)

    async def chat(
        body: Any,
        mine: AsyncUserMemory = mine_of,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
        idempotency_key: Annotated[
            str | None,
            Header(min_length=1, max_length=250, description="the same again asks nothing twice"),
        ] = None,
    ) -> Any:
        """Say something, and be answered; the answer goes on and is stored also where its reader leaves."""
        asked = _keyed(protocol, body, idempotency_key)
        if asked.wish == "look":
            return await _looked(turns, mine, asked, protocol)
        run = await _refused_in_words(turns.begin(mine, asked))
        if protocol.streams(accept):
            return _streamed(run, protocol)
        await run.ended()
        if isinstance(run, RunElsewhere):  # what it came to is stored by now
            run = await _refused_in_words(turns.begin(mine, asked))
            await run.ended()
        if not isinstance(run.result, Over):
            raise HTTPException(500, BROKE_OFF)
        return Reply.of(run.result)

    chat.__annotations__["body"] = protocol.body  # each protocol's own
    answers = isinstance(protocol, Plain)  # with JSON, where no stream is asked for
    router.post(
        "/chat",
        response_model=Reply if answers else None,
        response_class=JSONResponse if answers else StreamingResponse,
        responses=responses(401, 404, 409, 413, 422, 429, 503) | _STREAM,
    )(chat)


def _add_runs(router: APIRouter, turns: Turns, protocol: Protocol, caller: Callable[..., Any]) -> None:
    mine_of = Depends(caller)

    @router.get("/chat/{conversation_id}", response_model=None, responses=responses(401, 404, 422, 503))
    async def get_chat(
        conversation_id: str,
        mine: AsyncUserMemory = mine_of,
        limit: Annotated[int, Query(ge=1, le=1_000, description="the newest so many messages")] = 200,
    ) -> Any:
        """A conversation as a front end begins with it."""
        return await turns.shown(mine, conversation_id, limit)

    @router.get(
        "/chat/{conversation_id}/stream",
        response_model=None,
        response_class=StreamingResponse,
        responses=responses(401, 404, 503) | _STREAM | {204: {"description": "no answer is on its way"}},
    )
    async def resume_chat(conversation_id: str, mine: AsyncUserMemory = mine_of) -> Response:
        """The answer that is on its way, from its beginning."""
        found = await mine.get_conversation(conversation_id)
        run = await turns.find(found.uuid)
        return Response(status_code=204) if run is None else _streamed(run, protocol)

    @router.post("/chat/{conversation_id}/stop", status_code=204, responses=responses(401, 404, 503))
    async def stop_chat(conversation_id: str, mine: AsyncUserMemory = mine_of) -> None:
        """End the answer that is on its way; what it has said is kept."""
        found = await mine.get_conversation(conversation_id)
        await turns.stop(found.uuid)


async def _looked(turns: Turns, mine: AsyncUserMemory, asked: Asked, protocol: Protocol) -> StreamingResponse:
    """What is stored, and behind it the answer that is on its way."""
    shown, run = await turns.look(mine, asked)

    async def told() -> AsyncIterator[bytes]:
        yield shown.encode()
        if run is not None:
            async for frame in run.follow():
                yield frame

    return StreamingResponse(told(), media_type="text/event-stream", headers=dict(protocol.headers))


def _keyed(protocol: Protocol, body: Any, key: str | None) -> Asked:
    """What is asked, known by the request's key where it has one."""
    try:
        asked = protocol.asked(body)
    except Unanswerable as error:
        raise HTTPException(422, str(error)) from None
    if key is None:
        return asked
    if asked.message_id is None:
        return replace(asked, key=key, message_id=f"key:{key}", again=True)
    return replace(asked, key=key)


async def _refused_in_words(begun: Any) -> AnyRun:
    try:
        found: AnyRun = await begun
    except tuple(_REFUSED) as error:
        status, reason, why = _REFUSED[type(error)]
        headers = {"Retry-After": "1"} if status == 429 else None  # noqa: PLR2004 - Too Many Requests
        raise Refused(status, why, headers, reason=reason) from None
    return found


def _streamed(run: AnyRun, protocol: Protocol) -> StreamingResponse:
    return StreamingResponse(run.follow(), media_type="text/event-stream", headers=dict(protocol.headers))
