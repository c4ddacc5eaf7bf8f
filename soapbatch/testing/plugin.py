"""The pytest plugin: fixtures with an embedded NetServer. `python -m pydoc soapbatch.guide.testing` shows tests.

pytest finds the plugin by itself where soapbatch is installed. The plugin changes no test that asks for none of its
fixtures, and imports nothing before one does.

The fixtures, by name:

    netserver                  a NetServer on a loopback socket, in a thread of its own: for tests with and without an
                               event loop
    netserver_url              the base URL of `netserver`
    netserver_client           makes clients of `netserver`: `async with netserver_client() as client: ...`
    netserver_clock            the ManualClock of `netserver`: time stands still on the server until it is advanced
    netserver_recording        makes transports that record a real server, or replay what was recorded
    netserver_block_network    refuses every connection that leaves this machine, and fails the test that tried one

The fixtures for SuperOffice Online, which need `pip install "soapbatch[testing,online]"`:

    superoffice_online         an embedded Online on a loopback socket, in a thread of its own: an app, "My App", and a
                               tenant, "Cust12345", which has approved the app
    superoffice_online_url     the URL of its socket, which is all of its hosts, for a `ForwardingTransport`
    superoffice_online_client  makes clients of a tenant, signed in as the app's system user:
                               `async with superoffice_online_client("Cust12345") as client: ...`
    superoffice_online_app     makes the `OnlineApp`, for services with many tenants
    superoffice_online_clock   the ManualClock of Online and all its tenants

The marker configures `netserver`; markers of a class and a module are read first:

    @pytest.mark.netserver(jobs={"Export": {"duration": 1800}}, failures="fault", personality="MONO", version=85)

    jobs               what `NetServer.define_job` takes: a JobDefinition, or a mapping of its fields, by name
    speed              seconds of the server's clock in a real second, where no netserver_clock is asked for
    version            the newest service version of the server, which is also the version of `netserver_client`
    allow_unused       True: interceptors that no call came to do not fail the test
    and the arguments of NetServer: accepts_application_token, failures, missing, path_prefix, personality,
    ticket_refusals, unknown_task, users

Another marker configures `superoffice_online`:

    @pytest.mark.superoffice_online(tenants={"Cust1": {"host": "sod3.superoffice.com"}, "Cust2": {}}, jobs={...})

    tenants            a name, a list of names, or a mapping of names to what a tenant has: host, jobs of its own, and
                       the arguments of NetServer
    environment        "sod" (the default), "stage" or "online"
    and jobs (of all tenants), speed (of the tenants' clocks, not of the sign-in host's) and allow_unused, as above

The settings, for pytest.ini or pyproject.toml:

    netserver_scope    how long a server lives: "function" (the default), "class", "module", "package" or "session".
                       A server that lives longer than a test is reset before each test that asks for `netserver`.
                       It holds for `superoffice_online`, too

The options, for the command line:

    --netserver-record    none (the default): replay; once: record where there is no recording yet; all: record anew
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from soapbatch.client import Client
    from soapbatch.online import OnlineApp
    from soapbatch.testing import ManualClock, NetServer, Online
    from soapbatch.testing.fixtures import ServerThread
    from soapbatch.testing.online_fixtures import OnlineThread

# Imports stand inside the fixtures: pytest loads this module at every start.
# ruff: noqa: PLC0415


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the setting."""
    parser.addini("netserver_scope", "how long the server of the fixture netserver lives", default="function")
    parser.getgroup("netserver", "the embedded NetServer of soapbatch").addoption(
        "--netserver-record",
        choices=("none", "once", "all"),
        default="none",
        help="netserver_recording replays (none), records what is not recorded yet (once), or records anew (all)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers."""
    config.addinivalue_line(
        "markers",
        "netserver(jobs, failures, personality, version, ...): configure the fixture netserver; see"
        " `python -m pydoc soapbatch.testing.plugin`",
    )
    config.addinivalue_line(
        "markers", "superoffice_online(tenants, jobs, environment, ...): configure the fixture superoffice_online"
    )


def _scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest's signature
    return config.getini("netserver_scope")


def _for_a_test(
    fixture: str, request: pytest.FixtureRequest, thread: Any, read_markers: Callable[..., Any]
) -> Iterator[Any]:
    """Yield the server of a thread as the test wants it; fail the test at its end if an interceptor was not used.

    The fixture, its marker, and the fixture of its clock are called alike.
    """
    marks = [*request.node.iter_markers(fixture)]  # the innermost first
    options = read_markers((mark.args, mark.kwargs) for mark in reversed(marks))
    clock = f"{fixture}_clock"
    server = thread.begin(request.getfixturevalue(clock) if clock in request.fixturenames else None, options)
    failed_before = request.session.testsfailed
    yield server
    if request.session.testsfailed == failed_before and not options.allow_unused:
        server.assert_interceptors_used()


@pytest.fixture(scope=_scope)
def _netserver_thread() -> Iterator["ServerThread"]:
    from soapbatch.testing.fixtures import server_thread

    with server_thread() as thread:
        yield thread


@pytest.fixture
def netserver(request: pytest.FixtureRequest, _netserver_thread: "ServerThread") -> Iterator["NetServer"]:
    """A NetServer on a loopback socket, in a thread of its own; `netserver_url` is its base URL.

    The test fails at its end if no call came to one of its interceptors.
    """
    from soapbatch.testing.fixtures import marked_options

    yield from _for_a_test("netserver", request, _netserver_thread, marked_options)


@pytest.fixture(scope=_scope)
def netserver_url(request: pytest.FixtureRequest, _netserver_thread: "ServerThread") -> str:
    """The base URL of `netserver`, for example `http://127.0.0.1:49152`."""
    if request.scope == "function":
        request.getfixturevalue("netserver")  # which reads the marker; a server that lives longer must be asked for
    return _netserver_thread.url


@pytest.fixture
def netserver_clock() -> "ManualClock":
    """The clock of `netserver`: time stands still on the server until the test calls `netserver_clock.advance`."""
    from soapbatch.testing import ManualClock

    return ManualClock()


@pytest.fixture
def netserver_client(netserver: "NetServer", netserver_url: str) -> Callable[..., "Client"]:
    """A function that makes clients of `netserver`, which log in as the demo user.

        async with netserver_client() as client: ...

    Keyword arguments are those of `soapbatch.Client`, and replace what the fixture would pass. A client reads once
    before its first call that changes something, to find the binding; with `binding=` it does not.
    """
    from soapbatch.testing.fixtures import client_of

    def make(**options: Any) -> "Client":
        return client_of(netserver, netserver_url, **options)

    return make


@pytest.fixture
def netserver_recording(request: pytest.FixtureRequest) -> Callable[..., "httpx.AsyncBaseTransport"]:
    """A function that makes a transport that records or replays, as `--netserver-record` says.

        transport = netserver_recording()
        async with Client("https://crm.example.com/SuperOffice", ticket=..., transport=transport) as client: ...

    The function takes, by keyword:

    - `folder`: where the recording is; None: the folder `recordings/<module>/<test>` beside the test's file. Each
      transport needs one of its own.
    - `make_transport`: makes the transport that requests are recorded through; None: `ConnectionPool`.
    - `secrets`: texts that are masked in recordings, beside those that the library recognises.
    """
    from soapbatch.testing.fixtures import recording

    mode: Any = request.config.getoption("--netserver-record")
    beside = request.path.parent / "recordings" / request.path.stem / re.sub(r"[^\w.-]+", "_", request.node.name)
    used: set[Path] = set()

    def make(folder: Path | str | None = None, **options: Any) -> "httpx.AsyncBaseTransport":
        chosen = Path(folder or beside)
        if chosen in used:
            raise pytest.UsageError(f"{chosen} has the recording of another transport of this test: pass folder=")
        used.add(chosen)
        return recording(mode, chosen, **options)

    return make


@pytest.fixture
def netserver_block_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine; see `soapbatch.testing.block_network`.

    The test fails at its end if something tried to connect, also if the code under test hid the error.
    """
    from soapbatch.testing import block_network

    with block_network() as attempts:
        yield
    if attempts:
        pytest.fail("\n".join(str(attempt) for attempt in attempts), pytrace=False)


@pytest.fixture(scope=_scope)
def _superoffice_online_thread() -> Iterator["OnlineThread"]:
    from soapbatch.testing.online_fixtures import online_thread

    with online_thread() as thread:
        yield thread


@pytest.fixture
def superoffice_online(
    request: pytest.FixtureRequest, _superoffice_online_thread: "OnlineThread"
) -> Iterator["Online"]:
    """An embedded SuperOffice Online on a loopback socket, in a thread of its own, with an app and a tenant.

    The test fails at its end if no request came to one of its interceptors.
    """
    from soapbatch.testing.online_fixtures import marked_online

    yield from _for_a_test("superoffice_online", request, _superoffice_online_thread, marked_online)


@pytest.fixture(scope=_scope)
def superoffice_online_url(request: pytest.FixtureRequest, _superoffice_online_thread: "OnlineThread") -> str:
    """The URL of the socket of `superoffice_online`, which is all of its hosts, for a `ForwardingTransport`."""
    if request.scope == "function":
        request.getfixturevalue("superoffice_online")
    return _superoffice_online_thread.url


@pytest.fixture
def superoffice_online_clock() -> "ManualClock":
    """The clock of `superoffice_online`: time stands still there until the test advances it."""
    from soapbatch.testing import ManualClock

    return ManualClock()


@pytest.fixture
def superoffice_online_client(superoffice_online: "Online", superoffice_online_url: str) -> Callable[..., "Client"]:
    """A function that makes clients of a tenant of `superoffice_online`, which sign in as the app's system user.

        async with superoffice_online_client("Cust12345") as client: ...

    Without a name, the tenant is the first one. Keyword arguments are those of `soapbatch.Client.online`, and replace
    what the fixture would pass. There is no `max_rate` unless it is passed.
    """
    from soapbatch.testing.online_fixtures import online_client_of

    def make(tenant: str | None = None, **options: Any) -> "Client":
        return online_client_of(superoffice_online, superoffice_online_url, tenant, **options)

    return make


@pytest.fixture
def superoffice_online_app(superoffice_online: "Online", superoffice_online_url: str) -> Callable[..., "OnlineApp"]:
    """A function that makes the app that is registered with `superoffice_online`.

        async with superoffice_online_app() as app:
            async with app.client("Cust12345", SystemUser(token)) as client: ...

    Keyword arguments are those of `soapbatch.online.OnlineApp`, and replace what the fixture would pass. The token is
    what `superoffice_online.approve(registered_app, tenant)` returns.
    """
    from soapbatch.testing.online_fixtures import app_of

    def make(**options: Any) -> "OnlineApp":
        return app_of(superoffice_online, superoffice_online_url, **options)

    return make
