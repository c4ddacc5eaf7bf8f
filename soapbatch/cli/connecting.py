"""From settings to a client, with the ticket in a file that all invocations share."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from soapbatch import online
from soapbatch.auth import FileTicketStore, Ticket, UsernamePassword, is_ending
from soapbatch.calls import Hooks
from soapbatch.cli.config_file import state_folder
from soapbatch.cli.output import Output
from soapbatch.cli.passwords import find_application_token, find_password
from soapbatch.cli.settings import Settings
from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.jobs import Job
from soapbatch.model import AuthenticateResponse, Secret, SoPrincipalCarrier
from soapbatch.operations import AuthenticateOperation
from soapbatch.system import AtomicFile

_NO_USER: Final = "who logs in? Give --user, or set SOAPBATCH_USER, or log in once: soapbatch login --user NAME"


class TicketFile:
    """The file in which the ticket of one user of one server is kept, and beside it who the user is.

    Attributes:
        path: of the file, which need not exist.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Name the files; nothing is read or written yet."""
        name = hashlib.sha256(settings.identity.encode()).hexdigest()[:24]
        self.path = state_folder(environ) / "tickets" / f"{name}.json"
        self._who = self.path.with_suffix(".who")

    def store(self) -> FileTicketStore:
        """Return the store, whose folder exists then, unless it cannot be made: the client goes on without it."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileTicketStore(self.path)

    async def ticket(self) -> Ticket | None:
        """Return the ticket, if there is one that does not end soon."""
        ticket = None
        with contextlib.suppress(OSError):  # the client says so in its log, and goes on without the file
            ticket = await FileTicketStore(self.path).get()
        return None if ticket is None or is_ending(ticket, datetime.now(UTC)) else ticket

    def who(self) -> dict[str, Any]:
        """Return what the last login said about the user: associate_id, associate, full_name; empty if unknown."""
        try:
            found: Any = json.loads(self._who.read_bytes())
        except (OSError, ValueError):
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def remember(self, carrier: SoPrincipalCarrier | None) -> None:
        """Keep who the user is, if that can be written."""
        if carrier is None:
            return
        who = {"associate_id": carrier.associate_id, "associate": carrier.associate, "full_name": carrier.full_name}
        with contextlib.suppress(OSError), AtomicFile(self._who) as new:
            new.file.write(json.dumps(who).encode())
            new.commit()

    def remove(self) -> bool:
        """Remove the files; return whether there was a ticket."""
        was_there = self.path.exists()
        for path in (self.path, self._who):
            path.unlink(missing_ok=True)
        return was_there


class Login:
    """Logs in by name and password when the client needs a ticket: what `credentials=` of the client takes."""

    def __init__(self, settings: Settings, output: Output, file: TicketFile, *, from_stdin: bool) -> None:
        """Log in as the settings say."""
        self._settings, self._output, self._file, self._from_stdin = settings, output, file, from_stdin
        self.password: Secret | None = None
        self.client: Client | None = None

    def find_password(self) -> Secret:
        """Return the password, which is asked for at most once."""
        if self.password is None:
            self.password = find_password(self._settings, self._output, from_stdin=self._from_stdin)
        return self.password

    async def ticket(self) -> Ticket:
        """Log in, and keep who the user is."""
        client = self.client
        assert client is not None  # noqa: S101 - `make_client` sets it before any call

        async def authenticate(_: AuthenticateOperation, arguments: Mapping[str, object]) -> AuthenticateResponse:
            answer = await client.principal.authenticate_username_password(**arguments)  # type: ignore[arg-type]  # as the operation's row names them
            self._file.remember(answer.response)
            return answer

        credentials = UsernamePassword(self._settings.get("user") or "", self.find_password())
        return await credentials.obtain(authenticate, client.version)


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of a client that have nothing to do with a login."""
    options = {
        "version": settings.version,
        "binding": settings.binding,
        "timeout": settings.timeout,
        "application_token": find_application_token(settings),
    }
    return {name: value for name, value in options.items() if value is not None}


def onsite_client(settings: Settings, **options: Any) -> Client:
    """Return a client of the server on-site. Without `ticket` or `credentials` it can do what needs no ticket."""
    address = settings.address
    arguments: dict[str, Any] = {**client_options(settings), "path_prefix": address.path_prefix, **options}
    return Client(address.base_url, **arguments)


async def make_client(settings: Settings, file: TicketFile, login: Login, hooks: Hooks | None) -> Client:
    """Return a client with a way to get a ticket. A password that may have to be asked for is found first.

    Raises:
        UsageError: a setting is missing or wrong.
    """
    if settings.tenant is not None:
        return online_client(settings, client_options(settings) | {"hooks": hooks, "ticket_store": file.store()})
    ticket: Secret | None = settings.get("ticket")
    if ticket is not None:
        return onsite_client(settings, ticket=ticket, hooks=hooks)
    client = onsite_client(settings, credentials=login.ticket, ticket_store=file.store(), hooks=hooks)
    if settings.get("user") is None:
        raise UsageError(_NO_USER)
    if await file.ticket() is None:
        login.find_password()
    login.client = client
    return client


def online_client(settings: Settings, options: Mapping[str, Any]) -> Client:
    """Return a client of a tenant of SuperOffice Online, by its system user or by a ticket of the environment."""
    ticket: Secret | None = settings.get("ticket")
    who: dict[str, Any] = (
        {"credentials": Ticket(ticket)}
        if ticket is not None
        else {"system_user": settings.get("system_user"), "private_key": settings.get("private_key")}
    )
    of_the_app: dict[str, Any] = {"environment": _environment(settings), "application_token": _client_secret(settings)}
    return Client.online(settings.tenant or "", **{**options, **who, **of_the_app})


async def tenant_state(settings: Settings) -> online.TenantState:
    """Return the state of the tenant of SuperOffice Online that the settings name."""
    async with online.OnlineApp(environment=_environment(settings), client_secret=_client_secret(settings)) as app:
        return await app.tenant(settings.tenant or "").state()


def _environment(settings: Settings) -> str:
    return settings.get("environment") or "online"


def _client_secret(settings: Settings) -> Secret:
    secret = find_application_token(settings)
    if secret is None:
        raise UsageError(
            "SuperOffice Online requires the client secret of the app in every call: set SOAPBATCH_APP_TOKEN, or "
            "application_token_command to a command that prints it"
        )
    return secret


async def start_job(
    client: Client,
    name: str,
    *,
    parameters: Mapping[str, str],
    description: str | None,
    key: str | None,
    if_running: Literal["start", "attach", "fail"],
) -> Job:
    """Start a job. With a key, a task that carries the key already is used, and nothing is started."""
    found = None if key is None else await client.jobs.find(name, key)
    if found is not None:
        return found
    return await client.jobs.start(
        name, parameters=parameters or None, description=description, key=key, if_running=if_running
    )
