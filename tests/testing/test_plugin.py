"""The pytest plugin: its fixtures, its marker, its settings, and what it costs a project that does not use it."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from soapbatch.testing import Personality, fixtures, plugin
from soapbatch.testing.online_keys import verifies
from tests.support.online import app_key, signing_key

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of tests that has the plugin."""
    pytester.makeini(
        """
        [pytest]
        addopts = -p no:cacheprovider -p soapbatch.testing.plugin
        filterwarnings =
            error
            ignore:The configuration option "asyncio_default_fixture_loop_scope" is unset
        """
    )
    return pytester


def run(project: pytest.Pytester, tests: str, *arguments: str, **outcomes: int) -> pytest.RunResult:
    """Run tests in this process, and check how many passed, failed and so on."""
    project.makepyfile(tests)
    result = project.runpytest_inprocess(*arguments)
    result.assert_outcomes(**outcomes)
    return result


def test_loading_it_imports_nothing_heavy() -> None:
    """The plugin imports pytest and three small modules of the library."""
    script = """
import json, sys
import pytest
before = set(sys.modules)
import soapbatch.testing.plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - this interpreter
    modules = ["soapbatch", "soapbatch._lazy", "soapbatch.testing", "soapbatch.testing.plugin"]
    assert [name for name in json.loads(done.stdout) if name.startswith("soapbatch")] == modules
    assert len(json.loads(done.stdout)) <= len(modules) + 2


@pytest.mark.parametrize("module", ["_lazy.py", "testing/__init__.py", "testing/plugin.py", "__init__.py"])
def test_its_modules_can_be_run_again(module: str) -> None:
    """Pytest loads these modules before coverage is measured; here they are run once more, so that it sees them."""
    package = Path(plugin.__file__).parents[1]
    assert runpy.run_path(str(package / module))["__doc__"]


TESTS_OF_EVERY_KIND = """
import asyncio
import urllib.request
import pytest

def test_without_a_loop(netserver, netserver_url):
    with urllib.request.urlopen(netserver_url + "/Remote/Services88/Batch.svc?wsdl") as answer:
        assert b"StartBatchJob" in answer.read()
    assert netserver.requests == 1

def test_with_a_loop_of_its_own(netserver, netserver_client):
    async def main():
        async with netserver_client() as client:
            return await client.jobs.start("ExportArchiveBatchPlugin", description="nightly")
    job = asyncio.run(main())
    netserver.assert_called_once("StartBatchJob", name="ExportArchiveBatchPlugin", description="nightly")
    assert netserver.tasks.read(job.id).description == "nightly"

def test_several_loops(netserver_client):
    async def main():
        async with netserver_client() as client:
            return (await client.principal.get_system_info()).company_name
    assert [asyncio.run(main()) for _ in range(2)] == ["Example Company"] * 2

def test_the_url_alone(netserver_url):
    assert netserver_url.startswith("http://127.0.0.1:")

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_anyio(anyio_backend, netserver, netserver_client):
    async with netserver_client() as client:
        assert await client.batch.get_batch_task_info(42) is None
    async with netserver_client(ticket=netserver.tickets.issue()) as client:
        assert await client.batch.get_batch_task_info(42) is None
    assert netserver.tickets.logins == 1
"""


def test_the_fixtures_work_with_and_without_event_loops(project: pytest.Pytester) -> None:
    """Sync tests, `asyncio.run`, several loops one after the other, and anyio all reach the same kind of server."""
    run(project, TESTS_OF_EVERY_KIND, passed=5)


def test_the_fixtures_work_with_pytest_asyncio(project: pytest.Pytester) -> None:
    """A test of pytest-asyncio reaches the server."""
    pytest.importorskip("pytest_asyncio", reason="pytest-asyncio comes with the extra dev")
    tests = """
async def test_with_pytest_asyncio(netserver_client):
    async with netserver_client() as client:
        assert await client.batch.get_batch_task_info(42) is None
"""
    run(project, tests, "-o", "asyncio_mode=auto", passed=1)


def test_the_marker_configures_the_server(project: pytest.Pytester) -> None:
    """Options of the test replace those of its class and module; jobs add up."""
    run(
        project,
        """
import asyncio
import pytest
from soapbatch import Fault, OperationFailed, ServiceVersion
from soapbatch.testing import JobDefinition, Personality

pytestmark = pytest.mark.netserver(version=85, failures="fault", jobs={"A": {"duration": 1}})

def test_module(netserver, netserver_client):
    assert (netserver.version, netserver.failures) == (ServiceVersion.V85, "fault")
    assert netserver_client().version is ServiceVersion.V85
    assert netserver.tasks.jobs["A"].duration == 1

@pytest.mark.netserver(failures="header", personality="mono", jobs={"B": JobDefinition(duration=2)})
def test_own(netserver, netserver_client):
    assert (netserver.version, netserver.failures) == (ServiceVersion.V85, "header")
    assert netserver.personality is Personality.MONO
    assert (netserver.tasks.jobs["A"].duration, netserver.tasks.jobs["B"].duration) == (1, 2)

    async def main():
        async with netserver_client() as client:
            with pytest.raises(OperationFailed):
                await client.batch.stop_batch_job(42)
    asyncio.run(main())
""",
        passed=2,
    )


@pytest.mark.parametrize("personality", Personality)
def test_a_personality_goes_by_its_name(project: pytest.Pytester, personality: Personality) -> None:
    """Each of them, in any case; and a client of the fixture gets on with it."""
    tests = f"""
import asyncio
import pytest

@pytest.mark.netserver(personality="{personality.name.lower()}")
def test_it(netserver, netserver_client):
    assert netserver.personality.name == "{personality.name}"
    async def main():
        async with netserver_client() as client:
            return await client.batch.get_batch_task_info(1)
    assert asyncio.run(main()) is None
"""
    run(project, tests, passed=1)


def test_the_clock_may_run_fast(project: pytest.Pytester) -> None:
    """With `speed`, hours pass on the server in a moment."""
    tests = """
import time
import pytest

@pytest.mark.netserver(speed=1e6)
def test_it(netserver):
    begin = netserver._clock()
    time.sleep(0.01)
    assert netserver._clock() - begin >= 1e4
"""
    run(project, tests, passed=1)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (
            "nonsense=1",
            "*@pytest.mark.netserver takes no nonsense; it takes accepts_app*allow_unused, failures*",
        ),
        ("'fault'", "*@pytest.mark.netserver takes keyword arguments only*"),
        ("personality='WCF'", "*there is no personality WCF: there are LENIENT, STRICT_SOAP11*"),
        ("jobs={'A': {'seconds': 3}}", "*job A: there is no seconds; a job has cancellation_behaviour, duration*"),
        ("jobs={'A': {'outcome': 'Fine'}}", "*job A: 'Fine' is not a valid BatchTaskState*"),
    ],
)
def test_a_wrong_marker_is_an_error(project: pytest.Pytester, marker: str, words: str) -> None:
    """The error says what the marker takes."""
    tests = f"import pytest\n@pytest.mark.netserver({marker})\ndef test_it(netserver):\n    pass\n"
    run(project, tests, errors=1).stdout.fnmatch_lines([words])


def test_the_marker_takes_jobs_as_toml_has_them(project: pytest.Pytester) -> None:
    """States are texts, and output may be text."""
    run(
        project,
        """
import pytest
from soapbatch import BatchTaskState, BatchTaskCancellationBehaviour
JOB = dict(outcome="Failed", cancellation_behaviour="CannotCancel", steps=[[0, "begin"]], output="text")

@pytest.mark.netserver(jobs={"A": JOB})
def test_it(netserver):
    job = netserver.tasks.jobs["A"]
    assert job.outcome is BatchTaskState.FAILED
    assert job.cancellation_behaviour is BatchTaskCancellationBehaviour.CANNOT_CANCEL
    assert (job.steps, job.output) == ([(0, "begin")], b"text")
""",
        passed=1,
    )


TESTS_OF_UNUSED = """
import pytest
from soapbatch.testing import delayed, lost_reply

def test_unused(netserver):
    netserver.intercept("StartBatchJob", lost_reply)
    netserver.script("StopBatchJob", [None, delayed(2)])

@pytest.mark.netserver(allow_unused=True)
def test_allowed(netserver):
    netserver.intercept("StartBatchJob", lost_reply)

def test_optional(netserver):
    netserver.intercept("StartBatchJob", lost_reply, optional=True)

def test_that_fails_itself(netserver):
    netserver.intercept("StartBatchJob", lost_reply)
    assert False, "its own reason"
"""


def test_unused_interceptors_fail_the_test(project: pytest.Pytester) -> None:
    """The test's end names each interceptor that no call came to, unless the test has failed anyway."""
    result = run(project, TESTS_OF_UNUSED, passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*these interceptors: lost_reply for StartBatchJob; an undisturbed call for StopBatchJob (step 1 of 2); del*"]
    )


def test_the_clock_stands_still_until_it_is_advanced(project: pytest.Pytester) -> None:
    """`netserver_clock` is the clock of the server."""
    run(
        project,
        """
import asyncio

def test_it(netserver, netserver_client, netserver_clock):
    netserver.define_job("Export", duration=3600)
    async def main():
        async with netserver_client() as client:
            job = await client.jobs.start("Export")
            before = (await client.batch.get_batch_task_info(job.id)).state
            netserver_clock.advance(7200)
            return before, (await job.wait()).state
    assert asyncio.run(main()) == ("New", "Succeeded")

def test_without_it_time_passes(netserver, netserver_url):
    now = netserver._clock()
    while netserver._clock() == now:
        pass
""",
        passed=2,
    )


@pytest.fixture(scope="session")
def _signing() -> None:
    """Import all that signs and verifies: pytester would undo it after each test, and it can be imported only once."""
    token = signing_key().sign({})
    assert not verifies(app_key(), token.encode(), b"")


@pytest.fixture
def online_project(_signing: None, project: pytest.Pytester) -> pytest.Pytester:
    """A project as above, for tests of SuperOffice Online."""
    return project


TESTS_OF_ONLINE = """
import asyncio
import pytest
from soapbatch import JobFailed, Polling
from soapbatch.online import OnlineApp, SystemUser
from soapbatch.testing import ForwardingTransport

def test_a_client_is_signed_in(superoffice_online, superoffice_online_client):
    async def main():
        async with superoffice_online_client() as client:
            return await client.batch.get_batch_task_info(1)
    assert [asyncio.run(main()) for _ in range(2)] == [None, None]
    assert superoffice_online.counts["system_user"] == 2
    assert {visit.tenant for visit in superoffice_online.journal if visit.tenant} == {"Cust12345"}

JOBS = {"Export": {"duration": 60, "outcome": "Failed", "result": "no"}}
TENANTS = {"Cust1": {"host": "qa3.superoffice.com", "personality": "mono"}, "Cust2": {"jobs": {"Own": {}}}}

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.superoffice_online(jobs=JOBS, environment="stage", speed=1000)
@pytest.mark.superoffice_online(tenants=TENANTS)
async def test_many_tenants(anyio_backend, superoffice_online, superoffice_online_app):
    registered = superoffice_online.app("My App")
    async with superoffice_online_app() as app:
        for name in ("Cust1", "Cust2"):
            tenant = superoffice_online.tenant(name)
            credentials = SystemUser(superoffice_online.approve(registered, tenant))
            async with app.client(name, credentials) as client:
                job = await client.jobs.start("Export")
                with pytest.raises(JobFailed):
                    await job.wait(polling=Polling(first=0.05, floor=0.05))
            tenant.server.assert_called_once("StartBatchJob")
    hosts = {visit.host for visit in superoffice_online.journal}
    assert hosts == {"qaonline.superoffice.com", "qa3.superoffice.com", "qaonline2.superoffice.com"}
    servers = [superoffice_online.tenant(name).server for name in ("Cust1", "Cust2")]
    assert servers[0].personality.name == "MONO"
    assert ["Own" in server.tasks.jobs for server in servers] == [False, True]

@pytest.mark.superoffice_online(tenants="Cust1")
def test_a_service_of_its_own(superoffice_online, superoffice_online_url):
    async def main():
        registered, tenant = superoffice_online.app("My App"), superoffice_online.tenant("Cust1")
        transport = ForwardingTransport(superoffice_online_url)
        secrets = {"client_secret": registered.client_secret, "private_key": registered.private_key}
        async with OnlineApp(environment="sod", transport=transport, **secrets) as app:
            async with app.client("Cust1", SystemUser(registered.system_tokens["Cust1"])) as client:
                assert await client.batch.get_batch_task_info(1) is None
    asyncio.run(main())

def test_the_client_chooses(superoffice_online, superoffice_online_client):
    ticket = superoffice_online.issue_ticket(superoffice_online.add_tenant("Cust9"))
    async def main():
        async with superoffice_online_client("Cust9", credentials=ticket) as client:
            assert await client.batch.get_batch_task_info(1) is None
        assert superoffice_online.counts["system_user"] == 0
        async with superoffice_online_client("Cust9") as client:
            assert await client.batch.get_batch_task_info(1) is None
    asyncio.run(main())
    assert superoffice_online.counts["system_user"] == 1

def test_time_stands_still(superoffice_online, superoffice_online_client, superoffice_online_clock):
    superoffice_online.tenant("Cust12345").server.define_job("Export", duration=3600)
    async def main():
        async with superoffice_online_client() as client:
            job = await client.jobs.start("Export")
            superoffice_online_clock.advance(7200)
            state = (await job.wait(polling=Polling(first=0.05, floor=0.05))).state
        superoffice_online_clock.advance(86_400)
        async with superoffice_online_client() as client:
            await client.batch.get_batch_task_info(job.id)
        return state
    assert asyncio.run(main()) == "Succeeded"
"""


@pytest.mark.parametrize("scope", ["function", "session"])
def test_the_fixtures_of_online(online_project: pytest.Pytester, scope: str) -> None:
    """Clients are signed in to any tenant; each test begins with an Online as new, however long the server lives."""
    run(online_project, TESTS_OF_ONLINE, "-o", f"netserver_scope={scope}", passed=5)


TESTS_OF_UNUSED_ONLINE = """
import pytest
from soapbatch.testing import delayed, lost_reply

def test_unused(superoffice_online):
    superoffice_online.intercept("state", delayed(2))
    superoffice_online.tenant("Cust12345").server.intercept("StartBatchJob", lost_reply)

@pytest.mark.superoffice_online(allow_unused=True)
def test_allowed(superoffice_online):
    superoffice_online.intercept("state", delayed(2))

def test_optional(superoffice_online):
    superoffice_online.intercept("state", delayed(2), optional=True)

def test_that_fails_itself(superoffice_online):
    superoffice_online.intercept("state", delayed(2))
    assert False, "its own reason"
"""


def test_unused_interceptors_of_online_fail_the_test(online_project: pytest.Pytester) -> None:
    """Those of Online and those of its tenants, unless the test has failed anyway."""
    result = run(online_project, TESTS_OF_UNUSED_ONLINE, passed=3, failed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*no call came to these interceptors: delayed for state; lost_reply for StartBatchJob of Cust12345. Pass*"]
    )


def test_a_wrong_marker_of_online_is_an_error(online_project: pytest.Pytester) -> None:
    """The error says what the marker takes."""
    tests = "import pytest\n@pytest.mark.superoffice_online(users=1)\ndef test_it(superoffice_online):\n    pass\n"
    words = "*@pytest.mark.superoffice_online takes no users; it takes allow_unused, environment, jobs, speed, tenants*"
    run(online_project, tests, errors=1).stdout.fnmatch_lines([words])


@pytest.mark.parametrize(
    ("missing", "words"), [(["jwt"], "PyJWT"), (["jwt", "cryptography"], "cryptography and PyJWT")]
)
def test_without_the_extra_the_error_names_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, missing: list[str], words: str
) -> None:
    """The fixture says what to install."""
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    result = run(project, "def test_it(superoffice_online):\n    pass\n", errors=1)
    result.stdout.fnmatch_lines([f"*SuperOffice Online needs {words}: install soapbatch?testing,online?"])


TESTS_OF_A_SESSION = """
import pytest
URLS = []
ONLINE_URLS = []

@pytest.fixture(scope="session")
def online_service(superoffice_online_url):
    return superoffice_online_url + "/service"

@pytest.fixture(scope="session")
def service(netserver_url):
    return netserver_url + "/service"

@pytest.mark.netserver(failures="fault", jobs={"A": {}})
def test_first(service, netserver, netserver_url, netserver_clock):
    netserver.tickets.issue()
    netserver.tasks.add(__import__("soapbatch").BatchTaskInfo(name="A"))
    assert netserver._clock is netserver_clock
    URLS.append(netserver_url)

def test_second(service, netserver, netserver_url):
    assert netserver.failures == "header"
    assert "A" not in netserver.tasks.jobs
    assert netserver.tasks.read(1) is None
    assert netserver._clock() != 0.0
    assert URLS == [netserver_url]

@pytest.mark.superoffice_online(environment="stage")
def test_first_online(online_service, superoffice_online, superoffice_online_url):
    superoffice_online.add_tenant("Cust2")
    superoffice_online.skew(7)
    ONLINE_URLS.append(superoffice_online_url)

def test_second_online(online_service, superoffice_online, superoffice_online_url):
    assert [tenant.name for tenant in superoffice_online.tenants] == ["Cust12345"]
    assert superoffice_online.environment.name == "sod"
    assert superoffice_online.sign_in.registry.skew == 0
    assert ONLINE_URLS == [superoffice_online_url]
"""


def test_a_server_may_live_for_the_session(online_project: pytest.Pytester) -> None:
    """The URL stays, so that fixtures of the session can use it, and each test begins with a server as new."""
    run(online_project, TESTS_OF_A_SESSION, "-o", "netserver_scope=session", passed=4)


def test_the_network_is_blocked(project: pytest.Pytester) -> None:
    """A connection that leaves the machine is refused, and fails the test also where the error was hidden."""
    result = run(
        project,
        """
import socket
import pytest
pytestmark = pytest.mark.usefixtures("netserver_block_network")

def test_hidden():
    try:
        socket.create_connection(("203.0.113.5", 80), timeout=1)
    except Exception:
        pass

def test_loopback(netserver_client):
    import asyncio
    async def main():
        async with netserver_client() as client:
            await client.batch.get_batch_task_info(1)
    asyncio.run(main())
""",
        passed=2,
        errors=1,
    )
    result.stdout.fnmatch_lines(
        ["block_network() is in force, and test_hidden (*test_the_network_is_blocked.py:7)*to reach 203.0.113.5:80*"]
    )


TESTS_OF_RECORDINGS = """
import asyncio
import httpx
import pytest
from soapbatch import Client
from soapbatch.testing import NetServer

@pytest.mark.parametrize("case", ["a/b"])
def test_it(case, netserver_recording):
    server = NetServer(clock=lambda: 0.0)
    def real():
        return httpx.ASGITransport(server)
    transport = netserver_recording(make_transport=real)
    with pytest.raises(pytest.UsageError, match="pass folder="):
        netserver_recording()
    async def main():
        async with Client("http://localhost", ticket=server.tickets.issue(), transport=transport) as client:
            return await client.batch.get_batch_task_info(7)
    assert asyncio.run(main()) is None
    print("requests:", server.requests)
"""


def test_recording_follows_the_option(project: pytest.Pytester) -> None:
    """none: replay; once: record where there is nothing; all: record anew. The recording lies beside the test."""
    file = project.makepyfile(TESTS_OF_RECORDINGS)
    recorded = file.parent / "recordings" / file.stem / "test_it_a_b_"

    def requests(mode: str) -> str:
        result = project.runpytest_inprocess("-s", *([] if mode == "" else [f"--netserver-record={mode}"]))
        outcomes = result.parseoutcomes()
        return next((line for line in result.outlines if "requests:" in line), str(outcomes)).rpartition("requests: ")[
            2
        ]

    assert "failed" in requests("")
    assert requests("once").startswith("1")
    assert [path.name for path in recorded.iterdir()] == ["0001-GetBatchTaskInfo.http"]
    assert requests("once").startswith("0")
    assert requests("none").startswith("0")
    assert requests("all").startswith("1")


def test_the_default_transport_is_the_library_s_own(tmp_path: Path) -> None:
    """Without `make_transport`, requests go through a `ConnectionPool`."""
    recorder = fixtures.recording("all", tmp_path / "new")
    assert type(recorder._transport).__name__ == "ConnectionPool"  # type: ignore[attr-defined]


def test_the_marker_is_described(project: pytest.Pytester) -> None:
    """`pytest --markers` and `pytest --fixtures` tell of the plugin."""
    project.runpytest_inprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.netserver(jobs, failures,*"])
    fixtures_of_the_plugin = [
        "netserver",
        "netserver_url",
        "netserver_clock",
        "netserver_client",
        "netserver_recording",
        "superoffice_online",
        "superoffice_online_url",
        "superoffice_online_clock",
        "superoffice_online_client",
        "superoffice_online_app",
    ]
    project.runpytest_inprocess("--fixtures").stdout.fnmatch_lines_random(
        [f"{name} -- *" for name in (*fixtures_of_the_plugin, "netserver_block_network")]
    )
