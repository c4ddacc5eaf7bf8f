"""A status that decides keeps its meaning, whatever becomes of the body behind it."""

import gzip
from collections.abc import Callable

import httpx
import pytest

from soapbatch import (
    AccessDenied,
    BatchTaskInfo,
    Binding,
    BindingRefused,
    Client,
    ConnectionLost,
    DeadlineExceeded,
    Fault,
    HttpError,
    Limits,
    Retries,
    ServiceBusy,
    SoapBatchError,
    TenantMoved,
    UnreadableResponse,
    UsageError,
    UsernamePassword,
)
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE
from soapbatch.testing import NetServer
from soapbatch.testing.requests import Personality
from tests.support.clients import BASE, Reply, answer, in_process, now, replying, scripted, virtual
from tests.support.envelopes import fault12

HTML = b"<html>" + b"no" * 5000
JOB = BatchTaskInfo(name="Export")
ONCE = Retries(attempts=1)
FAULT = fault12("<s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text>No such job</s:Text></s:Reason>")


def encoded(body: bytes, coding: str) -> Callable[[int], Reply]:
    """Return what makes a reply with a Content-Encoding."""
    return lambda status: Reply(status, {"Content-Encoding": coding, "Retry-After": "7"}, [body])


def plain(*body: bytes | float | Exception) -> Callable[[int], Reply]:
    """Return what makes a reply with a body."""
    return lambda status: Reply(status, {"Retry-After": "7"}, body)


BODIES = {
    "empty": plain(),
    "html": plain(HTML),
    "broken at once": plain(ConnectionLost("reset")),
    "broken": plain(HTML, ConnectionLost("reset")),
    "a timeout of the HTTP client": plain(HTML, DeadlineExceeded("read timeout", phase="reading")),
    "never ends": plain(b"<", 3600.0),
    "drips": plain(*(part for _ in range(1000) for part in (b"<", 4.0))),
    "a broken envelope": plain(answer(GET_BATCH_TASK_INFO)[:-30]),
    "a broken envelope, reset": plain(answer(GET_BATCH_TASK_INFO)[:-30], ConnectionLost("reset")),
    "br": encoded(HTML, "br"),
    "gzip that is none": encoded(HTML, "gzip"),
    "gzip cut": encoded(gzip.compress(HTML)[:-6], "gzip"),
    "gzip bomb": encoded(gzip.compress(bytes(8 << 20)), "gzip"),
    "too large": plain(*[b" " * 1000] * 20),
    "UTF-16 that is none": lambda status: Reply(status, {"Content-Type": "text/xml; charset=utf-16"}, [b"\xff"]),
    "an unknown charset": lambda status: Reply(status, {"Content-Type": "text/xml; charset=klingon"}, [HTML]),
    "a DOCTYPE": plain(b"<!DOCTYPE html><html/>"),
}
STATUSES: dict[int, tuple[type[HttpError], str]] = {
    401: (AccessDenied, "no"),
    403: (AccessDenied, "no"),
    413: (HttpError, "no"),
    415: (BindingRefused, "no"),
    421: (TenantMoved, "no"),
    429: (ServiceBusy, "no"),
    503: (ServiceBusy, "unknown"),
}


async def read_all(client: Client) -> int:
    """Stream a list, and return its length."""
    return len([info async for info in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")])


@pytest.mark.parametrize("is_streamed", [False, True], ids=["collected", "streamed"])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("body", BODIES)
@virtual
async def test_the_status_decides(body: str, status: int, *, is_streamed: bool) -> None:
    """Class, `applied` and Retry-After follow from the status; a body that does not end costs at most 5 seconds."""
    reply = BODIES[body](status)
    client, _ = scripted(reply, retries=ONCE, limits=Limits(bytes=15_000), timeout=10)
    kind, applied = STATUSES[status]
    async with client:
        with pytest.raises(kind) as caught:
            await (read_all(client) if is_streamed else client.batch.start_batch_job(JOB))
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.applied, error.retryable) == (status, applied, kind is ServiceBusy)
    assert error.retry_after == (7.0 if "Retry-After" in reply.headers else None)
    assert now() == (5 if body in {"never ends", "drips"} else 0)
    assert reply.closed == 1


@pytest.mark.parametrize("status", [302, 400, 404, 500, 502, 520])
@virtual
async def test_any_status_of_failure_decides_behind_a_broken_body(status: int) -> None:
    """A response that breaks is an HTTP error where its status means failure, and a broken connection where not."""
    client, _ = scripted(plain(HTML, ConnectionLost("reset"))(status), retries=ONCE)
    async with client:
        with pytest.raises(HttpError) as caught:
            await client.batch.start_batch_job(JOB)
    assert caught.value.status == status
    client, _ = scripted(plain(HTML, ConnectionLost("reset"))(200), retries=ONCE)
    async with client:
        with pytest.raises(ConnectionLost):
            await client.batch.start_batch_job(JOB)


@virtual
async def test_a_long_body_behind_a_status_that_needs_it_is_awaited() -> None:
    """A fault with HTTP 500 may take longer than 5 seconds."""
    client, _ = scripted(Reply(500, {}, [FAULT[:50], 8.0, FAULT[50:]]), timeout=10)
    async with client:
        with pytest.raises(Fault, match="No such job"):
            await client.batch.start_batch_job(JOB)
    assert now() == 8


@pytest.mark.parametrize("body", BODIES)
@virtual
async def test_a_refused_form_leads_on_whatever_its_body(body: str) -> None:
    """HTTP 415 leads to SOAP 1.1, and a 401 to another ticket, although the body cannot be read."""
    limits = Limits(bytes=15_000)
    client, script = scripted(
        BODIES[body](415), replying(GET_BATCH_TASK_INFO), binding=None, retries=ONCE, limits=limits
    )
    async with client:
        assert await client.batch.get_batch_task_info(1) is None
        assert client.binding is Binding.SOAP11
    assert len(script.requests) == 2
    tickets = iter(["7T:b25l", "7T:dHdv"])

    async def fetch() -> str:
        return next(tickets)

    client, script = scripted(
        *(BODIES[body](401), replying(GET_BATCH_TASK_INFO)), ticket=None, credentials=fetch, limits=limits
    )
    async with client:
        assert await client.batch.get_batch_task_info(1) is None
    assert [b"b25l" in request.body for request in script.requests] == [True, False]


# --- Hooks that raise for the status ------------------------------------------------------------------------------


async def raise_for_status(response: httpx.Response) -> None:
    """Raise for a status, as httpx's documentation recommends it."""
    response.raise_for_status()


async def read_and_raise(response: httpx.Response) -> None:
    """Read the body, then raise for the status."""
    await response.aread()
    response.raise_for_status()


class Refused(httpx.HTTPStatusError):
    """An application's own error for a status."""


async def raise_own(response: httpx.Response) -> None:
    """Raise an error of a class of its own."""
    if response.is_error:
        raise Refused("no", request=response.request, response=response)


def hooked(status: int, hook: object, body: bytes = b"") -> httpx.AsyncClient:
    """Return a client whose response hook raises, and that gets one response for ever."""

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Retry-After": "7"}, stream=httpx.ByteStream(body))

    return httpx.AsyncClient(transport=httpx.MockTransport(respond), event_hooks={"response": [hook]})  # type: ignore[list-item]


@pytest.mark.parametrize("hook", [raise_for_status, read_and_raise, raise_own])
@pytest.mark.parametrize("status", [*STATUSES, 302, 404, 502])
async def test_a_hook_that_raises_for_the_status(status: int, hook: object) -> None:
    """The response that the exception carries is judged like any other."""
    if status == 302 and hook is raise_own:
        pytest.skip("a redirect is no error")
    kind, applied = STATUSES.get(status, (HttpError, "unknown" if status in {302, 502} else "no"))
    async with (
        hooked(status, hook) as http,
        Client(BASE, ticket="7T:dA==", binding=Binding.SOAP11, http_client=http, retries=ONCE) as client,
    ):
        with pytest.raises(kind) as caught:
            await client.batch.start_batch_job(JOB)
    assert (caught.value.status, caught.value.applied, caught.value.retry_after) == (status, applied, 7.0)


async def test_a_hook_that_hides_a_fault() -> None:
    """A fault that the hook has read is judged. One that it has not read is lost: the error says what to change."""
    for binding in (Binding.SOAP11, None):
        async with (
            hooked(500, raise_for_status, FAULT) as http,
            Client(BASE, ticket="7T:dA==", binding=binding, http_client=http) as client,
        ):
            with pytest.raises(UsageError, match="take the hook out, or let it read") as caught:
                await client.batch.start_batch_job(JOB)
            assert caught.value.applied == ("unknown" if binding else "no")
            assert not caught.value.retryable
    async with (
        hooked(500, read_and_raise, FAULT) as http,
        Client(BASE, ticket="7T:dA==", binding=Binding.SOAP11, http_client=http) as client,
    ):
        with pytest.raises(Fault, match="No such job"):
            await client.batch.start_batch_job(JOB)


async def test_a_hook_that_raises_something_else() -> None:
    """Any other exception of a hook stays what it is: the connection of that request is lost."""

    async def fail(_: httpx.Response) -> None:
        raise httpx.ReadError("broken")

    async with hooked(200, fail) as http, Client(BASE, ticket="7T:dA==", http_client=http, retries=ONCE) as client:
        with pytest.raises(ConnectionLost):
            await client.batch.get_batch_task_info(1)


async def test_a_hook_and_a_server_that_takes_soap_1_1() -> None:
    """A client whose hook raises for HTTP 415 finds the binding all the same."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    server.define_job("Export")
    transport = httpx.ASGITransport(server)
    async with (
        httpx.AsyncClient(transport=transport, event_hooks={"response": [raise_for_status]}) as http,
        Client(BASE, credentials=UsernamePassword("demo", "demo"), http_client=http) as client,
    ):
        assert await client.batch.start_batch_job(JOB)
        assert client.binding is Binding.SOAP11


# --- Advice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binding", [Binding.SOAP11, None])
@pytest.mark.parametrize("kind", ["415", "fault", "empty"])
async def test_advice_about_bindings_ends_with_the_first_answer(kind: str, binding: Binding | None) -> None:
    """Another binding is advised while none has worked, pinned or not, and never afterwards."""
    reply = {"415": Reply(415), "fault": Reply(500, {}, [FAULT]), "empty": Reply(200)}[kind]
    client, _ = scripted(reply, reply, reply, replying(GET_BATCH_TASK_INFO), reply, binding=binding, retries=ONCE)
    errors: list[SoapBatchError] = []
    async with client:
        for _ in range(5):
            try:
                await client.batch.get_batch_task_info(1)
            except (BindingRefused, Fault, UnreadableResponse) as error:
                errors.append(error)
    refused = 3 if binding else 1  # without a pinned binding, the first call tries all three
    assert ["there are Binding.DOCUMENTED" in str(error) for error in errors] == [True] * refused + [False] * (
        4 - refused
    )


async def test_advice_ends_with_a_failure_of_the_service_too() -> None:
    """A service that refuses an operation has understood the form."""
    server = NetServer(unknown_task="exception")
    async with in_process(server, binding=Binding.SOAP12) as client:
        for has_worked in (False, True):
            assert client._context.search.has_worked is has_worked
            with pytest.raises(SoapBatchError):
                await client.batch.get_batch_task_info(4711)
