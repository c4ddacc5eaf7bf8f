"""The embedded server on a loopback socket, under uvicorn."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, UsageError
from soapbatch.model.batch import ALL_ASSOCIATES
from soapbatch.testing import Call, Interceptor, NetServer, cut_reply, lost_reply, lost_request, serve
from soapbatch.testing.interceptors import Proceed
from soapbatch.testing.responses import Answer
from tests.support.raw_client import Speaker, speaker


@asynccontextmanager
async def on_socket() -> AsyncIterator[Speaker]:
    """Serve a new server, and talk to it over a socket."""
    speak = speaker(NetServer())
    async with serve(speak.server) as base_url, httpx.AsyncClient(trust_env=False) as http:
        speak.base_url, speak.http = base_url, http
        yield speak


async def test_it_is_served() -> None:
    """On a port of its own, whole answers and long ones, one connection after the other and many at once."""
    async with on_socket() as speak:
        assert speak.base_url.startswith("http://127.0.0.1:")
        for _ in range(1500):
            speak.server.tasks.add(BatchTaskInfo(name="Bulk", state=BatchTaskState.NEW))
        found = await speak("GetBatchTaskInfosByAssociates", associate_ids=ALL_ASSOCIATES)
        assert len(found) == 1500
        infos = await asyncio.gather(*(speak("GetBatchTaskInfo", id=number) for number in range(1, 21)))
        assert [info.id for info in infos] == list(range(1, 21))


@pytest.mark.parametrize(
    ("interceptor", "error", "outcome"),
    [
        (lost_request, httpx.RemoteProtocolError, "dropped"),
        (lost_reply, httpx.RemoteProtocolError, "succeeded"),
        (cut_reply, httpx.RemoteProtocolError, "succeeded"),
    ],
)
async def test_connections_really_die(
    interceptor: Interceptor, error: type[Exception], outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees the connection end without an answer, or within one; the next call gets a new one."""
    async with on_socket() as speak:
        speak.server.intercept(None, interceptor)
        with pytest.raises((error, httpx.ReadError)):
            await speak("GetSystemInfo")
        assert (await speak("GetSystemInfo")).company_name == "Example Company"
        assert [call.outcome for call in speak.server.calls] == [outcome, "succeeded"]
    assert [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}] == []


async def test_closing_cuts_off_what_runs(caplog: pytest.LogCaptureFixture) -> None:
    """The block is left at once, quietly, and the port is free again."""
    is_waiting = asyncio.Event()

    async def endless(_: Call, proceed: Proceed) -> Answer:
        is_waiting.set()
        await asyncio.Event().wait()
        return await proceed()

    server = NetServer()
    server.intercept(None, endless)
    async with httpx.AsyncClient(trust_env=False) as http:
        async with serve(server) as base_url:
            speak = speaker(server)
            speak.base_url, speak.http = base_url, http
            call = asyncio.create_task(speak.post("GetSystemInfo"))
            await is_waiting.wait()
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await call
        with pytest.raises(httpx.ConnectError):
            await speak.post("GetSystemInfo")
    assert [call.outcome for call in server.calls] == ["cancelled"]
    assert [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}] == []
    async with serve(server, port=int(base_url.rpartition(":")[2])) as again:
        assert again == base_url


async def test_a_port_can_be_had_once() -> None:
    """The second server says what is wrong."""
    async with serve(NetServer()) as base_url:
        port = int(base_url.rpartition(":")[2])
        with pytest.raises(UsageError, match="Address already in use"):
            async with serve(NetServer(), port=port):
                pass


async def test_uvicorn_comes_with_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the error names the extra."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"soapbatch\[demo\]"):
        async with serve(NetServer()):
            pass
