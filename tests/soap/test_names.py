"""Names that a server brings into the process: known ones are free, new ones have a limit."""

import contextlib
import itertools

import httpx
import pytest

from soapbatch import Client
from soapbatch.errors import LimitExceeded, SoapBatchError
from soapbatch.model import KIB, Limits, ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap import names
from soapbatch.soap.names import Names, names_of
from soapbatch.soap.parser import Problem, ResponseParser
from soapbatch.testing import NetServer
from tests.support.envelopes import answer, task_list

LIMIT = 64 * KIB
WHOLE = 10**9  # bytes: a response in one piece


@pytest.mark.parametrize(
    ("data", "new"),
    [
        (b"<a>", 1),
        (b"<a></a><a>text &lt; </a>", 1),
        (b"<a/><b/>", 2),
        (b"<a b='1'/><a b='2'/><a b=\"3\"/>", 1),
        (b"<a b='1' c='2'/><a c='1' b='2'/>", 2),
        (b"<a xmlns='urn:1'/><a xmlns='urn:2'/>", 2),
        (b"<a xmlns:p='urn:1'/><a xmlns:p='urn:2'/>", 2),
        (b"<a b='>' c1=''/><a b='>' c2=''/>", 2),
        (b"<?p x?><?q x?>", 2),
        (b"<a>" + b" " * 16 + b"<b>" + b" " * 17 + b"</b>", 4),
        (b"<a>" + b" " * 15 + b"<b>" + b" " * 60 + b"</b>", 2),
        (b"<!-- c --></a>", 0),
    ],
)
def test_what_is_a_new_name(data: bytes, new: int) -> None:
    """Elements, attributes, namespaces, instructions and long white space count; values and texts do not."""
    known = Names()
    cost = known.cost_of(data, LIMIT)
    assert cost // 64 == new
    assert known.cost_of(data, LIMIT) == 0
    assert known.cost_of(data + data, LIMIT) == 0


def test_the_names_of_a_server_have_a_limit() -> None:
    """All responses together may bring 32 times as many names as one, and known names stay readable."""
    known = Names()
    accepted = 32_000 // (64 + len("<a000/"))
    for number in range(100, 100 + accepted):
        known.cost_of(b"<a%d/>" % number, 1000)
    with pytest.raises(LimitExceeded, match=r"Limits\.names") as caught:
        known.cost_of(b"<a99/>", 1000)
    assert caught.value.limit == "names"
    assert known.cost_of(b"<a100/>", 1000) == 0


def parsed(operation: str, body: bytes, size: int, limits: Limits, server: str) -> Problem | None:
    """Return what is wrong with a response of `server` that comes in pieces of `size` bytes."""
    row = OPERATIONS[operation]
    parser = ResponseParser(row, ServiceVersion.V88, limits=limits, collect=size == WHOLE, server=server)
    for start in range(0, len(body), size):
        parser.feed(body[start : start + size])
    return parser.close().problem


@pytest.mark.parametrize("size", [1, 100, WHOLE])
def test_a_response_with_too_many_names(size: int) -> None:
    """A response that makes up names is refused, in whatever pieces it comes."""
    body = task_list("".join(f"<n{n}/>" for n in range(4000)))
    problem = parsed("GetBatchTaskInfosByState", body, size, Limits(), f"makes up names, {size}")
    assert problem is not None
    assert problem.limit == "names"


def test_a_short_response_with_too_many_names() -> None:
    """A response that is parsed in one go exceeds the limit of one response long before that of the server."""
    body = answer("StopBatchJob", "".join(f"<short{n}/>" for n in range(20)))
    problem = parsed("StopBatchJob", body, WHOLE, Limits(names=1000), "makes up names, shortly")
    assert problem is not None
    assert problem.limit == "names"
    assert "all responses" not in problem.message


def test_a_server_that_makes_up_names_harms_no_other() -> None:
    """Its names have exceeded the limit for good; the first response of another server is read."""
    with contextlib.suppress(LimitExceeded):
        for number in itertools.count():
            names_of("bad:80").cost_of(b"<bad%d/>" % number, LIMIT)
    body = answer("StopBatchJob", "<Response>true</Response>").replace(b"<s:", b"<q:").replace(b"</s:", b"</q:")
    body = body.replace(b"xmlns:s=", b"xmlns:q=")
    problem = parsed("StopBatchJob", body, WHOLE, Limits(names=LIMIT), "bad:80")
    assert problem is not None
    assert "all responses of this server" in problem.message
    assert parsed("StopBatchJob", body, WHOLE, Limits(names=LIMIT), "good:80") is None


async def test_a_client_counts_the_names_of_its_server() -> None:
    """By host and port of the URL to which the request went: other paths are of the same server."""
    names_of.cache_clear()
    transport = httpx.ASGITransport(NetServer())
    for path in ("a", "b"):
        async with Client(f"http://127.0.0.1:81/{path}", ticket="7T:x", transport=transport) as client:
            with contextlib.suppress(SoapBatchError):
                await client.batch.get_batch_task_info(1)
    assert names_of.cache_info().currsize == 2  # the server of the requests; the embedded server's clients
    assert names_of("127.0.0.1:81").cost_of(b"<p:Succeeded>", LIMIT) > 0
    assert names_of.cache_info().currsize == 2


def test_tags_that_were_seen_are_not_taken_apart_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server writes the same tags again and again: they are remembered, up to 256 KiB."""
    searched: list[bytes] = []
    pattern = names._VALUE

    class Spy:
        def sub(self, by: bytes, tag: bytes) -> bytes:
            searched.append(tag)
            return pattern.sub(by, tag)

    monkeypatch.setattr(names, "_VALUE", Spy())
    known = Names()
    long = b"<l x='" + b"v" * 300_000 + b"'>"
    for data in (b"<a b='1'><b><a b='1'>", b"<a b='1'>", b"<a b='2'>", long, long):
        known.cost_of(data, LIMIT)
    assert sorted(searched[:2]) == [b"<a b='1'", b"<b"]
    assert searched[2:] == [b"<a b='2'", long[:-1], long[:-1]]
    known.cost_of(b"".join(b"<a b='%d'>" % n for n in range(5000)), LIMIT)  # too many to remember
    searched.clear()
    known.cost_of(b"<a b='3'><b>", LIMIT)
    assert sorted(searched) == [b"<a b='3'", b"<b"]


def test_a_cut_tag_is_never_taken_for_one_that_was_seen() -> None:
    """What stands behind a `>` in a value is searched each time: the part before it may be known."""
    known = Names()
    for number in range(3):
        assert known.cost_of(b"<a b='>' c%d=''>" % number, LIMIT) == 64 + len("<a b c0")


def test_names_that_were_refused_are_refused_again() -> None:
    """A response that exceeds the limit of the server leaves nothing that lets the next one pass."""
    known = Names()
    for _ in range(3):
        with pytest.raises(LimitExceeded):
            known.cost_of(b"<a/><b/>", 4)
    assert known.cost_of(b"<a/>", LIMIT) == 64 + len("<a/")
