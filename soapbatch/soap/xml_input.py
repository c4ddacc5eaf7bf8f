"""Response bytes -> lxml events, safely: encodings sorted out, limits kept, nothing fetched, nothing expanded.

Stages that are fed chunk by chunk. `Utf8` decides on the encoding (byte order mark, then the charset of the
Content-Type, then the XML declaration; RFC 7303) and hands on UTF-8. `XmlFeed` refuses a DOCTYPE before libxml2
sees it, and turns everything that lxml raises into one of our errors. `Base64` decodes a text that is kept from lxml.

Read: UTF-8, UTF-16, US-ASCII, ISO-8859-1, Windows-1252. Refused: everything else, UTF-7 and UTF-32 among it.
"""

import binascii
import codecs
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from email.message import Message
from functools import cache, cached_property, lru_cache
from typing import Any, Final

from lxml import etree

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model import Limits, redact

_KNOWN_ENCODINGS: Final = {
    "utf-8": "utf-8",
    "ascii": "ascii",
    "iso8859-1": "iso8859-1",
    "cp1252": "cp1252",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
}
# The longest first: UTF-32's mark begins like UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (b"<\0\0\0", "utf-32"),
    (b"\0\0\0<", "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_ANY_MARK: Final = tuple(mark for mark, _ in _MARKS)
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
NOT_BASE64: Final = "not base64Binary"
_BASE64_GROUP: Final = 4
_LONGEST_REST: Final = 8  # bytes: an unfinished group, and an unfinished reference to the end of a line
_LINE_END_REFERENCES: Final = (b"&#xD;", b"&#13;", b"&#xA;", b"&#10;", b"&#xd;", b"&#xa;")
_SMALL: Final = 1000  # tags of a document that may wait for the garbage collector
_UNDECLARED = re.compile(rb".{0,8}\Z|(?:\xef\xbb\xbf)?<\?xml[^>]*\Z", re.DOTALL)  # may yet name an encoding
_PROLOG = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_UNDECIDED = re.compile(rb"<?|<!-?|<\?.*|<!--.*", re.DOTALL)  # begins what may yet turn out to belong to the prolog
# No network, no entities, no DTD, no recovery, no huge documents. Comments and processing instructions go, so that the
# text of an element is one piece.
_SAFE: Final[Mapping[str, Any]] = {
    "encoding": "utf-8",
    "no_network": True,
    "resolve_entities": False,
    "load_dtd": False,
    "recover": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
    "collect_ids": False,
}
_DECLARATION_ROOM: Final = 256  # bytes within which an XML declaration names its encoding
# libxml2 reports these at the end of a document that may well be complete: no element at all, and namespace errors.
_NOT_TRUNCATED: Final = frozenset({4, 200, 201, 202, 203, 204, 205})


@lru_cache(maxsize=64)
def charset_of(content_type: str | None) -> str | None:
    """Return the charset parameter of a Content-Type header, or None."""
    message = Message()
    message["Content-Type"] = content_type or ""
    charset = message.get_content_charset()
    return charset if isinstance(charset, str) else None


@lru_cache(maxsize=64)
def _known_encoding(name: str) -> str | None:
    """Return Python's name of an encoding that is read, or None."""
    try:
        return _KNOWN_ENCODINGS.get(codecs.lookup(name).name)
    except (LookupError, ValueError):
        return None


class Utf8Transcoder:
    """Turns the bytes of a response into UTF-8, whatever encoding they came in."""

    def __init__(self, limits: Limits, *, streamed: bool, content_type: str | None) -> None:
        """Count bytes against `limits`; `streamed` says which of its two byte limits holds."""
        self._limit = "streamed_bytes" if streamed else "bytes"
        self._left: int = getattr(limits, self._limit)
        self._charset = charset_of(content_type)
        self._head: bytes | None = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return as much UTF-8 as `data` completes; `final`: there is no more."""
        self._left -= len(data)
        if self._left < 0:
            raise limit_exceeded(limit=self._limit)
        if self._head is not None:
            data = self._head + data
            if _UNDECLARED.match(data) and len(data) < _DECLARATION_ROOM and not final:
                self._head = data
                return b""
            self._head = None
            data = self._begin(data)
        if self._decoder is None:
            return data
        try:
            return self._decoder.decode(data, final).encode()
        except UnicodeDecodeError as error:
            raise UnreadableResponse(f"the response is not in the encoding that it claims: {error.reason}") from None

    def _begin(self, head: bytes) -> bytes:
        """Decide on the encoding by the first bytes, and return them without a UTF-8 byte order mark."""
        marked = None
        if head.startswith(_ANY_MARK):
            marked = next(name for mark, name in _MARKS if head.startswith(mark))
        declared = _DECLARED.match(head)
        name = marked or self._charset or (declared[1].decode("ascii") if declared else "utf-8")
        encoding = _known_encoding(name)
        if encoding is None or (encoding.startswith("utf-16") and not marked):
            raise UnreadableResponse(
                f"the response says that its encoding is {name[:40]!r}, which it is not or which is not read"
            )
        if encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)()
        return head.removeprefix(codecs.BOM_UTF8)


class SafeXmlParser:
    """An incremental lxml parser that can do no harm."""

    def __init__(self, limits: Limits, tags: Iterable[str]) -> None:
        """Report start and end events of elements with these `tags`."""
        self._limits = limits
        self._names = tuple(tags)
        self._prolog: bytes | None = b""
        self._look_at = 1
        self._text_run = 0
        self._tags = 0
        self._all_tags = 0
        self._is_ended = False
        self._problem: UnreadableResponse | LimitExceeded | None = None
        self._whole: etree._Element | None = None
        self.root: etree._Element | None = None

    @cached_property
    def _parser(self) -> etree.XMLPullParser:
        return etree.XMLPullParser(events=("start", "end"), tag=self._names, **_SAFE)

    def feed(self, data: bytes) -> list[tuple[str, etree._Element]]:
        """Return the events that `data`, UTF-8, completes; those before an error too, which `check` raises then."""
        return self._take(data) if data else []

    def parse_whole(self, data: bytes) -> list[tuple[str, etree._Element]]:
        """Return the end events of a whole document, in the order of its start tags; what is no XML is fed.

        It takes a third of the time of `feed`: lxml calls nobody back, and leaves no reference cycle behind.
        """
        if not (data := self._check_limits(data)):
            return []
        parser = etree.XMLParser(**_SAFE)
        try:
            parser.feed(data)
            root = parser.close()
        except etree.XMLSyntaxError:
            return self._feed_lxml(data)  # which tells what is wrong, and what was there before it
        self.check_depth_of(root, 1)
        self._whole = self.root = root
        return [("end", element) for element in root.iter(*self._names)]

    def refuse_doctype(self, data: bytes) -> None:
        """Refuse a document that begins with `data` if that holds a DOCTYPE: a web page need not be waited for."""
        self._is_in_prolog(data)

    def flush(self) -> list[tuple[str, etree._Element]]:
        """Return the events of what was held back for a later look at the prolog."""
        self._look_at = 0
        return self._take(b"") if self._prolog else []

    def _take(self, data: bytes) -> list[tuple[str, etree._Element]]:
        data = self._check_limits(data)
        return self._feed_lxml(data) if data else []

    def _check_limits(self, data: bytes) -> bytes:
        """Return what lxml may have of `data`, once it exceeds no limit: nothing before the root element begins."""
        if self._prolog is not None:
            data = self._prolog = self._prolog + data
            if len(data) < self._look_at:
                return b""
            if self._is_in_prolog(data):
                self._look_at = len(data) + len(data) // 8 + 1  # few looks at what is dribbled
                return b""
            self._prolog = None
        self._check_text_run(data)
        tags = data.count(b"<")
        self._all_tags += tags
        self._tags += tags
        if self._tags > self._limits.tags:
            raise limit_exceeded(limit="tags")
        return data

    def _feed_lxml(self, data: bytes) -> list[tuple[str, etree._Element]]:
        try:
            self._parser.feed(data)
        except etree.XMLSyntaxError as error:
            self._problem = self._unreadable(error)
        events = list(self._parser.read_events())
        if events:
            if self.root is None:
                self.root = events[0][1].getroottree().getroot()
            self._is_ended = events[-1] == ("end", self.root)
        self._check_depth()
        return events

    def check(self) -> None:
        """Raise what `feed` found wrong behind the events that it returned."""
        if self._problem is not None:
            raise self._problem

    def reset_tag_count(self) -> None:
        """Count tags from here on: what came before has been read and freed."""
        self._tags = 0

    def check_depth_of(self, element: etree._Element, depth: int) -> None:
        """Refuse an element, itself at `depth`, that nests too deeply to be read by recursion."""
        if self._all_tags <= 2 * self._limits.depth - 2:
            return  # each level but the first and the last has two tags
        if _reaches_below(self._limits.depth - depth + 1)(element):
            raise limit_exceeded(limit="depth")

    def close(self) -> etree._Element:
        """Return the root element of the complete document."""
        if self._whole is not None:
            return self._whole
        self.flush()
        self.check()
        if self._prolog is not None and not self._prolog.strip():
            raise UnreadableResponse("the response has no body")
        try:
            self._parser.feed(self._prolog or b"")
            root = self._parser.close()
        except etree.XMLSyntaxError as error:
            raise self._unreadable(error, at_end=True) from None
        self.check_depth_of(root, 1)
        return root

    def release(self) -> None:
        """Free a large document now: lxml keeps it in a reference cycle, and no garbage collector knows its size."""
        is_small = self._whole is not None or self._tags <= _SMALL
        self._whole = self.root = None
        if is_small:
            return
        with suppress(etree.XMLSyntaxError):
            self._parser.close()
        self._parser.feed(b"<a/>")  # a small document takes the place of the large one
        self._parser.close()

    def _is_in_prolog(self, data: bytes) -> bool:
        """Return whether the root element has not begun; a DOCTYPE is refused before libxml2 sees it."""
        end = _PROLOG.match(data).end()  # type: ignore[union-attr]  # it matches anything
        if data.startswith(b"<!D", end):
            raise UnreadableResponse("the response holds a DOCTYPE, which SOAP forbids; is this a web page?")
        if not _UNDECIDED.fullmatch(data, end):
            return False
        if len(data) > self._limits.text_length:
            raise limit_exceeded(limit="text_length")
        return True

    def _unreadable(self, error: etree.XMLSyntaxError, *, at_end: bool = False) -> UnreadableResponse | LimitExceeded:
        reason = redact((error.msg or "no reason given")[:200])
        if "Excessive depth" in reason:
            return limit_exceeded(limit="depth")
        if at_end and not self._is_ended and error.code not in _NOT_TRUNCATED:
            return UnreadableResponse(f"the response ends before its envelope does: {reason}")
        return UnreadableResponse(f"the response is not well-formed XML: {reason}")

    def _check_text_run(self, data: bytes) -> None:
        """Bound what libxml2 would have to hold: a text, a name, an attribute, a million attributes."""
        first, limit = data.find(b"<"), self._limits.text_length
        before = self._text_run + (len(data) if first < 0 else first)
        self._text_run = before if first < 0 else len(data) - data.rfind(b"<")
        if before > limit or self._text_run > limit or (len(data) > limit and max(map(len, data.split(b"<"))) > limit):
            raise limit_exceeded(limit="text_length")

    def _check_depth(self) -> None:
        element, depth = self.root, 0
        while element is not None:
            depth += 1
            if depth > self._limits.depth:
                raise limit_exceeded(limit="depth")
            element = element[-1] if len(element) else None


class Base64:
    """Decodes base64 as it arrives, in constant memory."""

    def __init__(self) -> None:
        """Wait for the first piece."""
        self.is_open = True
        self._rest = b""
        self._is_padded = False

    def feed(self, data: bytes, found: list[bytes]) -> bytes:
        """Decode up to the next tag; return the rest, which begins with that tag. ValueError: not base64."""
        end = data.find(b"<")
        self.is_open = end < 0
        text = self._rest + (data if self.is_open else data[:end]).translate(None, b" \t\r\n")
        if b"&" in text:
            for reference in _LINE_END_REFERENCES:
                text = text.replace(reference, b"")
        held = text.find(b"&")  # a reference that ends in the next piece
        whole = len(text) if held < 0 else held
        whole -= whole % _BASE64_GROUP
        self._rest = text[whole:]
        if len(self._rest) > _LONGEST_REST or (whole and self._is_padded):
            raise ValueError(NOT_BASE64)
        if whole:
            try:
                found.append(binascii.a2b_base64(text[:whole], strict_mode=True))
            except binascii.Error:
                raise ValueError(NOT_BASE64) from None
            self._is_padded = text[whole - 1 : whole] == b"="
        return b"" if self.is_open else data[end:]

    def close(self) -> None:
        """Take the end; a group must not be left unfinished."""
        self.is_open = False
        if self._rest:
            raise ValueError(NOT_BASE64)


@cache
def _reaches_below(levels: int) -> etree.XPath:
    """Return a test whether an element has descendants that many levels below it."""
    return etree.XPath(f"boolean({'/'.join('*' * max(levels, 1))})")


def limit_exceeded(*, limit: str) -> LimitExceeded:
    """Return the error about a response that exceeds an attribute of `Limits`."""
    error = LimitExceeded(f"the response exceeds Limits.{limit}; pass limits=Limits({limit}=...) if it should be read")
    error.limit = limit
    return error
