"""Responses that mean harm: run as a program, it feeds each to the parser and prints what became of it, as JSON.

They are made piece by piece, so that the memory measured is the parser's.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Any

from soapbatch.errors import LimitExceeded, SoapBatchError
from soapbatch.model.limits import MIB, Limits
from soapbatch.model.services import ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap.interpretation import interpret
from soapbatch.soap.parser import CHUNK, ResponseParser
from tests.support.envelopes import envelope, task_list

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
    "a million attributes": (
        LIST,
        chain(
            [START + b"<a"], (b"".join(b' a%d=""' % (n + m) for m in range(5000)) for n in range(0, 1_000_000, 5000))
        ),
        "LimitExceeded text_length",
    ),
    "as many attributes as a tag may hold": (
        LIST,
        chain(
            [START + b"<a"],
            (b"".join(b' a%d=""' % (n + m) for m in range(5000)) for n in range(0, 90_000, 5000)),
            [b"/>"],
        ),
        "UnreadableResponse",
    ),
    "as many namespaces as a tag may hold": (
        LIST,
        chain(
            [START + b"<a"],
            (b"".join(b' xmlns:a%d="b"' % (n + m) for m in range(5000)) for n in range(0, 55_000, 5000)),
            [b"/>"],
        ),
        "UnreadableResponse",
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
    "endless long comments": (LIST, endless(b"<!--" + b"x" * 60_000 + b"-->", START), "LimitExceeded bytes"),
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
    "endless tags in output": (OUTPUT, endless(b"<!-- -->", OUTPUT_START), "LimitExceeded tags"),
}


def outcome(operation: str, pieces: Iterable[bytes], limits: Limits, *, collect: bool) -> str:
    """Return the name of the error that a response ends in."""
    row = OPERATIONS[operation]
    parser = ResponseParser(row, ServiceVersion.V88, limits=limits, collect=collect)
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


def peak() -> float:
    """Return the most memory that the process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one line for each case, each in a process of its own: name, outcome, seconds, and MiB more at the peak."""
    outcome(LIST, [task_list(TASK.decode())], Limits(), collect=True)  # what compiles on first use
    for name, (operation, pieces, _) in CASES.items():
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        before, started = peak(), time.perf_counter()
        what = outcome(operation, pieces, Limits(), collect=True)
        result: dict[str, Any] = {"name": name, "outcome": what, "seconds": time.perf_counter() - started}
        json.dump(result | {"mib": peak() - before}, sys.stdout)
        sys.stdout.write("\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
