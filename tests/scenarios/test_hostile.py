"""Hostile and broken responses: each ends in a named error and in little memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from soapbatch.errors import SoapBatchError
from soapbatch.model.limits import Limits
from soapbatch.model.services import ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap.interpretation import parse_response
from soapbatch.testing.request_parser import parse_request
from tests.support.hostile_bodies import CASES, CHUNKINGS, LIST, START, TASK, beginning, endless, outcome

REPOSITORY = Path(__file__).parents[2]
RESPONSES = sorted((REPOSITORY / "fixtures").glob("Services88/*/*.response.xml"))
OPERATION_NAMES = st.sampled_from(list(OPERATIONS))
MOST_MIB = 64


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str, bool], dict[str, Any]]:
    """Run all cases in a process of their own, one after the other, and return what became of each."""
    command = [sys.executable, "-m", "tests.support.hostile_bodies", *CHUNKINGS]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603
    assert run.returncode == 0, run.stderr
    results = [json.loads(line) for line in run.stdout.splitlines()]
    return {(result["name"], result["chunking"], result["collect"]): result for result in results}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("collect", [True, False], ids=["collected", "streamed"])
@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("name", CASES)
def test_a_hostile_response_is_bounded(
    name: str,
    chunking: str,
    collect: bool,  # noqa: FBT001 - a column
    measured: dict[tuple[str, str, bool], dict[str, Any]],
) -> None:
    """Each case ends in little memory; collected, it ends in its error."""
    result = measured[name, chunking, collect]
    assert "Exceeded" in result["outcome"] or result["outcome"] in {"UnreadableResponse", "UnexpectedResponse"}
    if chunking == "64 KiB" and collect:
        assert result["outcome"] == CASES[name][2]
    assert result["mib"] < MOST_MIB


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_hostile_response_to_any_operation(name: str, operation: str) -> None:
    """The first 100 KB of each case, as the response of each operation, end in a named error."""
    pieces = [*beginning(name)]
    pieces[0] = pieces[0].replace(CASES[name][0].encode(), operation.encode())
    for collect in (True, False):
        said = outcome(operation, pieces, Limits(), collect=collect)
        assert "Exceeded" in said or said in {"UnreadableResponse", "UnexpectedResponse"}, said


@pytest.mark.parametrize(
    ("limits", "collect", "expected"),
    [
        (Limits(bytes=1_000_000), True, "LimitExceeded bytes"),
        (Limits(items=100), True, "LimitExceeded items"),
        (Limits(streamed_bytes=1_000_000, items=1), False, "LimitExceeded streamed_bytes"),
    ],
    ids=["bytes", "items", "streamed"],
)
def test_an_endless_list_of_real_tasks(limits: Limits, collect: bool, expected: str) -> None:  # noqa: FBT001
    """A list that never ends looks like any other until it exceeds a limit."""
    assert outcome(LIST, endless(TASK, START), limits, collect=collect) == expected


def parsed(operation: str, body: bytes, status: int, content_type: str | None) -> None:
    """Parse a response; anything raised that is not ours fails the test."""
    try:
        parse_response(operation, body, version=ServiceVersion.V88, status=status, content_type=content_type)
    except SoapBatchError as error:
        assert error.operation == operation  # noqa: PT017 - it need not be raised


CONTENT_TYPES = (
    st.none() | st.sampled_from(["text/xml; charset=utf-8", "text/xml; charset=utf-16", "text/html"]) | st.text()
)


@given(OPERATION_NAMES, st.binary(), st.integers(100, 599), CONTENT_TYPES)
def test_arbitrary_bytes(operation: str, body: bytes, status: int, content_type: str | None) -> None:
    """No bytes, status or Content-Type raise anything but a SoapBatchError."""
    parsed(operation, body, status, content_type)


FRAGMENTS = [
    *(
        b"<",
        b">",
        b"</",
        b"/>",
        b"&",
        b"&amp;",
        b"&#0;",
        b"&#xD;",
        b"]]>",
        b"<![CDATA[",
        b"<!--",
        b"-->",
        b"<?p",
        b"?>",
    ),
    *(
        b"<!DOCTYPE a>",
        b' xsi:nil="true"',
        b' a="1"',
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"<a>",
        b"</a>",
        b"false",
        b"",
    ),
    *(b"9" * 40, b"0001-01-01T00:00:00", b"Succeeded", b"Header", b"Response", b"xmlns:Batch="),
]
MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(FRAGMENTS) | st.binary(max_size=4)), max_size=4
)
RECODED = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "iso-8859-1", "cp037"])


@settings(max_examples=300)
@given(st.sampled_from(RESPONSES), MUTATIONS, RECODED, st.floats(0, 1), CONTENT_TYPES, st.sampled_from([200, 500]))
def test_documented_responses_cut_mutated_and_recoded(  # noqa: PLR0917 - one per strategy
    path: Path,
    mutations: list[tuple[float, int, bytes]],
    encoding: str,
    cut: float,
    content_type: str | None,
    status: int,
) -> None:
    """A documented response, however it is mangled, raises only SoapBatchError or is read."""
    body = path.read_bytes().decode().encode(encoding)
    for where, length, fragment in mutations:
        at = int(where * len(body))
        body = body[:at] + fragment + body[at + length :]
    if cut < 0.5:
        body = body[: int(2 * cut * len(body))]
    operation = path.name.split(".")[0]
    parsed(operation, body, status, content_type)
    try:
        parse_request(OPERATIONS[operation], body, version=ServiceVersion.V88)
    except SoapBatchError as error:
        assert str(error)  # noqa: PT017 - it need not be raised


@pytest.mark.parametrize("path", RESPONSES, ids=lambda path: path.stem)
def test_every_cut_of_a_documented_response_is_an_error(path: Path) -> None:
    """A documented response that lost its end never looks like a shorter one."""
    body = path.read_bytes().rstrip()
    operation = path.name.split(".")[0]
    for end in range(0, len(body), 7):
        with pytest.raises(SoapBatchError):
            parse_response(operation, body[:end], version=ServiceVersion.V88)
