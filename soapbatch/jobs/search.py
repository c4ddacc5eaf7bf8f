"""Find the task that carries a key, or say whether lists prove that there is none.

Rule 1. A list that shows a task with the key proves that the job was started. If several tasks carry the key, the one
        with the lowest id counts: every process that looks picks the same one.
Rule 2. A list is read at once, after 2, 6, 14, ... seconds, and for the last time when the search has to end.
Rule 3. There are two kinds of list: the tasks of all associates, and the tasks of users in any state. The second one is
        read where the first one shows nothing and is not known to show tasks: some servers answer it with an empty
        list. The first one alone shows tasks of the system.
Rule 4. Lists without the key prove that there is no task only if their kind is known to show tasks: it has shown a task
        of that job, or, in the case of the first kind, a task of any user. Otherwise the outcome is unknown. Lists that
        show the tasks of other jobs and hide those of this one mislead: SuperOffice may hide internal tasks.
Rule 5. Lists may leave the key out, and a job may overwrite it. A task of that job which carries no key at all, and
        which may have been started since, may be the one, unless this client itself has started it: the outcome is
        unknown. A task is older than a start if the client knew of a higher id before: ids grow. A task is older, too,
        if the server has created another task longer after it than the start has taken until now; only times of the
        server are compared, and an hour is allowed for clocks that were set.
Rule 6. The time of an earlier attempt of another process is not known: every task without a key may be the one. But
        lists that show the key of another start of that job do not leave keys out, and then no task is suspected.
Rule 7. Lists that do not show the last task of that job which this client has started, although the server still has
        that task, are cut or old: they prove nothing.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final, TypeAlias

import attrs

from soapbatch.calls import BatchAgent
from soapbatch.errors import SoapBatchError
from soapbatch.jobs.marker import Key, is_marked
from soapbatch.jobs.schedule import SERVER_TICK
from soapbatch.jobs.task_reader import ANY_JOB, TaskReader, stream_tasks
from soapbatch.model import Backoff, BatchTaskInfo, BatchTaskState
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE

CLOCK_TOLERANCE: Final = timedelta(hours=1)
"""How far a server's clock may have been set back, daylight saving time included."""

_BETWEEN_LISTS: Final = Backoff(first=SERVER_TICK, longest=math.inf, longest_retry_after=0.0)
_AFTER_FAILED_LISTS: Final = Backoff(first=SERVER_TICK, longest=30.0, longest_retry_after=60.0)  # a caller waits
_OWN_KEPT: Final = 1000
_OWN_READ: Final = 3  # tasks of other jobs, or that have vanished, which are read to find one that lists should show
_FAILED_LISTS: Final = 10  # in a row, after which nothing can be proven
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


ListKind: TypeAlias = Callable[[BatchAgent, str], AsyncGenerator[BatchTaskInfo, None]]
"""A kind of list (Rule 3): yields the tasks of the job with a name, or of all jobs."""


def _stream_in_any_state(batch: BatchAgent, name: str) -> AsyncGenerator[BatchTaskInfo, None]:
    return batch.stream(GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE, name=name, state=BatchTaskState.ALL)


OF_ALL_ASSOCIATES: Final[ListKind] = stream_tasks
IN_ANY_STATE: Final[ListKind] = _stream_in_any_state


@attrs.define
class Known:
    """What a client knows of its server's tasks.

    Attributes:
        highest_id: the highest id of a task that the client has seen; 0: none yet.
        own: the ids of the latest 1,000 tasks that the client has started: it knows their keys.
        shown: the kinds of list that have shown tasks, each with the job whose tasks it has shown, or with ANY_JOB.
    """

    highest_id: int = 0
    own: deque[int] = attrs.field(factory=partial(deque[int], maxlen=_OWN_KEPT))
    shown: set[tuple[ListKind, str]] = attrs.field(factory=set)

    def saw(self, id: int) -> None:
        """Remember that there is a task `id`."""
        self.highest_id = max(self.highest_id, id)

    def started(self, id: int) -> None:
        """Remember that the client has started task `id`."""
        self.saw(id)
        self.own.append(id)

    def shows_tasks(self, kind: ListKind, name: str) -> bool:
        """Return whether a kind of list is known to show the tasks of the job `name` (Rule 4)."""
        return not {(kind, name), (kind, ANY_JOB)}.isdisjoint(self.shown)


@attrs.define
class _Reading:
    """What the latest list of a kind has shown of the job.

    Attributes:
        shown: the ids of all tasks.
        ids: of the tasks that carry the key.
        unmarked: the tasks that carry no key at all: when each was created, by id.
        has_marked: whether a task carries the key of another start.
        newest: when the newest task of the list was created.
    """

    shown: set[int] = attrs.field(factory=set)
    ids: list[int] = attrs.field(factory=list)
    unmarked: dict[int, datetime | None] = attrs.field(factory=dict)
    has_marked: bool = False
    newest: datetime = _LONG_AGO


@attrs.define
class Search:
    """A search for the task of one start.

    Attributes:
        batch: the agent to call.
        name: of the job.
        key: which the task carries.
        known: what the client knows of the tasks, and learns here.
        after_id: ids up to this one are older than the start.
        since: when the start began, by the loop's clock; None: another process began it (Rule 6).
    """

    batch: BatchAgent
    name: str
    key: Key
    known: Known
    after_id: int = 0
    since: float | None = None
    _readings: dict[ListKind, _Reading] = attrs.field(init=False, factory=dict)

    @property
    def shows_nothing(self) -> bool:
        """Whether the lists that were read last have shown no task of the job at all."""
        return not any(reading.shown for reading in self._readings.values())

    async def read(self) -> list[int]:
        """Read the lists once; return the ids of the tasks with the key, the lowest one first."""
        first = self._readings[OF_ALL_ASSOCIATES] = await self._read_list(OF_ALL_ASSOCIATES)
        self._readings.pop(IN_ANY_STATE, None)  # an older reading proves nothing
        if self.known.shows_tasks(OF_ALL_ASSOCIATES, self.name):  # by this reading, or by an earlier one
            return sorted(first.ids)
        with contextlib.suppress(SoapBatchError):  # this list could show more, and can take nothing away
            second = self._readings[IN_ANY_STATE] = await self._read_list(IN_ANY_STATE)
            return sorted(second.ids)
        return []

    async def read_until(self, last_at: float) -> list[int]:
        """Read the lists until they show the key, and for the last time at `last_at` (Rule 2).

        Raises:
            SoapBatchError: a list could not be read: for a reason that cannot pass, or too often in a row.
        """
        loop = asyncio.get_running_loop()
        readings = failures = 0
        while True:
            is_last = readings > 0 and loop.time() >= last_at
            try:
                ids = await self.read()
            except SoapBatchError as error:
                failures += 1
                if not error.retryable or failures >= _FAILED_LISTS:
                    raise
                await asyncio.sleep(_AFTER_FAILED_LISTS.delay(failures, error.retry_after))
                continue
            if ids or is_last:
                return ids
            readings += 1
            failures = 0
            await asyncio.sleep(max(0.0, min(_BETWEEN_LISTS.delay(readings), last_at - loop.time())))

    async def shows_tasks(self) -> bool:
        """Return whether the lists that were read last are known to show the tasks of the job (Rule 4).

        If need be, the tasks of all jobs are listed.
        """
        if not self._is_known_to_show_tasks():
            await self._read_all_jobs()
        return self._is_known_to_show_tasks()

    async def missed(self) -> int | None:
        """Return the id of a task that the lists should have shown (Rule 7); None: none is known."""
        shown = set[int]().union(*(reading.shown for reading in self._readings.values()))
        reader = TaskReader(self.batch)
        for id_ in islice(reversed(self.known.own), _OWN_READ):
            if id_ in shown:
                return None
            info = await reader.read_one(id_)
            if info is not None and info.name == self.name:
                return id_
        return None

    async def suspects(self) -> list[int]:
        """Return the ids of tasks without a key that may be the one (Rules 5 and 6).

        If need be, the tasks of all jobs are listed.
        """
        readings = self._readings.values()
        others = (pair for reading in readings for pair in reading.unmarked.items())
        unmarked = {id_: at for id_, at in others if id_ > self.after_id and id_ not in self.known.own}
        if self.since is None:
            return [] if any(reading.has_marked for reading in readings) else sorted(unmarked)
        unmarked = self._without_older(unmarked, max(reading.newest for reading in readings), self.since)
        if unmarked:
            unmarked = self._without_older(unmarked, await self._read_all_jobs(), self.since)
        return sorted(unmarked)

    async def _read_list(self, kind: ListKind) -> _Reading:
        """Read the list of the job."""
        reading = _Reading()
        async with contextlib.aclosing(kind(self.batch, self.name)) as tasks:
            async for info in tasks:
                if info.id is None:
                    continue
                self.known.saw(info.id)
                reading.shown.add(info.id)
                reading.newest = max(reading.newest, _created(info) or _LONG_AGO)
                if self.key.is_on(info):
                    reading.ids.append(info.id)
                elif is_marked(info):
                    reading.has_marked = True
                else:
                    reading.unmarked[info.id] = _created(info)
        if reading.shown:
            self.known.shown.add((kind, self.name))
        return reading

    async def _read_all_jobs(self) -> datetime:
        """Read the list of all jobs; return when the newest task was created."""
        newest = _LONG_AGO
        async with contextlib.aclosing(OF_ALL_ASSOCIATES(self.batch, ANY_JOB)) as tasks:
            async for info in tasks:
                newest = max(newest, _created(info) or _LONG_AGO)
                if info.id is not None and not info.is_system_task:
                    self.known.shown.add((OF_ALL_ASSOCIATES, ANY_JOB))
        return newest

    def _is_known_to_show_tasks(self) -> bool:
        return any(self.known.shows_tasks(kind, self.name) for kind in self._readings)

    @staticmethod
    def _without_older(
        unmarked: Mapping[int, datetime | None], newest: datetime, since: float
    ) -> dict[int, datetime | None]:
        """Return the tasks that are not proven to be older than the start; `newest`: see Rule 5."""
        elapsed = timedelta(seconds=asyncio.get_running_loop().time() - since) + CLOCK_TOLERANCE
        return {id_: at for id_, at in unmarked.items() if at is None or newest - at <= elapsed}


def _created(info: BatchTaskInfo) -> datetime | None:
    """Return when a task was created, if the server says so with a time zone."""
    created = info.created
    return None if created is None or created.tzinfo is None else created
