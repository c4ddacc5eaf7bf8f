"""zeep and the published WSDLs as judges: what we write validates and is read equally, what zeep writes we read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zeep
from lxml import etree

from soapbatch.model.batch import BatchTaskInfo, BatchTaskState
from soapbatch.model.headers import ReplyHeader, SoTimeZone
from soapbatch.model.schema import Array, Dictionary, Record, WireType
from soapbatch.model.services import SOAP11_ENVELOPE, Binding, ServiceVersion
from soapbatch.operations import OPERATIONS, Operation
from soapbatch.soap.builder import build_request, build_response
from soapbatch.testing.request_parser import parse_request
from tests.support.strategies import documented

XS = "{http://www.w3.org/2001/XMLSchema}"
WSDLS = ["Batch75", "Batch83", "Batch86", "Batch88", "SoPrincipal75", "SoPrincipal86", "SoPrincipal88"]
PAIRS = [
    pytest.param(wsdl, operation, id=f"{wsdl}-{operation.name}")
    for wsdl in WSDLS
    for operation in OPERATIONS.values()
    if operation.agent.name == wsdl[:-2] and operation.since <= int(wsdl[-2:])
]
ZONE = SoTimeZone(so_time_zone_id=3, so_time_zone_location_code="Europe/Oslo")
TOKENS: Any = {"application_token": "1234567-1234-9876", "ticket": "7T:1234abcxyzExample=="}
TASK = BatchTaskInfo(
    id=-7,
    name="Job <&> æ\n漢",
    is_system_task=True,
    parameter_object={"k": "v", "<&>": "", "last": "x"},
    last_started=datetime(2024, 2, 29, 12, 30, 5, 123456, UTC),
    state=BatchTaskState.ACQUIRED,
    description="d" * 254,
    response="",
    progress_percent=100,
)
SAMPLES: Mapping[str, Any] = {
    "id": 2**31 - 1,
    "name": "A <&> æ\n漢😀",
    "task_name": "",
    "state": BatchTaskState.STARTED,
    "associate_ids": (5, -1, 0),
    "batch_task_ids": (2**31 - 1, -(2**31)),
    "batch_task_id": -5,
    "batch_task_info": TASK,
    "user_name": "æøå",
    "password": " <&> ",
    "access_token": "8A:x",
    "authentication_data": {"a": "b", "": "c"},
}


@cache
def client(wsdl: Path) -> zeep.Client:
    """Return zeep's view of a WSDL."""
    return zeep.Client(str(wsdl))  # type: ignore[no-untyped-call]


@cache
def schema(wsdl: Path, folder: Path) -> etree.XMLSchema:
    """Return the XML Schema inside a WSDL: its inline schemas as files that import each other."""
    schemas = etree.parse(wsdl).findall(f".//{XS}schema")
    names = {inline.get("targetNamespace"): f"{wsdl.stem}-{number}.xsd" for number, inline in enumerate(schemas)}
    for inline in schemas:
        for reference in inline.findall(f"{XS}import"):
            reference.set("schemaLocation", names[reference.get("namespace")])
        (folder / names[inline.get("targetNamespace")]).write_bytes(etree.tostring(inline))
    return etree.XMLSchema(etree.parse(folder / names[schemas[0].get("targetNamespace")]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for schemas taken out of WSDLs."""
    return tmp_path_factory.mktemp("schemas")


def agree(type_: WireType, ours: Any, theirs: Any, path: str) -> None:
    """Fail unless zeep's value is ours. zeep reads empty, nil and absent alike, so all of them count as equal."""
    if ours in (None, "", b"", (), [], {}):
        inside = [theirs[name] for name in theirs] if isinstance(theirs, zeep.xsd.CompoundValue) else [theirs]
        assert not any(inside), path
        return
    match type_:
        case Record():
            for field in type_.fields:
                value = theirs[field.name] if field.name in theirs else None  # noqa: SIM401 - it has no get
                agree(field.type, getattr(ours, field.attribute), value, f"{path}.{field.name}")
        case Array():
            for index, (our, their) in enumerate(zip(ours, theirs[type_.item_name], strict=True)):
                agree(type_.item, our, their, f"{path}[{index}]")
        case Dictionary():
            pairs = {pair["Key"] or "": pair["Value"] or "" for pair in theirs[type_.pair_name]}
            assert pairs == ours, path
        case _:
            assert theirs == ours, path


def arguments_for(operation: Operation[Any]) -> dict[str, Any]:
    """Return arguments of an operation that are not the default ones."""
    return {row.attribute: SAMPLES[row.attribute] for row in operation.parameters}


@pytest.mark.parametrize(("wsdl", "operation"), PAIRS)
@pytest.mark.parametrize("kind", ["samples", "documented", "nothing"])
def test_requests_validate(wsdl: str, operation: Operation[Any], kind: str, shared: Path, folder: Path) -> None:
    """Header blocks and body of each SOAP11 request validate against the schema in the WSDL of its version."""
    version = ServiceVersion(int(wsdl[-2:]))
    arguments = {
        "samples": arguments_for(operation),
        "documented": {row.attribute: documented(row.type, version) for row in operation.parameters},
        "nothing": dict.fromkeys(row.attribute for row in operation.parameters),
    }[kind]
    request = build_request(operation, arguments, version=version, binding=Binding.SOAP11, time_zone=ZONE, **TOKENS)
    envelope = etree.fromstring(request.body)
    interpret = schema(shared / "contract" / f"{wsdl}.wsdl", folder)
    blocks = [*envelope[0], *envelope[1]]
    assert len(blocks) == 1 + operation.agent.takes_ticket + operation.agent.takes_time_zone + 1
    for block in blocks:
        interpret.assertValid(etree.fromstring(etree.tostring(block)))


@pytest.mark.parametrize(("wsdl", "operation"), PAIRS)
def test_zeep_reads_our_requests(wsdl: str, operation: Operation[Any], shared: Path) -> None:
    """Zeep finds in each SOAP11 request the values that were given."""
    arguments = arguments_for(operation)
    version = ServiceVersion(int(wsdl[-2:]))
    request = build_request(operation, arguments, version=version, binding=Binding.SOAP11, time_zone=ZONE, **TOKENS)
    service = client(shared / "contract" / f"{wsdl}.wsdl").service
    message = service._binding.get(operation.name).input
    body = etree.fromstring(request.body).find(f"{{{SOAP11_ENVELOPE}}}Body")
    assert body is not None
    read = message.body.parse(body[0], message.wsdl.types)
    for row in operation.parameters:
        agree(row.type, arguments[row.attribute], read[row.name], row.name)


@pytest.mark.parametrize(("wsdl", "operation"), PAIRS)
@pytest.mark.parametrize("kind", ["samples", "documented"])
def test_we_read_the_requests_of_zeep(wsdl: str, operation: Operation[Any], kind: str, shared: Path) -> None:
    """Each argument and header block that zeep writes is what we read."""
    version = ServiceVersion(int(wsdl[-2:]))
    arguments = arguments_for(operation)
    if kind == "documented":
        arguments = {row.attribute: documented(row.type, version) for row in operation.parameters}
    speaker = client(shared / "contract" / f"{wsdl}.wsdl")
    blocks: dict[str, Any] = {"ApplicationToken": TOKENS["application_token"]}
    if operation.agent.takes_ticket:
        blocks["Credentials"] = {"Ticket": TOKENS["ticket"]}
        blocks["TimeZone"] = {"SoTimeZoneId": 3, "SoTimeZoneLocationCode": "Europe/Oslo"}
    given = {row.name: for_zeep(row.type, arguments[row.attribute]) for row in operation.parameters}
    message = speaker.create_message(  # type: ignore[no-untyped-call]
        speaker.service, operation.name, **given, _soapheaders=blocks
    )
    read, header = parse_request(operation, etree.tostring(message), version=version)
    assert read == arguments
    assert header.application_token == TOKENS["application_token"]
    assert header.time_zone == (ZONE if operation.agent.takes_ticket else None)
    assert (header.credentials and header.credentials.ticket) == (
        TOKENS["ticket"] if operation.agent.takes_ticket else None
    )


def for_zeep(type_: WireType, value: Any) -> Any:
    """Return one of our values as the dictionaries that zeep takes."""
    match type_:
        case Record():
            fields = [(field.name, field.type, getattr(value, field.attribute)) for field in type_.fields]
            return {name: for_zeep(inner, item) for name, inner, item in fields if item is not None}
        case Array():
            return {type_.item_name: [for_zeep(type_.item, item) for item in value]}
        case Dictionary():
            return {type_.pair_name: [{"Key": key, "Value": text} for key, text in value.items()]}
        case _:
            return str(value) if isinstance(value, BatchTaskState) else value


@pytest.mark.parametrize(("wsdl", "operation"), PAIRS)
def test_zeep_reads_our_responses(wsdl: str, operation: Operation[Any], shared: Path, folder: Path) -> None:
    """Each SOAP11 response validates, and zeep finds in it the result that was given."""
    version = ServiceVersion(int(wsdl[-2:]))
    result = operation.result and documented(operation.result, version)
    if operation.result is not None and operation.result.name == "ArrayOfBatchTaskInfo":
        result = [TASK, BatchTaskInfo(id=1)]
    body = build_response(
        operation, result, version=version, binding=Binding.SOAP11, header=ReplyHeader(succeeded=True, time_zone=ZONE)
    )
    path = shared / "contract" / f"{wsdl}.wsdl"
    envelope = etree.fromstring(body)
    for block in (*envelope[0], *envelope[1]):
        schema(path, folder).assertValid(etree.fromstring(etree.tostring(block)))
    message = client(path).service._binding.get(operation.name).output
    read = message.body.parse(envelope[1][0], message.wsdl.types)
    if operation.result is not None:
        value = read[operation.result_name] if operation.result_name else read
        agree(operation.result, result, value, operation.name)
