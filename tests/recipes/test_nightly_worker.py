"""The recipe of a nightly worker: a process that gets SIGTERM, and its successor."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from soapbatch.testing import Answer, Call, ManualClock, NetServer, Proceed, serve
from tests.recipes.nightly_worker import AT_ONCE
from tests.support.clients import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process could handle"),
]
NAMES = [f"export{number}" for number in range(7)]
ROOT = Path(__file__).parents[2]


async def start_worker(url: str, folder: Path, *, job: str = "Export") -> Process:
    """Start the worker as a process of its own, with a table of seven jobs."""
    table = folder.with_suffix(".toml")
    table.write_text("".join(f'[{name}]\njob = "{job}"\nparameters = {{ n = "{name}" }}\n' for name in NAMES))
    settings = {"SOAPBATCH_URL": url, "SOAPBATCH_USER": "demo", "SOAPBATCH_PASSWORD": "demo"}
    command = [sys.executable, "-W", "error", "-m", "tests.recipes.nightly_worker", str(table), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)


async def end_of(process: Process, clock: ManualClock) -> tuple[int | None, str, str]:
    """Let the server's time pass until the process ends; return its status and what it wrote."""
    ending = asyncio.create_task(process.communicate())
    while not ending.done():
        clock.advance(10)
        await asyncio.wait([ending], timeout=0.1)
    out, err = ending.result()
    return process.returncode, out.decode(), err.decode()


def new_server() -> tuple[NetServer, ManualClock, list[int]]:
    """Return a server, its clock, and a list of how many tasks had not ended at each start."""
    clock, running = ManualClock(patience=float("inf")), list[int]()
    server = NetServer(clock=clock)
    server.define_job("Export", duration=60, output=b"id;name")

    async def counting(_: Call, proceed: Proceed) -> Answer:
        running.append(sum(not info.has_ended for info in server.tasks.find()))
        return await proceed()

    server.intercept("StartBatchJob", counting, times=None)
    return server, clock, running


async def test_a_night_with_a_sigterm_in_it(tmp_path: Path) -> None:
    """The worker ends at once, and its successor takes over five jobs and starts the other two."""
    server, clock, running = new_server()
    folder = tmp_path / "monday"
    async with serve(server) as url:
        first = await start_worker(url, folder)
        await until(lambda: server.counts["StartBatchJob"] == AT_ONCE)
        first.send_signal(signal.SIGTERM)
        out, err = await first.communicate()
        assert (first.returncode, err) == (143, b"")
        assert out.decode().startswith("SIGTERM: ")
        assert server.counts["StopBatchJob"] == 0

        status, text, errors = await end_of(await start_worker(url, folder), clock)
        assert (status, errors) == (0, "")
        assert sorted(text.splitlines()) == [f"{name}: 7 bytes" for name in NAMES]
        assert server.counts["StartBatchJob"] == len(NAMES)
        assert max(running) < AT_ONCE
        assert [(folder / f"{name}.out").read_bytes() for name in NAMES] == [b"id;name"] * len(NAMES)

        assert await end_of(await start_worker(url, folder), clock) == (0, "", "")
        assert server.counts["StartBatchJob"] == len(NAMES)


async def test_a_job_that_fails(tmp_path: Path) -> None:
    """The others go on, the line says why, and the status is 1."""
    server, clock, _ = new_server()
    async with serve(server) as url:
        worker = await start_worker(url, tmp_path / "tuesday", job="FailingBatchPlugin")
        status, text, errors = await end_of(worker, clock)
    assert (status, errors) == (1, "")
    assert [line.split(": ")[1] for line in text.splitlines()] == ["JobFailed"] * len(NAMES)
