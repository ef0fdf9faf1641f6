"""What the drivers raise, in our words: which of our errors it is, and whether sending again is worth it."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Final

import psycopg
import redis.exceptions
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from convmemory.errors import ConvMemoryError, NotOpen, SchemaOutdated, StorageError, StorageUnavailable
from convmemory.tiers.redis_states import in_short, state
from convmemory.tiers.signals import raised_by_a_signal
from convmemory.tiers.socket_checks import NOTICEABLE, DeadlineExceeded, Deserted
from convmemory.tiers.turns import Busy

POSTGRES: Final = "PostgreSQL"
REDIS: Final = "Redis"

_NO_SCHEMA = (pg.UndefinedTable, pg.InvalidSchemaName, pg.UndefinedFunction, pg.UndefinedColumn)
_AGAIN = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    pg.ReadOnlySqlTransaction,  # a fail-over left us on the replica
)
_REDIS_AGAIN = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.RedisClusterException,  # no node could be reached; it is no RedisError
    redis.exceptions.TryAgainError,
    redis.exceptions.AskError,
    redis.exceptions.OutOfMemoryError,
    OSError,
)


_REFUSALS: Final = (
    "no permissions",
    "acl failure",
    "can't run this command",
    "unknown command",
    "unknown redis command",
    "unknown subcommand",
    "not allowed from script",
    "not allowed from a script",
)
"""How servers say, inside a script or outside, that they refuse a command."""
_COMMAND: Final = re.compile(r"run the '([\w|]{1,40})' command")

_GONE: Final = ("08", "57P", "53300")
"""SQLSTATEs of a broken connection, a server that is stopping or starting, and one with no room for another client."""

JOURNAL_UNREAD: Final = "CJ001"
"""SQLSTATE of a write that told a cache and had not read its journal, where writes may wait in one."""
_NOT_MINE = (pg.InvalidSqlStatementName, pg.DuplicatePreparedStatement)
_POOLER: Final = "behind PgBouncer in transaction mode set CONVMEMORY_PREPARE_THRESHOLD=none (prepare_threshold=None); 0 prepares at once"


_RIGHTS: Final = "`convmemory schema grants ROLE` prints the rights an application needs; `convmemory init` wants the owner"


class NotConnected(PoolTimeout):
    """No connection became free, and none could be made: the text says why."""


class translated:  # noqa: N801 - reads as a word: `with translated(POSTGRES, "append"):`
    """Turn a driver's error into ours, with the driver's as its cause; cancellation passes untouched, and what a signal raised.

    ``heard`` is told how it went: the driver's error, or ``None`` where there was none. A caller who is cancelled
    after a noticeable wait is ``Deserted``: callers more impatient than the time-outs notice an outage as well.
    """

    __slots__ = ("_began", "_heard", "_operation", "_tier", "_wanted")

    def __init__(
        self,
        tier: str,
        operation: str,
        wanted: Callable[[], tuple[str, int]] | None = None,
        heard: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        self._tier = tier
        self._operation = operation
        self._wanted = wanted
        self._heard = heard

    def __enter__(self) -> None:
        """Begin the operation."""
        self._began = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.failed(error, self._began)
        elif self._heard is not None:
            self._heard(None)

    def failed(self, error: BaseException, began: float) -> None:
        """Raise in our words what went wrong with an operation that ``began`` then; what is not a driver's passes."""
        if isinstance(error, ConvMemoryError):
            return
        signalled = raised_by_a_signal(error)
        mine = self._ours(error) if signalled is None else None
        if self._heard is not None:
            if mine is not None:
                self._heard(error)
            elif time.monotonic() - began > NOTICEABLE and not isinstance(error, GeneratorExit):
                self._heard(Deserted("its caller did not wait for the answer"))
        if mine is not None:
            raise mine from error
        if signalled is not None and signalled is not error:
            raise signalled

    def _ours(self, error: BaseException) -> ConvMemoryError | None:
        if isinstance(error, PoolClosed):
            return NotOpen(f"{self._tier}: call open() first, and do not use it after close()")
        if isinstance(error, _NO_SCHEMA):
            schema, version = self._wanted() if self._wanted is not None else ("", 0)
            return SchemaOutdated(schema, None, version)
        if why := _kept_waiting(error):
            return StorageUnavailable(self._tier, self._operation, why)
        again = isinstance(error, (*_AGAIN, *_REDIS_AGAIN)) and not _plan_of_another(error)
        if again or state(error) or (self._tier == REDIS and _tripped(error)):
            return StorageUnavailable(self._tier, self._operation, describe(error))
        if isinstance(error, (psycopg.Error, redis.exceptions.RedisError)):
            return StorageError(self._tier, self._operation, describe(error))
        return None


def _kept_waiting(error: BaseException) -> str | None:
    """Why a call gave up that only waited for others."""
    if isinstance(error, NotConnected):
        return f"no connection could be made: {error}"
    if isinstance(error, PoolTimeout):
        return "no connection became free in time: all are busy (pool_max), or the server is slow to take a new one"
    if isinstance(error, TooManyRequests):
        return "all connections of the pool are busy, and max_waiting lets no more wait for one"
    if isinstance(error, pg.LockNotAvailable):
        return "another transaction has held what it needs for longer than the lock timeout"
    return str(error) if isinstance(error, Busy) else None


def _tripped(error: BaseException) -> bool:
    """Whether redis-py fell over, itself or in what it calls: it uses a connection that a task beside it has just closed.

    That is an ``AttributeError``, or what the event loop or ``ssl`` has for it; whatever it is, nobody was answered.
    """
    if not isinstance(error, Exception) or isinstance(error, (redis.exceptions.RedisError, UnicodeError)):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == "redis" for frame, _ in frames)


def unread(error: StorageError) -> bool:
    """Whether a write was refused that had not read the journal: nothing was written, and it is sent again when it has."""
    return getattr(error.__cause__, "sqlstate", None) == JOURNAL_UNREAD


def describe(error: BaseException) -> str:
    """One line about a driver's error without the values it may quote."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        text = error.diag.message_primary  # without DETAIL, which quotes rows
        return f"{text}; {hint}" if (hint := _hint(error)) else text
    if isinstance(error, psycopg.Error) and error.sqlstate is None:
        return _one_line(str(error))
    if wrong_type(error):
        return "a key of this name holds something else; does another application use the same key prefix?"
    if refused(error):
        command = _COMMAND.search(str(error))  # and nothing else: the rest may quote keys and users
        return f"{command[1].upper() if command else 'a command it needs'} is not allowed here"
    if isinstance(error, redis.exceptions.AuthenticationError):
        return "the user or the password is refused"
    said, reason = in_short(error), _reason(error)
    return f"{said}: {reason}" if reason else said


def _hint(error: psycopg.Error) -> str | None:
    """What to do about an error that PostgreSQL's words leave people alone with."""
    if isinstance(error, pg.InsufficientPrivilege) and str(error).startswith("permission denied for"):
        return _RIGHTS  # else it is a policy of somebody's
    return _POOLER if _plan_of_another(error) else None


def _plan_of_another(error: BaseException) -> bool:
    """Whether a prepared statement is not the one this connection made: a pooler has put another session behind it."""
    if isinstance(error, pg.ProtocolViolation):  # also what PgBouncer says when it cannot reach its server
        return "prepared statement" in str(error)
    return isinstance(error, _NOT_MINE)


def _one_line(text: str) -> str:
    """Lines as sentences: libpq begins each with a capital or a dash, and ends few with a stop."""
    said = ""
    for line in (" ".join(line.split()) for line in text.splitlines() if line.strip()):
        begins = said and not line[0].islower() and said[-1] not in ".:;,?!"
        said += f". {line}" if begins else f" {line}"
    return said.strip()[:300]


def _reason(error: BaseException | None) -> str | None:
    """What the operating system said, such as ``Connection refused``: it quotes no address."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return None


def read_only(error: BaseException | None) -> bool:
    """Whether Redis answered that it takes no writes: it is no primary, or not any more."""
    return state(error) == "READONLY"


def wrong_type(error: BaseException | None) -> bool:
    """Whether Redis answered that a key holds a value of another type: it is there, and the value is not ours."""
    return isinstance(error, redis.exceptions.ResponseError) and "WRONGTYPE" in str(error)


def refused(error: BaseException | None) -> bool:
    """Whether Redis answered that this user or this server does not do such a thing: asking again will not mend it."""
    if isinstance(error, redis.exceptions.NoPermissionError):
        return True
    said = str(error).lower()
    return isinstance(error, redis.exceptions.ResponseError) and any(words in said for words in _REFUSALS)


def busy(error: BaseException | None) -> bool:
    """Whether a call to Redis found no free connection: the server was not even asked."""
    full = isinstance(error, redis.exceptions.ConnectionError) and "No connection available" in str(error)
    return full or isinstance(error, (Busy, redis.exceptions.MaxConnectionsError))


def out_of_reach(error: BaseException) -> bool:
    """Whether PostgreSQL did not answer at all: a server that complains, of a lock or a full disk, is there."""
    if not isinstance(error, psycopg.OperationalError) or _plan_of_another(error):
        return False
    if isinstance(error, TooManyRequests):  # said by an application's own pool, which asked nobody
        return False
    return error.sqlstate is None or error.sqlstate.startswith(_GONE)


def locked_out(error: BaseException) -> bool:
    """Whether a PostgreSQL that answers was told to wait no longer for another transaction; for an error of ours."""
    return isinstance(error.__cause__, pg.LockNotAvailable)


def not_permitted(error: BaseException) -> bool:
    """Whether PostgreSQL says that this role may not do such a thing; for an error of ours."""
    return isinstance(error.__cause__, pg.InsufficientPrivilege)


def held_up(error: StorageError) -> bool:
    """Whether one conversation kept a statement waiting, or something in it was refused, so that another may well go through."""
    if error.tier != POSTGRES:
        return False
    return not isinstance(error, StorageUnavailable) or isinstance(
        error.__cause__, (Busy, pg.LockNotAvailable)
    )


def connection_lost(error: BaseException) -> bool:
    """Whether the connection broke under a statement whose outcome is unknown, so that it is worth sending again."""
    return out_of_reach(error) and not isinstance(
        error, (PoolTimeout, DeadlineExceeded, pg.ConnectionTimeout)
    )


def takes_no_writes(error: BaseException) -> bool:
    """Whether the session is on a server that takes no writes: a replica, as after a fail-over, or one made read-only.

    The second kind is what a replica has for ``BEGIN READ WRITE``, and any server for a plan that no longer fits its table.
    """
    return isinstance(error, (pg.ReadOnlySqlTransaction, pg.FeatureNotSupported))


def worth_sending_again(error: BaseException) -> bool:
    """Whether a statement is worth sending once more, on another connection if this one is at fault."""
    return (
        connection_lost(error)
        or takes_no_writes(error)
        or isinstance(error, (pg.SerializationFailure, pg.DeadlockDetected))
    )
