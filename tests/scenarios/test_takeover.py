"""Jobs that survive their process: one is killed at any moment of a start, another takes over, and one job runs."""

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import pytest

from soapbatch import BatchTaskState
from soapbatch.jobs.marker import MARKER_KEY
from soapbatch.operations import START_BATCH_JOB
from soapbatch.testing import Answer, Call, NetServer, serve
from soapbatch.testing.interceptors import Proceed
from tests.conftest import REPOSITORY

NAME = "EndlessBatchPlugin"
SETTLE: Final = 1.0
"""Seconds within which the server has carried out whatever arrived."""
AT_ONCE: Final = 4


@attrs.frozen
class Arena:
    """A server on a socket, and what its StartBatchJob does to a request with a certain key.

    Attributes:
        server: the embedded server.
        url: of the server.
        ticket: for clients.
        arrived: set when the request with that key has arrived.
        applies_first: for each key whether the job starts at once or only after the server has worked for a while.
    """

    server: NetServer
    url: str
    ticket: str
    arrived: dict[str, asyncio.Event] = attrs.field(factory=dict)
    applies_first: dict[str, bool] = attrs.field(factory=dict)

    async def work(self, call: Call, proceed: Proceed) -> Answer:
        """Start the job, slowly if a process is to be killed meanwhile."""
        key = call.arguments["batch_task_info"].parameter_object[MARKER_KEY]
        arrived = self.arrived.pop(key, None)
        if arrived is None:
            return await proceed()
        answer = await proceed() if self.applies_first[key] else None
        arrived.set()
        await asyncio.sleep(SETTLE / 3)
        return await proceed() if answer is None else answer

    async def process(self, mode: str, key: str) -> Process:
        """Start a process that starts the job."""
        arguments = (mode, self.url, self.ticket, NAME, key, str(SETTLE))
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "NO_PROXY": "*"}
        command = (sys.executable, "-m", "tests.support.starting_process", *arguments)
        return await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env=environment, stdout=PIPE)

    def ids(self, key: str) -> list[int | None]:
        """Return the ids of the tasks with the key that have not been stopped."""
        tasks = [info for info in self.server.tasks.find() if (info.parameter_object or {}).get(MARKER_KEY) == key]
        assert all(info.state != BatchTaskState.FAILED for info in tasks)
        return [info.id for info in tasks]


async def line(process: Process) -> str:
    """Return the next line that a process prints; "" at its end."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def before_the_request_left(arena: Arena, key: str) -> Process:
    """Return a process that stalls just before it sends."""
    process = await arena.process("hang", key)
    assert await line(process) == "sending"
    assert arena.ids(key) == []
    return process


def while_the_server_works(*, applies_first: bool) -> Callable[[Arena, str], Awaitable[Process]]:
    """Return a function that returns a process whose request has arrived and is not answered."""

    async def start(arena: Arena, key: str) -> Process:
        arrived = arena.arrived[key] = asyncio.Event()
        arena.applies_first[key] = applies_first
        process = await arena.process("start", key)
        await arrived.wait()
        assert len(arena.ids(key)) == applies_first
        return process

    return start


async def after_the_answer(arena: Arena, key: str) -> Process:
    """Return a process that knows the id of its job."""
    process = await arena.process("start", key)
    assert [int(await line(process))] == arena.ids(key)
    return process


MOMENTS = [
    before_the_request_left,
    while_the_server_works(applies_first=True),
    while_the_server_works(applies_first=False),
    after_the_answer,
]


async def one_round(arena: Arena, key: str, moment: Callable[[Arena, str], Awaitable[Process]]) -> None:
    """Kill a process at this moment of its start, and let another one take over."""
    process = await moment(arena, key)
    process.kill()
    assert await process.wait() == -9
    later = await arena.process("takeover", key)
    id_ = int(await line(later))
    assert await later.wait() == 0
    assert arena.ids(key) == [id_]
    await asyncio.sleep(SETTLE / 2)
    assert arena.ids(key) == [id_]


@pytest.mark.parametrize(
    ("seed", "rounds"), [(0, 4), *(pytest.param(seed, 10, marks=pytest.mark.slow) for seed in range(1, 6))]
)
async def test_a_process_is_killed_and_another_takes_over(seed: int, rounds: int) -> None:
    """Killed before the request left, while the server works, or after it answered: exactly one job, each time."""
    server = NetServer()
    async with serve(server) as url:
        arena = Arena(server, url, server.tickets.issue())
        server.intercept(START_BATCH_JOB, arena.work, times=None)
        moments = (MOMENTS * rounds)[:rounds]
        random.Random(seed).shuffle(moments)  # noqa: S311 - spreads the moments
        limit = asyncio.Semaphore(AT_ONCE)

        async def limited(number: int) -> None:
            async with limit:
                await one_round(arena, f"acme/{seed}/{number}", moments[number])

        async with asyncio.TaskGroup() as group:
            for number in range(rounds):
                group.create_task(limited(number))
        assert len([*server.tasks.find()]) == rounds
