"""Draws what `run.py turns --out turns.json` and `run.py workers --out workers.json` found, as docs/pictures/turn.svg and workers.svg.

pip install matplotlib
python benchmarks/plot.py turns.json workers.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
OURS, BARE, PEER = "#1f6f54", "#9aa5a1", "#c9b458"
"""Of this library, of bare drivers, and of what else people use."""


def colour(name: str) -> str:
    if name.startswith("convmemory"):
        return OURS
    return BARE if name.startswith("LIMIT") else PEER


def bars(axis: Any, found: dict[str, float], title: str, unit: str, *, slow: bool) -> None:
    """One figure an adapter, the best on top; a logarithmic axis where the slowest takes a hundred times as long."""
    names = sorted(found, key=found.__getitem__, reverse=slow)
    drawn = axis.barh(
        names, [found[name] for name in names], color=[colour(name) for name in names], height=0.7
    )
    axis.bar_label(drawn, fmt="{:,.2f}" if slow else "{:,.0f}", padding=3, fontsize=8)
    if max(found.values()) > 20 * min(found.values()):
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xlabel(unit, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.margins(x=0.15)
    axis.spines[["top", "right"]].set_visible(False)


def turns(figures: dict[str, Any]) -> None:
    """Reading a window and storing a turn, by the length of the conversation."""
    figures = {length: table for length, table in figures.items() if int(length) <= 1_000}
    verbs = {"W1 read": "read 6 messages", "W2 write": "store 2 messages"}
    _, axes = plt.subplots(
        len(figures), 2, figsize=(10, 3.1 * len(figures)), layout="constrained", squeeze=False
    )
    for row, (length, table) in zip(axes, figures.items(), strict=True):
        for axis, (key, said) in zip(row, verbs.items(), strict=True):
            found = {
                name: one[key]["p50"] / 1000
                for name, one in table.items()
                if key in one and not name.startswith("floor")
            }
            bars(
                axis, found, f"{int(length):,} messages stored: {said}", "milliseconds, the median", slow=True
            )
    plt.savefig(PICTURES / "turn.svg")


def workers(figures: dict[str, Any]) -> None:
    """Turns a second from many callers at once."""
    _, axes = plt.subplots(1, len(figures), figsize=(10, 3.1), layout="constrained", squeeze=False)
    for axis, (at_once, table) in zip(axes[0], figures.items(), strict=True):
        found = {name: one["turns_per_s"] for name, one in table.items() if not name.startswith("floor")}
        bars(axis, found, f"{at_once} callers at once", "turns a second", slow=False)
    plt.savefig(PICTURES / "workers.svg")


if __name__ == "__main__":
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "convmemory", "font.family": "sans-serif"}
    for path in sys.argv[1:]:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        {"turns": turns, "workers": workers}[found["phase"]](found["figures"])
