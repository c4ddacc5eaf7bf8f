"""Secrets are masked wherever they could be seen."""

import copy
import json
import pickle
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, strategies as st

from soapbatch.model.secret import MASK, Secret, kind_of, redact, redact_envelope

PASSWORD = "tr0ub4dor&3<>"
TICKET = "7T:MgA5ADsAMQA3AA+/=="
ACCESS_TOKEN = "8A:Cust12345.abc-DEF_123~x"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl-_"
JWE = "eyJhbGciOiJSU0EifQ.a2V5.aXY.Y2lwaGVydGV4dA.dGFn"


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(format, id="format"),
        pytest.param(lambda secret: f"{secret} {secret!r} {secret!s} {secret!a}", id="f-string"),
        pytest.param(lambda secret: "%s %r" % (secret, secret), id="percent"),  # noqa: UP031 - as logging does it
        pytest.param(lambda secret: repr({"ticket": [secret]}), id="inside containers"),
        pytest.param(lambda secret: str(ValueError(secret)), id="in an exception"),
    ],
)
def test_a_secret_shows_a_mask(show: Callable[[Secret], str]) -> None:
    """Every way to turn a secret into text gives a mask."""
    shown = show(Secret(PASSWORD))
    assert MASK in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    "duplicate",
    [
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
    ],
)
def test_a_secret_is_not_duplicated(duplicate: Callable[[Secret], object]) -> None:
    """Pickling and copying a secret are refused with a reason that does not show it."""
    with pytest.raises(TypeError, match="cannot be pickled") as caught:
        duplicate(Secret(PASSWORD))
    assert PASSWORD not in str(caught.value)


def test_a_secret_has_no_attributes_to_look_through() -> None:
    """A secret has no `__dict__`, which tracebacks and debuggers like to print."""
    assert not hasattr(Secret(PASSWORD), "__dict__")


@pytest.mark.parametrize("value", [b"tr0ub4dor", bytearray(b"tr0ub4dor"), memoryview(b"tr0ub4dor")])
def test_bytes_are_hidden(value: object) -> None:
    """Bytes given as a secret are replaced by something that has their type's name, and not their value."""
    for wrapped in (Secret.wrap(value), Secret.token(value)):
        assert not isinstance(wrapped, Secret)
        assert kind_of(wrapped) == type(value).__name__
        assert "tr0ub4dor" not in repr(wrapped)
    assert Secret.wrap(5) == 5
    assert Secret.token(" a\n") == Secret("a")
    assert Secret.token(Secret("\r\na b")) == Secret("a b")


ODD = 'pä ss/"\\<&>\U0001f680'


@pytest.mark.parametrize(
    "text",
    [
        *(quote(ODD), quote(ODD).lower(), quote(quote(ODD)), quote_plus(ODD), quote(ODD, safe="")),
        *(json.dumps(ODD), json.dumps(json.dumps(ODD)), json.dumps(ODD, ensure_ascii=False), json.dumps(quote(ODD))),
        json.dumps(ODD).replace("/", "\\/"),
        json.dumps(ODD).replace("<", "\\u003C").replace("&", "\\u0026"),
        quote(ODD).replace("%C3%A4", "%E4"),  # as software that knows no UTF-8 writes it
        json.dumps(ODD).strip('"').replace("\\u", "%u"),  # as .NET's UrlEncodeUnicode writes it
        quote("".join(f"%u{ord(c):04x}" if c.isascii() else c for c in ODD)).replace("%C3%A4", "%25e4"),
    ],
)
def test_escapes_hide_no_secret(text: str) -> None:
    """A secret is masked in percent encoding, in JSON, and in one within the other."""
    masked = redact(f"[{text}]", [Secret(ODD)])
    assert MASK in masked
    assert re.fullmatch(r"[\[\]\"\\]*\*\*\*[\[\]\"\\]*", masked)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("7T%3AMgA5ADs%3D%3D&x", f"{MASK}&x"),
        ("7T%253aMgA5ADs%253D, x", f"{MASK}, x"),
        (r"7T\u003aMgA5\u002b\/x=\u003d x", f"{MASK} x"),
        ("7T%u003AMgA5%u002b%25u003d x", f"{MASK} x"),
        ("7T&#58;MgA5 x", f"{MASK} x"),
        ("Proxy-Authorization: Basic dTpwdw==", f"Proxy-Authorization: Basic {MASK}"),
        ('"proxy-authorization":"basic dTpwdw==","x"', f'"proxy-authorization":"basic {MASK}","x"'),
        ("Authorization = Bearer abc.def; x", f"Authorization = Bearer {MASK}; x"),
        ("authorization: dTpwdw==", f"authorization: {MASK}"),
        ("AUTHORIZATION: BASIC dTpwdw==", f"AUTHORIZATION: BASIC {MASK}"),
        ("the authorization failed", "the authorization failed"),
        (f"x {JWT[:40]}", f"x {MASK}"),
        (f"x {JWT[:30]} y", f"x {JWT[:30]} y"),
        ("7T%3", "7T%3"),
        ("100% \\ sure", "100% \\ sure"),
    ],
)
def test_more_shapes(text: str, masked: str) -> None:
    """Tickets escaped for a URL or for JSON are masked by their shape, and so are echoed headers and cut JWTs."""
    assert redact(text) == masked


@pytest.mark.parametrize(
    "unit",
    ["%", "%41", "\\u0041", "%u0041", "%E4", "\\", "&", "&amp;", "7T%3A", "authorization: ", "%25", "authorization:\t"],
)
def test_a_long_text_of_escapes(unit: str) -> None:
    """A text of escapes alone is looked through in linear time: this ends."""
    text = unit * (200_000 // len(unit))
    assert len(redact(text, [Secret(ODD), Secret("aaaa")])) <= len(text)


def test_a_long_text_that_begins_like_tokens_again_and_again() -> None:
    """A text full of beginnings of tokens is looked through in linear time: this ends."""
    text = "eyJ" * 300_000
    assert redact(text) == text
    assert redact(f"{text}.a.b") == MASK


def test_reveal_returns_the_value() -> None:
    """The value can be read where it is meant to be."""
    assert Secret(PASSWORD).reveal() == PASSWORD


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        pytest.param(Secret(PASSWORD), True, id="same value"),
        pytest.param(Secret(TICKET), False, id="another value"),
        pytest.param(PASSWORD, False, id="the bare value"),
        pytest.param(None, False, id="none"),
    ],
)
def test_secrets_compare_by_value(other: object, equal: bool) -> None:  # noqa: FBT001 - a column
    """Two secrets are equal if their values are, and equal ones hash alike; a bare string is not a secret."""
    assert (Secret(PASSWORD) == other) is equal
    assert len({Secret(PASSWORD), other}) == (1 if equal else 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"ticket {TICKET} is gone", f"ticket {MASK} is gone", id="ticket"),
        pytest.param(f"Bearer {ACCESS_TOKEN}, sent", f"Bearer {MASK}, sent", id="access token"),
        pytest.param(f"<t>{JWT}</t>", f"<t>{MASK}</t>", id="JWT"),
        pytest.param(f"token={JWE};", f"token={MASK};", id="encrypted JWT, all five parts"),
        pytest.param(f"ticket%3D{TICKET} token%20{JWT}", f"ticket%3D{MASK} token%20{MASK}", id="no boundary before it"),
        pytest.param(f"{TICKET} {TICKET}", f"{MASK} {MASK}", id="twice"),
        pytest.param("2024-02-27T12:30:05 is 7T", "2024-02-27T12:30:05 is 7T", id="a time is no ticket"),
        pytest.param("7T:MgA5&#x2B;&amp;#61;, gone", f"{MASK}, gone", id="references in a ticket"),
        pytest.param("eyJust a word. And more.", "eyJust a word. And more.", id="a word is no JWT"),
        pytest.param("", "", id="empty"),
    ],
)
def test_redact_masks_what_looks_like_a_token(text: str, expected: str) -> None:
    """A token is masked by its shape alone, by whoever it was written, and nothing else is."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        pytest.param(f"no user with {PASSWORD}!", [PASSWORD], f"no user with {MASK}!", id="plain"),
        pytest.param(
            "no user with tr0ub4dor&amp;3&lt;&gt;!", [PASSWORD], f"no user with {MASK}!", id="escaped for XML"
        ),
        pytest.param("p&#229;ss p&#x00e5;s&#X73; p&#00229;ss", ["påss"], f"{MASK} {MASK} {MASK}", id="references"),
        pytest.param("x&amp;amp;#62;yz x&#038;&#x26;gt;yz", ["x>yz", "x&>yz"], f"{MASK} {MASK}", id="escaped again"),
        pytest.param("p&#9999999;ss &#xD800; &#229 &#;", ["påss"], "p&#9999999;ss &#xD800; &#229 &#;", id="nonsense"),
        pytest.param("secret, secrets", ["secret", "secrets"], f"{MASK}, {MASK}", id="one begins with another"),
        pytest.param(
            "7T:MgA5 7T:MgA5rest", ["7T:MgA5", "7T:MgA5rest"], f"{MASK} {MASK}", id="one token within another"
        ),
        pytest.param("nothing", [""], "nothing", id="an empty secret masks nothing"),
        pytest.param("the then them", ["the"], "the then them", id="one of three characters neither"),
        pytest.param("the then them", ["then"], f"the {MASK} them", id="one of four characters"),
        pytest.param("one1 two2", ["one1", "two2"], f"{MASK} {MASK}", id="several"),
    ],
)
def test_redact_masks_known_values(text: str, secrets: list[str], expected: str) -> None:
    """A known secret of at least four characters is masked whole, anywhere in a text, whatever else is known."""
    assert redact(text, map(Secret, secrets)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("<Password>hunter2</Password>", f"<Password>{MASK}</Password>", id="no prefix"),
        pytest.param(
            "<SoPrincipal:Password>x</SoPrincipal:Password>",
            f"<SoPrincipal:Password>{MASK}</SoPrincipal:Password>",
            id="prefix",
        ),
        pytest.param(
            '<b:Ticket xsi:type="xsd:string">x</b:Ticket>',
            f'<b:Ticket xsi:type="xsd:string">{MASK}</b:Ticket>',
            id="attribute",
        ),
        pytest.param(
            "<ApplicationToken\n>x</ApplicationToken>",
            f"<ApplicationToken\n>{MASK}</ApplicationToken>",
            id="white space in the tag",
        ),
        pytest.param("<AccessToken>a&amp;b</AccessToken>", f"<AccessToken>{MASK}</AccessToken>", id="entity"),
        pytest.param("<Password>a<![CDATA[b<c>]]>d</Password>", f"<Password>{MASK}</Password>", id="CDATA"),
        pytest.param("<Password><![CDATA[cut sho", f"<Password>{MASK}", id="CDATA cut short"),
        pytest.param("<Password>cut sho", f"<Password>{MASK}", id="cut short"),
        pytest.param(
            "<Pair><Key>user</Key><Value>x</Value></Pair>",
            f"<Pair><Key>user</Key><Value>{MASK}</Value></Pair>",
            id="pair",
        ),
        pytest.param('<Ticket i:nil="true"/>\n<Id>1</Id>', '<Ticket i:nil="true"/>\n<Id>1</Id>', id="nothing in it"),
        pytest.param("<TicketCount>3</TicketCount>", "<TicketCount>3</TicketCount>", id="another element"),
        pytest.param("<Name>known</Name>", f"<Name>{MASK}</Name>", id="known value elsewhere"),
    ],
)
def test_redact_envelope_masks_by_element_name(text: str, expected: str) -> None:
    """In an envelope the content of every element that holds a secret goes, known or not."""
    assert redact_envelope(text, [Secret("known")]) == expected


def written(character: str) -> st.SearchStrategy[str]:
    """Return the ways in which a character may stand in XML, those of a text in a text included."""
    code = ord(character)
    references = [f"&#{code};", f"&#{code:07};", f"&#x{code:x};", f"&#x00{code:X};", f"&#X{code:X};"]
    references += [f"&{name};" for name, meant in ENTITIES.items() if meant == character]
    prefixes = ["&", "&amp;", "&amp;amp;", "&#38;", "&#x26;"]
    escaped = [prefix + reference[1:] for prefix in prefixes for reference in references]
    return st.sampled_from(escaped if character in "&<" else [character, *escaped])


ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


@given(st.data(), st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=2, max_size=12))
def test_references_hide_no_secret(data: st.DataObject, value: str) -> None:
    """A secret is masked whole, whichever of its characters are written as references, and in which way."""
    text = "".join(data.draw(written(character)) for character in value)
    assert redact(f" [{text}] ", [Secret(f"[{value}]")]) == f" {MASK} "


@given(st.text(alphabet="ab&<7T:", min_size=4, max_size=8), st.text(max_size=20), st.text(max_size=20))
def test_no_known_secret_survives(value: str, before: str, after: str) -> None:
    """Whatever surrounds a known secret, the redacted text does not hold it, plain or in an envelope."""
    assert value not in redact(f"{before}{value}{after}", [Secret(value)])
    assert value not in redact_envelope(f"{before}{value}{after}", [Secret(value)])
