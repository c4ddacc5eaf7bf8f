"""Keys from outside: what a task carries, what a later attempt finds, and what lists prove."""

import asyncio
import hashlib
import itertools
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from soapbatch import (
    AccessDenied,
    BatchTaskInfo,
    BatchTaskState,
    Client,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    JobRunning,
    Marker,
    ServiceVersion,
    SoapBatchError,
    StartOutcomeUnknown,
    UsageError,
)
from soapbatch.jobs import Jobs
from soapbatch.jobs.marker import MARKER_KEY
from soapbatch.jobs.search import Known
from soapbatch.operations import (
    GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES,
    GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE,
    START_BATCH_JOB,
    STOP_BATCH_JOB,
)
from soapbatch.testing import (
    Answer,
    Call,
    ConnectionDropped,
    Interceptor,
    answering,
    delayed,
    failing,
    lost_reply,
    lost_request,
)
from soapbatch.testing.faults import ServerException
from soapbatch.testing.interceptors import Proceed
from tests.support.job_server import EPOCH, World, in_world

S = BatchTaskState
NAME = "ExportArchiveBatchPlugin"
KEY = "acme/nightly/2026-11-26"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()[:32]
LIST = GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
SECOND_LIST = GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE

markers = pytest.mark.parametrize("marker", [*Marker])


def times(world: World, operation: str) -> list[float]:
    """Return when each call of an operation was made."""
    return [call.at for call in world.server.calls if call.operation == operation]


def without_keys(tasks: Iterator[BatchTaskInfo], _: Mapping[str, Any]) -> Iterable[BatchTaskInfo]:
    """Show tasks as a server does whose lists leave parameters and descriptions out."""
    return (attrs.evolve(info, parameter_object=None, description=None) for info in tasks)


def blind(tasks: Iterator[BatchTaskInfo], filters: Mapping[str, Any]) -> Iterable[BatchTaskInfo]:
    """Show tasks as a server does that takes "no associates" for "of nobody"."""
    return [] if "associate_ids" in filters else tasks


def show_that_lists_show_tasks(world: World, **fields: Any) -> int:
    """Give the server a task of another job."""
    return world.server.tasks.add(BatchTaskInfo(**({"name": "Other", "state": S.SUCCEEDED} | fields)))


async def arriving_late(_: Call, proceed: Proceed) -> Answer:
    """Drop the connection, and start the job 5 seconds later."""

    async def apply() -> None:
        await asyncio.sleep(5)
        await proceed()

    asyncio.create_task(apply()).add_done_callback(asyncio.Task.result)
    raise ConnectionDropped("dropped")


# --- What the task carries ------------------------------------------------------------------------------------------


@in_world
async def test_what_a_task_carries(world: World) -> None:
    """The key stands in the parameters; with DESCRIPTION, a digest of it at the end. A key alone is a parameter."""
    for marker in (None, Marker.PARAMETER):
        job = await world.client.jobs.start(NAME, key=KEY, marker=marker, parameters={"a": "1"}, description="Nightly")
        info = await job.info()
        assert (info.parameter_object, info.description) == ({"a": "1", MARKER_KEY: KEY}, "Nightly")
        assert job.key == KEY
    job = await world.client.jobs.start(NAME, key=KEY, marker=Marker.DESCRIPTION, description="Nightly")
    info = await job.info()
    assert (info.parameter_object, info.description) == (None, f"Nightly [soapbatch:{DIGEST}]")
    assert times(world, LIST.name) == []  # nothing is listed without maybe_sent


@in_world
async def test_a_start_without_a_key_makes_one(world: World) -> None:
    """A start with a marker has a key that can be found; each start has another one. An unmarked start has none."""
    jobs = [await world.client.jobs.start(NAME, marker=marker) for marker in (*Marker, *Marker, None)]
    *keys, none = [job.key for job in jobs]
    assert none is None
    assert len({*keys}) == 4
    for job, key in zip(jobs, keys, strict=False):
        assert key is not None
        assert await world.client.jobs.find(NAME, key) == job


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param(" a", id="a blank before"),
        pytest.param("a ", id="a blank behind"),
        pytest.param("a\nb", id="a line break"),
        pytest.param("a\0", id="a NUL"),
        pytest.param("x" * 201, id="too long"),
        pytest.param(7, id="a number"),
    ],
)
@in_world
async def test_a_key_that_servers_may_change_is_refused(world: World, key: Any) -> None:
    """A UsageError says what a key is; nothing is sent."""
    with pytest.raises(UsageError, match="key is text"):
        await world.client.jobs.start(NAME, key=key)
    with pytest.raises(UsageError, match="key is text"):
        await world.client.jobs.find(NAME, key)
    assert world.server.requests == 0


@in_world
async def test_the_longest_key(world: World) -> None:
    """200 characters go; `find` without a name is refused, and so is `maybe_sent` without a key."""
    key = "ü" * 200
    job = await world.client.jobs.start(NAME, key=key)
    assert await world.client.jobs.find(NAME, key) == job
    with pytest.raises(UsageError, match="not blank"):
        await world.client.jobs.find(" ", key)
    with pytest.raises(UsageError, match="maybe_sent=True needs a key"):
        await world.client.jobs.start(NAME, maybe_sent=True, marker=Marker.PARAMETER)


@markers
@in_world
async def test_finding_a_job(world: World, marker: Marker) -> None:
    """`find` returns the handle of the lowest id, whichever marker it has; None where no list shows the key."""
    assert await world.client.jobs.find(NAME, KEY) is None
    await world.client.jobs.start(NAME, key="another", marker=marker)
    job = await world.client.jobs.start(NAME, key=KEY, marker=marker)
    await world.client.jobs.start(NAME, key=KEY, marker=marker)
    async with world.other_client() as client:
        found = await client.jobs.find(NAME, KEY)
        assert found is not None
        assert (found.id, found.name, found.key) == (job.id, NAME, KEY)
        assert await client.jobs.find("FailingBatchPlugin", KEY) is None


# --- maybe_sent -----------------------------------------------------------------------------------------------------


@markers
@in_world
async def test_a_later_attempt_finds_the_job(world: World, marker: Marker, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent if a list shows the key, also of a job that has ended; the handle is on that job."""
    caplog.set_level(logging.DEBUG, "soapbatch")
    job = await world.client.jobs.start(NAME, key=KEY, marker=marker)
    await asyncio.sleep(1000)
    for other in Marker:
        async with world.other_client() as client:
            found = await client.jobs.start(NAME, key=KEY, maybe_sent=True, marker=other)
            assert (found.id, found.key) == (job.id, KEY)
            await found.wait()
    assert world.server.counts["StartBatchJob"] == 1
    assert world.now == 1000  # an earlier job is read at once
    assert f"job {NAME}: first look for a task of that job whose" in caplog.text


@in_world
async def test_a_later_attempt_looks_for_as_long_as_a_request_may_take(world: World) -> None:
    """If lists do not show the key, they are read after 0, 2, 6, 14, ... seconds; only then is the job started."""
    show_that_lists_show_tasks(world)
    job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True)
    assert [task.id for task in world.tasks()] == [1, job.id]
    (sent_at,) = times(world, "StartBatchJob")
    assert sent_at == 120
    listed = times(world, LIST.name)
    assert sorted({at for at in listed if at < 120}) == [0, 2, 6, 14, 30, 62]
    assert listed[-1] == 120  # after the start: has another attempt arrived meanwhile?


@in_world
async def test_a_later_attempt_sees_a_request_that_arrives_late(world: World) -> None:
    """A request of the earlier attempt that is applied within `settle` seconds is found, and nothing is sent."""
    world.server.intercept(START_BATCH_JOB, arriving_late)
    with pytest.raises(StartOutcomeUnknown):
        await world.client.jobs.start(NAME, key=KEY, timeout=1)
    async with world.other_client() as client:
        job = await client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=30)
    assert [task.id for task in world.tasks()] == [job.id]
    assert world.server.counts["StartBatchJob"] == 1


@in_world
async def test_on_a_server_without_tasks_a_later_attempt_starts(world: World) -> None:
    """A server whose lists show nothing at all is taken for one without tasks. Other errors do not say "no" then."""
    job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=4)
    assert [task.id for task in world.tasks()] == [job.id]
    assert (job.key, world.now) == (KEY, 4)


class Refusing:
    """An agent whose lists are empty, and which cannot send a start."""

    def stream(self, *_: object, **__: object) -> Any:
        """Return no tasks."""

        async def none() -> AsyncGenerator[BatchTaskInfo, None]:
            for info in list[BatchTaskInfo]():
                yield info  # pragma: no cover - there is none

        return none()

    async def start_batch_job(self, *_: object, **__: object) -> int:
        """Fail before sending."""
        raise ConnectFailed("refused")


@in_world
async def test_a_later_attempt_that_cannot_send_does_not_speak_for_the_earlier_one(world: World) -> None:
    """Lists that prove nothing leave `applied` "unknown", although this attempt was not applied."""
    jobs = Jobs(Refusing(), world.client.blob, ServiceVersion.V88)  # type: ignore[arg-type]  # as much as is needed
    with pytest.raises(ConnectFailed) as caught:
        await jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)
    assert caught.value.applied == "unknown"
    with pytest.raises(ConnectFailed) as caught:
        await jobs.start(NAME, key=KEY)
    assert caught.value.applied == "no"


@in_world
async def test_a_later_attempt_that_is_refused_after_a_proof_was_not_applied(world: World) -> None:
    """Where lists prove that no earlier attempt started the job, "no" of this attempt is "no" of the start."""
    show_that_lists_show_tasks(world)
    world.server.intercept(START_BATCH_JOB, answering(403))
    with pytest.raises(AccessDenied) as caught:
        await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)
    assert caught.value.applied == "no"


@in_world
async def test_a_later_attempt_whose_lists_fail_sends_nothing(world: World) -> None:
    """StartOutcomeUnknown with the words of the list's error and `applied` "unknown": an earlier one may run."""
    world.server.intercept(LIST, answering(403), times=None)
    with pytest.raises(StartOutcomeUnknown, match=r"earlier attempt .* nothing was sent: .* HTTP 403") as caught:
        await world.client.jobs.start(NAME, key=KEY, maybe_sent=True)
    error = caught.value
    assert isinstance(error.__cause__, AccessDenied)
    assert (error.name, error.key, error.marker, error.applied) == (NAME, KEY, KEY, "unknown")
    assert (error.operation, error.version) == ("StartBatchJob", ServiceVersion.V88)
    assert world.server.counts["StartBatchJob"] == 0


@in_world
async def test_if_running_comes_after_the_search_for_the_key(world: World) -> None:
    """A later attempt attaches to the job of its key; only if there is none does another job of that name count."""
    world.server.define_job("Long", duration=1e6)
    mine = await world.client.jobs.start("Long", key=KEY)
    other = await world.client.jobs.start("Long", key="another")
    assert (await world.client.jobs.start("Long", key=KEY, maybe_sent=True, if_running="fail")) == mine
    attached = await world.client.jobs.start("Long", key="new", maybe_sent=True, if_running="attach", settle=0)
    assert (attached, attached.key) == (other, None)
    for key, maybe_sent in (("new", True), (None, False)):
        with pytest.raises(JobRunning) as caught:
            await world.client.jobs.start("Long", key=key, maybe_sent=maybe_sent, if_running="fail", settle=0)
        assert caught.value.id == other.id
    assert world.server.counts["StartBatchJob"] == 2


@pytest.mark.parametrize("key", [None, KEY])
@in_world
async def test_whether_another_job_runs_cannot_be_read(world: World, key: str | None) -> None:
    """The list's error says that nothing was started."""
    world.server.intercept(LIST, lost_reply)
    with pytest.raises(ConnectionLost) as caught:
        await world.client.jobs.start(NAME, key=key, if_running="fail")
    assert caught.value.applied == "no"
    assert world.server.counts["StartBatchJob"] == 0


# --- Two tasks with one key -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stopped", [True, False])
@in_world
async def test_the_first_of_two_tasks_is_kept(
    world: World,
    caplog: pytest.LogCaptureFixture,
    is_stopped: bool,  # noqa: FBT001 - a case
) -> None:
    """An earlier attempt whose request arrives while this one is sent: its lower id is kept, the other is stopped."""
    world.server.define_job("Long", duration=1e6)
    show_that_lists_show_tasks(world)
    first: list[int] = []

    async def overtaken(_: Call, proceed: Proceed) -> Answer:
        first.append(world.server.tasks.start(BatchTaskInfo(name="Long", parameter_object={MARKER_KEY: KEY}), 101))
        return await proceed()

    world.server.intercept(START_BATCH_JOB, overtaken)
    if not is_stopped:
        world.server.intercept(STOP_BATCH_JOB, lost_request)
    job = await world.client.jobs.start("Long", key=KEY, maybe_sent=True, settle=2)
    assert [job.id] == first
    _, kept, other = world.tasks()
    assert (kept.state, other.state) == (S.NEW, S.FAILED if is_stopped else S.NEW)
    assert f"task {other.id}, a second one of the same start, {'was stopped' if is_stopped else 'may still run'}" in (
        caplog.text
    )


@in_world
async def test_a_second_task_that_has_ended_is_not_stopped(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A server that says that it did not stop the second task is believed."""
    for _ in range(2):
        await world.client.jobs.start(NAME, key=KEY)
    await asyncio.sleep(1000)
    job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True)
    assert job.id == 1
    assert "task 2, a second one of the same start, was not stopped by the server, and may have ended" in caplog.text


@in_world
async def test_lists_that_fail_after_the_start_cost_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The handle is returned although it is not known whether another task carries the key."""
    show_that_lists_show_tasks(world)

    async def start(_: Call, proceed: Proceed) -> Answer:
        world.server.intercept(LIST, lost_request, times=None)
        return await proceed()

    world.server.intercept(START_BATCH_JOB, start)
    with caplog.at_level(logging.INFO, "soapbatch"):
        job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)
    assert [task.id for task in world.tasks()][1:] == [job.id]
    assert f"task {job.id}: whether another task carries its key is not known" in caplog.text


@in_world
async def test_a_server_on_which_keys_are_useless_is_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A warning says that lists do not show the key of the task that was just started."""
    world.change_lists(lambda *_: [])
    job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)
    assert f"task {job.id}: lists do not show its key" in caplog.text


# --- What lists prove -----------------------------------------------------------------------------------------------


@markers
@pytest.mark.parametrize("resend", [False, True])
@in_world
async def test_a_task_without_a_key_may_be_the_one(world: World, marker: Marker, resend: bool) -> None:  # noqa: FBT001 - a case
    """If lists leave keys out, StartOutcomeUnknown names the task that may be the one; nothing is sent again."""
    show_that_lists_show_tasks(world)
    world.change_lists(without_keys)
    world.server.intercept(START_BATCH_JOB, lost_reply)
    with pytest.raises(StartOutcomeUnknown, match="carry none and may be the one: 2") as caught:
        await world.client.jobs.start(NAME, marker=marker, resend=resend)
    assert (caught.value.applied, caught.value.name) == ("unknown", NAME)
    assert caught.value.key is not None
    assert len(world.tasks()) == 2
    assert world.server.counts["StartBatchJob"] == 1


@pytest.mark.parametrize(("count", "named"), [(5, r"1, 2, 3, 4, 5\."), (6, r"1, 2, 3, 4, 5, \.\.\.\.")])
@in_world
async def test_many_suspects_are_not_all_named(world: World, count: int, named: str) -> None:
    """The message names five tasks at most."""
    for _ in range(count):
        world.server.tasks.add(BatchTaskInfo(name=NAME, state=S.STARTED))
    world.server.intercept(START_BATCH_JOB, lost_request)
    with pytest.raises(StartOutcomeUnknown, match=f"may be the one: {named} "):
        await world.client.jobs.start(NAME, key=KEY, settle=0)


@in_world
async def test_tasks_that_were_known_before_are_older(world: World) -> None:
    """A task without a key is older if the client had seen it, or a later one, before: by a start or by a list."""
    world.server.tasks.add(BatchTaskInfo(name=NAME, state=S.STARTED))
    await world.client.jobs.start("FailingBatchPlugin")
    world.server.intercept(START_BATCH_JOB, lost_request)
    with pytest.raises(ConnectionLost) as caught:
        await world.client.jobs.start(NAME, key=KEY)
    assert caught.value.applied == "no"
    async with world.other_client() as client:
        assert [info.id async for info in client.jobs.list(name="FailingBatchPlugin")] == [2]
        world.server.intercept(START_BATCH_JOB, lost_request)
        with pytest.raises(ConnectionLost):
            await client.jobs.start(NAME, key=KEY)
    async with world.other_client() as client:
        assert await client.jobs.find("FailingBatchPlugin", KEY) is None
        world.server.intercept(START_BATCH_JOB, lost_request)
        with pytest.raises(ConnectionLost):
            await client.jobs.start(NAME, key=KEY)
    async with world.other_client() as client:
        await client.jobs.start("FailingBatchPlugin", marker=Marker.PARAMETER)
        world.server.intercept(START_BATCH_JOB, lost_request)
        with pytest.raises(ConnectionLost):
            await client.jobs.start(NAME, key=KEY)
    async with world.other_client() as client:  # which has seen the task itself, and none after it
        assert await client.jobs.find(NAME, KEY) is None
        world.server.intercept(START_BATCH_JOB, lost_request)
        with pytest.raises(ConnectionLost):
            await client.jobs.start(NAME, key=KEY)


A_DAY_AGO = EPOCH - timedelta(days=1)


@pytest.mark.parametrize(
    ("created", "other", "is_older"),
    [
        pytest.param(A_DAY_AGO, {"created": EPOCH}, True, id="a task of another job is a day newer"),
        pytest.param(
            A_DAY_AGO, {"created": EPOCH, "name": NAME, "parameter_object": {MARKER_KEY: "x"}}, True, id="own"
        ),
        pytest.param(EPOCH - timedelta(hours=1, minutes=3), {"created": EPOCH}, True, id="more than an hour"),
        pytest.param(
            EPOCH - timedelta(hours=1, minutes=2), {"created": EPOCH}, False, id="exactly an hour and the start"
        ),
        pytest.param(EPOCH - timedelta(minutes=59), {"created": EPOCH}, False, id="less than an hour"),
        pytest.param(EPOCH - timedelta(hours=1, minutes=1), {"created": EPOCH}, False, id="an hour and the start"),
        pytest.param(A_DAY_AGO, {"created": A_DAY_AGO}, False, id="nothing newer"),
        pytest.param(A_DAY_AGO, {}, False, id="nothing known of others"),
        pytest.param(A_DAY_AGO.replace(tzinfo=None), {"created": EPOCH}, False, id="no time zone"),
        pytest.param(None, {"created": EPOCH}, False, id="not known"),
        pytest.param(A_DAY_AGO, {"created": EPOCH.replace(tzinfo=None)}, False, id="the newer one has no time zone"),
    ],
)
@in_world
async def test_tasks_are_older_by_the_servers_own_time(
    world: World,
    created: datetime | None,
    other: dict[str, Any],
    is_older: bool,  # noqa: FBT001 - a column
) -> None:
    """A task without a key is older if the server has created another one longer after it than the start took."""
    world.server.tasks.add(BatchTaskInfo(name=NAME, state=S.SUCCEEDED, created=created))
    show_that_lists_show_tasks(world, **other)
    world.server.intercept(START_BATCH_JOB, lost_request)
    with pytest.raises(ConnectionLost if is_older else StartOutcomeUnknown) as caught:
        await world.client.jobs.start(NAME, key=KEY, settle=120)
    assert caught.value.applied == ("no" if is_older else "unknown")


@in_world
async def test_the_tasks_of_all_jobs_are_listed_only_if_need_be(world: World) -> None:
    """They are, once, for a task that may be older; the list of the job decides where it can."""
    world.server.tasks.add(BatchTaskInfo(name=NAME, state=S.SUCCEEDED, created=A_DAY_AGO))
    show_that_lists_show_tasks(world, created=EPOCH)
    world.server.intercept(START_BATCH_JOB, lost_request, times=2)
    for newest, expected in ((None, [NAME, NAME, ""]), (EPOCH, [NAME, NAME])):
        if newest is not None:
            show_that_lists_show_tasks(world, name=NAME, created=newest, parameter_object={MARKER_KEY: "x"})
        async with world.other_client() as client:
            world.server.calls.clear()
            with pytest.raises(ConnectionLost):
                await client.jobs.start(NAME, key=KEY, settle=0)
        assert [call.arguments["name"] for call in world.server.calls if call.operation == LIST.name] == expected


@pytest.mark.parametrize("version", [ServiceVersion.V75, ServiceVersion.V88])
@pytest.mark.parametrize("resend", [False, True])
@in_world
async def test_lists_that_never_show_a_task_prove_nothing(
    world: World,
    version: ServiceVersion,
    resend: bool,  # noqa: FBT001 - a case
) -> None:
    """If lists are empty whatever runs, a lost start is StartOutcomeUnknown, and nothing is sent again."""
    world.change_lists(lambda *_: [])
    world.server.intercept(START_BATCH_JOB, lost_reply)
    async with world.other_client(version=version) as client:
        with pytest.raises(StartOutcomeUnknown, match="none of them has ever shown a task of a user"):
            await client.jobs.start(NAME, key=KEY, resend=resend)
    assert len(world.tasks()) == 1
    assert world.server.counts["StartBatchJob"] == 1


@pytest.mark.parametrize("version", [ServiceVersion.V75, ServiceVersion.V88])
@pytest.mark.parametrize("trouble", [lost_reply, lost_request, arriving_late])
@in_world
async def test_a_server_that_takes_no_associates_for_nobody(
    world: World, version: ServiceVersion, trouble: Interceptor
) -> None:
    """The second kind of list shows the task; if it shows none of that job, nothing is proven."""
    show_that_lists_show_tasks(world)
    world.change_lists(blind)
    world.server.intercept(START_BATCH_JOB, trouble)
    async with world.other_client(version=version) as client:
        if trouble is lost_request:
            with pytest.raises(StartOutcomeUnknown):
                await client.jobs.start(NAME, key=KEY, resend=True)
            await client.jobs.start(NAME, key="another")
            world.server.intercept(START_BATCH_JOB, trouble)
            with pytest.raises(ConnectionLost) as caught:  # now the second kind is known to show tasks of that job
                await client.jobs.start(NAME, key=KEY)
            assert caught.value.applied == "no"
        else:
            job = await client.jobs.start(NAME, key=KEY, resend=True)
            assert [task.id for task in world.tasks()][1:] == [job.id]
            assert await client.jobs.find(NAME, KEY) == job


@in_world
async def test_the_last_second_list_must_succeed(world: World) -> None:
    """If the first kind of list shows nothing and the second one fails at last, earlier second lists prove nothing."""
    await world.client.jobs.start(NAME, key="another")
    world.change_lists(blind)
    world.server.intercept(START_BATCH_JOB, lost_request)
    starting = asyncio.create_task(world.client.jobs.start(NAME, key=KEY, settle=60, resend=True))
    await asyncio.sleep(59)
    world.server.intercept(SECOND_LIST, lost_request, times=None)
    with pytest.raises(StartOutcomeUnknown):
        await starting
    assert world.server.counts["StartBatchJob"] == 2


@in_world
async def test_a_second_list_that_fails_takes_nothing_away(world: World) -> None:
    """If the second kind of list fails, what the first one shows still counts."""
    show_that_lists_show_tasks(world)
    world.server.intercept(SECOND_LIST, failing(ServerException("System.Exception", "no")), times=None)
    world.server.intercept(START_BATCH_JOB, lost_request)
    with pytest.raises(ConnectionLost) as caught:
        await world.client.jobs.start(NAME, key=KEY, settle=10)
    assert caught.value.applied == "no"
    assert world.server.counts[SECOND_LIST.name] == 4
    assert await world.client.jobs.find(NAME, KEY) is None
    assert world.server.counts[SECOND_LIST.name] == 4  # the first kind is known to show tasks by now


@in_world
async def test_tasks_of_the_system_do_not_prove_that_lists_show_those_of_users(world: World) -> None:
    """Only a task of a user, or one of that job, shows that a list can be relied on."""
    show_that_lists_show_tasks(world, is_system_task=True)
    world.server.intercept(START_BATCH_JOB, lost_request, times=2)
    with pytest.raises(StartOutcomeUnknown):
        await world.client.jobs.start(NAME, key=KEY, settle=0)
    show_that_lists_show_tasks(world, name=NAME, is_system_task=True, parameter_object={MARKER_KEY: "x"})
    with pytest.raises(ConnectionLost):
        await world.client.jobs.start(NAME, key=KEY, settle=0)


@in_world
async def test_tasks_without_a_number_are_passed_over(world: World) -> None:
    """A list may show tasks without an id; they prove nothing."""
    world.change_lists(lambda tasks, _: (attrs.evolve(info, id=None) for info in tasks))
    world.server.intercept(START_BATCH_JOB, lost_reply)
    with pytest.raises(StartOutcomeUnknown):
        await world.client.jobs.start(NAME, key=KEY, settle=0)
    assert [info.id async for info in world.client.jobs.list()] == [None]


@in_world
async def test_a_task_without_a_number_hides_no_other(world: World) -> None:
    """What comes after a task without an id in a list is read."""
    world.change_lists(lambda tasks, _: [shown for info in tasks for shown in (attrs.evolve(info, id=None), info)])
    world.server.intercept(START_BATCH_JOB, lost_reply)
    job = await world.client.jobs.start(NAME, key=KEY, settle=0)
    assert [task.id for task in world.tasks()] == [job.id]


@in_world
async def test_tasks_that_the_client_started_itself_are_not_suspected(world: World) -> None:
    """The client knows that its own start without a key was another one; a task of somebody else is suspected."""
    await world.client.jobs.start(NAME)
    job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)
    assert [task.id for task in world.tasks()] == [1, job.id]


def test_a_client_remembers_the_tasks_that_it_started_last() -> None:
    """The ids of the latest 1,000 are kept, and the highest of all."""
    known = Known()
    for id_ in range(1, 1002):
        known.started(id_)
    assert list(known.own) == list(range(2, 1002))
    assert known.highest_id == 1001
    known.saw(5)
    assert known.highest_id == 1001


@pytest.mark.parametrize("shows_keys", [True, False])
@in_world
async def test_a_later_attempt_beside_tasks_without_a_key(
    world: World,
    shows_keys: bool,  # noqa: FBT001 - a case
) -> None:
    """Any of them may be the earlier attempt's, unless lists show the key of another start of that job."""
    world.server.tasks.add(BatchTaskInfo(name=NAME, state=S.STARTED, created=A_DAY_AGO))
    show_that_lists_show_tasks(world, created=EPOCH)
    if shows_keys:
        await world.client.jobs.start(NAME, key="another")
        job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=2)
        assert world.server.counts["StartBatchJob"] == 2
        assert await world.client.jobs.find(NAME, KEY) == job
    else:
        with pytest.raises(StartOutcomeUnknown, match=r"may be the one: 1\. If none of them is yours, start with"):
            await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=2)
        assert world.server.counts["StartBatchJob"] == 0
        assert (await world.client.jobs.start(NAME, key=KEY)).id == 3


@in_world
async def test_a_start_works_where_no_list_does(world: World) -> None:
    """Where the first list is empty and the second one fails, the server is taken for one without tasks."""
    world.change_lists(blind)
    world.server.intercept(SECOND_LIST, answering(403), times=None)
    job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)
    assert [task.id for task in world.tasks()] == [job.id]


@in_world
async def test_keys_in_the_second_list_alone_show_that_lists_keep_keys(world: World) -> None:
    """Where the list of all associates is empty, the key of another start in the other list clears all suspects."""
    world.server.tasks.add(BatchTaskInfo(name=NAME, state=S.STARTED))
    await world.client.jobs.start(NAME, key="another")
    world.change_lists(blind)
    async with world.other_client() as client:
        job = await client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=2)
    assert [task.id for task in world.tasks()] == [1, 2, job.id]


# --- Answers without an id ------------------------------------------------------------------------------------------


def answered_with(id_: str, *, is_started: bool) -> Interceptor:
    """Return an interceptor that answers StartBatchJob with this id."""
    body = f"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><StartBatchJobResponse
xmlns="http://www.superoffice.net/ws/crm/NetServer/Services88" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">{id_}
</StartBatchJobResponse></s:Body></s:Envelope>"""

    async def intercept(_: Call, proceed: Proceed) -> Answer:
        if is_started:
            await proceed()
        return Answer(200, {"Content-Type": "text/xml"}, (body.encode(),))

    return intercept


@pytest.mark.parametrize(
    "id_", ["<Response>0</Response>", "<Response>-1</Response>", '<Response i:nil="true"/>', "<Response/>", ""]
)
@in_world
async def test_an_answer_without_an_id_is_a_lost_answer(world: World, id_: str) -> None:
    """Without a marker it is StartOutcomeUnknown; with one the task is looked for, and found if there is one."""
    world.server.intercept(START_BATCH_JOB, answered_with(id_, is_started=True))
    with pytest.raises(StartOutcomeUnknown, match="UnexpectedResponse"):
        await world.client.jobs.start(NAME)
    world.server.intercept(START_BATCH_JOB, answered_with(id_, is_started=True))
    job = await world.client.jobs.start(NAME, key=KEY)
    assert [task.id for task in world.tasks()] == [1, job.id]
    world.server.intercept(START_BATCH_JOB, answered_with(id_, is_started=False))
    with pytest.raises(SoapBatchError):
        await world.client.jobs.start(NAME, key="another")
    assert len(world.tasks()) == 2


# --- Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        pytest.param(answering(302, {"Location": "https://sso.example/"}), "HTTP 302", id="a redirect"),
        pytest.param(answering(200, {"Content-Type": "text/html"}, b"<html>Hello</html>"), "<html>", id="a page"),
        pytest.param(answering(200), "Binding.SOAP12", id="an empty answer"),
        pytest.param(lost_reply, "ConnectionDropped", id="a connection that breaks"),
    ],
)
@in_world
async def test_an_unknown_outcome_says_why(world: World, trouble: Interceptor, words: str) -> None:
    """StartOutcomeUnknown carries the words of its cause, with a marker and without one."""
    for options in ({}, {"marker": Marker.PARAMETER, "settle": 0.0}):
        world.server.intercept(START_BATCH_JOB, trouble)
        with pytest.raises(StartOutcomeUnknown, match=words) as caught:
            await world.client.jobs.start(NAME, **options)  # type: ignore[arg-type]  # a mixed dictionary
        assert str(caught.value.__cause__) in str(caught.value)
        assert str(caught.value).count("lists prove nothing") == len(options) / 2
        for task in world.tasks():
            world.server.tasks.delete(task.id or 0)
        world.change_lists(lambda *_: [])


# --- The time limit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "options"),
    [
        pytest.param({START_BATCH_JOB: lost_request}, {"marker": Marker.PARAMETER}, id="settling"),
        pytest.param({START_BATCH_JOB: delayed(1000)}, {"marker": Marker.PARAMETER}, id="sending"),
        pytest.param({START_BATCH_JOB: lost_request}, {"marker": Marker.PARAMETER, "resend": True}, id="resending"),
        pytest.param({START_BATCH_JOB: lost_request, LIST: delayed(1000)}, {"key": KEY}, id="a list that hangs"),
        pytest.param({START_BATCH_JOB: lost_request, LIST: answering(503)}, {"key": KEY}, id="lists that fail"),
        pytest.param({}, {"key": KEY, "maybe_sent": True}, id="looking for an earlier attempt"),
        pytest.param({LIST: delayed(1000)}, {"key": KEY, "maybe_sent": True}, id="its list hangs"),
    ],
)
@in_world
async def test_the_timeout_bounds_the_whole_start(
    world: World, trouble: dict[Any, Interceptor], options: dict[str, Any]
) -> None:
    """After `timeout` seconds the outcome is StartOutcomeUnknown, whatever the start was doing."""
    for operation, interceptor in trouble.items():
        world.server.intercept(operation, interceptor, times=None)
    await asyncio.sleep(1000)
    with pytest.raises(StartOutcomeUnknown) as caught:
        await world.client.jobs.start(NAME, timeout=10, **options)
    assert caught.value.applied == "unknown"
    assert world.now == 1010
    assert world.server.counts["StartBatchJob"] <= 1


@in_world
async def test_a_timeout_that_runs_out_while_tasks_are_listed_says_so(world: World) -> None:
    """The cause is DeadlineExceeded, with the phase and the timeout."""
    with pytest.raises(StartOutcomeUnknown) as caught:
        await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, timeout=10)
    cause = caught.value.__cause__
    assert isinstance(cause, DeadlineExceeded)
    assert (cause.phase, cause.timeout) == ("settling", 10)


@in_world
async def test_a_lists_own_timeout_is_one_of_its_failures(world: World) -> None:
    """The client's timeout ends each list; ten such lists in a row leave the outcome unknown."""
    world.server.intercept(START_BATCH_JOB, lost_request)
    world.server.intercept(LIST, delayed(1000), times=10)
    async with world.other_client(timeout=3) as client:
        with pytest.raises(StartOutcomeUnknown) as caught:
            await client.jobs.start(NAME, key=KEY, timeout=1000)
    assert "DeadlineExceeded" not in str(caught.value)
    assert "timeout of 3" in caught.value.__notes__[0]


@in_world
async def test_a_timeout_before_anything_was_sent(world: World) -> None:
    """DeadlineExceeded says that nothing was started."""
    world.server.intercept(LIST, delayed(1000))
    with pytest.raises(DeadlineExceeded) as caught:
        await world.client.jobs.start(NAME, if_running="fail", timeout=10)
    assert (caught.value.applied, world.now) == ("no", 10)
    assert world.server.counts["StartBatchJob"] == 0


@in_world
async def test_the_timeout_bounds_stopping_a_second_task(world: World) -> None:
    """An id that is known is never lost to the timeout."""
    for _ in range(2):
        await world.client.jobs.start(NAME, key=KEY)
    world.server.intercept(STOP_BATCH_JOB, delayed(1000))
    job = await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, timeout=10)
    assert (job.id, world.now) == (1, 10)


@in_world
async def test_an_own_timeout_of_the_caller_stays_its_own(world: World) -> None:
    """`asyncio.timeout` around a start that settles raises its own TimeoutError."""
    world.server.intercept(START_BATCH_JOB, lost_request)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(10):
            await world.client.jobs.start(NAME, key=KEY, timeout=20)
    assert not isinstance(caught.value, SoapBatchError)


# --- Every combination ----------------------------------------------------------------------------------------------


async def refused_late(_: Call, proceed: Proceed) -> Answer:
    """Start the job, and then fail with an exception of NetServer."""
    await proceed()
    raise ServerException("System.Exception", "too late")


FATES: dict[str, Interceptor | None] = {
    "works": None,
    "the request is lost": lost_request,
    "the answer is lost": lost_reply,
    "arrives late": arriving_late,
    "fails": failing(ServerException("System.Exception", "no")),
    "fails after the start": refused_late,
    "503": answering(503),
    "hangs": delayed(1e6),
    "no id": answered_with("<Response>0</Response>", is_started=True),
}
SHOWN: dict[str, Any] = {
    "everything": lambda tasks, _: tasks,
    "no keys": without_keys,
    "nothing to nobody": blind,
    "nothing": lambda *_: [],
}


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("second", ["works", "the request is lost", "the answer is lost"])
@in_world
async def test_no_combination_starts_twice_or_denies_a_start(world: World, fate: str, second: str, shown: str) -> None:
    """Whatever happens to a start, and whatever lists show: one job at most, and "not applied" is never wrong.

    A later attempt leads to one job at most as well, unless lists show no task at all: then a start may be repeated.
    """
    world.server.define_job("Long", duration=1e6)
    show_that_lists_show_tasks(world)
    for marker, resend in itertools.product(Marker, (False, True)):
        before = len(world.tasks())
        key = f"{marker}/{resend}"
        world.change_lists(SHOWN[shown])
        for name in (fate, second):
            if (interceptor := FATES[name]) is not None:
                world.server.intercept(START_BATCH_JOB, interceptor)
        async with world.other_client(timeout=20) as client:
            try:
                job = await client.jobs.start("Long", key=key, marker=marker, resend=resend, settle=30)
                assert len(world.tasks()) == before + 1
                assert world.state(job) is not None
                applied = "yes"
            except SoapBatchError as error:
                applied = error.applied
        await asyncio.sleep(30)
        assert len(world.tasks()) in {"no": [before], "unknown": [before, before + 1], "yes": [before + 1]}[applied]
        world.server.clear_interceptors()
        started = len(world.tasks()) - before
        if shown != "nothing":
            async with world.other_client(timeout=20) as client:
                try:
                    job = await client.jobs.start("Long", key=key, marker=marker, maybe_sent=True, settle=30)
                    assert world.state(job) is not None
                    assert len(world.tasks()) == before + 1
                except StartOutcomeUnknown:
                    assert len(world.tasks()) == before + started
        for task in world.tasks()[before:]:
            world.server.tasks.delete(task.id or 0)


# --- Another process ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fate",
    [
        pytest.param(None, id="answered"),
        pytest.param(lost_request, id="lost"),
        pytest.param(lost_reply, id="its answer is lost"),
        pytest.param(arriving_late, id="late"),
        pytest.param(delayed(1), id="slow"),
    ],
)
@markers
@in_world
async def test_another_process_takes_over(world: World, fate: Interceptor | None, marker: Marker) -> None:
    """Whenever a start is abandoned, a later attempt leads to exactly one job."""
    show_that_lists_show_tasks(world)
    for jobs, moment in enumerate([0, 0.5, 3] * 2, 1):
        key = f"{KEY}/{jobs}"
        if fate is not None:
            world.server.intercept(START_BATCH_JOB, fate)
        starting = asyncio.create_task(world.client.jobs.start(NAME, key=key, marker=marker))
        await asyncio.sleep(moment)
        starting.cancel()
        await asyncio.wait([starting])
        world.server.clear_interceptors()
        clients: list[Client] = [world.other_client() for _ in range(2)]
        found = []
        for client in clients:
            async with client:
                found.append(await client.jobs.start(NAME, key=key, maybe_sent=True, marker=marker, settle=20))
        await asyncio.sleep(100)
        assert found[0].id == found[1].id
        assert len(world.tasks()) == 1 + jobs
