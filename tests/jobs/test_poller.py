"""One poller for all waits of a client: when a list replaces single readings, and what shared waits cost."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from soapbatch import AccessDenied, BatchTaskInfo, BatchTaskState, ClientClosed, JobGone, ServiceVersion
from soapbatch.jobs.events import JobEvents
from soapbatch.jobs.poller import Poller
from soapbatch.jobs.schedule import Polling
from soapbatch.jobs.task_reader import MAX_LIST_RATIO
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
from soapbatch.testing import Answer, Call, ServerException, answering, delayed, failing, lost_request
from soapbatch.testing.interceptors import Proceed
from tests.support.job_server import World, in_world

S = BatchTaskState
LIST = GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
SINGLE = "GetBatchTaskInfo"


def started(world: World, *durations: float, name: str = "Job") -> list[int]:
    """Start a job of each duration on the server, and return their ids."""
    ids = []
    for duration in durations:
        world.server.define_job(name, duration=duration)
        ids.append(world.server.tasks.start(BatchTaskInfo(name=name), 101))
    return ids


def calls(world: World, operation: str) -> list[Call]:
    """Return the calls of an operation so far."""
    return [call for call in world.server.calls if call.operation == operation]


@in_world
async def test_500_waits_cost_a_twentieth_of_500_pollers(world: World) -> None:
    """Readings of jobs of 30 to 90 s, waited for one by one and all at once, counted on the server."""
    durations = [30 + 60 * number / 500 for number in range(500)]
    alone = 0
    for duration in durations[::50]:
        (id_,) = started(world, duration)
        before = world.reads
        await world.client.jobs.attach(id_).wait()
        alone += (world.reads - before) * 50
    ids = started(world, *durations)
    before = world.reads
    outcomes = await world.client.jobs.wait_all(ids)
    together = world.reads - before
    assert [(outcome.id, outcome.result and outcome.result.state) for outcome in outcomes] == [
        (id_, S.SUCCEEDED) for id_ in ids
    ]
    assert alone > 9_000
    assert together <= alone / 20
    assert together < 60


@in_world
async def test_waits_for_one_job_share_its_readings(world: World) -> None:
    """Ten waits for one job, begun at different times, cost as many readings as one wait."""
    (id_,) = started(world, 60)
    await world.client.jobs.attach(id_).wait()
    alone = world.reads

    (id_,) = started(world, 60)

    async def wait(after: float) -> BatchTaskInfo:
        await asyncio.sleep(after)
        return await world.client.jobs.attach(id_).wait()

    infos = await asyncio.gather(*(wait(number / 2) for number in range(10)))
    assert all(info is infos[0] for info in infos)
    assert world.reads - alone <= alone + 2


@in_world
async def test_the_most_demanding_wait_decides(world: World) -> None:
    """A task is read as often as one of its waits asks for, whatever another one asks for."""
    (id_,) = started(world, 400)
    job = world.client.jobs.attach(id_)
    await asyncio.gather(job.wait(), job.wait(polling=Polling(ceiling=2)))
    assert world.reads >= 190


@in_world
async def test_no_job_is_read_faster_than_every_two_seconds(world: World) -> None:
    """Whenever waits begin, at least two seconds lie between two readings of a task."""
    ids = started(world, *range(20, 60))

    async def wait(number: int) -> None:
        await asyncio.sleep(number * 0.37)
        await world.client.jobs.attach(ids[number]).wait()

    await asyncio.gather(*map(wait, range(len(ids))))
    for id_ in ids:
        times = [
            call.at for call in world.server.calls if call.arguments.get("id") == id_ or call.operation == LIST.name
        ]
        assert len(times) > 10
        assert all(later - earlier > 1.999 for earlier, later in itertools.pairwise(times))


@in_world
async def test_a_faster_grid_for_one_wait(world: World) -> None:
    """A `floor` below two seconds makes only the caller's own task be read more often."""
    slow, fast = started(world, 10, 10)
    polling = Polling(floor=0.5, ceiling=0.5)
    await asyncio.gather(world.client.jobs.attach(slow).wait(), world.client.jobs.attach(fast).wait(polling=polling))
    by_id = [call.arguments["id"] for call in calls(world, SINGLE)]
    assert by_id.count(fast) >= 24
    assert by_id.count(slow) <= 8


@in_world
async def test_the_poller_lives_as_long_as_its_waits(world: World) -> None:
    """The poller's asyncio task begins with the first wait, ends with the last one, and begins again later."""

    def pollers() -> int:
        return sum(task.get_name() == "soapbatch poller" for task in asyncio.all_tasks())

    for _ in range(2):
        ids = started(world, 5, 15)
        waits = [asyncio.create_task(world.client.jobs.attach(id_).wait()) for id_ in ids]
        assert pollers() == 0
        await asyncio.sleep(0)
        assert pollers() == 1
        await waits[0]
        assert pollers() == 1
        await waits[1]
        assert pollers() == 0


@in_world
async def test_jobs_that_start_shortly_after_each_other_are_read_together(world: World) -> None:
    """Waits that begin before the first round share its readings, also the first round of a later poller."""
    world.server.define_job("Job", duration=5)
    for _ in range(2):
        jobs = [await world.client.jobs.start("Job")]
        await asyncio.sleep(0.1)
        jobs.append(await world.client.jobs.start("Job"))
        world.server.calls.clear()
        await world.client.jobs.wait_all(jobs)
        first, second, *_ = calls(world, SINGLE)
        assert {first.arguments["id"], second.arguments["id"]} == {job.id for job in jobs}
        assert first.at == second.at


@in_world
async def test_a_new_poller_while_the_old_one_ends(world: World) -> None:
    """A wait that begins while the old poller task is still ending gets a new poller task."""

    async def held(_: Call, proceed: Proceed) -> Answer:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(3)  # the old poller task waits for this
        return await proceed()  # pragma: no cover - never reached

    (id_,) = started(world, 5)
    world.server.intercept(SINGLE, held)
    first = asyncio.create_task(world.client.jobs.attach(id_).wait())
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.sleep(1)
    assert not first.done()
    assert (await world.client.jobs.attach(id_).wait()).state == S.SUCCEEDED
    await asyncio.wait([first])


@in_world
async def test_one_list_serves_all_waits(world: World) -> None:
    """Three due tasks cost one list: of all jobs as long as their job is not known, then of their job."""
    ids = started(world, 50, 50, 50)
    await world.client.jobs.wait_all(ids)
    assert world.server.counts[SINGLE] == 0
    names = [call.arguments["name"] for call in calls(world, LIST.name)]
    assert names == ["", *["Job"] * (len(names) - 1)]
    assert all(len(call.arguments["associate_ids"]) == 0 for call in calls(world, LIST.name))


@in_world
async def test_handles_of_started_jobs_know_their_name(world: World) -> None:
    """Started jobs of one name are read from its list; those of several names, from the list of all jobs."""
    world.server.define_job("A", duration=30)
    world.server.define_job("B", duration=30)
    jobs = [await world.client.jobs.start("A") for _ in range(3)]
    await world.client.jobs.wait_all(jobs)
    assert {call.arguments["name"] for call in calls(world, LIST.name)} == {"A"}
    jobs = [await world.client.jobs.start(name) for name in "AAB"]
    await world.client.jobs.wait_all(jobs)
    assert {call.arguments["name"] for call in calls(world, LIST.name)} == {"A", ""}


@pytest.mark.parametrize("version", [ServiceVersion.V75, ServiceVersion.V88])
@in_world
async def test_lists_show_system_tasks_in_every_version(world: World, version: ServiceVersion) -> None:
    """System tasks need no single readings, because the list of all associates contains them."""
    world.server.define_job("System", duration=10, is_system_task=True)
    ids = [(await world.client.jobs.start("System")).id for _ in range(3)]
    async with world.other_client(version=version) as client:
        outcomes = await client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    assert world.server.counts[SINGLE] == 0


@in_world
async def test_a_task_that_a_list_does_not_show_is_read_by_itself(world: World) -> None:
    """If three single readings find nothing, the task is gone. The other tasks are not read one by one."""
    ids = started(world, 30, 30, 30, 30)
    asyncio.get_running_loop().call_later(10, world.server.tasks.delete, ids[2])
    outcomes = await world.client.jobs.wait_all(ids)
    assert [type(outcome.error) for outcome in outcomes] == [type(None), type(None), JobGone, type(None)]
    assert [call.arguments["id"] for call in calls(world, SINGLE)] == [ids[2]] * 3


@in_world
async def test_tasks_that_lists_hide_are_not_gone(world: World) -> None:
    """If a server hides tasks from lists but knows them, they are read one by one from then on."""
    ids = started(world, 30, 30, 30, 30)
    store = world.server.tasks
    find = store.find

    def find_others(**filters: Any) -> Iterator[BatchTaskInfo]:
        return (info for info in find(**filters) if info.id not in ids[:3])

    store.__class__ = type("Hiding", (type(store),), {"__slots__": (), "find": staticmethod(find_others)})
    outcomes = await world.client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    assert world.server.counts[LIST.name] == 1


@in_world
async def test_a_list_that_is_too_long_is_not_requested_again(world: World) -> None:
    """A list with too many other tasks is not read to its end, and not requested again for so few tasks."""
    for _ in range(MAX_LIST_RATIO * 3 + 1):
        world.server.tasks.add(BatchTaskInfo(name="Job", state=S.SUCCEEDED))
    ids = started(world, 20, 20, 20)
    outcomes = await world.client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    assert [call.arguments["name"] for call in calls(world, LIST.name)] == ["", "Job"]
    assert world.server.counts[SINGLE] > 20


@in_world
async def test_a_long_list_of_any_job_gives_way_to_that_of_one(world: World) -> None:
    """When the job of the tasks is known, the list of that job is short enough."""
    for _ in range(MAX_LIST_RATIO * 3 + 1):
        world.server.tasks.add(BatchTaskInfo(name="Old", state=S.SUCCEEDED))
    ids = started(world, 20, 20, 20)
    outcomes = await world.client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    names = [call.arguments["name"] for call in calls(world, LIST.name)]
    assert names == ["", *["Job"] * (len(names) - 1)]
    assert len(names) > 5
    assert world.server.counts[SINGLE] == 3


@in_world
async def test_a_list_also_updates_tasks_that_are_not_due(world: World) -> None:
    """A fourth task costs no reading of its own, because the list of three other tasks shows it."""
    ids = started(world, 200, 200, 200, 200)
    eager = Polling(ceiling=2)
    outcomes = await asyncio.gather(
        world.client.jobs.wait_all(ids[:3], polling=eager), world.client.jobs.attach(ids[3]).wait()
    )
    assert all(outcome.ok for outcome in outcomes[0])
    assert world.server.counts[SINGLE] == 0


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 30), (0.999, 28)])
@in_world
async def test_jitter_spreads_clients(
    world: World, drawn: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old jobs are read every 30 seconds, or up to a tenth sooner; all tasks of a client at the same time."""
    monkeypatch.setattr("random.random", lambda: drawn)
    ids = [world.server.tasks.add(BatchTaskInfo(name="Job", state=S.STARTED)) for _ in range(3)]
    await world.client.jobs.wait_all(ids, timeout=1001)
    times = [call.at for call in calls(world, LIST.name)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[-10:] == [seconds] * 10
    assert world.server.counts[SINGLE] == 0


@in_world
async def test_a_wait_that_has_failed_costs_no_more_readings(world: World) -> None:
    """A wait whose reading has failed for good is not read for, while its `on_progress` still runs."""
    (id_,) = started(world, 1e6)
    waiting = asyncio.create_task(
        world.client.jobs.attach(id_).wait(on_progress=lambda _: asyncio.sleep(1000), timeout=None)
    )
    await asyncio.sleep(5)
    world.server.intercept(SINGLE, answering(403), times=None)
    await asyncio.sleep(20)
    before = world.reads
    with pytest.raises(AccessDenied):
        await waiting
    assert world.now == 1000
    assert world.reads == before


@in_world
async def test_a_list_that_the_server_refuses_is_not_requested_again(world: World) -> None:
    """If a caller may read tasks but no lists, tasks are read one by one."""
    world.server.intercept(LIST, failing(ServerException("SuperOffice.SoSentryException", "no lists")), times=None)
    ids = started(world, 10, 10, 10)
    world.server.calls.clear()
    outcomes = await world.client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    assert sorted(call.arguments["name"] for call in calls(world, LIST.name)) == ["", "Job"]


@in_world
async def test_at_most_eight_tasks_are_read_one_by_one_at_a_time(world: World) -> None:
    """Where lists do not help, 20 due tasks are read eight at a time."""
    world.server.intercept(LIST, failing(ServerException("SuperOffice.SoSentryException", "no lists")), times=None)
    running: list[int] = []
    most = 0

    async def slow(call: Call, proceed: Proceed) -> Answer:
        nonlocal most
        running.append(call.arguments["id"])
        most = max(most, len(running))
        await asyncio.sleep(0.1)
        running.pop()
        return await proceed()

    world.server.intercept(SINGLE, slow, times=None)
    outcomes = await world.client.jobs.wait_all(started(world, *[10] * 20))
    assert all(outcome.ok for outcome in outcomes)
    assert most == 8


@in_world
async def test_a_failed_list_counts_for_each_task_that_was_due(world: World) -> None:
    """A list that fails counts as one failed reading of each task that was due."""
    world.server.intercept(LIST, lost_request, times=9)
    ids = started(world, 10, 10, 10)
    outcomes = await world.client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    world.server.intercept(LIST, answering(503), times=10)
    ids = started(world, 10, 10, 10)
    outcomes = await world.client.jobs.wait_all(ids)
    assert not any(outcome.ok for outcome in outcomes)
    assert world.server.counts[SINGLE] == 0


@in_world
async def test_a_shorter_retry_after_does_not_cut_a_longer_one(world: World) -> None:
    """Of two readings under way, the later answer asks for less time: the client stays quiet for the longer one."""
    ids = started(world, 1000, 1000)

    async def busy(call: Call, proceed: Proceed) -> Answer:
        if call.arguments["id"] == ids[0]:
            return await answering(503, {"Retry-After": "100"})(call, proceed)
        await asyncio.sleep(1)
        return await answering(503, {"Retry-After": "10"})(call, proceed)

    world.server.intercept(SINGLE, busy, times=2)
    await world.client.jobs.wait_all(ids, timeout=150)
    times = [call.at for call in calls(world, SINGLE)]
    assert times[:2] == [0, 0]
    assert times[2] >= 100


@in_world
async def test_one_reading_that_hangs_does_not_hold_up_the_others(world: World) -> None:
    """Other jobs are read as usual while one answer does not come."""
    ids = started(world, 1e6, 20)

    async def hang_for_the_first(call: Call, proceed: Proceed) -> Answer:
        return await (delayed(1e6)(call, proceed) if call.arguments["id"] == ids[0] else proceed())

    world.server.intercept(SINGLE, hang_for_the_first, times=None)
    hanging = asyncio.create_task(world.client.jobs.attach(ids[0]).wait(timeout=None))
    await world.client.jobs.attach(ids[1]).wait()
    assert world.now < 30
    hanging.cancel()
    await asyncio.wait([hanging])


@in_world
async def test_a_late_list_does_not_undo_a_newer_reading(world: World) -> None:
    """A list that began earlier but arrives later does not replace a newer reading."""
    one, two, three, new = started(world, 100, 100, 100, 100)
    jobs = world.client.jobs

    async def held(_: Call, proceed: Proceed) -> Answer:
        answer = await proceed()
        await asyncio.sleep(20)
        return answer

    seen: list[int] = []
    every_8 = Polling(floor=7, ceiling=7)  # the grid has lines each 2 seconds
    watching = asyncio.create_task(
        jobs.attach(new).wait(polling=every_8, on_progress=lambda info: seen.append(info.progress_percent or 0))
    )
    await asyncio.sleep(33)
    world.server.intercept(LIST, held)
    outcomes = await jobs.wait_all([one, two, three])
    assert all(outcome.ok for outcome in outcomes)
    await watching
    assert len(seen) > 10
    assert seen == sorted(seen)


@in_world
async def test_a_list_that_arrives_after_a_wait_has_ended(world: World) -> None:
    """If a list arrives after a wait has ended, the task of that wait is ignored."""
    ids = started(world, 10, 10, 10, 10)
    world.server.intercept(LIST, delayed(5))
    waits = [asyncio.create_task(world.client.jobs.attach(id_).wait()) for id_ in ids]
    await asyncio.sleep(3)
    waits[0].cancel()
    assert [(await wait).id for wait in waits[1:]] == ids[1:]
    assert waits[0].cancelled()


@in_world
async def test_a_new_wait_gets_a_recent_reading_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading of less than two seconds ago is returned at once; otherwise the task is read again."""
    monkeypatch.setattr("random.random", lambda: 0.5)
    (id_,) = started(world, 1000)
    first = asyncio.create_task(world.client.jobs.attach(id_).wait())
    await asyncio.sleep(601)
    moment, before = world.now, world.reads
    changes = world.client.jobs.attach(id_).watch()
    await anext(changes)
    assert (world.reads, moment < world.now <= moment + 2) == (before + 1, True)
    again = world.client.jobs.attach(id_).watch()
    moment = world.now
    await anext(again)
    assert (world.reads, world.now) == (before + 1, moment)
    await changes.aclose()
    await again.aclose()
    first.cancel()
    await asyncio.wait([first])


@in_world
async def test_closing_in_the_middle_of_many_readings(world: World) -> None:
    """Whenever the client is closed, all 500 waits raise ClientClosed and leave no asyncio task."""
    ids = started(world, *[1e6] * 20)
    world.server.intercept(None, delayed(0.7), times=None)
    for moment in (0.1, 0.8, 2.5, 31):
        client = world.other_client(grace=0)
        waits = [asyncio.create_task(client.jobs.attach(id_).wait()) for id_ in ids * 25]
        await asyncio.sleep(moment)
        await client.aclose()
        errors = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(error) for error in errors} == {ClientClosed}
        assert len(asyncio.all_tasks()) == 1


@in_world
async def test_a_defect_of_the_poller_ends_present_waits_and_no_later_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits that are under way raise the defect; the next wait gets a new poller task and works."""
    (id_,) = started(world, 50)

    def broken() -> float:
        raise ZeroDivisionError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("random.random", broken)
        ends = await asyncio.gather(*(world.client.jobs.attach(id_).wait() for _ in range(2)), return_exceptions=True)
    for end in ends:
        assert isinstance(end, ExceptionGroup)
        assert end.subgroup(ZeroDivisionError) is not None
    assert (await world.client.jobs.attach(id_).wait()).state == S.SUCCEEDED


@in_world
async def test_a_subscription_that_fails_to_begin_is_not_left_behind(world: World) -> None:
    """A subscription that cannot begin leaves nothing behind, and the next subscription works."""
    (id_,) = started(world, 50)
    poller = Poller(world.client.batch, JobEvents(None, world.client.version))
    with pytest.raises(AttributeError):
        async with poller.subscribe(id_, 2):  # type: ignore[arg-type]  # what goes wrong
            pytest.fail("it never begins")  # pragma: no cover - not reached
    assert len(asyncio.all_tasks()) == 1
    async with poller.subscribe(id_, Polling()) as subscription:
        assert (await subscription.next_change()).id == id_
