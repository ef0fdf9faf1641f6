"""langchain-community: ``SQLChatMessageHistory`` on PostgreSQL, and ``RedisChatMessageHistory``."""

from __future__ import annotations

from typing import Any

from adapter import POOL, WINDOW, Adapter
from langchain_community.chat_message_histories import RedisChatMessageHistory, SQLChatMessageHistory
from langchain_core.messages import BaseMessage
from servers import empty_database, redis_url, sqlalchemy_url
from sqlalchemy import create_engine
from texts import Turn


class Community(Adapter):
    """Both load everything, and both have an object a conversation."""

    def _make(self, conversation: str) -> Any:
        raise NotImplementedError

    def seed(self, conversation: str, messages: list[BaseMessage]) -> None:
        self._make(conversation).add_messages(messages)

    def window(self, conversation: str) -> list[BaseMessage]:
        return self.everything(conversation)[-WINDOW:]

    def append(self, conversation: str, turn: Turn) -> None:
        self.kept(conversation, self._make).add_messages(turn.messages())

    def everything(self, conversation: str) -> list[BaseMessage]:
        return self.kept(conversation, self._make).messages

    def history(self, conversation: str) -> Any:
        return self._make(conversation)


class CommunitySQL(Community):
    """With one engine for all, the favourable set-up; its table has no index on the session."""

    name = "lc-community SQL"
    database = "bench_community_sql"

    def open(self) -> None:
        url = sqlalchemy_url(empty_database(self.database), "psycopg")
        self._engine = create_engine(url, pool_size=POOL, max_overflow=0, pool_timeout=120)
        self._make("makes the table")

    def close(self) -> None:
        self._engine.dispose()

    def _make(self, conversation: str) -> SQLChatMessageHistory:
        return SQLChatMessageHistory(conversation, connection=self._engine)


class CommunityRedis(Community):
    """Takes nothing but a URL: every object connects anew."""

    name = "lc-community Redis"
    uses_redis = True

    def _make(self, conversation: str) -> RedisChatMessageHistory:
        return RedisChatMessageHistory(conversation, url=redis_url(), key_prefix="community:")
