"""What reading costs in memory, measured in fresh processes.

Run as a program, it does one thing and prints by how many MiB that raised the peak of the process's memory, and
how many MiB the objects take that came out of it.
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from soapbatch.model.batch import BatchTaskInfo, BatchTaskState
from soapbatch.model.limits import MIB
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE, GET_OUTPUT_FROM_BATCH
from tests.bench.case import SOAPBATCH, ZEEP, Case, Plan, Sample, Target
from tests.bench.child import ask
from tests.bench.inputs import reply, reply_pieces, reply_with
from tests.bench.wire import client_of

OBJECTS: Final = "the objects themselves"
STATUS: Final = Path("/proc/self/status")
_FLAT: Final = Target(of=SOAPBATCH, at_most=16, unit="MiB")


def cases(plan: Plan) -> Iterator[Case]:
    """Yield streaming, collecting, and the output of a job; none where there is no /proc."""
    if not STATUS.exists():
        return
    yield _case("streaming a list", plan.streamed_tasks, "tasks", {SOAPBATCH: "stream"}, _FLAT)
    yield _case(
        "collecting a list",
        plan.collected_tasks,
        "tasks",
        {SOAPBATCH: "collect", ZEEP: "collect_with_zeep"},
        Target(of=SOAPBATCH, to=OBJECTS, at_most=1.5, unit="MiB"),
    )
    yield _case("stream_output", plan.output_mib, "MiB of output", {SOAPBATCH: "stream_output"}, _FLAT)
    yield _case("save_output", plan.output_mib, "MiB of output", {SOAPBATCH: "save_output"}, _FLAT)


def _case(name: str, size: int, of: str, works: Mapping[str, str], target: Target) -> Case:
    def measure(work: str, index: int) -> tuple[float]:
        return (ask("-m", "tests.bench.memory", work, str(size))[index],)

    def contenders(_: object) -> Mapping[str, Sample]:
        samples: dict[str, Sample] = {contender: partial(measure, work, 0) for contender, work in works.items()}
        if target.to == OBJECTS:
            samples[OBJECTS] = partial(measure, works[SOAPBATCH], 1)
        return samples

    return Case(
        topic="memory",
        name=name,
        size=size,
        of=of,
        units=("MiB",),
        contenders=contenders,
        once=frozenset({ZEEP}),
        targets=(target,),
    )


# --- In the fresh process ---------------------------------------------------------------------------------------


async def stream(count: int) -> None:
    """Read a list task by task."""
    async with client_of(partial(reply_pieces, count)) as client:
        tasks = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL)
        assert sum([1 async for _ in tasks]) == count


async def collect(count: int) -> object:
    """Read a list at once."""
    async with client_of(partial(reply_pieces, count)) as client:
        return await client.batch.get_batch_task_infos_by_state(BatchTaskState.ALL)


async def collect_with_zeep(count: int) -> object:
    """Read a list at once, with zeep."""
    from tests.bench.peers import zeep_parse  # noqa: PLC0415 - the others are quicker without it

    return zeep_parse(GET_BATCH_TASK_INFOS_BY_STATE, reply_with(count))()


async def stream_output(mib: int) -> None:
    """Read an output piece by piece."""
    async with client_of(partial(_output, mib)) as client:
        assert sum([len(piece) async for piece in client.blob.stream_output(1)]) == mib * MIB


async def save_output(mib: int) -> None:
    """Save an output to a file."""
    with tempfile.TemporaryDirectory() as folder:
        async with client_of(partial(_output, mib)) as client:
            assert await client.blob.save_output(1, Path(folder) / "output") == mib * MIB


def _output(mib: int) -> Iterator[bytes]:
    """Yield the reply of GetOutputFromBatch."""
    head, mark, tail = reply(GET_OUTPUT_FROM_BATCH, b"soapbatch").partition(b64encode(b"soapbatch"))
    assert mark
    yield head
    yield from [b64encode(os.urandom(3 * MIB))] * (mib // 3)
    yield b64encode(os.urandom(mib % 3 * MIB))
    yield tail


def peak() -> float:
    """Return the peak of this process's memory in MiB.

    Not `ru_maxrss`: a new process inherits that from the one that started it.
    """
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _size(value: object, seen: set[int]) -> int:
    """Return the bytes of `value` and everything in it that was not seen before."""
    if id(value) in seen or value is None:
        return 0
    seen.add(id(value))
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = (*value.keys(), *value.values())
    elif isinstance(value, list):
        inner = value
    elif isinstance(value, BatchTaskInfo):
        inner = (held for held in gc.get_referents(value) if held is not BatchTaskInfo)  # parameters may be unread
    return sys.getsizeof(value) + sum(_size(item, seen) for item in inner)


_WORKS: Final[Mapping[str, Callable[[int], Coroutine[Any, Any, object]]]] = {
    work.__name__: work for work in (stream, collect, collect_with_zeep, stream_output, save_output)
}


def main(name: str, size: int) -> None:
    """Print what `name` costs."""
    work = _WORKS[name]
    asyncio.run(work(1))
    gc.collect()
    before = peak()
    result = asyncio.run(work(size))
    print(json.dumps([peak() - before, _size(result, set()) / MIB]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
