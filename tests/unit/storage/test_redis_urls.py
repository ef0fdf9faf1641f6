"""Redis URLs of every form, read without connecting."""

from __future__ import annotations

import pytest
import redis

from convmemory import ConfigurationError, RedisStore
from convmemory.storage.redis_urls import CLUSTER, SENTINEL, SERVER, redis_place


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://:p%2Fw@h:1/2?protocol=3", "rediss://u:p@h/0", "unix:///a/b?db=1"]
)
def test_a_plain_url_is_left_to_redis_py(url):
    place = redis_place(url)

    assert (place.kind, place.url, place.hosts) == (SERVER, url, ())


@pytest.mark.parametrize(
    ("url", "hosts", "service", "plain"),
    [
        ("redis+sentinel://a/main", (("a", 26379),), "main", "redis://a:26379/0"),
        ("redis+sentinel://a:1,b,c:3/main/5", (("a", 1), ("b", 26379), ("c", 3)), "main", "redis://a:1/5"),
        ("redis+sentinel://u:p%40@a:1,b:2/my%20app", (("a", 1), ("b", 2)), "my app", "redis://u:p%40@a:1/0"),
        ("rediss+sentinel://[::1]:9,b/main?ssl_ca_certs=/ca", (("::1", 9), ("b", 26379)), "main",
         "rediss://[::1]:9/0?ssl_ca_certs=/ca"),
    ],
)  # fmt: skip
def test_a_sentinel_url_names_the_sentinels_and_the_service(url, hosts, service, plain):
    place = redis_place(url)

    assert (place.kind, place.hosts, place.service, place.url) == (SENTINEL, hosts, service, plain)


@pytest.mark.parametrize(
    ("url", "hosts", "plain"),
    [
        ("redis+cluster://a", (("a", 6379),), "redis://a:6379/0"),
        ("redis+cluster://u:p@a:1,b:2/0?protocol=2", (("a", 1), ("b", 2)), "redis://u:p@a:1/0?protocol=2"),
        ("rediss+cluster://a:7000,b", (("a", 7000), ("b", 6379)), "rediss://a:7000/0"),
    ],
)
def test_a_cluster_url_names_nodes_to_ask(url, hosts, plain):
    place = redis_place(url)

    assert (place.kind, place.hosts, place.url) == (CLUSTER, hosts, plain)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+ring://a", "unknown scheme"),
        ("http+cluster://a", "unknown scheme"),
        ("redis+sentinel://a", "service"),
        ("redis+sentinel://a//", "service"),
        ("redis+sentinel:///main", "host is missing"),
        ("redis+sentinel://a,,b/main", "host is missing"),
        ("redis+sentinel://a:x/main", "port"),
        ("redis+sentinel://[a/main", "host cannot be read"),
        ("redis+sentinel://a/main/zero", "database number"),
        ("redis+sentinel://a/main/0/1", "database number"),
        ("redis+sentinel://a:1/pass@b/main", "%2F"),
        ("redis+cluster://a/1", "only database 0"),
        ("redis://a/one", "database number"),
        ("redis://[a", "host cannot be read"),
        ("redis://a?colour=blue", "each option"),
        ("redis+cluster://a?colour=blue", "each option"),
        ("redis+sentinel://a/main?socket_timeout=soon", "each option"),
        ("nonsense", "unknown scheme"),
        ("localhost:6379", "unknown scheme"),
        ("http://a", "unknown scheme"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_where_the_memory_is_made(url, why):
    with pytest.raises(ConfigurationError, match=f"REDIS_URL: not a Redis URL .*{why}"):
        RedisStore(url)


def test_a_place_shows_no_password():
    assert "secret" not in repr(redis_place("redis+cluster://u:secret@a:1"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:secret@cache.example:7000/2?protocol=3", "cache.example:7000"),
        ("redis://cache", "cache:6379"),
        ("rediss://:secret@[::1]:7/0", "[::1]:7"),
        ("redis://", "localhost:6379"),
        ("unix://:secret@/run/redis%20a.sock?db=1", "/run/redis a.sock"),
        ("redis+cluster://u:secret@a:1,b", "a:1, b:6379"),
        ("redis+sentinel://u:secret@a,[::1]:2/main", "a:26379, [::1]:2"),
        ("redis://secret?@cache", ""),  # the password goes on behind the question mark
    ],
)
def test_an_address_has_no_user_and_no_password(url, address):
    assert RedisStore(url).address == redis_place(url).address == address


def test_a_client_that_was_given_has_an_address_of_its_own():
    assert RedisStore(redis.Redis()).address is None
