"""What a test that does not end is made to say: where each of its tasks waits."""

import asyncio
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import pytest


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
