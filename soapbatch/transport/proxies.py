"""Which proxy a request goes through: the one that was given, or the one that the environment names."""

import ipaddress
import urllib.request
from collections.abc import Mapping

import httpx

from soapbatch.errors import UsageError

_UNUSABLE = (
    "the proxy settings cannot be used; check proxy=, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY: a proxy is a "
    "URL like http://proxy.example.com:3128"
)


def read_proxy(proxy: str | httpx.Proxy | None) -> httpx.Proxy | None:
    """Return `proxy` in httpx's form.

    Raises:
        UsageError: it is no URL of a proxy.
    """
    if not isinstance(proxy, str):
        return proxy
    try:
        return httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, httpx.InvalidURL):
        failure = UsageError(_UNUSABLE)
    raise failure


def environment_proxy(scheme: str, host: str, port: int) -> httpx.Proxy | None:
    """Return the proxy that the environment (or the operating system) names for an origin, or None.

    Raises:
        UsageError: what it names is no URL of a proxy.
    """
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or is_exempt(host, port, proxies):
        return None
    return read_proxy(proxy)


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
