"""What a database of 0.1 holds, brought over into the schema as it is now: in one transaction, and all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection, sql

from convmemory.ids import FIRST, row_of_name
from convmemory.models import SCORES
from convmemory.storage.first_rows import renewed
from convmemory.storage.sql_and_lua import sql as statement


class AsyncBringOver:
    """A database of 0.1 on its way: ``aside``, then the migrations of now, then ``over``; in a transaction of the caller's."""

    def __init__(self, conn: AsyncConnection[Any], schema: str) -> None:
        self._conn = conn
        self._schema = sql.Identifier(schema)

    async def aside(self) -> None:
        """Lay the tables of 0.1 aside."""
        await self._run("aside")

    async def over(self) -> None:
        """Bring over what is in them, and drop them."""
        await self._name()
        await self._renew()
        await self._run("over")
        await self._run("documents", {"scores": list(SCORES)})
        await self._run("done")

    async def _name(self) -> None:
        """Give named conversations the rows that their names mean in this installation."""
        query = sql.SQL("SELECT names::text FROM {schema}.installation").format(schema=self._schema)
        [[names]] = await (await self._conn.execute(query, prepare=False)).fetchall()
        after = FIRST
        while page := await self._run("named_page", {"after": after}):
            rows = [row_of_name(names, user, name) for _, user, name in page]
            await self._run("named", {"old": [old for old, *_ in page], "now_": rows})
            after = page[-1][0]

    async def _renew(self) -> None:
        place = {"conversation": FIRST, "seq": 0}
        while page := await self._run("message_page", place):
            now = [renewed(old, here, *rest) for old, here, _, *rest in page]
            await self._run(
                "renewed",
                {
                    "conversations": [old for old, *_ in page],
                    "seqs": [row[2] for row in page],
                    "ids": [row_id for row_id, *_ in now],
                    "roles": [role for _, role, *_ in now],
                    "metadata": [_json(own) for *_, own, _ in now],
                    "facts": [_json(facts) for *_, facts in now],
                },
            )
            place = {"conversation": page[-1][0], "seq": page[-1][2]}

    async def _run(self, name: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        query = sql.SQL(statement(f"from_0_1/{name}")).format(schema=self._schema)
        cursor = await self._conn.execute(query, parameters, prepare=False)
        return await cursor.fetchall() if cursor.description else []


def _json(value: Mapping[str, Any]) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None
