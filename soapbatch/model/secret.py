"""Secrets: a wrapper that masks itself, and the masking of texts that may repeat a secret.

Rule 1. A mask is for what is shown. Decisions are made on the unmasked text.
Rule 2. A text is masked by shape: tickets, access tokens and JWTs, known or not.
Rule 3. A text is masked by value: each known secret of at least 4 characters. A shorter value occurs by chance in
        nearly every text ("t" in "Ticket"). Masking such a value makes the text unreadable, and a reader who knows the
        text sees the secret in the gaps. A secret that short protects nothing anyway.
Rule 4. An envelope is also masked by element: the content of the elements that hold secrets, of any length.
"""

import re
import sys
from collections.abc import Iterable
from typing import Final, NoReturn, TypeVar
from urllib.parse import unquote

import attrs

T = TypeVar("T")

MASK: Final = "***"
_WHITE_SPACE: Final = " \t\r\n"
_SHORTEST: Final = 4  # characters of a secret that is masked by value; see rule 3

# The shapes of a NetServer ticket (7T:), an OAuth access token (8A:) and a JWT, anywhere in a text. A ticket may be
# escaped for XML, for a URL or for JSON. A JWT at the end of a text may be cut.
_TOKEN_SHAPES = re.compile(
    r"(?:7T|8A)(?::|%(?:25)*3[aA]|&(?:amp;)*#(?:0*58|[xX]0*3[aA]);|(?:\\{1,16}|%(?:25)*)u003[aA])"
    r"(?:[A-Za-z0-9+/=._~-]|&(?:amp;)*#[A-Za-z0-9]+;|%(?:25)*[0-9A-Fa-f]{2}"
    r"|(?:\\{1,16}|%(?:25)*)u[0-9A-Fa-f]{4}|\\{1,16}/)+"
    # A JWT is searched once in each run of its characters: a search from each "eyJ" would take quadratic time.
    r"|(?<![A-Za-z0-9_-])((?:(?!eyJ)[A-Za-z0-9_-])*)"
    r"eyJ[A-Za-z0-9_-]+(?:(?:\.[A-Za-z0-9_-]*){2,}|\.[A-Za-z0-9_-]+\Z)"
)
_TOKEN_BEGINS: Final = ("eyJ", *(kind + colon for kind in ("7T", "8A") for colon in ":%&\\"))
# The credentials in an echoed header.
_AUTHORIZATION = re.compile(
    r"((?:proxy-)?authorization[\"']?\s{0,9}[:=]\s{0,9}[\"']?(?:(?:basic|bearer|digest|negotiate|ntlm)\s{1,9})?)[^\s\"'<>,;]+",
    re.IGNORECASE,
)
# Elements that hold a secret, with any prefix. All their content is masked, CDATA included.
_SECRET_ELEMENTS = re.compile(
    r"(<(?:[\w.-]+:)?(?:ApplicationToken|Ticket|Password|AccessToken|Value)(?:\s[^<>]*)?(?<!/)>)"
    r"(?:[^<]|<!\[CDATA\[(?s:.*?)(?:\]\]>|\Z))*"
)
# A character of a secret may be a reference in XML. XML writers differ in which characters they escape, and how; and a
# fault that repeats a request escapes it a second time.
_AMPERSAND: Final = "&(?:(?:amp|#0*38|#[xX]0*26);)*"
_ENTITIES: Final = {"<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_CHARACTERS: Final = {entity: character for character, entity in _ENTITIES.items()}
_REFERENCE = re.compile(rf"{_AMPERSAND}(?:#0*([0-9]{{1,7}})|#[xX]0*([0-9a-fA-F]{{1,6}})|(lt|gt|quot|apos));")
# Written so that they begin with a literal, which is searched fast.
_PERCENT = re.compile(r"%(?:25)*[0-9a-fA-F]{2}(?:%(?:25)*[0-9a-fA-F]{2})*")
_PERCENT_ITSELF = re.compile(r"%(?:25)+(?=[0-9a-fA-F]{2})")
_JSON = re.compile(r"\\\\{0,15}u[0-9a-fA-F]{4}(?:\\{1,16}u[0-9a-fA-F]{4})?")
# .NET's UrlEncodeUnicode writes %u0041.
_PERCENT_UNITS = re.compile(r"%(?:25)*u[0-9a-fA-F]{4}(?:%(?:25)*u[0-9a-fA-F]{4})?")
_UNIT: Final = r"(?:\\{1,16}|%(?:25)*)u"
_NO_DIGITS = re.compile(_UNIT)
_LATIN_1: Final = frozenset(map(chr, range(0x80, 0x100)))  # which old software writes as one byte in a URL


class Secret:
    """A ticket, token or password. `repr` and `str` are masked, and it cannot be pickled.

    The library calls `reveal()` only to write the value to an envelope, or to mask it in a text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Wrap `value`."""
        # A subclass may change itself when it is escaped or formatted.
        self._value = str.__str__(value) if isinstance(value, str) else value

    @classmethod
    def wrap(cls, value: "str | Secret | T") -> "Secret | T":
        """Return a text as a Secret, and any other value as it is. Raises nothing.

        Wrap a secret before anything can fail: a traceback may show the locals of a frame. So bytes and containers,
        which no argument takes for a secret and which may hold one, become a `Withheld`.
        """
        if isinstance(value, _MAY_HOLD_A_SECRET):
            return Withheld(type(value).__name__)  # type: ignore[return-value]  # of no type that anything takes
        return cls(value) if isinstance(value, str) else value

    @classmethod
    def token(cls, value: "str | Secret | T") -> "Secret | T":
        """Return a ticket or token as a Secret, without the white space around it. Raises nothing.

        Neither holds any, and what was read from a file ends in a line break. A password may: `wrap` keeps it.
        """
        wrapped = cls.wrap(value)
        return cls(wrapped.reveal().strip(_WHITE_SPACE)) if isinstance(wrapped, Secret) else wrapped

    def reveal(self) -> str:
        """Return the value itself. Keep it out of local variables, which a traceback may show."""
        return self._value

    def __repr__(self) -> str:
        """Return a mask, never the value."""
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        """Return a mask, never the value."""
        return MASK

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        """Hash by value."""
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: a pickle would hold the plain value."""
        raise TypeError("a Secret cannot be pickled; pass the value itself through a channel that you trust")


@attrs.frozen
class Withheld:
    """Stands for a value of a wrong type that may hold a secret, and does not show it.

    Attributes:
        kind: the name of the value's type.
    """

    kind: str


_MAY_HOLD_A_SECRET: Final = (bytes, bytearray, memoryview, tuple, list, set, frozenset, dict)


def kind_of(value: object) -> str:
    """Return the name of a value's type, also of a value that is withheld: for errors about wrong types."""
    return value.kind if isinstance(value, Withheld) else type(value).__name__


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    r"""Return `text` with known secrets masked by value, and tokens masked by shape.

    A secret is found plain or escaped: for XML, with characters as entities or numeric references (`&#229;`,
    `&#x00E5;`); for a URL (`%C3%A5`); for JSON (`\u00e5`). Each may be escaped again. Secrets of less than 4 characters
    are not masked by value.
    """
    referred = _referred(text)
    # The longest first, as one secret may contain another.
    for value in sorted({secret.reveal() for secret in secrets}, key=len, reverse=True):
        if len(value) < _SHORTEST:
            break
        if referred.isdisjoint(value):
            text = text.replace(value, MASK)
        else:
            text = re.sub("".join(_written(c) if c in referred else re.escape(c) for c in value), MASK, text)
    # A search by pattern takes 30 times as long as one for a part of what the pattern matches.
    if any(begin in text for begin in _TOKEN_BEGINS):
        text = _TOKEN_SHAPES.sub(rf"\1{MASK}", text)
    return _AUTHORIZATION.sub(rf"\1{MASK}", text) if "uthor" in text.lower() else text


def _referred(text: str) -> set[str]:
    """Return the characters that `text` holds escaped. A pattern with alternatives for all others is slow."""
    found: set[str] = set()
    if "&" in text:
        found.add("&")
        for decimal, hexadecimal, entity in set(_REFERENCE.findall(text)):
            code = int(decimal) if decimal else int(hexadecimal or "0", 16)
            found.add(_CHARACTERS.get(entity) or chr(min(code, sys.maxunicode)))
    if "%" in text:
        for escaped in set(_PERCENT.findall(text)):
            for encoding in ("utf-8", "latin-1"):
                found.update(unquote(_PERCENT_ITSELF.sub("%", escaped), encoding))
        found.add(" ")  # a form writes it as a plus
        found |= _characters_of(_PERCENT_UNITS, text)
    if "\\" in text:
        found |= {"\\", "/", '"'} | _characters_of(_JSON, text)
    return found


def _characters_of(units: re.Pattern[str], text: str) -> set[str]:
    """Return the characters that `text` holds as UTF-16 units; one beyond the first 65,536 is written as two."""
    found: set[str] = set()
    for escaped in set(units.findall(text)):
        found.update(bytes.fromhex(_NO_DIGITS.sub("", escaped)).decode("utf-16-be", "replace"))
    return found


def _written(character: str) -> str:
    """Return a pattern of all the ways to write a character: plain, in XML, in a URL and in JSON."""
    code = ord(character)
    digits = _either_case(f"{code:x}")
    entity = f"|{_ENTITIES[character]}" if character in _ENTITIES else ""
    ways = [_AMPERSAND] if character == "&" else []
    ways += [
        re.escape(character),
        f"{_AMPERSAND}(?:#0*{code}|#[xX]0*{digits}{entity});",
        "".join(f"%(?:25)*{_either_case(f'{byte:02x}')}" for byte in character.encode("utf-8", "replace")),
        "".join(
            f"{_UNIT}{_either_case(unit.hex())}" for unit in _halves(character.encode("utf-16-be", "surrogatepass"))
        ),
    ]
    if character in '\\/"':
        ways.append(rf"\\{{1,16}}{re.escape(character)}")
    if character == " ":
        ways.append(r"\+")
    if character in _LATIN_1:
        ways.append(f"%(?:25)*{digits}")
    return f"(?:{'|'.join(ways)})"


def _halves(units: bytes) -> list[bytes]:
    return [units[start : start + 2] for start in range(0, len(units), 2)]


def _either_case(digits: str) -> str:
    """Return a pattern of hexadecimal digits in lower or upper case."""
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


def redact_envelope(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return the XML `text` masked like `redact` does, and with the content of secret elements masked, too."""
    return redact(_SECRET_ELEMENTS.sub(rf"\1{MASK}", text), secrets)
