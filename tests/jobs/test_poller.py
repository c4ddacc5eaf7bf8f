"""One poller for many: when a list takes the place of single readings, and what shared waits cost."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from soapbatch import AccessDenied, BatchTaskInfo, BatchTaskState, ClientClosed, JobGone, ServiceVersion
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
    """Let the server start a job of each duration, and return their ids."""
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
    """Jobs of half a minute to a minute and a half, each by itself and all together, counted on the server."""
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
    """Ten who wait for one job, of whom each begins at another time, cost what one costs."""
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
async def test_no_job_is_read_faster_than_every_two_seconds(world: World) -> None:
    """Whoever joins whenever: between two rounds of a client lies a tick of the server."""
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
async def test_a_faster_grid_for_who_wants_it(world: World) -> None:
    """A floor below the server's tick is the caller's own choice, and his alone."""
    slow, fast = started(world, 10, 10)
    polling = Polling(floor=0.5, ceiling=0.5)
    await asyncio.gather(world.client.jobs.attach(slow).wait(), world.client.jobs.attach(fast).wait(polling=polling))
    by_id = [call.arguments["id"] for call in calls(world, SINGLE)]
    assert by_id.count(fast) >= 24
    assert by_id.count(slow) <= 8


@in_world
async def test_the_poller_lives_as_long_as_its_waits(world: World) -> None:
    """It begins with the first one, ends with the last one, and begins again."""

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
async def test_a_new_poller_while_the_old_one_ends(world: World) -> None:
    """A wait that begins while the last one's poller is still being ended gets one of its own."""

    async def held(_: Call, proceed: Proceed) -> Answer:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(3)  # the old poller has to wait for this
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
async def test_one_list_serves_everybody(world: World) -> None:
    """Three due readings are one list call: of any job as long as their name is not known, and then of that name."""
    ids = started(world, 50, 50, 50)
    await world.client.jobs.wait_all(ids)
    assert world.server.counts[SINGLE] == 0
    names = [call.arguments["name"] for call in calls(world, LIST.name)]
    assert names == ["", *["Job"] * (len(names) - 1)]
    assert all(len(call.arguments["associate_ids"]) == 0 for call in calls(world, LIST.name))


@in_world
async def test_handles_of_started_jobs_know_their_name(world: World) -> None:
    """Those are looked for in the list of that name only; of several names, in the list of any job."""
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
    """Waiting for tasks of the system costs no single reading: the list that is asked for covers them."""
    world.server.define_job("System", duration=10, is_system_task=True)
    ids = [(await world.client.jobs.start("System")).id for _ in range(3)]
    async with world.other_client(version=version) as client:
        outcomes = await client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    assert world.server.counts[SINGLE] == 0


@in_world
async def test_a_task_that_a_list_does_not_show_is_read_by_itself(world: World) -> None:
    """One that is really gone is JobGone then; the others are not read singly."""
    ids = started(world, 30, 30, 30, 30)
    asyncio.get_running_loop().call_later(10, world.server.tasks.delete, ids[2])
    outcomes = await world.client.jobs.wait_all(ids)
    assert [type(outcome.error) for outcome in outcomes] == [type(None), type(None), JobGone, type(None)]
    assert [call.arguments["id"] for call in calls(world, SINGLE)] == [ids[2]]


@in_world
async def test_tasks_that_lists_hide_are_not_gone(world: World) -> None:
    """A server that keeps tasks out of its lists but knows them: they are read by themselves from then on."""
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
async def test_a_list_that_is_too_long_is_left_alone(world: World) -> None:
    """With thousands of other tasks a list for three is left in the middle, and not asked for again for so few."""
    for _ in range(MAX_LIST_RATIO * 3 + 1):
        world.server.tasks.add(BatchTaskInfo(name="Job", state=S.SUCCEEDED))
    ids = started(world, 20, 20, 20)
    outcomes = await world.client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    assert [call.arguments["name"] for call in calls(world, LIST.name)] == ["", "Job"]
    assert world.server.counts[SINGLE] > 20


@in_world
async def test_a_long_list_of_any_job_gives_way_to_that_of_one(world: World) -> None:
    """Once it is known which job the tasks are of, its own list is short enough."""
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
async def test_a_list_refreshes_who_is_not_due_as_well(world: World) -> None:
    """Beside three that are read every two seconds, a fourth one costs nothing."""
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
    """Old jobs are read every 30 seconds or up to a tenth sooner, all tasks of a client at the same time."""
    monkeypatch.setattr("random.random", lambda: drawn)
    ids = [world.server.tasks.add(BatchTaskInfo(name="Job", state=S.STARTED)) for _ in range(3)]
    await world.client.jobs.wait_all(ids, timeout=1001)
    times = [call.at for call in calls(world, LIST.name)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[-10:] == [seconds] * 10
    assert world.server.counts[SINGLE] == 0


@in_world
async def test_a_wait_that_is_over_is_not_read_for(world: World) -> None:
    """Whose wait has failed, but is still at work on what it saw before, costs no more calls."""
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
async def test_a_list_that_the_server_refuses_is_not_asked_for_again(world: World) -> None:
    """Some may read single tasks but no lists: then that is what is done."""
    world.server.intercept(LIST, failing(ServerException("SuperOffice.SoSentryException", "no lists")), times=None)
    ids = started(world, 10, 10, 10)
    world.server.calls.clear()
    outcomes = await world.client.jobs.wait_all(ids)
    assert all(outcome.ok for outcome in outcomes)
    assert sorted(call.arguments["name"] for call in calls(world, LIST.name)) == ["", "Job"]


@in_world
async def test_trouble_with_a_list_counts_for_who_was_due(world: World) -> None:
    """A list that fails is one failure for each of them, and borne like any other."""
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
async def test_one_reading_that_hangs_does_not_hold_up_the_others(world: World) -> None:
    """While a server sits on one answer, other jobs are read as ever."""
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
    """Of two readings under way at once, the one that began later says how things are."""
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
async def test_a_task_that_nobody_waits_for_any_more(world: World) -> None:
    """Its part of a list that comes in afterwards is ignored."""
    ids = started(world, 10, 10, 10, 10)
    world.server.intercept(LIST, delayed(5))
    waits = [asyncio.create_task(world.client.jobs.attach(id_).wait()) for id_ in ids]
    await asyncio.sleep(3)
    waits[0].cancel()
    assert [(await wait).id for wait in waits[1:]] == ids[1:]
    assert waits[0].cancelled()


@in_world
async def test_who_joins_gets_a_fresh_reading_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read less than two seconds ago is shown at once; anything older is read again."""
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
    """500 waits, closed at any moment, all end in ClientClosed and leave nothing behind."""
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
async def test_a_defect_of_the_poller_reaches_who_waits_and_nobody_after_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits when it happens is told what it was; the next wait has a poller of its own, and works."""
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
async def test_a_watch_that_fails_to_begin_is_not_left_behind(world: World) -> None:
    """What goes wrong on the way into a watch leaves nothing that a later reading could trip over."""
    (id_,) = started(world, 50)
    poller = Poller(world.client.batch)
    with pytest.raises(AttributeError):
        async with poller.subscribe(id_, 2):  # type: ignore[arg-type]  # what goes wrong
            pytest.fail("it never begins")  # pragma: no cover - not reached
    assert len(asyncio.all_tasks()) == 1
    async with poller.subscribe(id_, Polling()) as subscription:
        assert (await subscription.next_change()).id == id_
