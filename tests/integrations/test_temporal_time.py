"""A job of 24 hours in a few seconds, on Temporal's server that skips time."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from soapbatch import Client, Polling, Retries, UsernamePassword
from soapbatch.integrations.temporal import BatchJob, RunBatchJob, SoapBatchPlugin
from soapbatch.testing import Answer, Call, ManualClock, Proceed
from tests.support.fleet import PASSWORD, binary, new_server

pytestmark = pytest.mark.slow

HOUR = 3600.0


async def test_a_job_of_24_hours(tmp_path: Path) -> None:
    """The server asks to come again in an hour, for a day. Each hour passes between two attempts of one wait."""
    clock = ManualClock()
    netserver = new_server(clock=clock)
    netserver.define_job("Export", duration=24 * HOUR, output=b"id;name\r\n")
    reads = 0

    async def connect(_: str) -> Client:
        return Client(
            "http://netserver.example",
            credentials=UsernamePassword("fleet", PASSWORD),
            transport=httpx.ASGITransport(netserver),
            retries=Retries(attempts=1),
            allow_insecure=True,
        )

    path = binary("temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=path) as environment:
        began = await environment.get_current_time()

        async def be_busy(_: Call, proceed: Proceed) -> Answer:
            nonlocal reads
            reads += 1
            passed = (await environment.get_current_time() - began).total_seconds()
            clock.advance(passed - clock())
            if any(not task.has_ended for task in netserver.tasks.find()):
                return Answer(503, {"Retry-After": f"{HOUR:g}"})
            return await proceed()

        netserver.intercept("GetBatchTaskInfo", be_busy, times=None)
        polling = Polling(first=0, floor=0.01, ceiling=0.01, failures=1)
        # A client honours Retry-After for itself, too, in real time: each attempt gets a new one.
        plugin = SoapBatchPlugin(connect, save=tmp_path, polling=polling, idle=0)
        async with Worker(environment.client, task_queue="crm", plugins=[plugin]):
            job = BatchJob("acme", "Export", output="s.csv")
            finished = await environment.client.execute_workflow(RunBatchJob.run, job, id="a day", task_queue="crm")
        assert finished.task.state == "Succeeded"
        assert await environment.get_current_time() - began >= timedelta(hours=24)
    assert 24 < reads < 30  # once an hour, and at the end
    assert netserver.counts["StartBatchJob"] == 1
    assert len(list(netserver.tasks.find())) == 1
