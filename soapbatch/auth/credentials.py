"""How `credentials=` become a ticket.

Each provider knows one way to obtain a ticket. `TicketManager` decides when to obtain, share and renew one.
A provider holds its secrets as `Secret`: no repr shows a secret, and a provider with a secret cannot be pickled.

Source: SoPrincipal75.wsdl to SoPrincipal88.wsdl; lifetimes from the published pages on NetServer tickets.
"""

import inspect
import traceback
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, ClassVar, Final, Protocol, TypeAlias
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
    clean_traceback,
)
from soapbatch.model import AuthenticateResponse, Secret, ServiceVersion, kind_of
from soapbatch.operations import (
    AUTHENTICATE_GENERIC,
    AUTHENTICATE_IMPLICIT,
    AUTHENTICATE_USERNAME_PASSWORD,
    AUTHENTICATE_WITH_ACCESS_TOKEN,
    AuthenticateOperation,
)

Authenticate: TypeAlias = Callable[[AuthenticateOperation, Mapping[str, object]], Awaitable[AuthenticateResponse]]
"""Sends one Authenticate operation over the client's own transport and returns the response."""


class Provider(Protocol):
    """One way to obtain a ticket.

    Attributes:
        sends_password: whether the provider sends a password, so that plain HTTP is refused.
    """

    sends_password: ClassVar[bool]

    def renews(self, version: ServiceVersion, /) -> bool:
        """Return whether `obtain` may give another ticket next time."""
        ...

    async def obtain(self, authenticate: Authenticate, version: ServiceVersion, /) -> "Ticket":
        """Obtain a ticket.

        Raises:
            AuthenticationFailed: there is no ticket for these credentials; `user` is the user's name.
            SoapBatchError: any other error of `authenticate`, unchanged.
        """
        ...


_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})

# A traceback may show the locals of each frame. So each constructor below wraps its secret and deletes the plain value
# before anything can raise.


def _as_secret(value: object) -> Secret | None:
    """Return `value` wrapped, or None if `value` is neither text nor a Secret. Raises nothing."""
    wrapped = Secret.wrap(value)
    return wrapped if isinstance(wrapped, Secret) else None


def _as_token(value: object) -> Secret | None:
    """Return `value` as `_as_secret` does, without the white space around it."""
    return Secret.token(_as_secret(value))


class SecretHolder:
    """Base of a class that checks its secrets in its constructor, with a repr that works at any time.

    If a constructor raises, a traceback may show the half-made object.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the class and its attributes, unless some are not set yet; secrets are masked."""
        names: tuple[str, ...] = getattr(type(self), "__match_args__", ())
        if not all(hasattr(self, name) for name in names):
            return f"{type(self).__name__}(...)"
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({shown})"


@attrs.frozen(init=False, repr=False)
class Ticket(SecretHolder):
    """A ticket with its expiry.

    One class is both value and provider, so that a ticket from `await client.ticket()`, from a `TicketStore` or from a
    callable can be passed on as `credentials=`. As `credentials=` a ticket is never renewed: the call fails when the
    server refuses the ticket.

    Attributes:
        value: `7T:` and base64; or, from Services86 on, an OAuth access token.
        expires_at: when the ticket ends if nobody uses it before (aware). None: 6 hours from now if the ticket slides,
            else unknown.
        sliding: whether each use extends the ticket to 6 hours from that use. True for a ticket, False for an access
            token.
        renew_at: when a client that can obtain another one does so (aware). None: a few minutes before the end.
    """

    value: Secret
    expires_at: datetime | None
    sliding: bool
    renew_at: datetime | None

    sends_password: ClassVar[bool] = False

    def __init__(
        self,
        value: str | Secret,
        *,
        expires_at: datetime | None = None,
        sliding: bool = True,
        renew_at: datetime | None = None,
    ) -> None:
        """Wrap a ticket. White space around it is dropped: it comes from a file, not from the server.

        Raises:
            UsageError: the value is empty or not text, or a time has no time zone.
        """
        secret = _as_token(value)
        del value
        if secret is None or secret == Secret(""):
            raise UsageError("a ticket is a str or a Secret, and not empty")
        for name, time in (("expires_at", expires_at), ("renew_at", renew_at)):
            if time is not None and not (isinstance(time, datetime) and time.utcoffset() is not None):
                raise UsageError(
                    f"{name} is a datetime with a time zone, for example datetime.now(UTC) + timedelta(hours=6)"
                )
        object.__setattr__(self, "value", secret)
        object.__setattr__(self, "expires_at", expires_at)
        object.__setattr__(self, "sliding", sliding)
        object.__setattr__(self, "renew_at", renew_at)

    def renews(self, _version: ServiceVersion, /) -> bool:
        """Return False: a ticket cannot obtain another ticket."""
        return False

    async def obtain(self, _authenticate: Authenticate, _version: ServiceVersion, /) -> "Ticket":
        """Return itself."""
        return self


TicketSource: TypeAlias = Callable[[], Awaitable[str | Secret | Ticket]]
"""An async callable that returns a ticket: text, a Secret, or a `Ticket` with an expiry."""
SecretSource: TypeAlias = Callable[[], Awaitable[str | Secret]]
"""An async callable that returns a secret, for example from a vault."""


@attrs.frozen(init=False, repr=False)
class UsernamePassword(SecretHolder):
    """A user's name and password, exchanged for a ticket with AuthenticateUsernamePassword.

    Attributes:
        user: the user's name.
        password: masked; may be empty, as in some on-site installations.
    """

    user: str
    password: Secret

    sends_password: ClassVar[bool] = True

    def __init__(self, user: str, password: str | Secret) -> None:
        """Wrap a name and a password.

        Raises:
            UsageError: the name or the password is not text, or the name is empty.
        """
        secret = _as_secret(password)
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


@attrs.frozen(init=False, repr=False)
class AccessToken(SecretHolder):
    """An OAuth access token (`8A:...`), or an async callable that fetches a fresh one.

    From Services86 on, requests carry the token in place of a ticket. Use does not extend a token: its issuer decides
    when the token ends. A callable may return `Ticket(token, expires_at=...)` to say when. Only a callable can renew a
    token.

    Attributes:
        token: the token, masked, or the callable.
        exchange: whether to exchange the token for a ticket with AuthenticateWithAccessToken. Services before 86 would
            have to exchange the token and lack that operation: every call raises NotInVersion.
    """

    token: Secret | TicketSource
    exchange: bool

    sends_password: ClassVar[bool] = False

    def __init__(self, token: str | Secret | TicketSource, *, exchange: bool = False) -> None:
        """Wrap a token, without the white space around it, or a callable.

        Raises:
            UsageError: `token` is neither text nor a callable, or it is empty.
        """
        held = token if callable(token) else _as_token(token)
        del token
        if held is None or held == Secret(""):
            raise UsageError(
                "AccessToken takes a token (a str or a Secret, not empty) or an async callable that returns one"
            )
        object.__setattr__(self, "token", held)
        object.__setattr__(self, "exchange", exchange)

    def renews(self, version: ServiceVersion, /) -> bool:
        """Return whether a callable can fetch another token, or the exchange can be repeated."""
        return not isinstance(self.token, Secret) or self._exchanges(version)

    async def obtain(self, authenticate: Authenticate, version: ServiceVersion, /) -> Ticket:
        """Return the token in place of a ticket, or exchange the token; see `Provider.obtain`."""
        exchanges = self._exchanges(version)
        if exchanges:
            AUTHENTICATE_WITH_ACCESS_TOKEN.check_version(version)
        token = Ticket(self.token) if isinstance(self.token, Secret) else await _fetch(self.token)
        if exchanges:
            return await _log_in(authenticate, AUTHENTICATE_WITH_ACCESS_TOKEN, {"access_token": token.value})
        return Ticket(token.value, expires_at=token.expires_at, renew_at=token.renew_at, sliding=False)

    def _exchanges(self, version: ServiceVersion) -> bool:
        return self.exchange or version < AUTHENTICATE_WITH_ACCESS_TOKEN.since


@attrs.frozen
class Implicit:
    """The user that the server derives from the connection, exchanged for a ticket with AuthenticateImplicit."""

    sends_password: ClassVar[bool] = False

    def renews(self, _version: ServiceVersion, /) -> bool:
        """Return True."""
        return True

    async def obtain(self, authenticate: Authenticate, _version: ServiceVersion, /) -> Ticket:
        """Log in; see `Provider.obtain`."""
        return await _log_in(authenticate, AUTHENTICATE_IMPLICIT, {})


@attrs.frozen(init=False, repr=False)
class Generic(SecretHolder):
    """Key and value pairs that an authentication plugin of the server understands, sent with AuthenticateGeneric.

    Attributes:
        data: the values by their keys; every value is masked, and None is sent as nil.
    """

    data: Mapping[str, Secret | None]

    sends_password: ClassVar[bool] = True

    def __init__(self, data: Mapping[str, str | Secret | None]) -> None:
        """Wrap the pairs.

        Raises:
            UsageError: `data` is not a mapping of text to text.
        """
        pairs: Mapping[Any, Any] = data if isinstance(data, Mapping) else {None: None}
        secrets = {key: _as_secret(value) for key, value in pairs.items()}
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
    """An async callable of the user's that returns a ticket."""

    source: TicketSource

    sends_password: ClassVar[bool] = False

    def renews(self, _version: ServiceVersion, /) -> bool:
        return True

    async def obtain(self, _authenticate: Authenticate, _version: ServiceVersion, /) -> Ticket:
        return await _fetch(self.source)


Credentials: TypeAlias = Ticket | UsernamePassword | AccessToken | Implicit | Generic | TicketSource
"""What `credentials=` takes."""


def as_provider(credentials: Credentials | str | Secret) -> Provider:
    """Return the provider for `credentials`: a provider as it is, text as a `Ticket`, and a callable wrapped.

    Raises:
        UsageError: `credentials` are of another type.
    """
    if isinstance(credentials, Ticket | UsernamePassword | AccessToken | Implicit | Generic):
        return credentials
    if isinstance(credentials, str | Secret):
        return Ticket(credentials)
    if callable(credentials) and not isinstance(credentials, type):
        return _Callback(credentials)
    kind = kind_of(credentials)
    del credentials
    raise UsageError(
        "credentials are a Ticket, UsernamePassword, AccessToken, Implicit, Generic, "
        f"or an async callable that returns a ticket; got {kind}"
    )


def check_transport_security(base_url: str, provider: Provider, *, allow_insecure: bool) -> None:
    """Refuse credentials that send a password over plain HTTP to another host, unless the user allows it.

    This machine is no other host: `localhost`, 127.0.0.0/8 and `::1`.

    Raises:
        InsecureTransport: the credentials are refused.
    """
    if provider.sends_password and not allow_insecure:
        refuse_plain_http(base_url, type(provider).__name__)


def refuse_plain_http(base_url: str, sender: str) -> None:
    """Raise InsecureTransport if the password of `sender` would cross plain HTTP to another host."""
    url = urlsplit(base_url)
    if url.scheme == "https" or is_loopback(url.hostname or ""):
        return
    raise InsecureTransport(
        f"{sender} sends a password, and {url.scheme}://{url.hostname} would carry it unencrypted: "
        "use https, or allow it with allow_insecure=True"
    )


def refuse_plain_proxy(base_url: str, proxy_host: str, sender: str) -> None:
    """Raise InsecureTransport if a proxy on another machine would read the secrets that `sender` sends over plain HTTP.

    Behind such a proxy, `localhost` is the proxy's machine. A proxy is on this machine by its three usual names alone.
    """
    url = urlsplit(base_url)
    if url.scheme == "https" or proxy_host in _THIS_MACHINE:
        return
    raise InsecureTransport(
        f"{sender} carries a password, ticket or token, and the proxy {proxy_host} would read it, as it goes through "
        f"that proxy to {url.scheme}://{url.hostname}: use https, exempt {url.hostname} in NO_PROXY, or allow it with "
        "allow_insecure=True"
    )


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine: localhost, 127.0.0.0/8 or ::1."""
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
    """Return the ticket of one login; the error of a refused login names the operation and the user."""
    whom = f"{operation.name} gives no ticket" + (f" to user {user!r}" if user else "")
    with clean_traceback():  # the frames of the call hold the envelope
        try:
            answer = await authenticate(operation, arguments)
        except AuthenticationFailed as error:
            raise AuthenticationFailed(
                f"{whom}: AuthenticationSucceeded is false; check the credentials",
                user=user,
                operation=error.operation,
                version=error.version,
                exchange=error.exchange,
            ) from None
        except (OperationFailed, Fault) as error:
            if isinstance(error, Fault) and error.exception_info is None:
                raise  # NetServer did not write the fault: the form was refused, or a proxy failed
            raise AuthenticationFailed(
                f"{whom}: {str(error).removeprefix(f'{operation.name}: ')}",
                user=user,
                refused_by="server",
                operation=error.operation,
                version=error.version,
                exchange=error.exchange,
            ) from error
    ticket = answer.credentials.ticket if answer.credentials else None
    if not ticket or ticket == Secret(""):
        raise UnexpectedResponse(f"{whom}: the server says that authentication succeeded, and leaves Ticket empty")
    return Ticket(ticket)


async def fetch_application_token(source: SecretSource) -> Secret:
    """Return the application token that a callable of the user's returns, without white space around it.

    Raises:
        AuthenticationFailed: the callable raised something that is no SoapBatchError.
        UsageError: the callable returned something else, or an empty text.
    """
    answer = await _answer_of(source, "application token")
    secret, kind = Secret.token(answer), type(answer).__name__
    del answer
    if not isinstance(secret, Secret) or secret == Secret(""):
        name = _name_of(source)
        raise UsageError(f"{name} must return an application token (a str or a Secret, not empty), and returned {kind}")
    return secret


async def _fetch(source: TicketSource) -> Ticket:
    """Return the ticket that a callable of the user's returns."""
    answer = await _answer_of(source, "ticket")
    if isinstance(answer, Ticket):
        return answer
    secret, kind = _as_secret(answer), type(answer).__name__
    del answer
    if secret is None:
        raise UsageError(f"{_name_of(source)} must return a ticket (a str, a Secret or a Ticket), and returned {kind}")
    return Ticket(secret)


async def _answer_of(source: Callable[[], Awaitable[object]], what: str) -> object:
    """Return what a callable of the user's returns, which may be of any type."""
    try:
        answer = source()
        if inspect.isawaitable(answer):
            return await answer
    except SoapBatchError:
        raise
    except Exception as error:
        with clean_traceback():
            raise _fetch_failed(_name_of(source), error, what) from error
    kind = type(answer).__name__
    del answer  # it may be the secret
    raise UsageError(f"{_name_of(source)} must be async ('async def'): it returned {kind}, which cannot be awaited")


def _name_of(source: object) -> str:
    return getattr(source, "__qualname__", type(source).__name__)


def _fetch_failed(name: str, error: Exception, what: str) -> AuthenticationFailed:
    """Return the error for a callable that raised `error`.

    The frames of `error` may hold secrets, and a traceback may show locals. So a note keeps the place as text.
    """
    failed = AuthenticationFailed(f"{name} gave no {what}: it raised {type(error).__name__}", refused_by="server")
    failed.add_note("".join(["Where it failed:\n", *traceback.format_tb(error.__traceback__)]).rstrip())
    return failed
