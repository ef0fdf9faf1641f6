"""What OpenTelemetry is told, by its own SDK's exporters in memory; and that without it there is nothing to pay."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections import Counter

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from convmemory import ConversationNotFound, StorageUnavailable
from convmemory._async.postgres_connections import AsyncBoundedConnection
from convmemory._sync.postgres_connections import BoundedConnection
from convmemory.ids import conversation_key
from convmemory.tiers import otel
from convmemory.tiers.breaker import FAILURES_TO_OPEN, TierHealth

SAID, USER = "w0rds-of-a-message", "ana-the-us3r"
TURN = [HumanMessage(SAID), AIMessage(SAID)]


@pytest.fixture
def spans(monkeypatch):
    """A function that returns the spans ended so far, and forgets them."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(otel, "_tracer", provider.get_tracer("test"))
    monkeypatch.setattr(otel._audience, "_here", True)  # the tracer is not the global provider's

    def ended():
        found = exporter.get_finished_spans()
        exporter.clear()
        return found

    yield ended
    provider.shutdown()


@pytest.fixture
def measured():
    """A function that returns the metrics as they are now, by name and tier."""
    gc.collect()  # a tier of the test before is counted for as long as it is there
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    otel._register(provider.get_meter("test"))

    def now():
        found = Counter()
        for resource in reader.get_metrics_data().resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in metric.data.data_points:
                    assert point.attributes.keys() == {"convmemory.tier"}
                    found[metric.name.removeprefix("convmemory."), point.attributes["convmemory.tier"]] = (
                        point.value
                    )
        return found

    yield now
    provider.shutdown()


async def test_a_write_a_miss_and_a_hit_are_spans(memory, spans):
    await memory.save_messages("c", TURN, user_id=USER)
    uuid = str((await memory.get_conversation("c", user_id=USER)).uuid)
    [append] = spans()
    await memory.get_history("c", user_id=USER)
    durable, miss = spans()
    await memory.get_history("c", user_id=USER)
    [hit] = spans()

    assert [s.name for s in (append, miss, durable, hit)] == [
        "convmemory.append", "convmemory.read", "convmemory.read.postgres", "convmemory.read",
    ]  # fmt: skip
    assert durable.parent.span_id == miss.context.span_id
    for span in (append, miss, durable, hit):
        assert span.attributes == {"convmemory.conversation": uuid, "convmemory.messages": 2}
        assert span.status.status_code is StatusCode.UNSET


async def test_pop_clear_and_delete_are_spans(memory, spans):
    await memory.save_messages("c", TURN, user_id=USER)
    await memory._store.pop(conversation_key("c", USER))
    await memory.clear("c", user_id=USER)
    await memory.delete_conversation("c", user_id=USER)

    verbs = ["append", "pop", "clear", "delete"]
    assert [span.name for span in spans()] == [f"convmemory.{verb}" for verb in verbs]


async def test_a_failure_is_told_by_its_class_alone(schema, make_memory, postgres_proxy, spans):
    memory = await make_memory(postgres=postgres_proxy.url, pool_timeout=1)
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    with pytest.raises(StorageUnavailable):
        await memory.save_messages("c", TURN, user_id=USER)

    [span] = spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.attributes["error.type"] == "StorageUnavailable"
    assert span.events == ()


async def test_not_found_is_an_answer_and_no_failure(memory, spans):
    made = await memory.create_conversation("ana")
    with pytest.raises(ConversationNotFound):
        await memory.get_history(made.uuid, user_id=USER)

    for span in spans():
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes["error.type"] == "ConversationNotFound"


async def test_spans_tell_no_text_no_user_and_no_password(schema, make_memory, postgres_proxy, spans):
    memory = await make_memory(postgres=postgres_proxy.url, pool_timeout=1)
    await memory.save_messages("c", TURN, user_id=USER)
    await memory.get_history("c", user_id=USER, limit=None)
    postgres_proxy.mode = "refuse"
    postgres_proxy.reset_all()
    with pytest.raises(StorageUnavailable):
        await memory.save_messages("c", TURN, user_id=USER)
    text = "".join(span.to_json() for span in spans())

    assert "convmemory.append" in text
    assert [secret for secret in (SAID, USER, "postgres@", str(postgres_proxy.port)) if secret in text] == []


async def test_metrics_are_what_check_reports(memory, measured):
    before = measured()
    await memory.save_messages("c", TURN, user_id=USER)
    for _ in range(4):
        await memory.get_history("c", user_id=USER)
    figures = (await memory.check()).redis.figures
    after = measured()

    assert figures["hits"] >= 2
    for name in ("hits", "misses", "failures", "dirty_marks", "drained"):
        assert after[name, "Redis"] - before[name, "Redis"] == figures[name]


async def test_an_outage_is_seen_in_the_metrics(schema, make_memory, redis_proxy, measured):
    before = measured()
    memory = await make_memory(redis=redis_proxy.url)
    await memory.save_messages("c", TURN, user_id=USER)
    redis_proxy.mode = "refuse"
    redis_proxy.reset_all()
    for _ in range(FAILURES_TO_OPEN):
        await memory.save_messages("c", TURN, user_id=USER)
    after = measured()

    assert after["breakers_open", "Redis"] - before["breakers_open", "Redis"] == 1
    assert after["failures", "Redis"] - before["failures", "Redis"] >= FAILURES_TO_OPEN
    assert after["dirty_marks", "Redis"] - before["dirty_marks", "Redis"] == FAILURES_TO_OPEN


@pytest.mark.parametrize("behind", ["a session of its own", "a pooler"])
async def test_statements_can_be_commented_on_by_what_instruments_the_driver(memory, monkeypatch, behind):
    seen = []

    def commented(execute):
        def commented_execute(cursor, query, *arguments, **named):
            seen.append(query)
            return execute(cursor, f"{query} /*route='/chat',traceparent='00-ab'*/", *arguments, **named)

        return commented_execute

    for kind in (psycopg.Cursor, psycopg.AsyncCursor, psycopg.ClientCursor, psycopg.AsyncClientCursor):
        monkeypatch.setattr(kind, "execute", commented(kind.execute))
    if behind == "a pooler":
        for kind in (BoundedConnection, AsyncBoundedConnection):
            monkeypatch.setattr(kind, "shared", True)

    await memory.save_messages("c", TURN, user_id=USER)
    found = await memory.get_messages("c", user_id=USER)

    assert [message.content for message in found] == [SAID, SAID]
    assert [one.title for one in await memory.list_user_conversations(USER)] == [SAID]
    assert {type(query) for query in seen} == {str}
    assert not any(SAID in query or USER in query for query in seen)


def test_what_a_store_counted_stays_when_it_is_gone(measured):
    health = TierHealth("a tier")
    health.counters.hits = 3
    with_it = measured()
    health.open = True
    opened = measured()
    del health
    gc.collect()
    without = measured()
    another = TierHealth("a tier")
    another.counters.hits += 1

    assert (with_it["hits", "a tier"], without["hits", "a tier"], measured()["hits", "a tier"]) == (3, 3, 4)
    assert (opened["breakers_open", "a tier"], without["breakers_open", "a tier"]) == (1, 0)


def run(program):
    return json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


def test_the_applications_own_providers_are_used():
    """Set after the library was imported, as applications do."""
    said = run("""
import json
from convmemory.tiers import otel
from convmemory.ids import conversation_key
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from convmemory.tiers.breaker import TierHealth
reader, exporter, provider = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
health = TierHealth("Redis")
otel.traced("convmemory.read")(lambda self, key: None)(None, conversation_key("c", "ana"))
[scope] = reader.get_metrics_data().resource_metrics[0].scope_metrics
names = sorted(metric.name for metric in scope.metrics)
print(json.dumps([[span.name for span in exporter.get_finished_spans()], scope.scope.name, names]))
""")

    assert said == [
        ["convmemory.read"],
        "convmemory",
        sorted(f"convmemory.{name}" for name in [*otel.COUNTED, "breakers_open"]),
    ]


def test_without_the_api_every_method_is_the_one_that_was_written():
    said = run("""
import json, sys
sys.modules["opentelemetry"] = None
from convmemory import ConversationMemory
from convmemory.tiers import otel
from convmemory._async.tiered import AsyncTieredStore
from convmemory._sync.tiered import TieredStore
from convmemory.tiers.breaker import TierHealth
TierHealth("Redis")
methods = [getattr(kind, name) for kind in (AsyncTieredStore, TieredStore) for name in ("read", "append", "clear", "delete")]
wrapped = [method.__qualname__ for method in methods if hasattr(method, "__wrapped__")]
print(json.dumps([otel.INSTALLED, wrapped, len(otel._living)]))
""")

    assert said == [False, [], 0]
