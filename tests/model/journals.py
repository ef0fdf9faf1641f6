"""The journal beside the window: append, join, settle; and who drains it."""

from __future__ import annotations

from collections.abc import Iterator

from model.parties import Drainer, Late, Log, Proc, Server, State, Step, Told, bits, put
from model.promise import Promise
from model.window_model import Entries, Window


class Journals(Promise):
    """The scripts, and the drainers."""

    def append(self, s: State, late: Late) -> State | None:
        """The script: put an entry beside a window of this life, or ``None``: refused."""
        server = s.servers[late.at]
        key, life = server.key, late.life
        if self.has("append asks the name") and self.name(server) != late.name:
            return None
        if self.has("append needs a window"):
            if not isinstance(key, Window) or not key.life or self.bereft(server):
                return None
            if key.era != late.era:
                return None
            if key.life != life and self.has("append names the life"):
                return None
            life = key.life
        if life != s.pg.life:  # a delete is stored and not told yet: what is appended goes with it
            s = s._replace(seen=s.seen._replace(gone=s.seen.gone | 1 << late.row))
        if any(row == late.row for row, _ in server.journal):
            return s
        if isinstance(key, Window):
            key = key._replace(waits=self.has("a window knows of its journal"))
        return self.change(s, late.at, key, (*server.journal, (late.row, life)))

    def bereft(self, server: Server) -> bool:
        """Whether the window knows of a journal that is not there any more."""
        return isinstance(server.key, Window) and server.key.waits and not server.journal

    def arrivals(self, s: State) -> Iterator[Step]:
        """An append that had no answer arrives late."""
        for late in s.flying:
            rest = s._replace(flying=tuple(one for one in s.flying if one != late))
            n = self.append(rest, late) or rest
            seen = n.seen._replace(late=n.seen.late | 1 << late.row)
            yield f"the append of {late.row} arrives late", n._replace(seen=seen)

    def joined(self, server: Server, key: Window) -> Log:
        """The script: what a hit shows."""
        if not self.has("read shows the journal"):
            return key.shows
        twice = not self.has("not shown twice")
        return key.shows + tuple(row for row, _ in server.journal if row not in key.shows or twice)

    def trim(self, s: State, at: int, ents: Entries) -> State:
        """Take what was stored out of a journal."""
        journal = s.servers[at].journal
        if self.has("remove by id"):
            rows = {row for row, _ in ents}
            left = tuple(entry for entry in journal if entry[0] not in rows)
        else:
            left = journal[len(ents) :]
        key = s.servers[at].key
        if isinstance(key, Window) and key.waits and journal and not left:
            key = key._replace(waits=False)
        return self.change(s, at, key, left)

    def settle(self, s: State, at: int, told: Told, era: int, *, keep: bool = False) -> State:
        """The script: extend a window of this era and the stamp before, else tell; and trim the journal."""
        key = None if self.bereft(s.servers[at]) else s.servers[at].key
        n = None
        if key is None:
            n = self.store(s, at, None)
        if isinstance(key, Window) and told.before >= 0:
            mine = key.era == era or not self.has("publish compares the era")
            number = key.shows[:1] == told.seen[:1] and len(key.shows) == len(told.seen) - len(told.new)
            if mine and (key.stamp == told.before if self.has("extend by stamp") else number):
                grown = key._replace(stamp=told.stamp, shows=(*key.shows, *told.new))
                n = self.store(s, at, grown)
        if n is None:
            n = s if told.stamp == -2 else self.tell(s, at, told.stamp, told.seen, "publish ends the lease")
        if keep:
            return n
        old = s.servers[at]
        n = self.trim(n, at, told.ents)
        if told.ended and not self.has("a delete leaves the journal"):
            left = tuple(entry for entry in n.servers[at].journal if entry[1] != told.ended)
            n = self.change(n, at, n.servers[at].key, left)
        n = self.found_again(n, told.seen)
        now = n.servers[at]
        if (now.key, now.journal) == (old.key, old.journal):
            return n
        return n._replace(servers=put(n.servers, at, now._replace(old=(old.key, old.journal))))

    def forget(self, s: State, p: int, ents: Entries) -> State:
        """PostgreSQL has answered this process for these entries."""
        kept = tuple(entry for entry in s.procs[p].kept if entry not in ents)
        if kept == s.procs[p].kept:
            return s
        return s._replace(procs=put(s.procs, p, s.procs[p]._replace(kept=kept)))

    def asks_for_journal(self, s: State, cache: int) -> bool:
        """Whether the statement wants to know that the journal was read."""
        if not self.has("the statement asks for the journal"):
            return False
        if self.has("the database allows journals"):
            return s.pg.journal
        return any(row.cache == cache and row.journal for row in s.pg.rows)

    def apart(self, proc: Proc) -> bool:
        """Whether a process remembers what it appended on another server than it takes this one for."""
        return (
            bool(proc.kept)
            and proc.kept_at != proc.cache
            and self.has("what is remembered apart comes first")
        )

    # Drainers

    def drainer(self, s: State, i: int, d: Drainer) -> Iterator[Step]:
        """The next step of a drainer."""
        p = self.scope.drain[i]
        proc = s.procs[p]
        at = proc.server
        if d.step == "idle":
            ents = self.pending(s, p)
            if ents:
                n = s if self.has("remove after commit") else self.trim(s, at, ents)
                yield f"d{i} takes {ents}", _drainer(n, i, Drainer("store", proc.cache, proc.era, ents))
        elif d.step == "store":
            saw = tuple(row.cache for row in s.pg.rows)
            others = self.others(saw, (d.cache,)) if self.has("a drain marks others") else ()
            n, told = self.statement(s, d.ents, "", 0, s.ids, others)
            n = self.forget(n, p, d.ents)
            step = "settle" if self.has("settle in one script") else "trim"
            yield f"d{i} stores {d.ents}: {n.pg.log}", _drainer(n, i, d._replace(step=step, told=told))
        elif d.step == "trim":
            yield f"d{i} trims", _drainer(self.trim(s, at, d.ents), i, d._replace(step="settle"))
        elif d.step == "settle":
            yield from self._settles(s, i, p)
        elif d.step == "failed":
            n = self.marked(s, d.cache, d.told.stamp)
            proc = n.procs[p]._replace(era=0, look=())
            n = self.vouch_not(n._replace(procs=put(n.procs, p, proc)), bits(d.told.new))
            n = self.found_again(n, d.told.seen)
            yield f"d{i} marks {d.cache}", _drainer(n, i, Drainer())

    def _settles(self, s: State, i: int, p: int) -> Iterator[Step]:
        d, proc = s.drainers[i], s.procs[p]
        if self.name(s.servers[proc.server]) != d.cache and self.has("a drain's settle asks the name"):
            yield f"d{i} finds another server", _drainer(self.distrust(s, p), i, d._replace(step="failed"))
            return
        n = self.settle(s, proc.server, d.told, d.era, keep=not self.has("settle in one script"))
        told = self.owed_at(n, proc.server, bits(row for row in d.told.seen if row in n.pg.log) & n.acked)
        yield f"d{i} settles", _drainer(told, i, Drainer())
        if "deaf" in self.scope.kinds and s.faults:
            failed = d._replace(step="failed")
            for done in {s, n}:
                yield f"d{i} settles, NO ANSWER", _drainer(done, i, failed)._replace(faults=s.faults - 1)


def _drainer(s: State, i: int, d: Drainer) -> State:
    return s._replace(drainers=put(s.drainers, i, d))
