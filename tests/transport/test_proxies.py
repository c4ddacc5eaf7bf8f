"""Proxies: which one a request goes through, and what goes through it: http, https, TLS in TLS, SOCKS5."""

import asyncio
import ssl
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from soapbatch import Client, Retries
from soapbatch.errors import ConnectFailed, UsageError
from soapbatch.transport import ConnectionPool, SendState
from soapbatch.transport.proxies import environment_proxy, is_exempt, read_proxy
from soapbatch.transport.socket_stream import SocketStream
from tests.support.fault_server import Authority, FaultServer, ProxyServer, SocksServer
from tests.support.transports import TRANSPORTS, Steps, ask, open_sockets, until, using

# --- Which one --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["argument", "environment", "bypassed", "not-trusted"])
async def test_proxies_hold_as_they_do_for_httpx(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is used by argument or by environment, unless NO_PROXY or trust_env=False say otherwise."""
    async with ProxyServer() as proxy, FaultServer() as server:
        url = f"http://user:hunter2@{proxy.host}"
        if way != "argument":
            monkeypatch.setenv("HTTP_PROXY", url)
        if way == "bypassed":
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        by_way: dict[str, dict[str, Any]] = {"argument": {"proxy": url}, "not-trusted": {"trust_env": False}}
        async with using(ConnectionPool(**by_way.get(way, {}))) as pool:
            for body in (b"one", b"two"):
                assert await ask(pool, server.url + "/path", body) == body
    if way in {"argument", "environment"}:
        assert proxy.seen == [f"POST {server.url}/path HTTP/1.1"]
        assert "proxy-authorization: basic" in proxy.heads[0].lower()
    else:
        assert proxy.seen == []
    assert [seen.body for seen in server.seen] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("entry", "host", "port", "expected"),
    [
        pytest.param("*", "crm.example.com", 443, True, id="everything"),
        pytest.param("", "crm.example.com", 443, False, id="nothing"),
        pytest.param(" , ,", "crm.example.com", 443, False, id="empty-entries"),
        pytest.param("example.com", "crm.example.com", 443, True, id="subdomain"),
        pytest.param("example.com", "example.com", 443, True, id="the-domain-itself"),
        pytest.param("example.com", "badexample.com", 443, False, id="another-domain-with-the-same-end"),
        pytest.param(".example.com", "crm.example.com", 443, True, id="leading-dot"),
        pytest.param(".example.com", "example.com", 443, True, id="leading-dot-and-the-domain-itself"),
        pytest.param("*.example.com", "crm.example.com", 443, True, id="star-and-dot"),
        pytest.param("example.com.", "crm.example.com", 443, True, id="trailing-dot"),
        pytest.param("example.com", "CRM.example.com.", 443, True, id="trailing-dot-of-the-host"),
        pytest.param("Example.COM", "crm.example.com", 443, True, id="case"),
        pytest.param("example.com:443", "crm.example.com", 443, True, id="port"),
        pytest.param("example.com:8080", "crm.example.com", 443, False, id="other-port"),
        pytest.param("a b,example.com", "b", 80, True, id="spaces"),
        pytest.param("localhost,127.0.0.0/8,::1/128", "crm.example.com", 443, False, id="docker-and-a-name"),
        pytest.param("localhost,127.0.0.0/8,::1/128", "127.5.6.7", 80, True, id="docker-and-a-network"),
        pytest.param("localhost,127.0.0.0/8,::1/128", "::1", 80, True, id="docker-and-ipv6"),
        pytest.param("10.0.0.0/8", "11.0.0.1", 80, False, id="outside-of-the-network"),
        pytest.param("10.0.0.7/8", "10.1.2.3", 80, True, id="network-with-host-bits"),
        pytest.param("fd00::/8", "fd12::1", 80, True, id="network-of-ipv6"),
        pytest.param("fd00::/8", "10.0.0.1", 80, False, id="network-of-the-other-family"),
        pytest.param("10.0.0.0/nonsense", "10.0.0.1", 80, False, id="no-network"),
        pytest.param("example.com/8", "example.com", 80, False, id="no-network-either"),
        pytest.param("10.0.0.1", "10.0.0.1", 80, True, id="address"),
        pytest.param("0.0.1", "10.0.0.1", 80, False, id="end-of-an-address"),
        pytest.param("10.0.0.1:8080", "10.0.0.1", 8080, True, id="address-and-port"),
        pytest.param("10.0.0.1:8080", "10.0.0.1", 80, False, id="address-and-other-port"),
        pytest.param("::1", "::1", 80, True, id="ipv6"),
        pytest.param("[::1],intern", "::1", 80, True, id="ipv6-in-brackets"),
        pytest.param("[::1],intern", "crm.invalid", 80, False, id="brackets-and-a-name"),
        pytest.param("[::1]:8080", "::1", 8080, True, id="ipv6-and-port"),
        pytest.param("[::1]:8080", "::1", 80, False, id="ipv6-and-other-port"),
        pytest.param("0:0:0:0:0:0:0:1", "::1", 80, True, id="ipv6-written-out"),
        pytest.param(":80", "crm.example.com", 80, False, id="only-a-port"),
        pytest.param(".", "crm.example.com", 80, False, id="only-a-dot"),
    ],
)
def test_what_no_proxy_exempts(entry: str, host: str, port: int, expected: bool) -> None:  # noqa: FBT001 - a column
    """NO_PROXY is read as curl, Go and requests read it."""
    assert is_exempt(host, port, {"no": entry}) is expected


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy for the scheme comes before the one for everything; a proxy without a scheme speaks http."""
    monkeypatch.setenv("ALL_PROXY", "socks5://all.example")
    monkeypatch.setenv("HTTPS_PROXY", "https.example:3128")
    monkeypatch.setenv("NO_PROXY", "exempt.example")
    assert environment_proxy("https", "exempt.example", 443) is None
    by_scheme = {scheme: environment_proxy(scheme, "crm.example", 443) for scheme in ("http", "https")}
    urls = {scheme: str(proxy and proxy.url) for scheme, proxy in by_scheme.items()}
    assert urls == {"http": "socks5://all.example", "https": "http://https.example:3128"}
    assert read_proxy(None) is None
    given = httpx.Proxy("http://h")
    assert read_proxy(given) is given


async def test_a_proxy_setting_that_cannot_be_used_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of an unknown kind in the environment is reported as such, and nothing stays behind."""
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:70")
    async with using(ConnectionPool()) as pool:
        with pytest.raises(UsageError, match="ALL_PROXY"):
            await ask(pool, "http://127.0.0.1:9/")
        assert pool._in_use == 0


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://proxy.example", 80),
        ("https://proxy.example", 443),
        ("socks5://proxy.example", 1080),
        ("socks5h://proxy.example", 1080),
        ("socks5h://proxy.example:9", 9),
    ],
)
@pytest.mark.filterwarnings("ignore:verify=False:RuntimeWarning")
async def test_the_port_of_a_proxy(url: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy without a port is reached at the usual one of its kind."""
    reached: list[tuple[str, int]] = []

    async def connect(_: SocketStream, host: str, port: int) -> None:
        reached.append((host, port))
        raise httpx.ConnectError("m")

    monkeypatch.setattr(SocketStream, "connect", connect)
    await failure_of("http://127.0.0.1:9/", proxy=url, verify=False)
    assert reached == [("proxy.example", port)]


# --- What goes through it ---------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Authority], ProxyServer]] = {
    "http": lambda _: ProxyServer(),
    "https": lambda authority: ProxyServer(authority=authority),
    "socks5": lambda _: SocksServer(),
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_proxy(kind: str, scheme: str, authority: Authority) -> None:
    """Requests go through each kind of proxy, over one connection, whose certificates are all checked."""
    secure = authority if scheme == "https" else None
    async with KINDS[kind](authority) as proxy, FaultServer(authority=secure) as server:
        async with using(ConnectionPool(proxy=f"{kind}://{proxy.host}", verify=authority.client)) as pool:
            for body in (b"one", b"two", bytes(1_000_000)):
                assert await ask(pool, f"{server.url}/path", body) == body
        place = server.url.partition("://")[2]
        request = f"CONNECT {place} HTTP/1.1" if secure else f"POST {server.url}/path HTTP/1.1"
        assert proxy.seen == [place if kind == "socks5" else request]
        assert server.accepted == 1
        # The proxy of these tests changes the first target only.
        kept = "/path" if secure or kind == "socks5" else f"{server.url}/path"
        assert [seen.target for seen in server.seen] == ["/path", kept, kept]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_address_of_ipv6_through_a_proxy(kind: str, scheme: str, authority: Authority) -> None:
    """IPv6 stands in brackets in a CONNECT and in a URL, and is an address for SOCKS5."""
    secure = authority if scheme == "https" else None
    async with KINDS[kind](authority) as proxy, FaultServer(authority=secure, host="::1") as server:
        async with using(ConnectionPool(proxy=f"{kind}://{proxy.host}", verify=authority.client)) as pool:
            assert await ask(pool, server.url) == b"<envelope/>"
        place = server.url.partition("://")[2]
        assert place in proxy.seen[0]
        if proxy.heads:
            assert f"\r\nHost: {place}\r\n" in proxy.heads[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stale_answer_through_a_proxy(kind: str, authority: Authority) -> None:
    """A connection over which a proxy has passed an answer twice is not used again."""
    async with (
        KINDS[kind](authority) as proxy,
        FaultServer(fault="twice") as server,
        using(ConnectionPool(proxy=f"{kind}://{proxy.host}", verify=authority.client)) as pool,
    ):
        for body in (b"one", b"two", b"three"):
            assert await ask(pool, server.url, body) == body
        assert server.accepted == 3


async def failure_of(url: str, **options: Any) -> ConnectFailed:
    """Return the error of a request that must not be sent; check that it names the proxy and shows no password."""
    state = SendState()
    async with using(ConnectionPool(**options)) as pool:
        with pytest.raises(ConnectFailed, match="the proxy did not connect") as caught:
            await ask(pool, url, state=state)
        assert pool._in_use == 0
    assert (caught.value.applied, state.sent, state.phase) == ("no", False, "connecting")
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)
    return caught.value


TUNNEL_REFUSALS: dict[str, tuple[bytes, str]] = {
    "407": (b"HTTP/1.1 407 hunter2\r\nContent-Length: 0\r\n\r\n", "407 Proxy Authentication Required"),
    "502": (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502 Bad Gateway"),
    "300": (b"HTTP/1.1 300 Multiple Choices\r\nContent-Length: 0\r\n\r\n", "300 Multiple Choices"),
    "unknown status": (b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n", r"\(599\)"),
    "informed first": (b"HTTP/1.1 103 A\r\n\r\nHTTP/1.1 403 B\r\n\r\n", "403 Forbidden"),
    "garbage": (b"hunter2 garbage", "illegal status line"),
    "bad head": (b"HTTP/1.1 200 OK\r\nhunter2\r\n\r\n", r"\(illegal header line\)"),
    "half": (b"HTTP/1.1 200", "Server disconnected"),
    "tls": (b"\x15\x03\x03\0\x02\x02\x28", "it is TLS"),
    "surplus": (b"HTTP/1.1 200 OK\r\n\r\nsomething", "something unasked"),
}


@pytest.mark.parametrize("name", TUNNEL_REFUSALS)
@pytest.mark.filterwarnings("ignore:verify=False:RuntimeWarning")
async def test_a_proxy_that_refuses_has_sent_nothing(name: str) -> None:
    """A proxy that wants a password, or does not open the tunnel, is named in the error; nothing was sent."""
    refusal, says = TUNNEL_REFUSALS[name]
    async with ProxyServer(refusal) as proxy:
        failure = await failure_of("https://127.0.0.1:9/", proxy=f"http://user:hunter2@{proxy.host}", verify=False)
        assert "proxy-authorization: Basic".lower() in proxy.heads[0].lower()
    with pytest.raises(ConnectFailed, match=says):
        raise failure


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.0 200 Connection established\r\n\r\n", b"HTTP/1.1 299 Odd\r\nContent-Length: 5\r\n\r\n"],
    ids=["http-1.0", "length"],
)
async def test_odd_ways_to_say_yes(answer: bytes, authority: Authority) -> None:
    """A tunnel is open after any 2xx, whatever its headers say (RFC 9110, section 9.3.6)."""
    async with (
        ProxyServer(connected=answer) as proxy,
        FaultServer(authority=authority) as server,
        using(ConnectionPool(proxy=f"http://{proxy.host}", verify=authority.client)) as pool,
    ):
        assert await ask(pool, server.url) == b"<envelope/>"


async def test_a_name_that_no_certificate_bears(authority: Authority) -> None:
    """Where the proxy looks up names, one that TLS refuses is a failure to connect."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, using(ConnectionPool(proxy=proxy, verify=authority.client)) as pool:
        with pytest.raises(ConnectFailed) as caught:
            await ask(pool, "https://.example.com/")
        assert caught.value.applied == "no"
        await asyncio.sleep(0.01)  # the server notices


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
@pytest.mark.filterwarnings("ignore:verify=False:RuntimeWarning")
async def test_a_proxy_that_cannot_be_reached(kind: str) -> None:
    """It is the proxy that the error names, and not the service."""
    async with FaultServer(fault="refuse") as server:
        failure = await failure_of("http://crm.example/", proxy=server.url.replace("http", kind), verify=False)
    assert "refused" in str(failure).lower()


async def test_a_proxy_whose_certificate_is_not_accepted(authority: Authority) -> None:
    """An https proxy is checked like a server; a context of its own may be given."""
    own = httpx.Proxy("https://h", ssl_context=authority.client)
    async with ProxyServer(authority=authority) as proxy, FaultServer() as server:
        failure = await failure_of(server.url, proxy=f"https://{proxy.host}", verify=ssl.create_default_context())
        assert "certificate" in str(failure)
        own = httpx.Proxy(f"https://{proxy.host}", ssl_context=authority.client)
        async with using(ConnectionPool(proxy=own, verify=ssl.create_default_context())) as pool:
            assert await ask(pool, server.url) == b"<envelope/>"


# --- SOCKS5 -----------------------------------------------------------------------------------------------------


async def test_socks_with_a_password_and_a_name() -> None:
    """The proxy logs the client in, and looks up the name itself."""
    async with SocksServer(method=b"\2") as proxy, FaultServer() as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with using(ConnectionPool(proxy=f"socks5h://user:hunter2@{proxy.host}")) as pool:
            assert await ask(pool, url) == b"<envelope/>"
    assert proxy.login == (b"user", b"hunter2")
    assert proxy.seen == [url.removeprefix("http://")]


@pytest.mark.parametrize(
    "bound",
    [
        pytest.param(b"\1" + bytes(4), id="IPv4"),
        pytest.param(b"\3\0", id="an empty name"),
        pytest.param(b"\3\x7f" + b"a" * 127, id="a long name"),
        pytest.param(b"\4" + bytes(16), id="IPv6"),
    ],
)
async def test_what_a_socks_proxy_may_bind(bound: bytes) -> None:
    """The reply names an address of any kind and length, and arrives a byte at a time."""
    async with SocksServer(bound=bound) as proxy, FaultServer() as server:
        async with using(ConnectionPool(proxy=f"socks5://{proxy.host}")) as pool:
            for body in (b"one", b"two"):
                assert await ask(pool, server.url, body) == body
        assert server.accepted == 1


SOCKS_REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no way to log in": ({"method": b"\xff"}, "another way to log in"),
    "password": ({"method": b"\2", "status": b"\1"}, "refuses the user or the password"),
    "connection": ({"status": b"\5"}, "cannot connect: connection refused"),
    "closed": ({"answer": {"method": b""}}, "closed the connection"),
    "closed in the middle": ({"answer": {"connect": b"\5\0\0\1"}}, "closed the connection"),
    "http": ({"answer": {"method": b"HTTP/1.1 400 Bad Request\r\n\r\n"}}, "does not speak SOCKS5"),
    "no such method": ({"answer": {"method": b"\5\x77"}}, "does not speak SOCKS5"),
    "surplus": ({"answer": {"connect": b"\5\0\0\1\0\0\0\0\0\0surplus"}}, "does not speak SOCKS5"),
    "surplus behind a name": ({"answer": {"connect": b"\5\0\0\3\1a\0\0surplus"}}, "does not speak SOCKS5"),
    "no such kind of address": ({"answer": {"connect": b"\5\0\0\x09\0\0"}}, "does not speak SOCKS5"),
}


@pytest.mark.parametrize("name", SOCKS_REFUSALS)
async def test_a_socks_proxy_that_refuses(name: str) -> None:
    """What a SOCKS5 proxy refuses, or says in another language, is a failure to connect."""
    options, says = SOCKS_REFUSALS[name]
    login = "user:hunter2@" if options.get("method") == b"\2" else ""
    async with SocksServer(**options) as proxy:
        failure = await failure_of("http://127.0.0.1:9/", proxy=f"socks5://{login}{proxy.host}")
    with pytest.raises(ConnectFailed, match=says):
        raise failure


async def test_what_is_too_long_for_socks() -> None:
    """A length is one byte: a longer password is refused, and not shown."""
    async with SocksServer(method=b"\2") as proxy:
        failure = await failure_of("http://127.0.0.1:9/", proxy=f"socks5://user:{'hunter2' * 40}@{proxy.host}")
    assert "too long for SOCKS5" in str(failure)


async def test_socks_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says what to install, before anything is opened."""
    monkeypatch.setitem(sys.modules, "socksio.socks5", None)
    async with SocksServer() as proxy, using(ConnectionPool(proxy=f"socks5://{proxy.host}")) as pool:
        with pytest.raises(UsageError, match=r"pip install 'httpx\[socks\]'"):
            await ask(pool, "http://127.0.0.1:9/")
        assert (pool._in_use, proxy.connections) == (0, 0)


# --- Cancellation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_at_any_await_leaves_nothing(kind: str, scheme: str, times: int, authority: Authority) -> None:
    """A request that is cancelled at any of its awaits behind a proxy leaves no socket, task or slot."""
    before, tasks = open_sockets(), asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(KINDS[kind](authority))
        server = await stack.enter_async_context(FaultServer(authority=authority if scheme == "https" else None))
        listening, serving = open_sockets(), asyncio.all_tasks()
        is_late = False
        at = 0
        while not is_late:
            at += 1
            pool = ConnectionPool(proxy=f"{kind}://{proxy.host}", verify=authority.client, max_connections=1)
            steps = Steps(ask(pool, server.url, b"x"), set(range(at, at + times)))

            async def run(steps: Steps[bytes] = steps) -> bytes:
                return await steps

            task = asyncio.create_task(run())
            await asyncio.wait([task])
            is_late = not task.cancelled() and steps.count < at
            assert pool._in_use == 0
            assert await ask(pool, server.url, b"probe") == b"probe"
            await pool.aclose()
        assert at > 3
        await until(lambda: server.connections == proxy.connections == 0 and open_sockets() <= listening)
        await until(lambda: asyncio.all_tasks() <= serving)
    await until(lambda: open_sockets() <= before and asyncio.all_tasks() <= tasks)


@pytest.mark.parametrize("name", ["pool", "client"])
@pytest.mark.parametrize("url", ["http://xn--a/", "http://" + "a" * 300 + ".example/"])
async def test_a_url_that_cannot_be_sent_is_a_usage_error(name: str, url: str, authority: Authority) -> None:
    """Also where a ticket makes the client ask for the proxy of that URL before it sends."""
    async with (
        using(TRANSPORTS[name](authority.client)) as transport,
        Client(url, ticket="7T:x", transport=transport, retries=Retries(attempts=1)) as client,
    ):
        with pytest.raises((UsageError, ConnectFailed)) as caught:
            await client.batch.get_batch_task_info(1)
    assert "a" * 300 in url or "check the base URL" in str(caught.value)
    assert caught.value.applied == "no"
