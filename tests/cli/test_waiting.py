"""`soapbatch wait` and `soapbatch watch`."""

import json
from collections.abc import Callable

import pytest

from soapbatch.cli.waiting import polling_of
from soapbatch.jobs import Jobs
from soapbatch.testing import lost_reply
from tests.cli.conftest import Done, World, lines

FAST = ("--interval", "0.05")


def test_wait(world: World) -> None:
    """The finished tasks are shown; a repeated id is waited for once."""
    world.start("Quick", duration=1)
    world.start("Quick")
    done = world.run("wait", 2, 1, 1, *FAST)
    assert done.status == 0
    assert [line.split()[:3] for line in lines(done.out)[1:]] == [
        ["1", "Quick", "Succeeded"],
        ["2", "Quick", "Succeeded"],
    ]


@pytest.mark.parametrize(
    ("jobs", "ids", "status"),
    [
        pytest.param(["FailingBatchPlugin"], [1], 1, id="failed"),
        pytest.param(["FailingBatchPlugin", "FailingBatchPlugin"], [1, 2], 1, id="all failed"),
        pytest.param(["FailingBatchPlugin", "ExportArchiveBatchPlugin"], [1, 2], 8, id="some failed"),
        pytest.param([], [42], 3, id="no such task"),
        pytest.param(["EndlessBatchPlugin"], [1], 4, id="time is up"),
    ],
)
def test_exit_statuses(world: World, jobs: list[str], ids: list[int], status: int) -> None:
    """The exit status says how the tasks ended."""
    for name in jobs:
        world.start(name)
    done = world.run("wait", *ids, *FAST, "--timeout", "0.3" if status == 4 else "1m")
    assert done.status == status
    assert len(done.err.splitlines()) >= 1


def test_the_first_is_enough(world: World) -> None:
    """--any ends with the first task, and shows that one."""
    world.start("EndlessBatchPlugin")
    world.start("Quick", duration=1)
    done = world.run("wait", 1, 2, "--any", *FAST, "-o", "ids")
    assert (done.status, done.out) == (0, "2\n")


def test_two_timeouts(world: World) -> None:
    """Before the command --timeout is the limit of a call, behind it that of the wait."""
    world.start("Quick", duration=1)
    assert world.run("--timeout", "5", "wait", 1, "--timeout", "20s", *FAST).status == 0
    assert world.run("list", "--timeout", "0").status == 6


def test_an_interrupted_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: the ids of the jobs that run on are said, also in JSON."""

    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Jobs, "wait_all", interrupted)
    done = world.run("wait", 7, 8)
    assert done.status == 130
    assert "soapbatch stop 7 8" in done.err
    error = json.loads(world.run("wait", 7, 8, "-o", "json").err)["error"]
    assert (error["ids"], error["exit_status"]) == ([7, 8], 130)


def test_bars_on_a_terminal(world: World, terminal: Callable[..., Done]) -> None:
    """On a terminal there is a bar for each task, on standard error."""
    world.start("Quick", duration=1)
    done = terminal("wait", 1, "--any", *FAST)
    assert done.status == 0
    assert "100%" in done.err


def test_watch(world: World) -> None:
    """Each change is a line of JSON; the last one is the finished task."""
    world.start("ExportArchiveBatchPlugin")
    done = world.run("watch", 1, 1, *FAST)
    changes = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == 0
    assert {change["schema"] for change in changes} == {1}
    assert changes[-1]["state"] == "SucceededManualCleanup"
    percents = [change["progress_percent"] or 0 for change in changes]
    assert percents == sorted(percents)


@pytest.mark.parametrize(
    ("ids", "status"),
    [([1], 1), ([1, 2], 8), ([42], 3), ([3], 4)],
    ids=["failed", "some failed", "no such task", "time is up"],
)
def test_exit_statuses_of_watch(world: World, ids: list[int], status: int) -> None:
    """The exit status says how the tasks ended, as that of wait does."""
    for name in ("FailingBatchPlugin", "ExportArchiveBatchPlugin", "EndlessBatchPlugin"):
        world.start(name)
    assert world.run("watch", *ids, *FAST, "--timeout", "0.3" if status == 4 else "1m").status == status


def test_a_reading_that_is_lost(world: World) -> None:
    """A lost answer to a reading ends nothing."""
    world.start("Quick", duration=1)
    world.server.intercept("GetBatchTaskInfo", lost_reply)
    assert world.run("wait", 1, *FAST).status == 0


def test_polling() -> None:
    """--interval is the shortest time between two readings, also where it is longer than the usual longest."""
    assert (polling_of(2).floor, polling_of(2).ceiling, polling_of(60).ceiling) == (2, 30, 60)
