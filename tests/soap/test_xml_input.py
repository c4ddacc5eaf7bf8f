"""Encodings sorted out, and XML fed to lxml without harm."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st
from lxml import etree

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model.limits import Limits
from soapbatch.soap.names import Names
from soapbatch.soap.xml_input import SafeXmlParser, Utf8Transcoder, charset_of

SEED = (Path(__file__).parents[2] / "fixtures/Services86/Batch/GetBatchTaskInfo.response.xml").read_text()
TEXT = SEED.replace('<Batch:Name xsi:type="xsd:string">', '<Batch:Name xsi:type="xsd:string">æøå €')
BARE = TEXT.partition("?>\n")[2]


def declared(encoding: str) -> str:
    """Return an envelope that declares an encoding."""
    return f"<?xml version='1.0' encoding='{encoding}'?>{BARE}"


def utf8(body: bytes, content_type: str | None = None, size: int = 10**9) -> bytes:
    """Return a body as UTF-8, fed in pieces of `size`."""
    decoder = Utf8Transcoder(Limits(), streamed=False, content_type=content_type)
    pieces = [decoder.feed(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join([*pieces, decoder.feed(b"", final=True)])


LATIN = declared("iso-8859-1").replace("€", "").encode("iso-8859-1")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(TEXT.encode(), None, id="utf-8 declared"),
        pytest.param(BARE.encode(), None, id="utf-8 by default"),
        pytest.param(TEXT.encode("utf-8-sig"), None, id="utf-8 with a mark"),
        pytest.param(TEXT.encode("utf-8-sig"), "text/xml; charset=iso-8859-1", id="a mark beats the charset"),
        pytest.param(
            declared("iso-8859-1").encode(), "text/xml; charset=utf-8", id="the charset beats the declaration"
        ),
        pytest.param(declared("utf-16").encode("utf-16"), None, id="utf-16 with a mark"),
        pytest.param(BARE.encode("utf-16"), 'text/xml; charset="utf-16"', id="utf-16 with a mark and a charset"),
        pytest.param(b"\xfe\xff" + BARE.encode("utf-16-be"), None, id="utf-16 big-endian with a mark"),
        pytest.param(BARE.encode("utf-16-le"), None, id="utf-16-le without a mark"),
        pytest.param(BARE.encode("utf-16-be"), "text/xml; charset=utf-16", id="utf-16-be without a mark"),
        pytest.param(BARE.replace("€", "").encode("latin-1"), "text/xml; charset=latin1", id="latin-1 by charset"),
        pytest.param(declared("Windows-1252").encode("cp1252"), None, id="windows-1252 declared"),
        pytest.param(LATIN, "text/xml", id="iso-8859-1 declared"),
        pytest.param(declared("us-ascii").replace("æøå €", "").encode("ascii"), None, id="us-ascii declared"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 10**9])
def test_encodings(body: bytes, content_type: str | None, size: int) -> None:
    """Each encoding that is read comes out as UTF-8 without a mark, in whatever pieces it comes."""
    expected = BARE if b"\xe6" in body or "æ".encode() in body or b"\0" in body else BARE.replace("æøå €", "")
    got = utf8(body, content_type, size).decode()
    assert not got.startswith("\ufeff")
    assert re.sub(r"^<\?xml[^>]*>\s*", "", got).replace("€", "") == expected.replace("€", "")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(declared("utf-7").encode(), None, id="utf-7 declared"),
        pytest.param(BARE.encode("utf-7"), "text/xml; charset=utf-7", id="utf-7"),
        pytest.param(BARE.encode("utf-32"), None, id="utf-32 with a mark"),
        pytest.param(b"\0\0\xfe\xff" + BARE.encode("utf-32-be"), None, id="utf-32 big-endian with a mark"),
        pytest.param(BARE.encode("utf-32-le"), None, id="utf-32-le without a mark"),
        pytest.param(BARE.encode("utf-32-be"), None, id="utf-32-be without a mark"),
        pytest.param(declared("cp037").encode(), None, id="EBCDIC declared"),
        pytest.param(BARE.replace("€", "").encode("cp037"), "text/xml; charset=cp037", id="EBCDIC"),
        pytest.param(declared("no-such").encode(), None, id="unknown"),
        pytest.param(BARE.encode(), "text/xml; charset=no-such", id="unknown charset"),
        pytest.param(declared("base64").encode(), None, id="a codec that is no encoding"),
        pytest.param(BARE.encode(), 'text/xml; charset="\0"', id="a charset that is no name"),
        pytest.param(declared("utf-16").encode(), None, id="utf-16 declared, which it is not"),
        pytest.param(BARE.encode(), "text/xml; charset=utf-16le", id="utf-16 by charset, which it is not"),
        pytest.param(declared("us-ascii").encode(), None, id="us-ascii declared, which it is not"),
        pytest.param(declared("utf-16").encode("utf-16")[:-1], None, id="utf-16 cut in a character"),
        pytest.param(BARE.encode("utf-16") + b"\0\xd8\0\xd8", None, id="lone surrogates"),
    ],
)
def test_encodings_that_are_refused(body: bytes, content_type: str | None) -> None:
    """Other encodings, and bytes that are not in the encoding they claim, are refused with a reason."""
    with pytest.raises(UnreadableResponse, match="encoding"):
        utf8(body, content_type)


UTF8_ALL_THE_SAME = [
    pytest.param(TEXT.encode(), "text/xml; charset=ISO-8859-1", id="declared, ISO-8859-1"),
    pytest.param(TEXT.encode(), "text/xml; charset=windows-1252", id="declared, Windows-1252"),
    pytest.param(TEXT.encode(), "text/xml; charset=us-ascii", id="declared, US-ASCII"),
    pytest.param(BARE.encode(), "text/xml; charset=ISO-8859-1", id="not declared"),
    pytest.param(TEXT.encode(), "text/xml; charset=utf-8, text/xml; charset=iso-8859-1", id="two charsets"),
]


@pytest.mark.parametrize(("body", "content_type"), UTF8_ALL_THE_SAME)
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 10**9])
def test_a_default_charset_makes_no_mojibake(body: bytes, content_type: str, size: int) -> None:
    """A body that is UTF-8, and does not deny that, is read as UTF-8 although a one-byte encoding is claimed."""
    assert utf8(body, content_type, size) == body


def test_a_one_byte_encoding_in_the_charset_and_nowhere_else() -> None:
    """Bytes that are no UTF-8 are of the charset, whatever is declared; a declared one-byte encoding stays as it is."""
    text = BARE.replace("€", "")
    for head in ("", "<?xml version='1.0' encoding='utf-8'?>"):
        for size in (1, 2, 10**9):
            body = (head + text).encode("iso-8859-1")
            assert utf8(body, "text/xml; charset=iso-8859-1", size).decode() == head + text
    odd = "<?xml version='1.0' encoding='iso-8859-1'?><a>\xc3\xb8</a>"
    assert utf8(odd.encode("iso-8859-1"), "text/xml; charset=iso-8859-1").decode() == odd


@pytest.mark.parametrize(
    "end", [b"\xf8", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x9a", b"\xff\xff", b"\x80"], ids=lambda end: end.hex()
)
def test_the_end_of_a_body_between_two_encodings(end: bytes) -> None:
    """A first character that is cut at the end of the body is no UTF-8, so it is of the charset."""
    for size in (1, 10**9):
        body = b"<a>" + end
        assert utf8(body, "text/xml; charset=iso-8859-1", size).decode() == body.decode("iso-8859-1")


@pytest.mark.parametrize("charset", ["iso-8859-1", "us-ascii"])
def test_a_mixture_of_encodings_is_refused(charset: str) -> None:
    """A body that begins as UTF-8 and goes on as something else is refused, and so is a byte outside of US-ASCII."""
    with pytest.raises(UnreadableResponse, match="not in the encoding that it claims"):
        utf8("<a>ø</a>".encode() + b"<b>\xf8</b>", f"text/xml; charset={charset}")
    with pytest.raises(UnreadableResponse, match="not in the encoding that it claims"):
        utf8(b"<b>\xf8</b>", "text/xml; charset=us-ascii")


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        (None, None),
        ("", None),
        ("text/xml", None),
        ("text/xml; charset=utf-8", "utf-8"),
        ('application/soap+xml;action="a;charset=utf-16";CHARSET="UTF-8"', "UTF-8"),
        ("text/xml; charset=utf-8, text/xml; charset=utf-8", "utf-8"),
        ("text/xml; charset=utf-8, text/html; charset=iso-8859-1", "iso-8859-1"),
        ("text/xml; charset=utf-8, text/xml; charset=nonsense", "utf-8"),
        ("text/xml; charset=nonsense, text/xml", "nonsense"),
        ("text/xml; charset=utf-8; charset=", "utf-8"),
        ('text/xml; charset=""', None),
        ("text/xml; charset='utf-8'", "utf-8"),
        (r'text/xml; charset = "ut\f-8"', "utf-8"),
        ('text/xml; charset="utf-8', "utf-8"),
        ("text/xml; charset*=utf-8''utf-8", None),
        ("text/xml;charset*=a;charset*0=b", None),
        ("text/xml; xcharset=utf-16; charset-x=utf-16", None),
        (f"text/xml; x={'y' * 2000}; charset=utf-16", None),
    ],
)
def test_the_charset_of_a_content_type(content_type: str | None, charset: str | None) -> None:
    """The parameter is found in any case, quoted or not, and the last one that is supported counts."""
    assert charset_of(content_type) == charset


@pytest.mark.parametrize("unit", [";", '"', "\\", 'x="\\', "a=", "a ", " ", "charset=;", '"a=', "charset", '\\";'])
def test_a_long_content_type_takes_no_time(unit: str) -> None:
    """A header of 100,000 characters is looked at only where a charset can be expected."""
    started = time.process_time()
    for start in ("", "text/xml; charset=", 'text/xml; x="'):
        charset_of(start + unit * (100_000 // len(unit)))
    assert time.process_time() - started < 0.1


def test_the_byte_limits() -> None:
    """Bytes are counted against the limit of the way the response is read."""
    limits = Limits(bytes=10, streamed_bytes=20)
    for streamed, name, limit in ((False, "bytes", 10), (True, "streamed_bytes", 20)):
        decoder = Utf8Transcoder(limits, streamed=streamed, content_type=None)
        for _ in range(limit):
            decoder.feed(b"x")
        with pytest.raises(LimitExceeded, match=f"Limits.{name};") as caught:
            decoder.feed(b"x")
        assert caught.value.limit == name


@given(st.text())
@example("text/xml; charset*=utf-8''%ff")
@example("text/xml; charset*0=x; charset*1=\udcff")
@example("text/xml\r\n\r\n; charset=x")
def test_any_content_type(content_type: str) -> None:
    """No Content-Type breaks the search for its charset, nor the decoder."""
    charset = charset_of(content_type)
    assert charset is None or charset
    try:
        utf8(b"<a/>", content_type)
    except UnreadableResponse as error:
        assert "encoding" in str(error)  # noqa: PT017 - most do not raise


def xml(body: bytes, size: int = 10**9, **limits: int) -> etree._Element:
    """Feed a document in pieces of `size` and return its root."""
    feed = SafeXmlParser(Limits(**limits), ("*",), Names())
    for start in range(0, len(body), size):
        feed.feed(body[start : start + size])
        feed.check()
    return feed.close()


PADDING = b"<!--" + b"-x" * 300 + b"-->"


@pytest.mark.parametrize(
    "body",
    [
        b"<a/>",
        b" \n<a/>",
        b"<?xml version='1.0'?><a/>",
        b"<?xml version='1.0'?><?p i?>" + PADDING + b" <?q?>\n<a/><!-- e --> ",
        PADDING + b"<a/>",
        b"<a><!-- <!DOCTYPE a> --><![CDATA[<!DOCTYPE a>]]></a>",
        b"<!-- <!DOCTYPE a> --><a/>",
    ],
    ids=range(7),
)
@pytest.mark.parametrize("size", [1, 2, 3, 100, 10**9])
def test_prologs(body: bytes, size: int) -> None:
    """Declarations, comments, instructions and white space before the root element are let through."""
    assert xml(body, size).tag == "a"


@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE a>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>",
        b"<!DOCTYPE a [<!ENTITY e 'x'>]>",
        b"<!DOCTYPE html>",
    ],
    ids=["bare", "external", "internal", "html"],
)
@pytest.mark.parametrize(
    "before",
    [b"", b"<?xml version='1.0'?>\n", PADDING + b"\n<?p i?>", b" " * 1000],
    ids=["first", "declared", "late", "blank"],
)
@pytest.mark.parametrize("size", [1, 2, 7, 100, 10**9])
def test_a_doctype_is_refused(doctype: bytes, before: bytes, size: int) -> None:
    """A DOCTYPE is refused wherever it stands and however it is cut, before libxml2 sees it."""
    with pytest.raises(UnreadableResponse, match="holds a DOCTYPE"):
        xml(before + doctype + b"<a>&e;</a>", size)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "no body", id="nothing"),
        pytest.param(b" \r\n", "no body", id="white space"),
        pytest.param(b"hello", "not well-formed", id="text"),
        pytest.param(b"<a></b>", "not well-formed", id="mismatch"),
        pytest.param(b"<a>\0</a>", "not well-formed", id="NUL"),
        pytest.param(b"<a>\xff</a>", "not well-formed", id="not UTF-8"),
        pytest.param(b"<a>&nbsp;</a>", "not well-formed", id="entity"),
        pytest.param(b"<a b='1' b='2'/>", "not well-formed", id="attribute twice"),
        pytest.param(b"<a/><b/>", "not well-formed", id="two roots"),
        pytest.param(b"<a/>x", "not well-formed", id="text behind"),
        pytest.param(b"<a><i:b/></a>", "not well-formed", id="undeclared prefix"),
        pytest.param(b"<!ELEMENT a>", "not well-formed", id="a declaration of a DTD"),
        pytest.param(b"<?xml version='1.0'?>", "not well-formed", id="a declaration alone"),
        pytest.param(b"<!-- never", "ends before", id="comment cut"),
        pytest.param(b"<?never", "ends before", id="instruction cut"),
        pytest.param(b"<", "ends before", id="bracket"),
        pytest.param(b"<a", "ends before", id="tag cut"),
        pytest.param(b"<a>", "ends before", id="tag open"),
        pytest.param(b"<a><b>text", "ends before", id="text cut"),
        pytest.param(b"<a><![CDATA[x", "ends before", id="CDATA cut"),
        pytest.param(b"<a>&am", "ends before", id="reference cut"),
        pytest.param(b"<a>\xc3", "ends before", id="character cut"),
        pytest.param(b"<a><b></b></a", "ends before", id="last tag cut"),
    ],
)
@pytest.mark.parametrize("size", [1, 10**9])
def test_what_is_not_xml(body: bytes, message: str, size: int) -> None:
    """A truncated document and one that is wrong in itself are told apart."""
    with pytest.raises(UnreadableResponse, match=message):
        xml(body, size)


@pytest.mark.parametrize(
    ("body", "limits", "name"),
    [
        pytest.param(b"<a>" * 5 + b"</a>" * 5, {"depth": 4}, "depth", id="depth"),
        pytest.param(b"<a>" * 5, {"depth": 4}, "depth", id="depth, open"),
        pytest.param(b"<a>" * 5 + b"</a>" * 4 + b"<b/></a>", {"depth": 4}, "depth", id="depth, not at the end"),
        pytest.param(b"<a>" * 300 + b"</a>" * 300, {"depth": 10**6}, "depth", id="libxml2's depth"),
        pytest.param(b"<a>" + b"<b/>" * 10 + b"</a>", {"tags": 11}, "tags", id="tags"),
        pytest.param(b"<a>" + b"x" * 101 + b"</a>", {"text_length": 100}, "text_length", id="text"),
        pytest.param(b"<a b='" + b"x" * 101 + b"'/>", {"text_length": 100}, "text_length", id="attribute"),
        pytest.param(b"<" + b"x" * 101 + b"/>", {"text_length": 100}, "text_length", id="name"),
        pytest.param(b"<!--" + b"x" * 101 + b"--><a/>", {"text_length": 100}, "text_length", id="comment before"),
        pytest.param(b" " * 101 + b"<a/>", {"text_length": 100}, "text_length", id="white space before"),
    ],
)
@pytest.mark.parametrize("size", [1, 10, 10**9])
def test_limits(body: bytes, limits: dict[str, int], name: str, size: int) -> None:
    """Each limit ends a document that exceeds it, in whatever pieces it comes."""
    with pytest.raises(LimitExceeded, match=f"Limits.{name};") as caught:
        xml(body, size, **limits)
    assert caught.value.limit == name


def test_at_the_limits() -> None:
    """What just fits a limit is read."""
    body = b"<a><b>" + b"x" * 96 + b"</b></a>"
    assert xml(body, depth=2, tags=4, text_length=99).tag == "a"


def test_events_before_an_error_are_not_lost() -> None:
    """What was complete before an error counts, however the bytes were cut: it may be what the error is judged by."""
    feed = SafeXmlParser(Limits(), ("b",), Names())
    events = feed.feed(b"<a><b>1</b><b>2</b><c></d>")
    assert [(event, element.text) for event, element in events if event == "end"] == [("end", "1"), ("end", "2")]
    with pytest.raises(UnreadableResponse, match="not well-formed"):
        feed.check()


def test_nothing_is_fetched_or_included(tmp_path: Path) -> None:
    """XInclude and schema locations are elements and attributes like any other: nothing is opened."""
    file = tmp_path / "secret.txt"
    file.write_text("secret")
    body = f'<a xmlns:x="http://www.w3.org/2001/XInclude"><x:include href="{file.as_uri()}" parse="text"/></a>'
    assert "secret</a>" not in etree.tostring(xml(body.encode()), encoding="unicode")
    assert "".join(xml(body.encode()).itertext()) == ""


ATTRIBUTES = b" ".join(b"%c%d='1'" % (97 + n % 26, n) for n in range(100))


@pytest.mark.parametrize("size", [1, 50, 10**9])
@pytest.mark.parametrize(
    ("unit", "limits", "name"),
    [
        (b"<a " + ATTRIBUTES + b"/>", {"tags": 1000}, "tags"),
        (b"<a " + ATTRIBUTES.replace(b"'1'", b"'>'") + b"/>", {"tags": 1000}, "tags"),
        (b"<a xmlns:p='1' xmlns:q='2'/>" * 30, {"tags": 500}, "tags"),
        (b"<a>" + b"x=y=" * 300 + b"</a>", {"tags": 1000}, ""),
        (b"<a><![CDATA[" + b"k='v' " * 300 + b"]]></a>", {"tags": 1000}, ""),
        (b"<a>" + b"x" * 300 + b"</a>", {"text_length": 400}, ""),
        (b"<a>" + b"x" * 900 + b"</a>", {"text_length": 1000, "tags": 10**6}, "text_length"),
    ],
)
def test_what_counts_towards_limits(unit: bytes, limits: dict[str, int], name: str, size: int) -> None:
    """Attributes and declarations count as tags, what looks like them in a text does not; all text has a limit."""
    body = b"<r>" + unit * 20 + b"</r>"
    if name:
        with pytest.raises(LimitExceeded) as caught:
            xml(body, size, **limits)
        assert caught.value.limit == name
    else:
        assert len(xml(body, size, **limits)) == 20


@pytest.mark.parametrize("size", [10, 1000])
def test_a_tag_with_too_many_attributes(size: int) -> None:
    """One tag may have a sixteenth of the tags as attributes."""
    body = b"<r><a " + b" ".join(b"a%d=''" % n for n in range(3000)) + b"/></r>"
    assert len(xml(body, 10**9, tags=16_000)) == 1
    with pytest.raises(LimitExceeded) as caught:
        xml(body, size, tags=16_000)
    assert caught.value.limit == "tags"


@pytest.mark.parametrize("size", [*range(1, 12), 10**9])
def test_a_cut_tag_is_held_back(size: int) -> None:
    """Tags, comments and CDATA sections cut anywhere are read as they are."""
    body = (
        b"<r a='<'/>"
        if size == 0
        else b"<r a='>' b=\"'>\"><!-- it's --><x>1 > 0 '</x><![CDATA[<x a=\"]]><?p '?><y c='\"'/></r>"
    )
    root = xml(body, size)
    assert [child.tag for child in root] == ["x", "y"]
    assert (root.get("a"), root.get("b"), root[0].text, root[0].tail, root[1].get("c")) == (
        *(">", "'>", "1 > 0 '", '<x a="', '"'),
    )


@pytest.mark.parametrize("body", [b"<r a='<'/>", b"<r <a/></r>", b'<r a="1<2"></r>', b"<r><a b='", b"<r><a b"])
@pytest.mark.parametrize("size", [1, 3, 10**9])
def test_a_broken_tag_is_not_held_back(body: bytes, size: int) -> None:
    """A tag with a bracket in it is found to be broken, and one that does not end to be cut."""
    with pytest.raises(UnreadableResponse):
        xml(body, size)


def test_huge_texts() -> None:
    """A text above libxml2's own limit follows Limits.text_length."""
    text = b"x" * 10_500_000
    assert len(xml(b"<a>" + text + b"</a>", 2**20, text_length=11_000_000).text or "") == len(text)
    with pytest.raises(LimitExceeded) as caught:
        xml(b"<a>" + text + b"</a>", 2**20, text_length=10_000_000)
    assert caught.value.limit == "text_length"
