"""`soapbatch start` and `soapbatch run`."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from soapbatch.cli import starting
from soapbatch.jobs import Jobs
from soapbatch.testing import answering, failing, lost_reply
from soapbatch.testing.faults import ServerException
from tests.cli.conftest import Done, World

EXPORT = "ExportArchiveBatchPlugin"
FAST = ("--interval", "0.05")


def test_start_prints_the_id(world: World) -> None:
    """The id is all of the standard output, and the server has the parameters and the description."""
    done = world.run("start", EXPORT, "-p", "archive=contacts", "-p", "note=a=b", "--description", "Nightly")
    assert (done.status, done.out) == (0, "1\n")
    info = world.server.tasks.read(1)
    assert info is not None
    assert (info.parameter_object, info.description) == ({"archive": "contacts", "note": "a=b"}, "Nightly")


def test_start_in_json(world: World) -> None:
    """JSON has the id, the name and the version of its schema."""
    done = world.run("start", EXPORT, "-o", "json")
    assert json.loads(done.out) == {"schema": 1, "id": 1, "name": EXPORT}


def test_start_and_wait(world: World) -> None:
    """--wait ends with the job: the id first, or one object with the finished task."""
    assert world.run("start", EXPORT, "--wait", *FAST).out == "1\n"
    found = json.loads(world.run("start", EXPORT, "--wait", *FAST, "-o", "json").out)
    assert (found["id"], found["task"]["state"]) == (2, "SucceededManualCleanup")


def test_a_job_that_fails(world: World) -> None:
    """The exit status is 1, and standard error says why."""
    done = world.run("start", "FailingBatchPlugin", "--wait", *FAST)
    assert (done.status, done.out) == (1, "1\n")
    assert "There is no such archive" in done.err


def test_a_wait_that_is_too_long(world: World) -> None:
    """--timeout is about the wait: exit status 4, and the job runs on."""
    done = world.run("start", "EndlessBatchPlugin", "--wait", "--timeout", "0.2", *FAST)
    assert done.status == 4
    assert "soapbatch wait 1" in done.err
    assert world.run("list", "--running", "-o", "ids").out == "1\n"


def test_a_lost_answer(world: World) -> None:
    """Exit status 7: the job may run. Nothing was sent twice."""
    world.server.intercept("StartBatchJob", lost_reply)
    done = world.run("start", EXPORT, "-o", "json")
    error = json.loads(done.err)["error"]
    assert done.status == 7
    assert (error["type"], error["applied"], error["exit_status"]) == ("StartOutcomeUnknown", "unknown", 7)
    assert world.server.counts["StartBatchJob"] == 1


def test_a_name_that_is_not_defined(world: World) -> None:
    """The server reports an error: exit status 1, and advice to look whether something was done."""
    done = world.run("start", "Nonsense")
    assert done.status == 1
    assert "no batch job named 'Nonsense'" in done.err
    assert "soapbatch list --all" in done.err


@pytest.mark.parametrize(("choice", "status", "out"), [("attach", 0, "1\n"), ("fail", 5, ""), ("start", 0, "2\n")])
def test_if_running(world: World, choice: str, status: int, out: str) -> None:
    """--if-running says what to do about a job of the same name."""
    world.start("EndlessBatchPlugin")
    done = world.run("start", "EndlessBatchPlugin", "--if-running", choice)
    assert (done.status, done.out) == (status, out)


def test_a_key(world: World) -> None:
    """With --key the same command finds the task that it has started, instead of starting another one."""
    for _ in range(3):
        done = world.run("start", "EndlessBatchPlugin", "-p", "archive=contacts", "--key", "nightly/2026-11-26")
        assert (done.status, done.out) == (0, "1\n")
    assert world.run("start", "EndlessBatchPlugin", "--key", "nightly/2026-11-27").out == "2\n"
    assert world.server.counts["StartBatchJob"] == 2


def test_run_saves_and_cleans_up(world: World) -> None:
    """The file has the server's name, its path is printed, and the server has removed its copy."""
    done = world.run("run", EXPORT, *FAST)
    assert (done.status, done.out) == (0, "export.csv\n")
    assert Path("export.csv").read_bytes().startswith(b"id;name")
    assert world.server.counts["CleanupBatchTask"] == 1
    assert "5 rows exported" in done.err


def test_run_to_a_file(world: World) -> None:
    """-O replaces a file, --keep leaves the server's copy, and JSON tells all of it."""
    Path("out.csv").write_text("old", encoding="utf-8")
    done = world.run("run", EXPORT, *FAST, "-O", "out.csv", "--keep", "-o", "json")
    found = json.loads(done.out)
    assert (found["file"], found["bytes"], found["is_cleaned_up"]) == ("out.csv", Path("out.csv").stat().st_size, False)
    assert found["task"]["state"] == "SucceededManualCleanup"
    assert world.server.counts["CleanupBatchTask"] == 0
    assert done.err == ""


def test_run_into_a_pipe(world: World) -> None:
    """-O - writes the output to standard output, and nothing else."""
    done = world.run("run", EXPORT, *FAST, "-O", "-")
    assert done.status == 0
    assert done.out.splitlines()[0] == "id;name"
    assert "export.csv" not in done.out


def test_run_prints_ids(world: World) -> None:
    """-o ids prints the id."""
    assert world.run("run", EXPORT, *FAST, "-o", "ids").out == "1\n"


def test_run_without_an_output(world: World) -> None:
    """A job without an output is said to have none, and nothing is printed."""
    world.server.define_job("Quiet", duration=1)
    done = world.run("run", "Quiet", *FAST)
    assert (done.status, done.out) == (0, "")
    assert "left no output" in done.err


def test_run_with_an_earlier_version(world: World) -> None:
    """Before Services88 there are no outputs: the command says so."""
    done = world.run("run", EXPORT, *FAST, "--service-version", "87")
    assert (done.status, done.out) == (0, "")
    assert "outputs came with Services88" in done.err


def test_run_of_a_job_that_fails(world: World) -> None:
    """Exit status 1, and nothing is saved."""
    done = world.run("run", "FailingBatchPlugin", *FAST)
    assert (done.status, done.out) == (1, "")
    assert "There is no such archive" in done.err


@pytest.mark.parametrize("arguments", [[], ["-O", "folder/missing.csv"]], ids=["a file is there", "no folder"])
def test_run_that_cannot_save(world: World, arguments: list[str]) -> None:
    """The job worked, its output was not saved: exit status 8, the server keeps it, and standard error says how."""
    Path("export.csv").write_text("mine", encoding="utf-8")
    done = world.run("run", EXPORT, *FAST, *arguments)
    assert (done.status, done.out) == (8, "")
    assert "soapbatch output 1 -O FILE" in done.err
    assert Path("export.csv").read_text(encoding="utf-8") == "mine"
    assert world.server.counts["CleanupBatchTask"] == 0


def test_run_whose_clean_up_is_refused(world: World) -> None:
    """An error of the service after the job counts as partly done."""
    world.server.intercept("CleanupBatchTask", failing(ServerException("SoSentryException", "no right", "no")))
    assert world.run("run", EXPORT, *FAST).status == 8


def test_run_into_a_pipe_that_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has gone: exit status 141, and the server keeps the output."""

    async def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(starting, "save", closed)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    assert world.run("run", EXPORT, *FAST, "-O", "-").status == 141
    assert world.server.counts["CleanupBatchTask"] == 0


def test_progress_on_a_terminal(world: World, terminal: Callable[..., Done]) -> None:
    """On a terminal a bar on standard error shows the progress; the id is on standard output."""
    done = terminal("start", EXPORT, "--wait", *FAST)
    assert (done.status, done.out.strip()) == (0, "1")
    assert "100%" in done.err
    assert EXPORT in done.err
    assert "%" not in terminal("-q", "start", EXPORT, "--wait", *FAST).err
    assert world.server.counts["StartBatchJob"] == 2


def test_a_start_is_interrupted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the start is under way: the job may run, and the error says where to look."""

    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Jobs, "start", interrupted)
    done = world.run("start", EXPORT)
    assert (done.status, done.out) == (130, "")
    assert f"soapbatch list --name {EXPORT}" in done.err


def test_an_answer_that_is_a_page(world: World) -> None:
    """HTTP 502 to a start: it may have been applied, so that the exit status is 7."""
    world.server.intercept("StartBatchJob", answering(502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>"))
    assert world.run("start", EXPORT).status == 7
