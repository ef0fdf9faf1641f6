"""The model that plays: the script, or a real one by its LangChain name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core.language_models import BaseChatModel

from convmemory.cli.demo.script import ScriptedModel
from convmemory.errors import ConfigurationError, ConvMemoryError


def choose_model(name: str | None) -> BaseChatModel:
    """The model called ``provider:name``, or the scripted one.

    Raises:
        ConfigurationError: There is no such provider, or a package or a key is missing; says which.
    """
    if name is None:
        return ScriptedModel()
    try:
        from langchain.chat_models import init_chat_model  # noqa: PLC0415 - only for a real model
    except ImportError as error:
        provider = name.partition(":")[0]
        raise ConfigurationError(
            f"--model {name}: needs packages: pip install langchain langchain-{provider.replace('_', '-')}"
        ) from error
    with _named(name):
        model: BaseChatModel = init_chat_model(name)
    return model


@contextmanager
def speaking(name: str | None) -> Iterator[None]:
    """Name the model in whatever its provider raises: a wrong key is told at the first answer.

    Raises:
        ConfigurationError: The model failed.
    """
    if name is None:
        yield
    else:
        with _named(name):
            yield


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ConvMemoryError:
        raise
    except Exception as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigurationError(f"--model {name}: {why}") from error
