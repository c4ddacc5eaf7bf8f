"""A call's life beyond what the other tests show: who may run beside whom, and what an error says of its call."""

import asyncio
import inspect
import itertools
import math
import sys
from typing import Any, Literal

import httpx
import pytest

from soapbatch import (
    AuthenticationFailed,
    BatchTaskInfo,
    Binding,
    Client,
    ConnectFailed,
    ConnectionLost,
    Fault,
    OperationFailed,
    ServiceVersion,
    SoapBatchError,
    UnreadableResponse,
    UsernamePassword,
)
from soapbatch.calls import CallOptions
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, START_BATCH_JOB
from soapbatch.soap.decoders import UnknownItem
from soapbatch.testing import NetServer, ServerException, failing
from soapbatch.transport.send_state import EXTENSION
from tests.support.clients import BASE, Reply, Script, answer, in_process, replying, scripted, virtual

JOB = BatchTaskInfo(name="Export")


@pytest.mark.parametrize("version", ServiceVersion)
async def test_an_error_says_which_call_it_belongs_to(version: ServiceVersion) -> None:
    """Every error has the operation, the version and whether the operation may have been applied."""
    client, _ = scripted(ConnectionLost("reset"), version=version)
    async with client:
        with pytest.raises(ConnectionLost) as caught:
            await client.batch.stop_batch_job(1)
    assert (caught.value.operation, caught.value.version, caught.value.applied) == ("StopBatchJob", version, "unknown")


@virtual
async def test_an_error_of_a_login_keeps_its_own_operation() -> None:
    """What fails is named: the login, not the call that needed it; of that call nothing was applied."""
    client, script = scripted(
        ConnectionLost("reset"), ticket=None, credentials=UsernamePassword("demo", "secret"), binding=Binding.SOAP11
    )
    async with client:
        with pytest.raises(ConnectionLost) as caught:
            await client.batch.start_batch_job(JOB)
    assert (caught.value.operation, caught.value.applied) == ("AuthenticateUsernamePassword", "no")
    assert len({request.body for request in script.requests}) == 1


@virtual
async def test_many_calls_at_once_are_told_apart() -> None:
    """Two hundred starts at once get each its own id."""
    server = NetServer(clock=asyncio.get_running_loop().time)
    server.define_job("Export")
    async with in_process(server) as client:
        ids = await asyncio.gather(
            *(client.batch.start_batch_job(BatchTaskInfo(name="Export", description=str(n))) for n in range(200))
        )
        infos = await asyncio.gather(*(client.batch.get_batch_task_info(id_) for id_ in ids))
    assert [info and info.description for info in infos] == [str(n) for n in range(200)]
    assert server.counts["StartBatchJob"] == 200


@pytest.mark.parametrize("was_taken", [False, True])
async def test_a_server_that_refuses_every_ticket_is_asked_twice(was_taken: bool) -> None:  # noqa: FBT001 - a case
    """A call whose fresh ticket is refused as well fails with that refusal, after one login more and one repeat."""
    server = NetServer()
    session = ServerException("SuperOffice.Exceptions.SoSessionException", "expired")
    credentials = UsernamePassword("demo", "demo")
    async with in_process(server, credentials=credentials, binding=Binding.DOCUMENTED) as client:
        if was_taken:
            await client.batch.get_batch_task_infos_by_state("All")
        server.intercept("GetBatchTaskInfo", failing(session), times=None)
        with pytest.raises(OperationFailed) as caught:
            await client.batch.get_batch_task_info(1)
    assert (caught.value.error_type, caught.value.applied) == ("SoSessionException", "no")
    assert server.counts["GetBatchTaskInfo"] == 2
    assert server.tickets.logins == 2


@pytest.mark.parametrize("told", ["header", "fault"])
@pytest.mark.parametrize("call", ["start", "stream"])
async def test_a_custom_session_error_that_is_refused_twice_was_not_applied(
    told: Literal["header", "fault"], call: str
) -> None:
    """A ticket that the server refuses in its own words is a refused ticket both times: nothing was applied."""
    server = NetServer(failures=told)
    refused = ServerException("My.TicketGone", "no such ticket")
    made: dict[str, Any] = {
        "start": lambda client: client.batch.start_batch_job(JOB),
        "stream": lambda client: anext(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")),
    }
    for operation in ("StartBatchJob", "GetBatchTaskInfosByState"):
        server.intercept(operation, failing(refused), times=None)
    async with in_process(
        server,
        credentials=UsernamePassword("demo", "demo"),
        session_errors=["TicketGone"],
        binding=Binding.SOAP11,
    ) as client:
        with pytest.raises((OperationFailed, Fault)) as caught:
            await made[call](client)
    assert "no such ticket" in str(caught.value)
    assert caught.value.applied == "no"
    assert len(server.calls) == 4
    assert server.tickets.logins == 2


async def test_a_custom_error_that_is_no_session_error_may_have_been_applied() -> None:
    """The same error, where nobody says that it means a refused ticket, proves nothing, and is not repeated."""
    server = NetServer()
    server.intercept("StartBatchJob", failing(ServerException("My.TicketGone", "no such ticket")), times=None)
    async with in_process(server, binding=Binding.SOAP11) as client:
        with pytest.raises(OperationFailed) as caught:
            await client.batch.start_batch_job(JOB)
    assert (caught.value.applied, server.counts["StartBatchJob"]) == ("unknown", 1)


async def test_a_renewal_that_fails_is_what_is_raised() -> None:
    """Where no other ticket can be had, the failed login is the error; the call was not applied."""
    server = NetServer()
    async with in_process(server, credentials=UsernamePassword("demo", "demo")) as client:
        await client.batch.get_batch_task_info(1)
        server.tickets.revoke_all()
        server.tickets.refuse_logins = "flag"
        with pytest.raises(AuthenticationFailed) as caught:
            await client.batch.start_batch_job(JOB)
    assert (caught.value.user, caught.value.applied) == ("demo", "no")


@pytest.mark.parametrize(
    ("count", "size", "turns_due"),
    [pytest.param(3000, 65_536, 13, id="long"), pytest.param(100, 30, 65, id="in small pieces")],
)
async def test_a_long_answer_leaves_room_for_others(count: int, size: int, turns_due: int) -> None:
    """While an answer is read that is there already, other tasks get their turn: each 64 KiB, and each 16 pieces."""
    tasks = [BatchTaskInfo(id=n, description="x" * 250) for n in range(count)]
    whole = answer(GET_BATCH_TASK_INFOS_BY_STATE, tasks)
    client, _ = scripted(Reply(body=[whole[n : n + size] for n in range(0, len(whole), size)]))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(take_turns())
    async with client:
        assert len(await client.batch.get_batch_task_infos_by_state("All")) == count
    counter.cancel()
    await asyncio.wait([counter])
    assert turns >= turns_due


async def test_an_answer_that_is_slow_to_parse_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tasks get their turn each time that parsing has taken more than 3 ms, however few bytes that were."""
    whole = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=1, description="x" * 250)])
    client, _ = scripted(Reply(body=[whole[n : n + 10] for n in range(0, len(whole), 10)]))
    ticks = itertools.count(step=0.002)
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(take_turns())
    async with client:
        await client.batch.get_batch_task_infos_by_state("All")
    counter.cancel()
    await asyncio.wait([counter])
    assert turns >= len(whole) // 10 // 2 - 2


async def test_what_is_unknown_is_reported() -> None:
    """`on_unknown` hears of an element, a value and a header block that this release does not know."""
    body = answer(GET_BATCH_TASK_INFO, BatchTaskInfo(id=1, state="Paused"))
    body = body.replace(b"</BatchTaskInfo>", b"<Colour>red</Colour></BatchTaskInfo>").replace(
        b"</Id>", b"</Id><Colour>red</Colour>"
    )
    body = body.replace(b"</Succeeded>", b"</Succeeded><Mood>fine</Mood>")
    seen: list[UnknownItem] = []
    client, _ = scripted(Reply(body=[body]), on_unknown=seen.append)
    async with client:
        info = await client.batch.get_batch_task_info(1)
    assert info == BatchTaskInfo(id=1, state="Paused")
    assert {unknown.name for unknown in seen} >= {"Colour", "Mood"}


async def test_secrets_of_a_call_are_masked_in_what_the_server_says() -> None:
    """A server that repeats a password or a value of a generic login in its failure is masked by value."""
    server = NetServer()
    for operation in ("AuthenticateUsernamePassword", "AuthenticateGeneric"):
        server.intercept(
            operation, failing(ServerException("My.Exception", "wrong: hunter2 for app-token-1")), times=None
        )
    async with in_process(server, application_token="app-token-1") as client:
        for call in (
            client.principal.authenticate_username_password("demo", "hunter2"),
            client.principal.authenticate_generic({"key": "hunter2"}),
        ):
            with pytest.raises(OperationFailed) as caught:
                await call
            error = caught.value
            assert error.exception_info is not None
            assert error.exception_info.message == "wrong: *** for ***"
            assert "hunter2" not in f"{error!r}{error.exception_info!r}"


@pytest.mark.parametrize("failure", [ConnectFailed("refused"), ConnectionLost("reset")])
@virtual
async def test_an_error_is_raised_anew_for_each_call(failure: SoapBatchError) -> None:
    """Calls that fail one after the other do not share state: the next one succeeds."""
    client, _ = scripted(failure, replying(START_BATCH_JOB, 7), binding=Binding.DOCUMENTED)
    async with client:
        if isinstance(failure, ConnectionLost):
            with pytest.raises(ConnectionLost):
                await client.batch.start_batch_job(JOB)
        assert await client.batch.start_batch_job(JOB) == 7


class Watching(Script):
    """A transport that sees the frames it was called through.

    Attributes:
        frames: the functions of soapbatch between the agent's method and the transport, innermost first.
    """

    frames: tuple[str, ...] = ()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Look at the stack."""
        found: list[str] = []
        frame = sys._getframe(1)
        while frame.f_code.co_name != "get_batch_task_info":
            assert frame.f_code.co_flags & inspect.CO_COROUTINE, frame
            found.append(frame.f_code.co_qualname)
            assert frame.f_back is not None
            frame = frame.f_back
        self.frames = tuple(found)
        return await super().handle_async_request(request)


@pytest.mark.parametrize("binding", [Binding.SOAP11, None])
@virtual
async def test_a_call_is_a_straight_line(binding: Binding | None) -> None:
    """At most five coroutine frames stand between the agent's method and the transport, once the binding is known."""
    transport = Watching(replying(GET_BATCH_TASK_INFO))
    async with Client(BASE, ticket="7T:dA==", binding=binding, transport=transport) as client:
        await client.batch.get_batch_task_info(1)
        await client.batch.get_batch_task_info(1)
    assert len(transport.frames) <= 5, transport.frames


async def test_a_call_takes_all_options_at_once() -> None:
    """Every option of a call may be given beside the others."""
    client, _ = scripted(replying(GET_BATCH_TASK_INFO))
    headers: list[object] = []
    options: dict[str, Any] = {"timeout": 5.0, "on_header": headers.append, "renew": False}
    assert options.keys() == CallOptions.__annotations__.keys()
    async with client:
        assert await client.batch.get_batch_task_info(1, **options) is None
    assert len(headers) == 1


async def test_a_stream_shows_that_the_binding_works() -> None:
    """After a streamed answer in the pinned binding, an empty answer is no reason to advise another binding."""
    client, _ = scripted(Reply(200), replying(GET_BATCH_TASK_INFOS_BY_STATE, []), Reply(200))
    async with client:
        for is_advised in (True, False):
            with pytest.raises(UnreadableResponse) as caught:
                await client.batch.get_batch_task_info(1)
            assert ("binding=" in str(caught.value)) == is_advised
            if is_advised:
                assert [info async for info in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")] == []


async def test_a_start_finds_the_binding_by_reading_no_task() -> None:
    """The read that finds the binding asks for task 0, which no server has."""
    server = NetServer()
    server.define_job("Export")
    async with in_process(server) as client:
        await client.batch.start_batch_job(JOB)
    assert [(call.operation, call.arguments.get("id")) for call in server.calls] == [
        ("GetBatchTaskInfo", 0),
        ("StartBatchJob", None),
    ]


@virtual
async def test_what_changes_something_wants_a_fresh_connection() -> None:
    """A server that closes an idle connection must not meet a start on its way: a second is the most."""
    seen: list[float] = []

    class Asking(Script):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request.extensions[EXTENSION].max_idle)
            return await super().handle_async_request(request)

    transport = Asking(replying(START_BATCH_JOB, 7), replying(GET_BATCH_TASK_INFO))
    async with Client(BASE, ticket="7T:dA==", binding=Binding.SOAP11, transport=transport) as client:
        await client.batch.start_batch_job(JOB)
        await client.batch.get_batch_task_info(1)
    assert seen == [1.0, math.inf]
