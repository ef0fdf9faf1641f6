"""The traps that hand-made copies of this cache fall into, and then those of its journals, each put back into our own code.

A mutant changes the text of a script or of a statement, or what a blocking store does around the scripts. Each is caught by the same
checker that the library itself must pass; a checker that lets one through is of no use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import convmemory._sync.journal_scripts
import convmemory._sync.redis_store
import convmemory._sync.statements
from convmemory._sync.tiered import TieredStore
from convmemory.storage.redis_keys import Keys
from convmemory.storage.sql_and_lua import lua, migrations, sql
from torture import naive
from torture.journal_traps import (
    ANY_LIFE,
    BY_COUNT,
    NO_ROW_IDS,
    NOT_SHOWN,
    TOLD_LATER,
    CommitForgets,
    MissForgets,
    NothingRemembered,
    TrimsFirst,
)
from torture.traps import (
    ANY_HISTORY,
    ANY_SERVER,
    DOUBLE,
    LATE_FILL,
    PARTIAL,
    Changes,
    Forgetful,
    HotFirst,
    Resurrecting,
    WritingBack,
    two_keys,
    untagged,
)


@dataclass(frozen=True)
class Mutant:
    """One trap: what it is, what is changed, and the faults under which it shows at once."""

    what: str
    kinds: tuple[str, ...] = ()
    scripts: Changes = field(default_factory=dict)
    statements: Changes = field(default_factory=dict)
    store: type[TieredStore] | None = None
    keys: Callable[[Keys, Any], str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    cluster: bool = False
    wiping: float = 0.02
    journals: bool = False
    functions: Changes = field(default_factory=dict)

    def rewritten(self) -> dict[str, str]:
        """The scripts as this mutant has them.

        Raises:
            LookupError: A script no longer has what the mutant changes.
        """
        return {name: _rewritten(name, lua(name), changes) for name, changes in self.scripts.items()}

    def restated(self) -> dict[str, str]:
        """The statements as this mutant has them; errors as ``rewritten``."""
        return {name: _rewritten(name, sql(name), changes) for name, changes in self.statements.items()}

    def remade(self) -> dict[str, str]:
        """The functions of the schema as this mutant has them; errors as ``rewritten``."""
        return {name: _rewritten(name, _function(name), changes) for name, changes in self.functions.items()}


def install(name: str) -> None:
    """Make this process run the mutant."""
    mutant = MUTANTS[name]
    texts, statements = mutant.rewritten(), mutant.restated()
    convmemory._sync.redis_store.lua = lambda script: texts.get(script) or lua(script)
    convmemory._sync.journal_scripts.lua = convmemory._sync.redis_store.lua
    convmemory._sync.statements.statement = lambda name: statements.get(name) or sql(name)
    if mutant.store is not None:
        naive.use(mutant.store)
    if mutant.keys is not None:
        Keys.window = mutant.keys


def _function(name: str) -> str:
    text = "".join(migration.sql for migration in migrations())
    found = re.search(
        rf"^CREATE FUNCTION \{{schema\}}\.{name}\(.*?^END \$\$;$", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise LookupError(f"there is no function {name} any more")
    return found[0].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)


def _rewritten(name: str, text: str, changes: Sequence[tuple[str, str]]) -> str:
    for old, new in changes:
        if old not in text:
            raise LookupError(f"{name} has no {old!r} any more")
        text = text.replace(old, new)
    return text


MUTANTS = {
    "partial-window": Mutant(
        "1: a write starts a window where there is none, and it counts as complete",
        ("flush", "expire"),
        PARTIAL,
    ),
    "double-fill": Mutant(
        "2: readers who miss together both append what they read", ("flush", "expire"), DOUBLE
    ),
    "hot-first": Mutant("3: the window is told before PostgreSQL has committed", store=HotFirst),
    "resurrect": Mutant(
        "4: a late filler brings back what was deleted", scripts=LATE_FILL, store=Resurrecting, wiping=0.2
    ),
    "torn-ttl": Mutant(
        "5: a read slides the life of one key of two",
        scripts=two_keys(slide=False),
        settings={"session_ttl_minutes": 0.01},
    ),
    "write-back": Mutant("6: the window is written back to PostgreSQL", store=WritingBack),
    "amnesia": Mutant("7: without Redis there is no history", ("kill-redis",), store=Forgetful),
    "two-keys": Mutant(
        "8: eviction drops one key of a window of two", ("evict-random",), two_keys(slide=True)
    ),
    "no-hash-tag": Mutant(
        "9: a window's keys are in two slots of a cluster",
        scripts=two_keys(slide=True),
        keys=untagged,
        cluster=True,
    ),
    "any-server": Mutant(
        "10: a copy of Redis is taken for the server it was copied from", ("copy-redis",), ANY_SERVER
    ),
    "any-history": Mutant(
        "11: windows outlive the messages that a promoted replica never had",
        ("promote",),
        statements=ANY_HISTORY,
    ),
    "trim-first": Mutant(
        "12: an entry leaves its journal before PostgreSQL has it",
        ("kill-worker", "crash-worker"),
        store=TrimsFirst,
        journals=True,
    ),
    "trim-by-count": Mutant(
        "13: who drains takes as many entries out as it stored, whichever they are",
        scripts=BY_COUNT,
        journals=True,
    ),
    "told-later": Mutant(
        "14: entries leave their journal, and the window is not told of them",
        scripts=TOLD_LATER,
        journals=True,
    ),
    "not-shown": Mutant(
        "15: a window is served without what waits beside it", scripts=NOT_SHOWN, journals=True
    ),
    "miss-forgets": Mutant(
        "16: a window is filled without what waits",
        ("expire", "forget-caches"),
        store=MissForgets,
        journals=True,
    ),
    "commit-forgets": Mutant(
        "17: a write to PostgreSQL goes past what waits: the answer before the question",
        store=CommitForgets,
        journals=True,
    ),
    "not-remembered": Mutant(
        "18: what Redis loses before it is stored nobody sends again",
        ("flush",),
        store=NothingRemembered,
        journals=True,
    ),
    "no-life": Mutant(
        "19: what waited is stored though its conversation was cleared meanwhile",
        functions=ANY_LIFE,
        wiping=0.3,
        journals=True,
    ),
    "no-row-ids": Mutant(
        "20: an entry that is stored by two is there twice", functions=NO_ROW_IDS, journals=True
    ),
}
