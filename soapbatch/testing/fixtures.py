"""What the fixtures of the pytest plugin do."""

import contextlib
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs
import httpx

from soapbatch.auth import UsernamePassword
from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.model import Secret, ServiceVersion
from soapbatch.testing.control import DrivenClock
from soapbatch.testing.job_definitions import JobDefinition
from soapbatch.testing.recordings import Recorder, Replayer, has_recording
from soapbatch.testing.requests import Personality
from soapbatch.testing.server import NetServer
from soapbatch.testing.serving import serve_in_thread
from soapbatch.testing.sessions import DEMO_USER
from soapbatch.transport import ConnectionPool

RecordMode: TypeAlias = Literal["none", "once", "all"]

_OWN_OPTIONS: Final = ("jobs", "speed", "version", "allow_unused")
_SERVER_OPTIONS: Final = (
    "accepts_application_token",
    "failures",
    "missing",
    "path_prefix",
    "personality",
    "ticket_refusals",
    "unknown_task",
    "users",
)


@attrs.frozen
class MarkedOptions:
    """What the markers of a test say.

    Attributes:
        server: keyword arguments of `NetServer`.
        jobs: the jobs to define, by name.
        speed: seconds of the server's clock in a real second.
        allow_unused: whether interceptors need not be used.
    """

    server: Mapping[str, Any]
    jobs: Mapping[str, JobDefinition]
    speed: float
    allow_unused: bool


def marked_options(markers: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> MarkedOptions:
    """Return what markers say.

    `markers`: the arguments of each, by position and by keyword; the outermost first.

    Raises:
        UsageError: a marker has arguments by position, or an unknown one.
    """
    options, jobs = merged_options("netserver", markers, (*_OWN_OPTIONS, *_SERVER_OPTIONS))
    if "version" in options:
        options["version"] = ServiceVersion(options["version"])
    allow_unused = bool(options.pop("allow_unused", False))
    speed = float(options.pop("speed", 1.0))
    return MarkedOptions(with_personality(options), jobs, speed, allow_unused)


def merged_options(
    marker: str, markers: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]], known: Collection[str]
) -> tuple[dict[str, Any], dict[str, JobDefinition]]:
    """Return the keyword arguments of all markers of a name, the inner ones first, and apart from them the jobs.

    Raises:
        UsageError: a marker has arguments by position, or one that is not `known`.
    """
    options: dict[str, Any] = {}
    jobs: dict[str, JobDefinition] = {}
    for by_position, values in markers:
        if by_position:
            raise UsageError(f"@pytest.mark.{marker} takes keyword arguments only")
        if unknown := sorted(values.keys() - {*known}):
            raise UsageError(
                f"@pytest.mark.{marker} takes no {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
            )
        options |= values
        jobs |= job_definitions(values.get("jobs", {}))
    options.pop("jobs", None)
    return options, jobs


def job_definitions(jobs: Mapping[str, Any]) -> dict[str, JobDefinition]:
    """Return jobs by name, each of which may be a mapping of the fields of `JobDefinition`."""
    return {
        name: job if isinstance(job, JobDefinition) else JobDefinition.of_values(name, job)
        for name, job in jobs.items()
    }


def with_personality(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of `NetServer` in which a personality may be a name."""
    personality = options.get("personality")
    named = {"personality": Personality.named(personality)} if isinstance(personality, str) else {}
    return {**options, **named}


@attrs.define
class ServerThread:
    """A server in a thread of its own.

    Attributes:
        server: the server.
        url: its base URL.
    """

    server: NetServer
    url: str

    def begin(self, clock: Callable[[], float] | None, options: MarkedOptions) -> NetServer:
        """Return the server as a test wants it: with nothing left of an earlier test.

        Args:
            clock: see `NetServer`; None: real time, at the speed of the options.
            options: what the test's markers say.
        """
        self.server.reset(clock=clock or DrivenClock(options.speed), **options.server)
        for name, job in options.jobs.items():
            self.server.define_job(name, job)
        return self.server


@contextlib.contextmanager
def server_thread() -> Generator[ServerThread]:
    """Serve a new server in a thread until the block is left."""
    server = NetServer()
    with serve_in_thread(server) as url:
        yield ServerThread(server, url)


def client_of(server: NetServer, url: str, **options: Any) -> Client:
    """Return a client of a server; `options` are those of `Client`, and replace what would be passed."""
    defaults: dict[str, Any] = {"version": server.version or ServiceVersion.V88, "path_prefix": server.path_prefix}
    if not {"ticket", "credentials"} & options.keys():
        defaults["credentials"] = UsernamePassword(DEMO_USER.name, DEMO_USER.password)
    return Client(url, **(defaults | options))


def recording(
    mode: RecordMode,
    folder: Path,
    *,
    make_transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    secrets: Iterable[Secret | str] = (),
) -> httpx.AsyncBaseTransport:
    """Return a transport that records into a folder, or replays it.

    Args:
        mode: "none": replay; "once": record if the folder has no recording yet, else replay; "all": record anew.
        folder: of the recording.
        make_transport: makes the transport that requests are recorded through; None: `ConnectionPool`.
        secrets: texts to mask beside those that the library recognises.
    """
    if mode == "none" or (mode == "once" and has_recording(folder)):
        return Replayer(folder, secrets=secrets)
    return Recorder((make_transport or ConnectionPool)(), folder, secrets=secrets)
