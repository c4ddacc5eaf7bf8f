"""Start a job exactly once, also if the answer to StartBatchJob is lost.

Rule 1. StartBatchJob has no idempotency key. It is never sent again before it is proven that nothing was started.
Rule 2. Without a marker nothing can be proven. A lost answer is StartOutcomeUnknown; an error of the service is raised
        as it is.
Rule 3. With a marker, which the task carries, a list of the job's tasks shows what happened. Such a list is read at
        once, after 2, 6, 14, ... seconds, and for the last time when `settle` seconds have passed since the error.
Rule 4. A list that shows the marker proves that the job was started: its id is the result.
Rule 5. If no list shows the marker, the last one included, the job was not started. The error of StartBatchJob is
        raised with `applied` "no"; or the request is sent once more, if the caller allows that with `resend`.
Rule 6. If lists cannot be read, or if the server said that it started the job and no list shows it, nothing is proven:
        StartOutcomeUnknown.
Rule 7. An error of the service is an answer, but the service may have started the job before it failed. The outcome is
        settled in the same way, but the request is not sent again. If NetServer itself has answered, it does not work
        on the request any more: 2 seconds are enough.

The proof rests on two assumptions. The server does not begin to work on a request later than `settle` seconds after
the error: ASP.NET ends a request after 110 seconds (httpRuntime executionTimeout), hence the default of 120; a proxy
that holds requests back for longer needs more. And the server does not delete a finished task between two lists.
"""

import asyncio
import contextlib
import math
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Final, Unpack

import attrs

from soapbatch.calls import BatchAgent, CallOptions
from soapbatch.errors import Fault, ServiceError, SoapBatchError, StartOutcomeUnknown, UsageError
from soapbatch.jobs.checks import is_number, require
from soapbatch.jobs.schedule import SERVER_TICK
from soapbatch.jobs.task_reader import has_ended, stream_tasks
from soapbatch.model import BATCH_TASK_INFO, Backoff, BatchTaskInfo
from soapbatch.system import LOG

MARKER_KEY: Final = "soapbatch.marker"
"""The key in `parameter_object` under which Marker.PARAMETER puts the marker."""
SETTLE: Final = 120.0
"""The default of `settle`, in seconds: see the end of the module's docstring."""

_LONGEST_DESCRIPTION: Final = next(f.max_length for f in BATCH_TASK_INFO.fields if f.attribute == "description") or 0
_BETWEEN_LISTS: Final = Backoff(first=SERVER_TICK, longest=math.inf, longest_retry_after=0.0)
_AFTER_FAILED_LISTS: Final = Backoff(first=SERVER_TICK, longest=30.0, longest_retry_after=60.0)  # a caller waits
_FAILED_LISTS: Final = 10  # in a row, after which nothing can be proven


class Marker(Enum):
    """Where a started task carries its marker, a UUID made for each start."""

    PARAMETER = "parameter"
    """In `parameter_object`, as another parameter `soapbatch.marker`: for jobs that ignore unknown parameters."""
    DESCRIPTION = "description"
    """At the end of `description`, as ` [soapbatch:...]`, 45 characters: for jobs that do not rewrite it."""

    def mark(self, info: BatchTaskInfo, text: str) -> BatchTaskInfo:
        """Return `info` with the marker `text`. Raises UsageError if there is no room for it."""
        if self is Marker.PARAMETER:
            parameters = info.parameter_object or {}
            if MARKER_KEY in parameters:
                raise UsageError(f"the parameter {MARKER_KEY!r} is reserved for the marker: leave it out")
            return attrs.evolve(info, parameter_object={**parameters, MARKER_KEY: text})
        description = f"{info.description or ''} [soapbatch:{text}]".lstrip()
        if len(description) > _LONGEST_DESCRIPTION:
            room = _LONGEST_DESCRIPTION - len(description) + len(info.description or "")
            raise UsageError(
                f"description has no room for the marker: shorten it to {room} characters, or use another marker"
            )
        return attrs.evolve(info, description=description)

    def is_on(self, info: BatchTaskInfo, text: str) -> bool:
        """Return whether a task carries the marker `text`."""
        if self is Marker.PARAMETER:
            return (info.parameter_object or {}).get(MARKER_KEY) == text
        return text in (info.description or "")

    def hint(self, text: str) -> str:
        """Return in words what a task with the marker `text` looks like."""
        if self is Marker.PARAMETER:
            return f"a task of that job whose parameter_object holds {MARKER_KEY!r}: {text!r}"
        return f"a task of that job whose description ends in [soapbatch:{text}]"


class StartOptions(CallOptions, total=False):
    """The options of a start, as keyword arguments of `Jobs.start` and `Jobs.run`.

    The options of the StartBatchJob call, `timeout` and `on_header`, can be given beside them.

    Attributes:
        parameters: the job's parameters, as the job defines them. None, the default: none.
        description: a text for people; at most 254 characters, the marker included. The default is None.
        marker: where the task carries a marker, so that it can be found if the answer is lost. None, the default: no
            marker.
        resend: whether to send StartBatchJob once more, if the answer was lost and it is proven that nothing was
            started. Needs a marker; the default is False.
        settle: seconds after which neither the server nor a proxy still works on a lost request. The default is 120.
    """

    parameters: Mapping[str, str | None] | None
    description: str | None
    marker: Marker | None
    resend: bool
    settle: float


_OPTIONS: Final = frozenset(StartOptions.__annotations__)


def check_start(name: object, options: Mapping[str, object]) -> None:
    """Raise UsageError for arguments that no start takes, before anything is sent."""
    require(isinstance(name, str), f"name: a job's name is text, not a {type(name).__name__}")
    require(str(name).strip(), "name: a job's name is not blank; a blank name would stand for every job")
    unknown = sorted(options.keys() - _OPTIONS)
    require(not unknown, f"a start takes no {', '.join(unknown)}: options are {', '.join(sorted(_OPTIONS))}")
    parameters, description, marker = map(options.get, ("parameters", "description", "marker"))
    require(parameters is None or isinstance(parameters, Mapping), "parameters is a mapping of names to texts, or None")
    require(description is None or isinstance(description, str), "description is text, or None")
    require(marker is None or isinstance(marker, Marker), "marker is Marker.PARAMETER, Marker.DESCRIPTION or None")
    require(
        marker or not options.get("resend"),
        "resend=True needs a marker: without a marker nothing proves that the job was not started",
    )
    require(is_number(options.get("settle", SETTLE)), "settle is a number of seconds")


async def start_task(batch: BatchAgent, name: str, **options: Unpack[StartOptions]) -> int:
    """Start a job and return the id of its task; see `Jobs.start`."""
    info = BatchTaskInfo(
        name=name, description=options.pop("description", None), parameter_object=options.pop("parameters", None)
    )
    marker = options.pop("marker", None)
    resend = options.pop("resend", False)
    settle = options.pop("settle", SETTLE)
    call: CallOptions = options  # the options that are left
    if marker is None:
        return await _start_unmarked(batch, info, call)
    return await _MarkedStart(batch, info, marker, settle, call).run(resend=resend)


async def unfinished_task(batch: BatchAgent, name: str) -> BatchTaskInfo | None:
    """Return the newest task of the job `name` that has not ended, or None."""
    newest: BatchTaskInfo | None = None
    async with contextlib.aclosing(stream_tasks(batch, name)) as tasks:
        async for info in tasks:
            if not has_ended(info) and info.id is not None and (newest is None or info.id > (newest.id or 0)):
                newest = info
    return newest


async def _start_unmarked(batch: BatchAgent, info: BatchTaskInfo, call: CallOptions) -> int:
    try:
        return await batch.start_batch_job(info, **call)
    except SoapBatchError as error:
        if error.applied == "no" or isinstance(error, ServiceError):
            raise
        advice = "start the job with a marker to have that settled"
        raise _outcome_unknown(error, info, None, advice) from error  # Rule 2


@attrs.frozen
class _MarkedStart:
    """A start with a marker, whose outcome is settled by lists if its answer is lost.

    Attributes:
        batch: the agent to call.
        info: the task to start, without the marker.
        marker: where the task carries the marker.
        settle: see `StartOptions`.
        call: the options of the StartBatchJob call.
        text: the marker.
    """

    batch: BatchAgent
    info: BatchTaskInfo
    marker: Marker
    settle: float
    call: CallOptions
    text: str = attrs.field(init=False, factory=lambda: uuid.uuid4().hex)

    async def run(self, *, resend: bool) -> int:
        """Send StartBatchJob, and settle the outcome if that fails; return the id of the task."""
        marked = self.marker.mark(self.info, self.text)
        LOG.debug("StartBatchJob: if its answer is lost, look for %s", self.marker.hint(self.text))
        while True:
            try:
                return await self.batch.start_batch_job(marked, **self.call)
            except SoapBatchError as error:
                if error.applied == "no":
                    raise
                settle = min(self.settle, SERVER_TICK) if _netserver_answered(error) else self.settle  # Rule 7
                id_ = await self._settle(error, settle)
                if id_ is not None:
                    return id_  # Rule 4
                if isinstance(error, ServiceError) or not resend:
                    error.proven_not_applied(f"the job was not started: lists read for {settle:g} s do not show it")
                    raise  # Rule 5
            LOG.info("StartBatchJob: the job was not started; the request is sent once more")
            resend = False

    async def _settle(self, error: SoapBatchError, settle: float) -> int | None:
        """Return the id of the task that was started; None: it is proven that there is none."""
        hint = f"look for {self.marker.hint(self.text)}"
        LOG.info("StartBatchJob: %s; unless a later record says what happened, %s", type(error).__name__, hint)
        try:
            id_ = await self._find(settle)
        except SoapBatchError as list_error:
            unknown = _outcome_unknown(error, self.info, self.text, hint)
            unknown.add_note(f"the tasks of the job could not be listed: {list_error}")
            raise unknown from error  # Rule 6
        if id_ is None and error.applied == "yes":
            raise _outcome_unknown(error, self.info, self.text, f"{hint}; no list shows it") from error  # Rule 6
        return id_

    async def _find(self, settle: float) -> int | None:
        """Return the id of the task with the marker; None: the last list does not show such a task (Rule 3)."""
        loop = asyncio.get_running_loop()
        last_at = loop.time() + settle
        lists = failures = 0
        while True:
            is_last = lists > 0 and loop.time() >= last_at
            try:
                ids = await self._list()
            except SoapBatchError as error:
                failures += 1
                if not error.retryable or failures >= _FAILED_LISTS:
                    raise
                await asyncio.sleep(_AFTER_FAILED_LISTS.delay(failures, error.retry_after))
                continue
            if len(ids) > 1:
                LOG.warning("StartBatchJob: tasks %s carry the same marker; the first one is used", sorted(ids))
            if ids or is_last:
                return min(ids, default=None)
            lists += 1
            failures = 0
            await asyncio.sleep(max(0.0, min(_BETWEEN_LISTS.delay(lists), last_at - loop.time())))

    async def _list(self) -> list[int]:
        """Return the ids of the tasks with the marker."""
        async with contextlib.aclosing(stream_tasks(self.batch, self.info.name or "")) as tasks:
            return [info.id async for info in tasks if self.marker.is_on(info, self.text) and info.id is not None]


def _netserver_answered(error: SoapBatchError) -> bool:
    """Return whether NetServer itself has answered; a fault without its exception may come from a proxy."""
    return isinstance(error, ServiceError) and not (isinstance(error, Fault) and error.exception_info is None)


def _outcome_unknown(
    error: SoapBatchError, info: BatchTaskInfo, marker: str | None, advice: str
) -> StartOutcomeUnknown:
    what = "StartBatchJob failed" if isinstance(error, ServiceError) else "the answer to StartBatchJob was lost"
    unknown = "the job was started, but its id" if error.applied == "yes" else "whether the job was started"
    return StartOutcomeUnknown(
        f"{what} ({type(error).__name__}), and {unknown} is unknown: {advice}",
        name=info.name,
        marker=marker,
        operation=error.operation,
        version=error.version,
        applied=error.applied,
    )
