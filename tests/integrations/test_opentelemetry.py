"""Spans and metrics, with the SDK's exporter and reader in memory."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_OFF
from opentelemetry.trace import SpanKind, StatusCode

from soapbatch import (
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Hooks,
    JobFailed,
    JobGone,
    OperationFailed,
    Polling,
    ServiceVersion,
    Tenants,
    UsernamePassword,
)
from soapbatch.integrations import opentelemetry
from soapbatch.integrations.opentelemetry import OpenTelemetry, netserver_spans
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, START_BATCH_JOB
from soapbatch.testing import Call, NetServer, Online, Personality, lost_request
from tests.support.clients import BASE, Reply, Step, answer, in_process, replying, scripted, virtual
from tests.support.job_server import World, in_world
from tests.support.telemetry import Telemetry, id_of, parent_of, trace_of

ALL: dict[str, Any] = {"state": BatchTaskState.ALL}
JOB = BatchTaskInfo(name="Export", description="cAnArY", parameter_object={"archive": "cAnArY"})
WHERE = {"server.address": "netserver.example", "server.port": 443}
START = {"rpc.system.name": "soap", "rpc.method": "Batch/StartBatchJob", **WHERE}
QUICK = Polling(first=1, floor=1, ceiling=1)


@pytest.fixture(autouse=True)
def _no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither hooks nor OpenTelemetry fail unnoticed, as with a context variable that is reset elsewhere."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


@pytest.fixture
def telemetry() -> Telemetry:
    """Return an SDK in memory."""
    return Telemetry()


# --- Calls and requests ---------------------------------------------------------------------------------------------


async def test_a_call_and_its_request(telemetry: Telemetry) -> None:
    """The names, kinds and attributes of both, and nothing else: no parameter, no event, no description."""
    client, script = scripted(replying(START_BATCH_JOB, 7), hooks=telemetry.hooks())
    async with client:
        with telemetry.tracer.start_as_current_span("service") as service:
            await client.batch.start_batch_job(JOB)
    call, request = telemetry.span("Batch/StartBatchJob"), telemetry.span("POST")
    assert (call.kind, request.kind) == (SpanKind.CLIENT, SpanKind.CLIENT)
    assert (parent_of(call), parent_of(request)) == (service.get_span_context().span_id, id_of(call))
    assert dict(call.attributes or {}) == {
        **START,
        "soapbatch.version": "Services88",
        "soapbatch.binding": "SOAP11",
        "soapbatch.attempt": 1,
    }
    assert dict(request.attributes or {}) == {
        **START,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": f"{BASE}/Remote/Services88/Batch.svc",
        "soapbatch.binding": "SOAP11",
        "soapbatch.attempt": 1,
    }
    for span in (call, request):
        assert span.status.status_code is StatusCode.UNSET
        assert not span.events
        assert span.instrumentation_scope is not None
        assert span.instrumentation_scope.name == "soapbatch"
        assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.45.0"
    assert script.requests[0].headers["traceparent"] == f"00-{trace_of(call):032x}-{id_of(request):016x}-03"


@virtual
async def test_retries_show(telemetry: Telemetry) -> None:
    """Each request has a span with its attempt, and its traceparent; an error that was retried is not the call's."""
    client, script = scripted(
        ConnectFailed("refused"), Reply(503), replying(GET_BATCH_TASK_INFO), hooks=telemetry.hooks()
    )
    async with client:
        await client.batch.get_batch_task_info(1)
    assert telemetry.tree("soapbatch.attempt", "http.response.status_code", "error.type").split("\n") == [
        "Batch/GetBatchTaskInfo                        CLIENT attempt=3",
        "  POST                                        CLIENT attempt=1 type=ConnectFailed ERROR",
        "  POST                                        CLIENT attempt=2 status_code=503 type=ServiceBusy ERROR",
        "  POST                                        CLIENT attempt=3 status_code=200",
    ]
    sent = [request.headers["traceparent"].split("-")[2] for request in script.requests]
    assert sent == [f"{id_of(span):016x}" for span in telemetry.spans("POST")]


@pytest.mark.parametrize(
    ("step", "error", "of_call", "of_request"),
    [
        (ConnectionLost("cAnArY"), ConnectionLost, ("ConnectionLost", "unknown"), "ConnectionLost"),
        (Step(Reply(), (("waiting", 100),)), DeadlineExceeded, ("DeadlineExceeded", "unknown"), None),
        (Step(asyncio.CancelledError()), asyncio.CancelledError, (None, "no"), None),
    ],
)
@virtual
async def test_calls_that_fail(step: Any, error: Any, of_call: Any, of_request: Any) -> None:
    """The type of the error, whether it was applied, and the status without a description; cancelled is no error."""
    telemetry = Telemetry()
    client, _ = scripted(step, hooks=telemetry.hooks(), timeout=10)
    async with client:
        with pytest.raises(error):
            await client.batch.start_batch_job(JOB)
    call, request = telemetry.span("Batch/StartBatchJob"), telemetry.span("POST")
    found = dict(call.attributes or {})
    assert (found.get("error.type"), found["soapbatch.applied"]) == of_call
    assert dict(request.attributes or {}).get("error.type") == of_request
    for span, kind in ((call, of_call[0]), (request, of_request)):
        assert span.status.status_code is (StatusCode.UNSET if kind is None else StatusCode.ERROR)
        assert span.status.description is None
        assert not span.events
    (point,) = telemetry.metrics()["rpc.client.call.duration"]
    assert point.attributes.get("error.type") == of_call[0]


async def test_a_login_and_the_search_for_the_binding(telemetry: Telemetry) -> None:
    """A login is below the call that needs it; each form that is tried is a request."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    server.define_job("Export")
    async with in_process(
        server, credentials=UsernamePassword("demo", "demo"), hooks=telemetry.hooks(), version=88
    ) as client:
        await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert telemetry.tree("soapbatch.binding", "error.type").split("\n") == [
        "Batch/StartBatchJob                           CLIENT binding=SOAP11",
        "  SoPrincipal/AuthenticateUsernamePassword    CLIENT binding=SOAP11",
        "    POST                                      CLIENT binding=DOCUMENTED type=BindingRefused ERROR",
        "    POST                                      CLIENT binding=SOAP11",
        "  POST                                        CLIENT binding=SOAP11",
    ]
    telemetry.clear()
    async with in_process(server, hooks=telemetry.hooks()) as client:
        await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert telemetry.tree("rpc.method").split("\n") == [
        "Batch/StartBatchJob                           CLIENT method=Batch/StartBatchJob",
        "  POST                                        CLIENT method=Batch/GetBatchTaskInfo ERROR",
        "  POST                                        CLIENT method=Batch/GetBatchTaskInfo",
        "  POST                                        CLIENT method=Batch/StartBatchJob",
    ]


async def test_the_binding_is_left_out_while_it_is_not_known(telemetry: Telemetry) -> None:
    """A call that did not find it has none."""
    client, _ = scripted(ConnectionLost("reset"), hooks=telemetry.hooks(), binding=None)
    async with client:
        with pytest.raises(ConnectionLost):
            await client.batch.start_batch_job(JOB)
    assert "soapbatch.binding" not in dict(telemetry.span("Batch/StartBatchJob").attributes or {})


WHOLE = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=1), BatchTaskInfo(id=2)])


@virtual
async def test_a_stream() -> None:
    """Its spans last until its end, in whichever task; the consumer's span stays current; to leave it is no error."""
    telemetry = Telemetry()
    client, script = scripted(Reply(body=[WHOLE]), hooks=telemetry.hooks())
    async with client:
        with telemetry.tracer.start_as_current_span("service") as service:
            stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)

            async def step() -> object:
                await anext(stream)
                return trace.get_current_span()

            assert [await asyncio.create_task(step()) for _ in range(2)] == [service, service]
            assert telemetry.spans() == []
        await stream.aclose()
    call, request = telemetry.span("Batch/GetBatchTaskInfosByState"), telemetry.span("POST")
    assert (parent_of(call), parent_of(request)) == (service.get_span_context().span_id, id_of(call))
    assert script.requests[0].headers["traceparent"].split("-")[2] == f"{id_of(request):016x}"
    for span in (call, request):
        assert span.status.status_code is StatusCode.UNSET
        assert "error.type" not in dict(span.attributes or {})


async def test_a_login_for_a_stream(telemetry: Telemetry) -> None:
    """It is beside the stream's span: nobody but the stream's own scopes sees that one."""
    credentials = UsernamePassword("demo", "demo")
    async with in_process(
        NetServer(), credentials=credentials, hooks=telemetry.hooks(), binding=Binding.SOAP11
    ) as client:
        with telemetry.tracer.start_as_current_span("service"):
            assert [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)] == []
    assert telemetry.tree().split("\n") == [
        "service                                       INTERNAL",
        "  Batch/GetBatchTaskInfosByState              CLIENT",
        "    POST                                      CLIENT",
        "  SoPrincipal/AuthenticateUsernamePassword    CLIENT",
        "    POST                                      CLIENT",
    ]


async def test_what_a_call_does_inside_sees_its_span(telemetry: Telemetry) -> None:
    """A log record, or a hook, within a request finds the request's span as the current one."""
    seen: list[int] = []
    hooks = telemetry.hooks(on_request=lambda _: seen.append(trace.get_current_span().get_span_context().span_id))
    client, _ = scripted(replying(GET_BATCH_TASK_INFO), hooks=hooks)
    async with client:
        await client.batch.get_batch_task_info(1)
    assert seen == [id_of(telemetry.span("POST"))]
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_spans_that_are_not_sampled(telemetry: Telemetry) -> None:
    """The context is sent all the same, and says so; metrics are not sampled."""
    for sampler in (ALWAYS_OFF, DEFAULT_OFF):
        telemetry = Telemetry(sampler)
        client, script = scripted(replying(GET_BATCH_TASK_INFO), hooks=telemetry.hooks())
        async with client:
            await client.batch.get_batch_task_info(1)
        assert telemetry.spans() == []
        assert not int(script.requests[0].headers["traceparent"].split("-")[3], 16) & 1
        assert telemetry.metrics()["rpc.client.call.duration"][0].value == 1


async def test_without_an_sdk() -> None:
    """Nothing is recorded, and nothing is sent; calls work."""
    client, script = scripted(replying(GET_BATCH_TASK_INFO), hooks=OpenTelemetry())
    async with client:
        await client.batch.get_batch_task_info(1)
    assert "traceparent" not in script.requests[0].headers


async def test_requests_of_a_call_without_its_scope(telemetry: Telemetry) -> None:
    """Only `around_request` is taken over: a request is below the current span."""
    client, _ = scripted(replying(GET_BATCH_TASK_INFO), hooks=Hooks(around_request=telemetry.hooks().around_request))
    async with client:
        with telemetry.tracer.start_as_current_span("service") as service:
            await client.batch.get_batch_task_info(1)
    assert parent_of(telemetry.span("POST")) == service.get_span_context().span_id


async def test_further_hooks(telemetry: Telemetry) -> None:
    """They stand beside those of OpenTelemetry."""
    seen: list[str] = []
    hooks = telemetry.hooks(on_request=lambda event: seen.append(event.operation), headers=lambda: {"X-Other": "1"})
    client, script = scripted(replying(GET_BATCH_TASK_INFO), hooks=hooks)
    async with client:
        await client.batch.get_batch_task_info(1)
    assert seen == ["GetBatchTaskInfo"]
    assert {"traceparent", "X-Other"} <= script.requests[0].headers.keys()
    assert len(telemetry.spans()) == 2
    with pytest.raises(TypeError):
        OpenTelemetry(on_nonsense=print)


def test_where_a_call_goes() -> None:
    """Address and port of a URL; the port of the scheme, where the URL has none."""
    urls = {
        "https://crm.example/SuperOffice": ("crm.example", 443),
        "http://crm.example": ("crm.example", 80),
        "https://[::1]:8443/a": ("::1", 8443),
    }
    for url, (address, port) in urls.items():
        found = opentelemetry._of_target("StartBatchJob", url)
        assert (found["server.address"], found["server.port"]) == (address, port)


def other_client(world: World, **options: Any) -> Client:
    """Return a client that need not find the binding."""
    return world.other_client(binding=Binding.DOCUMENTED, **options)


# --- Jobs, tickets and metrics --------------------------------------------------------------------------------------


@in_world
async def test_a_wait_is_no_span(world: World) -> None:
    """Neither it nor its readings: their requests carry the waiter's trace as not sampled. The end has a link."""
    telemetry = Telemetry()
    world.server.define_job("Export", duration=3)
    async with other_client(world, hooks=telemetry.hooks()) as client:
        with telemetry.tracer.start_as_current_span("service") as service:
            job = await client.jobs.start("Export")
            await job.wait(polling=QUICK)
    assert telemetry.tree("soapbatch.job.name", "soapbatch.job.outcome").split("\n") == [
        "service                                       INTERNAL",
        "  Batch/StartBatchJob                         CLIENT",
        "    POST                                      CLIENT",
        "job ended                                     INTERNAL name=Export outcome=Succeeded -> service",
    ]
    ended = telemetry.span("job ended")
    assert dict(ended.attributes or {})["soapbatch.task.id"] == job.id
    context = service.get_span_context()
    polled = {call.headers["traceparent"] for call in world.server.calls_of("GetBatchTaskInfo")}
    flags = context.trace_flags & ~1
    assert polled == {f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"}


@in_world
async def test_readings_as_spans(world: World) -> None:
    """Each begins a trace, with a link to the first wait; a list, too."""
    telemetry = Telemetry()
    world.server.define_job("Export", duration=3)
    async with other_client(world, hooks=telemetry.hooks(polls=True)) as client:
        with telemetry.tracer.start_as_current_span("service") as service:
            jobs = [await client.jobs.start("Export") for _ in range(3)]
            await client.jobs.wait_all(jobs)
    single = telemetry.spans("Batch/GetBatchTaskInfo")
    lists = telemetry.spans("Batch/GetBatchTaskInfosByNameAndAssociates")
    assert lists
    for span in single + lists:
        assert parent_of(span) is None
        assert [link.context.span_id for link in span.links] == [service.get_span_context().span_id]
        assert trace_of(span) != service.get_span_context().trace_id
    requests = {parent_of(span) for span in telemetry.spans("POST")}
    assert {id_of(span) for span in single + lists} < requests


@in_world
async def test_a_wait_outside_of_spans(world: World) -> None:
    """There is nothing to link to, and no context to send."""
    for polls in (False, True):
        telemetry = Telemetry()
        world.server.define_job("Export", duration=1)
        async with other_client(world, hooks=telemetry.hooks(polls=polls)) as client:
            job = await client.jobs.start("Export")
            await job.wait()
        assert not telemetry.span("job ended").links
        sent = world.server.calls_of("GetBatchTaskInfo")[-1].headers
        assert ("traceparent" in sent) is polls
        assert bool(telemetry.spans("Batch/GetBatchTaskInfo")) is polls


@in_world
async def test_how_jobs_end(world: World) -> None:
    """A job that failed, and one that is gone, are errors of the span; the metric has the outcome."""
    telemetry = Telemetry()
    world.server.define_job("Bad", duration=1, outcome=BatchTaskState.FAILED)
    world.server.define_job("Lost", duration=1000)
    async with other_client(world, hooks=telemetry.hooks(job_names=False)) as client:
        bad, lost = [await client.jobs.start(name) for name in ("Bad", "Lost")]
        with pytest.raises(JobFailed):
            await bad.wait()
        waiting = asyncio.ensure_future(lost.wait())
        await asyncio.sleep(5)
        world.server.tasks.delete(lost.id)
        with pytest.raises(JobGone):
            await waiting
    ends = [dict(span.attributes or {}) for span in telemetry.spans("job ended")]
    assert [(end["soapbatch.task.id"], end["soapbatch.job.outcome"], end["error.type"]) for end in ends] == [
        (bad.id, "Failed", "JobFailed"),
        (lost.id, "JobGone", "JobGone"),
    ]
    assert {span.status.status_code for span in telemetry.spans("job ended")} == {StatusCode.ERROR}
    points = telemetry.metrics()["soapbatch.job.duration"]
    assert [point.attributes for point in points] == [
        {"soapbatch.job.outcome": "Failed"},
        {"soapbatch.job.outcome": "JobGone"},
    ]
    text = str([(span.name, dict(span.attributes or {})) for span in telemetry.spans()]) + str(telemetry.metrics())
    assert "Lost" not in text


@in_world
async def test_metrics(world: World) -> None:
    """Each metric with its unit, its attributes and its values."""
    telemetry = Telemetry()
    world.server.define_job("Export", duration=3)
    credentials = UsernamePassword("demo", "demo")
    async with other_client(world, hooks=telemetry.hooks(), credentials=credentials) as client:
        job = await client.jobs.start("Export")
        waiting = asyncio.ensure_future(job.wait(polling=QUICK))
        await asyncio.sleep(1)
        assert telemetry.metrics()["soapbatch.jobs.watched"][0].value == 1
        info = await waiting
        with pytest.raises(OperationFailed):
            await client.batch.start_batch_job(BatchTaskInfo(name="Unknown"))
    metrics = telemetry.metrics()
    assert {name: points[0].unit for name, points in metrics.items()} == {
        "rpc.client.call.duration": "s",
        "soapbatch.job.duration": "s",
        "soapbatch.jobs.watched": "{job}",
        "soapbatch.polls": "{poll}",
        "soapbatch.tickets.renewals": "{ticket}",
    }
    reads = world.server.counts["GetBatchTaskInfo"]
    calls = {
        (point.attributes["rpc.method"], point.attributes.get("error.type")): point
        for point in metrics["rpc.client.call.duration"]
    }
    assert {key: point.value for key, point in calls.items()} == {
        ("SoPrincipal/AuthenticateUsernamePassword", None): 1,
        ("Batch/StartBatchJob", None): 1,
        ("Batch/StartBatchJob", "OperationFailed"): 1,
        ("Batch/GetBatchTaskInfo", None): reads,
    }
    where = {"server.address": "127.0.0.1", "server.port": 80}
    assert calls["Batch/StartBatchJob", None].attributes == START | where
    bounds = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert calls["Batch/StartBatchJob", None].data.explicit_bounds == bounds
    (ended,) = metrics["soapbatch.job.duration"]
    assert ended.attributes == {"soapbatch.job.name": "Export", "soapbatch.job.outcome": info.state}
    assert 3 <= ended.data.sum <= 7
    assert metrics["soapbatch.jobs.watched"][0].value == 0
    (polls,) = metrics["soapbatch.polls"]
    assert polls.attributes == {"soapbatch.poll.kind": "task", "soapbatch.job.name": "Export"}
    assert polls.value == reads
    assert [(point.attributes, point.value) for point in metrics["soapbatch.tickets.renewals"]] == [
        ({"soapbatch.ticket.event": "obtained"}, 1)
    ]


@in_world
async def test_no_parameter_and_no_text_of_the_server(world: World) -> None:
    """Neither what a job was started with, nor what the server says of it, is in a span or a metric."""
    telemetry = Telemetry()
    world.server.define_job("Export", duration=3, outcome=BatchTaskState.FAILED, result="cAnArY", output=b"cAnArY")
    async with other_client(world, hooks=telemetry.hooks(polls=True)) as client:
        job = await client.jobs.start("Export", parameters={"cAnArY": "cAnArY"}, description="cAnArY", key="cAnArY")
        with pytest.raises(JobFailed, match="cAnArY"):
            await job.wait()
        with pytest.raises(OperationFailed, match="cAnArY"):
            await client.batch.start_batch_job(BatchTaskInfo(name="cAnArY"))
        assert await client.jobs.find("Export", "cAnArY")
    text = "".join(span.to_json() for span in telemetry.spans()) + str(telemetry.metrics())
    assert "soapbatch.job.name" in text
    assert "cAnArY" not in text


@in_world
async def test_metrics_of_lists_and_of_logins_that_fail(world: World) -> None:
    """A list is one poll of its own kind; a login that fails has the type of its error."""
    telemetry = Telemetry()
    world.server.define_job("Export", duration=3)
    async with other_client(world, hooks=telemetry.hooks()) as client:
        await client.jobs.wait_all([await client.jobs.start("Export") for _ in range(3)])
    kinds = {point.attributes["soapbatch.poll.kind"] for point in telemetry.metrics()["soapbatch.polls"]}
    assert "list" in kinds
    world.server.tickets.refuse_logins = "flag"
    async with other_client(world, hooks=telemetry.hooks(), credentials=UsernamePassword("demo", "demo")) as client:
        with pytest.raises(Exception, match="gives no ticket"):
            await client.batch.get_batch_task_info(1)
    points = telemetry.metrics()["soapbatch.tickets.renewals"]
    assert {"soapbatch.ticket.event": "failed", "error.type": "AuthenticationFailed"} in [p.attributes for p in points]


# --- The other side, and clients made in other ways -----------------------------------------------------------------


async def test_the_server_continues_the_trace(telemetry: Telemetry) -> None:
    """The embedded server offers the headers that it got, and its operations are spans below the requests."""
    server = NetServer()
    server.define_job("Export")
    server.intercept("StartBatchJob", lost_request)
    server.intercept(None, netserver_spans(telemetry.traces), times=None)
    async with in_process(server, hooks=telemetry.hooks(), binding=Binding.SOAP11) as client:
        await client.batch.get_batch_task_info(1)
        with contextlib.suppress(ConnectionLost):
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
        with pytest.raises(OperationFailed):
            await client.batch.start_batch_job(BatchTaskInfo(name="Unknown"))
    assert telemetry.tree("rpc.method", "error.type").split("\n") == [
        "Batch/GetBatchTaskInfo                        CLIENT method=Batch/GetBatchTaskInfo",
        "  POST                                        CLIENT method=Batch/GetBatchTaskInfo",
        "    Batch/GetBatchTaskInfo                    SERVER method=Batch/GetBatchTaskInfo",
        "Batch/StartBatchJob                           CLIENT method=Batch/StartBatchJob type=ConnectionLost ERROR",
        "  POST                                        CLIENT method=Batch/StartBatchJob type=ConnectionLost ERROR",
        "Batch/StartBatchJob                           CLIENT method=Batch/StartBatchJob type=OperationFailed ERROR",
        "  POST                                        CLIENT method=Batch/StartBatchJob type=OperationFailed ERROR",
        "    Batch/StartBatchJob                       SERVER method=Batch/StartBatchJob type=ArgumentException ERROR",
    ]
    call = server.calls_of("GetBatchTaskInfo")[0]
    context = trace.get_current_span(propagate.extract(call.headers)).get_span_context()
    assert context.span_id == id_of(telemetry.spans("POST")[0])
    assert "traceparent" not in repr(call)


async def test_a_server_span_of_a_call_that_raises(telemetry: Telemetry) -> None:
    """It ends, and has neither event nor status: what an interceptor inside raises is its own."""

    async def proceed() -> object:
        raise LookupError

    call = Call("StartBatchJob", ServiceVersion.V88, Binding.SOAP11, {}, 0)
    with pytest.raises(LookupError):
        await netserver_spans(telemetry.traces)(call, proceed)
    assert not telemetry.span("Batch/StartBatchJob").events


async def test_credentials_of_http_are_masked() -> None:
    """The headers that the embedded server offers show no credentials."""
    server = NetServer()
    hooks = Hooks(headers=lambda: {"Authorization": "Basic cAnArY", "Cookie": "cAnArY", "X-Trace": "1"})
    async with in_process(server, hooks=hooks) as client:
        await client.batch.get_batch_task_info(1)
    headers = server.calls[0].headers
    assert (headers["authorization"], headers["cookie"], headers["x-trace"]) == ("***", "***", "1")


async def test_clients_made_in_other_ways(telemetry: Telemetry) -> None:
    """`from_env`, `Tenants` and `Client.online` take the hooks as `Client` does."""
    server = NetServer()
    transport = httpx.ASGITransport(server)
    environ = {"SOAPBATCH_URL": BASE, "SOAPBATCH_TICKET": server.tickets.issue()}

    async def connect(_: str) -> Client:
        return Client.from_env(environ, hooks=telemetry.hooks(), transport=transport)

    async with Tenants(connect) as tenants, tenants.client("acme") as client:
        await client.batch.get_batch_task_info(1)
    assert len(telemetry.spans("Batch/GetBatchTaskInfo")) == 1
    telemetry.clear()
    online = Online()
    app, place = online.add_app("My App"), online.add_tenant("Cust12345")
    async with Client.online(
        "Cust12345",
        environment="sod",
        application_token=app.client_secret,
        system_user=online.approve(app, place),
        private_key=app.private_key,
        hooks=telemetry.hooks(),
        transport=httpx.ASGITransport(online),
    ) as client:
        await client.batch.get_batch_task_info(1)
    call, request = telemetry.span("Batch/GetBatchTaskInfo"), telemetry.spans("POST")[-1]
    assert dict(call.attributes or {})["server.address"] == "sod.superoffice.com"
    assert str(dict(request.attributes or {})["url.full"]).endswith("/Cust12345/Remote/Services88/Batch.svc")
