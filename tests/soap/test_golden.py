"""The documented envelopes, to the byte: the published examples, and the ones that follow from the same rules."""

import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from soapbatch.model.schema import Array
from soapbatch.model.services import ServiceVersion
from soapbatch.operations import OPERATIONS, Operation
from soapbatch.soap.builder import build_request, build_response
from soapbatch.soap.interpretation import parse_response
from soapbatch.testing.request_parser import parse_request
from tests.support.documented import TIME, Pages
from tests.support.strategies import documented

FIXTURES = Path(__file__).parents[2] / "fixtures"
TOKENS: Any = {"application_token": "1234567-1234-9876", "ticket": "7T:1234abcxyzExample=="}
FILES = sorted(FIXTURES.glob("Services*/*/*.xml"))
SEEDS = {
    "Services75/Batch/DeleteBatchTasks",
    "Services85/Batch/GetBatchTaskInfosByAssociates",
    "Services85/Batch/StopBatchJob",
    "Services86/Batch/GetBatchTaskInfo",
    "Services86/Batch/UpdateBatchTask",
}
PAIRS = [
    pytest.param(operation, version, id=f"{version}-{name}")
    for name, operation in OPERATIONS.items()
    for version in ServiceVersion
    if version >= operation.since
]
_AFTER_86 = re.compile(r" *<Batch:(FileName|CancellationBehaviour) .*\n")
_ANY_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def same(got: str, expected: str, where: str) -> None:
    """Fail unless both texts are equal, and name the first line that differs."""
    for number, (left, right) in enumerate(zip_longest(got.split("\n"), expected.split("\n")), start=1):
        assert left == right, f"{where}, line {number}: got {left!r}, expected {right!r}"


def documented_request(operation: Operation[Any], version: ServiceVersion) -> str:
    """Return the request that the builder makes of the documented values."""
    arguments = {row.attribute: documented(row.type, version) for row in operation.parameters}
    return build_request(operation, arguments, version=version, **TOKENS).body.decode()


def documented_result(operation: Operation[Any], version: ServiceVersion) -> Any:
    """Return the result that the documented responses show."""
    if operation.result is None:
        return None
    result = documented(operation.result, version)
    return list(result) if isinstance(operation.result, Array) else result


def file(operation: Operation[Any], version: ServiceVersion, kind: str) -> Path:
    """Return where the example of an operation lies."""
    return FIXTURES / str(version) / operation.agent.name / f"{operation.name}.{kind}.xml"


def test_the_published_examples_are_cut_to_the_byte(shared: Path) -> None:
    """The ten fixtures of the five seed pages are what stands between the fences, ending in one newline."""
    found = set()
    for page in (shared / "seeds").glob("*.txt"):
        text = page.read_bytes().decode()
        [(version, agent, operation)] = re.findall(r"^title: (\w+)\.(\w+)Agent\.(\w+) SOAP$", text, re.MULTILINE)
        name = f"{version}/{agent}/{operation}"
        blocks = re.findall(r"```xml\n(.*?)\n*```", text, re.DOTALL)
        for kind, block in zip(("request", "response"), blocks, strict=True):
            same((FIXTURES / f"{name}.{kind}.xml").read_bytes().decode(), f"{block}\n", f"{name}.{kind}.xml")
            found.add(name)
    assert found == SEEDS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FIXTURES)))
def test_the_builder_writes_every_file(path: Path) -> None:
    """Each documented envelope comes out of the builder byte for byte, but for the time that its page shows."""
    name, kind, _ = path.name.split(".")
    operation, version = OPERATIONS[name], ServiceVersion(int(path.parts[-3].removeprefix("Services")))
    expected = _ANY_TIME.sub(TIME, path.read_bytes().decode())
    if kind == "request":
        got = documented_request(operation, version)
    else:
        got = build_response(operation, documented_result(operation, version), version=version).decode()
    same(got, expected, str(path.relative_to(FIXTURES)))


@pytest.mark.parametrize("path", [path for path in FILES if "response" in path.name], ids=lambda path: path.stem)
def test_the_parser_reads_every_documented_response(path: Path) -> None:
    """Each documented response gives the documented values, with nothing in it unknown."""
    operation = OPERATIONS[path.name.split(".")[0]]
    version = ServiceVersion(int(path.parts[-3].removeprefix("Services")))
    body = _ANY_TIME.sub(TIME, path.read_bytes().decode()).encode()
    unknown: list[object] = []
    if operation.name.startswith("Authenticate"):  # the pages show AuthenticationSucceeded at its default, false
        body = body.replace(
            b">false</SoPrincipal:AuthenticationSucceeded>", b">true</SoPrincipal:AuthenticationSucceeded>"
        )
    got = parse_response(operation, body, version=version, on_unknown=unknown.append)
    expected = documented_result(operation, version)
    if operation.name.startswith("Authenticate"):
        assert got.authentication_succeeded is True
        got, expected = got.response, expected.response
    assert got == expected
    assert unknown == []


@pytest.mark.parametrize("path", [path for path in FILES if "request" in path.name], ids=lambda path: path.stem)
def test_the_parser_reads_every_documented_request(path: Path) -> None:
    """Each documented request gives the documented arguments and tokens."""
    operation = OPERATIONS[path.name.split(".")[0]]
    version = ServiceVersion(int(path.parts[-3].removeprefix("Services")))
    body = _ANY_TIME.sub(TIME, path.read_bytes().decode()).encode()
    arguments, header = parse_request(operation, body, version=version)
    assert arguments == {row.attribute: documented(row.type, version) for row in operation.parameters}
    assert header.application_token == TOKENS["application_token"]
    ticket = header.credentials and header.credentials.ticket
    assert ticket == (TOKENS["ticket"] if operation.agent.takes_ticket else None)


@pytest.mark.parametrize(("operation", "version"), PAIRS)
def test_every_other_version_follows_by_the_rules(operation: Operation[Any], version: ServiceVersion) -> None:
    """An envelope of any version is that of Services88 with the number exchanged and the two late fields left out."""
    request, response = (file(operation, ServiceVersion.V88, kind).read_text() for kind in ("request", "response"))
    if version < ServiceVersion.V88:
        request, response = (_AFTER_86.sub("", text) for text in (request, response))
        request, response = (
            re.sub(r"Services88(?=\D|[123]\b)", version.name.replace("V", "Services"), text)
            for text in (request, response)
        )
    same(documented_request(operation, version), request, f"{version} {operation.name} request")
    got = build_response(operation, documented_result(operation, version), version=version).decode()
    same(got, response, f"{version} {operation.name} response")


def test_every_operation_has_a_file() -> None:
    """Services88 has an example of each operation; those of older versions follow from it."""
    assert [row.name for row in OPERATIONS.values() if not file(row, ServiceVersion.V88, "request").is_file()] == []


@pytest.mark.parametrize(
    "wsdl", ["Batch75", "Batch83", "Batch86", "Batch88", "SoPrincipal75", "SoPrincipal86", "SoPrincipal88"]
)
def test_the_published_wsdl_gives_the_same_examples(wsdl: str, shared: Path) -> None:
    """Names, types and order of all fields come out of the WSDL as they come out of our rows."""
    agent, number = wsdl[:-2], int(wsdl[-2:])
    version = ServiceVersion(number)
    pages = Pages(shared / "contract" / f"{wsdl}.wsdl", agent, number)
    rows = [row for row in OPERATIONS.values() if row.agent.name == agent and row.since <= version]
    for row in rows:
        same(documented_request(row, version), pages.request(row.name), f"{wsdl} {row.name} request")
        response = build_response(row, documented_result(row, version), version=version).decode()
        same(response, pages.response(row.name), f"{wsdl} {row.name} response")
