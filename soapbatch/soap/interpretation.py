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
    Fault,
    HttpError,
    OperationFailed,
    ProtocolError,
    ServiceBusy,
    TenantMoved,
    UnreadableResponse,
    UsageError,
    VersionMismatch,
    clean_traceback,
)
from soapbatch.model import AuthenticateResponse, Binding, ExceptionInfo, Limits, Secret, ServiceVersion, redact
from soapbatch.operations import Operation, operation_named
from soapbatch.soap.decoders import FaultBlock, UnknownCallback, ignore_unknown
from soapbatch.soap.parser import ParsedResponse, Problem, ResponseParser

R = TypeVar("R")

SESSION_LOST: Final = "SoSessionException"
"""The `error_type` with which NetServer refuses a ticket that is unknown or has expired."""

_EXCERPT: Final = 200  # characters of an unreadable body that an error shows
_NAME = re.compile(r"[\w.+`-]+")  # a .NET type (nested and generic ones included), a QName's local part

_TEXTS: Final = ("message", "stack_trace", "friendly_text", "source")  # of an ExceptionInfo

# Fault codes of a SOAP stack that refuses a message before the operation runs.
_REFUSED_BEFORE_DISPATCH: Final = frozenset({"VersionMismatch", "MustUnderstand", "ActionNotSupported"})
# HTTP statuses which prove that the request was rejected before the operation ran, so `applied` is "no".
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
_OTHER_BINDING: Final = (
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
    """Return the result of a response, or raise the error that it means.

    The first rule that applies decides:

    1. A SOAP fault, of 1.1 or 1.2, with any HTTP status and any Content-Type.
    2. Reply header blocks: Succeeded=false or a filled ExceptionInfo, although the status may be 200 and the
       body may hold a harmless-looking result.
    3. The HTTP status: 415 (binding refused), 401 and 403, 421 (tenant moved), 429 and 503, other failures.
    4. The body's shape: empty, not XML, a DOCTYPE, truncated, the wrong response element.
    5. AuthenticationSucceeded=false in the response of an Authenticate operation.

    Args:
        operation: the row of the operation that was called.
        parsed: the response.
        status: of the HTTP response.
        retry_after: seconds that the server's Retry-After asks to wait, or None.
        secrets: the values to mask in what the error shows.
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
        raise _bad_body(parsed, parsed.problem, status, secrets)
    if isinstance(parsed.result, AuthenticateResponse) and parsed.result.authentication_succeeded is not True:
        raise AuthenticationFailed(
            f"{operation.name}: the server says that authentication did not succeed; check the credentials"
        )
    return parsed.result


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - RFC 9110, section 15.3


def _fault(operation: Operation[Any], block: FaultBlock, status: int, secrets: tuple[Secret, ...]) -> Fault:
    advice = ""
    codes = {block.code, block.subcode}  # WCF's own codes stand in 1.1's code and in 1.2's subcode
    if "ActionNotSupported" in codes:
        advice = (
            f" The server does not know {operation.name}: it may be older than the newest pages of {operation.since}, "
            "or serve another version; use an older version= or operation."
        )
    elif block.exception_info is None and block.code in {"Sender", "Client", "Receiver"}:
        advice = f" {_OTHER_BINDING}"
    was_refused = not _REFUSED_BEFORE_DISPATCH.isdisjoint(codes) or _is_session_lost(block.exception_info)
    kind = VersionMismatch if block.code == "VersionMismatch" else Fault
    code = _shown_name(block.code, secrets) or ""
    reasons = {language: redact(text, secrets) for language, text in block.reasons.items()}
    reason = next((text for text in reasons.values() if text), "no reason given")
    return kind(
        f"{operation.name}: fault {code or 'without a code'}: {reason}.{advice}",
        code=code,
        subcode=_shown_name(block.subcode, secrets),
        reason=reason,
        reasons=reasons,
        actor=_shown(block.actor, secrets),
        detail=_shown(block.detail, secrets),
        exception_info=_shown_info(block.exception_info, secrets),
        status=status,
        applied="no" if was_refused else "unknown",
    )


def _operation_failed(
    operation: Operation[Any], info: ExceptionInfo | None, secrets: tuple[Secret, ...]
) -> OperationFailed:
    shown = _shown_info(info, secrets)
    reason = "the server says Succeeded=false and gives no reason"
    if shown is not None:
        reason = shown.message or shown.friendly_text or "no message"
        reason = f"{shown.error_type}: {reason}" if shown.error_type else reason
    return OperationFailed(
        f"{operation.name}: {reason}",
        exception_info=shown,
        applied="no" if _is_session_lost(info) else "unknown",
    )


def _is_session_lost(info: ExceptionInfo | None) -> bool:
    """Return whether the ticket was refused: the server decides that before the operation, so nothing was applied."""
    return info is not None and info.error_type == SESSION_LOST


def _http_error(
    operation: Operation[Any],
    parsed: ParsedResponse,
    status: int,
    retry_after: float | None,
    secrets: tuple[Secret, ...],
) -> HttpError:
    kind = _ERROR_BY_STATUS.get(status, HttpError)
    advice = _ADVICE.get(status, "redirects are not followed: the body holds credentials" if 300 < status < 400 else "")  # noqa: PLR2004
    return kind(
        f"{operation.name}: HTTP {status} and no SOAP envelope{advice and ': '}{advice}",
        status=status,
        excerpt=_shown_excerpt(parsed, secrets),
        applied="no" if status in _NOT_DISPATCHED else "unknown",
        retryable=status in _RETRYABLE,
        retry_after=retry_after,
    )


def _bad_body(parsed: ParsedResponse, problem: Problem, status: int, secrets: tuple[Secret, ...]) -> ProtocolError:
    excerpt = _shown_excerpt(parsed, secrets)
    message = redact(problem.message, secrets)
    if problem.kind is UnreadableResponse and not excerpt:
        message = f"{message} (HTTP {status}). {_OTHER_BINDING}"
    applied: Applied = "yes" if parsed.header.succeeded or parsed.answers else "unknown"
    return problem.error(message, status=status, excerpt=excerpt, applied=applied)


def _shown(text: str | None, secrets: tuple[Secret, ...]) -> str | None:
    return None if text is None else redact(text, secrets)


def _shown_name(name: str | None, secrets: tuple[Secret, ...]) -> str | None:
    """Return a name as it is, unless it has the shape of a token; and anything else masked like a text."""
    return _shown(name, () if name is not None and _NAME.fullmatch(name) else secrets)


def _shown_info(info: ExceptionInfo | None, secrets: tuple[Secret, ...]) -> ExceptionInfo | None:
    if info is None:
        return None
    texts = {name: _shown(getattr(info, name), secrets) for name in _TEXTS}
    pairs = info.parameters
    return attrs.evolve(
        info,
        **texts,
        exception_type=_shown_name(info.exception_type, secrets),
        parameters=None if pairs is None else {redact(k, secrets): _shown(v, secrets) for k, v in pairs.items()},
        inner_exception=_shown_info(info.inner_exception, secrets),
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
