"""Parameters of a task that stay text until somebody asks for them.

Most tasks of a long list are looked at for their state. Their parameters left unread cost a fifth less time; and as a
text is nothing that Python's garbage collector counts or visits, 50,000 tasks provoke no full pass of it, which would
keep the event loop from everything else for tens of milliseconds. `tests/test_late.py` holds both forms together.
"""

import re
from collections.abc import Callable, Mapping
from types import MemberDescriptorType
from typing import Any, Final, TypeAlias, TypeVar

from soapbatch.references import is_surely_resolved, resolved

T = TypeVar("T")
Pairs: TypeAlias = Mapping[str, str | None]

# Begins a text that is still to be read, and none that came over the wire. A class of our own would be a thing that the
# collector counts.
_UNREAD: Final = "\0"
_PAIR = re.compile(r"<[^<>]*>\s*<[^<>]*>([^<]*)</[^<>]*>\s*<[^<>]*?(?:/>|>([^<]*)</[^<>]*>)\s*</[^<>]*>")


def pairs(text: str) -> Pairs:
    """Read plain pairs, a key and a value or nil each. ValueError: a reference that is none."""
    return {resolved(match[1]): None if match[2] is None else resolved(match[2]) for match in _PAIR.finditer(text)}


def late_pairs(text: str) -> str | Pairs:
    """Leave pairs for later where reading them cannot fail; else read them. ValueError: a reference that is none."""
    return f"{_UNREAD}{text}" if is_surely_resolved(text) else pairs(text)


def is_late(carrier: type[Any], attribute: str) -> bool:
    """Return whether `carrier` takes pairs for `attribute` that are still to be read."""
    return isinstance(vars(carrier).get(attribute), _Late)


def late(attribute: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator of slotted classes whose `attribute` may be set to `late_pairs`, read when it is looked at."""

    def decorate(carrier: type[T]) -> type[T]:
        setattr(carrier, attribute, _Late(vars(carrier)[attribute]))
        return carrier

    return decorate


class _Late:
    """Stands before the slot that holds the value."""

    def __init__(self, slot: MemberDescriptorType) -> None:
        self._get = slot.__get__
        self._set = slot.__set__

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:  # noqa: ANN401 - what the slot holds
        value = self._get(instance, owner)
        if type(value) is str and value.startswith(_UNREAD):
            value = pairs(value)
            self._set(instance, value)
        return value

    def __set__(self, instance: object, value: object) -> None:
        self._set(instance, value)
