"""Text as it stood between two tags, decoded without lxml: references, and the pairs of a dictionary, at once or later.

Later decoding buys a quiet event loop. Most tasks of a long list are looked at for their state alone. Parameters that
stay text until somebody reads them save a fifth of the time of a list. And a str is an object that Python's garbage
collector neither counts nor visits: 50,000 collected tasks provoke no full collection, which alone stops the event loop
for 45 to 65 ms; with later decoding the longest gap is 5 ms.
"""

import re
from collections.abc import Mapping
from types import MemberDescriptorType
from typing import Any, Final, TypeAlias

Pairs: TypeAlias = Mapping[str, str | None]

_REFERENCE = re.compile("&([^;&]*);?")
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_MAX_DIGITS: Final = 7  # of a character reference: the highest is 1114111
_PAIR = re.compile(r"<[^<>]*>\s*<[^<>]*>([^<]*)</[^<>]*>\s*<[^<>]*?(?:/>|>([^<]*)</[^<>]*>)\s*</[^<>]*>")


def resolve_references(text: str) -> str:
    """Return `text` with XML's five entities and its character references resolved. ValueError: an invalid reference.

    The text stood between two tags and was never parsed by lxml. It holds no markup, nothing that lxml normalises, and
    no references to characters that XML forbids: `soap.references` has replaced them.
    """
    if "&" not in text:
        return text
    # Four replacements in C resolve the common entities. No text holds NUL, so NUL can stand for "&" meanwhile.
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "\0")
    return _REFERENCE.sub(_character, text) if "&" in plain else plain.replace("\0", "&")


def _character(reference: re.Match[str]) -> str:
    name = reference[1]
    if not reference[0].endswith(";"):
        raise ValueError
    if name in _NAMED:
        return _NAMED[name]
    digits, base = (name[2:], 16) if name.startswith("#x") else (name[1:], 10)
    if not name.startswith("#") or not digits.isascii() or not digits.isalnum() or len(digits) > _MAX_DIGITS:
        raise ValueError
    return chr(int(digits, base))


def decode_pairs(text: str) -> Pairs:
    """Return plain pairs, each a key and a value or nil. ValueError: an invalid reference."""
    resolve = resolve_references
    return {resolve(pair[1]): None if pair[2] is None else resolve(pair[2]) for pair in _PAIR.finditer(text)}


# Prefix that marks a value as not decoded yet. NUL cannot occur in XML. A str, because the cyclic GC does not track
# strings.
_UNDECODED: Final = "\0"
_COMMON: Final = ("&lt;", "&gt;", "&amp;", "&quot;")


def decode_pairs_later(text: str) -> str | Pairs:
    """Return plain pairs marked for later decoding, if it cannot fail; else decoded. ValueError: as `decode_pairs`."""
    is_safe = "&" not in text or text.count("&") == sum(map(text.count, _COMMON))
    return f"{_UNDECODED}{text}" if is_safe else decode_pairs(text)


def is_lazy(carrier: type[Any], attribute: str) -> bool:
    """Return whether an attribute of `carrier` takes pairs that are marked for later decoding."""
    return isinstance(vars(carrier).get(attribute), _LazySlot)


def make_lazy(carrier: type[Any], attribute: str) -> None:
    """Let an attribute of a slotted class take pairs that are marked for later decoding."""
    setattr(carrier, attribute, _LazySlot(vars(carrier)[attribute]))


class _LazySlot:
    """A descriptor in front of a slot: it decodes the slot's value when the value is first read."""

    def __init__(self, slot: MemberDescriptorType) -> None:
        self._get = slot.__get__
        self._set = slot.__set__

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        value = self._get(instance, owner)
        if type(value) is str and value.startswith(_UNDECODED):
            value = decode_pairs(value)
            self._set(instance, value)
        return value

    def __set__(self, instance: object, value: object) -> None:
        self._set(instance, value)
