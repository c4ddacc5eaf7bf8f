"""Names that responses bring into the process: known ones are free, new ones have a limit."""

import random

import pytest

from soapbatch.errors import LimitExceeded
from soapbatch.model import KIB, Limits, ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap import names as names_module
from soapbatch.soap.names import Names
from soapbatch.soap.parser import ResponseParser
from tests.support.envelopes import answer, task_list

LIMIT = 64 * KIB


@pytest.fixture(autouse=True)
def _search_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search all of the data, not a random share of it."""
    monkeypatch.setattr(names_module, "_SHARE", 1.0)
    monkeypatch.setattr(names_module, "_TIMES", 1)


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


def test_the_names_of_a_process_have_a_limit() -> None:
    """All responses together may bring 32 times as many names as one, and known names stay readable."""
    known = Names()
    accepted = 32_000 // (64 + len("<a000/"))
    for number in range(100, 100 + accepted):
        known.cost_of(b"<a%d/>" % number, 1000)
    with pytest.raises(LimitExceeded, match=r"Limits\.names") as caught:
        known.cost_of(b"<a99/>", 1000)
    assert caught.value.limit == "names"
    assert known.cost_of(b"<a100/>", 1000) == 0


@pytest.mark.parametrize("size", [1, 100, 10**9])
def test_a_response_with_too_many_names(size: int) -> None:
    """A response that makes up names is refused, in whatever pieces it comes."""
    stamp = random.random()  # noqa: S311 - names that no other test has
    items = "".join(f"<n{stamp}-{n}/>" for n in range(3000))
    parser = ResponseParser(OPERATIONS["GetBatchTaskInfosByState"], ServiceVersion.V88, limits=Limits(), collect=False)
    body = task_list(items)
    for start in range(0, len(body), size):
        parser.feed(body[start : start + size])
    problem = parser.close().problem
    assert problem is not None
    assert problem.limit == "names"


def test_a_short_response_with_too_many_names() -> None:
    """A response that is parsed in one go is searched as well."""
    body = answer("StopBatchJob", "".join(f"<short{n}-{random.random()}/>" for n in range(300)))  # noqa: S311 - as above
    parser = ResponseParser(OPERATIONS["StopBatchJob"], ServiceVersion.V88, limits=Limits(names=1000))
    parser.feed(body)
    problem = parser.close().problem
    assert problem is not None
    assert problem.limit == "names"


def test_a_share_is_searched_and_counts_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that is not searched costs nothing; data that is counts for it."""
    monkeypatch.setattr(names_module, "_TIMES", 8)
    known = Names()
    assert known.cost_of(b"<a>", LIMIT) == 8 * 66
    monkeypatch.setattr(names_module, "_SHARE", 0.0)
    assert known.cost_of(b"<b>", LIMIT) == 0
    assert known.cost_of(b"<b>", 8 * 66) == 66  # with so many new names, all is searched
