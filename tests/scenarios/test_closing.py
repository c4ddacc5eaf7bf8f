"""Closing a client: new calls are refused, running ones get a grace, the rest ends, and nothing is left behind."""

import asyncio
import gc
import sys
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from soapbatch import (
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    Job,
    UsageError,
    UsernamePassword,
)
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, START_BATCH_JOB
from soapbatch.testing import NetServer, delayed, serve
from tests.support.clients import (
    BASE,
    Reply,
    Script,
    Step,
    answer,
    in_process,
    now,
    open_files,
    replying,
    scripted,
    until,
    virtual,
)
from tests.support.fault_server import FaultServer

JOB = BatchTaskInfo(name="Export")
DONE = replying(START_BATCH_JOB, 7)
TASKS = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=n) for n in range(3)])
FIRST = TASKS[: TASKS.index(b"</BatchTaskInfo>") + 30]
ALL: dict[str, Any] = {"state": BatchTaskState.ALL}

CALLS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "call": lambda client: client.batch.get_batch_task_info(1),
    "principal": lambda client: client.principal.get_system_info(),
    "stream": lambda client: anext(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)),
    "ticket": lambda client: client.ticket(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_closed_client_refuses(call: str) -> None:
    """After `aclose()` every call raises ClientClosed, and nothing is sent."""
    client, script = scripted(AssertionError("a request was sent"))
    await client.aclose()
    with pytest.raises(ClientClosed, match="closed") as caught:
        await CALLS[call](client)
    assert caught.value.applied == "no"
    assert script.requests == []


async def test_closing_is_idempotent() -> None:
    """Closing again, or at the same time, is the same closing: the transport is closed once."""
    client, script = scripted(DONE)
    await asyncio.gather(client.aclose(), client.aclose())
    await client.aclose()
    async with client:
        pass
    assert script.closed == 1


@virtual
async def test_running_calls_get_a_grace() -> None:
    """A call that ends within the grace ends as it would have; new ones are refused meanwhile."""
    client, script = scripted(Step(DONE, (("waiting", 4),)), grace=5)
    call = asyncio.create_task(client.batch.start_batch_job(JOB))
    await asyncio.sleep(1)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(1)
    with pytest.raises(ClientClosed) as caught:
        await client.batch.start_batch_job(JOB)
    assert (caught.value.applied, caught.value.operation) == ("no", "StartBatchJob")
    assert await call == 7
    await closing
    assert now() == 4
    assert (len(script.requests), script.closed) == (1, 1)


@pytest.mark.parametrize(
    ("step", "applied", "phase"),
    [
        pytest.param(Step(DONE, (("queueing", 100),)), "no", "queueing", id="queueing"),
        pytest.param(Step(DONE, (("connecting", 100),)), "no", "connecting", id="connecting"),
        pytest.param(Step(DONE, (("waiting", 100),)), "unknown", "waiting", id="waiting"),
        pytest.param(Step(Reply(body=[FIRST, 100.0])), "unknown", "reading", id="reading"),
    ],
)
@virtual
async def test_after_the_grace_calls_end(step: Step, applied: str, phase: str) -> None:
    """A call that takes longer ends in ClientClosed after the grace, which says whether it may have been applied."""
    client, script = scripted(step, grace=5)
    call = asyncio.create_task(client.batch.start_batch_job(JOB))
    await asyncio.sleep(1)
    await client.aclose()
    assert now() == 6
    with pytest.raises(ClientClosed, match=phase) as caught:
        await call
    assert (caught.value.applied, caught.value.operation) == (applied, "StartBatchJob")
    assert script.closed == 1


@virtual
async def test_a_deadline_within_the_grace_is_a_deadline() -> None:
    """A call whose own timeout runs out while the client is closing says so."""
    client, _ = scripted(Step(DONE, (("waiting", 100),)), grace=5)
    call = asyncio.create_task(client.batch.start_batch_job(JOB, timeout=3))
    await asyncio.sleep(1)
    await client.aclose()
    assert now() == 3
    with pytest.raises(DeadlineExceeded):
        await call


@virtual
async def test_a_deadline_at_the_end_of_the_grace_breaks_nothing() -> None:
    """A call that is still cleaning up after its own timeout does not keep the client from closing."""
    gate = asyncio.Event()

    class Slow(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                return await super().handle_async_request(request)
            finally:
                await gate.wait()

    script = Slow(Step(DONE, (("waiting", 100),)))
    client = Client(BASE, ticket="7T:dA==", binding=Binding.SOAP11, transport=script, grace=5)
    call = asyncio.create_task(client.batch.start_batch_job(JOB, timeout=4))
    await asyncio.sleep(0)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(10)
    assert not closing.done()
    gate.set()
    await closing
    with pytest.raises(ClientClosed):
        await call
    assert script.closed == 1


@virtual
async def test_no_grace_ends_calls_at_once() -> None:
    """With `grace=0` closing takes no time."""
    client, _ = scripted(Step(DONE, (("waiting", 100),)), grace=0)
    calls = [asyncio.create_task(client.batch.start_batch_job(JOB)) for _ in range(10)]
    await asyncio.sleep(1)
    await client.aclose()
    assert now() == 1
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ClientClosed] * 10


@virtual
async def test_a_running_call_may_still_log_in() -> None:
    """A call that needs a ticket and runs already gets one within the grace."""
    server = NetServer(clock=now)
    server.intercept("AuthenticateUsernamePassword", delayed(2), times=None)
    client = in_process(server, credentials=UsernamePassword("demo", "demo"), grace=60)
    await client.batch.get_batch_task_info(1)
    server.tickets.revoke_all()
    server.intercept("GetBatchTaskInfo", delayed(2))
    call = asyncio.create_task(client.batch.get_batch_task_info(1))
    await asyncio.sleep(1)
    closing = asyncio.create_task(client.aclose())
    assert await call is None
    await closing
    assert server.tickets.logins == 2


@virtual
async def test_a_login_ends_with_the_grace() -> None:
    """A call that waits for its login ends in ClientClosed, not applied; the login leaves no task behind."""
    server = NetServer(clock=now)
    server.intercept("AuthenticateUsernamePassword", delayed(1000), times=None)
    client = in_process(server, credentials=UsernamePassword("demo", "demo"))
    call = asyncio.create_task(client.batch.start_batch_job(JOB))
    await asyncio.sleep(1)
    await client.aclose()
    with pytest.raises(ClientClosed) as caught:
        await call
    assert caught.value.applied == "no"
    assert server.counts["StartBatchJob"] == 0


@virtual
async def test_the_grace_holds_for_streams() -> None:
    """A stream whose consumer is at work goes on within the grace."""
    client, script = scripted(Reply(body=[FIRST, TASKS[len(FIRST) :]]), grace=50)
    seen = []
    closing = None
    async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
        closing = closing or asyncio.create_task(client.aclose())
        await asyncio.sleep(10)
        seen.append(task.id)
    assert closing is not None
    await closing
    assert seen == [0, 1, 2]
    assert now() == 30
    assert script.closed == 1


@virtual
async def test_a_stream_ends_with_the_grace() -> None:
    """A stream whose consumer takes longer is closed, and raises ClientClosed at its next step."""
    replies = [Reply(body=[FIRST, TASKS[len(FIRST) :]]) for _ in range(3)]
    client, script = scripted(*replies, grace=5)
    streams = [client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL) for _ in replies]
    for stream in streams:
        assert (await anext(stream)).id == 0
    await client.aclose()
    assert now() == 5
    assert [reply.closed for reply in replies] == [1, 1, 1]
    assert script.closed == 1
    for stream in streams:
        with pytest.raises(ClientClosed, match="reading") as caught:
            await anext(stream)
        assert (caught.value.operation, caught.value.applied) == ("GetBatchTaskInfosByState", "unknown")
    assert [reply.closed for reply in replies] == [1, 1, 1]


@virtual
async def test_a_stream_that_is_reading_ends_with_the_grace() -> None:
    """A stream that waits for the server ends in ClientClosed after the grace."""
    client, _ = scripted(Reply(body=[FIRST, 1000.0]), grace=5)
    stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
    assert (await anext(stream)).id == 0
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(1)
    await client.aclose()
    assert now() == 6
    with pytest.raises(ClientClosed, match="reading"):
        await reading


@virtual
async def test_an_abandoned_stream_does_not_hold_up_closing() -> None:
    """A stream that its consumer has left is no running call."""
    client, _ = scripted(Reply(body=[FIRST, TASKS[len(FIRST) :]]))
    async with client:
        async for _task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
            break
    assert now() == 0


@virtual
async def test_cancelling_one_who_waits_for_closing_does_not_stop_it() -> None:
    """Closing goes on when a waiter is cancelled; the next `aclose()` waits for its end."""
    client, script = scripted(Step(DONE, (("waiting", 4),)))
    call = asyncio.create_task(client.batch.start_batch_job(JOB))
    await asyncio.sleep(1)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(ClientClosed):
        await client.batch.start_batch_job(JOB)
    assert await call == 7
    await client.aclose()
    assert script.closed == 1


@virtual
async def test_an_error_in_the_block_is_raised_after_closing() -> None:
    """`async with` closes the client when its block raises."""
    client, script = scripted(ConnectionLost("reset"))
    with pytest.raises(ConnectionLost):
        async with client:
            await client.batch.start_batch_job(JOB)
    assert script.closed == 1


async def test_a_handed_in_httpx_client_stays_open() -> None:
    """`http_client` is its owner's to close."""
    async with NetServerClient() as (http, client):
        await client.principal.get_system_info()
        await client.aclose()
        assert not http.is_closed
        assert (await http.post(f"{BASE}/Remote/Services88/Batch.svc")).status_code in {200, 415, 500}


class NetServerClient:
    """An httpx client that leads to an embedded server, and a client over it."""

    async def __aenter__(self) -> tuple[httpx.AsyncClient, Client]:
        """Make both."""
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(NetServer()))
        return self._http, Client(BASE, http_client=self._http)

    async def __aexit__(self, *_: object) -> None:
        """Close the httpx client."""
        await self._http.aclose()


# --- Forgetting to --------------------------------------------------------------------------------------------------


async def test_a_forgotten_client_is_reported() -> None:
    """A client that was used and never closed warns when it is collected; the warning says what to do."""
    client, _ = scripted(DONE)
    await client.batch.start_batch_job(JOB)
    with pytest.warns(ResourceWarning, match=r"<Client https://.*> was never closed: use 'async with'"):
        del client


async def test_an_unused_or_closed_client_is_not_reported() -> None:
    """One that was never used, was closed, or was never made, warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client, _ = scripted(DONE)
        del client
        client, _ = scripted(DONE)
        await client.batch.start_batch_job(JOB)
        await client.aclose()
        del client
        client = Client.__new__(Client)
        del client
        gc.collect()


# --- What is left ---------------------------------------------------------------------------------------------------


async def test_nothing_is_left_behind() -> None:
    """Clients over sockets that are closed amid running and abandoned calls leave no task and no file descriptor."""
    server = NetServer()
    server.define_job("Export")
    for n in range(200):
        server.tasks.add(BatchTaskInfo(id=n + 1, state=BatchTaskState.NEW))
    async with serve(server) as url:
        tasks, files = asyncio.all_tasks(), open_files()
        for n in range(10):
            client = Client(url, credentials=UsernamePassword("demo", "demo"), grace=0.01 * (n % 2))
            calls = [asyncio.create_task(client.batch.start_batch_job(JOB)) for _ in range(10)]
            async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
                break
            for _ in range(n):
                await asyncio.sleep(0)
            await client.aclose()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, int | ClientClosed), outcome
        # uvicorn closes its ends of the connections a little later.
        await until(lambda: asyncio.all_tasks() <= tasks and open_files() <= files)


async def test_closing_over_a_socket_ends_a_call_that_hangs() -> None:
    """A call that a server never answers ends in ClientClosed; the server sees its connection close."""
    async with FaultServer(fault="never-answer") as server:
        client = Client(server.url, ticket="7T:dA==", binding=Binding.SOAP11, grace=0)
        call = asyncio.create_task(client.batch.get_batch_task_info(1))
        await until(lambda: server.seen)
        await client.aclose()
        with pytest.raises(ClientClosed) as caught:
            await call
        assert caught.value.applied == "unknown"
        await until(lambda: not server.connections)
    assert GET_BATCH_TASK_INFO.name == caught.value.operation


# --- Other event loops, and the end of one ----------------------------------------------------------------------


@pytest.mark.parametrize("is_in_use", [False, True], ids=["idle", "in use"])
async def test_a_foreign_loop_cannot_close_a_client(*, is_in_use: bool) -> None:
    """`aclose` in another event loop raises there, and nothing else: the client works on, and is closed at home."""
    server = NetServer()
    server.intercept("GetSystemInfo", delayed(0.3))
    async with serve(server) as url:
        client = Client(url, credentials=UsernamePassword("demo", "demo"))
        await client.batch.get_batch_task_info(1)
        running = asyncio.create_task(client.principal.get_system_info()) if is_in_use else None
        for _ in range(2):
            with pytest.raises(UsageError, match="another event loop") as caught:
                await asyncio.to_thread(asyncio.run, client.aclose())
            assert caught.value.applied == "no"
        await client.batch.get_batch_task_info(1)
        if running is not None:
            assert await running is not None
        assert "closed" not in repr(client)
        await client.aclose()
        assert client._context.sender._transport._idle == []  # type: ignore[attr-defined]
        with pytest.raises(ClientClosed):
            await client.batch.get_batch_task_info(1)
        await client.aclose()


async def test_a_client_that_was_never_used_belongs_to_no_loop() -> None:
    """A client without a call can be closed in any loop."""
    client, script = scripted(DONE)
    await asyncio.to_thread(asyncio.run, client.aclose())
    assert script.closed == 1


async def test_a_client_of_a_loop_that_has_ended_can_be_closed() -> None:
    """A client that its loop has left open can be closed in another one, if its transport allows that."""
    client, script = scripted(DONE)
    await asyncio.to_thread(asyncio.run, client.batch.start_batch_job(JOB))
    await client.aclose()
    assert script.closed == 1


LEFT: dict[str, Callable[[Client, Job], AsyncGenerator[Any, None]]] = {
    "watch": lambda _, job: job.watch(),
    "output": lambda _, job: job.stream_output(),
    "list": lambda client, _: client.jobs.list(),
    "as_finished": lambda client, job: client.jobs.as_finished([job, 1]),
    "stream": lambda client, _: client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL),
}


@pytest.mark.parametrize("left", LEFT)
def test_a_loop_ends_with_a_generator_left_open(left: str) -> None:
    """A generator that is left in a reference cycle is closed by the end of the loop, without an error."""
    held: list[Any] = []
    reported: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        server = NetServer()
        server.define_job("Export", duration=0, output=b"x" * (1 << 20))
        server.tasks.add(BatchTaskInfo(id=1, state=BatchTaskState.STARTED, name="Other"))
        client = in_process(server)
        job = await client.jobs.start("Export")
        await job.wait()
        if left == "watch":
            job = client.jobs.attach(1)
        generator = LEFT[left](client, job)
        await anext(generator)
        held.append(generator)
        held.append(client)
        held.append(held)

    asyncio.run(main())
    assert reported == []
    generator, client = held[:2]
    held.clear()
    asyncio.run(client.aclose())
    with pytest.raises(StopAsyncIteration):
        asyncio.run(_next(generator))


@pytest.mark.parametrize("turns", [0, 3, 50])
@pytest.mark.parametrize("left", LEFT)
def test_a_generator_that_is_garbage(left: str, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator in a reference cycle is closed by the loop, not by the garbage collector, whenever the loop ends."""
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: reported.append(hook.exc_value))

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        server = NetServer()
        server.tasks.add(BatchTaskInfo(id=1, state=BatchTaskState.STARTED))
        server.tasks.add(BatchTaskInfo(id=2, state=BatchTaskState.SUCCEEDED), output=b"x" * (1 << 20))
        async with serve(server) as url, Client(url, credentials=UsernamePassword("demo", "demo")) as client:
            job = client.jobs.attach(1 if left == "watch" else 2)
            cycle: list[Any] = [LEFT[left](client, job)]
            await anext(cycle[0])
            cycle.append(cycle)
            del cycle
            gc.collect()
            for _ in range(turns):
                await asyncio.sleep(0)

    asyncio.run(main())
    gc.collect()
    assert reported == []


async def _next(generator: AsyncGenerator[Any, None]) -> Any:
    return await anext(generator)
