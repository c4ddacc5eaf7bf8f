"""What the builder writes, the parser reads back; and the compiled builder writes what plain lxml would."""

from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from soapbatch.model.headers import ReplyHeader, RequestHeader, SoCredentials, SoTimeZone
from soapbatch.model.limits import Limits
from soapbatch.model.services import Binding, ServiceVersion
from soapbatch.operations import OPERATIONS, Operation
from soapbatch.soap.builder import build_request, build_response
from soapbatch.soap.interpretation import interpret, parse_response
from soapbatch.soap.parser import ResponseParser
from soapbatch.testing.request_parser import parse_request
from tests.support.plain_lxml import PlainBuilder
from tests.support.strategies import TEXT, arguments, reply_headers, results, values

EACH_OPERATION = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
BINDINGS = st.sampled_from(Binding)
SOME = settings(max_examples=20)


def versions(operation: Operation[Any]) -> st.SearchStrategy[ServiceVersion]:
    """Return a strategy for the versions that have an operation."""
    return st.sampled_from([version for version in ServiceVersion if version >= operation.since])


def header_for(data: st.DataObject, operation: Operation[Any], binding: Binding) -> RequestHeader:
    """Draw header blocks that a request of an operation can carry in a binding."""
    has_zone = operation.agent.takes_time_zone and not binding.is_documented
    zones = st.builds(SoTimeZone, so_time_zone_id=st.none() | st.integers(0, 99), so_time_zone_location_code=TEXT)
    tokens = TEXT.map(lambda text: text.strip(" \t\r\n"))  # white space around a token is dropped
    ticket = data.draw(st.none() | tokens) if operation.agent.takes_ticket else None
    return RequestHeader(
        application_token=data.draw(st.none() | tokens),
        credentials=None if ticket is None else SoCredentials(ticket=ticket),
        time_zone=data.draw(st.none() | zones) if has_zone else None,
    )


@EACH_OPERATION
@SOME
@given(data=st.data())
def test_a_request_survives_and_equals_its_plain_twin(operation: Operation[Any], data: st.DataObject) -> None:
    """Any request, in any version and binding, has the bytes of a plain lxml build and reads back as it was."""
    version, binding = data.draw(versions(operation)), data.draw(BINDINGS)
    sent, header = data.draw(arguments(operation, version)), header_for(data, operation, binding)
    request = build_request(
        operation,
        sent,
        version=version,
        binding=binding,
        application_token=header.application_token,
        ticket=header.credentials.ticket if header.credentials else None,
        time_zone=header.time_zone,
    )
    assert request.body == PlainBuilder(operation, version, binding).request(header, sent)
    got, got_header = parse_request(operation, request.body, version=version)
    assert got == {name: value for name, value in sent.items() if value is not None}
    assert got_header == header


@EACH_OPERATION
@SOME
@given(data=st.data())
def test_a_response_survives_and_equals_its_plain_twin(operation: Operation[Any], data: st.DataObject) -> None:
    """Any response, in any version and binding, has the bytes of a plain lxml build and reads back as it was."""
    version, binding = data.draw(versions(operation)), data.draw(BINDINGS)
    result = data.draw(results(operation, version))
    harmless = st.none() | reply_headers(version).map(
        lambda header: attrs.evolve(header, succeeded=True, exception_info=None)
    )
    header: ReplyHeader | None = data.draw(harmless)
    body = build_response(operation, result, version=version, binding=binding, header=header)
    assert body == PlainBuilder(operation, version, binding).response(header, result)
    unknown: list[Any] = []
    got = parse_response(operation, body, version=version, on_unknown=unknown.append)
    assert got == result
    assert {report.kind for report in unknown} <= {"value"}  # an enumeration's unknown text, kept


@SOME
@given(data=st.data(), version=st.sampled_from(ServiceVersion), binding=BINDINGS)
def test_reply_header_blocks_survive(data: st.DataObject, version: ServiceVersion, binding: Binding) -> None:
    """Every reply header block, exceptions inside exceptions included, reads back as it was."""
    operation = OPERATIONS["StopBatchJob"]
    header = data.draw(reply_headers(version))
    body = build_response(operation, True, version=version, binding=binding, header=header)  # noqa: FBT003
    assert body == PlainBuilder(operation, version, binding).response(header, True)  # noqa: FBT003
    parser = ResponseParser(operation, version, limits=Limits())
    parser.feed(body)
    reply = parser.close()
    assert reply.header == header
    if header.succeeded and header.exception_info is None:
        assert interpret(operation, reply, 200) is True


@SOME
@given(data=st.data(), cuts=st.lists(st.integers(0, 20_000), max_size=8))
def test_any_split_gives_the_same(data: st.DataObject, cuts: list[int]) -> None:
    """However the bytes of a list arrive, the same tasks come out, in order."""
    operation, version = OPERATIONS["GetBatchTaskInfosByState"], ServiceVersion.V88
    tasks = list(data.draw(values(operation.result, version)))  # type: ignore[arg-type]  # the row has a result
    body = build_response(operation, tasks, version=version, binding=data.draw(BINDINGS))
    parser = ResponseParser(operation, version, limits=Limits(), collect=False)
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    found = [item for start, end in pairwise(edges) for item in parser.feed(body[start:end])]
    assert found + interpret(operation, parser.close(), 200) == tasks
