"""What hooks are told of jobs: starts, waits, readings, changes and ends, each once and in the waiter's context."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from soapbatch import BatchTaskState, Hooks, JobFailed, JobGone, Marker, Polling, StartOutcomeUnknown
from soapbatch.calls import CallEndEvent, CallEvent, JobEvent
from soapbatch.client import Client
from soapbatch.testing import lost_reply, lost_request
from tests.support.clients import collect
from tests.support.job_server import World, in_world

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="-")
QUICK = Polling(first=1, floor=1, ceiling=1)


class Watcher:
    """A hook that keeps events, and the context variable that it saw."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.events: list[JobEvent] = []
        self.seen: list[str] = []

    def on_job(self, event: JobEvent) -> None:
        """Keep an event."""
        self.events.append(event)
        self.seen.append(VARIABLE.get())

    @property
    def kinds(self) -> list[str]:
        """What was told."""
        return [event.kind for event in self.events]

    def take(self) -> list[str]:
        """Return what was told, and forget it."""
        kinds = self.kinds
        self.events.clear()
        return kinds


@contextlib.asynccontextmanager
async def watched(world: World, **options: Any) -> AsyncGenerator[tuple[Client, Watcher]]:
    """Return a client with a hook, and what the hook was told."""
    watcher = Watcher()
    async with world.other_client(hooks=Hooks(on_job=watcher.on_job, **options)) as client:
        yield client, watcher


@in_world
async def test_the_life_of_a_job(world: World) -> None:
    """Start, wait, readings, changes with their progress, and the end with the seconds that it took."""
    world.server.define_job("Export", duration=3)
    async with watched(world) as (client, watcher):
        job = await client.jobs.start("Export")
        assert watcher.events == [JobEvent(kind="started", version=client.version, id=job.id, name="Export")]
        await job.wait(polling=QUICK)
    kinds = watcher.kinds
    assert kinds[:2] == ["started", "watched"]
    assert kinds[-3:] == ["polled", "ended", "unwatched"]
    assert kinds.count("polled") == kinds.count("changed") + 1
    assert {event.id for event in watcher.events} == {job.id}
    assert {event.name for event in watcher.events} == {"Export"}
    changes = [event for event in watcher.events if event.kind == "changed"]
    states = [event.state for event in changes]
    assert list(dict.fromkeys(states)) == ["New", "Aquired", "Started"]
    percents = [event.percent or 0 for event in changes]
    assert percents == sorted(percents)
    (end,) = [event for event in watcher.events if event.kind == "ended"]
    assert (end.state, end.percent) == ("Succeeded", 100)
    assert end.seconds is not None
    assert 3 <= end.seconds <= 7
    assert all(event.seconds is None for event in watcher.events if event is not end)


@in_world
async def test_a_reading_without_a_change_is_no_change(world: World) -> None:
    """It is polled, and nothing else is told."""
    world.server.define_job("Export", duration=100, steps=((0, "busy"),))
    async with watched(world) as (client, watcher):
        job = await client.jobs.start("Export")
        with pytest.raises(TimeoutError):
            await job.wait(timeout=10, polling=QUICK)
    changes = [event.state for event in watcher.events if event.kind == "changed"]
    assert changes == ["New", "Aquired", "Started"]
    assert watcher.kinds.count("polled") > 5
    assert watcher.kinds[-1] == "unwatched"


@in_world
async def test_an_end_is_told_once(world: World) -> None:
    """Several waits share it, and a wait by a handle that has seen the end does not tell it again."""
    world.server.define_job("Export", duration=3)
    async with watched(world) as (client, watcher):
        job = await client.jobs.start("Export")
        await asyncio.gather(job.wait(), client.jobs.attach(job.id).wait(), collect(job.watch(), []))
        assert [watcher.kinds.count(kind) for kind in ("watched", "ended", "unwatched")] == [1, 1, 1]
        watcher.take()
        await job.wait()
        assert watcher.take() == ["watched", "polled", "unwatched"]
        await client.jobs.attach(job.id).wait()
        assert watcher.take() == ["watched", "polled", "ended", "unwatched"], "this handle did not know"


@in_world
async def test_how_jobs_end(world: World) -> None:
    """Failed, and gone: without a state."""
    world.server.define_job("Bad", duration=1, outcome=BatchTaskState.FAILED)
    world.server.define_job("Lost", duration=1000)
    async with watched(world) as (client, watcher):
        bad, lost = [await client.jobs.start(name) for name in ("Bad", "Lost")]
        with pytest.raises(JobFailed):
            await bad.wait()
        waiting = asyncio.ensure_future(lost.wait())
        await asyncio.sleep(5)
        world.server.tasks.delete(lost.id)
        with pytest.raises(JobGone):
            await waiting
    ends = [(event.id, event.name, event.state) for event in watcher.events if event.kind == "ended"]
    assert ends == [(bad.id, "Bad", "Failed"), (lost.id, "Lost", None)]


@in_world
async def test_a_list_is_one_reading(world: World) -> None:
    """A list for three tasks is polled once: with the name that filters it, and without an id."""
    world.server.define_job("Export", duration=2)
    world.server.define_job("Import", duration=2)
    async with watched(world) as (client, watcher):
        jobs = [await client.jobs.start("Export") for _ in range(3)]
        await client.jobs.wait_all(jobs)
        polls = {(event.id, event.name, event.tasks) for event in watcher.events if event.kind == "polled"}
        assert polls == {(None, "Export", 3)}
        watcher.take()
        mixed = [await client.jobs.start(name) for name in ("Export", "Import", "Import")]
        await client.jobs.wait_all(mixed)
        polls = {(event.id, event.name, event.tasks) for event in watcher.events if event.kind == "polled"}
        assert (None, None, 3) in polls
        assert watcher.kinds.count("ended") == 3


@in_world
async def test_a_start_is_told_where_a_task_was_made(world: World) -> None:
    """Also if its answer was lost; not if it attached to a running job, found an earlier start, or is not known."""
    world.server.define_job("Export", duration=1000)
    async with watched(world) as (client, watcher):
        world.server.intercept("StartBatchJob", lost_reply)
        await client.jobs.start("Export", marker=Marker.PARAMETER, settle=2)
        assert watcher.take() == ["started"]
        await client.jobs.start("Export", if_running="attach")
        assert watcher.take() == []
        await client.jobs.start("Export", key="k")
        assert watcher.take() == ["started"]
        await client.jobs.start("Export", key="k", maybe_sent=True)
        assert watcher.take() == []
        for interceptor, error in ((lost_reply, StartOutcomeUnknown), (lost_request, StartOutcomeUnknown)):
            world.server.intercept("StartBatchJob", interceptor)
            with pytest.raises(error):
                await client.jobs.start("Export")
        assert watcher.take() == []
        async with client.jobs.run("Export"):
            assert watcher.take() == ["started"]
        outcomes = await client.jobs.start_many(["Export", "Export"])
        assert len(outcomes) == 2
        assert watcher.take() == ["started", "started"]


@in_world
async def test_the_context_is_that_of_the_first_wait(world: World) -> None:
    """What a waiter has set is seen by the hook, whichever task reads."""
    world.server.define_job("Export", duration=3)

    async def wait(client: Client, id_: int, name: str) -> None:
        VARIABLE.set(name)
        await client.jobs.attach(id_).wait()

    async with watched(world) as (client, watcher):
        first, second = [await client.jobs.start("Export") for _ in range(2)]
        waits = [(first.id, "one"), (first.id, "two"), (second.id, "three")]
        await asyncio.gather(*(wait(client, id_, name) for id_, name in waits))
        seen = {(event.id, name) for event, name in zip(watcher.events, watcher.seen, strict=True)}
    assert seen == {(first.id, "-"), (second.id, "-"), (first.id, "one"), (second.id, "three")}


@in_world
async def test_a_closed_client_ends_its_waits(world: World) -> None:
    """Each task that was waited for is told of as no longer watched, once."""
    world.server.define_job("Export", duration=1000)
    async with watched(world) as (client, watcher):
        jobs = [await client.jobs.start("Export") for _ in range(2)]
        waiting = asyncio.ensure_future(client.jobs.wait_all(jobs))
        await asyncio.sleep(5)
        await client.aclose()
        await waiting
    assert [watcher.kinds.count(kind) for kind in ("watched", "unwatched")] == [2, 2]


@in_world
async def test_the_calls_of_waits_are_polls(world: World) -> None:
    """A scope of a call is told what the call is for: single readings and lists of waits are polls."""
    purposes: list[tuple[str, str]] = []

    class Scope:
        def __init__(self, event: CallEvent) -> None:
            purposes.append((event.operation, event.purpose))

        def ended(self, event: CallEndEvent) -> None:
            """Take no note."""

    world.server.define_job("Export", duration=2)
    hook = contextlib.nullcontext
    async with watched(world, around_call=lambda event: hook(Scope(event))) as (client, _):
        jobs = [await client.jobs.start("Export") for _ in range(4)]
        await jobs[3].info()
        await client.jobs.wait_all(jobs[:3])
        await jobs[3].wait()
    assert set(purposes) == {
        ("StartBatchJob", "call"),
        ("GetBatchTaskInfo", "call"),
        ("GetBatchTaskInfo", "poll"),
        ("GetBatchTaskInfosByNameAndAssociates", "poll"),
    }


@in_world
async def test_a_reading_that_fails_is_a_poll(world: World) -> None:
    """It is told of; the wait goes on."""
    world.server.define_job("Export", duration=3)
    async with watched(world) as (client, watcher):
        job = await client.jobs.start("Export")
        world.server.intercept("GetBatchTaskInfo", lost_request, times=2)
        await job.wait(polling=QUICK)
    assert watcher.kinds[:5] == ["started", "watched", "polled", "polled", "polled"]
