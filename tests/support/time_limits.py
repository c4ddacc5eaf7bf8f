"""Limits for tests that would never end. Each limit ends its test with the stack of each of its tasks."""

import asyncio
import traceback
from collections.abc import Coroutine, Iterable, Iterator
from types import FrameType
from typing import Any, Final, TypeVar

import pytest

from soapbatch.testing import VirtualTimeLoop

T = TypeVar("T")

MAX_STEPS: Final = 250_000
"""Steps that a virtual event loop may take: seconds do not end a test whose time jumps.

The longest test takes a tenth of that.
"""


def run_virtual(coroutine: Coroutine[Any, Any, T], *, max_steps: int = MAX_STEPS) -> T:
    """Run `coroutine` as `soapbatch.testing.run_virtual` does; fail the test after `max_steps` steps of its loop."""
    with asyncio.Runner(loop_factory=lambda: _BoundedLoop(max_steps)) as runner:
        return runner.run(coroutine)


class _BoundedLoop(VirtualTimeLoop):
    """A loop in virtual time that counts how often its time is read: once or more in each step."""

    def __init__(self, max_steps: int) -> None:
        super().__init__()
        self._max_steps = self._left = max_steps

    def time(self) -> float:
        self._left -= 1
        if self._left < 0:
            self._left = self._max_steps  # for the tasks that are cancelled now
            fail_with_stacks(f"the test did not end within {self._max_steps:,} steps", asyncio.all_tasks(self))
        return super().time()


def fail_with_stacks(reason: str, tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Fail the test for this reason, and show where each of the tasks waits."""
    pytest.fail("\n".join([f"{reason}; each task and where it waits:", *map(_stack, tasks)]), pytrace=False)


def _stack(task: asyncio.Task[Any]) -> str:
    """Return the name of a task and its stack, down to the innermost coroutine.

    `asyncio.Task.print_stack` shows the outermost coroutine alone.
    """
    frames = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in _awaited_frames(task.get_coro()))
    return f"{task.get_name()}:\n{''.join(frames.format())}"


def _awaited_frames(awaitable: object) -> Iterator[FrameType]:
    """Yield the frame of a coroutine, of the coroutine or async generator that it awaits, and so on."""
    while awaitable is not None:
        frames = (getattr(awaitable, name, None) for name in ("cr_frame", "gi_frame", "ag_frame"))
        yield from (frame for frame in frames if isinstance(frame, FrameType))
        awaited = (getattr(awaitable, name, None) for name in ("cr_await", "gi_yieldfrom", "ag_await"))
        awaitable = next((found for found in awaited if found is not None), None)
