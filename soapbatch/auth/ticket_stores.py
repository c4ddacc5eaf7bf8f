"""Stores through which processes share a ticket, so that not every process logs in."""

import asyncio
import json
import logging
import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from soapbatch.auth.credentials import Ticket
from soapbatch.errors import SoapBatchError
from soapbatch.model import encode_string
from soapbatch.system import AtomicFile, log_record, wait_until_done

_TIMEOUT: Final = 5.0  # seconds that a store may take
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_LONGEST: Final = 1 << 20  # bytes of a file that are read


@runtime_checkable
class TicketStore(Protocol):
    """What `ticket_store=` takes.

    One store serves one user of one server. Two processes that find the store empty at the same moment both log in.
    A store that fails, or takes more than 5 s, causes a warning in the log, and no call fails.
    """

    async def get(self) -> Ticket | None:
        """Return the ticket that was put last, or None."""
        ...

    async def put(self, ticket: Ticket, /) -> None:
        """Keep `ticket`, with its expiry, instead of the one before."""
        ...


class MemoryTicketStore:
    """Shares a ticket between the clients of one process."""

    def __init__(self) -> None:
        """Start empty."""
        self._ticket: Ticket | None = None

    async def get(self) -> Ticket | None:
        """Return the ticket that was put last, or None."""
        return self._ticket

    async def put(self, ticket: Ticket, /) -> None:
        """Keep `ticket`."""
        self._ticket = ticket


class FileTicketStore:
    """Shares a ticket through a file that only its owner may read (mode 0600). Each write replaces the whole file.

    The file holds the ticket in plain text: keep its folder as private as the file. A ticket is taken only from a
    regular file that nobody but this user (or root) owns and may write to: others could make the client act as them.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Take the path of the file. The folder must exist; the file need not."""
        self._path = Path(path)

    async def get(self) -> Ticket | None:
        """Return the ticket in the file; None if there is no file, others may write to it, or `put` did not write it.

        Raises:
            OSError: the file cannot be read.
        """
        return await asyncio.to_thread(self._read)

    async def put(self, ticket: Ticket, /) -> None:
        """Write `ticket` to a new file, and replace the old file with the new one.

        Raises:
            OSError: the file cannot be written.
        """
        await asyncio.to_thread(self._write, ticket)

    def _read(self) -> Ticket | None:
        try:
            content = _read_own(self._path)
            if content is not None:
                return _decoded(content)
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, RecursionError, SoapBatchError):
            log_record(
                logging.WARNING,
                "%(path)s holds no ticket that can be read; it will be replaced",
                path=str(self._path),
            )
            return None
        log_record(
            logging.WARNING,
            "%(path)s is no regular file, or others may write to it: no ticket is taken from it",
            path=str(self._path),
        )
        return None

    def _write(self, ticket: Ticket) -> None:
        with AtomicFile(self._path) as new:
            new.file.write(_encoded(ticket))
            new.commit()


class TolerantStore:
    """A user's store, as the client uses it: no failure and no wait of more than 5 s reaches a call."""

    def __init__(self, store: TicketStore) -> None:
        """Use `store`."""
        self._store = store
        self._unsaved: Callable[[], Ticket] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._has_warned = False

    async def get(self) -> Ticket | None:
        """Return the stored ticket; None where there is none, or the store fails."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                ticket = await self._store.get()
        except Exception as error:  # noqa: BLE001 - a user's store may raise anything
            self._warn(type(error).__name__)
            return None
        if ticket is None or isinstance(ticket, Ticket):
            return ticket
        self._warn(f"it returned {type(ticket).__name__}")
        return None

    def save(self, ticket: Callable[[], Ticket]) -> None:
        """Write what `ticket()` returns then, in the background, after a write that still runs."""
        self._unsaved = ticket
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._save(), name="soapbatch ticket store")

    def forget(self) -> None:
        """Write no ticket that still waits for its write: the server has refused that ticket."""
        self._unsaved = None

    async def finish(self) -> None:
        """Wait until every write has ended."""
        if self._saving is not None:
            await wait_until_done(self._saving)

    async def _save(self) -> None:
        try:
            while (ticket := self._unsaved) is not None:
                self._unsaved = None
                async with asyncio.timeout(_TIMEOUT):
                    await self._store.put(ticket())
        except Exception as error:  # noqa: BLE001 - a user's store may raise anything
            self._warn(type(error).__name__)

    def _warn(self, why: str) -> None:
        """Log that the store fails: the first time as a warning."""
        log_record(
            logging.DEBUG if self._has_warned else logging.WARNING,
            "the ticket store failed (%(reason)s); going on without it",
            reason=why,
        )
        self._has_warned = True


def _read_own(path: Path) -> bytes | None:
    """Return the content of a file; None if it is no regular file, or somebody else may write to it. Raises OSError."""
    # Opening a pipe for reading waits for a writer, unless O_NONBLOCK says otherwise. Windows has neither.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        if os.name == "posix" and (status.st_uid not in {0, os.geteuid()} or status.st_mode & _OTHERS_MAY_WRITE):
            return None
        return file.read(_LONGEST)


def _encoded(ticket: Ticket) -> bytes:
    expires_at = ticket.expires_at and ticket.expires_at.isoformat()
    try:
        plain = {"ticket": encode_string(ticket.value), "expires_at": expires_at, "sliding": ticket.sliding}
    except ValueError as error:
        raise error.with_traceback(None) from None  # the frames below hold the value
    return json.dumps(plain).encode()


def _decoded(data: bytes) -> Ticket:
    plain: Any = json.loads(data)
    expires_at = plain["expires_at"] and datetime.fromisoformat(plain["expires_at"])
    return Ticket(plain["ticket"], expires_at=expires_at, sliding=plain["sliding"] is not False)
