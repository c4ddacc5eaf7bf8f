"""The users of an embedded server, and the tickets and access tokens that the server issues to them.

A ticket is valid until 6 hours after its last use.
"""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final, Literal

import attrs

from soapbatch.model import (
    MASK,
    AuthenticateResponse,
    EjUserStatus,
    RoleType,
    ServiceVersion,
    SoCredentials,
    SoPrincipalCarrier,
    UserType,
)
from soapbatch.testing.faults import ServerException, SessionRefused

TICKET_LIFETIME: Final = 6 * 3600.0
"""Seconds for which a ticket is valid after its last use."""
_AUTHENTICATION_EXCEPTION: Final = "SuperOffice.Exceptions.SoAuthenticationException"


@attrs.frozen(kw_only=True)
class User:
    """A user who can log in.

    Attributes:
        name: the user name for AuthenticateUsernamePassword.
        password: the password for AuthenticateUsernamePassword; masked in repr.
        associate_id: the associate id of the user's tasks.
        full_name: the name for people.
        generic: the names and values for AuthenticateGeneric; None: the user cannot log in by that operation.
    """

    name: str
    password: str = attrs.field(repr=lambda _: repr(MASK))
    associate_id: int
    full_name: str = ""
    generic: Mapping[str, str] | None = attrs.field(default=None, repr=False)


DEMO_USER: Final = User(name="demo", password="demo", associate_id=101, full_name="Demo User")  # noqa: S106 - no secret


@attrs.define
class _Session:
    user: User
    expires: float


@attrs.define
class SessionStore:
    """The users and sessions of an embedded server. `NetServer.tickets` is one.

    Attributes:
        refuse_logins: how the server refuses every login: "flag" (AuthenticationSucceeded=false) or "exception";
            None: it accepts the right ones.
        implicit_user: the user of AuthenticateImplicit; None: the operation refuses everybody.
        attempts: how many Authenticate operations the server has run.
        logins: how many of them succeeded.
    """

    _clock: Callable[[], float]
    _users: dict[str, User] = attrs.field(factory=dict, repr=False)
    refuse_logins: Literal["flag", "exception"] | None = None
    implicit_user: User | None = None
    attempts: int = 0
    logins: int = 0
    _sessions: dict[str, _Session] = attrs.field(init=False, factory=dict, repr=False)
    _access_tokens: dict[str, User] = attrs.field(init=False, factory=dict, repr=False)

    def add_user(self, user: User) -> None:
        """Add a user; a user of the same name is replaced."""
        self._users[user.name] = user

    def issue(self, user: User | None = None) -> str:
        """Return a new ticket for `user`, without a login; None: for the first user."""
        ticket = f"7T:{b64encode(secrets.token_bytes(18)).decode()}"
        self._sessions[ticket] = _Session(user or next(iter(self._users.values())), self._clock() + TICKET_LIFETIME)
        return ticket

    def issue_access_token(self, user: User | None = None) -> str:
        """Return a new access token for `user`, valid until it is revoked; None: for the first user."""
        token = f"8A:{secrets.token_urlsafe(24)}"
        self._access_tokens[token] = user or next(iter(self._users.values()))
        return token

    def revoke(self, ticket: str) -> None:
        """Make a ticket or an access token invalid."""
        self._sessions.pop(ticket, None)
        self._access_tokens.pop(ticket, None)

    def revoke_all(self) -> None:
        """Make every ticket and every access token that was issued so far invalid."""
        self._sessions.clear()
        self._access_tokens.clear()

    def expires(self, ticket: str) -> float | None:
        """Return the clock's seconds at which an unused ticket expires, or None for an unknown ticket."""
        session = self._sessions.get(ticket)
        return None if session is None else session.expires

    def check(self, ticket: str | None, version: ServiceVersion) -> User:
        """Return the user of a ticket, whose 6 hours begin again.

        Raises:
            SessionRefused: the ticket is missing, unknown or expired.
        """
        if not ticket:
            raise SessionRefused("No credentials in request header")
        if version >= ServiceVersion.V86 and ticket in self._access_tokens:
            return self._access_tokens[ticket]
        session = self._sessions.get(ticket)
        now = self._clock()
        if session is None or now >= session.expires:
            # The message of a real server contains the ticket too: clients must mask it.
            raise SessionRefused(f'Ticket is not valid "{ticket}"')
        session.expires = now + TICKET_LIFETIME
        return session.user

    def by_password(self, name: str | None, password: str | None) -> AuthenticateResponse:
        """Run AuthenticateUsernamePassword."""
        user = self._users.get(name or "")
        matches = user is not None and secrets.compare_digest(user.password.encode(), (password or "").encode())
        return self._log_in(user if matches else None)

    def by_access_token(self, token: str | None) -> AuthenticateResponse:
        """Run AuthenticateWithAccessToken."""
        return self._log_in(self._access_tokens.get(token or ""))

    def by_generic(self, pairs: Mapping[str, str | None] | None) -> AuthenticateResponse:
        """Run AuthenticateGeneric."""
        matching = (user for user in self._users.values() if user.generic is not None and user.generic == pairs)
        return self._log_in(next(matching, None))

    def implicitly(self) -> AuthenticateResponse:
        """Run AuthenticateImplicit."""
        return self._log_in(self.implicit_user)

    def _log_in(self, user: User | None) -> AuthenticateResponse:
        self.attempts += 1
        if self.refuse_logins == "exception":
            raise ServerException(_AUTHENTICATION_EXCEPTION, "The login was refused", "You cannot log in")
        if user is None or self.refuse_logins == "flag":
            return AuthenticateResponse(authentication_succeeded=False)
        self.logins += 1
        return AuthenticateResponse(
            response=SoPrincipalCarrier(
                user_type=UserType.INTERNAL_ASSOCIATE,
                associate=user.name,
                associate_id=user.associate_id,
                is_person=True,
                person_id=user.associate_id,
                role_id=1,
                role_name="User level 0",
                role_type=RoleType.EMPLOYEE,
                licenses=[],
                full_name=user.full_name,
                function_rights=["batch-start", "batch-stop"],
                ej_user_status=EjUserStatus.STATUS_NONE,
                provided_credentials=[],
                secondary_groups=[],
                database_context_identifier="Cust12345",
            ),
            credentials=SoCredentials(ticket=self.issue(user)),
            authentication_succeeded=True,
        )
