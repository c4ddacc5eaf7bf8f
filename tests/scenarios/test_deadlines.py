"""`timeout` bounds a whole call, whatever it is doing; the error says what that was, and whether it may be applied."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx
import pytest

from soapbatch import (
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Retries,
    UsernamePassword,
)
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, START_BATCH_JOB
from soapbatch.testing import NetServer, delayed
from soapbatch.transport.pool import ConnectionPool
from tests.support.clients import Reply, Step, answer, collect, in_process, now, replying, scripted, until, virtual
from tests.support.fault_server import FaultServer

JOB = BatchTaskInfo(name="Export")
DONE = replying(START_BATCH_JOB, 7)
HALF = answer(START_BATCH_JOB, 7)[:200]
DRIP: list[bytes | float | Exception] = [part for byte in HALF for part in (bytes([byte]), 0.3)]
NEVER = 1_000_000.0


# --- On virtual time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "phase", "applied"),
    [
        pytest.param(Step(DONE, (("queueing", NEVER),)), "queueing", "no", id="queueing"),
        pytest.param(Step(DONE, (("connecting", NEVER),)), "connecting", "no", id="connecting"),
        pytest.param(Step(DONE, (("sending", NEVER),)), "sending", "unknown", id="sending"),
        pytest.param(Step(DONE, (("waiting", NEVER),)), "waiting", "unknown", id="waiting"),
        pytest.param(Step(Reply(body=[HALF, NEVER])), "reading", "unknown", id="reading"),
        pytest.param(
            Step(DONE, (("queueing", 4), ("connecting", 4), ("waiting", 4))), "waiting", "unknown", id="all-together"
        ),
        pytest.param(Step(Reply(body=DRIP)), "reading", "unknown", id="drip"),
    ],
)
@virtual
async def test_each_phase_ends_with_the_timeout(step: Step, phase: str, applied: str) -> None:
    """The call ends when its timeout does; the error says in which phase, and what may have been applied."""
    client, script = scripted(step, timeout=10)
    async with client:
        with pytest.raises(DeadlineExceeded, match=f"StartBatchJob.*10 s.*{phase}") as caught:
            await client.batch.start_batch_job(JOB)
        assert now() == 10
    error = caught.value
    assert (error.phase, error.applied, error.timeout, error.operation) == (phase, applied, 10, "StartBatchJob")
    assert isinstance(error, TimeoutError)
    assert error.__context__ is None
    assert len(script.requests) == 1


@virtual
async def test_a_login_counts() -> None:
    """A login that takes long ends with the timeout of the call that waits for it; that call was not sent."""
    server = NetServer(clock=now)
    server.intercept("AuthenticateUsernamePassword", delayed(NEVER), times=None)
    async with in_process(server, credentials=UsernamePassword("demo", "demo"), timeout=10) as client:
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(JOB)
        assert now() == 10
    assert (caught.value.phase, caught.value.applied, caught.value.operation) == ("login", "no", "StartBatchJob")
    assert server.counts == {"AuthenticateUsernamePassword": 1}


@virtual
async def test_a_second_login_counts() -> None:
    """So does the login after a refused ticket: the refused call was not applied."""
    server = NetServer(clock=now)
    async with in_process(server, credentials=UsernamePassword("demo", "demo"), timeout=10) as client:
        await client.batch.get_batch_task_info(1)
        server.tickets.revoke_all()
        server.intercept("AuthenticateUsernamePassword", delayed(NEVER), times=None)
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(JOB)
        assert now() == 10
    assert (caught.value.phase, caught.value.applied) == ("login", "no")


@virtual
async def test_waiting_for_the_discovery_of_another_call_counts() -> None:
    """A call that waits until the first one knows the binding is queueing; neither was sent."""
    client, script = scripted(Step(DONE, (("waiting", NEVER),)), binding=None)
    async with client:
        first = asyncio.create_task(client.batch.start_batch_job(JOB, timeout=20))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(JOB, timeout=10)
        assert now() == 10
        assert (caught.value.phase, caught.value.applied) == ("queueing", "no")
        with pytest.raises(DeadlineExceeded) as caught:
            await first
        assert now() == 20
        assert (caught.value.phase, caught.value.applied) == ("discovering", "no")
    assert [b"GetBatchTaskInfo" in request.body for request in script.requests] == [True]


@pytest.mark.parametrize(
    ("failure", "applied"),
    [(ConnectFailed("refused"), "no"), (ConnectionLost("reset"), "unknown")],
    ids=["no", "unknown"],
)
@pytest.mark.parametrize("seconds", [10, 60])
@virtual
async def test_the_waits_between_attempts_count(
    failure: ConnectFailed | ConnectionLost, applied: str, seconds: float
) -> None:
    """Waiting for the next attempt ends with the timeout; what an earlier attempt may have done is not forgotten."""
    retries = Retries(attempts=100, first_wait=7, longest_wait=7)
    client, script = scripted(failure, timeout=seconds, retries=retries)
    async with client:
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.get_batch_task_info(1)
        assert now() == seconds
    assert (caught.value.phase, caught.value.applied) == ("retrying", applied)
    assert 2 <= len(script.requests) <= 1 + seconds / 7


@virtual
async def test_a_later_attempt_does_not_forget_an_earlier_one() -> None:
    """A read that was lost once and could not be sent the second time may have been carried out."""
    client, script = scripted(ConnectionLost("reset"), ConnectFailed("refused"), retries=Retries(attempts=2))
    async with client:
        with pytest.raises(ConnectFailed) as caught:
            await client.batch.get_batch_task_info(1)
    assert caught.value.applied == "unknown"
    assert len(script.requests) == 2


@pytest.mark.parametrize("for_client", [True, False])
@virtual
async def test_none_is_no_limit(for_client: bool) -> None:  # noqa: FBT001 - a case
    """With `timeout=None`, for the client or one call, a call may take eleven days."""
    client, _ = scripted(Step(DONE, (("waiting", NEVER),)), timeout=None if for_client else 10)
    async with client:
        if for_client:
            assert await client.batch.start_batch_job(JOB) == 7
        else:
            assert await client.batch.start_batch_job(JOB, timeout=None) == 7
        assert now() == NEVER


@virtual
async def test_a_call_may_have_its_own_timeout() -> None:
    """`timeout=` of a call is shorter or longer than the client's, and is what the error says."""
    client, _ = scripted(Step(DONE, (("waiting", 30),)), timeout=20)
    async with client:
        assert await client.batch.start_batch_job(JOB, timeout=40) == 7
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(JOB, timeout=5)
        assert caught.value.timeout == 5
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(JOB)
        assert caught.value.timeout == 20
        assert now() == 55


@virtual
async def test_a_timeout_is_finite_by_default() -> None:
    """Nobody who says nothing waits for ever: a call ends after 60 s."""
    client, _ = scripted(Step(DONE, (("waiting", NEVER),)))
    async with client:
        with pytest.raises(DeadlineExceeded):
            await client.batch.start_batch_job(JOB)
    assert now() == 60


@virtual
async def test_a_timeout_of_the_callers_own_code_is_not_taken_for_the_calls() -> None:
    """TimeoutError out of a hook passes as it is."""

    def hook(_: object) -> None:
        raise TimeoutError("the tracer is slow")

    client, _ = scripted(DONE)
    async with client:
        with pytest.raises(TimeoutError, match="tracer") as caught:
            await client.batch.start_batch_job(JOB, on_header=hook)
    assert not isinstance(caught.value, DeadlineExceeded)


# --- Streams ------------------------------------------------------------------------------------------------------


def in_pieces(count: int, wait: float) -> Reply:
    """Return a reply with `count` tasks, each preceded by a wait."""
    whole = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=n) for n in range(count)])
    head, *items = whole.split(b"<BatchTaskInfo>")
    parts: list[bytes | float | Exception] = [head]
    for item in items:
        parts += [wait, b"<BatchTaskInfo>" + item]
    return Reply(body=parts)


@virtual
async def test_a_stream_does_not_count_the_consumers_time() -> None:
    """A consumer may take hours between items; the timeout is for the time that the stream itself takes."""
    client, _ = scripted(in_pieces(5, 1), timeout=10)
    async with client:
        seen = []
        async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL):
            await asyncio.sleep(3600)
            seen.append(task.id)
    assert seen == [0, 1, 2, 3, 4]
    assert now() == 5 * 3601


@virtual
async def test_a_stream_counts_its_own_time() -> None:
    """The steps of a stream share one timeout: the items that came before it ran out were yielded."""
    reply = in_pieces(5, 4)
    client, _ = scripted(reply, timeout=10)
    seen: list[BatchTaskInfo] = []
    async with client:
        with pytest.raises(DeadlineExceeded) as caught:
            await collect(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL), seen, rest=100)
    assert [task.id for task in seen] == [0, 1]
    assert now() == 210
    assert (caught.value.phase, caught.value.timeout, caught.value.applied) == ("reading", 10, "unknown")
    assert caught.value.operation == "GetBatchTaskInfosByState"
    assert reply.closed == 1


@virtual
async def test_a_stream_may_have_its_own_timeout_or_none() -> None:
    """`options` of a stream override the client's timeout."""
    client, _ = scripted(in_pieces(5, 4), timeout=10)
    async with client:
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All", options={"timeout": None})
        assert len([task async for task in stream]) == 5
        with pytest.raises(DeadlineExceeded):
            await anext(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All", options={"timeout": 3}))


# --- Over sockets -------------------------------------------------------------------------------------------------

SHORT = 0.15  # seconds: how long each of the following takes

Connect = Callable[[str], Client]


def over_lanes(url: str) -> Client:
    """Return a client with the default transport, over one connection."""
    return Client(
        url, ticket="7T:dA==", binding=Binding.SOAP11, transport=ConnectionPool(max_connections=1), timeout=SHORT
    )


def over_httpx(url: str) -> Client:
    """Return a client with an httpx client of the caller's."""
    http = httpx.AsyncClient(limits=httpx.Limits(max_connections=1), timeout=None)  # noqa: S113 - the call has one
    return Client(url, ticket="7T:dA==", binding=Binding.SOAP11, http_client=http, timeout=SHORT)


@pytest.mark.parametrize("connect", [over_lanes, over_httpx])
@pytest.mark.parametrize(
    ("fault", "phase"), [("never-answer", "waiting"), ("slow-drip", "reading")], ids=["never-answer", "slow-drip"]
)
async def test_a_server_that_is_slow_over_a_socket(connect: Connect, fault: str, phase: str) -> None:
    """A server that never answers, or drips, ends with the timeout; the request may have been applied."""
    async with FaultServer(fault=fault) as server:
        client = connect(server.url)
        async with client:
            with pytest.raises(DeadlineExceeded) as caught:
                await client.batch.start_batch_job(JOB)
        assert len(server.seen) == 1
        await asyncio.sleep(0)
    assert (caught.value.phase, caught.value.applied) == (phase, "unknown")


async def test_queueing_for_a_lane_counts() -> None:
    """With one connection and a server that never answers, the second call is queueing and not applied."""
    async with FaultServer(fault="never-answer") as server, over_lanes(server.url) as client:
        first = asyncio.create_task(client.batch.start_batch_job(JOB, timeout=2 * SHORT))
        await until(lambda: server.seen)
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(JOB)
        assert (caught.value.phase, caught.value.applied) == ("queueing", "no")
        with pytest.raises(DeadlineExceeded):
            await first
        assert len(server.seen) == 1


@contextlib.asynccontextmanager
async def full_house() -> AsyncGenerator[str]:
    """Yield the URL of a port that accepts no further connection: its backlog is full."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listening.getsockname()
        while True:
            other = sockets.enter_context(socket.socket())
            other.setblocking(False)  # noqa: FBT003 - the socket module's own
            try:
                await asyncio.wait_for(loop.sock_connect(other, address), 0.05)
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{address[1]}"


@pytest.mark.parametrize("connect", [over_lanes, over_httpx])
async def test_connecting_counts(connect: Connect) -> None:
    """A server that does not accept ends with the timeout; nothing was applied."""
    async with full_house() as url, connect(url) as client:
        with pytest.raises(DeadlineExceeded):  # of an httpx client it is known only from now on that it reports
            await client.batch.start_batch_job(JOB)
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(JOB)
    assert (caught.value.phase, caught.value.applied) == ("connecting", "no")


async def test_the_next_call_works() -> None:
    """After a call has run out of time, the next one over the same client works."""
    async with FaultServer(replies) as server, over_lanes(server.url) as client:
        server.plan.extend(["never-answer", "slow-drip", "none"])
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                await client.batch.get_batch_task_info(1)
        assert await client.batch.get_batch_task_info(1, timeout=10) is None


async def replies(_: bytes, __: object) -> tuple[int, dict[str, str], bytes]:
    """Answer GetBatchTaskInfo with nil."""
    return 200, {"Content-Type": "text/xml"}, answer(GET_BATCH_TASK_INFO)


@virtual
async def test_a_deadline_that_passes_while_others_end_is_each_ones_own() -> None:
    """A thousand calls with different timeouts end each at its own time."""
    client, _ = scripted(Step(DONE, (("waiting", NEVER),)))

    async def ends(seconds: float) -> None:
        with pytest.raises(DeadlineExceeded):
            await client.batch.start_batch_job(JOB, timeout=seconds)
        assert now() == seconds

    calls: list[Awaitable[None]] = [ends(n) for n in range(1, 1001)]
    async with client:
        await asyncio.gather(*calls)
