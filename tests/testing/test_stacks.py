"""The personalities of other SOAP stacks: they write what the recordings show, and it means the same."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import unescape

import attrs
import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, ServiceVersion, build_request, parse_response
from soapbatch.errors import (
    AccessDenied,
    AuthenticationFailed,
    BindingRefused,
    Fault,
    OperationFailed,
    SoapBatchError,
    UsageError,
    VersionMismatch,
)
from soapbatch.model import AuthenticateResponse, ReplyHeader, SoPrincipalCarrier
from soapbatch.operations import OPERATIONS
from soapbatch.testing import DEMO_USER, ManualClock, NetServer, Personality, ServerException, failing, serve
from soapbatch.testing.faults import FaultCode, fault
from soapbatch.testing.responses import ResponseForm
from tests.support.raw_client import PAIRS, RawClient, arguments_for, raw_client

WIRE = Path(__file__).parents[2] / "fixtures" / "wire"
FOLDERS = {Personality.MONO: "mono-basic11", Personality.JAXWS: "jaxws11", Personality.NODE_SOAP: "node-soap"}
OPERATIONS_OF = {Personality.GSOAP: "gsoap", Personality.SPYNE: "spyne11"}
"""The recordings of the second round: their folders hold a list that names the operation of each."""
LATER = [
    (personality, *recording)
    for personality, folder in OPERATIONS_OF.items()
    for recording in json.loads((WIRE / folder / "operations.json").read_text()).items()
]
OWN = {
    Personality.MONO: Binding.SOAP11,
    Personality.MONO_SOAP12: Binding.SOAP12,
    Personality.JAXWS: Binding.SOAP11,
    Personality.NODE_SOAP: Binding.SOAP11,
    Personality.GSOAP: Binding.SOAP11,
    Personality.SPYNE: Binding.SOAP11,
    Personality.WITH_BYTE_ORDER_MARK: Binding.SOAP11,
}
TASK = BatchTaskInfo(
    id=1,
    name="Job æ & 漢",
    associate_id=103,
    parameter_object={"k": "v", "nil": None},
    state=BatchTaskState.NEW,
    description='a "b" <c>',
    response="",
)
"""What a stack may be asked to write, with values that are absent, nil, empty and escaped."""


def recorded(fixtures: Path, personality: Personality, name: str) -> tuple[dict[str, str], str]:
    """Return the headers and the body of a recording."""
    text = (fixtures / "wire" / FOLDERS[personality] / f"{name}.http").read_bytes().replace(b"\r\n", b"\n").decode()
    head, _, body = text.partition("\n\n")
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines()[1:])}, body


def recorded_later(personality: Personality, name: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a recording of the second round."""
    head, _, body = (WIRE / OPERATIONS_OF[personality] / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


def client_of(personality: Personality, **settings: Any) -> RawClient:
    """Return a raw client of a server, in the binding that the personality likes."""
    server = NetServer(clock=ManualClock(), personality=personality, **settings)
    return raw_client(server, binding=OWN[personality])


@pytest.mark.parametrize("personality", FOLDERS)
@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("ok_stop", "StopBatchJob"),
        ("ok_get_null_response", "GetBatchTaskInfo"),
        ("list_empty", "GetBatchTaskInfosByNameAndState"),
        ("ok_delete", "DeleteBatchTask"),
        ("ok_start", "StartBatchJob"),
    ],
)
async def test_an_answer_is_written_as_it_was_recorded(
    fixtures: Path, personality: Personality, name: str, operation: str
) -> None:
    """Byte for byte: declaration, prefixes, namespaces, header blocks, nil values and empty elements."""
    _, expected = recorded(fixtures, personality, name)
    client = client_of(personality)
    client.server.define_job("Export")
    arguments: dict[str, object] = {"id": 1}
    if operation == "GetBatchTaskInfosByNameAndState":
        arguments = {"name": "Export", "state": BatchTaskState.ALL}
    elif operation == "DeleteBatchTask":
        arguments = {"batch_task_id": client.server.tasks.add(TASK)}
    elif operation == "StartBatchJob":
        arguments = {"batch_task_info": BatchTaskInfo(name="Export")}
    elif operation == "StopBatchJob":
        client.server.tasks.start(BatchTaskInfo(name="Export"), 1)
        if ">false<" in expected:
            client.server.tasks.stop(1)
    answer = await client.post(operation, **arguments)
    written = re.sub(r"(<Response>)\d+(</Response>)", r"\g<1>N\2", answer.text)
    assert written == re.sub(r"(<Response>)\d+(</Response>)", r"\g<1>N\2", expected)
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"


@pytest.mark.parametrize("personality", [Personality.MONO, Personality.NODE_SOAP])
async def test_a_task_is_written_as_it_was_recorded(fixtures: Path, personality: Personality) -> None:
    """The same elements in the same style, where the values allow it (times differ, and node-soap's order)."""
    _, expected = recorded(fixtures, personality, "ok_get_started")
    created = datetime(2026, 11, 23, 3, 51, 0, 785952, UTC)
    client = client_of(personality)
    client.server.tasks.add(attrs.evolve(TASK, created=created, description=None, response=None))
    written = (await client.post("GetBatchTaskInfo", id=1)).text
    if personality is Personality.MONO:
        assert written == expected
    else:
        tags = re.compile(r"<[^>]+>")
        assert sorted(tags.findall(written)) == sorted(tags.findall(expected))


@pytest.mark.parametrize("personality", FOLDERS)
@pytest.mark.parametrize("name", ["list_fail", "fail_bad_ticket"])
async def test_a_failure_is_written_as_it_was_recorded(fixtures: Path, personality: Personality, name: str) -> None:
    """Header blocks, their order and prefixes, and the body beside them; texts of the exceptions are left out."""
    _, expected = recorded(fixtures, personality, name)
    client = client_of(personality)
    client.server.intercept(None, failing(ServerException("a.b", "m", "f")))
    written = (await client.post("GetBatchTaskInfosByNameAndState", name="x", state=BatchTaskState.NEW)).text

    def frame(text: str) -> str:
        return re.sub(r"(<(?:h:)?ExceptionInfo[^>]*>).*(</(?:h:)?ExceptionInfo>)", r"\1\2", text, flags=re.DOTALL)

    def names(text: str) -> set[str]:
        info = re.search(r"ExceptionInfo[^>]*>(.*)</", text, re.DOTALL)
        return set(re.findall(r"<([\w:]+)[ >/]", info[1] if info else ""))

    assert frame(written) == frame(expected)
    if personality is Personality.NODE_SOAP:
        assert {"h:Message", "h:FriendlyText"} <= names(written)


@pytest.mark.parametrize("personality", FOLDERS)
async def test_a_fault_is_written_as_it_was_recorded(fixtures: Path, personality: Personality) -> None:
    """The declaration, the prefix of the envelope and the status are the stack's; the code has its prefix."""
    _, expected = recorded(fixtures, personality, "list_fault")
    client = client_of(personality, failures="fault")
    answer = await client.post("StopBatchJob", id=42)
    start = re.compile(r"(<\?xml.*?\?>)<(\w+):Envelope xmlns:\2=\"[^\"]+\"")
    written = start.match(answer.text)
    assert written
    assert written[0] == (start.match(expected) or [""])[0]
    assert f">{written[2]}:Server</faultcode>" in answer.text
    with pytest.raises(Fault) as caught:
        await client("StopBatchJob", id=42)
    assert caught.value.error_type == "SoEntityNotFoundException"


# What no server of ours writes: a list that is nil, nil among the items of an array, and characters that XML forbids.
NEVER_WRITTEN = {
    Personality.GSOAP: {"list_null", "list_nil", "list_nullitem", "list_ctrl"},
    Personality.SPYNE: {"list_null", "list_nil", "list_nullitem", "login_ok", "generic", "token"},
}
VARYING = re.compile(rb"7T:bad|\*\*\*|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)?")


@pytest.mark.parametrize(
    ("personality", "name", "operation"),
    [
        (personality, name, operation)
        for personality, name, operation in LATER
        if recorded_later(personality, name)[0] == 200 and name.rpartition("/")[2] not in NEVER_WRITTEN[personality]
    ],
)
def test_what_was_recorded_is_written_again(personality: Personality, name: str, operation: str) -> None:
    """A recording that is read, and written in its stack's style, is the same but for dates and a masked ticket."""
    status, headers, body = recorded_later(personality, name)
    result: Any = None
    header = ReplyHeader(succeeded=True)
    try:
        result = parse_response(operation, body, version=ServiceVersion.V88, status=status)
    except AuthenticationFailed:
        result = AuthenticateResponse(authentication_succeeded=False)
    except OperationFailed as error:
        header = ReplyHeader(exception_info=error.exception_info, succeeded=False)
    form = ResponseForm(
        OPERATIONS[operation],
        ServiceVersion.V88,
        Binding.SOAP12 if b"2003/05/soap-envelope" in body else Binding.SOAP11,
        personality.value.style,
    )
    style = personality.value.style
    assert style is not None
    answer = form.styled(style, result, header)
    assert VARYING.sub(b"", b"".join(answer.body)) == VARYING.sub(b"", body)
    written = {name.lower(): value for name, value in answer.headers.items()}
    assert written["content-type"] == headers["content-type"]
    assert written["server"] == headers["server"]
    assert isinstance(answer.body, tuple) is ("content-length" in headers)


@pytest.mark.parametrize(
    ("personality", "binding", "name", "operation"),
    [
        (Personality.GSOAP, Binding.SOAP11, "soap11/list_fault", "GetBatchTaskInfosByNameAndState"),
        (Personality.GSOAP, Binding.SOAP12, "soap12/list_fault", "GetBatchTaskInfosByNameAndState"),
        (Personality.GSOAP, Binding.SOAP11, "soap11/list_faultdetail", "GetBatchTaskInfosByNameAndState"),
        (Personality.GSOAP, Binding.DOCUMENTED, "documented/get_one", "GetBatchTaskInfo"),
        (Personality.GSOAP, Binding.DOCUMENTED, "documented/start", "GetBatchTaskInfo"),
        (Personality.SPYNE, Binding.SOAP11, "soap11/list_unhandled", "GetBatchTaskInfosByNameAndState"),
        (Personality.SPYNE, Binding.SOAP12, "soap12/get_one", "GetBatchTaskInfo"),
        (Personality.SPYNE, Binding.DOCUMENTED, "documented/get_one", "GetBatchTaskInfo"),
    ],
)
async def test_a_recorded_fault_is_written_again(
    personality: Personality, binding: Binding, name: str, operation: str
) -> None:
    """The same to the byte, but for the detail, and for the header that gSOAP sends back."""
    status, headers, body = recorded_later(personality, name)
    text = body.decode()
    reason = re.search(r"(?:<faultstring>|xml:lang=\"en\">)(.*?)</", text)
    assert reason is not None
    code: FaultCode = "Client" if ":Sender<" in text else "Server"
    style = personality.value.style
    if name.endswith(("fault", "faultdetail", "unhandled")):
        answer = fault(binding.envelope, code, unescape(reason[1]), version=ServiceVersion.V88, style=style)
        written = b"".join(answer.body).decode()
        found = (answer.status, answer.headers["Content-Type"], answer.headers["Server"])
    else:
        client = client_of(personality)
        client.binding = binding
        request = build_request(operation, {"id": 1}, version=client.version, binding=binding, ticket=client.ticket)
        response = await client.send(request.path, request.body, dict(request.headers))
        written, found = (
            response.text,
            (response.status_code, response.headers["content-type"], response.headers["server"]),
        )
    left_out = re.compile(r"<SOAP-ENV:(Header|Detail)>.*</SOAP-ENV:\1>")
    assert written == left_out.sub("", text)
    assert found == (status, headers["content-type"], headers["server"])


@pytest.mark.parametrize("personality", OPERATIONS_OF)
async def test_a_failure_is_a_fault_with_its_detail(personality: Personality) -> None:
    """A client reads the type of the exception from it, in each stack's form."""
    client = client_of(personality, failures="fault")
    answer = await client.post("StopBatchJob", id=42)
    prefix = {"gsoap": "ns1", "spyne11": "tns"}[OPERATIONS_OF[personality]]
    assert f"<{prefix}:SoExceptionInfo" in answer.text
    assert ":nil" not in answer.text
    assert answer.status_code == 500
    with pytest.raises(Fault) as caught:
        await client("StopBatchJob", id=42)
    assert caught.value.error_type == "SoEntityNotFoundException"


@pytest.mark.parametrize("personality", [*FOLDERS, *OPERATIONS_OF])
async def test_line_breaks_and_white_space_arrive(personality: Personality) -> None:
    """A carriage return is written as a reference: XML readers would make a line feed of it."""
    client = client_of(personality)
    task = attrs.evolve(TASK, description="a\r\nb\rc\nd\te", parameter_object={"k\r": "v\r"})
    client.server.tasks.add(task)
    found = await client("GetBatchTaskInfo", id=1)
    assert (found.description, dict(found.parameter_object)) == (task.description, task.parameter_object)


async def test_what_gsoap_and_spyne_see() -> None:
    """Both go by the Body; gSOAP takes SOAP 1.1 and SOAP 1.2, and a login in the documented form."""
    for personality in OPERATIONS_OF:
        client = client_of(personality)
        request = build_request("GetBatchTaskInfo", {"id": 1}, version=client.version, binding=Binding.SOAP11)
        headers = {"Content-Type": "text/xml", "SOAPAction": '"urn:other"'}
        assert (await client.send(request.path, request.body, headers)).status_code == 200
    client = client_of(Personality.GSOAP)
    login = {"user_name": "demo", "password": "demo"}
    for binding in (Binding.SOAP11, Binding.SOAP12):
        client.binding = binding
        assert (await client("AuthenticateUsernamePassword", **login)).authentication_succeeded
    plain = build_request("AuthenticateUsernamePassword", login, version=client.version)
    answer = await client.send(plain.path, plain.body, dict(plain.headers))
    assert parse_response("AuthenticateUsernamePassword", answer.content, version=client.version)
    client = client_of(Personality.SPYNE)
    client.binding = Binding.SOAP12
    with pytest.raises(Fault) as caught:
        await client("GetBatchTaskInfo", id=1)
    assert caught.value.applied == "unknown"


@pytest.mark.parametrize("personality", OWN)
@pytest.mark.parametrize(("operation", "version"), PAIRS)
async def test_every_answer_means_the_same(operation: str, version: ServiceVersion, personality: Personality) -> None:
    """155 pairs of operation and version: each result is that of the lenient server, but for what cannot be written."""

    async def result_of(kind: Personality) -> Any:
        user = attrs.evolve(DEMO_USER, generic={"key": "value"})
        epoch = datetime(2024, 2, 29, tzinfo=UTC)
        server = NetServer(clock=ManualClock(), epoch=epoch, personality=kind, users=[user])
        server.tickets.implicit_user = user
        client = raw_client(server, version, OWN.get(kind, Binding.SOAP11))
        server.tasks.add(TASK)
        return await client(operation, **arguments_for(operation, client))

    expected, found = await result_of(Personality.LENIENT), await result_of(personality)
    if hasattr(expected, "credentials"):
        expected, found = expected.response, found.response
    assert _without_defaults(found) == _without_defaults(expected)


def _without_defaults(value: Any) -> Any:
    """Return a value in which .NET's defaults, empty texts and None are the same: Mono cannot leave values out."""
    if isinstance(value, list | tuple):
        return [_without_defaults(item) for item in value]
    if attrs.has(type(value)):
        fields = attrs.asdict(value, recurse=False)
        plain = {name: _without_defaults(field) for name, field in fields.items()}
        return {
            name: field
            for name, field in plain.items()
            if field not in (None, "", 0, False, [], {}, "Unknown", "CanCancel")
        }
    return value


async def test_arrays_of_another_namespace_are_read() -> None:
    """The function rights of a principal, in each stack's own way."""
    for personality in OWN:
        answer = await client_of(personality)("AuthenticateUsernamePassword", user_name="demo", password="demo")
        assert isinstance(answer.response, SoPrincipalCarrier)
        assert list(answer.response.function_rights or ()) == ["batch-start", "batch-stop"]


async def test_what_node_soap_sees() -> None:
    """It takes every binding, answers SOAP 1.2 with SOAP 1.1, and sees no ticket in the documented form."""
    client = client_of(Personality.NODE_SOAP)
    client.binding = Binding.SOAP12
    answer = await client.post("GetBatchTaskInfo", id=1)
    assert "http://schemas.xmlsoap.org/soap/envelope/" in answer.text
    assert answer.headers["content-type"].startswith("application/soap+xml")
    client.binding = Binding.DOCUMENTED
    with pytest.raises(OperationFailed, match="No credentials in request header"):
        await client("GetBatchTaskInfo", id=1)


async def test_what_jax_ws_sees() -> None:
    """It goes by the Body, whatever the action says; refuses SOAP 1.2; and sees no ticket beside the Body."""
    client = client_of(Personality.JAXWS)
    request = await client.post("GetBatchTaskInfo", id=1)
    assert request.status_code == 200

    built = build_request(
        "GetBatchTaskInfo", {"id": 1}, version=client.version, binding=Binding.SOAP11, ticket=client.ticket
    )
    headers = dict(built.headers) | {"SOAPAction": '"urn:other"'}
    assert (await client.send(built.path, built.body, headers)).status_code == 200
    client.binding = Binding.SOAP12
    with pytest.raises(BindingRefused):
        await client("GetBatchTaskInfo", id=1)
    old = build_request(
        "GetBatchTaskInfo", {"id": 1}, version=client.version, binding=Binding.SOAP12, ticket=client.ticket
    )
    answer = await client.send(old.path, old.body, {"Content-Type": "text/xml", "SOAPAction": '""'})
    with pytest.raises(VersionMismatch):
        parse_response("GetBatchTaskInfo", answer.content, version=client.version, status=answer.status_code)


@pytest.mark.parametrize(
    ("personality", "is_chunked"),
    [
        (Personality.MONO, False),
        (Personality.JAXWS, True),
        (Personality.NODE_SOAP, True),
        (Personality.GSOAP, False),
        (Personality.SPYNE, False),
    ],
)
async def test_the_frame_of_http(fixtures: Path, personality: Personality, *, is_chunked: bool) -> None:
    """Content-Length or chunks, the Server header, and whether the connection is kept, as recorded."""
    if personality in FOLDERS:
        headers, _ = recorded(fixtures, personality, "ok_stop")
    else:
        headers = recorded_later(personality, "soap11/get_nil")[1]
    client = client_of(personality)
    async with serve(client.server) as client.base_url, httpx.AsyncClient(trust_env=False) as client.http:
        for path in ("StopBatchJob", "GetBatchTaskInfo"):
            answer = await client.post(path, id=1)
            assert ("transfer-encoding" in answer.headers) is is_chunked is ("transfer-encoding" in headers)
            assert answer.headers.get("server") == headers.get("server")
            assert (answer.headers.get("connection") == "close") is (personality in OPERATIONS_OF)


async def test_a_byte_order_mark_stands_before_every_answer() -> None:
    """Short answers and long ones begin with it, and their length is right."""
    client = client_of(Personality.WITH_BYTE_ORDER_MARK)
    for _ in range(1200):
        client.server.tasks.add(attrs.evolve(TASK, id=None))
    for operation, arguments in (("GetBatchTaskInfo", {"id": 1}), ("GetAllBatchTaskInfosByName", {"task_name": ""})):
        answer = await client.post(operation, **arguments)
        assert answer.content.startswith(b"\xef\xbb\xbf<?xml")
        assert await client(operation, **arguments)


async def test_large_answers_are_written_in_every_style() -> None:
    """Lists and files that the lenient server sends in pieces are whole in the other styles."""
    for personality in (*FOLDERS, *OPERATIONS_OF):
        client = client_of(personality)
        for _ in range(1200):
            client.server.tasks.add(attrs.evolve(TASK, id=None))
        id_ = client.server.tasks.add(
            BatchTaskInfo(state=BatchTaskState.SUCCEEDED), output=lambda: iter([b"a" * 99, b"b"])
        )
        assert len(await client("GetAllBatchTaskInfosByName", task_name=TASK.name)) == 1200
        assert await client("GetOutputFromBatch", batch_task_id=id_) == b"a" * 99 + b"b"


@pytest.mark.parametrize("personality", OWN)
async def test_refusals_of_tickets_keep_their_meaning(personality: Personality) -> None:
    """Each stack refuses a ticket by header, fault and 401."""
    kinds: dict[Any, type[SoapBatchError]] = {"header": OperationFailed, "fault": Fault, "401": AccessDenied}
    for refusal, expected in kinds.items():
        client = client_of(personality, ticket_refusals=refusal)
        client.ticket = "7T:unknown"
        with pytest.raises(expected):
            await client("GetBatchTaskInfo", id=1)


def test_personalities_have_names() -> None:
    """A name in any case gives the personality; another one says which there are."""
    assert Personality.named("node_soap") is Personality.NODE_SOAP
    with pytest.raises(UsageError, match="there is no personality WCF: there are LENIENT"):
        Personality.named("WCF")
