"""`soapbatch demo`: run one batch job from login to clean-up, on an embedded NetServer of its own."""

import logging
import time
from typing import Final

from soapbatch.auth import UsernamePassword
from soapbatch.calls import WIRE
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.progress_bar import progress_bar
from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.jobs import Polling
from soapbatch.model import ALL_USER_TASKS, BatchTaskInfo
from soapbatch.testing import DEMO_USER, NetServer, serve

_SPEED: Final = 4.0  # seconds of the server's clock in one second of real time
_JOB: Final = "ExportArchiveBatchPlugin"


async def demo(_: Invocation) -> None:
    """Log in, start a job, wait for its end, list tasks, fetch the output and delete the task, over a real socket.

    Raises:
        UsageError: rich or uvicorn is not installed.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 - rich belongs to an extra
        from rich.table import Table  # noqa: PLC0415 - rich belongs to an extra
    except ImportError:
        raise UsageError('the demo needs rich and uvicorn: pip install "soapbatch[demo]"') from None
    console = Console(highlight=False)
    bullet = "*" if console.options.ascii_only else "•"

    def print_step(text: str) -> None:
        console.print(f"[bold green]{bullet}[/] {text}")

    def fast_clock() -> float:
        return time.monotonic() * _SPEED

    credentials = UsernamePassword(DEMO_USER.name, DEMO_USER.password)
    async with serve(NetServer(clock=fast_clock)) as url, Client(url, credentials=credentials) as client:
        print_step(f"an embedded NetServer listens at {url}")
        ticket = await client.ticket()
        print_step(f"logged in as {DEMO_USER.name}: {ticket.value}")
        job = await client.jobs.start(_JOB, description="Nightly export", parameters={"archive": "contacts"})
        print_step(f"started {_JOB}: task {job.id}")
        with progress_bar(console) as show:
            polling = Polling(first=0.2, floor=0.2, ceiling=0.5)
            info = await job.wait(timeout=60, on_progress=show, polling=polling)
        print_step(f"{info.state}: {info.result}")

        table = Table("id", "name", "state", "percent", "description")
        for task in await client.batch.get_batch_task_infos_by_associates(ALL_USER_TASKS):
            table.add_row(*_cells(task))
        console.print(table)

        output = await job.output()
        print_step(f"its output, {info.file_name}, {len(output or b'')} bytes:")
        console.print((output or b"").decode(), style="cyan", end="")
        print_step("one request and its response, as sent (secrets masked):")
        for text in await _logged_exchange(client, job.id):
            console.print(text, style="dim", markup=False, soft_wrap=True)
        await client.batch.delete_batch_task(job.id)
        print_step(f"deleted task {job.id}; it is now {await client.batch.get_batch_task_info(job.id)}")


def _cells(task: BatchTaskInfo) -> list[str]:
    """Return one row of the table of tasks."""
    return [str(value) for value in (task.id, task.name, task.state, task.progress_percent, task.description)]


async def _logged_exchange(client: Client, task_id: int) -> list[str]:
    """Return the request and the response of one GetBatchTaskInfo, as the wire log shows them."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    level, propagate = WIRE.level, WIRE.propagate
    WIRE.addHandler(handler)
    WIRE.setLevel(logging.DEBUG)
    WIRE.propagate = False
    try:
        await client.batch.get_batch_task_info(task_id)
    finally:
        WIRE.removeHandler(handler)
        WIRE.setLevel(level)
        WIRE.propagate = propagate
    return messages
