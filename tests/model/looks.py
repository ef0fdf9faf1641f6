"""What processes do before they serve, and what befalls everybody."""

from __future__ import annotations

from collections.abc import Iterator

from model.journals import Journals
from model.parties import Drainer, Pg, Proc, Row, State, Step, bits, put, rows_of
from model.protocol import Readers, Writers
from model.window_model import Entries, Key, Window


class Looks(Journals):
    """What a process does before it serves: find its era, drop what is marked, clear the marks."""

    def look(self, s: State, p: int, proc: Proc) -> Iterator[Step]:
        """The next step of a look, or a new one."""
        if proc.look:
            yield self._drains(s, p, proc)
            return
        if not self.has("a server names itself"):  # that mutant asks Redis for its token in each look
            proc = proc._replace(cache=self.name(s.servers[proc.server]))
            s = s._replace(procs=put(s.procs, p, proc))
        row = self._row(s, proc)
        if row is None:
            if self.has("registering waits") and any(w.step in {"began", "orphan"} for w in s.writers):
                return  # it waits, and serves nothing
            yield self._registers(s, p, proc)
            return
        allowing = s.pg.journal if self.has("the database allows journals") else row.journal
        if self.scope.journal and not allowing and self.scope.writes_journals(p):
            yield self._allows(s, p, proc)
            return
        mark = self._mark(s, proc)
        knew = bits(s.pg.log)
        if allowing and not proc.allowed:
            learnt = put(s.procs, p, proc._replace(allowed=True))
            yield f"p{p} learns that journals are allowed", s._replace(procs=learnt)
        if mark is not None:
            first = 0 if self.has("drop before clear") else 1
            began = (first, row.era, knew, s.past, proc.cache, mark)
            looking = s._replace(procs=put(s.procs, p, proc._replace(look=began)))
            yield f"p{p} looks, finds a mark of {mark}", looking
        elif (proc.era, proc.knew, proc.past) != (row.era, knew, s.past):
            yield f"p{p} looks, no mark", _looked(s, p, row.era, knew, s.past)

    def _row(self, s: State, proc: Proc) -> Row | None:
        row = next((row for row in s.pg.rows if row.cache == proc.cache), None)
        if row and row.past != s.past and self.has("the row has the history"):
            row = None
        if not row and proc.era and not self.has("a look asks for the row"):
            row = Row(proc.cache, s.past, proc.era)
        return row

    def _mark(self, s: State, proc: Proc) -> int | None:
        marks = dict(s.pg.marks)
        mark = marks.get(proc.cache)
        if mark is None and marks and not self.has("drain only mine"):
            mark = min(marks.values())
        return mark

    def _registers(self, s: State, p: int, proc: Proc) -> Step:
        era = s.ids if self.has("a new row, a new era") else proc.cache + 10
        others = (row for row in s.pg.rows if row.cache != proc.cache)
        rows = tuple(sorted((*others, Row(proc.cache, s.past, era))))
        n = self.commit(s._replace(ids=s.ids + 1), rows=rows)
        return f"p{p} registers cache {proc.cache}, era {era}", _looked(n, p, era, bits(s.pg.log), s.past)

    def _allows(self, s: State, p: int, proc: Proc) -> Step:
        """Have journals allowed; this process knows it at once, the others when they look or write."""
        rows = tuple(row._replace(journal=row.journal or row.cache == proc.cache) for row in s.pg.rows)
        n = self.commit(s, journal=True, rows=rows)
        return f"p{p} has journals allowed", n._replace(procs=put(n.procs, p, proc._replace(allowed=True)))

    def _drains(self, s: State, p: int, proc: Proc) -> Step:
        step, era, knew, past, cache, mark = proc.look
        if step == 0:
            server = s.servers[proc.server]
            if self.name(server) != cache and self.has("drain asks the name"):
                return f"p{p} finds another server, ends its look", self.distrust(s, p)
            kept = isinstance(server.key, Window) and server.key.stamp == mark
            kept = (kept and not self.has("a drain drops")) or server.key is None
            what, n = f"p{p} drops the window", s if kept else self.store(s, proc.server, None)
        else:
            what, n = f"p{p} clears the mark", self._cleared(s, cache, mark)
        if step == (1 if self.has("drop before clear") else 0):
            counts = knew if self.has("a look counts from its begin") else bits(n.pg.log)
            return what, _looked(n, p, era, counts, past)
        proc = n.procs[p]
        return what, n._replace(procs=put(n.procs, p, proc._replace(look=(1 - step, *proc.look[1:]))))

    def _cleared(self, s: State, cache: int, mark: int) -> State:
        anybodys, any_id = not self.has("drain only mine"), not self.has("clear only what I saw")
        gone = [(c, m) for c, m in s.pg.marks if (c == cache or anybodys) and (m == mark or any_id)]
        return self.commit(s, marks=tuple(m for m in s.pg.marks if m not in gone)) if gone else s


class Faults(Journals):
    """What befalls everybody; how much of it, the scope says."""

    def fault(self, s: State) -> Iterator[Step]:
        """Every fault that can happen now."""
        kinds = self.scope.kinds
        if "back" in kinds and s.before is not None and not s.past:
            yield f"POSTGRESQL GOES BACK to {s.before}", self._back(s, s.before)
        for row in s.pg.rows if "forget" in kinds else ():
            marks = tuple(mark for mark in s.pg.marks if mark[0] != row.cache)
            rows = tuple(other for other in s.pg.rows if other != row)
            yield f"CACHE {row.cache} IS FORGOTTEN", self.commit(s, rows=rows, marks=marks)
        yield from self._of_servers(s)
        for p, proc in enumerate(s.procs if "move" in kinds else ()):
            if s.servers[1 - proc.server].name:
                led = proc._replace(server=1 - proc.server)
                yield f"p{p} IS LED to the other server", s._replace(procs=put(s.procs, p, led))
        for i, w in enumerate(s.writers if "cut" in kinds else ()):
            if w.step in {"began", "committed", "failed"}:
                how = w._replace(step="orphan") if w.step == "began" else w._replace(step="dead", left=0)
                yield f"w{i} IS CUT OFF", s._replace(writers=put(s.writers, i, how))
        for p in range(len(s.procs) if "crash" in kinds else 0):
            yield f"PROCESS {p} ENDS", self._ended(s, p)

    def _of_servers(self, s: State) -> Iterator[Step]:
        kinds = self.scope.kinds
        for at, server in enumerate(s.servers):
            if server.name and "evict" in kinds and server.key:
                yield f"EVICTED at s{at}", self.store(s, at, None)
            if server.name and "flush" in kinds and server.journal:
                for key in {server.key, None}:
                    yield (
                        f"s{at} LOSES ITS JOURNAL, keeps {key}",
                        self._lost(self.change(s, at, key, ()), s, at),
                    )
            states = {(server.key, server.journal), server.old}
            for key, journal in states if server.name and "restart" in kinds else ():
                n = server._replace(name=s.ids, key=key, journal=journal, old=(key, journal))
                n = s._replace(servers=put(s.servers, at, n), ids=s.ids + 1, flying=())
                yield f"s{at} RESTARTS with {key}, {journal}", self._lost(n, s, at)
            states = {(s.servers[0].key, s.servers[0].journal), s.servers[0].old}
            for key, journal in states if not server.name and "copy" in kinds else ():
                yield from self._copied(s, at, key, journal)

    def _copied(self, s: State, at: int, key: Key, journal: Entries) -> Iterator[Step]:
        """The server that was not there is a copy of the other one, and somebody is led to it."""
        origin = s.servers[0]
        less = rows_of(origin.journal) & ~rows_of(journal) & ~bits(s.pg.log)
        told = origin.told & ~less
        copy = origin._replace(name=s.ids, key=key, journal=journal, old=(key, journal), told=told)
        n = s._replace(servers=put(s.servers, at, copy), ids=s.ids + 1)
        for p, proc in enumerate(s.procs):
            led = n._replace(procs=put(n.procs, p, proc._replace(server=at)))
            yield f"s{at} BECOMES A COPY of s0 with {key}, {journal}, p{p} is led to it", led

    def _lost(self, s: State, was: State, at: int) -> State:
        """Ghost: what Redis lost before it was stored is owed to no reader until its writer has sent it again."""
        gone = rows_of(was.servers[at].journal) & ~rows_of(s.servers[at].journal) & ~bits(s.pg.log)
        if not gone:
            return s
        keep, past = ~gone, s.seen
        order = tuple((row, prior & keep) for row, prior in past.order if prior & keep)
        return s._replace(
            servers=tuple(server._replace(told=server.told & keep) for server in s.servers),
            procs=tuple(proc._replace(mine=proc.mine & keep) for proc in s.procs),
            readers=tuple(r._replace(owes=r.owes & keep) for r in s.readers),
            writers=tuple(w._replace(prior=w.prior & keep) for w in s.writers),
            seen=past._replace(lost=past.lost | gone, order=order),
        )

    def _ended(self, s: State, p: int) -> State:
        """A process ends with everything it was at and remembered."""
        proc, scope = s.procs[p], self.scope
        dead = s.seen._replace(dead=s.seen.dead | rows_of(proc.kept))
        writers = (
            w._replace(step="dead", left=0) if q == p else w
            for w, (q, _) in zip(s.writers, scope.writers, strict=True)
        )
        readers = (
            r._replace(step="idle", left=0) if q == p else r
            for r, (q, _) in zip(s.readers, scope.readers, strict=True)
        )
        drainers = (Drainer() if q == p else d for d, q in zip(s.drainers, scope.drain, strict=True))
        n = s._replace(writers=tuple(writers), readers=tuple(readers), drainers=tuple(drainers), seen=dead)
        return n._replace(procs=put(n.procs, p, proc._replace(kept=(), kept_at=0, mine=0, era=0, look=())))

    def _back(self, s: State, pg: Pg) -> State:
        """PostgreSQL loses its last commit, of whatever kind; what is lost is owed no more."""
        keep = ~(bits(s.pg.log) & ~bits(pg.log))
        ends = {"began": "again" if "again" in self.scope.kinds else "dead", "orphan": "dead"}
        seen, waits = s.seen, 0
        if self.scope.journal:  # what was said in a life that is lost goes with it
            for entries in (*(server.journal for server in s.servers), *(proc.kept for proc in s.procs)):
                waits |= bits(row for row, life in entries if life != pg.life)
            order = tuple((row, prior & keep) for row, prior in seen.order if prior & keep)
            taken = tuple((event, rows) for event, rows in seen.taken if event in {abs(c) for c in pg.log})
            seen = seen._replace(gone=seen.gone | waits, order=order, taken=taken)
        return s._replace(
            seen=seen,
            pg=pg,
            before=None,
            past=1,
            lost=s.pg.log,
            acked=s.acked & keep,
            returned=s.returned & keep,
            servers=tuple(server._replace(told=server.told & keep) for server in s.servers),
            procs=tuple(self.unknown(proc, keep)._replace(mine=proc.mine & keep) for proc in s.procs),
            readers=tuple(r._replace(owes=r.owes & keep) for r in s.readers),
            writers=tuple(
                w._replace(step=ends.get(w.step, w.step), saw=(), prior=w.prior & keep) for w in s.writers
            ),
        )


class Protocol(Writers, Readers, Looks, Faults):
    """Everything that can come next."""

    def steps(self, s: State) -> Iterator[Step]:
        """Every step that can come next, with the state it leads to; none where nobody is left to be disappointed."""
        if self.scope.journal:
            self.final(s)
        if not any(r.left for r in s.readers) and (not self.scope.journal or self._quiet(s)):
            return
        for i, w in enumerate(s.writers):
            yield from self.writer(s, i, w)
        for i, r in enumerate(s.readers):
            yield from self.reader(s, i, r)
        for p, proc in enumerate(s.procs):
            yield from self.look(s, p, proc)
        for i, d in enumerate(s.drainers):
            yield from self.drainer(s, i, d)
        yield from self.arrivals(s)
        yield from self.orphaned(s)
        if s.faults:
            for what, n in self.fault(s):
                yield what, n._replace(faults=s.faults - 1)

    def _quiet(self, s: State) -> bool:
        waits = any(server.journal for server in s.servers) or any(proc.kept for proc in s.procs)
        writes = any(w.left and w.step != "dead" for w in s.writers)
        return not (writes or waits or s.flying or s.orphans or any(d.step != "idle" for d in s.drainers))


def _looked(s: State, p: int, era: int, knew: int, past: int) -> State:
    now = s.procs[p]._replace(era=era, knew=knew, past=past, look=())
    return s._replace(procs=put(s.procs, p, now))
