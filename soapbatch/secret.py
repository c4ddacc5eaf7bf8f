"""Values that must not be seen: a wrapper that masks itself, and the masking of text that may repeat one."""

import re
from collections.abc import Iterable
from typing import Final, NoReturn

MASK: Final = "***"

# What a NetServer ticket (7T:), an OAuth access token (8A:) and a JWT look like, wherever they stand in a text.
_TOKEN_SHAPES = re.compile(r"(?:7T:|8A:)[A-Za-z0-9+/=._~-]+|eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){2,}")
# Elements that hold a secret, by name, in any prefix: their content goes, CDATA included.
_SECRET_ELEMENTS = re.compile(
    r"(<(?:[\w.-]+:)?(?:ApplicationToken|Ticket|Password|AccessToken|Value)(?:\s[^<>]*)?(?<!/)>)"
    r"(?:[^<]|<!\[CDATA\[(?s:.*?)(?:\]\]>|\Z))*"
)
# What a character of a secret may have become in XML: writers differ in which of these they escape, and how; and a
# fault that repeats a request escapes it once more.
_ESCAPED: Final = {
    "&": "&(?:(?:amp|#38|#x26);)*",
    "<": "(?:<|&(?:amp;)*(?:lt|#60|#x3[cC]);)",
    ">": "(?:>|&(?:amp;)*(?:gt|#62|#x3[eE]);)",
    '"': '(?:"|&(?:amp;)*(?:quot|#34|#x22);)',
    "'": "(?:'|&(?:amp;)*(?:apos|#39|#x27);)",
    "\r": "(?:\r|&(?:amp;)*(?:#13|#x[dD]);)",
}


class Secret:
    """A ticket, token or password. `repr` and `str` are masked, and it cannot be pickled.

    `reveal()` is called where a value is written to an envelope and nowhere else that could show it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Wrap `value`."""
        self._value = value

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
        message = "a Secret cannot be pickled; pass the value itself through a channel that you trust"
        raise TypeError(message)


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return `text` with every known secret, plain or escaped for XML, and everything shaped like a token, masked."""
    # The longest first: one secret may begin with, or hold, another.
    for value in sorted({secret.reveal() for secret in secrets} - {""}, key=len, reverse=True):
        text = re.sub("".join(_ESCAPED.get(character) or re.escape(character) for character in value), MASK, text)
    return _TOKEN_SHAPES.sub(MASK, text)


def redact_envelope(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return the XML `text` with the content of secret elements masked too, by name."""
    return redact(_SECRET_ELEMENTS.sub(rf"\1{MASK}", text), secrets)
