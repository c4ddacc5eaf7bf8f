"""Waiting for a job: every way in which a wait ends."""

import asyncio
import functools
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from soapbatch import (
    AccessDenied,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    BindingRefused,
    ConnectionLost,
    Hooks,
    HttpError,
    JobFailed,
    JobGone,
    OperationFailed,
    ServiceVersion,
    SoapBatchError,
    TenantMoved,
    UnreadableResponse,
    UsageError,
    UsernamePassword,
    WaitTimeout,
)
from soapbatch.jobs.events import JobEvents
from soapbatch.jobs.jobs import Jobs
from soapbatch.jobs.poller import Subscription, WatchedTask
from soapbatch.jobs.schedule import LONGEST_RETRY_AFTER, Polling
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
from soapbatch.testing import (
    DEMO_USER,
    Answer,
    Call,
    Interceptor,
    ServerException,
    SessionRefused,
    answering,
    cut_reply,
    failing,
    lost_reply,
    lost_request,
)
from soapbatch.testing.interceptors import Proceed
from tests.support.job_server import World, in_world, started

S = BatchTaskState
DAY = 86400.0


def finish(world: World, id_: int) -> None:
    """End a task on the server."""
    task = world.server.tasks.get(id_)
    assert task is not None
    task.info = attrs.evolve(task.info, state=S.SUCCEEDED)


# --- The ends of a wait ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.SUCCEEDED_MANUAL_CLEANUP])
@in_world
async def test_wait_returns_the_finished_task(world: World, state: BatchTaskState) -> None:
    """`wait` returns the finished task for both kinds of success."""
    job = await started(world, duration=10, outcome=state, result="5 rows")
    info = await job.wait()
    assert (info.id, info.state, info.result) == (job.id, state, "5 rows")
    assert job.is_over


@in_world
async def test_a_failed_job_raises(world: World) -> None:
    """JobFailed carries the task. Its message shows the task's result, with tickets masked."""
    world.server.define_job("Job", duration=5, outcome=S.FAILED, result="no such 7T:abcdef== archive")
    job = await world.client.jobs.start("Job", description="Nightly")
    with pytest.raises(JobFailed, match=r"^job 'Job' \(task 1, 'Nightly'\) failed: no such \*\*\* archive$") as caught:
        await job.wait()
    info = caught.value.info
    assert info is not None
    assert (caught.value.id, info.state, info.description) == (job.id, S.FAILED, "Nightly")
    assert info.result == "no such 7T:abcdef== archive"
    assert caught.value.version == ServiceVersion.V88
    assert job.is_over


@in_world
async def test_a_failed_job_without_a_result_raises_too(world: World) -> None:
    """If the failed task has no result, the message says so."""
    job = await started(world, duration=5, outcome=S.FAILED)
    with pytest.raises(JobFailed, match="does not say why"):
        await job.wait()


@in_world
async def test_a_task_that_vanishes_is_gone_with_what_was_last_seen(world: World) -> None:
    """If the server deletes the task between two readings, JobGone carries the last reading."""
    job = await started(world, duration=3000, vanishes_after=1)
    with pytest.raises(JobGone) as caught:
        await job.wait()
    assert caught.value.info is not None
    assert caught.value.info.state == S.STARTED
    assert job.is_over


@in_world
async def test_gone_right_after_a_start_is_gone(world: World) -> None:
    """If the server does not know the task at the first reading, it is read twice more before JobGone is raised."""
    job = await started(world)
    world.server.tasks.delete(job.id)
    with pytest.raises(JobGone) as caught:
        await job.wait()
    assert caught.value.info is None
    assert (world.reads, world.now) == (3, 6)


@pytest.mark.parametrize("answer", ["nil", "exception"])
@pytest.mark.parametrize("others", [0, 3])
@in_world
async def test_a_task_that_a_server_forgets_for_a_moment(world: World, answer: str, others: int) -> None:
    """A wait bears two readings that do not find a task which was read before, alone or among others."""
    world.server.unknown_task = answer  # type: ignore[assignment]  # one of its values
    job = await started(world, duration=100)
    beside = [await started(world, duration=100) for _ in range(others)]
    store = world.server.tasks
    task = store.get(job.id)
    assert task is not None

    def hide(seconds: float) -> None:
        del store._tasks[job.id]
        asyncio.get_running_loop().call_later(seconds, store._tasks.__setitem__, job.id, task)

    for moment in (1, 20, 60):  # also when its id was just given
        asyncio.get_running_loop().call_later(moment, hide, 3.9)
    outcomes = await world.client.jobs.wait_all([job, *beside])
    assert [outcome.unwrap().state for outcome in outcomes] == [S.SUCCEEDED] * (1 + others)


@pytest.mark.parametrize("seen", [True, False])
@in_world
async def test_a_task_that_stays_away_is_gone(world: World, seen: bool) -> None:  # noqa: FBT001 - a case
    """The third reading in a row decides, some seconds later. A task that nobody has ever seen is gone at once."""
    job = world.client.jobs.attach((await started(world, duration=1000)).id)
    if seen:
        asyncio.get_running_loop().call_later(9.5, world.server.tasks.delete, job.id)
    else:
        world.server.tasks.delete(job.id)
    with pytest.raises(JobGone):
        await job.wait()
    times = [call.at for call in world.server.calls if call.operation == "GetBatchTaskInfo"]
    assert times[-3:] == ([10, 12, 14] if seen else [0])


@in_world
async def test_leaving_a_block_while_a_server_forgets_a_task(world: World) -> None:
    """A false JobGone would leave the job running: `run` looks again, and stops the job."""
    world.server.define_job("Job", duration=DAY)
    async with world.client.jobs.run("Job") as job:
        task = world.server.tasks.get(job.id)
        assert task is not None
        del world.server.tasks._tasks[job.id]
        asyncio.get_running_loop().call_later(3, world.server.tasks._tasks.__setitem__, job.id, task)
    assert world.state(job) == S.FAILED


def test_one_failed_reading_is_a_failing_wait() -> None:
    """A wait fails from its first failed reading until a reading works."""
    subscription = Subscription(1, Polling())
    assert not subscription.is_failing
    subscription.record_failure(ConnectionLost("reset"))
    assert subscription.is_failing
    subscription.record_reading(BatchTaskInfo(id=1), datetime.now(UTC))
    assert not subscription.is_failing


def test_a_late_reading_that_finds_nothing_is_ignored() -> None:
    """A reading that began before the latest recorded one does not say that the task is gone."""
    events = JobEvents(None, ServiceVersion.V88).of_watched(1, is_end_known=False)
    task = WatchedTask(id=1, name=None, due_at=0, known_since=0, grid_origin=0, events=events)
    task.subscribe(subscription := Subscription(1, Polling()), 0, 0)
    info = BatchTaskInfo(id=1, state=S.STARTED)
    task.record_reading(info, 10, 0)
    for asked_at in (5, 6, 7):
        task.record_not_found(asked_at)
    assert (task.info, subscription.is_over) == (info, False)
    for asked_at in (10, 11, 12):
        task.record_not_found(asked_at)
    assert subscription.is_over


@in_world
async def test_waits_after_failures_grow_only_in_a_row(world: World) -> None:
    """A reading that works begins the count anew: the next failure is followed by the shortest wait again."""
    job = await started(world, duration=DAY)
    fails = [True, True, True, True, False, True]

    async def trouble(call: Call, proceed: Proceed) -> Answer:
        return await (lost_request(call, proceed) if fails.pop(0) else proceed())

    world.server.intercept(GET_BATCH_TASK_INFO, trouble, times=len(fails))
    with pytest.raises(WaitTimeout):
        await job.wait(timeout=60)
    times = [call.at for call in world.server.calls if call.operation == "GetBatchTaskInfo"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[:4] == [2, 4, 8, 16]
    assert gaps[5] == 2


@in_world
async def test_the_deadline_raises_with_what_was_last_seen(world: World) -> None:
    """WaitTimeout is raised on time and carries the last reading and its time. The job can be waited for again."""
    job = await started(world, duration=100)
    before = datetime.now(UTC)
    with pytest.raises(WaitTimeout, match=r"within 25 s \(last seen as Started\)") as caught:
        await job.wait(timeout=25)
    assert world.now == 25
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.applied == "no"  # a wait only reads
    assert caught.value.info is not None
    assert caught.value.info.state == S.STARTED
    assert caught.value.seen_at is not None
    assert before <= caught.value.seen_at <= datetime.now(UTC)
    assert not job.is_over
    assert (await job.wait()).state == S.SUCCEEDED


@in_world
async def test_a_deadline_before_the_first_reading(world: World) -> None:
    """WaitTimeout carries no reading and does not say that the job runs on."""
    job = await started(world)
    with pytest.raises(WaitTimeout, match=r"\(it was never seen\); it may run on") as caught:
        await job.wait(timeout=1)
    assert (caught.value.info, caught.value.seen_at) == (None, None)
    with pytest.raises(WaitTimeout):
        await anext(job.watch(timeout=1))


@pytest.mark.parametrize(
    ("trouble_at", "words"),
    [
        pytest.param(0, r"\(it could not be read\); it may run on", id="never read"),
        pytest.param(
            20, r"\(last seen as Started; since then it could not be read\); it may run on", id="not read lately"
        ),
        pytest.param(60, r"\(last seen as Started\); it runs on", id="read"),
    ],
)
@in_world
async def test_what_a_deadline_says_of_the_job(world: World, trouble_at: float, words: str) -> None:
    """The message says that the job runs on only if the last reading showed that."""
    job = await started(world, duration=DAY)
    trouble = functools.partial(world.server.intercept, GET_BATCH_TASK_INFO, lost_request, times=None)
    asyncio.get_running_loop().call_later(trouble_at, trouble)
    with pytest.raises(WaitTimeout, match=words):
        await job.wait(timeout=50)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"polling": 2}, "polling is a Polling", id="polling"),
        pytest.param({"timeout": "5"}, "timeout is a number", id="timeout: text"),
        pytest.param({"timeout": True}, "timeout is a number", id="timeout: a bool"),
        pytest.param({"timeout": float("nan")}, "timeout is a number", id="timeout: not a number"),
        pytest.param({"timeout": float("inf")}, "timeout is a number", id="timeout: infinite"),
        pytest.param({"timeout": -1}, "timeout is a number", id="timeout: negative"),
        pytest.param({"timeout": 1e18}, "timeout is a number", id="timeout: absurd"),
        pytest.param({"timeout": 10**400}, "timeout is a number", id="timeout: more than a float"),
        pytest.param({"on_progress": 5}, "on_progress is a function", id="on_progress"),
    ],
)
@in_world
async def test_what_a_wait_refuses(world: World, arguments: dict[str, Any], words: str) -> None:
    """A wrong argument is a UsageError before anything is read, and does not affect other waits."""
    job = await started(world, duration=20)
    waiting = asyncio.create_task(job.wait())
    await asyncio.sleep(1)
    jobs = world.client.jobs
    waits: list[Callable[..., Awaitable[object]]] = [
        job.wait,
        functools.partial(jobs.wait_all, [job]),
        lambda **options: anext(jobs.as_finished([job], **options)),
    ]
    if "on_progress" not in arguments:
        waits.append(lambda **options: anext(job.watch(**options)))
    for wait in waits:
        with pytest.raises(UsageError, match=words):
            await wait(**arguments)
    assert world.reads == 0
    assert (await waiting).state == S.SUCCEEDED
    assert (await job.wait()).state == S.SUCCEEDED


@in_world
async def test_the_default_deadline_is_finite(world: World) -> None:
    """The default `timeout` is one hour; None has no limit."""
    job = await started(world, duration=DAY)
    with pytest.raises(WaitTimeout):
        await job.wait()
    assert world.now == 3600
    assert (await job.wait(timeout=None, polling=Polling(ceiling=3600))).state == S.SUCCEEDED


@in_world
async def test_a_timeout_of_the_callers_own_stays_its_own(world: World) -> None:
    """`asyncio.timeout` around a wait raises its own TimeoutError, not WaitTimeout."""
    job = await started(world, duration=100)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(10):
            await job.wait()
    assert not isinstance(caught.value, SoapBatchError)


@in_world
async def test_a_day(world: World) -> None:
    """A wait for a job of 24 hours ends at most one reading after the job."""
    job = await started(world, duration=DAY)
    info = await job.wait(timeout=None, polling=Polling(ceiling=300))
    assert info.state == S.SUCCEEDED
    assert DAY <= world.now <= DAY + 302
    assert world.reads < 500


@in_world
async def test_an_hour_costs_what_the_table_says(world: World) -> None:
    """A job of an hour that shows each percent costs what test_schedule computes, plus or minus a tenth."""
    job = await started(world, duration=3600)
    assert (await job.wait(timeout=None)).state == S.SUCCEEDED
    assert 193 * 0.9 <= world.reads <= 193 * 1.1


@in_world
async def test_an_attached_job_is_read_at_once(world: World) -> None:
    """An attached job is read at once. A job that was just started is first read after `Polling.first` seconds."""
    job = await started(world, duration=1)
    await asyncio.sleep(100)
    before = world.now
    await world.client.jobs.attach(job.id).wait()
    assert world.now == before
    again = await world.client.jobs.start("Job")
    await again.wait(polling=Polling(first=7))
    assert world.now == before + 7


@in_world
async def test_restarts_are_followed_and_reported(world: World) -> None:
    """The wait goes on when the server queues a job again, and `on_progress` sees each start."""
    job = await started(world, duration=20, restarts=(30, 10))
    seen: list[tuple[object, object]] = []
    info = await job.wait(on_progress=lambda info: seen.append((info.start_count, info.state)))
    assert (info.start_count, info.state) == (3, S.SUCCEEDED)
    counts = [count for count, _ in seen]
    assert counts == sorted(counts)  # type: ignore[type-var]  # numbers
    assert {1, 2, 3} <= set(counts)
    assert (1, S.ACQUIRED) in seen or (1, S.NEW) in seen  # the state went back


@in_world
async def test_an_unknown_state_is_one_of_a_job_that_runs(world: World) -> None:
    """The wait goes on while the state is one that this release does not know."""
    id_ = world.server.tasks.add(BatchTaskInfo(name="Job", state="Hibernating"))
    job = world.client.jobs.attach(id_)
    asyncio.get_running_loop().call_later(60, finish, world, id_)
    assert (await job.wait()).state == S.SUCCEEDED


# --- Failures --------------------------------------------------------------------------------------------------------


def busy(seconds: int) -> Interceptor:
    """Return an interceptor that answers 429 with this Retry-After."""
    return answering(429, {"Retry-After": str(seconds)})


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(lost_request, id="connection lost before"),
        pytest.param(lost_reply, id="connection lost after"),
        pytest.param(answering(429), id="429"),
        pytest.param(answering(503, {"Retry-After": "20"}), id="503 with Retry-After"),
        pytest.param(answering(502, {"Content-Type": "text/html"}, b"<html>"), id="a proxy's page"),
    ],
)
@in_world
async def test_failures_that_may_pass_do_not_end_a_wait(world: World, trouble: Interceptor) -> None:
    """A wait survives nine failures in a row, and after readings that worked nine failures again."""
    job = await started(world, duration=2000)
    for seconds in (0, 1000):
        asyncio.get_running_loop().call_later(
            seconds, functools.partial(world.server.intercept, GET_BATCH_TASK_INFO, trouble, times=9)
        )
    assert (await job.wait()).state == S.SUCCEEDED
    assert world.now > 2000


STRAY = [
    pytest.param(answering(200, {"Content-Type": "text/html"}, b"<html>Maintenance"), UnreadableResponse, id="a page"),
    pytest.param(answering(200), UnreadableResponse, id="an empty answer"),
    pytest.param(cut_reply, ConnectionLost, id="a cut answer"),
    pytest.param(answering(200, {"Content-Type": "text/xml"}, b"<a><b>"), UnreadableResponse, id="cut XML"),
    pytest.param(answering(200, {"Content-Type": "text/xml"}, b"<a/>"), SoapBatchError, id="other XML"),
    pytest.param(answering(404, {"Content-Type": "text/html"}, b"<html>"), HttpError, id="404"),
    pytest.param(answering(302, {"Location": "https://sso.example/"}), HttpError, id="302"),
]
stray_answers = pytest.mark.parametrize(("trouble", "kind"), STRAY)


@stray_answers
@pytest.mark.parametrize("others", [0, 3])
@in_world
async def test_stray_answers_after_a_good_reading_may_pass(
    world: World, trouble: Interceptor, kind: type[SoapBatchError], others: int
) -> None:
    """A wait survives nine of them in a row, and nine again later; the tenth in a row ends it with a note."""
    jobs = [await started(world, duration=2000) for _ in range(1 + others)]
    operations = [GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES]
    times = 9 * len(jobs) + 18 if others else 9
    for seconds, operation in itertools.product((100, 1000), operations if others else operations[:1]):
        asyncio.get_running_loop().call_later(
            seconds, functools.partial(world.server.intercept, operation, trouble, times=9)
        )
    outcomes = await world.client.jobs.wait_all(jobs)
    assert [outcome.unwrap().state for outcome in outcomes] == [S.SUCCEEDED] * len(jobs), times
    if not others:
        job = await started(world, duration=DAY)
        await job.info()
        asyncio.get_running_loop().call_later(
            100, functools.partial(world.server.intercept, GET_BATCH_TASK_INFO, trouble, times=None)
        )
        with pytest.raises(kind) as caught:
            await job.wait()
        assert caught.value.__notes__[-1] == f"task {job.id} could not be read 10 times in a row; it may still run"


@stray_answers
@in_world
async def test_a_stray_answer_to_the_first_reading_ends_a_wait(
    world: World, trouble: Interceptor, kind: type[SoapBatchError]
) -> None:
    """Before any good reading it is taken for what it says: a wrong URL or version does not get right by waiting."""
    job = await started(world, duration=100)
    world.server.intercept(GET_BATCH_TASK_INFO, trouble, times=1)
    if kind is ConnectionLost:
        assert (await job.wait()).state == S.SUCCEEDED  # which may always pass
    else:
        with pytest.raises(kind):
            await job.wait()
        assert world.now == 2


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        pytest.param(answering(403), AccessDenied, id="403"),
        pytest.param(answering(415), BindingRefused, id="415"),
        pytest.param(answering(421), TenantMoved, id="421"),
        pytest.param(failing(ServerException("SuperOffice.SoSentryException", "no")), OperationFailed, id="a refusal"),
    ],
)
@in_world
async def test_what_has_a_meaning_ends_a_wait_also_after_good_readings(
    world: World, trouble: Interceptor, kind: type[SoapBatchError]
) -> None:
    """An answer that says something is no stray one."""
    job = await started(world, duration=DAY)
    asyncio.get_running_loop().call_later(
        100, functools.partial(world.server.intercept, GET_BATCH_TASK_INFO, trouble, times=None)
    )
    async with world.other_client(binding=Binding.SOAP11) as client:
        with pytest.raises(kind):
            await client.jobs.attach(job.id).wait()
    assert world.now < 120


@in_world
async def test_too_many_failures_in_a_row_end_a_wait(world: World) -> None:
    """The tenth failure in a row is raised, with a note, after three to four minutes."""
    job = await started(world, duration=DAY)
    world.server.intercept(GET_BATCH_TASK_INFO, lost_request, times=None)
    with pytest.raises(ConnectionLost) as caught:
        await job.wait()
    assert world.reads == 10
    assert 180 <= world.now <= 240
    assert caught.value.__notes__ == [f"task {job.id} could not be read 10 times in a row; it may still run"]
    assert not job.is_over


@in_world
async def test_each_wait_counts_failures_by_its_own_polling(world: World) -> None:
    """Of two waits for one job, only the one with the smaller `Polling.failures` gives up."""
    job = await started(world, duration=100)
    world.server.intercept(GET_BATCH_TASK_INFO, lost_request, times=3)
    short, long = await asyncio.gather(job.wait(polling=Polling(failures=2)), job.wait(), return_exceptions=True)
    assert isinstance(short, ConnectionLost)
    assert isinstance(long, BatchTaskInfo)


@in_world
async def test_retry_after_delays_all_waits(world: World) -> None:
    """While a Retry-After is in force, no wait of the client reads."""
    jobs = [await started(world, duration=200) for _ in range(2)]
    world.server.intercept(GET_BATCH_TASK_INFO, busy(60), times=6)
    outcomes = await world.client.jobs.wait_all(jobs)
    assert all(outcome.ok for outcome in outcomes)
    calls = [call.at for call in world.server.calls if call.operation == "GetBatchTaskInfo"]
    rounds = sorted(set(calls))[:4]
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(rounds))


@in_world
async def test_retry_after_delays_new_waits_too(world: World) -> None:
    """A Retry-After also delays a wait that begins afterwards."""
    first, second = [await started(world, duration=300) for _ in range(2)]
    world.server.intercept(GET_BATCH_TASK_INFO, busy(60))
    waits = [asyncio.create_task(first.wait())]
    await asyncio.sleep(10)
    waits.append(asyncio.create_task(second.wait()))
    await asyncio.gather(*waits)
    times = [call.at for call in world.server.calls if call.operation == "GetBatchTaskInfo"]
    assert times[1] >= times[0] + 60


@in_world
async def test_an_unreasonable_retry_after_is_shortened(world: World) -> None:
    """A Retry-After of a day delays the readings by five minutes."""
    first, second = [await started(world, duration=100) for _ in range(2)]
    world.server.intercept(GET_BATCH_TASK_INFO, busy(86400))
    outcomes = await world.client.jobs.wait_all([first, second])
    assert all(outcome.ok for outcome in outcomes)
    assert LONGEST_RETRY_AFTER <= world.now <= LONGEST_RETRY_AFTER + 10


@in_world
async def test_each_waiter_gets_an_error_of_its_own(world: World) -> None:
    """A note on one waiter's error is not on the others; earlier notes are on all."""

    class Losing:
        async def get_batch_task_info(self, _: int) -> None:
            error = ConnectionLost("lost")
            error.add_note("seen on the wire")
            raise error

    jobs = Jobs(Losing(), world.client.blob, ServiceVersion.V88)  # type: ignore[arg-type]  # as much of one as is needed
    outcomes = await jobs.wait_all([7, 7], polling=Polling(failures=2))
    for outcome in outcomes:
        assert outcome.error is not None
        assert [note.split(" ")[0] for note in outcome.error.__notes__] == ["seen", "task"]


@in_world
async def test_retries_of_the_client_do_not_count_as_failures(world: World) -> None:
    """Retries of the client do not count as failures: 24 bad answers to three attempts each are 8 failures."""
    job = await started(world, duration=400)
    async with world.other_client(retries=None) as client:
        world.server.intercept(GET_BATCH_TASK_INFO, answering(503), times=24)
        assert (await client.jobs.attach(job.id).wait()).state == S.SUCCEEDED


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        pytest.param(
            failing(ServerException("SuperOffice.SoSentryException", "no")), OperationFailed, id="the service refuses"
        ),
        pytest.param(failing(SessionRefused("no")), OperationFailed, id="a fixed ticket that is refused"),
        pytest.param(answering(403), AccessDenied, id="403"),
    ],
)
@in_world
async def test_an_error_that_cannot_pass_ends_a_wait_at_once(
    world: World, trouble: Interceptor, kind: type[SoapBatchError]
) -> None:
    """Every wait for that job raises its own copy of the error after one reading."""
    job = await started(world, duration=DAY)
    world.server.intercept(GET_BATCH_TASK_INFO, trouble, times=None)
    errors = await asyncio.gather(job.wait(), job.wait(), return_exceptions=True)
    assert [type(error) for error in errors] == [kind, kind]
    assert errors[0] is not errors[1]
    assert world.now == 2
    assert not job.is_over


@in_world
async def test_what_a_hook_raises_ends_a_wait(world: World) -> None:
    """An exception from a hook is raised from every wait, after single readings and after lists."""

    def hook(event: object) -> None:
        raise KeyError(type(event).__name__)

    ids = [(await started(world)).id for _ in range(3)]
    async with world.other_client(hooks=Hooks(on_request=hook)) as client:
        with pytest.raises(KeyError):
            await client.jobs.attach(ids[0]).wait()
        with pytest.raises(KeyError):
            await client.jobs.wait_all(ids)
        with pytest.raises(KeyError):
            await anext(client.jobs.as_finished(ids[:1]))


@in_world
async def test_tickets_that_expire_during_a_wait(world: World) -> None:
    """All tickets are revoked each hour of a wait; the client logs in again each time, and the wait goes on."""
    job = await started(world, duration=DAY)
    credentials = UsernamePassword(DEMO_USER.name, DEMO_USER.password)

    async def revoke() -> None:
        while True:
            await asyncio.sleep(3600)
            world.server.tickets.revoke_all()

    revoking = asyncio.create_task(revoke())
    async with world.other_client(credentials=credentials) as client:
        assert (await client.jobs.attach(job.id).wait(timeout=None, polling=Polling(ceiling=300))).state == S.SUCCEEDED
    revoking.cancel()
    await asyncio.wait([revoking])
    assert world.server.tickets.logins == 25
