"""A check for cron, Nagios or Icinga: does this server work on its batch jobs?

    SOAPBATCH_URL=... SOAPBATCH_USER=... SOAPBATCH_PASSWORD_FILE=... python monitoring.py --waiting 0.5 --running 6

It prints one line and ends with the status of a Nagios plugin. cron sends a mail when something is printed: `--quiet`
prints nothing if all is well.

| status | when |
|---|---|
| 0 OK | otherwise |
| 1 WARNING | a job that was started in the last `--failed` hours has failed |
| 2 CRITICAL | a job has waited for `--waiting` hours: no server takes jobs; or it has run for `--running` hours |
| 3 UNKNOWN | the server cannot be asked |
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from soapbatch import BatchTaskInfo, BatchTaskState, Client, SoapBatchError

LABELS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
AT_MOST = 5
"""How many tasks the line names."""


def age(moment: datetime | None, now: datetime) -> timedelta:
    """Return how long ago a time of the server is; a time without a zone is UTC."""
    if moment is None:
        return timedelta()
    return now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def judge(
    tasks: Iterable[BatchTaskInfo], now: datetime, *, waiting: timedelta, running: timedelta, failed: timedelta
) -> tuple[int, str]:
    """Return the status, and what the line says."""
    found = list(tasks)
    waits = [info for info in found if info.state == BatchTaskState.NEW]
    runs = [info for info in found if not info.has_ended and info.state != BatchTaskState.NEW]
    fails = [info for info in found if info.state == BatchTaskState.FAILED]
    problems = [
        (2, "waits too long", [info for info in waits if age(info.created, now) >= waiting]),
        (2, "runs too long", [info for info in runs if age(info.last_started, now) >= running]),
        (1, "failed", [info for info in fails if age(info.last_started or info.created, now) < failed]),
    ]
    said = [
        f"{info.name} ({info.id}) {what}" + (f": {info.result}" if info.result else "")
        for _, what, infos in problems
        for info in infos
    ]
    more = f", and {len(said) - AT_MOST} more" if len(said) > AT_MOST else ""
    figures = f"waiting={len(waits)} running={len(runs)} failed={len(problems[-1][2])}"
    status = max((status for status, _, infos in problems if infos), default=0)
    return status, f"{'; '.join(said[:AT_MOST]) or 'no complaints'}{more} | {figures}"


async def read(client: Client) -> list[BatchTaskInfo]:
    """Return the tasks that have not ended, and those that have failed."""
    tasks = [info async for info in client.jobs.list(finished=False)]
    return tasks + [info async for info in client.jobs.list(state=BatchTaskState.FAILED)]


async def check(options: argparse.Namespace) -> tuple[int, str]:
    """Ask the server and judge what it says."""
    limits = {name: timedelta(hours=getattr(options, name)) for name in ("waiting", "running", "failed")}
    try:
        async with Client.from_env(timeout=options.timeout) as client:
            return judge(await read(client), datetime.now(UTC), **limits)
    except SoapBatchError as error:
        return 3, f"{type(error).__name__}: {error}"


def main() -> int:
    """Print the line, and return the status."""
    parser = argparse.ArgumentParser(description="Check that a NetServer works on its batch jobs.")
    parser.add_argument("--waiting", type=float, default=0.5, metavar="HOURS")
    parser.add_argument("--running", type=float, default=6, metavar="HOURS")
    parser.add_argument("--failed", type=float, default=24, metavar="HOURS")
    parser.add_argument("--timeout", type=float, default=20, metavar="SECONDS", help="of each call")
    parser.add_argument("--quiet", action="store_true", help="print nothing if all is well: for cron")
    options = parser.parse_args()
    status, line = asyncio.run(check(options))
    if status or not options.quiet:
        print(f"{LABELS[status]}: {' '.join(line.split())}")
    return status


if __name__ == "__main__":
    sys.exit(main())
