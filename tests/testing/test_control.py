"""The control API of the embedded server: what a test in another language can ask for, and who may ask."""

from typing import Any

import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, Client, UsageError
from soapbatch.errors import ConnectionLost, HttpError, OperationFailed
from soapbatch.testing import Control, DrivenClock, JobDefinition, NetServer


def new_control(speed: float = 0.0) -> Control:
    """Return a server with the control API, and a job of its own."""
    clock = DrivenClock(speed)
    server = NetServer(clock=clock)
    jobs = {"Nightly": JobDefinition(duration=60)}
    server.tasks.jobs.update(jobs)
    return Control(server, clock, jobs)


def http_of(control: Control, base_url: str = "http://127.0.0.1:8080") -> httpx.AsyncClient:
    """Return an HTTP client of it, in process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(control), base_url=base_url)


async def test_jobs_can_be_defined_and_listed() -> None:
    """A definition has the fields of JobDefinition, with states as texts."""
    control = new_control()
    async with http_of(control) as http:
        fields = {"duration": 5, "outcome": "Failed", "result": "no", "output": "text"}
        answer = await http.post("/_control/jobs", json={"Export": fields})
        assert (answer.status_code, answer.json()) == (200, {"defined": ["Export"]})
        assert {"Export", "Nightly", "EndlessBatchPlugin"} <= set((await http.get("/_control/jobs")).json())
    expected = JobDefinition(duration=5, outcome=BatchTaskState.FAILED, result="no", output=b"text")
    assert control.server.tasks.jobs["Export"] == expected


async def test_calls_are_listed() -> None:
    """Each call with its operation, arguments and outcome; `operation` asks for those of one."""
    control = new_control()
    async with (
        http_of(control) as http,
        Client(
            "http://test",
            ticket=control.server.tickets.issue(),
            binding=Binding.DOCUMENTED,
            transport=httpx.ASGITransport(control),
        ) as client,
    ):
        await client.batch.start_batch_job(BatchTaskInfo(name="Nightly", parameter_object={"k": "v"}))
        await client.batch.get_batch_task_infos_by_associates([7])
        both = (await http.get("/_control/calls")).json()
        (start,) = (await http.get("/_control/calls?operation=StartBatchJob")).json()
        assert (await http.get("/_control/calls?operation=Nonsense")).status_code == 400
    assert [call["operation"] for call in both] == ["StartBatchJob", "GetBatchTaskInfosByAssociates"]
    assert start == {
        "operation": "StartBatchJob",
        "version": 88,
        "binding": "DOCUMENTED",
        "arguments": {"batch_task_info": {"name": "Nightly", "parameter_object": {"k": "v"}}},
        "at": 0.0,
        "outcome": "succeeded",
    }
    assert both[1]["arguments"] == {"associate_ids": [7]}


async def test_failures_can_be_scripted() -> None:
    """Every kind of step, one call each; a call after the last step runs undisturbed."""
    control = new_control()
    steps: list[Any] = [
        "lost_reply",
        {"answering": {"status": 404, "headers": {"Content-Type": "text/html"}, "body": "gone"}},
        {"failing": {"type": "SuperOffice.Exceptions.SoException", "message": "No", "friendly_text": "Sorry"}},
        {"delayed": 0.01},
        None,
    ]
    async with (
        http_of(control) as http,
        Client("http://test", ticket=control.server.tickets.issue(), transport=httpx.ASGITransport(control)) as client,
    ):
        answer = await http.post("/_control/script", json={"operation": "StopBatchJob", "steps": steps})
        assert (answer.status_code, answer.json()) == (200, {"steps": 5})
        id_ = await client.batch.start_batch_job(BatchTaskInfo(name="EndlessBatchPlugin"))
        for expected in (ConnectionLost, HttpError, OperationFailed):
            with pytest.raises(expected):
                await client.batch.stop_batch_job(id_)
        assert [await client.batch.stop_batch_job(id_) for _ in range(3)] == [False] * 3
    outcomes = [call.outcome for call in control.server.calls_of("StopBatchJob")]
    assert outcomes == ["succeeded", "intercepted", "SoException", "succeeded", "succeeded", "succeeded"]


async def test_time_is_driven() -> None:
    """`advance` moves the server's clock; tasks follow."""
    control = new_control()
    id_ = control.server.tasks.start(BatchTaskInfo(name="Nightly"), 1)
    async with http_of(control) as http:
        assert (await http.post("/_control/advance", json={"seconds": 3600})).json() == {"seconds": 3600.0}
        info = control.server.tasks.read(id_)
        assert info is not None
        assert info.state is BatchTaskState.SUCCEEDED
        answer = await http.post("/_control/advance", json={"seconds": -1})
        assert (answer.status_code, "does not go back" in answer.text) == (400, True)


async def test_a_reset_keeps_the_jobs_of_the_command_line() -> None:
    """Tasks, calls and later jobs go; the jobs that the server began with stay."""
    control = new_control()
    control.server.define_job("Later")
    control.server.tasks.start(BatchTaskInfo(name="Nightly"), 1)
    async with http_of(control) as http:
        assert (await http.post("/_control/reset", json={})).json() == {}
    assert control.server.tasks.read(1) is None
    assert "Nightly" in control.server.tasks.jobs
    assert "Later" not in control.server.tasks.jobs


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "words"),
    [
        ("GET", "nonsense", {}, 404, "there is no /_control/nonsense"),
        ("GET", "reset", {}, 405, "takes POST"),
        ("POST", "reset", {"content": b"{}"}, 415, "application/json"),
        ("POST", "script", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "not JSON"),
        ("POST", "script", {"json": {}}, 400, "KeyError('steps')"),
        ("POST", "script", {"json": {"steps": ["nonsense"]}}, 400, "KeyError('nonsense')"),
        ("POST", "script", {"json": {"steps": [{"nonsense": 1}]}}, 400, "there is no step nonsense: there are lost_"),
        ("POST", "script", {"json": {"operation": "Nonsense", "steps": [None]}}, 400, "Nonsense"),
        ("POST", "script", {"json": {"steps": [{"delayed": 1, "answering": 2}]}}, 400, "ValueError"),
        ("POST", "jobs", {"json": []}, 400, "AttributeError"),
        ("POST", "jobs", {"json": {"A": {"seconds": 1}}}, 400, "job A: there is no seconds"),
        ("POST", "reset", {"content": b"x" * (64 * 1024 * 1024 + 1)}, 413, "too large"),
    ],
)
async def test_wrong_requests_are_explained(
    method: str, path: str, options: dict[str, Any], status: int, words: str
) -> None:
    """The status and the error say what is wrong."""
    async with http_of(new_control()) as http:
        answer = await http.request(method, f"/_control/{path}", **options)
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("localhost", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("evil.example:8080", 403),
        ("evil.example", 403),
        ("", 403),
    ],
)
async def test_the_api_is_for_this_machine_alone(host: str, status: int) -> None:
    """A web page that has made its own name point here (DNS rebinding) is refused."""
    async with http_of(new_control()) as http:
        assert (await http.get("/_control/jobs", headers={"Host": host})).status_code == status


def test_a_driven_clock_runs_at_its_speed() -> None:
    """A clock of speed 0 stands still, one of speed 1000 runs; both can be moved forward, and neither goes back."""
    still, fast = DrivenClock(0), DrivenClock(1000)
    begin = fast()
    assert still() == 0
    while fast() == begin:
        pass
    still.advance(5)
    fast.advance(1e9)
    assert still() == 5
    assert fast() > 1e9
    with pytest.raises(UsageError, match="does not go back"):
        still.advance(-1)
