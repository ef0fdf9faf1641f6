"""What must never happen, and what is owed to whom, where writes go through a journal as well."""

from __future__ import annotations

from model.parties import POP, Broken, Log, State, Writer, bits, rows_of, shows
from model.statements import Parties
from model.window_model import Entries, Window


class Promise(Parties):
    """Ghosts: nobody in the protocol looks at them."""

    def pending(self, s: State, p: int) -> Entries:
        """What to store first: the journal, then what this process remembers and the journal has lost."""
        proc = s.procs[p]
        there = s.servers[proc.server].journal
        return there + tuple(entry for entry in proc.kept if entry not in there)

    def prior(self, s: State, p: int) -> int:
        """Ghost: what has to stand before a write of this process that begins now."""
        if not self.scope.journal:
            return 0
        proc = s.procs[p]
        here = bits(s.pg.log) | rows_of(s.servers[proc.server].journal)
        return s.acked & here & ~s.seen.gone

    def found_again(self, s: State, rows: Log) -> State:
        """Ghost: what Redis had lost is stored, and told or marked: it is owed as everything else is."""
        lost = s.seen.lost & ~bits(rows)
        return s if lost == s.seen.lost else s._replace(seen=s.seen._replace(lost=lost))

    def cut_off(self, s: State, p: int, rows: Log) -> State:
        """Ghost: what was stored without Redis stands where PostgreSQL received it, behind its own process's only."""
        if not self.scope.journal or not rows:
            return s
        ours = bits(s.pg.log[: len(s.pg.log) - len(rows)]) | s.procs[p].mine
        order = ((row, prior & ours if row in rows else prior) for row, prior in s.seen.order)
        return s._replace(seen=s.seen._replace(order=tuple((row, prior) for row, prior in order if prior)))

    def ordered(self, s: State, row: int, prior: int) -> State:
        """Ghost: a write is acknowledged that has to stand behind others."""
        if not self.scope.journal or not prior:
            return s
        return s._replace(seen=s.seen._replace(order=tuple(sorted({*s.seen.order, (row, prior)}))))

    def judged(self, s: State, i: int, key: Window, shown: Log) -> Log:
        """The oldest state that this window can be, among those with what is owed and the journal does not show."""
        r = s.readers[i]
        owes = r.owes & ~s.seen.gone & ~bits(shown[len(key.shows) :])
        for log in (s.pg.log,) if r.bound else (s.pg.log, s.lost):
            for m in range(len(log) + 1):
                if shows(log[:m]) == key.shows and not owes & ~bits(log[:m]):
                    self.check(s, shown, 0, f"r{i} is served", r.owes)
                    return log[:m]
        owed = [commit for commit in range(s.ids) if owes >> commit & 1]
        raise Broken(f"r{i} is served {shown}, owes {owed}, PostgreSQL has {s.pg.log}")

    def check(self, s: State, shown: Log, owes: int, who: str, knows: int | None = None) -> None:
        """What is shown is not twice there, not deleted, all that is owed, and in its order."""
        if not self.scope.journal:
            return
        there = bits(shown)
        if len(set(shown)) < len(shown):
            raise Broken(f"{who} {shown}: a message twice")
        knows = owes if knows is None else knows
        for event, rows in s.seen.taken:
            excused = s.seen.late if event > POP else 0
            if knows >> event & 1 and rows & there & ~excused:
                raise Broken(f"{who} {shown}: shows what {event} took away")
        owes &= ~s.seen.gone & ~bits(s.pg.log)  # PostgreSQL is the truth about what it has had
        if owes & ~there:
            owed = [commit for commit in range(s.ids) if owes >> commit & 1]
            raise Broken(f"{who} {shown}, owes {owed}")
        for row, prior in s.seen.order:
            if row in shown:
                behind = bits(shown[shown.index(row) :]) & prior
                if behind:
                    raise Broken(f"{who} {shown}: {row} before what was acknowledged before it began")

    def check_pop(self, s: State, w: Writer) -> None:
        """A pop takes the newest of what was acknowledged, not one before it."""
        if w.prior & ~s.seen.gone & ~bits(s.pg.log):
            raise Broken(f"popped {s.pg.log}: not the newest of what was acknowledged")

    def final(self, s: State) -> None:
        """When all writers are done, drain all that is there, and look at PostgreSQL."""
        if any(w.left and w.step != "dead" for w in s.writers) or s.flying or s.orphans:
            return
        for p in range(len(s.procs)):
            s, _ = self.statement(s, self.pending(s, p), "", 0, s.ids, ())
        for server in s.servers:
            s, _ = self.statement(s, server.journal, "", 0, s.ids, ())
        owes = s.acked & ~s.seen.gone & ~(s.seen.lost & s.seen.dead)
        self.check(s, shows(s.pg.log), owes, "after all is drained: PostgreSQL has", s.acked)
