"""What PostgreSQL does, and what its servers and processes hold afterwards."""

from __future__ import annotations

from typing import Any

from model.parties import (
    POP,
    Drainer,
    Log,
    Pg,
    Proc,
    Reader,
    Row,
    Scope,
    Server,
    State,
    Told,
    Writer,
    bits,
    put,
    rows_of,
    shows,
)
from model.window_model import Entries, Key, Window


class Parties:
    """What PostgreSQL does; ``without`` names the rule that is left out."""

    def __init__(self, scope: Scope, without: str = "") -> None:
        self.scope, self.without = scope, without

    def has(self, rule: str) -> bool:
        """Whether the rule is kept."""
        return rule != self.without

    def start(self, *, cold: bool) -> State:
        """Before anything happens, with nothing cached or with everything."""
        scope = self.scope
        log: Log = () if scope.empty else (1,)
        known, used, first = bits(log), sorted(set(scope.procs)), int(bool(log))
        allowed = scope.journal in {"on", "half"}
        rows = () if scope.fresh else tuple(Row(10 + at, 0, 20 + at, allowed) for at in used)
        servers = []
        for at in (0, 1):
            there = at in used
            warm = there and not (cold or scope.fresh)
            key = Window(20 + at, first, log, 10 + at, first) if warm else None
            servers.append(Server(10 + at if there else 0, key, (None, ()), known, 10 + at if there else 0))
        procs = tuple(
            Proc(at, 10 + at, 0 if scope.fresh else 20 + at, known, 0, allowed=self.knows_of_journals(p))
            for p, at in enumerate(scope.procs)
        )
        return State(
            pg=Pg(log, first, first, rows, (), allowed),
            before=None,
            past=0,
            lost=(),
            servers=tuple(servers),
            procs=procs,
            writers=tuple(Writer("idle", len(what)) for _, what in scope.writers),
            readers=tuple(Reader("idle", len(what)) for _, what in scope.readers),
            acked=known,
            returned=known,
            ids=2,
            faults=scope.faults,
            drainers=(Drainer(),) * len(scope.drain),
        )

    def knows_of_journals(self, p: int) -> bool:
        """Whether a process begins knowing that journals are allowed."""
        return self.scope.journal == "on" or (self.scope.journal == "half" and self.scope.writes_journals(p))

    def commit(self, s: State, **change: Any) -> State:
        """One commit of PostgreSQL, which it may lose again."""
        return s._replace(pg=s.pg._replace(**change), before=s.pg)

    def mark(self, s: State, caches: tuple[int, ...], stamp: int) -> tuple[tuple[int, int], ...]:
        """The marks, with one for each of these caches."""
        return tuple(sorted({**dict(s.pg.marks), **dict.fromkeys(caches, stamp)}.items()))

    def marked(self, s: State, cache: int, stamp: int) -> State:
        """A cache that could not be told is marked, if it is registered."""
        if self.has("a failed publish marks") and any(row.cache == cache for row in s.pg.rows):
            return self.commit(s, marks=self.mark(s, (cache,), stamp))
        return s

    def others(self, saw: tuple[int, ...], own: tuple[int, ...]) -> tuple[int, ...]:
        """The caches that a statement marks."""
        return tuple(cache for cache in saw if cache not in own)

    def name(self, server: Server) -> int:
        """What a cache on this server is called."""
        return server.name if self.has("a server names itself") else server.token

    def store(self, s: State, at: int, key: Key) -> State:
        """The same with another key on a server."""
        return self.change(s, at, key, s.servers[at].journal)

    def change(self, s: State, at: int, key: Key, journal: Entries) -> State:
        """The same with another key and journal on a server, changed in one script."""
        server = s.servers[at]
        if (key, journal) == (server.key, server.journal):
            return s
        old = (server.key, server.journal)
        return s._replace(servers=put(s.servers, at, server._replace(key=key, journal=journal, old=old)))

    def tell(self, s: State, at: int, stamp: int, seen: Log = (), ends: str = "tell ends the lease") -> State:
        """Keep a window of just this stamp; drop whatever else there is."""
        key = s.servers[at].key
        if isinstance(key, Window):
            newer = key.shows[:1] == seen[:1] and len(key.shows) >= len(seen) > 0  # of one life, by number
            kept = key.stamp == stamp or (newer and not self.has("keep by stamp"))
        else:
            kept = not self.has(ends)
        return s if kept or key is None else self.store(s, at, None)

    def distrust(self, s: State, p: int) -> State:
        """The connections lead to another server than was thought: its name is known now, its era is not."""
        proc = s.procs[p]
        cache = self.name(s.servers[proc.server])
        return s._replace(procs=put(s.procs, p, proc._replace(cache=cache, era=0, look=())))

    def unknown(self, proc: Proc, keep: int) -> Proc:
        """Looks that began before a mark vouch for nothing it stands for."""
        look = (*proc.look[:2], proc.look[2] & keep, *proc.look[3:]) if proc.look else ()
        return proc._replace(knew=proc.knew & keep, look=look)

    def vouch_not(self, s: State, what: int) -> State:
        """No look that is over vouches for these commits, of which its cache was not told."""
        return s._replace(procs=tuple(self.unknown(proc, ~what) for proc in s.procs))

    def owed_at(self, s: State, at: int, what: int) -> State:
        """Whoever reads at this server is owed these commits."""
        server = s.servers[at]
        return s._replace(servers=put(s.servers, at, server._replace(told=server.told | what)))

    def statement(
        self,
        s: State,
        ents: Entries,
        op: str,
        row: int,
        change: int,
        others: tuple[int, ...],
        acked: int = 0,
    ) -> tuple[State, Told]:
        """One statement: entries in their order, then what the call is for; marks where that changed anything."""
        pg, log, new = s.pg, s.pg.log, []
        for entry, life in ents:
            if not self._skips(pg, log, entry, life):
                log, new = (*log, entry), [*new, entry]
        life, ended = pg.life, 0
        if op in tuple("ajb"):
            if row not in shows(log) and not (POP + row in log and self.has("a removed row leaves its id")):
                log, new = (*log, row), [*new, row]
        elif op == "p" and shows(log):
            log = (*log, POP + shows(log)[-1])
        elif op and op in "dDx" and pg.stamp:
            log, ended, life = (*log, -change), pg.life, change if op == "x" else 0
        changed = log != pg.log
        stamp = (0 if op and op in "dD" else change) if changed else pg.stamp
        life = life or (change if changed and stamp else 0)
        before = -1
        if changed and not (op and op in "dDxp"):
            before = pg.stamp or (-1 if self.has("nothing is not extended") else 0)
        event = row or (log[-1] if changed and op else 0)
        told = Told(stamp, before, tuple(new), shows(log), life, ended, ents, event)
        if not changed:
            return s, told
        marks = self.mark(s, others, change if self.has("every mark is another") else stamp)
        n = self.commit(s, log=log, stamp=stamp, life=life, marks=marks)
        n = n._replace(ids=s.ids + (change == s.ids))
        return self.taken(n, pg.log, log, ended, acked), told

    def _skips(self, pg: Pg, log: Log, row: int, life: int) -> bool:
        there = row in shows(log) and self.has("stored by row id")
        popped = POP + row in log and self.has("a removed row leaves its id")
        return there or popped or (life != pg.life and self.has("an entry has its life"))

    def taken(self, s: State, was: Log, log: Log, ended: int, acked: int) -> State:
        """Ghost: what a delete or a pop took for good, and what goes with it before it is stored."""
        if not self.scope.journal or log == was:
            return s
        past, last = s.seen, log[-1]
        if ended:
            return s._replace(
                seen=past._replace(
                    gone=past.gone | (self.waiting(s) & ~bits(log)), taken=(*past.taken, (-last, acked))
                )
            )
        if last > POP:
            return s._replace(seen=past._replace(taken=(*past.taken, (last, 1 << last - POP))))
        return s

    def waiting(self, s: State) -> int:
        """Ghost: rows that are on their way, wherever."""
        found = 0
        for server in s.servers:
            found |= rows_of(server.journal)
        for proc in s.procs:
            found |= rows_of(proc.kept)
        return found | bits(w.row for w in s.writers if w.row) | bits(late.row for late in s.flying)
