"""`max_rate=`: at most so many requests a second, in order, and a cancelled one gives its turn back."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from soapbatch import AuthenticationFailed, Binding, Client, OperationFailed, Secret, UsageError
from soapbatch.calls import RateLimit
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.testing import NetServer, ServerException, failing
from tests.support.clients import BASE, Script, in_process, now, replying, scripted, virtual


async def turns(limit: RateLimit, count: int) -> list[float]:
    """Ask for so many turns at once and return when each came, in the order in which they were asked for."""

    async def turn() -> float:
        await limit.turn()
        return now()

    return await asyncio.gather(*(turn() for _ in range(count)))


@virtual
async def test_at_most_so_many_begin_in_any_second() -> None:
    """Ten a second: a hundred take nine seconds, and a pause earns no larger burst."""
    limit = RateLimit(10)
    assert await turns(limit, 100) == pytest.approx([float(n // 10) for n in range(100)])
    await asyncio.sleep(0.5)
    assert await turns(limit, 20) == pytest.approx([10.0] * 10 + [11.0] * 10)
    await asyncio.sleep(100)
    assert await turns(limit, 11) == pytest.approx([111.0] * 10 + [112.0])


@pytest.mark.parametrize(
    ("rate", "times"),
    [
        (0.5, [0, 2, 4]),
        (1, [0, 1, 2]),
        (2.5, [0, 0, 0.8, 0.8, 1.6]),
        (1000, [0] * 1000 + [1]),
    ],
)
@virtual
async def test_any_rate(rate: float, times: list[float]) -> None:
    """Below one a second, between whole numbers, and large."""
    assert await turns(RateLimit(rate), len(times)) == pytest.approx(times)


@virtual
async def test_turns_are_spread_over_a_window() -> None:
    """The limit holds in every stretch of a second, not only in those that begin with a burst."""
    limit, times = RateLimit(3), list[float]()
    for _ in range(12):
        await limit.turn()
        times.append(now())
        await asyncio.sleep(0.1)
    assert all(later - earlier >= 1 - 1e-5 for earlier, later in zip(times, times[3:], strict=False))
    assert times[-1] == pytest.approx(3.2)


@virtual
async def test_a_cancelled_request_gives_its_turn_back() -> None:
    """While it waits, those behind it move up."""
    limit = RateLimit(1)
    waiting = [asyncio.create_task(turns(limit, 1)) for _ in range(5)]
    await asyncio.sleep(0.5)
    waiting[1].cancel()
    waiting[3].cancel()
    assert [await waiting[number] for number in (0, 2, 4)] == [[0.0], [1.0], [2.0]]
    last = asyncio.create_task(turns(limit, 1))
    await asyncio.sleep(0)
    last.cancel()
    await asyncio.wait([last])
    assert limit._timer is None


@pytest.mark.parametrize("is_served_first", [True, False])
@virtual
async def test_a_request_that_is_cancelled_at_its_turn_gives_it_back(is_served_first: bool) -> None:  # noqa: FBT001
    """It is cancelled right after it was given the turn, or right before: the next one begins at once."""
    limit = RateLimit(1)
    await limit.turn()
    first, second = (asyncio.create_task(limit.turn()) for _ in range(2))
    second.add_done_callback(lambda _: times.append(now()))
    times = list[float]()
    loop = asyncio.get_running_loop()

    def at_the_turn() -> None:
        steps: list[Callable[[], object]] = [functools.partial(limit._serve, loop), first.cancel]
        for step in steps if is_served_first else steps[::-1]:
            step()

    loop.call_at(1.0 - 1e-7, at_the_turn)
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert times == [pytest.approx(1.0)]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e-9, 1e9, True, "10"])
def test_what_is_no_rate(rate: Any) -> None:
    """A UsageError says what is."""
    with pytest.raises(UsageError, match="max_rate"):
        RateLimit(rate)
    with pytest.raises(UsageError, match="max_rate"):
        Client(BASE, max_rate=rate)


@virtual
async def test_the_calls_of_a_client_keep_to_it() -> None:
    """Each request counts: logins and repeated ones, too."""
    server = NetServer(clock=asyncio.get_running_loop().time)
    server.intercept("GetBatchTaskInfo", failing(ServerException("My.Exception", "no")))
    async with in_process(server, max_rate=2, binding=Binding.SOAP11) as client:
        with pytest.raises(OperationFailed):
            await client.batch.get_batch_task_info(1)
        server.tickets.revoke_all()
        await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(5)), return_exceptions=True)
        assert now() == pytest.approx(2.0)


@virtual
async def test_clients_share_a_limit() -> None:
    """Whoever is given the same object."""
    limit = RateLimit(1)
    one, _ = scripted(replying(GET_BATCH_TASK_INFO), max_rate=limit)
    other, _ = scripted(replying(GET_BATCH_TASK_INFO), max_rate=limit)
    async with one, other:
        await asyncio.gather(*(client.batch.get_batch_task_info(1) for client in (one, other, one)))
        assert now() == pytest.approx(2.0)


@virtual
async def test_a_wait_for_a_turn_is_queueing() -> None:
    """The timeout of the call bounds it, and nothing was sent."""
    limit = RateLimit(0.01)
    client, script = scripted(replying(GET_BATCH_TASK_INFO), max_rate=limit)
    async with client:
        await client.batch.get_batch_task_info(1)
        with pytest.raises(TimeoutError, match="it ran out while queueing") as raising:
            await client.batch.get_batch_task_info(1, timeout=5)
        assert vars(raising.value)["applied"] == "no"
        assert len(script.requests) == 1


@virtual
async def test_an_application_token_may_come_from_a_callable() -> None:
    """It is asked for each request; a new token is in the next one."""
    tokens = iter(("first-token", Secret("second-token"), "second-token"))

    async def token() -> Any:
        return next(tokens)

    script = Script(replying(GET_BATCH_TASK_INFO))
    async with Client(BASE, ticket="7T:x", application_token=token, transport=script) as client:
        for _ in range(3):
            await client.batch.get_batch_task_info(1)
    assert [b"first-token" in request.body for request in script.requests] == [True, False, False]
    assert [b"second-token" in request.body for request in script.requests] == [False, True, True]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (7, UsageError, r"token must return an application token \(a str or a Secret, not empty\), and returned int"),
        ("", UsageError, "not empty"),
        (KeyError("no"), AuthenticationFailed, "token gave no application token: it raised KeyError"),
        (UsageError("mine"), UsageError, "mine"),
    ],
)
@virtual
async def test_a_callable_that_gives_no_token(answer: object, error: type[Exception], message: str) -> None:
    """Nothing is sent, and the error says what it did."""

    async def token() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    script = Script(replying(GET_BATCH_TASK_INFO))
    async with Client(BASE, ticket="7T:x", application_token=token, transport=script) as client:
        with pytest.raises(error, match=message) as raising:
            await client.batch.get_batch_task_info(1)
    assert vars(raising.value).get("applied", "no") == "no"
    assert script.requests == []
