"""Responses that mean harm. Run as a program, it calls an operation that each of them answers, and prints the outcome.

    python -m tests.support.hostile_bodies "64 KiB" "1 byte"

They are made piece by piece, so that the memory measured is the client's.
"""

import asyncio
import functools
import json
import os
import resource
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from itertools import chain, count, product, repeat
from typing import Any, Final

import httpx

from soapbatch.client import Client
from soapbatch.errors import LimitExceeded, SoapBatchError
from soapbatch.model.limits import MIB, Limits
from soapbatch.model.retry import Retries
from soapbatch.model.services import Binding, ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap.interpretation import interpret
from soapbatch.soap.parser import CHUNK, ResponseParser
from tests.support.envelopes import envelope, task_list

ONCE: Final = Retries(attempts=1)
_NUMBERS: Final = count()  # of servers: each has a count of the names that it makes up
LIST, OUTPUT = "GetBatchTaskInfosByState", "GetOutputFromBatch"
START, _, END = task_list("@").partition(b"@")
BODY, _, BODY_END = envelope("@").partition(b"@")
HEADER = envelope("", "@").partition(b"@")[0]
OUTPUT_START = BODY + b"<GetOutputFromBatchResponse><Response>"
TASK = (
    b"<BatchTaskInfo><Id>1</Id><Name>A batch task</Name><AssociateId>7</AssociateId><IsSystemTask>false</IsSystemTask>"
    b"<ParameterObject><StringKeyValuePair><Key>k</Key><Value>v</Value></StringKeyValuePair></ParameterObject>"
    b"<Created>2024-01-01T00:00:00Z</Created><State>Started</State><Description>d</Description></BatchTaskInfo>"
)
MANY = b"<a " + b" ".join(b'%c%c="1"' % (97 + n // 26, 97 + n % 26) for n in range(676)) + b"/>"
DECLARED = b"<a " + b" ".join(b'xmlns:%c%c="1"' % (97 + n // 26, 97 + n % 26) for n in range(676)) + b"/>"
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def endless(piece: bytes, start: bytes = b"") -> Iterator[bytes]:
    """Return pieces of about a network chunk's size that never end."""
    return chain([start], repeat(piece * (CHUNK // len(piece) + 1)))


def long(start: bytes, piece: bytes, size: int, end: bytes = b"") -> Iterator[bytes]:
    """Return `size` bytes of repeated pieces between two others."""
    return chain([start], repeat(piece * (CHUNK // len(piece) + 1), size // CHUNK), [end])


def in_pieces(body: bytes, size: int) -> Iterator[bytes]:
    """Return `body` in pieces of `size`."""
    return (body[start : start + size] for start in range(0, len(body), size))


def numbered(form: bytes, count: int, start: bytes, end: bytes = b"") -> Iterator[bytes]:
    """Return `form` with each number below `count`, 5,000 of them in a piece, between two other pieces."""
    return chain([start], (b"".join(form % (n + m) for m in range(5000)) for n in range(0, count, 5000)), [end])


# name: operation, pieces, the error expected (with the limit that it names)
CASES: dict[str, tuple[str, Iterable[bytes], str]] = {
    "DOCTYPE": (LIST, [b"<!DOCTYPE a>" + START + END], "UnreadableResponse"),
    "internal entity": (LIST, [b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'], "UnreadableResponse"),
    "external entity": (
        LIST,
        [b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'],
        "UnreadableResponse",
    ),
    "parameter entity": (
        LIST,
        [b'<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1:9/">%e;]><a/>'],
        "UnreadableResponse",
    ),
    "recursive entities": (
        LIST,
        [b'<!DOCTYPE a [<!ENTITY e "&f;"><!ENTITY f "&e;">]><a>&e;</a>'],
        "UnreadableResponse",
    ),
    "billion laughs": (
        LIST,
        [f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l9;</a>'.encode()],
        "UnreadableResponse",
    ),
    "entities without a DTD": (LIST, [BODY + b"&lol;" + BODY_END], "UnreadableResponse"),
    "XInclude": (
        LIST,
        [
            BODY
            + b'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'
            + BODY_END
        ],
        "UnexpectedResponse",
    ),
    "100,000 levels": (LIST, long(BODY, b"<a>", 300_000), "LimitExceeded depth"),
    "100,000 levels in a header": (LIST, long(HEADER, b"<a>", 300_000), "LimitExceeded depth"),
    "250 exceptions in each other": (
        LIST,
        [
            HEADER
            + b"<ExceptionInfo>"
            + b"<InnerException>" * 240
            + b"</InnerException>" * 240
            + b"</ExceptionInfo></s:Header>"
        ],
        "LimitExceeded depth",
    ),
    "a huge text": (LIST, long(START + b"<BatchTaskInfo><Name>", b"x", 64 * MIB), "LimitExceeded text_length"),
    "a huge text of references": (
        LIST,
        long(START + b"<BatchTaskInfo><Name>", b"&amp;", 64 * MIB),
        "LimitExceeded text_length",
    ),
    "a huge text cut by comments": (
        LIST,
        long(START + b"<BatchTaskInfo><Name>", b"x" * 60_000 + b"<!-- -->", 60 * MIB),
        "UnreadableResponse",
    ),
    "a huge CDATA section": (
        LIST,
        long(START + b"<BatchTaskInfo><Name><![CDATA[", b"<", 64 * MIB),
        "LimitExceeded tags",
    ),
    "a huge attribute": (LIST, long(START + b'<a b="', b"x", 64 * MIB), "LimitExceeded text_length"),
    "a huge name": (LIST, long(START + b"<", b"x", 64 * MIB), "LimitExceeded text_length"),
    "a huge tag": (LIST, long(START + b"<a ", b" ", 64 * MIB), "LimitExceeded text_length"),
    "a large tag in small pieces": (LIST, in_pieces(START + b"<a " + b" " * MIB, 100), "LimitExceeded text_length"),
    "a million attributes": (LIST, numbered(b' a%d=""', 1_000_000, START + b"<a"), "LimitExceeded tags"),
    "as many attributes as a tag may hold": (
        LIST,
        numbered(b' a%d=""', 90_000, START + b"<a", b"/>"),
        "LimitExceeded tags",
    ),
    "as many namespaces as a tag may hold": (
        LIST,
        numbered(b' xmlns:a%d="b"', 55_000, START + b"<a", b"/>"),
        "LimitExceeded tags",
    ),
    "duplicate attributes": (LIST, [START + b'<a b="1" b="2"/>' + END], "UnreadableResponse"),
    "NUL bytes": (LIST, [START + b"<a>\0\0\0</a>" + END], "UnreadableResponse"),
    "nothing but NUL bytes": (LIST, long(b"", b"\0", 10 * MIB), "UnreadableResponse"),
    "UTF-7": (
        LIST,
        [b'<?xml version="1.0" encoding="utf-7"?>' + (START + END).decode().encode("utf-7")],
        "UnreadableResponse",
    ),
    "UTF-16 that is none": (LIST, [b'<?xml version="1.0" encoding="utf-16"?>' + START + END], "UnreadableResponse"),
    "UTF-32": (LIST, [(START + END).decode().encode("utf-32")], "UnreadableResponse"),
    "UTF-8 that is none": (LIST, [START + b"<a>\xff\xfe</a>" + END], "UnreadableResponse"),
    "random bytes": (LIST, in_pieces(bytes(range(1, 256)) * 4000, CHUNK), "UnreadableResponse"),
    "endless white space before": (LIST, endless(b" "), "LimitExceeded text_length"),
    "endless comments before": (LIST, endless(b"<!-- -->"), "LimitExceeded text_length"),
    "endless white space": (LIST, endless(b" ", START), "LimitExceeded text_length"),
    "endless comments": (LIST, endless(b"<!-- -->", START), "LimitExceeded tags"),
    "endless long comments": (LIST, endless(b"<!--" + b"x" * 60_000 + b"-->", START), "LimitExceeded text_length"),
    "endless elements": (LIST, endless(b"<a/>", BODY), "LimitExceeded tags"),
    "endless elements in the list": (LIST, endless(b"<a/>", START), "LimitExceeded tags"),
    "endless elements in an item": (LIST, endless(b"<Name/>", START + b"<BatchTaskInfo>"), "LimitExceeded tags"),
    "endless pairs": (
        LIST,
        endless(b"<P><Key>k</Key></P>", START + b"<BatchTaskInfo><ParameterObject>"),
        "LimitExceeded tags",
    ),
    "endless header blocks": (LIST, endless(b"<Block>x</Block>", HEADER), "LimitExceeded tags"),
    "endless empty items": (LIST, endless(b"<BatchTaskInfo/>", START), "LimitExceeded items"),
    "endless nil items": (LIST, endless(b'<BatchTaskInfo i:nil="1"/>', START), "LimitExceeded items"),
    "endless strangers among items": (
        LIST,
        endless(b"<a/>" * 9 + b'<BatchTaskInfo i:nil="1"/>', START),
        "LimitExceeded items",
    ),
    "endless output": (OUTPUT, endless(b"QUJD", OUTPUT_START), "LimitExceeded bytes"),
    "endless output of white space": (OUTPUT, endless(b"\r\n", OUTPUT_START), "LimitExceeded bytes"),
    "endless output of references": (OUTPUT, endless(b"&#13;", OUTPUT_START), "LimitExceeded bytes"),
    "endless output in CDATA": (OUTPUT, endless(b"QUJD", OUTPUT_START + b"<![CDATA["), "LimitExceeded text_length"),
    "endless tags in a header of output": (OUTPUT, endless(b"<a/>", HEADER), "LimitExceeded tags"),
    "endless brackets in a header of output": (OUTPUT, endless(b">", HEADER + b"<a>"), "LimitExceeded text_length"),
    "endless namesakes of output": (OUTPUT, endless(b"<Response/>", HEADER), "LimitExceeded tags"),
    "endless namesakes of output, long": (
        OUTPUT,
        endless(b"<Response a='>>>>>>>>>>'/>", HEADER),
        "UnexpectedResponse",
    ),
    "a start of output that does not end": (
        OUTPUT,
        long(BODY + b"<GetOutputFromBatchResponse><Response a='", b">", 64 * MIB),
        "LimitExceeded text_length",
    ),
    "endless attributes": (LIST, endless(MANY, START), "LimitExceeded tags"),
    "endless attributes in an item": (LIST, endless(MANY, START + b"<BatchTaskInfo>"), "LimitExceeded tags"),
    "endless attributes in output": (OUTPUT, endless(MANY, HEADER), "LimitExceeded tags"),
    "endless attributes with brackets": (
        LIST,
        endless(MANY.replace(b'"1"', b'">"'), START),
        "LimitExceeded tags",
    ),
    "endless declarations": (LIST, endless(DECLARED, START), "LimitExceeded tags"),
    "endless attributes of items": (
        LIST,
        endless(b"<BatchTaskInfo" + MANY[2:], START),
        "LimitExceeded bytes",
    ),
    "endless names": (LIST, numbered(b"<name%d/>", 10**7, START), "LimitExceeded names"),
    "endless names of attributes": (LIST, numbered(b"<a b='>' name%d='1'/>", 10**7, START), "LimitExceeded names"),
    "endless prefixes": (LIST, numbered(b"<a xmlns:p%d='1'/>", 10**7, START), "LimitExceeded names"),
    "endless namespaces": (LIST, numbered(b"<a xmlns='urn:%d'/>", 10**7, START), "LimitExceeded names"),
    "endless names in items": (
        LIST,
        numbered(b"<BatchTaskInfo><name%d/></BatchTaskInfo>", 10**7, START),
        "LimitExceeded names",
    ),
    "endless forbidden references": (
        LIST,
        endless(b"&#0;" * 100 + b"<a/>", START + b"<BatchTaskInfo>"),
        "LimitExceeded text_length",
    ),
    "endless references": (
        LIST,
        endless(b"&#13;" * 100 + b"<a/>", START + b"<BatchTaskInfo>"),
        "LimitExceeded text_length",
    ),
    "endless empty CDATA sections": (
        LIST,
        endless(b"<![CDATA[]]>", START + b"<BatchTaskInfo><Name>"),
        "LimitExceeded tags",
    ),
    "endless instructions": (LIST, endless(b"<?p?>", START), "LimitExceeded tags"),
    "endless unknown members in small items": (
        LIST,
        endless(b"<BatchTaskInfo>" + b"<a/>" * 50 + b"</BatchTaskInfo>", START),
        "LimitExceeded items",
    ),
    "many items, then a failure": (
        LIST,
        chain(long(START, b"<BatchTaskInfo><Id>1</Id></BatchTaskInfo>", 4_000_000), [b"</x>"]),
        "UnreadableResponse",
    ),
    "endless tags in output": (OUTPUT, endless(b"<!-- -->", OUTPUT_START), "LimitExceeded tags"),
}


def outcome(operation: str, pieces: Iterable[bytes], limits: Limits, *, collect: bool) -> str:
    """Return the name of the error that a response ends in."""
    row = OPERATIONS[operation]
    parser = ResponseParser(row, ServiceVersion.V88, limits=limits, collect=collect, server=f"hostile {next(_NUMBERS)}")
    for piece in pieces:
        parser.feed(piece)
        if parser.problem is not None:
            break
    try:
        interpret(row, parser.close(), 200)
    except LimitExceeded as error:
        return f"LimitExceeded {error.limit}"
    except SoapBatchError as error:
        return type(error).__name__
    return "no error"


HONEST = {
    *("endless empty items", "endless attributes of items", "endless unknown members in small items"),
    *(
        "endless names in items",
        "many items, then a failure",
        "endless output",
        "endless output of white space",
        "endless output of references",
    ),
}
"""Cases that are a list or an output until they exceed a limit. Reading them takes as long as an honest response does,
so that they are measured with a lower limit."""
# Bytes of a piece, and of a body at most: a million tiny pieces take time by themselves.
CHUNKINGS: dict[str, tuple[int, int]] = {
    "64 KiB": (CHUNK, 2**40),
    "1 MiB": (MIB, 16 * MIB),
    "1 byte": (1, 30_000),
    "100 bytes": (100, MIB),
}


def rechunked(pieces: Iterable[bytes], size: int, most: int) -> Iterator[bytes]:
    """Return the first `most` bytes of `pieces` in pieces of `size`."""
    held = bytearray()
    for piece in pieces:
        held += piece[:most]
        most -= len(piece)
        for start in range(0, len(held) - size + 1, size):
            yield bytes(held[start : start + size])
        del held[: len(held) - len(held) % size]
        if most <= 0:
            break
    yield bytes(held)


class Body(httpx.AsyncByteStream):
    """The body of a response, made piece by piece."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        """Send `pieces`."""
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces, all of which are there at once."""
        for piece in self._pieces:
            yield piece


@functools.cache
def beginning(name: str) -> tuple[bytes, ...]:
    """Return the first 100 KB of a case. The pieces of a case can be read only once in a process."""
    return tuple(rechunked(CASES[name][1], 50_000, 100_000))


async def call(operation: str, pieces: Iterator[bytes], limits: Limits, *, collect: bool) -> str:
    """Call an operation that a hostile server answers, and return the name of the error that the call ends in."""
    row = OPERATIONS[operation]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Body(pieces)))
    arguments = {field.attribute: "All" if field.attribute == "state" else 1 for field in row.parameters}
    options: Any = {"timeout": None}
    settings: Any = {"binding": Binding.DOCUMENTED, "retries": ONCE, "limits": limits}  # its only answer is this one
    async with Client("http://127.0.0.1:9", ticket="7T:x", transport=transport, **settings) as client:
        context = client.batch._context
        try:
            if collect:
                await context.call(row, arguments, options)
            else:
                async for _ in context.stream(row, arguments, options):
                    pass
        except LimitExceeded as error:
            return f"LimitExceeded {error.limit}"
        except SoapBatchError as error:
            return type(error).__name__
    return "no error"


def work(name: str, chunking: str, *, collect: bool) -> Coroutine[Any, Any, str]:
    """Return what calls the operation of a case, with the limits that it is measured with."""
    operation, pieces, _ = CASES[name]
    size, most = CHUNKINGS[chunking]
    limits = Limits(streamed_bytes=(64 if name not in HONEST else 8) * MIB)
    return call(operation, rechunked(pieces, size, most), limits, collect=collect)


async def warm_up() -> None:
    """Call an operation that is answered as it should be: much is compiled and imported on first use."""
    await call(LIST, iter([task_list(TASK.decode())]), Limits(), collect=True)


def peak() -> float:
    """Return the most memory that the process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(names: Sequence[str], chunkings: Sequence[str]) -> None:
    """Print as JSON what became of each case, in each chunking, collected and streamed, in a process of its own."""
    asyncio.run(warm_up())
    for name, chunking, collect in product(names, chunkings, (True, False)):
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        before = peak()
        result: dict[str, Any] = {"outcome": asyncio.run(work(name, chunking, collect=collect))}
        result |= {"name": name, "chunking": chunking, "collect": collect, "mib": peak() - before}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main([*CASES], sys.argv[1:])
