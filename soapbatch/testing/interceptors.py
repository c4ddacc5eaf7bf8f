"""Interceptors: functions that make the calls of an embedded server fail on purpose.

    server.intercept("StartBatchJob", lost_reply)                             # the next start
    server.intercept(None, answering(429, {"Retry-After": "3"}), times=20)    # the next 20 calls
    server.script("StartBatchJob", [lost_reply, delayed(2), None])            # the next three starts, one by one

An interceptor is a coroutine function with two parameters: the call, and a coroutine function `proceed` that runs the
operation and returns the answer. An interceptor may wait, may raise `ServerException` or `ConnectionDropped`, before
or after `proceed`, and may return an answer of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from soapbatch.model import Binding, ServiceVersion
from soapbatch.testing.faults import ConnectionDropped
from soapbatch.testing.responses import Answer


@attrs.define
class Call:
    """One call that reached an operation.

    Attributes:
        operation: the wire name of the operation.
        version: the service version of the endpoint.
        binding: the form of the request.
        arguments: those that were sent, by parameter name; passwords, access tokens and login data are "***".
        at: the clock's seconds when the call arrived.
        outcome: what the operation did, which the client may not learn. "" while the call is handled; "succeeded";
            the last part of the exception's type, for example "SoSessionException"; or, if an interceptor kept the
            operation from running, "dropped", "cancelled" or "intercepted".
        headers: of HTTP, by lower-case name, for example `traceparent`; credentials of HTTP are "***".
    """

    operation: str
    version: ServiceVersion
    binding: Binding
    arguments: Mapping[str, Any]
    at: float
    outcome: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)


Proceed: TypeAlias = Callable[[], Awaitable[Answer]]
"""Runs the operation and returns its answer."""

Interceptor: TypeAlias = Callable[[Call, Proceed], Awaitable[Answer]]
"""What `NetServer.intercept` takes."""


async def lost_request(_: Call, __: Proceed) -> Answer:
    """Drop the connection; the operation does not run."""
    raise ConnectionDropped("the connection was dropped before the operation")


async def lost_reply(_: Call, proceed: Proceed) -> Answer:
    """Run the operation, then drop the connection without an answer."""
    await proceed()
    raise ConnectionDropped("the connection was dropped after the operation")


async def cut_reply(_: Call, proceed: Proceed) -> Answer:
    """Run the operation, send the first half of the answer, then drop the connection."""
    answer = await proceed()
    whole = b"".join(answer.body)

    def half() -> Iterator[bytes]:
        yield whole[: len(whole) // 2]
        raise ConnectionDropped("the connection was dropped within the answer")

    return attrs.evolve(answer, body=half())


def answering(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Interceptor:
    """Return an interceptor that sends this HTTP response; the operation does not run."""

    async def intercept(_: Call, __: Proceed) -> Answer:
        return Answer(status, headers or {}, (body,))

    return intercept


def delayed(seconds: float) -> Interceptor:
    """Return an interceptor that waits for `seconds`, then runs the operation."""

    async def intercept(_: Call, proceed: Proceed) -> Answer:
        await asyncio.sleep(seconds)
        return await proceed()

    return intercept


def failing(error: Exception) -> Interceptor:
    """Return an interceptor that raises `error`; the operation does not run."""

    async def intercept(_: Call, __: Proceed) -> Answer:
        raise error

    return intercept


@attrs.define(eq=False)
class Interception:
    """An interceptor that waits for its calls.

    Attributes:
        operation: the wire name of the operation; None: any.
        interceptor: the interceptor; None: the calls run as they would without one.
        left: for how many calls it is left; None: for all.
        optional: whether it need not be used.
        step: its place in a script, such as "step 2 of 3"; "": it does not belong to one.
    """

    operation: str | None
    interceptor: Interceptor | None
    left: int | None
    optional: bool
    step: str = ""

    def __str__(self) -> str:
        """Return what it is and what it waits for."""
        name = getattr(self.interceptor, "__qualname__", type(self.interceptor).__name__).partition(".<locals>")[0]
        what = "an undisturbed call" if self.interceptor is None else name
        return f"{what} for {self.operation or 'any operation'}" + (f" ({self.step})" if self.step else "")


@attrs.define
class Interceptions:
    """The interceptors of a server, in the order in which they were added."""

    _waiting: list[Interception] = attrs.field(init=False, factory=list)
    _unused: list[Interception] = attrs.field(init=False, factory=list)

    def add(self, interception: Interception) -> None:
        """Add an interceptor behind the others."""
        self._waiting.append(interception)
        if not interception.optional:
            self._unused.append(interception)

    def take(self, operation: str) -> Interceptor | None:
        """Return the first interceptor that waits for a call of `operation`, or None, and count the call."""
        for interception in self._waiting:
            if interception.operation in {None, operation}:
                if interception in self._unused:
                    self._unused.remove(interception)
                if interception.left is not None:
                    interception.left -= 1
                    if not interception.left:
                        self._waiting.remove(interception)
                return interception.interceptor
        return None

    def unused(self) -> list[Interception]:
        """Return those that no call has come to, although one should have."""
        return [*self._unused]

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._unused.clear()


def check_interceptors_used(unused: Sequence[str]) -> None:
    """Raise an AssertionError that shows the interceptors that were not used, if there are some."""
    __tracebackhide__ = True
    if unused:
        raise AssertionError(
            "no call came to these interceptors: " + "; ".join(unused) + ". Pass optional=True for one that need"
            " not be used"
        )
