"""The parser: bytes in any pieces and any dialect, to items, results, header blocks and faults."""

import hashlib
from itertools import pairwise
from typing import Any

import pytest

from soapbatch.errors import (
    Fault,
    LimitExceeded,
    OperationFailed,
    ProtocolError,
    SoapBatchError,
    UnexpectedResponse,
    UnreadableResponse,
)
from soapbatch.model.batch import BatchTaskInfo, BatchTaskState
from soapbatch.model.headers import RequestHeader
from soapbatch.model.limits import Limits
from soapbatch.model.services import Binding, ServiceVersion
from soapbatch.operations import OPERATIONS, Operation
from soapbatch.soap.builder import build_response
from soapbatch.soap.decoders import UnknownItem
from soapbatch.soap.interpretation import interpret, parse_response
from soapbatch.soap.parser import CHUNK, ParsedResponse, ResponseParser
from soapbatch.soap.xml_input import NO_BODY
from soapbatch.testing.request_parser import parse_request
from tests.support.envelopes import OK, TNS, XSI, answer, envelope, fault11, fault12, task_list

V88 = ServiceVersion.V88
PLAIN_TASK = "<BatchTaskInfo><Id>1</Id></BatchTaskInfo>"
LIST = OPERATIONS["GetBatchTaskInfosByState"]
OUTPUT = OPERATIONS["GetOutputFromBatch"]
STOP = OPERATIONS["StopBatchJob"]
TASKS = [BatchTaskInfo(id=number, name=f"<{number}> æ\r\n", parameter_object={"k": None}) for number in range(5)]


def feed(parser: ResponseParser, body: bytes, size: int) -> tuple[list[Any], ParsedResponse]:
    """Return what a parser finds when it is fed pieces of `size`, and its reply."""
    found = [item for start in range(0, len(body), size) for item in parser.feed(body[start : start + size])]
    return found, parser.close()


def streaming(operation: Operation[Any] = LIST, **limits: int) -> ResponseParser:
    """Return a parser that hands out items as they come."""
    return ResponseParser(operation, V88, limits=Limits(**limits), collect=False)


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_pieces_of_any_size_give_the_same(binding: Binding, size: int) -> None:
    """Tasks come out the same whether fed whole, byte by byte or in between, collected or not."""
    body = build_response(LIST, TASKS, version=V88, binding=binding)
    found, reply = feed(streaming(), body, size)
    assert found == TASKS
    assert reply.problem is None
    collecting = ResponseParser(LIST, V88, limits=Limits())
    found, reply = feed(collecting, body, size)
    assert found == []
    assert interpret(LIST, reply, 200) == TASKS


def test_an_item_is_there_as_soon_as_it_is_complete() -> None:
    """Each task comes out of the piece that closes it, not at the end."""
    parser = streaming()
    body = task_list(
        "".join(f"<BatchTaskInfo><Id>{number}</Id><Name>{'n' * 300}</Name></BatchTaskInfo>" for number in range(3))
    )
    ends = [
        body.index(b"</BatchTaskInfo>", start) + 16
        for start in (m for m in range(len(body)) if body.startswith(b"<BatchTaskInfo>", m))
    ]
    ids = [[task.id for task in parser.feed(body[start:end])] for start, end in pairwise([0, *ends])]
    assert ids == [[0], [1], [2]]


@pytest.mark.parametrize("junk", [b"x", b"<a/>", b"\0", b"<!-- -->", b" \r\n"])
def test_junk_after_the_envelope(junk: bytes) -> None:
    """White space and comments may follow the envelope; anything else makes the response unreadable."""
    found, reply = feed(streaming(), task_list("<BatchTaskInfo/>") + junk, 100)
    assert found == [BatchTaskInfo()]
    assert (reply.problem is None) == (junk in {b"<!-- -->", b" \r\n"})


@pytest.mark.parametrize(
    ("content", "expected", "unknown"),
    [
        pytest.param("", [], [], id="absent"),
        pytest.param("<Response/>", [], [], id="empty"),
        pytest.param('<Response i:nil="true"/>', [], [], id="nil"),
        pytest.param("<Response> \n </Response>", [], [], id="white space"),
        pytest.param(
            '<Response><BatchTaskInfo i:nil="true"/><BatchTaskInfo><Id>1</Id></BatchTaskInfo>'
            '<BatchTaskInfo i:nil="1"></BatchTaskInfo></Response>',
            [BatchTaskInfo(id=1)],
            [UnknownItem("nil item", "BatchTaskInfo", "Response")] * 2,
            id="nil items",
        ),
        pytest.param(
            "<Response><Before/><BatchTaskInfo/><Between/><Two/><BatchTaskInfo/><After/></Response>",
            [BatchTaskInfo(), BatchTaskInfo()],
            [UnknownItem("element", name, "Response") for name in ("Before", "Between", "Two", "After")],
            id="foreign elements",
        ),
        pytest.param(
            "<Response><BatchTaskInfo><New>1</New><State>Paused</State><TableRight/></BatchTaskInfo></Response>",
            [BatchTaskInfo(state="Paused")],
            [UnknownItem("element", "New", "BatchTaskInfo"), UnknownItem("value", "Paused", "BatchTaskState")],
            id="unknown element and value",
        ),
        pytest.param(
            "<Other><BatchTaskInfo/></Other><Response><BatchTaskInfo><Id>1</Id></BatchTaskInfo></Response>"
            "<Response><BatchTaskInfo><Id>2</Id></BatchTaskInfo></Response>",
            [BatchTaskInfo(id=1)],
            [],
            id="items elsewhere",
        ),
    ],
)
def test_lists(content: str, expected: list[BatchTaskInfo], unknown: list[UnknownItem]) -> None:
    """Nil, absent and empty lists are empty; nil items are dropped; what is not known is told of."""
    told: list[UnknownItem] = []
    body = answer("GetBatchTaskInfosByState", content)
    assert parse_response(LIST, body, version=V88, on_unknown=told.append) == expected
    assert told == unknown


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            f'<a:Envelope xmlns:a="http://schemas.xmlsoap.org/soap/envelope/"><a:Body>'
            f'<b:GetBatchTaskInfoResponse xmlns:b="{TNS}"><b:Response><b:State>Started</b:State>'
            f"<b:Id>7</b:Id><b:Name/></b:Response></b:GetBatchTaskInfoResponse></a:Body></a:Envelope>",
            id="prefixes, order",
        ),
        pytest.param(
            f'<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"><Body><GetBatchTaskInfoResponse xmlns="{TNS}">'
            f'<Response><Id xmlns="{TNS}">7</Id><x:Name xmlns:x="{TNS}"></x:Name><State>Started</State></Response>'
            f"</GetBatchTaskInfoResponse></Body></Envelope>",
            id="inner declarations",
        ),
        pytest.param(
            "\ufeff<?xml version='1.0'?><!-- c --><?p i?>\n"
            + answer(
                "GetBatchTaskInfo",
                "<!-- c --><Response><Id>7<!-- c --></Id><?p?><Name><![CDATA[]]></Name>"
                "<State>St<![CDATA[art]]>ed</State></Response>",
            ).decode(),
            id="BOM, comments, instructions, CDATA",
        ),
        pytest.param(
            answer(
                "GetBatchTaskInfo", "<Response>\n <Id> 7 </Id>\n <Name></Name><State>Started</State>\n</Response>"
            ).decode(),
            id="white space",
        ),
    ],
)
def test_dialects(body: str) -> None:
    """Prefixes, order, inner declarations, comments, CDATA and a byte order mark make no difference."""
    expected = BatchTaskInfo(id=7, name="", state=BatchTaskState.STARTED)
    assert parse_response("GetBatchTaskInfo", body.encode(), version=V88) == expected


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        pytest.param("StopBatchJob", envelope(""), "empty or missing", id="empty Body"),
        pytest.param("StopBatchJob", envelope("text"), "empty or missing", id="text in Body"),
        pytest.param(
            "StopBatchJob", answer("StopBatchJob", "").replace(b"s:Body", b"s:Bod"), "empty or missing", id="no Body"
        ),
        pytest.param(
            "StopBatchJob", answer("StartBatchJob", ""), r"expected <StopBatchJobResponse>.*got <StartBatch", id="other"
        ),
        pytest.param(
            "StopBatchJob", answer("StopBatchJob", "").replace(b"88", b"86"), r"of \S+Services88, got", id="version"
        ),
        pytest.param("StopBatchJob", answer("StopBatchJob", ""), "holds no Response, which it must", id="absent"),
        pytest.param("StopBatchJob", answer("StopBatchJob", '<Response i:nil="true"/>'), "holds no Response", id="nil"),
        pytest.param(
            "StopBatchJob",
            answer("StopBatchJob", "<Response>maybe</Response>"),
            "Response.Response: not a boolean",
            id="value",
        ),
        pytest.param(
            "StopBatchJob", answer("StopBatchJob", "<Response><a/></Response>"), "where a text belongs", id="element"
        ),
        pytest.param(
            "GetBatchTaskInfo",
            answer("GetBatchTaskInfo", "<Response><Id>x</Id></Response>"),
            r"Response\.Id: not",
            id="field",
        ),
        pytest.param(
            "GetBatchTaskInfosByState",
            task_list("<BatchTaskInfo/><BatchTaskInfo><Created>x</Created></BatchTaskInfo>"),
            r"ByStateResponse\.Response\[1\]\.Created: not a dateTime",
            id="item",
        ),
        pytest.param(
            "AuthenticateImplicit",
            envelope("<AuthenticateResponse><Response><GroupId>x</GroupId></Response></AuthenticateResponse>"),
            r"AuthenticateResponse\.Response\.GroupId: not",
            id="login",
        ),
        pytest.param(
            "StopBatchJob",
            answer("StopBatchJob", "<Response>true</Response>", "<Succeeded>x</Succeeded>"),
            r"Header\.Succeeded",
            id="header block",
        ),
    ],
)
def test_a_response_that_does_not_answer(operation: str, body: bytes, message: str) -> None:
    """An envelope with the wrong content, or a value not of its type, raises UnexpectedResponse and says where."""
    with pytest.raises(UnexpectedResponse, match=message) as caught:
        parse_response(operation, body, version=V88)
    assert (caught.value.operation, caught.value.version, caught.value.status) == (operation, V88, 200)


def test_a_second_answer_is_no_answer() -> None:
    """A second Body, or a second element in it, which SOAP does not have, is refused: which one would count?"""
    body = answer("StopBatchJob", "<Response>true</Response>").replace(
        b"</s:Envelope>", b"<s:Body><x/></s:Body></s:Envelope>"
    )
    with pytest.raises(UnexpectedResponse, match="more than one answer: 2"):
        parse_response("StopBatchJob", body, version=V88)


_TASKS = "<GetBatchTaskInfosByStateResponse><Response>{}</Response>{}</GetBatchTaskInfosByStateResponse>{}"
_LATE = "<s:Fault><faultcode>s:Server</faultcode><faultstring>late</faultstring></s:Fault>"
_ITEM = "<BatchTaskInfo><Id>1</Id></BatchTaskInfo>"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_TASKS.format(_ITEM + _LATE, "", ""), id="among the items"),
        pytest.param(_TASKS.format(_ITEM, _LATE, ""), id="behind the list"),
        pytest.param(_TASKS.format(_ITEM, "", _LATE), id="behind the response"),
        pytest.param(_TASKS.format(_ITEM, "", "") + "</s:Body><s:Body>" + _LATE, id="in a second body"),
    ],
)
def test_a_fault_counts_wherever_it_stands(body: str) -> None:
    """A fault after some items is raised: it never looks like a short list."""
    with pytest.raises(Fault, match="late"):
        parse_response("GetBatchTaskInfosByState", envelope(body), version=V88)


def test_text_in_the_place_of_items_is_no_empty_list() -> None:
    """A list element that holds a text is refused, not taken for an empty list."""
    with pytest.raises(UnexpectedResponse, match="text where items belong"):
        parse_response("GetBatchTaskInfosByState", envelope(_TASKS.format("oops", "", "")), version=V88)


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param("<Succeeded>false</Succeeded><Succeeded>true</Succeeded>", id="twice"),
        pytest.param("<Succeeded> false </Succeeded><Succeeded>true</Succeeded>", id="twice, in white space"),
        pytest.param("<Succeeded>true</Succeeded><Succeeded>false</Succeeded>", id="the other way round"),
        pytest.param("<Succeeded>0</Succeeded></s:Header><s:Header>", id="in another header"),
        pytest.param(
            "<Succeeded>false</Succeeded></s:Header><s:Header><Succeeded>true</Succeeded>", id="taken back in another"
        ),
        pytest.param(
            "<Succeeded>true</Succeeded></s:Header><s:Header><Succeeded>false</Succeeded>", id="failed in another"
        ),
        pytest.param(
            "<ExceptionInfo><Message>no</Message></ExceptionInfo></s:Header><s:Header><Succeeded>true</Succeeded>"
            '<ExceptionInfo i:nil="true"/>',
            id="an exception, then a success",
        ),
        pytest.param(
            "<Succeeded>false</Succeeded></s:Header><s:Header><Succeeded>true</Succeeded></s:Header><s:Header>"
            "<Succeeded>1</Succeeded>",
            id="taken back twice",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 10**6])
def test_a_failure_once_told_is_not_untold(blocks: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Succeeded=false stays a failure, whatever a later block or header says, and however the response is read."""
    body = answer("StopBatchJob", "<Response>true</Response>", blocks)
    for short in (10**6, -1):
        monkeypatch.setattr("soapbatch.soap.fast.short_response._SHORT", short)
        _, reply = feed(ResponseParser(OPERATIONS["StopBatchJob"], V88, limits=Limits()), body, size)
        with pytest.raises(OperationFailed):
            interpret(OPERATIONS["StopBatchJob"], reply, 200)


def test_header_blocks() -> None:
    """Every reply header block is read, unknown ones are told of, and nil ones are as good as absent."""
    told: list[UnknownItem] = []
    blocks = (
        '<ExceptionInfo i:nil="true"/><ExtraInfo><ExtraInfoNameValuePair><Key>k</Key><Value>v</Value>'
        "</ExtraInfoNameValuePair></ExtraInfo><Succeeded>1</Succeeded><TimeZone><SoTimeZoneId>5</SoTimeZoneId><X/>"
        '</TimeZone><Later/><o:Security xmlns:o="urn:o"/>'
    )
    parser = ResponseParser(OPERATIONS["StopBatchJob"], V88, limits=Limits(), on_unknown=told.append)
    parser.feed(answer("StopBatchJob", "<Response>false</Response>", blocks))
    reply = parser.close()
    header = reply.header
    assert (header.exception_info, header.extra_info, header.succeeded) == (None, {"k": "v"}, True)
    assert header.time_zone is not None
    assert header.time_zone.so_time_zone_id == 5
    assert told == [
        UnknownItem("element", "X", "SoTimeZone"),
        UnknownItem("header block", "Later", "Header"),
        UnknownItem("header block", "Security", "Header"),
    ]
    assert interpret(OPERATIONS["StopBatchJob"], reply, 200) is False


@pytest.mark.parametrize("header", [None, "<Succeeded>true</Succeeded>", "<TimeZone/>"])
def test_header_blocks_beside_the_body(header: str | None) -> None:
    """Where the documented requests have their header blocks, a reply's count too: a failure is no success."""
    body = answer("StopBatchJob", "<Response>true</Response>", header)
    for before in (b"<s:Body>", b"</s:Envelope>"):
        blocks = (
            f"<ExceptionInfo xmlns='{TNS}'><Message>no</Message></ExceptionInfo><Succeeded xmlns='{TNS}'>0</Succeeded>"
        )
        failed = body.replace(before, blocks.encode() + before)
        with pytest.raises(OperationFailed, match="StopBatchJob: no"):
            parse_response("StopBatchJob", failed, version=V88)


def test_what_stands_beside_the_body_and_is_no_header_block() -> None:
    """A stranger beside the Body is told of, and changes nothing."""
    stranger = b"<x:Stranger xmlns:x='urn:x'/>"
    fine = answer("StopBatchJob", "<Response>true</Response>", "<ExtraInfo/><Succeeded>1</Succeeded>")
    for before in (b"<s:Header>", b"<s:Body>", b"</s:Envelope>"):
        told: list[UnknownItem] = []
        parser = ResponseParser(OPERATIONS["StopBatchJob"], V88, limits=Limits(), on_unknown=told.append)
        parser.feed(fine.replace(before, stranger + before))
        reply = parser.close()
        assert told == [UnknownItem("header block", "Stranger", "Header")]
        assert reply.header == reply_to(fine).header
        assert reply.result is True
        failed = answer(
            "StopBatchJob", "<Response>true</Response>", "<ExceptionInfo><Message>no</Message></ExceptionInfo>"
        )
        with pytest.raises(OperationFailed, match="StopBatchJob: no"):
            parse_response("StopBatchJob", failed.replace(before, stranger + before), version=V88)


def test_what_a_header_and_a_block_beside_it_say_is_put_together() -> None:
    """A reason in the Header and a failure beside the Body are one failure with that reason."""
    body = answer("StopBatchJob", "<Response>true</Response>", "<ExceptionInfo><Message>no</Message></ExceptionInfo>")
    for word in ("0", "1"):
        block = f"<Succeeded xmlns='{TNS}'>{word}</Succeeded><s:Body>".encode()
        header = reply_to(body.replace(b"<s:Body>", block)).header
        assert header.exception_info is not None
        assert header.exception_info.message == "no"
        assert header.succeeded is (word == "1")


@pytest.mark.parametrize("collect", [True, False])
def test_a_web_page_is_refused_as_soon_as_it_begins(collect: bool) -> None:  # noqa: FBT001 - a column
    """A DOCTYPE makes an answer unreadable before its end has come; in a text it is none."""
    parser = ResponseParser(LIST, V88, limits=Limits(), collect=collect)
    for piece in (b"<!-- <!D --> <!", b"DOCTYPE html>"):
        assert parser.problem is None
        parser.feed(piece)
    assert parser.problem is not None
    assert "is this a web page?" in parser.problem.message
    body = task_list("<BatchTaskInfo><Name><![CDATA[<!DOCTYPE html>]]></Name></BatchTaskInfo>")
    assert parse_response(LIST, body, version=V88) == [BatchTaskInfo(name="<!DOCTYPE html>")]


PART = b"Content-Type: application/xop+xml\r\n\r\n" + answer("StopBatchJob", "<Response>true</Response>")
MULTIPART = "Multipart/Related; type='application/xop+xml'; boundary=b"


@pytest.mark.parametrize("collect", [True, False], ids=["collected", "streamed"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\r\n--b\r\n" + PART + b"\r\n--b--", MULTIPART),
        (b"--uuid:1\r\n" + PART, None),
        (b"This is a message of several parts.\r\n--b\r\n" + PART, MULTIPART),
    ],
)
def test_a_response_of_several_parts(collect: bool, body: bytes, content_type: str | None) -> None:  # noqa: FBT001 - a column
    """MTOM and SOAP with attachments are named as what they are, with or without their Content-Type."""
    parser = ResponseParser(STOP, V88, limits=Limits(), content_type=content_type, collect=collect)
    parser.feed(body)
    parsed = parser.close()
    assert parsed.problem is not None
    assert parsed.problem.kind is UnreadableResponse
    assert "multipart (MTOM, or SOAP with attachments), which is not read" in parsed.problem.message
    assert parsed.excerpt


def test_a_wrong_content_type_makes_nothing_multipart() -> None:
    """An envelope is read whatever its Content-Type says, and an empty body is an empty body."""
    parser = ResponseParser(STOP, V88, limits=Limits(), content_type=MULTIPART)
    parser.feed(answer("StopBatchJob", "<Response>true</Response>"))
    assert parser.close().result is True
    empty = ResponseParser(STOP, V88, limits=Limits(), content_type=MULTIPART).close().problem
    assert empty is not None
    assert empty.message == NO_BODY


def test_exceptions_inside_exceptions_have_an_end() -> None:
    """Inner exceptions are read by recursion, so a header block that nests too deeply is refused before that."""
    nested = "<InnerException>" * 200 + "</InnerException>" * 200
    body = answer("StopBatchJob", "<Response>true</Response>", f"<ExceptionInfo>{nested}</ExceptionInfo>")
    for size in (100, 10**6):
        parser = ResponseParser(OPERATIONS["StopBatchJob"], V88, limits=Limits())
        _, reply = feed(parser, body, size)
        assert reply.problem is not None
        assert reply.problem.kind is LimitExceeded
        assert reply.problem.limit == "depth"


def test_a_header_element_elsewhere_is_no_header() -> None:
    """An element called Header inside the Body says nothing about success."""
    body = answer("StopBatchJob", "<Response>true</Response><s:Header><Succeeded>false</Succeeded></s:Header>")
    assert parse_response("StopBatchJob", body, version=V88) is True


def reply_to(body: bytes, operation: str = "StopBatchJob") -> ParsedResponse:
    """Return all that a response says."""
    parser = ResponseParser(OPERATIONS[operation], V88, limits=Limits())
    parser.feed(body)
    return parser.close()


def test_a_fault_of_soap_11() -> None:
    """Code, reasons by language, actor and detail of a SOAP 1.1 fault are read; unknown parts are passed over."""
    fault = reply_to(
        fault11(
            "<faultcode>s:Server</faultcode><faultstring xml:lang='en'> no </faultstring><faultstring>nei</faultstring>"
            "<faultactor>urn:a</faultactor><detail><x>de</x> <y>tail</y></detail><other/>"
        )
    ).fault
    assert fault is not None
    assert (fault.code, fault.subcode, fault.actor, fault.detail) == ("Server", None, "urn:a", "de tail")
    assert fault.reasons == {"en": "no", "": "nei"}
    assert fault.exception_info is None


def test_a_fault_of_soap_12() -> None:
    """Code, subcode, reasons by language, role and detail of a SOAP 1.2 fault are read."""
    fault = reply_to(
        fault12(
            "<s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>a:Internal</s:Value></s:Subcode></s:Code>"
            "<s:Reason><s:Text xml:lang='en'>no</s:Text><s:Text xml:lang='nb'>nei</s:Text></s:Reason>"
            "<s:Node>urn:n</s:Node><s:Role>urn:r</s:Role><s:Detail/>"
        )
    ).fault
    assert fault is not None
    assert (fault.code, fault.subcode, fault.actor, fault.detail) == ("Receiver", "Internal", "urn:n", None)
    assert fault.reasons == {"en": "no", "nb": "nei"}


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        (f'<ExceptionInfo xmlns="{TNS}"><Message>m</Message></ExceptionInfo>', "m"),
        ('<SoExceptionInfo xmlns=""><Message>m</Message></SoExceptionInfo>', "m"),
        (f'<other/><ExceptionInfo xmlns="{TNS}"><Message><x/></Message></ExceptionInfo>', None),
        ("text", None),
    ],
    ids=["own namespace", "no namespace", "unreadable", "text"],
)
def test_a_detail_that_is_an_exception_of_netserver(detail: str, message: str | None) -> None:
    """NetServer's exception in a detail is read with or without its namespace; anything else is left as text."""
    fault = reply_to(fault11(f"<faultcode>x</faultcode><detail>{detail}</detail>")).fault
    assert fault is not None
    assert (fault.exception_info and fault.exception_info.message) == message


@pytest.mark.parametrize("content", ["", "<faultcode/>", "<s:Code/><s:Reason/>"], ids=["empty", "code", "1.2"])
def test_a_fault_that_says_nothing(content: str) -> None:
    """A fault without code and reasons is a fault all the same."""
    fault = reply_to(fault11(content)).fault
    assert fault is not None
    assert (fault.code, fault.subcode) == ("", None)


LATE = "<BatchTaskInfo><Id>1</Id></BatchTaskInfo><BatchTaskInfo><Id>2</Id></BatchTaskInfo>"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(task_list(LATE)[:-1], id="last bracket missing"),
        pytest.param(task_list(LATE)[:-40], id="cut behind the tasks"),
        pytest.param(task_list(LATE).partition(b"</Response>")[0], id="cut after the last task"),
        pytest.param(task_list(LATE + "\1"), id="illegal character"),
        pytest.param(task_list(LATE + "<BatchTaskInfo><Id>x</Id></BatchTaskInfo>"), id="bad value"),
        pytest.param(
            task_list(LATE).replace(b"</s:Body>", b"</s:Body><s:Header><Succeeded>false</Succeeded></s:Header>"),
            id="late header",
        ),
    ],
)
def test_a_late_failure_is_no_short_list(body: bytes) -> None:
    """Tasks that came before a failure do not make a list: collected or streamed, an error follows them."""
    with pytest.raises(SoapBatchError):
        parse_response(LIST, body, version=V88)
    parser = streaming()
    found, reply = feed(parser, body, 50)
    assert [task.id for task in found] == [1, 2]
    with pytest.raises(SoapBatchError):
        interpret(LIST, reply, 200)
    assert parser.feed(b"more") == []


def test_a_short_response_is_streamed_too() -> None:
    """The items of a response that is shorter than an XML declaration may be are handed out as well."""
    soap, tns = "http://schemas.xmlsoap.org/soap/envelope/", TNS
    start = f'<E xmlns="{soap}"><B xmlns="{soap}"><R xmlns="{tns}">'
    body = start.replace("<E", "<Envelope").replace("<B ", "<Body ").replace("<R", "<GetBatchTaskInfosByStateResponse")
    parser = streaming()
    assert len(parser.feed(f"{body}<Response><BatchTaskInfo/>".encode())) == 1


def test_a_failed_reply_gives_no_items() -> None:
    """Tasks beside Succeeded=false are not handed out."""
    found, _ = feed(streaming(), task_list(LATE, "<Succeeded>false</Succeeded>"), 30)
    assert found == []


def test_items_are_freed_as_they_come() -> None:
    """A stream of 20,000 tasks leaves at most one piece's worth of them in lxml's tree."""
    parser = streaming()
    start, _, end = task_list("@").partition(b"@")
    item = b"<BatchTaskInfo><Id>1</Id><Name>name</Name></BatchTaskInfo><Foreign/>\n"
    parser.feed(start)
    count = 0
    for _ in range(200):
        count += len(parser.feed(item * 100))
        assert parser._list is not None
        assert len(parser._list) <= 2
    count += len(parser.feed(end))
    assert count == 20_000
    assert parser.close().problem is None


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("size", [1, 3, 1000, 10**7])
def test_output_in_pieces_of_any_size(binding: Binding, size: int) -> None:
    """base64 output is decoded as it arrives, in any pieces."""
    output = hashlib.shake_256(b"").digest(5_000 if size < 100 else 3_000_000)
    body = build_response(OUTPUT, output, version=V88, binding=binding)
    found, reply = feed(streaming(OUTPUT), body, size)
    assert b"".join(found) == output
    assert reply.problem is None
    assert parse_response(OUTPUT, body, version=V88) == output


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("<Response>\n QU\tJD\r\n</Response>", b"ABC", id="white space"),
        pytest.param("<Response>QUJD&#13;&#xD;&#xA;\nREVG</Response>", b"ABCDEF", id="references to white space"),
        pytest.param("<Response>QUJDR<!-- no -->EVG</Response>", b"ABCDEF", id="comment"),
        pytest.param("<Response><![CDATA[QUJD]]></Response>", b"ABC", id="CDATA"),
        pytest.param("<Response>QU<![CDATA[JDR]]><?p i?>EVG</Response>", b"ABCDEF", id="all of it"),
        pytest.param("<Response>QQ==</Response>", b"A", id="padding"),
        pytest.param("<Response></Response>", b"", id="empty"),
        pytest.param("<Response/>", b"", id="self-closed"),
        pytest.param("<Response> </Response>", b"", id="blank"),
        pytest.param('<Response i:nil="true"/>', None, id="nil"),
        pytest.param("", None, id="absent"),
        pytest.param("<X><Response>QUJD</Response></X><Response>REVG</Response>\n", b"DEF", id="elsewhere"),
        pytest.param("<Response>QUJD</Response><Response>REVG</Response>", b"ABC", id="twice"),
    ],
)
@pytest.mark.parametrize("size", [1, 10**6])
def test_output(content: str, expected: bytes | None, size: int) -> None:
    """White space, comments, instructions and CDATA make no difference; an empty output is one piece, none is none."""
    body = answer("GetOutputFromBatch", content)
    collecting = ResponseParser(OUTPUT, V88, limits=Limits())
    found, reply = feed(collecting, body, size)
    assert found == []
    assert interpret(OUTPUT, reply, 200) == expected
    found, reply = feed(streaming(OUTPUT), body, size)
    assert (b"".join(found) if found else None) == expected
    assert reply.problem is None


BAD_BASE64 = [
    *("QUJ", "QQ==QUJD", "QQ=", "Q", "Q===", "Q*JD", "QUJDæ", "QUJD&amp;", "QUJD&#65;AAA", "QUJD&" + "x" * 50),
    *("<a/>", "QUJD<a/>", "<![CDATA[QU<JD]]>", "<!-- -->Q"),
]


@pytest.mark.parametrize("content", BAD_BASE64)
@pytest.mark.parametrize("size", [1, 2, 10**6])
def test_bad_output(content: str, size: int) -> None:
    """What is not base64 raises UnexpectedResponse or UnreadableResponse, in whatever pieces it comes."""
    body = answer("GetOutputFromBatch", f"<Response>{content}</Response>")
    parser = ResponseParser(OUTPUT, V88, limits=Limits())
    _, reply = feed(parser, body, size)
    with pytest.raises(ProtocolError, match=r"not base64Binary|not well-formed"):
        interpret(OUTPUT, reply, 200)


def test_truncated_output_is_no_short_output() -> None:
    """Output that ends too soon is an error, even at a boundary where base64 could end."""
    parser = streaming(OUTPUT)
    found, reply = feed(
        parser, answer("GetOutputFromBatch", "<Response>QUJDREVG</Response>").partition(b"</Resp")[0], 10
    )
    assert b"".join(found) == b"ABCDEF"
    with pytest.raises(UnreadableResponse, match="ends before its envelope does"):
        interpret(OUTPUT, reply, 200)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"bytes": 200}, "bytes"),
        ({"items": 1}, "items"),
        ({"tags": 10}, "tags"),
        ({"depth": 4}, "depth"),
        ({"text_length": 60}, "text_length"),
    ],
    ids=str,
)
def test_limits_of_a_collected_list(limits: dict[str, int], name: str) -> None:
    """Each limit stops a collected list with an error that names it."""
    with pytest.raises(LimitExceeded, match=f"Limits.{name}") as caught:
        parse_response(LIST, task_list(LATE), version=V88, limits=Limits(**limits))
    assert caught.value.limit == name


def test_limits_of_a_stream() -> None:
    """A stream is bounded by `streamed_bytes`, and neither by `bytes` nor by `items`; its tags count anew per item."""
    found, reply = feed(streaming(bytes=10, items=1, tags=25), task_list("<BatchTaskInfo></BatchTaskInfo>" * 100), 200)
    assert len(found) == 100
    assert reply.problem is None
    _, reply = feed(streaming(streamed_bytes=1000), task_list("<BatchTaskInfo/>" * 100), 200)
    assert reply.problem is not None
    assert reply.problem.kind is LimitExceeded
    assert reply.problem.limit == "streamed_bytes"


def test_a_large_piece_is_parsed_in_slices() -> None:
    """One piece of several megabytes is no different from many: limits count between items, not per piece."""
    body = task_list("<BatchTaskInfo><Id>1</Id></BatchTaskInfo>" * 20_000)
    assert len(body) > 10 * CHUNK
    assert len(streaming(tags=30_000).feed(body)) == 20_000


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        pytest.param(b"", UnreadableResponse, "no body", id="empty"),
        pytest.param(b"<a", UnreadableResponse, "ends before", id="truncated"),
        pytest.param(b"<a></b>", UnreadableResponse, "not well-formed", id="not well-formed"),
        pytest.param(b"<!DOCTYPE a><a/>", UnreadableResponse, "DOCTYPE", id="DOCTYPE"),
        pytest.param(b"<a/>", UnexpectedResponse, "holds no <StopBatchJob>", id="no envelope"),
        pytest.param(envelope(""), UnexpectedResponse, "holds no <StopBatchJob>", id="empty Body"),
        pytest.param(envelope("<StartBatchJob/>"), UnexpectedResponse, "holds no <StopBatchJob>", id="other"),
        pytest.param(
            envelope("<StopBatchJob><Id>x</Id></StopBatchJob>"), UnexpectedResponse, "Id: not a valid int", id="value"
        ),
        pytest.param(
            envelope("<StopBatchJob/>", "<TimeZone><SoTimeZoneId/></TimeZone>"),
            UnexpectedResponse,
            r"TimeZone\.SoTimeZoneId",
            id="header",
        ),
        pytest.param(envelope("<StopBatchJob>" + "<a>" * 70), LimitExceeded, "depth", id="depth"),
    ],
)
def test_a_request_that_cannot_be_read(body: bytes, error: type[ProtocolError], message: str) -> None:
    """A server gets a named error for each request that is not the operation's."""
    with pytest.raises(error, match=message):
        parse_request(OPERATIONS["StopBatchJob"], body, version=V88)


def test_a_request_without_anything_optional() -> None:
    """Nil, absent and empty arguments and header blocks are told apart as in responses."""
    body = envelope(
        f'<StartBatchJob><BatchTaskInfo><Name/><Id xmlns:i="{XSI}" i:nil="true"/></BatchTaskInfo></StartBatchJob>'
    )
    arguments, header = parse_request(OPERATIONS["StartBatchJob"], body, version=V88)
    assert arguments == {"batch_task_info": BatchTaskInfo(name="")}
    assert header == RequestHeader()
    absent = envelope("<StopBatchJob/>")
    assert parse_request(OPERATIONS["StopBatchJob"], absent, version=V88) == ({}, RequestHeader())


@pytest.mark.parametrize("size", [1, 500, 10**6])
@pytest.mark.parametrize(
    "body",
    [
        envelope("<x/>" * 2000),
        envelope("<x/>" * 2000)[:-1],
        b"<html>" + b"<p/>" * 2000 + b"</html>",
        b"<html>" + b"<p/>" * 2000,
        f'<BatchTaskInfo xmlns="{TNS}"/>'.encode(),
    ],
    ids=["envelope", "cut envelope", "page", "cut page", "item as root"],
)
def test_closing_twice(body: bytes, size: int) -> None:
    """However a response ended, small or large, closing its parser again gives the same reply."""
    parser = streaming()
    _, reply = feed(parser, body, size)
    assert reply.problem is not None
    assert parser.close() is reply
    assert parser.feed(b"more") == []


def test_a_successful_reply_says_that_it_answers() -> None:
    """`answers` tells a problem behind the right response element from one before it."""
    assert reply_to(answer("StopBatchJob", "<Response>x</Response>", OK)).answers
    assert not reply_to(answer("StartBatchJob", "<Response>1</Response>")).answers
    assert not reply_to(envelope("<x><StopBatchJobResponse/></x>")).answers


@pytest.mark.parametrize("size", [1, 7, 500, 10**6])
@pytest.mark.parametrize("namesakes", [0, 3, 99])
def test_output_behind_its_namesakes(namesakes: int, size: int) -> None:
    """Elements that are named like the output are told from it, up to a hundred of them."""
    header = "<x>" + "<Response a='>' b=\"'>\">QUJD</Response>" * namesakes + "</x>"
    body = envelope(
        "<GetOutputFromBatchResponse><Response c='>'>QUJDREVG</Response></GetOutputFromBatchResponse>", header
    )
    found, reply = feed(streaming(OUTPUT), body, size)
    assert (b"".join(found), reply.problem) == (b"ABCDEF", None)
    _, reply = feed(ResponseParser(OUTPUT, V88, limits=Limits()), body, size)
    assert interpret(OUTPUT, reply, 200) == b"ABCDEF"


def test_too_many_namesakes_of_output() -> None:
    """With more of them a response is refused: to try each takes time."""
    body = envelope("<GetOutputFromBatchResponse/>", "<x>" + "<Response></Response>" * 101 + "</x>")
    with pytest.raises(UnexpectedResponse, match="more than 100 elements are named Response"):
        parse_response("GetOutputFromBatch", body, version=V88)


@pytest.mark.parametrize("item", ['<BatchTaskInfo i:nil="1"/>', "<Stranger/><BatchTaskInfo><Id>1</Id></BatchTaskInfo>"])
def test_a_stream_of_nothing_has_an_end(item: str) -> None:
    """Nil items and strangers in a streamed list count towards Limits.items, and tasks do not."""
    parser = streaming(items=20)
    _, reply = feed(parser, task_list(item * 20 + PLAIN_TASK * 100), 100)
    assert reply.problem is None
    parser = streaming(items=20)
    _, reply = feed(parser, task_list(item * 21 + PLAIN_TASK), 100)
    assert reply.problem is not None
    assert reply.problem.limit == "items"


def test_collected_items_are_freed_in_parts() -> None:
    """What was collected for an error's sake can be freed part by part."""
    parser = ResponseParser(LIST, V88, limits=Limits())
    parser.feed(task_list(PLAIN_TASK * 4500)[:-9])
    assert parser.close().problem is not None
    assert [parser.discard() for _ in range(4)] == [True, True, False, False]
