"""The task store: tasks whose state follows the clock, and that are found, changed and deleted as NetServer does it.

StartBatchJob plans the whole life of a task: a list of states, each with the clock's seconds at which it begins.
Nothing runs in the background: to read a task is to look up in its plan which state the present time falls into.

    New -> Aquired (when the server next looks for work) -> Started -> a terminal state
     ^                                                         |
     +---------------- a restart; StartCount grows with each start
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from operator import attrgetter
from typing import Final

import attrs

from soapbatch.model import BATCH_TASK_INFO, BatchTaskCancellationBehaviour, BatchTaskInfo, BatchTaskState, utf16_length
from soapbatch.testing.clock import WallClock
from soapbatch.testing.faults import ARGUMENT_EXCEPTION, ServerException, not_found
from soapbatch.testing.job_definitions import PREDEFINED, JobDefinition, Output

QUEUE_INTERVAL: Final = 2.0
"""Seconds between two times at which the server looks for work: the even seconds of the clock."""
SECONDS_ACQUIRED: Final = 0.5
"""Seconds for which a task is Aquired before it is Started."""
SYSTEM_ASSOCIATE: Final = 0
"""In `AssociateIds`: the tasks of the system."""
EVERY_USER: Final = -1
"""In `AssociateIds`: the tasks of all users."""
STOPPED_RESULT: Final = "Stopped on request"
"""The `result` of a task that was stopped."""

_S = BatchTaskState
_UPDATED_FIELDS: Final = ("description", "response", "request")
_MAX_LENGTHS: Final = [
    (field.name, field.attribute, field.max_length) for field in BATCH_TASK_INFO.fields if field.max_length
]


@attrs.frozen
class PlannedState:
    """One state of a task's plan.

    Attributes:
        begins: the clock's seconds at which the state begins.
        state: the state.
        start_count: how often the task has been started by then.
        started_at: the clock's seconds of the last start, or None.
        stopped: whether StopBatchJob led to the state.
    """

    begins: float
    state: BatchTaskState
    start_count: int = 0
    started_at: float | None = None
    stopped: bool = False


@attrs.define
class Task:
    """A task.

    Attributes:
        info: the fields that do not follow the plan; without a plan, all fields.
        definition: what the task's job does.
        plan: the states of the task, in the order of their times; empty: the task stays as `info` says.
        output: the content of the output file, or None.
    """

    info: BatchTaskInfo
    definition: JobDefinition = attrs.field(factory=JobDefinition)
    plan: list[PlannedState] = attrs.field(factory=list)
    output: Output | None = None

    def planned_state(self, now: float) -> PlannedState | None:
        """Return the entry of the plan that `now` falls into; None: there is no plan."""
        return self.plan[bisect_right(self.plan, now, key=attrgetter("begins")) - 1] if self.plan else None

    def state(self, now: float) -> BatchTaskState | str | None:
        """Return the state at `now`."""
        planned = self.planned_state(now)
        return planned.state if planned else self.info.state

    def has_ended(self, now: float) -> bool:
        """Return whether the state at `now` is a terminal one."""
        state = self.state(now)
        return isinstance(state, BatchTaskState) and state.is_terminal

    def has_succeeded(self, now: float) -> bool:
        """Return whether the task has ended, and not as Failed."""
        return self.has_ended(now) and self.state(now) is not _S.FAILED

    def has_vanished(self, now: float) -> bool:
        """Return whether the server has deleted the task by itself."""
        after, planned = self.definition.vanishes_after, self.planned_state(now)
        return after is not None and planned is not None and self.has_ended(now) and now >= planned.begins + after

    def ends_in(self, now: float) -> float | None:
        """Return the seconds until the last state of the plan begins; None: the state has begun, or never will."""
        seconds = self.plan[-1].begins - now if self.plan else 0.0
        return seconds if 0 < seconds < math.inf else None

    def read(self, now: float, wall: WallClock) -> BatchTaskInfo:
        """Return the task as a client sees it at `now`."""
        planned = self.planned_state(now)
        if planned is None:
            return self.info
        started_at, has_ended, has_succeeded = planned.started_at, self.has_ended(now), self.has_succeeded(now)
        percent, text = 0, ""
        if started_at is not None and (has_ended or planned.state is _S.STARTED):
            percent, text = self.definition.progress((planned.begins if has_ended else now) - started_at)
        return attrs.evolve(
            self.info,
            state=planned.state,
            start_count=planned.start_count,
            last_started=None if started_at is None else wall.date(started_at),
            result=(STOPPED_RESULT if planned.stopped else self.definition.result) if has_ended else None,
            progress_percent=100 if has_succeeded else min(percent, 99),
            progress_description=text,
            file_name=self.definition.file_name if has_succeeded else None,
        )

    def set_state(self, now: float, state: BatchTaskState, *, stopped: bool = False) -> None:
        """Change the state at `now`. The state New queues the task again; in any other state the task then stays."""
        last = self.planned_state(now)
        if last is None:
            self.info = attrs.evolve(self.info, state=state, result=STOPPED_RESULT if stopped else self.info.result)
        elif state is _S.NEW:
            self.plan = _plan(self.definition, now, last)
        else:
            self.plan = [attrs.evolve(last, begins=now, state=state, stopped=stopped)]


def _plan(definition: JobDefinition, now: float, last: PlannedState | None = None) -> list[PlannedState]:
    """Return the plan of a task that is queued at `now`. `last`: its state until then, if it is queued again."""
    count, started = (last.start_count, last.started_at) if last else (0, None)
    plan = [PlannedState(now, _S.NEW, count, started)]
    runs = [(seconds, _S.NEW) for seconds in definition.restarts] + [(definition.duration, definition.outcome)]
    for seconds, next_state in runs:
        acquired = (math.floor(now / QUEUE_INTERVAL) + 1) * QUEUE_INTERVAL
        plan.append(PlannedState(acquired, _S.ACQUIRED, count, started))
        count, started = count + 1, acquired + SECONDS_ACQUIRED
        now = started + seconds
        plan += (PlannedState(started, _S.STARTED, count, started), PlannedState(now, next_state, count, started))
    return plan


@attrs.define
class TaskStore:
    """The tasks of an embedded server, and the jobs that it can run. `NetServer.tasks` is one.

    Attributes:
        jobs: the definition of each job, by name; `NetServer.define_job` adds one.
    """

    _clock: Callable[[], float]
    _wall: WallClock
    jobs: dict[str, JobDefinition] = attrs.field(init=False, factory=lambda: dict(PREDEFINED))
    _tasks: dict[int, Task] = attrs.field(init=False, factory=dict)
    _last_id: int = attrs.field(init=False, default=0)

    def add(self, info: BatchTaskInfo, *, output: Output | None = None) -> int:
        """Add a task that stays as `info` says, and return its id.

        Args:
            info: the task; without an id, it gets the next one.
            output: the content of its output file, which clients get if the task has succeeded.
        """
        id_ = self._last_id + 1 if info.id is None else info.id
        self._last_id = max(self._last_id, id_)
        self._tasks[id_] = Task(attrs.evolve(info, id=id_), output=output)
        return id_

    def start(self, info: BatchTaskInfo | None, associate_id: int) -> int:
        """Queue a new task of the job `info.name` and return the task's id.

        Raises:
            ServerException: there is no such job, or a text of `info` is too long.
        """
        name = (info and info.name) or ""
        definition = self.jobs.get(name)
        if info is None or definition is None:
            raise ServerException(ARGUMENT_EXCEPTION, f"There is no batch job named '{name}'", "Unknown job")
        _check_lengths(info)
        now = self._clock()
        self._last_id += 1
        started = BatchTaskInfo(
            id=self._last_id,
            name=name,
            associate_id=SYSTEM_ASSOCIATE if definition.is_system_task else associate_id,
            details_table=info.details_table or 0,
            details_record=info.details_record or 0,
            is_system_task=definition.is_system_task,
            is_internal_task=definition.is_internal_task,
            parameter_object=info.parameter_object,
            created=self._wall.date(now),
            database_serial_number="1234567890",
            context=info.context,
            description=info.description,
            response=info.response,
            request=info.request,
            cancellation_behaviour=definition.cancellation_behaviour,
        )
        self._tasks[self._last_id] = Task(started, definition, _plan(definition, now), definition.output)
        return self._last_id

    def get(self, id: int) -> Task | None:
        """Return a task, or None if there is no such task, or none any more."""
        task = self._tasks.get(id)
        if task is not None and task.has_vanished(self._clock()):
            del self._tasks[id]
            return None
        return task

    def require(self, id: int) -> Task:
        """Return a task.

        Raises:
            ServerException: there is no such task (SoEntityNotFoundException).
        """
        task = self.get(id)
        if task is None:
            raise not_found(id)
        return task

    def read(self, id: int) -> BatchTaskInfo | None:
        """Return a task as a client sees it now, or None if there is no such task."""
        task = self.get(id)
        return None if task is None else task.read(self._clock(), self._wall)

    def ends_in(self, id: int) -> float | None:
        """Return the seconds until a task ends; None: it has ended, or never will, or there is no such task."""
        task = self.get(id)
        return None if task is None else task.ends_in(self._clock())

    def find(
        self,
        *,
        name: str = "",
        state: BatchTaskState | str = _S.ALL,
        associate_ids: Collection[int] = (),
        system: bool | None = None,
    ) -> Iterator[BatchTaskInfo]:
        """Return the tasks that match every filter, as they are now, by ascending id.

        Args:
            name: the name of the job; blank: any.
            state: the state; All: any.
            associate_ids: the users whose tasks match. 0 is the system, -1 every user; empty: all tasks match.
            system: True: only tasks of the system; False: only tasks of users; None: both.
        """
        now = self._clock()

        def matches(task: Task) -> bool:
            info = task.info
            is_system = bool(info.is_system_task)
            return (
                (not name.strip() or info.name == name)
                and (system is None or is_system is system)
                and (not associate_ids or _belongs_to(info, is_system, associate_ids))
                and (state == _S.ALL or task.state(now) == state)
                and not task.has_vanished(now)
            )

        found = [self._tasks[id_] for id_ in sorted(self._tasks) if matches(self._tasks[id_])]
        return (task.read(now, self._wall) for task in found)

    def update(self, info: BatchTaskInfo | None) -> BatchTaskInfo | None:
        """Save the state, description, response and request of a task, and return the task as it is then.

        A description, response or request of None is saved too. A state of None, and the state that the task is in,
        change nothing. The state New queues the task again; any other state stays until the next update.

        Raises:
            ServerException: there is no such task, or a text of `info` is too long.
        """
        if info is None or info.id is None:
            raise not_found(0)
        task = self.require(info.id)
        _check_lengths(info)
        task.info = attrs.evolve(task.info, **{name: getattr(info, name) for name in _UPDATED_FIELDS})
        now = self._clock()
        if isinstance(info.state, BatchTaskState) and info.state != task.state(now):
            task.set_state(now, info.state)
        return self.read(info.id)

    def stop(self, id: int) -> bool:
        """Stop a task. Its state becomes Failed, as there is no state for stopped tasks, and its result says why.

        Returns:
            Whether the task was stopped. False: it has ended already, or its job cannot be cancelled.

        Raises:
            ServerException: there is no such task.
        """
        task, now = self.require(id), self._clock()
        can_cancel = task.info.cancellation_behaviour != BatchTaskCancellationBehaviour.CANNOT_CANCEL
        if task.has_ended(now) or not can_cancel:
            return False
        task.set_state(now, _S.FAILED, stopped=True)
        return True

    def delete(self, *ids: int) -> None:
        """Delete tasks, whatever their states.

        Raises:
            ServerException: one of the tasks does not exist; none is deleted then.
        """
        for id_ in ids:
            self.require(id_)
        for id_ in ids:
            self._tasks.pop(id_, None)

    def output(self, id: int) -> Output | None:
        """Return the output of a task; None: the task has no output, or has not succeeded.

        Raises:
            ServerException: there is no such task.
        """
        task = self.require(id)
        return task.output if task.has_succeeded(self._clock()) else None

    def cleanup(self, id: int) -> None:
        """Delete the output of a task; the state SucceededManualCleanup becomes Succeeded.

        Raises:
            ServerException: there is no such task.
        """
        task, now = self.require(id), self._clock()
        task.output = None
        if task.state(now) == _S.SUCCEEDED_MANUAL_CLEANUP:
            task.set_state(now, _S.SUCCEEDED)


def _belongs_to(info: BatchTaskInfo, is_system: bool, associate_ids: Collection[int]) -> bool:  # noqa: FBT001 - private
    if is_system:
        return SYSTEM_ASSOCIATE in associate_ids
    return EVERY_USER in associate_ids or info.associate_id in associate_ids


def _check_lengths(info: BatchTaskInfo) -> None:
    for name, attribute, longest in _MAX_LENGTHS:
        if utf16_length(getattr(info, attribute) or "") > longest:
            raise ServerException(ARGUMENT_EXCEPTION, f"{name} is longer than {longest} characters", "Too long")
