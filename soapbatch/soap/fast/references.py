"""The text between two tags, as it stands there -> what it means: entities and character references resolved.

For text that lxml does not see; it holds no markup, and none of what lxml would normalise.

    resolved("Fj&#248;rd &amp; Vik") == "Fjørd & Vik"
"""

import re
from collections.abc import Mapping
from typing import Final

from soapbatch.model import ILLEGAL_CHARACTER

_REFERENCE = re.compile("&([^;&]*);?")
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_MAX_DIGITS: Final = 7  # of a character reference: 1114111 is the highest


def resolved(text: str) -> str:
    """Return `text` with the five entities of XML and its character references resolved. ValueError: no such thing."""
    if "&" not in text:
        return text
    # The common four, in C; no text holds a NUL, so that it can stand for "&" meanwhile.
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "\0")
    return _REFERENCE.sub(_character, text) if "&" in plain else plain.replace("\0", "&")


_PAIR = re.compile(r"<[^<>]*>\s*<[^<>]*>([^<]*)</[^<>]*>\s*<[^<>]*?(?:/>|>([^<]*)</[^<>]*>)\s*</[^<>]*>")


def pairs(text: str) -> Mapping[str, str | None]:
    """Read plain pairs, a key and a value or nil each. ValueError: a reference that is none."""
    return {resolved(match[1]): None if match[2] is None else resolved(match[2]) for match in _PAIR.finditer(text)}


def _character(reference: re.Match[str]) -> str:
    name = reference[1]
    if not reference[0].endswith(";"):
        raise ValueError
    if name in _NAMED:
        return _NAMED[name]
    digits, base = (name[2:], 16) if name.startswith("#x") else (name[1:], 10)
    if not name.startswith("#") or not digits.isascii() or not digits.isalnum() or len(digits) > _MAX_DIGITS:
        raise ValueError
    character = chr(int(digits, base))
    if ILLEGAL_CHARACTER.match(character):
        raise ValueError
    return character
