"""The task store: tasks that move with the clock, found, changed and deleted as NetServer does it.

A task follows a plan made when it is started: a list of moments, each with the state that holds from then on.
Nothing runs in the background; a reading looks up where the plan stands now.

    New -> Aquired (the next time the server looks for work) -> Started -> ... -> a terminal state
              ^ a restart goes back to New, and StartCount grows with each start
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from operator import attrgetter
from typing import Final

import attrs

from soapbatch.model import BATCH_TASK_INFO, BatchTaskCancellationBehaviour, BatchTaskInfo, BatchTaskState
from soapbatch.testing.clock import WallClock
from soapbatch.testing.faults import ARGUMENT, ServerException, not_found
from soapbatch.testing.job_definitions import PREDEFINED, TERMINAL, JobDefinition, Output

TICK: Final = 2.0
"""Seconds between two looks for new work: on the clock's even seconds."""
ACQUIRED_FOR: Final = 0.5
"""Seconds from being acquired to being started."""
SYSTEM_ASSOCIATE: Final = 0
"""In `AssociateIds`: the tasks of the system."""
EVERY_USER: Final = -1
"""In `AssociateIds`: the tasks of all users."""
STOPPED: Final = "Stopped on request"
"""The `result` of a task that was stopped."""

_S = BatchTaskState
_UPDATED = ("description", "response", "request")
_BOUNDED = tuple((row.name, row.attribute, row.max_length) for row in BATCH_TASK_INFO.fields if row.max_length)


@attrs.frozen
class Moment:
    """From when on which state holds, how often the task was started by then, and when for the last time."""

    at: float
    state: BatchTaskState
    start_count: int = 0
    started_at: float | None = None
    stopped: bool = False


@attrs.define
class Task:
    """A task: what never changes by itself (`info`), and its plan. A task without a plan stays as it is."""

    info: BatchTaskInfo
    definition: JobDefinition = attrs.field(factory=JobDefinition)
    plan: list[Moment] = attrs.field(factory=list)
    output: Output | None = None

    def moment(self, now: float) -> Moment | None:
        """Return where the plan stands."""
        return self.plan[bisect_right(self.plan, now, key=attrgetter("at")) - 1] if self.plan else None

    def state(self, now: float) -> BatchTaskState | str | None:
        """Return the state."""
        moment = self.moment(now)
        return moment.state if moment else self.info.state

    def has_vanished(self, now: float) -> bool:
        """Return whether the server has forgotten it."""
        after, moment = self.definition.vanishes_after, self.moment(now)
        return after is not None and moment is not None and moment.state in TERMINAL and now >= moment.at + after

    def read(self, now: float, wall: WallClock) -> BatchTaskInfo:
        """Return what a client gets to see."""
        moment = self.moment(now)
        if moment is None:
            return self.info
        started_at, has_ended = moment.started_at, moment.state in TERMINAL
        percent, text = 0, ""
        if started_at is not None and (has_ended or moment.state is _S.STARTED):
            percent, text = self.definition.progress((moment.at if has_ended else now) - started_at)
        succeeded = has_ended and moment.state is not _S.FAILED
        return attrs.evolve(
            self.info,
            state=moment.state,
            start_count=moment.start_count,
            last_started=None if started_at is None else wall.date(started_at),
            result=(STOPPED if moment.stopped else self.definition.result) if has_ended else None,
            progress_percent=100 if succeeded else min(percent, 99),
            progress_description=text,
            file_name=self.definition.file_name if succeeded else None,
        )

    def set_state(self, now: float, state: BatchTaskState, *, stopped: bool = False) -> None:
        """Leave the plan at `now`: New makes a new one, any other state stays."""
        last = self.moment(now)
        if last is None:
            self.info = attrs.evolve(self.info, state=state, result=STOPPED if stopped else self.info.result)
        elif state is _S.NEW:
            self.plan = _plan(self.definition, now, last)
        else:
            self.plan = [attrs.evolve(last, at=now, state=state, stopped=stopped)]


def _plan(definition: JobDefinition, now: float, before: Moment | None = None) -> list[Moment]:
    """Return the moments of a job that is queued `now`, after it was `before`."""
    count, started = (before.start_count, before.started_at) if before else (0, None)
    moments = [Moment(now, _S.NEW, count, started)]
    runs = [(seconds, _S.NEW) for seconds in definition.restarts] + [(definition.duration, definition.outcome)]
    for seconds, then in runs:
        acquired = (math.floor(now / TICK) + 1) * TICK
        moments.append(Moment(acquired, _S.ACQUIRED, count, started))
        count, started = count + 1, acquired + ACQUIRED_FOR
        now = started + seconds
        moments += (Moment(started, _S.STARTED, count, started), Moment(now, then, count, started))
    return moments


@attrs.define
class TaskStore:
    """Every task of an embedded server, and the jobs that it knows.

    Attributes:
        jobs: by name; `define_job` adds one.
    """

    _clock: Callable[[], float]
    _wall: WallClock
    jobs: dict[str, JobDefinition] = attrs.field(init=False, factory=lambda: dict(PREDEFINED))
    _tasks: dict[int, Task] = attrs.field(init=False, factory=dict)
    _last_id: int = attrs.field(init=False, default=0)

    def add(self, info: BatchTaskInfo, *, output: Output | None = None) -> int:
        """Add a task that stays as `info` says; without an id it gets the next one. Returns its id."""
        id_ = self._last_id + 1 if info.id is None else info.id
        self._last_id = max(self._last_id, id_)
        self._tasks[id_] = Task(attrs.evolve(info, id=id_), output=output)
        return id_

    def start(self, info: BatchTaskInfo | None, associate_id: int) -> int:
        """Queue a job and return the new task's id."""
        name = (info and info.name) or ""
        definition = self.jobs.get(name)
        if info is None or definition is None:
            raise ServerException(ARGUMENT, f"There is no batch job named '{name}'", "Unknown job")
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
        """Return the task, or None where the server does not know it (any more)."""
        task = self._tasks.get(id)
        if task is not None and task.has_vanished(self._clock()):
            del self._tasks[id]
            return None
        return task

    def require(self, id: int) -> Task:
        """Return the task, or fail with SoEntityNotFoundException."""
        task = self.get(id)
        if task is None:
            raise not_found(id)
        return task

    def read(self, id: int) -> BatchTaskInfo | None:
        """Return what a client sees of the task now, or None."""
        task = self.get(id)
        return None if task is None else task.read(self._clock(), self._wall)

    def find(
        self,
        *,
        name: str = "",
        state: BatchTaskState | str = _S.ALL,
        associate_ids: Collection[int] = (),
        system: bool | None = None,
    ) -> Iterator[BatchTaskInfo]:
        """Return the tasks that match, as they are now, by ascending id.

        Args:
            name: blank: all.
            state: All: any.
            associate_ids: empty: every task; 0: those of the system; -1: those of all users; else of those users.
            system: True: only the system's; False: only users'; None: both.
        """
        now = self._clock()

        def matches(task: Task) -> bool:
            info = task.info
            is_system = bool(info.is_system_task)
            return (
                (not name.strip() or info.name == name)
                and (system is None or is_system is system)
                and (not associate_ids or _is_of(info, is_system, associate_ids))
                and (state == _S.ALL or task.state(now) == state)
                and not task.has_vanished(now)
            )

        found = [self._tasks[id_] for id_ in sorted(self._tasks) if matches(self._tasks[id_])]
        return (task.read(now, self._wall) for task in found)

    def update(self, info: BatchTaskInfo | None) -> BatchTaskInfo | None:
        """Save the state, description, response and request of a task, nil ones too, and nothing else.

        A state that is absent or that the task is in already changes nothing; New queues the task again; any
        other stays until it is changed again.
        """
        if info is None or info.id is None:
            raise not_found(0)
        task = self.require(info.id)
        _check_lengths(info)
        task.info = attrs.evolve(task.info, **{name: getattr(info, name) for name in _UPDATED})
        now = self._clock()
        if isinstance(info.state, BatchTaskState) and info.state != task.state(now):
            task.set_state(now, info.state)
        return self.read(info.id)

    def stop(self, id: int) -> bool:
        """Stop a task: it becomes Failed with the result `STOPPED`, since there is no state for it.

        False: it has ended already, or its job cannot be cancelled.
        """
        task, now = self.require(id), self._clock()
        if (
            task.state(now) in TERMINAL
            or task.info.cancellation_behaviour == BatchTaskCancellationBehaviour.CANNOT_CANCEL
        ):
            return False
        task.set_state(now, _S.FAILED, stopped=True)
        return True

    def delete(self, *ids: int) -> None:
        """Delete tasks, in whatever state; one unknown id among them, and none is deleted."""
        for id_ in ids:
            self.require(id_)
        for id_ in ids:
            self._tasks.pop(id_, None)

    def output(self, id: int) -> Output | None:
        """Return the output of a task that succeeded; None: it has none, or none yet."""
        task = self.require(id)
        succeeded = task.state(self._clock()) in TERMINAL - {_S.FAILED}
        return task.output if succeeded else None

    def cleanup(self, id: int) -> None:
        """Discard the output; SucceededManualCleanup becomes Succeeded."""
        task, now = self.require(id), self._clock()
        task.output = None
        if task.state(now) == _S.SUCCEEDED_MANUAL_CLEANUP:
            task.set_state(now, _S.SUCCEEDED)


def _is_of(info: BatchTaskInfo, is_system: bool, associate_ids: Collection[int]) -> bool:  # noqa: FBT001 - private
    if is_system:
        return SYSTEM_ASSOCIATE in associate_ids
    return EVERY_USER in associate_ids or info.associate_id in associate_ids


def _check_lengths(info: BatchTaskInfo) -> None:
    for name, attribute, longest in _BOUNDED:
        if len(getattr(info, attribute) or "") > longest:
            raise ServerException(ARGUMENT, f"{name} is longer than {longest} characters", "Too long")
