"""From a plan to a server that runs, and to its end."""

from __future__ import annotations

import inspect
import json
import logging
import math
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.runnables import Runnable
from typer import BadParameter, echo

import convmemory
from convmemory.cli.connect import Place, memory_over, named_object
from convmemory.cli.demo.models import choose_model
from convmemory.cli.screen import STARTING, progress, screen
from convmemory.cli.serve import kept_at
from convmemory.cli.serve.door import Door, token_of_environment
from convmemory.embedded import EmbeddedServers
from convmemory.environment import read_environment
from convmemory.errors import ConfigurationError, MissingExtra
from convmemory.ids import checked_id
from convmemory.settings import Settings

try:
    import uvicorn

    from convmemory.cli.serve.application import application
except ImportError as error:
    raise MissingExtra("convmemory serve", "serve") from error

_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    host: str
    port: int
    user: str
    place: Place
    demo: bool
    model: str | None
    runnable: str | None
    titles: bool
    viewer: bool
    drain: float
    max_runs: int
    as_json: bool


def run(plan: Plan) -> None:
    """Serve until a signal.

    Raises:
        ConfigurationError: The address is taken, or something named cannot be used.
        MissingExtra: There is no PostgreSQL on this machine, or uvicorn is not installed.
        StorageError: A server does not answer.
    """
    checked_id("user", plan.user)
    door = Door(token_of_environment(), plan.user)
    with _listening(plan) as listening, _servers(plan) as (settings, where):
        redis = convmemory.AsyncRedisStore(settings=settings) if settings.redis_conninfo() else None
        model = None if plan.model is None else choose_model(plan.model)
        durable = convmemory.AsyncPostgresStore(settings=settings)
        memory = convmemory.AsyncConversationMemory(durable, redis, titles=model if plan.titles else None)
        answers = _answers(plan, memory) if model is None else model
        app = application(memory, door, answers, viewer=plan.viewer, drain=plan.drain, max_runs=plan.max_runs)
        _log_to_stderr()
        _tell(plan, door, listening, where, chats=answers is not None)
        _serve(app, listening, plan.drain)


@contextmanager
def _listening(plan: Plan) -> Iterator[socket.socket]:
    """The socket, before anything is started for it."""
    family = socket.AF_INET6 if ":" in plan.host else socket.AF_INET
    try:
        made = socket.create_server((plan.host, plan.port), family=family, backlog=2048)
        # asyncio sees to it for sockets of its own alone, and without it an answer's body waits 40 ms behind its head
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        hint = "is another server there? --port 0 takes any that is free"
        raise ConfigurationError(
            f"--host {plan.host} --port {plan.port}: {error.strerror or error} ({hint})"
        ) from error
    with made:
        yield made


@contextmanager
def _servers(plan: Plan) -> Iterator[tuple[Settings, str]]:
    """The settings of the servers to work on, embedded ones running meanwhile, and what they are in words."""
    if plan.demo:
        with progress(STARTING):
            starting = EmbeddedServers.start()
        with starting as servers:
            made = Settings(
                database_url=servers.database_url,
                redis_url=servers.redis_url,
                redis_host="",
                search="english",
            )
            memory_over(made).init_schema()
            from convmemory.cli.serve.script import seed  # noqa: PLC0415 - the demo's own

            with memory_over(made) as memory:
                seed(memory.for_user(plan.user))
            yield made, f"{servers.describe()}; nothing is kept"
        return
    place = plan.place
    if place.embedded is None and place.database_url is None and not _is_named():
        if place.redis_url is not None:
            raise BadParameter("--redis-url: name a database as well, with --database-url or DATABASE_URL")
        place = replace(place, embedded=kept_at())
    with place.settings(new=True) as settings:
        if place.embedded is not None:
            memory_over(settings).init_schema()
        with memory_over(settings) as memory:  # what is wrong is better told before the address
            memory.postgres.ping()
        yield settings, f"data in {place.embedded}" if place.embedded else "the database that was named"


def _is_named() -> bool:
    """Whether the environment names a database."""
    return bool({"database_url", "postgres_host"} & set(read_environment(Settings.model_fields, {})))


def _answers(plan: Plan, memory: convmemory.AsyncConversationMemory) -> Any:
    """Who answers where that is no model of a provider, if anybody."""
    if plan.demo:
        from convmemory.cli.serve.script import answer  # noqa: PLC0415 - the demo's own

        return answer
    if plan.runnable is None:
        return None
    found = named_object("--runnable", plan.runnable)
    is_one = isinstance(found, Runnable) or inspect.isasyncgenfunction(found)
    return found if is_one or not callable(found) else found(memory)


def _log_to_stderr() -> None:
    told = logging.StreamHandler()
    told.setFormatter(logging.Formatter("%(asctime)sZ %(message)s", "%Y-%m-%d %H:%M:%S"))
    told.formatter.converter = time.gmtime  # type: ignore[union-attr]  # it was set in the line above
    logging.getLogger().addHandler(told)
    logging.getLogger("convmemory.access").setLevel(logging.INFO)


def _tell(plan: Plan, door: Door, listening: socket.socket, where: str, *, chats: bool) -> None:
    """Say where it is, and how to come in."""
    host, port = listening.getsockname()[:2]
    named = f"[{host}]" if ":" in host else host
    base = f"http://{named}:{port}"
    own = token_of_environment() is not None
    page = f"{base}/login{'' if own else f'#{door.token}'}" if plan.viewer else None
    if plan.as_json:
        told = {"address": base, "page": page, "token": None if own else door.token, "user": plan.user}
        echo(json.dumps(told))
        return
    token = "the token of CONVMEMORY_SERVE_TOKEN" if own else door.token
    lines = [
        *([f"page   {page}"] if page else []),
        f"REST   {base}/v1/conversations",
        *([f"chat   {base}/v1/chat, and {base}/ai-sdk/chat for useChat"] if chats else []),
        f"token  {token}",
    ]
    screen.print(f"convmemory serves {plan.user}'s conversations: {where}", soft_wrap=True)
    for line in lines:
        screen.print(f"  {line}", soft_wrap=True, style="cyan")
    if not chats:
        screen.print("Nobody answers here: --model, --runnable or --demo has somebody do so.")
    if plan.host not in _LOCAL:
        screen.print("Others can reach it, and there is no TLS: put a proxy in front of it.", style="yellow")
    screen.print("Ctrl-C ends it.")


def _serve(app: Any, listening: socket.socket, drain: float) -> None:
    """Serve until SIGINT or SIGTERM, and be done in order; what uvicorn catches it raises again in the end."""
    config = uvicorn.Config(
        app,
        log_config=None,
        http="h11",  # which bounds heads to 64 KB; httptools, taken by itself where it is there, does not
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=math.ceil(drain),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])
