"""What a response means: the order of the rules, the evidence that errors carry, and that it holds no secret."""

import pickle
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import example, given, strategies as st

from soapbatch import errors
from soapbatch.errors import (
    AccessDenied,
    AuthenticationFailed,
    BindingRefused,
    Fault,
    HttpError,
    NotInVersion,
    OperationFailed,
    ProtocolError,
    ServiceBusy,
    SoapBatchError,
    TenantMoved,
    UnexpectedResponse,
    UnreadableResponse,
    UsageError,
    VersionMismatch,
)
from soapbatch.model.batch import BatchTaskInfo
from soapbatch.model.headers import ExceptionInfo, ReplyHeader
from soapbatch.model.limits import Limits
from soapbatch.model.principal import AuthenticateResponse
from soapbatch.model.secret import Secret
from soapbatch.model.services import ServiceVersion
from soapbatch.operations import AUTHENTICATE_IMPLICIT, OPERATIONS, Operation
from soapbatch.soap.decoders import FaultBlock
from soapbatch.soap.interpretation import interpret, parse_response
from soapbatch.soap.parser import ParsedResponse, Problem, ResponseParser
from tests.soap.test_recordings import ROWS, WIRE, read
from tests.support.envelopes import OK, answer, envelope, fault11, fault12

V88 = ServiceVersion.V88
STOP = OPERATIONS["StopBatchJob"]
FAULT = FaultBlock(code="Server", reasons={"": "no"})
FAILED = ReplyHeader(succeeded=False)
FILLED = ReplyHeader(succeeded=True, exception_info=ExceptionInfo(message="m"))
REFUSED = AuthenticateResponse(authentication_succeeded=False)


def error_of(
    operation: Operation[Any] = STOP,
    status: int = 200,
    *,
    secrets: tuple[str, ...] = (),
    retry_after: float | None = None,
    advise_binding: bool = False,
    **reply: Any,
) -> SoapBatchError:
    """Return the error that a reply means."""
    with pytest.raises(SoapBatchError) as caught:
        interpret(
            operation,
            ParsedResponse(**reply),
            status,
            retry_after=retry_after,
            secrets=map(Secret, secrets),
            advise_binding=advise_binding,
        )
    return caught.value


@pytest.mark.parametrize(
    ("operation", "status", "reply", "kind"),
    [
        pytest.param(STOP, 401, {"fault": FAULT}, AccessDenied, id="1 before 2: 401"),
        pytest.param(STOP, 403, {"fault": FAULT}, AccessDenied, id="1 before 2: 403"),
        pytest.param(STOP, 413, {"fault": FAULT}, HttpError, id="1 before 2: 413"),
        pytest.param(STOP, 415, {"fault": FAULT}, BindingRefused, id="1 before 2: 415"),
        pytest.param(STOP, 421, {"fault": FAULT}, TenantMoved, id="1 before 2: 421"),
        pytest.param(STOP, 401, {"header": FAILED}, AccessDenied, id="1 before 3"),
        pytest.param(STOP, 200, {"fault": FAULT, "header": FAILED}, Fault, id="2 before 3"),
        pytest.param(STOP, 404, {"fault": FAULT}, Fault, id="2 before 4: 404"),
        pytest.param(STOP, 429, {"fault": FAULT}, Fault, id="2 before 4: 429"),
        pytest.param(STOP, 503, {"fault": FAULT}, Fault, id="2 before 4: 503"),
        pytest.param(STOP, 200, {"fault": FAULT, "result": True}, Fault, id="2 with HTTP 200"),
        pytest.param(STOP, 503, {"header": FAILED}, OperationFailed, id="3 before 4"),
        pytest.param(STOP, 503, {"header": FILLED}, OperationFailed, id="3 before 4: filled"),
        pytest.param(
            STOP,
            200,
            {"header": FAILED, "problem": Problem(UnreadableResponse, "cut")},
            OperationFailed,
            id="3 before 5",
        ),
        pytest.param(
            AUTHENTICATE_IMPLICIT, 200, {"header": FAILED, "result": REFUSED}, OperationFailed, id="3 before 6"
        ),
        pytest.param(STOP, 200, {"header": FILLED, "result": True}, OperationFailed, id="3 with a harmless result"),
        pytest.param(STOP, 415, {"problem": Problem(UnreadableResponse, "empty")}, BindingRefused, id="1 before 5"),
        pytest.param(AUTHENTICATE_IMPLICIT, 401, {"result": REFUSED}, AccessDenied, id="1 before 6"),
        pytest.param(STOP, 500, {"result": True}, HttpError, id="4 with a result"),
        pytest.param(
            AUTHENTICATE_IMPLICIT,
            200,
            {"problem": Problem(UnreadableResponse, "cut"), "result": REFUSED},
            UnreadableResponse,
            id="5 before 6",
        ),
        pytest.param(AUTHENTICATE_IMPLICIT, 200, {"result": REFUSED}, AuthenticationFailed, id="6"),
        pytest.param(
            AUTHENTICATE_IMPLICIT, 200, {"result": AuthenticateResponse()}, AuthenticationFailed, id="6: absent"
        ),
        pytest.param(
            AUTHENTICATE_IMPLICIT,
            200,
            {"header": ReplyHeader(succeeded=True), "result": REFUSED},
            AuthenticationFailed,
            id="6 although Succeeded",
        ),
    ],
)
def test_the_order_of_the_rules(
    operation: Operation[Any], status: int, reply: dict[str, Any], kind: type[SoapBatchError]
) -> None:
    """Where two rules apply, the earlier one decides."""
    assert type(error_of(operation, status, **reply)) is kind


def test_the_order_stands_in_the_docstring() -> None:
    """The docstring of interpret lists the six rules, numbered, in the contract's words."""
    rules = re.findall(r"^\s*(\d)\. (.+)", interpret.__doc__ or "", re.MULTILINE)
    words = [
        "before the body is read",
        "SOAP fault",
        "header blocks",
        "HTTP status",
        "body's shape",
        "AuthenticationSucceeded=false",
    ]
    assert [number for number, _ in rules] == list("123456")
    assert all(word in text for word, (_, text) in zip(words, rules, strict=True))


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_a_result_is_returned(status: int) -> None:
    """With nothing wrong the result comes back, for every status that means success."""
    assert interpret(STOP, ParsedResponse(result=True, header=ReplyHeader(succeeded=True)), status) is True


@pytest.mark.parametrize(
    ("status", "kind", "applied", "retryable", "advice"),
    [
        *((status, HttpError, "unknown", False, "redirects are not followed") for status in (301, 302, 303)),
        *((status, HttpError, "no", False, "redirects are not followed") for status in (307, 308)),
        (304, HttpError, "unknown", False, "a cache says that nothing has changed, which answers no call: look at"),
        *((status, HttpError, "unknown", False, "no SOAP envelope") for status in (300, 305, 306)),
        (400, HttpError, "unknown", False, ""),
        (401, AccessDenied, "no", False, "check the ticket"),
        (403, AccessDenied, "no", False, "application token"),
        (404, HttpError, "no", False, "path_prefix=''"),
        (408, HttpError, "unknown", True, ""),
        (413, HttpError, "no", False, "fewer items"),
        (415, BindingRefused, "no", False, "another binding"),
        (421, TenantMoved, "no", False, "current address"),
        (429, ServiceBusy, "no", True, "slow down"),
        (500, HttpError, "unknown", True, ""),
        (502, HttpError, "unknown", True, ""),
        (503, ServiceBusy, "unknown", True, "try again later"),
        (504, HttpError, "unknown", True, ""),
        (501, HttpError, "unknown", False, ""),
        (505, HttpError, "unknown", False, ""),
        *((status, HttpError, "unknown", True, "") for status in (506, 507, 520, 522, 524, 598, 599)),
        (600, HttpError, "unknown", False, ""),
    ],
)
def test_http_statuses(status: int, kind: type[HttpError], applied: str, retryable: bool, advice: str) -> None:  # noqa: FBT001
    """Each status has its class, says whether the call may have been applied or repeated, and what to do."""
    parsed = ParsedResponse(problem=Problem(UnreadableResponse, "not XML"), excerpt="<h1>sorry</h1>")
    with pytest.raises(HttpError, match=f"StopBatchJob: HTTP {status}") as caught:
        interpret(STOP, parsed, status, retry_after=7.5)
    error = caught.value
    assert (type(error), error.status, error.applied, error.retryable) == (kind, status, applied, retryable)
    assert (error.retry_after, error.excerpt) == (7.5, "<h1>sorry</h1>")
    assert advice in str(error)
    assert ("redirect" in str(error)) == (status in {301, 302, 303, 307, 308})
    assert error_of(status=status, result=True).excerpt == ""  # type: ignore[attr-defined]  # an HttpError


def test_every_status() -> None:
    """What 300 to 600 say: which class, which refusal before the operation, what may pass, which advice."""
    kinds = {401: AccessDenied, 403: AccessDenied, 415: BindingRefused, 421: TenantMoved} | dict.fromkeys(
        (429, 503), ServiceBusy
    )
    not_dispatched = {307, 308, 401, 403, 404, 405, 411, 413, 414, 415, 417, 421, 426, 429, 431}
    transient = {408, 425, 429, *range(500, 600)} - {501, 505}
    advice = {
        401: "check the ticket and",
        403: "check the application token",
        404: "check the base URL",
        413: "fewer items",
        415: "another binding",
        421: "current address",
        429: "slow down",
        503: "try again later",
    } | dict.fromkeys(range(301, 400), "redirects are not followed")
    for status in range(300, 601):
        error = error_of(status=status, advise_binding=True)
        assert (status, type(error)) == (status, kinds.get(status, HttpError))
        assert (status, error.applied) == (status, "no" if status in not_dispatched else "unknown")
        assert (status, error.retryable) == (status, status in transient)
        said = str(error).partition("no SOAP envelope")[2].partition("The server may")[0].strip()
        assert (status, bool(said)) == (status, status in advice)
        assert advice.get(status, "") in said
        assert (status, "try another one with binding=" in str(error)) == (status, status in {400, 406, 415, 500})


OTHER_FORM = r"Binding\.DOCUMENTED, Binding\.SOAP11, Binding\.SOAP12; try another one with binding="


@pytest.mark.parametrize(
    ("code", "kind", "applied", "advice"),
    [
        ("VersionMismatch", VersionMismatch, "no", OTHER_FORM),
        ("VersionMismatch.Envelope", VersionMismatch, "no", OTHER_FORM),
        ("MustUnderstand", Fault, "no", OTHER_FORM),
        ("Client.MustUnderstand", Fault, "no", OTHER_FORM),
        ("Client.SoapError", Fault, "unknown", OTHER_FORM),
        ("Server.Busy", Fault, "unknown", OTHER_FORM),
        ("Server.ActionNotSupported", Fault, "no", "does not know StopBatchJob"),
        ("InternalServiceFault", Fault, "unknown", ""),
        ("ActionNotSupported", Fault, "no", "does not know StopBatchJob"),
        ("Sender", Fault, "unknown", OTHER_FORM),
        ("Client", Fault, "unknown", OTHER_FORM),
        ("Receiver", Fault, "unknown", OTHER_FORM),
        ("Server", Fault, "unknown", OTHER_FORM),
        ("Custom", Fault, "unknown", ""),
        ("", Fault, "unknown", OTHER_FORM),
    ],
)
def test_fault_codes(code: str, kind: type[Fault], applied: str, advice: str) -> None:
    """A code tells whether the form was refused before dispatch, and whether another binding may help."""
    block = FaultBlock(code=code, subcode="sub", reasons={"en": "", "nb": "nei"}, actor="urn:a", detail="d")
    error = error_of(fault=block, status=500, advise_binding=True)
    assert isinstance(error, Fault)
    assert (type(error), error.applied, error.retryable, error.status) == (kind, applied, False, 500)
    assert (error.code, error.subcode, error.actor, error.detail) == (code, "sub", "urn:a", "d")
    assert (error.reason, error.reasons) == ("nei", {"en": "", "nb": "nei"})
    assert re.search(advice, str(error))
    assert bool(re.search(OTHER_FORM, str(error))) == (advice == OTHER_FORM)


BEFORE_DISPATCH = [
    *("ActionNotSupported", "DestinationUnreachable", "DeserializationFailed", "InvalidSecurity", "MustUnderstand"),
    *("ContractFilterMismatch", "AddressFilterMismatch", "EndpointUnavailable", "DataEncodingUnknown"),
    *("MessageAddressingHeaderRequired", "InvalidAddressingHeader", "FailedAuthentication", "InvalidSecurityToken"),
    *("UnsupportedSecurityToken", "MessageExpired", "BadContextToken", "FailedCheck", "VersionMismatch"),
]


@pytest.mark.parametrize("code", BEFORE_DISPATCH)
def test_codes_of_a_refusal_before_dispatch(code: str) -> None:
    """A code of SOAP, WS-Addressing, WS-Security or WCF's dispatcher proves that no operation ran."""
    for block in (
        FaultBlock(code=code),
        FaultBlock(code="Sender", subcode=code),
        FaultBlock(code=f"Client.{code}"),
        FaultBlock(code="Client", subcode=f"{code}.Detail"),
    ):
        assert error_of(fault=block, status=500).applied == "no"
        assert error_of(fault=block, status=200).applied == "no"


@pytest.mark.parametrize(
    "code", ["Sender", "Server", "InternalServiceFault", "SessionTerminated", "actionnotsupported"]
)
def test_codes_that_prove_nothing(code: str) -> None:
    """Other codes, and codes in another spelling, leave open whether the operation ran."""
    assert error_of(fault=FaultBlock(code=code, subcode=code), status=500).applied == "unknown"


@pytest.mark.parametrize(
    "reply", [{"fault": FAULT}, {"header": FAILED}, {"header": FILLED}], ids=["fault", "no", "info"]
)
@pytest.mark.parametrize(
    ("status", "applied", "retryable"),
    [
        (200, "unknown", False),
        (400, "unknown", False),
        (404, "unknown", False),
        (408, "unknown", True),
        (429, "no", True),
        (500, "unknown", False),
        (501, "unknown", False),
        (502, "unknown", True),
        (503, "unknown", True),
        (504, "unknown", True),
        (505, "unknown", False),
        (522, "unknown", True),
    ],
)
def test_a_service_error_is_as_transient_as_its_status(
    reply: dict[str, Any],
    status: int,
    applied: str,
    retryable: bool,  # noqa: FBT001 - a column
) -> None:
    """A fault or a failure that comes with 429 or 503 may be repeated, after the time that the server asks for."""
    error = error_of(status=status, retry_after=7.5, **reply)
    assert isinstance(error, Fault | OperationFailed)
    assert (error.applied, error.retryable, error.retry_after) == (applied, retryable, 7.5)


def test_a_fault_beside_a_status_that_decides() -> None:
    """A status that is decided before the body is read keeps all its meaning, and the fault's reason is shown."""
    block = FaultBlock(code="Sender", reasons={"": f"no {TICKET}"})
    error = error_of(status=401, fault=block, retry_after=3.0)
    assert isinstance(error, AccessDenied)
    assert (error.applied, error.retryable, error.retry_after, error.status) == ("no", False, 3.0, 401)
    assert str(error).startswith("StopBatchJob: HTTP 401 and the fault Sender: no ***: check the ticket")
    assert "fault without a code: no reason given" in str(error_of(status=403, fault=FaultBlock()))


UNSEEN = "may not see the credentials"
NOT_TAKEN = "may not take this form of envelope"
EMPTY = {"problem": Problem(UnreadableResponse, "the response has no body")}


@pytest.mark.parametrize(
    ("status", "reply", "advice"),
    [
        pytest.param(400, {"fault": FaultBlock(code="Sender")}, NOT_TAKEN, id="400, Sender"),
        pytest.param(500, {"fault": FaultBlock(code="Client.SoapError")}, NOT_TAKEN, id="500, Client.SoapError"),
        pytest.param(500, {"fault": FaultBlock(code="Receiver")}, NOT_TAKEN, id="500, Receiver"),
        pytest.param(200, EMPTY, NOT_TAKEN, id="empty 200"),
        pytest.param(400, EMPTY, NOT_TAKEN, id="empty 400"),
        pytest.param(415, EMPTY, NOT_TAKEN, id="empty 415"),
        pytest.param(500, EMPTY, NOT_TAKEN, id="empty 500"),
        pytest.param(
            500,
            {"fault": attrs.evolve(FAULT, exception_info=ExceptionInfo(message="no ticket"))},
            UNSEEN,
            id="fault, no ticket",
        ),
        pytest.param(
            200,
            {"header": ReplyHeader(exception_info=ExceptionInfo(message="No credentials"))},
            UNSEEN,
            id="no credentials",
        ),
        pytest.param(
            200,
            {"header": ReplyHeader(exception_info=ExceptionInfo(exception_type="A.SoSessionException"))},
            UNSEEN,
            id="session",
        ),
        pytest.param(
            200,
            {"header": ReplyHeader(exception_info=ExceptionInfo(friendly_text="Please log in."))},
            UNSEEN,
            id="log in",
        ),
        pytest.param(
            200,
            {"header": ReplyHeader(exception_info=ExceptionInfo(message="BatchTask 9 does not exist"))},
            "",
            id="another failure",
        ),
        pytest.param(200, {"header": FAILED}, "", id="failure without a reason"),
        pytest.param(
            500,
            {"fault": attrs.evolve(FAULT, exception_info=ExceptionInfo(message="no row"))},
            "",
            id="fault of NetServer",
        ),
        pytest.param(503, {"fault": FaultBlock(code="Receiver")}, "", id="busy, fault"),
        pytest.param(429, {"fault": FaultBlock(code="Sender")}, "", id="too many, fault"),
        pytest.param(404, EMPTY, "", id="empty 404"),
        pytest.param(502, EMPTY, "", id="empty 502"),
        pytest.param(200, {"problem": Problem(UnreadableResponse, "the encoding is wrong")}, "", id="wrong encoding"),
        pytest.param(
            500, {"problem": Problem(UnreadableResponse, "not XML"), "excerpt": "<h1>"}, "", id="500 with a page"
        ),
    ],
)
def test_advice_about_bindings(status: int, reply: dict[str, Any], advice: str) -> None:
    """Each kind of refusal names the bindings, until one of them has worked; nothing else does."""
    asked = str(error_of(status=status, advise_binding=True, **reply))
    assert (NOT_TAKEN in asked, UNSEEN in asked) == (advice == NOT_TAKEN, advice == UNSEEN)
    assert bool(re.search(OTHER_FORM, asked)) == bool(advice)
    assert ".." not in asked
    known = str(error_of(status=status, advise_binding=False, **reply))
    assert "Binding." not in known
    assert "another binding" not in known


def test_a_fault_without_reasons() -> None:
    """A fault that gives no reason says so."""
    error = error_of(fault=FaultBlock(code="x"))
    assert isinstance(error, Fault)
    assert (error.reason, error.reasons) == ("no reason given", {})


SESSION = ExceptionInfo(exception_type="SuperOffice.Exceptions.SoSessionException", message="gone")


def test_a_lost_session_was_not_applied() -> None:
    """A refused ticket is known before the operation runs, whether it comes in a header block or a fault."""
    failed = error_of(header=ReplyHeader(succeeded=False, exception_info=SESSION))
    assert isinstance(failed, OperationFailed)
    assert (failed.error_type, failed.applied) == ("SoSessionException", "no")
    assert error_of(fault=attrs.evolve(FAULT, exception_info=SESSION)).applied == "no"
    assert error_of(header=FAILED).applied == "unknown"


@pytest.mark.parametrize(
    ("info", "message", "error_type"),
    [
        (None, "StopBatchJob: the server says Succeeded=false and gives no reason", None),
        (ExceptionInfo(), "StopBatchJob: no message", None),
        (ExceptionInfo(message="m", friendly_text="f"), "StopBatchJob: m", None),
        (ExceptionInfo(message="", friendly_text="f", exception_type="A.B.C"), "StopBatchJob: C: f", "C"),
        (SESSION, "StopBatchJob: SoSessionException: gone", "SoSessionException"),
    ],
    ids=["nothing", "empty", "message", "friendly text", "type"],
)
def test_messages_of_failures(info: ExceptionInfo | None, message: str, error_type: str | None) -> None:
    """The message is the best that the server said."""
    error = error_of(header=ReplyHeader(succeeded=False, exception_info=info))
    assert isinstance(error, OperationFailed)
    assert (str(error), error.error_type, error.exception_info) == (message, error_type, info)
    asked = str(error_of(header=ReplyHeader(succeeded=False, exception_info=info), advise_binding=True))
    assert asked.startswith(message)


@pytest.mark.parametrize(
    ("body", "kind", "applied", "message"),
    [
        pytest.param(b"", UnreadableResponse, "unknown", rf"no body \(HTTP 200\)\. .*{OTHER_FORM}", id="empty"),
        pytest.param(b"<html>hi</html>", UnreadableResponse, "unknown", "not a SOAP envelope but <html>", id="html"),
        pytest.param(
            answer("StopBatchJob", "", OK)[:-5], UnreadableResponse, "yes", "ends before", id="cut behind Succeeded"
        ),
        pytest.param(answer("StopBatchJob", "")[:-5], UnreadableResponse, "yes", "ends before", id="cut in the answer"),
        pytest.param(envelope("<x/>", OK), UnexpectedResponse, "yes", "got <x>", id="succeeded, but at what"),
        pytest.param(envelope("<x/>"), UnexpectedResponse, "unknown", "got <x>", id="another answer"),
    ],
)
def test_bodies_without_an_answer(body: bytes, kind: type[ProtocolError], applied: str, message: str) -> None:
    """A body that cannot be read says whether the server got as far as answering, and shows how it begins."""
    with pytest.raises(kind, match=message) as caught:
        parse_response("StopBatchJob", body, version=V88)
    error = caught.value
    assert (type(error), error.applied, error.status, error.operation) == (kind, applied, 200, "StopBatchJob")
    assert error.excerpt == body.decode()[:200]


def test_usage_errors_come_first() -> None:
    """An unknown operation, or one that the version lacks, is refused whatever the bytes are."""
    with pytest.raises(UsageError, match="there is no operation"):
        parse_response("Nothing", b"", version=V88)
    with pytest.raises(NotInVersion, match="came with Services88"):
        parse_response("CleanupBatchTask", b"", version=ServiceVersion.V75)


def test_it_takes_a_row_or_a_name() -> None:
    """An operation is named by its row or its wire name."""
    body = answer("StopBatchJob", "<Response>true</Response>")
    assert parse_response(STOP, body, version=V88) is parse_response("StopBatchJob", body, version=V88) is True


TICKET, TOKEN = "7T:c2VjcmV0", "plain & secret"


def texts(value: object) -> Iterator[str]:
    """Yield every text inside an error: arguments, attributes, carriers, mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseException):
        yield from (str(value), repr(value), *texts(value.args), *texts(vars(value)))
    elif attrs.has(type(value)):
        yield from texts(attrs.asdict(value))  # type: ignore[arg-type]  # has() says so
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in texts(part))


SECRET_TEXT = f"a {TICKET} b {TOKEN} c"
SECRET_INFO = ExceptionInfo(
    message=SECRET_TEXT,
    stack_trace=SECRET_TEXT,
    friendly_text=SECRET_TEXT,
    exception_type=SECRET_TEXT,
    source=SECRET_TEXT,
    parameters={SECRET_TEXT: SECRET_TEXT, "nil": None},
    inner_exception=ExceptionInfo(message=SECRET_TEXT),
)


def unreadable(excerpt: str, kind: type[ProtocolError] = UnexpectedResponse) -> dict[str, Any]:
    """Return a problem with an excerpt, as attributes of a parsed response."""
    return {"problem": Problem(kind, f"expected <a>, got <{SECRET_TEXT}>"), "excerpt": excerpt}


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        pytest.param(
            500,
            {
                "fault": FaultBlock(
                    code=SECRET_TEXT,
                    subcode=SECRET_TEXT,
                    reasons={"en": SECRET_TEXT},
                    actor=SECRET_TEXT,
                    detail=SECRET_TEXT,
                    exception_info=SECRET_INFO,
                )
            },
            id="fault",
        ),
        pytest.param(200, {"header": ReplyHeader(succeeded=False, exception_info=SECRET_INFO)}, id="failure"),
        pytest.param(502, unreadable(SECRET_TEXT), id="HTTP"),
        pytest.param(200, unreadable(SECRET_TEXT), id="unexpected"),
        pytest.param(200, unreadable("", UnreadableResponse), id="empty"),
        pytest.param(200, unreadable("x" * 193 + TOKEN), id="cut in the middle of a secret"),
    ],
)
def test_no_secret_is_in_any_text_of_an_error(status: int, reply: dict[str, Any]) -> None:
    """What a server repeats is masked by shape and by value, in every text that the error carries."""
    error = error_of(status=status, secrets=(TOKEN,), **reply)
    found = list(texts(error))
    assert len(found) > 3
    assert [text for text in found if "c2Vj" in text or "plain" in text] == []
    assert any("***" in text for text in found)


def info_with(exception_type: str) -> str:
    """Return the elements of an ExceptionInfo of this type."""
    return f"<Message>no such thing</Message><ExceptionType>SuperOffice.Exceptions.{exception_type}</ExceptionType>"


def failures() -> Iterator[tuple[str, int, str | None, bytes]]:
    """Yield responses that mean an error: operation, status, Content-Type and body."""
    for name, operation, _ in ROWS:
        yield operation, *read(WIRE / f"{name}.http")
    for exception in ("SoSessionException", "SoEntityNotFoundException"):
        blocks = f"<Succeeded>false</Succeeded><ExceptionInfo>{info_with(exception)}</ExceptionInfo>"
        yield "StopBatchJob", 200, None, answer("StopBatchJob", "", blocks)
        detail = f"<detail><SoExceptionInfo>{info_with(exception)}</SoExceptionInfo></detail>"
        yield "StopBatchJob", 500, None, fault11(f"<faultcode>s:Server</faultcode>{detail}")
    for code in ("VersionMismatch", "MustUnderstand", "Client", "a:ActionNotSupported"):
        yield "StopBatchJob", 500, None, fault11(f"<faultcode>s:{code}</faultcode><faultstring>no</faultstring>")
        values = f"<s:Value>s:Sender</s:Value><s:Subcode><s:Value>{code}</s:Value></s:Subcode>"
        yield "StopBatchJob", 500, None, fault12(f"<s:Code>{values}</s:Code>")
    for status in (200, 204, 302, 401, 403, 415, 421, 429, 500, 503):
        yield "StopBatchJob", status, None, b"<html>sorry</html>"
    yield "StopBatchJob", 200, None, b""
    yield "StopBatchJob", 200, None, envelope("<Succeeded/>", OK)
    yield "StopBatchJob", 200, None, answer("StopBatchJob", "<Response>Succeeded</Response>", OK)
    yield "StopBatchJob", 200, None, answer("StopBatchJob", "<Response>true</Response>", OK)[:-9]
    yield "StopBatchJob", 200, None, b"<" + b"x" * Limits().text_length + b">"
    yield "AuthenticateImplicit", 200, None, envelope("<AuthenticateResponse/>")


def decided(operation: str, status: int, content_type: str | None, body: bytes, *secrets: str) -> object:
    """Return everything about an error that a caller may decide on; None: the response is no error."""
    parser = ResponseParser(OPERATIONS[operation], V88, limits=Limits(), content_type=content_type)
    parser.feed(body)
    try:
        interpret(OPERATIONS[operation], parser.close(), status, retry_after=3, secrets=map(Secret, secrets))
    except SoapBatchError as error:
        names = ("error_type", "applied", "retryable", "retry_after", "code", "subcode", "status", "limit")
        info = getattr(error, "exception_info", None)
        return type(error), info and info.exception_type, [getattr(error, name, None) for name in names]
    return None


FAILURES = [(failure, outcome) for failure in failures() if (outcome := decided(*failure)) is not None]
WORDS = sorted(
    {word for (_, _, _, body), _ in FAILURES for word in re.findall(r"[\w.:]{2,60}", body[:20_000].decode("latin-1"))}
)


@st.composite
def parts(draw: st.DrawFn) -> str:
    """Return a part of a word that stands in a response: a name, a tag, a code."""
    word: str = draw(st.sampled_from(WORDS))
    start = draw(st.integers(0, len(word) - 1))
    return word[start : draw(st.integers(start + 1, len(word)))]


@given(st.lists(st.text(min_size=1, max_size=60) | parts() | st.sampled_from(WORDS), min_size=1, max_size=3))
@example(["t"])
@example(["SoSessionException"])
@example(["SuperOffice.Exceptions.SoSessionException", "Succeeded", "Sender"])
def test_no_secret_changes_what_an_error_is(secrets: list[str]) -> None:
    """A secret that is part of a response changes nothing that a caller decides on: only texts are masked."""
    for failure, outcome in FAILURES:
        assert decided(*failure, *secrets) == outcome


def test_a_name_with_a_secret_in_it_stays_a_name() -> None:
    """A type or a code that holds a secret is not masked; what cannot be a name, or looks like a token, is."""
    header = ReplyHeader(succeeded=False, exception_info=SESSION)
    error = error_of(header=header, secrets=("Session", "gone"))
    assert isinstance(error, OperationFailed)
    assert error.exception_info == ExceptionInfo(exception_type=SESSION.exception_type, message="***")
    assert str(error) == "StopBatchJob: SoSessionException: ***"
    fault = error_of(fault=FaultBlock(code="Sender", subcode="eyJh.eyJz.c2ln"), secrets=("Sender",))
    assert isinstance(fault, Fault)
    assert (fault.code, fault.subcode) == ("Sender", "***")


def jwt(length: int) -> str:
    """Return a JWT with so many characters in its payload."""
    return f"eyJhbGciOiJSUzI1NiJ9.eyJ{'p' * length}.c2lnbmF0dXJl"


@pytest.mark.parametrize("start", [0, 150, 179, 199, 200, 201])
@pytest.mark.parametrize("length", [50, 700, 3000, 9000])
def test_no_cut_shows_a_part_of_a_token(start: int, length: int) -> None:
    """A token that crosses the place where an excerpt is cut is masked before, known or not."""
    body = ("x" * start + jwt(length)).encode()
    for status in (200, 502):
        with pytest.raises(ProtocolError) as caught:
            parse_response(STOP, body, version=V88, status=status)
        assert "eyJ" not in "".join(texts(caught.value))
        assert len(caught.value.excerpt) <= 200
    secret = "s3cret" * min(length // 6, 1000)
    parser = ResponseParser(STOP, V88, limits=Limits())
    parser.feed(("x" * start + secret).encode())
    parsed = parser.close()
    error = error_of(problem=parsed.problem, excerpt=parsed.excerpt, secrets=(secret,))
    assert "s3cret" not in "".join(texts(error))


@pytest.mark.parametrize("length", [199, 200, 201])
def test_an_excerpt_has_200_characters(length: int) -> None:
    """The excerpt of an error has 200 characters at most, and all of a shorter body."""
    assert error_of(status=502, excerpt="y" * length).excerpt == "y" * min(length, 200)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("length", "shown"), [(400, "y" * 400), (401, "y" * 400 + "...")])
def test_what_is_wrong_has_400_characters(length: int, shown: str) -> None:
    """What a parser says may repeat a name of any length: the message has 400 characters of it at most."""
    assert str(error_of(problem=Problem(UnreadableResponse, "y" * length))) == shown


def test_a_long_name_is_masked_before_it_is_cut() -> None:
    """The name of a wrong element, and lxml's own words, are masked whole and then cut."""
    names = [f"{'n' * before}{jwt(100)}" for before in (0, 20, 60, 380)]
    for body in (
        *(f"<{name}/>".encode() for name in names),
        *(envelope(f"<{name}/>") for name in names),
        *(f"<{name}></a>".encode() for name in names),
    ):
        with pytest.raises(ProtocolError) as caught:
            parse_response(STOP, body, version=V88)
        assert "eyJ" not in "".join(texts(caught.value))
        assert len(str(caught.value)) < 600


def test_secret_elements_in_an_excerpt() -> None:
    """An excerpt masks what stands in secret elements, by their name, without knowing the value."""
    parser = ResponseParser(STOP, V88, limits=Limits())
    parser.feed(b"<Envelope><Credentials><Ticket>unknown to us</Ticket></Credentials>" + b"x" * 5000)
    parsed = parser.close()
    assert parsed.problem is not None
    assert "unknown to us" not in parsed.excerpt
    assert len(error_of(problem=parsed.problem, excerpt=parsed.excerpt).excerpt) == 200  # type: ignore[attr-defined]  # a ProtocolError


def error_classes(base: type[SoapBatchError] = SoapBatchError) -> Iterator[type[SoapBatchError]]:
    """Yield a class and all below it."""
    yield base
    for cls in base.__subclasses__():
        yield from error_classes(cls)


@pytest.mark.parametrize("cls", sorted(set(error_classes()), key=str))
def test_every_error_can_be_pickled(cls: type[SoapBatchError]) -> None:
    """An error comes out of a pickle with its class, message and evidence."""
    error = cls("what went wrong")
    evidence: dict[str, Any] = {
        "operation": "StopBatchJob",
        "version": V88,
        "applied": "yes",
        "retryable": True,
        "path": "a.b[0]",
        "status": 500,
        "excerpt": "<a>",
        "reasons": {"en": "no"},
        "info": BatchTaskInfo(id=1, created=datetime(2024, 1, 1, tzinfo=UTC), parameter_object={"k": None}),
        "exception_info": SESSION,
    }
    for name, value in evidence.items():
        setattr(error, name, value)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert {name: getattr(copy, name) for name in evidence} == evidence


def test_real_errors_can_be_pickled() -> None:
    """What `interpret` raises can cross a process boundary."""
    for body in (
        fault11("<faultcode>s:Client</faultcode>"),
        answer("StopBatchJob", "", "<Succeeded>false</Succeeded>"),
        b"",
    ):
        with pytest.raises(SoapBatchError) as caught:
            parse_response(STOP, body, version=V88)
        copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert vars(copy) == vars(caught.value)


def test_every_error_below_the_base_is_in_the_module() -> None:
    """All classes of the tree are public names of soapbatch.errors."""
    assert all(getattr(errors, cls.__name__) is cls for cls in error_classes() if cls.__module__ == errors.__name__)


def test_a_body_is_bytes() -> None:
    """A body that is text is refused with what to pass."""
    with pytest.raises(UsageError, match="must be bytes"):
        parse_response("StopBatchJob", "<a/>", version=ServiceVersion.V88)  # type: ignore[arg-type]


def test_a_fault_tells_its_error_type() -> None:
    """A fault has the type of NetServer's own exception where its detail is one, and none where it is not."""
    fault = Fault("no")
    assert fault.error_type is None
    fault.exception_info = ExceptionInfo(exception_type="SuperOffice.Exceptions.SoSentryException")
    assert fault.error_type == "SoSentryException"
