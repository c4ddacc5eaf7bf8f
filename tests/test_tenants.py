"""One client a tenant: opened once, closed when idle, closed with the block."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator

import httpx
import pytest

from soapbatch import Client, ClientClosed, UsageError
from soapbatch.tenants import Tenants
from soapbatch.testing import NetServer
from tests.support.clients import virtual

URL = "https://netserver.example"


class World:
    """Tenants of one embedded server each, and what was made for them."""

    def __init__(self, *, idle: float = 300, failing: int = 0, slow: float = 0) -> None:
        """Let the first `failing` connects fail, and each take `slow` seconds."""
        self.made: list[Client] = []
        self.connects = 0
        self._failing = failing
        self._slow = slow
        self.tenants = Tenants(self.connect, idle=idle)

    async def connect(self, tenant: str) -> Client:
        """Make a client."""
        self.connects += 1
        await asyncio.sleep(self._slow)
        if self.connects <= self._failing:
            raise ConnectionRefusedError(tenant)
        server = NetServer()
        self.made.append(Client(URL, ticket=server.tickets.issue(), transport=httpx.ASGITransport(server)))
        return self.made[-1]

    async def ask(self, tenant: str, *, busy: float = 0) -> Client:
        """Use the client of a tenant for one call."""
        async with self.tenants.client(tenant) as client:
            assert await client.principal.get_system_info() is not None
            await asyncio.sleep(busy)
            return client


def is_closed(client: Client) -> bool:
    """Return whether a client was closed."""
    return "closed" in repr(client)


@virtual
async def test_a_tenant_has_one_client() -> None:
    """Fifty who ask at once share one connect; another tenant has another client; all are closed with the block."""
    world = World(slow=1)
    async with world.tenants:
        clients = await asyncio.gather(*(world.ask("a") for _ in range(50)), world.ask("b"))
        assert len({id(client) for client in clients}) == world.connects == 2
        assert world.tenants.open == ["a", "b"]
        assert not any(map(is_closed, world.made))
    assert all(map(is_closed, world.made))
    assert world.tenants.open == []
    with pytest.raises(ClientClosed, match="tenant a was not sent"):
        await world.ask("a")


@virtual
async def test_idle_clients_are_closed() -> None:
    """A client is closed some seconds after its last use, not while it is used; the next use opens another."""
    world = World(idle=10)
    async with world.tenants:
        await world.ask("a")
        await asyncio.sleep(9)
        await world.ask("a", busy=100)
        assert world.connects == 1
        await asyncio.sleep(11)
        assert (world.tenants.open, is_closed(world.made[0])) == ([], True)
        await world.ask("a")
    assert (world.connects, [*map(is_closed, world.made)]) == (2, [True, True])


@virtual
async def test_clients_may_stay_open() -> None:
    """With an infinite time nothing is closed before the end."""
    world = World(idle=math.inf)
    async with world.tenants:
        await world.ask("a")
        await asyncio.sleep(1_000_000)
        assert world.tenants.open == ["a"]
    assert is_closed(world.made[0])


@virtual
async def test_a_connect_that_fails_is_tried_again_by_the_next() -> None:
    """All who wait have the error; nothing of it stays."""
    world = World(failing=1, slow=1)
    async with world.tenants:
        outcomes = await asyncio.gather(*(world.ask("a") for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError] * 3
        await world.ask("a")
    assert world.connects == 2


@virtual
async def test_one_who_gives_up_leaves_the_others() -> None:
    """Cancelling one who waits for a connect does not end it for the others; the last one ends it."""
    world = World(slow=10)
    async with world.tenants:
        first, second = asyncio.create_task(world.ask("a")), asyncio.create_task(world.ask("a"))
        await asyncio.sleep(1)
        first.cancel()
        await second
        third = asyncio.create_task(world.ask("b"))
        await asyncio.sleep(1)
        third.cancel()
        await asyncio.wait([first, third])
        assert world.tenants.open == ["a"]
    assert [first.cancelled(), third.cancelled(), len(world.made)] == [True, True, 1]


@virtual
async def test_leaving_the_block_ends_what_still_connects() -> None:
    """A client that is still being made is not waited for."""
    world = World(slow=1000)
    async with world.tenants:
        waiting = asyncio.create_task(world.ask("a"))
        await asyncio.sleep(1)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.get_running_loop().time() < 10


@virtual
async def test_a_transport_is_open_as_long_as_the_clients() -> None:
    """Its block is entered before the first connect, and left after the last client is closed, also after an error."""
    world, events = World(), list[str]()

    @contextlib.asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        events.append(f"entered, {len(world.made)} made")
        try:
            yield
        except KeyError as error:
            events.append(f"left for {error!r}, closed: {[*map(is_closed, world.made)]}")
            raise

    async def fail() -> None:
        async with Tenants(world.connect, transport=opened()) as tenants, tenants.client("a"):
            assert events == ["entered, 0 made"]
            raise KeyError("acme")

    with pytest.raises(KeyError):
        await fail()
    assert events == ["entered, 0 made", "left for KeyError('acme'), closed: [True]"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"connect": "acme"}, "async callable", id="connect"),
        pytest.param({"idle": math.nan}, "number of seconds", id="nan"),
        pytest.param({"idle": -1}, "number of seconds", id="negative"),
        pytest.param({"idle": "5"}, "number of seconds", id="text"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], says: str) -> None:
    """What cannot work is refused at once."""
    with pytest.raises(UsageError, match=says):
        Tenants(**({"connect": World().connect} | arguments))  # type: ignore[arg-type]
