"""One run: servers, workers, faults, and the checker over what they left behind."""

from __future__ import annotations

import json
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from psycopg import sql

from convmemory import ConversationMemory, PostgresStore, Settings
from convmemory._sync.tiered import TieredStore
from fix_proxy import Proxy
from torture import audit, clients
from torture.checker import Verdict, judge
from torture.crew import Crew
from torture.faults import KINDS
from torture.mutants import MUTANTS
from torture.records import Attempt, Event, Fault, collect
from torture.scene import Scene
from torture.schedule import Schedule
from torture.sentinel import SentinelSet
from torture.servers import READY, Hot, Postgres, running, wait_for
from torture.succession import Succession, succession
from torture.variants import LIBRARY
from torture.workload import Job

WORKERS = 9
SETTINGS: dict[str, Any] = {
    "redis_timeout": 0.3,
    "pool_timeout": 1.2,
    "statement_timeout": 1.5,
    "connect_timeout": 2.0,  # libpq has no shorter one
    "pool_max": 3,
}
"""Short deadlines, and fewer connections than a worker has lanes."""
CALM = 2.0
"""Seconds without faults before the first and after the last one, in a short run an eighth of it."""
FAIL_OVER, PROMOTE = "fail-over", "promote"
SHARE = 0.13
"""Of the time goes to each fault that needs servers of its own."""
COLD = 2000
"""Conversations where PostgreSQL goes back: most of them rest for a while, and a write would replace what was lost."""


@dataclass(frozen=True)
class Plan:
    """What a run is asked to be."""

    seconds: float = 60.0
    seed: int = 1
    mode: str = "sync"
    kinds: tuple[str, ...] = tuple(KINDS)
    variant: str = "library"
    workers: int = WORKERS
    settings: dict[str, Any] = field(default_factory=dict)
    wiping: float = 0.02
    pace: float = 1.0
    keep: str = ""
    journals: bool = False


BARE, ELSEWHERE = 4, 7
"""Which worker has no Redis, and which one keeps its windows apart from the others'."""
JOURNAL, OUTAGES = {"durability": "journal"}, {"journal": "outage"}
DURABILITY: tuple[dict[str, Any], ...] = (JOURNAL, {}, JOURNAL, OUTAGES, {}, {}, JOURNAL, JOURNAL, OUTAGES)
"""How each worker writes where journals are allowed: to them, to PostgreSQL, or to them while that is away."""


@dataclass
class Outcome:
    """What a run came to; ``notes`` say what could not be done, and why."""

    verdict: Verdict = field(default_factory=Verdict)
    faults: list[Fault] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    farewells: list[dict[str, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, other: Outcome) -> None:
        """Add what another part of the run came to."""
        self.verdict.operations += other.verdict.operations
        self.verdict.violations += other.verdict.violations
        self.verdict.excused += other.verdict.excused
        for name in ("faults", "attempts", "farewells", "failures", "notes"):
            getattr(self, name).extend(getattr(other, name))


def run(plan: Plan) -> Outcome:
    """Play the whole plan on servers of its own; about an eighth of the time goes to each of the two kinds of fail-over."""
    outcome = Outcome()
    kinds = [name for name in plan.kinds if name not in {FAIL_OVER, PROMOTE}]
    apart = [name for name in (FAIL_OVER, PROMOTE) if name in plan.kinds]
    with scratch() as directory, running(directory, plan.seconds) as (postgres, redis, no_disk):
        outcome.notes += [f"{postgres.description}, {redis.description}"]
        if no_disk and "fill-disk" in kinds:
            kinds.remove("fill-disk")
            outcome.notes.append(f"not run: fill-disk: {no_disk}")
        if PROMOTE in apart and (why := Succession.impossible(postgres)):
            apart.remove(PROMOTE)
            outcome.notes.append(f"not run: {PROMOTE}: {why}")
        share = SHARE if kinds or not apart else 1 / len(apart)
        if kinds or not apart:
            stage = Stage(plan, directory, postgres, redis)
            outcome.take(stage.play(kinds, plan.seconds * (1 - share * len(apart))))
        for name in apart:
            place = directory / name
            place.mkdir(mode=0o711)
            with _own_servers(name, Stage(plan, directory, postgres, redis), place) as stage:
                outcome.take(stage.play([name], plan.seconds * share))
    return outcome


@contextmanager
def _own_servers(name: str, stage: Stage, place: Path) -> Iterator[Stage]:
    """The stage with the servers that one kind of fail-over needs."""
    if name == FAIL_OVER:
        with SentinelSet(place).running() as sentinels:
            yield replace(stage, redis=sentinels.primary(), address=sentinels.address, sentinels=sentinels)
        return
    with succession(place) as pair:
        yield replace(stage, succession=pair)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that PostgreSQL's account may enter, removed in the end."""
    directory = Path(tempfile.mkdtemp(prefix="convmemory-torture-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclass
class Stage:
    """A part of a run in which workers see one set of servers.

    ``address`` is where they all find Redis, and a ``succession`` where they all find PostgreSQL; without them the servers
    themselves, every third of them through a proxy.
    """

    plan: Plan
    directory: Path
    postgres: Postgres
    redis: Hot
    address: str = ""
    sentinels: SentinelSet | None = None
    succession: Succession | None = None

    def play(self, kinds: Sequence[str], seconds: float) -> Outcome:
        """Let the workers work for so long while faults of these kinds happen; judge what they saw."""
        logs = self._logs = Path(tempfile.mkdtemp(dir=self.directory))
        schema = f"torture_{secrets.token_hex(4)}"
        self._prepare(schema)
        began = time.perf_counter()
        with ExitStack() as stack:
            near = [Proxy(self._database), Proxy(self.redis.url)]
            for proxy in near:
                stack.callback(proxy.close)
            crew = stack.enter_context(Crew(self._jobs(schema, began, *near), logs))
            scene = Scene(
                self.postgres,
                self.redis,
                *near,
                crew,
                schema,
                f"{schema}:",
                random.Random(self.plan.seed),
                self.sentinels,
                self.succession,
            )
            schedule = Schedule([KINDS[name] for name in kinds], scene, self.plan.pace)
            time.sleep(_calm(seconds))
            schedule.play(seconds - 2 * _calm(seconds))
            time.sleep(_calm(seconds))
        if self.plan.journals:
            self._drain(schema)
        return self._judge(schema, crew, schedule, began)

    def _drain(self, schema: str) -> None:
        """Store what the journals of workers that were killed hold."""
        redis = clients.redis_tier(self.address or self.redis.url, "sync", SETTINGS["redis_timeout"])
        for cache in ("", "elsewhere:"):
            settings = SETTINGS | JOURNAL | {"db_schema": schema, "key_prefix": f"{schema}:{cache}"}
            memory = ConversationMemory.from_url(self._database, redis, **settings)
            with memory:
                TieredStore(memory.postgres, memory.redis).swept(anyway=True)

    def _prepare(self, schema: str) -> None:
        PostgresStore(self._database, Settings(db_schema=schema)).init_schema()
        if self.succession:
            self.succession.watch(schema)
            return
        with self.postgres.connect() as conn:
            audit.install(conn, schema)
            for function in (
                MUTANTS[self.plan.variant].remade().values() if self.plan.variant in MUTANTS else ()
            ):
                conn.execute(sql.SQL(function).format(schema=sql.Identifier(schema)))

    @property
    def _database(self) -> str:
        return self.succession.address if self.succession else self.postgres.url

    def _jobs(self, schema: str, began: float, postgres: Proxy, redis: Proxy) -> list[Job]:
        """Two workers of three stand near the servers, every third behind the proxies.

        Of the library itself one has no Redis, and one keeps its windows in another cache.
        """
        near = self._database, self.address or self.redis.url
        far = postgres.url, self.address or redis.url
        places = [far if number % 3 == 2 else near for number in range(self.plan.workers)]
        caches = dict.fromkeys(range(self.plan.workers), "")
        if self.plan.variant == LIBRARY:
            caches |= {BARE: "none", ELSEWHERE: "elsewhere:"}
            places[BARE : BARE + 1] = [(near[0], "")] * (self.plan.workers > BARE)
        return [
            Job(
                name=f"{schema[-3:]}{number}-",
                seed=self.plan.seed * 1_000_003 + number * 10_007,
                mode=self.plan.mode,
                run=schema[-4:],
                postgres=place[0],
                redis=place[1],
                log="",
                began=began,
                variant=self.plan.variant,
                wiping=self.plan.wiping,
                cache=caches[number],
                far=place is far,
                journals=self.plan.journals,
                slots=COLD if self.succession else Job.slots,
                settings=SETTINGS
                | {"db_schema": schema, "key_prefix": f"{schema}:{caches[number]}"}
                | (DURABILITY[number % len(DURABILITY)] if self.plan.journals and place[1] else {})
                | self.plan.settings,
            )
            for number, place in enumerate(places)
        ]

    def _judge(self, schema: str, crew: Crew, schedule: Schedule, began: float) -> Outcome:
        history = collect(line for path in crew.logs for line in path.open())
        if self.succession:
            events = self.succession.events()
        else:
            wait_for(self.postgres.answers, READY, "PostgreSQL does not answer any more")
            with self.postgres.connect() as conn:
                events = audit.read(conn, schema)
        verdict = judge(history, events, schedule.faults, began)
        if self.plan.keep:
            self._save(schema, events, schedule.faults)
        return Outcome(verdict, schedule.faults, history.attempts, history.farewells, schedule.failures)

    def _save(self, schema: str, events: Sequence[Event], faults: Sequence[Fault]) -> None:
        """Put what was recorded where somebody can look at it."""
        place = Path(self.plan.keep, schema)
        shutil.copytree(self._logs, place)
        (place / "audit.json").write_text(json.dumps([asdict(event) for event in events]))
        (place / "faults.json").write_text(
            json.dumps([{**asdict(f), "tiers": sorted(f.tiers)} for f in faults])
        )


def _calm(seconds: float) -> float:
    return min(CALM, seconds / 8)
