"""The rules of the coherence protocol, by name: what each says. The model can leave out any of them."""

from __future__ import annotations

RULES = {
    # scripts name the server
    "read asks the name": "the read script serves and leases only on the server that the caller means",
    "publish asks the name": "a publish that reached another server counts as failed",
    "drain asks the name": "a mark is cleared only if its window was dropped there, or on another node of that cluster",
    "a server names itself": "a cache is the server's replication id (without: a token that lies in it, and is copied)",
    # eras
    "read compares the era": "a window of another era is a miss",
    "publish compares the era": "only a window of the call's era is extended",
    "one era a call": "a call keeps the era it began with",
    "a look asks for the row": "a look that finds its cache unregistered registers it anew",
    "a new row, a new era": "registering mints a new era",
    "the row has the history": "a row of another history of PostgreSQL is no registration",
    "registering waits": "for the writing statements that are under way",
    # marks
    "writes mark others": "a writing statement marks every registered cache but its writer's",
    "bare writers mark": "so does one without a cache",
    "hands mark": "and a delete by hand (trigger)",
    "mark mine too": "where another cache is registered, the writer's own is marked as well (only in scopes with `across`)",
    "a failed publish marks": "before it is acknowledged",
    "a failed publish distrusts": "its process looks before it serves again",
    "drain only mine": "a cache drains its own marks alone",
    "drop before clear": "the window is dropped before the mark is cleared",
    "clear only what I saw": "a mark that was made again stays",
    "a look counts from its begin": "what it vouches for is what was there when it began",
    "a drain drops": "whatever there is (without: it keeps a window of the mark's stamp)",
    "every mark is another": "a marking has an id of its own (without: two deletes make the same mark)",
    # stamps
    "extend by stamp": "publish extends only what has the predecessor's stamp (without: the number before mine)",
    "keep by stamp": "publish and tell keep only an equal stamp (without: any number from mine on)",
    "nothing is not extended": "a change that makes the conversation has no predecessor",
    "a fresh stamp an attempt": "a statement that is sent again makes a new stamp",
    "a repeat tells": "a statement that found all stored tells the stamp that is there now",
    # leases
    "fill needs the lease": "whoever has it, and has it still, fills",
    "publish ends the lease": "whoever read before the write fills no more",
    "tell ends the lease": "nor whoever read before the teller",
    "a miss tells": "a read of PostgreSQL without the lease tells the window",
    "a full read tells": "so does one of the whole history",
}

JOURNAL_RULES = {
    # what is stored
    "stored by row id": "a row that is there is not stored again",
    "an entry has its life": "entries of a life that a delete or a clear has ended are not stored",
    "a removed row leaves its id": "nor is what was popped, by whichever statement",
    "a buffered statement names its life": "a statement without an answer, whose write the journal took, makes nothing anew",
    "a drain marks others": "a statement that stores entries is a write, a read's too",
    # what leaves the journal
    "remove after commit": "an entry leaves the journal after PostgreSQL has it",
    "remove by id": "(without: as many as were stored, from the head)",
    "settle in one script": "window and journal change together (without: the journal is trimmed, then the window told)",
    "fill empties the journal": "of what its statement has stored",
    "a delete leaves the journal": "what is left is refused by whoever drains (without: its settle takes out the ended life)",
    "a drain's settle asks the name": "and marks the cache it meant, where that is another",
    "a read settles what it stored": "as a write does (without: it only tells)",
    # what is shown
    "read shows the journal": "a hit is window and journal",
    "a window knows of its journal": "and is none where the journal was lost alone",
    "not shown twice": "less what the window has",
    "a miss drains first": "a read of PostgreSQL stores what the journal holds, in the same statement",
    "a full read drains first": "so does one of the whole history",
    "a pop drains first": "or it takes an older message than the newest",
    "a commit drains first": "in the same statement, before its own rows",
    # what may be appended
    "append needs a window": "without a window the write goes to PostgreSQL",
    "append names the life": "that its caller means",
    "append asks the name": "an append on another server than was meant is none",
    # what a process remembers
    "the writer remembers": "and sends again what is no longer in the journal, until PostgreSQL has answered",
    "what is remembered apart comes first": "appended on another server: no hit and no append here before it is stored",
    "mine first when alone": "a write without Redis stores what its process remembers before its own rows",
    # who may
    "the statement asks for the journal": "where journals are allowed, a writer that did not read it is told to",
    "the database allows journals": "once for all its caches (without: the row of a cache does, and a new row has to be told)",
}
"""The rules of the journal. What the scripts, statements and marks promise each other holds for them as well."""
