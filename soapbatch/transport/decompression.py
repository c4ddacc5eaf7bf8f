"""The body of a response, decompressed in bounded steps: compressed bytes may be a bomb, cut short, or broken."""

import re
import zlib
from collections.abc import Iterator
from typing import Final, NoReturn

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model import KIB, MIB, Limits

PIECE: Final = 64 * KIB
# The ratio is not looked at below this size: a long list of nil fields compresses a thousandfold.
_RATIO_FROM: Final = 1 * MIB
_NO_CODING: Final = frozenset({"", "identity"})
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_COMPRESSED: Final = _GZIP | {"deflate"}
_GZIP_BEGIN: Final = 0x1F  # the first byte of each member
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
# An empty member has 20 bytes and costs as much work as a long one: so many are read, and one more for each 256 bytes.
_MEMBERS: Final = 1000
_SMALL_MEMBER: Final = 256
# What XML begins with, without the zeros of UTF-16; and what may go on as such a beginning.
_XML: Final = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*<[?!_A-Za-z]")
_MAY_BE_XML: Final = re.compile(rb"(?:\xef\xbb?|\xff|\xfe|(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*<?)")
_SEARCHED: Final = 256  # bytes within which XML begins


class Decompressor:
    """Decodes a body as its `Content-Encoding` says, in pieces of at most 64 KiB.

    Nothing larger is ever held decoded, so that a compressed bomb ends at `Limits.expansion` and not in memory.

    A body of gzip may have several members, and zeros behind the last one (RFC 1952, section 2.2). A coding that is
    repeated counts once: a proxy may repeat the header. A body that begins as XML does is read as it is, whatever the
    header says: a server or a proxy has replaced or decompressed the body, and left the header.
    """

    def __init__(self, encoding: str, limits: Limits, *, streamed: bool = False) -> None:
        """Decode `encoding`, the value of a Content-Encoding header; "" where there is none.

        `streamed` says which of the two byte limits applies to the body as it is received: compressed blocks that hold
        nothing can come without end.
        """
        codings = {coding.strip().lower() for coding in encoding.split(",")} - _NO_CODING
        self._coding = ", ".join(sorted(codings))
        self._is_begun = not codings
        self._expansion = limits.expansion
        self._limit = "streamed_bytes" if streamed else "bytes"
        self._longest: int = getattr(limits, self._limit)
        self._inflater: zlib._Decompress | None = None
        self._head: bytes = b""
        self._members = self._received = self._inflated = self._produced = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Return an iterator of what `chunk` decodes to.

        Raises:
            UnreadableResponse: compressed data that is broken, or followed by something else; or an encoding other than
                gzip and deflate.
            LimitExceeded: more than 1 MiB, and more than `Limits.expansion` times the compressed size; or more than
                `Limits.bytes` (of a stream: `streamed_bytes`) as received.
        """
        self._received += len(chunk)
        if self._received > self._longest:
            raise LimitExceeded(
                f"the response exceeds Limits.{self._limit} before it is decompressed; "
                f"pass limits=Limits({self._limit}=...) if it should be read",
                limit=self._limit,
            )
        if not self._is_begun:
            chunk = self._head + chunk
            self._is_begun = self._begin(chunk)
            self._head = b"" if self._is_begun else chunk
            if self._head:
                return iter(())
        if self._inflater is None:
            return (chunk[start : start + PIECE] for start in range(0, len(chunk), PIECE))
        return self._inflate(chunk, self._inflater)

    def _begin(self, data: bytes) -> bool:
        """Choose how to decode a body that begins with `data`; return whether that shows it already."""
        coding, is_deflate = self._coding, self._coding == "deflate"
        begin = data[:_SEARCHED].replace(b"\0", b"")
        if not is_deflate and _XML.match(begin):
            return True
        # Two bytes tell whether "deflate" has the zlib header that it should have, or is raw as IIS sends it.
        if len(data) < 2 if is_deflate else len(data) < _SEARCHED and _MAY_BE_XML.fullmatch(begin):  # noqa: PLR2004 - the size of that header
            return False
        if coding not in _COMPRESSED:
            self._refuse("not an encoding that is read (gzip and deflate are)")
        self._inflater = zlib.decompressobj(_window_bits(coding, data))
        return True

    def _inflate(self, chunk: bytes, inflater: "zlib._Decompress") -> Iterator[bytes]:
        for start in range(0, len(chunk), PIECE):  # zlib copies what is behind a member
            data = chunk[start : start + PIECE]
            more = True
            while more:
                if inflater.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    inflater = self._inflater = self._next_member(data)
                before = len(data)
                try:
                    piece = inflater.decompress(data, PIECE)
                except zlib.error as error:
                    self._refuse("broken", error)
                data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                self._inflated += before - len(data)
                self._produced += len(piece)
                if self._produced > _RATIO_FROM and self._produced > self._expansion * self._inflated:
                    del piece
                    raise LimitExceeded(
                        f"the answer grows to more than {self._expansion} times its compressed size; "
                        "if that is expected, raise Limits(expansion=...)",
                        limit="expansion",
                    )
                more = bool(data) or (len(piece) == PIECE and not inflater.eof)
                if piece:
                    yield piece
                del piece  # an error that is raised later shows no part of the answer in its frames

    def _next_member(self, data: bytes) -> "zlib._Decompress":
        """Return what inflates the next member of a gzip file, which `data` begins."""
        self._members += 1
        if self._coding not in _GZIP or data[0] != _GZIP_BEGIN:
            self._refuse("followed by something else")
        if self._members > _MEMBERS + self._inflated // _SMALL_MEMBER:
            self._refuse("made of too many small members")
        return zlib.decompressobj(_GZIP_BITS)

    def finish(self) -> None:
        """Take the end of the body.

        Raises:
            UnreadableResponse: compressed data that was cut short.
        """
        if self._head or (self._inflater is not None and not self._inflater.eof):
            self._refuse("cut short")

    def _refuse(self, what: str, cause: Exception | None = None) -> NoReturn:
        raise UnreadableResponse(
            f"the answer cannot be decompressed: its Content-Encoding says {self._coding[:40]!r}, and it is {what}; "
            "if it happens again, look at what stands between here and the service"
        ) from cause and cause.with_traceback(None)


def _window_bits(coding: str, data: bytes) -> int:
    """Return what zlib needs to know about the format of `data`."""
    if coding in _GZIP:
        return _GZIP_BITS
    has_header = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
