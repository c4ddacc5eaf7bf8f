"""Response bytes, fed piece by piece, -> header blocks, a fault, and the operation's result.

The parser reads the header first. It then decodes each item of a list as soon as the item's element ends, and frees
that element; and it decodes a base64 result piece by piece. The parser keeps what is wrong with a response and raises
nothing: `interpretation` decides what the whole response means.

    <s:Envelope><s:Header><Succeeded>true</Succeeded></s:Header>      -> parsed.header
      <s:Body><GetBatchTaskInfosByStateResponse><Response>
        <BatchTaskInfo>...</BatchTaskInfo>                            -> one item, from feed()
        <BatchTaskInfo>...</BatchTaskInfo>                            -> one item, from feed()
    </Response></GetBatchTaskInfosByStateResponse></s:Body></s:Envelope>  -> the ParsedResponse, from close()
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import attrs
from lxml import etree

from soapbatch.errors import Applied, LimitExceeded, ProtocolError, UnexpectedResponse, UnreadableResponse
from soapbatch.model import BASE64, KIB, Array, Limits, Record, ReplyHeader, ServiceVersion, redact_envelope
from soapbatch.operations import Operation
from soapbatch.soap import fast
from soapbatch.soap.base64_text import NOT_BASE64, Base64Decoder
from soapbatch.soap.decoders import (
    BODY,
    ENVELOPE,
    FAULT,
    HEADER,
    BadValue,
    FaultBlock,
    UnknownCallback,
    UnknownItem,
    decode_fault,
    decode_header,
    ignore_unknown,
    is_nil,
    local_name,
)
from soapbatch.soap.names import names_of
from soapbatch.soap.references import ForbiddenReferences
from soapbatch.soap.response_shape import response_shape, start_tag_of
from soapbatch.soap.xml_input import Events, SafeXmlParser, Utf8Transcoder, limit_exceeded

CHUNK: Final = 64 * 1024
"""Bytes that are parsed without a pause. They take about a millisecond, after which an event loop may run."""

_PARTS: Final = frozenset({*HEADER, *BODY, *FAULT})  # of an envelope
_NO_HEADER: Final = ReplyHeader()
_MOST_CANDIDATES: Final = 100  # tags that are named like the base64 result, and tried one by one
_DISCARDED: Final = 2000  # items that are freed in about a millisecond
_EXCERPT: Final = (
    8 * KIB
)  # bytes of an unreadable body that are kept for an error: a token that begins early ends there
_MULTIPART: Final = (
    "the response is multipart (MTOM, or SOAP with attachments), which is not read; "
    "let the server send this endpoint's responses as plain XML"
)
_NAME: Final = 2000  # characters of a name that are kept for an error; they are cut once they are masked


@attrs.frozen
class Problem:
    """Why a body cannot be read. The parser keeps this instead of an error, whose traceback would keep the tree alive.

    Attributes:
        kind: the class of the error.
        message: what is wrong. It may repeat what the server sent, so it is masked before it is shown.
        limit: the attribute of `Limits` that the response exceeds; "" for other problems.
    """

    kind: type[ProtocolError]
    message: str
    limit: str = ""

    @classmethod
    def of(cls, error: ProtocolError) -> "Problem":
        """Return the problem that `error` is about."""
        return cls(type(error), str(error), error.limit if isinstance(error, LimitExceeded) else "")

    def error(self, message: str, *, status: int, excerpt: str, applied: Applied) -> ProtocolError:
        """Return the error to raise, with a `message` that may be shown."""
        if self.limit:
            return LimitExceeded(message, limit=self.limit, status=status, excerpt=excerpt, applied=applied)
        return self.kind(message, status=status, excerpt=excerpt, applied=applied)


@attrs.define
class ParsedResponse:
    """Everything that a response says.

    Attributes:
        header: its header blocks; all None if there are none.
        fault: the fault, or None.
        result: the operation's result, if nothing is wrong. Without `collect`, it lacks the items that `feed` returned.
        problem: why the body cannot be read, or None.
        excerpt: the beginning of a body that cannot be read. It is masked by shape and element name, not by value.
        answers: whether the parser has reached the operation's response element.
    """

    header: ReplyHeader = _NO_HEADER
    fault: FaultBlock | None = None
    result: Any = None
    problem: Problem | None = None
    excerpt: str = ""
    answers: bool = False


class ResponseParser:
    """Parses one response. Feed it pieces of any size, then close it.

    `problem` is set as soon as the response is known to be unreadable; the rest need not be fed then. In a short
    response that is collected, only a DOCTYPE is found before the end.
    """

    def __init__(
        self,
        operation: Operation[Any],
        version: ServiceVersion,
        *,
        limits: Limits,
        content_type: str | None = None,
        on_unknown: UnknownCallback = ignore_unknown,
        collect: bool = True,
        server: str = "",
    ) -> None:
        """Prepare to parse a response of `operation`.

        Args:
            operation: the row of the operation that was called.
            version: of the services that answered.
            limits: how large the response may be.
            content_type: of the HTTP response; its charset matters, and whether it is multipart.
            on_unknown: called with each element, value and header block that this release does not know.
            collect: whether the result holds the items of a list and the pieces of a base64 result. Otherwise `feed`
                returns them.
            server: host and port, if they are known: `Limits.names` holds for each server.
        """
        self._operation = operation
        self._shape = response_shape(operation, version)
        self._limits = limits
        self._content_type = content_type
        self._on_unknown = on_unknown
        self._collect = collect
        self._transcoder = Utf8Transcoder(limits, streamed=not collect, content_type=content_type)
        self._references = ForbiddenReferences(self._report_character)
        self._xml = SafeXmlParser(limits, self._shape.event_tags, names_of(server))
        self._excerpt = b""
        self._parsed = ParsedResponse()
        self._items: list[Any] = []
        self._count = 0  # items returned or collected so far
        self._passed_over = 0  # nil items, and elements in the list that are no items
        self._freed = 0  # children of the list that left its tree, or were never in it
        self._is_closed = False
        self._list: etree._Element | None = None  # the element of the list or of the base64 result
        self._base64: Base64Decoder | None = None
        self._candidates_left = _MOST_CANDIDATES
        self._short: fast.ShortResponse | None = None
        self._scanner: fast.ItemScanner | None = None
        if fast.IS_ON:
            result = operation.result
            if collect and result is not BASE64:
                self._short = fast.ShortResponse(self._xml)
            if isinstance(result, Array) and isinstance(result.item, Record):
                self._scanner = fast.ItemScanner(result.item_name, result.item, self._shape.namespace, limits)

    @property
    def _start_tag(self) -> re.Pattern[bytes]:
        return start_tag_of(self._operation.result_name)

    @property
    def problem(self) -> Problem | None:
        """Why the response cannot be read; None: nothing is wrong so far."""
        return self._parsed.problem

    def feed(self, data: bytes) -> list[Any]:
        """Parse the next bytes; return the items that they complete, unless the parser collects them."""
        if len(data) <= CHUNK:
            return self._advance(data, final=False)
        found: list[Any] = []
        for start in range(0, len(data), CHUNK):
            found += self._advance(data[start : start + CHUNK], final=False)
        return found

    def close(self) -> ParsedResponse:
        """Take the end of the response, free the tree, and return all that the response says."""
        parsed = self._parsed
        if self._is_closed:
            return parsed
        self._advance(b"", final=True)
        self._is_closed = True
        if parsed.problem is None:
            try:
                self._finish(self._xml.close())
            except ProtocolError as error:
                parsed.problem = Problem.of(error)
            except BadValue as error:
                parsed.problem = self._problem_of(error)
        if parsed.problem is not None:
            parsed.problem = self._explained(parsed.problem)
            parsed.excerpt = redact_envelope(self._excerpt.decode("utf-8", "replace"))
        self._list = self._scanner = None
        self._xml.release()
        return parsed

    def discard(self) -> bool:
        """Free a part of what was collected, for an error's sake; return whether there is more.

        To free 100,000 tasks at once stops an event loop for 50 to 100 ms.
        """
        del self._items[-_DISCARDED:]
        return bool(self._items)

    def _advance(self, data: bytes, *, final: bool) -> list[Any]:
        if self._parsed.problem is not None or self._is_closed:
            return []
        found: list[Any] = []
        try:
            data = self._readable(data, final=final)
            if len(self._excerpt) < _EXCERPT:
                self._excerpt += data[: _EXCERPT - len(self._excerpt)]
            self._feed_body(data, found, final=final)
            if final:
                self._handle_events(self._xml.flush(), found)
        except ProtocolError as error:
            self._parsed.problem = Problem.of(error)
        except BadValue as error:
            self._parsed.problem = self._problem_of(error)
        except ValueError as error:
            self._parsed.problem = self._problem_of(BadValue(str(error), self._operation.result_name))
        if self._parsed.header.succeeded is False:
            found.clear()  # items beside a failure are no result
        self._count += len(found)
        if not self._collect:
            return found
        self._items += found
        if self._freed >= self._limits.items and self._parsed.problem is None:
            self._parsed.problem = Problem.of(limit_exceeded("items"))
        return []

    def _readable(self, data: bytes, *, final: bool) -> bytes:
        """Return what `data` completes: in UTF-8, and without references that XML forbids."""
        data = self._transcoder.feed(data, final=final)
        if self._base64 is not None and self._base64.is_open:
            return self._references.skip(data)
        return self._references.feed(data, final=final)

    def _explained(self, problem: Problem) -> Problem:
        """Return `problem`, or what causes it, where lxml does not say that."""
        if problem.kind is not UnreadableResponse:
            return problem
        if self._is_multipart:
            return Problem(UnreadableResponse, _MULTIPART)
        if self._references.problem is not None:
            return Problem(UnreadableResponse, f"the response is not well-formed XML: {self._references.problem}")
        return problem

    @property
    def _is_multipart(self) -> bool:
        """Whether the response is a message of several parts: nothing that is XML begins with dashes."""
        kind = (self._content_type or "").lstrip().lower()
        begin = self._excerpt.lstrip()
        return bool(begin) and (kind.startswith("multipart/") or begin.startswith(b"--"))

    def _problem_of(self, error: BadValue) -> Problem:
        return Problem(UnexpectedResponse, f"{self._operation.response_name}.{error}")

    def _feed_body(self, data: bytes, found: list[Any], *, final: bool) -> None:
        if self._short is not None:
            if final:
                self._handle_events(self._short.parse(data), found)
                return
            data = self._short.add(data)
            if not data:
                return
            self._short = None
        if self._operation.result is BASE64:
            self._feed_around_base64(data, found)
        elif self._scanner is not None:
            unseen = self._scanner.feed(data, found, self._feed_xml, final=final)
            self._freed += unseen
        else:
            self._feed_xml(data, found)

    def _feed_xml(self, data: bytes, found: list[Any]) -> None:
        self._handle_events(self._xml.feed(data), found)

    def _feed_around_base64(self, data: bytes, found: list[Any]) -> None:
        """Feed lxml everything but the text of the base64 result, and decode that text."""
        start = 0
        while start < len(data) and self._base64 is None:
            end = self._possible_start(data, start)
            self._feed_xml(data[start:end], found)
            start = end
        data = data[start:]
        if self._base64 is not None and self._base64.is_open:
            data = self._base64.feed(data, found)
        self._feed_xml(data, found)

    def _possible_start(self, data: bytes, start: int) -> int:
        """Return the position behind the first tag, from `start` on, behind which the base64 result may begin."""
        if self._xml.is_in_tag:
            end = self._xml.pending_end(data[start:])
            return start + end if end else len(data)
        candidate = self._start_tag.search(data, start)
        if candidate is None:
            return len(data)
        self._candidates_left -= 1
        if self._candidates_left < 0:
            raise UnexpectedResponse(f"more than {_MOST_CANDIDATES} elements are named {self._operation.result_name}")
        return candidate.end()

    def _handle_events(self, events: Events, found: list[Any]) -> None:
        for event, element in events:
            self._handle(event, element, found)
        self._xml.check()

    def _handle(self, event: str, element: etree._Element, found: list[Any]) -> None:
        tag = element.tag
        if tag == self._shape.item:
            if event == "end":
                self._handle_item(element, found)
        elif tag == self._shape.response:
            self._parsed.answers = self._parsed.answers or self._is_response(element)
        elif tag in HEADER:
            if event == "end" and element.getparent() is self._xml.root:
                self._xml.check_depth_of(element, 2)
                self._handle_blocks(element)
        elif tag in FAULT:
            if event == "end" and self._parsed.fault is None:
                self._parsed.fault = decode_fault(element, self._shape.namespace)
        elif tag == self._shape.result:
            self._handle_base64(event, element, found)

    def _handle_blocks(self, blocks: etree._Element | list[etree._Element]) -> None:
        header = decode_header(blocks, self._shape.namespace, self._on_unknown)
        if self._parsed.header is _NO_HEADER:
            self._parsed.header = header
            return
        added = {name: value for name, value in attrs.asdict(header, recurse=False).items() if value is not None}
        if self._parsed.header.succeeded is False:
            added.pop("succeeded", None)  # a second Succeeded does not take a failure back
        self._parsed.header = attrs.evolve(self._parsed.header, **added)

    def _handle_base64(self, event: str, element: etree._Element, found: list[Any]) -> None:
        if event == "start" and self._list is None and self._is_result(element):
            self._list = element
            self._base64 = Base64Decoder()
        elif event == "end" and self._list is element and self._base64 is not None:
            # Text in a CDATA section, or behind a comment, has gone to lxml.
            if len(element) or self._base64.feed((element.text or "").encode(), found):
                raise ValueError(NOT_BASE64)
            self._base64.close()
            if not self._count and not found and not is_nil(element):
                found.append(b"")  # an empty output is one empty piece; no output is no piece

    def _handle_item(self, element: etree._Element, found: list[Any]) -> None:
        parent = element.getparent()
        if parent is None:
            return
        if parent is not self._list:
            if self._list is not None or not self._is_result(parent):
                return
            self._list = parent
        # Only the elements before this item are freed: libxml2 may still add white space behind this one.
        while (first := parent[0]) is not element:
            self._report_foreign(first)
            first.clear()  # lxml removes an element with children in quadratic time
            parent.remove(first)
            self._freed += 1
        self._xml.reset_tag_count()
        if is_nil(element):
            self._pass_over(UnknownItem("nil item", local_name(element), local_name(parent)))
            return
        try:
            item = self._shape.decode(element, self._on_unknown)
        except BadValue as error:
            raise error.at(self._count + len(found)).under(local_name(parent)) from None
        found.append(item)
        if self._scanner is not None:
            self._scanner.last_decoded = [(element, item)]

    def _report_character(self, reference: str, where: str) -> None:
        self._on_unknown(UnknownItem("character", reference, where or self._operation.response_name))

    def _report_foreign(self, element: etree._Element) -> None:
        """Report a child of the list element that is no item."""
        if element.tag != self._shape.item:
            self._pass_over(UnknownItem("element", local_name(element), self._operation.result_name))

    def _pass_over(self, item: UnknownItem) -> None:
        """Report something in a list that is no item; a list may be streamed without end, and hold nothing else."""
        self._passed_over += 1
        if self._passed_over > self._limits.items:
            raise limit_exceeded("items")
        self._on_unknown(item)

    def _is_response(self, element: etree._Element) -> bool:
        body = element.getparent()
        return body is not None and body.tag in BODY and body.getparent() is self._xml.root

    def _is_result(self, element: etree._Element) -> bool:
        response = element.getparent()
        return (
            element.tag == self._shape.result
            and response is not None
            and response.tag == self._shape.response
            and self._is_response(response)
        )

    def _finish(self, envelope: etree._Element) -> None:
        """Decode the rest of the tree once it is complete."""
        if envelope.tag not in ENVELOPE:
            raise UnreadableResponse(f"the response is not a SOAP envelope but <{local_name(envelope)[:_NAME]}>")
        if blocks := [child for child in envelope if child.tag not in _PARTS]:
            self._handle_blocks(blocks)  # the documented layout has its header blocks beside the Body
        if self._parsed.fault is not None:
            return
        answers = [answer for body in envelope if body.tag in BODY for answer in body]
        if len(answers) != 1:
            raise UnexpectedResponse(
                f"the Body of the response is empty or missing, or holds more than one answer: {len(answers)}"
            )
        answer = answers[0]
        if answer.tag != self._shape.response:
            raise UnexpectedResponse(
                f"expected <{self._operation.response_name}> of {self._shape.namespace}, "
                f"got <{local_name(answer)[:_NAME]}>: is this the endpoint of that version?"
            )
        self._parsed.result = self._decode_result(answer)

    def _decode_result(self, answer: etree._Element) -> Any:
        operation = self._operation
        if operation.result is None:
            return None
        if not operation.result_name:
            return self._shape.decode(answer, self._on_unknown)
        element = next(answer.iterchildren(self._shape.result), None)
        if isinstance(operation.result, Array):
            return self._finish_list(() if element is None else element)
        if element is None or is_nil(element):
            if operation.nullable:
                return None
            raise UnexpectedResponse(f"{operation.response_name} holds no {operation.result_name}, which it must")
        if operation.result is BASE64:
            return b"".join(self._items)
        try:
            return self._shape.decode(element, self._on_unknown)
        except BadValue as error:
            raise error.under(operation.result_name) from None
        except ValueError as error:
            raise BadValue(str(error), operation.result_name) from None

    def _finish_list(self, element: Iterable[etree._Element]) -> list[Any]:
        if (getattr(element, "text", None) or "").strip():
            raise UnexpectedResponse(f"{self._operation.response_name} holds text where items belong")
        for child in element:
            self._report_foreign(child)
        return self._items
