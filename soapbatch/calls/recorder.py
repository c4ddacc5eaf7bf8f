"""What went over the wire in one exchange: kept by reference while it runs; masked, and then cut, where it is shown.

Most exchanges succeed and nobody asks for them: they pay for a list of the first pieces that came, and for no copy.
"""

import codecs
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from soapbatch.calls.hooks import RequestEvent
from soapbatch.model import KIB, MASK, SHOWN, ExchangeRecord, Secret, redact, redact_envelope
from soapbatch.soap import Request
from soapbatch.transport import HttpResponse

# Bytes of a body. The last 16 KiB are not shown: they are there so that a secret that crosses the cut is recognised.
_KEPT: Final = SHOWN + 16 * KIB
_MOST_HEADERS: Final = 100
_LONGEST_HEADER: Final = KIB  # characters that are shown of a name, and of a value
# Headers that a hook may add and that hold no secret: of W3C Trace Context, and of HTTP itself.
_HARMLESS: Final = frozenset({"accept", "accept-encoding", "traceparent", "tracestate", "user-agent"})
# Names of headers that hold a secret. WWW-Authenticate and Proxy-Authenticate ask for one.
_SECRET_NAME = re.compile(
    r"cookie|token|secret|passw|credential|session|signature|ticket|key|auth(?!enticate)", re.IGNORECASE
)

_BETWEEN_PARTS = re.compile(r"[\s;,=]+")
_SHORTEST_PART: Final = 8  # characters of a part that is masked by itself


class Recorder:
    """Keeps what an exchange sends and receives, and makes the record of it."""

    __slots__ = ("_head", "_headers", "_left", "_request", "_started")

    def __init__(self, request: Request) -> None:
        """Keep `request`, which is about to be sent."""
        self._request = request
        self._started = time.time()
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: list[bytes] = []
        self._left = _KEPT

    def sending(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Keep the headers of the request."""
        self._headers = headers

    def received(self, piece: bytes) -> None:
        """Keep a piece of the response's body, as far as it belongs to the beginning that may be shown."""
        if self._left:
            piece = piece[: self._left]  # the piece itself, if it is not longer
            self._head.append(piece)
            self._left -= len(piece)

    def forget(self) -> None:
        """Let go of what was received."""
        self._head, self._left = [], 0

    def record(
        self,
        event: RequestEvent,
        response: HttpResponse | None,
        *,
        bytes_received: int,
        milliseconds: float,
        outcome: str,
        secrets: tuple[Secret, ...],
    ) -> ExchangeRecord:
        """Return what was sent and received, without secrets.

        Args:
            event: of the request.
            response: its head; None: there is none.
            bytes_received: of the body.
            milliseconds: that the exchange took.
            outcome: how it ended.
            secrets: that the envelope holds.
        """
        sent = _decoded(self._headers)
        harmless = _HARMLESS.union(name.lower() for name in self._request.headers)
        foreign = {name for name, _ in sent if name.lower() not in harmless}
        secrets += _secrets_in(sent, foreign)
        received = [] if response is None else [*response.headers.items()]
        return ExchangeRecord(
            operation=event.operation,
            version=event.version,
            binding=event.binding,
            attempt=event.attempt,
            started=datetime.fromtimestamp(self._started, UTC),
            milliseconds=milliseconds,
            outcome=outcome,
            url=event.url,
            request_headers=_shown_headers(sent, foreign, secrets),
            request_body=shown(self._request.body, secrets),
            bytes_sent=event.bytes_sent,
            status=None if response is None else response.status,
            response_headers=_shown_headers(received, _secret_names(received), secrets),
            response_body=shown(b"".join(self._head), secrets),
            bytes_received=bytes_received,
        )


def secrets_among(*values: object) -> tuple[Secret, ...]:
    """Return the secrets among the values of a call, those inside dictionaries included."""
    found: list[object] = []
    for value in values:
        found += value.values() if isinstance(value, Mapping) else [value]
    return tuple(secret for secret in found if isinstance(secret, Secret))


def header_secrets(headers: list[tuple[bytes, bytes]]) -> tuple[Secret, ...]:
    """Return the secrets in the headers of a request, as far as the names of the headers tell."""
    decoded = _decoded(headers)
    return _secrets_in(decoded, _secret_names(decoded))


def _decoded(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _secret_names(headers: list[tuple[str, str]]) -> set[str]:
    return {name for name, _ in headers if _SECRET_NAME.search(name)}


def _secrets_in(headers: list[tuple[str, str]], names: set[str]) -> tuple[Secret, ...]:
    """Return what a server may repeat of headers: a whole value, what stands behind "Bearer", the value of a cookie."""
    return tuple(
        Secret(part)
        for name, value in headers
        if name in names
        for part in {value, *(part for part in _BETWEEN_PARTS.split(value) if len(part) >= _SHORTEST_PART)}
    )


def _shown_headers(
    headers: Iterable[tuple[str, str]], hidden: set[str], secrets: tuple[Secret, ...]
) -> tuple[tuple[str, str], ...]:
    """Return headers without secrets: those named in `hidden` without their values."""
    lines = (f"{name}: {MASK if name in hidden else value}" for name, value in islice(headers, _MOST_HEADERS))
    text = shown("\n".join(lines).encode("latin-1", "replace"), secrets)
    parts = (line.partition(": ") for line in text.split("\n") if line)
    return tuple((name[:_LONGEST_HEADER], value[:_LONGEST_HEADER]) for name, _, value in parts)


def shown(body: bytes, secrets: tuple[Secret, ...]) -> str:
    """Return the beginning of a text, without secrets, at most 65,536 characters of it.

    A text is masked before it is cut, as a cut secret is not recognised: what is shown is what two cuts, 16 KiB apart,
    leave the same.
    """
    text = _masked(body[:_KEPT], secrets)
    if len(body) >= _KEPT:
        text = _common_beginning(text, _masked(body[:SHOWN], secrets))
    return text[:SHOWN]


def _masked(body: bytes, secrets: tuple[Secret, ...]) -> str:
    """Return a text without secrets, whichever of the known encodings it claims: that may be wrong.

    UTF-16 shows itself by its mark or its first character. Anything else is read as UTF-8 and as Windows-1252, which
    is ISO-8859-1 in all that can be printed: what is a secret in either reading is masked.
    """
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in body[:2]:
        encoding = "utf-16-be" if body.startswith((codecs.BOM_UTF16_BE, b"\0")) else "utf-16-le"
        text = body.decode(encoding, "replace")
    else:
        for encoding in ("utf-8",) if body.isascii() else ("utf-8", "cp1252"):
            # "surrogateescape" brings back as they were the bytes that mean nothing in this reading.
            body = redact(body.decode(encoding, "surrogateescape"), secrets).encode(encoding, "surrogateescape")
        text = body.decode("utf-8", "replace")
    # What is left of UTF-32, or of a NUL by mistake, would hide what must be masked.
    return redact_envelope(text.replace("\0", ""), secrets)


def _common_beginning(one: str, other: str) -> str:
    """Return the longest text with which both begin."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one.startswith(other[:middle]):
            least = middle
        else:
            most = middle - 1
    return one[:least]
