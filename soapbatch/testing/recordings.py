"""Recording the exchanges with a real server in files, and replaying them: two httpx transports.

    Client(url, transport=Recorder(ConnectionPool(), "recordings/nightly"), ...)     # once, against the real server
    Client(url, transport=Replayer("recordings/nightly"), ...)                       # in tests, from then on

A recording is a folder with one file an exchange, such as `0001-StartBatchJob.http`: the request, a line of dashes,
the response. Secrets are masked, and the server's host is replaced, before anything is written; so are the values of
dictionaries, such as the parameters of a job. Names, results and outputs of jobs are written as they are. The files
are UTF-8, whatever the server sent, and may be edited.

How a request finds its response. Requests are compared as the files show them: masked, without the host and what
stands before `/Remote`, and without the markers of `Jobs.start`. Equal requests get their recorded responses one
after the other. A response of an operation that only reads is given again and again when it is the last one, since
a wait does not read a task equally often each time.
"""

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher, unified_diff
from pathlib import Path
from typing import Any, Final, cast
from xml.sax.saxutils import unescape

import attrs
import httpx

from soapbatch.errors import UsageError
from soapbatch.model import MASK, Secret, redact_envelope
from soapbatch.operations import OPERATIONS

HOST: Final = "netserver.invalid"
"""What stands in recordings for the server's host."""

_FILE: Final = re.compile(r"[0-9]{4,}-\w+\.http")
_BETWEEN: Final = "\n" + "-" * 20 + "\n"
_REQUEST_HEADERS: Final = ("content-type", "soapaction")
_RESPONSE_HEADERS: Final = ("content-type", "retry-after", "www-authenticate")
_SERVICE_PATH: Final = re.compile(r"(?:/Remote)?/Services\d\d/.*", re.IGNORECASE | re.DOTALL)
_SECRETS: Final = re.compile(r"<(?:[\w.-]+:)?(?:ApplicationToken|Ticket|Password|AccessToken)(?:\s[^<>]*)?>([^<]+)<")
_VALUES: Final = re.compile(r"<(?:[\w.-]+:)?Value(?:\s[^<>]*)?>([^<]+)<")
_SHORTEST_VALUE: Final = 4  # characters; shorter ones would be masked all over the texts
_QUOTES: Final = {"&quot;": '"', "&apos;": "'"}
_MARKER: Final = re.compile(r"\[soapbatch:[0-9a-f]+\]")
_ENCODING: Final = re.compile(r"""(<\?xml[^>]*?encoding\s*=\s*["'])[\w.-]+""")
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?[\w.-]+\"?", re.IGNORECASE)
_LIKELY_BOMS: Final = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))


class NotRecorded(UsageError):
    """A `Replayer` was sent a request that it has no response for. The message shows the nearest recorded one."""


@attrs.frozen
class Exchange:
    """One request and its response, as a file shows them.

    Attributes:
        operation: the wire name of the operation, or "request" if it is none.
        request: method and path, headers, an empty line, the envelope.
        response: status, headers, an empty line, the envelope.
    """

    operation: str
    request: str
    response: str

    @property
    def compared(self) -> str:
        """What a request must equal to get the response."""
        return _compared(self.request)


class Recorder(httpx.AsyncBaseTransport):
    """A transport that passes requests on to another one and writes each exchange to a file.

    Requests that get no response are not recorded.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, folder: Path | str, *, secrets: Iterable[Secret | str] = ()
    ) -> None:
        """Record into a folder, in place of what was recorded there.

        Args:
            transport: what carries the requests, such as `ConnectionPool()`. It is closed with this one.
            folder: where to write; it is made if it does not exist. Recordings in it are deleted.
            secrets: texts to mask beside those that the library recognises: tickets, tokens, passwords, and what looks
                like one.
        """
        self._transport = transport
        self._folder = Path(folder)
        self._mask = _Mask(secrets)
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in _files(self._folder):
            file.unlink()
        self._count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, and record it and its response."""
        body = await request.aread()
        response = await self._transport.handle_async_request(request)
        try:
            # httpx decompresses; a wrong Content-Encoding raises here as it would in the caller.
            content = await response.aread()
        finally:
            await response.aclose()
        exchange = _exchange(request, body, response, content, self._mask)
        self._count += 1
        file = self._folder / f"{self._count:04}-{exchange.operation}.http"
        file.write_text(exchange.request + _BETWEEN + exchange.response, encoding="utf-8", newline="")
        headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _ABOUT_THE_BODY]
        return httpx.Response(
            response.status_code, headers=headers, stream=httpx.ByteStream(content), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close the transport that carries the requests."""
        await self._transport.aclose()


_ABOUT_THE_BODY: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class Replayer(httpx.AsyncBaseTransport):
    """A transport that answers requests from a recording, without a server."""

    def __init__(self, folder: Path | str, *, secrets: Iterable[Secret | str] = ()) -> None:
        """Replay a folder.

        Args:
            folder: as `Recorder` wrote it.
            secrets: those that `Recorder` was given.

        Raises:
            UsageError: there is no recording in the folder, or a file of it cannot be read.
        """
        self._folder = Path(folder)
        self._mask = _Mask(secrets)
        self._exchanges = [_parsed(file) for file in _files(self._folder)]
        if not self._exchanges:
            raise UsageError(
                f"there is no recording in {self._folder}: make one with Recorder, or with --netserver-record=once"
            )
        self._left = list(self._exchanges)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the recorded response.

        Raises:
            NotRecorded: there is none, or none is left.
        """
        operation, text = _request_text(request, await request.aread(), self._mask)
        compared = _compared(text)
        found = next((exchange for exchange in self._left if exchange.compared == compared), None)
        if found is None:
            last = next((exchange for exchange in self._exchanges[::-1] if exchange.compared == compared), None)
            if last is None or not (operation in OPERATIONS and OPERATIONS[operation].is_read_only):
                raise NotRecorded(self._advice(operation, text, was_recorded=last is not None))
            return _response(last)
        self._left.remove(found)
        return _response(found)

    def unused(self) -> list[str]:
        """Return the operations of the exchanges that no request has come to, in their order."""
        return [exchange.operation for exchange in self._left]

    def _advice(self, operation: str, text: str, *, was_recorded: bool) -> str:
        if was_recorded:
            return (
                f"{operation} was recorded in {self._folder}, and every recorded response has been given: it was called"
                " more often than while it was recorded, and it changes something"
            )
        compared = _compared(text)
        nearest = max(self._exchanges, key=lambda exchange: SequenceMatcher(None, exchange.compared, compared).ratio())
        difference = "\n".join(
            unified_diff(_lines(nearest.compared), _lines(compared), "recorded", "sent", lineterm="", n=1)
        )
        return (
            f"{operation} was not recorded like this in {self._folder}. The nearest request there, {nearest.operation},"
            f" differs so:\n{difference}"
        )


def has_recording(folder: Path) -> bool:
    """Return whether there is a recording in a folder."""
    return bool(_files(folder))


def _files(folder: Path) -> list[Path]:
    found = {file: _FILE.fullmatch(file.name) for file in folder.glob("*.http")}
    return sorted((file for file, name in found.items() if name), key=lambda file: int(file.name.partition("-")[0]))


class _Mask:
    """Masks texts. It remembers the secrets that it has seen: a server may repeat one in any later answer."""

    def __init__(self, secrets: Iterable[Secret | str]) -> None:
        self._secrets = {Secret.wrap(secret) for secret in secrets}

    def learn(self, text: str) -> None:
        """Remember the secrets that elements of an envelope hold."""
        found = _SECRETS.findall(text)
        if "AuthenticateGeneric" in text:  # whose values are secrets by names that only the server knows
            found += [value for value in _VALUES.findall(text) if len(value) >= _SHORTEST_VALUE]
        self._secrets |= {Secret(unescape(value, _QUOTES)) for value in found if value.strip(MASK + " ")}

    def __call__(self, text: str, url: httpx.URL) -> str:
        """Return a text without secrets and without the host of `url`."""
        masked = redact_envelope(text, self._secrets)
        for name in filter(None, (url.netloc.decode("ascii"), url.host)):
            masked = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", HOST, masked, flags=re.IGNORECASE)
        return masked


def _parsed(file: Path) -> Exchange:
    with file.open(encoding="utf-8", newline="") as opened:
        request, between, response = opened.read().partition(_BETWEEN)
    if not between:
        raise UsageError(f"{file} is no recorded exchange: it has no line of {len(_BETWEEN) - 2} dashes")
    return Exchange(file.stem.partition("-")[2], request, response)


def _exchange(request: httpx.Request, body: bytes, response: httpx.Response, content: bytes, mask: _Mask) -> Exchange:
    text = _text(content)
    mask.learn(text)
    operation, asked = _request_text(request, body, mask)
    head = [f"HTTP/1.1 {response.status_code}", *_headers(response.headers, _RESPONSE_HEADERS, mask, request.url)]
    return Exchange(operation, asked, "\n".join([*head, "", mask(text, request.url)]))


def _request_text(request: httpx.Request, body: bytes, mask: _Mask) -> tuple[str, str]:
    """Return the wire name of the operation, and the request as a file shows it."""
    text = _text(body)
    mask.learn(text)
    matched = _SERVICE_PATH.search(request.url.path)
    head = [f"{request.method} {matched[0] if matched else request.url.path}", f"Host: {HOST}"]
    lines = [*head, *_headers(request.headers, _REQUEST_HEADERS, mask, request.url), "", mask(text, request.url)]
    announced = request.headers.get("soapaction") or request.headers.get("content-type", "")
    name = announced.strip().strip('"').rpartition("/")[2]
    return name if name in OPERATIONS else "request", "\n".join(lines)


def _headers(headers: httpx.Headers, names: Iterable[str], mask: _Mask, url: httpx.URL) -> Iterator[str]:
    for name in names:
        if name in headers:
            yield f"{name.title()}: {mask(_CHARSET.sub('charset=utf-8', headers[name]), url)}"


def _text(body: bytes) -> str:
    """Return the text of an envelope; its XML declaration then says UTF-8."""
    encoding = next((encoding for start, encoding in _LIKELY_BOMS if body.startswith(start)), "utf-8-sig")
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        text = body.decode("cp1252", "replace")
    return _ENCODING.sub(r"\g<1>utf-8", text, count=1)


def _compared(request: str) -> str:
    return _MARKER.sub("[soapbatch:...]", request)


def _lines(text: str) -> list[str]:
    """Return the lines of an envelope, each element on one of its own."""
    return re.sub(r">\s*<", ">\n<", text).splitlines()


def _response(exchange: Exchange) -> httpx.Response:
    head, _, body = exchange.response.partition("\n\n")
    status, *headers = head.split("\n")
    pairs = [cast("tuple[str, str]", tuple(line.split(": ", 1))) for line in headers]
    content: Any = httpx.ByteStream(body.encode())
    return httpx.Response(int(status.split()[1]), headers=pairs, stream=content)
