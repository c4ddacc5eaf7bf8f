"""Log records: what a call shows, with secrets masked.

Logger `soapbatch` has one DEBUG record for each request that ended: operation, version, attempt, outcome, status,
milliseconds, bytes. It has INFO records for retries and for what the client decides for its whole life. Logger
`soapbatch.wire` has the envelopes, if it is enabled for DEBUG.
"""

import codecs
import logging
from collections.abc import Iterable
from typing import Final

from soapbatch.calls.hooks import Hooks, RequestEvent, ResponseEvent
from soapbatch.model import KIB, Secret, redact, redact_envelope
from soapbatch.soap import Request
from soapbatch.system import LOG

WIRE: Final = LOG.getChild("wire")
_SHOWN: Final = 64 * KIB  # of a response
# Extra bytes kept after the shown part, so that a secret that crosses the cut is still found and masked.
_MASKING_MARGIN: Final = 16 * KIB
LOGGED_BYTES: Final = _SHOWN + _MASKING_MARGIN
"""Bytes of a response that `log_response` takes."""


def log_request(hooks: Hooks, event: RequestEvent, request: Request, secrets: Iterable[Secret]) -> None:
    """Log a request that is about to be sent, and call the hook."""
    if WIRE.isEnabledFor(logging.DEBUG):
        WIRE.debug("> %s\n%s", event.url, redact_envelope(request.body.decode(), secrets))
    if hooks.on_request is not None:
        hooks.on_request(event)


def log_response(
    hooks: Hooks,
    request: RequestEvent,
    *,
    status: int | None,
    bytes_received: int,
    seconds: float,
    outcome: str,
    body: bytes,
    secrets: Iterable[Secret],
) -> None:
    """Log a request that has ended, and call the hook; `body` is what was read of the response for the wire log."""
    if LOG.isEnabledFor(logging.DEBUG):
        LOG.debug(
            "%s %s attempt %d: %s, HTTP %s, %.1f ms, %d bytes out, %d in",
            *(request.operation, request.version, request.attempt, outcome, status or "-", seconds * 1000),
            *(request.bytes_sent, bytes_received),
        )
    if body:
        WIRE.debug("< HTTP %s\n%s", status, _shown(body, tuple(secrets)))
    if hooks.on_response is not None:
        event = ResponseEvent(
            request=request,
            status=status,
            bytes_received=bytes_received,
            milliseconds=seconds * 1000,
            outcome=outcome,
        )
        try:
            hooks.on_response(event)
        except Exception:  # noqa: BLE001 - a hook must not cost the caller what the server has done
            LOG.exception("the on_response hook failed")


def _shown(body: bytes, secrets: tuple[Secret, ...]) -> str:
    """Return the text of an answer without secrets, whichever of the known encodings it claims: that may be wrong.

    UTF-16 shows itself by its mark or its first character. Anything else is read as UTF-8 and as Windows-1252, which
    is ISO-8859-1 in all that can be printed: what is a secret in either reading is masked.
    """
    hidden = _MASKING_MARGIN if len(body) >= LOGGED_BYTES else 0
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in body[:2]:
        encoding = "utf-16-be" if body.startswith((codecs.BOM_UTF16_BE, b"\0")) else "utf-16-le"
        text = body.decode(encoding, "replace")
    else:
        for encoding in ("utf-8", "cp1252"):
            # "surrogateescape" brings back as they were the bytes that mean nothing in this reading.
            body = redact(body.decode(encoding, "surrogateescape"), secrets).encode(encoding, "surrogateescape")
        text = body.decode("utf-8", "replace")
    # What is left of UTF-32, or of a NUL by mistake, would hide what must be masked.
    text = redact_envelope(text.replace("\0", ""), secrets)
    return text[: max(0, min(_SHOWN, len(text) - hidden))]
