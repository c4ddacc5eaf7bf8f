"""One request for all callers who want the same at the same time."""

import asyncio

import pytest

from soapbatch import ClientClosed, ConnectionLost
from soapbatch.online.flight import SingleFlight
from tests.support.clients import now, virtual


class Work:
    """What takes ten seconds.

    Attributes:
        begun: how often it was begun.
        ended: how often it ran to its end.
        failure: what it raises.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.begun = self.ended = 0
        self.failure: Exception | None = None
        self.flight = SingleFlight(self.run, "some work")

    async def run(self) -> int:
        """Work."""
        self.begun += 1
        await asyncio.sleep(10)
        self.ended += 1
        if self.failure is not None:
            raise self.failure
        return self.ended


@virtual
async def test_callers_share_a_run() -> None:
    """Those who come later join it; the next one begins after it."""
    work = Work()

    async def late() -> int:
        await asyncio.sleep(9)
        return await work.flight.run()

    assert {*await asyncio.gather(work.flight.run(), work.flight.run(), late())} == {1}
    assert now() == 10
    assert await work.flight.run() == 2


@virtual
async def test_each_caller_gets_an_error_of_its_own() -> None:
    """With `applied` "no", because the caller's request was not sent; a foreign error as it is."""
    work = Work()
    work.failure = ConnectionLost("broken")
    first, second = await asyncio.gather(work.flight.run(), work.flight.run(), return_exceptions=True)
    assert isinstance(first, ConnectionLost)
    assert isinstance(second, ConnectionLost)
    assert first is not second
    assert (first.applied, work.failure.applied) == ("no", "unknown")
    work.failure = KeyError("foreign")
    with pytest.raises(KeyError):
        await work.flight.run()


@virtual
async def test_the_last_caller_who_gives_up_ends_the_run() -> None:
    """The others keep it; a new one begins anew."""
    work = Work()
    one, two = asyncio.create_task(work.flight.run()), asyncio.create_task(work.flight.run())
    await asyncio.sleep(5)
    one.cancel()
    await asyncio.sleep(1)
    two.cancel()
    await asyncio.wait([one, two])
    assert (work.begun, work.ended) == (1, 0)
    assert await work.flight.run() == 1


@virtual
async def test_a_run_ahead_needs_no_caller() -> None:
    """It goes on when a caller who joined it gives up; it begins once."""
    work = Work()
    work.flight.start_ahead()
    work.flight.start_ahead()
    caller = asyncio.create_task(work.flight.run())
    await asyncio.sleep(5)
    caller.cancel()
    await asyncio.sleep(6)
    assert (work.begun, work.ended) == (1, 1)
    work.failure = ConnectionLost("nobody asks")
    work.flight.start_ahead()
    await asyncio.sleep(11)


@virtual
async def test_closing_ends_the_run() -> None:
    """Its callers get ClientClosed, and so do later ones."""
    work = Work()
    caller = asyncio.create_task(work.flight.run())
    await asyncio.sleep(5)
    await work.flight.aclose()
    with pytest.raises(ClientClosed):
        await caller
    with pytest.raises(ClientClosed):
        await work.flight.run()
    work.flight.start_ahead()
    await work.flight.aclose()
    assert (work.begun, work.ended) == (1, 0)
