"""Clients for many tenants in one process: one client a tenant, opened when it is first asked for.

    pool = ConnectionPool(max_connections=64)

    async def connect(tenant: str) -> Client:
        return Client(url_of(tenant), credentials=credentials_of(tenant), transport=pool)

    async with Tenants(connect, transport=pool) as tenants:
        async with tenants.client("Cust12345") as client:
            job = await client.jobs.start("ExportAll")

That is all that this library does for a fleet: durable execution over several machines is an engine's work.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Self

import attrs

from soapbatch.client import Client
from soapbatch.errors import ClientClosed, UsageError
from soapbatch.system import cancel_and_wait, retrieve_exception, wait_until_done

IDLE: Final = 300.0
"""Seconds after its last use at which a client is closed, unless said otherwise."""


@attrs.define(eq=False)
class _Entry:
    """The client of one tenant.

    Attributes:
        opening: the task that makes the client.
        users: blocks that use the client now.
        timer: closes the client when it has been idle.
    """

    opening: asyncio.Task[Client]
    users: int = 0
    timer: asyncio.TimerHandle | None = None


class Tenants:
    """A client for each tenant. It belongs to one event loop, and to its `async with` block."""

    def __init__(
        self,
        connect: Callable[[str], Awaitable[Client]],
        *,
        transport: AbstractAsyncContextManager[object] | None = None,
        idle: float = IDLE,
    ) -> None:
        """Open nothing yet.

        Args:
            connect: async callable that makes the client of a tenant. Where several ask for the same tenant at once, it
                is called once; where it fails, all of them have the error, and the next one calls it again.
            transport: what `connect` hands to its clients so that they share connections, such as one ConnectionPool.
                It is entered and left with the block, and closed after the clients.
            idle: seconds after its last use at which a client is closed; `math.inf`: never before the end.

        Raises:
            UsageError: an argument that cannot be used.
        """
        if not callable(connect):
            raise UsageError("connect= is an async callable that takes a tenant's name and returns a Client")
        if not isinstance(idle, int | float) or math.isnan(idle) or idle < 0:
            raise UsageError("idle= is a number of seconds")
        self._connect = connect
        self._transport = transport
        self._idle = idle
        self._entries: dict[str, _Entry] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def open(self) -> list[str]:
        """The tenants that have a client now."""
        return list(self._entries)

    @contextlib.asynccontextmanager
    async def client(self, tenant: str) -> AsyncGenerator[Client]:
        """Use the client of a tenant within a block; it stays open for the next block.

        Raises:
            ClientClosed: the tenants' own block was left.
            Exception: whatever `connect` raises.
        """
        if self._is_closed:
            raise ClientClosed.refused(f"a call of tenant {tenant}")
        entry = self._entries.get(tenant)
        if entry is None:
            entry = self._entries[tenant] = _Entry(asyncio.ensure_future(self._open(tenant)))
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        entry.users += 1
        try:
            client = await asyncio.shield(entry.opening)
            yield client
        finally:
            entry.users -= 1
            if not entry.users and self._entries.get(tenant) is entry:
                self._release(tenant, entry)

    async def aclose(self) -> None:
        """Close every client, also those in use. Idempotent."""
        self._is_closed = True
        entries, self._entries = self._entries, {}
        for entry in entries.values():
            self._close_soon(entry)
        while self._closing:
            await asyncio.wait(self._closing)

    async def __aenter__(self) -> Self:
        """Enter the block of the transport, and return itself."""
        if self._transport is not None:
            await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close every client, then the transport."""
        await self.aclose()
        if self._transport is not None:
            await self._transport.__aexit__(kind, error, traceback)

    async def _open(self, tenant: str) -> Client:
        return await self._connect(tenant)

    def _release(self, tenant: str, entry: _Entry) -> None:
        """Begin to count the idle seconds of a client that nobody uses; forget one that was never made."""
        if not entry.opening.done() or entry.opening.cancelled() or entry.opening.exception() is not None:
            self._forget(tenant, entry)
        elif not math.isinf(self._idle):
            entry.timer = asyncio.get_running_loop().call_later(self._idle, self._forget, tenant, entry)

    def _forget(self, tenant: str, entry: _Entry) -> None:
        del self._entries[tenant]
        self._close_soon(entry)

    def _close_soon(self, entry: _Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        task = asyncio.ensure_future(_close(entry))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(entry: _Entry) -> None:
    """Close the client of `entry`; one that is still being made is cancelled."""
    await cancel_and_wait([entry.opening])
    if not entry.opening.cancelled() and entry.opening.exception() is None:
        closing = asyncio.ensure_future(entry.opening.result().aclose())
        await wait_until_done(closing)
        retrieve_exception(closing)
