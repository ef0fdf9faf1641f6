"""Values of every kind that has an exact encoding, nested in each other."""

from __future__ import annotations

import math
from datetime import UTC
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from langchain_core.documents import Document

from .hard_messages import nested
from .lossy_messages import (
    Changing,
    Colour,
    Growing,
    Hostile,
    Itself,
    Key,
    Level,
    Opaque,
    Page,
    Point,
    Real,
    Text,
    circle,
)


def values() -> st.SearchStrategy:
    zones = st.none() | st.just(UTC) | st.sampled_from(["Europe/Paris", "Asia/Kathmandu"]).map(ZoneInfo)
    keys = (
        st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats() | st.dates()
        | st.sampled_from(["$cm", "v", "lc", "a\0", "\ud800"])
    )  # fmt: skip
    leaves = (
        keys | st.text(st.characters()) | st.uuids() | st.timedeltas() | st.times() | st.decimals()
        | st.datetimes(timezones=zones) | st.binary().map(bytearray) | st.integers(-(2**200), 2**200)
        | st.sampled_from([1.0, -0.0, math.nan, math.inf, 1e22, 5e-324])
    )  # fmt: skip
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4) | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(keys, inner, max_size=4) | st.sets(keys, max_size=4)
            | st.frozensets(keys, max_size=4) | st.dictionaries(st.text(), inner, max_size=3).map(
                lambda metadata: Document("d", metadata=metadata))
        ),
        max_leaves=12,
    )  # fmt: skip


def odd_values() -> st.SearchStrategy:
    """Values of which some have no exact encoding, in every place a value can stand."""
    leaves = st.builds(Hostile) | st.sampled_from(
        [Opaque(), Colour.RED, Level.HIGH, Itself(b"a"), Text("a\0"), Real(1.5), nested(98), circle()]
    )
    keys = st.sampled_from(
        [Opaque(), Colour.RED, Level.HIGH, Key([1]), (Key([1]),), Text("$cm"), frozenset({Key([2])}), 1, "a"]
    )

    def around(inner: st.SearchStrategy) -> st.SearchStrategy:
        lists, dicts = st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)
        return st.one_of(
            lists,
            dicts,
            st.sets(keys, max_size=3),
            lists.map(Growing),
            dicts.map(Changing),
            dicts.map(lambda metadata: Page("p", metadata=metadata)),
            dicts.map(lambda metadata: Document("d", metadata=metadata)),
            lists.map(lambda items: Point(items, nested(60, items))),
            dicts.map(lambda items: nested(96, Document("d", metadata=items))),
        )

    return st.recursive(leaves | values(), around, max_leaves=8)
