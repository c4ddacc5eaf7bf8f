"""The client and the embedded server together: every operation, each personality, and a day of virtual time."""

import asyncio
from typing import Any, Literal

import attrs
import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, Client, ServiceVersion, Ticket, UsernamePassword
from soapbatch.errors import AccessDenied, ConnectionLost, Fault, OperationFailed
from soapbatch.model.services import BATCH, BLOB, SO_PRINCIPAL
from soapbatch.operations import OPERATIONS
from soapbatch.testing import DEMO_USER, ManualClock, NetServer, Personality, answering, lost_reply, run_virtual, serve
from tests.support.clients import in_process
from tests.support.raw_client import arguments_for, raw_client

DAY_IN_MINUTES = 24 * 60
ACCEPTED = [
    (Personality.LENIENT, None),
    (Personality.LENIENT, Binding.DOCUMENTED),
    (Personality.LENIENT, Binding.SOAP11),
    (Personality.LENIENT, Binding.SOAP12),
    (Personality.STRICT_SOAP11, None),
    (Personality.STRICT_SOAP11, Binding.SOAP11),
    (Personality.STRICT_SOAP12, None),
    (Personality.STRICT_SOAP12, Binding.SOAP12),
]


@pytest.mark.parametrize(("personality", "binding"), ACCEPTED)
async def test_the_client_runs_every_operation(personality: Personality, binding: Binding | None) -> None:
    """All 22 operations run over a socket, in each binding that a personality accepts; None: the client chooses."""
    user = attrs.evolve(DEMO_USER, generic={"key": "value"})
    server = NetServer(clock=ManualClock(), personality=personality, users=[user])
    server.tickets.implicit_user = user
    raw = raw_client(server)
    called: dict[str, Any] = {}
    async with (
        serve(server) as base_url,
        Client(
            base_url,
            credentials=Ticket(server.tickets.issue()),
            application_token="app",  # without a block or an argument, the documented form looks like plain SOAP 1.2
            binding=binding,
            allow_insecure=True,
        ) as client,
    ):
        agents = {BATCH: client.batch, SO_PRINCIPAL: client.principal, BLOB: client.blob}
        for name, operation in OPERATIONS.items():
            arguments = arguments_for(name, raw)
            called[name] = await getattr(agents[operation.agent], operation.python_name)(**arguments)
    assert {call.operation for call in server.calls} == OPERATIONS.keys()
    assert {call.outcome for call in server.calls} == {"succeeded"}
    found = {Personality.STRICT_SOAP11: Binding.SOAP11, Personality.STRICT_SOAP12: Binding.SOAP12}
    expected = binding or found.get(personality, Binding.DOCUMENTED)
    assert {call.binding for call in server.calls} == {expected}
    assert server.requests == len(server.calls) + (0 if binding else [*Binding].index(expected))
    assert called["GetOutputFromBatch"] == b"output"
    assert [info.name for info in called["GetAllBatchTaskInfosByName"]]
    assert called["StopBatchJob"] is False


async def test_any_host_will_do_in_process() -> None:
    """In the same process no address is needed: `http://test` takes a password without a word about encryption."""
    server = NetServer()
    for transport in (httpx.ASGITransport(server), httpx.ASGITransport(server)):
        credentials = UsernamePassword("demo", "demo")
        async with Client("http://test", credentials=credentials, transport=transport) as client:
            assert await client.batch.get_batch_task_info(42) is None
    assert server.tickets.logins == 2


@pytest.mark.parametrize("failures", ["header", "fault", "401"])
async def test_every_failure_has_three_forms(failures: Literal["header", "fault", "401"]) -> None:
    """An operation that fails is an OperationFailed, a Fault or an empty 401, whatever it fails for."""
    expected = {"header": OperationFailed, "fault": Fault, "401": AccessDenied}[failures]
    server = NetServer(failures=failures)
    async with in_process(server) as client:
        with pytest.raises(expected) as caught:
            await client.batch.stop_batch_job(42)
        with pytest.raises(expected):
            await client.batch.start_batch_job(BatchTaskInfo(name="Unknown"))
    if isinstance(caught.value, OperationFailed | Fault):
        assert caught.value.error_type == "SoEntityNotFoundException"


def test_a_reset_leaves_nothing() -> None:
    """After a reset the server is as it was made, but for the changes that are asked for."""
    server = NetServer(failures="fault", users=[attrs.evolve(DEMO_USER, name="ann")])
    server.define_job("Export")
    ticket = server.tickets.issue()
    server.tasks.add(BatchTaskInfo(name="Export"))
    server.intercept(None, lost_reply)
    server.requests = 3
    server.failures = "401"
    server.reset(version=ServiceVersion.V85)
    assert (server.failures, server.version, server.requests) == ("fault", ServiceVersion.V85, 0)
    assert "Export" not in server.tasks.jobs
    assert server.tasks.read(1) is None
    assert server.tickets.expires(ticket) is None
    assert server.unused_interceptors() == []
    assert server.tickets.by_password("ann", "demo").authentication_succeeded
    server.reset()
    assert server.version is None


def test_a_day_passes_at_once() -> None:
    """A call a minute for 24 hours, with one clock for server and client, causes one login, and no call fails."""

    async def main() -> tuple[int, int, float]:
        loop = asyncio.get_running_loop()
        server = NetServer(clock=loop.time)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http,
            Client(
                "http://localhost",
                credentials=UsernamePassword("demo", "demo"),
                version=ServiceVersion.V86,
                binding=Binding.DOCUMENTED,
                http_client=http,
            ) as client,
        ):
            task = await client.batch.start_batch_job(BatchTaskInfo(name="EndlessBatchPlugin"))
            for _ in range(DAY_IN_MINUTES):
                await asyncio.sleep(60)
                info = await client.batch.get_batch_task_info(task)
                assert info is not None
                assert info.state is BatchTaskState.STARTED
        return server.tickets.logins, server.counts["GetBatchTaskInfo"], loop.time()

    logins, calls, seconds = run_virtual(main())
    assert (logins, calls) == (1, DAY_IN_MINUTES)
    assert seconds == pytest.approx(24 * 3600, abs=1)


def test_the_client_handles_interceptors() -> None:
    """A start with a lost reply is not repeated, and its outcome is unknown; a reading is repeated after each 429."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = NetServer(clock=loop.time)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http,
            Client(
                "http://localhost", ticket=server.tickets.issue(), binding=Binding.DOCUMENTED, http_client=http
            ) as client,
        ):
            server.intercept("StartBatchJob", lost_reply)
            with pytest.raises(ConnectionLost) as caught:
                await client.batch.start_batch_job(BatchTaskInfo(name="EndlessBatchPlugin"))
            assert caught.value.applied == "unknown"
            server.intercept(None, answering(429, {"Retry-After": "7"}), times=2)
            info = await client.batch.get_batch_task_info(1)
            assert info is not None
            assert loop.time() >= 14
            assert server.counts == {"StartBatchJob": 1, "GetBatchTaskInfo": 3}

    run_virtual(main())
