"""Listing tasks: which operation suits, and what is filtered here."""

from typing import Any

import pytest

from soapbatch import (
    ALL_ASSOCIATES,
    ALL_USER_TASKS,
    SYSTEM_TASKS,
    BatchTaskInfo,
    BatchTaskState,
    Fault,
    NotInVersion,
    OperationFailed,
    ServiceVersion,
    UsageError,
)
from soapbatch.operations import GET_ALL_BATCH_TASK_INFOS_BY_NAME
from soapbatch.testing import ServerException, failing
from tests.support.job_server import World, in_world

S = BatchTaskState
ANNA, BERT = 101, 102

TASKS = [
    BatchTaskInfo(id=1, name="A", associate_id=ANNA, state=S.STARTED),
    BatchTaskInfo(id=2, name="A", associate_id=BERT, state=S.SUCCEEDED),
    BatchTaskInfo(id=3, name="B", associate_id=ANNA, state=S.FAILED),
    BatchTaskInfo(id=4, name="A", associate_id=0, state=S.STARTED, is_system_task=True),
    BatchTaskInfo(id=5, name="B", associate_id=BERT, state="Sleeping"),
]

BY_ASSOCIATES = "GetBatchTaskInfosByNameAndAssociates"
BY_ASSOCIATES_AND_STATE = "GetBatchTaskInfosByAssociatesAndState"
ALL_BY_NAME = "GetAllBatchTaskInfosByName"
ALL_BY_NAME_AND_STATE = "GetAllBatchTaskInfosByNameAndState"

FILTERS = [
    # the filters, the ids, and the operations in Services88 and in Services75
    ({}, [1, 2, 3, 4, 5], (ALL_BY_NAME, BY_ASSOCIATES)),
    ({"name": "A"}, [1, 2, 4], (ALL_BY_NAME, BY_ASSOCIATES)),
    ({"state": S.STARTED}, [1, 4], (ALL_BY_NAME_AND_STATE, BY_ASSOCIATES)),
    ({"state": "Started", "name": "A"}, [1, 4], (ALL_BY_NAME_AND_STATE, BY_ASSOCIATES)),
    ({"state": S.ALL}, [1, 2, 3, 4, 5], (ALL_BY_NAME_AND_STATE, BY_ASSOCIATES)),
    ({"finished": True}, [2, 3], (ALL_BY_NAME, BY_ASSOCIATES)),
    ({"finished": False}, [1, 4, 5], (ALL_BY_NAME, BY_ASSOCIATES)),
    ({"finished": False, "name": "B"}, [5], (ALL_BY_NAME, BY_ASSOCIATES)),
    ({"owner": ANNA}, [1, 3], (BY_ASSOCIATES, BY_ASSOCIATES)),
    ({"owner": [ANNA, BERT], "name": "B"}, [3, 5], (BY_ASSOCIATES, BY_ASSOCIATES)),
    ({"owner": {ANNA}, "state": S.FAILED}, [3], (BY_ASSOCIATES_AND_STATE, BY_ASSOCIATES_AND_STATE)),
    ({"owner": ANNA, "state": S.ALL}, [1, 3], (BY_ASSOCIATES_AND_STATE, BY_ASSOCIATES_AND_STATE)),
    ({"owner": ANNA, "state": S.STARTED, "name": "A"}, [1], (BY_ASSOCIATES, BY_ASSOCIATES)),
    ({"owner": ALL_USER_TASKS}, [1, 2, 3, 5], (BY_ASSOCIATES, BY_ASSOCIATES)),
    ({"owner": SYSTEM_TASKS}, [4], (BY_ASSOCIATES, BY_ASSOCIATES)),
    ({"owner": ALL_ASSOCIATES, "finished": True}, [2, 3], (BY_ASSOCIATES, BY_ASSOCIATES)),
]


def fill(world: World) -> None:
    """Give the server the tasks."""
    for info in TASKS:
        world.server.tasks.add(info)


@pytest.mark.parametrize("version", [ServiceVersion.V75, ServiceVersion.V88])
@pytest.mark.parametrize(("filters", "ids", "operations"), FILTERS)
@in_world
async def test_the_operation_that_suits(
    world: World, filters: dict[str, Any], ids: list[int], operations: tuple[str, str], version: ServiceVersion
) -> None:
    """Every version finds the same tasks, with one call of the operation that suits."""
    fill(world)
    async with world.other_client(version=version) as client:
        assert [info.id async for info in client.jobs.list(**filters)] == ids
    assert world.server.counts == {operations[version is ServiceVersion.V75]: 1}


@pytest.mark.parametrize("failures", ["header", "fault"])
@pytest.mark.parametrize("filters", [{"name": "A"}, {"state": S.STARTED}])
@in_world
async def test_an_older_server_of_services88(world: World, filters: dict[str, Any], failures: str) -> None:
    """A server that lacks the newest operations is asked as earlier versions are."""
    fill(world)
    world.server.failures = failures  # type: ignore[assignment]  # one of its values
    world.server.missing = frozenset({ALL_BY_NAME, ALL_BY_NAME_AND_STATE})
    expected = [info.id for info in TASKS if info.name == filters.get("name", info.name)]
    if "state" in filters:
        expected = [1, 4]
    assert [info.id async for info in world.client.jobs.list(**filters)] == expected
    assert world.server.counts == {BY_ASSOCIATES: 1}


@pytest.mark.parametrize(("failures", "kind"), [("header", OperationFailed), ("fault", Fault)])
@in_world
async def test_a_list_that_fails_is_not_replaced(world: World, failures: str, kind: type[Exception]) -> None:
    """Only a server that does not have the operation is asked in another way."""
    world.server.failures = failures  # type: ignore[assignment]  # one of its values
    world.server.intercept(GET_ALL_BATCH_TASK_INFOS_BY_NAME, failing(ServerException("System.Exception", "no")))
    with pytest.raises(kind):
        await anext(world.client.jobs.list())
    assert world.server.counts == {ALL_BY_NAME: 1}


@pytest.mark.parametrize(
    ("filters", "kind"),
    [
        pytest.param({"owner": []}, UsageError, id="no owner by accident"),
        pytest.param({"state": 5}, UsageError, id="state"),
        pytest.param({"name": 5}, UsageError, id="name"),
        pytest.param({"finished": "yes"}, UsageError, id="finished"),
        pytest.param({"owner": ["anna"]}, UsageError, id="an owner that is no number"),
        pytest.param({"owner": ANNA, "state": S.SUCCEEDED_MANUAL_CLEANUP}, NotInVersion, id="a state to come"),
    ],
)
@in_world
async def test_what_is_no_filter(world: World, filters: dict[str, Any], kind: type[Exception]) -> None:
    """A wrong argument is a UsageError; nothing is sent."""
    async with world.other_client(version=ServiceVersion.V75) as client:
        with pytest.raises(kind):
            await anext(client.jobs.list(**filters))
    assert world.server.requests == 0
