"""One poller for many: whoever waits for tasks of a client shares its readings.

    wait, watch ── Watch ──┐
    wait, watch ── Watch ──┼── Entry (a task) ──┐
    wait        ── Watch ──┘   Entry (a task) ──┴── Poller: a round on each line of the grid where something is due

The poller's task begins with the first watch and ends with the last one; nothing else runs in the background.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import attrs

from soapbatch.calls import BatchAgent
from soapbatch.errors import ClientClosed, SoapBatchError
from soapbatch.jobs.schedule import LATE, TICK, Polling, align, delay, delay_after_failure, retry_after, seconds_left
from soapbatch.jobs.task_reader import Reader, Wanted, gone, has_ended
from soapbatch.model import BatchTaskInfo
from soapbatch.system import cancel_and_wait

CONCURRENCY: Final = 8
"""Single readings of a poller that may be under way at the same time."""


class Watch:
    """What one waiter sees of a task: always the latest, however slow it looks.

    Attributes:
        info: the task as last read, or None.
        seen_at: when that was (aware, UTC), or None.
    """

    def __init__(self, id: int, polling: Polling) -> None:
        """Watch task `id`."""
        self.id = id
        self.polling = polling
        self.info: BatchTaskInfo | None = None
        self.seen_at: datetime | None = None
        self._end: Exception | None = None
        self._failures = 0
        self._news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether it has nothing more to show."""
        return self._end is not None

    @property
    def is_failing(self) -> bool:
        """Whether the last reading failed."""
        return self._failures > 0

    async def change(self) -> BatchTaskInfo:
        """Return the task as soon as it differs from what was returned before.

        Raises:
            JobGone: the server does not know the task (any more).
            SoapBatchError: reading failed, for good or too often in a row.
        """
        await self._news.wait()
        if self._end is not None:
            raise self._end
        self._news.clear()
        assert self.info is not None  # noqa: S101 - that was the news
        return self.info

    def see(self, info: BatchTaskInfo, seen_at: datetime) -> None:
        """Take a reading."""
        self.seen_at = seen_at
        self._failures = 0
        if info != self.info:
            self.info = info
            self._news.set()

    def lose(self) -> None:
        """Take that the server does not know the task (any more)."""
        self._finish(gone(self.id, self.info))

    def fail(self, error: Exception) -> None:
        """Take a reading that failed: the end, unless it may pass and has not happened too often in a row."""
        self._failures += 1
        may_pass = isinstance(error, SoapBatchError) and error.retryable
        if may_pass and self._failures < self.polling.failures:
            return
        end = error.copy() if isinstance(error, SoapBatchError) else error  # nobody knows how to copy any other
        if may_pass:
            end.add_note(f"task {self.id} could not be read {self._failures} times in a row; it may still run")
        self._finish(end)

    def _finish(self, end: Exception) -> None:
        self._end = end
        self._news.set()


@attrs.define(eq=False)
class _Entry:
    """A task that is watched, and when it is read next: `due`, in seconds of the loop's clock, as all others here."""

    id: int
    name: str | None
    due: float
    began: float
    origin: float
    info: BatchTaskInfo | None = None
    seen_at: datetime | None = None
    asked: float = -math.inf  # when the latest reading began
    failures: int = 0
    is_reading: bool = False
    is_single: bool = False
    watches: set[Watch] = attrs.field(factory=set)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.id, self.name, self.is_single)

    def see(self, info: BatchTaskInfo, asked: float, jitter: float) -> None:
        """Take a reading that began at `asked`."""
        if asked < self.asked:
            return  # a later one has come in before it
        before, since = self.info, asked - self.asked
        left = None if before is None else seconds_left(before.progress_percent, info.progress_percent, since)
        self.info, self.asked, self.seen_at, self.failures = info, asked, datetime.now(UTC), 0
        self.name = info.name or self.name
        for watch in self.watches:
            watch.see(info, self.seen_at)
        self.due = math.inf
        if not has_ended(info):
            moved = before is not None and before != info
            age = asked - self.began
            self._next(asked, lambda polling: delay(polling, age=age, moved=moved, left=left, jitter=jitter))

    def fail(self, error: Exception, asked: float) -> None:
        """Take a reading that began at `asked` and failed."""
        self.failures += 1
        for watch in self.watches:
            watch.fail(error)
        self._next(asked, lambda polling: delay_after_failure(polling, self.failures, retry_after(error)))

    def lose(self) -> None:
        """Take that the server does not know the task (any more)."""
        self.info, self.due = None, math.inf
        for watch in self.watches:
            watch.lose()

    def _next(self, asked: float, seconds: Callable[[Polling], float]) -> None:
        pollings = [watch.polling for watch in self.watches if not watch.is_over]
        times = (align(asked + seconds(polling), self.origin, min(TICK, polling.floor)) for polling in pollings)
        self.due = min(times, default=math.inf)


class Poller:
    """Reads what is watched, as often as the most eager watch of each task wants it."""

    def __init__(self, batch: BatchAgent) -> None:
        """Read through `batch`. No I/O."""
        self._batch = batch
        self._entries: dict[int, _Entry] = {}
        self._task: asyncio.Task[None] | None = None
        self._origin = 0.0
        self._has_begun = False  # the first round of the present task
        self._jitter = 0.0  # one for all of a round: it spreads clients, and must not scatter the tasks of one
        self._quiet_until = -math.inf
        self._wake = asyncio.Event()
        self._turns = asyncio.Semaphore(CONCURRENCY)

    @contextlib.asynccontextmanager
    async def watch(
        self,
        id: int,
        polling: Polling,
        *,
        name: str | None = None,
        started_at: float | None = None,
    ) -> AsyncGenerator[Watch, None]:
        """Watch a task within a block.

        Args:
            id: which one.
            polling: how often.
            name: of its job, if it is known.
            started_at: when this client started it, by the loop's clock; None: somebody else did.
        """
        now = asyncio.get_running_loop().time()
        when = now if started_at is None else max(now, started_at + polling.first)
        if self._task is None:
            self._origin = when
            self._has_begun = False
            self._task = asyncio.create_task(self._run(), name="soapbatch poller")
        entry = self._entries.get(id)
        if entry is None:
            began = now if started_at is None else started_at
            entry = self._entries[id] = _Entry(id, name, math.inf, began, self._origin)
        watch = Watch(id, polling)
        try:
            entry.watches.add(watch)
            if entry.info is not None and entry.seen_at is not None and now - entry.asked < polling.floor:
                watch.see(entry.info, entry.seen_at)
            else:
                late = 0 if self._has_begun else LATE  # who comes with the first is read with it; later, with the next
                entry.due = min(entry.due, align(when, self._origin, min(TICK, polling.floor), late=late))
                self._wake.set()
            yield watch
        finally:
            entry.watches.discard(watch)
            if not entry.watches and self._entries.get(id) is entry:
                del self._entries[id]
            if not self._entries:
                await self._stop()

    async def aclose(self) -> None:
        """End every watch with ClientClosed, and the poller with them."""
        self._end_watches()
        await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait([task])

    def _end_watches(self, defect: Exception | None = None) -> None:
        entries, self._entries = self._entries, {}
        for entry in entries.values():
            message = f"the wait for task {entry.id} was ended, since the client was closed; the task may still run"
            for watch in entry.watches:
                watch.fail(defect or ClientClosed(message))

    async def _run(self) -> None:
        defect: Exception | None = None
        try:
            await self._rounds()
        except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
            defect = error
        finally:
            if self._task is asyncio.current_task():  # not the last watch has ended it, but somebody else
                self._task = None
                self._end_watches(defect)

    async def _rounds(self) -> None:
        reader = Reader(self._batch)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                idle = [entry for entry in self._entries.values() if not entry.is_reading]
                when = max(self._quiet_until, min((entry.due for entry in idle), default=math.inf))
                now = loop.time()
                if when > now:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(None if math.isinf(when) else when):
                            await self._wake.wait()
                    continue
                self._has_begun = True
                self._jitter = random.random()  # noqa: S311 - spreads load, protects nothing
                due = {entry.id: entry for entry in idle if entry.due <= now}
                for entry in due.values():
                    entry.is_reading = True
                calls = reader.plan(entry.wanted for entry in due.values())
                for name, ids in calls.lists.items():
                    group.create_task(self._read_list(reader, name, [due[id_] for id_ in ids]))
                for id_ in calls.singles:
                    group.create_task(self._read_one(reader, due[id_]))

    async def _read_one(self, reader: Reader, entry: _Entry, *, is_missing: bool = False) -> None:
        """Read one task by itself; `is_missing`: a list did not show it."""
        async with self._turns:
            asked = asyncio.get_running_loop().time()
            try:
                info = await reader.one(entry.id)
            except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
                self._failed([entry], error, asked)
            else:
                if info is None:
                    entry.lose()
                else:
                    entry.is_single |= is_missing
                    entry.see(info, asked, self._jitter)
            finally:
                entry.is_reading = False
                self._wake.set()

    async def _read_list(self, reader: Reader, name: str, due: list[_Entry]) -> None:
        """Read tasks from a list, whoever else it shows with them, and what it does not show one by one."""
        asked = asyncio.get_running_loop().time()
        missing: list[_Entry] = []
        is_whole = False
        try:
            found, is_whole = await reader.listed(name, len(due), self._entries.keys())
        except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
            self._failed(due, error, asked)
        else:
            for id_ in found.keys() & self._entries.keys():
                self._entries[id_].see(found[id_], asked, self._jitter)
            missing = [entry for entry in due if entry.id not in found]
        for entry in due:
            entry.is_reading = False
        for entry in missing:
            entry.is_reading = True
        self._wake.set()
        await asyncio.gather(*(self._read_one(reader, entry, is_missing=is_whole) for entry in missing))

    def _failed(self, entries: Iterable[_Entry], error: Exception, asked: float) -> None:
        quiet = retry_after(error)
        if quiet is not None:  # the server means the client, not one task
            self._quiet_until = max(self._quiet_until, asyncio.get_running_loop().time() + quiet)
        for entry in entries:
            entry.fail(error, asked)
