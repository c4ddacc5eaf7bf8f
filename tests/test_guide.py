"""The pages of the guide: every example runs, line for line, and every table says what the code says."""

import ast
import asyncio
import importlib
import inspect
import re
import shlex
import ssl
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

import soapbatch
from soapbatch import (
    BatchTaskState,
    Client,
    Retries,
    Secret,
    ServiceVersion,
    SoapBatchError,
    errors,
    online as online_wing,
)
from soapbatch.cli.command_line import make_parser
from soapbatch.cli.pages import summaries
from soapbatch.guide import errors as errors_page, first_hour, on_site, online, upgrading
from soapbatch.online.app import MAX_RATE
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.testing import NetServer, User, answering, lost_request, serve
from soapbatch.testing.online_sign_in import REASONS
from tests.support.clients import in_process, virtual
from tests.support.online import TENANT, service, wall_clock

ADDRESS = "https://crm.example.com/SuperOffice"


def blocks(page: object) -> Iterator[str]:
    """Yield the programs of a page: its indented blocks, without command lines."""
    text = inspect.getdoc(page) or ""
    for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}|\n {4}))+", f"{text}\n", re.MULTILINE):
        program = textwrap.dedent(block).strip("\n")
        if program and not program.startswith("$ "):
            yield program


async def run(program: str, names: dict[str, Any]) -> None:
    """Run a program with `await` at its top level, in a namespace that the programs of a page share."""
    waiting = eval(compile(program, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 - the project's own text
    if inspect.iscoroutine(waiting):
        await waiting


def names_of(*modules: object) -> dict[str, Any]:
    """Return the public names of modules, as a program has them that imports what it uses."""
    return {name: getattr(module, name) for module in modules for name in dir(module) if name[0] != "_"}


def here(server: httpx.ASGITransport) -> type[Client]:
    """Return a class of clients that end in an embedded server, unless they only show how to connect."""

    class Here(Client):
        def __init__(self, base_url: Any, **options: Any) -> None:
            if base_url.startswith("https:") and not options.keys() & {"verify", "proxy", "max_connections"}:
                options["transport"] = server
            super().__init__(base_url, **options)

    return Here


@pytest.mark.slow
async def test_the_first_hour(capsys: pytest.CaptureFixture[str]) -> None:
    """The programs show a job to its end, and why one failed, over a socket."""
    names: dict[str, Any] = {}
    for program in blocks(first_hour):
        await run(program, names)
    async with serve(NetServer()) as url:
        await asyncio.gather(names["main"](url), names["failing"](url))
    out = capsys.readouterr().out
    assert "SucceededManualCleanup 100 Compressing" in out
    assert "1;Ada" in out
    assert ": There is no such archive" in out
    assert all(names[main].__defaults__ == ("http://127.0.0.1:8080",) for main in ("main", "failing"))


@virtual
async def test_on_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The programs connect, or are refused, as the page says."""
    monkeypatch.chdir(tmp_path)
    trustme.CA().cert_pem.write_to_path("company-ca.pem")
    for name, value in {"URL": ADDRESS, "USER": "svc-batch", "PASSWORD": "demo"}.items():
        monkeypatch.setenv(f"SOAPBATCH_{name}", value)
    server = NetServer(users=[User(name="svc-batch", password="demo", associate_id=3)])
    names = names_of(soapbatch) | {"URL": ADDRESS, "PASSWORD": "demo", "ssl": ssl}
    names["Client"] = here(httpx.ASGITransport(server))
    for program in blocks(on_site):
        await run(program, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Example Company ")
    assert len({line.partition("'")[2] for line in lines[1:4]}) == 1, lines
    assert "password" in lines[5]
    assert lines[6] == str(ServiceVersion.V88)
    assert len(lines) == 7
    assert server.tickets.logins == 1
    assert (tmp_path / "ticket.json").exists()


@virtual
async def test_online(capsys: pytest.CaptureFixture[str]) -> None:
    """The programs start a job in each tenant, meet one in maintenance, and sign in a person."""
    kept: list[Secret] = []
    async with service() as world:
        world.online.sign_in.renews_refresh_tokens = True
        other = world.online.add_tenant("Cust54321")
        world.tenant.server.define_job("ExportArchiveBatchPlugin", duration=1)
        tokens = {TENANT: world.token, "Cust54321": world.online.approve(world.registered, other)}

        class Here(online_wing.OnlineApp):
            def __init__(self, **options: Any) -> None:
                transport = httpx.ASGITransport(world.online)
                super().__init__(**(options | {"environment": "sod"}), transport=transport, now=wall_clock)

        names = names_of(soapbatch, online_wing) | {
            "OnlineApp": Here,
            "CLIENT_SECRET": world.registered.client_secret,
            "PRIVATE_KEY": world.registered.private_key,
            "CLIENT_ID": world.registered.client_id,
            "REFRESH_TOKEN": world.online.issue_refresh_token(world.registered, world.tenant),
            "NEW_SECRET": world.online.add_client_secret(world.registered),
            "TOKENS": tokens,
            "save": kept.append,
        }
        sharing, maintenance, person, secret = blocks(online)
        await run(sharing, names)
        assert capsys.readouterr().out.splitlines() == [f"{TENANT} 1", "Cust54321 1"]
        async with Here(client_secret=world.registered.client_secret, private_key=world.registered.private_key) as app:
            names["app"] = app
            await run(person, names)
            assert capsys.readouterr().out == "None\n"
            assert len(kept) == 1
            await run(secret, names)
            assert app.client_secret == Secret(names["NEW_SECRET"])
            world.online.set_state(TENANT, "OfflineMaintenance")
            app.tenant(TENANT).forget()
            async with app.client(TENANT, online_wing.SystemUser(world.token)) as client:
                await run(maintenance, names | {"client": client})
    assert capsys.readouterr().out.startswith("OfflineMaintenance True ")
    assert f"at most {MAX_RATE:g} calls a second" in (online.__doc__ or "")
    assert {*re.findall(r"[\"](\w+)[\"]", (online.__doc__ or "").partition("sign-in is refused")[2])} <= {*REASONS}


def failing_job(server: NetServer) -> None:
    """Let the job of the page fail."""
    server.define_job("ExportArchiveBatchPlugin", duration=1, outcome=BatchTaskState.FAILED, result="Disk full")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (failing_job, "the job's owner: Disk full"),
        (
            lambda server: server.intercept("StartBatchJob", lost_request),
            "look before you start again: acme/nightly/2026-11-26",
        ),
        (lambda server: server.intercept("StartBatchJob", answering(403)), "AccessDenied StartBatchJob no False None"),
    ],
    ids=["failed", "unknown", "another"],
)
@virtual
async def test_errors(spoil: Callable[[NetServer], object], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each branch of the first program is taken; the second one shows what became of each job."""
    first, second = blocks(errors_page)
    server = NetServer(clock=asyncio.get_running_loop().time)
    spoil(server)
    async with in_process(server) as client:
        await run(first, names_of(soapbatch) | {"client": client})
        assert capsys.readouterr().out.strip() == said
        await run(second, {"client": client})
        assert capsys.readouterr().out.count("False task 471") == 2


def classes(base: type[SoapBatchError] = SoapBatchError) -> Iterator[type[SoapBatchError]]:
    """Yield the classes of the tree, in the order in which it is drawn."""
    yield base
    for each in base.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from classes(each)


def test_the_table_of_errors() -> None:
    """It has a row for each class below the base, in order, under the heading of its family, with what it says."""
    text = errors_page.__doc__ or ""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (.+) \|$", text, re.MULTILINE)
    expected = [(each.__name__, each.applied, "yes" if each.retryable else "no") for each in classes()]
    assert [row[:3] for row in rows] == expected[1:]
    assert all(advice for *_, advice in rows)
    families = re.findall(r"^\|---\|---\|---\|---\|\n\| `(\w+)`", text, re.MULTILINE)
    assert families == [each.__name__ for each in SoapBatchError.__subclasses__() if each.__module__ == errors.__name__]


@pytest.mark.parametrize(
    ("old", "new"), re.findall(r"^\| `([^`]+)` \| `([^`]+)`", upgrading.__doc__ or "", re.MULTILINE)
)
def test_what_to_write_instead(old: str, new: str) -> None:
    """What a program has fails, and what it should write works."""
    names: dict[str, Any] = {"NetServer": NetServer, "GET_BATCH_TASK_INFO": GET_BATCH_TASK_INFO}
    exec(new, names)  # noqa: S102 - the project's own text
    with pytest.raises((ImportError, AttributeError, TypeError)):
        exec(old, names)  # noqa: S102 - likewise


def test_upgrading_names_what_the_change_log_names() -> None:
    """Each `from soapbatch... import` of the change log stands on the page, too."""
    log = (Path(__file__).parents[1] / "CHANGELOG.md").read_text("utf-8").partition("### Changed")[2]
    wanted = re.findall(r"`from (soapbatch[\w.]+)\s+import ([^`]+)`", log.partition("### Fixed")[0])
    assert len(wanted) >= 4
    for module, imported in wanted:
        for name in re.findall(r"\w+", imported.replace("...", "")):
            assert re.search(rf"`from {re.escape(module)} import [^`]*\b{name}\b", upgrading.__doc__ or ""), name
    Client(ADDRESS, retries=Retries(attempts=1))


@pytest.mark.parametrize("page", summaries())
def test_a_page_fits(page: str) -> None:
    """Its lines fit on a screen, but for tables; its command lines are ones that the command takes."""
    text = inspect.getdoc(importlib.import_module(f"soapbatch.guide.{page}")) or ""
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120
    for line in re.findall(r"^ *\$ (?:\S+/)?soapbatch (.*)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        assert make_parser().parse_args(words).command == words[0]
