"""Start a job exactly once, also if the answer to StartBatchJob is lost, or the process that sent it.

Rule 1. StartBatchJob has no idempotency key. It is never sent again before it is proven that nothing was started.
Rule 2. Without a marker nothing can be proven. A lost answer is StartOutcomeUnknown; an error of the service is raised
        as it is.
Rule 3. With a marker, the task carries a key, by which lists of the job's tasks show what happened. They are read until
        `settle` seconds have passed since the error; `search` has the rules of what they prove.
Rule 4. A list that shows the key proves that the job was started: the task's id is the result.
Rule 5. If it is proven that the job was not started, the error of StartBatchJob is raised with `applied` "no"; or the
        request is sent once more, if the caller allows that with `resend`.
Rule 6. Otherwise nothing is proven, and StartOutcomeUnknown is raised: lists cannot be read or are not known to show
        tasks, a task without a key may be the one, or the server said that it started the job and no list shows it.
Rule 7. An error of the service is an answer, but the service may have started the job before it failed. The outcome is
        settled in the same way, but the request is not sent again. If NetServer itself has answered, it does not work
        on the request any more: 2 seconds are enough.
Rule 8. With `maybe_sent`, lists are read for `settle` seconds before anything is sent. A server whose lists show no
        task of any job is taken for one without tasks: nothing could be started on it otherwise.
Rule 9. If lists show several tasks with the key, the one with the lowest id is kept, and the others are stopped. After
        a start with `maybe_sent` the lists are read once more, because an earlier attempt may have arrived meanwhile.
Rule 10. An answer with an id that is not positive is a lost answer.
Rule 11. `timeout` bounds everything: StartBatchJob and the lists.
Rule 12. HTTP 401 says that the request was refused before anything was started. A gateway may say it of a request that
        the server has run. So with a key a list is read once before the request is sent again with a new ticket.

The proof rests on two assumptions. The server does not begin to work on a request later than `settle` seconds after
the error: ASP.NET ends a request after 110 seconds (httpRuntime executionTimeout), hence the default of 120; a proxy
that holds requests back for longer needs more. And the server does not delete a finished task between two lists.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

import attrs

from soapbatch.calls import BatchAgent, CallOptions
from soapbatch.errors import (
    AccessDenied,
    DeadlineExceeded,
    Fault,
    JobRunning,
    ServiceError,
    SoapBatchError,
    StartOutcomeUnknown,
    UnexpectedResponse,
)
from soapbatch.jobs.checks import require, require_seconds, require_text
from soapbatch.jobs.marker import Key, Marker
from soapbatch.jobs.schedule import SERVER_TICK
from soapbatch.jobs.search import Known, Search
from soapbatch.jobs.task_reader import stream_tasks
from soapbatch.model import BatchTaskInfo, ReplyHeader, redact
from soapbatch.system import log_record

T = TypeVar("T")

SETTLE: Final = 120.0
"""The default of `settle`, in seconds: see the end of the module's docstring."""
IfRunning: TypeAlias = Literal["start", "attach", "fail"]
"""What a start does if a job of that name has not ended; see `Jobs.start`."""

_SUSPECTS_SHOWN: Final = 5


@attrs.frozen(kw_only=True)
class StartRequest:
    """What a caller says of a start; `Jobs.start` documents each argument."""

    name: str
    parameters: Mapping[str, str | None] | None = None
    description: str | None = None
    key: str | None = None
    maybe_sent: bool = False
    marker: Marker | None = None
    resend: bool = False
    settle: float = SETTLE
    if_running: IfRunning = "start"
    timeout: float | None = None
    on_header: Callable[[ReplyHeader], None] | None = None

    def __attrs_post_init__(self) -> None:
        """Raise UsageError for arguments that no start takes, before anything is sent."""
        require(isinstance(self.name, str), f"name: a job's name is text, not a {type(self.name).__name__}")
        require(self.name.strip(), "name: a job's name is not blank; a blank name would stand for every job")
        is_mapping = isinstance(self.parameters, Mapping | None)
        require(is_mapping, "parameters is a mapping of names to texts, or None")
        require_text("description", self.description)
        is_marker = isinstance(self.marker, Marker | None)
        require(is_marker, "marker is Marker.PARAMETER, Marker.DESCRIPTION or None")
        require(
            self.key is not None or not self.maybe_sent,
            "maybe_sent=True needs a key: by the key an earlier attempt is recognised",
        )
        require(
            self.place or not self.resend,
            "resend=True needs a marker: without a marker nothing proves that the job was not started",
        )
        require_seconds("settle", self.settle)
        choices = get_args(IfRunning)
        require(self.if_running in choices, f"if_running is {' or '.join(map(repr, choices))}")
        require_seconds("timeout", self.timeout, or_none=True)
        require(self.on_header is None or callable(self.on_header), "on_header is a function of a ReplyHeader, or None")
        if self.key is not None:
            Key(self.key)

    @property
    def place(self) -> Marker | None:
        """Where the task carries the key. A key without a marker is a parameter."""
        return Marker.PARAMETER if self.marker is None and self.key is not None else self.marker

    @property
    def shown_name(self) -> str:
        """The job's name for a log record."""
        return redact(self.name)

    @property
    def info(self) -> BatchTaskInfo:
        """The task to start, without a mark."""
        return BatchTaskInfo(name=self.name, description=self.description, parameter_object=self.parameters)


@attrs.frozen
class Deadline:
    """The end of a start (Rule 11).

    Attributes:
        seconds: what the caller allowed; None: there is no end.
        at: when the start ends, by the loop's clock; None: there is no end.
    """

    seconds: float | None
    at: float | None

    @classmethod
    def after(cls, seconds: float | None) -> "Deadline":
        """Return the deadline of a start that begins now."""
        return cls(seconds, None if seconds is None else asyncio.get_running_loop().time() + seconds)

    @property
    def call_options(self) -> CallOptions:
        """The options of a call that has to end by then. Without an end, the client's own timeout holds."""
        return {} if self.at is None else {"timeout": max(0.0, self.at - asyncio.get_running_loop().time())}

    async def bound(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`. Raises DeadlineExceeded when the start has to end."""
        limit = asyncio.timeout_at(self.at)
        try:
            async with limit:
                return await work
        except TimeoutError as error:
            if isinstance(error, SoapBatchError) or not limit.expired():
                raise  # of a call
        message = f"the start's timeout of {self.seconds:g} s ran out while tasks were listed"
        raise DeadlineExceeded(message, phase="settling", timeout=self.seconds)


@attrs.frozen
class Started:
    """The outcome of a start.

    Attributes:
        id: of the task.
        key: which the task carries; None: none, or not known.
        is_new: whether this start has just made the task.
    """

    id: int
    key: str | None = None
    is_new: bool = True


async def start_task(batch: BatchAgent, known: Known, request: StartRequest) -> Started:
    """Start a job, or find the task that is to be used instead. See `Jobs.start`."""
    deadline = Deadline.after(request.timeout)
    if request.place is not None:
        key = Key.made() if request.key is None else Key(request.key)
        started = await _MarkedStart(batch, known, request, deadline, request.place, key).run()
    else:
        started = await _other_job(batch, request, deadline) or await _start_unmarked(batch, known, request, deadline)
    log_record(
        logging.INFO,
        "task %(task)d: job %(job)s %(outcome)s",
        task=started.id,
        job=request.shown_name,
        outcome="was started" if started.is_new else "runs or has run already; nothing was started",
    )
    return started


async def _other_job(batch: BatchAgent, request: StartRequest, deadline: Deadline) -> Started | None:
    """Return the job to attach to, because it has the same name and has not ended, or None.

    Raises:
        JobRunning: there is one, and the caller wants to start none then.
        SoapBatchError: it is not known whether there is one. `applied` is "no".
    """
    if request.if_running == "start":
        return None
    newest: BatchTaskInfo | None = None
    try:
        async with contextlib.aclosing(stream_tasks(batch, request.name, deadline.call_options)) as tasks:
            async for info in tasks:
                if not info.has_ended and info.id is not None and (newest is None or info.id > (newest.id or 0)):
                    newest = info
    except SoapBatchError as error:
        error.proven_not_applied("the job was not started: it is not known whether one of that name still runs")
        raise
    if newest is None or newest.id is None:
        return None
    if request.if_running == "attach":
        return Started(newest.id, is_new=False)
    message = f"task {newest.id} of this job has not ended: nothing was started"
    raise JobRunning(message, id=newest.id, info=newest)


async def _send(
    batch: BatchAgent, info: BatchTaskInfo, request: StartRequest, deadline: Deadline, *, renew: bool = True
) -> int:
    """Send StartBatchJob; return the id of the task. `renew`: see `CallOptions`."""
    options = deadline.call_options | {"renew": renew}
    if request.on_header is not None:
        options["on_header"] = request.on_header
    id_ = await batch.start_batch_job(info, **options)
    if id_ <= 0:  # Rule 10
        raise UnexpectedResponse(f"StartBatchJob was answered with the id {id_}, which no task has")
    return id_


async def _start_unmarked(batch: BatchAgent, known: Known, request: StartRequest, deadline: Deadline) -> Started:
    try:
        id_ = await _send(batch, request.info, request, deadline)
    except SoapBatchError as error:
        if error.applied == "no" or isinstance(error, ServiceError):
            raise
        advice = "start the job with a marker to have that settled"
        raise _outcome_unknown(error, request.name, advice) from error  # Rule 2
    known.started(id_)
    return Started(id_)


@attrs.frozen
class _MarkedStart:
    """A start whose task carries a key, so that lists settle its outcome if the answer is lost."""

    batch: BatchAgent
    known: Known
    request: StartRequest
    deadline: Deadline
    place: Marker
    key: Key

    @property
    def hint(self) -> str:
        """What to look for among the job's tasks."""
        return self.place.hint(self.key)

    async def run(self) -> Started:
        """Start the job, or find the task that is to be used instead."""
        marked = self.place.mark(self.request.info, self.key)  # raises if there is no room
        log_record(
            logging.DEBUG,
            "job %(job)s: if the answer to its start is lost, look for %(hint)s",
            job=self.request.shown_name,
            hint=self.hint,
        )
        if not self.request.maybe_sent:
            return await self._start_unless_other(marked)
        earlier, is_proven = await self._find_earlier()
        if earlier:
            return Started(await self._keep_first(earlier), self.key.text, is_new=False)
        try:
            started = await self._start_unless_other(marked)
        except SoapBatchError as error:
            if is_proven or error.applied != "no":
                raise
            raise error.copy(applied="unknown") from error.__cause__  # this attempt was not applied, but another one?
        return attrs.evolve(started, id=await self._look_for_others(started.id)) if started.is_new else started

    async def _start_unless_other(self, marked: BatchTaskInfo) -> Started:
        other = await _other_job(self.batch, self.request, self.deadline)
        if other is not None:
            return other
        id_ = await self._start(marked)
        self.known.started(id_)
        return Started(id_, self.key.text)

    async def _start(self, marked: BatchTaskInfo) -> int:
        """Send StartBatchJob, and settle the outcome if that fails; return the id of the task."""
        resend = self.request.resend
        may_renew = True
        while True:
            search = self._search(after_id=self.known.highest_id, since=asyncio.get_running_loop().time())
            try:
                return await _send(self.batch, marked, self.request, self.deadline, renew=False)
            except SoapBatchError as error:
                if may_renew and _refuses_ticket(error):
                    may_renew = False
                    if ids := await self._look_once(search, error):
                        return await self._keep_first(ids)
                    continue  # Rule 12
                if error.applied == "no":
                    raise
                settle = self.request.settle
                settle = min(settle, SERVER_TICK) if _netserver_answered(error) else settle  # Rule 7
                ids = await self._settle(search, error, settle)
                if ids:
                    return await self._keep_first(ids)  # Rules 4 and 9
                if isinstance(error, ServiceError) or not resend:
                    error.proven_not_applied(f"the job was not started: lists read for {settle:g} s do not show it")
                    raise  # Rule 5
            log_record(
                logging.INFO,
                "job %(job)s was not started; StartBatchJob is sent once more",
                job=self.request.shown_name,
                hint=self.hint,
            )
            resend = False

    async def _look_once(self, search: Search, error: SoapBatchError) -> list[int]:
        """Return the ids of tasks with the key that a list shows, although `error` says that nothing was started."""
        try:
            return await self.deadline.bound(search.read())
        except SoapBatchError as list_error:
            error.add_note(f"the tasks of the job could not be listed, so StartBatchJob was not repeated: {list_error}")
        raise error

    async def _settle(self, search: Search, error: SoapBatchError, settle: float) -> list[int]:
        """Return the ids of tasks with the key; empty: it is proven that there is none.

        Raises:
            StartOutcomeUnknown: neither is proven (Rule 6).
        """
        log_record(
            logging.INFO,
            "job %(job)s: its start failed (%(error)s); unless a later record says what happened, look for %(hint)s",
            error=type(error).__name__,
            job=self.request.shown_name,
            hint=self.hint,
        )
        try:
            ids, doubt = await self.deadline.bound(_search_with_proof(search, settle))
        except SoapBatchError as list_error:
            unknown = self._unknown(error, "")
            unknown.add_note(f"the tasks of the job could not be listed: {list_error}")
            raise unknown from error
        if not ids and error.applied == "yes":
            doubt = "no list shows it"
        if doubt:
            raise self._unknown(error, doubt) from error
        return ids

    async def _find_earlier(self) -> tuple[list[int], bool]:
        """Return the ids of tasks that an earlier attempt has started, and whether lists prove what they show (Rule 8).

        Raises:
            StartOutcomeUnknown: neither is proven. `applied` is "unknown": the earlier attempt may have been applied.
        """
        log_record(
            logging.DEBUG,
            "job %(job)s: first look for %(hint)s, of an earlier attempt",
            job=self.request.shown_name,
            hint=self.hint,
        )
        search = self._search(after_id=0, since=None)
        try:
            ids, doubt = await self.deadline.bound(_search_with_proof(search, self.request.settle))
        except SoapBatchError as error:
            raise self._earlier_unknown(f"the tasks of the job could not be listed: {error}") from error
        if doubt and not search.shows_nothing:
            raise self._earlier_unknown(
                f"{doubt}. If none of them is yours, start with maybe_sent=False, which looks for no earlier attempt"
            )
        return ids, not doubt

    async def _look_for_others(self, id: int) -> int:
        """Look whether another attempt has started a task with the key, too; return the id of the task to keep."""
        try:
            ids = await self.deadline.bound(self._search(after_id=id, since=None).read())
        except SoapBatchError as error:
            log_record(
                logging.INFO,
                "task %(task)d: whether another task carries its key is not known (%(error)s: %(reason)s)",
                task=id,
                error=type(error).__name__,
                reason=str(error),
            )
            return id
        if id not in ids:
            log_record(
                logging.WARNING,
                "task %(task)d: lists do not show its key: on this server a key finds no earlier attempt",
                task=id,
            )
        return await self._keep_first(sorted({id, *ids}))

    async def _keep_first(self, ids: list[int]) -> int:
        """Stop all these tasks but the first, and return the first (Rule 9)."""
        first, *others = ids
        if others:
            log_record(logging.WARNING, "tasks %(tasks)s carry the same marker; the first one is used", tasks=ids)
        for id_ in others:
            try:
                stopped = await self.batch.stop_batch_job(id_, **self.deadline.call_options)
                outcome = "was stopped" if stopped else "was not stopped by the server, and may have ended"
            except SoapBatchError as error:
                outcome = f"may still run: {error}"
            log_record(
                logging.WARNING,
                "task %(task)d, a second one of the same start, %(outcome)s",
                task=id_,
                outcome=outcome,
            )
        return first

    def _search(self, *, after_id: int, since: float | None) -> Search:
        return Search(self.batch, self.request.name, self.key, self.known, after_id, since)

    def _unknown(self, error: SoapBatchError, doubt: str) -> StartOutcomeUnknown:
        advice = f"look for {self.hint}{doubt and '; '}{doubt}"
        return _outcome_unknown(error, self.request.name, advice, self.place.text(self.key), self.key.text)

    def _earlier_unknown(self, why: str) -> StartOutcomeUnknown:
        return StartOutcomeUnknown(
            "whether an earlier attempt has started the job is unknown, and nothing was sent: look for "
            f"{self.hint}; {why}",
            name=self.request.name,
            marker=self.place.text(self.key),
            key=self.key.text,
        )


async def _search_with_proof(search: Search, settle: float) -> tuple[list[int], str]:
    """Search for `settle` seconds.

    Returns:
        The ids of tasks with the key, and why it is in doubt whether there is one. "": there is one, or it is proven
        that there is none.
    """
    ids = await search.read_until(asyncio.get_running_loop().time() + settle)
    if ids:
        return ids, ""
    if suspects := await search.suspects():
        shown = ", ".join(map(str, suspects[:_SUSPECTS_SHOWN])) + (", ..." if len(suspects) > _SUSPECTS_SHOWN else "")
        return [], f"lists show no key, but tasks of that job that carry none and may be the one: {shown}"
    if missed := await search.missed():
        return [], f"lists prove nothing here: they do not show task {missed} of that job, which the server has"
    if not await search.shows_tasks():
        return [], "lists prove nothing here: none of them has ever shown a task of a user, or one of that job"
    return [], ""


def _refuses_ticket(error: SoapBatchError) -> bool:
    return isinstance(error, AccessDenied) and error.status == HTTPStatus.UNAUTHORIZED and error.applied == "no"


def _netserver_answered(error: SoapBatchError) -> bool:
    """Return whether NetServer itself has answered; a fault without its exception may come from a proxy."""
    return isinstance(error, ServiceError) and not (isinstance(error, Fault) and error.exception_info is None)


def _outcome_unknown(
    error: SoapBatchError, name: str, advice: str, marker: str | None = None, key: str | None = None
) -> StartOutcomeUnknown:
    what = "StartBatchJob failed" if isinstance(error, ServiceError) else "the answer to StartBatchJob was lost"
    unknown = "the job was started, but its id" if error.applied == "yes" else "whether the job was started"
    return StartOutcomeUnknown(
        f"{what} ({type(error).__name__}), and {unknown} is unknown: {advice}. What went wrong: {error}",
        name=name,
        marker=marker,
        key=key,
        operation=error.operation,
        version=error.version,
        applied=error.applied,
    )
