"""A client and an embedded server in one process, on one virtual clock: what the tests of the jobs layer stand on."""

import asyncio
import contextlib
import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import attrs
import httpx

from soapbatch import BatchTaskInfo, Client, Retries
from soapbatch.jobs.job import Job
from soapbatch.testing import NetServer
from tests.support.time_limits import run_virtual

P = ParamSpec("P")
T = TypeVar("T")

EPOCH = datetime(2024, 5, 1, tzinfo=UTC)
ONCE = Retries(attempts=1)


@attrs.frozen
class World:
    """An embedded server and a client of it; `client` repeats nothing by itself, so that calls can be counted."""

    server: NetServer
    http: httpx.AsyncClient
    client: Client

    @property
    def now(self) -> float:
        """The seconds since the world began."""
        return asyncio.get_running_loop().time()

    @property
    def reads(self) -> int:
        """How many calls read tasks so far."""
        return sum(count for name, count in self.server.counts.items() if name.startswith("Get"))

    def other_client(self, **options: Any) -> Client:
        """Return another client of the server; the caller closes it."""
        defaults: dict[str, Any] = {"http_client": self.http, "retries": ONCE}
        if "credentials" not in options:
            defaults["ticket"] = self.server.tickets.issue()
        return Client("http://127.0.0.1", **(defaults | options))

    def tasks(self) -> list[BatchTaskInfo]:
        """Return every task that the server has."""
        return list(self.server.tasks.find())


@contextlib.asynccontextmanager
async def world() -> AsyncGenerator[World]:
    """Begin a world in the running loop."""
    server = NetServer(clock=asyncio.get_running_loop().time, epoch=EPOCH)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http:
        ticket = server.tickets.issue()
        async with Client("http://127.0.0.1", ticket=ticket, http_client=http, retries=ONCE) as client:
            yield World(server, http, client)


def in_world(test: Callable[Concatenate[World, P], Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Return `test` as a plain function that runs it in a world of its own, where it must leave no task behind."""

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
    """Start a job that is defined like this."""
    world.server.define_job("Job", **definition)
    return await world.client.jobs.start("Job")


@types.coroutine
def cancelled_at(step: int, work: Coroutine[Any, Any, T], counted: list[int]) -> Generator[Any, Any, T]:
    """Await `work` in the current task, and cancel that at its await number `step`; `counted` gets each number."""
    awaiting = work.__await__()
    value: Any = None
    error: BaseException | None = None
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
        try:
            value = yield future
        except BaseException as thrown:  # noqa: BLE001 - handed on to `work`
            error = thrown
