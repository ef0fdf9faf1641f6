"""Where a provider would reject messages: the rule that what is shown to a model must pass."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, ToolMessage

from convmemory.encoding.tool_blocks import call_ids, only_results, result_ids


def pairing_errors(messages: Sequence[BaseMessage]) -> list[str]:
    """Say where a provider would reject these messages, one line each; empty when it would not.

    The rule: a result answers a call of the message that it follows, with nothing but other results between them, and
    every call is answered once before anything else is said.
    """
    errors = []
    pending: set[str | None] = set()
    for at, message in enumerate(messages):
        answered = result_ids(message)
        for name in answered:
            if name in pending:
                pending.remove(name)
            else:
                errors.append(f"message {at} is a tool result without its call {name!r}")
        if not (answered and (isinstance(message, ToolMessage) or only_results(message.content))):
            errors += [
                f"message {at} comes before the result of tool call {name!r}"
                for name in sorted(pending, key=str)
            ]
            pending = set(call_ids(message))
    return errors + [
        f"the end comes before the result of tool call {name!r}" for name in sorted(pending, key=str)
    ]
