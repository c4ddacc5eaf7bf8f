"""Requests to the sign-in host: bounded in time and size, never redirected, and never shown."""

import asyncio
import gzip
import logging
from typing import Any

import httpx
import pytest

from soapbatch import (
    BatchTaskInfo,
    ConnectFailed,
    DeadlineExceeded,
    HttpError,
    LimitExceeded,
    Retries,
    ServiceBusy,
    SoapBatchError,
    UnreadableResponse,
)
from soapbatch.online import Environment, SignInRequest
from soapbatch.online.sign_in import LARGEST, SignInHost, utc_now
from soapbatch.testing import answering, delayed
from soapbatch.transport import Sender
from tests.support.clients import now, virtual
from tests.support.online import TENANT, raised, service

SOD = Environment.named("sod")
EXPORT = BatchTaskInfo(name="ExportAll")
POST = SignInRequest(method="POST", url=SOD.tokens_url, headers={"X": "y"}, body=b"client_secret=plain-text")


def host(answer: Any, timeout: float = 30) -> SignInHost:
    """Return a sign-in host that answers by script."""

    async def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        if callable(answer):
            return answer(request)  # type: ignore[no-any-return]
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200)

    return SignInHost(SOD, Sender(httpx.MockTransport(handle)), timeout=timeout, now=utc_now)


@virtual
async def test_what_is_sent() -> None:
    """A GET without a body or a length; a POST with both."""
    requests = list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=gzip.compress(b"body"))

    sign_in = host(answer)
    response = await sign_in.send(SOD.state_request(TENANT))
    await sign_in.send(POST)
    assert (response.status, response.body) == (200, b"body")
    assert "b'body'" not in repr(response)
    get, post = requests
    assert (get.method, str(get.url), get.headers.get("content-length")) == (
        "GET",
        f"{SOD.url}/api/state/{TENANT}",
        None,
    )
    assert (post.method, post.content, post.headers["content-length"]) == ("POST", POST.body, str(len(POST.body)))
    assert (post.headers["host"], post.headers["x"], post.headers["accept-encoding"]) == (SOD.host, "y", "gzip")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200, content=b"x" * (LARGEST + 1)), LimitExceeded),
        (
            httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"junk")),
            UnreadableResponse,
        ),
        (httpx.Response(200, headers={"Content-Encoding": "br"}, stream=httpx.ByteStream(b"junk")), UnreadableResponse),
        (httpx.ConnectError("no"), ConnectFailed),
        (httpx.ReadTimeout("no"), DeadlineExceeded),
        (100.0, DeadlineExceeded),
    ],
)
@virtual
async def test_what_fails(answer: Any, error: type[SoapBatchError]) -> None:
    """One of our errors, which shows no part of the request."""
    with pytest.raises(error) as raising:
        await host(answer).send(POST)
    raised(raising, "plain-text")
    assert now() in {0, 30}


@virtual
async def test_a_timeout_of_the_callers() -> None:
    """It is the caller's, and no DeadlineExceeded of ours."""
    with pytest.raises(TimeoutError) as raising:
        async with asyncio.timeout(5):
            await host(100.0).send(POST)
    assert not isinstance(raising.value, SoapBatchError)

    def fail(_: httpx.Request) -> httpx.Response:
        raise TimeoutError

    with pytest.raises(DeadlineExceeded, match="a timeout of the HTTP client"):
        await host(fail).send(POST)


def test_requests_are_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Method, URL, outcome and time."""
    caplog.set_level(logging.DEBUG, "soapbatch")

    async def main() -> None:
        await host(httpx.Response(200)).send(POST)
        with pytest.raises(ConnectFailed):
            await host(httpx.ConnectError("no")).send(POST)

    asyncio.run(main())
    texts = [record.getMessage() for record in caplog.records if record.name == "soapbatch"]
    assert [text.split(",")[0] for text in texts] == [
        f"POST {SOD.tokens_url}: HTTP 200",
        f"POST {SOD.tokens_url}: ConnectFailed",
    ]
    assert "plain-text" not in caplog.text


@pytest.mark.parametrize(
    ("endpoint", "status", "error", "message"),
    [
        ("state", 404, HttpError, "it knows no such tenant: check the customer number and the environment"),
        ("state", 503, ServiceBusy, "HTTP 503; try again later"),
        ("state", 429, ServiceBusy, "HTTP 429; try again later"),
        ("state", 400, HttpError, "HTTP 400; check the environment"),
        ("jwks", 404, HttpError, "the key set: the sign-in host answers HTTP 404; check the environment"),
        ("jwks", 500, HttpError, "try again later"),
    ],
)
@virtual
async def test_another_status(endpoint: Any, status: int, error: type[SoapBatchError], message: str) -> None:
    """The call was not sent, and the error says what to do."""
    async with service() as here, here.client() as client:
        here.online.intercept(endpoint, answering(status, {"Retry-After": "1"}), times=None)
        with pytest.raises(error, match=message) as raising:
            await client.batch.start_batch_job(EXPORT)
        assert (raising.value.applied, raising.value.retry_after) == ("no", 1)
        assert here.online.counts["tenant"] == 0


@virtual
async def test_a_sign_in_host_that_does_not_answer() -> None:
    """Its own timeout ends the request; the deadline of a call ends it earlier, and says where."""
    async with service(timeout=20) as here, here.client("7T:x", retries=Retries(attempts=1)) as client:
        here.online.intercept("state", delayed(1000), times=None)
        with pytest.raises(DeadlineExceeded, match=r"sod.superoffice.com took longer than 20 s"):
            await client.batch.start_batch_job(EXPORT, timeout=25)
        with pytest.raises(DeadlineExceeded, match="it ran out while locating") as raising:
            await client.batch.start_batch_job(EXPORT, timeout=5)
        assert (raising.value.phase, raising.value.applied) == ("locating", "no")
