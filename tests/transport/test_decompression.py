"""The body of a response, decompressed in bounded steps."""

import codecs
import gzip
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model import KIB, MIB, Limits
from soapbatch.transport import Decompressor


def pieces_of(chunks: list[bytes], encoding: str | None = None, limits: Limits | None = None) -> Iterator[bytes]:
    """Yield what `chunks` are decompressed to."""
    decompressor = Decompressor(encoding or "", limits or Limits())
    for chunk in chunks:
        yield from decompressor.feed(chunk)
    decompressor.finish()


def raw_deflate(data: bytes) -> bytes:
    """Return `data` deflated without the zlib header."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def members(data: bytes, size: int) -> bytes:
    """Return a gzip file whose members hold `size` bytes of `data` each; one at least, 100 at most."""
    size = max(size, len(data) // 100 + 1)
    return b"".join(gzip.compress(data[at : at + size]) for at in range(0, max(len(data), 1), size))


ENCODINGS: list[Any] = [
    pytest.param(None, bytes, id="absent"),
    pytest.param("identity", bytes, id="identity"),
    pytest.param("gzip", gzip.compress, id="gzip"),
    pytest.param(" GZip ", gzip.compress, id="gzip-spelt-oddly"),
    pytest.param("x-gzip", gzip.compress, id="x-gzip"),
    pytest.param("gzip, gzip", gzip.compress, id="gzip-repeated-by-a-proxy"),
    pytest.param("identity,gzip,", gzip.compress, id="gzip-beside-identity"),
    pytest.param("gzip", lambda data: gzip.compress(data) + bytes(70_000), id="gzip-with-padding"),
    pytest.param("gzip", lambda data: members(data, 7), id="gzip-of-members"),
    pytest.param("x-gzip", lambda data: members(data, 100) + bytes(3), id="gzip-of-members-with-padding"),
    pytest.param("gzip", lambda data: bytes(5).join([gzip.compress(data), gzip.compress(b"")]), id="padding-between"),
    pytest.param("deflate", zlib.compress, id="deflate"),
    pytest.param("deflate", lambda data: zlib.compress(data) + bytes(9), id="deflate-with-padding"),
    pytest.param("deflate", raw_deflate, id="raw-deflate"),
]


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS)
@given(data=st.binary(max_size=300), size=st.integers(1, 300), times=st.sampled_from([1, 1000]))
def test_every_encoding_is_decoded_however_it_arrives(
    encoding: str | None, encode: Callable[[bytes], bytes], data: bytes, size: int, times: int
) -> None:
    """A body comes out as it went in, in pieces of at most 64 KiB, however it was cut on its way."""
    whole = encode(data * times)
    pieces = list(pieces_of([whole[at : at + size] for at in range(0, len(whole), size)], encoding))
    assert b"".join(pieces) == data * times
    assert all(len(piece) <= 64 * KIB for piece in pieces)


@pytest.mark.parametrize(("longest", "name", "streamed"), [(5, "bytes", False), (5, "streamed_bytes", True)])
def test_as_many_bytes_as_the_limit_says_are_read(longest: int, name: str, streamed: bool) -> None:  # noqa: FBT001 - a case
    """A body of exactly the limit is read; one byte more is refused, and the error names the limit."""
    decompressor = Decompressor("", Limits(**{name: longest}), streamed=streamed)
    assert list(decompressor.feed(bytes(longest))) == [bytes(longest)]
    with pytest.raises(LimitExceeded) as caught:
        decompressor.feed(b"x")
    assert caught.value.limit == name


def test_a_large_chunk_is_cut() -> None:
    """A chunk of any size, as a transport without a socket may give, comes in pieces of at most 64 KiB."""
    pieces = list(pieces_of([bytes(100 * KIB), bytes(64 * KIB)]))
    assert [len(piece) for piece in pieces] == [64 * KIB, 36 * KIB, 64 * KIB]


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_an_empty_body_is_empty_in_every_encoding(encoding: str | None) -> None:
    """An answer without a body needs no compression header."""
    assert list(pieces_of([], encoding)) == []


def test_a_raw_deflated_body_that_almost_begins_like_a_header() -> None:
    """Of the two bytes that tell, each bit counts: this stored block differs from a zlib header in one."""
    text = b"<twenty-one-bytes-/>\n"
    stored = bytes((0x09, len(text), 0, 0xFF - len(text), 0xFF)) + text
    assert b"".join(pieces_of([stored], "deflate")) == text


@pytest.mark.parametrize(
    ("encoding", "chunks", "what"),
    [
        pytest.param("gzip", [gzip.compress(b"<xml/>")[:-1]], "cut short", id="cut"),
        pytest.param("gzip", [b"\x1f"], "cut short", id="one-byte"),
        pytest.param("deflate", [b"x", b"\x9c"], "cut short", id="only-the-header"),
        pytest.param("gzip", [gzip.compress(b"<xml/>"), b"more"], "followed by something else", id="trailing"),
        pytest.param("gzip", [gzip.compress(b"<xml/>") + b"more"], "followed by something else", id="trailing-at-once"),
        pytest.param("gzip", [b"xml"], "broken", id="not-compressed"),
        pytest.param("gzip", [gzip.compress(b"<xml/>") + b"\x1fmore"], "broken", id="no-second-member"),
        pytest.param("gzip", [gzip.compress(b"<xml/>") * 2, b"\0more"], "followed by something else", id="padded"),
        pytest.param("gzip", [gzip.compress(b"<xml/>") + b"\x1f"], "cut short", id="second-member-cut"),
        pytest.param("deflate", [zlib.compress(b"<xml/>") * 2], "followed by something else", id="deflate-twice"),
        pytest.param("gzip", [gzip.compress(b"") * 1200], "too many small members", id="members-without-end"),
        pytest.param("deflate", [b"\xff\xff"], "broken", id="not-deflated"),
        pytest.param("deflate", [b"<xml/>"], "cut short", id="deflate-may-begin-as-xml-does"),
        pytest.param("br", [b"\x8b\x03"], "'br'.* not an encoding that is read", id="unknown"),
        pytest.param("gzip, br", [gzip.compress(b"<xml/>")], "'br, gzip'.* not an encoding", id="two"),
        pytest.param("br", [b"< no tag"], "not an encoding that is read", id="unknown-and-no-tag"),
        pytest.param("br", [b" ", b" "], "cut short", id="unknown-and-nothing"),
        pytest.param("br", [b" " * 300], "not an encoding that is read", id="unknown-and-white-space"),
    ],
)
def test_what_cannot_be_decompressed_is_unreadable(encoding: str, chunks: list[bytes], what: str) -> None:
    """Broken, cut or unknown compression is an UnreadableResponse that says which."""
    with pytest.raises(UnreadableResponse, match=what):
        list(pieces_of(chunks, encoding))


@pytest.mark.parametrize("coding", ["br", "utf-8", "gzip, br", "none", "gzip", "x-gzip"])
@pytest.mark.parametrize(
    "body",
    [
        b"<a/>",
        b"<?xml version='1.0'?><a/>",
        b"<!DOCTYPE html>",
        b"\r\n  <_a/>",
        codecs.BOM_UTF8 + b" <a/>",
        "<a/>".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "<?xml version='1.0'?><a/>".encode("utf-16-be"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_body_that_plainly_is_xml_is_read_whatever_the_header_says(coding: str, body: bytes, size: int) -> None:
    """A proxy replaces or decompresses a body and leaves the header: neither XML nor HTML begins as gzip or brotli."""
    assert b"".join(pieces_of([body[at : at + size] for at in range(0, len(body), size)], coding)) == body


def test_many_members_of_some_size_are_read() -> None:
    """A server that compresses each of its writes sends many members; only tiny ones without end are refused."""
    part = random.Random(4).randbytes(300)  # noqa: S311 - what gzip does not make smaller
    assert b"".join(pieces_of([gzip.compress(part)] * 3000, "gzip")) == part * 3000


def test_the_ratio_counts_members_together() -> None:
    """A bomb in a second member ends as soon as one in the first: what is still to be inflated does not count."""
    bomb = gzip.compress(bytes(MIB)) * 64
    produced = 0
    with pytest.raises(LimitExceeded) as caught:  # noqa: PT012 - how much came before it is the point
        for piece in pieces_of([bomb], "gzip"):
            produced += len(piece)
    assert caught.value.limit == "expansion"
    assert produced <= 2 * MIB


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([gzip.compress(b"hunter2" * 10)[:-1]], UnreadableResponse, id="cut"),
        pytest.param([gzip.compress(b"hunter2" * 10) + b"more"], UnreadableResponse, id="trailing"),
        pytest.param([gzip.compress(b"hunter2" * 10)[:-8] + bytes(8)], UnreadableResponse, id="broken"),
        pytest.param([gzip.compress(b"hunter2" * 300_000)], LimitExceeded, id="bomb"),
    ],
)
def test_errors_show_no_part_of_the_answer(chunks: list[bytes], expected: type[Exception]) -> None:
    """No frame of ours that an error passes through holds what was decoded before it."""
    decompressor = Decompressor("gzip", Limits())
    with pytest.raises(expected) as caught:  # noqa: PT012 - what was decoded before is the point
        for chunk in chunks:
            for _ in decompressor.feed(chunk):
                pass
        decompressor.finish()
    frames = [
        entry.frame for entry in caught.traceback if str(entry.path).endswith("soapbatch/transport/decompression.py")
    ]
    assert frames
    assert not [frame for frame in frames if "hunter2" in repr(frame.f_locals)]


def test_a_bomb_ends_long_before_it_costs_memory() -> None:
    """A gigabyte of zeros in a megabyte ends at the ratio, after little of it was inflated."""
    zeros = zlib.compressobj(9)
    bomb = b"".join(zeros.compress(bytes(MIB)) for _ in range(64))
    inflated = 0
    with pytest.raises(LimitExceeded) as caught:  # noqa: PT012 - how much came before it is the point
        for piece in pieces_of([bomb], "deflate"):
            inflated += len(piece)
    assert caught.value.limit == "expansion"
    assert inflated <= 2 * MIB


def test_a_small_answer_may_compress_well() -> None:
    """The ratio is not looked at below 1 MiB: many nil elements compress better than the limit allows."""
    data = b"<a:FileName i:nil='true'/>" * 30_000
    assert len(data) / len(gzip.compress(data)) > Limits().expansion
    assert b"".join(pieces_of([gzip.compress(data)], "gzip")) == data


def test_a_limit_of_ones_own_holds() -> None:
    """Limits(expansion=...) decides what is too much."""
    data = bytes(range(256)) * 8 * KIB
    compressed = [gzip.compress(data)]
    assert b"".join(pieces_of(compressed, "gzip", Limits(expansion=1000))) == data
    with pytest.raises(LimitExceeded):
        list(pieces_of(compressed, "gzip", Limits(expansion=10)))
