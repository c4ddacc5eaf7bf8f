"""The body of an answer, decompressed in bounded steps: what is compressed may be a bomb, cut short, or broken."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, NoReturn

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model import KIB, MIB, Limits

PIECE: Final = 64 * KIB
# Below this much decoded text the ratio says nothing: a long list of nil fields compresses a thousandfold.
_RATIO_FROM: Final = 1 * MIB


def decompressed(chunks: AsyncIterator[bytes], encoding: str, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Return what `chunks` holds, decoded as `encoding` (a `Content-Encoding`) says, in pieces of at most 64 KiB.

    Nothing larger is ever held decoded, so that a compressed bomb ends at `limits.expansion` and not in memory.

    Raises:
        UnreadableResponse: an encoding other than gzip and deflate; compressed data that is broken, cut short,
            or followed by something else.
        LimitExceeded: more than 1 MiB, and more than `limits.expansion` times the compressed size.
    """
    encoding = encoding.strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        _refuse("not an encoding that is read (gzip and deflate are)", encoding)
    return _sliced(chunks) if encoding in {"", "identity"} else _inflated(chunks, encoding, limits)


async def _sliced(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield what `chunks` holds, no piece longer than PIECE."""
    async for chunk in chunks:
        if len(chunk) <= PIECE:
            yield chunk
        else:
            for start in range(0, len(chunk), PIECE):
                yield chunk[start : start + PIECE]
        del chunk


async def _inflated(chunks: AsyncIterator[bytes], encoding: str, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Yield the decompressed body; see `decompressed` for what it raises."""
    inflater = None
    received = produced = 0
    head = b""
    async for chunk in chunks:
        received += len(chunk)
        data = head + chunk
        if inflater is None:
            # Two bytes tell whether "deflate" has the zlib header that it should have, or is raw as IIS sends it.
            if len(data) < 2:  # noqa: PLR2004 - the size of that header
                head = data
                continue
            inflater, head = zlib.decompressobj(_window_bits(encoding, data)), b""
        more = bool(data)
        while more:
            try:
                piece = inflater.decompress(data, PIECE)
            except zlib.error as error:
                _refuse("broken", encoding, error)
            data = inflater.unconsumed_tail
            produced += len(piece)
            if produced > _RATIO_FROM and produced > limits.expansion * (received - len(data)):
                raise _expanded(limits)
            more = not inflater.eof and (bool(data) or len(piece) == PIECE)
            if piece:
                yield piece
            del piece
        if inflater.unused_data:
            _refuse("followed by something else", encoding)
    if received and not (inflater and inflater.eof):
        _refuse("cut short", encoding)


def _window_bits(encoding: str, data: bytes) -> int:
    """Return what zlib needs to know about the format of `data`."""
    if encoding != "deflate":
        return 16 + zlib.MAX_WBITS
    has_header = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _refuse(what: str, encoding: str, error: Exception | None = None) -> NoReturn:
    """Raise UnreadableResponse for a body whose compression is `what`."""
    failure = UnreadableResponse(
        f"the answer cannot be decompressed: its Content-Encoding says {encoding[:40]!r}, and it is {what}; "
        "if it happens again, look at what stands between here and the service"
    )
    raise failure from error and error.with_traceback(None)


def _expanded(limits: Limits) -> LimitExceeded:
    """Return the error for a body that grows too much."""
    error = LimitExceeded(
        f"the answer grows to more than {limits.expansion} times its compressed size; "
        "if that is expected, raise Limits(expansion=...)"
    )
    error.limit = "expansion"
    return error
