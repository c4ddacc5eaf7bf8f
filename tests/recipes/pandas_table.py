"""Batch tasks as a table: rows for any program, and a DataFrame of pandas with what one asks of it first.

    async with Client.from_env() as client:
        frame = to_frame([info async for info in client.jobs.list()])
    print(by_job(frame))                                 # tasks, failures and the median wait, for each job
    frame[frame.state == "Failed"].to_excel("failed.xlsx")

It needs pandas (`pip install pandas`), which soapbatch does not bring; `rows` does without.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from soapbatch import BatchTaskInfo

if TYPE_CHECKING:
    import pandas as pd

TIMES = ("created", "last_started")


def rows(tasks: Iterable[BatchTaskInfo]) -> list[dict[str, Any]]:
    """Return a flat row for each task: its fields, its parameters as columns, and the seconds that it had to wait."""
    found = []
    for info in tasks:
        row = info.to_dict()
        parameters: dict[str, str | None] = row.pop("parameter_object") or {}
        row |= {f"parameter.{name}": value for name, value in parameters.items()}
        found.append(row | {"waited": seconds_between(info.created, info.last_started)})
    return found


def seconds_between(first: datetime | None, second: datetime | None) -> float | None:
    """Return the seconds from one time to another, or None if one is missing."""
    return None if first is None or second is None else (second - first).total_seconds()


def to_frame(tasks: Iterable[BatchTaskInfo]) -> "pd.DataFrame":
    """Return tasks as a table with the id as its index, and times as times in UTC."""
    import pandas as pd  # noqa: PLC0415 - `rows` does without

    columns = [*BatchTaskInfo().to_dict(), "waited"]
    columns.remove("parameter_object")
    found = rows(tasks)
    columns += sorted({name for row in found for name in row} - {*columns})
    frame = pd.DataFrame(found, columns=columns).set_index("id")
    for name in TIMES:
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


def by_job(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return how many tasks of each job there are, how many have failed, and the median seconds that one waited."""
    grouped = frame.assign(failed=frame["state"] == "Failed").groupby("name")
    return grouped.agg(tasks=("state", "size"), failed=("failed", "sum"), waited=("waited", "median"))
