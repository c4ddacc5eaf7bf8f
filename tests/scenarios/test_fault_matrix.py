"""What the network can do to a call, as one table: error, `applied`, and how often the server saw the request.

A server that misbehaves on a real socket stands in front of the embedded NetServer. In no row does StartBatchJob
reach the server twice, and no row takes longer than the call's own timeout.
"""

import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import attrs
import httpx
import httpx2
import httpx_aiohttp
import pytest

from soapbatch import (
    BatchTaskInfo,
    Binding,
    Client,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    HttpError,
    ProtocolError,
    Retries,
    ServiceBusy,
    SoapBatchError,
    TenantMoved,
    UnreadableResponse,
)
from soapbatch.testing import NetServer
from soapbatch.transport import ConnectionPool
from tests.support.clients import until, upstream_of
from tests.support.fault_server import FAULTS, Authority, FaultServer

JOB = BatchTaskInfo(name="Export")
START = "http://www.superoffice.net/ws/crm/NetServer/Services88/Batch/StartBatchJob"
GET = "http://www.superoffice.net/ws/crm/NetServer/Services88/Batch/GetBatchTaskInfo"
ATTEMPTS = 2


@attrs.frozen
class Row:
    """What a fault leads to.

    Attributes:
        error: of both operations, or None where the call succeeds.
        applied: what the error of the start says.
        starts: how many requests of the start the server saw, in full or in part.
        gets: likewise of the read, which may be tried twice.
        jobs: how many jobs the server has started.
        phase: of a DeadlineExceeded.
    """

    error: type[SoapBatchError] | None
    applied: str
    starts: int
    gets: int
    jobs: int
    phase: str = ""


WORKS = Row(None, "", 1, 1, 1)
UNSENT = Row(ConnectFailed, "no", 0, 0, 0)
BROKEN_BEFORE = Row(ConnectionLost, "unknown", 1, ATTEMPTS, 0)
BROKEN_AFTER = Row(ConnectionLost, "unknown", 1, ATTEMPTS, 1)
UNREADABLE = Row(UnreadableResponse, "unknown", 1, 1, 1)
NOT_HTTP = Row(ProtocolError, "unknown", 1, 1, 1)
REFUSED = Row(HttpError, "no", 1, 1, 0)
REDIRECTED = Row(HttpError, "unknown", 1, 1, 0)
FAILED = Row(HttpError, "unknown", 1, ATTEMPTS, 0)

MATRIX: dict[str, Row] = {
    "none": WORKS,
    "tls": WORKS,
    # No connection comes about.
    "refuse": UNSENT,
    "tls-wrong-name": UNSENT,
    "tls-expired": UNSENT,
    "tls-unknown-ca": UNSENT,
    # The connection breaks, before or after the operation.
    "reset-before-request": Row(ConnectionLost, "unknown", 0, 0, 0),
    "reset-while-sending": BROKEN_BEFORE,
    "reset-after-request": BROKEN_BEFORE,
    "close-after-request": BROKEN_BEFORE,
    "half-head": BROKEN_AFTER,
    "half-body": BROKEN_AFTER,
    "length-too-long": BROKEN_AFTER,
    "chunked-garbage": BROKEN_AFTER,
    "chunked-cut": BROKEN_AFTER,
    "not-http": BROKEN_AFTER,
    "bad-head": NOT_HTTP,
    # Nothing comes, or never all of it.
    "never-answer": Row(DeadlineExceeded, "unknown", 1, 1, 0, "waiting"),
    "slow-drip": Row(DeadlineExceeded, "unknown", 1, 1, 0, "reading"),
    # An answer, but not of the service.
    "301": REDIRECTED,
    "302": REDIRECTED,
    "303": REDIRECTED,
    "307": REFUSED,
    "308": REFUSED,
    "413": REFUSED,
    "421": Row(TenantMoved, "no", 1, 1, 0),
    "429": Row(ServiceBusy, "no", 1, 1, 0),  # Retry-After reaches beyond the timeout
    "500": FAILED,
    "502": FAILED,
    "503": Row(ServiceBusy, "unknown", 1, 1, 0),  # likewise
    # An answer of the service, spoilt.
    "length-too-short": UNREADABLE,
    # What could be decompressed says that the operation succeeded.
    "gzip-cut": Row(UnreadableResponse, "yes", 1, 1, 1),
    "gzip-trailing": Row(UnreadableResponse, "yes", 1, 1, 1),
    "gzip-bomb": UNREADABLE,
    "brotli": UNREADABLE,
    # Odd, and right all the same.
    "100": WORKS,
    "103": WORKS,
    "chunked": WORKS,
    "close-keep-alive": WORKS,
    "connection-close": WORKS,
    "http-1.0": WORKS,
    "twice": WORKS,
    "gzip": WORKS,
    "deflate": WORKS,
    "raw-deflate": WORKS,
}

authority = cache(Authority)


def trust(fault: str) -> ssl.SSLContext:
    """Return a TLS context; where no TLS is spoken, one that trusts nobody and costs nothing."""
    return authority().client if fault.startswith("tls") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


# What `Client` is given besides its address.
OPTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "pool": lambda fault: {"transport": ConnectionPool(verify=trust(fault))},
    "transport of httpx": lambda fault: {"transport": httpx.AsyncHTTPTransport(verify=trust(fault))},
    "client": lambda fault: {"http_client": httpx.AsyncClient(verify=trust(fault))},
    "client of httpx2": lambda fault: {"http_client": httpx2.AsyncClient(verify=trust(fault))},
    "client of aiohttp": lambda fault: {"http_client": httpx_aiohttp.HttpxAiohttpClient(verify=trust(fault))},
    "pool in a client": lambda fault: {"http_client": httpx.AsyncClient(transport=ConnectionPool(verify=trust(fault)))},
}
EXCEPTIONS: dict[tuple[str, str], Row] = {
    # The pool refuses a banner at once, and aiohttp at the end; httpcore waits for an empty line until then.
    ("not-http", "pool"): NOT_HTTP,
    ("not-http", "pool in a client"): NOT_HTTP,
    ("not-http", "client of aiohttp"): NOT_HTTP,
    # aiohttp parses all that has arrived before it hands out the head, surplus bytes and chunks among it.
    ("length-too-short", "client of aiohttp"): NOT_HTTP,
    ("chunked-garbage", "client of aiohttp"): NOT_HTTP,
}


@pytest.mark.parametrize("transport", OPTIONS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_fault_leads_to(fault: str, transport: str) -> None:
    """Each fault leads to the row's error, is told truly, is not repeated where it must not, and spoils nothing."""
    row = EXCEPTIONS.get((fault, transport), MATRIX[fault])
    netserver = NetServer()
    netserver.define_job("Export")
    tls = authority() if fault.startswith("tls") else None
    async with FaultServer(upstream_of(netserver), fault=fault, authority=tls) as server:

        async def try_out(call: Callable[[Client], Awaitable[object]]) -> SoapBatchError | None:
            options = OPTIONS[transport](fault)
            misbehave = server.choose
            async with Client(
                server.url,
                ticket=netserver.tickets.issue(),
                binding=Binding.SOAP11,
                timeout=0.2 if row.error is DeadlineExceeded else 5,
                retries=Retries(attempts=ATTEMPTS, first_wait=0.001),
                **options,
            ) as client:
                found = None
                try:
                    await call(client)
                except SoapBatchError as error:
                    found = error
                if row is not UNSENT:  # whatever it was, it is over: the same client goes on
                    server.choose = lambda: "none"
                    assert (await client.principal.get_system_info(timeout=10)) is not None
            server.choose = misbehave
            if "http_client" in options:
                await options["http_client"].aclose()
            return found

        start = await try_out(lambda client: client.batch.start_batch_job(JOB))
        get = await try_out(lambda client: client.batch.get_batch_task_info(1))
        jobs = len(list(netserver.tasks.find()))
        assert (server.times(START), server.times(GET), jobs) == (row.starts, row.gets, row.jobs)
    assert [type(error) if error else None for error in (start, get)] == [row.error, row.error]
    if start is not None:
        assert (start.applied, start.operation) == (row.applied, "StartBatchJob")
        assert not (jobs and start.applied == "no")
    if isinstance(start, DeadlineExceeded) and isinstance(get, DeadlineExceeded):
        assert start.phase == get.phase == row.phase


def test_the_table_is_complete() -> None:
    """Each fault has its row, and in none the server sees a start twice."""
    assert MATRIX.keys() == set(FAULTS)
    assert max(row.starts for row in MATRIX.values()) == 1


async def test_a_kept_connection_that_the_server_closes_between_calls_costs_nothing() -> None:
    """A connection that was closed while it was idle is not used again: every start is done once."""
    netserver = NetServer()
    netserver.define_job("Export")
    async with FaultServer(upstream_of(netserver)) as server:
        client = Client(server.url, ticket=netserver.tickets.issue(), binding=Binding.SOAP11)
        async with client:
            for number in range(1, 6):
                await client.batch.start_batch_job(JOB)
                assert server.accepted == number
                for writer in server.writers:
                    writer.close()
                await until(lambda: not server.connections)
    assert len(list(netserver.tasks.find())) == server.times(START) == 5
