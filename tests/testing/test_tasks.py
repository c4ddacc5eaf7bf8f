"""The embedded server's tasks: how their states follow the clock, and how they are found, changed and deleted."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from soapbatch import BatchTaskCancellationBehaviour, BatchTaskInfo, BatchTaskState, Binding, ServiceVersion, UsageError
from soapbatch.errors import Fault, OperationFailed
from soapbatch.model.batch import ALL_ASSOCIATES, ALL_USER_TASKS, SYSTEM_TASKS
from soapbatch.testing import JobDefinition, ManualClock, NetServer, User
from tests.support.raw_client import RawClient, raw_client

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NEW, ACQUIRED, STARTED = BatchTaskState.NEW, BatchTaskState.ACQUIRED, BatchTaskState.STARTED
SUCCEEDED, FAILED = BatchTaskState.SUCCEEDED, BatchTaskState.FAILED
TO_CLEAN_UP = BatchTaskState.SUCCEEDED_MANUAL_CLEANUP


class Scene:
    """A server, its clock, and a raw client."""

    def __init__(self, **settings: Any) -> None:
        """Begin at second 0, which is `EPOCH`."""
        self.clock = ManualClock()
        self.server = NetServer(clock=self.clock, epoch=EPOCH, **settings)
        self.call: RawClient = raw_client(self.server)

    async def start(self, name: str, **fields: Any) -> int:
        """Start a job and return the task's id."""
        started: int = await self.call("StartBatchJob", batch_task_info=BatchTaskInfo(name=name, **fields))
        return started

    async def at(self, seconds: float, task: int) -> BatchTaskInfo:
        """Advance the clock to `seconds`, and return the task as it is then."""
        self.clock.advance(seconds - self.clock())
        info = await self.call("GetBatchTaskInfo", id=task)
        assert isinstance(info, BatchTaskInfo)
        return info

    async def ids(self, operation: str, **arguments: object) -> list[int]:
        """Return the ids that a list operation finds."""
        return [info.id for info in await self.call(operation, **arguments)]

    async def fails(self, operation: str, **arguments: object) -> str:
        """Return the error type of an operation that fails."""
        with pytest.raises(OperationFailed) as caught:
            await self.call(operation, **arguments)
        return caught.value.error_type or ""


async def test_a_task_follows_its_plan() -> None:
    """A task is New, Aquired, Started and then ended, with the right dates, start count and progress."""
    scene = Scene()
    scene.server.define_job("Report", duration=10, result="done", file_name="report.txt")
    task = await scene.start("Report", description="mine", parameter_object={"a": "1", "b": None}, details_table=5)
    seen = [await scene.at(seconds, task) for seconds in (0, 1.9, 2, 2.4, 2.5, 7.5, 12.4, 12.5, 10_000)]
    assert [info.state for info in seen] == [
        *(NEW, NEW, ACQUIRED, ACQUIRED, STARTED, STARTED, STARTED, SUCCEEDED, SUCCEEDED)
    ]
    assert [info.progress_percent for info in seen] == [0, 0, 0, 0, 0, 50, 99, 100, 100]
    assert [info.start_count for info in seen] == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert [info.last_started for info in seen] == [None] * 4 + [EPOCH + timedelta(seconds=2.5)] * 5
    assert [info.result for info in seen] == [None] * 7 + ["done"] * 2
    assert [info.file_name for info in seen] == [None] * 7 + ["report.txt"] * 2
    last = seen[-1]
    assert (last.id, last.name, last.associate_id, last.created) == (task, "Report", 101, EPOCH)
    assert (last.description, last.parameter_object) == ("mine", {"a": "1", "b": None})
    assert (last.details_table, last.details_record) == (5, 0)
    assert (last.is_system_task, last.is_internal_task) == (False, False)
    assert last.cancellation_behaviour is BatchTaskCancellationBehaviour.CAN_CANCEL


async def test_ids_count_up() -> None:
    """Each start makes a new task, with the next id, even of the same job."""
    scene = Scene()
    assert [await scene.start("EndlessBatchPlugin") for _ in range(3)] == [1, 2, 3]


async def test_a_job_may_have_steps() -> None:
    """Each step is shown for an equal part of the duration; the text of the last step stays."""
    scene = Scene()
    scene.server.define_job("Steps", duration=10, steps=[(5, "Reading"), (70, "Writing")])
    task = await scene.start("Steps")
    seen = [await scene.at(seconds, task) for seconds in (2.5, 7.4, 7.5, 12.5)]
    shown = [(info.progress_percent, info.progress_description) for info in seen]
    assert shown == [(5, "Reading"), (5, "Reading"), (70, "Writing"), (100, "Writing")]


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED, TO_CLEAN_UP])
async def test_a_job_ends_as_it_is_defined(outcome: BatchTaskState) -> None:
    """A job ends in the terminal state of its definition; a failed job has no 100 percent and no file."""
    scene = Scene()
    scene.server.define_job("Job", duration=0, outcome=outcome, result="why", output=b"x", file_name="x.txt")
    task = await scene.start("Job")
    info = await scene.at(2.5, task)
    is_failed = outcome is FAILED
    assert (info.state, info.result, info.progress_percent) == (outcome, "why", 99 if is_failed else 100)
    assert info.file_name == (None if is_failed else "x.txt")
    assert await scene.call("GetOutputFromBatch", batch_task_id=task) == (None if is_failed else b"x")


async def test_a_restart_makes_the_start_count_grow() -> None:
    """A start that is broken off leads back to New, and the server then starts the task again."""
    scene = Scene()
    scene.server.define_job("Restarts", duration=10, restarts=[5, 1])
    task = await scene.start("Restarts")
    seen = [await scene.at(seconds, task) for seconds in (2.5, 7.5, 8, 8.5, 9.5, 10, 10.5, 15.5, 20.5)]
    assert [info.state for info in seen] == [
        *(STARTED, NEW, ACQUIRED, STARTED, NEW, ACQUIRED, STARTED, STARTED, SUCCEEDED)
    ]
    assert [info.start_count for info in seen] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [info.progress_percent for info in seen] == [0, 0, 0, 0, 0, 0, 0, 50, 100]


async def test_a_finished_task_may_vanish() -> None:
    """After `vanishes_after` the task is neither listed nor found, as if it had been deleted."""
    scene = Scene()
    scene.server.define_job("Vanishing", duration=10, vanishes_after=5)
    task = await scene.start("Vanishing")
    assert (await scene.at(17.4, task)).state is SUCCEEDED
    assert await scene.ids("GetAllBatchTaskInfosByName", task_name="") == [task]
    scene.clock.advance(0.1)
    assert await scene.ids("GetAllBatchTaskInfosByName", task_name="") == []
    assert await scene.call("GetBatchTaskInfo", id=task) is None
    assert await scene.fails("DeleteBatchTask", batch_task_id=task) == "SoEntityNotFoundException"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"outcome": STARTED}, id="a state that is not terminal"),
        pytest.param({"duration": -1}, id="a negative duration"),
        pytest.param({"restarts": [-1]}, id="a negative restart"),
        pytest.param({"restarts": [math.inf]}, id="a restart that never comes"),
        pytest.param({"steps": [(101, "")]}, id="more than 100 percent"),
        pytest.param({"steps": [(1, "x" * 255)]}, id="a long text"),
        pytest.param({"file_name": "x" * 261}, id="a long file name"),
    ],
)
def test_a_job_that_no_task_can_have_is_refused(fields: dict[str, Any]) -> None:
    """A definition is checked when it is made."""
    with pytest.raises(UsageError):
        NetServer().define_job("Job", **fields)


def test_a_definition_may_be_made_beforehand() -> None:
    """`define_job` takes a definition as it is."""
    definition = JobDefinition(duration=3)
    assert NetServer().define_job("Job", definition) is definition


# --- Lists ------------------------------------------------------------------------------------------------------


def scene_with_tasks() -> Scene:
    """Return a scene with tasks of the system (1, 2) and of users 7 (3, 4) and 8 (5)."""
    scene = Scene()
    for name, associate, is_system, state in (
        ("Index", 0, True, SUCCEEDED),
        ("Export", 0, True, NEW),
        ("Export", 7, False, NEW),
        ("Import", 7, False, FAILED),
        ("Export", 8, False, SUCCEEDED),
    ):
        info = BatchTaskInfo(name=name, associate_id=associate, is_system_task=is_system, state=state)
        scene.server.tasks.add(info)
    return scene


ALL = BatchTaskState.ALL
USERS, BY_USERS_AND_STATE = "GetBatchTaskInfosByAssociates", "GetBatchTaskInfosByAssociatesAndState"
BY_STATE, BY_NAME_AND_STATE = "GetBatchTaskInfosByState", "GetBatchTaskInfosByNameAndState"
BY_NAME_AND_USERS = "GetBatchTaskInfosByNameAndAssociates"
EVERY, EVERY_IN_STATE = "GetAllBatchTaskInfosByName", "GetAllBatchTaskInfosByNameAndState"
SYSTEM, SYSTEM_IN_STATE = "GetSystemBatchTaskInfosByName", "GetSystemBatchTaskInfosByNameAndState"


@pytest.mark.parametrize(
    ("operation", "arguments", "expected"),
    [
        (USERS, {"associate_ids": ALL_ASSOCIATES}, [1, 2, 3, 4, 5]),
        (USERS, {"associate_ids": SYSTEM_TASKS}, [1, 2]),
        (USERS, {"associate_ids": ALL_USER_TASKS}, [3, 4, 5]),
        (USERS, {"associate_ids": [7]}, [3, 4]),
        (USERS, {"associate_ids": [0, 8]}, [1, 2, 5]),
        (USERS, {"associate_ids": [99]}, []),
        (BY_STATE, {"state": ALL}, [3, 4, 5]),
        (BY_STATE, {"state": NEW}, [3]),
        (BY_STATE, {"state": STARTED}, []),
        (BY_NAME_AND_STATE, {"name": "Export", "state": ALL}, [3, 5]),
        (BY_NAME_AND_STATE, {"name": "", "state": SUCCEEDED}, [5]),
        (BY_NAME_AND_STATE, {"name": None, "state": SUCCEEDED}, [5]),
        (BY_NAME_AND_STATE, {"name": "  ", "state": ALL}, [3, 4, 5]),
        (BY_NAME_AND_USERS, {"name": "Export", "associate_ids": ALL_ASSOCIATES}, [2, 3, 5]),
        (BY_NAME_AND_USERS, {"name": "Export", "associate_ids": [7]}, [3]),
        (BY_USERS_AND_STATE, {"associate_ids": ALL_ASSOCIATES, "state": NEW}, [2, 3]),
        (BY_USERS_AND_STATE, {"associate_ids": SYSTEM_TASKS, "state": ALL}, [1, 2]),
        (EVERY, {"task_name": ""}, [1, 2, 3, 4, 5]),
        (EVERY, {"task_name": "Export"}, [2, 3, 5]),
        (EVERY_IN_STATE, {"task_name": "Export", "state": NEW}, [2, 3]),
        (EVERY_IN_STATE, {"task_name": "", "state": ALL}, [1, 2, 3, 4, 5]),
        (SYSTEM, {"task_name": ""}, [1, 2]),
        (SYSTEM, {"task_name": "Export"}, [2]),
        (SYSTEM_IN_STATE, {"task_name": "", "state": SUCCEEDED}, [1]),
        (SYSTEM_IN_STATE, {"task_name": "Import", "state": ALL}, []),
        (SYSTEM_IN_STATE, {"task_name": "", "state": None}, []),
    ],
)
async def test_lists_hold_the_tasks_that_match_their_filters(
    operation: str, arguments: dict[str, object], expected: list[int]
) -> None:
    """Every list operation is tested with every special value; an absent state is Unknown, which is .NET's default."""
    assert await scene_with_tasks().ids(operation, **arguments) == expected


async def test_lists_follow_the_clock() -> None:
    """A filter by state compares with the present state of a task."""
    scene = Scene()
    task = await scene.start("EndlessBatchPlugin")
    for seconds, state in ((0, NEW), (2, ACQUIRED), (2.5, STARTED)):
        await scene.at(seconds, task)
        assert await scene.ids(BY_STATE, state=state) == [task]


async def test_an_unknown_state_is_no_filter() -> None:
    """An unknown state is refused; the server does not list every task."""
    assert await scene_with_tasks().fails(BY_STATE, state="Paused") == "ArgumentException"


async def test_a_system_task_belongs_to_the_system() -> None:
    """A task of a job with `is_system_task` belongs to the system, whoever starts it."""
    scene = Scene()
    scene.server.define_job("Internal", is_internal_task=True)
    task = await scene.start("NightlySystemBatchPlugin")
    info = await scene.at(0, task)
    assert (info.is_system_task, info.associate_id) == (True, 0)
    assert (await scene.at(0, await scene.start("Internal"))).is_internal_task
    assert await scene.ids(SYSTEM, task_name="") == [task]


async def test_a_task_belongs_to_the_user_who_started_it() -> None:
    """The task's associate is the user of the ticket."""
    scene = Scene(users=[User(name="a", password="a", associate_id=7)])
    info = await scene.at(0, await scene.start("EndlessBatchPlugin", associate_id=99))
    assert info.associate_id == 7


async def test_added_tasks_keep_their_ids_and_lists_their_order() -> None:
    """Lists are ordered by id, and a new id is larger than every id that a task was added with."""
    scene = Scene()
    for id_ in (50, 10):
        scene.server.tasks.add(BatchTaskInfo(id=id_, name="x", state=NEW))
    assert scene.server.tasks.add(BatchTaskInfo(name="x")) == 51
    assert await scene.ids(EVERY, task_name="x") == [10, 50, 51]


# --- Start, update, stop, delete, output --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "info",
    [
        pytest.param(BatchTaskInfo(name="NoSuchJob"), id="unknown"),
        pytest.param(BatchTaskInfo(), id="no name"),
        pytest.param(None, id="no task"),
    ],
)
async def test_only_defined_jobs_start(info: BatchTaskInfo | None) -> None:
    """StartBatchJob refuses a name that is not the name of a job."""
    assert await Scene().fails("StartBatchJob", batch_task_info=info) == "ArgumentException"


async def test_update_saves_four_fields() -> None:
    """State, description, response and request are saved, even if they are nil; the other fields stay."""
    scene = Scene()
    task = await scene.start("EndlessBatchPlugin", description="first", request="q", context="c")
    changed = BatchTaskInfo(
        id=task,
        name="other",
        associate_id=9,
        context="d",
        progress_percent=50,
        start_count=9,
        state=FAILED,
        description="second",
        response="r",
        result="x",
        is_system_task=True,
    )
    answer = await scene.call("UpdateBatchTask", batch_task_info=changed)
    assert answer == await scene.at(0, task)
    assert (answer.state, answer.description, answer.response, answer.request) == (FAILED, "second", "r", None)
    assert (answer.name, answer.associate_id, answer.context) == ("EndlessBatchPlugin", 101, "c")
    assert (answer.progress_percent, answer.start_count, answer.is_system_task) == (0, 0, False)


async def test_an_update_may_queue_a_task_again() -> None:
    """The state New begins a new plan, and the start count goes on."""
    scene = Scene()
    scene.server.define_job("Job", duration=1)
    task = await scene.start("Job")
    assert (await scene.at(4, task)).state is SUCCEEDED
    await scene.call("UpdateBatchTask", batch_task_info=BatchTaskInfo(id=task, state=NEW))
    seen = [await scene.at(seconds, task) for seconds in (4, 6, 6.5, 7.5)]
    assert [info.state for info in seen] == [NEW, ACQUIRED, STARTED, SUCCEEDED]
    assert seen[-1].start_count == 2


@pytest.mark.parametrize("state", [None, STARTED])
async def test_an_update_without_a_new_state_keeps_the_plan(state: BatchTaskState | None) -> None:
    """The task follows its plan as before."""
    scene = Scene()
    scene.server.define_job("Job", duration=10)
    task = await scene.start("Job")
    await scene.at(5, task)
    await scene.call("UpdateBatchTask", batch_task_info=BatchTaskInfo(id=task, state=state, description="d"))
    assert [(await scene.at(seconds, task)).state for seconds in (5, 12.5)] == [STARTED, SUCCEEDED]


async def test_another_state_stays() -> None:
    """A state that is set, and is not New, replaces the plan."""
    scene = Scene()
    task = await scene.start("FailingBatchPlugin")
    await scene.call("UpdateBatchTask", batch_task_info=BatchTaskInfo(id=task, state=BatchTaskState.UNKNOWN))
    assert (await scene.at(10_000, task)).state is BatchTaskState.UNKNOWN


async def test_an_added_task_can_be_changed() -> None:
    """A task without a plan keeps every field that is not changed."""
    scene = Scene()
    added = BatchTaskInfo(name="x", state=STARTED, start_count=3, result="r", progress_percent=40)
    task, other = scene.server.tasks.add(added), scene.server.tasks.add(added)
    await scene.call("UpdateBatchTask", batch_task_info=BatchTaskInfo(id=task, state=FAILED))
    info = await scene.at(0, task)
    assert (info.state, info.start_count, info.result, info.progress_percent) == (FAILED, 3, "r", 40)
    assert await scene.call("StopBatchJob", id=other) is True
    info = await scene.at(0, other)
    assert (info.state, info.start_count, info.result) == (FAILED, 3, "Stopped on request")


@pytest.mark.parametrize("info", [None, BatchTaskInfo(description="no id"), BatchTaskInfo(id=999)])
async def test_an_update_needs_a_task(info: BatchTaskInfo | None) -> None:
    """An update without an id, or with an unknown id, fails."""
    assert await Scene().fails("UpdateBatchTask", batch_task_info=info) == "SoEntityNotFoundException"


@pytest.mark.parametrize("field", ["Description", "Request", "Response"])
@pytest.mark.parametrize("operation", ["StartBatchJob", "UpdateBatchTask"])
async def test_texts_are_bounded(operation: str, field: str) -> None:
    """The server refuses 255 characters for a field that has room for 254, as soapbatch's own builder does."""
    scene = Scene()
    task = await scene.start("EndlessBatchPlugin")
    attribute = field.lower()
    fields: dict[str, Any] = {"id": task, "name": "EndlessBatchPlugin", attribute: "x" * 254}
    short = await scene.call.post(operation, batch_task_info=BatchTaskInfo(**fields))
    assert b"true</Succeeded>" in short.content
    request = short.request.content.replace(b"x" * 254, b"x" * 255)
    long = await scene.call.send(short.request.url.path, request, dict(short.request.headers))
    assert b"false</Succeeded>" in long.content
    assert f"{field} is longer than 254 characters".encode() in long.content


async def test_stop() -> None:
    """True: the task is Failed, and its result says why. False: it was stopped before, or cannot be cancelled."""
    scene = Scene()
    warned = BatchTaskCancellationBehaviour.CANCEL_WITH_WARNING
    scene.server.define_job("Warned", duration=100, cancellation_behaviour=warned)
    running, queued = await scene.start("Warned"), await scene.start("EndlessBatchPlugin")
    firm = await scene.start("UpgradeDatabaseBatchPlugin")
    assert await scene.call("StopBatchJob", id=queued) is True
    assert (await scene.at(52.5, running)).cancellation_behaviour is warned
    assert await scene.call("StopBatchJob", id=running) is True
    assert await scene.call("StopBatchJob", id=running) is False
    assert await scene.call("StopBatchJob", id=firm) is False
    stopped = await scene.at(1000, running)
    assert (stopped.state, stopped.result, stopped.progress_percent) == (FAILED, "Stopped on request", 50)
    never = await scene.at(1000, queued)
    assert (never.state, never.result, never.start_count) == (FAILED, "Stopped on request", 0)
    assert (await scene.at(1000, firm)).state is SUCCEEDED


@pytest.mark.parametrize(
    ("operation", "argument"),
    [
        ("StopBatchJob", {"id": 999}),
        ("DeleteBatchTask", {"batch_task_id": 999}),
        ("DeleteBatchTasks", {"batch_task_ids": [999]}),
        ("GetOutputFromBatch", {"batch_task_id": 999}),
        ("CleanupBatchTask", {"batch_task_id": 999}),
        ("DeleteBatchTask", {"batch_task_id": None}),
    ],
)
async def test_unknown_ids_fail(operation: str, argument: dict[str, object]) -> None:
    """An unknown id fails with SoEntityNotFoundException, as on the recorded servers."""
    assert await Scene().fails(operation, **argument) == "SoEntityNotFoundException"


async def test_an_unknown_task_is_nil_or_an_exception() -> None:
    """`unknown_task` says what GetBatchTaskInfo does for an unknown id."""
    scene = Scene()
    assert await scene.call("GetBatchTaskInfo", id=999) is None
    scene.server.unknown_task = "exception"
    assert await scene.fails("GetBatchTaskInfo", id=999) == "SoEntityNotFoundException"


async def test_delete_is_all_or_nothing() -> None:
    """With one unknown id among many, no task is deleted; an id may be given twice."""
    scene = scene_with_tasks()
    await scene.fails("DeleteBatchTasks", batch_task_ids=[1, 999, 2])
    assert await scene.ids(EVERY, task_name="") == [1, 2, 3, 4, 5]
    await scene.call("DeleteBatchTasks", batch_task_ids=[1, 2, 2])
    await scene.call("DeleteBatchTask", batch_task_id=5)
    await scene.call("DeleteBatchTasks", batch_task_ids=[])
    assert await scene.ids(EVERY, task_name="") == [3, 4]


async def test_output_and_cleanup() -> None:
    """The output is nil until the task has succeeded; the cleanup deletes it, and the state becomes Succeeded."""
    scene = Scene()
    task = await scene.start("ExportArchiveBatchPlugin")
    assert await scene.call("GetOutputFromBatch", batch_task_id=task) is None
    assert (await scene.at(100, task)).state is TO_CLEAN_UP
    assert (await scene.call("GetOutputFromBatch", batch_task_id=task)).startswith(b"id;name")
    await scene.call("CleanupBatchTask", batch_task_id=task)
    assert await scene.call("GetOutputFromBatch", batch_task_id=task) is None
    assert (await scene.at(100, task)).state is SUCCEEDED
    await scene.call("CleanupBatchTask", batch_task_id=task)
    assert (await scene.at(100, task)).state is SUCCEEDED


@pytest.mark.parametrize("version", [ServiceVersion.V75, ServiceVersion.V87])
async def test_older_versions_get_no_newer_values(version: ServiceVersion) -> None:
    """Clients of an older version do not get the fields and states of Services88."""
    scene = Scene()
    task = await scene.start("ExportArchiveBatchPlugin")
    assert (await scene.at(100, task)).state is TO_CLEAN_UP
    old = raw_client(scene.server, version)
    (info,) = await old(USERS, associate_ids=ALL_ASSOCIATES)
    assert info == await old("GetBatchTaskInfo", id=task)
    assert (info.state, info.file_name, info.cancellation_behaviour) == (SUCCEEDED, None, None)


async def test_a_server_may_be_too_old_for_its_version() -> None:
    """Services88 has grown: an early server of that version has neither the later operations nor the later fields."""
    scene = Scene(missing={"GetAllBatchTaskInfosByName", "FileName", "CancellationBehaviour"})
    task = await scene.start("ExportArchiveBatchPlugin")
    info = await scene.at(100, task)
    assert (info.state, info.file_name, info.cancellation_behaviour) == (TO_CLEAN_UP, None, None)
    with pytest.raises(Fault) as caught:
        await scene.call(EVERY, task_name="")
    assert (caught.value.code, caught.value.applied) == ("ActionNotSupported", "no")
    scene.call.binding = Binding.DOCUMENTED
    with pytest.raises(Fault) as caught:
        await scene.call(EVERY, task_name="")
    assert (caught.value.code, caught.value.subcode, caught.value.applied) == ("Sender", "ActionNotSupported", "no")
    assert "does not know GetAllBatchTaskInfosByName" in str(caught.value)
