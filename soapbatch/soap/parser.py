"""Response bytes, fed in chunks, -> header blocks, fault, and the operation's result.

One path for every response: the header and the shape of the envelope are known first, then each item of a list as
its element closes (and is freed), or each piece of a base64 result as it arrives. What went wrong is kept, not
raised: `judgement` decides what the whole answer means.

    <s:Envelope><s:Header><Succeeded>true</Succeeded></s:Header>      -> reply.header
      <s:Body><GetBatchTaskInfosByStateResponse><Response>
        <BatchTaskInfo>...</BatchTaskInfo>                            -> one item, from feed()
        <BatchTaskInfo>...</BatchTaskInfo>                            -> one item, from feed()
    </Response></GetBatchTaskInfosByStateResponse></s:Body></s:Envelope>  -> the Reply, from close()
"""

from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any, Final

import attrs
from lxml import etree

from soapbatch.errors import ProtocolError, UnexpectedResponse, UnreadableResponse
from soapbatch.model import BASE64, Array, Limits, Record, ReplyHeader, ServiceVersion, redact_envelope
from soapbatch.operations import Operation
from soapbatch.soap.decoders import (
    BODY,
    ENVELOPE,
    FAULT,
    HEADER,
    BadValue,
    Decoder,
    FaultBlock,
    UnknownCallback,
    UnknownItem,
    decoder_for,
    ignore_unknown,
    is_nil,
    local_name,
    read_fault,
    read_header,
)
from soapbatch.soap.fast.item_pattern import ItemPattern
from soapbatch.soap.xml_input import NOT_BASE64, Base64, SafeXmlParser, Utf8Transcoder, limit_exceeded

CHUNK: Final = 64 * 1024
"""Bytes that are parsed in one go: about a millisecond's work, so that an event loop can breathe between."""

_SHORT: Final = 32 * 1024
"""Bytes of an answer that is read once it is there as a whole: up to thirty tasks, in about a millisecond."""

_PARTS: Final = frozenset({*HEADER, *BODY, *FAULT})  # of an envelope
_SILENCE: Final = ReplyHeader()
_EXCERPT: Final = 800  # bytes of an unreadable body that are kept for an error


@attrs.frozen
class ResponseShape:
    """The tags that matter.

    Attributes:
        namespace: of the service version.
        response: the element in the Body.
        result: the element in that.
        item: the elements in that, if the result is a list.
        event_tags: those that lxml is to tell of: in any namespace, which takes it less time.
        decode: reads an item, or a result that is no list.
    """

    namespace: str
    response: str
    result: str
    item: str
    event_tags: tuple[str, ...]
    decode: Decoder


@cache
def response_shape(operation: Operation[Any], version: ServiceVersion) -> ResponseShape:
    """Return what to expect of a response of `operation`."""
    namespace, result = f"{{{version.namespace}}}", operation.result
    item, decoded_type = "", result or BASE64
    event_tags = ["Envelope", "Header", "Fault", operation.response_name]
    if isinstance(result, Array):
        item, decoded_type = f"{namespace}{result.item_name}", result.item
        event_tags.append(result.item_name)
    elif result is BASE64:
        event_tags.append(operation.result_name)
    return ResponseShape(
        namespace=version.namespace,
        response=f"{namespace}{operation.response_name}",
        result=f"{namespace}{operation.result_name}",
        item=item,
        event_tags=tuple(f"{{*}}{name}" for name in event_tags),
        decode=decoder_for(decoded_type, version.namespace),
    )


@attrs.define
class ParsedResponse:
    """Everything that a response said.

    Attributes:
        header: its header blocks; all None where there were none.
        fault: the fault, or None.
        result: the operation's result, if nothing is wrong. Without `collect`, what `feed` returns is not in it.
        problem: what is wrong with the body, or None. Its excerpt is masked by shape only, and longer than shown.
        answers: whether the operation's response element was reached.
    """

    header: ReplyHeader = _SILENCE
    fault: FaultBlock | None = None
    result: Any = None
    problem: ProtocolError | None = None
    answers: bool = False


class ResponseParser:
    """Reads one response. Feed it chunks of any size, then close it.

    `problem` is set as soon as the response is known to be unreadable: nothing more need be fed then. Of one that is
    collected and short, only a DOCTYPE is known before its end.
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
    ) -> None:
        """Read the response of `operation`; unless `collect`, `feed` returns what it finds."""
        self._operation = operation
        self._shape = response_shape(operation, version)
        self._limits = limits
        self._on_unknown = on_unknown
        self._collect = collect
        # What may turn out to be a short answer.
        self._pending = bytearray() if collect and operation.result is not BASE64 else None
        self._transcoder = Utf8Transcoder(limits, streamed=not collect, content_type=content_type)
        self._excerpt = b""
        self._parsed = ParsedResponse()
        self._items: list[Any] = []
        self._count = 0
        self._freed = 0
        self._is_closed = False
        self._list: etree._Element | None = None
        self._base64: Base64 | None = None
        self._is_behind_item = False
        self._closed: list[tuple[etree._Element, object]] = []  # the item that has just ended
        self._rest: bytes = b""
        self._xml = SafeXmlParser(limits, self._shape.event_tags)

    @cached_property
    def _item_pattern(self) -> ItemPattern | None:
        result = self._operation.result
        if not isinstance(result, Array) or not isinstance(result.item, Record):
            return None
        return ItemPattern(result.item_name, result.item, self._shape.namespace, self._limits)

    @property
    def problem(self) -> ProtocolError | None:
        """What makes the response unreadable, or None so far."""
        return self._parsed.problem

    def feed(self, data: bytes) -> list[Any]:
        """Take the next bytes; return the items they complete, unless the parser collects them."""
        if len(data) <= CHUNK:
            return self._advance(data, final=False)
        found: list[Any] = []
        for start in range(0, len(data), CHUNK):
            found += self._advance(data[start : start + CHUNK], final=False)
        return found

    def close(self) -> ParsedResponse:
        """Take the end of the response and return all that it said. What lxml holds is freed."""
        parsed = self._parsed
        if self._is_closed:
            return parsed
        self._advance(b"", final=True)
        self._is_closed = True
        if parsed.problem is None:
            try:
                self._finish(self._xml.close())
            except ProtocolError as error:
                parsed.problem = error.with_traceback(None)
            except BadValue as error:
                parsed.problem = self._bad_value_error(error)
        if parsed.problem is not None:
            parsed.problem.excerpt = redact_envelope(self._excerpt.decode("utf-8", "replace"))
        self._list = None
        self._closed.clear()
        self._xml.release()
        return parsed

    def _advance(self, data: bytes, *, final: bool) -> list[Any]:
        if self._parsed.problem is not None or self._is_closed:
            return []
        found: list[Any] = []
        try:
            data = self._transcoder.feed(data, final=final)
            if len(self._excerpt) < _EXCERPT:
                self._excerpt += data[: _EXCERPT - len(self._excerpt)]
            self._feed_body(data, found, final=final)
            if final:
                self._feed_events(self._xml.flush(), found)
        except ProtocolError as error:
            self._parsed.problem = error.with_traceback(None)  # its frames would keep the tree alive
        except BadValue as error:
            self._parsed.problem = self._bad_value_error(error)
        except ValueError as error:
            self._parsed.problem = self._bad_value_error(BadValue(str(error), self._operation.result_name))
        if self._parsed.header.succeeded is False:
            found.clear()  # whatever stands beside a failure is no result
        self._count += len(found)
        if not self._collect:
            return found
        self._items += found
        if self._freed >= self._limits.items and self._parsed.problem is None:
            self._parsed.problem = limit_exceeded(limit="items")
        return []

    def _bad_value_error(self, error: BadValue) -> UnexpectedResponse:
        return UnexpectedResponse(f"{self._operation.response_name}.{error.path}: {error.reason}")

    def _feed_body(self, data: bytes, found: list[Any], *, final: bool) -> None:
        if self._pending is not None:
            self._pending += data
            if final:
                self._feed_events(self._xml.parse_whole(bytes(self._pending)), found)
                return
            if len(self._pending) <= _SHORT:
                if b"<!D" in self._pending:
                    self._xml.refuse_doctype(bytes(self._pending))
                return
            data, self._pending = bytes(self._pending), None
        if self._operation.result is BASE64:
            self._feed_around_base64(data, found)
        elif self._item_pattern is not None:
            self._feed_list(self._item_pattern, data, found, final=final)
        else:
            self._feed_xml(data, found)

    def _feed_xml(self, data: bytes, found: list[Any]) -> None:
        self._feed_events(self._xml.feed(data), found)

    def _feed_events(self, events: list[tuple[str, etree._Element]], found: list[Any]) -> None:
        for event, element in events:
            self._handle(event, element, found)
        self._xml.check()

    def _feed_list(self, pattern: ItemPattern, data: bytes, found: list[Any], *, final: bool) -> None:
        """Feed lxml whatever does not look like an item that it has read."""
        start = max(self._rest.rfind(b"<"), 0)  # a tag that ends in `data` begins there, or later
        data, self._rest = self._rest + data, b""
        while data:
            is_behind, before = self._is_behind_item, len(found)
            end = pattern.first_end(data, start) if is_behind else pattern.last_end(data) if pattern.should_try else 0
            start = 0
            if is_behind and end:
                data = pattern.match_prefix(data, found)
                if len(found) > before:
                    self._freed += len(found) - before
                    continue
            elif is_behind and not final and len(data) <= pattern.max_pending_bytes:
                self._rest = data  # no item ends here yet
                return
            self._is_behind_item = False
            if not end:
                self._feed_xml(data, found)
                return
            # Whether a tag closes an item is known once its last byte, fed alone, makes lxml say so.
            self._feed_xml(data[: end - 1], found)
            self._closed.clear()
            self._feed_xml(data[end - 1 : end], found)
            if self._closed and pattern.should_try:
                self._is_behind_item = True
                if is_behind:
                    pattern.learn_from(data[:end], *self._closed[-1])
            data = data[end:]

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
                self._parsed.fault = read_fault(element, self._shape.namespace)
        elif tag == self._shape.result:
            self._handle_base64(event, element, found)

    def _handle_blocks(self, blocks: etree._Element | list[etree._Element]) -> None:
        header = read_header(blocks, self._shape.namespace, self._on_unknown)
        if self._parsed.header is _SILENCE:
            self._parsed.header = header
            return
        told = {name: value for name, value in attrs.asdict(header, recurse=False).items() if value is not None}
        if self._parsed.header.succeeded is False:
            told.pop("succeeded", None)  # a failure once told is not untold
        self._parsed.header = attrs.evolve(self._parsed.header, **told)

    def _handle_base64(self, event: str, element: etree._Element, found: list[Any]) -> None:
        if event == "start" and self._list is None and self._is_result(element):
            self._list = element
            self._base64 = Base64()
        elif event == "end" and self._list is element and self._base64 is not None:
            # What stood in CDATA or behind a comment went to lxml.
            if len(element) or self._base64.feed((element.text or "").encode(), found):
                raise ValueError(NOT_BASE64)
            self._base64.close()
            if not self._count and not found and not is_nil(element):
                found.append(b"")  # an empty output is one empty piece, no output is none

    def _handle_item(self, element: etree._Element, found: list[Any]) -> None:
        parent = element.getparent()
        if parent is None:
            return
        if parent is not self._list:
            if self._list is not None or not self._is_result(parent):
                return
            self._list = parent
        # What stands before this item is freed, not the item: libxml2 may still be adding white space behind it.
        while (first := parent[0]) is not element:
            self._report_foreign(first)
            first.clear()  # removing it with its children takes lxml time that is quadratic in their number
            parent.remove(first)
            self._freed += 1
        self._xml.reset_tag_count()
        if is_nil(element):
            self._on_unknown(UnknownItem("nil item", local_name(element), local_name(parent)))
            return
        try:
            item = self._shape.decode(element, self._on_unknown)
            found.append(item)
            self._closed = [(element, item)]
        except BadValue as error:
            raise error.at(self._count + len(found)).under(local_name(parent)) from None

    def _report_foreign(self, element: etree._Element) -> None:
        """Tell of an element in a list that is no item of it."""
        if element.tag != self._shape.item:
            self._on_unknown(UnknownItem("element", local_name(element), self._operation.result_name))

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

    def _feed_around_base64(self, data: bytes, found: list[Any]) -> None:
        """Feed lxml tag by tag until the result begins; then keep its text, of any length, away from lxml."""
        while data and self._base64 is None:
            head, end, data = data.partition(b">")
            self._feed_xml(head + end, found)
        if self._base64 is not None and self._base64.is_open:
            data = self._base64.feed(data, found)
        self._feed_xml(data, found)

    def _finish(self, envelope: etree._Element) -> None:
        """Read what is left in the tree once it is complete."""
        if envelope.tag not in ENVELOPE:
            raise UnreadableResponse(f"the response is not a SOAP envelope but <{local_name(envelope)[:40]}>")
        if blocks := [child for child in envelope if child.tag not in _PARTS]:
            self._handle_blocks(blocks)  # beside the Body, where the documented requests have theirs
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
                f"got <{local_name(answer)[:80]}>: is this the endpoint of that version?"
            )
        self._parsed.result = self._read_result(answer)

    def _read_list(self, element: Iterable[etree._Element]) -> list[Any]:
        if (getattr(element, "text", None) or "").strip():
            raise UnexpectedResponse(f"{self._operation.response_name} holds text where items belong")
        for child in element:
            self._report_foreign(child)
        return self._items

    def _read_result(self, answer: etree._Element) -> Any:
        operation = self._operation
        if operation.result is None:
            return None
        if not operation.result_name:
            return self._shape.decode(answer, self._on_unknown)
        element = next(answer.iterchildren(self._shape.result), None)
        if isinstance(operation.result, Array):
            return self._read_list(() if element is None else element)
        if element is None or is_nil(element):
            if operation.nullable:
                return None
            raise UnexpectedResponse(f"{self._operation.response_name} holds no {operation.result_name}, which it must")
        if operation.result is BASE64:
            return b"".join(self._items)
        try:
            return self._shape.decode(element, self._on_unknown)
        except BadValue as error:
            raise error.under(operation.result_name) from None
        except ValueError as error:
            raise BadValue(str(error), operation.result_name) from None
