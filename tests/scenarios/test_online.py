"""SuperOffice Online as a whole, against the embedded one, in virtual time: what a service meets in a year."""

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from soapbatch import (
    AccessDenied,
    AuthenticationFailed,
    BatchTaskInfo,
    BatchTaskState,
    ConnectFailed,
    HttpError,
    OperationFailed,
    Polling,
    Secret,
    ServiceBusy,
    ServiceVersion,
    SoapBatchError,
    SystemUserRefused,
    TenantMoved,
    TenantUnavailable,
    Ticket,
    TokenNotTrusted,
    UnexpectedResponse,
    UnreadableResponse,
)
from soapbatch.auth import MemoryTicketStore
from soapbatch.online import TENANT_STATES, RefreshToken, SystemUser
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE
from soapbatch.testing import (
    Answer,
    ConnectionDropped,
    answering,
    delayed,
    generate_private_key,
    lost_reply,
    run_virtual,
)
from tests.support.clients import now, virtual
from tests.support.online import TENANT, Lines, Service, raised, read_vector, service

SOD, SOD2, SOD3 = "sod.superoffice.com", "sod2.superoffice.com", "sod3.superoffice.com"
EXPORT = BatchTaskInfo(name="ExportAll")
HOUR = 3600.0


def moving(here: Service, *, to: str = SOD3) -> Callable[[Any, Any], Awaitable[Answer]]:
    """Return an interceptor that lets the tenant move before it answers."""

    async def interceptor(_: Any, proceed: Any) -> Answer:
        here.online.move(TENANT, to)
        answer: Answer = await proceed()
        return answer

    return interceptor


def state_json(**changes: Any) -> tuple[int, dict[str, str], bytes]:
    """Return a response of the state endpoint."""
    return (
        200,
        {"Content-Type": "application/json"},
        json.dumps(read_vector("tenant_states.json")["new"] | changes).encode(),
    )


# --- 1: from a customer number to a finished job -----------------------------------------------------------------


@virtual
async def test_from_a_customer_number_to_the_output_of_a_job() -> None:
    """Token, key and secret are all that it takes; each request is made once."""
    async with service() as here, here.client() as client:
        job = await client.jobs.start("ExportAll")
        info = await job.wait()
        assert (info.state, await job.output()) == (BatchTaskState.SUCCEEDED, b"the output")
        counts = here.online.counts
        assert (counts["state"], counts["jwks"], counts["system_user"]) == (1, 1, 1)
        assert here.secrets_at(SOD) == {"client secret of My App", "system token of My App for Cust12345"}
        assert here.secrets_at(SOD2) == {"client secret of My App", "ticket 1 of Cust12345"}
        assert client.version is ServiceVersion.V88
        assert repr(client) == f"<Client https://sod.superoffice.com/api/state/{TENANT} Services88>"


@virtual
async def test_a_hundred_first_calls_at_once() -> None:
    """They cause one request for the state, one for the key set, and one sign-in."""
    async with service() as here, here.client() as client:
        for endpoint in ("state", "jwks", "system_user"):
            here.online.intercept(endpoint, delayed(1))
        await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(100)))
        assert here.online.counts == Counter(state=1, jwks=1, system_user=1, tenant=100)


@virtual
async def test_the_clients_of_an_app_share_what_is_per_app() -> None:
    """Two tenants: one key set; a client of its own for each sign-in."""
    async with service() as here:
        other = here.online.add_tenant("Cust2", host=SOD3)
        token = here.online.approve(here.registered, other)
        async with here.client() as one, here.app.client("cust2", SystemUser(token)) as two:
            await asyncio.gather(one.batch.get_batch_task_info(1), two.batch.get_batch_task_info(1))
            assert here.online.counts == Counter(state=2, jwks=1, system_user=2, tenant=2)
        assert here.app.tenant("CUST2") is here.app.tenant("Cust2")


@virtual
async def test_processes_share_a_ticket() -> None:
    """Through a TicketStore, as on-site."""
    store = MemoryTicketStore()
    async with service() as here:
        for _ in range(2):
            async with here.client(ticket_store=store) as client:
                await client.batch.get_batch_task_info(1)
        assert here.online.counts["system_user"] == 1


# --- 3: keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [True, False])
@virtual
async def test_a_rotation_of_keys_costs_one_more_key_set(overlap: bool) -> None:  # noqa: FBT001
    """The set is fetched again when no key fits, and then kept."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        await asyncio.sleep(301)
        here.online.rotate_keys(overlap=overlap)
        for _ in range(3):
            here.online.expire_tickets()
            await client.batch.get_batch_task_info(1)
        assert (here.online.counts["system_user"], here.online.counts["jwks"]) == (4, 2)


@virtual
async def test_strange_keys_do_not_cause_a_storm() -> None:
    """A kid that nobody knows: the key set is fetched at most every 5 minutes."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        body = b'{"keys": [%s]}' % str(read_vector("jwks.json")["keys"][0]).replace("'", '"').encode()
        here.online.intercept("jwks", answering(200, {}, body), times=None)
        here.online.rotate_keys()
        started = now()
        while now() - started < HOUR:
            here.online.expire_tickets()
            with contextlib.suppress(SoapBatchError):
                await client.batch.get_batch_task_info(1)
            await asyncio.sleep(7)
        assert here.online.counts["jwks"] <= 1 + HOUR / 300 + 1


@virtual
async def test_a_key_set_is_used_for_a_day_and_longer_if_need_be() -> None:
    """After 24 h it is fetched again; one that cannot be had leaves the old one."""
    async with service() as here, here.client() as client:
        for hours, jwks in ((0, 1), (23.9, 1), (0.2, 2), (23.9, 2)):
            await asyncio.sleep(hours * HOUR)
            here.online.expire_tickets()
            await client.batch.get_batch_task_info(1)
            assert here.online.counts["jwks"] == jwks
        await asyncio.sleep(HOUR)
        here.online.intercept("jwks", answering(500), times=None)
        here.online.expire_tickets()
        await client.batch.get_batch_task_info(1)
        assert here.online.counts["jwks"] == 3


# --- 4: moves ----------------------------------------------------------------------------------------------------


@virtual
async def test_a_move_in_the_middle_of_reads() -> None:
    """A hundred readers at once: one request for the state, and each reads in the end."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.move(TENANT, SOD3)
        await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(100)))
        assert here.online.counts["state"] == 2
        assert Counter(here.hosts()) == {SOD2: 101, SOD3: 100}


@virtual
async def test_a_move_in_the_middle_of_a_start() -> None:
    """421 comes before dispatch: StartBatchJob is repeated, and there is exactly one job."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.move(TENANT, SOD3)
        job = await client.jobs.start("ExportAll")
        await job.wait()
        assert here.tenant.server.counts["StartBatchJob"] == 1
        assert len(await client.batch.get_batch_task_infos_by_state(BatchTaskState.ALL)) == 1


@virtual
async def test_a_move_while_the_start_is_at_the_server() -> None:
    """The server has the job, the tenant moves, and the answer is lost: nothing is repeated."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)

        async def moved_and_lost(_: Any, proceed: Any) -> Answer:
            await proceed()
            here.online.move(TENANT, SOD3)
            raise ConnectionDropped

        here.online.intercept("tenant", moved_and_lost)
        with pytest.raises(SoapBatchError) as raising:
            await client.batch.start_batch_job(EXPORT)
        assert raising.value.applied == "unknown"
        assert len(await client.batch.get_batch_task_infos_by_state(BatchTaskState.ALL)) == 1
        assert here.hosts() == [SOD2, SOD2, SOD2, SOD3]


@virtual
async def test_a_move_in_the_middle_of_a_stream() -> None:
    """What streams goes on to its end; the next stream begins at the new address."""
    async with service() as here, here.client() as client:
        for _ in range(30):
            await client.batch.start_batch_job(EXPORT)
        seen = list[int | None]()
        async for info in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL):
            here.online.move(TENANT, SOD3)
            seen.append(info.id)
        assert len(seen) == 30
        again = [i.id async for i in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL)]
        assert again == seen
        assert here.online.counts["state"] == 2


@virtual
async def test_a_move_in_the_middle_of_a_wait_on_fifty_jobs() -> None:
    """One request for the state, and every job is seen to its end."""
    async with service() as here, here.client() as client:
        jobs = [await client.jobs.start("ExportAll") for _ in range(50)]
        waiting = asyncio.create_task(client.jobs.wait_all(jobs))
        await asyncio.sleep(20)
        here.online.move(TENANT, SOD3)
        outcomes = await waiting
        assert all(outcome.error is None for outcome in outcomes)
        assert here.online.counts["state"] == 2


@virtual
async def test_a_move_in_the_middle_of_a_login() -> None:
    """The sign-in goes on, and the call goes to the new address."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.expire_tickets()
        here.online.intercept("system_user", moving(here))
        await client.batch.get_batch_task_info(1)
        assert here.hosts() == [SOD2, SOD2, SOD2, SOD3]
        assert here.online.counts == Counter(state=2, jwks=1, system_user=2, tenant=4)


@virtual
async def test_two_hosts_that_point_at_each_other() -> None:
    """The call ends after one repeat; the next one asks anew."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        before = here.online.counts["tenant"]
        here.online.intercept("tenant", answering(421, {}, b"Wrong subdomain used to access tenant"), times=None)
        here.online.move(TENANT, SOD3)
        with pytest.raises(TenantMoved, match=f"tenant {TENANT} is not at https://{SOD3}/{TENANT}") as raising:
            await client.jobs.start("ExportAll")
        error = raising.value
        assert (error.applied, error.status, error.retryable, error.operation) == ("no", 421, False, "StartBatchJob")
        assert error.exchange is not None
        assert error.exchange.response_body == "Wrong subdomain used to access tenant"
        assert here.online.counts["tenant"] == before + 2
        states = here.online.counts["state"]
        with pytest.raises(TenantMoved):
            await client.batch.get_batch_task_info(1)
        assert here.online.counts["state"] > states


@virtual
async def test_a_state_that_does_not_follow_the_move() -> None:
    """The same address again: no repeat, and the error says so."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.intercept("state", answering(*state_json(Endpoint=f"https://{SOD2}/{TENANT}")), times=None)
        here.online.move(TENANT, SOD3)
        with pytest.raises(TenantMoved, match="the sign-in host knows no other address"):
            await client.batch.start_batch_job(EXPORT)
        assert here.hosts() == [SOD2, SOD2]


@pytest.mark.parametrize("is_new", [True, False])
@virtual
async def test_a_host_that_refuses_connections(is_new: bool) -> None:  # noqa: FBT001
    """Nothing was sent: the state is asked for, and a start goes to the new address, if there is one."""
    async with service(lines=True) as here, here.client() as client:
        lines = here.app._transport
        assert isinstance(lines, Lines)
        await client.batch.get_batch_task_info(1)
        lines.refused.add(SOD2)
        if is_new:
            here.online.move(TENANT, SOD3)
            await client.batch.start_batch_job(EXPORT)
            assert here.tenant.server.counts["StartBatchJob"] == 1
        else:
            with pytest.raises(ConnectFailed) as raising:
                await client.batch.start_batch_job(EXPORT)
            assert raising.value.applied == "no"


@virtual
async def test_no_connection_to_anything() -> None:
    """The tenant's host is gone, and so is the sign-in host: the error is that of the call."""
    async with service(lines=True) as here, here.client() as client:
        lines = here.app._transport
        assert isinstance(lines, Lines)
        await client.batch.get_batch_task_info(1)
        lines.refused |= {SOD, SOD2}
        with pytest.raises(ConnectFailed, match=SOD2):
            await client.batch.get_batch_task_info(1)


@virtual
async def test_a_webhook_says_that_the_tenant_moved() -> None:
    """`forget`: the next call asks, and no request goes to the former address."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.move(TENANT, SOD3)
        here.app.tenant(TENANT).forget()
        await client.batch.get_batch_task_info(1)
        assert here.hosts() == [SOD2, SOD3]
        assert (await here.app.tenant(TENANT).state()).endpoint == f"https://{SOD3}/{TENANT}"
        assert here.online.counts["state"] == 2


# --- 5: foreign hosts are sent nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("endpoint", ["state", "system_user", "jwks", "tenant"])
@virtual
async def test_redirects_are_not_followed(status: int, endpoint: Any) -> None:
    """Whoever sends one: no other host is sent anything."""
    async with service() as here, here.client() as client:
        here.online.intercept(endpoint, answering(status, {"Location": "https://evil.example/x"}), times=None)
        with pytest.raises((HttpError, AuthenticationFailed)) as raising:
            await client.batch.start_batch_job(EXPORT)
        assert {visit.host for visit in here.online.journal} <= {SOD, SOD2}
        assert raising.value.applied == ("unknown" if endpoint == "tenant" and status < 307 else "no")


@virtual
async def test_a_redirect_of_the_tenant_makes_the_client_ask_again() -> None:
    """It may be a move that was not announced."""
    async with service() as here, here.client() as client:
        here.online.intercept("tenant", answering(302, {"Location": "https://evil.example/x"}))
        with pytest.raises(HttpError):
            await client.batch.get_batch_task_info(1)
        await client.batch.get_batch_task_info(1)
        assert here.online.counts["state"] == 2


@pytest.mark.parametrize(
    "endpoint",
    [
        f"https://evil.example/{TENANT}",
        f"https://sod2.superoffice.com.evil.example/{TENANT}",
        f"https://evilsuperoffice.com/{TENANT}",
        f"http://sod2.superoffice.com/{TENANT}",
        "https://sod2.superoffice.com/Cust99999",
        f"https://me:secret@sod2.superoffice.com/{TENANT}",
        f"https://sod2.superoffice.com@evil.example/{TENANT}",
    ],
)
@virtual
async def test_an_address_that_is_not_the_tenants_is_sent_nothing(endpoint: str) -> None:
    """A foreign domain, plain http, another tenant, user info: refused before a byte leaves."""
    async with service() as here, here.client() as client:
        here.online.intercept("state", answering(*state_json(Endpoint=endpoint)), times=None)
        with pytest.raises(UnexpectedResponse, match="the address of tenant Cust12345 is refused") as raising:
            await client.jobs.start("ExportAll")
        assert raising.value.applied == "no"
        assert {visit.host for visit in here.online.journal} == {SOD}
        assert here.online.counts["tenant"] == 0


def test_a_whole_path_is_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Sign-in, calls, a move and a refresh: at DEBUG, with the envelopes, no secret is shown."""
    caplog.set_level(logging.DEBUG, "soapbatch")
    secrets = list[str]()

    async def main() -> None:
        async with service() as here:
            secrets.extend(here.online._registry.names._names)
            token = here.online.issue_refresh_token(here.registered, here.tenant)
            refresh = RefreshToken(token, client_id=here.registered.client_id)
            async with here.client() as one, here.client(refresh) as two:
                await one.batch.start_batch_job(EXPORT)
                here.online.move(TENANT, SOD3)
                await two.batch.get_batch_task_info(1)
                await one.batch.get_batch_task_info(1)
            secrets.extend(here.online._registry.names._names)

    run_virtual(main())
    assert len({*secrets}) >= 5
    assert [secret for secret in secrets if secret in caplog.text] == []
    assert f"tenant {TENANT} has moved to https://{SOD3}/{TENANT}" in caplog.text


# --- 6: states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [*TENANT_STATES, "Hibernating"])
@virtual
async def test_each_state(state: str) -> None:
    """A tenant that does not run is an error that says so, before anything is sent to it."""
    async with service() as here, here.client() as client:
        here.online.set_state(TENANT, state)
        if state in {"Running", "OnlineMaintenance"}:
            await client.batch.start_batch_job(EXPORT)
            return
        with pytest.raises(TenantUnavailable, match=f"its state is {state}") as raising:
            await client.batch.start_batch_job(EXPORT)
        error = raising.value
        retryable = state in {"Unknown", "Provisioning", "OfflineMaintenance", "Hibernating"}
        assert (error.state, error.applied, error.retryable) == (state, "no", retryable)
        assert (error.retry_after is not None) is retryable
        assert here.online.counts["tenant"] == 0


@virtual
async def test_a_page_about_maintenance_is_explained_by_the_state() -> None:
    """503 and a page: the state is asked for once, and is the better reason; without one, the page is."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        await asyncio.sleep(10)
        here.online.set_state(TENANT, "Suspended")
        with pytest.raises(TenantUnavailable, match="its state is Suspended") as raising:
            await client.batch.start_batch_job(EXPORT)
        assert raising.value.applied == "unknown"  # what answered is not known
        assert here.online.counts["state"] == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((503, {"Retry-After": "7"}), ServiceBusy),
        ((502, {}), HttpError),
        ((504, {}), HttpError),
        ((500, {"Content-Type": "text/html"}, b"<html>oops</html>"), HttpError),
        ((200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"), UnreadableResponse),
    ],
)
@virtual
async def test_a_page_of_a_tenant_that_runs(answer: Any, error: type[SoapBatchError]) -> None:
    """The usual errors, after one look at the state; a second look within 5 s would tell nothing new."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        await asyncio.sleep(10)
        here.online.intercept("tenant", answering(*answer), times=None)
        for _ in range(2):
            with pytest.raises(error) as raising:
                await client.batch.start_batch_job(EXPORT)
            assert raising.value.retry_after == (7 if answer[0] == 503 else None)
        assert here.online.counts["state"] == 2


@virtual
async def test_a_maintenance_that_ends_lets_a_wait_go_on() -> None:
    """The waits of a client survive half an hour of OfflineMaintenance."""
    async with service() as here, here.client() as client:
        job = await client.jobs.start("ExportAll")
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(10)
        here.online.set_state(TENANT, "OfflineMaintenance")
        await asyncio.sleep(1800)
        here.online.expire_tickets()
        here.online.set_state(TENANT, "Running")
        assert (await waiting).state == BatchTaskState.SUCCEEDED


# --- 7: tickets --------------------------------------------------------------------------------------------------


@virtual
async def test_six_hours_of_idle() -> None:
    """The ticket has ended; the next call signs in again, once for all callers."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        await asyncio.sleep(6 * HOUR + 60)
        await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(20)))
        assert here.online.counts == Counter(state=2, jwks=1, system_user=2, tenant=21)


@virtual
async def test_a_day_of_use() -> None:
    """A call a minute: the ticket slides and is never renewed; the state is read every few minutes."""
    async with service() as here, here.client() as client:
        for _ in range(24 * 60):
            await client.batch.get_batch_task_info(1)
            await asyncio.sleep(60)
        counts = here.online.counts
        assert (counts["system_user"], counts["jwks"], counts["tenant"]) == (1, 1, 24 * 60)
        assert counts["state"] <= 24 * 60 / 5 + 1


@virtual
async def test_a_ticket_that_dies_in_flight_is_renewed_once_for_all() -> None:
    """All callers share the new one; a start is repeated, because the server said that it did nothing."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.expire_tickets()
        await asyncio.gather(
            *(client.batch.get_batch_task_info(1) for _ in range(20)), client.batch.start_batch_job(EXPORT)
        )
        assert here.online.counts["system_user"] == 2
        assert here.tenant.server.counts["StartBatchJob"] == 2
        assert len(await client.batch.get_batch_task_infos_by_state(BatchTaskState.ALL)) == 1


@virtual
async def test_a_start_whose_answer_is_lost_is_not_repeated() -> None:
    """The server may have started the job."""
    async with service() as here, here.client() as client:
        here.online.intercept("tenant", lost_reply)
        with pytest.raises(SoapBatchError) as raising:
            await client.batch.start_batch_job(EXPORT)
        assert raising.value.applied == "unknown"
        assert here.tenant.server.counts["StartBatchJob"] == 1


# --- 8: refusals of the sign-in host -----------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["Revoked", "Expired", "Denied", "NeedsReapproval"])
@pytest.mark.parametrize("status", [200, 400, 401, 500])
@virtual
async def test_an_app_that_is_not_approved(reason: str, status: int) -> None:
    """With the reason and what to do, whatever the status; it is not tried again, and shows no secret."""
    async with service() as here, here.client() as client:
        here.online.sign_in.refusal_status = status
        here.online.revoke(here.registered, here.tenant, reason)
        with pytest.raises(SystemUserRefused, match="approv") as raising:
            await client.batch.get_batch_task_info(1)
        error = raising.value
        assert (error.reason, error.retryable, error.applied) == (reason, False, "no")
        assert here.online.counts["system_user"] == 1
        raised(raising, here.token, here.registered.client_secret)


@pytest.mark.parametrize(
    ("answer", "is_retryable"),
    [
        ((400, {}, b'{"Error": true, "ErrorMessage": "no"}'), False),
        ((400, {}, b""), False),
        ((500, {}, b"<html>oops</html>"), True),
        ((503, {"Retry-After": "2"}, b"<html>maintenance</html>"), True),
        ((200, {}, b"<html>Sign in</html>"), False),
        ((200, {}, b'{"IsSuccessful": false}'), False),
        ((200, {}, b'{"IsSuccessful": false, "ErrorMessage": "Something new (42)"}'), False),
    ],
)
@virtual
async def test_other_refusals(answer: Any, is_retryable: bool) -> None:  # noqa: FBT001
    """One kind of error, with a useful sentence; final ones are not tried again."""
    async with service() as here, here.client() as client:
        here.online.intercept("system_user", answering(*answer), times=None)
        with pytest.raises(SystemUserRefused, match="PartnerSystemUser gives no JWT") as raising:
            await client.batch.get_batch_task_info(1)
        assert raising.value.retryable is is_retryable
        assert is_retryable or here.online.counts["system_user"] == 1
        raised(raising, here.token, here.registered.client_secret)


@virtual
async def test_a_wrong_private_key() -> None:
    """The error names it."""
    async with service(private_key=generate_private_key()) as here, here.client() as client:
        with pytest.raises(SystemUserRefused, match="check private_key") as raising:
            await client.batch.get_batch_task_info(1)
        assert raising.value.reason == "InvalidSignature"
        raised(raising, here.token, here.registered.client_secret)


@virtual
async def test_a_wrong_client_secret() -> None:
    """The sign-in host says so first; a tenant says so of a client that signs in elsewhere."""
    async with service(client_secret="wrong-secret") as here:
        async with here.client() as client:
            with pytest.raises(SystemUserRefused, match=r"check the client secret \(application token\)"):
                await client.batch.get_batch_task_info(1)
        ticket = here.online.issue_ticket(here.tenant)
        async with here.client(Ticket(ticket)) as client:
            with pytest.raises(OperationFailed, match="application_token") as raising:
                await client.batch.get_batch_task_info(1)
            raised(raising, "wrong-secret", ticket)
        here.online.intercept("tenant", answering(403))
        async with here.client(Ticket(ticket)) as client:
            with pytest.raises(AccessDenied, match="check the application token"):
                await client.batch.get_batch_task_info(1)


@virtual
async def test_a_client_secret_is_replaced_without_a_new_client() -> None:
    """From a vault, or by hand: the next request of each client carries it."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.app.client_secret = here.online.add_client_secret(here.registered, keep_old=False)
        await client.batch.get_batch_task_info(1)
        held = here.online.add_client_secret(here.registered, keep_old=False)

        async def vault() -> str:
            return held

        here.app.client_secret = vault
        here.online.expire_tickets()
        await client.batch.get_batch_task_info(1)
        held = here.online.add_client_secret(here.registered, keep_old=False)
        await client.batch.get_batch_task_info(1)
        assert here.tenant.server.calls[-1].outcome == "succeeded"


# --- 9: people who signed in -------------------------------------------------------------------------------------


@virtual
async def test_an_access_token_is_renewed_at_80_percent_of_its_lifetime() -> None:
    """In the background, once for many callers, and with the same refresh token."""
    async with service() as here:
        refresh = RefreshToken(
            here.online.issue_refresh_token(here.registered, here.tenant), client_id=here.registered.client_id
        )
        old = refresh.value
        async with here.client(refresh) as client:
            await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(20)))
            await asyncio.sleep(0.79 * HOUR)
            await client.batch.get_batch_task_info(1)
            assert here.online.counts["tokens"] == 1
            await asyncio.sleep(0.02 * HOUR)
            await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(20)))
            await asyncio.sleep(1)
            assert here.online.counts["tokens"] == 2
            await asyncio.sleep(2 * HOUR)
            await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(20)))
            assert here.online.counts["tokens"] == 3
        assert refresh.value == old
        assert "access token 3 of Cust12345" in here.secrets_at(SOD2)
        assert not [name for name in here.secrets_at(SOD2) if "refresh" in name]


@pytest.mark.parametrize("kind", ["plain", "async", "failing", "none"])
@virtual
async def test_a_new_refresh_token_is_handed_on(kind: str) -> None:
    """To `on_change`, before it is used; what that raises costs no call."""
    kept = list[Secret]()

    async def save(token: Secret) -> None:
        await asyncio.sleep(1)
        kept.append(token)

    def fail(token: Secret) -> None:
        kept.append(token)
        raise KeyError(token.reveal())

    on_change: Any = {"plain": kept.append, "async": save, "failing": fail, "none": None}[kind]
    async with service() as here:
        here.online.sign_in.renews_refresh_tokens = True
        refresh = RefreshToken(
            here.online.issue_refresh_token(here.registered, here.tenant),
            client_id=here.registered.client_id,
            on_change=on_change,
        )
        async with here.client(refresh) as client:
            for _ in range(3):
                await client.batch.get_batch_task_info(1)
                await asyncio.sleep(2 * HOUR)
        assert len({token.reveal() for token in kept}) == (0 if kind == "none" else 3)
        assert kind == "none" or refresh.value == kept[-1]


@virtual
async def test_two_clients_share_a_refresh_token_that_ends_with_its_use() -> None:
    """One refresh at a time: the second takes the token that the first one brought."""
    async with service() as here:
        here.online.sign_in.renews_refresh_tokens = True
        token = here.online.issue_refresh_token(here.registered, here.tenant)
        refresh = RefreshToken(token, client_id=here.registered.client_id, on_change=lambda _: None)
        async with here.client(refresh) as one, here.client(refresh) as two:
            here.online.intercept("tokens", delayed(1), times=2)
            await asyncio.gather(one.batch.get_batch_task_info(1), two.batch.get_batch_task_info(1))
        assert [visit.outcome for visit in here.online.journal if visit.endpoint == "tokens"] == ["succeeded"] * 2


@virtual
async def test_a_revoked_refresh_token() -> None:
    """AuthenticationFailed: the user has to sign in again; no secret is shown."""
    async with service() as here:
        token = here.online.issue_refresh_token(here.registered, here.tenant)
        here.online.revoke(here.registered, here.tenant)
        async with here.client(RefreshToken(token, client_id=here.registered.client_id)) as client:
            with pytest.raises(AuthenticationFailed, match="let the user sign in again") as raising:
                await client.batch.get_batch_task_info(1)
        assert (raising.value.applied, raising.value.retryable) == ("no", False)
        raised(raising, token, here.registered.client_secret)


@pytest.mark.parametrize(("status", "times"), [(401, 2), (403, 1)])
@virtual
async def test_an_access_token_that_is_refused(status: int, times: int) -> None:
    """401: renewed once. 403 with a fresh token: AccessDenied. One past its expiry is never sent."""
    async with service() as here:
        token = here.online.issue_refresh_token(here.registered, here.tenant)
        async with here.client(RefreshToken(token, client_id=here.registered.client_id)) as client:
            await client.batch.get_batch_task_info(1)
            here.online.intercept("tenant", answering(status), times=times)
            with pytest.raises(AccessDenied):
                await client.batch.get_batch_task_info(1)
            assert here.online.counts["tokens"] == times
            await asyncio.sleep(1.01 * HOUR)
            await client.batch.get_batch_task_info(1)
            assert here.online.counts["tokens"] == times + 1


# --- 10: calls a second ------------------------------------------------------------------------------------------


@virtual
async def test_ten_calls_a_second() -> None:
    """A hundred calls of two clients of a tenant take 9 s; another tenant has a limit of its own."""
    async with service(max_rate=10) as here:
        ticket = here.online.issue_ticket(here.tenant)
        other = here.online.add_tenant("Cust2")
        async with here.client(ticket) as one, here.client(ticket) as two:
            await asyncio.gather(*(client.batch.get_batch_task_info(1) for client in (one, two) for _ in range(50)))
            assert now() == pytest.approx(9)
            gone = [asyncio.create_task(one.batch.get_batch_task_info(1)) for _ in range(30)]
            await asyncio.sleep(0.5)
            for task in gone:
                task.cancel()
            started = now()
            async with here.client(here.online.issue_ticket(other), "Cust2") as third:
                await third.batch.get_batch_task_info(1)
            assert now() == started
            await two.batch.get_batch_task_info(1)
            assert now() == pytest.approx(10)
        assert here.online.counts["tenant"] == 102


@virtual
async def test_a_task_is_read_every_two_seconds_at_most() -> None:
    """Whatever the wait says: the server looks for work no more often, and each call counts."""
    async with service() as here, here.client() as client:
        job = await client.jobs.start("ExportAll")
        await job.wait(polling=Polling(first=0.01, floor=0.01, ceiling=0.5))
        reads = [call.at for call in here.tenant.server.calls if call.operation != "StartBatchJob"]
        assert all(later - earlier > 1.999 for earlier, later in pairwise(reads))
        assert 30 <= len(reads) <= 34


# --- 12: clocks, and a sign-in host that is down -----------------------------------------------------------------


@pytest.mark.parametrize("skew", [600, -600, 3600])
@virtual
async def test_a_clock_that_is_off_is_named(skew: float) -> None:
    """The stamp is refused: the error says how far the clock is off, and in which direction."""
    async with service(skew=skew) as here, here.client() as client:
        where = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
        with pytest.raises(SystemUserRefused, match=f"check this machine's clock; this machine's clock is {where}"):
            await client.batch.get_batch_task_info(1)


@virtual
async def test_a_jwt_that_comes_late_is_asked_for_once_more() -> None:
    """It ended before it could be checked: signed again, once."""
    async with service(timeout=1000) as here, here.client(timeout=None) as client:
        here.online.intercept("jwks", delayed(700))
        await client.batch.get_batch_task_info(1)
        assert (here.online.counts["system_user"], here.online.counts["jwks"]) == (2, 1)


@virtual
async def test_a_jwt_that_always_comes_late() -> None:
    """TokenNotTrusted after the second one, with the difference of the clocks."""

    async def late(_: Any, proceed: Any) -> Answer:
        answer: Answer = await proceed()
        await asyncio.sleep(330)
        return answer

    async with service(timeout=1000, skew=280) as here, here.client(timeout=None) as client:
        here.online.intercept("system_user", late, times=None)
        with pytest.raises(TokenNotTrusted, match="this machine's clock is 610 s ahead of the server's") as raising:
            await client.batch.get_batch_task_info(1)
        assert (raising.value.check, raising.value.applied) == ("lifetime", "no")
        assert here.online.counts["system_user"] == 2
        raised(raising, here.token, here.registered.client_secret)


@virtual
async def test_a_sign_in_host_that_is_down() -> None:
    """With a known address and a ticket, calls go on, and none waits for it longer than once in 30 s."""
    async with service(lines=True) as here, here.client() as client:
        lines = here.app._transport
        assert isinstance(lines, Lines)
        await client.batch.get_batch_task_info(1)
        lines.refused.add(SOD)
        for _ in range(12):
            await asyncio.sleep(0.5 * HOUR)
            await client.batch.get_batch_task_info(1)
        assert here.online.counts["tenant"] == 13
        here.app.tenant(TENANT).forget()
        with pytest.raises(ConnectFailed):
            await here.app.tenant(TENANT).state()


@virtual
async def test_a_state_that_is_slow_is_in_no_calls_way() -> None:
    """An address that is past its use serves while the state is asked for."""
    async with service() as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        await asyncio.sleep(1000)
        here.online.intercept("state", delayed(20))
        started = now()
        await asyncio.gather(*(client.batch.get_batch_task_info(1) for _ in range(10)))
        assert now() == started
        await asyncio.sleep(30)
        assert here.online.counts["state"] == 2
