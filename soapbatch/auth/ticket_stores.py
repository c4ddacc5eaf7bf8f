"""Where processes share a ticket, so that not each of them logs in: a port, and two stores behind it."""

import asyncio
import json
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from soapbatch.auth.credentials import Ticket
from soapbatch.errors import SoapBatchError
from soapbatch.model import encode_string
from soapbatch.system import AtomicFile

_LOG = logging.getLogger("soapbatch")


@runtime_checkable
class TicketStore(Protocol):
    """Where processes share a ticket: the port behind `ticket_store=`.

    One store serves one user of one server. Two processes that find it empty at the same moment both log in.
    A store that fails, or takes more than 5 s, costs a warning in the log and no call.
    """

    async def get(self) -> Ticket | None:
        """Return what was put last, or None."""
        ...

    async def put(self, ticket: Ticket, /) -> None:
        """Keep `ticket`, with its expiry, in place of what was there."""
        ...


class MemoryTicketStore:
    """Shares a ticket between the clients of one process."""

    def __init__(self) -> None:
        """Start empty."""
        self._ticket: Ticket | None = None

    async def get(self) -> Ticket | None:
        """Return what was put last, or None."""
        return self._ticket

    async def put(self, ticket: Ticket, /) -> None:
        """Keep `ticket`."""
        self._ticket = ticket


class FileTicketStore:
    """Shares a ticket through a file that only its owner may read (mode 0600), replaced as a whole.

    The ticket stands in it as it is: its folder should be as private as the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the file; its folder must exist, the file need not."""
        self._path = Path(path)

    async def get(self) -> Ticket | None:
        """Return what the file holds; None if there is none, or nothing that `put` wrote.

        Raises:
            OSError: it cannot be read.
        """
        return await asyncio.to_thread(self._read)

    async def put(self, ticket: Ticket, /) -> None:
        """Write `ticket` to a new file and put that in the place of the old one.

        Raises:
            OSError: it cannot be written.
        """
        await asyncio.to_thread(self._write, ticket)

    def _read(self) -> Ticket | None:
        try:
            return _decoded(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, RecursionError, SoapBatchError):
            _LOG.warning("%s holds no ticket that can be read; it will be replaced", self._path)
            return None

    def _write(self, ticket: Ticket) -> None:
        with AtomicFile(self._path) as new:
            new.file.write(_encoded(ticket))
            new.commit()


def _encoded(ticket: Ticket) -> bytes:
    expires_at = ticket.expires_at and ticket.expires_at.isoformat()
    try:
        plain = {"ticket": encode_string(ticket.value), "expires_at": expires_at, "sliding": ticket.sliding}
    except ValueError as error:
        raise error.with_traceback(None) from None  # the frame below holds the value
    return json.dumps(plain).encode()


def _decoded(data: bytes) -> Ticket:
    plain: Any = json.loads(data)
    expires_at = plain["expires_at"] and datetime.fromisoformat(plain["expires_at"])
    return Ticket(plain["ticket"], expires_at=expires_at, sliding=plain["sliding"] is not False)
