"""What hooks and the log are told of jobs: by starts, and by the poller for the tasks that somebody waits for."""

import logging
from contextvars import copy_context
from typing import Any

from soapbatch.calls import JobEvent, JobEventKind, JobHook, tell
from soapbatch.model import BatchTaskInfo, ServiceVersion, redact
from soapbatch.system import log_record


class JobEvents:
    """Tells the hook of a client what happens to jobs; without a hook it does nothing."""

    def __init__(self, hook: JobHook | None, version: ServiceVersion) -> None:
        """Tell `hook`; `version`: of the services."""
        self._hook = hook
        self._version = version

    def tell(self, kind: JobEventKind, **fields: Any) -> None:
        """Tell the hook, in the present context."""
        if self._hook is not None:
            tell(self._hook, JobEvent(kind=kind, version=self._version, **fields))

    def of_watched(self, id: int, *, is_end_known: bool) -> "WatchEvents":
        """Return what tells of a task that somebody begins to wait for; `is_end_known`: that it has ended."""
        return WatchEvents(self, id, is_end_known=is_end_known)


class WatchEvents:
    """Tells of one watched task, in a copy of the context in which the first wait for it began."""

    def __init__(self, events: JobEvents, id: int, *, is_end_known: bool) -> None:
        """Begin in the present context."""
        self._events = events
        self._id = id
        self._is_end_known = is_end_known
        self._context = copy_context()

    def tell(self, kind: JobEventKind, name: str | None, **fields: Any) -> None:
        """Tell the hook of the task; `name`: of its job."""
        self._context.run(self._events.tell, kind, id=self._id, name=name, **fields)

    def tell_polled(self, name: str | None, tasks: int) -> None:
        """Tell the hook that a list was read, for this task among others."""
        self._context.run(self._events.tell, "polled", name=name, tasks=tasks)

    def tell_read(self, before: BatchTaskInfo | None, info: BatchTaskInfo, name: str | None, seconds: float) -> None:
        """Tell the hook of a change or of the end, unless the reading shows neither.

        Args:
            before: the reading before; None: there was none.
            info: the reading.
            name: of the job, if it is known.
            seconds: since this client started the job, or first waited for it.
        """
        state = None if info.state is None else str(info.state)
        if info.has_ended:
            self.tell_end(name, seconds, state=state, percent=info.progress_percent)
        elif info != before:
            self.tell("changed", name, state=state, percent=info.progress_percent)

    def tell_end(
        self, name: str | None, seconds: float, *, state: str | None = None, percent: int | None = None
    ) -> None:
        """Say once that the job has ended or is gone (`state` None), unless the first waiter knew that it has ended."""
        if not self._is_end_known:
            self._is_end_known = True
            self._context.run(self._log_end, name, state)
            self.tell("ended", name, seconds=seconds, state=state, percent=percent)

    def _log_end(self, name: str | None, state: str | None) -> None:
        if state is None:
            log_record(logging.INFO, "task %(task)d is gone: the server does not know it", task=self._id)
        else:
            job = redact(name or "")
            log_record(
                logging.INFO,
                "task %(task)d: job %(job)s has ended as %(state)s",
                task=self._id,
                job=job,
                state=state,
            )
