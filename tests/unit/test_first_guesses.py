"""What people try first: it works, or the error says what to write instead."""

from __future__ import annotations

import pytest

from convmemory import (
    AsyncConversationMemory,
    AsyncPostgresStore,
    AsyncRedisStore,
    ConfigurationError,
    ConversationMemory,
    InvalidArgument,
    PostgresStore,
    RedisStore,
    TieredChatMessageHistory,
)

URL = "postgresql://app:s3cr3t@db/app"
MEMORIES = [
    (ConversationMemory, PostgresStore, RedisStore, AsyncPostgresStore, AsyncRedisStore),
    (AsyncConversationMemory, AsyncPostgresStore, AsyncRedisStore, PostgresStore, RedisStore),
]


# A memory of what is no store


@pytest.mark.parametrize(("kind", "durable", "hot", "other_durable", "other_hot"), MEMORIES)
def test_a_memory_of_anything_but_its_stores_is_told_of_from_url(
    kind, durable, hot, other_durable, other_hot
):
    for wrong in (URL, None, 5, hot(), other_durable(), kind.from_url(URL)):
        with pytest.raises(
            InvalidArgument, match=rf"^postgres: .*{durable.__name__}.* {kind.__name__}\.from_url"
        ) as told:
            kind(wrong)
        assert "s3cr3t" not in str(told.value)
    for wrong in ("redis://:s3cr3t@cache", 5, durable(), other_hot()):
        with pytest.raises(
            InvalidArgument, match=rf"^redis: .*{hot.__name__}.* {kind.__name__}\.from_url"
        ) as told:
            kind(durable(), wrong)
        assert "s3cr3t" not in str(told.value)


@pytest.mark.parametrize("kind", [ConversationMemory, AsyncConversationMemory])
@pytest.mark.parametrize("nothing", [None, ""])
def test_a_url_that_is_not_there_means_no_server_of_somebody_elses(kind, nothing):
    with pytest.raises(InvalidArgument, match=r"^postgres: must be a URL; from_env\(\) takes it"):
        kind.from_url(nothing)


@pytest.mark.parametrize(
    ("postgres", "redis", "argument"),
    [
        (URL, None, "postgres"),
        (ConversationMemory.from_url(URL), None, "postgres"),
        (PostgresStore(), "redis://:s3cr3t@cache", "redis"),
        (AsyncPostgresStore(), RedisStore(), "redis"),
    ],
)
def test_a_history_of_what_is_no_store_says_which_it_wants(postgres, redis, argument):
    with pytest.raises(
        ConfigurationError, match=rf"^{argument}: both stores must be .*memory\.history"
    ) as told:
        TieredChatMessageHistory("c", user_id="ana", postgres=postgres, redis=redis)
    assert "s3cr3t" not in str(told.value)
