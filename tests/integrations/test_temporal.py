"""The integration with Temporal, with workers in the test's process and a real Temporal server."""

import asyncio
import contextlib
import dataclasses
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from temporalio import activity
from temporalio.client import Client as Temporal, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerTuner

from soapbatch import (
    BatchTaskCancellationBehaviour,
    BatchTaskState,
    Client,
    Polling,
    ServiceVersion,
    UsageError,
    UsernamePassword,
)
from soapbatch.errors import ConnectFailed, JobFailed, ServiceBusy
from soapbatch.integrations.temporal import (
    BatchJob,
    BatchJobProgress,
    RunBatchJob,
    SoapBatchPlugin,
    StoppedJob,
    TaskFacts,
    activities as activities_module,
    read_progress,
    slots as slots_module,
)
from soapbatch.integrations.temporal.activities import Activities
from soapbatch.integrations.temporal.data import JobTask
from soapbatch.integrations.temporal.plugin import MAX_ACTIVITIES
from soapbatch.integrations.temporal.slots import SlotRequest, Slots, TenantSlots, closed_holders
from soapbatch.integrations.temporal.workflow import make_key
from soapbatch.tenants import Tenants
from soapbatch.testing import Answer, Call, NetServer, Proceed, User, answering, lost_reply
from tests.integrations.workflows import Impatient, TwoJobs
from tests.support.clients import until
from tests.support.fleet import APPLICATION_TOKEN, PASSWORD, SEARCH_ATTRIBUTE, check_history, connect, new_server

pytestmark = pytest.mark.slow

SPEED = 20.0
"""Seconds of the NetServer's clock in one second."""
QUICK = Polling(first=0.05, floor=0.05, ceiling=0.1)
HEARTBEAT = 2.0
LISTS = ("GetBatchTaskInfosByNameAndAssociates", "GetBatchTaskInfosByNameAndState")
OUTPUT = b"id;name\r\n1;Ada\r\n"


@attrs.define
class World:
    """A worker in this process, a tenant, and a Temporal server.

    Attributes:
        temporal: a client of the Temporal server.
        netserver: every tenant's.
        queue: a task queue of the test's own.
        folder: where outputs go.
        options: of the plugin.
        connected: the tenants for which a client was made.
    """

    temporal: Temporal
    netserver: NetServer
    queue: str
    folder: Path
    options: dict[str, Any]
    connected: list[str] = attrs.field(factory=list)

    async def connect(self, tenant: str) -> Client:
        """Return a client of a tenant."""
        self.connected.append(tenant)
        return Client(
            "http://netserver.example",
            credentials=UsernamePassword("fleet", PASSWORD),
            application_token=APPLICATION_TOKEN,
            transport=httpx.ASGITransport(self.netserver),
            version=self.options.get("version"),
            allow_insecure=True,
        )

    def plugin(self) -> SoapBatchPlugin:
        """Return a new plugin."""
        options: dict[str, Any] = {"save": self.folder, "polling": QUICK, **self.options}
        options.pop("version", None)
        return SoapBatchPlugin(self.connect, **options)

    def worker(self, plugin: SoapBatchPlugin | None = None, **options: Any) -> Worker:
        """Return a worker."""
        workflows = [TwoJobs, Impatient]
        plugins = [plugin or self.plugin()]
        settings: dict[str, Any] = {"task_queue": self.queue, **options}
        return Worker(self.temporal, workflows=workflows, plugins=plugins, **settings)

    async def start(self, name: str = "Export", **options: Any) -> WorkflowHandle[Any, Any]:
        """Start the workflow of a job."""
        settings: dict[str, Any] = {"tenant": "acme", "heartbeat_timeout": HEARTBEAT, "settle": 2} | options
        job = BatchJob(name=name, **settings)
        id_ = f"{self.queue}/{uuid.uuid4().hex[:6]}"
        return await self.temporal.start_workflow(RunBatchJob.run, job, id=id_, task_queue=self.queue)

    async def until_running(self, count: int = 1) -> None:
        """Wait until so many tasks run."""
        await until(lambda: sum(task.state == "Started" for task in self.netserver.tasks.find()) >= count)


@contextlib.asynccontextmanager
async def world(target: str, folder: Path, **options: Any) -> AsyncGenerator[World]:
    """Make a world without a worker."""
    netserver = new_server(clock=lambda: time.monotonic() * SPEED)
    netserver.define_job("Export", duration=10, output=OUTPUT, result="1 row", file_name="export.csv")
    netserver.define_job("Endless", duration=1e9)
    netserver.define_job("Silent", duration=10)
    netserver.define_job("Failing", duration=10, outcome=BatchTaskState.FAILED, result="There is no such archive")
    netserver.define_job("Stubborn", duration=1e9, cancellation_behaviour=BatchTaskCancellationBehaviour.CANNOT_CANCEL)
    yield World(await connect(target), netserver, f"test-{uuid.uuid4().hex[:8]}", folder, options)


@contextlib.asynccontextmanager
async def working(target: str, folder: Path, **options: Any) -> AsyncGenerator[World]:
    """Make a world with one worker."""
    async with world(target, folder, **options) as made, made.worker():
        yield made


async def cause_of(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    """Return the ApplicationError with which a workflow fails."""
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def cancelled(handle: WorkflowHandle[Any, Any]) -> BatchJobProgress:
    """Cancel a workflow, and return what it says after its end."""
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    progress: BatchJobProgress = await handle.query(RunBatchJob.progress)
    assert progress == await read_progress(handle)
    return progress


async def eventually(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - what it asks knows nothing of events
            await asyncio.sleep(0.02)


# --- A job that succeeds --------------------------------------------------------------------------------------------


async def test_a_job_runs_to_its_end(target: str, tmp_path: Path) -> None:
    """Start, wait, save, clean up: one call each; the result holds the task and the path of the output."""
    async with working(target, tmp_path) as made:
        parameters: dict[str, str | None] = {"archive": "contacts", "filter": None}
        handle = await made.start(output="new/s.csv", parameters=parameters, description="Nightly")
        finished = await handle.result()
        (task,) = made.netserver.tasks.find()
        assert finished.task == TaskFacts(
            id=task.id,
            name="Export",
            state="Succeeded",
            percent=100,
            progress="",
            result="1 row",
            description="Nightly",
            file_name="export.csv",
            start_count=1,
        )
        assert finished.output == str(tmp_path / "acme" / "new" / "s.csv")
        assert (tmp_path / "acme" / "new" / "s.csv").read_bytes() == OUTPUT
        assert made.netserver.counts["StartBatchJob"] == made.netserver.counts["CleanupBatchTask"] == 1
        sent = dict(task.parameter_object or {})
        key = sent.pop("soapbatch.marker")
        assert sent == parameters
        assert key == f"{handle.id}/{handle.first_execution_run_id}"
        await check_history(handle)


async def test_progress(target: str, tmp_path: Path) -> None:
    """Query, memo and search attribute hold the phase; heartbeats hold the percent."""
    async with working(target, tmp_path) as made:
        made.netserver.define_job("Slow", duration=1e9, steps=[(40, "Reading persons"), (90, "Writing")])
        assert (await made.start()).id
        handle = await made.start("Slow", search_attribute=SEARCH_ATTRIBUTE)

        async def has_begun() -> bool:
            return (await read_progress(handle)).task.percent == 40

        await eventually(has_begun)
        progress = await read_progress(handle)
        assert (progress.phase, progress.task.progress) == ("waiting", "Reading persons")
        assert (await handle.query(RunBatchJob.progress)).phase == "waiting"
        query = f"{SEARCH_ATTRIBUTE} = 'waiting' and WorkflowId = '{handle.id}'"

        async def is_found() -> bool:
            return [found.id async for found in made.temporal.list_workflows(query)] == [handle.id]

        await eventually(is_found)
        await cancelled(handle)


async def test_progress_before_a_worker_has_begun(target: str, tmp_path: Path) -> None:
    """A workflow that no worker has seen is queueing."""
    async with world(target, tmp_path) as made:
        handle = await made.start()
        assert await read_progress(handle) == BatchJobProgress("queueing")
        await handle.terminate()


async def test_tasks_carry_the_tenant_as_fairness_key(target: str, tmp_path: Path) -> None:
    """Each activity has its tenant as its fairness key, cut to 64 bytes."""
    async with working(target, tmp_path) as made:
        handle = await made.start(tenant="æ" * 40)
        await handle.result()
        history = await handle.fetch_history()
        keys = {
            event.activity_task_scheduled_event_attributes.priority.fairness_key
            for event in history.events
            if event.HasField("activity_task_scheduled_event_attributes")
        }
        assert keys == {"æ" * 32}


async def test_workflows_of_the_application(target: str, tmp_path: Path) -> None:
    """`run_batch_job` works in sandboxed workflows, several times in one run, each with a key of its own."""
    async with working(target, tmp_path) as made:
        jobs = [BatchJob("acme", "Export", heartbeat_timeout=HEARTBEAT, max_running=n) for n in (None, 1)]
        states = await made.temporal.execute_workflow(
            TwoJobs.run, args=jobs, id=f"{made.queue}/two", task_queue=made.queue
        )
        assert states == ["Succeeded", "Succeeded"]
        keys = [(task.parameter_object or {})["soapbatch.marker"] or "" for task in made.netserver.tasks.find()]
        assert len({*keys}) == 2
        assert all(key.startswith(f"{made.queue}/two/") for key in keys)


async def test_a_timeout_of_the_application_stops_the_job(target: str, tmp_path: Path) -> None:
    """`asyncio.timeout` around `run_batch_job` cancels it, and the job is stopped before the block is left."""
    async with working(target, tmp_path) as made:
        job = BatchJob("acme", "Endless", heartbeat_timeout=HEARTBEAT)
        phases = await made.temporal.execute_workflow(
            Impatient.run, job, id=f"{made.queue}/impatient", task_queue=made.queue
        )
        assert phases == "starting waiting stopping stopped"
        assert made.netserver.counts["StopBatchJob"] == 1


async def test_before_services88(target: str, tmp_path: Path) -> None:
    """A server without CleanupBatchTask is not asked for it; without an output nothing is fetched."""
    async with working(target, tmp_path, version=ServiceVersion.V85) as made:
        finished = await (await made.start()).result()
        assert finished.output is None
        environment = ActivityEnvironment()
        async with Tenants(made.connect) as tenants:
            activities = Activities(lambda: tenants, tmp_path, QUICK)
            await environment.run(activities.cleanup, JobTask(BatchJob("acme", "Export"), "key", finished.task.id))
        assert not made.netserver.counts["CleanupBatchTask"]


# --- Outputs --------------------------------------------------------------------------------------------------------


async def test_save_is_a_callable(target: str, tmp_path: Path) -> None:
    """An async callable gets the job and the output in pieces, and returns the result. It may be called again."""
    calls: list[str] = []

    async def save(job: BatchJob, stream: AsyncIterator[bytes]) -> str:
        calls.append(job.tenant)
        if len(calls) == 1:
            raise OSError("the bucket is not there; 7T:c2VjcmV0LXRpY2tldA==")
        return f"s3://exports/{job.output}: {len(b''.join([piece async for piece in stream]))}"

    async with working(target, tmp_path, save=save) as made:
        handle = await made.start(output="s.csv", cleanup=False)
        assert (await handle.result()).output == f"s3://exports/s.csv: {len(OUTPUT)}"
        assert calls == ["acme", "acme"]
        assert not made.netserver.counts["CleanupBatchTask"]
        await check_history(handle)


async def test_an_error_of_save_keeps_its_own_details(target: str, tmp_path: Path) -> None:
    """An ApplicationError of `save=` may carry anything: the workflow ends with it, and the progress says so."""

    async def save(_: BatchJob, __: AsyncIterator[bytes]) -> str:
        raise ApplicationError("the disk is full", "/exports", type="Mine", non_retryable=True)

    async with working(target, tmp_path, save=save) as made:
        handle = await made.start(output="s.csv")
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert (caught.value.cause.type, caught.value.cause.details) == ("Mine", ("/exports",))
        await check_history(handle)


async def test_a_job_without_an_output(target: str, tmp_path: Path) -> None:
    """Nothing is written where the server has no output."""
    async with working(target, tmp_path) as made:
        finished = await (await made.start("Silent", output="s.csv")).result()
        assert finished.output is None
        assert not (tmp_path / "acme" / "s.csv").exists()


@pytest.mark.parametrize("output", ["../s.csv", "/etc/s.csv", "..", "."])
async def test_an_output_stays_in_its_folder(output: str, target: str, tmp_path: Path) -> None:
    """A path that leaves the tenant's folder is refused."""
    async with working(target, tmp_path) as made:
        handle = await made.start(output=output)
        assert (await cause_of(handle)).type == "UsageError"
        assert (await handle.query(RunBatchJob.progress)).phase == "failed"


async def test_a_tenant_stays_in_its_folder(target: str, tmp_path: Path) -> None:
    """So is a tenant whose name is a path."""
    async with working(target, tmp_path) as made:
        assert (await cause_of(await made.start(tenant="../acme", output="s.csv"))).type == "UsageError"


# --- Errors ---------------------------------------------------------------------------------------------------------


async def test_an_error_that_may_pass_is_tried_again(target: str, tmp_path: Path) -> None:
    """A retryable error leads to another attempt, after the time that the server asks for."""
    async with working(target, tmp_path) as made:
        made.netserver.intercept("AuthenticateUsernamePassword", answering(503, {"Retry-After": "1"}), times=3)
        assert (await (await made.start()).result()).task.state == "Succeeded"
        assert len(list(made.netserver.tasks.find())) == 1


async def test_an_outcome_that_stays_unknown(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start whose outcome is unknown is tried again: by its key, which shows what has become of it."""
    async with working(target, tmp_path) as made:
        made.netserver.intercept("StartBatchJob", lost_reply)
        for operation in LISTS:
            made.netserver.intercept(operation, answering(403))
        handle = await made.start()
        assert (await handle.result()).task.state == "Succeeded"
        assert made.netserver.counts["StartBatchJob"] == 1
        monkeypatch.setattr(activities_module, "_UNKNOWN_ATTEMPTS", 1)
        made.netserver.intercept("StartBatchJob", lost_reply)
        for operation in LISTS:
            made.netserver.intercept(operation, answering(403), times=None)
        assert (await cause_of(await made.start())).type == "StartOutcomeUnknown"


async def test_errors_of_connect(target: str, tmp_path: Path) -> None:
    """What `connect` raises is told without secrets and without causes, and tried again."""
    async with world(target, tmp_path) as made:

        async def connect_badly(tenant: str) -> Client:
            made.connected.append(tenant)
            if len(made.connected) > 1:
                return await World.connect(made, tenant)
            raise KeyError(f"no vault for 7T:c2VjcmV0LXRpY2tldA== of {tenant}") from ValueError(PASSWORD)

        async with made.worker(SoapBatchPlugin(connect_badly, save=tmp_path, polling=QUICK)):
            handle = await made.start()
            assert (await handle.result()).task.state == "Succeeded"
            await check_history(handle)


async def test_a_wrong_password_ends_the_workflow(target: str, tmp_path: Path) -> None:
    """An error that cannot pass is not tried again."""
    async with working(target, tmp_path) as made:
        made.netserver.tickets.add_user(User(name="fleet", password="changed", associate_id=5))
        handle = await made.start()
        cause = await cause_of(handle)
        assert (cause.type, cause.non_retryable) == ("AuthenticationFailed", True)
        await check_history(handle)


@pytest.mark.parametrize(
    ("phase", "kind"), [("Start", "StartOutcomeUnknown"), ("Wait", "WaitTimeout"), ("Save", "TimeoutError")]
)
async def test_the_time_runs_out(phase: str, kind: str, target: str, tmp_path: Path) -> None:
    """`timeout` bounds the start, the wait and the rest, each: the error says what is not known then."""
    held = asyncio.Event()

    async def hold(_: Call, proceed: Proceed) -> Answer:
        await held.wait()
        return await proceed()

    async with working(target, tmp_path) as made:
        operation = {"Start": "AuthenticateUsernamePassword", "Save": "GetOutputFromBatch"}.get(phase)
        if operation is not None:
            made.netserver.intercept(operation, hold)
        handle = await made.start("Endless" if phase == "Wait" else "Export", timeout=3, output="s.csv")
        cause = await cause_of(handle)
        assert (cause.type, cause.non_retryable) == (kind, True)
        assert (await handle.query(RunBatchJob.progress)).note == cause.message
        held.set()


def test_what_an_error_becomes() -> None:
    """The type is the class's name; the text has notes and no tokens; a failed job brings its facts, and is benign."""
    busy = activities_module._application_error(ServiceBusy("busy 7T:c2VjcmV0LXRpY2tldA==", retry_after=3))
    assert (busy.type, busy.message, busy.non_retryable) == ("ServiceBusy", "busy ***", False)
    assert busy.next_retry_delay == timedelta(seconds=3)
    error = ConnectFailed("no route")
    error.add_note("it was tried twice")
    assert activities_module._application_error(error).message == "no route; it was tried twice"
    failed = activities_module._application_error(JobFailed("task 5 failed", id=5))
    assert (failed.details, failed.category) == ((TaskFacts(id=5),), ApplicationErrorCategory.BENIGN)
    mine = ApplicationError("mine", type="Mine")
    assert activities_module._application_error(mine) is mine


# --- Cancellation ---------------------------------------------------------------------------------------------------


async def test_cancelled_in_the_wait(target: str, tmp_path: Path) -> None:
    """To cancel the workflow stops the job, once, and tells what became of it."""
    async with working(target, tmp_path) as made:
        handle = await made.start("Endless")
        await made.until_running()
        progress = await cancelled(handle)
        assert (progress.phase, progress.task.state, progress.note) == ("stopped", "Failed", None)
        assert made.netserver.counts["StopBatchJob"] == 1
        await check_history(handle)


async def test_cancelled_while_the_start_is_under_way(target: str, tmp_path: Path) -> None:
    """The start is finished nevertheless: its id tells what to stop."""
    arrived, cancelling = asyncio.Event(), asyncio.Event()

    async def hold(_: Call, proceed: Proceed) -> Answer:
        arrived.set()
        await cancelling.wait()
        return await proceed()

    async with working(target, tmp_path) as made:
        made.netserver.intercept("StartBatchJob", hold)
        handle = await made.start("Endless")
        await arrived.wait()
        ending = asyncio.ensure_future(cancelled(handle))
        await asyncio.sleep(HEARTBEAT + 0.5)
        cancelling.set()
        progress = await ending
        assert (progress.phase, progress.task.state) == ("stopped", "Failed")
        assert made.netserver.counts["StopBatchJob"] == made.netserver.counts["StartBatchJob"] == 1


async def test_cancelled_before_anything_was_sent(target: str, tmp_path: Path) -> None:
    """Where no attempt has started the job, it is looked for until `settle` has passed."""
    async with world(target, tmp_path) as made:
        handle = await made.start("Endless", settle=3)
        first = made.worker(no_remote_activities=True)
        async with first:
            await asyncio.sleep(0.5)
            await handle.cancel()
            await asyncio.sleep(0.5)
        async with made.worker():
            progress = await cancelled(handle)
        assert (progress.phase, progress.note) == ("stopped", "the job was not started")
        assert not made.netserver.counts["StartBatchJob"]


async def test_cancelled_while_the_output_is_saved(target: str, tmp_path: Path) -> None:
    """A job that has ended is not stopped."""
    saving = asyncio.Event()

    async def save(_: BatchJob, __: AsyncIterator[bytes]) -> None:
        saving.set()
        await asyncio.Event().wait()

    async with working(target, tmp_path, save=save) as made:
        handle = await made.start(output="s.csv")
        await saving.wait()
        progress = await cancelled(handle)
        assert (progress.phase, progress.task.state) == ("stopped", "Succeeded")
        assert not made.netserver.counts["StopBatchJob"]


async def test_a_job_that_cannot_be_stopped(target: str, tmp_path: Path) -> None:
    """The report says why the job runs on."""
    async with working(target, tmp_path) as made:
        handle = await made.start("Stubborn")
        await made.until_running()
        progress = await cancelled(handle)
        assert progress.task.state == "Started"
        assert "CannotCancel" in (progress.note or "")
        assert not made.netserver.counts["StopBatchJob"]


async def run_stop(made: World, id: int | None = None) -> StoppedJob:
    """Run the activity `soapbatch.stop` for a task, or for one that is started first."""
    async with await made.connect("acme") as client:
        task = JobTask(BatchJob("acme", "Endless"), "key", id or (await client.jobs.start("Endless")).id)
    async with Tenants(made.connect) as tenants:
        activities = Activities(lambda: tenants, made.folder, QUICK)
        stopped: StoppedJob = await ActivityEnvironment().run(activities.stop, task)
        return stopped


async def test_a_job_whose_id_is_not_known(target: str, tmp_path: Path) -> None:
    """A job that an attempt without an answer has started is found by its key, and stopped."""
    async with world(target, tmp_path) as made, Tenants(made.connect) as tenants:
        async with tenants.client("acme") as client:
            started = await client.jobs.start("Endless", key="a key")
        task = JobTask(BatchJob("acme", "Endless"), "a key")
        stopped = await ActivityEnvironment().run(Activities(lambda: tenants, tmp_path, QUICK).stop, task)
        assert (stopped.task.id, stopped.task.state) == (started.id, "Failed")


async def test_the_job_ends_before_it_can_be_stopped(target: str, tmp_path: Path) -> None:
    """A job that ends while StopBatchJob is under way is reported as it has ended."""
    async with world(target, tmp_path) as made:

        async def end_first(_: Call, proceed: Proceed) -> Answer:
            await until(lambda: all(task.has_ended for task in made.netserver.tasks.find()))
            return await proceed()

        made.netserver.define_job("Endless", duration=10)
        made.netserver.intercept("StopBatchJob", end_first)
        stopped = await run_stop(made)
        assert stopped.task.state == "Succeeded"
        assert stopped.note == "the server did not stop it"


async def test_the_task_is_gone(target: str, tmp_path: Path) -> None:
    """A task that the server has forgotten is reported as gone: before the stop, and after it."""
    async with world(target, tmp_path) as made:

        async def forget(call: Call, proceed: Proceed) -> Answer:
            answer = await proceed()
            made.netserver.tasks.delete(call.arguments["id"])
            return answer

        stopped = await run_stop(made, id=99)
        assert stopped.task == TaskFacts(id=99, name="Endless")
        assert "99" in (stopped.note or "")
        made.netserver.intercept("StopBatchJob", forget)
        stopped = await run_stop(made)
        assert stopped.task.state in {"New", "Aquired", "Started"}
        assert "know" in (stopped.note or "")


async def test_the_stop_fails(target: str, tmp_path: Path) -> None:
    """Where the stop itself fails, the report says that the job may still run."""
    async with working(target, tmp_path) as made:
        handle = await made.start("Endless")
        await made.until_running()
        made.netserver.intercept("StopBatchJob", answering(403))
        progress = await cancelled(handle)
        assert (progress.phase, progress.task.id) == ("stopped", 1)
        assert (progress.note or "").startswith("it may still run: ")


# --- Workers that stop, or lose their time --------------------------------------------------------------------------


async def test_a_worker_is_shut_down_in_the_wait(target: str, tmp_path: Path) -> None:
    """The next worker goes on, without a heartbeat timeout in between; nothing is started again."""
    async with world(target, tmp_path) as made:
        handle = await made.start("Export", heartbeat_timeout=60)
        made.netserver.define_job("Export", duration=60, output=OUTPUT)
        async with made.worker():
            await made.until_running()
        async with made.worker():
            assert (await handle.result()).task.state == "Succeeded"
        assert made.netserver.counts["StartBatchJob"] == 1
        assert made.connected == ["acme", "acme"]


async def test_an_attempt_whose_time_is_over_sends_nothing_more(target: str, tmp_path: Path) -> None:
    """An attempt that another one has replaced does not go on to send StartBatchJob."""
    environment = ActivityEnvironment()
    logging_in = asyncio.Event()

    async def hold(_: Call, proceed: Proceed) -> Answer:
        logging_in.set()
        await asyncio.sleep(0.2)
        return await proceed()

    async with world(target, tmp_path) as made, Tenants(made.connect) as tenants:
        made.netserver.intercept("AuthenticateUsernamePassword", hold)
        activities = Activities(lambda: tenants, tmp_path, QUICK)
        running = asyncio.ensure_future(environment.run(activities.start, JobTask(BatchJob("acme", "Export"), "key")))
        await logging_in.wait()
        environment.cancel(cancellation_details=activity.ActivityCancellationDetails(timed_out=True))
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.5)
        assert not made.netserver.counts["StartBatchJob"]


# --- Slots ----------------------------------------------------------------------------------------------------------


async def test_at_most_n_jobs_of_a_tenant(target: str, tmp_path: Path) -> None:
    """Six jobs with `max_running=2`: never more than two run, and all of them end. Others do not count."""
    async with working(target, tmp_path) as made:
        handles = [await made.start(max_running=2, tenant=f"{made.queue}/a") for _ in range(6)]
        free = await made.start(tenant=f"{made.queue}/b")
        most = 0

        async def have_ended() -> bool:
            nonlocal most
            tasks = [*made.netserver.tasks.find()]
            most = max(most, sum(not task.has_ended for task in tasks))
            return len(tasks) == 7 and all(task.has_ended for task in tasks)

        await eventually(have_ended)
        assert most <= 3  # one of them is free
        for handle in [*handles, free]:
            assert (await handle.result()).task.state == "Succeeded"


async def test_a_slot_of_a_terminated_workflow(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that was terminated loses its slot; a waiter that was cancelled or terminated never gets one."""
    monkeypatch.setattr(slots_module, "RECHECK", timedelta(seconds=1))
    async with working(target, tmp_path) as made:
        tenant = f"{made.queue}/c"
        holder = await made.start("Endless", max_running=1, tenant=tenant)
        await made.until_running()
        leaver = await made.start(max_running=1, tenant=tenant)
        lost = await made.start(max_running=1, tenant=tenant)
        waiter = await made.start(max_running=1, tenant=tenant)
        slots = made.temporal.get_workflow_handle(f"soapbatch/slots/{tenant}")

        async def all_wait() -> bool:
            return len((await slots.query(TenantSlots.slots)).waiting) == 3

        await eventually(all_wait)
        assert (await cancelled(leaver)).note == "the job was not started"
        await lost.terminate()
        await holder.terminate()
        assert (await waiter.result()).task.state == "Succeeded"
        assert made.netserver.counts["StartBatchJob"] == 2
        await slots.result()  # nobody needs it any more
        assert (await (await made.start(max_running=1, tenant=tenant)).result()).task.state == "Succeeded"


async def test_slots_continue_as_new(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history that has grown long is left behind; holders and waiters go along."""
    async with working(target, tmp_path) as made:
        suggested = iter([False, True])
        monkeypatch.setattr(slots_module, "_is_history_long", lambda: next(suggested, False))
        tenant = f"{made.queue}/d"
        handles = [await made.start(max_running=1, tenant=tenant) for _ in range(3)]
        for handle in handles:
            assert (await handle.result()).task.state == "Succeeded"


async def test_a_request_that_comes_twice(target: str, tmp_path: Path) -> None:
    """An attempt of `soapbatch.acquire` that is repeated does not take two slots."""
    async with working(target, tmp_path) as made:
        tenant = f"{made.queue}/e"
        holder = await made.start("Endless", max_running=2, tenant=tenant)
        await made.until_running()
        slots = made.temporal.get_workflow_handle(f"soapbatch/slots/{tenant}")
        (request,) = (await slots.query(TenantSlots.slots)).holders
        await slots.signal(TenantSlots.acquire, request)
        assert await slots.query(TenantSlots.slots) == Slots(2, [request])
        await cancelled(holder)


async def test_the_workflow_of_the_slots_is_gone(target: str, tmp_path: Path) -> None:
    """A job that gives its slot back to nobody ends well."""
    async with working(target, tmp_path) as made:
        tenant = f"{made.queue}/f"
        handle = await made.start(max_running=1, tenant=tenant)
        await made.until_running()
        await made.temporal.get_workflow_handle(f"soapbatch/slots/{tenant}").terminate()
        assert (await handle.result()).task.state == "Succeeded"


async def test_holders_are_looked_at(target: str, tmp_path: Path) -> None:
    """A workflow that runs keeps its slot, an unknown one does not; an error of the server is raised."""
    async with world(target, tmp_path) as made:
        handle = await made.start()
        running = SlotRequest("acme", 1, handle.id, handle.first_execution_run_id or "", "running")
        unknown = SlotRequest("acme", 1, "nobody", str(uuid.uuid4()), "unknown")
        environment = ActivityEnvironment(made.temporal)
        assert await environment.run(closed_holders, [running, unknown]) == ["unknown"]
        with pytest.raises(RPCError):
            await environment.run(closed_holders, [dataclasses.replace(unknown, run_id="not a run")])
        await handle.terminate()


# --- The plugin -----------------------------------------------------------------------------------------------------


async def test_one_plugin_for_two_workers(target: str, tmp_path: Path) -> None:
    """Workers of one process share the clients of their tenants, which are closed after the last one."""
    async with world(target, tmp_path) as made:
        plugin = made.plugin()
        async with made.worker(plugin):
            async with made.worker(plugin, task_queue=f"{made.queue}-other"):
                pass
            await (await made.start()).result()
            assert plugin._tenants.open == ["acme"]
        assert plugin._tenants.open == []
        async with made.worker(plugin):
            await (await made.start()).result()
        assert made.connected == ["acme", "acme"]


async def test_room_for_waits(target: str, tmp_path: Path) -> None:
    """A worker takes many activities, unless the application says how many."""
    async with world(target, tmp_path) as made:
        config: dict[str, Any] = {"client": made.temporal}
        plugin = made.plugin()
        assert plugin.configure_worker({**config})["max_concurrent_activities"] == MAX_ACTIVITIES  # type: ignore[typeddict-item] # part of one
        assert plugin.configure_worker({**config, "max_concurrent_activities": 3})["max_concurrent_activities"] == 3  # type: ignore[typeddict-item] # part of one
        fixed = WorkerTuner.create_fixed()
        assert "max_concurrent_activities" not in plugin.configure_worker({**config, "tuner": fixed})  # type: ignore[typeddict-item] # part of one


async def test_without_the_sandbox(target: str, tmp_path: Path) -> None:
    """Another runner of workflows is left as it is."""
    async with world(target, tmp_path) as made, made.worker(workflow_runner=UnsandboxedWorkflowRunner()):
        assert (await (await made.start()).result()).task.state == "Succeeded"


def test_save_is_checked() -> None:
    """`save=` is a callable or a path."""

    async def connect_nothing(_: str) -> Client:
        raise AssertionError

    with pytest.raises(UsageError, match="save= is"):
        SoapBatchPlugin(connect_nothing, save=5)  # type: ignore[arg-type] # that is the test


def test_keys() -> None:
    """A key is text that servers keep: short, printable, without blanks around it."""
    assert make_key("acme/export", "run") == "acme/export/run"
    assert make_key("acme\nexport ", "run", "5") == "acme?export/run/5"
    assert make_key("\n" * 3, "run") == "???/run"
    assert make_key(" ", "run") == "run"
    assert len(make_key("x" * 1000, str(uuid.uuid4()), "12345678")) <= 200
