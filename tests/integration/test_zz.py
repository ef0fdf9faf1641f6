import logging
from test_round_trips import *
async def test_dbg(counted, postgres_proxy, monkeypatch):
    import fix_proxy
    memory, cost = counted
    history = memory.history("c", user_id="ana")
    await warmed(history, memory, 2)
    orig = fix_proxy.Link._request
    monkeypatch.setattr(fix_proxy.Link, "_request", lambda self, d: (print("REQ", d[:300]), orig(self, d))[1])
    print("--- append")
    memory.redis.health.open = True
    await add(history, batch(2))
    print("--- again")
    await add(history, batch(2))
    print("--- known")
    memory.redis.health.open = False
    known = [HumanMessage("?", id="1"), AIMessage("!", id="2")]
    for c in ("new", "new", "newer"):
        print("---", c)
        await memory.save_messages(c, known, user_id="ana")
    assert 0
