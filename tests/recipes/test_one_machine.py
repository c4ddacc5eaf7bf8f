"""The recipe for one machine: jobs that survive the process, which is killed, kill -9."""

import asyncio
import sqlite3
import sys
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from soapbatch import Tenants
from soapbatch.testing import Answer, Call, NetServer, Proceed, answering, serve
from tests.recipes import one_machine
from tests.recipes.one_machine import JobTable
from tests.support.clients import until
from tests.support.fleet import Tenanted, connector, new_server

KEYS = [f"{tenant}/export/{day}" for tenant in ("acme", "bravo") for day in ("monday", "tuesday")]


def tenanted() -> Tenanted:
    """Return two tenants with quick jobs."""
    tenants = Tenanted(new_server)
    for tenant in ("acme", "bravo"):
        tenants[tenant].define_job("Export", duration=1, output=tenant.encode())
        tenants[tenant].define_job("Export failing", duration=1)
    return tenants


async def run_here(path: Path, url: str, *keys: str, name: str = "Export") -> dict[str, str | None]:
    """Run the jobs in this process, and return their outcomes."""
    table = JobTable(path)
    try:
        for key in keys:
            table.add(key, key.split("/")[0], name, {"archive": "contacts"})
        async with Tenants(connector(url)) as tenants:
            await table.run(tenants, path.parent, settle=2)
        return table.outcomes()
    finally:
        table.close()


async def start_process(path: Path, url: str) -> Process:
    """Run what is in the table in a process of its own."""
    program = f"""
import asyncio, pathlib
from tests.recipes.test_one_machine import run_here
asyncio.run(run_here(pathlib.Path({str(path)!r}), {url!r}, *{KEYS!r}))
"""
    return await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=Path(__file__).parents[2])


@pytest.mark.slow
async def test_jobs_run_to_their_end(tmp_path: Path) -> None:
    """Each job runs once, however often `run` is called; outputs are saved."""
    tenants = tenanted()
    async with serve(tenants) as url:
        for _ in range(2):
            assert await run_here(tmp_path / "jobs.db", url, *KEYS) == dict.fromkeys(KEYS, "Succeeded")
    assert tenants.count("StartBatchJob") == len(KEYS)
    assert (tmp_path / f"{KEYS[0]}.out").read_bytes() == b"acme"


@pytest.mark.slow
async def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that fails and an error that cannot pass are outcomes; an error that may pass is not."""
    monkeypatch.setattr(one_machine, "PAUSE", 0.1)
    tenants = tenanted()
    async with serve(tenants) as url:
        tenants["acme"].intercept("AuthenticateUsernamePassword", answering(503), times=3)
        outcomes = await run_here(tmp_path / "jobs.db", url, "acme/1", name="FailingBatchPlugin")
        assert "There is no such archive" in (outcomes["acme/1"] or "")
        outcomes = await run_here(tmp_path / "jobs.db", url, "acme/2", name="Nonsense")
        assert (outcomes["acme/2"] or "").startswith("OperationFailed: ")


@pytest.mark.slow
@pytest.mark.parametrize("is_applied", [False, True], ids=["before it is applied", "after it is applied"])
async def test_the_process_is_killed_in_the_start(is_applied: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    """The next process finds the job by its key: nothing is started twice."""
    tenants = tenanted()
    arrived, killed = asyncio.Event(), asyncio.Event()

    async def hold(_: Call, proceed: Proceed) -> Answer:
        answer = await proceed() if is_applied else None
        arrived.set()
        await killed.wait()
        return answer or await proceed()

    netserver: NetServer = tenants["acme"]
    netserver.intercept("StartBatchJob", hold)
    async with serve(tenants) as url:
        process = await start_process(tmp_path / "jobs.db", url)
        await arrived.wait()
        await until(lambda: tenants.count("StartBatchJob") == len(KEYS))
        process.kill()
        await process.wait()
        killed.set()
        assert await run_here(tmp_path / "jobs.db", url) == dict.fromkeys(KEYS, "Succeeded")
    assert tenants.count("StartBatchJob") == len(KEYS)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second process cannot open the table."""
    table = JobTable(tmp_path / "jobs.db")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        JobTable(tmp_path / "jobs.db")
    table.close()
    JobTable(tmp_path / "jobs.db").close()
