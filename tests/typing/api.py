"""Public calls that only type checkers read: what they accept, what it returns, and what they refuse.

`make lint` runs mypy and basedpyright over this file, and test_api.py runs pyrefly; no Python runs it. What all three
must refuse has a comment for each of the first two that names the error, and a comment that is not needed is an error
itself. `assert_type` names the type that an expression must have.
"""
# pyright: reportUnusedCoroutine=false, reportUnusedExpression=false

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import assert_never, assert_type

import httpx
import httpx2

from soapbatch import (
    ALL_USER_TASKS,
    AccessToken,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ConnectionPool,
    Generic,
    Hooks,
    Implicit,
    Job,
    JobReference,
    Marker,
    Outcome,
    Polling,
    Retries,
    Secret,
    ServiceVersion,
    SoapBatchError,
    Tenants,
    Ticket,
    UsernamePassword,
    __version__,
    build_request,
    parse_response,
)
from soapbatch.calls import CallEvent, CallScope, RequestEvent, ResponseEvent
from soapbatch.errors import Applied
from soapbatch.jobs import Failure, Success
from soapbatch.model import AuthenticateResponse, SoSystemInfoCarrier
from soapbatch.online import OnlineApp, PrivateKey, RefreshToken, SystemUser
from soapbatch.operations import (
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_ASSOCIATES,
    GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE,
    GET_BATCH_TASK_INFOS_BY_STATE,
    GET_OUTPUT_FROM_BATCH,
    START_BATCH_JOB,
)
from soapbatch.soap import Request
from soapbatch.testing import Answer, Call, JobDefinition, ManualClock, NetServer, Online, Proceed, lost_reply, serve

URL = "https://crm.example.com/SuperOffice"


async def a_ticket() -> str:
    """Return a ticket, as credentials of a caller's own do."""
    return "7T:..."


async def a_client_is_made_of() -> None:
    """An address, credentials and settings, each in the forms that the documentation names."""
    assert_type(__version__, str)
    async with Client(URL, ticket="7T:...") as client:
        assert_type(client, Client)
    Client(URL, ticket=Secret("7T:..."), version=ServiceVersion.V88, binding=Binding.SOAP11)
    Client(URL, credentials=UsernamePassword("ada", "secret"), version=88, timeout=None)
    Client(URL, credentials=Ticket("7T:..."), version="88", verify=ssl.create_default_context())
    Client(URL, credentials=AccessToken("8A:..."), retries=Retries(attempts=2), max_rate=5)
    Client(URL, credentials=Generic({"key": "value"}), proxy="http://proxy.example.com:3128")
    Client(URL, credentials=Implicit(), session_errors=["SoSessionException"])
    Client(URL, credentials=a_ticket, application_token=a_ticket)
    Client(URL, transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    Client(URL, transport=ConnectionPool(max_connections=4))
    Client(URL, http_client=httpx.AsyncClient())
    Client(URL, http_client=httpx2.AsyncClient())
    assert_type(Client.from_env(timeout=5), Client)
    online = Client.online("Cust12345", environment="sod", application_token="secret", system_user="My App-k3J9xQ2mPz")
    assert_type(online, Client)

    Client()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Client(URL, "7T:...")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Client(URL, password="secret")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Client(URL, timeout="5")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Client(URL, binding="soap11")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Client(URL, credentials=("ada", "secret"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Client(URL, transport=httpx.AsyncClient())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Client(URL, http_client=httpx.Client())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Client.online("Cust12345", application_token="secret")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Generic("value")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Retries(first_wait="1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def an_operation_is_a_method(client: Client) -> None:
    """Its parameters and its result have the types of the contract; a task that may be missing must be looked at."""
    info = await client.batch.get_batch_task_info(42, timeout=5)
    assert_type(info, BatchTaskInfo | None)
    if info is not None:
        assert_type(info.state, BatchTaskState | str | None)
        assert_type(info.last_started, datetime | None)
        assert_type(info.progress_percent, int | None)
    assert_type(await client.batch.get_batch_task_infos_by_associates(ALL_USER_TASKS), list[BatchTaskInfo])
    assert_type(await client.batch.get_batch_task_infos_by_associates([101, 102]), list[BatchTaskInfo])
    assert_type(await client.batch.get_batch_task_infos_by_state(BatchTaskState.STARTED), list[BatchTaskInfo])
    assert_type(await client.batch.start_batch_job(BatchTaskInfo(name="Export")), int)
    assert_type(await client.batch.stop_batch_job(42), bool)
    assert_type(await client.batch.delete_batch_tasks(range(3)), None)
    assert_type(await client.principal.get_system_info(), SoSystemInfoCarrier | None)
    assert_type(await client.principal.authenticate_implicit(), AuthenticateResponse)
    assert_type(await client.blob.get_output_from_batch(42), bytes | None)
    assert_type(client.blob.stream_output(42), AsyncGenerator[bytes, None])
    await client.blob.save_output(42, Path("export.csv"))

    info.name  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    await client.batch.get_batch_task_info("42")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await client.batch.get_batch_task_info(42, retries=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await client.batch.start_batch_job("Export")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await client.batch.get_task(42)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    BatchTaskInfo(42)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    BatchTaskInfo(identity=42)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    if info is not None:
        info.id = 43  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


async def a_stream_takes_the_parameters_of_its_operation(client: Client) -> None:
    """Each list operation has its own, and other operations have no stream."""
    async for info in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.STARTED):
        assert_type(info, BatchTaskInfo)
    client.batch.stream(GET_BATCH_TASK_INFOS_BY_ASSOCIATES, associate_ids=[101], options={"timeout": None})
    client.batch.stream(GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE, name="Export", state="Started")

    client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, name="")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    client.batch.stream(GET_BATCH_TASK_INFO, id=42)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]


async def a_job_is_started_and_waited_for(client: Client) -> None:
    """`start` takes keyword arguments; a handle gives what the job left."""
    job = await client.jobs.start(
        "ExportArchiveBatchPlugin",
        parameters={"archive": "contacts", "filter": None},
        description="Nightly export",
        key="acme/nightly/1",
        maybe_sent=True,
        if_running="attach",
        timeout=60,
    )
    assert_type(job, Job)
    assert_type(await client.jobs.start("Export", marker=Marker.PARAMETER, resend=True), Job)
    assert_type(await job.wait(timeout=60, polling=Polling(first=1), on_progress=print), BatchTaskInfo)
    async for info in job.watch():
        assert_type(info, BatchTaskInfo)
    assert_type(await job.output(), bytes | None)
    assert_type(await job.stop(force=True), bool)
    assert_type(job.reference, JobReference)
    assert_type(client.jobs.attach(job.reference), Job)
    assert_type(await client.jobs.find("Export", "acme/nightly/1"), Job | None)
    async with client.jobs.run("Export", stop_timeout=5) as running:
        assert_type(running, Job)

    await client.jobs.start("Export", {"archive": "contacts"})  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await client.jobs.start("Export", parameters={"count": 3})  # type: ignore[dict-item] # pyright: ignore[reportArgumentType]
    await client.jobs.start("Export", if_running="wait")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await client.jobs.start("Export", retry=True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await client.jobs.start_many([{"name": "Export", "retry": True}])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    await job.wait(60)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    client.jobs.attach("42")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def an_outcome_is_one_of_two(client: Client) -> None:
    """`error`, isinstance and `match` tell which; what is not there is None."""
    started = await client.jobs.start_many(["Export", {"name": "Import", "key": "acme/1"}], at_once=2)
    assert_type(started, list[Success[Job] | Failure])
    for outcome in await client.jobs.wait_all([42]):
        assert_type(outcome, Success[BatchTaskInfo] | Failure)
        if outcome.error is None:
            assert_type(outcome.result, BatchTaskInfo)
            assert_type(outcome.id, int)
        else:
            assert_type(outcome.error, SoapBatchError)
            assert_type(outcome.id, int | None)
            assert_type(outcome.error.applied, Applied)
        if outcome.ok is True:
            assert_type(outcome.result, BatchTaskInfo)
        match outcome:
            case Success():
                assert_type(outcome.unwrap(), BatchTaskInfo)
            case Failure():
                outcome.error.retryable
            case _:
                assert_never(outcome)
        outcome.result.id  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]


def an_outcome_can_be_handed_on(outcome: Outcome[bool]) -> bool | None:
    """The alias is the union of both."""
    return outcome.result


def hooks_are_functions() -> None:
    """Each takes its event and returns nothing; headers are text."""

    def on_request(event: RequestEvent) -> None:
        assert_type(event.attempt, int)

    def on_response(event: ResponseEvent) -> None:
        assert_type(event.status, int | None)

    def around_call(event: CallEvent) -> AbstractContextManager[CallScope]:
        assert_type(event.operation, str)
        raise NotImplementedError

    def headers() -> Mapping[str, str]:
        return {"traceparent": "00-..."}

    Client(URL, hooks=Hooks(on_request=on_request, on_response=on_response, headers=headers))
    Hooks(on_request=on_response)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Hooks(headers={"traceparent": "00-..."})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Hooks(around_call=around_call)
    Hooks(around_call=on_request)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Hooks(before_request=on_request)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def an_app_serves_tenants() -> None:
    """SuperOffice Online: an app has secrets, a client has a tenant and who it acts as."""
    key = PrivateKey.read(Path("app.pem"), password="secret")
    async with OnlineApp(environment="sod", client_secret=a_ticket, private_key=key) as app:
        assert_type(app.client("Cust12345", SystemUser("My App-k3J9xQ2mPz")), Client)
        app.client("Cust12345", RefreshToken("r", client_id="app"), timeout=5)

        OnlineApp(client_secret="secret")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
        OnlineApp("sod", client_secret="secret")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
        app.client()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
        app.client(12345, SystemUser("a"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    async def connect(tenant: str) -> Client:
        return Client(f"https://{tenant}.example.com", ticket=await a_ticket())

    async with Tenants(connect) as tenants, tenants.client("acme") as client:
        assert_type(client, Client)
    Tenants(URL)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def tests_have_a_server_of_their_own() -> None:
    """The testing kit: an embedded server, jobs, interceptors and time."""
    clock = ManualClock()
    server = NetServer(clock=clock, failures="fault")
    assert_type(server.define_job("Export", duration=60), JobDefinition)
    server.intercept(START_BATCH_JOB, lost_reply, times=2)

    async def refuse(call: Call, proceed: Proceed) -> Answer:
        assert_type(call.operation, str)
        return await proceed()

    server.intercept("StopBatchJob", refuse)
    async with serve(server) as url:
        assert_type(url, str)
    async with serve(Online()) as url:
        assert_type(url, str)

    NetServer(failures="silence")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    NetServer(clock=3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    server.intercept("StopBatchJob", lambda call: call)  # type: ignore[arg-type, misc] # pyright: ignore[reportArgumentType]


def envelopes_need_no_client() -> None:
    """What is built has path, headers and body; what is parsed has the type of the operation's result."""
    request = build_request(GET_BATCH_TASK_INFO, {"id": 42}, version=ServiceVersion.V88, ticket="7T:...")
    assert_type(request, Request)
    assert_type(request.body, bytes)
    assert_type(parse_response(GET_BATCH_TASK_INFO, b"", version=ServiceVersion.V88), BatchTaskInfo | None)
    assert_type(parse_response(GET_OUTPUT_FROM_BATCH, b"", version=ServiceVersion.V88), bytes | None)
    assert_type(parse_response(GET_BATCH_TASK_INFOS_BY_STATE, b"", version=ServiceVersion.V88), list[BatchTaskInfo])

    build_request(GET_BATCH_TASK_INFO, {"id": 42})  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    build_request(GET_BATCH_TASK_INFO, 42, version=ServiceVersion.V88)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    parse_response(GET_BATCH_TASK_INFO, "<a/>", version=ServiceVersion.V88)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
