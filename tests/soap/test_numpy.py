"""Values out of data frames, given as arguments: written as what they stand for, or refused with what to write."""

import itertools
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, EncodeError, ServiceVersion, UsageError, build_request
from soapbatch.jobs import JobReference
from soapbatch.model import is_seconds
from tests.support.job_server import World, in_world, started

V88 = ServiceVersion.V88
INTEGERS = [np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint64, np.intp, np.array]


def body(operation: str, binding: Binding, **arguments: Any) -> bytes:
    """Return the envelope of a request."""
    return build_request(operation, arguments, version=V88, binding=binding).body


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("integer", INTEGERS)
def test_integers(integer: Any, binding: Binding) -> None:
    """An integer of any width is written as its number: as an id, in a list, with a range, among Python's own."""
    assert body("StopBatchJob", binding, id=integer(42)) == body("StopBatchJob", binding, id=42)
    ids = body("DeleteBatchTasks", binding, batch_task_ids=[1, 2, 3])
    assert body("DeleteBatchTasks", binding, batch_task_ids=[integer(1), 2, integer(3)]) == ids
    if integer is not np.array:
        assert body("DeleteBatchTasks", binding, batch_task_ids=np.arange(1, 4, dtype=integer)) == ids
    task = BatchTaskInfo(id=integer(7), progress_percent=integer(99))
    plain = body("UpdateBatchTask", binding, batch_task_info=BatchTaskInfo(id=7, progress_percent=99))
    assert body("UpdateBatchTask", binding, batch_task_info=task) == plain


@pytest.mark.parametrize("binding", Binding)
def test_texts_and_bytes(binding: Binding) -> None:
    """Numpy's texts are texts, as names, values of a dictionary and states."""
    task = BatchTaskInfo(name=np.str_("A & B"), parameter_object={np.str_("<k>"): np.str_("]]>")})
    plain = BatchTaskInfo(name="A & B", parameter_object={"<k>": "]]>"})
    assert body("StartBatchJob", binding, batch_task_info=task) == body("StartBatchJob", binding, batch_task_info=plain)
    assert body("GetBatchTaskInfosByState", binding, state=np.str_("Started")) == body(
        "GetBatchTaskInfosByState", binding, state=BatchTaskState.STARTED
    )


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("is_system_task", np.bool_(1), r"needs a bool, got numpy\.bool: pass bool\(value\)"),
        ("is_system_task", np.int64(1), r"needs a bool, got int64: pass bool\(value\)"),
        ("id", np.bool_(1), r"needs an int, got numpy\.bool$"),
        ("id", np.float64(7), "needs an int, got float64$"),
        ("id", np.array([7, 8]), "needs an int, got ndarray$"),
        ("id", np.int64(2**31), "must lie between -2147483648 and 2147483647, got 2147483648$"),
        ("progress_percent", np.uint8(101), "must lie between 0 and 100, got 101$"),
        ("name", np.int64(7), "needs a str, got int64$"),
        ("last_started", np.datetime64("2024-02-29T12:30:05"), "needs a datetime, got datetime64: pass value.astype"),
        ("last_started", np.datetime64("2024-02-29T12:30:05", "ns"), "needs a datetime, got datetime64: pass value.as"),
    ],
)
def test_what_is_refused_names_the_fix(field: str, value: Any, reason: str) -> None:
    """A value whose meaning is not plain is refused."""
    with pytest.raises(EncodeError, match=reason) as caught:
        body("UpdateBatchTask", Binding.SOAP11, batch_task_info=BatchTaskInfo(**{field: value}))
    assert caught.value.path == f"batch_task_info.{field}"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "D"])
def test_the_fix_for_a_time_is_one(unit: str) -> None:
    """What the error says to write gives a datetime, whatever the unit."""
    moment = np.datetime64("2024-02-29T00:00:00").astype(f"datetime64[{unit}]")
    assert moment.astype("datetime64[us]").item() == datetime(2024, 2, 29)  # noqa: DTZ001 - as numpy has it


def test_seconds() -> None:
    """A number of seconds may be one of numpy's; one that is no number of seconds is none."""
    assert all(is_seconds(kind(3)) for kind in (np.int64, np.uint8, np.float64, np.float32))
    assert not any(is_seconds(value) for value in (np.bool_(1), np.float32("nan"), np.float64("inf"), np.int64(-1)))


@in_world
async def test_jobs(world: World) -> None:
    """Ids, owners, counts and timeouts of the jobs may be numpy's; a handle's id is a plain int."""
    minute: Any = np.int64(60)
    ids = np.array([(await started(world, duration=5)).id for _ in range(3)])
    job = world.client.jobs.attach(ids[0])
    assert type(job.id) is int
    assert type(JobReference(server="s", version=V88, id=ids[0]).id) is int
    assert (await job.info()).id == ids[0]
    owner: Any = np.int64((await job.info()).associate_id or 0)
    assert {info.id async for info in world.client.jobs.list(owner=owner)} == set(ids.tolist())
    assert {info.id async for info in world.client.jobs.list(owner=np.array([owner]))} == set(ids.tolist())
    assert all(outcome.ok for outcome in await world.client.jobs.wait_all(ids, timeout=minute))
    for wrong in itertools.chain((np.float64(1), np.bool_(1)), "1"):
        with pytest.raises(UsageError, match="a task's id needs an int, got"):
            world.client.jobs.attach(wrong)  # type: ignore[arg-type]  # what is refused
