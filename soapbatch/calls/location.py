"""Where a server is, for a server that moves: the seam between a call and what knows the address.

Most servers have one base URL for good. A tenant of SuperOffice Online does not: `soapbatch.online` says where it is,
and what to do about a request that went to its former address.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Location(Protocol):
    """What `Client` takes in place of a base URL. Its `str` is a URL that names the server for people.

    Attributes:
        shortest_poll: seconds between two readings of a task at least.
    """

    shortest_poll: float

    async def deliver(self, send: Callable[[str], Awaitable[T]], /) -> T:
        """Return what `send(base_url)` returns, for the present base URL.

        Where the server has moved, and the request was not dispatched, `send` may be called once more, with another
        base URL.

        Raises:
            SoapBatchError: an error of `send`; or one with `applied` "no", where nothing was sent.
        """
        ...
