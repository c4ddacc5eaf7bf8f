"""A progress bar for `on_progress`, drawn by rich. Needs rich, which the extras `cli` and `demo` bring.

    with progress_bar() as show:
        await job.wait(on_progress=show)

Each task has a bar of its own, so that `wait_all` can use it too.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from soapbatch.errors import UsageError
from soapbatch.model import BatchTaskInfo, BatchTaskState

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def progress_bar(console: "Console | None" = None) -> Generator[Callable[[BatchTaskInfo], None]]:
    """Yield a function that draws a task's progress; the bars end with the block.

    Args:
        console: where to draw; None: rich's default console, on standard output.

    Raises:
        UsageError: rich is not installed.
    """
    try:
        from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - rich belongs to an extra
    except ImportError:
        raise UsageError('a progress bar needs rich: pip install "soapbatch[cli]", or "soapbatch[demo]"') from None
    columns = (
        TextColumn("{task.fields[number]} {task.fields[name]}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[int | None, TaskID] = {}

        def show(info: BatchTaskInfo) -> None:
            if info.id not in bars:
                bars[info.id] = progress.add_task("", total=100, number=info.id, name=info.name or "")
            progress.update(bars[info.id], completed=info.progress_percent or 0, description=_status(info))

        yield show


def _status(info: BatchTaskInfo) -> str:
    """Return what the task does now: its progress description or its state, and the number of a repeated start."""
    description = info.progress_description if info.state == BatchTaskState.STARTED else None
    start = f" (start {info.start_count})" if (info.start_count or 0) > 1 else ""
    return f"{description or info.state or ''}{start}"
