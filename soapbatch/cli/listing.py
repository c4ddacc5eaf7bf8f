"""`soapbatch list` and `soapbatch show`, and the tasks that other commands choose from."""

import argparse
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.output import age_of
from soapbatch.cli.rows import duration
from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.model import ALL_ASSOCIATES, ALL_USER_TASKS, BATCH_TASK_INFO, SYSTEM_TASKS, BatchTaskInfo, to_plain

COLUMNS: Final = (*(field.attribute for field in BATCH_TASK_INFO.fields), "age")
"""What --columns takes."""


async def list_tasks(invocation: Invocation) -> int:
    """List tasks, the newest first."""
    options = invocation.options
    unknown = [name for name in options.columns or () if name not in COLUMNS]
    if unknown:
        raise UsageError(f"there is no column {unknown[0]!r}: there are {', '.join(COLUMNS)}")
    keep = _kept_since(options.since)
    async with invocation.client() as client:
        finished = False if options.running else None
        tasks = find_tasks(client, invocation, name=options.name, state=options.state, finished=finished)
        found = [info async for info in tasks if keep(info)]
    invocation.output.write_tasks(newest_first(found)[: options.limit], options.columns)
    return ExitStatus.DONE


async def show(invocation: Invocation) -> int:
    """Show everything that the server says about a task."""
    output = invocation.output
    async with invocation.client() as client:
        info = await client.jobs.attach(invocation.options.id).info()
    if output.form == "json":
        output.write_json({"task": info})
    elif output.form == "table":
        output.write_fields(to_plain(info))
    else:
        output.write_tasks([info])
    return ExitStatus.DONE


def newest_first(infos: Iterable[BatchTaskInfo]) -> list[BatchTaskInfo]:
    """Return tasks by their ids, the highest first: a server counts upwards."""
    return sorted(infos, key=lambda info: info.id or 0, reverse=True)


def owners_of(invocation: Invocation) -> tuple[int, ...]:
    """Return `associate_ids` for --mine, --system, --all, or for none of them.

    Raises:
        UsageError: --mine, and it is not known who logged in.
    """
    match invocation.options.scope:
        case "all":
            return ALL_ASSOCIATES
        case "system":
            return SYSTEM_TASKS
        case "mine":
            associate: Any = invocation.ticket_file.who().get("associate_id")
            if associate is None:
                raise UsageError("--mine: it is not known who you are; log in with a name: soapbatch login")
            return (associate,)
        case _:
            return ALL_USER_TASKS


def find_tasks(
    client: Client, invocation: Invocation, *, name: str | None, state: str | None, finished: bool | None = None
) -> AsyncGenerator[BatchTaskInfo, None]:
    """Yield the tasks of the owners that the options name."""
    return client.jobs.list(name=name, state=state, owner=owners_of(invocation), finished=finished)


def _kept_since(text: str | None) -> Callable[[BatchTaskInfo], bool]:
    """Return whether a task was created since: a duration back from now, or a date."""
    if text is None:
        return lambda _: True
    now = datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
        seconds = age_of(moment, now) or 0.0
    except ValueError:
        try:
            seconds = duration(text)
        except argparse.ArgumentTypeError:
            raise UsageError(f"--since takes 2h, 7d or 2026-11-26, not {text!r}") from None

    def keep(info: BatchTaskInfo) -> bool:
        age = age_of(info.created, now)
        return age is not None and age <= seconds

    return keep
