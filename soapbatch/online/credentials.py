"""Who a client of SuperOffice Online is: a system user, or a person who signed in. Both talk to the sign-in host.

`OnlineApp.client` binds either to an app and a tenant: what comes out is an async callable that returns a ticket, as
`Client` takes it for `credentials=`. So one ticket serves all calls, is renewed ahead, and can be shared through a
`TicketStore`.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import attrs

from soapbatch.auth import SecretHolder, Ticket
from soapbatch.errors import SoapBatchError, TokenNotTrusted, UsageError, clean_traceback
from soapbatch.model import Secret
from soapbatch.online import responses
from soapbatch.online.oauth import build_refresh_request, parse_token_response
from soapbatch.online.private_key import PrivateKey
from soapbatch.online.published_keys import PublishedKeys
from soapbatch.online.sign_in import SignInHost
from soapbatch.online.system_user import build_system_user_request, parse_system_user_response, sign_system_token
from soapbatch.system import log_record

_LONGEST: Final = 10 * 365 * 24 * 3600.0  # seconds: an expires_in beyond that is "never", and no date

OnChange: TypeAlias = Callable[[Secret], object]
"""Is given a new refresh token, to keep it; may be async."""


@attrs.frozen(kw_only=True)
class AppIdentity:
    """What an app signs in with.

    Attributes:
        host: where it signs in.
        keys: of that host.
        client_secret: returns the client secret.
        private_key: None: the app signs in no system users.
    """

    host: SignInHost
    keys: PublishedKeys
    client_secret: Callable[[], Awaitable[Secret]]
    private_key: PrivateKey | None


@attrs.frozen(init=False, repr=False)
class SystemUser(SecretHolder):
    """The system user of an app in a tenant: how a server signs in without a person.

    A ticket comes from PartnerSystemUser over REST, and slides for 6 hours like any other.

    Attributes:
        token: the system user token of the app and the tenant, for example "My App-k3J9xQ2mPz".
    """

    token: Secret

    def __init__(self, token: str | Secret) -> None:
        """Wrap a system user token.

        Raises:
            UsageError: it is no text, or empty.
        """
        secret = Secret.wrap(token)
        del token
        if not isinstance(secret, Secret) or secret == Secret(""):
            raise UsageError("SystemUser takes a system user token (a str or a Secret, not empty)")
        object.__setattr__(self, "token", secret)

    async def sign_in(self, app: AppIdentity, tenant: str) -> Ticket:
        """Return a new ticket.

        Raises:
            SystemUserRefused: the sign-in host gives none.
            TokenNotTrusted: it gave a JWT that fails a check.
            TransportError, ProtocolError: it gives no answer that can be used.
            UsageError: the extra `soapbatch[online]` is missing.
        """
        try:
            return await self._sign_in(app, tenant)
        except TokenNotTrusted as error:
            if error.check != "lifetime":
                raise
            log_record(
                logging.INFO,
                "tenant %(tenant)s: the JWT for its system user came too late (%(reason)s); signing in once more",
                tenant=tenant,
                reason=str(error),
            )
        return await self._sign_in(app, tenant)

    async def _sign_in(self, app: AppIdentity, tenant: str) -> Ticket:
        host, key = app.host, app.private_key
        assert key is not None  # noqa: S101 - `OnlineApp.client` asks for one
        application_token = await app.client_secret()
        with clean_traceback():
            signed = Secret(sign_system_token(self.token, key, at=host.now()))
            request = build_system_user_request(
                host.environment, signed, tenant=tenant, application_token=application_token
            )
            response = await host.send(request)
            jwt = parse_system_user_response(
                response.status,
                response.headers,
                response.body,
                now=response.at,
                secrets=(signed, self.token, application_token),
            )
            try:
                claims = await app.keys.verify(jwt, tenant=tenant)
            except TokenNotTrusted as error:
                difference = responses.clock_difference(response.headers, response.at)
                if error.check != "lifetime" or difference is None:
                    raise
                message = f"{error}; this machine's clock is {difference}"
                raise TokenNotTrusted(message, check=error.check) from None
            return Ticket(claims.ticket)


class RefreshToken:
    """A person who signed in to the app with a browser, by the refresh token that the app keeps since then.

    The access token that it brings stands in place of a ticket (from Services86 on). It is renewed at 80 % of its
    lifetime.

    Attributes:
        value: the refresh token that holds now.
        client_id: of the app.
    """

    def __init__(self, value: str | Secret, *, client_id: str, on_change: OnChange | None = None) -> None:
        """Wrap a refresh token.

        Args:
            value: the token.
            client_id: of the app, in the app's environment.
            on_change: called with each new refresh token, a Secret, before it is used; may be async. The old one may
                be worth nothing then, so keep the new one. What it raises is logged.

        Raises:
            UsageError: a value is no text, or empty.
        """
        secret = Secret.wrap(value)
        del value
        is_text = isinstance(client_id, str) and client_id
        if not isinstance(secret, Secret) or secret == Secret("") or not is_text:
            raise UsageError("RefreshToken takes a token (a str or a Secret) and a client_id, none of them empty")
        if on_change is not None and not callable(on_change):
            raise UsageError("on_change is a function that takes a Secret, or None")
        self.value: Secret = secret
        self.client_id = client_id
        self._on_change = on_change
        self._lock = asyncio.Lock()  # several clients may share it, and a refresh may end the token

    def __repr__(self) -> str:
        """Return the client id, and nothing of the token."""
        return f"RefreshToken({self.value!r}, client_id={self.client_id!r})"

    async def sign_in(self, app: AppIdentity, tenant: str) -> Ticket:
        """Return a new access token, as a ticket that ends and does not slide.

        Raises:
            AuthenticationFailed: the token endpoint gives none.
            TransportError, ProtocolError: it gives no answer that can be used.
        """
        host = app.host
        async with self._lock:
            client_secret = await app.client_secret()
            with clean_traceback():
                request = build_refresh_request(
                    host.environment,
                    client_id=self.client_id,
                    client_secret=client_secret,
                    refresh_token=self.value,
                )
                response = await host.send(request)
                tokens = parse_token_response(
                    response.status,
                    response.headers,
                    response.body,
                    now=response.at,
                    secrets=(client_secret, self.value),
                )
            if tokens.refresh_token is not None and tokens.refresh_token != self.value:
                self.value = tokens.refresh_token
                await self._tell(tenant)
        now = datetime.now(UTC)  # the clock of the ticket's keeper, which counts from here
        return Ticket(
            tokens.access_token,
            expires_at=now + timedelta(seconds=min(tokens.expires_in, _LONGEST)),
            renew_at=now + timedelta(seconds=min(tokens.renew_after, _LONGEST)),
            sliding=False,
        )

    async def _tell(self, tenant: str) -> None:
        if self._on_change is None:
            log_record(
                logging.WARNING,
                "tenant %(tenant)s: a new refresh token came, and no on_change keeps it",
                tenant=tenant,
            )
            return
        try:
            told = self._on_change(self.value)
            if inspect.isawaitable(told):
                await told
        except Exception as error:  # noqa: BLE001 - the token holds, whatever the application does with it
            log_record(
                logging.ERROR,
                "tenant %(tenant)s: on_change failed with a new refresh token (%(error)s)",
                tenant=tenant,
                error=type(error).__name__,
            )


OnlineCredentials: TypeAlias = SystemUser | RefreshToken
"""Credentials that only an app at SuperOffice Online can use."""


def bound(credentials: OnlineCredentials, app: AppIdentity, tenant: str) -> Callable[[], Awaitable[Ticket]]:
    """Return a callable that signs in: what `Client` takes for `credentials=`."""

    async def sign_in() -> Ticket:
        try:
            return await credentials.sign_in(app, tenant)
        except SoapBatchError as error:
            error.proven_not_applied()  # the call that needs the ticket was not sent
            raise

    sign_in.__qualname__ = type(credentials).__name__
    return sign_in
