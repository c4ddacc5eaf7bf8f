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
from functools import cached_property
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
    FaultBlock,
    Report,
    Unknown,
    ignore,
    is_nil,
    local_name,
    read_fault,
    read_header,
)
from soapbatch.soap.fast.item_pattern import Alike
from soapbatch.soap.response_shape import expected
from soapbatch.soap.xml_input import NOT_BASE64, Base64, Utf8, XmlFeed, limit_exceeded

CHUNK: Final = 64 * 1024
"""Bytes that are parsed in one go: about a millisecond's work, so that an event loop can breathe between."""

_SHORT: Final = 32 * 1024
"""Bytes of an answer that is read once it is there as a whole: up to thirty tasks, in about a millisecond."""

_PARTS: Final = frozenset({*HEADER, *BODY, *FAULT})  # of an envelope
_SILENCE: Final = ReplyHeader()
_EXCERPT: Final = 800  # bytes of an unreadable body that are kept for an error


@attrs.define
class Reply:
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
        report: Report = ignore,
        collect: bool = True,
    ) -> None:
        """Read the response of `operation`; unless `collect`, `feed` returns what it finds."""
        self._operation = operation
        self._expected = expected(operation, version)
        self._limits = limits
        self._report = report
        self._collect = collect
        # What may turn out to be a short answer.
        self._held = bytearray() if collect and operation.result is not BASE64 else None
        self._utf8 = Utf8(limits, streamed=not collect, content_type=content_type)
        self._excerpt = b""
        self._reply = Reply()
        self._items: list[Any] = []
        self._count = 0
        self._freed = 0
        self._is_closed = False
        self._list: etree._Element | None = None
        self._base64: Base64 | None = None
        self._is_behind_item = False
        self._closed: list[tuple[etree._Element, object]] = []  # the item that has just ended
        self._rest: bytes = b""
        self._xml = XmlFeed(limits, self._expected.wanted)

    @cached_property
    def _alike(self) -> Alike | None:
        result = self._operation.result
        if not isinstance(result, Array) or not isinstance(result.item, Record):
            return None
        return Alike(result.item_name, result.item, self._expected.namespace, self._limits)

    @property
    def problem(self) -> ProtocolError | None:
        """What makes the response unreadable, or None so far."""
        return self._reply.problem

    def feed(self, data: bytes) -> list[Any]:
        """Take the next bytes; return the items they complete, unless the parser collects them."""
        if len(data) <= CHUNK:
            return self._advance(data, final=False)
        found: list[Any] = []
        for start in range(0, len(data), CHUNK):
            found += self._advance(data[start : start + CHUNK], final=False)
        return found

    def close(self) -> Reply:
        """Take the end of the response and return all that it said. What lxml holds is freed."""
        reply = self._reply
        if self._is_closed:
            return reply
        self._advance(b"", final=True)
        self._is_closed = True
        if reply.problem is None:
            try:
                self._finish(self._xml.close())
            except ProtocolError as error:
                reply.problem = error.with_traceback(None)
            except BadValue as error:
                reply.problem = self._unexpected(error)
        if reply.problem is not None:
            reply.problem.excerpt = redact_envelope(self._excerpt.decode("utf-8", "replace"))
        self._list = None
        self._closed.clear()
        self._xml.release()
        return reply

    def _advance(self, data: bytes, *, final: bool) -> list[Any]:
        if self._reply.problem is not None or self._is_closed:
            return []
        found: list[Any] = []
        try:
            data = self._utf8.feed(data, final=final)
            if len(self._excerpt) < _EXCERPT:
                self._excerpt += data[: _EXCERPT - len(self._excerpt)]
            self._feed_body(data, found, final=final)
            if final:
                self._feed_events(self._xml.flush(), found)
        except ProtocolError as error:
            self._reply.problem = error.with_traceback(None)  # its frames would keep the tree alive
        except BadValue as error:
            self._reply.problem = self._unexpected(error)
        except ValueError as error:
            self._reply.problem = self._unexpected(BadValue(str(error), self._operation.result_name))
        if self._reply.header.succeeded is False:
            found.clear()  # whatever stands beside a failure is no result
        self._count += len(found)
        if not self._collect:
            return found
        self._items += found
        if self._freed >= self._limits.items and self._reply.problem is None:
            self._reply.problem = limit_exceeded(limit="items")
        return []

    def _unexpected(self, error: BadValue) -> UnexpectedResponse:
        return UnexpectedResponse(f"{self._operation.response_name}.{error.path}: {error.reason}")

    def _feed_body(self, data: bytes, found: list[Any], *, final: bool) -> None:
        if self._held is not None:
            self._held += data
            if final:
                self._feed_events(self._xml.whole(bytes(self._held)), found)
                return
            if len(self._held) <= _SHORT:
                if b"<!D" in self._held:
                    self._xml.refuse_doctype(bytes(self._held))
                return
            data, self._held = bytes(self._held), None
        if self._operation.result is BASE64:
            self._feed_around_base64(data, found)
        elif self._alike is not None:
            self._feed_list(self._alike, data, found, final=final)
        else:
            self._feed_xml(data, found)

    def _feed_xml(self, data: bytes, found: list[Any]) -> None:
        self._feed_events(self._xml.feed(data), found)

    def _feed_events(self, events: list[tuple[str, etree._Element]], found: list[Any]) -> None:
        for event, element in events:
            self._handle(event, element, found)
        self._xml.check()

    def _feed_list(self, alike: Alike, data: bytes, found: list[Any], *, final: bool) -> None:
        """Feed lxml whatever does not look like an item that it has read."""
        start = max(self._rest.rfind(b"<"), 0)  # a tag that ends in `data` begins there, or later
        data, self._rest = self._rest + data, b""
        while data:
            is_behind, before = self._is_behind_item, len(found)
            end = alike.first_end(data, start) if is_behind else alike.last_end(data) if alike.is_worth_it else 0
            start = 0
            if is_behind and end:
                data = alike.take(data, found)
                if len(found) > before:
                    self._freed += len(found) - before
                    continue
            elif is_behind and not final and len(data) <= alike.patience:
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
            if self._closed and alike.is_worth_it:
                self._is_behind_item = True
                if is_behind:
                    alike.learn(data[:end], *self._closed[-1])
            data = data[end:]

    def _handle(self, event: str, element: etree._Element, found: list[Any]) -> None:
        tag = element.tag
        if tag == self._expected.item:
            if event == "end":
                self._handle_item(element, found)
        elif tag == self._expected.response:
            self._reply.answers = self._reply.answers or self._is_response(element)
        elif tag in HEADER:
            if event == "end" and element.getparent() is self._xml.root:
                self._xml.check_depth_of(element, 2)
                self._handle_blocks(element)
        elif tag in FAULT:
            if event == "end" and self._reply.fault is None:
                self._reply.fault = read_fault(element, self._expected.namespace)
        elif tag == self._expected.result:
            self._handle_base64(event, element, found)

    def _handle_blocks(self, blocks: etree._Element | list[etree._Element]) -> None:
        header = read_header(blocks, self._expected.namespace, self._report)
        if self._reply.header is _SILENCE:
            self._reply.header = header
            return
        told = {name: value for name, value in attrs.asdict(header, recurse=False).items() if value is not None}
        if self._reply.header.succeeded is False:
            told.pop("succeeded", None)  # a failure once told is not untold
        self._reply.header = attrs.evolve(self._reply.header, **told)

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
        self._xml.let_go()
        if is_nil(element):
            self._report(Unknown("nil item", local_name(element), local_name(parent)))
            return
        try:
            item = self._expected.read(element, self._report)
            found.append(item)
            self._closed = [(element, item)]
        except BadValue as error:
            raise error.at(self._count + len(found)).under(local_name(parent)) from None

    def _report_foreign(self, element: etree._Element) -> None:
        """Tell of an element in a list that is no item of it."""
        if element.tag != self._expected.item:
            self._report(Unknown("element", local_name(element), self._operation.result_name))

    def _is_response(self, element: etree._Element) -> bool:
        body = element.getparent()
        return body is not None and body.tag in BODY and body.getparent() is self._xml.root

    def _is_result(self, element: etree._Element) -> bool:
        response = element.getparent()
        return (
            element.tag == self._expected.result
            and response is not None
            and response.tag == self._expected.response
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
        if self._reply.fault is not None:
            return
        answers = [answer for body in envelope if body.tag in BODY for answer in body]
        if len(answers) != 1:
            raise UnexpectedResponse(
                f"the Body of the response is empty or missing, or holds more than one answer: {len(answers)}"
            )
        answer = answers[0]
        if answer.tag != self._expected.response:
            raise UnexpectedResponse(
                f"expected <{self._operation.response_name}> of {self._expected.namespace}, "
                f"got <{local_name(answer)[:80]}>: is this the endpoint of that version?"
            )
        self._reply.result = self._read_result(answer)

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
            return self._expected.read(answer, self._report)
        element = next(answer.iterchildren(self._expected.result), None)
        if isinstance(operation.result, Array):
            return self._read_list(() if element is None else element)
        if element is None or is_nil(element):
            if operation.allow_nil:
                return None
            raise UnexpectedResponse(f"{self._operation.response_name} holds no {operation.result_name}, which it must")
        if operation.result is BASE64:
            return b"".join(self._items)
        try:
            return self._expected.read(element, self._report)
        except BadValue as error:
            raise error.under(operation.result_name) from None
        except ValueError as error:
            raise BadValue(str(error), operation.result_name) from None
