"""Read the tasks that somebody waits for. All waits of a client share one poller.

    Job.wait, Job.watch ── Subscription ──┐
    Job.wait, Job.watch ── Subscription ──┼── WatchedTask ──┐
    Job.wait            ── Subscription ──┘   WatchedTask ──┴── Poller ── TaskReader

Rule 1. The poller's asyncio task begins with the first subscription and ends with the last one. Nothing else runs in
        the background.
Rule 2. A task is read as often as the most demanding of its subscriptions asks for.
Rule 3. A round reads all tasks that are due. Due times lie on a grid (`schedule`), so that many tasks are due at the
        same time and a list can replace many single readings (`task_reader`).
Rule 4. A list also updates watched tasks that it shows although they are not due.
Rule 5. Several readings of a task may be under way at the same time. A reading that began before the latest recorded
        one is ignored.
Rule 6. Each subscription counts failed readings in a row. A failure that cannot pass ends it at once; a failure that
        may pass ends it when `Polling.failures` is reached. After a reading that worked, an answer that is none (a
        page, an empty or cut answer, a status such as 404 or 302) may pass, too: something that stands in front of the
        server gave it. A tenant of SuperOffice Online that is said to be in maintenance counts as no failure: the
        wait goes on until its own timeout.
Rule 7. A Retry-After delays all readings of the client, not only those of one task.
Rule 8. A task that is not found counts as gone at once, unless it exists for sure (`schedule`, Rule 7): the task has
        been read, or its handle knew of it a moment ago.
Rule 9. Whatever ends the poller also ends every subscription: no wait is left hanging.
Rule 10. Hooks are told of watched tasks in the context of the task's first subscription (`events`); of a list in that
        of one of the tasks that were due.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import attrs

from soapbatch.calls import BatchAgent
from soapbatch.errors import (
    ClientClosed,
    HttpError,
    SoapBatchError,
    TenantUnavailable,
    UnexpectedResponse,
    UnreadableResponse,
)
from soapbatch.jobs.events import JobEvents, WatchEvents
from soapbatch.jobs.schedule import (
    A_MOMENT,
    GRID_TOLERANCE,
    LONGEST_RETRY_AFTER,
    LOOK_AGAIN_AFTER,
    LOOKS_BEFORE_GONE,
    Polling,
    align_to_grid,
    estimate_remaining,
    failure_backoff,
    grid_step,
    next_delay,
)
from soapbatch.jobs.task_reader import TaskReader, TaskRef, task_gone
from soapbatch.model import BatchTaskInfo
from soapbatch.system import cancel_and_wait

MAX_SINGLE_READS: Final = 8
"""How many single readings of a poller may be under way at the same time."""


class Subscription:
    """What one waiter sees of a task: always the latest reading. A slow waiter misses readings in between.

    Attributes:
        id: the task's number.
        polling: how often the waiter wants the task to be read.
        info: the task as last read, or None.
        seen_at: when `info` was read (aware, UTC), or None.
    """

    def __init__(self, id: int, polling: Polling) -> None:
        """Subscribe to task `id`."""
        self.id = id
        self.polling = polling
        self.info: BatchTaskInfo | None = None
        self.seen_at: datetime | None = None
        self._end: Exception | None = None
        self._failures = 0
        self._has_news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether an error has ended the subscription."""
        return self._end is not None

    @property
    def is_failing(self) -> bool:
        """Whether the last reading failed."""
        return self._failures > 0

    async def next_change(self) -> BatchTaskInfo:
        """Wait until the task differs from what was returned before, and return the task.

        Raises:
            JobGone: the server does not know the task (any more).
            SoapBatchError: reading failed for a reason that cannot pass, or too often in a row.
        """
        await self._has_news.wait()
        if self._end is not None:
            raise self._end
        self._has_news.clear()
        assert self.info is not None  # noqa: S101 - the news is a reading
        return self.info

    def record_reading(self, info: BatchTaskInfo, seen_at: datetime) -> None:
        """Record a reading that worked."""
        self.seen_at = seen_at
        self._failures = 0
        if info != self.info:
            self.info = info
            self._has_news.set()

    def record_gone(self) -> None:
        """Record that the server does not know the task (any more)."""
        self._finish(task_gone(self.id, self.info))

    def record_failure(self, error: Exception) -> None:
        """Record a reading that failed, and end the subscription by Rule 6."""
        if isinstance(error, TenantUnavailable) and error.retryable:
            return
        self._failures += 1
        has_worked = self.info is not None
        may_pass = isinstance(error, SoapBatchError) and (error.retryable or (has_worked and _is_stray(error)))
        if may_pass and self._failures < self.polling.failures:
            return
        end = error.copy() if isinstance(error, SoapBatchError) else error  # a foreign error may not be copyable
        if may_pass:
            end.add_note(f"task {self.id} could not be read {self._failures} times in a row; it may still run")
        self._finish(end)

    def _finish(self, end: Exception) -> None:
        self._end = end
        self._has_news.set()


def _is_stray(error: SoapBatchError) -> bool:
    """Return whether `error` is an answer that is none (Rule 6). A subclass of HttpError has a meaning of its own."""
    return isinstance(error, UnreadableResponse | UnexpectedResponse) or type(error) is HttpError


@attrs.define(eq=False)
class WatchedTask:
    """A task with at least one subscription, and when it is read next. Times are seconds of the loop's clock.

    Attributes:
        id: the task's number.
        name: the name of its job; None: not known yet.
        due_at: when the task is read next; infinity: not planned.
        known_since: when this client started the job, or first subscribed to it.
        grid_origin: where the poller's grid begins.
        events: tells the hooks.
        info: the task as last read, or None.
        seen_at: when `info` was read (aware, UTC), or None.
        asked_at: when the recorded reading began.
        failures: how many readings in a row have failed.
        existed_at: when the task existed for sure, before it was first read; minus infinity: not known.
        not_found: how many readings in a row have not found the task.
        is_reading: whether a reading is under way for which the task was due.
        is_unlisted: whether lists do not show the task, although the server knows it.
        subscriptions: who is informed of each reading.
    """

    id: int
    name: str | None
    due_at: float
    known_since: float
    grid_origin: float
    events: WatchEvents
    info: BatchTaskInfo | None = None
    seen_at: datetime | None = None
    asked_at: float = -math.inf
    failures: int = 0
    existed_at: float = -math.inf
    not_found: int = 0
    is_reading: bool = False
    is_unlisted: bool = False
    subscriptions: set[Subscription] = attrs.field(factory=set)

    @property
    def ref(self) -> TaskRef:
        """What the reader needs to know."""
        return TaskRef(self.id, self.name, self.is_unlisted)

    def subscribe(self, subscription: Subscription, first_at: float, tolerance: float) -> None:
        """Add a subscription whose first reading is wanted at `first_at`; `tolerance`: see `align_to_grid`."""
        self.subscriptions.add(subscription)
        line = align_to_grid(first_at, self.grid_origin, grid_step(subscription.polling), tolerance=tolerance)
        self.due_at = min(self.due_at, line)

    def record_reading(self, info: BatchTaskInfo, asked_at: float, jitter: float) -> None:
        """Record a reading that began at `asked_at`; plan the next one."""
        if asked_at < self.asked_at:
            return  # Rule 5
        before, seconds = self.info, asked_at - self.asked_at
        self.info, self.asked_at, self.seen_at = info, asked_at, datetime.now(UTC)
        self.failures = self.not_found = 0
        self.name = info.name or self.name
        for subscription in self.subscriptions:
            subscription.record_reading(info, self.seen_at)
        self.events.tell_read(before, info, self.name, asked_at - self.known_since)
        self.due_at = math.inf
        if not info.has_ended:
            age = asked_at - self.known_since
            changed = before is not None and before != info
            percent_before = None if before is None else before.progress_percent
            remaining = estimate_remaining(percent_before, info.progress_percent, seconds)
            self._plan(asked_at, lambda p: next_delay(p, age=age, changed=changed, remaining=remaining, jitter=jitter))

    def record_failure(self, error: Exception, asked_at: float, retry_after: float | None) -> None:
        """Record a reading that began at `asked_at` and failed; plan the next one."""
        self.failures += 1
        for subscription in self.subscriptions:
            subscription.record_failure(error)
        self._plan(asked_at, lambda polling: failure_backoff(polling).delay(self.failures, retry_after))

    def record_not_found(self, asked_at: float) -> None:
        """Record a reading that began at `asked_at` and found no task: it is gone, or is read again (Rule 8)."""
        if asked_at < self.asked_at:
            return  # Rule 5
        self.not_found += 1
        exists_for_sure = self.info is not None or asked_at - self.existed_at <= A_MOMENT
        if exists_for_sure and self.not_found < LOOKS_BEFORE_GONE:
            self._plan(asked_at, lambda polling: max(polling.floor, LOOK_AGAIN_AFTER))
            return
        self.info, self.due_at = None, math.inf
        for subscription in self.subscriptions:
            subscription.record_gone()
        self.events.tell_end(self.name, asked_at - self.known_since)

    def _plan(self, asked_at: float, delay: Callable[[Polling], float]) -> None:
        """Plan the next reading by Rule 2."""
        pollings = [subscription.polling for subscription in self.subscriptions if not subscription.is_over]
        lines = (align_to_grid(asked_at + delay(p), self.grid_origin, grid_step(p)) for p in pollings)
        self.due_at = min(lines, default=math.inf)


class _SubscriptionBlock(contextlib.AbstractAsyncContextManager[Subscription]):
    """A subscription for the length of a block.

    A class, because `Job.watch` is an async generator: an event loop that ends closes all generators at once, and one
    inside of another one would be closed twice at the same time, which Python reports as an error.
    """

    def __init__(
        self,
        begin: Callable[[], tuple[WatchedTask, Subscription]],
        end: Callable[[WatchedTask, Subscription], Awaitable[None]],
    ) -> None:
        """Call `begin` at the begin of the block, and `end` at its end."""
        self._begin, self._end = begin, end

    async def __aenter__(self) -> Subscription:
        """Subscribe."""
        self._begun = self._begin()
        return self._begun[1]

    async def __aexit__(self, *_: object) -> None:
        """Unsubscribe."""
        await self._end(*self._begun)


class Poller:
    """Reads watched tasks when they are due, and records each reading on the task."""

    def __init__(self, batch: BatchAgent, events: JobEvents, *, shortest_poll: float = 0.0) -> None:
        """Read through `batch`. No I/O.

        Args:
            batch: the agent.
            events: tells the hooks.
            shortest_poll: the least of `Polling.floor`, whatever a wait says.
        """
        self._batch = batch
        self._events = events
        self._shortest_poll = shortest_poll
        self._watched: dict[int, WatchedTask] = {}
        self._polling: asyncio.Task[None] | None = None
        self._grid_origin = 0.0
        self._had_a_round = False  # of the present asyncio task
        self._jitter = 0.0  # one for a whole round: it spreads clients, and must not spread the tasks of one client
        self._backoff_until = -math.inf
        self._wake = asyncio.Event()
        self._single_reads = asyncio.Semaphore(MAX_SINGLE_READS)

    def subscribe(
        self,
        id: int,
        polling: Polling,
        *,
        name: str | None = None,
        started_at: float | None = None,
        existed_at: float = -math.inf,
        is_over: bool = False,
    ) -> contextlib.AbstractAsyncContextManager[Subscription]:
        """Subscribe to a task for the length of a block.

        Args:
            id: the task's number.
            polling: how often to read the task.
            name: the name of its job, if it is known.
            started_at: when this client started the job, by the loop's clock; None: this client did not start it.
            existed_at: when the caller knew for sure that the task exists, by the loop's clock.
            is_over: whether the caller knows that the task has ended.
        """
        polling = polling.at_least(self._shortest_poll)
        begin = partial(self._subscribe, name=name, started_at=started_at, existed_at=existed_at, is_over=is_over)
        return _SubscriptionBlock(partial(begin, id, polling), self._unsubscribe)

    def _subscribe(
        self,
        id: int,
        polling: Polling,
        *,
        name: str | None,
        started_at: float | None,
        existed_at: float,
        is_over: bool,
    ) -> tuple[WatchedTask, Subscription]:
        """Begin a subscription. Nothing here may fail: `_unsubscribe` follows only what this method returns."""
        now = asyncio.get_running_loop().time()
        first_at = now if started_at is None else max(now, started_at + polling.first)
        if self._polling is None:  # Rule 1
            self._grid_origin = first_at
            self._had_a_round = False
            self._polling = asyncio.create_task(self._run(), name="soapbatch poller")
        task = self._watched.get(id)
        if task is None:
            known_since = now if started_at is None else started_at
            events = self._events.of_watched(id, is_end_known=is_over)
            task = self._watched[id] = WatchedTask(id, name, math.inf, known_since, self._grid_origin, events)
            events.tell("watched", name)
        task.existed_at = max(task.existed_at, existed_at)
        subscription = Subscription(id, polling)
        if task.info is not None and task.seen_at is not None and now - task.asked_at < polling.floor:
            task.subscriptions.add(subscription)
            subscription.record_reading(task.info, task.seen_at)
        else:
            # A subscription that joins before the first round is read in it; a later one waits for the next line.
            task.subscribe(subscription, first_at, 0 if self._had_a_round else GRID_TOLERANCE)
            self._wake.set()
        return task, subscription

    async def _unsubscribe(self, task: WatchedTask, subscription: Subscription) -> None:
        """End a subscription."""
        task.subscriptions.discard(subscription)
        if not task.subscriptions and self._watched.get(task.id) is task:
            del self._watched[task.id]
            task.events.tell("unwatched", task.name)
        if not self._watched:  # Rule 1
            await self._stop()

    async def aclose(self) -> None:
        """End every subscription with ClientClosed, and the poller's asyncio task."""
        self._end_subscriptions()
        await self._stop()

    async def _stop(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            await cancel_and_wait([polling])

    def _end_subscriptions(self, defect: Exception | None = None) -> None:
        """End every subscription by Rule 9: with `defect`, or with ClientClosed."""
        watched, self._watched = self._watched, {}
        for task in watched.values():
            message = f"the wait for task {task.id} was ended because the client was closed; the task may still run"
            for subscription in task.subscriptions:
                subscription.record_failure(defect or ClientClosed(message))
            task.events.tell("unwatched", task.name)

    async def _run(self) -> None:
        """Read in rounds until the task is cancelled. The body of the poller's asyncio task."""
        defect: Exception | None = None
        try:
            reader = TaskReader(self._batch)
            async with asyncio.TaskGroup() as readings:
                while True:
                    await self._wait_for_round()
                    self._start_round(reader, readings)
        except Exception as error:  # noqa: BLE001 - hooks and foreign transports may raise anything
            defect = error
        finally:
            if self._polling is asyncio.current_task():  # neither `_stop` nor the last subscription has ended the task
                self._polling = None
                self._end_subscriptions(defect)

    async def _wait_for_round(self) -> None:
        """Wait until a task is due and no Retry-After is in force. `_wake` announces that due times have changed."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            first_due_at = min((task.due_at for task in self._idle()), default=math.inf)
            round_at = max(self._backoff_until, first_due_at)  # Rule 7
            if round_at <= loop.time():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if math.isinf(round_at) else round_at):
                    await self._wake.wait()

    def _start_round(self, reader: TaskReader, readings: asyncio.TaskGroup) -> None:
        """Start the readings of all tasks that are due (Rule 3)."""
        self._had_a_round = True
        self._jitter = random.random()  # noqa: S311 - spreads load, protects nothing
        now = asyncio.get_running_loop().time()
        due = {task.id: task for task in self._idle() if task.due_at <= now}
        for task in due.values():
            task.is_reading = True
        plan = reader.plan(task.ref for task in due.values())
        for name, ids in plan.lists.items():
            readings.create_task(self._read_list(reader, name, [due[id_] for id_ in ids]))
        for id_ in plan.singles:
            readings.create_task(self._read_one(reader, due[id_]))

    def _idle(self) -> list[WatchedTask]:
        return [task for task in self._watched.values() if not task.is_reading]

    async def _read_one(self, reader: TaskReader, task: WatchedTask, *, is_missing: bool = False) -> None:
        """Read one task alone; `is_missing`: a complete list did not show the task."""
        async with self._single_reads:
            asked_at = asyncio.get_running_loop().time()
            task.events.tell("polled", task.name)
            try:
                info = await reader.read_one(task.id)
            except Exception as error:  # noqa: BLE001 - hooks and foreign transports may raise anything
                self._record_failure([task], error, asked_at)
            else:
                if info is None:
                    task.record_not_found(asked_at)
                else:
                    task.is_unlisted |= is_missing
                    task.record_reading(info, asked_at, self._jitter)
            finally:
                task.is_reading = False
                self._wake.set()

    async def _read_list(self, reader: TaskReader, name: str, due: list[WatchedTask]) -> None:
        """Read the tasks `due` from a list, and those that the list does not show one by one."""
        asked_at = asyncio.get_running_loop().time()
        due[0].events.tell_polled(name or None, len(due))
        missing: list[WatchedTask] = []
        is_complete = False
        try:
            found, is_complete = await reader.read_list(name, len(due), self._watched.keys())
        except Exception as error:  # noqa: BLE001 - hooks and foreign transports may raise anything
            self._record_failure(due, error, asked_at)
        else:
            for id_ in found.keys() & self._watched.keys():  # Rule 4
                self._watched[id_].record_reading(found[id_], asked_at, self._jitter)
            missing = [task for task in due if task.id not in found]
        for task in due:
            task.is_reading = False
        for task in missing:
            task.is_reading = True
        self._wake.set()
        await asyncio.gather(*(self._read_one(reader, task, is_missing=is_complete) for task in missing))

    def _record_failure(self, tasks: Iterable[WatchedTask], error: Exception, asked_at: float) -> None:
        retry_after = error.retry_after if isinstance(error, SoapBatchError) else None
        if retry_after is not None:  # Rule 7
            until = asyncio.get_running_loop().time() + min(retry_after, LONGEST_RETRY_AFTER)
            self._backoff_until = max(self._backoff_until, until)
        for task in tasks:
            task.record_failure(error, asked_at, retry_after)
