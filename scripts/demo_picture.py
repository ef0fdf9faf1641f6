"""Take the picture of the demo that the README shows: run it, and draw what its terminal got.

    python scripts/demo_picture.py

Runs `convmemory demo` on the wheels' servers and writes docs/pictures/demo.svg. A conversation and the last table are
shown, the rest is left out: who wants to see it runs it. A viewer loads nothing from anywhere for it.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/pictures/demo.svg"
WIDTH = 80
LEFT_OUT = ("4  ", "What now lies where")
"""From the line that begins with the first to the one that begins with the second."""

FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" class="rich-terminal" viewBox="0 0 {width} {height}" role="img" \
aria-labelledby="demo-title demo-what">
<title id="demo-title">scripts/demo in a terminal</title>
<desc id="demo-what">Without memory the model cannot know what "it" is. With convmemory it answers, in a second process \
too. Then what lies in PostgreSQL and in Redis.</desc>
<style>
.{unique_id}-matrix {{
  font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own frame names a font on a foreign host; this one takes what the viewer has."""


def played() -> str:
    """What a terminal of 80 columns gets from the demo, colours included."""
    environment = os.environ | {
        "COLUMNS": str(WIDTH),
        "FORCE_COLOR": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "CONVMEMORY_BINARIES": "wheels",  # they are named without a path
    }
    done = subprocess.run(
        [sys.executable, "-m", "convmemory", "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def shortened(output: str) -> list[Text]:
    """The lines to show, the command before them, and dots for what is left out."""
    lines = [Text.from_ansi(line) for line in output.rstrip().splitlines()]
    first, after = (next(n for n, line in enumerate(lines) if line.plain.startswith(s)) for s in LEFT_OUT)
    return [
        Text("$ scripts/demo", style="bold"),
        *lines[:first],
        Text("⋮", style="dim"),
        Text(),
        *lines[after:],
        Text(),
    ]


def drawn(lines: list[Text]) -> str:
    """Those lines as an SVG, the same for the same lines wherever it is drawn."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        height=len(lines),
        force_terminal=True,
        color_system="standard",
    )
    for line in lines:
        line.rstrip()
        console.print(line, no_wrap=True, overflow="crop", highlight=False)
    svg = console.export_svg(title="convmemory", code_format=FRAME, unique_id="demo")
    svg = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.1f}", svg)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


if __name__ == "__main__":
    PICTURE.write_text(drawn(shortened(played())), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")
