"""Which calls read which tasks, and what their answers mean."""

import math
from collections.abc import Mapping, Sequence

import attrs
import pytest

from soapbatch import (
    BatchTaskInfo,
    ConnectionLost,
    OperationFailed,
)
from soapbatch.jobs.task_reader import (
    MAX_LIST_RATIO,
    NOT_FOUND_TYPES,
    ReadPlan,
    TaskReader,
    TaskRef,
    plan_reads,
    says_not_found,
    task_gone,
)
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
from soapbatch.testing.faults import not_found
from tests.support.clients import Reply, answer, scripted


def refs(name: str | None, *ids: int, is_unlisted: bool = False) -> list[TaskRef]:
    """Return references to tasks of the job `name`."""
    return [TaskRef(id_, name, is_unlisted) for id_ in ids]


@pytest.mark.parametrize(
    ("tasks", "lengths", "lists", "singles"),
    [
        pytest.param([], {}, {}, [], id="nothing"),
        pytest.param(refs("a", 1, 2), {}, {}, [1, 2], id="two: one by one"),
        pytest.param(refs("a", 1, 2, 3), {}, {"a": [1, 2, 3]}, [], id="three of a name: its list"),
        pytest.param(refs(None, 1, 2, 3), {}, {"": [1, 2, 3]}, [], id="names unknown: the list of any job"),
        pytest.param(refs("a", 1, 2) + refs("b", 3), {}, {"": [1, 2, 3]}, [], id="several names: the list of any job"),
        pytest.param(refs("a", 1, 2, 3), {"a": 300}, {"a": [1, 2, 3]}, [], id="100 for each: still worth it"),
        pytest.param(refs("a", 1, 2, 3), {"a": 301}, {}, [1, 2, 3], id="more: one by one"),
        pytest.param(refs("a", *range(4)), {"a": 301}, {"a": [0, 1, 2, 3]}, [], id="worth it for more tasks"),
        pytest.param(refs("a", 1, 2, 3), {"a": math.inf}, {}, [1, 2, 3], id="refused: never again"),
        pytest.param(
            refs("a", 1, 2, 3) + refs("b", 4, 5) + refs(None, 6),
            {"": 10_000},
            {"a": [1, 2, 3]},
            [4, 5, 6],
            id="the list of any job is too long: name by name",
        ),
        pytest.param(refs("a", 1, 2, 3) + refs("a", 4, is_unlisted=True), {}, {"a": [1, 2, 3]}, [4], id="not in lists"),
    ],
)
def test_the_rule_for_lists(
    tasks: Sequence[TaskRef], lengths: Mapping[str, float], lists: Mapping[str, list[int]], singles: list[int]
) -> None:
    """The plan follows Rules 1 to 5 of the module."""
    assert plan_reads(tasks, lengths) == ReadPlan(lists, singles)


def test_what_counts_as_gone() -> None:
    """Only the documented types of exception say "not found"."""
    assert not says_not_found(OperationFailed("no"))
    assert not says_not_found(ConnectionLost("no"))
    error = OperationFailed("no", exception_info=not_found(1).info)
    assert says_not_found(error)
    assert error.error_type in NOT_FOUND_TYPES
    other = attrs.evolve(not_found(1).info, exception_type="System.Exception")
    assert not says_not_found(OperationFailed("no", exception_info=other))
    assert (task_gone(1).applied, task_gone(1, applied="no").applied) == ("yes", "no")


@pytest.mark.parametrize(("length", "is_complete"), [(MAX_LIST_RATIO * 3, True), (MAX_LIST_RATIO * 3 + 1, False)])
async def test_a_list_that_is_too_long_is_closed_at_once(length: int, is_complete: bool) -> None:  # noqa: FBT001 - a case
    """When the reader has read enough, the response is closed before anything else is sent."""
    tasks = [BatchTaskInfo(id=n) for n in range(length)]
    reply = Reply(body=[answer(GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES, tasks)])
    client, _ = scripted(reply)
    async with client:
        found, was_complete = await TaskReader(client.batch).read_list("Job", 3, {1, 2, 3})
        assert reply.closed == 1
    assert (sorted(found), was_complete) == ([1, 2, 3], is_complete)
