"""`soapbatch list` and `soapbatch show`."""

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState
from soapbatch.cli.listing import COLUMNS, _kept_since
from soapbatch.cli.rows import DEFAULT_COLUMNS, STATES
from soapbatch.testing import Answer, Call, Interceptor, failing
from soapbatch.testing.faults import ServerException
from soapbatch.testing.interceptors import Proceed
from tests.cli.conftest import Done, World, lines


def replacing(before: bytes, after: bytes) -> Interceptor:
    """Return an interceptor that changes the body of the answer."""

    async def intercept(_: Call, proceed: Proceed) -> Answer:
        answer = await proceed()
        return attrs.evolve(answer, body=(b"".join(answer.body).replace(before, after),), headers=answer.headers)

    return intercept


def test_a_table(world: World) -> None:
    """The newest task comes first, under titles; columns are as wide as they need to be."""
    world.start("EndlessBatchPlugin")
    world.start("NightlySystemBatchPlugin")
    world.start("LongName" * 20, duration=0)
    done = world.run("list")
    assert done.status == 0
    title, newest, oldest = lines(done.out)
    assert title == "ID NAME STATE % AGE OWNER DESCRIPTION"
    assert newest.startswith(f"3 {'LongName' * 20} ")
    assert oldest.startswith("1 EndlessBatchPlugin ")
    assert not any(line.endswith(" ") for line in done.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        pytest.param([], [3, 1], id="users"),
        pytest.param(["--all"], [3, 2, 1], id="all"),
        pytest.param(["--system"], [2], id="system"),
        pytest.param(["--all", "--limit", "2"], [3, 2], id="limit"),
        pytest.param(["--name", "Quick"], [3], id="name"),
        pytest.param(["--state", "succeeded"], [3], id="state"),
        pytest.param(["--state", "Succeeded", "--name", "EndlessBatchPlugin"], [], id="name and state"),
        pytest.param(["--running", "--all"], [2, 1], id="running"),
        pytest.param(["--since", "1h"], [3, 1], id="since a duration"),
        pytest.param(["--since", "2099-01-01"], [], id="since a date"),
        pytest.param(["--service-version", "75", "--state", "acquired"], [], id="an old version"),
    ],
)
def test_filters(world: World, arguments: list[str], ids: list[int]) -> None:
    """Each filter leaves the tasks that fit; -o ids prints ids alone."""
    world.start("EndlessBatchPlugin")
    world.start("NightlySystemBatchPlugin", duration=1e6, is_system_task=True)
    world.start("Quick", duration=0)
    while world.server.tasks.read(3).state != BatchTaskState.SUCCEEDED:  # type: ignore[union-attr]  # it is there
        pass
    done = world.run("list", *arguments, "-o", "ids")
    assert (done.status, [int(id_) for id_ in done.out.split()]) == (0, ids)


def test_mine(world: World) -> None:
    """--mine is known after a login by name and password, and not by a ticket from outside."""
    world.start("EndlessBatchPlugin")
    world.server.tasks.start(BatchTaskInfo(name="EndlessBatchPlugin"), 999)
    unknown = world.run("list", "--mine", "-o", "ids")
    assert unknown.status == 2
    assert "soapbatch login" in unknown.err
    assert world.run("login").status == 0
    assert world.run("list", "--mine", "-o", "ids").out == "1\n"


def test_json(world: World) -> None:
    """JSON has the names of the fields; JSON lines has a task a line; --columns chooses."""
    world.start("EndlessBatchPlugin")
    found = json.loads(world.run("list", "-o", "json").out)
    assert found["schema"] == 1
    assert set(found["tasks"][0]) == set(COLUMNS) - {"age"}
    line = json.loads(world.run("list", "-o", "jsonl", "--columns", "id, age").out)
    assert (line["schema"], line["id"], list(line)) == (1, 1, ["schema", "id", "age"])
    table = world.run("list", "--columns", "id,is_system_task,parameter_object")
    assert lines(table.out)[0] == "ID IS_SYSTEM_TASK PARAMETER_OBJECT"
    assert lines(table.out)[1] == "1 false"


def test_no_tasks(world: World) -> None:
    """Without tasks a table says so on standard error; JSON has an empty list."""
    done = world.run("list")
    assert (done.status, done.out, done.err) == (0, "", "no tasks\n")
    assert json.loads(world.run("list", "-o", "json").out) == {"schema": 1, "tasks": []}
    assert world.run("list", "-o", "jsonl").out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--columns", "id,colour"], "there is no column 'colour'"),
        (["--since", "yesterday"], "--since takes"),
        (["--state", "Dancing"], "is no state"),
        (["--limit", "0"], "no whole number"),
        (["--all", "--system"], "not allowed with"),
    ],
)
def test_wrong_arguments(world: World, arguments: list[str], words: str) -> None:
    """A wrong argument is a usage error, and nothing is sent."""
    done = world.run("list", *arguments)
    assert done.status == 2
    assert words in done.err
    assert world.server.requests == 0


def test_the_names_are_those_of_the_library() -> None:
    """What the table of commands names without importing the library is what the library has."""
    assert set(STATES) == {state.value for state in BatchTaskState} - {"Unknown", "All"}
    assert set(DEFAULT_COLUMNS) <= set(COLUMNS)


def test_a_task_without_a_date_is_not_recent() -> None:
    """A date without a zone is UTC; a task without a date is left out by --since."""
    keep = _kept_since("1h")
    now = datetime.now(UTC)
    assert keep(BatchTaskInfo(created=now - timedelta(minutes=5)))
    assert keep(BatchTaskInfo(created=(now - timedelta(minutes=5)).replace(tzinfo=None)))
    assert not keep(BatchTaskInfo(created=now - timedelta(hours=2)))
    assert not keep(BatchTaskInfo())


def test_control_characters_of_the_server(world: World) -> None:
    """Text of the server cannot move the cursor of a terminal, nor change its title: it is escaped."""
    world.start("EndlessBatchPlugin")
    world.server.intercept(None, replacing(b"EndlessBatchPlugin", "A\u202eB\u009b31m\nC".encode()), times=None)
    assert "A\\u202eB\\x9b31m C" in world.run("list").out
    assert "A\\u202eB\\x9b31m C" in world.run("show", 1).out


def test_show(world: World) -> None:
    """Every field that has a value, one a line; parameters behind a dot."""
    world.run("start", "EndlessBatchPlugin", "-p", "archive=contacts")
    done = world.run("show", 1)
    assert done.status == 0
    assert {"id 1", "name EndlessBatchPlugin", "parameter_object.archive contacts"} <= set(lines(done.out))
    assert "response" not in done.out
    assert json.loads(world.run("show", 1, "-o", "json").out)["task"]["response"] is None
    assert json.loads(world.run("show", 1, "-o", "jsonl").out)["id"] == 1
    assert world.run("show", 1, "-o", "ids").out == "1\n"


@pytest.mark.parametrize("unknown_task", ["nil", "exception"])
def test_no_such_task(world: World, unknown_task: str) -> None:
    """Exit status 3, however the server says it."""
    world.server.unknown_task = unknown_task  # type: ignore[assignment]  # one of the two
    done = world.run("show", 42, "-o", "json")
    assert (done.status, done.out) == (3, "")
    assert json.loads(done.err)["error"]["id"] == 42


def test_a_right_is_missing(world: World) -> None:
    """The server refuses the caller: exit status 5, and what to do next."""
    world.server.intercept(None, failing(ServerException("X.SoSentryException", "You may not", "no")), times=None)
    done = world.run("list")
    assert done.status == 5
    assert "soapbatch doctor" in done.err


def test_colours(world: World, terminal: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours, unless --no-color or NO_COLOR; a table is as wide as the terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    world.start("FailingBatchPlugin" + "X" * 60, duration=1e6)
    while world.server.tasks.read(1).state != BatchTaskState.STARTED:  # type: ignore[union-attr]  # it is there
        pass
    assert "\x1b[36m" in terminal("list").out
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in terminal("list").out.splitlines()) <= 60
    assert "\x1b[3" not in terminal("list", "--no-color").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in terminal("list").out


def test_an_ascii_terminal(world: World, terminal: Callable[..., Done]) -> None:
    """What a terminal cannot show becomes a question mark, and no error."""
    world.start("Übersicht", duration=1e6)
    done = terminal("list", encoding="ascii")
    assert (done.status, "?bersicht" in done.out) == (0, True)


def test_without_rich(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich a table says what to install, and JSON works."""
    world.start("EndlessBatchPlugin")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    done = world.run("list")
    assert done.status == 2
    assert "soapbatch[cli]" in done.err
    assert world.run("list", "-o", "json").status == 0
