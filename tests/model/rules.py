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
