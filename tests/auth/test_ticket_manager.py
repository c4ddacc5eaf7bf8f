"""One ticket for all calls: obtained once, renewed in time, dropped when refused. In virtual time."""

import asyncio
import contextlib
import gc
import itertools
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from soapbatch import (
    AccessToken,
    AuthenticationFailed,
    ClientClosed,
    ConnectFailed,
    Implicit,
    Secret,
    ServiceBusy,
    ServiceVersion,
    SoapBatchError,
    Ticket,
)
from soapbatch.auth import MemoryTicketStore, TicketStore
from soapbatch.auth.credentials import Credentials, as_provider
from soapbatch.auth.ticket_manager import IssuedTicket, TicketEvent, TicketManager, is_ending
from soapbatch.model.headers import SoCredentials
from soapbatch.model.principal import AuthenticateResponse
from soapbatch.operations import Operation
from tests.support.clients import now, virtual

MINUTE = 60.0
HOUR = 3600.0
EPOCH = datetime(2024, 2, 29, 12, tzinfo=UTC)


def wall_clock() -> datetime:
    """Return the date at the loop's time."""
    return EPOCH + timedelta(seconds=now())


@attrs.define
class Server:
    """The tickets of a NetServer: issues them, extends them at each use, and fails logins on demand.

    Attributes:
        lifetime: seconds that a ticket lasts from its last use.
        slow: seconds that a login takes.
        failure: the error that logins raise, or None.
        logins: when each login began.
    """

    lifetime: float = 6 * HOUR
    slow: float = 1.0
    failure: Exception | None = None
    logins: list[float] = attrs.field(factory=list)
    _ends: dict[Secret, float] = attrs.field(factory=dict)

    async def authenticate(
        self, _operation: Operation[AuthenticateResponse], _arguments: Mapping[str, object]
    ) -> AuthenticateResponse:
        """Log in, in place of the client's transport."""
        self.logins.append(now())
        await asyncio.sleep(self.slow)
        if self.failure is not None:
            raise self.failure
        ticket = Secret(f"7T:{len(self.logins)}")
        self._ends[ticket] = now() + self.lifetime
        return AuthenticateResponse(credentials=SoCredentials(ticket=ticket), authentication_succeeded=True)

    def manager(
        self,
        credentials: Credentials = Implicit(),  # noqa: B008 - immutable
        store: TicketStore | None = None,
        **options: Any,
    ) -> TicketManager:
        """Return a manager that logs in here."""
        provider = as_provider(credentials)
        options |= {"store": store, "wall_clock": wall_clock}
        return TicketManager(provider, self.authenticate, ServiceVersion.V88, **options)

    def takes(self, ticket: Secret) -> bool:
        """Use a ticket, and return whether it was valid."""
        if now() >= self._ends.get(ticket, 0.0):
            return False
        self._ends[ticket] = now() + self.lifetime
        return True

    def revoke(self) -> None:
        """Forget every ticket."""
        self._ends.clear()

    async def call(self, manager: TicketManager) -> bool:
        """Make one call as a client does, and return whether the server took its ticket."""
        ticket = await manager.current()
        if not self.takes(ticket.value):
            if not await manager.rejected(ticket):
                return False
            ticket = await manager.current()
            if not self.takes(ticket.value):
                return False
        manager.used(ticket)
        return True


# --- One login for all ------------------------------------------------------------------------------------------


@virtual
async def test_any_number_of_first_calls_cause_one_login() -> None:
    """1,000 calls that begin together share one login and its ticket."""
    server = Server()
    manager = server.manager()
    tickets = await asyncio.gather(*(manager.current() for _ in range(1000)))
    assert set(tickets) == {IssuedTicket(Secret("7T:1"), 1)}
    assert server.logins == [0.0]


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda _: asyncio.sleep(7 * HOUR), id="expired"),
        pytest.param(lambda server: asyncio.sleep(0, server.revoke()), id="revoked"),
    ],
)
@virtual
async def test_any_number_of_calls_over_an_expiry_cause_one_login(
    lose: Callable[[Server], Coroutine[object, object, None]],
) -> None:
    """1,000 calls at once, after the ticket was lost, all work and cause exactly one more login."""
    server = Server()
    manager = server.manager()
    assert await server.call(manager)
    await lose(server)
    assert all(await asyncio.gather(*(server.call(manager) for _ in range(1000))))
    assert len(server.logins) == 2


@virtual
async def test_a_ticket_in_use_lasts() -> None:
    """One call a minute for 24 hours needs one login, and no call fails."""
    server = Server()
    manager = server.manager()
    for _ in range(24 * 60):
        assert await server.call(manager)
        await asyncio.sleep(MINUTE)
    assert len(server.logins) == 1


@virtual
async def test_a_ticket_used_rarely_is_renewed_rarely() -> None:
    """One call every 5 h 57 min for a week: each call works, and causes at most one renewal."""
    server = Server()
    manager = server.manager()
    calls = 0
    while now() < 7 * 24 * HOUR:
        assert await server.call(manager)
        calls += 1
        await asyncio.sleep(6 * HOUR - 3 * MINUTE)
    assert len(server.logins) == calls


@virtual
async def test_a_ticket_is_renewed_when_it_says_so_however_often_it_is_used() -> None:
    """`renew_at` of a ticket that slides holds after each use, too."""
    fetched = []

    async def fetch() -> Ticket:
        fetched.append(now())
        return Ticket(f"7T:{len(fetched)}", renew_at=wall_clock() + timedelta(minutes=10))

    manager = Server().manager(fetch)
    for _ in range(60):
        manager.used(await manager.current())
        await asyncio.sleep(MINUTE)
    assert len(fetched) == 6


@virtual
async def test_a_token_that_does_not_slide_is_renewed_in_time() -> None:
    """With access tokens of one hour and one call a minute, no token is used after its end or fetched too often."""
    fetched = []

    async def fetch() -> Ticket:
        fetched.append(now())
        await asyncio.sleep(1)
        return Ticket(f"8A:{len(fetched)}", expires_at=wall_clock() + timedelta(hours=1))

    manager = Server().manager(AccessToken(fetch))
    for _ in range(24 * 60):
        ticket = await manager.current()
        number = int(ticket.value.reveal().partition(":")[2])
        assert now() < fetched[number - 1] + HOUR
        manager.used(ticket)
        await asyncio.sleep(MINUTE)
    assert 24 <= len(fetched) <= 24 * 60 / 50 + 1


@virtual
async def test_a_short_token_is_renewed_in_the_last_sixth_of_its_life() -> None:
    """A token of half an hour is renewed at most 5 minutes before its end, also late in the life of a client."""
    fetched = []

    async def fetch() -> Ticket:
        fetched.append(now())
        return Ticket(f"8A:{len(fetched)}", expires_at=wall_clock() + timedelta(minutes=30))

    await asyncio.sleep(10 * HOUR)
    manager = Server().manager(AccessToken(fetch))
    for _ in range(8 * 60):
        await manager.current()
        await asyncio.sleep(MINUTE)
    assert len(fetched) > 15
    assert all(25 * MINUTE <= later - earlier <= 30 * MINUTE for earlier, later in itertools.pairwise(fetched))


# --- Cancelling -------------------------------------------------------------------------------------------------


@virtual
async def test_cancelling_one_waiter_leaves_the_login_to_the_others() -> None:
    """The first of three waiters is cancelled; the other two get the ticket of the one login."""
    server = Server()
    manager = server.manager()
    waiters = [asyncio.create_task(manager.current()) for _ in range(3)]
    await asyncio.sleep(0.5)
    waiters[0].cancel()
    first, second, third = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert second == third == IssuedTicket(Secret("7T:1"), 1)
    assert server.logins == [0.0]


@virtual
async def test_a_login_counts_against_each_callers_own_deadline() -> None:
    """A call with a short timeout gives up; the login goes on for a call without one."""
    server = Server(slow=5)
    manager = server.manager()
    patient = asyncio.create_task(manager.current())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await manager.current()
    assert now() == 2
    await patient
    assert (now(), server.logins) == (5, [0.0])


@virtual
async def test_a_login_that_nobody_waits_for_is_cancelled() -> None:
    """Cancelling the last waiter cancels the login; no task is left, and the next call logs in."""
    server = Server()
    manager = server.manager()
    waiters = [asyncio.create_task(manager.current()) for _ in range(3)]
    await asyncio.sleep(0.5)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(waiter.cancelled() for waiter in waiters)
    assert await manager.current() == IssuedTicket(Secret("7T:2"), 1)


@virtual
async def test_a_cancelled_login_is_seen_to_its_end() -> None:
    """A login that takes time to stop is waited for, even if its last waiter is cancelled repeatedly."""
    begun = []

    async def reluctant() -> str:
        begun.append(now())
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
            raise
        return f"7T:{len(begun)}"

    manager = Server().manager(reluctant)
    waiter = asyncio.create_task(manager.current())
    for _ in range(3):
        await asyncio.sleep(0.5)
        waiter.cancel()
    next_one = asyncio.create_task(manager.current())
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert now() == 3.5
    await next_one
    assert begun == [0.0, 1.5]


@virtual
async def test_a_login_that_fails_while_it_is_cancelled_disturbs_nobody() -> None:
    """An error of a login whose last waiter was cancelled is neither reported nor kept for later calls."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    asked = []

    async def failing_at_first() -> str:
        asked.append(now())
        if len(asked) > 1:
            return "7T:second"
        try:
            await asyncio.sleep(10)
        finally:
            raise ConnectFailed

    manager = Server().manager(failing_at_first)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await manager.current()
    assert (await manager.current()).value == Secret("7T:second")
    assert complaints == []


@virtual
async def test_a_login_that_cannot_be_stopped_is_not_wasted() -> None:
    """A ticket that arrives although its login was cancelled is used by the next call."""
    asked = []

    async def unstoppable() -> str:
        asked.append(now())
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        return "7T:late"

    manager = Server().manager(unstoppable)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await manager.current()
    assert (await manager.current()).value == Secret("7T:late")
    assert asked == [0]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=1, max_size=8))
@virtual
async def test_callers_come_and_give_up_as_they_like(callers: list[tuple[int, int]]) -> None:
    """Calls start and give up at any time: one login runs at a time; each call gets a ticket or its own timeout."""
    running: list[int] = []

    async def three_seconds() -> str:
        running.append(1)
        try:
            assert len(running) == 1
            await asyncio.sleep(3)
        finally:
            running.pop()
        return "7T:x"

    manager = Server().manager(three_seconds)

    async def call(start: float, patience: float) -> None:
        await asyncio.sleep(start)
        try:
            async with asyncio.timeout(patience):
                assert (await manager.current()).generation == 1
        except TimeoutError:
            assert now() == start + patience
            assert patience <= 3

    await asyncio.gather(*(call(start + number / 100, patience) for number, (start, patience) in enumerate(callers)))
    assert not running


@virtual
async def test_a_login_cancelled_from_elsewhere_is_an_error() -> None:
    """A login that something else cancels raises an error in its callers, not a cancellation."""

    async def cancelled() -> str:
        raise asyncio.CancelledError

    with pytest.raises(AuthenticationFailed, match="cancelled by something other than its callers"):
        await Server().manager(cancelled).current()


# --- Failing ----------------------------------------------------------------------------------------------------


def refusal() -> AuthenticationFailed:
    """Return the error of a refused login, with attributes, a cause and a note."""
    error = AuthenticationFailed("no", user="anna", refused_by="server")
    error.__cause__ = OSError("cause")
    error.add_note("note")
    return error


@virtual
async def test_a_failed_login_is_shared() -> None:
    """Each of 100 waiters of one failed login gets an equal error of its own."""
    asked = []

    async def refuse() -> str:
        asked.append(now())
        await asyncio.sleep(1)
        raise refusal()

    manager = Server().manager(refuse)
    errors = await asyncio.gather(*(manager.current() for _ in range(100)), return_exceptions=True)
    assert asked == [0]
    assert len({id(error) for error in errors}) == 100
    for error in errors:
        assert isinstance(error, AuthenticationFailed)
        assert (str(error), error.user, error.refused_by, error.applied) == ("no", "anna", "server", "no")
        assert isinstance(error.__cause__, OSError)
        error.add_note("mine")
        assert error.__notes__ == ["note", "mine"]


@virtual
async def test_a_login_that_may_have_been_applied_leaves_the_call_unapplied() -> None:
    """A login whose response was lost raises `applied` "no" in its callers: their own operations were not sent."""
    error = ConnectFailed("lost", applied="unknown")
    with pytest.raises(ConnectFailed) as caught:
        await Server(failure=error).manager().current()
    assert caught.value.applied == "no"
    assert error.applied == "unknown"


@virtual
async def test_an_unforeseen_failure_is_shared_too() -> None:
    """A defect below the manager is raised, unchanged, in every waiter, and not only in the log of the event loop."""
    server = Server(failure=ZeroDivisionError())
    manager = server.manager()
    errors = await asyncio.gather(*(manager.current() for _ in range(3)), return_exceptions=True)
    assert errors == [server.failure] * 3


def busy(seconds: float) -> ServiceBusy:
    """Return a 429 with a Retry-After."""
    return ServiceBusy("busy", retry_after=seconds)


@pytest.mark.parametrize(
    ("failure", "logins"),
    [
        pytest.param(refusal(), [0, 5, 15, 35, 75, 135, 195, 255], id="refused"),
        pytest.param(ConnectFailed("no"), [0, 1, 3, 7, 15, 31, 63, 123, 183, 243], id="passing"),
        pytest.param(busy(100), [0, 100, 200, 300], id="Retry-After"),
        pytest.param(busy(86400), [0, 300], id="Retry-After of a day"),
        pytest.param(busy(2), [0, 2, 4, 8, 16, 32, 64, 124, 184, 244], id="short Retry-After"),
    ],
)
@virtual
async def test_a_failed_login_is_not_repeated_in_a_storm(failure: SoapBatchError, logins: list[float]) -> None:
    """Of ten calls a second after a failed login few log in, at growing intervals; the others raise the same error."""
    server = Server(slow=0, failure=failure)
    manager = server.manager()
    for tick in range(3001):
        with pytest.raises(type(failure)):
            await manager.current()
        await asyncio.sleep((tick + 1) / 10 - now())
    assert server.logins == pytest.approx(logins)


@virtual
async def test_a_login_that_works_ends_the_cool_down() -> None:
    """After a login that works, the next failure starts with the shortest cool-down."""
    server = Server(slow=0)
    manager = server.manager()
    for _ in range(2):
        server.failure = refusal()
        with pytest.raises(AuthenticationFailed):
            await manager.current()
        await asyncio.sleep(4.9)
        server.failure = None
        with pytest.raises(AuthenticationFailed):
            await manager.current()
        await asyncio.sleep(0.2)
        assert await manager.rejected(await manager.current())
    assert len(server.logins) == 4


# --- Refused tickets --------------------------------------------------------------------------------------------


@virtual
async def test_a_late_refusal_drops_no_fresh_ticket(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal of an older ticket allows a repeat, and does not drop the newer ticket. One is logged."""
    caplog.set_level(logging.INFO, "soapbatch")
    server = Server()
    manager = server.manager()
    old = await manager.current()
    manager.used(old)
    assert await manager.rejected(old)
    assert await manager.rejected(old)  # another call with it, before there is a new one
    new = await manager.current()
    assert new.generation == old.generation + 1
    assert await manager.rejected(old)
    assert await manager.current() is new
    assert len(server.logins) == 2
    refusals = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert refusals == ["the server refused ticket 1; the client obtains another one"]


@virtual
async def test_a_late_success_of_an_old_ticket_moves_nothing() -> None:
    """The use of an older ticket does not extend the current one."""
    server = Server(slow=0)
    manager = server.manager()
    old = await manager.current()
    assert await manager.rejected(old)
    manager.used(old)
    await manager.current()
    await asyncio.sleep(5 * HOUR)
    manager.used(old)
    assert (await manager.ticket()).expires_at == EPOCH + timedelta(hours=6)


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(Ticket("7T:fixed", expires_at=EPOCH + timedelta(hours=1)), id="ticket"),
        pytest.param(AccessToken("8A:fixed"), id="token"),
    ],
)
@virtual
async def test_what_was_handed_in_is_never_renewed(credentials: Credentials) -> None:
    """A fixed ticket is used even after its end, since the server's clock decides; its refusal allows no repeat."""
    server = Server()
    manager = server.manager(credentials)
    ticket = await manager.current()
    await asyncio.sleep(24 * HOUR)
    assert await manager.current() is ticket
    assert not await manager.rejected(ticket)
    assert await manager.current() is ticket
    assert server.logins == []


@virtual
async def test_a_server_that_refuses_what_it_issues_is_not_stormed() -> None:
    """Where the server refuses every new ticket, one call a second causes at most one login in 5 s."""
    server = Server(lifetime=0, slow=0)
    manager = server.manager()
    for _ in range(60):
        assert not await server.call(manager)
        await asyncio.sleep(1)
    assert len(server.logins) <= 1 + 60 / 5
    server.lifetime = HOUR
    await asyncio.sleep(5)
    assert await server.call(manager)


# --- Renewal ahead ----------------------------------------------------------------------------------------------


async def nearly_ended(server: Server, store: TicketStore | None = None) -> TicketManager:
    """Return a manager whose ticket ends in 4 minutes, after 6 hours."""
    manager = server.manager(store=store)
    await manager.current()
    await asyncio.sleep(6 * HOUR - 4 * MINUTE)
    return manager


@virtual
async def test_renewal_is_ahead_and_delays_nobody() -> None:
    """Near the end of the old ticket calls get it at once, while one login obtains a new ticket."""
    server = Server()
    manager = await nearly_ended(server)
    began = now()
    old = {await manager.current() for _ in range(100)}
    assert (now(), old) == (began, {IssuedTicket(Secret("7T:1"), 1)})
    await asyncio.sleep(2 * server.slow)
    assert await manager.current() == IssuedTicket(Secret("7T:2"), 2)
    assert len(server.logins) == 2


def test_when_a_ticket_ends_soon() -> None:
    """Ten minutes before its end a ticket is renewed; one without an end never."""
    ten = timedelta(minutes=10)
    assert is_ending(Ticket("7T:1", expires_at=EPOCH + ten), EPOCH)
    assert not is_ending(Ticket("7T:1", expires_at=EPOCH + ten + timedelta(microseconds=1)), EPOCH)
    assert not is_ending(Ticket("7T:1"), EPOCH)


@virtual
async def test_many_managers_renew_at_different_moments() -> None:
    """100 managers with tickets of the same age renew 5 to 10 minutes before the end, at different times."""
    servers = [Server(slow=0) for _ in range(100)]
    managers = [server.manager() for server in servers]
    await asyncio.gather(*(manager.current() for manager in managers))
    await asyncio.sleep(6 * HOUR - 11 * MINUTE)
    while now() < 6 * HOUR:
        await asyncio.gather(*(manager.current() for manager in managers))
        await asyncio.sleep(10)
    ahead = [6 * HOUR - server.logins[1] for server in servers]
    assert min(ahead) >= 5 * MINUTE - 10
    assert max(ahead) <= 10 * MINUTE
    assert len(set(ahead)) > 10


@virtual
async def test_a_renewal_that_fails_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """While renewals ahead of the end fail, calls use the old ticket to its end; then they raise the failure."""
    server = Server(slow=0)
    manager = await nearly_ended(server)
    server.failure = refusal()
    while now() < 6 * HOUR:
        assert (await manager.current()).generation == 1
        await asyncio.sleep(1)
    assert [login - (6 * HOUR - 4 * MINUTE) for login in server.logins[1:]] == [0, 5, 15, 35, 75, 135, 195]
    with pytest.raises(AuthenticationFailed):
        await manager.current()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned[0] == "the login failed (AuthenticationFailed); none is tried for the next 5 s"
    await asyncio.sleep(15)
    server.failure = None
    assert (await manager.current()).generation == 2
    gc.collect()  # what nobody has looked at is reported then
    assert not [record for record in caplog.records if record.name == "asyncio"]


@virtual
async def test_a_renewal_ahead_is_joined_when_the_old_ticket_ends() -> None:
    """Calls wait for a renewal that outlasts the old ticket; cancelling a call does not cancel the renewal."""
    server = Server()
    manager = await nearly_ended(server)
    server.slow = 5 * MINUTE
    await manager.current()
    await asyncio.sleep(4 * MINUTE)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await manager.current()
    assert (await manager.current()).generation == 2
    assert len(server.logins) == 2


# --- Reading out, closing ---------------------------------------------------------------------------------------


@virtual
async def test_a_ticket_is_read_out_with_its_expiry() -> None:
    """The current ticket has an expiry, so that another client knows when it ends."""
    server = Server()
    manager = server.manager()
    await server.call(manager)
    await asyncio.sleep(HOUR)
    await server.call(manager)
    ticket = await manager.ticket()
    assert ticket == Ticket("7T:1", expires_at=EPOCH + timedelta(hours=7, seconds=1))
    await asyncio.sleep(HOUR)
    other = server.manager(ticket)
    assert await server.call(other)
    assert (await other.ticket()).expires_at == EPOCH + timedelta(hours=8, seconds=1)


@virtual
async def test_dates_are_the_machines_by_default() -> None:
    """Without `wall_clock` a manager uses the machine's date for the end of a ticket."""
    manager = TicketManager(Implicit(), Server(slow=0).authenticate, ServiceVersion.V88)
    expires_at = (await manager.ticket()).expires_at
    assert expires_at is not None
    assert abs(expires_at - datetime.now(UTC) - timedelta(hours=6)) < timedelta(minutes=1)


@virtual
async def test_a_token_without_an_expiry_is_read_out_without_one() -> None:
    """An access token of unknown end keeps no expiry when it is used; a refusal fetches another token."""
    fetched = []

    async def fetch() -> str:
        fetched.append(now())
        return f"8A:{len(fetched)}"

    manager = Server().manager(AccessToken(fetch))
    for _ in range(48):
        manager.used(await manager.current())
        await asyncio.sleep(HOUR)
    assert await manager.ticket() == Ticket("8A:1", sliding=False)
    assert await manager.rejected(await manager.current())
    assert await manager.ticket() == Ticket("8A:2", sliding=False)
    assert len(fetched) == 2


@virtual
async def test_a_ticket_that_ends_at_the_last_date_is_read_out() -> None:
    """A callable may say "never" as datetime.max: rounding the remaining seconds causes no OverflowError."""
    never = datetime.max.replace(tzinfo=UTC)

    async def fetch() -> Ticket:
        return Ticket("8A:x", expires_at=never, sliding=False)

    manager = Server().manager(fetch)
    for _ in range(100):
        expires_at = (await manager.ticket()).expires_at
        assert expires_at is not None
        assert never - expires_at < timedelta(milliseconds=1)
        await asyncio.sleep(0.0137)


@pytest.mark.parametrize("is_ahead", [pytest.param(False, id="awaited"), pytest.param(True, id="ahead")])
@virtual
async def test_closing_ends_a_login(*, is_ahead: bool) -> None:
    """`aclose` cancels a login in flight, raises ClientClosed in its waiters, and leaves no task; it is idempotent."""
    server = Server()
    manager = await nearly_ended(server) if is_ahead else server.manager()
    server.slow = HOUR
    if is_ahead:
        await manager.current()
        await asyncio.sleep(4 * MINUTE)
    waiter = asyncio.create_task(manager.current())
    await asyncio.sleep(1)
    await manager.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "soapbatch login"]
    with pytest.raises(ClientClosed):
        await waiter
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert manager._held is None  # nothing shows the ticket any more
    await manager.aclose()
    with pytest.raises(ClientClosed):
        await manager.current()


@virtual
async def test_a_refusal_after_closing_allows_no_repeat() -> None:
    """A call whose ticket is refused after closing is not repeated, and a late success is no error."""
    server = Server()
    manager = server.manager()
    ticket = await manager.current()
    await manager.aclose()
    assert not await manager.rejected(ticket)
    manager.used(ticket)


# --- Sharing ----------------------------------------------------------------------------------------------------


@attrs.define
class NotingStore(MemoryTicketStore):
    """A store in memory that records its writes, and can be slow or fail."""

    ticket: Ticket | None = None
    slow_get: float = 0.0
    slow_put: float = 0.0
    failure: Exception | None = None
    puts: list[float] = attrs.field(factory=list)

    async def get(self) -> Ticket | None:
        """Return the ticket that was put last."""
        await self._work(self.slow_get)
        return self.ticket

    async def put(self, ticket: Ticket, /) -> None:
        """Keep `ticket`."""
        self.puts.append(now())
        await self._work(self.slow_put)
        self.ticket = ticket

    async def _work(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.failure is not None:
            raise self.failure


async def settle(manager: TicketManager) -> None:
    """Wait until the work in the background is done."""
    await manager.current()
    await asyncio.sleep(0.001)


@virtual
async def test_a_stored_ticket_saves_a_login() -> None:
    """Two managers with one store share one login, the expiry that a use moves, and each renewal."""
    server, store = Server(), MemoryTicketStore()
    first, second = server.manager(store=store), server.manager(store=store)
    assert await server.call(first)
    assert await server.call(second)
    assert len(server.logins) == 1
    await asyncio.sleep(5.5 * HOUR)
    assert await server.call(first)
    await asyncio.sleep(HOUR)
    assert await server.call(second)  # the second manager believes that its ticket has ended
    assert (await second.current()).generation == 1
    assert len(server.logins) == 1
    server.revoke()
    assert await server.call(first)
    assert await server.call(second)
    assert await first.ticket() == await second.ticket()
    assert len(server.logins) == 2
    await settle(first)


@pytest.mark.parametrize(
    ("ticket", "is_taken"),
    [
        pytest.param(None, False, id="empty"),
        pytest.param(Ticket("7T:stored", expires_at=EPOCH + timedelta(hours=1)), True, id="an hour left"),
        pytest.param(Ticket("7T:stored", expires_at=EPOCH + timedelta(minutes=9)), False, id="about to end"),
        pytest.param(Ticket("7T:stored", expires_at=EPOCH - timedelta(days=9)), False, id="ended"),
        pytest.param(Ticket("7T:stored"), True, id="without an expiry"),
        pytest.param("7T:stored", False, id="no Ticket at all"),
    ],
)
@virtual
async def test_a_stored_ticket_is_taken_if_it_is_worth_it(ticket: Ticket | None, *, is_taken: bool) -> None:
    """A stored ticket is used unless it has ended or ends soon; otherwise a new ticket replaces it."""
    server, store = Server(), NotingStore(ticket)
    manager = server.manager(store=store)
    taken = await manager.current()
    assert taken.value == Secret("7T:stored" if is_taken else "7T:1")
    await settle(manager)
    assert store.ticket == (ticket if is_taken else Ticket("7T:1", expires_at=EPOCH + timedelta(hours=6, seconds=1)))


@virtual
async def test_a_refused_ticket_is_not_taken_from_the_store_again() -> None:
    """When the server refuses the stored ticket, the manager logs in, and the new ticket replaces the stored one."""
    server, store = Server(slow=0), NotingStore(Ticket("7T:stale", expires_at=EPOCH + timedelta(hours=1)))
    manager = server.manager(store=store)
    assert await server.call(manager)
    assert len(server.logins) == 1
    await settle(manager)
    assert store.ticket == Ticket("7T:1", expires_at=EPOCH + timedelta(hours=6))


@virtual
async def test_uses_are_stored_sparingly() -> None:
    """One call every 10 s for an hour causes one write to the store in 5 minutes."""
    server, store = Server(slow=0), NotingStore()
    manager = server.manager(store=store)
    while now() < HOUR:
        assert await server.call(manager)
        await asyncio.sleep(10)
    assert store.puts == [300.0 * number for number in range(12)]
    assert store.ticket is not None
    assert store.ticket.expires_at == EPOCH + timedelta(hours=6, minutes=55)


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(NotingStore(failure=OSError("disk on fire")), id="fails"),
        pytest.param(NotingStore(slow_get=HOUR, slow_put=HOUR), id="takes too long"),
    ],
)
@virtual
async def test_a_store_that_fails_costs_no_call(store: NotingStore, caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails or hangs delays a login by at most 5 s, fails no call, and causes one warning."""
    caplog.set_level(logging.DEBUG)
    server = Server(slow=0)
    manager = server.manager(store=store)
    assert await server.call(manager)
    assert now() <= 5
    for _ in range(3):
        await asyncio.sleep(10 * MINUTE)
        assert await server.call(manager)
    await manager.aclose()
    said = [record.levelname for record in caplog.records if "the ticket store failed" in record.getMessage()]
    assert said == ["WARNING", "DEBUG", "DEBUG", "DEBUG", "DEBUG"]
    assert len(server.logins) == 1


@virtual
async def test_a_ticket_obtained_during_a_write_is_written_too() -> None:
    """A new ticket that arrives while the old one is written is written next; closing waits for both writes."""
    server, store = Server(slow=0), NotingStore(slow_put=2)
    manager = server.manager(store=store)
    assert await manager.rejected(await manager.current())
    await manager.current()
    await manager.aclose()
    assert store.puts == [0, 2]
    assert store.ticket == Ticket("7T:2", expires_at=EPOCH + timedelta(hours=6))


@virtual
async def test_a_ticket_refused_before_its_write_is_not_written() -> None:
    """A ticket that the server refuses while an earlier write runs is dropped from the queue of the store."""
    server, store = Server(slow=0), NotingStore(slow_put=2)
    manager = server.manager(store=store)
    first = await manager.current()
    await settle(manager)
    assert await manager.rejected(first)
    second = await manager.current()
    manager.used(second)
    assert await manager.rejected(second)
    await manager.aclose()
    assert store.puts == [0]
    assert store.ticket == Ticket("7T:1", expires_at=EPOCH + timedelta(hours=6))


@virtual
async def test_closing_without_a_write_ends_at_once() -> None:
    """A manager that took its ticket from the store has nothing to write when it is closed."""
    store = NotingStore(Ticket("7T:stored", expires_at=EPOCH + timedelta(hours=1)))
    manager = Server().manager(store=store)
    await manager.current()
    await manager.aclose()
    assert (store.puts, now()) == ([], 0)


@virtual
async def test_a_fixed_ticket_is_not_shared() -> None:
    """A fixed ticket is neither replaced from a store nor written to one."""
    store = NotingStore(Ticket("7T:stored"))
    server = Server()
    manager = server.manager(Ticket("7T:fixed"), store)
    ticket = await manager.current()
    manager.used(ticket)
    await settle(manager)
    assert ticket.value == Secret("7T:fixed")
    assert store.ticket == Ticket("7T:stored")
    assert store.puts == []


# --- Events -------------------------------------------------------------------------------------------------------


@virtual
async def test_events() -> None:
    """A ticket is obtained, renewed ahead of its end, refused and obtained again; a login fails. None is told twice."""
    events: list[TicketEvent] = []
    server = Server(lifetime=3600)

    async def obtain() -> Ticket:
        answer = await server.authenticate(None, {})  # type: ignore[arg-type]  # it looks at neither
        assert answer.credentials is not None
        ticket = answer.credentials.ticket
        assert isinstance(ticket, Secret)
        return Ticket(ticket, expires_at=wall_clock() + timedelta(seconds=3600), sliding=False)

    manager = server.manager(obtain, on_event=events.append)
    await asyncio.gather(*(server.call(manager) for _ in range(10)))
    await asyncio.sleep(3590)
    await asyncio.gather(*(server.call(manager) for _ in range(10)))
    await asyncio.sleep(10)
    server.revoke()
    assert await server.call(manager)
    server.failure = AuthenticationFailed("no")
    server.revoke()
    with pytest.raises(AuthenticationFailed):
        await server.call(manager)
    told = [(event.kind, event.generation, event.error) for event in events]
    assert told == [
        ("obtained", 1, None),
        ("renewed", 2, None),
        ("refused", 2, None),
        ("obtained", 3, None),
        ("refused", 3, None),
        ("failed", None, "AuthenticationFailed"),
    ]
    assert {event.version for event in events} == {ServiceVersion.V88}
