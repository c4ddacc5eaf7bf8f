"""The command `soapbatch`: `soapbatch demo` shows the library at work, on a server of its own."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Final

from soapbatch.auth import UsernamePassword
from soapbatch.calls import WIRE
from soapbatch.cli.progress_bar import progress_bar
from soapbatch.client import Client
from soapbatch.errors import SoapBatchError, UsageError
from soapbatch.jobs import Polling
from soapbatch.model import ALL_USER_TASKS, BatchTaskInfo
from soapbatch.testing import DEMO_USER, NetServer, serve

_SPEED: Final = 4.0  # how much faster than the wall clock the demo's server lives
_JOB: Final = "ExportArchiveBatchPlugin"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="soapbatch", description="The batch services of SuperOffice NetServer.")
    commands = parser.add_subparsers(title="commands", required=True)
    command = commands.add_parser("demo", help="run a batch job on an embedded NetServer and watch it")
    command.set_defaults(run=demo)
    run = parser.parse_args(arguments).run
    try:
        asyncio.run(run())
    except SoapBatchError as error:
        sys.stderr.write(f"soapbatch: {error}\n")
        return 1
    return 0


async def demo() -> None:
    """Log in, start a job, watch it, list tasks, fetch the output, delete the task; all over a real socket."""
    try:
        from rich.console import Console  # noqa: PLC0415 - of an extra
        from rich.table import Table  # noqa: PLC0415 - of an extra
    except ImportError:
        raise UsageError('the demo needs rich and uvicorn: pip install "soapbatch[demo]"') from None
    console = Console(highlight=False)

    def step(text: str) -> None:
        console.print(f"[bold green]•[/] {text}")

    def clock() -> float:
        return time.monotonic() * _SPEED

    credentials = UsernamePassword(DEMO_USER.name, DEMO_USER.password)
    async with serve(NetServer(clock=clock)) as url, Client(url, credentials=credentials) as client:
        step(f"an embedded NetServer listens at {url}")
        ticket = await client.ticket()
        step(f"logged in as {DEMO_USER.name}: {ticket.value}")
        job = await client.jobs.start(_JOB, description="Nightly export", parameters={"archive": "contacts"})
        step(f"started {_JOB}: task {job.id}")
        with progress_bar(console) as show:
            polling = Polling(first=0.2, floor=0.2, ceiling=0.5)
            info = await job.wait(timeout=60, on_progress=show, polling=polling)
        step(f"{info.state}: {info.result}")

        table = Table("id", "name", "state", "percent", "description")
        for task in await client.batch.get_batch_task_infos_by_associates(ALL_USER_TASKS):
            table.add_row(*map(str, _columns(task)))
        console.print(table)

        output = await job.output()
        step(f"its output, {info.file_name}, {len(output or b'')} bytes:")
        console.print((output or b"").decode(), style="cyan", end="")
        step("one request and its response, as sent (secrets masked):")
        for text in await _exchange_of(client, job.id):
            console.print(text, style="dim", markup=False, soft_wrap=True)
        await client.batch.delete_batch_task(job.id)
        step(f"deleted task {job.id}; it is now {await client.batch.get_batch_task_info(job.id)}")


def _columns(task: BatchTaskInfo) -> Iterable[object]:
    return task.id, task.name, task.state, task.progress_percent, task.description


async def _exchange_of(client: Client, task_id: int) -> list[str]:
    """Return the request and the response of one GetBatchTaskInfo, as the wire log shows them."""
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
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
    return seen
