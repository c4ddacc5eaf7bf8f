"""Secrets and proxies: what crosses plain HTTP to a proxy on another machine is refused before it is sent."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest

from soapbatch import (
    AccessToken,
    BatchTaskInfo,
    Client,
    ConnectionPool,
    Generic,
    InsecureTransport,
    Retries,
    SoapBatchError,
    UsernamePassword,
)
from soapbatch.testing import NetServer, serve
from soapbatch.transport import Sender, SharedTransport

JOB = BatchTaskInfo(name="Export")
ONCE = Retries(attempts=1)
SECRET = "canary-of-a-secret"
SECRETS: Mapping[str, Mapping[str, Any]] = {
    "password": {"credentials": UsernamePassword("demo", SECRET)},
    "generic": {"credentials": Generic({"pin": SECRET})},
    "ticket": {"ticket": SECRET},
    "access token": {"credentials": AccessToken(SECRET)},
    "application token": {"application_token": SECRET},
}


@attrs.define
class Eavesdropper:
    """A proxy that reads, and answers nothing.

    Attributes:
        url: of the proxy.
        heard: what it was sent.
    """

    url: str
    heard: bytes = b""


@asynccontextmanager
async def eavesdropper() -> AsyncGenerator[Eavesdropper]:
    """Listen at 127.0.0.2, which stands for another machine."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: (\d+)", head)
        proxy.heard += head + await reader.readexactly(int(size[1]) if size else 0)
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.2", 0) as server:
        proxy = Eavesdropper(f"http://127.0.0.2:{server.sockets[0].getsockname()[1]}")
        yield proxy


async def call(client: Client, secret: str) -> object:
    """Make a call that carries the client's secrets."""
    if secret == "application token":
        return await client.principal.get_system_info()
    return await client.batch.start_batch_job(JOB)


@pytest.mark.parametrize("base_url", ["http://localhost:9", "http://127.0.0.1:9"])
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("way", ["HTTP_PROXY", "ALL_PROXY", "proxy=", "transport=", "shared"])
async def test_no_secret_reaches_a_proxy_on_another_machine(
    way: str, secret: str, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loopback is this machine for this machine alone: a proxy elsewhere would read what is sent to it."""
    async with eavesdropper() as proxy:
        options = dict(SECRETS[secret])
        if way.isupper():
            monkeypatch.setenv(way, proxy.url)
        elif way == "proxy=":
            options["proxy"] = proxy.url
        else:
            pool = ConnectionPool(proxy=proxy.url)
            options["transport"] = pool if way == "transport=" else SharedTransport(pool, pool.aclose)
        async with Client(base_url, retries=ONCE, **options) as client:
            with pytest.raises(InsecureTransport, match=r"127\.0\.0\.2.*allow_insecure=True") as caught:
                await call(client, secret)
            assert caught.value.applied == "no"
            assert SECRET not in str(caught.value)
        assert proxy.heard == b""


async def test_who_allows_it_gets_it() -> None:
    """With `allow_insecure=True` the request goes to the proxy."""
    async with eavesdropper() as proxy:
        options: dict[str, Any] = {"proxy": proxy.url, "allow_insecure": True, "retries": ONCE}
        async with Client("http://localhost:9", credentials=UsernamePassword("demo", SECRET), **options) as client:
            with pytest.raises(SoapBatchError):
                await call(client, "password")
        assert SECRET.encode() in proxy.heard


async def test_a_request_without_secrets_may_pass() -> None:
    """A client without credentials asks what the server is, through any proxy."""
    async with eavesdropper() as proxy:
        async with Client("http://localhost:9", proxy=proxy.url, retries=ONCE) as client:
            with pytest.raises(SoapBatchError) as caught:
                await client.principal.get_system_info()
            assert not isinstance(caught.value, InsecureTransport)
            with pytest.raises(InsecureTransport):
                await client.principal.authenticate_username_password("demo", SECRET)
        assert b"GetSystemInfo" in proxy.heard
        assert SECRET.encode() not in proxy.heard


@pytest.mark.parametrize("way", ["NO_PROXY", "trust_env=False", "http_client="])
async def test_what_goes_direct_is_not_refused(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is not used refuses nothing, and the proxies of a foreign client are its owner's business."""
    server = NetServer()
    server.define_job("Export")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    options: dict[str, Any] = {}
    if way == "NO_PROXY":
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    elif way == "trust_env=False":
        options["trust_env"] = False
    async with serve(server) as url, httpx.AsyncClient(trust_env=False) as http:
        if way == "http_client=":
            options["http_client"] = http
        async with Client(url, credentials=UsernamePassword("demo", "demo"), **options) as client:
            assert await call(client, "password")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_a_proxy_on_this_machine_is_no_other(host: str) -> None:
    """A proxy that runs here gets the request; an https service is safe behind any proxy."""
    for base_url, proxy in (("http://localhost:9", f"http://{host}:9"), ("https://127.0.0.1:9", "http://127.0.0.2:9")):
        async with Client(base_url, ticket=SECRET, proxy=proxy, retries=ONCE, timeout=20) as client:
            with pytest.raises(SoapBatchError) as caught:
                await call(client, "password")
            assert not isinstance(caught.value, InsecureTransport)


async def test_the_question_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is not searched for each call."""
    server = NetServer()
    asked: list[str] = []
    ask = Sender.proxy_for

    def noted(sender: Sender, url: str) -> str | None:
        asked.append(url)
        return ask(sender, url)

    monkeypatch.setattr(Sender, "proxy_for", noted)
    async with serve(server) as url, Client(url, ticket=server.tickets.issue()) as client:
        for _ in range(3):
            await client.batch.get_batch_task_info(1)
    assert asked == [url]
