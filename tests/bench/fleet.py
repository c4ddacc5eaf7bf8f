"""Measure a fleet: many jobs of many tenants on worker processes, with a Temporal dev server and embedded NetServers.

    python -m tests.bench.fleet [--jobs 1000] [--tenants 100] [--duration 20] [--workers 1 2] [--disk]

Every worker is a process of its own. The NetServers run in the process of this program, and the Temporal dev server in
another one, with SQLite in its memory, or on the disk with --disk: all of them share the machine. A row holds: seconds
from the start of the first workflow to the end of the last one; how many StartBatchJob calls the NetServers counted
(one a job), and how many reads of tasks; CPU seconds of each worker and of the Temporal server; the largest resident
memory of each worker.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
from temporalio.client import Client as Temporal

from soapbatch.integrations.temporal import BatchJob, RunBatchJob
from soapbatch.testing import serve
from tests.bench.report import circumstances
from tests.support.fleet import QUEUE, Tenanted, connect, dev_server, new_server, workers

STARTS_AT_ONCE = 50
MIB = 1024 * 1024


@attrs.frozen
class Row:
    """What one run has shown.

    Attributes:
        workers: how many worker processes there were.
        seconds: from the first start to the last end.
        starts: StartBatchJob calls that reached the NetServers.
        tasks: tasks that were started.
        reads: calls that read tasks, by operation.
        worker_cpu: CPU seconds of each worker.
        worker_memory: MiB of each worker, at most.
        temporal_cpu: CPU seconds of the Temporal server.
    """

    workers: int
    seconds: float
    starts: int
    tasks: int
    reads: Counter[str]
    worker_cpu: list[float]
    worker_memory: list[float]
    temporal_cpu: float

    def text(self) -> str:
        """Return a line for people."""
        cpu = " + ".join(f"{seconds:.1f}" for seconds in self.worker_cpu)
        memory = " + ".join(f"{mib:.0f}" for mib in self.worker_memory)
        return (
            f"{self.workers} worker(s): {self.seconds:.1f} s; StartBatchJob {self.starts}, tasks {self.tasks}, "
            f"reads {sum(self.reads.values())} ({dict(self.reads)}); worker CPU {cpu} s, memory {memory} MiB; "
            f"Temporal CPU {self.temporal_cpu:.1f} s"
        )


async def measure(jobs: int, tenants: int, duration: float, count: int, *, on_disk: bool) -> Row:
    """Run `jobs` jobs on `count` workers."""
    with tempfile.TemporaryDirectory() as name, dev_server(Path(name) if on_disk else None) as server:
        temporal = await connect(server.target)
        netservers = Tenanted(new_server)
        for number in range(tenants):
            netservers[f"tenant{number}"].define_job("Export", duration=duration, output=b"id;name\r\n")
        async with serve(netservers) as url, workers(server.target, url, Path(name) / "out") as processes:
            await asyncio.gather(*(processes.start() for _ in range(count)))
            assert server.process is not None
            before = [cpu_seconds(process.pid) for process in processes.running]
            temporal_before = cpu_seconds(server.process.pid)
            began = time.monotonic()
            await run_all(temporal, jobs, tenants)
            seconds = time.monotonic() - began
            return Row(
                workers=count,
                seconds=seconds,
                starts=netservers.count("StartBatchJob"),
                tasks=sum(len(list(each.tasks.find())) for each in netservers.servers.values()),
                reads=Counter(
                    {
                        operation: netservers.count(operation)
                        for each in netservers.servers.values()
                        for operation in each.counts
                        if operation.startswith("GetBatchTaskInfo")
                    }
                ),
                worker_cpu=[
                    cpu_seconds(process.pid) - earlier
                    for process, earlier in zip(processes.running, before, strict=True)
                ],
                worker_memory=[largest_memory(process.pid) / MIB for process in processes.running],
                temporal_cpu=cpu_seconds(server.process.pid) - temporal_before,
            )


async def run_all(temporal: Temporal, jobs: int, tenants: int) -> None:
    """Start the workflows, and wait for all of them."""
    may_start = asyncio.Semaphore(STARTS_AT_ONCE)

    async def run(number: int) -> None:
        job = BatchJob(f"tenant{number % tenants}", "Export", output=f"{number}.csv")
        async with may_start:
            handle = await temporal.start_workflow(RunBatchJob.run, job, id=f"job{number}", task_queue=QUEUE)
        await handle.result()

    await asyncio.gather(*(run(number) for number in range(jobs)))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def largest_memory(pid: int) -> int:
    """Return the largest resident memory of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main(arguments: Sequence[str]) -> None:
    """Measure, and print a line a run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description="Measure a fleet.")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--duration", type=float, default=20.0, help="seconds that a job runs (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--disk", action="store_true", help="let the Temporal server keep its database on the disk")
    options = parser.parse_args(arguments)
    about = circumstances([])
    print(f"{about['machine']}, {about['python']}, load before: {os.getloadavg()[0]:.1f}")
    print(f"{options.jobs} jobs of {options.duration:g} s over {options.tenants} tenants")
    for count in options.workers:
        row = asyncio.run(measure(options.jobs, options.tenants, options.duration, count, on_disk=options.disk))
        print(row.text(), flush=True)
        if not row.starts == row.tasks == options.jobs:
            sys.exit("there is not exactly one StartBatchJob a job")


if __name__ == "__main__":
    main(sys.argv[1:])
