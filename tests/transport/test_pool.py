"""The pool: order, keep-alive, closing, cancellation at every await, and its place in somebody's httpx client."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

import httpx
import pytest

from soapbatch.errors import ClientClosed, ConnectFailed, UsageError
from soapbatch.transport import ConnectionPool, Sender, SendState
from soapbatch.transport.connection import Origin
from tests.support.fault_server import Answer, Authority, FaultServer, echo
from tests.support.transports import (
    TRANSPORTS,
    Owning,
    Steps,
    ask,
    body_of,
    open_sockets,
    send,
    until,
    using,
)

# --- Order ------------------------------------------------------------------------------------------------------


async def test_idle_connections_are_taken_last_in_first_out() -> None:
    """The connection that was given back last serves the next request; the others stay idle."""
    async with FaultServer() as server, using(ConnectionPool()) as pool:
        responses = [await send(pool, server.url) for _ in range(3)]
        for response in responses:
            await body_of(response)
        for _ in range(5):
            await ask(pool, server.url)
        assert server.accepted == 3
        server.writers[2].close()
        await until(lambda: server.connections == 2)
        await ask(pool, server.url)
        assert server.accepted == 4


async def test_waiting_requests_are_served_first_in_first_out() -> None:
    """The request that waits longest gets the next connection, also when the freed connection had to be closed."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=2)) as pool:
        held = [await send(pool, server.url) for _ in range(2)]
        order: list[int] = []

        async def call(number: int) -> None:
            response = await send(pool, server.url)
            order.append(number)
            await (response.aclose() if number % 2 else body_of(response))

        calls = [asyncio.create_task(call(number)) for number in range(10)]
        await asyncio.sleep(0)
        assert order == []
        await held[0].aclose()
        await until(lambda: len(order) == 10)
        await asyncio.gather(*calls)
        await held[1].aclose()
    assert order == list(range(10))


async def test_waiting_requests_to_several_hosts_are_served_first_in_first_out() -> None:
    """The order is that of all requests, whichever host they are for."""
    served: list[bytes] = []

    async def upstream(body: bytes, headers: Mapping[str, str]) -> Answer:
        served.append(body)
        return await echo(body, headers)

    pool = ConnectionPool(max_connections=1)
    async with FaultServer(upstream) as one, FaultServer(upstream) as two, using(pool):
        held = await send(pool, one.url, b"held")
        urls = [one.url, two.url, two.url, one.url, two.url]
        waiting = [asyncio.create_task(ask(pool, url, b"%d" % number)) for number, url in enumerate(urls)]
        await until(lambda: len(pool._waiting) == 5)
        await body_of(held)
        await asyncio.gather(*waiting)
    assert served == [b"held", b"0", b"1", b"2", b"3", b"4"]


async def test_a_long_queue_is_not_passed_request_by_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs to give a connection back depends on the number of hosts, and not of requests that wait."""
    pool = ConnectionPool(max_connections=3, max_per_host=1)
    async with FaultServer() as one, FaultServer() as two, using(pool):
        held = await send(pool, one.url)
        waiting = [asyncio.create_task(ask(pool, one.url)) for _ in range(500)]
        await until(lambda: len(pool._waiting) == 500)
        asked: list[Origin] = []
        has_room = pool._has_room

        def noted(origin: Origin) -> bool:
            asked.append(origin)
            return has_room(origin)

        monkeypatch.setattr(pool, "_has_room", noted)
        assert await ask(pool, two.url, b"other") == b"other"
        assert len(asked) <= 4
        await body_of(held)
        await asyncio.gather(*waiting)
        assert len(asked) <= 4 * 502
        assert not pool._waiting


async def test_no_more_connections_are_open_than_allowed() -> None:
    """However many call at once, no more than max_connections are ever open; and everybody is served."""
    most = 0

    async def upstream(body: bytes, headers: Mapping[str, str]) -> Answer:
        nonlocal most
        most = max(most, server.connections)
        return await echo(body, headers)

    async with FaultServer(upstream) as server, using(ConnectionPool(max_connections=4)) as pool:
        answers = await asyncio.gather(*(ask(pool, server.url, b"%d" % number) for number in range(100)))
    assert answers == [b"%d" % number for number in range(100)]
    assert (most, server.accepted) == (4, 4)


async def test_a_cancelled_request_leaves_the_queue() -> None:
    """A request that is cancelled while it waits was never sent, and leaves nothing in the queue."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as pool:
        held = await send(pool, server.url, b"x")
        state = SendState()
        waiting = asyncio.create_task(ask(pool, server.url, b"never", state))
        await until(lambda: len(pool._waiting) == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (state.phase, state.applied) == ("queueing", "no")
        assert not pool._waiting
        await body_of(held)
        assert await ask(pool, server.url) == b"<envelope/>"
    assert [seen.body for seen in server.seen] == [b"x", b"<envelope/>"]


def cancel_when_served(pool: ConnectionPool, task: asyncio.Task[bytes], *, before: bool = False) -> None:
    """Cancel `task`, once, right after, or right before, a waiting request is handed a connection."""
    give_back = pool._give_back

    def and_cancel(slot: Any) -> None:
        is_due = not task.cancelling()
        if is_due and before:
            task.cancel()
        give_back(slot)
        if is_due and not before:
            task.cancel()

    pool._give_back = and_cancel  # type: ignore[method-assign] # that is the point


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("is_clean", [True, False], ids=["a-connection", "the-right-to-open-one"])
async def test_a_cancelled_request_passes_on_what_it_was_handed(is_clean: bool, before: bool) -> None:  # noqa: FBT001 - cases
    """A request that is cancelled in the moment in which it is served, or is to be, leaves its slot to the next."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as pool:
        held = await send(pool, server.url, b"x")
        first, second = (asyncio.create_task(ask(pool, server.url, body)) for body in (b"first", b"second"))
        await until(lambda: len(pool._waiting) == 2)
        while is_clean and await held.read() is not None:
            pass
        cancel_when_served(pool, first, before=before)
        await held.aclose()
        assert await second == b"second"
        with pytest.raises(asyncio.CancelledError):
            await first
    assert [seen.body for seen in server.seen] == [b"x", b"second"]


async def test_a_connection_leads_to_one_origin() -> None:
    """A connection is never used for another host or port: it makes room for one that leads there."""
    async with FaultServer() as one, FaultServer() as two, using(ConnectionPool(max_connections=1)) as pool:
        assert await ask(pool, one.url, b"1") == b"1"
        assert await ask(pool, two.url, b"2") == b"2"
        await until(lambda: one.connections == 0)
        held = await send(pool, one.url)
        waiting = asyncio.create_task(ask(pool, two.url, b"3"))
        await until(lambda: len(pool._waiting) == 1)
        await body_of(held)
        assert await waiting == b"3"
        await until(lambda: one.connections == 0)
    assert (len(one.seen), len(two.seen)) == (2, 2)


async def test_the_longest_idle_connection_makes_room() -> None:
    """Where a new connection needs room, the one that was idle the longest is closed."""
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(FaultServer()) for _ in range(3)]
        pool = await stack.enter_async_context(using(ConnectionPool(max_connections=2)))
        for server in (one, two, three):
            await ask(pool, server.url)
        await until(lambda: one.connections == 0)
        assert (two.connections, three.connections) == (1, 1)


async def test_the_connection_to_the_same_origin_is_found_among_others() -> None:
    """Among idle connections to several hosts, the one that leads where the request goes is used."""
    async with FaultServer() as one, FaultServer() as two, using(ConnectionPool()) as pool:
        for server in (one, two, one, two, one):
            assert await ask(pool, server.url) == b"<envelope/>"
    assert (one.accepted, two.accepted) == (1, 1)


# --- Keeping alive, and closing ---------------------------------------------------------------------------------


def test_the_defaults_of_a_pool() -> None:
    """64 connections at once, to one host as well; idle ones are kept for 30 seconds."""
    pool = ConnectionPool()
    assert (pool._max_connections, pool._max_per_host, pool._keep_alive) == (64, 64, 30.0)


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    """An idle connection is closed after keep_alive seconds, and no timer runs any more then."""
    async with FaultServer() as server, using(ConnectionPool(keep_alive=0.0)) as pool:
        await ask(pool, server.url)
        await until(lambda: server.connections == 0)
        assert (pool._idle, pool._timer) == ([], None)
        assert await ask(pool, server.url) == b"<envelope/>"
    assert server.accepted == 2


async def test_idle_connections_are_closed_one_by_one() -> None:
    """Of two idle connections only the one whose time has come is closed; there is one timer for both."""
    async with FaultServer() as server, using(ConnectionPool(keep_alive=1000.0)) as pool:
        for response in [await send(pool, server.url) for _ in range(2)]:
            await body_of(response)
        pool._idle[0].idle_since -= 1000.0
        pool._expire()
        await until(lambda: server.connections == 1)
        assert len(pool._idle) == 1
        timer = pool._timer
        assert timer is not None
        await pool.aclose()
        assert timer.cancelled()  # it would keep the pool alive


async def test_closing_waits_until_idle_connections_are_closed() -> None:
    """When `aclose` returns, nothing that it has begun is still under way, however long that takes."""
    closed: list[int] = []
    async with FaultServer() as server:
        pool = ConnectionPool()
        for response in [await send(pool, server.url) for _ in range(3)]:
            await body_of(response)
        for number, slot in enumerate(pool._idle):
            assert slot.connection is not None

            async def aclose(
                number: int = number, close: Callable[[], Awaitable[None]] = slot.connection.aclose
            ) -> None:
                await asyncio.sleep(0.01 * number)
                await close()
                closed.append(number)

            slot.connection.aclose = aclose  # a slow one
        await pool.aclose()
        assert closed == [0, 1, 2]


async def test_closing_ends_what_waits_and_lets_what_runs_finish() -> None:
    """Closing closes idle connections, refuses requests that wait or come; one in use ends with its response."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=2)) as pool:
        in_use = [await send(pool, server.url, b"x") for _ in range(2)]
        waiting = [asyncio.create_task(ask(pool, server.url)) for _ in range(2)]
        await until(lambda: len(pool._waiting) == 2)
        waiting[0].cancel()
        await pool.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        with pytest.raises(ClientClosed):
            await waiting[1]
        with pytest.raises(ClientClosed):
            await ask(pool, server.url)
        assert await body_of(in_use[0]) == b"x"
        assert pool._closing == set()
        await in_use[1].aclose()
        await in_use[1].aclose()
        await until(lambda: server.connections == 0)
        await pool.aclose()
        assert (pool._in_use, pool._idle, len(pool._waiting)) == (0, [], 0)


async def test_a_waiting_request_that_is_cancelled_while_all_is_closed() -> None:
    """A waiting request that is cancelled after closing has ended it counts as cancelled, and leaves nothing."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as pool:
        held = await send(pool, server.url)
        waiting = asyncio.create_task(ask(pool, server.url))
        await until(lambda: len(pool._waiting) == 1)
        closing = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await closing
        await held.aclose()
        assert pool._in_use == 0


async def test_a_connection_that_is_handed_over_after_closing_is_closed() -> None:
    """A connection that was handed to a request that is cancelled while all is closed does not stay open."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=1)) as pool:
        held = await send(pool, server.url)
        waiting = asyncio.create_task(ask(pool, server.url))
        await until(lambda: len(pool._waiting) == 1)
        while await held.read() is not None:
            pass
        cancel_when_served(pool, waiting)
        await held.aclose()
        await pool.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await pool.aclose()
        await until(lambda: server.connections == 0)


# --- Shared pools -------------------------------------------------------------------------------------------------


async def test_a_pool_belongs_to_its_block() -> None:
    """A pool used as `async with` stays open when a client that uses it is closed, and is closed with its block."""
    async with FaultServer() as server, ConnectionPool() as pool:
        for _ in range(3):
            sender = Sender(pool)
            await body_of(await send(pool, server.url))
            await sender.aclose()
        assert server.accepted == 1
    with pytest.raises(ClientClosed, match="the request was not sent"):
        await ask(pool, server.url)
    alone = ConnectionPool()
    await Sender(alone).aclose()
    with pytest.raises(ClientClosed):
        await ask(alone, server.url)


async def test_a_host_has_a_bound_of_its_own() -> None:
    """Requests to a host that has its share wait for one another, and not in the way of other hosts' requests."""
    async with (
        FaultServer() as one,
        FaultServer() as two,
        using(ConnectionPool(max_connections=3, max_per_host=2)) as pool,
    ):
        held = [await send(pool, one.url) for _ in range(2)]
        waiting = [asyncio.create_task(ask(pool, one.url, body)) for body in (b"1", b"2")]
        await until(lambda: len(pool._waiting) == 2)
        assert await ask(pool, two.url, b"other") == b"other"
        assert len(pool._waiting) == 2
        await body_of(held[0])
        assert [await task for task in waiting] == [b"1", b"2"]
        full = [held[1], await send(pool, one.url), await send(pool, two.url)]
        last = asyncio.create_task(ask(pool, two.url, b"last"))
        await until(lambda: len(pool._waiting) == 1)
        for response in full:
            await body_of(response)
        assert await last == b"last"
    assert (one.accepted, pool._in_use, pool._in_use_at) == (2, 0, {})


@pytest.mark.parametrize(("idle", "accepted"), [(0.0, 1), (0.3, 2)])
async def test_a_connection_that_was_idle_for_long_is_not_for_every_request(idle: float, accepted: int) -> None:
    """A request may say how long its connection may have been idle; the older one stays for others."""
    async with FaultServer() as server, using(ConnectionPool()) as pool:
        await ask(pool, server.url)
        await asyncio.sleep(idle)
        assert await ask(pool, server.url, b"2", SendState(max_idle=0.2)) == b"2"
        assert server.accepted == accepted
        for response in [await send(pool, server.url) for _ in range(accepted)]:
            await body_of(response)
        assert server.accepted == accepted


@pytest.mark.parametrize("bounds", [{"max_connections": 0}, {"max_per_host": 0}])
def test_bounds_are_at_least_one(bounds: dict[str, int]) -> None:
    """A pool without a connection could carry nothing."""
    with pytest.raises(UsageError, match="at least 1"):
        ConnectionPool(**bounds)  # type: ignore[arg-type] # numbers all
    assert ConnectionPool(max_per_host=1)._max_per_host == 1


async def test_closing_a_pool_that_was_never_used() -> None:
    """A pool that was never used needs nothing to be closed, and is closed then."""
    pool = ConnectionPool()
    await pool.aclose()
    with pytest.raises(ClientClosed):
        await ask(pool, "http://127.0.0.1:1/")


async def test_another_loop_is_refused() -> None:
    """A pool belongs to the loop of its first request: another can neither send through it nor close it."""
    async with FaultServer() as server, using(ConnectionPool()) as pool:
        await ask(pool, server.url)

        def elsewhere() -> None:
            with pytest.raises(UsageError, match="another event loop"):
                asyncio.run(ask(pool, server.url))
            with pytest.raises(UsageError, match="another event loop"):
                asyncio.run(pool.aclose())

        await asyncio.to_thread(elsewhere)
        assert await ask(pool, server.url) == b"<envelope/>"
    assert server.accepted == 1


def test_settings_are_checked() -> None:
    """What cannot work is refused before anything is sent, without repeating a password."""
    with pytest.raises(UsageError, match="max_connections"):
        ConnectionPool(max_connections=0)
    for proxy in ("ftp://user:hunter2@h", "http://user:hunter2@h:port"):
        with pytest.raises(UsageError, match="proxy=") as caught:
            ConnectionPool(proxy=proxy)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__context__ is None


# --- Used connections --------------------------------------------------------------------------------------------


async def test_a_connection_that_the_server_has_closed_is_replaced_unnoticed() -> None:
    """Between two requests the server may close: the next goes over a new connection, once, and never gets lost."""
    async with FaultServer(fault="close-keep-alive") as server, using(ConnectionPool()) as pool:
        for number in range(50):
            body = b"%d" % number
            assert await ask(pool, server.url, body) == body
            await until(lambda: server.connections == 0)
    assert [seen.body for seen in server.seen] == [b"%d" % number for number in range(50)]


async def test_a_stale_second_answer_is_noticed_however_late_it_comes() -> None:
    """A second answer that arrives while a connection is idle is found before its use: it is closed, not read."""
    async with FaultServer() as server, using(ConnectionPool()) as pool:
        assert await ask(pool, server.url, b"one") == b"one"
        server.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        await asyncio.sleep(0)
        assert await ask(pool, server.url, b"two") == b"two"
    assert server.accepted == 2


async def test_what_comes_just_before_a_request_is_sent() -> None:
    """Nothing is sent over a connection over which something arrives after it was found to be usable."""
    async with FaultServer() as server, using(ConnectionPool()) as pool:
        assert await ask(pool, server.url, b"one") == b"one"
        connection: Any = pool._idle[0].connection
        connection.is_usable = lambda: True
        server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await until(connection._stream.is_readable)
        state = SendState()
        with pytest.raises(ConnectFailed, match="closed it, or sent something unasked") as caught:
            await ask(pool, server.url, b"two", state)
        assert (caught.value.applied, state.sent, caught.value.retryable) == ("no", False, True)
    assert [seen.body for seen in server.seen] == [b"one"]


async def test_leaving_a_body_at_its_beginning_leaves_nothing() -> None:
    """A response that is closed when only some of its body was read frees its slot and closes its connection."""
    async with FaultServer(fault="slow-drip") as server, using(ConnectionPool(max_connections=1)) as pool:
        for _ in range(20):
            response = await send(pool, server.url)
            assert await response.read() == b" "
            await response.aclose()
        await until(lambda: server.connections == 0)
        assert (pool._in_use, pool._idle) == (0, [])


async def test_a_body_has_one_end() -> None:
    """After its end a body stays at its end; closing it twice gives its connection back once."""
    async with FaultServer() as server, using(ConnectionPool()) as pool:
        response = await pool.handle_async_request(httpx.Request("POST", server.url, content=b"abc"))
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        pieces = aiter(stream)
        assert [piece async for piece in pieces] == [b"abc"]
        assert [piece async for piece in pieces] == []
        for _ in range(2):
            await stream.aclose()
            assert (pool._in_use, len(pool._idle)) == (0, 1)


# --- Cancellation -----------------------------------------------------------------------------------------------

PROBES = itertools.count()
CANCELLED = b"cancelled"
# How often all awaits are gone through: some 2,000 cancellations in all. Handshakes take their time.
ROUNDS = {("http", "fresh"): 25, ("http", "kept"): 25, ("https", "fresh"): 3, ("https", "kept"): 12}


async def sweep(
    get_pool: Callable[[], ConnectionPool], url: str, *, times: int, refresh: Callable[[], Awaitable[None]]
) -> int:
    """Cancel a request at its first await, at its second, ... until it is too late; return how often it was.

    Each cancellation comes `times` times: the second and third meet the clean-up of the first. After each, another
    request is answered.
    """
    for at in range(1, 1000):
        await refresh()
        steps = Steps(ask(get_pool(), url, CANCELLED), set(range(at, at + times)))

        async def run(steps: Steps[bytes] = steps) -> bytes:
            return await steps

        task = asyncio.create_task(run())
        await asyncio.wait([task])
        if not task.cancelled():
            assert task.result() == CANCELLED
            if steps.count < at:
                return at - 1
        probe = b"%d" % next(PROBES)
        async with asyncio.timeout(20):
            assert await ask(get_pool(), url, probe) == probe
    raise AssertionError


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("age", ["fresh", "kept"])
async def test_cancelling_at_any_await_leaves_nothing(age: str, scheme: str, times: int, authority: Authority) -> None:
    """A request that is cancelled at any of its awaits leaves no socket, task or slot, and the next one works."""
    before, tasks = open_sockets(), asyncio.all_tasks()
    async with FaultServer(authority=authority if scheme == "https" else None) as server:
        listening, serving = open_sockets(), asyncio.all_tasks()
        total = 0
        pool = ConnectionPool(verify=authority.client, max_connections=1)

        async def refresh() -> None:
            nonlocal pool
            if age == "fresh":
                await pool.aclose()
                pool = ConnectionPool(verify=authority.client, max_connections=1)

        for _ in range(ROUNDS[scheme, age]):
            total += await sweep(lambda: pool, server.url, times=times, refresh=refresh)
        assert (pool._in_use, len(pool._waiting), len(pool._idle)) == (0, 0, 1)
        await pool.aclose()
        await until(lambda: server.connections == 0 and open_sockets() <= listening)
        await until(lambda: asyncio.all_tasks() <= serving)
        probes = [seen.body for seen in server.seen if seen.is_complete and seen.body != CANCELLED]
        assert len(probes) == len(set(probes)) >= total > 0
    await until(lambda: open_sockets() <= before and asyncio.all_tasks() <= tasks)


async def test_many_cancelled_among_many_spoil_nothing() -> None:
    """Of hundreds of requests over few connections every third is cancelled; all others are answered, once."""
    async with FaultServer() as server, using(ConnectionPool(max_connections=4)) as pool:

        async def call(number: int) -> bytes:
            return await Steps(ask(pool, server.url, b"%d" % number), {number % 40} if number % 3 == 0 else set())

        results = await asyncio.gather(*(call(number) for number in range(600)), return_exceptions=True)
        assert pool._in_use == len(pool._waiting) == 0
        assert len(pool._idle) <= 4
    for number, result in enumerate(results):
        assert result == b"%d" % number or (number % 3 == 0 and isinstance(result, asyncio.CancelledError))
    bodies = [seen.body for seen in server.seen if seen.is_complete]
    assert len(bodies) == len(set(bodies))


# --- In somebody's httpx client ---------------------------------------------------------------------------------


async def test_it_is_a_transport_of_httpx(authority: Authority) -> None:
    """A client of httpx keeps its methods, its cookies and its redirects; the pool sends what it is given."""

    async def upstream(body: bytes, headers: Mapping[str, str]) -> Answer:
        return 200, {"Set-Cookie": "session=1", "X-Cookie": headers.get("cookie", "none")}, body

    async with FaultServer(upstream, authority=authority) as server:
        pool = ConnectionPool(verify=authority.client)
        async with httpx.AsyncClient(transport=pool, follow_redirects=True) as client:
            server.plan.append("307")
            response = await client.post(f"{server.url}/here", content=b"<envelope/>")
            assert (response.status_code, response.content, response.http_version) == (200, b"<envelope/>", "HTTP/1.1")
            assert (response.headers["x-cookie"], client.cookies["session"]) == ("none", "1")
            assert [seen.target for seen in server.seen] == ["/here", "/elsewhere"]
            assert (await client.get(server.url)).headers["x-cookie"] == "session=1"

            async def parts() -> Any:
                for part in (b"<enve", b"lope/>"):
                    yield part

            server.plan.append("413")
            assert (await client.post(server.url, content=parts())).status_code == 413
            assert server.seen[-1].headers["transfer-encoding"] == "chunked"
        async with httpx.AsyncClient(transport=ConnectionPool(verify=authority.client)) as other:
            assert (await other.get(server.url)).headers["x-cookie"] == "none"
        with pytest.raises(ClientClosed):
            await pool.handle_async_request(httpx.Request("GET", server.url))


@pytest.mark.parametrize(
    ("fault", "timeouts", "expected"),
    [
        pytest.param("none", {"pool": 0.01}, httpx.PoolTimeout, id="pool"),
        pytest.param("never-answer", {"read": 0.01}, httpx.ReadTimeout, id="head"),
        pytest.param("half-body-then-silence", {"read": 0.01}, httpx.ReadTimeout, id="body"),
        pytest.param("refuse", {}, httpx.ConnectError, id="refused"),
        pytest.param("reset-after-request", {}, httpx.ReadError, id="reset"),
        pytest.param("close-after-request", {}, httpx.RemoteProtocolError, id="closed"),
        pytest.param("length-too-long", {}, httpx.RemoteProtocolError, id="cut"),
        pytest.param("not-http", {}, httpx.RemoteProtocolError, id="not-http"),
    ],
)
async def test_it_raises_the_exceptions_of_httpx(
    fault: str, timeouts: dict[str, float], expected: type[Exception]
) -> None:
    """What the network does to a request, and httpx's timeouts, are httpx's exceptions; nothing stays behind."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await reader.read()
        writer.close()

    pool = ConnectionPool(max_connections=1)
    silent = await asyncio.start_server(serve, "127.0.0.1", 0)
    is_silent = fault == "half-body-then-silence"
    async with silent, FaultServer(fault="none" if is_silent else fault) as server:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}" if is_silent else server.url
        async with httpx.AsyncClient(transport=pool, timeout=httpx.Timeout(None, **timeouts)) as client:
            held = await client.send(client.build_request("GET", url), stream=True) if "pool" in timeouts else None
            with pytest.raises(expected):
                await client.post(url, content=b"x")
            if held is not None:
                await held.aclose()
            assert (pool._in_use, pool._idle) == (0, [])


async def test_a_request_that_is_not_http() -> None:
    """A client of httpx gets the error that httpx documents, and the connection is not used again."""
    async with FaultServer() as server, httpx.AsyncClient(transport=ConnectionPool()) as client:
        for _ in range(2):
            with pytest.raises(httpx.LocalProtocolError, match="Illegal header value"):
                await client.post(server.url, content=b"x", headers={"X-User": "two\nlines"})
        assert (await client.post(server.url, content=b"x")).status_code == 200
        assert server.accepted == 3


async def test_timeouts_of_httpx_for_connecting_and_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that takes long is a ConnectTimeout, a server that does not read a WriteTimeout."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast("asyncio.Transport", writer.transport).pause_reading()
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, httpx.AsyncClient(transport=ConnectionPool(), timeout=httpx.Timeout(10, write=0.05)) as client:
        with pytest.raises(httpx.WriteTimeout, match=r"after 0.05 s"):
            await client.post(url, content=bytes(30_000_000))
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "sock_connect", lambda *_: asyncio.sleep(10))
            with pytest.raises(httpx.ConnectTimeout, match=r"after 0.01 s"):
                await client.post(url, timeout=httpx.Timeout(10, connect=0.01))
        writers[0].transport.abort()


async def test_two_pools_share_a_context_with_another_client(authority: Authority) -> None:
    """One TLS context may serve a pool and a client of httpx in turn."""
    async with (
        FaultServer(authority=authority) as server,
        using(TRANSPORTS["pool"](authority.client)) as pool,
        using(Owning(httpx.AsyncClient(verify=authority.client))) as client,
    ):
        for transport in (pool, client, pool):
            assert await ask(transport, server.url) == b"<envelope/>"
