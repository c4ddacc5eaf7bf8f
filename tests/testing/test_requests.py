"""The forms of request that each personality accepts and refuses, and the form of the answers."""

import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from soapbatch import BatchTaskInfo, Binding, ServiceVersion, build_request, parse_response
from soapbatch.errors import BindingRefused, Fault, UnreadableResponse, VersionMismatch
from soapbatch.model.services import SOAP11_ENVELOPE, SOAP12_ENVELOPE
from soapbatch.operations import OPERATIONS
from soapbatch.testing import ManualClock, NetServer, Personality
from soapbatch.testing.handlers import HANDLERS
from tests.support.raw_client import BINDINGS, PAIRS, RawClient, arguments_for, raw_client

LENIENT, STRICT_11, STRICT_12 = Personality.LENIENT, Personality.STRICT_SOAP11, Personality.STRICT_SOAP12
PERSONALITIES = (LENIENT, STRICT_11, STRICT_12)
ACCEPTED = [(personality, binding) for personality in PERSONALITIES for binding in Binding]
ACCEPTED = [pair for pair in ACCEPTED if pair[0] is LENIENT or pair[0].name.endswith(pair[1].name)]
BATCH = "/Remote/Services88/Batch.svc"
MARKS = {
    Binding.DOCUMENTED: (b"\n<SOAP-ENV:Envelope\n", "application/soap+xml; charset=utf-8"),
    Binding.SOAP11: (f'<s:Envelope xmlns:s="{SOAP11_ENVELOPE}"'.encode(), "text/xml; charset=utf-8"),
    Binding.SOAP12: (f'<s:Envelope xmlns:s="{SOAP12_ENVELOPE}"'.encode(), "application/soap+xml; charset=utf-8"),
}


def ready(personality: Personality, version: ServiceVersion, binding: Binding) -> RawClient:
    """Return a raw client of a server with that personality; every login operation of the server can succeed."""
    server = NetServer(clock=ManualClock(), personality=personality)
    server.tickets.implicit_user = server.tickets._users["demo"]
    return raw_client(server, version, binding)


@pytest.mark.parametrize(("personality", "binding"), ACCEPTED)
@pytest.mark.parametrize(("operation", "version"), PAIRS)
async def test_every_pair_runs_in_every_form(
    operation: str, version: ServiceVersion, personality: Personality, binding: Binding
) -> None:
    """155 pairs of operation and version run in each form that a personality accepts; the answer has the same form."""
    client = ready(personality, version, binding)
    arguments = arguments_for(operation, client)
    answer = await client.post(operation, **arguments)
    mark, content_type = MARKS[binding]
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert mark in answer.content[:200]
    assert int(answer.headers["content-length"]) == len(answer.content)
    (call,) = client.server.calls
    assert (call.operation, call.version, call.binding, call.outcome) == (operation, version, binding, "succeeded")
    assert call.arguments.keys() == arguments.keys()
    assert (b"<Succeeded>true</Succeeded>" in answer.content) is (binding is not Binding.DOCUMENTED)
    assert (b"Header" in answer.content) is (binding is not Binding.DOCUMENTED)


async def test_calls_are_counted_and_logged() -> None:
    """`calls` and `counts` have each call that reached an operation; `requests` also counts the others."""
    client = raw_client()
    await client("GetBatchTaskInfo", id=7)
    await client("GetBatchTaskInfosByAssociates", associate_ids=[1, 2])
    await client("GetBatchTaskInfo", id=8)
    await client.send("/elsewhere")
    calls = [(call.operation, dict(call.arguments)) for call in client.server.calls]
    users = ("GetBatchTaskInfosByAssociates", {"associate_ids": (1, 2)})
    assert calls == [("GetBatchTaskInfo", {"id": 7}), users, ("GetBatchTaskInfo", {"id": 8})]
    assert client.server.counts == {"GetBatchTaskInfo": 2, "GetBatchTaskInfosByAssociates": 1}
    assert client.server.requests == 4


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize(
    ("operation", "harmless"),
    [
        ("GetBatchTaskInfo", None),
        ("GetBatchTaskInfosByState", None),
        ("StartBatchJob", "0"),
        ("StopBatchJob", "false"),
        ("DeleteBatchTask", None),
        ("GetOutputFromBatch", None),
    ],
)
async def test_a_failure_looks_harmless(operation: str, harmless: str | None, binding: Binding) -> None:
    """In every form, a failure has HTTP 200 and a plausible result; only the header blocks tell of the failure."""
    client = raw_client(binding=binding)
    arguments = arguments_for(operation, client)
    client.ticket = "7T:bogus"
    answer = await client.post(operation, **arguments)
    assert answer.status_code == 200
    assert re.search(rb"<(\w+:)?Succeeded>false</", answer.content)
    assert b'Ticket is not valid "7T:bogus"' in answer.content
    assert f"{operation}Response".encode() in answer.content
    found = re.search(r"Response(?: xsi:type=\"[\w:]+\")?>(0|false)</", answer.text)
    assert (found[1] if found else None) == harmless
    assert [call.outcome for call in client.server.calls] == ["SoSessionException"]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_failures_may_be_faults(binding: Binding) -> None:
    """A fault has the envelope version of the request, and SoExceptionInfo as its detail."""
    client = raw_client(NetServer(failures="fault"), binding=binding)
    with pytest.raises(Fault) as caught:
        await client("StopBatchJob", id=42)
    fault = caught.value
    assert fault.code == ("Server" if binding is Binding.SOAP11 else "Receiver")
    assert (fault.reason, fault.status) == ("BatchTask 42 does not exist", 500)
    info = fault.exception_info
    assert info is not None
    assert (info.error_type, info.friendly_text, info.parameters) == ("SoEntityNotFoundException", "Not found", {})


async def send(client: RawClient, changes: dict[str, Any], binding: Binding = Binding.SOAP11) -> httpx.Response:
    """Send a good GetBatchTaskInfo with changes to its path, its headers, or parts of its body."""
    request = build_request(
        "GetBatchTaskInfo", {"id": 1}, version=client.version, binding=binding, ticket=client.ticket
    )
    body = request.body
    for old, new in changes.get("replace", ()):
        assert old in body
        body = body.replace(old, new)
    headers = {k: v for k, v in (dict(request.headers) | changes.get("headers", {})).items() if v is not None}
    return await client.send(changes.get("path", request.path), changes.get("body", body), headers)


FAULT_11 = rb"<faultcode[^>]*>(?:\w+:)?(\w+)</faultcode>"
FAULT_12 = rb"<s:(?:Sub)?[Cc]ode><s:Value[^>]*>\w+:(\w+)</s:Value>"


def summary(answer: httpx.Response) -> str:
    """Return what the server did, in the words of the table in `soapbatch.testing.requests`."""
    if answer.status_code == 500:
        namespace = SOAP11_ENVELOPE if answer.headers["content-type"].startswith("text/xml") else SOAP12_ENVELOPE
        assert namespace.encode() in answer.content
        codes: list[bytes] = re.findall(FAULT_11, answer.content) or re.findall(FAULT_12, answer.content)
        return codes[-1].decode()
    if not answer.content:
        return f"empty {answer.status_code}"
    assert b"GetBatchTaskInfoResponse" in answer.content
    return "runs"


DOCUMENTED, SOAP11, SOAP12 = Binding.DOCUMENTED, Binding.SOAP11, Binding.SOAP12
NO_ACTION = {"headers": {"SOAPAction": None}}
OTHER = "http://www.superoffice.net/ws/crm/NetServer/Services88/Batch/NoSuchOp"
GOOD = "http://www.superoffice.net/ws/crm/NetServer/Services88/Batch/GetBatchTaskInfo"
ANOTHERS = "http://www.superoffice.net/ws/crm/NetServer/Services86/Batch/GetBatchTaskInfo"
SOAP_XML = "application/soap+xml; charset=utf-8"
DOCTYPE = b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>"
BODY = b"<Id>1</Id></GetBatchTaskInfo>"


@pytest.mark.parametrize(
    ("binding", "changes", "lenient", "strict_11", "strict_12"),
    [
        pytest.param(SOAP11, {}, "runs", "runs", "empty 415", id="SOAP 1.1"),
        pytest.param(SOAP12, {}, "runs", "empty 415", "runs", id="SOAP 1.2"),
        pytest.param(DOCUMENTED, {}, "runs", "empty 415", "empty 200", id="documented"),
        pytest.param(
            SOAP12,
            {"headers": {"Content-Type": "text/xml; charset=utf-8"}},
            *("runs", "VersionMismatch", "empty 415"),
            id="1.2 as text/xml",
        ),
        pytest.param(
            SOAP11, {"headers": {"Content-Type": SOAP_XML}}, *("runs", "empty 415", "VersionMismatch"), id="1.1 as 1.2"
        ),
        pytest.param(SOAP11, NO_ACTION, "runs", "ActionNotSupported", "empty 415", id="1.1 without action"),
        pytest.param(
            SOAP12,
            {"headers": {"Content-Type": SOAP_XML}},
            *("runs", "empty 415", "ActionNotSupported"),
            id="1.2 without action",
        ),
        pytest.param(
            SOAP11,
            {"headers": {"SOAPAction": f'"{OTHER}"'}},
            *("ActionNotSupported", "ActionNotSupported", "empty 415"),
            id="unknown action",
        ),
        pytest.param(
            SOAP12,
            {"headers": {"Content-Type": f'{SOAP_XML}; action="{OTHER}"'}},
            *("ActionNotSupported", "empty 415", "ActionNotSupported"),
            id="unknown action in 1.2",
        ),
        pytest.param(
            SOAP11,
            {"headers": {"SOAPAction": ANOTHERS}},
            *("ActionNotSupported", "ActionNotSupported", "empty 415"),
            id="action of another version",
        ),
        pytest.param(
            SOAP11,
            {"path": "/Remote/Services86/Batch.svc"},
            *("ActionNotSupported", "ActionNotSupported", "empty 415"),
            id="path of another version",
        ),
        pytest.param(
            SOAP11,
            {"path": "/Remote/Services88/SoPrincipal.svc"},
            *("ActionNotSupported", "ActionNotSupported", "empty 415"),
            id="path of another agent",
        ),
        pytest.param(
            SOAP11,
            {**NO_ACTION, "path": "/Remote/Services86/Batch.svc"},
            *("ActionNotSupported", "ActionNotSupported", "empty 415"),
            id="another version without action",
        ),
        pytest.param(SOAP11, {"body": b""}, "Client", "empty 200", "empty 415", id="no body"),
        pytest.param(SOAP11, {"body": b"{}"}, "Client", "empty 200", "empty 415", id="not XML"),
        pytest.param(SOAP11, {"body": b"<a/>"}, "Client", "empty 200", "empty 415", id="not SOAP"),
        pytest.param(SOAP11, {"body": DOCTYPE}, "Client", "empty 200", "empty 415", id="DOCTYPE"),
        pytest.param(
            SOAP11, {"replace": [(b"</s:Envelope>", b"")]}, "Client", "empty 200", "empty 415", id="truncated"
        ),
        pytest.param(
            SOAP12, {"replace": [(b"</s:Envelope>", b"")]}, "Sender", "empty 415", "empty 200", id="truncated 1.2"
        ),
        pytest.param(
            SOAP11,
            {"replace": [(BODY, b"</GetBatchTaskInfo>"), (b"GetBatchTaskInfo", b"StopBatchJob")]},
            *("Client", "empty 200", "empty 415"),
            id="another operation in the Body",
        ),
        pytest.param(
            SOAP11,
            {"replace": [(b"<Id>1</Id>", b"<Id>one</Id>")]},
            *("DeserializationFailed", "DeserializationFailed", "empty 415"),
            id="not an int",
        ),
        pytest.param(
            SOAP12,
            {"replace": [(b"<Id>1</Id>", b"<Id>99999999999</Id>")]},
            *("DeserializationFailed", "empty 415", "DeserializationFailed"),
            id="too large an int in 1.2",
        ),
        pytest.param(
            SOAP11, {"headers": {"Content-Type": "application/json"}}, *["empty 415"] * 3, id="not an XML media type"
        ),
        pytest.param(SOAP11, {"headers": {"Content-Type": None}}, *["empty 415"] * 3, id="no media type"),
        pytest.param(
            SOAP11,
            {
                "headers": {
                    "Content-Type": 'Text/XML; charset="UTF-8"',
                    "SOAPAction": GOOD,
                }
            },
            *("runs", "runs", "empty 415"),
            id="other spelling",
        ),
        pytest.param(
            SOAP11,
            {"headers": {"SOAPAction": '""'}},
            *("runs", "ActionNotSupported", "empty 415"),
            id="empty action",
        ),
    ],
)
async def test_refusals(
    binding: Binding, changes: dict[str, Any], lenient: str, strict_11: str, strict_12: str
) -> None:
    """Each personality accepts or refuses a form as expected; a refused request reaches no operation."""
    for personality, expected in zip(PERSONALITIES, (lenient, strict_11, strict_12), strict=True):
        client = ready(personality, ServiceVersion.V88, binding)
        assert summary(await send(client, changes, binding)) == expected, personality
        assert bool(client.server.calls) is (expected == "runs")


@pytest.mark.parametrize(
    ("file", "personality", "binding", "changes"),
    [
        ("A04_plain11_no_action", STRICT_11, SOAP11, NO_ACTION),
        ("A08_plain11_unknown_action", STRICT_11, SOAP11, {"headers": {"SOAPAction": f'"{OTHER}"'}}),
        ("A28_11_malformed", STRICT_11, SOAP11, {"replace": [(b"</s:Envelope>", b"")]}),
        ("B01_doc12_asis_soapxml_action", STRICT_11, DOCUMENTED, {}),
        ("B06_plain12_soapxml_action", STRICT_11, SOAP12, {}),
    ],
)
async def test_strict_soap11_answers_like_mono(
    shared: Path, file: str, personality: Personality, binding: Binding, changes: dict[str, Any]
) -> None:
    """Status and body equal the recording of Mono's WCF, but for the case of `UTF-8`."""
    recorded = (shared / "wire" / "mono-basic11" / f"{file}.http").read_bytes().replace(b"\r\n", b"\n")
    head, _, body = recorded.partition(b"\n\n")
    answer = await send(ready(personality, ServiceVersion.V88, binding), changes, binding)
    assert str(answer.status_code).encode() == head.split()[1]
    declaration = b"<?xml version='1.0' encoding='UTF-8'?>\n"
    assert answer.content.replace(declaration, b'<?xml version="1.0" encoding="utf-8"?>') == body.strip()


async def test_the_client_understands_the_refusals() -> None:
    """The answer to a form that a personality refuses becomes the error that names the remedy."""
    strict_11, strict_12 = (
        ready(STRICT_11, ServiceVersion.V88, DOCUMENTED),
        ready(STRICT_12, ServiceVersion.V88, DOCUMENTED),
    )
    with pytest.raises(BindingRefused):
        await strict_11("GetBatchTaskInfo", id=1)
    with pytest.raises(UnreadableResponse, match=r"Binding\.SOAP12"):
        await strict_12("GetBatchTaskInfo", id=1)


async def test_a_strict_server_skips_members_out_of_order() -> None:
    """A lenient server reads Name after Description, and a member that is sent twice; a strict server skips both."""
    swapped = b"<Description>d</Description><Name>EndlessBatchPlugin</Name><Description>e</Description>"
    for personality, outcome in ((LENIENT, "succeeded"), (STRICT_11, "ArgumentException")):
        client = ready(personality, ServiceVersion.V88, SOAP11)
        info = BatchTaskInfo(name="EndlessBatchPlugin", description="d", parameter_object={"k": "v"})
        good = await client.post("StartBatchJob", batch_task_info=info)
        content = good.request.content
        name, _, rest = content.partition(b"<Name>EndlessBatchPlugin</Name>")
        body = name + rest.replace(b"<Description>d</Description>", swapped)
        await client.send(BATCH, body, dict(good.request.headers))
        assert [call.outcome for call in client.server.calls] == ["succeeded", outcome]


async def test_array_items_in_a_wrong_namespace() -> None:
    """A lenient server skips the items, so that no id is left, which means every task; a strict one sends a fault."""
    for personality, expected in ((LENIENT, "runs"), (STRICT_11, "DeserializationFailed")):
        client = ready(personality, ServiceVersion.V88, SOAP11)
        good = await client.post("GetBatchTaskInfosByAssociates", associate_ids=[7, 8])
        body = good.request.content.replace(b"/2003/10/Serialization/Arrays", b"/elsewhere")
        answer = await client.send(BATCH, body, dict(good.request.headers))
        if expected == "runs":
            assert client.server.calls[-1].arguments == {"associate_ids": ()}
        else:
            assert summary(answer) == expected


async def test_an_operation_of_a_newer_version_is_an_unknown_action() -> None:
    """Services82 does not know DeleteBatchTask, whether the action or the Body names it."""
    request = build_request("DeleteBatchTask", {"batch_task_id": 1}, version=ServiceVersion.V83, binding=SOAP11)
    path, body = request.path.replace("83", "82"), request.body.replace(b"Services83", b"Services82")
    client = raw_client()
    for action in (request.headers["SOAPAction"].replace("83", "82"), ""):
        headers = {"Content-Type": request.headers["Content-Type"], "SOAPAction": action}
        assert summary(await client.send(path, body, headers)) == "ActionNotSupported"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/Remote/Services88/",
        "/Remote/Services88/Contact.svc",
        "/Remote/Services74/Batch.svc",
        "/Remote/Services99/Batch.svc",
        "/Remote/Services87/BLOB.svc",
        "/Services88/Batch.svc",
        "/Remote/Services88/Batch.svc/",
    ],
)
async def test_unknown_paths(path: str) -> None:
    """The server answers 404 at every path that is not the endpoint of an agent in a version that has the agent."""
    assert (await send(raw_client(), {"path": path})).status_code == 404


@pytest.mark.parametrize(
    ("operation", "arguments", "ticket", "binding", "expected"),
    [
        ("GetSystemInfo", {}, None, Binding.DOCUMENTED, Binding.SOAP12),
        ("GetBatchTaskInfo", {"id": 1}, None, Binding.DOCUMENTED, Binding.DOCUMENTED),
        ("GetBatchTaskInfo", {"id": 1}, "7T:x", Binding.DOCUMENTED, Binding.DOCUMENTED),
        ("GetBatchTaskInfo", {"id": 1}, "7T:x", Binding.SOAP12, Binding.SOAP12),
    ],
    ids=["neither", "types alone", "blocks and types", "a Header"],
)
async def test_what_is_taken_for_the_documented_form(
    operation: str, arguments: dict[str, object], ticket: str | None, binding: Binding, expected: Binding
) -> None:
    """A SOAP 1.2 request without a Header is documented if blocks stand beside the Body, or arguments have a type."""
    client = raw_client()
    request = build_request(operation, arguments, version=ServiceVersion.V88, binding=binding, ticket=ticket)
    answer = await client.send(request.path, request.body, dict(request.headers))
    assert client.server.calls[0].binding is expected
    assert (b"xsi:type" in answer.content or b"SOAP-ENV" in answer.content) is (expected is Binding.DOCUMENTED)


async def test_plain_soap_12_without_a_header_gets_plain_soap_12() -> None:
    """A foreign client that sends no Header, as it has nothing to put there, gets an answer that it can read."""
    client = raw_client()
    body = (
        f'<e:Envelope xmlns:e="{SOAP12_ENVELOPE}"><e:Body><GetSystemInfo'
        ' xmlns="http://www.superoffice.net/ws/crm/NetServer/Services88"/></e:Body></e:Envelope>'
    )
    headers = {"Content-Type": "application/soap+xml"}
    answer = await client.send("/Remote/Services88/SoPrincipal.svc", body.encode(), headers)
    assert f'<s:Envelope xmlns:s="{SOAP12_ENVELOPE}"'.encode() in answer.content
    assert b"<Succeeded>true</Succeeded>" in answer.content


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/xml;" + " charset*0=u;" * 8000, "runs"),
        ("text/xml" + ";" * 60_000, "runs"),
        ("TEXT/XML ; charset=utf-8", "runs"),
        ("text/xml " * 8000, "empty 415"),
        ("", "empty 415"),
    ],
    ids=["many parameters", "many semicolons", "capitals", "no media type", "empty"],
)
async def test_a_content_type_is_read_in_no_time(content_type: str, expected: str) -> None:
    """However long it is and whatever it holds, the header is read at once, by its media type and its action alone."""
    begun = time.perf_counter()
    assert summary(await send(raw_client(), {"headers": {"Content-Type": content_type}})) == expected
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize("path", [BATCH.lower(), BATCH.upper(), "/Cust1/remote/SERVICES88/batch.Svc"])
async def test_paths_may_be_in_any_case(path: str) -> None:
    """The server takes paths in upper and lower case, as IIS does."""
    assert summary(await send(raw_client(), {"path": path})) == "runs"


async def test_an_old_server_has_no_new_versions() -> None:
    """The server answers 404 at the paths of versions that are newer than its own."""
    client = raw_client(NetServer(version=ServiceVersion.V85))
    assert (await send(client, {})).status_code == 404
    assert (await client.send("/Remote/Services86/Batch.svc?wsdl", method="GET")).status_code == 404
    assert (await client.send("/Remote/Services85/Batch.svc?wsdl", method="GET")).status_code == 200


async def test_paths_may_have_a_prefix() -> None:
    """A tenant's name may stand before /Remote, and `path_prefix` may be empty."""
    assert summary(await send(raw_client(), {"path": f"/Cust12345{BATCH}"})) == "runs"
    bare = raw_client(NetServer(path_prefix=""))
    assert summary(await send(bare, {"path": "/Services88/Batch.svc"})) == "runs"
    assert summary(await send(bare, {"path": BATCH})) == "runs"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods(method: str) -> None:
    """The server answers 405 and names the methods that it allows."""
    answer = await raw_client().send(BATCH, method=method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_a_version_mismatch_was_not_applied() -> None:
    """The fault becomes a VersionMismatch, after which a client may repeat the call in another form."""
    client = ready(STRICT_11, ServiceVersion.V88, SOAP12)
    answer = await send(client, {"headers": {"Content-Type": "text/xml"}}, SOAP12)
    with pytest.raises(VersionMismatch) as caught:
        parse_response("GetBatchTaskInfo", answer.content, version=ServiceVersion.V88, status=answer.status_code)
    assert caught.value.applied == "no"


def test_every_operation_has_a_handler() -> None:
    """HANDLERS has a row for each operation, in the same order."""
    assert list(HANDLERS) == list(OPERATIONS.values())
