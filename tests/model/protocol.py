"""What writers and readers do: every step of theirs that can come next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from model.parties import (
    Broken,
    Log,
    Pg,
    Proc,
    Reader,
    Row,
    Scope,
    Server,
    State,
    Step,
    Writer,
    bits,
    put,
    shows,
    stamp_of,
)
from model.window_model import Key, Lease, Window


class Parties:
    """What PostgreSQL and the scripts do; ``without`` names the rule that is left out."""

    def __init__(self, scope: Scope, without: str = "") -> None:
        self.scope, self.without = scope, without

    def has(self, rule: str) -> bool:
        """Whether the rule is kept."""
        return rule != self.without

    def start(self, *, cold: bool) -> State:
        """Before anything happens, with nothing cached or with everything."""
        scope = self.scope
        log: Log = () if scope.empty else (1,)
        known, used = bits(log), sorted(set(scope.procs))
        rows = () if scope.fresh else tuple(Row(10 + at, 0, 20 + at) for at in used)
        servers = []
        for at in (0, 1):
            warm = None if cold or scope.fresh else Window(20 + at, stamp_of(log), shows(log), 10 + at)
            there = at in used
            servers.append(
                Server(10 + at if there else 0, warm if there else None, None, known, 10 + at if there else 0)
            )
        procs = tuple(Proc(at, 10 + at, 0 if scope.fresh else 20 + at, known, 0) for at in scope.procs)
        return State(
            pg=Pg(log, rows),
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
        )

    def commit(self, s: State, **change: Any) -> State:
        """One commit of PostgreSQL, which it may lose again."""
        return s._replace(pg=s.pg._replace(**change), before=s.pg)

    def mark(self, s: State, caches: tuple[int, ...], stamp: int) -> tuple[tuple[int, int], ...]:
        """The marks, with one for each of these caches."""
        return tuple(sorted({**dict(s.pg.marks), **dict.fromkeys(caches, stamp)}.items()))

    def name(self, server: Server) -> int:
        """What a cache on this server is called."""
        return server.name if self.has("a server names itself") else server.token

    def store(self, s: State, at: int, key: Key) -> State:
        """The same with another key on a server."""
        server = s.servers[at]
        return s._replace(servers=put(s.servers, at, server._replace(key=key, old=server.key)))

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

    def owed_at(self, s: State, at: int, what: int) -> State:
        """Whoever reads at this server is owed these commits."""
        server = s.servers[at]
        return s._replace(servers=put(s.servers, at, server._replace(told=server.told | what)))


class Writers(Parties):
    """What writers do: statement, publish, and the mark where that failed."""

    def writer(self, s: State, i: int, w: Writer) -> Iterator[Step]:
        """The next step of a writer."""
        p, ops = self.scope.writers[i]
        if w.step == "again" or (w.step == "idle" and w.left):
            cache, era = (s.procs[p].cache, s.procs[p].era) if p >= 0 else (0, 0)
            saw = tuple(row.cache for row in s.pg.rows)
            began = _writer(s, i, step="began", cache=cache, era=era, saw=saw)
            yield f"w{i} starts, sees caches {saw}", began
        elif w.step in {"began", "orphan"}:
            yield from self._states(s, i, p, ops[len(ops) - w.left])
        elif w.step == "committed":
            yield from self._publishes(s, i, p)
        elif w.step == "failed":
            yield f"w{i} marks {w.cache}, acks {w.change}", self._marked_late(s, i, p)

    def _states(self, s: State, i: int, p: int, op: str) -> Iterator[Step]:
        """The statement is carried out."""
        w, there = s.writers[i], stamp_of(s.pg.log)
        stored = _writer(s, i, saw=())
        if w.change and w.change in s.pg.log:
            stamp = there if self.has("a repeat tells") else -2
            found = _writer(stored, i, step="committed", stamp=stamp, seen=shows(s.pg.log))
            yield f"w{i} finds {w.change} stored", found
            return
        if op != "a" and not there:
            yield f"w{i} finds nothing to delete", _written(stored, i)
            return
        again = bool(w.change) and not self.has("a fresh stamp an attempt")
        change = abs(w.change) if again else s.ids
        change = change if op == "a" else -change
        stamp = max(change, 0)
        marks = self.mark(s, self._marked(w, p, op), change if self.has("every mark is another") else stamp)
        n = self.commit(stored._replace(ids=s.ids + (not again)), log=(*s.pg.log, change), marks=marks)
        if w.step == "orphan":
            yield f"w{i}'s statement commits {change} after all", _writer(n, i, step="dead", left=0)
        elif p < 0:
            yield f"w{i} commits {change}, acks", self.acked(_written(n, i), change, p)
        else:
            before = there or (-1 if self.has("nothing is not extended") else 0)
            facts = {"stamp": stamp, "before": before if op == "a" else -1, "seen": shows(n.pg.log)}
            did = _writer(n, i, step="committed", change=change, **facts)
            yield f"w{i} commits {change} after {before}", did
        if "again" in self.scope.kinds and s.faults and w.step == "began" and op == "a":
            lost = _writer(n, i, step="again", change=change)._replace(faults=s.faults - 1)
            yield f"w{i} commits {change}, THE REPLY IS LOST", lost

    def _marked(self, w: Writer, p: int, op: str) -> tuple[int, ...]:
        rule = "hands mark" if op == "D" else "bare writers mark" if p < 0 else "writes mark others"
        others = tuple(cache for cache in w.saw if cache != w.cache) if self.has(rule) else ()
        mine = bool(others) and self.scope.across and self.has("mark mine too")
        return w.saw if mine else others

    def _publishes(self, s: State, i: int, p: int) -> Iterator[Step]:
        w, proc = s.writers[i], s.procs[p]
        if w.cache and self.name(s.servers[proc.server]) != w.cache and self.has("publish asks the name"):
            yield f"w{i} finds another server", _writer(self.distrust(s, p), i, step="failed")
            return
        told = self.publish(s, proc.server, w, w.era if self.has("one era a call") else proc.era)
        yield (
            f"w{i} publishes {w.change}, acks",
            self.acked(_written(told, i), w.change, p, proc.server),
        )
        if "deaf" in self.scope.kinds and s.faults:
            for n in {s, told}:
                yield f"w{i} publishes, NO ANSWER", _writer(n, i, step="failed")._replace(faults=s.faults - 1)

    def publish(self, s: State, at: int, w: Writer, era: int) -> State:
        """The script: extend a window of this era and the stamp before, else tell."""
        key = s.servers[at].key
        if isinstance(key, Window) and w.before >= 0:
            mine = key.era == era or not self.has("publish compares the era")
            number = key.shows[:1] == w.seen[:1] and len(key.shows) == len(w.seen) - 1
            if mine and (key.stamp == w.before if self.has("extend by stamp") else number):
                grown = key._replace(stamp=w.stamp, shows=(*key.shows, w.change))
                return self.store(s, at, grown)
        return s if w.stamp == -2 else self.tell(s, at, w.stamp, w.seen, "publish ends the lease")

    def _marked_late(self, s: State, i: int, p: int) -> State:
        w, n = s.writers[i], s
        if self.has("a failed publish marks") and any(row.cache == w.cache for row in s.pg.rows):
            n = self.commit(s, marks=self.mark(s, (w.cache,), w.change))
        if self.has("a failed publish distrusts"):
            n = n._replace(procs=put(n.procs, p, n.procs[p]._replace(era=0, look=())))
        n = n._replace(procs=tuple(self.unknown(proc, ~(1 << abs(w.change))) for proc in n.procs))
        return self.acked(_written(n, i), w.change, p)

    def acked(self, s: State, change: int, p: int, at: int = -1) -> State:
        """A write is acknowledged, by a process or none, and a server was told or not; what was lost is owed no more."""
        bit = 1 << abs(change) if change in s.pg.log else 0
        s = s._replace(acked=s.acked | bit)
        if p >= 0:
            s = s._replace(procs=put(s.procs, p, s.procs[p]._replace(mine=s.procs[p].mine | bit)))
        return self.owed_at(s, at, bit) if at >= 0 else s


class Readers(Parties):
    """What readers do: ask for the window, and read PostgreSQL where that is a miss."""

    def reader(self, s: State, i: int, r: Reader) -> Iterator[Step]:
        """The next step of a reader."""
        p, ops = self.scope.readers[i]
        full = ops[len(ops) - r.left] == "f" if r.left else False
        if r.step == "idle" and r.left:
            yield f"r{i} starts{' a full read' * full}", self._begins(s, i, p, full=full)
        elif r.step == "ask":
            yield from self._asks(s, i, p)
        elif r.step in {"bare", "leased"}:
            yield f"r{i} reads {s.pg.log}", _reader(s, i, step=r.step + "+", log=s.pg.log)
        elif r.step in {"bare+", "leased+"}:
            yield self._finishes(s, i, p, full=full)

    def _begins(self, s: State, i: int, p: int, *, full: bool) -> State:
        proc = s.procs[p]
        servers = (s.servers[proc.server], *s.servers)
        told = next((server.told for server in servers if self.name(server) == proc.cache), 0)
        others = s.acked | (s.returned if self.scope.across else 0)
        return _reader(
            s,
            i,
            step="bare" if full or not proc.era else "ask",
            cache=proc.cache,
            era=proc.era,
            owes=told | proc.mine | (proc.knew & others),
            bound=bool(s.past) and proc.past == s.past,
        )

    def _asks(self, s: State, i: int, p: int) -> Iterator[Step]:
        r, at = s.readers[i], s.procs[p].server
        server, key = s.servers[at], s.servers[at].key
        if self.name(server) != r.cache and self.has("read asks the name"):
            yield f"r{i} finds another server", _reader(self.distrust(s, p), i, step="bare")
        elif isinstance(key, Window) and self._serves(key, r, server):
            yield f"r{i} is served {key.shows}", self._returned(s, i, at, self._judged(s, i, key))
        elif isinstance(key, Lease):
            yield f"r{i} misses", _reader(s, i, step="bare")
            if "late" in self.scope.kinds:
                yield f"r{i} takes the lease over", _reader(self.store(s, at, Lease(i)), i, step="leased")
        else:
            yield f"r{i} misses, leases", _reader(self.store(s, at, Lease(i)), i, step="leased")

    def _serves(self, key: Window, r: Reader, server: Server) -> bool:
        run = self.has("a server names itself") or key.run == server.name
        return run and (key.era == r.era or not self.has("read compares the era"))

    def _judged(self, s: State, i: int, key: Window) -> Log:
        """The oldest state that this can be, among those with what is owed."""
        r = s.readers[i]
        for log in (s.pg.log,) if r.bound else (s.pg.log, s.lost):
            for m in range(len(log) + 1):
                if shows(log[:m]) == key.shows and not r.owes & ~bits(log[:m]):
                    return log[:m]
        owed = [commit for commit in range(s.ids) if r.owes >> commit & 1]
        raise Broken(f"r{i} is served {key.shows}, owes {owed}, PostgreSQL has {s.pg.log}")

    def _finishes(self, s: State, i: int, p: int, *, full: bool) -> Step:
        r, proc = s.readers[i], s.procs[p]
        at, key = proc.server, s.servers[proc.server].key
        held = (isinstance(key, Lease) and key.holder == i) or not self.has("fill needs the lease")
        if r.step == "leased+" and held:
            era = r.era if self.has("one era a call") else proc.era
            n = self.store(s, at, Window(era, stamp_of(r.log), shows(r.log), s.servers[at].name))
            return f"r{i} fills {shows(r.log)}", self._returned(n, i, at, r.log)
        silent = not self.has("a full read tells" if full else "a miss tells")
        n = s if silent else self.tell(s, at, stamp_of(r.log), shows(r.log))
        return f"r{i} returns {shows(r.log)}{', tells' * (not silent)}", self._returned(n, i, at, r.log)

    def _returned(self, s: State, i: int, at: int, log: Log) -> State:
        still = bits(tuple(commit for commit in log if commit in s.pg.log))
        n = s._replace(readers=put(s.readers, i, Reader("idle", s.readers[i].left - 1)))
        return self.owed_at(n._replace(returned=n.returned | still), at, still)


def _writer(s: State, i: int, **change: Any) -> State:
    return s._replace(writers=put(s.writers, i, s.writers[i]._replace(**change)))


def _written(s: State, i: int) -> State:
    return s._replace(writers=put(s.writers, i, Writer("idle", s.writers[i].left - 1)))


def _reader(s: State, i: int, **change: Any) -> State:
    return s._replace(readers=put(s.readers, i, s.readers[i]._replace(**change)))
