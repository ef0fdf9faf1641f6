"""The environment: which variables a setting is read from, which of two that contradict each other counts, and misspelt ones."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from convmemory.errors import ConfigurationError

PREFIX: Final = "CONVMEMORY_"
PLACES: Final = {
    "database_url": ("postgres_host", "postgres_port", "postgres_db", "postgres_user", "postgres_password"),
    "redis_url": ("redis_host", "redis_port", "redis_password", "redis_db"),
}
"""The settings that are whole URLs, and the parts each of them stands for, the host first."""
UNPREFIXED: Final = frozenset(
    {
        *PLACES,
        *(part for parts in PLACES.values() for part in parts),
        "session_ttl_minutes",
        "max_history_messages",
    }
)
"""Settings that are also read without the prefix, under the names a whole deployment shares."""
ELSEWHERE: Final = frozenset(
    {"CONVMEMORY_BINARIES", "CONVMEMORY_POSTGRES_BIN", "CONVMEMORY_REDIS_BIN", "CONVMEMORY_SERVE_TOKEN"}
)
"""Variables of ours that are no settings: those of the embedded servers, and of ``convmemory serve``."""
_FOR_TESTS: Final = "CONVMEMORY_TEST_"
_SERVICE_LINK: Final = re.compile(
    r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)
_LINKED: Final = re.compile(r"(tcp|udp|sctp)://")


def variables_of(setting: str) -> tuple[str, ...]:
    """The variables a setting is read from, the one that wins first."""
    name = setting.upper()
    return (PREFIX + name, name) if setting in UNPREFIXED else (PREFIX + name,)


def read_environment(settings: Collection[str], given: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What the environment says of ``settings`` that are not ``given``: the variable and its text, by setting.

    A server is taken from one source: what is given, then names with the prefix, then those without. Within one
    of them a whole URL wins over its parts, which are not even looked at.

    Raises:
        ConfigurationError: A variable with the prefix is no setting, or Kubernetes wrote it.
    """
    # any case, exact ones first
    there = {**{name.upper(): text for name, text in os.environ.items()}, **os.environ}
    _refuse_unknown(there, {PREFIX + setting.upper() for setting in settings})
    found: dict[str, tuple[str, str]] = {}
    for setting in settings:
        for variable in variables_of(setting):
            text = there.get(variable)
            if setting not in given and text is not None and (text or setting not in PLACES):
                found[setting] = variable, text
                break
    for url, parts in PLACES.items():
        _choose(url, parts, found, given)
    for variable, text in found.values():
        _refuse_service_link(variable, text)
    return found


def _choose(
    url: str, parts: tuple[str, ...], found: dict[str, tuple[str, str]], given: Mapping[str, Any]
) -> None:
    """Keep the URL or its parts, whichever is nearer to the caller."""
    whole = _nearness(url, found, given)
    if whole < _nearness(parts[0], found, given):
        found.pop(url, None)
    elif whole:
        _refuse_beside(url, whole, parts, found, given)
        for part in parts:
            found.pop(part, None)


def _refuse_beside(
    url: str,
    whole: int,
    parts: tuple[str, ...],
    found: dict[str, tuple[str, str]],
    given: Mapping[str, Any],
) -> None:
    """A part that was named nearer by than the URL is meant to count, and cannot: the URL names the whole server."""
    nearer = [part for part in parts if _nearness(part, found, given) > whole]
    if nearer:
        named = [found[part][0] if part in found else part for part in nearer]
        where = found[url][0] if url in found else url
        raise ConfigurationError(
            f"{', '.join(named)}: stands beside {where}, which names the whole server; "
            f"put it into the URL, or give {parts[0]} as well"
        )


def _nearness(setting: str, found: Mapping[str, tuple[str, str]], given: Mapping[str, Any]) -> int:
    if given.get(setting) is not None and (given[setting] != "" or setting not in PLACES):
        return 3
    if setting not in found:
        return 0
    return 2 if found[setting][0].startswith(PREFIX) else 1


def _refuse_unknown(there: Mapping[str, str], known: Collection[str]) -> None:
    """A misspelt variable would be a default that nobody chose."""
    wrong = [
        name
        for name, text in sorted(there.items())
        if name.startswith(PREFIX)
        and name not in known
        and name not in ELSEWHERE
        and not name.startswith(_FOR_TESTS)
        and not _SERVICE_LINK.search(name)
        and not _LINKED.match(text)
    ]
    if wrong:
        raise ConfigurationError("; ".join(_unknown(name, known) for name in wrong))


def _unknown(name: str, known: Collection[str]) -> str:
    own = [one.removeprefix(PREFIX) for one in sorted({*known, *ELSEWHERE})]
    near = " or ".join(PREFIX + one for one in get_close_matches(name.removeprefix(PREFIX), own))
    hint = f"did you mean {near}?" if near else f"names that begin with {PREFIX} are settings of this library"
    return f"{name}: no such variable; {hint}"


def _refuse_service_link(variable: str, text: str) -> None:
    """A Service called ``redis`` makes Kubernetes set ``REDIS_PORT=tcp://10.0.0.1:6379`` in every container beside it."""
    if variable.endswith("_PORT") and _LINKED.match(text):
        url = next(
            url for url, parts in PLACES.items() if any(variable.endswith(part.upper()) for part in parts)
        )
        raise ConfigurationError(
            f"{variable}: is an address that Kubernetes sets for a Service of that name, and no port; "
            f"set {PREFIX}{url.upper()}, or enableServiceLinks: false"
        )
