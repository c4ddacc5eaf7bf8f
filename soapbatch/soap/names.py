"""How many different names responses may bring into this process.

Before version 7, lxml keeps one dictionary of names for all documents of a thread, and frees none of them: names of
elements and attributes, prefixes, namespaces, and the white space between tags. A server that makes up new names would
take memory until the process ends. So names that no response has brought before are counted, for the response and for
the process.

NetServer's own names take about 10 KB. Values of attributes are not kept, so they do not count.
"""

import random
import re
from typing import Final

from soapbatch.errors import LimitExceeded

_TAG = re.compile(rb"<[^/<>!][^<>]*")
# The same, where a quoted value holds a `>`.
_LONG_TAG = re.compile(rb"""<[^/<>!"'][^<>"']*(?:"[^"<]*+"[^<>"']*+|'[^'<]*+'[^<>"']*+)*""")
_BLANKS = re.compile(rb">[ \t\r\n]{16,59}<")
_SHARE: Final = (
    1 / 8
)  # of the data, chosen at random, that is searched: all of it would take a tenth of the parser's time
_TIMES: Final = 8  # that a name counts, therefore
_VALUE = re.compile(rb"""(\s(?!xmlns[\s:=])[^\s="']+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_OVERHEAD: Final = 64  # bytes that a name takes beside its own
_CAREFREE: Final = 1  # responses that may bring as many names before all data is searched
_RESPONSES: Final = 32  # that may bring as many new names as one response may


class Names:
    """The tags that responses have brought into this process."""

    def __init__(self) -> None:
        """Begin without any."""
        self._known: set[bytes] = set()
        self._cost = 0

    def cost_of(self, data: bytes, limit: int) -> int:
        """Return the bytes that the tags in `data` take which are new to this process, as an estimate.

        Args:
            data: of a response, in whole tags.
            limit: bytes of a response.

        Raises:
            LimitExceeded: the responses of this process hold too many different names.
        """
        # A few names more than the usual ones are no reason to search everything; many are.
        times = _TIMES if self._cost < _CAREFREE * limit else 1
        if times > 1 and random.random() >= _SHARE:  # noqa: S311 - no secret
            return 0
        new = {*_TAG.findall(data), *_BLANKS.findall(data)} - self._known
        if not new:
            return 0
        if any(tag.count(b'"') % 2 or tag.count(b"'") % 2 for tag in new):
            new = {*_LONG_TAG.findall(data), *_BLANKS.findall(data)}
        new = {_VALUE.sub(rb"\1", tag) for tag in new} - self._known
        cost = times * (sum(map(len, new)) + _OVERHEAD * len(new))
        if self._cost + cost > _RESPONSES * limit:
            raise LimitExceeded(
                "the response exceeds Limits.names: it, or all responses of this process, hold too many different "
                "names; pass limits=Limits(names=...) if they should be read",
                limit="names",
            )
        self._known |= new
        self._cost += cost
        return cost


NAMES: Final = Names()
"""Those of this process."""
