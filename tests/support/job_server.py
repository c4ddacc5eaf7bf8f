"""A client and an embedded server in one process, on one virtual clock, for the tests of the jobs wing."""

import asyncio
import contextlib
import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import attrs
import httpx

from soapbatch import BatchTaskInfo, Binding, Client, Retries
from soapbatch.jobs.job import Job
from soapbatch.testing import Answer, Call, Interceptor, NetServer, TaskStore, run_virtual
from soapbatch.testing.interceptors import Proceed

P = ParamSpec("P")
T = TypeVar("T")

ChangeList: TypeAlias = Callable[[Iterator[BatchTaskInfo], Mapping[str, Any]], Iterable[BatchTaskInfo]]
"""Takes the tasks that a list would show, and the list's filters; returns the tasks that the list shows."""

EPOCH = datetime(2024, 5, 1, tzinfo=UTC)
ONCE = Retries(attempts=1)


@attrs.frozen
class World:
    """An embedded server and a client of it. `client` does not retry, so that tests can count calls."""

    server: NetServer
    http: httpx.AsyncClient
    client: Client

    @property
    def now(self) -> float:
        """The seconds since the start of the virtual clock."""
        return asyncio.get_running_loop().time()

    @property
    def reads(self) -> int:
        """How many calls have read tasks so far."""
        return sum(count for name, count in self.server.counts.items() if name.startswith("Get"))

    def other_client(self, **options: Any) -> Client:
        """Return another client of the server; the caller closes it."""
        defaults: dict[str, Any] = {"http_client": self.http, "retries": ONCE}
        if "credentials" not in options:
            defaults["ticket"] = self.server.tickets.issue()
        return Client("http://127.0.0.1", **(defaults | options))

    def tasks(self) -> list[BatchTaskInfo]:
        """Return every task that the server has."""
        return list(TaskStore.find(self.server.tasks))

    def change_lists(self, change: ChangeList) -> None:
        """Let lists show what `change` makes of the tasks. `tasks` still returns every task."""
        store = self.server.tasks
        find = store.find

        def find_changed(**filters: Any) -> Iterator[BatchTaskInfo]:
            return iter(list(change(find(**filters), filters)))

        kind = type("ChangedStore", (type(store),), {"__slots__": (), "find": staticmethod(find_changed)})
        store.__class__ = kind  # a subclass of its own class

    def state(self, job: Job) -> object:
        """Return the state of a job on the server; None: the server does not know it."""
        info = self.server.tasks.read(job.id)
        return info and info.state


@contextlib.asynccontextmanager
async def world() -> AsyncGenerator[World]:
    """Make a server and a client in the running loop."""
    server = NetServer(clock=asyncio.get_running_loop().time, epoch=EPOCH)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http:
        ticket = server.tickets.issue()
        async with Client(
            "http://127.0.0.1", ticket=ticket, binding=Binding.DOCUMENTED, http_client=http, retries=ONCE
        ) as client:
            yield World(server, http, client)


def in_world(test: Callable[Concatenate[World, P], Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Return `test` as a plain function that runs it with its own server and client; it must leave no asyncio task."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def live() -> None:
            async with world() as made:
                await test(made, *args, **kwargs)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, f"the test left {len(left)} task(s) behind: {left}"

        run_virtual(live())

    signature = inspect.signature(test)
    parameters = list(signature.parameters.values())[1:]  # pytest takes the others for fixtures and cases
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # functions have one
    return run


async def started(world: World, **definition: Any) -> Job:
    """Start a job with this definition."""
    world.server.define_job("Job", **definition)
    return await world.client.jobs.start("Job")


def slowly(trouble: Interceptor | None) -> Interceptor:
    """Return an interceptor that waits before and after `trouble`, so that the call can be cancelled at both times."""

    async def intercept(call: Call, proceed: Proceed) -> Answer:
        await asyncio.sleep(0.1)
        try:
            return await (trouble(call, proceed) if trouble else proceed())
        finally:
            await asyncio.sleep(0.1)

    return intercept


@types.coroutine
def cancelled_at(step: int, work: Coroutine[Any, Any, T], counted: list[int]) -> Generator[Any, Any, T]:
    """Await `work` in the current asyncio task, and cancel it at await number `step`; count awaits in `counted`."""
    awaiting = work.__await__()
    value: Any = None
    error: BaseException | None = None
    with contextlib.ExitStack() as stack:
        while True:
            try:
                future = awaiting.throw(error) if error is not None else awaiting.send(value)
            except StopIteration as stop:
                result: T = stop.value
                return result
            value = error = None
            counted.append(len(counted) + 1)
            if len(counted) == step:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                # Before Python 3.11.4 asyncio.timeout takes a request that was served for one that still stands.
                stack.callback(task.uncancel)
            try:
                value = yield future
            except BaseException as thrown:  # noqa: BLE001 - handed on to `work`
                error = thrown
