"""What hostile responses cost: the bodies of `tests.support.hostile_bodies`, each until the client refuses it.

Run as a program, it calls an operation that one of them answers, beside a ticker that sleeps for a millisecond again
and again, and prints the longest time between two ticks, the time of the call, and by how many MiB it raised the peak
of the process's memory. Times are CPU time of the thread, so that other processes do not count. Each call has a process
of its own. A pass of the garbage collector over all that is held is a gap too: one reading has it switched off, which
shows the parsing alone.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from tests.bench.case import Case, Plan, Sample, Target
from tests.bench.child import ask
from tests.bench.loop_gap import worst_gap
from tests.bench.memory import STATUS, peak
from tests.support.hostile_bodies import CASES, warm_up, work

_WORKS: Final = {
    "collected": ("64 KiB", "collect"),
    "streamed": ("64 KiB", "stream"),
    "collected, gc off": ("64 KiB", "collect_without_gc"),
    "collected, in bytes": ("1 byte", "collect"),
}


def cases(plan: Plan) -> Iterator[Case]:
    """Yield a case for each body, or for the first ones; none where there is no /proc."""
    for name in [*CASES][: plan.hostile] if STATUS.exists() else ():
        yield Case(
            topic="hostile",
            name=name,
            size=1,
            of="response",
            units=("ms CPU", "s CPU", "MiB"),
            contenders=partial(_contenders, name),
            targets=tuple(Target(of=contender, at_most=20, unit="ms CPU") for contender in _WORKS),
            rounds=1,
        )


def _contenders(name: str, _: object) -> Mapping[str, Sample]:
    def sample(chunking: str, how: str) -> tuple[float, ...]:
        return tuple(ask("-m", "tests.bench.hostile", name, chunking, how))

    return {contender: partial(sample, *arguments) for contender, arguments in _WORKS.items()}


# --- In the fresh process ---------------------------------------------------------------------------------------


def main(name: str, chunking: str, how: str) -> None:
    """Print what a body costs: milliseconds, seconds, and MiB."""
    asyncio.run(warm_up())
    gc.collect()
    if how == "collect_without_gc":
        gc.disable()
    before, started = peak(), time.thread_time()
    gap = asyncio.run(worst_gap(work(name, chunking, collect=how != "stream"), time.thread_time))
    print(json.dumps([gap, time.thread_time() - started, peak() - before]))


if __name__ == "__main__":
    main(*sys.argv[1:])
