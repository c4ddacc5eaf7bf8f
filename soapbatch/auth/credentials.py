"""Where a ticket comes from: what a user hands in as `credentials=`, and how it becomes a ticket.

Each provider knows one way; when a ticket is obtained, shared and renewed is up to `tickets.TicketManager`.
Secrets are held as `Secret`: no repr shows one, and a provider that holds one cannot be pickled.

Source: SoPrincipal75.wsdl to SoPrincipal88.wsdl; lifetimes from the published pages on NetServer tickets.
"""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, ClassVar, Protocol, TypeAlias
from urllib.parse import urlsplit

import attrs

from soapbatch.errors import (
    AuthenticationFailed,
    Fault,
    InsecureTransport,
    OperationFailed,
    SoapBatchError,
    UnexpectedResponse,
    UsageError,
)
from soapbatch.model import AuthenticateResponse, Secret, ServiceVersion
from soapbatch.operations import (
    AUTHENTICATE_GENERIC,
    AUTHENTICATE_IMPLICIT,
    AUTHENTICATE_USERNAME_PASSWORD,
    AUTHENTICATE_WITH_ACCESS_TOKEN,
    AuthenticateOperation,
)

Authenticate: TypeAlias = Callable[[AuthenticateOperation, Mapping[str, object]], Awaitable[AuthenticateResponse]]
"""Sends one Authenticate operation over the client's own transport and returns its answer."""


class Provider(Protocol):
    """One way to obtain a ticket.

    Attributes:
        sends_password: whether it sends one, so that plain HTTP is refused.
    """

    sends_password: ClassVar[bool]

    def renews(self, version: ServiceVersion, /) -> bool:
        """Return whether asking again may give another ticket."""
        ...

    async def obtain(self, authenticate: Authenticate, version: ServiceVersion, /) -> "Ticket":
        """Obtain a ticket.

        Raises:
            AuthenticationFailed: there is none for these credentials; `user` says whose they are.
            SoapBatchError: whatever else `authenticate` raises, as it is.
        """
        ...


# The constructors below wrap a secret and forget the plain value before anything can raise: a traceback may show
# the locals of each frame.


def _secret(value: object) -> Secret | None:
    """Return `value` wrapped, or None if it is neither text nor a Secret. Raises nothing."""
    if isinstance(value, Secret):
        return value
    return Secret(value) if isinstance(value, str) else None


@attrs.frozen(init=False)
class Ticket:
    """A ticket that is there already: used as it is and never renewed. When it is refused, the call fails.

    It is also what a `TicketStore` keeps, what `await client.ticket()` returns, and what an async callable may
    return to say when its ticket ends.

    Attributes:
        value: `7T:` and base64; or, from Services86 on, an OAuth access token.
        expires_at: when it ends if it is not used before (aware); None: 6 hours from now if it slides, else unknown.
        sliding: whether each use makes it last 6 hours from then. True for a ticket, False for an access token.
    """

    value: Secret
    expires_at: datetime | None
    sliding: bool

    sends_password: ClassVar[bool] = False

    def __init__(self, value: str | Secret, *, expires_at: datetime | None = None, sliding: bool = True) -> None:
        """Wrap a ticket.

        Raises:
            UsageError: the value is no text or empty, or `expires_at` has no time zone.
        """
        secret = _secret(value)
        del value
        if secret is None or secret == Secret(""):
            raise UsageError("a ticket is a str or a Secret, and not empty")
        if expires_at is not None and expires_at.utcoffset() is None:
            raise UsageError("expires_at needs a time zone, for example datetime.now(UTC) + timedelta(hours=6)")
        object.__setattr__(self, "value", secret)
        object.__setattr__(self, "expires_at", expires_at)
        object.__setattr__(self, "sliding", sliding)

    def renews(self, _version: ServiceVersion, /) -> bool:
        """Return False: there is nothing to obtain another one with."""
        return False

    async def obtain(self, _authenticate: Authenticate, _version: ServiceVersion, /) -> "Ticket":
        """Return itself."""
        return self


TicketSource: TypeAlias = Callable[[], Awaitable[str | Secret | Ticket]]
"""An async callable that returns a ticket: text, or a `Ticket` to say when it ends."""


@attrs.frozen(init=False)
class UsernamePassword:
    """A user's name and password, exchanged for a ticket with AuthenticateUsernamePassword.

    Attributes:
        user: the user's name.
        password: masked; may be empty, as it is in some on-site installations.
    """

    user: str
    password: Secret

    sends_password: ClassVar[bool] = True

    def __init__(self, user: str, password: str | Secret) -> None:
        """Wrap a name and a password.

        Raises:
            UsageError: one of them is no text, or the name is empty.
        """
        secret = _secret(password)
        del password
        if secret is None or not isinstance(user, str) or not user:
            raise UsageError("UsernamePassword takes a user (a str, not empty) and a password (a str or a Secret)")
        object.__setattr__(self, "user", user)
        object.__setattr__(self, "password", secret)

    def renews(self, _version: ServiceVersion, /) -> bool:
        """Return True."""
        return True

    async def obtain(self, authenticate: Authenticate, _version: ServiceVersion, /) -> Ticket:
        """Log in; see `Provider.obtain`."""
        arguments = {"user_name": self.user, "password": self.password}
        return await _log_in(authenticate, AUTHENTICATE_USERNAME_PASSWORD, arguments, user=self.user)


@attrs.frozen(init=False)
class AccessToken:
    """An OAuth access token (`8A:...`), given as it is or by an async callable that fetches a fresh one.

    From Services86 on the token itself stands where a ticket would. It does not slide: it ends when its issuer says,
    which a callable may pass on by returning `Ticket(token, expires_at=...)`. A token given as it is, is not renewed.

    Attributes:
        token: masked, or the callable.
        exchange: whether to exchange it for a ticket with AuthenticateWithAccessToken instead. Services before 86
            take it in no other way and lack that operation: there every call raises NotInVersion.
    """

    token: Secret | TicketSource
    exchange: bool

    sends_password: ClassVar[bool] = False

    def __init__(self, token: str | Secret | TicketSource, *, exchange: bool = False) -> None:
        """Wrap a token or a callable.

        Raises:
            UsageError: it is neither, or the token is empty.
        """
        held = token if callable(token) else _secret(token)
        del token
        if held is None or held == Secret(""):
            raise UsageError(
                "AccessToken takes a token (a str or a Secret, not empty) or an async callable that returns one"
            )
        object.__setattr__(self, "token", held)
        object.__setattr__(self, "exchange", exchange)

    def renews(self, version: ServiceVersion, /) -> bool:
        """Return whether there is a callable to ask, or an exchange to repeat."""
        return not isinstance(self.token, Secret) or self._exchanges(version)

    async def obtain(self, authenticate: Authenticate, version: ServiceVersion, /) -> Ticket:
        """Return the token in the place of a ticket, or exchange it; see `Provider.obtain`."""
        exchanges = self._exchanges(version)
        if exchanges:
            AUTHENTICATE_WITH_ACCESS_TOKEN.check_version(version)
        token = Ticket(self.token) if isinstance(self.token, Secret) else await _ask(self.token)
        if exchanges:
            return await _log_in(authenticate, AUTHENTICATE_WITH_ACCESS_TOKEN, {"access_token": token.value})
        return Ticket(token.value, expires_at=token.expires_at, sliding=False)

    def _exchanges(self, version: ServiceVersion) -> bool:
        return self.exchange or version < AUTHENTICATE_WITH_ACCESS_TOKEN.since


@attrs.frozen
class Implicit:
    """Whoever the server takes this process for, exchanged for a ticket with AuthenticateImplicit."""

    sends_password: ClassVar[bool] = False

    def renews(self, _version: ServiceVersion, /) -> bool:
        """Return True."""
        return True

    async def obtain(self, authenticate: Authenticate, _version: ServiceVersion, /) -> Ticket:
        """Log in; see `Provider.obtain`."""
        return await _log_in(authenticate, AUTHENTICATE_IMPLICIT, {})


@attrs.frozen(init=False)
class Generic:
    """Key and value pairs that an authentication plugin of the server understands, sent with AuthenticateGeneric.

    Attributes:
        data: by key; every value is masked, None is sent as nil.
    """

    data: Mapping[str, Secret | None]

    sends_password: ClassVar[bool] = True

    def __init__(self, data: Mapping[str, str | Secret | None]) -> None:
        """Wrap the pairs.

        Raises:
            UsageError: it is no mapping of text to text.
        """
        pairs: Mapping[Any, Any] = data if isinstance(data, Mapping) else {None: None}
        secrets = {key: _secret(value) for key, value in pairs.items()}
        is_text = all(isinstance(key, str) for key in pairs)
        is_text = is_text and all(pairs[key] is None or secret is not None for key, secret in secrets.items())
        del data, pairs
        if not is_text:
            raise UsageError("Generic takes a mapping with keys that are str, and values that are str, Secret or None")
        object.__setattr__(self, "data", secrets)

    def renews(self, _version: ServiceVersion, /) -> bool:
        """Return True."""
        return True

    async def obtain(self, authenticate: Authenticate, _version: ServiceVersion, /) -> Ticket:
        """Log in; see `Provider.obtain`."""
        return await _log_in(authenticate, AUTHENTICATE_GENERIC, {"authentication_data": self.data})


@attrs.frozen
class _Callback:
    """A caller's own way: an async callable that returns a ticket."""

    source: TicketSource

    sends_password: ClassVar[bool] = False

    def renews(self, _version: ServiceVersion, /) -> bool:
        return True

    async def obtain(self, _authenticate: Authenticate, _version: ServiceVersion, /) -> Ticket:
        return await _ask(self.source)


Credentials: TypeAlias = Ticket | UsernamePassword | AccessToken | Implicit | Generic | TicketSource
"""What `credentials=` takes."""


def as_provider(credentials: Credentials | str | Secret) -> Provider:
    """Return the provider for what a caller handed in: itself, a `Ticket` for text, or one that asks a callable.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(credentials, Ticket | UsernamePassword | AccessToken | Implicit | Generic):
        return credentials
    if isinstance(credentials, str | Secret):
        return Ticket(credentials)
    if callable(credentials) and not isinstance(credentials, type):
        return _Callback(credentials)
    kind = type(credentials).__name__
    del credentials
    raise UsageError(
        "credentials are a Ticket, UsernamePassword, AccessToken, Implicit, Generic, "
        f"or an async callable that returns a ticket; got {kind}"
    )


def check_transport_security(base_url: str, provider: Provider, *, allow_insecure: bool) -> None:
    """Refuse to send a password over plain HTTP to anything but this machine, unless the caller allowed it.

    This machine is `localhost`, 127.0.0.0/8 and `::1`.

    Raises:
        InsecureTransport: it would be.
    """
    if provider.sends_password and not allow_insecure:
        refuse_plain_http(base_url, type(provider).__name__)


def refuse_plain_http(base_url: str, sender: str) -> None:
    """Raise InsecureTransport if the password that `sender` sends would cross plain HTTP to another host."""
    url = urlsplit(base_url)
    if url.scheme == "https" or _is_loopback(url.hostname or ""):
        return
    raise InsecureTransport(
        f"{sender} sends a password, and {url.scheme}://{url.hostname} would carry it unencrypted: "
        "use https, or allow it with allow_insecure=True"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _log_in(
    authenticate: Authenticate,
    operation: AuthenticateOperation,
    arguments: Mapping[str, object],
    *,
    user: str | None = None,
) -> Ticket:
    """Send one login and return its ticket; a refusal names the operation and the user."""
    whom = f"{operation.name} gives no ticket" + (f" to user {user!r}" if user else "")
    try:
        answer = await authenticate(operation, arguments)
    except AuthenticationFailed as error:
        error.user = user
        error.args = (f"{whom}: AuthenticationSucceeded is false; check the credentials",)
        raise
    except (OperationFailed, Fault) as error:
        if isinstance(error, Fault) and error.exception_info is None:
            raise  # not the principal service's own word: the form was refused, or something in front of it failed
        failed = AuthenticationFailed(f"{whom}: {str(error).removeprefix(f'{operation.name}: ')}")
        failed.user, failed.refused_by = user, "server"
        failed.operation, failed.version = error.operation, error.version
        raise failed from error.with_traceback(None)
    ticket = answer.credentials.ticket if answer.credentials else None
    if not ticket or ticket == Secret(""):
        raise UnexpectedResponse(f"{whom}: the server says that authentication succeeded, and leaves Ticket empty")
    return Ticket(ticket)


async def _ask(source: TicketSource) -> Ticket:
    """Return the ticket that a caller's own callable gives."""
    name = getattr(source, "__qualname__", type(source).__name__)
    try:
        answer = await source()
    except SoapBatchError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
        failed = AuthenticationFailed(f"{name} gave no ticket: it raised {type(error).__name__}")
        failed.refused_by = "server"
        # Its frames may hold what it logs in with, and tracebacks may show locals: where it failed is kept as text.
        failed.add_note("".join(["Where it failed:\n", *traceback.format_tb(error.__traceback__)]).rstrip())
        raise failed from error.with_traceback(None)
    if isinstance(answer, Ticket):
        return answer
    secret, kind = _secret(answer), type(answer).__name__
    del answer
    if secret is None:
        raise UsageError(f"{name} is to return a ticket (a str, a Secret or a Ticket) and returned {kind}")
    return Ticket(secret)
