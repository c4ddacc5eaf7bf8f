"""Starting a job once, also where the answer to its start is lost.

StartBatchJob has no idempotency key, so it is never sent again before it is proven that nothing was started. A
marker, which the task carries, makes that possible: the tasks of the job are listed at once, after 2, 6, 14, ...
seconds, and for a last time when `settle` seconds have passed since the answer was lost.

    a listing shows the marker                    it was started: here is its id
    none does, the last one included              it was not started: by then no server still works on the request
    listing fails for good, or again and again    nothing is proven: StartOutcomeUnknown

A server that fails may have started the job before it did: an OperationFailed or a Fault whose `applied` is
"unknown" is settled likewise, and is raised where the job was not started; it is an answer, so nothing is sent
again. Where it is an exception of NetServer's own, nothing works on the request any more, and two seconds are
enough. Without a marker the server's error is raised as it is.

The proof rests on two things. The server does not begin with a request so late: ASP.NET ends one after 110 seconds
(httpRuntime executionTimeout), hence the default of 120; a proxy that holds requests back for longer needs more.
And it does not forget a finished task between two of these listings.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Final, Unpack

import attrs

from soapbatch.calls import BatchAgent, CallOptions
from soapbatch.errors import Fault, ServiceError, SoapBatchError, StartOutcomeUnknown, UsageError
from soapbatch.jobs.schedule import TICK, Polling, delay_after_failure, is_seconds, retry_after
from soapbatch.jobs.task_reader import has_ended, job_error, tasks_of
from soapbatch.model import BATCH_TASK_INFO, BatchTaskInfo

MARKER_KEY: Final = "soapbatch.marker"
"""The key in `parameter_object` under which Marker.PARAMETER puts the marker."""
SETTLE: Final = 120.0
"""Seconds after which no server still works on a request whose answer was lost: see above."""

_LONGEST: Final = next(row.max_length for row in BATCH_TASK_INFO.fields if row.attribute == "description") or 0
_LISTINGS: Final = Polling(first=0.0)
_RETRY_AFTER_LONGEST: Final = 60.0  # seconds of a Retry-After that listings honour: somebody waits for the start
_LOG: Final = logging.getLogger("soapbatch")


class Marker(Enum):
    """Where a started task carries its marker, a UUID made for each start."""

    PARAMETER = "parameter"
    """In `parameter_object`, as a further parameter `soapbatch.marker`: for jobs that ignore what they do not know."""
    DESCRIPTION = "description"
    """At the end of `description`, as ` [soapbatch:...]`, 45 characters: for jobs that do not rewrite it."""

    def mark(self, info: BatchTaskInfo, text: str) -> BatchTaskInfo:
        """Return `info` with the marker `text`; a UsageError where there is no room for it."""
        if self is Marker.PARAMETER:
            parameters = info.parameter_object or {}
            if MARKER_KEY in parameters:
                raise UsageError(f"the parameter {MARKER_KEY!r} is where the marker goes: leave it out")
            return attrs.evolve(info, parameter_object={**parameters, MARKER_KEY: text})
        description = f"{info.description or ''} [soapbatch:{text}]".lstrip()
        if len(description) > _LONGEST:
            room = _LONGEST - len(description) + len(info.description or "")
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
        """Return what to look for, in words."""
        if self is Marker.PARAMETER:
            return f"a task of that job whose parameter_object holds {MARKER_KEY!r}: {text!r}"
        return f"a task of that job whose description ends in [soapbatch:{text}]"


class StartOptions(CallOptions, total=False):
    """What may be said of the start of a job, as keyword arguments of `Jobs.start` and `Jobs.run`.

    Beside them stand those of the StartBatchJob call: `timeout` and `on_header`.

    Attributes:
        parameters: as the job defines them; None, the default: none.
        description: for people; at most 254 characters, the marker included. The default is None.
        marker: what the task carries so that it can be found if the answer is lost; None, the default: nothing.
        resend: send it once more if the answer was lost and it is proven that nothing was started. Needs a marker;
            the default is False.
        settle: seconds after which no server, and no proxy before it, still works on a lost request. The default is
            120.
    """

    parameters: Mapping[str, str | None] | None
    description: str | None
    marker: Marker | None
    resend: bool
    settle: float


_OPTIONS: Final = frozenset(StartOptions.__annotations__)


def check(name: object, options: Mapping[str, object]) -> None:
    """Refuse what `Jobs.start` cannot be asked for, before anything is sent."""
    unknown = sorted(options.keys() - _OPTIONS)
    parameters, description, marker, resend = map(options.get, ("parameters", "description", "marker", "resend"))
    for is_right, message in (
        (isinstance(name, str), f"name: a job's name is text, not a {type(name).__name__}"),
        (not isinstance(name, str) or name.strip(), "name: a job has one; a blank name would stand for every job"),
        (parameters is None or isinstance(parameters, Mapping), "parameters is a mapping of names to texts, or None"),
        (description is None or isinstance(description, str), "description is text, or None"),
        (marker is None or isinstance(marker, Marker), "marker is Marker.PARAMETER, Marker.DESCRIPTION or None"),
        (not resend or marker, "resend=True needs a marker: without one nothing proves that the job was not started"),
        (is_seconds(options.get("settle", SETTLE)), "settle is a number of seconds"),
        (not unknown, f"a start takes no {', '.join(unknown)}: options are {', '.join(sorted(_OPTIONS))}"),
    ):
        if not is_right:
            raise UsageError(message)


async def start(batch: BatchAgent, name: str, **options: Unpack[StartOptions]) -> int:
    """Start a job and return its task's id; `Jobs.start` documents the rest."""
    info = BatchTaskInfo(
        name=name, description=options.pop("description", None), parameter_object=options.pop("parameters", None)
    )
    marker, resend = options.pop("marker", None), options.pop("resend", False)
    settle = options.pop("settle", SETTLE)
    call: CallOptions = options  # what is left of them
    if marker is None:
        try:
            return await batch.start_batch_job(info, **call)
        except SoapBatchError as error:
            if error.applied == "no" or isinstance(error, ServiceError):
                raise
            raise _unknown(error, info, None, "start it with a marker to have that settled") from error
    text = uuid.uuid4().hex
    sent = marker.mark(info, text)
    _LOG.debug("StartBatchJob: if its answer is lost, look for %s", marker.hint(text))
    while True:
        try:
            return await batch.start_batch_job(sent, **call)
        except SoapBatchError as error:
            if error.applied == "no":
                raise
            seconds = min(settle, TICK) if _is_over(error) else settle
            id_ = await _settled(batch, info, marker, text, seconds, lost=error)
            if id_ is not None:
                return id_
            if not resend or isinstance(error, ServiceError):
                error.applied = "no"
                error.add_note(f"listings for {seconds:g} s after it do not show the job: it was not started")
                raise
        _LOG.info("StartBatchJob: it was not started, and is sent once more")
        resend = False


async def unfinished(batch: BatchAgent, name: str) -> BatchTaskInfo | None:
    """Return the newest task of the job `name` that has not ended, or None."""
    newest: BatchTaskInfo | None = None
    async with contextlib.aclosing(tasks_of(batch, name)) as tasks:
        async for info in tasks:
            if not has_ended(info) and info.id is not None and (newest is None or info.id > (newest.id or 0)):
                newest = info
    return newest


def _is_over(error: SoapBatchError) -> bool:
    """Return whether NetServer itself has answered, so that it works on the request no more: a proxy may fault, too."""
    return isinstance(error, ServiceError) and not (isinstance(error, Fault) and error.exception_info is None)


async def _settled(
    batch: BatchAgent, info: BatchTaskInfo, marker: Marker, text: str, settle: float, *, lost: SoapBatchError
) -> int | None:
    """Return the id of the task that was started; None if it is proven that there is none."""
    hint = f"look for {marker.hint(text)}"
    _LOG.info("StartBatchJob: %s; if nothing else is said, %s", type(lost).__name__, hint)
    try:
        id_ = await _found(batch, info.name or "", marker, text, settle)
    except SoapBatchError as error:
        unknown = _unknown(lost, info, text, hint)
        unknown.add_note(f"listing its tasks failed, too: {error}")
        raise unknown from lost
    if id_ is None and lost.applied == "yes":
        raise _unknown(lost, info, text, f"{hint}; no listing showed it") from lost
    return id_


async def _found(batch: BatchAgent, name: str, marker: Marker, text: str, settle: float) -> int | None:
    """Return the id of the task with the marker, or None when the last listing did not show it."""
    loop = asyncio.get_running_loop()
    last_at = loop.time() + settle
    listings = failures = 0
    while True:
        is_last = listings > 0 and loop.time() >= last_at
        try:
            async with contextlib.aclosing(tasks_of(batch, name)) as tasks:
                ids = [info.id async for info in tasks if marker.is_on(info, text) and info.id is not None]
        except SoapBatchError as error:
            failures += 1
            if not error.retryable or failures >= _LISTINGS.failures:
                raise
            quiet = retry_after(error, _RETRY_AFTER_LONGEST)
            await asyncio.sleep(delay_after_failure(_LISTINGS, failures, quiet))
            continue
        if ids:
            return _first(ids)
        if is_last:
            return None
        listings += 1
        failures = 0
        await asyncio.sleep(max(0.0, min(_LISTINGS.floor * 2.0 ** (listings - 1), last_at - loop.time())))


def _first(ids: list[int]) -> int:
    if len(ids) > 1:
        _LOG.warning("StartBatchJob: tasks %s carry the same marker; the first one is used", sorted(ids))
    return min(ids)


def _unknown(lost: SoapBatchError, info: BatchTaskInfo, marker: str | None, advice: str) -> StartOutcomeUnknown:
    known = "the job was started, but its id" if lost.applied == "yes" else "whether the job was started"
    what = "StartBatchJob failed" if isinstance(lost, ServiceError) else "the answer to StartBatchJob was lost"
    message = f"{what} ({type(lost).__name__}), and {known} is unknown: {advice}"
    error = job_error(StartOutcomeUnknown, message, id=None)
    error.operation, error.version, error.applied = lost.operation, lost.version, lost.applied
    error.name, error.marker = info.name, marker
    return error
