"""What a response means: a result, or the one error that says why not."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import attrs

from soapbatch.errors import (
    AccessDenied,
    Applied,
    AuthenticationFailed,
    BindingRefused,
    Fault,
    HttpError,
    OperationFailed,
    ProtocolError,
    ServiceBusy,
    SoapBatchError,
    TenantMoved,
    UnreadableResponse,
    UsageError,
    VersionMismatch,
)
from soapbatch.model import AuthenticateResponse, Binding, ExceptionInfo, Limits, Secret, ServiceVersion, redact
from soapbatch.operations import Operation, operation_named
from soapbatch.soap.decoders import FaultBlock, UnknownCallback, ignore_unknown
from soapbatch.soap.parser import ParsedResponse, ResponseParser

R = TypeVar("R")

SESSION_LOST: Final = "SoSessionException"
"""The `error_type` with which NetServer refuses a ticket that is unknown or has expired."""

_EXCERPT: Final = 200  # characters of an unreadable body that an error shows

# Codes with which a stack refuses a message before any operation sees it.
_REFUSED_BEFORE_DISPATCH: Final = frozenset({"VersionMismatch", "MustUnderstand", "ActionNotSupported"})
# Statuses that say "not here, not now, not like this" of a request that no operation has seen.
_NOT_DISPATCHED: Final = frozenset({307, 308, 401, 403, 404, 405, 411, 413, 414, 415, 417, 421, 426, 429, 431})
_RETRYABLE: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_ERROR_BY_STATUS: Final[Mapping[int, type[HttpError]]] = {
    401: AccessDenied,
    403: AccessDenied,
    415: BindingRefused,
    421: TenantMoved,
    429: ServiceBusy,
    503: ServiceBusy,
}
_ADVICE: Final[Mapping[int, str]] = {
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
_OTHER_FORM: Final = (
    f"The server may not take this form of envelope: there are {_BINDINGS}; try another one with binding=."
)


def interpret(
    operation: Operation[Any],
    parsed: ParsedResponse,
    status: int,
    *,
    retry_after: float | None = None,
    secrets: Iterable[Secret] = (),
) -> Any:
    """Return the result of a response, or raise what it means.

    The first of these that applies decides; the order is the contract's:

    1. A SOAP fault, of 1.1 or 1.2, whatever the status and the Content-Type say.
    2. Reply header blocks: Succeeded=false or a filled ExceptionInfo, although the status may be 200 and the
       body may hold a harmless-looking result.
    3. The HTTP status: 415 (binding refused), 401 and 403, 421 (tenant moved), 429 and 503, other failures.
    4. The body's shape: empty, not XML, a DOCTYPE, truncated, the wrong response element.
    5. AuthenticationSucceeded=false in the reply of an Authenticate operation.
    """
    secrets = tuple(secrets)
    if parsed.fault is not None:
        raise _fault(operation, parsed.fault, status, secrets)
    info = parsed.header.exception_info
    if parsed.header.succeeded is False or info is not None:
        raise _operation_failed(operation, info, secrets)
    if not _is_success(status):
        raise _http_error(operation, parsed, status, retry_after, secrets)
    if parsed.problem is not None:
        raise _bad_body(parsed, status, secrets)
    if isinstance(parsed.result, AuthenticateResponse) and parsed.result.authentication_succeeded is not True:
        raise AuthenticationFailed(
            f"{operation.name}: the server says that authentication did not succeed; check the credentials"
        )
    return parsed.result


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - RFC 9110, section 15.3


def _fault(operation: Operation[Any], block: FaultBlock, status: int, secrets: tuple[Secret, ...]) -> Fault:
    reasons = {language: redact(text, secrets) for language, text in block.reasons.items()}
    reason = next((text for text in reasons.values() if text), "no reason given")
    advice = ""
    codes = {block.code, block.subcode}  # WCF's own codes stand in 1.1's code and in 1.2's subcode
    if "ActionNotSupported" in codes:
        advice = (
            f" The server does not know {operation.name}: it may be older than the newest pages of {operation.since}, "
            "or serve another version; use an older version= or operation."
        )
    elif block.exception_info is None and block.code in {"Sender", "Client", "Receiver"}:
        advice = f" {_OTHER_FORM}"
    kind = VersionMismatch if block.code == "VersionMismatch" else Fault
    code = redact(block.code, secrets)
    error = kind(f"{operation.name}: fault {code or 'without a code'}: {reason}.{advice}")
    error.code, error.reason, error.reasons, error.status = code, reason, reasons, status
    error.subcode = _redacted_text(block.subcode, secrets)
    error.actor = _redacted_text(block.actor, secrets)
    error.detail = _redacted_text(block.detail, secrets)
    error.exception_info = _redacted(block.exception_info, secrets)
    if not _REFUSED_BEFORE_DISPATCH.isdisjoint(codes) or _session_lost(block.exception_info):
        error.applied = "no"
    return error


def _operation_failed(
    operation: Operation[Any], info: ExceptionInfo | None, secrets: tuple[Secret, ...]
) -> OperationFailed:
    clean = _redacted(info, secrets)
    reason = "the server says Succeeded=false and gives no reason"
    if clean is not None:
        reason = clean.message or clean.friendly_text or "no message"
        reason = f"{clean.error_type}: {reason}" if clean.error_type else reason
    error = OperationFailed(f"{operation.name}: {reason}")
    error.exception_info = clean
    if _session_lost(info):
        error.applied = "no"
    return error


def _session_lost(info: ExceptionInfo | None) -> bool:
    """Return whether a ticket was refused: that is decided before the operation, so nothing was applied."""
    return info is not None and info.error_type == SESSION_LOST


def _redacted(info: ExceptionInfo | None, secrets: tuple[Secret, ...]) -> ExceptionInfo | None:
    if info is None:
        return None
    names = ("message", "stack_trace", "friendly_text", "exception_type", "source")
    texts = {name: _redacted_text(getattr(info, name), secrets) for name in names}
    pairs = info.parameters
    clean = None if pairs is None else {redact(k, secrets): _redacted_text(v, secrets) for k, v in pairs.items()}
    return attrs.evolve(info, **texts, parameters=clean, inner_exception=_redacted(info.inner_exception, secrets))


def _redacted_text(text: str | None, secrets: tuple[Secret, ...]) -> str | None:
    return None if text is None else redact(text, secrets)


def _excerpt(parsed: ParsedResponse, secrets: tuple[Secret, ...]) -> str:
    """Return the beginning of an unreadable body: masked first and cut then, or a secret could be cut in two."""
    return "" if parsed.problem is None else redact(parsed.problem.excerpt, secrets)[:_EXCERPT]


def _bad_body(parsed: ParsedResponse, status: int, secrets: tuple[Secret, ...]) -> ProtocolError:
    problem, excerpt = parsed.problem, _excerpt(parsed, secrets)
    assert problem is not None  # noqa: S101 - that is why it is asked for
    parsed.problem = None
    problem.status, problem.excerpt = status, excerpt
    problem.applied = "yes" if parsed.header.succeeded or parsed.answers else "unknown"
    message = redact(str(problem), secrets)
    if isinstance(problem, UnreadableResponse) and not excerpt:
        message = f"{message} (HTTP {status}). {_OTHER_FORM}"
    problem.args = (message,)
    return problem


def _http_error(
    operation: Operation[Any],
    parsed: ParsedResponse,
    status: int,
    retry_after: float | None,
    secrets: tuple[Secret, ...],
) -> HttpError:
    kind = _ERROR_BY_STATUS.get(status, HttpError)
    advice = _ADVICE.get(status, "redirects are not followed: the body holds credentials" if 300 < status < 400 else "")  # noqa: PLR2004
    error = kind(f"{operation.name}: HTTP {status} and no SOAP envelope{advice and ': '}{advice}")
    error.status, error.retry_after = status, retry_after
    error.retryable = status in _RETRYABLE
    applied: Applied = "no" if status in _NOT_DISPATCHED else "unknown"
    error.applied = applied
    error.excerpt = _excerpt(parsed, secrets)
    return error


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
        body: as received, decompressed.
        version: of the services that answered.
        status: of the HTTP response.
        content_type: of the HTTP response; only its charset matters.
        limits: how large the response may be.
        on_unknown: called with each element, value and header block that this release does not know.

    Returns:
        The operation's result.

    Raises:
        ServiceError: the service said no: Fault, OperationFailed or AuthenticationFailed.
        ProtocolError: the response cannot be read as the operation's.
        UsageError: there is no such operation in that version.
    """
    row = operation_named(operation)
    row.check_version(version)
    if not isinstance(body, bytes | bytearray | memoryview):
        raise UsageError(f"body must be bytes, as received, not {type(body).__name__}")
    parser = ResponseParser(row, version, limits=limits or Limits(), content_type=content_type, on_unknown=on_unknown)
    parser.feed(body)
    try:
        return interpret(row, parser.close(), status)  # type: ignore[no-any-return]  # the row says R
    except SoapBatchError as error:
        error.operation, error.version = row.name, version
        raise
