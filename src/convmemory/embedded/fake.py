"""A Redis inside this process, for machines no server binary fits: fakeredis, taught the one thing it lacks."""

from __future__ import annotations

import secrets
from importlib.metadata import version
from typing import Any

from convmemory.errors import MissingExtra

_ASKED = "redis.call('INFO', 'replication')"


def fake_server() -> Any:
    """The data that all clients of one server share.

    Raises:
        MissingExtra: fakeredis is not installed.
    """
    return _fakeredis().FakeServer()


def client(server: Any, **options: Any) -> Any:
    """A blocking client of ``server``."""

    class Client(_fakeredis().FakeRedis):  # type: ignore[misc] # the base is only known at run time
        def execute_command(self, *args: Any, **kwargs: Any) -> Any:
            return super().execute_command(*_without_info(server, args), **kwargs)

        def pipeline(self, *args: Any, **kwargs: Any) -> Any:
            return _piped(server, super().pipeline(*args, **kwargs))

        def info(self, section: str = "all", **_: Any) -> dict[str, str]:
            return _info(server, section)

    return Client(server=server, **options)


def async_client(server: Any, **options: Any) -> Any:
    """An awaited client of ``server``."""

    class AsyncClient(_fakeredis().FakeAsyncRedis):  # type: ignore[misc] # as above
        async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
            return await super().execute_command(*_without_info(server, args), **kwargs)

        def pipeline(self, *args: Any, **kwargs: Any) -> Any:
            return _piped(server, super().pipeline(*args, **kwargs))

        async def info(self, section: str = "all", **_: Any) -> dict[str, str]:
            return _info(server, section)

    return AsyncClient(server=server, **options)


def _info(server: Any, section: str) -> dict[str, str]:
    del section  # there is little to tell
    return {"redis_version": f"fakeredis {version('fakeredis')}", "master_replid": _name(server)}


def _name(server: Any) -> str:
    """What the server calls itself: it lives and dies with this process, and so does its name."""
    name: str = vars(server).setdefault("convmemory_name", secrets.token_hex(20))
    return name


def _piped(server: Any, pipe: Any) -> Any:
    """The pipeline, with scripts answered as everywhere else."""
    send = pipe.execute_command
    pipe.execute_command = lambda *args, **kwargs: send(*_without_info(server, args), **kwargs)
    return pipe


def _without_info(server: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give a script the server's answer instead of the question, since fakeredis has no INFO.

    Scripts are sent as text each time: a digest is that of the text as it was written.
    """
    if args[0] == "EVALSHA":
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - this module is imported before anybody knows that redis is there

        raise NoScriptError("sent as text")
    if args[0] != "EVAL":
        return args
    return ("EVAL", args[1].replace(_ASKED, f"'master_replid:{_name(server)}'"), *args[2:])


def _fakeredis() -> Any:
    try:
        import fakeredis  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("A Redis in this process", "embedded") from error
    return fakeredis
