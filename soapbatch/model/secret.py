"""Values that must not be seen: a wrapper that masks itself, and the masking of text that may repeat one."""

import re
import sys
from collections.abc import Iterable
from typing import Final, NoReturn, TypeVar

T = TypeVar("T")

MASK: Final = "***"

# What a NetServer ticket (7T:), an OAuth access token (8A:) and a JWT look like, wherever they stand in a text.
_TOKEN_SHAPES = re.compile(
    r"(?:7T:|8A:)(?:[A-Za-z0-9+/=._~-]|&(?:amp;)*#[A-Za-z0-9]+;)+"
    # A JWT is looked for once in each run of its characters: from every "eyJ" on, that would take quadratic time.
    r"|(?<![A-Za-z0-9_-])((?:(?!eyJ)[A-Za-z0-9_-])*+)eyJ[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+){2,}"
)
# Elements that hold a secret, by name, in any prefix: their content goes, CDATA included.
_SECRET_ELEMENTS = re.compile(
    r"(<(?:[\w.-]+:)?(?:ApplicationToken|Ticket|Password|AccessToken|Value)(?:\s[^<>]*)?(?<!/)>)"
    r"(?:[^<]|<!\[CDATA\[(?s:.*?)(?:\]\]>|\Z))*"
)
# A character of a secret may stand in XML as a reference: writers differ in which of these they escape, and how; and a
# fault that repeats a request escapes it once more.
_AMPERSAND: Final = "&(?:(?:amp|#0*38|#[xX]0*26);)*"
_ENTITIES: Final = {"<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_CHARACTERS: Final = {entity: character for character, entity in _ENTITIES.items()}
_REFERENCE = re.compile(rf"{_AMPERSAND}(?:#0*([0-9]{{1,7}})|#[xX]0*([0-9a-fA-F]{{1,6}})|(lt|gt|quot|apos));")


class Secret:
    """A ticket, token or password. `repr` and `str` are masked, and it cannot be pickled.

    `reveal()` is called where a value is written to an envelope and nowhere else that could show it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Wrap `value`."""
        self._value = value

    @classmethod
    def wrap(cls, value: "str | Secret | T") -> "Secret | T":
        """Return text wrapped, and anything else as it is. Raises nothing.

        A constructor wraps its secrets first and forgets the plain values: a traceback may show its locals.
        """
        return cls(value) if isinstance(value, str) else value

    def reveal(self) -> str:
        """Return the value itself. Keep it out of locals that a traceback could show."""
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
        """Refuse to be pickled: a pickle shows its value to whoever finds it."""
        raise TypeError("a Secret cannot be pickled; pass the value itself through a channel that you trust")


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return `text` with every known secret, plain or escaped for XML, and everything shaped like a token, masked.

    Escaped is a character as an entity or a numeric reference (`&#229;`, `&#x00E5;`), itself escaped or not.
    """
    referred = _referred(text)
    # The longest first: one secret may begin with, or hold, another.
    for value in sorted({secret.reveal() for secret in secrets} - {""}, key=len, reverse=True):
        if referred.isdisjoint(value):
            text = text.replace(value, MASK)
        else:
            text = re.sub("".join(_written(c) if c in referred else re.escape(c) for c in value), MASK, text)
    return _TOKEN_SHAPES.sub(rf"\1{MASK}", text)


def _referred(text: str) -> set[str]:
    """Return the characters for which references stand in `text`: a pattern with alternatives for all is slow."""
    if "&" not in text:
        return set()
    found = {"&"}
    for decimal, hexadecimal, entity in set(_REFERENCE.findall(text)):
        code = int(decimal) if decimal else int(hexadecimal or "0", 16)
        found.add(_CHARACTERS.get(entity) or chr(min(code, sys.maxunicode)))
    return found


def _written(character: str) -> str:
    """Return a pattern of all the ways in which a character may stand in XML."""
    if character == "&":
        return _AMPERSAND
    code = ord(character)
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{code:x}")
    entity = f"|{_ENTITIES[character]}" if character in _ENTITIES else ""
    return f"(?:{re.escape(character)}|{_AMPERSAND}(?:#0*{code}|#[xX]0*{digits}{entity});)"


def redact_envelope(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return the XML `text` with the content of secret elements masked too, by name."""
    return redact(_SECRET_ELEMENTS.sub(rf"\1{MASK}", text), secrets)
