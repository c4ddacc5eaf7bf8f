"""The recipe of a web service: start, progress as server-sent events, output, stop, and errors as JSON."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from soapbatch import BatchTaskInfo, Client, UsernamePassword
from soapbatch.errors import JobGone, JobRunning, OperationFailed, SoapBatchError, TransportError, UsageError
from soapbatch.testing import ManualClock, NetServer, ServerException, failing, serve
from tests.recipes.web_service import make_app, status_of
from tests.support.clients import until


@asynccontextmanager
async def service(server: NetServer) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield a client of the web service, which calls the embedded NetServer."""
    credentials = UsernamePassword("demo", "demo")
    app = make_app(lambda: Client("http://n", credentials=credentials, transport=httpx.ASGITransport(server)))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s") as http,
    ):
        yield http


async def test_a_job_from_start_to_output() -> None:
    """The same key gives the same job; the events end when the job does; the output is the server's, byte for byte."""
    clock = ManualClock()
    server = NetServer(clock=clock)
    server.define_job("Export", duration=1, output=b"\0\xff" * 5000)
    async with service(server) as http:
        key = {"idempotency-key": "acme/1"}
        first = await http.post("/jobs/Export", json={"archive": "contacts"}, headers=key)
        assert first.status_code == 202
        again = await http.post("/jobs/Export", json={"archive": "contacts"}, headers=key)
        assert again.json() == first.json()
        assert server.counts["StartBatchJob"] == 1
        id_ = first.json()["id"]

        early = await http.get(f"/jobs/{id_}/output")
        assert (early.status_code, early.json()["error"]) == (409, "JobRunning")

        clock.advance(60)
        events = (await http.get(f"/jobs/{id_}/events")).text.split("\n\n")
        states = [json.loads(event.removeprefix("data: "))["state"] for event in events if event]
        assert states[-1] == "Succeeded"
        assert (await http.get(f"/jobs/{id_}")).json()["name"] == "Export"
        assert (await http.get(f"/jobs/{id_}/output")).content == b"\0\xff" * 5000
        assert (await http.delete(f"/jobs/{id_}")).json() == {"stopped": False}


async def test_stop() -> None:
    """A job that runs is stopped, once; its events end with it."""
    server = NetServer(clock=ManualClock())
    server.define_job("Export", duration=3600)
    async with service(server) as http:
        started = await http.post("/jobs/Export", json={}, headers={"idempotency-key": "acme/1"})
        id_ = started.json()["id"]
        assert (await http.delete(f"/jobs/{id_}")).json() == {"stopped": True}
        events = await http.get(f"/jobs/{id_}/events")
        assert '"state": "Failed"' in events.text
        assert events.text.count("data: ") == 1


async def test_an_error_among_the_events() -> None:
    """The stream has begun: the error is its last event."""
    server = NetServer(clock=ManualClock())
    server.define_job("Export", duration=3600)
    task_id = server.tasks.start(BatchTaskInfo(name="Export"), 1)
    server.script("GetBatchTaskInfo", [None, failing(ServerException("SoSentryException", "No right"))])
    async with service(server) as http:
        first, last = (await http.get(f"/jobs/{task_id}/events")).text.rstrip("\n").split("\n\n")
    assert json.loads(first.removeprefix("data: "))["id"] == task_id
    name, data = last.split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"] == "OperationFailed"


def pollers() -> int:
    """Return how many asyncio tasks read what somebody waits for."""
    return sum(task.get_name() == "soapbatch poller" for task in asyncio.all_tasks())


async def test_a_browser_that_goes_away() -> None:
    """Its wait ends, and the job runs on."""
    server = NetServer(clock=ManualClock(patience=math.inf))
    server.define_job("Export", duration=3600)
    task_id = server.tasks.start(BatchTaskInfo(name="Export"), 1)
    credentials = UsernamePassword("demo", "demo")
    app = make_app(lambda: Client("http://n", credentials=credentials, transport=httpx.ASGITransport(server)))
    async with app.router.lifespan_context(app), serve(app) as url, httpx.AsyncClient(base_url=url) as http:
        async with http.stream("GET", f"/jobs/{task_id}/events") as events:
            assert (await anext(events.aiter_lines())).startswith("data: ")
            assert pollers()
        await until(lambda: not pollers())
    assert server.counts["StopBatchJob"] == 0


@pytest.mark.parametrize("path", ["/jobs/4711", "/jobs/4711/events", "/jobs/4711/output"])
async def test_an_error_says_whose_turn_it_is(path: str) -> None:
    """A task that does not exist is 404, and the body names the class of the error."""
    async with service(NetServer()) as http:
        gone = await http.get(path)
    assert gone.status_code == 404
    assert gone.json()["error"] == "JobGone"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (JobGone("x", id=1), 404),
        (JobRunning("x", id=1), 409),
        (UsageError("x"), 400),
        (TransportError("x"), 504),
        (OperationFailed("x"), 502),
        (SoapBatchError("x", retryable=True), 503),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_status_of_an_error(error: SoapBatchError, status: int) -> None:
    """Each class of the tree has its status."""
    assert status_of(error) == status
