"""What the embedded server sends back: whole, or in pieces where it would be large."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final

import attrs

from soapbatch.model import (
    BASE64,
    BOOLEAN,
    INT,
    Array,
    AuthenticateResponse,
    BatchTaskInfo,
    Binding,
    ReplyHeader,
    ServiceVersion,
)
from soapbatch.operations import Operation
from soapbatch.soap import build_response

_BATCH: Final = 500  # tasks in one piece of a list: about 500 KiB of documented, 400 KiB of compact XML
_BASE64_PIECE: Final = 48 * 1024  # bytes; a multiple of three, so that each piece ends on a whole group
_CLOSED_BEHIND_RESULT: Final = 4  # the close tags of result, response element, Body and Envelope


@attrs.frozen
class Answer:
    """An HTTP response. Iterating over `body` may raise `ConnectionDropped`, which cuts it off there.

    Attributes:
        status: of HTTP.
        headers: by name.
        body: in pieces; a tuple is sent with its Content-Length, anything else chunked.
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: Iterable[bytes] = attrs.field(default=(), repr=False)


@attrs.frozen
class Form:
    """How an operation's answer is laid out."""

    operation: Operation[Any]
    version: ServiceVersion
    binding: Binding

    def envelope(self, result: object, header: ReplyHeader | None) -> bytes:
        """Return the envelope with `result`."""
        return build_response(self.operation, result, version=self.version, binding=self.binding, header=header)

    def answer(self, body: Iterable[bytes]) -> Answer:
        """Return HTTP 200 with `body`."""
        return Answer(200, {"Content-Type": f"{self.binding.media_type}; charset=utf-8"}, body)


def success(form: Form, result: Any) -> Answer:
    """Return the answer of an operation that succeeded.

    A list may come as an iterator, and a file as an iterable of bytes: they are sent in pieces.
    """
    # The documented answers have no Header element.
    header = None if form.binding.is_documented else ReplyHeader(succeeded=True)
    if isinstance(form.operation.result, Array):
        return form.answer(_list(form, header, iter(result)))
    if form.operation.result is BASE64 and result is not None:
        return form.answer(_file(form, header, result))
    return form.answer((form.envelope(result, header),))


def failure(form: Form, header: ReplyHeader) -> Answer:
    """Return HTTP 200 with `header` saying that the operation failed, beside a harmless-looking result."""
    result: Any = None
    if form.operation.result is INT:
        result = 0
    elif form.operation.result is BOOLEAN:
        result = False
    elif not form.operation.result_name:
        result = AuthenticateResponse(authentication_succeeded=False)
    return form.answer((form.envelope(result, header),))


def _list(form: Form, header: ReplyHeader | None, items: Iterator[BatchTaskInfo]) -> Iterable[bytes]:
    first = list(islice(items, _BATCH))
    second = list(islice(items, _BATCH))
    if not second:
        return (form.envelope(first, header),)
    return _list_pieces(form, header, chain(first, second, items))


def _list_pieces(form: Form, header: ReplyHeader | None, items: Iterator[BatchTaskInfo]) -> Iterator[bytes]:
    head, tail = _around_result(form.envelope([], header))
    yield head
    while batch := list(islice(items, _BATCH)):
        yield form.envelope(batch, header)[len(head) : -len(tail)]
    yield tail


def _file(form: Form, header: ReplyHeader | None, content: bytes | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(content, bytes) and len(content) <= _BASE64_PIECE:
        return (form.envelope(content, header),)
    return _file_pieces(form, header, (content,) if isinstance(content, bytes) else content)


def _file_pieces(form: Form, header: ReplyHeader | None, contents: Iterable[bytes]) -> Iterator[bytes]:
    head, tail = _around_result(form.envelope(b"", header))
    yield head
    rest = b""
    for content in contents:
        data = rest + content
        whole = len(data) - len(data) % 3
        for start in range(0, whole, _BASE64_PIECE):
            yield b64encode(data[start : min(start + _BASE64_PIECE, whole)])
        rest = data[whole:]
    yield b64encode(rest)
    yield tail


def _around_result(envelope: bytes) -> tuple[bytes, bytes]:
    """Split an envelope with an empty result into what stands before and behind the result's content."""
    head = envelope.rsplit(b"</", _CLOSED_BEHIND_RESULT)[0].rstrip(b" ")
    return head, envelope[len(head) :]
