"""langchain-postgres: ``PostgresChatMessageHistory``, which takes a connection and leaves the pool to its user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from adapter import POOL, WINDOW, Adapter
from langchain_core.messages import BaseMessage
from langchain_postgres import PostgresChatMessageHistory
from psycopg_pool import ConnectionPool
from servers import empty_database
from texts import Turn

TABLE = "chat_history"


class LangChainPostgres(Adapter):
    name = "langchain-postgres"
    database = "bench_langchain_postgres"

    def open(self) -> None:
        url = empty_database(self.database)
        self._pool = ConnectionPool(url, min_size=1, max_size=POOL, open=True, timeout=120)
        self._connection = psycopg.connect(url)
        PostgresChatMessageHistory.create_tables(self._connection, TABLE)

    def close(self) -> None:
        self._connection.close()
        self._pool.close()

    @contextmanager
    def _history(self, conversation: str) -> Iterator[PostgresChatMessageHistory]:
        with self._pool.connection() as conn:
            yield PostgresChatMessageHistory(TABLE, conversation, sync_connection=conn)

    def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        with self._history(conversation) as history:
            history.add_messages(messages)

    def window(self, conversation: str) -> list[BaseMessage]:
        return self.everything(conversation)[-WINDOW:]

    def append(self, conversation: str, turn: Turn) -> None:
        with self._history(conversation) as history:
            history.add_messages(turn.messages())

    def everything(self, conversation: str) -> list[BaseMessage]:
        with self._history(conversation) as history:
            return history.get_messages()

    def history(self, conversation: str) -> PostgresChatMessageHistory:
        return PostgresChatMessageHistory(TABLE, conversation, sync_connection=self._connection)
