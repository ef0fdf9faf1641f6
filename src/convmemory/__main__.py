"""``python -m convmemory`` and the ``convmemory`` command, which says which extra it needs."""

from __future__ import annotations

import sys

from convmemory.errors import MissingExtra


def main() -> None:
    """Run the command line, or say what installs it."""
    try:
        import typer  # noqa: F401, PLC0415 - only asked for
    except ImportError:
        sys.exit(str(MissingExtra("The convmemory command", "cli")))
    from convmemory.cli import run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
