"""Subclasses of str, int and datetime whose methods say something else than their plain value."""

from datetime import datetime


class Markup(str):
    """A str that escapes what is put into it, and shows itself in another way, as markupsafe's does."""

    __slots__ = ()

    def replace(self, *_: object) -> "Markup":
        """Return another text."""
        return Markup("replaced")

    def __str__(self) -> str:
        """Return another text."""
        return "shown"

    def __format__(self, _: str) -> str:
        """Return another text."""
        return "formatted"

    def __len__(self) -> int:
        """Return another length."""
        return 0


class Injector(int):
    """An int whose text is markup, and which compares as it likes."""

    def __format__(self, _: str) -> str:
        """Return markup."""
        return "0</Id><Id>1"

    __str__ = __repr__ = lambda self: f"{self}"

    def __le__(self, _: int) -> bool:
        """Return True."""
        return True

    __ge__ = __lt__ = __gt__ = __le__


class Moment(datetime):
    """A datetime that writes itself in another way."""

    def isoformat(self, *_: object) -> str:
        """Return markup."""
        return "<now/>"
