"""`client.jobs`: start batch jobs, attach to them, run one for the length of a block, and handle many at once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, Required, TypedDict

from soapbatch.calls import BatchAgent, BlobAgent, JobHook
from soapbatch.errors import JobError, SoapBatchError
from soapbatch.jobs.block_end import abandon_start, stop_or_note, stop_unless_over
from soapbatch.jobs.bulk import delete_tasks, stop_tasks
from soapbatch.jobs.checks import require, require_count, require_seconds, task_id
from soapbatch.jobs.concurrency import for_each_limited, gather_or_cancel
from soapbatch.jobs.events import JobEvents
from soapbatch.jobs.job import POLLING, WAIT_TIMEOUT, Job, JobContext, OnProgress, check_wait
from soapbatch.jobs.listing import TaskFilter, list_tasks
from soapbatch.jobs.marker import Key, Marker
from soapbatch.jobs.outcome import Failure, Outcome, Outcomes, Success, raise_errors
from soapbatch.jobs.poller import Poller
from soapbatch.jobs.reference import JobReference, same_server
from soapbatch.jobs.schedule import Polling
from soapbatch.jobs.search import Known, Search
from soapbatch.jobs.start import SETTLE, IfRunning, StartRequest, start_task
from soapbatch.model import BatchTaskInfo, BatchTaskState, ReplyHeader, ServiceVersion
from soapbatch.operations import START_BATCH_JOB
from soapbatch.system import cancel_and_wait, closing_inside, run_to_completion

STOP_TIMEOUT: Final = 10.0
"""The default `stop_timeout` of `Jobs.run`, in seconds."""


class StartSpec(TypedDict, total=False):
    """The arguments of one start, as a dictionary: what `Jobs.start_many` takes. `Jobs.start` documents each."""

    name: Required[str]
    parameters: Mapping[str, str | None] | None
    description: str | None
    key: str | None
    maybe_sent: bool
    marker: Marker | None
    resend: bool
    settle: float
    if_running: IfRunning
    timeout: float | None
    on_header: Callable[[ReplyHeader], None] | None


class Jobs:
    """The batch jobs of a server. A method that takes several jobs takes handles and ids alike."""

    def __init__(
        self,
        batch: BatchAgent,
        blob: BlobAgent,
        version: ServiceVersion,
        server: str = "",
        *,
        shortest_poll: float = 0.0,
        polls: BatchAgent | None = None,
        on_job: JobHook | None = None,
    ) -> None:
        """Work through these agents. No I/O.

        Args:
            batch: for tasks.
            blob: for output.
            version: of the services.
            server: the base URL, or the name of the tenant; what references of jobs say.
            shortest_poll: the least of `Polling.floor`, whatever a wait says.
            polls: for the readings of waits; None: `batch`.
            on_job: called with what happens to jobs.
        """
        self._events = JobEvents(on_job, version)
        poller = Poller(polls or batch, self._events, shortest_poll=shortest_poll)
        self._context = JobContext(batch, blob, version, server, poller, Known())

    def attach(self, job: int | JobReference) -> Job:
        """Return a handle on a task that any process has started. Sends nothing.

        Raises:
            UsageError: `job` is neither a task's id nor a reference, or it refers to a job of another server.
        """
        if isinstance(job, JobReference):
            server = self._context.server
            require(
                same_server(job.server, server),
                f"the reference is to a job of {job.server}, and this client is one of {server}",
            )
            return Job(job.id, self._context, key=job.key)
        return Job(task_id(job), self._context)

    async def start(
        self,
        name: str,
        *,
        parameters: Mapping[str, str | None] | None = None,
        description: str | None = None,
        key: str | None = None,
        maybe_sent: bool = False,
        marker: Marker | None = None,
        resend: bool = False,
        settle: float = SETTLE,
        if_running: IfRunning = "start",
        timeout: float | None = None,  # noqa: ASYNC109 - StartOutcomeUnknown says what a caller's own cannot
        on_header: Callable[[ReplyHeader], None] | None = None,
    ) -> Job:
        """Start a job and return a handle on it.

        StartBatchJob is never sent again before it is proven that nothing was started. If its answer is lost and the
        start has a marker, the tasks of the job are listed to find out what happened; this may take `settle` seconds
        and somewhat more. If the service fails with an error whose `applied` is "unknown", the same is done, mostly
        within two seconds. If the start is cancelled, the job may have been started, and the library does not find
        out; with a marker, DEBUG records of logger `soapbatch` say what to look for.

        A key from outside lets another process, or a later attempt, find the task:

            job = await client.jobs.start(name, key="acme/nightly/2026-11-26", maybe_sent=attempt > 1)

        A key stands for one start for good: the handle may be on a task that has ended long ago, well or badly. What a
        key cannot do: it does not find a task that the server has forgotten, as servers do with finished tasks; and it
        does not hold up a process that stalled before it sent its request, and that sends it long after another one
        took over. Then two jobs run, until one of the processes sees the other's task: it keeps the one with the lowest
        id and stops the other. A server whose lists show no tasks at all makes keys useless; a warning is logged.

        Args:
            name: the name of a job that is defined on the server.
            parameters: the job's parameters, as the job defines them.
            description: a text for people; at most 254 characters, the marker included.
            key: text that only this start has: 1 to 200 characters, without blanks around it. The task carries it where
                `marker` says: the job sees another parameter, or a text at the end of its description.
            maybe_sent: an earlier attempt, also of another process, may have sent a start with this key. The tasks of
                the job are listed first, for `settle` seconds if they do not show the key, and StartBatchJob is sent
                only then. Without it nothing is listed before: it costs no call.
            marker: where the task carries a key, so that it can be found if the answer is lost. None: nowhere; or, with
                `key`, in the parameters. A start without `key` makes one of its own.
            resend: whether to send StartBatchJob once more, if the answer was lost and it is proven that nothing was
                started. Needs a marker.
            settle: seconds after which neither the server nor a proxy still works on a lost request.
            if_running: what to do if a job of that name has not ended: start another one, attach to the newest one,
                or fail. The library first looks for such a job and then starts one: two callers who do so at the same
                time may both start one.
            timeout: seconds for the whole start: StartBatchJob, and all lists before and after it. None: no limit, but
                the client's own timeout for each call.
            on_header: called with the header blocks of the answer to StartBatchJob.

        Raises:
            StartOutcomeUnknown: nothing proves whether the job was started: its answer, or an earlier attempt, left
                no trace in lists that could be relied on. `key`, `marker` and the message say what to look for.
            JobRunning: a job of that name has not ended, and `if_running` is "fail".
            TransportError, ProtocolError: the job was not started (`applied` is "no").
            ServiceError: the service failed or refused. With a marker `applied` is "no"; without one it may be
                "unknown".
            UsageError: an argument is wrong; nothing was sent.
        """
        request = StartRequest(
            name=name,
            parameters=parameters,
            description=description,
            key=key,
            maybe_sent=maybe_sent,
            marker=marker,
            resend=resend,
            settle=settle,
            if_running=if_running,
            timeout=timeout,
            on_header=on_header,
        )
        return await self._start(request)

    async def start_many(
        self, specs: Iterable[StartSpec | str], *, at_once: int = 5, raise_group: bool = False
    ) -> Outcomes[Job]:
        """Start jobs, some at a time. Return one outcome each, in order: the handle, or the error of `start`.

            await client.jobs.start_many({"name": name, "key": f"{tenant}/{day}"} for tenant in tenants)

        Args:
            specs: for each start its arguments, or only the name of the job.
            at_once: how many starts may be under way at the same time.
            raise_group: whether to raise an ExceptionGroup with the errors, if there are any.

        Raises:
            UsageError: an argument of a start is wrong; nothing was sent.
        """
        require_count("at_once", at_once)
        requests = [_request_of(spec) for spec in specs]
        outcomes: dict[int, Outcome[Job]] = {}

        async def start(number: int) -> None:
            try:
                job = await self._start(requests[number])
                outcomes[number] = Success(id=job.id, result=job)
            except SoapBatchError as error:
                outcomes[number] = Failure(id=error.id if isinstance(error, JobError) else None, error=error)

        await for_each_limited(start, range(len(requests)), at_once)
        found = [outcomes[number] for number in range(len(requests))]
        if raise_group:
            raise_errors(found, "started")
        return found

    async def find(self, name: str, key: str) -> Job | None:
        """Return a handle on the task of the job `name` that was started with `key`, or None if lists show none.

        If there are several, it is the one with the lowest id. None proves nothing: the request may still be on its
        way, the server may have forgotten the task, or its lists may not show keys. A start with `maybe_sent` looks
        longer.
        """
        request = StartRequest(name=name, key=key)
        ids = await Search(self._context.batch, request.name, Key(key), self._context.known).read()
        if not ids:
            return None
        return Job(ids[0], self._context, name=name, key=key, existed_at=asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def run(
        self,
        name: str,
        *,
        parameters: Mapping[str, str | None] | None = None,
        description: str | None = None,
        key: str | None = None,
        maybe_sent: bool = False,
        marker: Marker | None = None,
        resend: bool = False,
        settle: float = SETTLE,
        if_running: Literal["start", "fail"] = "start",
        timeout: float | None = None,  # noqa: ASYNC109 - handed on to `start`
        on_header: Callable[[ReplyHeader], None] | None = None,
        stop_timeout: float = STOP_TIMEOUT,
    ) -> AsyncGenerator[Job, None]:
        """Start a job for the length of a block. Leaving the block stops the job, unless it is known to have ended.

            async with client.jobs.run("ExportArchiveBatchPlugin") as job:
                info = await job.wait()

        Known is what the handle has seen (`job.is_over`). A cancellation does not interrupt the stop, nor a start
        that is under way: it is raised afterwards. The stop counts as confirmed (CancelWithWarning), but a job that
        says CannotCancel runs on. If the job cannot be stopped, an exception that leaves the block gets a note; a
        block without an exception raises the error of the stop.

        Args:
            name: see `start`, as for each argument that is not explained here.
            parameters: see `start`.
            description: see `start`.
            key: see `start`.
            maybe_sent: see `start`.
            marker: see `start`.
            resend: see `start`.
            settle: see `start`.
            if_running: what to do if a job of that name has not ended: start another one, or fail. There is no
                "attach": leaving the block would stop a job that somebody else has started.
            timeout: seconds for the start, not for the block.
            on_header: see `start`.
            stop_timeout: seconds that the stop may take.
        """
        require(if_running in ("start", "fail"), "if_running is 'start' or 'fail' here")
        require_seconds("stop_timeout", stop_timeout)
        request = StartRequest(
            name=name,
            parameters=parameters,
            description=description,
            key=key,
            maybe_sent=maybe_sent,
            marker=marker,
            resend=resend,
            settle=settle,
            if_running=if_running,
            timeout=timeout,
            on_header=on_header,
        )
        starting = asyncio.ensure_future(self._start(request))
        try:
            await asyncio.wait([starting])
        except asyncio.CancelledError as error:
            await run_to_completion(abandon_start(starting, request.shown_name, stop_timeout, error))
            raise
        job = starting.result()
        try:
            yield job
        except BaseException as error:
            await run_to_completion(stop_or_note(job, stop_timeout, error))
            raise
        await run_to_completion(stop_unless_over(job, stop_timeout))

    async def list(
        self,
        *,
        state: BatchTaskState | str | None = None,
        name: str | None = None,
        owner: int | Iterable[int] | None = None,
        finished: bool | None = None,
    ) -> AsyncGenerator[BatchTaskInfo, None]:
        """Yield tasks while the answer arrives, in constant memory. Without a filter: those of users and the system.

            async for info in client.jobs.list(name="ExportArchiveBatchPlugin", finished=False):
                job = client.jobs.attach(info.id)

        The operation that suits the filters and the service version is called. What it does not filter is filtered
        here.

        Args:
            state: only tasks in this state.
            name: only tasks of this job.
            owner: only tasks of this associate, or of these; or ALL_USER_TASKS, or SYSTEM_TASKS.
            finished: True: only tasks that have ended; False: only tasks that have not.

        Raises:
            UsageError: an argument is wrong; an empty list of owners would mean "all" by accident.
        """
        ids = owner if owner is None or isinstance(owner, Iterable) else (owner,)
        owners = ids if ids is None or isinstance(ids, tuple) else tuple(ids)
        wanted = TaskFilter(state=state, name=name, owner=owners, finished=finished)
        async with closing_inside(list_tasks(self._context.batch, self._context.version, wanted)) as tasks:
            async for info in tasks:
                if info.id is not None:
                    self._context.known.saw(info.id)
                yield info

    async def wait_all(
        self,
        jobs: Iterable[Job | int],
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - handed on to Job.wait
        on_progress: OnProgress | None = None,
        polling: Polling = POLLING,
        raise_group: bool = False,
    ) -> Outcomes[BatchTaskInfo]:
        """Wait for all these jobs. Return one outcome each, in order: the finished task, or the error of `Job.wait`.

        Args:
            jobs: the jobs to wait for.
            timeout: seconds for all of them together; None: no limit.
            on_progress: called after each change of each job; what it raises ends all waits.
            polling: how often to read.
            raise_group: whether to raise an ExceptionGroup with the errors, if there are any.
        """
        check_wait(timeout, polling, on_progress)

        async def wait(job: Job) -> Outcome[BatchTaskInfo]:
            return await _wait_outcome(job, timeout, on_progress, polling)

        outcomes = await gather_or_cancel(map(wait, self._handles(jobs)))
        if raise_group:
            raise_errors(outcomes, "waited for")
        return outcomes

    async def as_finished(
        self,
        jobs: Iterable[Job | int],
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - handed on to Job.wait
        on_progress: OnProgress | None = None,
        polling: Polling = POLLING,
    ) -> AsyncGenerator[Outcome[BatchTaskInfo], None]:
        """Yield the outcome of each of these jobs as soon as it is known. Arguments: see `wait_all`.

        If the consumer leaves the loop early, the waits end when the generator is closed: `contextlib.aclosing`
        closes it at once.
        """
        check_wait(timeout, polling, on_progress)
        finished: asyncio.Queue[asyncio.Task[Outcome[BatchTaskInfo]]] = asyncio.Queue()
        tasks = [asyncio.create_task(_wait_outcome(job, timeout, on_progress, polling)) for job in self._handles(jobs)]
        try:
            for task in tasks:
                task.add_done_callback(finished.put_nowait)
            for _ in tasks:
                yield (await finished.get()).result()
        finally:
            await cancel_and_wait(tasks)

    async def delete_many(self, ids: Iterable[Job | int], *, raise_group: bool = False) -> Outcomes[bool]:
        """Delete tasks, 100 in one call and four such calls at a time. Return one outcome for each id, in order.

        If the server refuses a chunk, for which one unknown id may be enough, its halves are tried, down to single
        ids. The outcome of a task that was gone already is JobGone. If the server refuses the caller, or if the answer
        to a chunk is lost, each id of the chunk has that error and nothing is tried again; after a lost answer
        `applied` is "unknown".

        Args:
            ids: the tasks to delete. A repeated id is deleted once and reported each time.
            raise_group: whether to raise an ExceptionGroup with the errors, if there are any.
        """
        outcomes = await delete_tasks(self._context.batch, [job.id for job in self._handles(ids)])
        if raise_group:
            raise_errors(outcomes, "deleted")
        return outcomes

    async def stop_many(
        self, ids: Iterable[Job | int], *, force: bool = False, confirm: bool = False, raise_group: bool = False
    ) -> Outcomes[bool]:
        """Ask the server to stop jobs, eight at a time. Return one outcome for each id, in order.

        The tasks are read first, in chunks of 100, by a list if that is cheaper. The outcome is what `Job.stop`
        returns, or the error that it raises.

        Args:
            ids: the jobs to stop. A repeated id is stopped once and reported each time.
            force: ask the server whatever the tasks say, without reading them.
            confirm: the user was warned, and wants to stop tasks that say CancelWithWarning.
            raise_group: whether to raise an ExceptionGroup with the errors, if there are any.
        """
        outcomes = await stop_tasks(
            self._context.batch,
            [job.id for job in self._handles(ids)],
            read_first=self._context.has_cancellation_behaviour and not force,
            force=force,
            confirm=confirm,
        )
        if raise_group:
            raise_errors(outcomes, "stopped")
        return outcomes

    async def aclose(self) -> None:
        """End all waits with ClientClosed; jobs on the server run on. A client that is closed calls this."""
        await self._context.poller.aclose()

    async def _start(self, request: StartRequest) -> Job:
        try:
            started = await start_task(self._context.batch, self._context.known, request)
        except SoapBatchError as error:
            error.concerning(START_BATCH_JOB.name, self._context.version)
            raise
        now = asyncio.get_running_loop().time()
        since = now if started.is_new else None
        if started.is_new:
            self._events.tell("started", id=started.id, name=request.name)
        return Job(started.id, self._context, name=request.name, key=started.key, started_at=since, existed_at=now)

    def _handles(self, jobs: Iterable[Job | int]) -> Sequence[Job]:
        return [job if isinstance(job, Job) else self.attach(job) for job in jobs]


def _request_of(spec: StartSpec | str) -> StartRequest:
    """Return the request for one of the starts of `start_many`."""
    if isinstance(spec, str):
        return StartRequest(name=spec)
    names = StartSpec.__annotations__.keys()
    require(isinstance(spec, Mapping), f"a start is the name of a job, or a dictionary, not a {type(spec).__name__}")
    require("name" in spec, "a start needs a name")
    unknown = sorted(map(str, spec.keys() - names))
    require(not unknown, f"a start takes no {', '.join(unknown)}: arguments are {', '.join(sorted(names))}")
    return StartRequest(**spec)


async def _wait_outcome(
    job: Job,
    timeout: float | None,  # noqa: ASYNC109 - handed on to Job.wait
    on_progress: OnProgress | None,
    polling: Polling,
) -> Outcome[BatchTaskInfo]:
    try:
        info = await job.wait(timeout=timeout, on_progress=on_progress, polling=polling)
    except SoapBatchError as error:
        return Failure(id=job.id, error=error)
    return Success(id=job.id, result=info)
