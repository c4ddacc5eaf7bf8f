"""What went over the wire in one request, in a form that can be shown to others."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import attrs

from soapbatch.model.limits import KIB
from soapbatch.model.services import Binding, ServiceVersion

SHOWN: Final = 64 * KIB
"""Characters of a body that an `ExchangeRecord` holds at most."""


@attrs.frozen(kw_only=True)
class ExchangeRecord:
    """One request and its response, as they went over the wire. Holds no secrets; `str` returns it as a text to read.

    Tickets, tokens and passwords are masked ("***"), and the content of the elements that may hold one: so are all
    parameters of jobs. The value of a header is masked if its name says that it holds a secret, and in the request
    unless the library knows the header. The beginning of a body is kept, at most 65,536 characters of it: `bytes_sent`
    and `bytes_received` say how long it was.

    Attributes:
        operation: the wire name.
        version: the service version.
        binding: how the envelope is laid out.
        attempt: 1 for the first request of a call.
        started: when the request was about to be sent (aware, UTC).
        milliseconds: from then to the end.
        outcome: "ok"; the name of the error's class; or "abandoned": the consumer left the stream.
        url: of the endpoint, to which the request was sent by POST.
        request_headers: names and values as they were handed to the transport, which adds Host and Content-Length; an
            `http_client=` may add more.
        request_body: the beginning of the envelope.
        bytes_sent: the size of the envelope.
        status: the HTTP status, or None where there was no response.
        response_headers: names and values; empty where there was no response.
        response_body: the beginning of what was read of the body, decompressed.
        bytes_received: bytes of the body, decompressed, that were read.
    """

    operation: str
    version: ServiceVersion
    binding: Binding
    attempt: int
    started: datetime
    milliseconds: float
    outcome: str
    url: str
    request_headers: tuple[tuple[str, str], ...]
    request_body: str = attrs.field(repr=False)
    bytes_sent: int
    status: int | None
    response_headers: tuple[tuple[str, str], ...]
    response_body: str = attrs.field(repr=False)
    bytes_received: int

    def __str__(self) -> str:
        """Return the exchange as a text: what and when, the request ("> "), and the response ("< ")."""
        when = f"{self.started.isoformat(timespec='milliseconds')} + {self.milliseconds:.1f} ms"
        lines = [
            f"{self.operation} {self.version} attempt {self.attempt}: {self.outcome}, {when}",
            f"> POST {self.url}",
            *_written(">", self.request_headers, self.request_body, self.bytes_sent),
        ]
        if self.status is None:
            lines.append("< no response")
        else:
            lines.append(f"< HTTP {self.status}")
            lines += _written("<", self.response_headers, self.response_body, self.bytes_received)
        return "\n".join(lines)


def _written(mark: str, headers: Iterable[tuple[str, str]], body: str, size: int) -> Iterable[str]:
    """Yield the lines of a message behind its first one."""
    yield from (f"{mark} {name}: {value}" for name, value in headers)
    yield f"{mark} {size} bytes{f', of which at most {SHOWN} characters are shown' if size > SHOWN else ''}"
    if body:
        yield body
