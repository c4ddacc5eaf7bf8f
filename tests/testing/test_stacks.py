"""The personalities of other SOAP stacks: they write what the recordings show, and it means the same."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, ServiceVersion, build_request, parse_response
from soapbatch.errors import (
    AccessDenied,
    BindingRefused,
    Fault,
    OperationFailed,
    SoapBatchError,
    UsageError,
    VersionMismatch,
)
from soapbatch.model import SoPrincipalCarrier
from soapbatch.testing import DEMO_USER, ManualClock, NetServer, Personality, ServerException, failing, serve
from tests.support.raw_client import PAIRS, RawClient, arguments_for, raw_client

FOLDERS = {Personality.MONO: "mono-basic11", Personality.JAXWS: "jaxws11", Personality.NODE_SOAP: "node-soap"}
OWN = {
    Personality.MONO: Binding.SOAP11,
    Personality.MONO_SOAP12: Binding.SOAP12,
    Personality.JAXWS: Binding.SOAP11,
    Personality.NODE_SOAP: Binding.SOAP11,
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
    [(Personality.MONO, False), (Personality.JAXWS, True), (Personality.NODE_SOAP, True)],
)
async def test_the_frame_of_http(fixtures: Path, personality: Personality, *, is_chunked: bool) -> None:
    """Content-Length or chunks, and the Server header, as recorded."""
    headers, _ = recorded(fixtures, personality, "ok_stop")
    client = client_of(personality)
    async with serve(client.server) as client.base_url, httpx.AsyncClient(trust_env=False) as client.http:
        for path in ("StopBatchJob", "GetBatchTaskInfo"):
            answer = await client.post(path, id=1)
            assert ("transfer-encoding" in answer.headers) is is_chunked is ("transfer-encoding" in headers)
            assert answer.headers.get("server") == headers.get("server")


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
    for personality in FOLDERS:
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
