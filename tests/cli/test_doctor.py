"""`soapbatch doctor`: each failure, injected, is found by its check, and changes nothing on the server."""

import asyncio
import contextlib
import datetime as dt
import json
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Self

import attrs
import pytest
import trustme

from soapbatch import TenantUnavailable
from soapbatch.cli import checks, doctor
from soapbatch.cli.checks import (
    RecordingPool,
    Target,
    check_clock,
    check_tcp,
    check_tls,
    find_target,
    judge_certificate,
)
from soapbatch.cli.doctor import NAMES
from soapbatch.operations import OPERATIONS
from soapbatch.testing import Answer, Call, Interceptor, NetServer, Personality, answering, failing, lost_request
from soapbatch.testing.faults import ServerException
from soapbatch.testing.interceptors import Proceed
from tests.cli.conftest import ADA, World, lines

NOW = dt.datetime.now(dt.UTC)
Patch = pytest.MonkeyPatch
LIST = "GetBatchTaskInfosByAssociatesAndState"


def dated(seconds: float) -> Interceptor:
    """Return an interceptor whose answers say that it is so many seconds later than it is here."""

    async def intercept(_: Call, proceed: Proceed) -> Answer:
        date = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)
        answer = await proceed()
        return attrs.evolve(answer, headers={**answer.headers, "Date": date})

    return intercept


def only_before(version: int) -> Interceptor:
    """Return an interceptor that knows no version from this one on."""

    async def intercept(call: Call, proceed: Proceed) -> Answer:
        return await proceed() if call.version < version else Answer(404)

    return intercept


async def refuse_every_form(_: Any, __: Any, send: Any) -> None:
    """Answer every request with 415 (an ASGI app)."""
    await send({"type": "http.response.start", "status": 415, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def examined(world: World, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the doctor; return its exit status, and the checks by name."""
    done = world.run("doctor", "-o", "json", *words)
    found = json.loads(done.out)
    assert found["schema"] == 1
    assert [check["name"] for check in found["checks"]] == list(NAMES)
    return done.status, {check["name"]: check for check in found["checks"]}


def unusable(*_: object, **__: object) -> Any:
    """Stand for the resolver of names, which knows none."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def intercepted(operation: str | None, interceptor: Interceptor) -> Callable[[World, Patch], None]:
    """Return an injection: `interceptor` around all calls of `operation`."""
    return lambda world, _: world.server.intercept(operation, interceptor, times=None)


def set_on(**values: Any) -> Callable[[World, Patch], None]:
    """Return an injection: attributes of the server."""

    def inject(world: World, _: Patch) -> None:
        for name, value in values.items():
            setattr(world.server, name, value)

    return inject


def variable(name: str, value: str | None) -> Callable[[World, Patch], None]:
    """Return an injection: a variable of the environment; None: it is absent."""
    return lambda _, patch: patch.delenv(name) if value is None else patch.setenv(name, value)


SENTRY = failing(ServerException("SuperOffice.Exceptions.SoSentryException", "You may not", "no"))
SESSION = failing(ServerException("SuperOffice.Exceptions.SoSessionException", "Gone", "no"))


@pytest.mark.parametrize(
    ("inject", "words", "name", "status", "exit_status", "detail"),
    [
        pytest.param(variable("SOAPBATCH_URL", None), [], "settings", "fail", 2, "which server", id="no URL"),
        pytest.param(
            variable("SOAPBATCH_VERSION", "12"), [], "settings", "fail", 2, "no such version", id="no version"
        ),
        pytest.param(variable("HTTP_PROXY", "http://[::1"), [], "proxy", "fail", 6, "proxy", id="proxy"),
        pytest.param(
            lambda _, patch: patch.setattr(socket, "getaddrinfo", unusable),
            *(["--url", "http://crm.invalid"], "name", "fail", 6, "crm.invalid is not known"),
            id="name",
        ),
        pytest.param(variable("X", ""), ["--url", "http://127.0.0.1:1"], "tcp", "fail", 6, "127.0.0.1:1", id="port"),
        pytest.param(
            lambda world, patch: patch.setenv("SOAPBATCH_URL", world.url.replace("http:", "https:")),
            *([], "tls", "fail", 6, "no TLS"),
            id="no TLS",
        ),
        pytest.param(
            lambda world, _: setattr(world.switch, "app", NetServer(path_prefix="/Web")),
            *([], "address", "fail", 6, "no NetServer answers"),
            id="path",
        ),
        pytest.param(
            lambda world, patch: patch.setenv("SOAPBATCH_URL", f"{world.url}/Services88"),
            *([], "address", "fail", 6, "no NetServer answers"),
            id="no Remote",
        ),
        pytest.param(
            intercepted("GetSystemInfo", answering(502, {}, b"<h1>Bad gateway</h1>")),
            *([], "address", "fail", 6, "502"),
            id="gateway",
        ),
        pytest.param(
            intercepted("GetSystemInfo", lost_request),
            *([], "address", "fail", 6, "no answer"),
            id="no answer",
        ),
        pytest.param(
            set_on(personality=Personality.STRICT_SOAP11),
            *([], "bindings", "warn", 0, "soap11 answered"),
            id="SOAP 1.1 only",
        ),
        pytest.param(
            set_on(personality=Personality.STRICT_SOAP11),
            *(["--binding", "documented"], "bindings", "fail", 6, "not documented"),
            id="pinned wrong",
        ),
        pytest.param(intercepted(None, dated(-120)), [], "clock", "warn", 0, "ahead of", id="clock ahead"),
        pytest.param(intercepted(None, dated(3700)), [], "clock", "fail", 6, "behind", id="clock far behind"),
        pytest.param(intercepted(None, only_before(87)), [], "service version", "fail", 6, "85, 86 are", id="version"),
        pytest.param(
            variable("SOAPBATCH_VERSION", "86"),
            [],
            "service version",
            "warn",
            0,
            "so does Services88",
            id="old version",
        ),
        pytest.param(
            set_on(accepts_application_token=lambda _: False),
            *([], "application token", "fail", 5, "application token is not valid"),
            id="application token",
        ),
        pytest.param(variable("SOAPBATCH_PASSWORD", "wrong"), [], "login", "fail", 5, "'ada'", id="password"),
        pytest.param(variable("SOAPBATCH_USER", None), [], "login", "fail", 5, "who logs in", id="no user"),
        pytest.param(variable("XDG_STATE_HOME", "/dev/null"), [], "ticket", "warn", 0, "/dev/null", id="no folder"),
        pytest.param(
            lambda world, patch: patch.setenv("SOAPBATCH_TICKET", world.server.tickets.issue(ADA)),
            *([], "ticket", "warn", 0, "age is not known"),
            id="ticket from outside",
        ),
        pytest.param(intercepted(LIST, SENTRY), [], "right to list", "fail", 5, "You may not", id="right"),
        pytest.param(intercepted(LIST, SESSION), [], "right to list", "fail", 5, "Gone", id="session"),
        pytest.param(intercepted(LIST, answering(401)), [], "right to list", "fail", 5, "401", id="401"),
        pytest.param(
            lambda _, patch: patch.setattr(checks, "SLOW", 0.0), [], "round trips", "warn", 0, "5 calls", id="slow"
        ),
        pytest.param(
            lambda _, patch: patch.setattr(checks, "_NEEDED", frozenset({"none-such"})),
            *([], "installed", "fail", 2, "none-such is missing"),
            id="installation",
        ),
    ],
)
def test_each_failure(  # noqa: PLR0917 - the columns of the table
    world: World,
    monkeypatch: Patch,
    inject: Callable[[World, Patch], None],
    words: list[str],
    name: str,
    status: str,
    exit_status: int,
    detail: str,
) -> None:
    """The check that is about it says so, with advice; earlier ones do not fail; what cannot be checked is skipped."""
    inject(world, monkeypatch)
    got, found = examined(world, *words)
    assert (found[name]["status"], got) == (status, exit_status), found
    assert detail in found[name]["detail"]
    assert found[name]["advice"]
    assert [other for other, check in found.items() if check["status"] == "fail"] == (
        [name] if status == "fail" else []
    )
    for call in world.server.calls:
        assert OPERATIONS[call.operation].is_read_only or call.operation.startswith("Authenticate")


def test_all_is_well(world: World) -> None:
    """Nothing fails: exit status 0, a line each; the second time by the kept ticket."""
    world.start("EndlessBatchPlugin")
    world.server.intercept(None, dated(0), times=None)
    status, found = examined(world)
    assert (status, {check["status"] for check in found.values()}) == (0, {"ok"})
    assert found["service version"]["facts"]["answered"] == [75, 80, 81, 82, 83, 84, 85, 86, 87, 88]
    table = lines(world.run("doctor").out)
    assert len(table) == len(NAMES) + 1
    assert "ok login Ada Lovelace, by the kept ticket" in table
    assert world.server.tickets.attempts == 1
    by_line = [json.loads(line) for line in world.run("doctor", "-o", "jsonl").out.splitlines()]
    assert [check["name"] for check in by_line] == list(NAMES)


def test_advice_is_in_the_table(world: World) -> None:
    """A line of the table says what to do."""
    world.server.personality = Personality.STRICT_SOAP11
    assert "-> soapbatch config set binding soap11" in world.run("doctor").out
    pinned = world.run("doctor", "--binding", "soap11").out
    assert "soap11 answered; soap11 is pinned" in pinned


def test_the_address_that_answers(world: World) -> None:
    """Where the path is wrong, the advice names the URL that answers."""
    _, found = examined(world, "--url", f"{world.url}/Services88")
    assert f"soapbatch config set url {world.url}/Remote/Services88" in found["address"]["advice"]


def test_no_form_is_taken(world: World) -> None:
    """A server that refuses every form of envelope is found by the check of bindings."""
    world.switch.app = refuse_every_form
    status, found = examined(world)
    assert (status, found["bindings"]["status"], found["login"]["status"]) == (6, "fail", "skip")


def test_no_version_answers(world: World) -> None:
    """Without any version that answers twice there are no times to look at."""
    calls = 0

    async def at_first(_: Call, proceed: Proceed) -> Answer:
        nonlocal calls
        calls += 1
        return await proceed() if calls <= 3 else Answer(404)

    world.server.intercept("GetSystemInfo", at_first, times=None)
    status, found = examined(world)
    assert (status, found["service version"]["status"], found["round trips"]["status"]) == (6, "fail", "skip")


def test_an_application_token_that_is_set(world: World, monkeypatch: Patch) -> None:
    """It is said that it is set, and not what it is."""
    monkeypatch.setenv("SOAPBATCH_APP_TOKEN", "client secret")
    done = world.run("doctor")
    assert "set, and not refused" in done.out
    assert "client secret" not in done.out + done.err


def test_a_ticket_that_cannot_be_kept(world: World) -> None:
    """A file that cannot be written is said to be none."""
    world.run("login")
    file = next((world.home / "state").rglob("*.json"))
    file.unlink()
    file.mkdir()
    _, found = examined(world)
    assert (found["login"]["status"], found["ticket"]["status"]) == ("ok", "warn")
    assert str(file) in found["ticket"]["detail"]


@attrs.frozen
class State:
    """The state of a tenant, as the sign-in host says it."""

    is_running: bool
    state: str
    endpoint: str | None
    valid_until: dt.datetime | None = None


@pytest.mark.parametrize(
    ("state", "status", "detail"),
    [
        (State(is_running=True, state="Running", endpoint=""), "ok", "Running at "),
        (State(is_running=False, state="Offline", endpoint=None, valid_until=NOW), "fail", "Offline until "),
        (State(is_running=False, state="Deleted", endpoint=None), "fail", "the tenant is Deleted"),
        (TenantUnavailable("no answer"), "fail", "no answer"),
    ],
)
def test_a_tenant(world: World, monkeypatch: Patch, state: Any, status: str, detail: str) -> None:
    """The state of a tenant of Online is checked first; its endpoint is what the other checks are about."""

    async def tenant_state(_: object) -> Any:
        if isinstance(state, Exception):
            raise state
        return attrs.evolve(state, endpoint=world.url) if state.is_running else state

    monkeypatch.setattr(doctor, "tenant_state", tenant_state)
    monkeypatch.delenv("SOAPBATCH_URL")
    monkeypatch.setenv("SOAPBATCH_TENANT", "Cust12345")
    exit_status, found = examined(world)
    about = found["settings" if status == "ok" else "address"]
    assert (about["status"], detail in about["detail"], found["settings"]["status"]) == (status, True, "ok")
    if status == "fail":
        assert exit_status == 6
    else:
        assert (exit_status, found["application token"]["status"]) == (5, "fail")
        assert found["address"]["status"] == "ok"


def test_the_state_of_a_tenant(world: World, monkeypatch: Patch) -> None:
    """The state comes from the app at the environment, with the client secret."""

    class App:
        """Stands for OnlineApp."""

        def __init__(self, **options: Any) -> None:
            assert options["environment"] == "online"

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        def tenant(self, name: str) -> "App":
            assert name == "Cust12345"
            return self

        async def state(self) -> State:
            return State(is_running=False, state="Offline", endpoint=None)

    monkeypatch.setattr("soapbatch.online.OnlineApp", App)
    monkeypatch.delenv("SOAPBATCH_URL")
    monkeypatch.setenv("SOAPBATCH_APP_TOKEN", "client secret")
    monkeypatch.setenv("SOAPBATCH_TENANT", "Cust12345")
    assert "Offline" in examined(world)[1]["address"]["detail"]


def test_proxies(monkeypatch: Patch, home: Path) -> None:
    """The proxy in effect is named without its password, with the variable that names it; or why there is none."""
    assert home.is_dir()
    target, check = find_target("https://crm.example.com/SuperOffice")
    assert (target.first_hop, check.detail) == (("crm.example.com", 443), "no proxy: none is set")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example.com:3128")
    target, check = find_target("https://crm.example.com/SuperOffice")
    assert target.first_hop == ("proxy.example.com", 3128)
    assert check.detail == "http://proxy.example.com:3128, because HTTPS_PROXY is set"
    assert asyncio.run(check_tls(target, 1)).status == "skip"
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert (
        find_target("https://crm.example.com")[1].detail
        == "no proxy: NO_PROXY exempts crm.example.com from HTTPS_PROXY"
    )
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": "proxy.example.com"})
    assert "the proxy settings of this machine" in find_target("http://crm.example.com")[1].detail


@contextlib.asynccontextmanager
async def tls_server(authority: trustme.CA, name: str, **options: Any) -> AsyncGenerator[int]:
    """Listen on a port with a certificate, and close each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **options).configure_cert(context)

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def test_certificates(tmp_path: Path, monkeypatch: Patch) -> None:
    """A certificate is looked at as the client does: its issuer, its name and the days left."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with tls_server(authority, "localhost") as port:
        target = Target("", "https", "localhost", port)
        unknown = await check_tls(target, 5)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        known = await check_tls(target, 5)
        other = await check_tls(Target("", "https", "127.0.0.1", port), 5)
    assert (unknown.status, "certificate is not accepted" in unknown.detail) == ("fail", True)
    assert (known.status, known.facts["names"]) == ("ok", ["localhost"])
    assert "issued by trustme" in known.detail
    assert (other.status, "mismatch" in other.detail) == ("fail", True)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    async with tls_server(authority, "localhost") as port:
        assert (await check_tls(Target("", "https", "localhost", port), 5)).status == "fail"


def test_a_certificate_that_ends() -> None:
    """Some days before the end of a certificate the doctor warns; a certificate may name no issuer."""
    ends = NOW + dt.timedelta(days=10, hours=1)
    certificate = {"notAfter": ends.strftime("%b %d %H:%M:%S %Y GMT")}
    check = judge_certificate(certificate, "TLSv1.3", "crm.example.com", NOW)
    assert (check.status, check.advice) == ("warn", "have the certificate renewed")
    assert "an unnamed CA, 10 days left" in check.detail


def test_plain_http() -> None:
    """Plain http is a warning, except to this machine."""
    assert asyncio.run(check_tls(Target("", "http", "crm.example.com", 80), 1)).status == "warn"
    assert asyncio.run(check_tls(Target("", "http", "localhost", 80), 1)).status == "ok"


async def test_no_answer_to_a_connection(monkeypatch: Patch) -> None:
    """A connection that does not come about in time is said to have no answer."""

    async def never(*_: object, **__: object) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio, "open_connection", never)
    check = await check_tcp(Target("", "http", "10.0.0.1", 80), 0.01)
    assert "no answer within 0.01 s" in check.detail


def test_a_date_without_a_zone() -> None:
    """A date in the header that has no zone is UTC."""
    pool = RecordingPool()
    pool.date, pool.received_at = NOW.replace(tzinfo=None), NOW
    assert check_clock(pool).status == "ok"
