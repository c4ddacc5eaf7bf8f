"""The log records: the guide lists each of them as it is, and each comes with its level and its attributes."""

import ast
import asyncio
import contextlib
import json
import logging
import re
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path
from typing import Any

import attrs
import pytest

import soapbatch
from soapbatch import (
    BatchTaskInfo,
    BatchTaskState,
    ConnectFailed,
    FileTicketStore,
    Hooks,
    JobGone,
    Marker,
    SoapBatchError,
    Ticket,
    UsernamePassword,
)
from soapbatch.guide import logs
from soapbatch.online import RefreshToken
from soapbatch.operations import (
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES,
    START_BATCH_JOB,
    STOP_BATCH_JOB,
)
from soapbatch.system import FIELD_PREFIX, LOG, log_record
from soapbatch.testing import Call, NetServer, answering, delayed, lost_reply, lost_request, run_virtual
from soapbatch.testing.interceptors import Proceed
from soapbatch.testing.requests import Personality
from tests.support.clients import Reply, answer, in_process, replying, scripted
from tests.support.job_server import World, world
from tests.support.online import TENANT, service

PACKAGE = Path(soapbatch.__file__).parent
PAGE = logs.__doc__ or ""
PROSE, _, LISTING = PAGE.partition("All records\n")
BLOCKS: list[str] = re.findall(r"^ {4}.*\n(?:\n* {4}.*\n)*", PROSE, re.MULTILINE)
EXAMPLES = [textwrap.dedent(block) for block in BLOCKS]


@attrs.frozen
class Row:
    """A record as the guide lists it, or as the code writes it."""

    logger: str
    levels: frozenset[str]
    fields: frozenset[str]
    message: str


def listed() -> Iterator[Row]:
    """Yield the rows of the guide."""
    for section in re.split(r"^Logger ", LISTING, flags=re.MULTILINE)[1:]:
        logger = section[1:].partition("`")[0]
        entries = re.findall(r"^ {4}([A-Z].*\n(?: {9,}\S.*\n)*)((?: {8}\S.*\n)+)", section, re.MULTILINE)
        for head, message in entries:
            levels, fields = re.fullmatch(r"([A-Z]+(?: or [A-Z]+)?) +(.*)", " ".join(head.split())).groups()  # type: ignore[union-attr]
            yield Row(logger, frozenset(levels.split(" or ")), frozenset(fields.split(", ")), " ".join(message.split()))


def written() -> Iterator[Row]:
    """Yield the rows of the code: each call of `log_record`."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log_record":
                level, message = node.args
                assert isinstance(message, ast.Constant), f"{file}:{node.lineno}: the message is no literal"
                options = {keyword.arg: keyword.value for keyword in node.keywords}
                assert None not in options, f"{file}:{node.lineno}: ** hides the attributes"
                logger = ast.unparse(options.pop("logger", ast.Name("LOG")))
                options.pop("exc_info", None)
                levels = [level.body, level.orelse] if isinstance(level, ast.IfExp) else [level]
                names = {ast.unparse(one).removeprefix("logging.") for one in levels}
                loggers = {"LOG": "soapbatch", "WIRE": "soapbatch.wire"}
                yield Row(loggers[logger], frozenset(names), frozenset(map(str, options)), str(message.value))


TABLE = {row.message: row for row in listed()}


def test_the_guide_lists_every_record_as_the_code_writes_it() -> None:
    """Logger, levels, attributes and message, both ways; no two records have the same message."""
    code = [*written()]
    assert {row.message: row for row in code} == TABLE
    assert len(TABLE) == len(code)
    assert len(TABLE) == len([*listed()]) == len(re.findall(r"^ {4}[A-Z]", LISTING, re.MULTILINE))
    assert max(map(len, PAGE.splitlines())) <= 120


def test_a_message_names_attributes_of_its_record() -> None:
    """What stands in a message is an attribute, too."""
    for row in TABLE.values():
        assert {*re.findall(r"%\((\w+)\)", row.message)} <= row.fields
        assert row.message % dict.fromkeys(row.fields, 1)


def test_there_is_one_way_to_write_a_record() -> None:
    """No module calls the methods of a logger, but the one that has `log_record`."""
    writing = {"debug", "info", "warning", "error", "exception", "critical", "log", "getLogger"}
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in writing
        if ast.unparse(node.value) in {"LOG", "WIRE", "logging", "logger"}
    }
    assert found == {"system/log.py"}


def test_the_library_is_silent_where_nobody_configures_logging(capfd: pytest.CaptureFixture[str]) -> None:
    """The logger has a handler that does nothing, so that Python does not write warnings to standard error."""
    assert [type(handler) for handler in LOG.handlers] == [logging.NullHandler]
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        log_record(logging.WARNING, "task %(task)d", task=1)
    finally:
        root.handlers = before
    assert capfd.readouterr().err == ""


def test_a_record_has_its_facts_as_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """Plain values under prefixed names, whatever they are; the place is that of the caller."""
    with caplog.at_level(logging.INFO, "soapbatch"):
        log_record(logging.DEBUG, "not %(task)d", task=1)
        log_record(logging.INFO, "task %(task)d: %(name)s", task=1, name="x", args=None, message="y", module=2)
    (record,) = caplog.records
    assert record.getMessage() == "task 1: x"
    facts = {name: value for name, value in vars(record).items() if name.startswith(FIELD_PREFIX)}
    expected = {"task": 1, "name": "x", "args": None, "message": "y", "module": 2}
    assert facts == {f"{FIELD_PREFIX}{name}": value for name, value in expected.items()}
    assert record.funcName == "test_a_record_has_its_facts_as_attributes"


# --- Each record is provoked ----------------------------------------------------------------------------------------

KEY = "once"
LIST = GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
NAME = "ExportArchiveBatchPlugin"
Scenario = Callable[[World, Path], Awaitable[object]]
SCENARIOS: dict[str, tuple[Scenario, list[str]]] = {}


def provokes(*beginnings: str) -> Callable[[Scenario], Scenario]:
    """Return a decorator for a scenario that causes the records whose messages begin so."""

    def decorate(scenario: Scenario) -> Scenario:
        SCENARIOS[scenario.__name__] = (scenario, [*beginnings])
        return scenario

    return decorate


@provokes("%(operation)s %(version)s attempt", "%(exchange)s", "ticket %(gen", "%(operation)s attempt %(attempt)d")
async def a_repeated_read(_world: World, _: Path) -> None:
    """A read that works at the second attempt, with a ticket that the caller gave."""
    client, __ = scripted(ConnectFailed("refused"), replying(GET_BATCH_TASK_INFO))
    async with client:
        await client.batch.get_batch_task_info(1)


@provokes("%(url)s does not take", "ticket %(generation)d was", "the server refused ticket")
async def a_login_and_a_refused_ticket(_: World, __: Path) -> None:
    """At a server that takes SOAP 1.1 alone."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    async with in_process(server, credentials=UsernamePassword("demo", "demo")) as client:
        await client.batch.get_batch_task_info(1)
        server.tickets.revoke_all()
        await client.batch.get_batch_task_info(1)


@provokes("a hook failed")
async def a_hook_that_fails(_world: World, _: Path) -> None:
    """It is told of a request."""

    def fail(_: object) -> None:
        raise LookupError

    client, __ = scripted(replying(GET_BATCH_TASK_INFO), hooks=Hooks(on_response=fail))
    async with client:
        await client.batch.get_batch_task_info(1)


@provokes("the login failed")
async def a_login_that_fails(_: World, __: Path) -> None:
    """With a wrong password."""
    async with in_process(NetServer(), credentials=UsernamePassword("demo", "wrong")) as client:
        with pytest.raises(SoapBatchError):
            await client.batch.get_batch_task_info(1)


@provokes("the ticket store failed")
async def a_store_that_fails(_: World, __: Path) -> None:
    """At reading and at writing: the second time at DEBUG."""

    class Failing:
        """A store without a disk."""

        async def get(self) -> Ticket | None:
            """Fail."""
            raise OSError

        async def put(self, _: Ticket, /) -> None:
            """Fail."""
            raise OSError

    server = NetServer()
    async with in_process(server, credentials=UsernamePassword("demo", "demo"), ticket_store=Failing()) as client:
        await client.batch.get_batch_task_info(1)


@provokes("%(path)s holds no ticket", "%(path)s is no regular file")
async def files_that_are_no_stores(_: World, folder: Path) -> None:
    """One with nonsense, and a folder."""
    (folder / "nonsense").write_text("nonsense")
    (folder / "nonsense").chmod(0o600)
    assert await FileTicketStore(folder / "nonsense").get() is None
    (folder / "open").write_text("{}")
    (folder / "open").chmod(0o666)
    assert await FileTicketStore(folder / "open").get() is None


@provokes("task %(task)d: job %(job)s %(outcome)s", "task %(task)d: job %(job)s has ended")
async def a_job(world: World, _: Path) -> None:
    """From its start to its end."""
    await (await world.client.jobs.start(NAME)).wait()


@provokes("task %(task)d is gone")
async def a_job_that_vanishes(world: World, _: Path) -> None:
    """While somebody waits for it."""
    world.server.define_job("Long", duration=1e6)
    job = await world.client.jobs.start("Long")
    waiting = asyncio.create_task(job.wait())
    await asyncio.sleep(10)
    await world.client.batch.delete_batch_task(job.id)
    with pytest.raises(JobGone):
        await waiting


@provokes("job %(job)s: if the answer", "job %(job)s: its start failed", "job %(job)s was not started")
async def a_lost_start(world: World, _: Path) -> None:
    """The request is lost, and sent once more."""
    world.server.tasks.add(BatchTaskInfo(name="Other", state=BatchTaskState.SUCCEEDED))
    world.server.intercept(START_BATCH_JOB, lost_request)
    await world.client.jobs.start(NAME, marker=Marker.PARAMETER, resend=True)


@provokes("job %(job)s: first look", "tasks %(tasks)s carry", "task %(task)d, a second one")
async def two_tasks_with_one_key(world: World, _folder: Path) -> None:
    """An earlier attempt has started two."""
    for _ in range(2):
        await world.client.jobs.start(NAME, key=KEY)
    await world.client.jobs.start(NAME, key=KEY, maybe_sent=True)


@provokes("task %(task)d: whether another task")
async def lists_that_fail_after_the_start(world: World, _: Path) -> None:
    """It is not known whether another task carries the key."""
    world.server.tasks.add(BatchTaskInfo(name="Other", state=BatchTaskState.SUCCEEDED))

    async def start(_: Call, proceed: Proceed) -> Any:
        world.server.intercept(LIST, lost_request, times=None)
        return await proceed()

    world.server.intercept(START_BATCH_JOB, start)
    await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)


@provokes("task %(task)d: lists do not show")
async def lists_without_keys(world: World, _: Path) -> None:
    """A key is of no use there."""
    world.change_lists(lambda *_: [])
    await world.client.jobs.start(NAME, key=KEY, maybe_sent=True, settle=0)


@provokes("the start of job %(job)s %(outcome)s")
async def a_cancelled_start(world: World, _: Path) -> None:
    """A block is left while its start hangs."""

    async def hang(*_: object) -> Any:
        await asyncio.sleep(1e6)

    world.server.intercept(START_BATCH_JOB, hang)
    block = asyncio.create_task(contextlib.AsyncExitStack().enter_async_context(world.client.jobs.run(NAME)))
    await asyncio.sleep(1)
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block


@provokes("task %(task)d: the server did not stop it", "task %(task)d may still run")
async def jobs_that_are_not_stopped(world: World, _: Path) -> None:
    """By a server that does not stop it, and by one that does not answer."""
    world.server.define_job("Long", duration=1e6)
    world.server.intercept(STOP_BATCH_JOB, answering(200, {}, answer(STOP_BATCH_JOB, False)))  # noqa: FBT003 - the answer
    async with world.client.jobs.run("Long"):
        pass
    world.server.intercept(STOP_BATCH_JOB, lost_reply)
    with pytest.raises(KeyError):
        async with world.client.jobs.run("Long"):
            raise KeyError


@provokes("tenant %(tenant)s has moved", "%(method)s %(url)s: %(outcome)s")
async def a_tenant_that_moves(_: World, __: Path) -> None:
    """Between two calls."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.move(TENANT, "sod3.superoffice.com")
        await client.batch.get_batch_task_info(1)


@provokes("tenant %(tenant)s: its state cannot be had")
async def a_sign_in_host_that_fails(_: World, __: Path) -> None:
    """The last address is used on."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.intercept("state", answering(500), times=None)
        here.app.tenant(TENANT).forget()
        await client.batch.get_batch_task_info(1)


@provokes("tenant %(tenant)s: the JWT")
async def a_jwt_that_comes_late(_: World, __: Path) -> None:
    """It has ended before it can be checked."""
    async with service(timeout=1000) as here, here.client(timeout=None) as client:
        here.online.intercept("jwks", delayed(700))
        await client.batch.get_batch_task_info(1)


@provokes("the key set of the sign-in host")
async def a_key_set_that_cannot_be_had(_: World, __: Path) -> None:
    """After a day."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        await asyncio.sleep(25 * 3600)
        here.online.intercept("jwks", answering(500), times=None)
        here.online.expire_tickets()
        await client.batch.get_batch_task_info(1)


@provokes("tenant %(tenant)s: a new refresh token", "tenant %(tenant)s: on_change failed")
async def refresh_tokens_that_nobody_keeps(_: World, __: Path) -> None:
    """There is no function, and there is one that fails."""

    def fail(_: object) -> None:
        raise KeyError

    async with service() as here:
        here.online.sign_in.renews_refresh_tokens = True
        for on_change in (None, fail):
            token = here.online.issue_refresh_token(here.registered, here.tenant)
            refresh = RefreshToken(token, client_id=here.registered.client_id, on_change=on_change)
            async with here.client(refresh) as client:
                await client.batch.get_batch_task_info(1)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_record_comes_with_its_level_and_attributes(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every record of the scenario is as the guide lists it, and can be JSON; and the expected ones are there."""
    scenario, beginnings = SCENARIOS[name]

    async def play() -> None:
        async with world() as made:
            await scenario(made, tmp_path)

    with caplog.at_level(logging.DEBUG, "soapbatch"):
        run_virtual(play())
    records = [record for record in caplog.records if record.name.startswith("soapbatch")]
    for record in records:
        row = TABLE[str(record.msg)]
        facts = {key.removeprefix(FIELD_PREFIX): value for key, value in vars(record).items() if FIELD_PREFIX in key}
        assert (record.name, frozenset(facts)) == (row.logger, row.fields)
        assert record.levelname in row.levels
        assert record.getMessage()
        json.dumps(facts)
    messages = [str(record.msg) for record in records]
    assert [text for text in beginnings if not any(message.startswith(text) for message in messages)] == []


def test_every_record_is_provoked() -> None:
    """Each message of the table is one that a scenario expects."""
    expected = [text for _, beginnings in SCENARIOS.values() for text in beginnings]
    assert [message for message in TABLE if not message.startswith(tuple(expected))] == []


# --- The examples of the guide ------------------------------------------------------------------------------------


def test_the_page_has_the_examples_that_are_run_here() -> None:
    """Loggers, JSON, its output, an error and its output, and a hook."""
    assert [example.split("\n")[0][:20] for example in EXAMPLES] == [
        "soapbatch        INF",
        "import json",
        '{"level": "INFO", "m',
        "from soapbatch impor",
        "StopBatchJob Service",
        "from collections imp",
    ]


def matches(expected: str, output: str) -> bool:
    """Return whether an output is as shown: `...` stands for anything."""
    return OutputChecker().check_output(expected, output, ELLIPSIS)


async def run_example(example: str, names: dict[str, Any]) -> None:
    """Run the lines of an example as the body of a coroutine function."""
    exec(f"async def run():\n{textwrap.indent(example, '    ')}", names)  # noqa: S102 - the project's own text
    await names["run"]()


def test_the_example_of_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """It writes the lines that the page shows."""
    level, handlers = LOG.level, list(LOG.handlers)

    async def play() -> None:
        async with world() as made, made.other_client(credentials=UsernamePassword("demo", "demo")) as client:
            await run_example(EXAMPLES[1], {"client": client})

    try:
        run_virtual(play())
    finally:
        LOG.setLevel(level)
        LOG.handlers[:] = handlers
    written = capsys.readouterr().err
    assert matches(EXAMPLES[2], written), written
    assert [json.loads(line)["level"] for line in written.splitlines()] == ["INFO", "INFO"]


async def test_the_example_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints the exchange that the page shows, but for the times."""
    page = Reply(502, {"server": "nginx", "content-type": "text/html"}, [b"<h1>Bad Gateway</h1>"])
    client, _ = scripted(page)
    async with client:
        await run_example(EXAMPLES[3], {"client": client})
    printed = capsys.readouterr().out
    expected = re.sub(r"2026\S+ \+ [\d.]+ ms", "... ms", EXAMPLES[4])
    assert matches(expected, printed), printed


async def test_the_example_of_a_hook() -> None:
    """It keeps the latest exchanges."""
    names: dict[str, Any] = {"Hooks": Hooks}
    exec(EXAMPLES[5], names)  # noqa: S102 - the project's own text
    client, _ = scripted(replying(GET_BATCH_TASK_INFO), hooks=names["hooks"])
    async with client:
        for _ in range(25):
            await client.batch.get_batch_task_info(1)
    assert len(names["latest"]) == 20
