"""References to characters that XML 1.0 forbids: replaced and reported, in whatever pieces they come."""

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from soapbatch.errors import LimitExceeded, UnexpectedResponse, UnreadableResponse
from soapbatch.model import ILLEGAL_CHARACTER, Limits, ServiceVersion
from soapbatch.operations import OPERATIONS
from soapbatch.soap.decoders import UnknownItem
from soapbatch.soap.interpretation import interpret, parse_response
from soapbatch.soap.parser import ResponseParser
from soapbatch.soap.references import ForbiddenReferences
from tests.support.envelopes import answer, task_list

V88 = ServiceVersion.V88
LIST = OPERATIONS["GetBatchTaskInfosByState"]
EDGES = [0, 8, 9, 10, 11, 12, 13, 14, 31, 32, 0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF]


def problem_of(body: bytes, size: int = 10**9) -> str | None:
    """Return what is wrong with the first reference in a body that cannot be read."""
    references = ForbiddenReferences(lambda *_: None)
    for start in range(0, len(body), size):
        references.feed(body[start : start + size])
    references.feed(b"", final=True)
    return references.problem


def replaced(body: bytes, size: int = 10**9) -> tuple[str, list[tuple[str, str]]]:
    """Return a body as it is after the replacement, and the references that were reported."""
    reports: list[tuple[str, str]] = []
    references = ForbiddenReferences(lambda reference, where: reports.append((reference, where)))
    pieces = [references.feed(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join([*pieces, references.feed(b"", final=True)]).decode(), reports


@pytest.mark.parametrize("form", ["&#%d;", "&#00%d;", "&#x%x;", "&#x%X;", "&#x0%X;"])
def test_exactly_the_forbidden_characters_are_replaced(form: str) -> None:
    """Each character that XML 1.0 forbids is replaced in each way to write it, and no other one."""
    codes = [*EDGES, *range(0x120), *random.Random(1).sample(range(0x110000), 3000), 0x10FFFF]  # noqa: S311 - repeatable
    for code in codes:
        text = form % code
        forbidden = bool(ILLEGAL_CHARACTER.match(chr(code)))
        assert replaced(text.encode()) == (("\ufffd", [(text, "")]) if forbidden else (text, []))


@pytest.mark.parametrize(
    "text", ["&#;", "&#x;", "&#xG;", "&#-1;", "&# 1;", "&#1", "&#X1;", "&#1114112;", "&#x110000;", "&amp;#1;"]
)
def test_what_is_no_such_reference_stays(text: str) -> None:
    """What is malformed, or names no character at all, is left to the XML parser."""
    assert replaced(text.encode()) == (text, [])


@pytest.mark.parametrize("size", [*range(1, 30), 10**9])
def test_references_in_context(size: int) -> None:
    """A reference is reported with its element; inside a CDATA section or a comment there are no references."""
    body = (
        "<a>x&#xB;y<![CDATA[&#xB;]] > ]]>&#11;<!-- <![CDATA[ &#0; -- -->&#0;<æ:b q='&#1;'>&#2;</æ:b>&#13;"
        "&#x0000000000000000001F;<c/>&#3;<?p &#4;?><![CDATA[]]>]]&#12;</a>"
    )
    text, reports = replaced(body.encode(), size)
    assert text == (
        "<a>x\ufffdy<![CDATA[&#xB;]] > ]]>\ufffd<!-- <![CDATA[ &#0; -- -->\ufffd<æ:b q='\ufffd'>\ufffd</æ:b>&#13;"
        "\ufffd<c/>\ufffd<?p \ufffd?><![CDATA[]]>]]\ufffd</a>"
    )
    assert reports == [
        *(("&#xB;", "a"), ("&#11;", "a"), ("&#0;", "a"), ("&#1;", "b"), ("&#2;", "b")),
        *(("&#x0000000000000000001F;", "b"), ("&#3;", "c"), ("&#4;", "p"), ("&#12;", "p")),
    ]


@given(
    st.lists(
        st.sampled_from(
            [*"<>!-[]?&#x;1Ba ", "<![CDATA[", "]]>", "<!--", "-->", "&#xB;", "&#11;", "<a>", "</a>", "&nbsp;", "n" * 20]
        )
    ),
    st.integers(1, 9),
)
def test_any_pieces_give_the_same(parts: list[str], size: int) -> None:
    """However a text is cut, the same references are replaced and reported, and nothing is lost."""
    body = "".join(parts).encode()
    whole, reports = replaced(body)
    assert replaced(body, size) == (whole, reports)
    assert problem_of(body, size) == problem_of(body)
    assert len(whole.encode()) == len(body) + sum(3 - len(reference) for reference, _ in reports)


def test_endless_references_are_reported_in_part() -> None:
    """After 1,000 reports a response is replaced in silence."""
    text, reports = replaced(b"<a>" + b"&#0;" * 5000)
    assert text == "<a>" + "\ufffd" * 5000
    assert reports == [("&#0;", "a")] * 1000


ENTITIES = ["&nbsp;", "&eacute;", "&a.b-c:d;", "&Amp;", "&_;", f"&{'n' * 32};"]
AMPERSANDS = ["&", "& ", "AT&T ", "&nbsp ", "&;", "&#;", "&#xZ;", "&#x ", "&amp &lt;", "&&amp;", "&ø;", f"&{'n' * 70};"]


@pytest.mark.parametrize("size", [1, 2, 5, 10**9])
@pytest.mark.parametrize(
    "place", ["<a>{}</a>", "<a b='{}'/>", "<a><![CDATA[&x;]]>{}<b>&y;</b></a>", "<!-- & -->{}<a/>"]
)
@pytest.mark.parametrize("text", ENTITIES + AMPERSANDS)
def test_the_first_reference_that_cannot_be_read_is_named(text: str, place: str, size: int) -> None:
    """An entity that XML does not define, or an `&` that begins no reference, wherever it stands."""
    problem = problem_of(place.format(text).encode(), size)
    assert problem is not None
    assert problem == f"it holds the entity '{text}', which XML does not define" or text in AMPERSANDS
    assert problem.startswith("it holds an '&' that begins no reference") or text in ENTITIES


@pytest.mark.parametrize("size", [1, 2, 5, 10**9])
@pytest.mark.parametrize(
    "text",
    [
        *("&amp;&lt;&gt;&quot;&apos;&#xA0;&#160;", "<![CDATA[&nbsp; & ]]>", "<!-- &nbsp; & -->", "x", ""),
        *("&", "&nb", "&amp", "&#x1"),  # cut
    ],
)
def test_what_is_no_wrong_reference(text: str, size: int) -> None:
    """What XML defines, what is no reference, and what may be the beginning of one at the end of a cut response."""
    assert problem_of(f"<a>&amp;{text}".encode(), size) is None


@pytest.mark.parametrize("collect", [True, False], ids=["collected", "streamed"])
@pytest.mark.parametrize("size", [1, 700, 10**9])
@pytest.mark.parametrize("count", [3, 3000])
def test_a_response_with_an_entity_of_html(collect: bool, size: int, count: int) -> None:  # noqa: FBT001 - a column
    """The error names the entity, and nothing that libxml2 says after it."""
    body = task_list("".join(TASK.format(n, "a&nbsp;b" if n == 1 else "ab") for n in range(count)))
    if size == 1 and count > 3:
        body = body[:20_000]
    parser = ResponseParser(LIST, V88, limits=Limits(), collect=collect)
    for start in range(0, len(body), size):
        parser.feed(body[start : start + size])
    with pytest.raises(UnreadableResponse) as caught:
        interpret(LIST, parser.close(), 200)
    message = "the response is not well-formed XML: it holds the entity '&nbsp;', which XML does not define"
    assert str(caught.value) == message
    assert caught.value.applied == "yes"


def test_a_wrong_reference_explains_no_other_problem() -> None:
    """A limit that is exceeded, or a value that is wrong, stays what is wrong."""
    body = answer("GetBatchTaskInfo", "<!-- &nbsp; --><Response><Id>x</Id></Response>")
    with pytest.raises(UnexpectedResponse, match="not a valid int"):
        parse_response("GetBatchTaskInfo", body, version=V88)
    with pytest.raises(LimitExceeded):
        parse_response("GetBatchTaskInfo", body.replace(b"x", b"&nbsp;"), version=V88, limits=Limits(bytes=100))


TASK = "<BatchTaskInfo><Id>{}</Id><Description>{}</Description><P><Key>k</Key></P></BatchTaskInfo>"


@pytest.mark.parametrize("collect", [True, False], ids=["collected", "streamed"])
@pytest.mark.parametrize("size", [1, 50, 700, 10**9])
def test_a_list_with_a_control_character(collect: bool, size: int) -> None:  # noqa: FBT001 - a column
    """A control character costs a list nothing but that character, among items that are marked up alike, too."""
    body = task_list("".join(TASK.format(n, "a&#xB;b&amp;" if n % 3 == 2 else "ab") for n in range(30)))
    unknown: list[Any] = []
    parser = ResponseParser(LIST, V88, limits=Limits(), on_unknown=unknown.append, collect=collect)
    found = [item for start in range(0, len(body), size) for item in parser.feed(body[start : start + size])]
    tasks = interpret(LIST, parser.close(), 200)
    assert [task.description for task in (tasks if collect else found)] == ["ab", "ab", "a\ufffdb&"] * 10
    characters = [item for item in unknown if item.kind == "character"]
    assert characters == [UnknownItem("character", "&#xB;", "Description")] * 10


def test_a_control_character_elsewhere() -> None:
    """A parameter, an attribute and a fault may hold one, too; as it stands, unescaped, it is no XML."""
    pair = "<P><Key>k&#1;</Key><Value a='&#2;'>v&#x1F;</Value></P>"
    body = answer("GetBatchTaskInfo", f"<Response><ParameterObject>{pair}</ParameterObject></Response>")
    unknown: list[Any] = []
    task: Any = parse_response("GetBatchTaskInfo", body, version=V88, on_unknown=unknown.append)
    assert task.parameter_object == {"k\ufffd": "v\ufffd"}
    assert [item.where for item in unknown] == ["Key", "Value", "Value"]
    with pytest.raises(UnreadableResponse):
        parse_response("GetBatchTaskInfo", body.replace(b"&#1;", b"\1"), version=V88)


def test_output_holds_no_such_reference() -> None:
    """In base64 the reference stays an error, and what was held back for it is not lost."""
    output = OPERATIONS["GetOutputFromBatch"]
    for content, size in (("QUJD&#xD;REVG", 1), ("QUJD&#xD;REVG", 10**9), ("QUJ&#13;DREVG", 7)):
        parser = ResponseParser(output, V88, limits=Limits(), collect=False)
        body = answer("GetOutputFromBatch", f"<Response>{content}</Response>")
        found = [piece for start in range(0, len(body), size) for piece in parser.feed(body[start : start + size])]
        assert parser.close().problem is None
        assert b"".join(found) == b"ABCDEF"
    for size in (1, 10**9):
        parser = ResponseParser(output, V88, limits=Limits())
        body = answer("GetOutputFromBatch", "<Response>QUJD&#xB;REVG</Response>")
        for start in range(0, len(body), size):
            parser.feed(body[start : start + size])
        problem = parser.close().problem
        assert problem is not None
        assert "base64" in problem.message
