"""The recipe of a check: each status, as a process and by the task."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soapbatch import BatchTaskInfo, BatchTaskState
from soapbatch.testing import NetServer, serve
from tests.recipes.monitoring import judge

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LIMITS: dict[str, Any] = {
    "waiting": timedelta(minutes=30),
    "running": timedelta(hours=6),
    "failed": timedelta(hours=24),
}


def task(state: str, hours: float | None, **fields: Any) -> BatchTaskInfo:
    """Return a task that was created and, unless it is new, last started some hours ago."""
    moment = None if hours is None else NOW - timedelta(hours=hours)
    started = None if state == "New" else moment
    values: dict[str, Any] = {"id": 42, "name": "Export", "created": moment, "last_started": started} | fields
    return BatchTaskInfo(state=BatchTaskState(state), **values)


@pytest.mark.parametrize(
    ("tasks", "status", "line"),
    [
        ([], 0, "no complaints | waiting=0 running=0 failed=0"),
        ([task("New", 0.4), task("Started", 5.9)], 0, "no complaints | waiting=1 running=1 failed=0"),
        ([task("New", None), task("Aquired", None)], 0, "no complaints | waiting=1 running=1 failed=0"),
        ([task("New", 0.5)], 2, "Export (42) waits too long | waiting=1 running=0 failed=0"),
        ([task("Started", 6)], 2, "Export (42) runs too long | waiting=0 running=1 failed=0"),
        ([task("Failed", 23, result="No")], 1, "Export (42) failed: No | waiting=0 running=0 failed=1"),
        ([task("Failed", 24)], 0, "no complaints | waiting=0 running=0 failed=0"),
        (
            [task("Failed", 1, last_started=None), task("Started", 7)],
            2,
            "Export (42) runs too long; Export (42) failed | waiting=0 running=1 failed=1",
        ),
        (
            [task("Started", 6, last_started=datetime(2026, 11, 26, 6))],  # noqa: DTZ001 - a server without zones
            2,
            "Export (42) runs too long | waiting=0 running=1 failed=0",
        ),
    ],
)
def test_judging(tasks: Sequence[BatchTaskInfo], status: int, line: str) -> None:
    """Each limit at its border; the worst status wins."""
    assert judge(tasks, NOW, **LIMITS) == (status, line)


def test_the_line_is_short() -> None:
    """It names five tasks, and says how many more there are."""
    _, line = judge([task("Failed", 1, id=number) for number in range(8)], NOW, **LIMITS)
    assert line.count("failed;") == 4
    assert ", and 3 more | " in line


async def run_check(url: str, *options: str) -> tuple[int, str]:
    """Run the check as a process; return its status and its line."""
    command = [sys.executable, "-W", "error", "-m", "tests.recipes.monitoring", *options]
    settings = {"SOAPBATCH_URL": url, "SOAPBATCH_USER": "demo", "SOAPBATCH_PASSWORD": "demo"}
    environment = {**os.environ, **settings}
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.slow
async def test_the_statuses_of_the_process() -> None:
    """OK, WARNING, CRITICAL and UNKNOWN, each with one line."""
    server = NetServer()
    async with serve(server) as url:
        assert await run_check(url, "--quiet") == (0, "")
        assert await run_check(url) == (0, "OK: no complaints | waiting=0 running=0 failed=0\n")
        failed = BatchTaskInfo(name="Export", state=BatchTaskState.FAILED, result="No\nway", created=datetime.now(UTC))
        server.tasks.add(failed)
        status, line = await run_check(url, "--quiet")
        assert status == 1
        assert line == "WARNING: Export (1) failed: No way | waiting=0 running=0 failed=1\n"
        server.define_job("Export", duration=float("inf"))
        server.tasks.start(BatchTaskInfo(name="Export"), 1)
        status, line = await run_check(url, "--waiting", "0", "--running", "0")
        assert (status, line.split(" (")[0]) == (2, "CRITICAL: Export")
    status, line = await run_check("http://127.0.0.1:9")
    assert (status, line.split(": ")[:2]) == (3, ["UNKNOWN", "ConnectFailed"])
