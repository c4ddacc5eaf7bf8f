"""The body of a response, decompressed in bounded steps: compressed bytes may be a bomb, cut short, or broken."""

import zlib
from collections.abc import Iterator
from typing import Final, NoReturn

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model import KIB, MIB, Limits

PIECE: Final = 64 * KIB
# The ratio is not looked at below this size: a long list of nil fields compresses a thousandfold.
_RATIO_FROM: Final = 1 * MIB
_NOT_COMPRESSED: Final = frozenset({"", "identity"})
_COMPRESSED: Final = frozenset({"gzip", "x-gzip", "deflate"})


class Decompressor:
    """Decodes a body as its `Content-Encoding` says, in pieces of at most 64 KiB.

    Nothing larger is ever held decoded, so that a compressed bomb ends at `Limits.expansion` and not in memory.
    """

    def __init__(self, encoding: str, limits: Limits, *, streamed: bool = False) -> None:
        """Decode `encoding`, the value of a Content-Encoding header; "" where there is none.

        `streamed` says which of the two byte limits applies to the body as it is received: compressed blocks that hold
        nothing can come without end.

        Raises:
            UnreadableResponse: an encoding other than gzip and deflate.
        """
        self._encoding = encoding.strip().lower()
        if self._encoding not in _NOT_COMPRESSED | _COMPRESSED:
            self._refuse("not an encoding that is read (gzip and deflate are)")
        self._expansion = limits.expansion
        self._limit = "streamed_bytes" if streamed else "bytes"
        self._longest: int = getattr(limits, self._limit)
        self._inflater: zlib._Decompress | None = None
        self._head = b""
        self._received = self._produced = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Return an iterator of what `chunk` decodes to.

        Raises:
            UnreadableResponse: compressed data that is broken, or followed by something else.
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
        if self._encoding in _COMPRESSED:
            return self._inflate(chunk)
        if len(chunk) <= PIECE:
            return iter((chunk,))
        return (chunk[start : start + PIECE] for start in range(0, len(chunk), PIECE))

    def _inflate(self, chunk: bytes) -> Iterator[bytes]:
        data = self._head + chunk
        if self._inflater is None:
            # Two bytes tell whether "deflate" has the zlib header that it should have, or is raw as IIS sends it.
            if len(data) < 2:  # noqa: PLR2004 - the size of that header
                self._head = data
                return
            self._inflater, self._head = zlib.decompressobj(_window_bits(self._encoding, data)), b""
        inflater = self._inflater
        more = bool(data)
        while more:
            try:
                piece = inflater.decompress(data, PIECE)
            except zlib.error as error:
                self._refuse("broken", error)
            data = inflater.unconsumed_tail
            self._produced += len(piece)
            if self._produced > _RATIO_FROM and self._produced > self._expansion * (self._received - len(data)):
                del piece
                raise LimitExceeded(
                    f"the answer grows to more than {self._expansion} times its compressed size; "
                    "if that is expected, raise Limits(expansion=...)",
                    limit="expansion",
                )
            more = not inflater.eof and (bool(data) or len(piece) == PIECE)
            if piece:
                yield piece
            del piece  # an error that is raised later shows no part of the answer in its frames
        if inflater.unused_data:
            self._refuse("followed by something else")

    def finish(self) -> None:
        """Take the end of the body.

        Raises:
            UnreadableResponse: compressed data that was cut short.
        """
        is_compressed = self._encoding in _COMPRESSED
        if is_compressed and self._received and not (self._inflater and self._inflater.eof):
            self._refuse("cut short")

    def _refuse(self, what: str, cause: Exception | None = None) -> NoReturn:
        raise UnreadableResponse(
            f"the answer cannot be decompressed: its Content-Encoding says {self._encoding[:40]!r}, and it is {what}; "
            "if it happens again, look at what stands between here and the service"
        ) from cause and cause.with_traceback(None)


def _window_bits(encoding: str, data: bytes) -> int:
    """Return what zlib needs to know about the format of `data`."""
    if encoding != "deflate":
        return 16 + zlib.MAX_WBITS
    has_header = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
