"""Deleting and stopping many tasks, with one outcome for each."""

import asyncio
from typing import Any

import pytest

from soapbatch import (
    AccessDenied,
    BatchTaskCancellationBehaviour,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    ConnectionLost,
    Fault,
    HttpError,
    JobGone,
    OperationFailed,
    ServiceVersion,
    SoapBatchError,
    StopRefused,
    UsageError,
)
from soapbatch.jobs.outcome import Success
from soapbatch.model.services import SOAP11_ENVELOPE
from soapbatch.operations import (
    DELETE_BATCH_TASKS,
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES,
    STOP_BATCH_JOB,
)
from soapbatch.testing import (
    Answer,
    Call,
    Interceptor,
    ServerException,
    SessionRefused,
    answering,
    delayed,
    failing,
    lost_reply,
)
from soapbatch.testing.faults import fault
from soapbatch.testing.interceptors import Proceed
from tests.support.job_server import World, in_world

S = BatchTaskState
B = BatchTaskCancellationBehaviour


def tasks(world: World, count: int, **fields: Any) -> list[int]:
    """Add `count` tasks to the server, and return their ids."""
    info = BatchTaskInfo(name="Job", **fields)
    return [world.server.tasks.add(info) for _ in range(count)]


async def not_dispatched(*_: object) -> Answer:
    """Refuse a request as WCF does before it looks for the operation."""
    return fault(SOAP11_ENVELOPE, "Client", "no such operation", subcode="ActionNotSupported")


class Busiest:
    """An interceptor that takes a second for each call, and counts the most calls that were under way at once."""

    def __init__(self) -> None:
        """Start with no call under way."""
        self.now = self.most = 0

    async def __call__(self, _: Call, proceed: Proceed) -> Answer:
        """Carry out the call after a second."""
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(1)
        self.now -= 1
        return await proceed()


# --- Deleting --------------------------------------------------------------------------------------------------------


@in_world
async def test_deleting_goes_in_chunks(world: World) -> None:
    """A thousand tasks cost ten calls, four at a time. Repeated ids are sent once and reported each time."""
    ids = tasks(world, 1000)
    busiest = Busiest()
    world.server.intercept(DELETE_BATCH_TASKS, busiest, times=None)
    outcomes = await world.client.jobs.delete_many([*ids, ids[0], ids[-1]])
    assert [outcome.id for outcome in outcomes] == [*ids, ids[0], ids[-1]]
    assert all(outcome == Success(id=outcome.id or 0, result=True) for outcome in outcomes)
    assert world.server.counts == {"DeleteBatchTasks": 10}
    assert busiest.most == 4
    assert world.now <= 4  # the first call finds the binding, then four calls at a time
    assert world.tasks() == []
    assert await world.client.jobs.delete_many([]) == []


@pytest.mark.parametrize("version", [ServiceVersion.V75, ServiceVersion.V88])
@in_world
async def test_a_chunk_with_unknown_ids_is_halved(world: World, version: ServiceVersion) -> None:
    """Two unknown ids among a hundred cost at most 30 calls, and all other tasks are deleted."""
    ids = tasks(world, 98)
    ids[30:30] = [4711]
    ids[60:60] = [4712]
    async with world.other_client(version=version) as client:
        outcomes = await client.jobs.delete_many(ids)
    assert {outcome.id: type(outcome.error) for outcome in outcomes if not outcome.ok} == {4711: JobGone, 4712: JobGone}
    assert isinstance(outcomes[30].error and outcomes[30].error.__cause__, OperationFailed)
    assert world.tasks() == []
    assert world.server.counts["DeleteBatchTasks"] < 30


@pytest.mark.parametrize(
    ("trouble", "kind", "applied", "count"),
    [
        pytest.param(lost_reply, ConnectionLost, "unknown", 1, id="the answer is lost"),
        pytest.param(answering(502), HttpError, "unknown", 1, id="502"),
        pytest.param(answering(403), AccessDenied, "no", 1, id="403"),
        pytest.param(failing(SessionRefused("no")), OperationFailed, "no", 1, id="the ticket is refused"),
        pytest.param(not_dispatched, Fault, "no", 1, id="refused before dispatch"),
        pytest.param(
            failing(ServerException("SuperOffice.Exceptions.SoSentryException", "no")),
            OperationFailed,
            "unknown",
            1,
            id="the caller is not allowed",
        ),
        pytest.param(
            failing(ServerException("System.Exception", "no")),
            OperationFailed,
            "unknown",
            7,
            id="refused, each id as well",
        ),
    ],
)
@in_world
async def test_a_chunk_that_fails(
    world: World, trouble: Interceptor, kind: type[SoapBatchError], applied: str, count: int
) -> None:
    """Single ids are tried only if the server refused the chunk; after a lost answer or a refused caller nothing is."""
    ids = tasks(world, 4)
    world.server.intercept(DELETE_BATCH_TASKS, trouble, times=None)
    outcomes = await world.client.jobs.delete_many(ids)
    for outcome in outcomes:
        assert outcome.error is not None
        assert isinstance(outcome.error, kind)
        assert outcome.error.applied == applied
    assert world.server.counts["DeleteBatchTasks"] == count
    assert len(world.tasks()) == (0 if trouble is lost_reply else 4)


@in_world
async def test_a_chunk_that_fails_leaves_the_others_alone(world: World) -> None:
    """The other chunks are deleted. The group holds the chunk's error once, with all ids of the chunk."""
    ids = tasks(world, 250)
    world.server.intercept(DELETE_BATCH_TASKS, answering(502), times=1)
    with pytest.raises(ExceptionGroup, match="100 of 250 tasks could not be deleted") as caught:
        await world.client.jobs.delete_many(ids, raise_group=True)
    (error,) = caught.value.exceptions
    assert error.__notes__ == [f"about task {', '.join(map(str, ids[:100]))}"]
    assert len(world.tasks()) == 100


@in_world
async def test_deleting_something_else_is_refused(world: World) -> None:
    """A value that is not an id is a UsageError before anything is sent."""
    with pytest.raises(UsageError, match="str"):
        await world.client.jobs.delete_many([1, "2"])  # type: ignore[list-item]  # what is refused
    assert world.server.requests == 0


# --- Stopping --------------------------------------------------------------------------------------------------------


@in_world
async def test_stopping_many(world: World) -> None:
    """Each task has one outcome, in order. The tasks are read by one list and stopped eight at a time."""
    can = tasks(world, 20, state=S.STARTED)
    (ended,) = tasks(world, 1, state=S.SUCCEEDED)
    (warns,) = tasks(world, 1, state=S.STARTED, cancellation_behaviour=B.CANCEL_WITH_WARNING)
    (cannot,) = tasks(world, 1, state=S.STARTED, cancellation_behaviour=B.CANNOT_CANCEL)
    ids = [cannot, *can, ended, 4711, warns, can[0]]
    busiest = Busiest()
    world.server.intercept(STOP_BATCH_JOB, busiest, times=None)
    outcomes = await world.client.jobs.stop_many(ids)
    assert [outcome.id for outcome in outcomes] == ids
    errors = {outcome.id: type(outcome.error) for outcome in outcomes if not outcome.ok}
    assert errors == {cannot: StopRefused, 4711: JobGone, warns: StopRefused}
    assert {outcome.id for outcome in outcomes if outcome.result} == set(can)
    assert outcomes[21].result is False
    assert world.server.counts == {
        "GetBatchTaskInfosByNameAndAssociates": 1,
        "GetBatchTaskInfo": 1,
        "StopBatchJob": 20,
    }
    assert busiest.most == 8
    world.server.clear_interceptors()
    outcomes = await world.client.jobs.stop_many([warns, cannot], confirm=True)
    assert [outcome.result for outcome in outcomes] == [True, None]


@in_world
async def test_stopping_many_by_force_or_in_old_versions_reads_nothing(world: World) -> None:
    """The tasks are not read; the server alone decides."""
    ids = tasks(world, 3, state=S.STARTED, cancellation_behaviour=B.CANNOT_CANCEL)
    outcomes = await world.client.jobs.stop_many([*ids, 4711], force=True)
    assert [outcome.result for outcome in outcomes] == [False, False, False, None]
    async with world.other_client(version=ServiceVersion.V86, binding=Binding.DOCUMENTED) as client:
        outcomes = await client.jobs.stop_many([*ids, 4711])
    assert [outcome.result for outcome in outcomes] == [False, False, False, None]
    assert isinstance(outcomes[3].error, JobGone)
    assert world.reads == 0


@in_world
async def test_stopping_very_many_goes_in_chunks(world: World) -> None:
    """250 tasks are read by three lists. Each chunk is read just before its tasks are stopped."""
    ids = tasks(world, 250, state=S.STARTED)
    outcomes = await world.client.jobs.stop_many(ids)
    assert all(outcome.result for outcome in outcomes)
    operations = [call.operation for call in world.server.calls]
    assert [operations.index("StopBatchJob"), world.reads] == [1, 3]


@in_world
async def test_failures_while_stopping_many(world: World) -> None:
    """If a list fails, single readings replace it. An error that concerns one task is the outcome of that task."""
    ids = tasks(world, 4, state=S.STARTED)
    world.server.intercept(GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES, lost_reply, times=None)
    world.server.intercept(GET_BATCH_TASK_INFO, lost_reply)
    world.server.intercept(STOP_BATCH_JOB, lost_reply)
    outcomes = await world.client.jobs.stop_many(ids)
    assert sorted(type(outcome.error).__name__ for outcome in outcomes) == [
        "ConnectionLost",
        "ConnectionLost",
        "NoneType",
        "NoneType",
    ]
    with pytest.raises(ExceptionGroup, match="1 of 1 tasks could not be stopped"):
        await world.client.jobs.stop_many([4711], raise_group=True)


@pytest.mark.parametrize("what", ["delete_many", "stop_many"])
@in_world
async def test_cancelling_many_leaves_nothing_behind(world: World, what: str) -> None:
    """A cancellation at any moment also ends the calls that are under way."""
    ids = tasks(world, 300, state=S.STARTED)
    world.server.intercept(None, delayed(0.3), times=None)
    for moment in (0, 0.1, 0.5, 0.9, 1.3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(moment):
                await getattr(world.client.jobs, what)([*ids, *range(5000, 5900)])
        assert len(asyncio.all_tasks()) == 1
