"""The methods of the three agents: each is its row's, and each works end to end in every binding."""

import codecs
import contextlib
import inspect
import io
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Unpack, cast, get_overloads, get_type_hints

import attrs
import pytest

from soapbatch import (
    ALL_ASSOCIATES,
    ALL_USER_TASKS,
    SYSTEM_TASKS,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ConnectionLost,
    EncodeError,
    NotInVersion,
    OperationFailed,
    ServiceVersion,
    UsageError,
)
from soapbatch.calls import CallOptions
from soapbatch.calls.agents import BatchAgent, BlobAgent, PrincipalAgent
from soapbatch.model import AuthenticateResponse, ReplyHeader, SoSystemInfoCarrier
from soapbatch.model.schema import Array, Dictionary, Enumeration
from soapbatch.model.secret import Secret
from soapbatch.model.services import BATCH, BLOB, SO_PRINCIPAL
from soapbatch.operations import (
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_ASSOCIATES,
    GET_BATCH_TASK_INFOS_BY_STATE,
    GET_OUTPUT_FROM_BATCH,
    OPERATIONS,
    START_BATCH_JOB,
    Operation,
)
from soapbatch.testing import DEMO_USER, ManualClock, NetServer
from tests.support.clients import BASE, Reply, Script, Step, answer, in_process, names, replying, scripted

AGENTS: dict[object, type[BatchAgent | PrincipalAgent | BlobAgent]] = {
    BATCH: BatchAgent,
    SO_PRINCIPAL: PrincipalAgent,
    BLOB: BlobAgent,
}
BEYOND_ROWS = {"stream", "stream_output", "save_output"}

# --- Signatures -------------------------------------------------------------------------------------------------

PYTHON_TYPES: dict[str, Any] = {
    "int": int,
    "boolean": bool,
    "string": str,
    "base64Binary": bytes,
    "ArrayOfint": Iterable[int],
    "BatchTaskState": BatchTaskState | str,
    "BatchTaskInfo": BatchTaskInfo,
    "ArrayOfBatchTaskInfo": list[BatchTaskInfo],
    "AuthenticateResponse": AuthenticateResponse,
    "SoSystemInfoCarrier": SoSystemInfoCarrier,
    "AuthenticationGenericData": Mapping[str, Secret | str | None],
}
SECRETS = {"password", "access_token"}


def method_of(row: Operation[Any]) -> Callable[..., Any]:
    """Return the method of a row."""
    method: Callable[..., Any] = getattr(AGENTS[row.agent], row.python_name)
    return method


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_a_signature_equals_its_row(row: Operation[Any]) -> None:
    """A method takes the row's parameters, by name, order and type, and the options; it returns the row's result."""
    parameters = list(inspect.signature(method_of(row)).parameters.values())
    hints = get_type_hints(method_of(row))
    assert [p.name for p in parameters] == ["self", *(p.attribute for p in row.parameters), "options"]
    assert {p.kind for p in parameters[:-1]} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    assert hints["options"] == Unpack[CallOptions]
    for parameter in row.parameters:
        expected = PYTHON_TYPES[parameter.type.name]
        if parameter.attribute in SECRETS:
            expected = Secret | str
        assert hints[parameter.attribute] == expected, parameter.name
    expected_result: Any = type(None)
    if row.result is not None:
        expected_result = PYTHON_TYPES[row.result.name]
        if row.nullable and not isinstance(row.result, Array):
            expected_result |= None
    assert hints["return"] == expected_result
    assert isinstance(row.result, Array | Dictionary | Enumeration) or inspect.iscoroutinefunction(method_of(row))


def test_every_operation_has_one_method_and_every_method_its_operation() -> None:
    """The public methods of the agents are the rows' and the streaming ones, each on the right agent."""
    for agent, cls in AGENTS.items():
        expected = {row.python_name for row in OPERATIONS.values() if row.agent is agent}
        public = {name for name, value in vars(cls).items() if callable(value) and not name.startswith("_")}
        assert public - BEYOND_ROWS == expected


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_a_docstring_says_since_when(row: Operation[Any]) -> None:
    """The docstring of an operation that came later says with which version; the others say nothing of it."""
    text = inspect.getdoc(method_of(row)) or ""
    assert (f"Since {row.since}." in text) == (row.since > ServiceVersion.V75)
    assert text.count("Since Services") == (row.since > ServiceVersion.V75)


@pytest.mark.parametrize("name", ["stream_output", "save_output"])
def test_the_docstrings_of_streaming_blobs_say_since_when(name: str) -> None:
    """The streaming methods of the blob agent say that they came with Services88."""
    assert "Since Services88." in (inspect.getdoc(getattr(BlobAgent, name)) or "")


# --- End to end -------------------------------------------------------------------------------------------------


@attrs.frozen
class World:
    """An embedded server with three tasks: one done that left an output, one running, one of the system."""

    server: NetServer
    done: int
    running: int
    system: int
    token: str

    @classmethod
    def new(cls) -> "World":
        """Make one."""
        clock = ManualClock()
        server = NetServer(clock=clock, users=[attrs.evolve(DEMO_USER, generic={"key": "plugin"})])
        server.tickets.implicit_user = DEMO_USER
        server.define_job("Export", duration=1, output=b"rows", file_name="rows.csv")
        server.define_job("Endless", duration=10_000)
        server.define_job("Nightly", duration=10_000, is_system_task=True)
        done, running, system = (
            server.tasks.start(BatchTaskInfo(name=name), DEMO_USER.associate_id)
            for name in ("Export", "Endless", "Nightly")
        )
        clock.advance(60)
        return cls(server, done, running, system, server.tickets.issue_access_token())


def ids(tasks: list[BatchTaskInfo]) -> list[int | None]:
    """Return the ids of tasks."""
    return [task.id for task in tasks]


Check = Callable[[Client, World], Awaitable[bool]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Enter a check into the table, under the name of the method that it uses."""
    CHECKS[function.__name__] = function
    return function


@check
async def get_batch_task_info(client: Client, world: World) -> bool:
    """One task, or None."""
    info = await client.batch.get_batch_task_info(world.running)
    return info is not None and info.name == "Endless" and await client.batch.get_batch_task_info(999) is None


@check
async def get_batch_task_infos_by_associates(client: Client, world: World) -> bool:
    """Users' tasks, the system's, or all."""
    batch = client.batch
    return (
        ids(await batch.get_batch_task_infos_by_associates([DEMO_USER.associate_id])) == [world.done, world.running]
        and ids(await batch.get_batch_task_infos_by_associates(SYSTEM_TASKS)) == [world.system]
        and len(await batch.get_batch_task_infos_by_associates(ALL_ASSOCIATES)) == 3
    )


@check
async def get_batch_task_infos_by_state(client: Client, world: World) -> bool:
    """Users' tasks in a state."""
    return ids(await client.batch.get_batch_task_infos_by_state(BatchTaskState.STARTED)) == [world.running]


@check
async def get_batch_task_infos_by_name_and_state(client: Client, world: World) -> bool:
    """Users' tasks of a name in a state."""
    found = await client.batch.get_batch_task_infos_by_name_and_state("Export", BatchTaskState.SUCCEEDED)
    return ids(found) == [world.done]


@check
async def get_batch_task_infos_by_name_and_associates(client: Client, world: World) -> bool:
    """Tasks of a name and an owner."""
    return ids(await client.batch.get_batch_task_infos_by_name_and_associates("Endless", ALL_USER_TASKS)) == [
        world.running
    ]


@check
async def get_batch_task_infos_by_associates_and_state(client: Client, world: World) -> bool:
    """Tasks of an owner in a state."""
    found = await client.batch.get_batch_task_infos_by_associates_and_state(SYSTEM_TASKS, BatchTaskState.STARTED)
    return ids(found) == [world.system]


@check
async def start_batch_job(client: Client, world: World) -> bool:
    """The new task's id; the server holds what was sent."""
    id_ = await client.batch.start_batch_job(BatchTaskInfo(name="Export", parameter_object={"a": "<1>"}))
    task = world.server.tasks.read(id_)
    return task is not None and task.parameter_object == {"a": "<1>"}


@check
async def stop_batch_job(client: Client, world: World) -> bool:
    """Whether it was stopped."""
    return await client.batch.stop_batch_job(world.running) and not await client.batch.stop_batch_job(world.done)


@check
async def update_batch_task(client: Client, world: World) -> bool:
    """The task as saved."""
    info = await client.batch.update_batch_task(BatchTaskInfo(id=world.running, description="new", name="other"))
    return info is not None and (info.description, info.name) == ("new", "Endless")


@check
async def delete_batch_tasks(client: Client, world: World) -> bool:
    """Nothing comes back; the tasks are gone."""
    await client.batch.delete_batch_tasks(iter([world.done, world.running]))
    return world.server.tasks.get(world.done) is world.server.tasks.get(world.running) is None


@check
async def delete_batch_task(client: Client, world: World) -> bool:
    """Nothing comes back; the task is gone."""
    await client.batch.delete_batch_task(world.done)
    return world.server.tasks.get(world.done) is None


@check
async def get_all_batch_task_infos_by_name(client: Client, world: World) -> bool:
    """Users' and the system's tasks of a name."""
    return ids(await client.batch.get_all_batch_task_infos_by_name("")) == [world.done, world.running, world.system]


@check
async def get_all_batch_task_infos_by_name_and_state(client: Client, world: World) -> bool:
    """Users' and the system's tasks of a name in a state."""
    found = await client.batch.get_all_batch_task_infos_by_name_and_state("", BatchTaskState.STARTED)
    return ids(found) == [world.running, world.system]


@check
async def get_system_batch_task_infos_by_name(client: Client, world: World) -> bool:
    """The system's tasks of a name."""
    return ids(await client.batch.get_system_batch_task_infos_by_name("Nightly")) == [world.system]


@check
async def get_system_batch_task_infos_by_name_and_state(client: Client, world: World) -> bool:
    """The system's tasks of a name in a state."""
    batch = client.batch
    return (
        ids(await batch.get_system_batch_task_infos_by_name_and_state("Nightly", BatchTaskState.ALL)) == [world.system]
        and await batch.get_system_batch_task_infos_by_name_and_state("", BatchTaskState.FAILED) == []
    )


def lets_in(response: AuthenticateResponse) -> bool:
    """Tell whether a login gave a ticket to the demo user."""
    ticket = response.credentials and response.credentials.ticket
    return bool(ticket) and response.response is not None and response.response.associate == DEMO_USER.name


@check
async def authenticate_username_password(client: Client, _: World) -> bool:
    """A ticket for a name and a password, plain or wrapped."""
    return lets_in(await client.principal.authenticate_username_password("demo", "demo")) and lets_in(
        await client.principal.authenticate_username_password("demo", Secret("demo"))
    )


@check
async def authenticate_implicit(client: Client, _: World) -> bool:
    """A ticket for whoever this is."""
    return lets_in(await client.principal.authenticate_implicit())


@check
async def authenticate_generic(client: Client, _: World) -> bool:
    """A ticket for pairs, plain or wrapped."""
    return lets_in(await client.principal.authenticate_generic({"key": "plugin"})) and lets_in(
        await client.principal.authenticate_generic({"key": Secret("plugin")})
    )


@check
async def authenticate_with_access_token(client: Client, world: World) -> bool:
    """A ticket for an access token, plain or wrapped."""
    return lets_in(await client.principal.authenticate_with_access_token(world.token)) and lets_in(
        await client.principal.authenticate_with_access_token(Secret(world.token))
    )


@check
async def get_system_info(client: Client, _: World) -> bool:
    """What the server is."""
    info = await client.principal.get_system_info()
    return info is not None and info.company_name == "Example Company"


@check
async def get_output_from_batch(client: Client, world: World) -> bool:
    """The output, or None."""
    output = await client.blob.get_output_from_batch(world.done)
    return output == b"rows" and await client.blob.get_output_from_batch(world.running) is None


@check
async def cleanup_batch_task(client: Client, world: World) -> bool:
    """The output is gone."""
    await client.blob.cleanup_batch_task(world.done)
    return world.server.tasks.output(world.done) is None


VERSIONS = (ServiceVersion.V75, ServiceVersion.V86, ServiceVersion.V88)
PAIRS = [(row, version) for row in OPERATIONS.values() for version in VERSIONS if version >= row.since]


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize(("row", "version"), PAIRS, ids=[f"{row.name}-{version:d}" for row, version in PAIRS])
async def test_a_method_works_end_to_end(row: Operation[Any], version: ServiceVersion, binding: Binding) -> None:
    """Each method does on the embedded server what it says, in that version and binding."""
    world = World.new()
    async with in_process(world.server, version=version, binding=binding) as client:
        assert await CHECKS[row.python_name](client, world)
    assert world.server.counts[row.name] >= 1


LATER = [(row, version) for row in OPERATIONS.values() for version in ServiceVersion if version < row.since]


@pytest.mark.parametrize(("row", "version"), LATER, ids=[f"{row.name}-{version:d}" for row, version in LATER])
async def test_what_the_version_lacks_is_not_sent(row: Operation[Any], version: ServiceVersion) -> None:
    """An operation that the version lacks raises NotInVersion; the transport is never called."""
    script = Script(AssertionError("a request was sent"))
    async with Client(BASE, ticket="7T:dA==", transport=script, version=version) as client:
        with pytest.raises(NotInVersion) as caught:
            await CHECKS[row.python_name](client, World.new())
    error = caught.value
    assert (error.operation, error.version, error.since, error.applied) == (row.name, version, row.since, "no")
    assert row.name in str(error)
    assert str(row.since) in str(error)
    assert str(version) in str(error)
    assert script.requests == []


async def test_a_value_that_cannot_be_written_is_not_sent() -> None:
    """EncodeError names the parameter's path, and the operation; the transport is never called."""
    client, script = scripted(AssertionError("a request was sent"))
    async with client:
        with pytest.raises(EncodeError) as caught:
            await client.batch.start_batch_job(BatchTaskInfo(name="a\0b"))
        with pytest.raises(UsageError, match=r"ALL_ASSOCIATES|every task"):
            await client.batch.get_batch_task_infos_by_associates([])
    assert caught.value.path == "batch_task_info.name"
    assert caught.value.operation == START_BATCH_JOB.name
    assert script.requests == []


# --- Options ----------------------------------------------------------------------------------------------------


async def test_the_header_blocks_of_a_success_can_be_had() -> None:
    """`on_header` is called once with the header blocks of a reply, also of a streamed one."""
    world = World.new()
    seen: list[ReplyHeader] = []
    async with in_process(world.server, binding=Binding.SOAP11) as client:
        await client.batch.get_batch_task_info(world.done, on_header=seen.append)
        stream = client.batch.stream(
            GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL, options={"on_header": seen.append}
        )
        assert len([task async for task in stream]) == 2
    assert [header.succeeded for header in seen] == [True, True]


async def test_the_header_blocks_of_a_failure_are_in_the_error() -> None:
    """`on_header` is not called for a failure: the error holds what the blocks said."""
    world = World.new()
    seen: list[ReplyHeader] = []
    async with in_process(world.server, binding=Binding.SOAP11) as client:
        with pytest.raises(OperationFailed) as caught:
            await client.batch.stop_batch_job(999, on_header=seen.append)
    assert caught.value.error_type == "SoEntityNotFoundException"
    assert (caught.value.operation, caught.value.version) == ("StopBatchJob", ServiceVersion.V88)
    assert seen == []


async def test_a_misspelt_option_is_refused() -> None:
    """An option that does not exist raises UsageError and names those that do; nothing is sent."""
    client, script = scripted(AssertionError("a request was sent"))
    async with client:
        with pytest.raises(UsageError, match="on_header, renew, timeout, not timout") as caught:
            await client.batch.get_batch_task_info(1, timout=3)  # type: ignore[call-arg]  # the mistake itself
    assert caught.value.operation == "GetBatchTaskInfo"
    assert script.requests == []


# --- Streams ----------------------------------------------------------------------------------------------------


async def test_a_stream_yields_what_the_method_returns() -> None:
    """`stream` takes the operation's arguments by name and yields the same tasks, one by one."""
    world = World.new()
    async with in_process(world.server) as client:
        listed = await client.batch.get_batch_task_infos_by_associates(ALL_ASSOCIATES)
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_ASSOCIATES, associate_ids=ALL_ASSOCIATES)
        assert [task async for task in stream] == listed


@pytest.mark.parametrize("operation", [START_BATCH_JOB, GET_BATCH_TASK_INFO, GET_OUTPUT_FROM_BATCH])
async def test_only_lists_are_streamed(operation: Operation[Any]) -> None:
    """Streaming an operation that returns no list is refused: its result would be lost."""
    client, script = scripted(AssertionError("a request was sent"))
    async with client:
        with pytest.raises(UsageError, match=operation.python_name):
            client.batch.stream(operation, id=1)  # type: ignore[call-overload]  # what is refused
    assert script.requests == []


async def test_a_name_is_no_operation_to_stream() -> None:
    """`stream` takes a row, which says what it yields."""
    client, _ = scripted(AssertionError("a request was sent"))
    async with client:
        with pytest.raises(UsageError, match=r"a row of soapbatch\.operations, for example GET_BATCH"):
            client.batch.stream("GetBatchTaskInfosByState", state="All")  # type: ignore[call-overload]  # what is refused


async def test_wrong_arguments_of_a_stream_are_refused() -> None:
    """A stream with an argument that the operation does not take raises UsageError at its first step."""
    client, script = scripted(AssertionError("a request was sent"))
    async with client:
        with pytest.raises(UsageError, match="colour is unknown"):
            await anext(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, colour="red"))  # type: ignore[call-overload]
    assert script.requests == []


def test_type_checkers_know_the_arguments_of_each_stream() -> None:
    """`stream` has an overload for each operation that returns a list, with the operation's own arguments."""
    rows = [row for row in OPERATIONS.values() if isinstance(row.result, Array)]
    signatures = [inspect.signature(overload).parameters for overload in get_overloads(BatchAgent.stream)]
    others = {"self", "operation", "options"}
    known = {signature["operation"].annotation: {*signature} - others for signature in signatures}
    assert len(rows) == 9
    for row in rows:
        assert known[type(row)] == {parameter.attribute for parameter in row.parameters}
    assert known.keys() == {type(row) for row in rows}


def large() -> Iterable[bytes]:
    """Yield an output of 700,000 bytes."""
    return (bytes([n]) * 70_000 for n in range(10))


async def pieces(stream: AsyncGenerator[bytes, None]) -> list[bytes]:
    """Return what a stream yields."""
    return [piece async for piece in stream]


async def test_an_output_is_streamed() -> None:
    """`stream_output` yields the output in many pieces; none where the task left none."""
    world = World.new()
    id_ = world.server.tasks.add(BatchTaskInfo(state=BatchTaskState.SUCCEEDED), output=large)
    async with in_process(world.server) as client:
        got = await pieces(client.blob.stream_output(id_))
        assert await pieces(client.blob.stream_output(world.running)) == []
    assert len(got) > 3
    assert b"".join(got) == b"".join(large())


@pytest.mark.parametrize("as_path", [str, Path])
async def test_an_output_is_saved_to_a_path(tmp_path: Path, as_path: Callable[[Path], str | Path]) -> None:
    """`save_output` replaces the file with the whole output, and returns its size."""
    world = World.new()
    id_ = world.server.tasks.add(BatchTaskInfo(state=BatchTaskState.SUCCEEDED), output=large)
    target = tmp_path / "output.bin"
    target.write_bytes(b"old")
    async with in_process(world.server) as client:
        assert await client.blob.save_output(id_, as_path(target)) == 700_000
    assert target.read_bytes() == b"".join(large())
    assert names(tmp_path) == ["output.bin"]


@pytest.mark.parametrize("before", [None, b"old"], ids=["no file", "a file"])
async def test_no_output_is_saved_nowhere(tmp_path: Path, before: bytes | None) -> None:
    """Where a task left nothing, `save_output` returns None, makes no file and leaves one that is there as it was."""
    target, file = tmp_path / "output.bin", io.BytesIO()
    if before is not None:
        target.write_bytes(before)
    client, _ = scripted(replying(GET_OUTPUT_FROM_BATCH, None))
    async with client:
        assert await client.blob.save_output(1, target) is None
        assert await client.blob.save_output(1, file) is None
        assert await client.blob.get_output_from_batch(1) is None
    assert (target.read_bytes() if names(tmp_path) else None) == before
    assert file.getvalue() == b""


async def test_an_empty_output_is_an_output(tmp_path: Path) -> None:
    """An output that is there but empty makes an empty file, of 0 bytes, and is one empty piece of a stream."""
    target = tmp_path / "output.bin"
    target.write_bytes(b"old")
    client, _ = scripted(replying(GET_OUTPUT_FROM_BATCH, b""))
    async with client:
        assert await client.blob.save_output(1, target) == 0
        assert await pieces(client.blob.stream_output(1)) == [b""]
        assert await client.blob.get_output_from_batch(1) == b""
    assert target.read_bytes() == b""


class Sipping(io.RawIOBase):
    """An unbuffered file that takes a thousand bytes at a time."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.taken = b""

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Take the beginning of `data`."""
        self.taken += bytes(data[:1000])
        return min(1000, len(data))


class Quiet:
    """A file whose `write` tells nothing."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.taken = b""

    def write(self, data: bytes) -> None:
        """Take `data`."""
        self.taken += data


async def test_a_file_that_tells_nothing_gets_everything_once() -> None:
    """A file whose `write` returns None has taken everything."""
    client, _ = scripted(replying(GET_OUTPUT_FROM_BATCH, b"abc"))
    file = Quiet()
    async with client:
        assert await client.blob.save_output(1, file) == 3  # type: ignore[arg-type]
    assert file.taken == b"abc"


class Full(Sipping):
    """An unbuffered file that takes nothing now."""

    def write(self, data: Any) -> None:  # type: ignore[override]
        """Take nothing."""


async def test_an_unbuffered_file_that_must_not_block() -> None:
    """A file that takes nothing is not written to for ever."""
    client, _ = scripted(replying(GET_OUTPUT_FROM_BATCH, b"abc"))
    async with client:
        with pytest.raises(BlockingIOError, match="open it for blocking writes"):
            await client.blob.save_output(1, Full())  # type: ignore[arg-type]


async def test_an_unbuffered_file_gets_everything() -> None:
    """A file that takes less than it is given at once is given the rest."""
    output, file = bytes(range(256)) * 100, Sipping()
    client, _ = scripted(replying(GET_OUTPUT_FROM_BATCH, output))
    async with client:
        assert await client.blob.save_output(1, file) == len(output)  # type: ignore[arg-type]  # typeshed: no BinaryIO
    assert file.taken == output


UTF_8 = codecs.lookup("utf-8")


class AsyncFile:
    """A file that is written to with `await`."""

    async def write(self, data: bytes) -> int:
        """Write nothing."""
        return len(data)


class BytesPath:
    """A path as bytes, which only the system's own functions take."""

    def __fspath__(self) -> bytes:
        """Return it."""
        return b"output.bin"


def closed() -> io.BytesIO:
    """Return a file that is closed already."""
    file = io.BytesIO()
    file.close()
    return file


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(io.StringIO, id="text in memory"),
        pytest.param(lambda: io.TextIOWrapper(io.BytesIO()), id="text"),
        pytest.param(
            lambda: codecs.StreamReaderWriter(io.BytesIO(), UTF_8.streamreader, UTF_8.streamwriter), id="text by codecs"
        ),
        pytest.param(lambda: tempfile.NamedTemporaryFile("w"), id="text in a wrapper"),  # noqa: SIM115 - closed below
        pytest.param(lambda: io.BufferedReader(io.BytesIO()), id="open for reading"),
        pytest.param(closed, id="closed"),
        pytest.param(AsyncFile, id="asynchronous"),
        pytest.param(lambda: b"output.bin", id="bytes"),
        pytest.param(BytesPath, id="a path as bytes"),
        pytest.param(lambda: 1, id="a descriptor"),
        pytest.param(lambda: None, id="none"),
    ],
)
async def test_a_target_that_takes_no_bytes_is_refused(make: Callable[[], Any]) -> None:
    """Anything but a path or an open binary file raises UsageError, which says what to pass; nothing is sent."""
    client, script = scripted(Step(AssertionError("a request was sent")))
    target = make()
    with contextlib.closing(target) if hasattr(target, "close") else contextlib.nullcontext():
        async with client:
            with pytest.raises(UsageError, match=rf"pathlib\.Path.*open\(path, 'wb'\).*{type(target).__name__}"):
                await client.blob.save_output(1, target)
    assert script.requests == []


class Sink:
    """The least that a binary file can be."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.data = b""

    def write(self, data: bytes) -> int:
        """Keep `data`."""
        self.data += data
        return len(data)


async def test_any_file_that_takes_bytes_will_do() -> None:
    """What has `write` and no more is a target; so is a temporary file, which is a wrapper of several kinds."""
    world, sink = World.new(), Sink()
    with tempfile.SpooledTemporaryFile() as spooled, tempfile.NamedTemporaryFile() as named:
        async with in_process(world.server) as client:
            for target in (sink, spooled, named):
                assert await client.blob.save_output(world.done, cast("BinaryIO", target)) == 4
        for file in (spooled, named):
            file.seek(0)
        assert sink.data == spooled.read() == named.read() == b"rows"


async def test_an_output_is_saved_to_a_file() -> None:
    """`save_output` writes to an open binary file and leaves it open."""
    world = World.new()
    file = io.BytesIO(b"head ")
    file.seek(0, os.SEEK_END)
    async with in_process(world.server) as client:
        assert await client.blob.save_output(world.done, file) == 4
    assert file.getvalue() == b"head rows"


BROKEN = Reply(body=[answer(GET_OUTPUT_FROM_BATCH, b"x" * 3000)[:-2500], ConnectionLost("it broke")])


async def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """An output that breaks off replaces nothing, and leaves nothing beside it."""
    target = tmp_path / "output.bin"
    target.write_bytes(b"old")
    client, _ = scripted(BROKEN)
    async with client:
        with pytest.raises(ConnectionLost):
            await client.blob.save_output(1, target)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["output.bin"]


async def test_a_path_that_cannot_be_replaced_leaves_no_file(tmp_path: Path) -> None:
    """Where the path is a directory, OSError says so, and nothing is left beside it."""
    (tmp_path / "output.bin").mkdir()
    world = World.new()
    async with in_process(world.server) as client:
        with pytest.raises(OSError, match="directory"):
            await client.blob.save_output(world.done, tmp_path / "output.bin")
    assert names(tmp_path) == ["output.bin"]


async def test_a_directory_that_does_not_exist_is_found_out_first(tmp_path: Path) -> None:
    """Where the file cannot be made, OSError says so before anything is sent."""
    client, script = scripted(Step(AssertionError("a request was sent")))
    async with client:
        with pytest.raises(FileNotFoundError):
            await client.blob.save_output(1, tmp_path / "none" / "output.bin")
    assert script.requests == []
