"""What the fixtures of the pytest plugin do for SuperOffice Online."""

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, Final

import attrs

from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.online import OnlineApp, PrivateKey
from soapbatch.testing.control import DrivenClock
from soapbatch.testing.fixtures import job_definitions, merged_options, with_personality
from soapbatch.testing.job_definitions import JobDefinition
from soapbatch.testing.online import Online
from soapbatch.testing.online_keys import SigningKey, generate_private_key
from soapbatch.testing.serving import serve_in_thread
from soapbatch.transport import ForwardingTransport

APP: Final = "My App"
"""The name of the app that is registered, and approved by each tenant."""
TENANT: Final = "Cust12345"
"""The tenant that there is unless the marker names others."""

_EXTRA: Final = {"cryptography": "cryptography", "jwt": "PyJWT"}
_OPTIONS: Final = ("allow_unused", "environment", "jobs", "speed", "tenants")


@attrs.frozen
class MarkedOnline:
    """What the markers of a test say.

    Attributes:
        environment: "sod", "stage" or "online".
        tenants: arguments of `Online.add_tenant`, by name.
        jobs: the jobs to define, by tenant and name.
        speed: seconds of the tenants' clocks in a real second.
        allow_unused: whether interceptors need not be used.
    """

    environment: str
    tenants: Mapping[str, Mapping[str, Any]]
    jobs: Mapping[str, Mapping[str, JobDefinition]]
    speed: float
    allow_unused: bool


def marked_online(markers: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> MarkedOnline:
    """Return what markers say; see `soapbatch.testing.fixtures.marked_options`.

    Raises:
        UsageError: a marker has arguments by position, or an unknown one.
    """
    options, jobs = merged_options("superoffice_online", markers, _OPTIONS)
    named: Any = options.get("tenants", TENANT)
    if isinstance(named, str):
        named = [named]
    given: Mapping[str, Mapping[str, Any]] = named if hasattr(named, "items") else {}
    tenants: dict[str, dict[str, Any]] = {name: with_personality(given.get(name, {})) for name in named}
    own_jobs = {name: job_definitions(arguments.pop("jobs", {})) for name, arguments in tenants.items()}
    return MarkedOnline(
        environment=options.get("environment", "sod"),
        tenants=tenants,
        jobs={name: jobs | own for name, own in own_jobs.items()},
        speed=float(options.get("speed", 1.0)),
        allow_unused=bool(options.get("allow_unused", False)),
    )


@attrs.define
class OnlineThread:
    """An embedded Online in a thread of its own.

    Attributes:
        online: the embedded Online.
        url: of the socket that is all its hosts.
    """

    online: Online
    url: str

    def begin(self, clock: Callable[[], float] | None, options: MarkedOnline) -> Online:
        """Return Online as a test wants it: with nothing left of an earlier test.

        Args:
            clock: see `Online`; None: real time, and that of the tenants' servers at the speed of the options. The
                sign-in host compares its clock with that of the client, so that it cannot run at another speed.
            options: what the test's markers say.
        """
        online = self.online
        online.reset(clock=clock or time.monotonic, environment=options.environment)
        of_tenants: dict[str, Any] = {} if clock else {"clock": DrivenClock(options.speed)}
        app = online.add_app(APP, private_key=_private_key())
        for name, arguments in options.tenants.items():
            tenant = online.add_tenant(name, **{**of_tenants, **arguments})
            online.approve(app, tenant)
            for job, definition in options.jobs[name].items():
                tenant.server.define_job(job, definition)
        return online


@contextlib.contextmanager
def online_thread() -> Generator[OnlineThread]:
    """Serve a new Online in a thread until the block is left.

    Raises:
        UsageError: a package of the extra `soapbatch[online]` is missing, or uvicorn is.
    """
    if missing := [package for module, package in _EXTRA.items() if find_spec(module) is None]:
        raise UsageError(
            f"the embedded SuperOffice Online needs {' and '.join(missing)}: install soapbatch[testing,online]"
        )
    online = Online(signing_key=_signing_key())
    with serve_in_thread(online) as url:
        yield OnlineThread(online, url)


def app_of(online: Online, url: str, **options: Any) -> OnlineApp:
    """Return an app that is registered with an embedded Online; `options` are those of `OnlineApp`."""
    return OnlineApp(**(_app_options(online, url) | options))


def online_client_of(online: Online, url: str, tenant: str | None, **options: Any) -> Client:
    """Return a client of a tenant, with an app of its own.

    Args:
        online: the embedded Online.
        url: of its socket.
        tenant: by name; None: the first one.
        options: those of `Client.online`.
    """
    home = online.tenants[0] if tenant is None else online.tenant(tenant)
    arguments = _app_options(online, url)
    arguments["application_token"] = arguments.pop("client_secret")
    if not {"system_user", "credentials"} & options.keys():
        app = online.app(APP)  # approving it again would undo what the test has revoked
        arguments["system_user"] = app.system_tokens.get(home.name) or online.approve(app, home)
    return Client.online(home.name, **(arguments | options))


def _app_options(online: Online, url: str) -> dict[str, Any]:
    app = online.app(APP)
    return {
        "environment": online.environment.name,
        "client_secret": app.client_secret,
        "private_key": app.private_key,
        "transport": ForwardingTransport(url),
        "max_rate": None,
        "now": online.now,
    }


@functools.cache
def _signing_key() -> SigningKey:
    """Return a key for all tests: making one takes about 0.1 s."""
    return SigningKey.generate()


@functools.cache
def _private_key() -> PrivateKey:
    return generate_private_key()
