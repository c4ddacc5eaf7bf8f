"""Coroutines that run at the same time."""

import asyncio

import pytest

from soapbatch.jobs.concurrency import for_each_limited, gather_or_cancel
from tests.support.job_server import World, in_world


@in_world
async def test_gather_or_cancel_ends_the_others_when_one_raises(world: World) -> None:
    """The exception is raised unchanged, after all other works have ended."""
    ends = []

    async def one(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.sleep(0.5)
            ends.append(seconds)
        raise KeyError(seconds)

    with pytest.raises(KeyError, match="1"):
        await gather_or_cancel(map(one, (3, 1, 2)))
    assert sorted(ends) == [1, 2, 3]
    assert world.now == 2


@in_world
async def test_for_each_limited_bounds_what_runs_at_once(world: World) -> None:
    """At most `limit` works run at the same time, and all of them are done in the end."""
    running: set[int] = set()
    done: list[int] = []

    async def work(number: int) -> None:
        running.add(number)
        assert len(running) <= 3
        await asyncio.sleep(number % 4)
        running.discard(number)
        done.append(number)

    await for_each_limited(work, range(20), 3)
    assert sorted(done) == list(range(20))
    assert world.now < sum(number % 4 for number in range(20)) / 2
