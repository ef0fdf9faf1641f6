"""What writers and readers do: every step of theirs that can come next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from model.journals import Journals
from model.parties import Late, Log, Orphan, Reader, State, Step, Told, Writer, bits, put, shows
from model.window_model import Lease, Window

APPENDS, WIPES = "ajb", "dDx"


class Writers(Journals):
    """What writers do: the journal, statement, publish, and the mark where that failed."""

    def writer(self, s: State, i: int, w: Writer) -> Iterator[Step]:
        """The next step of a writer."""
        p, ops = self.scope.writers[i]
        op = ops[len(ops) - w.left] if w.left else ""
        if w.step == "again" or (w.step == "idle" and w.left):
            yield from self._starts(s, i, p, op)
        elif w.step == "append":
            yield from self._appends(s, i, p)
        elif w.step == "ask":
            yield from self._asks_journal(s, i, p, op)
        elif w.step in {"began", "orphan"}:
            yield from self._states(s, i, p, op)
        elif w.step == "committed":
            yield from self._publishes(s, i, p)
        elif w.step == "failed":
            yield f"w{i} marks {w.cache}, acks {w.change}", self._marked_late(s, i, p)

    def _starts(self, s: State, i: int, p: int, op: str) -> Iterator[Step]:
        w = s.writers[i]
        cache, era = (s.procs[p].cache, s.procs[p].era) if p >= 0 else (0, 0)
        began = _writer(s, i, cache=cache, era=era)
        if not self.scope.journal or p < 0 or w.step == "again" or op in WIPES:
            if self.scope.journal:
                prior = s.acked & bits(s.pg.log) if p < 0 else self.prior(s, p)
                began = _writer(began, i, prior=prior, acked=s.acked & ~s.seen.gone)
            saw = tuple(row.cache for row in s.pg.rows)
            yield f"w{i} starts, sees caches {saw}", _writer(began, i, step="began", saw=saw)
        elif op == "j" and s.procs[p].allowed and era and not self.apart(s.procs[p]):
            key = s.servers[s.procs[p].server].key
            life = key.life if isinstance(key, Window) else s.pg.life
            appends = _writer(began, i, step="append", row=s.ids, life=life, prior=self.prior(s, p))
            appends = appends._replace(ids=s.ids + 1)
            if "slow" in self.scope.kinds and s.faults:
                yield f"w{i} is about to append {s.ids}", appends._replace(faults=s.faults - 1)
            for what, n in self._appends(appends, i, p):
                yield f"{what} (row {s.ids})", n
        else:
            row = s.ids if op in APPENDS else 0
            asks = _writer(began, i, row=row, life=s.pg.life)._replace(ids=s.ids + bool(row))
            yield from self._asks_journal(asks, i, p, op)

    def _appends(self, s: State, i: int, p: int) -> Iterator[Step]:
        """The script that appends, and what may become of its answer."""
        w, at = s.writers[i], s.procs[p].server
        mute = "mute" in self.scope.kinds and s.faults
        if self.name(s.servers[at]) != w.cache and self.has("append asks the name"):
            yield f"w{i} finds another server", self._alone(self.distrust(s, p), i, p)
            return
        late = Late(at, w.cache, w.era, w.row, w.life)
        put_there = self.append(s, late)
        if put_there is None:
            yield from self._asks_journal(s, i, p, "j", "is refused, ")
            return
        yield f"w{i} appends, acks", self._journaled(put_there, i, p)
        if mute:
            less = {"step": "ask"}
            t = s._replace(faults=s.faults - 1)
            yield (
                f"w{i} appends, NO ANSWER, done",
                _writer(put_there._replace(faults=s.faults - 1), i, **less),
            )
            yield f"w{i} appends, NO ANSWER YET", _writer(t._replace(flying=(*t.flying, late)), i, **less)

    def _asks_journal(self, s: State, i: int, p: int, op: str, why: str = "") -> Iterator[Step]:
        """Before its statement a write reads what is to stand before it, if it knows that there are journals."""
        w, proc = s.writers[i], s.procs[p]
        saw = tuple(row.cache for row in s.pg.rows)
        server = s.servers[proc.server]
        drains = "a pop drains first" if op == "p" else "a commit drains first"
        if not proc.allowed:
            if self.asks_for_journal(s, w.cache):
                n = s._replace(procs=put(s.procs, p, proc._replace(allowed=True)))
                yield f"w{i} is told to read the journal first", _writer(n, i, step="idle", row=0)
                return
            began = _writer(s, i, step="began", saw=saw, prior=self.prior(s, p))
            yield f"w{i} starts, knows of no journal", began
            return
        if self.name(server) != w.cache:
            yield f"w{i} {why}finds another server", self._alone(self.distrust(s, p), i, p)
            return
        ents = self.pending(s, p) if self.has(drains) else ()
        began = _writer(s, i, step="began", saw=saw, ents=ents)
        if w.step not in {"ask", "append"}:
            began = _writer(began, i, prior=self.prior(s, p))
        yield f"w{i} {why}finds {ents} in the journal", began
        if "mute" in self.scope.kinds and s.faults:
            yield f"w{i} CANNOT REACH REDIS", self._alone(s._replace(faults=s.faults - 1), i, p)

    def _alone(self, s: State, i: int, p: int) -> State:
        """Redis is out of reach: only what this process remembers comes first."""
        w = s.writers[i]
        ents = s.procs[p].kept if self.has("mine first when alone") else ()
        prior = s.acked & (bits(s.pg.log) | s.procs[p].mine) & ~s.seen.gone
        prior = prior & w.prior if w.prior else prior
        saw = tuple(row.cache for row in s.pg.rows)
        return _writer(s, i, step="began", saw=saw, ents=ents, alone=True, prior=prior)

    def _journaled(self, s: State, i: int, p: int) -> State:
        """The journal has it: remember, and acknowledge."""
        w = s.writers[i]
        entry = (w.row, w.life)
        proc = s.procs[p]
        if self.has("the writer remembers") and entry not in proc.kept:
            proc = proc._replace(kept=(*proc.kept, entry), kept_at=w.cache)
        proc = proc._replace(mine=proc.mine | 1 << w.row)
        n = self.ordered(s._replace(procs=put(s.procs, p, proc), acked=s.acked | 1 << w.row), w.row, w.prior)
        return self.owed_at(_written(n, i), proc.server, 1 << w.row)

    def _states(self, s: State, i: int, p: int, op: str) -> Iterator[Step]:
        """The statement is carried out."""
        w = s.writers[i]
        own = () if w.alone or p < 0 else (w.cache,)
        if op not in APPENDS and not s.pg.stamp:
            yield f"w{i} finds nothing to delete", _written(_writer(s, i, saw=()), i)
            return
        again = bool(w.change) and not self.has("a fresh stamp an attempt")
        change = abs(w.change) if again else s.ids
        rule = "hands mark" if op == "D" else "bare writers mark" if p < 0 else "writes mark others"
        others = self.others(w.saw, own) if self.has(rule) else ()
        if bool(others) and self.scope.across and self.has("mark mine too"):
            others = w.saw
        row = w.row or (change if op in APPENDS else 0)
        n, told = self.statement(s, w.ents, op, row, change, others, w.acked)
        n = _writer(n, i, saw=(), row=row)
        if told.stamp == s.pg.stamp and n.pg == s.pg:
            stamp = told.stamp if self.has("a repeat tells") else -2
            if w.step == "orphan":
                yield f"w{i}'s statement finds it stored", _writer(n, i, step="dead", left=0)
                return
            found = _writer(self.forget(n, p, w.ents), i, step="committed", told=told._replace(stamp=stamp))
            yield f"w{i} finds {row} stored", self._settled_alone(found, i, p)
            return
        if w.step == "orphan":
            yield f"w{i}'s statement commits {change} after all", _writer(n, i, step="dead", left=0)
        elif p < 0:
            yield f"w{i} commits {change}, acks", self.acked(_written(n, i), w, change, row, p)
        else:
            did = _writer(self.forget(n, p, w.ents), i, step="committed", change=change, told=told)
            if op == "p":
                self.check_pop(n, w)
            what = f"w{i} commits {change} after {told.before}: {n.pg.log}"
            yield what, self._settled_alone(did, i, p)
        if "again" in self.scope.kinds and s.faults and w.step == "began" and op == "a":
            lost = _writer(n, i, step="again", change=change)._replace(faults=s.faults - 1)
            yield f"w{i} commits {change}, THE REPLY IS LOST", lost
        if op == "b" and "away" in self.scope.kinds and s.faults and not w.alone:
            yield from self._buffers(s, n, i, p)

    def _buffers(self, s: State, stored: State, i: int, p: int) -> Iterator[Step]:
        """PostgreSQL gave no answer, and may have stored it, or may yet: the journal takes it."""
        w = s.writers[i]
        proc = s.procs[p]
        orphan = Orphan(w.row, w.life, w.ents, w.cache)
        outcomes = {"stored": stored, "not": s, "not yet": s._replace(orphans=(*s.orphans, orphan))}
        for what, outcome in outcomes.items():
            late = Late(proc.server, w.cache, w.era, w.row, w.life)
            there = self.append(outcome, late)
            n = outcome._replace(faults=s.faults - 1)
            if there is None:
                yield f"w{i}: NO ANSWER ({what}), gives up", _written(n, i)
            else:
                done = self._journaled(there._replace(faults=s.faults - 1), i, p)
                yield f"w{i}: NO ANSWER ({what}), appends {w.row}, acks", done

    def orphaned(self, s: State) -> Iterator[Step]:
        """A statement that had no answer is carried out."""
        for orphan in s.orphans:
            rest = s._replace(orphans=tuple(o for o in s.orphans if o != orphan))
            if self.has("a buffered statement names its life") and orphan.life != s.pg.life:
                yield f"the statement with {orphan.row} finds another life", rest
                continue
            saw = tuple(row.cache for row in s.pg.rows)
            others = self.others(saw, (orphan.cache,))
            n, _ = self.statement(rest, orphan.ents, "b", orphan.row, s.ids, others)
            yield f"the statement with {orphan.row} is carried out: {n.pg.log}", n

    def _settled_alone(self, s: State, i: int, p: int) -> State:
        """Without Redis there is nobody to tell: the statement has marked every cache, this process's too."""
        w = s.writers[i]
        if not w.alone:
            return s
        n = s._replace(procs=put(s.procs, p, s.procs[p]._replace(era=0, look=())))
        n = self.acked(_written(n, i), w, w.change, w.row, p)
        return self.cut_off(n, p, w.told.new)

    def _publishes(self, s: State, i: int, p: int) -> Iterator[Step]:
        w, proc = s.writers[i], s.procs[p]
        if w.cache and self.name(s.servers[proc.server]) != w.cache and self.has("publish asks the name"):
            yield f"w{i} finds another server", _writer(self.distrust(s, p), i, step="failed")
            return
        era = w.era if self.has("one era a call") else proc.era
        settled = self.settle(s, proc.server, w.told, era)
        yield (
            f"w{i} publishes {w.change}, acks",
            self.acked(_written(settled, i), w, w.change, w.row, p, proc.server),
        )
        if "deaf" in self.scope.kinds and s.faults:
            for n in {s, settled}:
                yield f"w{i} publishes, NO ANSWER", _writer(n, i, step="failed")._replace(faults=s.faults - 1)

    def _marked_late(self, s: State, i: int, p: int) -> State:
        w = s.writers[i]
        n = self.marked(s, w.cache, w.change)
        if self.has("a failed publish distrusts"):
            n = n._replace(procs=put(n.procs, p, n.procs[p]._replace(era=0, look=())))
        if w.row:
            n = self.vouch_not(n, bits(w.told.new))
        n = self.found_again(self.vouch_not(n, 1 << abs(w.change)), w.told.seen)
        return self.acked(_written(n, i), w, w.change, w.row, p)

    def acked(self, s: State, w: Writer, change: int, row: int, p: int, at: int = -1) -> State:
        """A write is acknowledged, by a process or none, and a server was told or not; what was lost is owed no more."""
        event = abs(w.told.event or row or change)
        there = {abs(commit) for commit in s.pg.log}
        mine = 1 << event if event in there else 0
        s = self.ordered(s._replace(acked=s.acked | mine), row, w.prior)
        if p >= 0:
            s = s._replace(procs=put(s.procs, p, s.procs[p]._replace(mine=s.procs[p].mine | mine)))
        bit = bits(commit for commit in w.told.new if commit in there)
        return self.owed_at(s, at, mine | bit) if at >= 0 else s


class Readers(Journals):
    """What readers do: ask for the window, and read PostgreSQL where that is a miss."""

    def reader(self, s: State, i: int, r: Reader) -> Iterator[Step]:
        """The next step of a reader."""
        p, ops = self.scope.readers[i]
        full = ops[len(ops) - r.left] == "f" if r.left else False
        if r.step == "idle" and r.left:
            yield from self._begins(s, i, p, full=full)
        elif r.step == "ask":
            yield from self._asks(s, i, p)
        elif r.step in {"bare", "leased"}:
            yield from self._reads(s, i, p)
        elif r.step in {"bare+", "leased+"}:
            yield from self._finishes(s, i, p, full=full)

    def _begins(self, s: State, i: int, p: int, *, full: bool) -> Iterator[Step]:
        proc = s.procs[p]
        servers = (s.servers[proc.server], *s.servers)
        told = next((server.told for server in servers if self.name(server) == proc.cache), 0)
        others = s.acked | (s.returned if self.scope.across else 0)
        began = _reader(
            s,
            i,
            step="ask",
            cache=proc.cache,
            era=proc.era,
            owes=told | proc.mine | (proc.knew & others & ~s.seen.lost),
            bound=bool(s.past) and proc.past == s.past,
        )
        if not full and proc.era and not self.apart(proc):
            yield f"r{i} starts", began
            return
        what = f"r{i} starts{' a full read' * full}"
        drains = not full or self.has("a full read drains first")
        yield what, self._bare(began, i, p, drains=drains)
        if self.scope.journal and "mute" in self.scope.kinds and s.faults:
            yield f"{what}, CANNOT REACH REDIS", self._dark(began._replace(faults=s.faults - 1), i, p)

    def _bare(self, s: State, i: int, p: int, *, drains: bool = True, step: str = "bare") -> State:
        """Read PostgreSQL, with what the journal holds and this process remembers."""
        r, proc = s.readers[i], s.procs[p]
        owes = r.owes
        # what waits on the server it took this for is not here
        if self.name(s.servers[proc.server]) != r.cache:
            owes &= bits(s.pg.log) | proc.mine
        ents = self.pending(s, p) if drains else ()
        return _reader(s, i, step=step, ents=ents, owes=owes)

    def _dark(self, s: State, i: int, p: int) -> State:
        r, proc = s.readers[i], s.procs[p]
        owes = r.owes & (bits(s.pg.log) | proc.mine)
        return _reader(s, i, step="bare", ents=proc.kept, owes=owes, dark=True)

    def _asks(self, s: State, i: int, p: int) -> Iterator[Step]:
        r, at = s.readers[i], s.procs[p].server
        server, key = s.servers[at], s.servers[at].key
        drains = self.has("a miss drains first")
        if self.name(server) != r.cache and self.has("read asks the name"):
            yield f"r{i} finds another server", self._bare(self.distrust(s, p), i, p)
        elif isinstance(key, Window) and self._serves(key, r, server) and not self.bereft(server):
            shown = self.joined(server, key)
            log = self.judged(s, i, key, shown)
            yield f"r{i} is served {shown}", self._returned(s, i, at, log, bits(shown))
        elif isinstance(key, Lease):
            yield f"r{i} misses", self._bare(s, i, p, drains=drains)
            if "late" in self.scope.kinds:
                taken = self._bare(self.store(s, at, Lease(i)), i, p, drains=drains, step="leased")
                yield f"r{i} takes the lease over", taken
        else:
            taken = self._bare(self.store(s, at, Lease(i)), i, p, drains=drains, step="leased")
            yield f"r{i} misses, leases", taken

    def _serves(self, key: Window, r: Reader, server: Any) -> bool:
        run = self.has("a server names itself") or key.run == server.name
        return run and (key.era == r.era or not self.has("read compares the era"))

    def _reads(self, s: State, i: int, p: int) -> Iterator[Step]:
        r = s.readers[i]
        if not self.scope.journal:
            told = Told(s.pg.stamp, life=s.pg.life)
            yield f"r{i} reads {s.pg.log}", _reader(s, i, step=r.step + "+", log=s.pg.log, told=told)
            return
        own = () if r.dark else (r.cache,)
        saw = tuple(row.cache for row in s.pg.rows)
        others = self.others(saw, own) if self.has("a drain marks others") else ()
        n, told = self.statement(s, r.ents, "", 0, s.ids, others)
        n = self.forget(n, p, r.ents)
        shown = shows(n.pg.log)
        self.check(n, shown, r.owes, f"r{i} reads")
        read = _reader(n, i, step=r.step + "+", log=n.pg.log, told=told)
        yield f"r{i} stores {r.ents}, reads {shown}", read

    def _finishes(self, s: State, i: int, p: int, *, full: bool) -> Iterator[Step]:
        r, proc = s.readers[i], s.procs[p]
        at, key = proc.server, s.servers[proc.server].key
        held = (isinstance(key, Lease) and key.holder == i) or not self.has("fill needs the lease")
        shown = shows(r.log)
        if r.dark:
            yield f"r{i} returns {shown}", self._returned(s, i, -1, r.log)
            return
        if r.step == "leased+" and held:
            era = r.era if self.has("one era a call") else proc.era
            n = self.trim(s, at, r.ents) if self.has("fill empties the journal") else s
            waits = bool(n.servers[at].journal)
            window = Window(era, r.told.stamp, shown, s.servers[at].name, r.told.life, waits)
            n = self.found_again(self.store(n, at, window), shown)
            yield f"r{i} fills {shown}", self._returned(n, i, at, r.log)
            return
        if r.told.new and self.has("a read settles what it stored"):
            if self.name(s.servers[at]) != r.cache:
                n = self.marked(self.distrust(s, p), r.cache, r.told.stamp)
                n = self.found_again(self.vouch_not(n, bits(r.told.new)), shown)
                yield f"r{i} finds another server, marks {r.cache}", self._returned(n, i, -1, r.log)
                return
            era = r.era if self.has("one era a call") else proc.era
            yield (
                f"r{i} settles, returns {shown}",
                self._returned(self.settle(s, at, r.told, era), i, at, r.log),
            )
            return
        silent = not self.has("a full read tells" if full else "a miss tells")
        n = s if silent else self.trim(self.tell(s, at, r.told.stamp, shown), at, r.ents)
        n = self.found_again(n, r.told.new)
        yield f"r{i} returns {shown}{', tells' * (not silent)}", self._returned(n, i, at, r.log)

    def _returned(self, s: State, i: int, at: int, log: Log, more: int = 0) -> State:
        still = bits(tuple(commit for commit in log if commit in s.pg.log)) | more
        n = s._replace(readers=put(s.readers, i, Reader("idle", s.readers[i].left - 1)))
        n = n._replace(returned=n.returned | still)
        return self.owed_at(n, at, still) if at >= 0 else n


def _writer(s: State, i: int, **change: Any) -> State:
    return s._replace(writers=put(s.writers, i, s.writers[i]._replace(**change)))


def _written(s: State, i: int) -> State:
    return s._replace(writers=put(s.writers, i, Writer("idle", s.writers[i].left - 1)))


def _reader(s: State, i: int, **change: Any) -> State:
    return s._replace(readers=put(s.readers, i, s.readers[i]._replace(**change)))
