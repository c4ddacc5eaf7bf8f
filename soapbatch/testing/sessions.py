"""Who may come in: users, the tickets that SoPrincipal issues to them, and what becomes of those tickets.

A ticket is valid for 6 hours, and each use moves its end; an expired one stays expired.
"""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final, Literal

import attrs

from soapbatch.model import (
    AuthenticateResponse,
    EjUserStatus,
    RoleType,
    ServiceVersion,
    SoCredentials,
    SoPrincipalCarrier,
    UserType,
)
from soapbatch.testing.faults import ServerException, SessionRefused

VALIDITY: Final = 6 * 3600.0
"""Seconds for which a ticket is valid after its last use."""
AUTHENTICATION: Final = "SuperOffice.Exceptions.SoAuthenticationException"


@attrs.frozen(kw_only=True)
class User:
    """Somebody who can log in.

    Attributes:
        name: for AuthenticateUsernamePassword.
        password: likewise; masked in repr.
        associate_id: whose tasks are this user's.
        full_name: for people.
        generic: the pairs with which AuthenticateGeneric lets the user in; None: it does not.
    """

    name: str
    password: str = attrs.field(repr=lambda _: "'***'")
    associate_id: int
    full_name: str = ""
    generic: Mapping[str, str] | None = attrs.field(default=None, repr=False)


DEMO_USER: Final = User(name="demo", password="demo", associate_id=101, full_name="Demo User")  # noqa: S106 - public


@attrs.define
class _Session:
    user: User
    expires: float


@attrs.define
class Tickets:
    """The sessions of an embedded server.

    Attributes:
        refuse_logins: how every login is refused: by the flag AuthenticationSucceeded=false, by an exception,
            or not at all (None).
        implicit_user: who AuthenticateImplicit lets in; None: nobody.
        attempts: how many Authenticate operations there were.
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
        """Let `user` log in; one of the same name is replaced."""
        self._users[user.name] = user

    def issue(self, user: User | None = None) -> str:
        """Return a new ticket for `user`, or for the first one, without a login."""
        ticket = f"7T:{b64encode(secrets.token_bytes(18)).decode()}"
        self._sessions[ticket] = _Session(user or next(iter(self._users.values())), self._clock() + VALIDITY)
        return ticket

    def issue_access_token(self, user: User | None = None) -> str:
        """Return a new access token for `user`, or for the first one. It is valid until it is revoked."""
        token = f"8A:{secrets.token_urlsafe(24)}"
        self._access_tokens[token] = user or next(iter(self._users.values()))
        return token

    def revoke(self, ticket: str) -> None:
        """Refuse a ticket or access token from now on."""
        self._sessions.pop(ticket, None)
        self._access_tokens.pop(ticket, None)

    def revoke_all(self) -> None:
        """Refuse every ticket and access token issued so far."""
        self._sessions.clear()
        self._access_tokens.clear()

    def expires(self, ticket: str) -> float | None:
        """Return the clock's seconds at which a ticket ends unless it is used, or None where it is unknown."""
        session = self._sessions.get(ticket)
        return None if session is None else session.expires

    def check(self, ticket: str | None, version: ServiceVersion) -> User:
        """Return whose ticket it is and move its end, or raise SessionRefused."""
        if not ticket:
            raise SessionRefused("No credentials in request header")
        if version >= ServiceVersion.V86 and ticket in self._access_tokens:
            return self._access_tokens[ticket]
        session = self._sessions.get(ticket)
        now = self._clock()
        if session is None or now >= session.expires:
            # Real servers repeat the ticket here: whoever reads this must mask it.
            raise SessionRefused(f'Ticket is not valid "{ticket}"')
        session.expires = now + VALIDITY
        return session.user

    def by_password(self, name: str | None, password: str | None) -> AuthenticateResponse:
        """Answer AuthenticateUsernamePassword."""
        user = self._users.get(name or "")
        matches = user is not None and secrets.compare_digest(user.password.encode(), (password or "").encode())
        return self._log_in(user if matches else None)

    def by_access_token(self, token: str | None) -> AuthenticateResponse:
        """Answer AuthenticateWithAccessToken."""
        return self._log_in(self._access_tokens.get(token or ""))

    def by_generic(self, pairs: Mapping[str, str | None] | None) -> AuthenticateResponse:
        """Answer AuthenticateGeneric."""
        return self._log_in(
            next((u for u in self._users.values() if u.generic is not None and u.generic == pairs), None)
        )

    def implicitly(self) -> AuthenticateResponse:
        """Answer AuthenticateImplicit."""
        return self._log_in(self.implicit_user)

    def _log_in(self, user: User | None) -> AuthenticateResponse:
        self.attempts += 1
        if self.refuse_logins == "exception":
            raise ServerException(AUTHENTICATION, "The login was refused", "You cannot log in")
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
