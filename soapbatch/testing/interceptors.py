"""Making calls go wrong on purpose: one hook around an operation, and the ways in which calls usually go wrong.

    server.intercept("StartBatchJob", lost_reply)                        # applied, and then the connection dies
    server.intercept(None, answering(429, {"Retry-After": "3"}), times=20)

An interceptor is a coroutine function that gets the call and a coroutine function that carries it out: it may
wait, raise `ServerException` or `ConnectionDropped`, before or after, or answer something else altogether.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from soapbatch.model import Binding, ServiceVersion
from soapbatch.testing.faults import ConnectionDropped
from soapbatch.testing.responses import Answer


@attrs.define
class Call:
    """One call that reached an operation.

    Attributes:
        operation: its wire name.
        version: of the services.
        binding: in which it came.
        arguments: those sent, by parameter name; passwords, access tokens and login data are "***".
        at: the clock's seconds when it came.
        outcome: what became of the operation, whether or not the client learns of it: "" while it runs;
            "succeeded"; the last part of an exception's type; and where it was not applied because of an
            interceptor, "dropped", "cancelled" or "intercepted".
    """

    operation: str
    version: ServiceVersion
    binding: Binding
    arguments: Mapping[str, Any]
    at: float
    outcome: str = ""


Proceed: TypeAlias = Callable[[], Awaitable[Answer]]
Interceptor: TypeAlias = Callable[[Call, Proceed], Awaitable[Answer]]


async def lost_request(_: Call, __: Proceed) -> Answer:
    """Let the connection die before the operation is applied."""
    raise ConnectionDropped("the connection was dropped before the operation")


async def lost_reply(_: Call, proceed: Proceed) -> Answer:
    """Apply the operation, then let the connection die without an answer."""
    await proceed()
    raise ConnectionDropped("the connection was dropped after the operation")


async def cut_reply(_: Call, proceed: Proceed) -> Answer:
    """Apply the operation, answer half, then let the connection die."""
    answer = await proceed()
    whole = b"".join(answer.body)

    def half() -> Iterator[bytes]:
        yield whole[: len(whole) // 2]
        raise ConnectionDropped("the connection was dropped within the answer")

    return attrs.evolve(answer, body=half())


def answering(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Interceptor:
    """Return an interceptor that answers this, without applying the operation."""

    async def intercept(_: Call, __: Proceed) -> Answer:
        return Answer(status, headers or {}, (body,))

    return intercept


def delayed(seconds: float) -> Interceptor:
    """Return an interceptor that waits before the operation is applied."""

    async def intercept(_: Call, proceed: Proceed) -> Answer:
        await asyncio.sleep(seconds)
        return await proceed()

    return intercept


def failing(error: Exception) -> Interceptor:
    """Return an interceptor that raises `error` instead of applying the operation."""

    async def intercept(_: Call, __: Proceed) -> Answer:
        raise error

    return intercept
