"""A nightly worker: runs a table of jobs, five at once, saves their outputs, and ends in good order on SIGTERM.

    SOAPBATCH_URL=... SOAPBATCH_USER=... SOAPBATCH_PASSWORD_FILE=... python nightly_worker.py exports.toml out/monday

The table has a section for each job, and the name of the section is the name of the output:

    [contacts]
    job = "ExportArchiveBatchPlugin"
    parameters = { archive = "contacts" }

SIGTERM ends the worker with status 143, and the jobs on the server run on. Run it again with the same folder: it takes
over what it has started, and leaves alone what has an output. Each start has a key, which is written to a file before
the start is sent. To start a job again that has failed, remove its `.key` file.
"""

import asyncio
import signal
import sys
import tomllib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soapbatch import Client, SoapBatchError

AT_ONCE = 5
"""How many jobs run at the same time."""


async def finish(client: Client, name: str, row: Mapping[str, Any], folder: Path) -> bool:
    """Start a job or take it over, wait for it, and save its output; return whether all of that worked."""
    output, note = folder / f"{name}.out", folder / f"{name}.key"
    if output.exists():
        return True
    known = note.read_text("utf-8") if note.exists() else ""
    key = known or str(uuid.uuid4())
    note.write_text(key, "utf-8")
    try:
        # maybe_sent: the tasks on the server are searched for the key before anything is started.
        job = await client.jobs.start(row["job"], parameters=row.get("parameters"), key=key, maybe_sent=bool(known))
        await job.wait(timeout=None)
        size = await job.save_output(output)
        await job.cleanup()
    except SoapBatchError as error:
        print(f"{name}: {type(error).__name__}: {error}", flush=True)
        return False
    print(f"{name}: {size} bytes", flush=True)
    return True


async def run(client: Client, table: Mapping[str, Mapping[str, Any]], folder: Path) -> bool:
    """Finish all jobs, `AT_ONCE` at a time; return whether all of them worked."""
    rows = iter(table.items())  # the workers share it: each takes the next row
    worked: list[bool] = []

    async def work() -> None:
        for name, row in rows:
            worked.append(await finish(client, name, row, folder))

    async with asyncio.TaskGroup() as workers:
        for _ in range(AT_ONCE):
            workers.create_task(work())
    return all(worked)


async def run_until_sigterm(table: Mapping[str, Mapping[str, Any]], folder: Path) -> int:
    """Finish all jobs; return the exit status."""
    async with Client.from_env() as client:
        running = asyncio.ensure_future(run(client, table, folder))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await asyncio.wait([running])
        if running.cancelled():
            print("SIGTERM: the jobs on the server run on; run this again with the same folder", flush=True)
            return 128 + signal.SIGTERM
        return 0 if running.result() else 1


def main(table: Path, folder: Path) -> int:
    """Read the table, and finish all its jobs; return the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run_until_sigterm(tomllib.loads(table.read_text("utf-8")), folder))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
