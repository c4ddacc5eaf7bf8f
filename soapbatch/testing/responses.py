"""Results to HTTP responses: whole, or in pieces if the result is large."""

from base64 import b64encode
from codecs import BOM_UTF8
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
from soapbatch.testing.stacks import StackStyle

_TASKS_A_PIECE: Final = 500  # about 500 KiB of XML in the documented form, 400 KiB in the others
_BYTES_A_PIECE: Final = 48 * 1024  # a multiple of three, so that each piece ends on a whole group of base64
_END_TAGS: Final = 4  # of result, response element, Body and Envelope: those that follow the content of the result


@attrs.frozen
class Answer:
    """An HTTP response of the embedded server.

    Attributes:
        status: the HTTP status.
        headers: by name.
        body: the body in pieces. A tuple is sent with its Content-Length, any other iterable chunked. Iterating over
            it may raise `ConnectionDropped`: the connection is dropped after the pieces before that.
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: Iterable[bytes] = attrs.field(default=(), repr=False)


@attrs.frozen
class ResponseForm:
    """What the layout of a response depends on.

    Attributes:
        operation: what was called.
        version: of the services.
        binding: of the request.
        style: of the stack that answers; None: as the documentation does.
        byte_order_mark: whether the response begins with one.
    """

    operation: Operation[Any]
    version: ServiceVersion
    binding: Binding
    style: StackStyle | None = None
    byte_order_mark: bool = False

    def envelope(self, result: object, header: ReplyHeader | None) -> bytes:
        """Return the envelope that holds `result`."""
        return build_response(self.operation, result, version=self.version, binding=self.binding, header=header)

    def answer(self, body: Iterable[bytes]) -> Answer:
        """Return HTTP 200 with `body`."""
        if self.byte_order_mark:
            body = (BOM_UTF8, *body) if isinstance(body, tuple) else chain((BOM_UTF8,), body)
        return Answer(200, {"Content-Type": f"{self.binding.media_type}; charset=utf-8"}, body)

    def styled(self, style: StackStyle, result: Any, header: ReplyHeader) -> Answer:
        """Return HTTP 200 as the stack of `style` writes it."""
        namespace = self.binding.envelope
        body = (style.envelope(self.operation, result, version=self.version, namespace=namespace, header=header),)
        answer = self.answer(list(body) if style.is_chunked else body)
        return attrs.evolve(answer, headers={**answer.headers, **style.headers(self.operation, self.version)})


def success(form: ResponseForm, result: Any) -> Answer:
    """Return the answer of an operation that succeeded.

    Args:
        form: the layout.
        result: the operation's result. A list may be any iterable, and a file an iterable of bytes: both are sent in
            pieces, so that they need not fit into memory.
    """
    if form.style is not None:
        return form.styled(form.style, result, ReplyHeader(succeeded=True))
    # The documented examples of responses have no Header element.
    header = None if form.binding.is_documented else ReplyHeader(succeeded=True)
    if isinstance(form.operation.result, Array):
        return form.answer(_list_body(form, header, iter(result)))
    if form.operation.result is BASE64 and result is not None:
        return form.answer(_file_body(form, header, result))
    return form.answer((form.envelope(result, header),))


def failure(form: ResponseForm, header: ReplyHeader) -> Answer:
    """Return HTTP 200 with a `header` that says that the operation failed, and a result as if it had succeeded."""
    result: Any = None
    if form.operation.result is INT:
        result = 0
    elif form.operation.result is BOOLEAN:
        result = False
    elif not form.operation.result_name:
        result = AuthenticateResponse(authentication_succeeded=False)
    if form.style is not None:
        return form.styled(form.style, result, header)
    return form.answer((form.envelope(result, header),))


def _list_body(form: ResponseForm, header: ReplyHeader | None, items: Iterator[BatchTaskInfo]) -> Iterable[bytes]:
    first = list(islice(items, _TASKS_A_PIECE))
    second = list(islice(items, _TASKS_A_PIECE))
    if not second:
        return (form.envelope(first, header),)
    return _list_pieces(form, header, chain(first, second, items))


def _list_pieces(form: ResponseForm, header: ReplyHeader | None, items: Iterator[BatchTaskInfo]) -> Iterator[bytes]:
    head, tail = _around_result(form.envelope([], header))
    yield head
    while batch := list(islice(items, _TASKS_A_PIECE)):
        yield form.envelope(batch, header)[len(head) : -len(tail)]
    yield tail


def _file_body(form: ResponseForm, header: ReplyHeader | None, content: bytes | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(content, bytes) and len(content) <= _BYTES_A_PIECE:
        return (form.envelope(content, header),)
    return _file_pieces(form, header, (content,) if isinstance(content, bytes) else content)


def _file_pieces(form: ResponseForm, header: ReplyHeader | None, contents: Iterable[bytes]) -> Iterator[bytes]:
    head, tail = _around_result(form.envelope(b"", header))
    yield head
    rest = b""
    for content in contents:
        data = rest + content
        whole = len(data) - len(data) % 3
        for start in range(0, whole, _BYTES_A_PIECE):
            yield b64encode(data[start : min(start + _BYTES_A_PIECE, whole)])
        rest = data[whole:]
    yield b64encode(rest)
    yield tail


def _around_result(envelope: bytes) -> tuple[bytes, bytes]:
    """Split an envelope with an empty result into the bytes before and the bytes after the result's content."""
    head = envelope.rsplit(b"</", _END_TAGS)[0].rstrip(b" ")
    return head, envelope[len(head) :]
