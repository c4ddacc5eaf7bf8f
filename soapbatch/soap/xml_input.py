"""Response bytes -> lxml events, safely: the encoding is known, limits hold, nothing is fetched or expanded.

Each stage is fed piece by piece. `Utf8Transcoder` finds out the encoding (from the byte order mark, then the charset of
the Content-Type, then the XML declaration; RFC 7303) and returns UTF-8. A Content-Type that names a one-byte encoding
does not win over a body that is UTF-8 and does not deny that: such a charset is the default of a server or proxy.
`SafeXmlParser` refuses a DOCTYPE before libxml2 sees it, and turns every lxml error into an error of ours.

Supported: UTF-8, UTF-16, US-ASCII, ISO-8859-1, Windows-1252. Refused: every other encoding, such as UTF-7 and UTF-32.
"""

import codecs
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache, cached_property, lru_cache
from typing import Any, Final, TypeAlias

from lxml import etree

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model import Limits, redact
from soapbatch.soap.names import Names

Events: TypeAlias = list[tuple[str, etree._Element]]  # noqa: SLF001 - it has no public name

_KNOWN_ENCODINGS: Final = {
    "utf-8": "utf-8",
    "ascii": "ascii",
    "iso8859-1": "iso8859-1",
    "cp1252": "cp1252",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
}
# The longest first: the mark of UTF-32 begins with the mark of UTF-16.
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
_ONE_BYTE: Final = frozenset({"ascii", "iso8859-1", "cp1252"})
_ASCII = re.compile(rb"[\0-\x7f]*+")
_LONGEST_CHARACTER: Final = 4  # bytes of a character in UTF-8
_UTF8_LENGTHS: Final = ((0xF0, 4), (0xE0, 3), (0xC0, 2))  # of a character, by its lead byte from here on
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
NO_BODY: Final = "the response has no body"
_SMALL: Final = 1000  # tags of a document that the garbage collector may free later
_UNDECLARED = re.compile(rb".{0,8}\Z|(?:\xef\xbb\xbf)?<\?xml[^>]*\Z", re.DOTALL)  # the encoding may still follow
_PROLOG = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_UNDECIDED = re.compile(rb"<?|<!-?|<\?.*|<!--.*", re.DOTALL)  # an unfinished token of the prolog
_TEXTS: Final = 16  # of the longest length, which a document may hold at once; and tags with the most attributes
_NO_TAG: Final = (b"!", b"?")  # what follows the `<` of a comment, a CDATA section or a processing instruction
_QUOTES: Final = b"\"'"
_START_TAG = re.compile(rb"""<[^/<>!?"'][^<>"']*(?:"[^"<]*+"[^<>"']*+|'[^'<]*+'[^<>"']*+)*""")
_CUT_TAG = re.compile(rb"""<(?![!?])[^<>"']*(?:"[^"<]*+"[^<>"']*+|'[^'<]*+'[^<>"']*+)*""")
_INSIDE: Final = {b"": re.compile(rb"[<>\"']"), b'"': re.compile(rb'[<"]'), b"'": re.compile(rb"[<']")}
_LIBXML2_TEXT: Final = 10_000_000  # bytes of a text that libxml2 reads, unless it is to read huge documents
# No network, no entities, no DTD, no recovery. lxml drops comments and processing instructions, so that the text of an
# element is one piece.
SAFE_OPTIONS: Final[Mapping[str, Any]] = {
    "encoding": "utf-8",
    "no_network": True,
    "resolve_entities": False,
    "load_dtd": False,
    "recover": False,
    "remove_comments": True,
    "remove_pis": True,
    "collect_ids": False,
}
_DECLARATION_ROOM: Final = 256  # bytes within which an XML declaration names its encoding
_REASON: Final = 2000  # characters of lxml's message that are kept; they are cut once they are masked
_NAME_REQUIRED: Final = 68
# libxml2 reports these codes at the end of complete documents, too: no element at all, and namespace errors.
_NOT_TRUNCATED: Final = frozenset({4, 200, 201, 202, 203, 204, 205})


_LONGEST_CONTENT_TYPE: Final = 1024  # characters of the header that are looked at
# A parameter, or a quoted string of another kind, in which no parameter begins. Each run of characters is tried once.
_PARAMETER = re.compile(
    r"""(?<![^\s;,="])([^\s;,="]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*)"?|([^\s;,"]*+))|"(?:[^"\\]|\\.)*"?""", re.DOTALL
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


def charset_of(content_type: str | None) -> str | None:
    """Return the charset parameter of a Content-Type header, or None.

    A proxy may repeat the header or the parameter. Then the last charset that is supported counts, as in browsers.
    """
    return _charset_in(content_type[:_LONGEST_CONTENT_TYPE]) if content_type else None


@lru_cache(maxsize=64)
def _charset_in(content_type: str) -> str | None:
    charset = None
    for name, quoted, plain in _PARAMETER.findall(content_type):
        value = _QUOTED_PAIR.sub(r"\1", quoted or plain).strip(" '")
        if name.lower() == "charset" and value and (charset is None or _known_encoding(value)):
            charset = value
    return charset


@lru_cache(maxsize=64)
def _known_encoding(name: str) -> str | None:
    """Return Python's name of a supported encoding, or None."""
    try:
        return _KNOWN_ENCODINGS.get(codecs.lookup(name).name)
    except (LookupError, ValueError):
        return None


def _means_utf8(declared: re.Match[bytes] | None) -> bool:
    """Return whether an XML declaration names UTF-8, or names nothing, which means UTF-8 in XML."""
    return declared is None or _known_encoding(declared[1].decode("ascii")) == "utf-8"


class _Utf8Or:
    """Decodes UTF-8 or a one-byte encoding: the first character that is not ASCII shows which of the two it is.

    A server or proxy adds its default charset to a body that is UTF-8. Text in ISO-8859-1 that begins with a character
    of UTF-8 is as good as impossible, so this is no guess. Once one of the two is known, it is the encoding of all.
    """

    def __init__(self, other: str) -> None:
        """Decode UTF-8 or the `other` encoding."""
        self._other = other
        self._decoder: codecs.IncrementalDecoder | None = None
        self._held = b""

    def decode(self, data: bytes, final: bool = False) -> str:  # noqa: FBT001, FBT002 - as codecs.IncrementalDecoder has it
        """Return the text that `data` completes. UnicodeDecodeError: bytes that are not of the encoding."""
        if self._decoder is None:
            data, self._held = self._held + data, b""
            start = _ASCII.match(data).end()  # type: ignore[union-attr]  # it matches anything
            first = data[start : start + _LONGEST_CHARACTER]
            if not first:
                return data.decode("ascii")
            length = next((length for lead, length in _UTF8_LENGTHS if first[0] >= lead), 1)
            if len(first) < length and not final:
                self._held = data[start:]
                return data[:start].decode("ascii")
            self._decoder = codecs.getincrementaldecoder("utf-8" if _is_utf8(first[:length]) else self._other)()
        return self._decoder.decode(data, final)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Utf8Transcoder:
    """Turns the bytes of a response from any supported encoding into UTF-8."""

    def __init__(self, limits: Limits, *, streamed: bool, content_type: str | None) -> None:
        """Prepare to transcode a body; `streamed` says which of the two byte limits in `limits` applies."""
        self._limit = "streamed_bytes" if streamed else "bytes"
        self._left: int = getattr(limits, self._limit)
        self._charset = charset_of(content_type)
        self._head: bytes | None = b""
        self._decoder: codecs.IncrementalDecoder | _Utf8Or | None = None

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return the UTF-8 that `data` completes; `final`: these are the last bytes."""
        self._left -= len(data)
        if self._left < 0:
            raise limit_exceeded(self._limit)
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
        """Find out the encoding from the first bytes, and return them without a UTF-8 byte order mark."""
        marked = None
        if head.startswith(_ANY_MARK):
            marked = next(name for mark, name in _MARKS if head.startswith(mark))
        declared = _DECLARED.match(head)
        name = marked or self._charset or (declared[1].decode("ascii") if declared else "utf-8")
        encoding = _known_encoding(name)
        if encoding is None or (encoding.startswith("utf-16") and not marked):
            raise UnreadableResponse(
                f"the response says that its encoding is {redact(name)[:40]!r}, which is wrong or not supported"
            )
        if encoding in _ONE_BYTE and not marked and self._charset and _means_utf8(declared):
            self._decoder = _Utf8Or(encoding)
        elif encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)()
        return head.removeprefix(codecs.BOM_UTF8)


class SafeXmlParser:
    """An incremental lxml parser for documents that nobody trusts."""

    def __init__(self, limits: Limits, tags: Iterable[str], names: Names) -> None:
        """Prepare to parse a document.

        Args:
            limits: how large it may be.
            tags: of the elements whose start and end events are reported.
            names: that its sender has brought into this process.
        """
        self._limits = limits
        self._event_tags = tuple(tags)
        self._names = names
        self._prolog: bytearray | None = bytearray()
        self._look_at = 1
        self._names_cost = 0
        self._in_tag = 0  # attributes of a tag that comes in pieces
        self._text_run = 0
        self._tags = self._bytes = 0
        self._all_tags = 0
        self._is_ended = False
        self._is_cut = False
        self._problem: UnreadableResponse | LimitExceeded | None = None
        self._whole: etree._Element | None = None
        self.root: etree._Element | None = None

    @cached_property
    def _parser(self) -> etree.XMLPullParser:
        # Beyond libxml2's own limits, those of `Limits` hold: they are checked before libxml2 gets the bytes.
        huge = self._limits.text_length > _LIBXML2_TEXT
        return etree.XMLPullParser(events=("start", "end"), tag=self._event_tags, huge_tree=huge, **SAFE_OPTIONS)

    @cached_property
    def _tag(self) -> "UnfinishedTag":
        return UnfinishedTag()

    def feed(self, data: bytes) -> Events:
        """Return the events that `data`, UTF-8, completes: also those before an error, which `check` raises."""
        return self._take(data) if data else []

    def adopt(self, root: etree._Element) -> Events:
        """Take the root of a whole document that another parser has parsed; return its end events."""
        self.check_depth_of(root, 1)
        self._whole = self.root = root
        return [("end", element) for element in root.iter(*self._event_tags)]

    def refuse_doctype(self, data: bytes) -> None:
        """Raise if the prolog in `data` holds a DOCTYPE, so that an HTML page fails without waiting for its end."""
        self._is_in_prolog(data)

    def flush(self) -> Events:
        """Return the events of the bytes that were kept back until the prolog is complete."""
        if self._whole is not None:
            return []
        self._look_at = 0
        self._is_cut = self._is_cut or self._tag.is_open
        return self._take(b"", final=True)

    def _take(self, data: bytes, *, final: bool = False) -> Events:
        data = self._behind_prolog(data)
        if data:
            self._check_text_run(data)
        received = data
        data = self._tag.hold_back(data) if not final else self._tag.release() + data
        if not data:
            self._in_tag += received.count(b"=")
            if self._in_tag > self._limits.tags // _TEXTS:  # to parse so large a tag stops an event loop
                raise limit_exceeded("tags")
            return []
        self._in_tag = 0
        self._count_tags(data)
        return self.feed_lxml(data)

    def check_limits(self, data: bytes) -> bytes:
        """Return a whole short response, once it exceeds no limit; b"": it has no root element."""
        data = self._behind_prolog(data)
        if data:
            self._check_text_run(data)
            self._count_tags(data)
        return data

    def pending_end(self, data: bytes) -> int:
        """Return the position in `data` behind an unfinished tag; 0: there is none, or it goes on."""
        return self._tag.end_in(data)

    @property
    def is_in_tag(self) -> bool:
        """Whether the bytes so far end in an unfinished tag."""
        return self._tag.is_open

    def _behind_prolog(self, data: bytes) -> bytes:
        """Return the bytes from the root element on: none before it begins."""
        if self._prolog is None:
            return data
        self._prolog += data
        if len(self._prolog) < self._look_at:
            return b""
        data = bytes(self._prolog)
        if self._is_in_prolog(data):
            self._look_at = len(data) + len(data) // 8 + 1  # few searches in many small pieces
            return b""
        self._prolog = None
        return data

    def _count_tags(self, data: bytes) -> None:
        """Count the tags, the attributes and the new names in `data`, which ends with a whole tag."""
        tags = data.count(b"<")
        attributes = data.count(b"=")
        if attributes > tags:  # so many that it matters how many of them stand in texts
            attributes = b"".join(_START_TAG.findall(data)).count(b"=")
        self._all_tags += tags
        self._tags += tags + attributes
        self._bytes += len(data)
        if self._tags > self._limits.tags:
            raise limit_exceeded("tags")
        if self._bytes > _TEXTS * self._limits.text_length:
            raise limit_exceeded("text_length")
        self._names_cost += self._names.cost_of(data, self._limits.names)
        if self._names_cost > self._limits.names:
            raise limit_exceeded("names")

    def feed_lxml(self, data: bytes) -> Events:
        """Return the events of bytes that `check_limits` has let pass; an error is kept for `check`."""
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
        """Raise the error that `feed` found after the events that it returned."""
        if self._problem is not None:
            raise self._problem

    def reset_tag_count(self) -> None:
        """Count tags from zero again, because everything before has been decoded and freed."""
        self._tags = self._bytes = 0

    def check_depth_of(self, element: etree._Element, depth: int) -> None:
        """Raise if an element, itself at `depth`, nests deeper than the limit: decoding it recurses."""
        if self._all_tags <= 2 * self._limits.depth - 2:
            return  # each level but the first and the last has two tags
        if _reaches_below(self._limits.depth - depth + 1)(element):
            raise limit_exceeded("depth")

    def close(self) -> etree._Element:
        """Take the end of the document, and return its root element."""
        if self._whole is not None:
            return self._whole
        self.flush()
        self.check()
        if self._prolog is not None and not self._prolog.strip():
            raise UnreadableResponse(NO_BODY)
        try:
            self._parser.feed(bytes(self._prolog or b""))
            root = self._parser.close()
        except etree.XMLSyntaxError as error:
            raise self._unreadable(error, at_end=True) from None
        self.check_depth_of(root, 1)
        return root

    def release(self) -> None:
        """Free a large document now: lxml keeps it in a reference cycle, and the garbage collector knows no sizes."""
        is_small = self._whole is not None or self._tags <= _SMALL
        self._whole = self.root = None
        if is_small:
            return
        with suppress(etree.XMLSyntaxError):
            self._parser.close()
        self._parser.feed(b"<a/>")  # a small document takes the place of the large one
        self._parser.close()

    def _is_in_prolog(self, data: bytes) -> bool:
        """Return whether the root element is still to come. Raises for a DOCTYPE, before libxml2 sees it."""
        end = _PROLOG.match(data).end()  # type: ignore[union-attr]  # it matches anything
        if data.startswith(b"<!D", end):
            raise UnreadableResponse("the response holds a DOCTYPE, which SOAP forbids; is this a web page?")
        if not _UNDECIDED.fullmatch(data, end):
            return False
        if len(data) > self._limits.text_length:
            raise limit_exceeded("text_length")
        return True

    def _unreadable(self, error: etree.XMLSyntaxError, *, at_end: bool = False) -> UnreadableResponse | LimitExceeded:
        reason = redact((error.msg or "no reason given")[:_REASON])
        if "Excessive depth" in reason:
            return limit_exceeded("depth")
        # libxml2 reports an undefined entity late, and as if it were a tag.
        is_entity = error.code == _NAME_REQUIRED and self.root is not None and not self._is_cut
        if at_end and not self._is_ended and error.code not in _NOT_TRUNCATED and not is_entity:
            return UnreadableResponse(f"the response ends before its envelope does: {reason}")
        return UnreadableResponse(f"the response is not well-formed XML: {reason}")

    def _check_text_run(self, data: bytes) -> None:
        """Bound what libxml2 must hold at once: the text, the name or the attributes between two `<`."""
        first, limit = data.find(b"<"), self._limits.text_length
        before = self._text_run + (len(data) if first < 0 else first)
        self._text_run = before if first < 0 else len(data) - data.rfind(b"<")
        if before > limit or self._text_run > limit or (len(data) > limit and max(map(len, data.split(b"<"))) > limit):
            raise limit_exceeded("text_length")

    def _check_depth(self) -> None:
        """Raise if the elements that are open nest deeper than the limit. The number of children does not matter."""
        element, depth = self.root, 0
        while element is not None:
            depth += 1
            if depth > self._limits.depth:
                raise limit_exceeded("depth")
            element = next(element.iterchildren(reversed=True), None)


class UnfinishedTag:
    """Holds back a tag that is cut, so that lxml gets whole tags: it searches tiny pieces of one again and again.

    A comment, a CDATA section and a processing instruction are not held back.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self._held = bytearray()
        self._quote = b""

    @property
    def is_open(self) -> bool:
        """Whether a tag is held back."""
        return bool(self._held)

    def hold_back(self, data: bytes) -> bytes:
        """Return what was held back and `data`, up to the last tag if that is cut."""
        if self._held:
            # Whether a lone `<` begins a tag shows only now.
            is_tag = len(self._held) > 1 or data[:1] not in _NO_TAG
            end, quote = self._search(data)
            if is_tag and not end:
                self._held += data
                self._quote = quote
                return b""
            data = self.release() + data
        start = data.rfind(b"<")
        if start < 0:
            return data
        cut = _CUT_TAG.match(data, start)
        if cut is None or (cut.end() < len(data) and data[cut.end()] not in _QUOTES):
            return data
        self._quote = data[cut.end() : cut.end() + 1]
        self._held += data[start:]
        return data[:start]

    def release(self) -> bytes:
        """Return what was held back."""
        data = bytes(self._held)
        self._held.clear()
        self._quote = b""
        return data

    def end_in(self, data: bytes) -> int:
        """Return the position in `data` behind the tag that is held back; 0: there is none, or it goes on."""
        return self._search(data)[0] if self._held else 0

    def _search(self, data: bytes) -> tuple[int, bytes]:
        """Return what `end_in` returns, and the quote that is open at the end of `data`, or b""."""
        position, quote = 0, self._quote
        while found := _INSIDE[quote].search(data, position):
            position = found.end()
            if found.group() in {b"<", b">"}:
                return position, b""  # a tag may not hold a `<`: what follows shows it to be broken
            quote = b"" if quote else found.group()
        return 0, quote


@cache
def _reaches_below(levels: int) -> etree.XPath:
    """Return an XPath that tests whether an element has descendants that many levels below it."""
    return etree.XPath(f"boolean({'/'.join('*' * max(levels, 1))})")


def limit_exceeded(limit: str) -> LimitExceeded:
    """Return the error about a response that exceeds an attribute of `Limits`."""
    return LimitExceeded(
        f"the response exceeds Limits.{limit}; pass limits=Limits({limit}=...) if it should be read", limit=limit
    )
