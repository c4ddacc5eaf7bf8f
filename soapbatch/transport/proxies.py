"""Which proxy a request goes through: the one that was given, or the one that the environment names."""

import ipaddress
import urllib.request
from collections.abc import Mapping

import httpx

from soapbatch.errors import UsageError
from soapbatch.model import Secret, kind_of

_UNUSABLE = (
    "the proxy settings cannot be used; check proxy=, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY: a proxy is a "
    "URL like http://proxy.example.com:3128"
)


def read_proxy(proxy: Secret | httpx.Proxy | None) -> httpx.Proxy | None:
    """Return `proxy` in httpx's form. Its URL is a Secret, since it may hold a password, which a traceback would show.

    Raises:
        UsageError: it is no URL of a proxy.
    """
    if proxy is None or isinstance(proxy, httpx.Proxy):
        return proxy
    if not isinstance(proxy, Secret):
        raise UsageError(f"proxy= takes the URL of a proxy, or an httpx.Proxy, not {kind_of(proxy)}")
    try:
        return httpx.Proxy(proxy.reveal() if "://" in proxy.reveal() else f"http://{proxy.reveal()}")
    except (ValueError, httpx.InvalidURL):
        failure = UsageError(_UNUSABLE)
    raise failure


def environment_proxy(scheme: str, host: str, port: int) -> httpx.Proxy | None:
    """Return the proxy that the environment (or the operating system) names for an origin, or None.

    Raises:
        UsageError: what it names is no URL of a proxy.
    """
    proxies = urllib.request.getproxies()
    is_direct = is_exempt(host, port, proxies)
    proxy = Secret.wrap(proxies.get(scheme) or proxies.get("all") or None)
    del proxies
    return None if is_direct else read_proxy(proxy)


def is_exempt(host: str, port: int, proxies: Mapping[str, str]) -> bool:
    """Return whether NO_PROXY, `proxies["no"]`, exempts `host`.

    An entry, as curl, Go and requests read them: `*`; a domain, with or without a leading dot, which exempts its
    subdomains too; an IP address; a network like `10.0.0.0/8` or `fd00::/8`; each but a network with an optional port,
    an IPv6 address with or without brackets.
    """
    name = host.lower().rstrip(".")
    return any(_covers(entry, name, port) for entry in proxies.get("no", "").replace(" ", ",").split(",") if entry)


def _covers(entry: str, name: str, port: int) -> bool:
    entry = entry.lower()
    address = _address(name)
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    wanted_port = ""
    if entry.count(":") == 1 or "]:" in entry:
        entry, _, wanted_port = entry.rpartition(":")
    if wanted_port and wanted_port != str(port):
        return False
    entry = entry.strip("[]")
    if address is not None:
        return address == _address(entry)
    domain = entry.removeprefix("*").lstrip(".").rstrip(".")
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
