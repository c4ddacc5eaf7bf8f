"""One ticket for all calls: obtained once, renewed in time, dropped when refused. On a clock that costs nothing."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta

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
from soapbatch.auth.ticket_manager import IssuedTicket, TicketManager
from soapbatch.model.headers import SoCredentials
from soapbatch.model.principal import AuthenticateResponse
from soapbatch.operations import Operation
from tests.support.clients import now, virtual

MINUTE = 60.0
HOUR = 3600.0
EPOCH = datetime(2024, 2, 29, 12, tzinfo=UTC)


def wall_clock() -> datetime:
    """Return the date that goes with it."""
    return EPOCH + timedelta(seconds=now())


@attrs.define
class Server:
    """A NetServer reduced to its tickets: issues them, slides their end with each use, and can be told to refuse.

    Attributes:
        lifetime: seconds that a ticket lasts from its last use.
        slow: seconds that a login takes.
        failure: what logins raise instead.
        logins: when each of them began.
    """

    lifetime: float = 6 * HOUR
    slow: float = 1.0
    failure: Exception | None = None
    logins: list[float] = attrs.field(factory=list)
    _ends: dict[Secret, float] = attrs.field(factory=dict)

    async def authenticate(
        self, _operation: Operation[AuthenticateResponse], _arguments: Mapping[str, object]
    ) -> AuthenticateResponse:
        """Log in, by the client's transport as it were."""
        self.logins.append(now())
        await asyncio.sleep(self.slow)
        if self.failure is not None:
            raise self.failure
        ticket = Secret(f"7T:{len(self.logins)}")
        self._ends[ticket] = now() + self.lifetime
        return AuthenticateResponse(credentials=SoCredentials(ticket=ticket), authentication_succeeded=True)

    def keeper(self, credentials: Credentials = Implicit(), store: TicketStore | None = None) -> TicketManager:  # noqa: B008 - immutable
        """Return a keeper whose logins come here."""
        version = ServiceVersion.V88
        return TicketManager(as_provider(credentials), self.authenticate, version, store=store, wall_clock=wall_clock)

    def takes(self, ticket: Secret) -> bool:
        """Use a ticket, and return whether it still was one."""
        if now() >= self._ends.get(ticket, 0.0):
            return False
        self._ends[ticket] = now() + self.lifetime
        return True

    def revoke(self) -> None:
        """Forget every ticket."""
        self._ends.clear()

    async def call(self, keeper: TicketManager) -> bool:
        """Make one call as a client does, and return whether it worked."""
        ticket = await keeper.current()
        if not self.takes(ticket.value):
            if not await keeper.rejected(ticket):
                return False
            ticket = await keeper.current()
            if not self.takes(ticket.value):
                return False
        keeper.used(ticket)
        return True


# --- One login for all ------------------------------------------------------------------------------------------


@virtual
async def test_any_number_of_first_calls_cause_one_login() -> None:
    """1,000 calls that begin together share one login and its ticket."""
    server = Server()
    keeper = server.keeper()
    tickets = await asyncio.gather(*(keeper.current() for _ in range(1000)))
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
    """1,000 calls at once after the ticket was lost work, and cause exactly one more login."""
    server = Server()
    keeper = server.keeper()
    assert await server.call(keeper)
    await lose(server)
    assert all(await asyncio.gather(*(server.call(keeper) for _ in range(1000))))
    assert len(server.logins) == 2


@virtual
async def test_a_ticket_in_use_lasts() -> None:
    """24 hours of one call a minute need one login, and no call fails."""
    server = Server()
    keeper = server.keeper()
    for _ in range(24 * 60):
        assert await server.call(keeper)
        await asyncio.sleep(MINUTE)
    assert len(server.logins) == 1


@virtual
async def test_a_ticket_used_rarely_is_renewed_rarely() -> None:
    """One call every 5 h 57 min for a week: each comes close to the end, works, and causes one renewal at most."""
    server = Server()
    keeper = server.keeper()
    calls = 0
    while now() < 7 * 24 * HOUR:
        assert await server.call(keeper)
        calls += 1
        await asyncio.sleep(6 * HOUR - 3 * MINUTE)
    assert len(server.logins) == calls


@virtual
async def test_a_token_that_does_not_slide_is_renewed_in_time() -> None:
    """24 hours of one call a minute with access tokens of one hour: none is used too late, none fetched too often."""
    fetched = []

    async def fetch() -> Ticket:
        fetched.append(now())
        await asyncio.sleep(1)
        return Ticket(f"8A:{len(fetched)}", expires_at=wall_clock() + timedelta(hours=1))

    keeper = Server().keeper(AccessToken(fetch))
    for _ in range(24 * 60):
        ticket = await keeper.current()
        number = int(ticket.value.reveal().partition(":")[2])
        assert now() < fetched[number - 1] + HOUR
        keeper.used(ticket)
        await asyncio.sleep(MINUTE)
    assert 24 <= len(fetched) <= 24 * 60 / 50 + 1


# --- Cancelling -------------------------------------------------------------------------------------------------


@virtual
async def test_cancelling_one_waiter_leaves_the_login_to_the_others() -> None:
    """The first of three waiters is cancelled; the other two get the ticket of the one login."""
    server = Server()
    keeper = server.keeper()
    waiters = [asyncio.create_task(keeper.current()) for _ in range(3)]
    await asyncio.sleep(0.5)
    waiters[0].cancel()
    first, second, third = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert second == third == IssuedTicket(Secret("7T:1"), 1)
    assert server.logins == [0.0]


@virtual
async def test_a_login_counts_against_each_callers_own_deadline() -> None:
    """A caller with little time gives up alone; the login goes on for one with more."""
    server = Server(slow=5)
    keeper = server.keeper()
    patient = asyncio.create_task(keeper.current())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await keeper.current()
    assert now() == 2
    await patient
    assert (now(), server.logins) == (5, [0.0])


@virtual
async def test_a_login_that_nobody_waits_for_is_cancelled() -> None:
    """When the last waiter is cancelled so is the login, with no task left behind, and the next call logs in."""
    server = Server()
    keeper = server.keeper()
    waiters = [asyncio.create_task(keeper.current()) for _ in range(3)]
    await asyncio.sleep(0.5)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(waiter.cancelled() for waiter in waiters)
    assert await keeper.current() == IssuedTicket(Secret("7T:2"), 1)


@virtual
async def test_a_cancelled_login_is_seen_to_its_end() -> None:
    """A login that takes time to give up is waited for, however often its last waiter is cancelled."""
    begun = []

    async def reluctant() -> str:
        begun.append(now())
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
            raise
        return f"7T:{len(begun)}"

    keeper = Server().keeper(reluctant)
    waiter = asyncio.create_task(keeper.current())
    for _ in range(3):
        await asyncio.sleep(0.5)
        waiter.cancel()
    next_one = asyncio.create_task(keeper.current())
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert now() == 3.5
    await next_one
    assert begun == [0.0, 1.5]


@virtual
async def test_a_login_that_fails_while_it_is_cancelled_disturbs_nobody() -> None:
    """What a login raises after its last waiter was cancelled is neither reported nor remembered as a failure."""
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

    keeper = Server().keeper(failing_at_first)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await keeper.current()
    assert (await keeper.current()).value == Secret("7T:second")
    assert complaints == []


@virtual
async def test_a_login_that_cannot_be_stopped_is_not_wasted() -> None:
    """A ticket that comes although its login was cancelled serves the next call."""
    asked = []

    async def unstoppable() -> str:
        asked.append(now())
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        return "7T:late"

    keeper = Server().keeper(unstoppable)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await keeper.current()
    assert (await keeper.current()).value == Secret("7T:late")
    assert asked == [0]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=1, max_size=8))
@virtual
async def test_callers_come_and_give_up_as_they_like(callers: list[tuple[int, int]]) -> None:
    """Whoever comes whenever and waits however long: one login at a time, and each gets a ticket or its own timeout."""
    running: list[int] = []

    async def three_seconds() -> str:
        running.append(1)
        try:
            assert len(running) == 1
            await asyncio.sleep(3)
        finally:
            running.pop()
        return "7T:x"

    keeper = Server().keeper(three_seconds)

    async def call(start: float, patience: float) -> None:
        await asyncio.sleep(start)
        try:
            async with asyncio.timeout(patience):
                assert (await keeper.current()).generation == 1
        except TimeoutError:
            assert now() == start + patience
            assert patience <= 3

    await asyncio.gather(*(call(start + number / 100, patience) for number, (start, patience) in enumerate(callers)))
    assert not running


@virtual
async def test_a_login_cancelled_from_elsewhere_is_an_error() -> None:
    """A login that ends in a cancellation which no caller asked for gives callers an error, not a cancellation."""

    async def cancelled() -> str:
        raise asyncio.CancelledError

    with pytest.raises(AuthenticationFailed, match="cancelled by something other than its callers"):
        await Server().keeper(cancelled).current()


# --- Failing ----------------------------------------------------------------------------------------------------


def refusal() -> AuthenticationFailed:
    """Return a refused login with all that may hang on an error."""
    error = AuthenticationFailed("no")
    error.user, error.refused_by, error.__cause__ = "anna", "server", OSError("cause")
    error.add_note("note")
    return error


@virtual
async def test_a_failed_login_is_shared() -> None:
    """100 waiters of one failed login each get an error of their own that says the same."""
    asked = []

    async def refuse() -> str:
        asked.append(now())
        await asyncio.sleep(1)
        raise refusal()

    keeper = Server().keeper(refuse)
    errors = await asyncio.gather(*(keeper.current() for _ in range(100)), return_exceptions=True)
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
    """A login whose answer was lost fails its callers with `applied` "no": their own operations were not sent."""
    error = ConnectFailed("lost")
    error.applied = "unknown"
    with pytest.raises(ConnectFailed) as caught:
        await Server(failure=error).keeper().current()
    assert caught.value.applied == "no"
    assert error.applied == "unknown"


@virtual
async def test_an_unforeseen_failure_is_shared_too() -> None:
    """A defect below the keeper reaches every waiter as it is, and not only the log of the event loop."""
    server = Server(failure=ZeroDivisionError())
    keeper = server.keeper()
    errors = await asyncio.gather(*(keeper.current() for _ in range(3)), return_exceptions=True)
    assert errors == [server.failure] * 3


def busy(seconds: float) -> ServiceBusy:
    """Return a 429 with a Retry-After."""
    error = ServiceBusy("busy")
    error.retry_after = seconds
    return error


@pytest.mark.parametrize(
    ("failure", "logins"),
    [
        pytest.param(refusal(), [0, 5, 15, 35, 75, 135, 195, 255], id="refused"),
        pytest.param(ConnectFailed("no"), [0, 1, 3, 7, 15, 31, 63, 123, 183, 243], id="passing"),
        pytest.param(busy(100), [0, 100, 200, 300], id="told to wait"),
        pytest.param(busy(86400), [0, 300], id="told to wait for a day"),
        pytest.param(busy(2), [0, 2, 4, 8, 16, 32, 64, 124, 184, 244], id="told to wait a little"),
    ],
)
@virtual
async def test_a_failed_login_is_not_repeated_in_a_storm(failure: SoapBatchError, logins: list[float]) -> None:
    """Ten calls a second after a failed login: few of them log in, at growing distances; the others fail alike."""
    server = Server(slow=0, failure=failure)
    keeper = server.keeper()
    for tick in range(3001):
        with pytest.raises(type(failure)):
            await keeper.current()
        await asyncio.sleep((tick + 1) / 10 - now())
    assert server.logins == pytest.approx(logins)


@virtual
async def test_a_login_that_works_ends_the_cool_down() -> None:
    """After a success the next failure cools down from the beginning again."""
    server = Server(slow=0)
    keeper = server.keeper()
    for _ in range(2):
        server.failure = refusal()
        with pytest.raises(AuthenticationFailed):
            await keeper.current()
        await asyncio.sleep(4.9)
        server.failure = None
        with pytest.raises(AuthenticationFailed):
            await keeper.current()
        await asyncio.sleep(0.2)
        assert await keeper.rejected(await keeper.current())
    assert len(server.logins) == 4


# --- Refused tickets --------------------------------------------------------------------------------------------


@virtual
async def test_a_late_refusal_drops_no_fresh_ticket() -> None:
    """A refusal of an older ticket allows a repeat, and leaves the newer ticket where it is."""
    server = Server()
    keeper = server.keeper()
    old = await keeper.current()
    keeper.used(old)
    assert await keeper.rejected(old)
    assert await keeper.rejected(old)  # another call with it, before there is a new one
    new = await keeper.current()
    assert new.generation == old.generation + 1
    assert await keeper.rejected(old)
    assert await keeper.current() is new
    assert len(server.logins) == 2


@virtual
async def test_a_late_success_of_an_old_ticket_moves_nothing() -> None:
    """Only the use of the ticket in hand makes it last; that of an older one says nothing about it."""
    server = Server(slow=0)
    keeper = server.keeper()
    old = await keeper.current()
    assert await keeper.rejected(old)
    keeper.used(old)
    await keeper.current()
    await asyncio.sleep(5 * HOUR)
    keeper.used(old)
    assert (await keeper.ticket()).expires_at == EPOCH + timedelta(hours=6)


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
    keeper = server.keeper(credentials)
    ticket = await keeper.current()
    await asyncio.sleep(24 * HOUR)
    assert await keeper.current() is ticket
    assert not await keeper.rejected(ticket)
    assert await keeper.current() is ticket
    assert server.logins == []


@virtual
async def test_a_server_that_refuses_what_it_issues_is_not_stormed() -> None:
    """One call a second, each refused with a ticket that is new: at most one login in 5 s, and every call ends."""
    server = Server(lifetime=0, slow=0)
    keeper = server.keeper()
    for _ in range(60):
        assert not await server.call(keeper)
        await asyncio.sleep(1)
    assert len(server.logins) <= 1 + 60 / 5
    server.lifetime = HOUR
    await asyncio.sleep(5)
    assert await server.call(keeper)


# --- Renewal ahead ----------------------------------------------------------------------------------------------


async def nearly_ended(server: Server, store: TicketStore | None = None) -> TicketManager:
    """Return a keeper whose ticket ends in 4 minutes, of which 6 hours are gone."""
    keeper = server.keeper(store=store)
    await keeper.current()
    await asyncio.sleep(6 * HOUR - 4 * MINUTE)
    return keeper


@virtual
async def test_renewal_is_ahead_and_delays_nobody() -> None:
    """Near its end the old ticket is handed out at once while a new one is obtained, once."""
    server = Server()
    keeper = await nearly_ended(server)
    began = now()
    old = {await keeper.current() for _ in range(100)}
    assert (now(), old) == (began, {IssuedTicket(Secret("7T:1"), 1)})
    await asyncio.sleep(2 * server.slow)
    assert await keeper.current() == IssuedTicket(Secret("7T:2"), 2)
    assert len(server.logins) == 2


@virtual
async def test_many_keepers_renew_at_different_moments() -> None:
    """100 keepers with tickets of the same age renew 5 to 10 minutes before their end, and not all at once."""
    servers = [Server(slow=0) for _ in range(100)]
    keepers = [server.keeper() for server in servers]
    await asyncio.gather(*(keeper.current() for keeper in keepers))
    await asyncio.sleep(6 * HOUR - 11 * MINUTE)
    while now() < 6 * HOUR:
        await asyncio.gather(*(keeper.current() for keeper in keepers))
        await asyncio.sleep(10)
    ahead = [6 * HOUR - server.logins[1] for server in servers]
    assert min(ahead) >= 5 * MINUTE - 10
    assert max(ahead) <= 10 * MINUTE
    assert len(set(ahead)) > 10


@virtual
async def test_a_renewal_that_fails_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """While a renewal ahead fails, and cools down, the old ticket serves to its end; then calls get the failure."""
    server = Server(slow=0)
    keeper = await nearly_ended(server)
    server.failure = refusal()
    while now() < 6 * HOUR:
        assert (await keeper.current()).generation == 1
        await asyncio.sleep(1)
    assert [login - (6 * HOUR - 4 * MINUTE) for login in server.logins[1:]] == [0, 5, 15, 35, 75, 135, 195]
    with pytest.raises(AuthenticationFailed):
        await keeper.current()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned[0] == "the login failed (AuthenticationFailed); none is tried for the next 5 s"
    await asyncio.sleep(15)
    server.failure = None
    assert (await keeper.current()).generation == 2


@virtual
async def test_a_renewal_ahead_is_joined_when_the_old_ticket_ends() -> None:
    """A renewal that outlasts the old ticket serves those who then wait, and is not cancelled with them."""
    server = Server()
    keeper = await nearly_ended(server)
    server.slow = 5 * MINUTE
    await keeper.current()
    await asyncio.sleep(4 * MINUTE)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await keeper.current()
    assert (await keeper.current()).generation == 2
    assert len(server.logins) == 2


# --- Reading out, closing ---------------------------------------------------------------------------------------


@virtual
async def test_a_ticket_is_read_out_with_its_expiry() -> None:
    """The current ticket can be handed to another client, which then knows when it ends."""
    server = Server()
    keeper = server.keeper()
    await server.call(keeper)
    await asyncio.sleep(HOUR)
    await server.call(keeper)
    ticket = await keeper.ticket()
    assert ticket == Ticket("7T:1", expires_at=EPOCH + timedelta(hours=7, seconds=1))
    await asyncio.sleep(HOUR)
    other = server.keeper(ticket)
    assert await server.call(other)
    assert (await other.ticket()).expires_at == EPOCH + timedelta(hours=8, seconds=1)


@virtual
async def test_dates_are_the_machines_unless_said_otherwise() -> None:
    """Without a clock of its own a keeper dates the end of a ticket by the machine's."""
    keeper = TicketManager(Implicit(), Server(slow=0).authenticate, ServiceVersion.V88)
    expires_at = (await keeper.ticket()).expires_at
    assert expires_at is not None
    assert abs(expires_at - datetime.now(UTC) - timedelta(hours=6)) < timedelta(minutes=1)


@virtual
async def test_a_token_without_an_expiry_is_read_out_without_one() -> None:
    """An access token whose end is not known has none, however often it is used; it is fetched anew when refused."""
    fetched = []

    async def fetch() -> str:
        fetched.append(now())
        return f"8A:{len(fetched)}"

    keeper = Server().keeper(AccessToken(fetch))
    for _ in range(48):
        keeper.used(await keeper.current())
        await asyncio.sleep(HOUR)
    assert await keeper.ticket() == Ticket("8A:1", sliding=False)
    assert await keeper.rejected(await keeper.current())
    assert await keeper.ticket() == Ticket("8A:2", sliding=False)
    assert len(fetched) == 2


@pytest.mark.parametrize("is_ahead", [pytest.param(False, id="awaited"), pytest.param(True, id="ahead")])
@virtual
async def test_closing_ends_a_login(*, is_ahead: bool) -> None:
    """Closing cancels a login in flight, tells those who wait for it, and leaves no task behind; again is no error."""
    server = Server()
    keeper = await nearly_ended(server) if is_ahead else server.keeper()
    server.slow = HOUR
    if is_ahead:
        await keeper.current()
        await asyncio.sleep(4 * MINUTE)
    waiter = asyncio.create_task(keeper.current())
    await asyncio.sleep(1)
    await keeper.aclose()
    with pytest.raises(ClientClosed):
        await waiter
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await keeper.aclose()
    with pytest.raises(ClientClosed):
        await keeper.current()


@virtual
async def test_a_refusal_after_closing_allows_no_repeat() -> None:
    """A call that is refused while the client closes is not repeated, and its late success is no error."""
    server = Server()
    keeper = server.keeper()
    ticket = await keeper.current()
    await keeper.aclose()
    assert not await keeper.rejected(ticket)
    keeper.used(ticket)


# --- Sharing ----------------------------------------------------------------------------------------------------


@attrs.define
class NotingStore(MemoryTicketStore):
    """A store in memory that notes when it was written, and can be slow or fail."""

    ticket: Ticket | None = None
    slow_get: float = 0.0
    slow_put: float = 0.0
    failure: Exception | None = None
    puts: list[float] = attrs.field(factory=list)

    async def get(self) -> Ticket | None:
        """Return what was put last."""
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


async def settle(keeper: TicketManager) -> None:
    """Wait until what goes on in the background has been done."""
    await keeper.current()
    await asyncio.sleep(0.001)


@virtual
async def test_a_stored_ticket_saves_a_login() -> None:
    """Two keepers with one store share one login, each the other's use of the ticket, and each renewal."""
    server, store = Server(), MemoryTicketStore()
    first, second = server.keeper(store=store), server.keeper(store=store)
    assert await server.call(first)
    assert await server.call(second)
    assert len(server.logins) == 1
    await asyncio.sleep(5.5 * HOUR)
    assert await server.call(first)
    await asyncio.sleep(HOUR)
    assert await server.call(second)  # as far as it knows its ticket has ended
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
    """A stored ticket is used unless it has ended or is about to; what is obtained instead replaces it."""
    server, store = Server(), NotingStore(ticket)
    keeper = server.keeper(store=store)
    taken = await keeper.current()
    assert taken.value == Secret("7T:stored" if is_taken else "7T:1")
    await settle(keeper)
    assert store.ticket == (ticket if is_taken else Ticket("7T:1", expires_at=EPOCH + timedelta(hours=6, seconds=1)))


@virtual
async def test_a_refused_ticket_is_not_taken_from_the_store_again() -> None:
    """When the stored ticket is refused the keeper logs in, and the new ticket replaces it."""
    server, store = Server(slow=0), NotingStore(Ticket("7T:stale", expires_at=EPOCH + timedelta(hours=1)))
    keeper = server.keeper(store=store)
    assert await server.call(keeper)
    assert len(server.logins) == 1
    await settle(keeper)
    assert store.ticket == Ticket("7T:1", expires_at=EPOCH + timedelta(hours=6))


@virtual
async def test_uses_are_stored_sparingly() -> None:
    """Of a call every 10 s for an hour the store sees one write each 5 minutes."""
    server, store = Server(slow=0), NotingStore()
    keeper = server.keeper(store=store)
    while now() < HOUR:
        assert await server.call(keeper)
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
    """A store that fails or hangs delays a login by 5 s at most, fails no call, and is reported once."""
    caplog.set_level(logging.DEBUG)
    server = Server(slow=0)
    keeper = server.keeper(store=store)
    assert await server.call(keeper)
    assert now() <= 5
    for _ in range(3):
        await asyncio.sleep(10 * MINUTE)
        assert await server.call(keeper)
    await keeper.aclose()
    said = [record.levelname for record in caplog.records if "the ticket store failed" in record.getMessage()]
    assert said == ["WARNING", "DEBUG", "DEBUG", "DEBUG", "DEBUG"]
    assert len(server.logins) == 1


@virtual
async def test_a_ticket_obtained_during_a_write_is_written_too() -> None:
    """A new ticket that comes while the old one is being written follows it into the store; closing waits for both."""
    server, store = Server(slow=0), NotingStore(slow_put=2)
    keeper = server.keeper(store=store)
    assert await keeper.rejected(await keeper.current())
    await keeper.current()
    await keeper.aclose()
    assert store.puts == [0, 2]
    assert store.ticket == Ticket("7T:2", expires_at=EPOCH + timedelta(hours=6))


@virtual
async def test_a_fixed_ticket_is_not_shared() -> None:
    """A ticket that was handed in is neither replaced from a store nor put there."""
    store = NotingStore(Ticket("7T:stored"))
    server = Server()
    keeper = server.keeper(Ticket("7T:fixed"), store)
    ticket = await keeper.current()
    keeper.used(ticket)
    await settle(keeper)
    assert ticket.value == Secret("7T:fixed")
    assert store.ticket == Ticket("7T:stored")
    assert store.puts == []
