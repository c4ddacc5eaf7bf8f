"""Cancelling at every await, thousands of times over real sockets, leaves nothing behind, and the next call works."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, Client, ClientClosed, Hooks, Retries, UsernamePassword
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE
from soapbatch.testing import NetServer
from soapbatch.testing.requests import Personality
from soapbatch.transport.pool import ConnectionPool
from tests.support.clients import names, open_files, until, upstream_of
from tests.support.fault_server import FaultServer

T = TypeVar("T")
JOB = BatchTaskInfo(name="Export")


@types.coroutine
def stepped(coroutine: Coroutine[Any, Any, T], cancel_at: range) -> Generator[Any, Any, T]:
    """Await `coroutine`, and cancel the task that does at each of the awaits whose numbers are in `cancel_at`."""
    task = asyncio.current_task()
    assert task is not None
    number = 0
    error: BaseException | None = None
    while True:
        try:
            future = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        error = None
        if number in cancel_at:
            task.cancel()
        number += 1
        try:
            yield future
        except BaseException as raised:  # noqa: BLE001 - passed on as it is
            error = raised


async def cancelled_at(coroutine: Coroutine[Any, Any, Any], cancel_at: range) -> bool:
    """Run `coroutine` in a task of its own, cancelled at those awaits; tell whether that ended it."""

    async def run() -> None:
        await stepped(coroutine, cancel_at)

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if task.cancelled():
        return True
    task.result()
    return False


@attrs.define
class World:
    """A server on a socket, what there was before a client came, and the client."""

    server: FaultServer
    netserver: NetServer
    tasks: set[asyncio.Task[Any]] = attrs.field(factory=asyncio.all_tasks)
    files: set[str] = attrs.field(factory=open_files)
    lanes: ConnectionPool = attrs.field(factory=ConnectionPool)
    _client: Client | None = None

    def client(self, **options: Any) -> Client:
        """Return the client, as it was made by the first who asked since the last was closed."""
        if self._client is None:
            if "credentials" not in options:
                options["ticket"] = self.netserver.tickets.issue()
            self.lanes = ConnectionPool(max_connections=options.pop("max_connections", 4))
            defaults: dict[str, Any] = {
                "binding": Binding.SOAP11,
                "grace": 0,
                "retries": Retries(attempts=2, first_wait=0.001),
            }
            self._client = Client(self.server.url, transport=self.lanes, **defaults | options)
        return self._client

    def check_lanes(self) -> None:
        """Show that no lane is in use and nobody waits for one."""
        assert (self.lanes._in_use, len(self.lanes._waiting)) == (0, 0)

    async def close(self) -> None:
        """Show that a call works, and after closing, that no task and no socket is left once the server took note."""
        if self._client is not None:
            await self._client.principal.get_system_info()
            await self._client.aclose()
        await self.check_closed()

    async def check_closed(self) -> None:
        """Show that no task and no socket of a closed client is left, as soon as the server has taken note."""
        self._client = None
        await until(lambda: not self.server.connections and asyncio.all_tasks() <= self.tasks)
        assert open_files() <= self.files


Scenario = Callable[[World, range], Awaitable[bool]]


async def sweep(world: World, scenario: Scenario, *, rounds: int, times: int) -> int:
    """Run `scenario` with a cancellation at its first await, its second, ... until it ends by itself; count."""
    count = 0
    for _ in range(rounds):
        number = 0
        while await scenario(world, range(number, number + times)):
            number += 1
            world.check_lanes()
        assert number, "there was nothing to cancel"
        count += number
    await world.close()
    return count


# --- Scenarios: each returns whether the cancellation ended it -------------------------------------------------------


async def a_first_call(world: World, cancel_at: range) -> bool:
    """A call that opens its connection, since the one before was cancelled."""
    return await cancelled_at(world.client().batch.get_batch_task_info(1), cancel_at)


async def a_later_call(world: World, cancel_at: range) -> bool:
    """A call over a connection that is there already."""
    client = world.client()
    assert await client.batch.get_batch_task_info(1) is not None
    return await cancelled_at(client.batch.start_batch_job(JOB), cancel_at)


async def a_queueing_call(world: World, cancel_at: range) -> bool:
    """A call that waits for the only connection; the one that has it, and another in the queue, end well."""
    client = world.client(max_connections=1)
    others = [asyncio.create_task(client.batch.get_batch_task_info(1)) for _ in range(2)]
    await asyncio.sleep(0)
    ended = await cancelled_at(client.batch.get_batch_task_info(1), cancel_at)
    await asyncio.gather(*others)
    return ended


async def a_stream(world: World, cancel_at: range) -> bool:
    """A stream that is read to its end."""

    async def read() -> None:
        count = 0
        async for _ in world.client().batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.NEW):
            count += 1
        assert count == TASKS

    return await cancelled_at(read(), cancel_at)


async def a_retry(world: World, cancel_at: range) -> bool:
    """A call that is reset once and repeated."""
    world.server.plan.append("reset-after-request")
    ended = await cancelled_at(world.client().batch.get_batch_task_info(1), cancel_at)
    world.server.plan.clear()
    return ended


async def a_renewal(world: World, cancel_at: range) -> bool:
    """A call whose ticket is refused, that logs in again and is repeated."""
    client = world.client(credentials=UsernamePassword("demo", "demo"))
    await client.batch.get_batch_task_info(1)
    world.netserver.tickets.revoke_all()
    return await cancelled_at(client.batch.get_batch_task_info(1), cancel_at)


async def a_login(world: World, cancel_at: range) -> bool:
    """A first call that logs in and finds the binding out."""
    client = world.client(credentials=UsernamePassword("demo", "demo"), binding=None)
    ended = await cancelled_at(client.batch.get_batch_task_info(1), cancel_at)
    assert await client.batch.get_batch_task_info(1) is not None
    await world.close()
    return ended


async def a_shared_login(world: World, cancel_at: range) -> bool:
    """One of three first calls that share a login and the discovery of the binding; the others end well."""
    client = world.client(credentials=UsernamePassword("demo", "demo"), binding=None)
    before = world.netserver.tickets.logins
    others = [asyncio.create_task(client.batch.get_batch_task_info(1)) for _ in range(2)]
    ended = await cancelled_at(client.batch.get_batch_task_info(1), cancel_at)
    await asyncio.gather(*others)
    assert world.netserver.tickets.logins == before + 1
    await world.close()
    return ended


async def closing(world: World, cancel_at: range) -> bool:
    """Closing while two calls run; it goes on, and closing again waits for its end."""
    client = world.client()
    await client.batch.get_batch_task_info(1)
    calls = [asyncio.create_task(client.batch.get_batch_task_info(1)) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    ended = await cancelled_at(client.aclose(), cancel_at)
    await client.aclose()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, BatchTaskInfo | ClientClosed), outcome
    await world.check_closed()
    return ended


async def closing_while_logging_in(world: World, cancel_at: range) -> bool:
    """A call that logs in, ended by closing the client after so many turns of the loop; no cancellation at all."""
    client = world.client(credentials=UsernamePassword("demo", "demo"), binding=None)
    call = asyncio.create_task(client.batch.get_batch_task_info(1))
    for _ in range(cancel_at.start):
        await asyncio.sleep(0)
    await client.aclose()
    (outcome,) = await asyncio.gather(call, return_exceptions=True)
    assert isinstance(outcome, BatchTaskInfo | ClientClosed), outcome
    await world.check_closed()
    return isinstance(outcome, ClientClosed)


TASKS = 300


@pytest.mark.parametrize("times", [1, 3], ids=["once", "thrice"])
@pytest.mark.parametrize(
    ("scenario", "rounds"),
    [
        pytest.param(a_first_call, 30, id="first-call"),
        pytest.param(a_later_call, 20, id="later-call"),
        pytest.param(a_queueing_call, 8, id="queueing"),
        pytest.param(a_stream, 3, id="stream"),
        pytest.param(a_retry, 4, id="retry"),
        pytest.param(a_renewal, 2, id="renewal"),
        pytest.param(a_login, 2, id="login"),
        pytest.param(a_shared_login, 2, id="shared-login"),
        pytest.param(closing, 8, id="closing"),
        pytest.param(closing_while_logging_in, 1, id="closing-while-logging-in"),
    ],
)
async def test_cancelling_at_every_await_leaves_nothing(scenario: Scenario, rounds: int, times: int) -> None:
    """Whichever await is cancelled, and however often in a row, no task, socket, lane or waiter is left behind."""
    netserver = NetServer(personality=Personality.STRICT_SOAP11)
    netserver.define_job("Export")
    for n in range(TASKS):
        netserver.tasks.add(BatchTaskInfo(id=n + 1, state=BatchTaskState.NEW, description="x" * 200))
    async with FaultServer(upstream_of(netserver)) as server:
        assert await sweep(World(server, netserver), scenario, rounds=rounds, times=times) >= rounds


async def test_cancelling_while_an_output_is_saved_leaves_no_file(tmp_path: Path) -> None:
    """Whichever await of `save_output` is cancelled, the file is the old one or the whole new one, and nothing else."""
    netserver = NetServer()
    content = bytes(300_000)
    id_ = netserver.tasks.add(BatchTaskInfo(state=BatchTaskState.SUCCEEDED), output=content)
    target = tmp_path / "output.bin"

    async def save(world: World, cancel_at: range) -> bool:
        target.write_bytes(b"old")
        ended = await cancelled_at(world.client().blob.save_output(id_, target), cancel_at)
        assert target.read_bytes() in {b"old", content}
        assert names(tmp_path) == ["output.bin"]
        return ended

    async with FaultServer(upstream_of(netserver)) as server:
        await sweep(World(server, netserver), save, rounds=1, times=1)


async def test_many_callers_are_cancelled_at_random_moments() -> None:
    """Of a thousand calls at once on four connections half are cancelled as they come; the others end well."""
    netserver = NetServer()
    netserver.tasks.add(BatchTaskInfo(id=1, state=BatchTaskState.NEW))
    told: list[str] = []
    hooks = Hooks(on_response=lambda event: told.append(event.outcome))
    async with FaultServer(upstream_of(netserver)) as server:
        world = World(server, netserver)
        client = world.client(credentials=UsernamePassword("demo", "demo"), hooks=hooks)
        calls = [asyncio.create_task(client.batch.get_batch_task_info(1)) for _ in range(1000)]
        for call in calls[::2]:
            await asyncio.sleep(0)
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes[1::2]} == {BatchTaskInfo}
        assert netserver.tickets.logins == 1
        world.check_lanes()
        await world.close()
    assert told.count("ok") >= 500
