"""A Redis inside this process, for machines no server binary fits: fakeredis, taught the one thing it lacks."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from convmemory.errors import MissingExtra

_ASKED = "redis.call('INFO', 'replication')"
# it lives and dies with this process, so its windows are never of an earlier run
_ANSWER = "'master_replid:0'"


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
            return super().execute_command(*_without_info(args), **kwargs)

        def info(self, section: str = "all", **_: Any) -> dict[str, str]:
            return _info(section)

    return Client(server=server, **options)


def async_client(server: Any, **options: Any) -> Any:
    """An awaited client of ``server``."""

    class AsyncClient(_fakeredis().FakeAsyncRedis):  # type: ignore[misc] # as above
        async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
            return await super().execute_command(*_without_info(args), **kwargs)

        async def info(self, section: str = "all", **_: Any) -> dict[str, str]:
            return _info(section)

    return AsyncClient(server=server, **options)


def _info(section: str) -> dict[str, str]:
    del section  # there is only one thing to tell
    return {"redis_version": f"fakeredis {version('fakeredis')}"}


def _without_info(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give a script the server's answer instead of the question, since fakeredis has no INFO.

    Scripts are sent as text each time: a digest is that of the text as it was written.
    """
    if args[0] == "EVALSHA":
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - this module is imported before anybody knows that redis is there

        raise NoScriptError("sent as text")
    return ("EVAL", args[1].replace(_ASKED, _ANSWER), *args[2:]) if args[0] == "EVAL" else args


def _fakeredis() -> Any:
    try:
        import fakeredis  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("A Redis in this process", "embedded") from error
    return fakeredis
