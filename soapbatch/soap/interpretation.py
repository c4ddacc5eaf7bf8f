"""What a response means: the operation's result, or the one error that says why there is none.

Rule 1. Decisions are made on what the server sent. Masks are for what is shown: a secret that is part of another text
        must not change the class of an error, nor whether a call is repeated.
Rule 2. A name (an exception type, a fault code) stays as it is: applications match on it, and a mask in a
        well-known name spells out the secret. A text that cannot be a name is masked like any other text.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import attrs

from soapbatch.errors import (
    AccessDenied,
    Applied,
    AuthenticationFailed,
    BindingRefused,
    Common,
    Fault,
    HttpError,
    OperationFailed,
    ProtocolError,
    ServiceBusy,
    TenantMoved,
    UsageError,
    VersionMismatch,
    clean_traceback,
)
from soapbatch.model import AuthenticateResponse, Binding, ExceptionInfo, Limits, Secret, ServiceVersion, redact
from soapbatch.operations import Operation, operation_named
from soapbatch.soap.decoders import FaultBlock, UnknownCallback, ignore_unknown
from soapbatch.soap.parser import ParsedResponse, Problem, ResponseParser
from soapbatch.soap.xml_input import NO_BODY

R = TypeVar("R")

SESSION_LOST: Final = "SoSessionException"
"""The `error_type` with which NetServer refuses a ticket that is unknown or has expired."""

_NOT_ALLOWED: Final = "SoSecurityException"
_EXCERPT: Final = 200  # characters of an unreadable body that an error shows
_LONGEST_MESSAGE: Final = 400  # characters of what is wrong with a body; it may repeat a name of any length
_NAME = re.compile(r"[\w.+`-]+")  # a .NET type (nested and generic ones included), a QName's local part

_TEXTS: Final = ("message", "stack_trace", "friendly_text", "source")  # of an ExceptionInfo

# Fault codes of a SOAP stack that refuses a message before the operation runs: of SOAP, of WS-Addressing (WCF's address
# and contract filters use these), of WS-Security and WS-SecureConversation, and of WCF's dispatcher and its reader.
# WCF's InternalServiceFault and SessionTerminated prove nothing.
_REFUSED_BEFORE_DISPATCH: Final = frozenset(
    {
        *("VersionMismatch", "MustUnderstand", "DataEncodingUnknown"),
        *("ActionNotSupported", "ActionMismatch", "ContractFilterMismatch"),
        *("DestinationUnreachable", "EndpointUnavailable", "AddressFilterMismatch", "EndpointNotFound"),
        *("InvalidAddressingHeader", "MessageAddressingHeaderRequired", "InvalidAddress", "InvalidEPR"),
        *("InvalidCardinality", "MissingAddressInEPR", "DuplicateMessageID"),
        *("InvalidMessageInformationHeader", "MessageInformationHeaderRequired"),
        *("InvalidSecurity", "InvalidSecurityToken", "UnsupportedSecurityToken", "SecurityTokenUnavailable"),
        *("FailedAuthentication", "FailedCheck", "UnsupportedAlgorithm", "MessageExpired"),
        *("BadContextToken", "UnsupportedContextToken", "UnknownDerivationSource", "RenewNeeded", "UnableToRenew"),
        *("DeserializationFailed", "TransactionHeaderMissing", "TransactionHeaderMalformed"),
    }
)
# HTTP statuses that are decided before the body is read, by a server or by a proxy in front of it. They keep their
# meaning whatever became of the response's body.
_DECIDED_BY_STATUS: Final = frozenset({401, 403, 413, 415, 421})
# HTTP statuses which prove that the request was rejected before the operation ran, so `applied` is "no".
_NOT_DISPATCHED: Final = frozenset({307, 308, 401, 403, 404, 405, 411, 413, 414, 415, 417, 421, 426, 429, 431})
_TRANSIENT: Final = frozenset({408, 425, 429})
_NOT_TRANSIENT: Final = frozenset({501, 505})  # not implemented; HTTP version not supported
_SERVER_ERRORS: Final = range(500, 600)
_INTERNAL_ERROR: Final = 500  # also the status of every SOAP fault
_BUSY: Final = 429
_UNSUPPORTED_MEDIA_TYPE: Final = 415
_SEARCHED: Final = 1000  # characters of a text that are searched for a word
_ERROR_BY_STATUS: Final[Mapping[int, type[HttpError]]] = {
    401: AccessDenied,
    403: AccessDenied,
    415: BindingRefused,
    421: TenantMoved,
    429: ServiceBusy,
    503: ServiceBusy,
}
_NOT_FOLLOWED: Final = "redirects are not followed: the body holds credentials"
_ADVICE: Final[Mapping[int, str]] = {
    **dict.fromkeys((301, 302, 303, 307, 308), _NOT_FOLLOWED),
    304: "a cache says that nothing has changed, which answers no call: look at what stands in front of NetServer",
    401: "check the ticket and the application token, and what stands in front of NetServer",
    403: "check the application token, and what stands in front of NetServer",
    404: "check the base URL and the version; a NetServer without /Remote needs path_prefix=''",
    413: "send fewer items in one call",
    415: "this server takes another binding",
    421: "this host no longer serves the tenant; look up its current address",
    429: "slow down",
    503: "try again later",
}
_BINDINGS: Final = ", ".join(f"Binding.{binding.name}" for binding in Binding)
_OTHER_BINDING: Final = (
    f"The server may not take this form of envelope: there are {_BINDINGS}; try another one with binding=."
)
_UNSEEN_CREDENTIALS: Final = (
    f"The server may not see the credentials in this form of envelope: there are {_BINDINGS}; "
    "try another one with binding=."
)
_REFUSES_THE_FORM: Final = frozenset({"Sender", "Client", "Receiver", "Server", "VersionMismatch", "MustUnderstand"})
_REFUSES_WITHOUT_FAULT: Final = frozenset({400, 406, 415, 500})  # by servers that cannot read the envelope
_ABOUT_CREDENTIALS = re.compile(
    r"credential|ticket|token|log(?:ged|ging)?[ -]?[io]n\b|session|authenti|authori|access denied", re.IGNORECASE
)


def interpret(
    operation: Operation[Any],
    parsed: ParsedResponse,
    status: int,
    *,
    retry_after: float | None = None,
    secrets: Iterable[Secret] = (),
    advise_binding: bool = True,
) -> Any:
    """Return the result of a response, or raise the error that it means.

    The first rule that applies decides:

    1. An HTTP status that is decided before the body is read: 401 and 403, 413, 415 (binding refused), 421 (tenant
       moved).
    2. A SOAP fault, of 1.1 or 1.2, with any other HTTP status and any Content-Type.
    3. Reply header blocks: Succeeded=false or a filled ExceptionInfo, although the status may be 200 and the
       body may hold a harmless-looking result.
    4. The HTTP status: 429 and 503, other failures.
    5. The body's shape: empty, not XML, a DOCTYPE, truncated, the wrong response element.
    6. AuthenticationSucceeded=false in the response of an Authenticate operation.

    The error of rule 2 or 3 is as transient as its HTTP status: with 429 or 503 a call may be repeated after the
    Retry-After. HTTP 500 says nothing here, as every fault comes with it.

    Args:
        operation: the row of the operation that was called.
        parsed: the response.
        status: of the HTTP response.
        retry_after: seconds that the server's Retry-After asks to wait, or None.
        secrets: the values to mask in what the error shows.
        advise_binding: whether another binding may help, so that the error of a refusal says so. False: the binding has
            worked before.
    """
    about = _Exchange(operation, parsed, status, retry_after, tuple(secrets), advise_binding)
    info = parsed.header.exception_info
    if status in _DECIDED_BY_STATUS:
        raise _http_error(about)
    if parsed.fault is not None:
        raise _fault(about, parsed.fault)
    if parsed.header.succeeded is False or info is not None:
        raise _operation_failed(about, info)
    if not _is_success(status):
        raise _http_error(about)
    if parsed.problem is not None:
        raise _bad_body(about, parsed.problem)
    if isinstance(parsed.result, AuthenticateResponse) and parsed.result.authentication_succeeded is not True:
        raise AuthenticationFailed(
            f"{operation.name}: the server says that authentication did not succeed; check the credentials"
        )
    return parsed.result


@attrs.frozen
class _Exchange:
    """What the functions below need to know of a response; `interpret` documents the attributes."""

    operation: Operation[Any]
    parsed: ParsedResponse
    status: int
    retry_after: float | None
    secrets: tuple[Secret, ...]
    advise_binding: bool

    @property
    def is_transient(self) -> bool:
        """Whether the HTTP status says that the same request may work later."""
        return self.status in _TRANSIENT or (self.status in _SERVER_ERRORS and self.status not in _NOT_TRANSIENT)

    @property
    def common(self) -> Common:
        """What the HTTP status says about an error that the body has decided on."""
        applied: Applied = "no" if self.status == _BUSY else "unknown"
        retryable = self.is_transient and self.status != _INTERNAL_ERROR
        return {"applied": applied, "retryable": retryable, "retry_after": self.retry_after}

    def advice(self, text: str, *, is_refused: bool) -> str:
        """Return `text` behind a space, to be added to a message; "" where advice about bindings is out of place."""
        return f" {text}" if is_refused and self.advise_binding else ""


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - RFC 9110, section 15.3


def _codes_of(block: FaultBlock) -> set[str]:
    """Return the codes of a fault: WCF's own code is 1.1's code or 1.2's subcode, and 1.1 has dotted codes."""
    return {part for code in (block.code, block.subcode or "") for part in code.split(".")}


def _fault(about: _Exchange, block: FaultBlock) -> Fault:
    operation, secrets, codes = about.operation, about.secrets, _codes_of(block)
    info, common = block.exception_info, about.common
    if "ActionNotSupported" in codes:
        advice = (
            f" The server does not know {operation.name}: it may be older than the newest pages of {operation.since}, "
            "or serve another version; use an older version= or operation."
        )
    elif info is not None:
        advice = about.advice(_UNSEEN_CREDENTIALS, is_refused=_is_about_credentials(info))
    else:
        refused = not codes.isdisjoint(_REFUSES_THE_FORM) or not block.code
        advice = about.advice(_OTHER_BINDING, is_refused=refused and not common.get("retryable"))
    kind = VersionMismatch if block.code.partition(".")[0] == "VersionMismatch" else Fault
    code = _shown_name(block.code, secrets) or ""
    reasons = {language: redact(text, secrets) for language, text in block.reasons.items()}
    reason = redact(block.reason, secrets)
    if not codes.isdisjoint(_REFUSED_BEFORE_DISPATCH) or _is_session_lost(info):
        common["applied"] = "no"
    return kind(
        f"{operation.name}: fault {code or 'without a code'}: {reason}.{advice}",
        code=code,
        subcode=_shown_name(block.subcode, secrets),
        reason=reason,
        reasons=reasons,
        actor=_shown(block.actor, secrets),
        detail=_shown(block.detail, secrets),
        exception_info=None if info is None else _shown_info(info, secrets),
        status=about.status,
        **common,
    )


def _operation_failed(about: _Exchange, info: ExceptionInfo | None) -> OperationFailed:
    shown: ExceptionInfo | None = None
    reason = "the server says Succeeded=false and gives no reason"
    advice = ""
    if info is not None:
        shown = _shown_info(info, about.secrets)
        reason = shown.message or shown.friendly_text or "no message"
        reason = f"{shown.error_type}: {reason}" if shown.error_type else reason
        if advice := about.advice(_UNSEEN_CREDENTIALS, is_refused=_is_about_credentials(info)):
            reason = f"{reason.rstrip('.')}."
        if info.error_type == _NOT_ALLOWED:  # inferred: how a wrong application token is answered
            reason = f"{reason}; check the user's rights, and application_token= (the app's client secret)"
    common = about.common
    if _is_session_lost(info):
        common["applied"] = "no"
    return OperationFailed(f"{about.operation.name}: {reason}{advice}", exception_info=shown, **common)


def _is_session_lost(info: ExceptionInfo | None) -> bool:
    """Return whether the ticket was refused: the server decides that before the operation, so nothing was applied."""
    return info is not None and info.error_type == SESSION_LOST


def _is_about_credentials(info: ExceptionInfo) -> bool:
    """Return whether an exception may mean that the server has not seen the credentials."""
    texts = (info.error_type, info.message, info.friendly_text)
    return any(text and _ABOUT_CREDENTIALS.search(text[:_SEARCHED]) for text in texts)


def _http_error(about: _Exchange) -> HttpError:
    parsed, status, secrets = about.parsed, about.status, about.secrets
    said = "no SOAP envelope"
    if parsed.fault is not None:
        code = _shown_name(parsed.fault.code, secrets) or "without a code"
        said = f"the fault {code}: {redact(parsed.fault.reason, secrets)}"
    kind = _ERROR_BY_STATUS.get(status, HttpError)
    advice = _ADVICE.get(status, "")
    if status == _UNSUPPORTED_MEDIA_TYPE and not about.advise_binding:
        advice = "the server refuses the media type, which it has taken before; look at what stands in front of it"
    return kind(
        f"{about.operation.name}: HTTP {status} and {said}{advice and ': '}{advice}"
        + about.advice(_OTHER_BINDING, is_refused=status in _REFUSES_WITHOUT_FAULT and not parsed.excerpt),
        status=status,
        excerpt=_shown_excerpt(parsed, secrets),
        applied="no" if status in _NOT_DISPATCHED else "unknown",
        retryable=about.is_transient,
        retry_after=about.retry_after,
    )


def _bad_body(about: _Exchange, problem: Problem) -> ProtocolError:
    parsed, status = about.parsed, about.status
    message = _cut(redact(problem.message, about.secrets), _LONGEST_MESSAGE)
    if problem.message == NO_BODY:
        message = f"{message} (HTTP {status}).{about.advice(_OTHER_BINDING, is_refused=True)}"
    applied: Applied = "yes" if parsed.header.succeeded or parsed.answers else "unknown"
    return problem.error(message, status=status, excerpt=_shown_excerpt(parsed, about.secrets), applied=applied)


def _cut(text: str, length: int) -> str:
    """Return `text`, which is masked already, no longer than `length`: a cut secret is not recognised."""
    return text if len(text) <= length else f"{text[:length]}..."


def _shown(text: str | None, secrets: tuple[Secret, ...]) -> str | None:
    return None if text is None else redact(text, secrets)


def _shown_name(name: str | None, secrets: tuple[Secret, ...]) -> str | None:
    """Return a name as it is, unless it has the shape of a token; and anything else masked like a text."""
    return _shown(name, () if name is not None and _NAME.fullmatch(name) else secrets)


def _shown_info(info: ExceptionInfo, secrets: tuple[Secret, ...]) -> ExceptionInfo:
    texts = {name: _shown(getattr(info, name), secrets) for name in _TEXTS}
    pairs, inner = info.parameters, info.inner_exception
    return attrs.evolve(
        info,
        **texts,
        exception_type=_shown_name(info.exception_type, secrets),
        parameters=None if pairs is None else {redact(k, secrets): _shown(v, secrets) for k, v in pairs.items()},
        inner_exception=None if inner is None else _shown_info(inner, secrets),
    )


def _shown_excerpt(parsed: ParsedResponse, secrets: tuple[Secret, ...]) -> str:
    """Return the beginning of an unreadable body. It is masked before it is cut: a cut secret is not recognised."""
    return redact(parsed.excerpt, secrets)[:_EXCERPT]


def parse_response(
    operation: Operation[R] | str,
    body: bytes,
    *,
    version: ServiceVersion,
    status: int = 200,
    content_type: str | None = None,
    limits: Limits | None = None,
    on_unknown: UnknownCallback = ignore_unknown,
) -> R:
    """Read a complete response. Pure: no socket, no clock.

    Args:
        operation: a row of `soapbatch.operations`, or its wire name.
        body: of the HTTP response, after decompression.
        version: of the services that answered.
        status: of the HTTP response.
        content_type: of the HTTP response; only its charset matters.
        limits: how large the response may be.
        on_unknown: called with each element, value and header block that this release does not know.

    Returns:
        The operation's result.

    Raises:
        ServiceError: the service refused: Fault, OperationFailed or AuthenticationFailed.
        ProtocolError: the response cannot be read as the operation's.
        UsageError: there is no such operation in that version.
    """
    row = operation_named(operation)
    row.check_version(version)
    if not isinstance(body, bytes | bytearray | memoryview):
        raise UsageError(f"body must be bytes, as received, not {type(body).__name__}")
    parser = ResponseParser(row, version, limits=limits or Limits(), content_type=content_type, on_unknown=on_unknown)
    parser.feed(body)
    with clean_traceback(row.name, version):  # the frames below hold what the server sent, unmasked
        return interpret(row, parser.close(), status)  # type: ignore[no-any-return]  # the row says R
