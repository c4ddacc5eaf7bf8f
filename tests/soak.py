"""The soak: thousands of mixed calls with faults injected, over real sockets, counted and checked for leaks.

    python -m tests.soak [--calls 20000] [--concurrency 64] [--share 0.05] [--seed 1]

A server process answers, and does one of the faults to each twentieth request. The client's process makes the calls:
starts, reads, lists, streams, stops and updates, some of them cancelled; now and then every ticket is revoked. Then it
asks the server, over a port without faults, what became of the starts. The run fails if a call hangs or raises anything
but a SoapBatchError, if a task, a file descriptor or memory leaks, or if a start was told wrongly:

    told "ok"       the server holds that task, once, under that id
    told "no"       the server does not hold it
    told "unknown"  the server holds it once or not at all
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from soapbatch import ALL_ASSOCIATES, BatchTaskInfo, BatchTaskState, Client, Retries, SoapBatchError, UsernamePassword
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE, START_BATCH_JOB
from soapbatch.testing import NetServer
from soapbatch.testing.requests import Personality
from tests.support.clients import open_files, until, upstream_of
from tests.support.fault_server import AFTER, DURING, Answer, FaultServer

FAULTS: Final = sorted({*DURING, *AFTER} - {"none"})
TIMEOUT: Final = 3.0  # seconds for a call; below the Retry-After of the faults 429 and 503
HUNG: Final = 30.0  # seconds after which a call has hung
REVOKED_EVERY: Final = 2500  # requests
COOL_DOWN: Final = 1.0  # seconds that a caller rests after a login that failed
CANCELLED: Final = 0.02  # share of the calls
GROWTH: Final = 1.1  # how much more memory the end may take than the first quarter
LONG: Final = 10_000  # calls from which on memory says something
NO: Final = -1
UNKNOWN: Final = -2
KNOWN: Final = 50  # tasks that are there from the beginning


# --- The server -----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(share: float, seed: int) -> AsyncGenerator[tuple[str, str]]:
    """Serve one embedded NetServer on two ports, the first with a `share` of faults; yield both URLs."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, guards nothing
    netserver = NetServer(personality=Personality.STRICT_SOAP11)
    netserver.define_job("Export", duration=3600)
    for n in range(KNOWN):
        netserver.tasks.add(BatchTaskInfo(id=n + 1, name="Known", state=BatchTaskState.STARTED))
    answer = upstream_of(netserver)
    count = 0

    async def upstream(body: bytes, headers: Mapping[str, str]) -> Answer:
        nonlocal count
        count += 1
        if count % REVOKED_EVERY == 0:
            netserver.tickets.revoke_all()
        return await answer(body, headers)

    async with FaultServer(upstream) as faulty, FaultServer(answer) as clean:
        faulty.choose = lambda: chance.choice(FAULTS) if chance.random() < share else "none"
        yield faulty.url, clean.url


async def serve_until_told(share: float, seed: int) -> None:
    """Serve until standard input ends."""
    async with serving(share, seed) as urls:
        print(*urls, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.asynccontextmanager
async def server_process(share: float, seed: int) -> AsyncGenerator[tuple[str, str]]:
    """Serve in a process of its own, and yield both URLs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak", "--serve", "--share", str(share), "--seed", str(seed)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        faulty, clean = (await process.stdout.readline()).decode().split()
        yield faulty, clean
    finally:
        process.stdin.close()
        await process.wait()


# --- The calls ------------------------------------------------------------------------------------------------------


@attrs.define
class Soak:
    """A run, and what is known of it.

    Attributes:
        url: of the server with faults.
        clean_url: of the same server without.
        calls: how many to make.
        concurrency: how many at a time.
        chance: decides what each is.
        show: called with a line of progress.
        made: how many have begun.
        outcomes: how they ended: "ok", "cancelled", or the name of an error and what it says was applied.
        told: by the number of a call, what the caller of a start was told: the id, NO or UNKNOWN; 0: it was no start.
        violations: what must not be.
        memory: bytes after the first quarter and at the end.
        seconds: that the calls took.
    """

    url: str
    clean_url: str
    calls: int
    concurrency: int
    chance: random.Random
    show: Callable[[str], None]
    made: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    told: "array[int]" = attrs.field(init=False)
    violations: list[str] = attrs.field(factory=list)
    memory: list[int] = attrs.field(factory=list)
    seconds: float = 0.0

    def __attrs_post_init__(self) -> None:
        """Make room for what callers are told, so that it does not look like a leak."""
        self.told = array("q", bytes(8 * (self.calls + 1)))

    async def run(self) -> None:
        """Make all calls, and check everything."""
        tasks, files = asyncio.all_tasks(), open_files()
        began = time.monotonic()
        client = self._client(self.url)
        await asyncio.gather(*(self._work(client) for _ in range(self.concurrency)))
        self.seconds = time.monotonic() - began
        await client.aclose()
        await self._check_leaks(tasks, files)
        self.memory.append(memory())
        if self.calls >= LONG and self.memory[-1] > GROWTH * self.memory[0]:
            self.violations.append(f"memory grew from {self.memory[0]:,} to {self.memory[-1]:,} bytes")
        async with self._client(self.clean_url) as other:
            self._check_starts(await other.batch.get_batch_task_infos_by_associates(ALL_ASSOCIATES, timeout=60))

    def _client(self, url: str) -> Client:
        retries = Retries(attempts=3, first_wait=0.01)
        return Client(url, credentials=UsernamePassword("demo", "demo"), timeout=TIMEOUT, retries=retries)

    async def _work(self, client: Client) -> None:
        """Make one call after the other while there are any left to make."""
        kinds = (self._start, self._get, self._list, self._stream, self._stop, self._update, self._ask)
        while self.made < self.calls:
            self.made += 1
            if self.made % max(1, self.calls // 20) == 0:
                self._show_progress()
            (kind,) = self.chance.choices(kinds, (30, 30, 10, 5, 5, 10, 10))
            await self._one(kind, client, self.made)

    async def _one(self, kind: Callable[[Client, int], Awaitable[None]], client: Client, number: int) -> None:
        """Make one call, or cancel it on its way."""
        call = asyncio.ensure_future(kind(client, number))
        if self.chance.random() < CANCELLED:
            for _ in range(self.chance.randrange(40)):
                await asyncio.sleep(0)
            call.cancel()
        done, _ = await asyncio.wait([call], timeout=HUNG)
        if not done:
            self.violations.append(f"call {number} ({kind.__name__}) hangs")
            call.cancel()
            await asyncio.wait([call])
        if call.cancelled():
            self.outcomes["cancelled"] += 1
        elif (error := call.exception()) is None:
            self.outcomes["ok"] += 1
        elif isinstance(error, SoapBatchError):
            self.outcomes[f"{type(error).__name__}, applied: {error.applied}"] += 1
            if (error.operation or "").startswith("Authenticate"):
                await asyncio.sleep(COOL_DOWN)  # for a while every call would fail like the login did
        else:
            self.violations.append(f"call {number} ({kind.__name__}) raised {error!r}")

    async def _start(self, client: Client, number: int) -> None:
        self.told[number] = UNKNOWN  # also for those who are cancelled
        try:
            self.told[number] = await client.batch.start_batch_job(
                BatchTaskInfo(name="Export", description=str(number))
            )
        except SoapBatchError as error:
            # What failed may be the login before it: then the start was not applied, whatever became of the login.
            if error.applied == "no" or error.operation != START_BATCH_JOB.name:
                self.told[number] = NO
            raise

    async def _get(self, client: Client, number: int) -> None:
        info = await client.batch.get_batch_task_info(1 + number % KNOWN)
        if info is None or info.name != "Known":
            self.violations.append(f"call {number} got an answer to another question: {info!r}")

    async def _list(self, client: Client, _: int) -> None:
        await client.batch.get_batch_task_infos_by_name_and_state("Known", BatchTaskState.STARTED)

    async def _stream(self, client: Client, number: int) -> None:
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE, name="Known", state=BatchTaskState.ALL)
        count = 0
        async with contextlib.aclosing(stream):
            async for _ in stream:
                count += 1
                if number % 3 == 0:
                    return  # abandoned
        if count != KNOWN:
            self.violations.append(f"call {number} ended well after {count} of {KNOWN} tasks")

    async def _stop(self, client: Client, number: int) -> None:
        await client.batch.stop_batch_job(1 + number % KNOWN)

    async def _update(self, client: Client, number: int) -> None:
        info = BatchTaskInfo(id=1 + number % KNOWN, state=BatchTaskState.STARTED, description=f"update {number}")
        await client.batch.update_batch_task(info)

    async def _ask(self, client: Client, _: int) -> None:
        await client.principal.get_system_info()

    # --- What must hold ---------------------------------------------------------------------------------------------

    async def _check_leaks(self, tasks: set[asyncio.Task[Any]], files: set[str]) -> None:
        with contextlib.suppress(TimeoutError):
            # A server in this process closes its ends a little later.
            await until(lambda: asyncio.all_tasks() <= tasks and open_files() <= files)
        if left := asyncio.all_tasks() - tasks:
            self.violations.append(f"{len(left)} tasks are left: {left}")
        if left_files := open_files() - files:
            self.violations.append(f"{len(left_files)} file descriptors are left")

    def _check_starts(self, held: list[BatchTaskInfo]) -> None:
        ids: dict[int, list[int | None]] = {}
        for info in held:
            if info.name == "Export":
                ids.setdefault(int(info.description or 0), []).append(info.id)
        for number, told in enumerate(self.told):
            found = ids.get(number, [])
            right = {0: found == [], NO: found == [], UNKNOWN: len(found) <= 1}.get(told, found == [told])
            if not right:
                self.violations.append(f"start {number}: its caller was told {told}, the server holds {found}")
            if told:
                kind = {NO: "no", UNKNOWN: "unknown"}.get(told, "ok")
                self.outcomes[f"start told {kind}, held {len(found)}x"] += 1

    def _show_progress(self) -> None:
        if not self.memory and self.made * 4 >= self.calls:
            self.memory.append(memory())
        violations = f", {len(self.violations)} VIOLATIONS" if self.violations else ""
        self.show(f"{self.made:>7,} of {self.calls:,} calls, {resident() // 2**20} MiB{violations}")


def memory() -> int:
    """Return the resident bytes of this process after a collection, without what its allocator only keeps."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # of glibc
    return resident()


def resident() -> int:
    """Return the resident bytes of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


async def main(calls: int, concurrency: int, share: float, seed: int) -> int:
    """Run, print what came of it, and return the exit code."""
    logging.basicConfig(level=logging.ERROR)  # not each attempt that is repeated
    print(f"{calls:,} calls, {concurrency} at a time, {share:.0%} of the requests with a fault, seed {seed}")
    async with server_process(share, seed) as (faulty, clean):
        soak = Soak(faulty, clean, calls, concurrency, random.Random(seed), print)  # noqa: S311 - repeatable
        await soak.run()
    print(f"\n{calls:,} calls in {soak.seconds:.1f} s: {calls / soak.seconds:.0f} a second")
    for outcome, count in sorted(soak.outcomes.items()):
        print(f"{count:>8,}  {outcome}")
    print(f"memory: {soak.memory[0]:,} bytes after the first quarter, {soak.memory[-1]:,} at the end")
    for violation in soak.violations:
        print(f"VIOLATION: {violation}")
    print("nothing hung, nothing leaked, every start is accounted for" if not soak.violations else "FAILED")
    return 1 if soak.violations else 0


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=20_000, help="how many calls to make (20000)")
    parser.add_argument("--concurrency", type=int, default=64, help="how many at a time (64)")
    parser.add_argument("--share", type=float, default=0.05, help="of the requests that get a fault (0.05)")
    parser.add_argument("--seed", type=int, default=1, help="of what is random (1)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    if given.serve:
        asyncio.run(serve_until_told(given.share, given.seed))
    else:
        sys.exit(asyncio.run(main(given.calls, given.concurrency, given.share, given.seed)))
