"""How long a big answer keeps the event loop from everything else: the worst gap of a ticker that runs beside it.

Run as a program, it reads one answer beside a ticker that sleeps for a millisecond again and again, and prints the
longest time between two ticks. Each reading has a process of its own, and the garbage collector has just run: a full
pass of it looks at every object of a process and stops everything meanwhile, for longer than any parsing here. Whoever
holds on to tasks provokes one sooner or later; 50,000 of them do not, because their parameters are read late. One
reading holds on to none, and one has the collector switched off, which shows the parsing alone.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, Final

from soapbatch.model.batch import BatchTaskState
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE
from tests.bench.case import SOAPBATCH, ZEEP, Case, Plan, Sample, Target
from tests.bench.child import ask
from tests.bench.inputs import reply_with
from tests.bench.wire import client_of

STREAMING: Final = "soapbatch, streaming"
NO_COLLECTOR: Final = "soapbatch, gc off"
_TICK: Final = 0.001  # seconds
_WORKS: Final = {
    STREAMING: "stream",
    SOAPBATCH: "collect",
    NO_COLLECTOR: "collect_without_gc",
    ZEEP: "collect_with_zeep",
}


def cases(plan: Plan) -> Iterator[Case]:
    """Yield one case."""
    yield Case(
        topic="hygiene",
        name="worst gap between ticks of 1 ms",
        size=plan.loop_tasks,
        of="tasks",
        units=("ms",),
        contenders=partial(_contenders, plan.loop_tasks),
        once=frozenset({ZEEP}),
        targets=tuple(Target(of=name, at_most=10, unit="ms") for name in (STREAMING, NO_COLLECTOR, SOAPBATCH)),
    )


def _contenders(count: int, _: object) -> Mapping[str, Sample]:
    return {name: partial(_sample, work, count) for name, work in _WORKS.items()}


def _sample(work: str, count: int) -> tuple[float]:
    return (ask("-m", "tests.bench.loop_gap", work, str(count)),)


# --- In the fresh process ---------------------------------------------------------------------------------------


async def stream(body: bytes) -> None:
    """Read task by task."""
    async with client_of(lambda: [body]) as client:
        async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL):
            pass


async def collect(body: bytes) -> object:
    """Read all tasks into a list."""
    async with client_of(lambda: [body]) as client:
        return await client.batch.get_batch_task_infos_by_state(BatchTaskState.ALL)


async def collect_without_gc(body: bytes) -> object:
    """Read all tasks into a list, with the garbage collector switched off."""
    gc.disable()
    return await collect(body)


async def collect_with_zeep(body: bytes) -> object:
    """Read all tasks into a list, as zeep's AsyncClient does once it has the body: in one go."""
    from tests.bench.peers import zeep_parse  # noqa: PLC0415 - the others are quicker without it

    return zeep_parse(GET_BATCH_TASK_INFOS_BY_STATE, body)()


_READERS: Final[Mapping[str, Callable[[bytes], Coroutine[Any, Any, object]]]] = {
    reader.__name__: reader for reader in (stream, collect, collect_without_gc, collect_with_zeep)
}


async def worst_gap(work: Coroutine[Any, Any, object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the longest time in ms, by a clock of seconds, between two ticks while `work` runs."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        last = clock()
        while True:
            await asyncio.sleep(_TICK)
            now = clock()
            worst, last = max(worst, now - last), now

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(2 * _TICK)
    result = await work
    await asyncio.sleep(2 * _TICK)
    ticker.cancel()
    del result
    return worst * 1000


def main(name: str, count: int) -> None:
    """Print the worst gap of a reading."""
    read = _READERS[name]
    asyncio.run(read(reply_with(1)))  # compiles and imports what is needed
    body = reply_with(count)
    gc.collect()
    print(json.dumps(asyncio.run(worst_gap(read(body)))))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
