"""Base URLs in the forms in which SuperOffice hands them out."""

import pytest

from soapbatch.model.address import Address, parse_address
from soapbatch.model.services import ServiceVersion

BASE = "https://crm.example.com/SuperOffice"


@pytest.mark.parametrize(
    ("tail", "prefix", "version"),
    [
        pytest.param("", None, None, id="base"),
        pytest.param("/", None, None, id="slash"),
        pytest.param("/Remote", "/Remote", None, id="Remote"),
        pytest.param("/remote/", "/Remote", None, id="remote and slash"),
        pytest.param("/Remote/Services88", "/Remote", 88, id="version"),
        pytest.param("/Remote/Services88/", "/Remote", 88, id="version and slash"),
        pytest.param("/REMOTE/services75//", "/Remote", 75, id="any case"),
        pytest.param("/Remote/Services86/Batch.svc", "/Remote", 86, id="service"),
        pytest.param("/remote/services86/soprincipal.SVC/", "/Remote", 86, id="service in any case"),
        pytest.param("/Remote/Services88/BLOB.svc?wsdl", "/Remote", 88, id="wsdl"),
        pytest.param("/Remote/Services88/Batch.svc?singleWsdl", "/Remote", 88, id="single wsdl"),
        pytest.param("/Services88", "", 88, id="without Remote"),
        pytest.param("/Services88/Batch.svc?WSDL", "", 88, id="without Remote, wsdl"),
    ],
)
def test_what_stands_behind_the_base_url_is_cut_off(tail: str, prefix: str | None, version: int | None) -> None:
    """The base URL is the same in every form; the rest says prefix and version."""
    assert parse_address(BASE + tail) == Address(BASE, prefix, ServiceVersion(version) if version else None)


@pytest.mark.parametrize("host", ["https://crm.example.com", "http://[::1]:8080", "https://crm.example.com:444"])
def test_a_base_url_may_be_a_host_alone(host: str) -> None:
    """Nothing but the host may stand before the path of a version."""
    assert parse_address(f"{host}/Remote/Services88/") == Address(host, "/Remote", ServiceVersion.V88)
    assert parse_address(f"{host}/") == Address(host)


def test_names_that_only_look_alike_stay() -> None:
    """A folder that is called like a part of the path, but stands elsewhere, belongs to the base URL."""
    for path in ("/Remote/SuperOffice", "/Services88/SuperOffice", "/Serviceshop", "/RemoteAccess"):
        assert parse_address(f"https://crm.example.com{path}") == Address(f"https://crm.example.com{path}")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("https://[", "not a URL: Invalid IPv6", id="brackets"),
        pytest.param("https://example.com:99999", "not a URL: Port out of range", id="port"),
        pytest.param("https://example.com:0", "port 0", id="port 0"),
        pytest.param("https://ada:hu/sh@crm.example.com", "its host or its port", id="password with a slash"),
        pytest.param("https://ada:hush\u2100@crm.example.com", "its host or its port", id="password in a host"),
        pytest.param("https://exa mple.com", "white space", id="white space"),
        pytest.param("https://crm.example.com/\ud800", "characters that cannot be sent", id="surrogate"),
        pytest.param("https://crm\udfff.example.com/", "characters that cannot be sent", id="surrogate in the host"),
        pytest.param("https://crm.example.com/\x7f", "characters that cannot be sent", id="control character"),
        pytest.param("crm.example.com/SuperOffice", "absolute", id="relative"),
        pytest.param("ftp://crm.example.com", "absolute", id="ftp"),
        pytest.param("https://user:hush@crm.example.com", "no user, password", id="password"),
        pytest.param("https://crm.example.com/#hush", "fragment", id="fragment"),
        pytest.param("https://crm.example.com/?tenant=hush", "query", id="query"),
        pytest.param("https://crm.example.com/?wsdl", "query", id="wsdl of nothing"),
        pytest.param("https://crm.example.com/Remote/Services89", "does not exist: .*services88", id="version"),
    ],
)
def test_what_is_no_base_url_is_refused_without_showing_it(url: str, says: str) -> None:
    """The message says what is wrong, and repeats nothing that may be a secret."""
    with pytest.raises(ValueError, match=says) as caught:
        parse_address(url)
    assert "hush" not in str(caught.value)
