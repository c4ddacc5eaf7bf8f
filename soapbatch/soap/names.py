"""How many different names a server may bring into this process.

Before version 7, lxml keeps one dictionary of names for all documents of a thread, and frees none of them: names of
elements and attributes, prefixes, namespaces, and the white space between tags. A server that makes up new names would
take memory until the process ends, and no limit of a single response prevents that. So the names that no response of a
server has brought before are counted, for the response and for the server. Each server has its own count: one that
makes up names does not keep this process from reading the others.

NetServer's own names take about 10 KB. Values of attributes are not kept, so they do not count.
"""

import re
from functools import lru_cache
from typing import Final

from soapbatch.errors import LimitExceeded
from soapbatch.model import KIB

_TAG = re.compile(rb"<[^/!][^>]*")
# The same, where a quoted value holds a `>`.
_LONG_TAG = re.compile(rb"""<[^/<>!"'][^<>"']*(?:"[^"<]*+"[^<>"']*+|'[^'<]*+'[^<>"']*+)*""")
_BLANKS = re.compile(rb">[ \t\r\n]{16,59}<")
_VALUE = re.compile(rb"""(\s(?!xmlns[\s:=])[^\s="']+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_OVERHEAD: Final = 64  # bytes that a name takes beside its own
_RESPONSES: Final = 32  # that may bring as many new names as one response may
_SEEN: Final = 256 * KIB  # of tags that are remembered as they were written: a server writes the same ones again


class Names:
    """The names that the documents of one server have brought into this process."""

    def __init__(self) -> None:
        """Begin without any."""
        self._known: set[bytes] = set()
        self._cost = 0
        self._seen: set[bytes] = set()
        self._seen_size = 0

    def cost_of(self, data: bytes, limit: int) -> int:
        """Return the bytes that the names in `data` take which are new, as an estimate.

        Args:
            data: of a response, in whole tags.
            limit: bytes of a response.

        Raises:
            LimitExceeded: the responses of the server hold too many different names.
        """
        tags = {*_TAG.findall(data), *_BLANKS.findall(data)} - self._seen
        if not tags:
            return 0
        is_cut = any(tag.count(b'"') % 2 or tag.count(b"'") % 2 for tag in tags)
        if is_cut:
            tags = {*_LONG_TAG.findall(data), *_BLANKS.findall(data)}
        new = {_VALUE.sub(rb"\1", tag) for tag in tags} - self._known
        cost = sum(map(len, new)) + _OVERHEAD * len(new)
        if self._cost + cost > _RESPONSES * limit:
            raise LimitExceeded(
                "the response exceeds Limits.names: all responses of this server together hold too many different "
                "names; pass limits=Limits(names=...) if they should be read",
                limit="names",
            )
        self._known |= new
        self._cost += cost
        if not is_cut:
            self._remember(tags)
        return cost

    def _remember(self, tags: set[bytes]) -> None:
        """Remember tags that need not be taken apart again."""
        size = sum(map(len, tags)) + _OVERHEAD * len(tags)
        if self._seen_size + size > _SEEN:
            self._seen.clear()
            self._seen_size = 0
        if size <= _SEEN:
            self._seen |= tags
            self._seen_size += size


@lru_cache(maxsize=1024)
def names_of(server: str) -> Names:
    """Return the names of `server`, by host and port. "": of responses whose server is not known."""
    del server  # the cache keeps one object for each
    return Names()
