"""The client and the embedded server together: every operation, each personality, and a day of virtual time."""

import asyncio
from typing import Any

import attrs
import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, Client, ServiceVersion, Ticket, UsernamePassword
from soapbatch.errors import ConnectionLost
from soapbatch.model.services import BATCH, BLOB, SO_PRINCIPAL
from soapbatch.operations import OPERATIONS
from soapbatch.testing import DEMO_USER, ManualClock, NetServer, Personality, answering, lost_reply, run_virtual, serve
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
        Client(base_url, credentials=Ticket(server.tickets.issue()), binding=binding, allow_insecure=True) as client,
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
