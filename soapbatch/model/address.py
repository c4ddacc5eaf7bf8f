"""The address of a NetServer: a base URL, in each of the forms in which SuperOffice hands it out. Pure.

https://crm.example.com/SuperOffice                                   the base URL
https://online2.superoffice.com/Cust12345/Remote/Services88/          with the path of a service version
https://crm.example.com/remote/services86/Batch.svc?wsdl              with the path of a service, in any case
https://netserver.example.com/Services88                              a NetServer without `Remote`
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from soapbatch.model.services import AGENTS, ServiceVersion

_REMOTE: Final = "Remote"
_SERVICES: Final = "Services"
_PREFIX: Final = re.compile(r"(?:/[^?#]*)?")
_DESCRIPTIONS: Final = frozenset({"wsdl", "singlewsdl"})
_VERSIONS: Final = {str(version).lower(): version for version in ServiceVersion}
_ENDPOINTS: Final = frozenset(f"{agent.name}.svc".lower() for agent in AGENTS)


@attrs.frozen
class Address:
    """Where a NetServer is.

    Attributes:
        base_url: everything before `/Remote`, or before `/Services88` on a NetServer without `Remote`; no slash at the
            end.
        path_prefix: `/Remote`, or "" on a NetServer without it; None: the address does not say.
        version: the service version in the address, or None.
    """

    base_url: str
    path_prefix: str | None = None
    version: ServiceVersion | None = None


def parse_address(url: str) -> Address:
    """Return the address that `url` means.

    Raises:
        ValueError: `url` is no absolute http or https URL, or holds a user, a password, a fragment or a foreign query.
            The message says what is wrong, and shows nothing of the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        quotes = "'" in str(error) or '"' in str(error)  # a part of the URL, which may be a password
        reason = "its host or its port is not valid" if quotes else error
        raise ValueError(f"the base URL is not a URL: {reason}") from None
    if problem := _problem_of(url, parts, port):
        raise ValueError(problem)
    segments = parts.path.rstrip("/").split("/")
    if segments[-1].lower() in _ENDPOINTS:
        segments.pop()
    elif parts.query:
        raise ValueError("the base URL must hold no query")
    version = _VERSIONS.get(segments[-1].lower())
    if version is not None:
        segments.pop()
    elif segments[-1].lower().startswith(_SERVICES.lower()) and segments[-1][len(_SERVICES) :].isdecimal():
        raise ValueError(f"the base URL names a service version that does not exist: there are {', '.join(_VERSIONS)}")
    prefix = None if version is None else ""
    if segments[-1].lower() == _REMOTE.lower():
        segments.pop()
        prefix = f"/{_REMOTE}"
    return Address(f"{parts.scheme}://{parts.netloc}{'/'.join(segments)}", prefix, version)


@lru_cache(maxsize=64)
def problem_of_prefix(path_prefix: str) -> str | None:
    """Return why `path_prefix` cannot stand between a base URL and `/Services88`, or None."""
    if isinstance(path_prefix, str) and _is_sendable(path_prefix) and _PREFIX.fullmatch(path_prefix):
        return None
    return 'path_prefix= begins with a slash, or is "", and holds no ?, no #, no white space and nothing unprintable'


def _is_sendable(text: str) -> bool:
    """Return whether `text` holds no white space, no control character and no half of a surrogate pair."""
    return text.isprintable() and " " not in text


def _problem_of(url: str, parts: SplitResult, port: int | None) -> str | None:
    """Return why this is no base URL, or None."""
    if port == 0 or not _is_sendable(url):
        return "the base URL is not a URL: it holds white space, characters that cannot be sent, or the port 0"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "the base URL must be absolute, for example https://crm.example.com/SuperOffice"
    if parts.query.lower() not in _DESCRIPTIONS | {""} or parts.username or parts.password or parts.fragment:
        return "the base URL must hold no user, password, query or fragment: pass credentials="
    return None
