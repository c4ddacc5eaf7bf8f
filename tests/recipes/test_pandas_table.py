"""The recipe of a table: rows, and a DataFrame where pandas is installed."""

from datetime import UTC, datetime, timedelta

import pytest

from soapbatch import BatchTaskInfo, BatchTaskState
from tests.recipes.pandas_table import by_job, rows, to_frame

CREATED = datetime(2026, 11, 26, 1, 30, tzinfo=UTC)
TASKS = [
    BatchTaskInfo(
        id=1,
        name="Export",
        state=BatchTaskState.SUCCEEDED,
        created=CREATED,
        last_started=CREATED + timedelta(seconds=4),
        parameter_object={"archive": "contacts"},
    ),
    BatchTaskInfo(id=2, name="Export", state=BatchTaskState.FAILED, created=CREATED, last_started=CREATED),
    BatchTaskInfo(id=3, name="Import", state=BatchTaskState.NEW, created=CREATED),
]


def test_rows() -> None:
    """Values are those of `to_dict`; parameters are columns; a task that was not started has not ended its wait."""
    first, second, third = rows(TASKS)
    assert first["state"] == "Succeeded"
    assert first["created"] == "2026-11-26T01:30:00+00:00"
    assert first["parameter.archive"] == "contacts"
    assert [row["waited"] for row in (first, second, third)] == [4, 0, None]
    assert "parameter_object" not in first
    assert second.keys() == first.keys() - {"parameter.archive"}


def test_the_frame() -> None:
    """Times are times, the index is the id, and a table without tasks has the same columns."""
    pytest.importorskip("pandas", reason="pandas is no dependency of the tests: pip install pandas runs this one, too")
    frame = to_frame(TASKS)
    assert frame.loc[1, "created"] == CREATED
    assert frame.loc[1, "parameter.archive"] == "contacts"
    table = by_job(frame)
    assert table.loc["Export"].to_dict() == {"tasks": 2, "failed": 1, "waited": 2}
    assert table.loc["Import", "tasks"] == 1
    assert by_job(to_frame([])).empty
