"""The embedded server on a loopback socket, with uvicorn."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, UsageError
from soapbatch.model.batch import ALL_ASSOCIATES
from soapbatch.testing import Call, Interceptor, NetServer, cut_reply, lost_reply, lost_request, serve, serve_in_thread
from soapbatch.testing.interceptors import Proceed
from soapbatch.testing.responses import Answer
from tests.support.raw_client import RawClient, raw_client


@asynccontextmanager
async def on_socket() -> AsyncIterator[RawClient]:
    """Serve a new server, and yield a raw client of it over a socket."""
    client = raw_client(NetServer())
    async with serve(client.server) as base_url, httpx.AsyncClient(trust_env=False) as http:
        client.base_url, client.http = base_url, http
        yield client


async def test_it_is_served() -> None:
    """Short and long answers arrive, over one connection after the other and over many at once."""
    async with on_socket() as client:
        assert client.base_url.startswith("http://127.0.0.1:")
        for _ in range(1500):
            client.server.tasks.add(BatchTaskInfo(name="Bulk", state=BatchTaskState.NEW))
        found = await client("GetBatchTaskInfosByAssociates", associate_ids=ALL_ASSOCIATES)
        assert len(found) == 1500
        infos = await asyncio.gather(*(client("GetBatchTaskInfo", id=number) for number in range(1, 21)))
        assert [info.id for info in infos] == list(range(1, 21))


@pytest.mark.parametrize(
    ("interceptor", "error", "outcome"),
    [
        (lost_request, httpx.RemoteProtocolError, "dropped"),
        (lost_reply, httpx.RemoteProtocolError, "succeeded"),
        (cut_reply, httpx.RemoteProtocolError, "succeeded"),
    ],
)
async def test_connections_are_really_dropped(
    interceptor: Interceptor, error: type[Exception], outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees the connection end before or within an answer; the next call uses a new connection."""
    async with on_socket() as client:
        client.server.intercept(None, interceptor)
        with pytest.raises((error, httpx.ReadError)):
            await client("GetSystemInfo")
        assert (await client("GetSystemInfo")).company_name == "Example Company"
        assert [call.outcome for call in client.server.calls] == [outcome, "succeeded"]
    assert [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}] == []


async def test_closing_drops_the_calls_that_run(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving the block does not wait and logs nothing, and the port is free afterwards."""
    is_waiting = asyncio.Event()

    async def endless(_: Call, proceed: Proceed) -> Answer:
        is_waiting.set()
        await asyncio.Event().wait()
        return await proceed()

    server = NetServer()
    server.intercept(None, endless)
    async with httpx.AsyncClient(trust_env=False) as http:
        async with serve(server) as base_url:
            client = raw_client(server)
            client.base_url, client.http = base_url, http
            call = asyncio.create_task(client.post("GetSystemInfo"))
            await is_waiting.wait()
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await call
        with pytest.raises(httpx.ConnectError):
            await client.post("GetSystemInfo")
    assert [call.outcome for call in server.calls] == ["cancelled"]
    assert [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}] == []
    async with serve(server, port=int(base_url.rpartition(":")[2])) as again:
        assert again == base_url


async def test_a_port_serves_one_server() -> None:
    """The error of the second server says what is wrong."""
    async with serve(NetServer()) as base_url:
        port = int(base_url.rpartition(":")[2])
        with pytest.raises(UsageError, match="Address already in use"):
            async with serve(NetServer(), port=port):
                pass


async def test_uvicorn_comes_with_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uvicorn, the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"soapbatch\[testing\]"):
        async with serve(NetServer()):
            pass


def test_a_server_may_have_a_thread() -> None:
    """Programs without an event loop reach it, and it ends with the block; an error is raised in the caller."""
    server = NetServer()
    with serve_in_thread(server) as base_url:
        for _ in range(2):
            assert httpx.get(f"{base_url}/Remote/Services88/Batch.svc?wsdl", trust_env=False).status_code == 200
        port = int(base_url.rpartition(":")[2])
        with pytest.raises(UsageError, match="Address already in use"), serve_in_thread(NetServer(), port=port):
            pass
    assert server.requests == 2
    with pytest.raises(httpx.ConnectError):
        httpx.get(base_url, trust_env=False)
    assert not [thread for thread in threading.enumerate() if "NetServer" in thread.name]
