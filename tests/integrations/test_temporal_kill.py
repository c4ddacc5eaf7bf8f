"""Workers that are killed, kill -9: in every row exactly one job runs, and the workflow ends as it should.

The workers are processes of their own, the Temporal server is a real one, and the NetServer counts.
"""

import asyncio
import contextlib
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from temporalio.client import Client as Temporal, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from soapbatch import BatchTaskInfo, BatchTaskState
from soapbatch.integrations.temporal import BatchJob, BatchJobProgress, RunBatchJob
from soapbatch.testing import Answer, Call, ConnectionDropped, NetServer, Proceed, serve
from tests.support.fleet import Tenanted, Workers, check_history, connect, dev_server, new_server, workers

pytestmark = pytest.mark.slow

OLD = 1000
OUTPUT = b"id;name\r\n" * 20_000


@attrs.define
class Fleet:
    """What a row works with.

    Attributes:
        temporal: a client of the Temporal server.
        netserver: the only tenant's.
        workers: to start and to kill.
        queue: a task queue of the row's own.
        arrived: set when a request that an interceptor holds back has arrived.
        killed: set when the worker that sent it is dead.
    """

    temporal: Temporal
    netserver: NetServer
    workers: Workers
    queue: str
    arrived: asyncio.Event = attrs.field(factory=asyncio.Event)
    killed: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def run(self, name: str = "Export", **options: Any) -> WorkflowHandle[Any, Any]:
        """Start the workflow of a job."""
        job = BatchJob("acme", name, output="s.csv", heartbeat_timeout=1.5, **options)
        return await self.temporal.start_workflow(RunBatchJob.run, job, id=self.queue, task_queue=self.queue)

    async def start_worker(self) -> Process:
        """Start a worker that polls twice a second."""
        return await self.workers.start("--ceiling", "0.5")

    async def kill(self, worker: Process) -> None:
        """Kill a worker."""
        await self.workers.kill(worker)
        self.killed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what it looks at knows nothing of events
                await asyncio.sleep(0.05)

    async def until_waiting(self) -> None:
        """Wait until a worker polls a task that has begun to run."""
        await self.until(lambda: self.netserver.counts["GetBatchTaskInfo"] >= 3)

    @property
    def tasks(self) -> list[BatchTaskInfo]:
        """The tasks that were started."""
        return [task for task in self.netserver.tasks.find() if task.id != OLD]

    async def check(self, handle: WorkflowHandle[Any, Any], *, requests: int = 1) -> None:
        """Check that exactly one job was started, with so many requests, and that the history tells no secret."""
        assert self.netserver.counts["StartBatchJob"] == requests
        assert len(self.tasks) == 1
        await check_history(handle)


@contextlib.asynccontextmanager
async def fleet(target: str, folder: Path) -> AsyncGenerator[Fleet]:
    """Make what a row works with."""
    queue = f"row-{uuid.uuid4().hex[:8]}"
    tenants = Tenanted(new_server)
    tenants["acme"].define_job("Export", duration=3, output=OUTPUT)
    tenants["acme"].define_job("Failing", duration=3, outcome=BatchTaskState.FAILED, result="There is no such archive")
    tenants["acme"].define_job("Endless", duration=3600)
    old = BatchTaskInfo(id=OLD, name="Old", associate_id=5, state=BatchTaskState.SUCCEEDED)
    tenants["acme"].tasks.add(old)  # lists that show a task prove more than empty ones
    temporal = await connect(target)
    async with serve(tenants) as url, workers(target, url, folder / "out", queue) as processes:
        yield Fleet(temporal, tenants["acme"], processes, queue)


async def finish(fleet: Fleet, handle: WorkflowHandle[Any, Any], **counts: Any) -> None:
    """Check that the job succeeds and its output is saved."""
    finished = await handle.result()
    assert (finished.task.state, finished.task.id) == ("Succeeded", fleet.tasks[0].id)
    assert (fleet.workers.folder / "acme" / "s.csv").read_bytes() == OUTPUT
    await fleet.check(handle, **counts)


async def failure_of(handle: WorkflowHandle[Any, Any]) -> BaseException | None:
    """Return what a workflow failed with."""
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return caught.value.cause


async def replaced_in_the_wait(fleet: Fleet) -> None:
    """The only worker dies in the wait, and a new one is started."""
    first = await fleet.start_worker()
    handle = await fleet.run()
    await fleet.until_waiting()
    await fleet.kill(first)
    await fleet.start_worker()
    await finish(fleet, handle)


async def taken_over_in_the_wait(fleet: Fleet) -> None:
    """A second worker is there when the first one dies."""
    first = await fleet.start_worker()
    handle = await fleet.run()
    await fleet.until_waiting()
    await fleet.start_worker()
    await fleet.kill(first)
    await finish(fleet, handle)


async def killed_before_the_request(fleet: Fleet) -> None:
    """The worker dies before StartBatchJob has left, in the login."""

    async def hold(_: Call, __: Proceed) -> Answer:
        fleet.arrived.set()
        await fleet.killed.wait()
        raise ConnectionDropped

    fleet.netserver.intercept("AuthenticateUsernamePassword", hold)
    await lost_in_the_start(fleet, settle=3)


async def killed_before_it_is_applied(fleet: Fleet) -> None:
    """The worker dies while the request is at the server, which applies it two seconds later."""
    fleet.netserver.intercept("StartBatchJob", applied_after(fleet, 2))
    await lost_in_the_start(fleet)


async def killed_after_it_is_applied(fleet: Fleet) -> None:
    """The worker dies when the server has started the job, and has not answered yet."""

    async def hold(_: Call, proceed: Proceed) -> Answer:
        answer = await proceed()
        fleet.arrived.set()
        await fleet.killed.wait()
        return answer

    fleet.netserver.intercept("StartBatchJob", hold)
    await lost_in_the_start(fleet)


async def applied_14_seconds_later(fleet: Fleet) -> None:
    """The server applies the request of the dead worker 14 seconds later, when another one looks for it."""
    fleet.netserver.intercept("StartBatchJob", applied_after(fleet, 14))
    await lost_in_the_start(fleet, settle=20)


async def never_applied(fleet: Fleet) -> None:
    """The server drops the request of the dead worker: the next attempt sends another one, once `settle` is over."""

    async def drop(_: Call, __: Proceed) -> Answer:
        fleet.arrived.set()
        await fleet.killed.wait()
        raise ConnectionDropped

    fleet.netserver.intercept("StartBatchJob", drop)
    await lost_in_the_start(fleet, settle=2, requests=2)


def applied_after(fleet: Fleet, seconds: float) -> Callable[[Call, Proceed], Awaitable[Answer]]:
    """Return an interceptor that runs the operation some seconds after the worker's death."""

    async def hold(_: Call, proceed: Proceed) -> Answer:
        fleet.arrived.set()
        await fleet.killed.wait()
        await asyncio.sleep(seconds)
        return await proceed()

    return hold


async def lost_in_the_start(fleet: Fleet, *, settle: float = 6, requests: int = 1) -> None:
    """Kill the worker when its request has arrived, and let another one finish."""
    first = await fleet.start_worker()
    handle = await fleet.run(settle=settle)
    await fleet.arrived.wait()
    await fleet.kill(first)
    await fleet.start_worker()
    await finish(fleet, handle, requests=requests)


async def killed_while_saving(fleet: Fleet) -> None:
    """The worker dies while it fetches the output: the file is written anew, as a whole."""

    async def hold(_: Call, proceed: Proceed) -> Answer:
        await proceed()
        fleet.arrived.set()
        await fleet.killed.wait()
        raise ConnectionDropped

    fleet.netserver.intercept("GetOutputFromBatch", hold)
    await lost_in_the_start(fleet)


async def cancelled(fleet: Fleet) -> None:
    """The workflow is cancelled when its worker is dead: the next worker stops the job, once."""
    first = await fleet.start_worker()
    handle = await fleet.run("Endless")
    await fleet.until_waiting()
    await fleet.kill(first)
    await handle.cancel()
    await fleet.start_worker()
    assert isinstance(await failure_of(handle), CancelledError)
    assert fleet.netserver.counts["StopBatchJob"] == 1
    progress: BatchJobProgress = await handle.query(RunBatchJob.progress)
    assert (progress.phase, progress.task.state, progress.task.result) == ("stopped", "Failed", "Stopped on request")
    await fleet.check(handle)


async def cancelled_in_the_start(fleet: Fleet) -> None:
    """The worker dies with its request at the server, and the workflow is cancelled: the job is found and stopped."""
    fleet.netserver.intercept("StartBatchJob", applied_after(fleet, 3))
    first = await fleet.start_worker()
    handle = await fleet.run("Endless", settle=8)
    await fleet.arrived.wait()
    await fleet.kill(first)
    await handle.cancel()
    await fleet.start_worker()
    assert isinstance(await failure_of(handle), CancelledError)
    assert fleet.netserver.counts["StopBatchJob"] == 1
    await fleet.check(handle)


async def failed(fleet: Fleet) -> None:
    """The job fails, and the workflow says so with the facts of the task."""
    first = await fleet.start_worker()
    handle = await fleet.run("Failing")
    await fleet.until_waiting()
    await fleet.kill(first)
    await fleet.start_worker()
    cause = await failure_of(handle)
    assert isinstance(cause, ApplicationError)
    assert cause.type == "JobFailed"
    facts = cause.details[0]
    assert (facts["id"], facts["state"]) == (fleet.tasks[0].id, "Failed")
    assert facts["result"] == "There is no such archive"
    await fleet.check(handle)


async def unknown_name(fleet: Fleet) -> None:
    """The server knows no job of that name, and is asked once."""
    await fleet.start_worker()
    handle = await fleet.run("Nonsense")
    cause = await failure_of(handle)
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("OperationFailed", True)
    assert fleet.netserver.counts["StartBatchJob"] == 1
    assert fleet.tasks == []
    await check_history(handle)


ROWS = [
    (applied_14_seconds_later, replaced_in_the_wait, taken_over_in_the_wait),
    (never_applied, cancelled_in_the_start),
    (killed_before_the_request, failed),
    (killed_before_it_is_applied, cancelled),
    (killed_after_it_is_applied, killed_while_saving, unknown_name),
]
"""The rows of one test run at the same time, because a row mostly waits."""


@pytest.mark.parametrize("rows", ROWS, ids=lambda rows: "+".join(row.__name__ for row in rows))
async def test_a_worker_is_killed(
    rows: tuple[Callable[[Fleet], Awaitable[None]], ...], target: str, tmp_path: Path
) -> None:
    """In each row exactly one job runs, and the workflow ends as it should."""

    async def run(row: Callable[[Fleet], Awaitable[None]]) -> None:
        async with fleet(target, tmp_path / row.__name__) as made:
            await row(made)

    async with asyncio.TaskGroup() as running:
        for row in rows:
            running.create_task(run(row), name=row.__name__)


async def test_worker_and_temporal_server_are_killed(tmp_path: Path) -> None:
    """Both die in the wait, and both are started again."""
    with dev_server(tmp_path) as server:
        await connect(server.target)
        async with fleet(server.target, tmp_path) as made:
            first = await made.start_worker()
            handle = await made.run()
            await made.until_waiting()
            server.kill()
            await made.kill(first)
            server.start()
            await connect(server.target)
            await made.start_worker()
            await finish(made, handle)
