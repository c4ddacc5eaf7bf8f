"""The demo of a fleet: `make demo-fleet`.

It starts a Temporal dev server, embedded NetServers for 5 tenants, two worker processes and 30 jobs, of which at most 3
run for a tenant. It kills one of the workers, kill -9, when a third of the jobs have ended. A live table shows how far
the jobs are. In the end it prints how often StartBatchJob was called. It ends all that it has started.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from temporalio.client import Client as Temporal, WorkflowHandle

from soapbatch.integrations.temporal import BatchJob, BatchJobProgress, RunBatchJob, read_progress
from soapbatch.testing import serve
from tests.support.fleet import QUEUE, Tenanted, connect, dev_server, new_server, workers

TENANTS = ("acme", "bravo", "cobalt", "delta", "echo")
STEPS = ((5, "Preparing"), (30, "Reading contacts"), (60, "Reading persons"), (90, "Writing the workbook"))
HEARTBEAT_TIMEOUT = 3.0
MAX_RUNNING = 3


async def demo(console: Console, jobs: int) -> int:
    """Run the demo; return how often StartBatchJob was called."""
    with tempfile.TemporaryDirectory() as name, dev_server(Path(name)) as server:
        netservers = Tenanted(new_server)
        for number, tenant in enumerate(TENANTS):
            netservers[tenant].define_job("Export", duration=5 + 2 * number, steps=STEPS, output=b"id;name\r\n")
        temporal = await connect(server.target)
        console.print(f"a Temporal dev server listens at {server.target}")
        async with serve(netservers) as url, workers(server.target, url, Path(name) / "out") as processes:
            console.print(f"embedded NetServers of {len(TENANTS)} tenants listen at {url}")
            first = await processes.start("--ceiling", "1")
            await processes.start("--ceiling", "1")
            console.print(f"two workers run: processes {' and '.join(str(each.pid) for each in processes.running)}")
            began = time.monotonic()
            handles = await start(temporal, jobs)
            event = "both workers run"
            with Live(console=console, refresh_per_second=4) as live:
                while True:
                    found = await asyncio.gather(*map(read_progress, handles))
                    ended = sum(progress.phase in {"succeeded", "failed", "stopped"} for progress in found)
                    live.update(table(found, f"{time.monotonic() - began:.0f} s: {event}; {ended} of {jobs} ended"))
                    if ended == jobs:
                        break
                    if ended >= jobs // 3 and first in processes.running:
                        await processes.kill(first)
                        event = f"worker {first.pid} was killed with kill -9 after {time.monotonic() - began:.0f} s"
                    await asyncio.sleep(0.3)
            phases = Counter(progress.phase for progress in found)
            starts = netservers.count("StartBatchJob")
            console.print(f"\n{dict(phases)} of {jobs} jobs; StartBatchJob was called {starts} times")
            return starts


async def start(temporal: Temporal, jobs: int) -> list[WorkflowHandle[Any, Any]]:
    """Start the workflows of the jobs."""
    return [
        await temporal.start_workflow(
            RunBatchJob.run,
            BatchJob(
                TENANTS[number % len(TENANTS)],
                "Export",
                output=f"{number}.csv",
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                settle=10,
                max_running=MAX_RUNNING,
            ),
            id=f"{TENANTS[number % len(TENANTS)]}/export/{number}",
            task_queue=QUEUE,
        )
        for number in range(jobs)
    ]


def table(found: Sequence[BatchJobProgress], title: str) -> Table:
    """Return the table of the tenants: jobs that wait for a slot, how far the running ones are, how many are done."""
    made = Table("tenant", "queueing", "running: task, percent, what it does", "succeeded", title=title)
    made.title_justify = "left"
    for number, tenant in enumerate(TENANTS):
        jobs = found[number :: len(TENANTS)]
        phases = Counter(progress.phase for progress in jobs)
        running = [describe(each) for each in jobs if each.phase not in {"queueing", "succeeded"}]
        lines = "\n".join(running + [""] * (MAX_RUNNING - len(running)))
        made.add_row(tenant, str(phases["queueing"]), lines, str(phases["succeeded"]))
    return made


def describe(progress: BatchJobProgress) -> str:
    """Return how far a running job is, in one line."""
    task = progress.task
    if task.percent is None:
        return f"{progress.phase} {task.id or ''}"
    return f"{task.id or '':>3} {task.percent:>3} % {task.progress}"


def main(arguments: Sequence[str]) -> int:
    """Run the demo; the exit status is 0 if each job was started exactly once."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet_demo", description="Run jobs on a fleet.")
    parser.add_argument("--jobs", type=int, default=30)
    options = parser.parse_args(arguments)
    return 0 if asyncio.run(demo(Console(), options.jobs)) == options.jobs else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
