"""`soapbatch stop`, `delete` and `cleanup`: they ask first."""

import json
from collections.abc import Callable

import pytest

from soapbatch import BatchTaskCancellationBehaviour, BatchTaskState
from soapbatch.testing import Answer, Call, failing, lost_reply
from soapbatch.testing.faults import ServerException
from soapbatch.testing.interceptors import Proceed
from tests.cli.conftest import Done, World

WARNED = BatchTaskCancellationBehaviour.CANCEL_WITH_WARNING
CANNOT = BatchTaskCancellationBehaviour.CANNOT_CANCEL


def ended(world: World, id: int) -> None:
    """Wait until a task of a short job has ended."""
    while not BatchTaskState(world.server.tasks.read(id).state).is_terminal:  # type: ignore[union-attr,arg-type]  # it is there
        pass


def test_stop(world: World) -> None:
    """With -y nothing is asked; the ids that do not run any more are printed."""
    world.start("EndlessBatchPlugin")
    done = world.run("stop", 1, "-y")
    assert (done.status, done.out) == (0, "1\n")
    assert world.server.counts["StopBatchJob"] == 1
    again = world.run("stop", 1, "-y", "-o", "json")
    assert (again.status, world.server.counts["StopBatchJob"]) == (0, 1)
    assert json.loads(again.out)["results"] == [
        {"id": 1, "stopped": True, "message": "task 1 has ended already: Failed"}
    ]


def test_nobody_to_ask(world: World) -> None:
    """Without a terminal and without -y nothing is stopped: exit status 2."""
    world.start("EndlessBatchPlugin")
    done = world.run("stop", 1)
    assert (done.status, done.out) == (2, "")
    assert "add -y" in done.err
    assert world.server.counts["StopBatchJob"] == 0


@pytest.mark.parametrize(
    ("typed", "status", "stops"), [("y\n", 0, 1), ("yes\n", 0, 1), ("n\n", 2, 0), ("\n", 2, 0), ("", 2, 0)]
)
def test_the_question(world: World, terminal: Callable[..., Done], typed: str, status: int, stops: int) -> None:
    """On a terminal the command asks, and takes anything but yes for no."""
    world.start("EndlessBatchPlugin")
    done = terminal("stop", 1, typed=typed)
    assert done.status == status
    assert "Stop task 1 (EndlessBatchPlugin, " in done.err
    assert world.server.counts["StopBatchJob"] == stops


def test_no_input_on_a_terminal(world: World, terminal: Callable[..., Done]) -> None:
    """--no-input never asks."""
    world.start("EndlessBatchPlugin")
    assert terminal("stop", 1, "--no-input", typed="y\n").status == 2


def test_a_warning(world: World, terminal: Callable[..., Done]) -> None:
    """A task that says CancelWithWarning is stopped after the warning was shown."""
    world.start("Warned", duration=1e6, cancellation_behaviour=WARNED)
    done = terminal("stop", 1, typed="y\n")
    assert (done.status, world.server.counts["StopBatchJob"]) == (0, 1)
    assert "WARNING: the server warns against stopping task 1" in done.err


def test_a_task_that_cannot_be_stopped(world: World) -> None:
    """CannotCancel: exit status 5, and the server is not asked; --force asks."""
    world.start("Fixed", duration=1e6, cancellation_behaviour=CANNOT)
    done = world.run("stop", 1, "-y")
    assert (done.status, world.server.counts["StopBatchJob"]) == (5, 0)
    assert "CannotCancel" in done.err
    forced = world.run("stop", 1, "-y", "--force")
    assert world.server.counts["StopBatchJob"] == 1
    assert (forced.status, "did not stop task 1" in forced.err) == (5, True)


def test_a_task_that_ends_meanwhile(world: World) -> None:
    """The server did not stop the task because it has ended: that is as good."""
    world.start("EndlessBatchPlugin")

    async def too_late(_: Call, proceed: Proceed) -> Answer:
        await proceed()
        return await proceed()

    world.server.intercept("StopBatchJob", too_late)
    done = world.run("stop", 1, "-y")
    assert (done.status, done.out) == (0, "1\n")
    assert "has ended already" in done.err


def test_some_can_be_stopped(world: World) -> None:
    """Exit status 8 where some tasks were stopped and some are not there."""
    world.start("EndlessBatchPlugin")
    world.start("EndlessBatchPlugin")
    done = world.run("stop", 1, 99, 2, 1, "-y", "-o", "jsonl")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == 8
    assert [(row["id"], row["stopped"]) for row in rows] == [(1, True), (99, False), (2, True)]
    assert rows[1]["error"]["exit_status"] == 3


def test_a_stop_whose_answer_is_lost(world: World) -> None:
    """Exit status 7: it may have been stopped."""
    world.start("EndlessBatchPlugin")
    world.server.intercept("StopBatchJob", lost_reply)
    assert world.run("stop", 1, "-y").status == 7


@pytest.mark.parametrize("words", [["stop", "1"], ["delete", "1"], ["cleanup", "1"], ["delete", "--state", "Started"]])
def test_dry_runs(world: World, words: list[str]) -> None:
    """--dry-run shows what would go, asks nothing and changes nothing."""
    world.start("EndlessBatchPlugin")
    while world.server.tasks.read(1).state != BatchTaskState.STARTED:  # type: ignore[union-attr]  # it is there
        pass
    done = world.run(*words, "--dry-run", "-o", "ids")
    assert (done.status, done.out) == (0, "1\n")
    assert not {"StopBatchJob", "DeleteBatchTasks", "CleanupBatchTask"} & world.server.counts.keys()


def test_delete_by_id(world: World) -> None:
    """The ids that were deleted are printed; one that is not there makes it partly done."""
    world.start("Quick", duration=0)
    done = world.run("delete", 1, 99, "-y")
    assert (done.status, done.out) == (8, "1\n")
    assert world.server.tasks.read(1) is None


def test_delete_asks_with_the_tasks(world: World, terminal: Callable[..., Done]) -> None:
    """On a terminal the question names the tasks, of many the first twenty."""
    for _ in range(22):
        world.start("EndlessBatchPlugin")
    done = terminal("delete", *range(1, 23), typed="n\n")
    assert done.status == 2
    assert "Delete 22 tasks: task 1 (EndlessBatchPlugin, " in done.err
    assert "and 2 more" in done.err
    assert world.server.counts["DeleteBatchTasks"] == 0


def test_delete_by_filter(world: World) -> None:
    """All that fit the filters together go, and only tasks that have ended."""
    world.start("Quick", duration=0)
    world.start("Quick")
    world.start("EndlessBatchPlugin")
    ended(world, 2)
    assert world.run("delete", "--older-than", "1w", "-y").out == ""
    done = world.run("delete", "--older-than", "0", "-y")
    assert (done.status, sorted(done.out.split())) == (0, ["1", "2"])
    assert world.run("delete", "--name", "Nothing", "-y").status == 0
    assert world.server.tasks.read(3) is not None


def test_a_task_without_a_date_is_not_old(world: World) -> None:
    """--older-than leaves a task whose date the server does not say."""
    world.server.missing = frozenset({"Created"})
    world.start("Quick", duration=0)
    ended(world, 1)
    assert world.run("delete", "--older-than", "0", "--dry-run", "-o", "ids").out == ""


@pytest.mark.parametrize("words", [[], ["1", "--name", "X"]])
def test_ids_or_filters(world: World, words: list[str]) -> None:
    """Neither, or both, is a usage error: nothing may be deleted by accident."""
    done = world.run("delete", *words, "-y")
    assert (done.status, world.server.requests) == (2, 0)
    assert "--older-than" in done.err


def test_a_right_is_missing(world: World) -> None:
    """The server refuses the caller: exit status 5."""
    world.start("Quick", duration=0)
    world.server.intercept("DeleteBatchTasks", failing(ServerException("X.SoSentryException", "You may not", "no")))
    assert world.run("delete", 1, "-y").status == 5


def test_cleanup(world: World) -> None:
    """The output goes, the task stays; before Services88 nothing is sent."""
    world.start("ExportArchiveBatchPlugin")
    ended(world, 1)
    assert world.run("cleanup", 1).status == 2
    done = world.run("cleanup", 1, "-y")
    assert (done.status, done.out) == (0, "1\n")
    assert world.server.tasks.read(1).state == BatchTaskState.SUCCEEDED  # type: ignore[union-attr]  # it is there
    before = world.server.requests
    old = world.run("cleanup", 1, "-y", "--service-version", "87")
    assert (old.status, world.server.requests) == (2, before)
    assert "Services88" in old.err
