"""The scopes that hooks put around a call and its requests: entered, told the outcome, and left once.

The rules are those of `hooks`.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Self, TypedDict

from soapbatch.calls.hooks import CallEndEvent, CallEvent, Purpose, RequestEvent, tell
from soapbatch.calls.settings import Settings
from soapbatch.errors import Applied
from soapbatch.model import Binding
from soapbatch.operations import Operation


class Observation:
    """A scope that was entered.

    Attributes:
        scope: what the context manager of the hook has yielded.
    """

    __slots__ = ("_context", "_manager", "scope")

    def __init__(
        self, context: Context | None, hook: Callable[..., AbstractContextManager[Any]], *args: object
    ) -> None:
        """Call `hook` and enter what it returns: in `context`, or in the present one (Rule 4)."""
        self._context = context
        if context is None:
            self._manager = hook(*args)
            self.scope: Any = self._manager.__enter__()
        else:
            self._manager = context.run(hook, *args)
            self.scope = context.run(self._manager.__enter__)

    def end(self, event: object) -> None:
        """Tell the scope the outcome, and leave it. What either raises is logged (Rule 3)."""
        context = self._context
        tell(self._end if context is None else lambda event: context.run(self._end, event), event)

    def _end(self, event: object) -> None:
        try:
            self.scope.ended(event)
        finally:
            self._manager.__exit__(None, None, None)


class Facts(TypedDict):
    """What only the call itself knows of its end: fields of CallEndEvent."""

    applied: Applied
    binding: Binding | None
    attempts: int


class CallObserver:
    """Puts the scopes of the caller's hooks around one call, as a context manager, and around its requests."""

    __slots__ = ("_call", "_context", "_event", "_facts", "_operation", "_purpose", "_settings", "_started")

    def __init__(self, settings: Settings, operation: Operation[Any], purpose: Purpose) -> None:
        """Prepare; no hook is called yet."""
        self._settings = settings
        self._operation = operation
        self._purpose: Purpose = purpose
        self._context: Context | None = None
        self._call: Observation | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether there is a hook around calls."""
        return self._settings.hooks.around_call is not None

    def around(self, facts: Callable[[BaseException | None], Facts]) -> Self:
        """Return what to put around the call. `facts`: returns what it knows of its end, for what has ended it."""
        self._facts = facts
        return self

    def isolate(self) -> None:
        """Enter and leave scopes in a context of their own from now on (Rule 4)."""
        self._context = copy_context()

    def __enter__(self) -> None:
        """Begin the scope of the call, if there is a hook for it."""
        settings, operation = self._settings, self._operation
        if settings.hooks.around_call is None:
            return
        self._event = CallEvent(
            operation=operation.name,
            agent=operation.agent.name,
            version=settings.version,
            url=settings.base_url,
            purpose=self._purpose,
        )
        self._started = _now()
        self._call = Observation(self._context, settings.hooks.around_call, self._event)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the scope of the call."""
        facts = self._facts
        del self._facts  # no circle of references with the call
        if self._call is None:
            return
        outcome = "ok"
        if kind is not None:
            outcome = "abandoned" if issubclass(kind, GeneratorExit) else kind.__name__
        milliseconds = (_now() - self._started) * 1000
        self._call.end(CallEndEvent(call=self._event, outcome=outcome, milliseconds=milliseconds, **facts(error)))

    def request(self, event: RequestEvent) -> Observation | None:
        """Begin the scope of a request, if there is a hook for it."""
        hook, call = self._settings.hooks.around_request, self._call
        return None if hook is None else Observation(self._context, hook, event, None if call is None else call.scope)


def _now() -> float:
    return asyncio.get_running_loop().time()
