"""The scopes that hooks put around a call and its requests: entered, told the outcome, and left once.

The rules are those of `hooks`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from typing import Any, TypedDict

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
    """Puts the scopes of the caller's hooks around one call and around its requests."""

    __slots__ = ("_context", "_operation", "_purpose", "_scope", "_settings")

    def __init__(self, settings: Settings, operation: Operation[Any], purpose: Purpose) -> None:
        """Prepare; no hook is called yet."""
        self._settings = settings
        self._operation = operation
        self._purpose: Purpose = purpose
        self._context: Context | None = None
        self._scope: Any = None

    @property
    def is_wanted(self) -> bool:
        """Whether there is a hook around calls."""
        return self._settings.hooks.around_call is not None

    def isolate(self) -> None:
        """Enter and leave scopes in a context of their own from now on (Rule 4)."""
        self._context = copy_context()

    @contextlib.contextmanager
    def call(self, facts: Callable[[BaseException | None], Facts]) -> Generator[None]:
        """Put the scope of the hook around the block, if there is one; `facts`: what the call knows of its end."""
        settings, operation = self._settings, self._operation
        if settings.hooks.around_call is None:
            yield
            return
        event = CallEvent(
            operation=operation.name,
            agent=operation.agent.name,
            version=settings.version,
            url=settings.base_url,
            purpose=self._purpose,
        )
        loop = asyncio.get_running_loop()
        started = loop.time()
        observation = Observation(self._context, settings.hooks.around_call, event)
        self._scope = observation.scope

        def end(outcome: str, error: BaseException | None) -> None:
            milliseconds = (loop.time() - started) * 1000
            observation.end(CallEndEvent(call=event, outcome=outcome, milliseconds=milliseconds, **facts(error)))

        try:
            yield
        except BaseException as error:
            end("abandoned" if isinstance(error, GeneratorExit) else type(error).__name__, error)
            raise
        end("ok", None)

    def request(self, event: RequestEvent) -> Observation | None:
        """Begin the scope of the hook around a request, if there is one."""
        hook = self._settings.hooks.around_request
        return None if hook is None else Observation(self._context, hook, event, self._scope)
