"""Signing in over SOAP 1.1: the request and the responses of the vectors."""

from typing import Any

import pytest
from lxml import etree

from soapbatch import Secret, SystemUserRefused, UsageError
from soapbatch.online import Environment, build_system_user_soap_request, parse_system_user_soap_response
from soapbatch.online.xml_texts import texts_of
from tests.support.online import CLIENT_SECRET, NOW, TENANT, VECTORS, raised, read_vector

SIGNED = read_vector("signed_tokens.json")[0]["signed_token"]
OK = (VECTORS / "soap_response_ok.xml").read_bytes()
FAULT = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode>'
    b"<faultstring>Authorization error: Denied (4)</faultstring></s:Fault></s:Body></s:Envelope>"
)


def canonical(document: bytes) -> bytes:
    """Return a document in canonical form."""
    return etree.tostring(etree.fromstring(document), method="c14n")


def parse(body: bytes, status: int = 200) -> Secret:
    """Read a response."""
    return parse_system_user_soap_response(status, {}, body, now=NOW, secrets=[Secret(CLIENT_SECRET)])


@pytest.mark.parametrize("wrap", [str, Secret])
def test_the_request_is_that_of_the_vectors(wrap: type[Any]) -> None:
    """Which zeep made from a description of the service."""
    request = build_system_user_soap_request(
        Environment.named("sod"), wrap(SIGNED), tenant=TENANT, application_token=wrap(CLIENT_SECRET)
    )
    assert request.method == "POST"
    assert request.url == "https://sod.superoffice.com/Login/services/PartnerSystemUserService.svc"
    assert request.headers == {
        "Content-Type": "text/xml; charset=utf-8",
        "SOAPAction": (
            '"http://www.superoffice.com/superid/partnersystemuser/0.1/IPartnerSystemUserService/Authenticate"'
        ),
    }
    assert canonical(request.body) == canonical((VECTORS / "soap_request.xml").read_bytes())


def test_values_are_escaped() -> None:
    """A token may hold any character that XML can carry, and no other."""
    sod = Environment.named("sod")
    request = build_system_user_soap_request(sod, "A & <B>-ø.1.c2ln", tenant=TENANT, application_token="{tenant}")
    texts = texts_of(request.body)
    namespace = "http://www.superoffice.com/superid/partnersystemuser/0.1"
    assert texts[f"{namespace} SignedSystemToken"] == "A & <B>-ø.1.c2ln"
    assert texts[f"{namespace} ApplicationToken"] == "{tenant}"
    with pytest.raises(UsageError, match="signed_token= holds a character that XML cannot carry") as raising:
        build_system_user_soap_request(sod, f"{SIGNED}\x01", tenant=TENANT, application_token=CLIENT_SECRET)
    raised(raising, SIGNED, CLIENT_SECRET)


@pytest.mark.parametrize("status", [200, 500])
def test_the_jwt_is_returned(status: int) -> None:
    """Whatever the status."""
    assert parse(OK, status) == Secret(read_vector("rest_response_ok.json")["Token"])


@pytest.mark.parametrize(
    ("body", "reason", "text"),
    [
        ((VECTORS / "soap_response_failed.xml").read_bytes(), None, "Calculated signature is invalid"),
        (FAULT, "Denied", "Authorization error: Denied (4)"),
        (FAULT.replace(b"Authorization error: Denied (4)", b""), None, ""),
        (OK.replace(b"<IsSuccessful>true", b"<IsSuccessful>false"), None, ""),
    ],
)
def test_refusals_are_those_of_rest(body: bytes, reason: str | None, text: str) -> None:
    """A fault, which the service does not declare, is one too."""
    with pytest.raises(SystemUserRefused) as raising:
        parse(body)
    assert (raising.value.reason, raising.value.text, raising.value.retryable) == (reason, text, False)
    raised(raising, read_vector("rest_response_ok.json")["Token"])


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b"<!DOCTYPE html><html/>", b"{}", OK[:300], OK.replace(b"IsSuccessful", b"Is")]
)
def test_what_is_no_response_is_judged_by_its_status(body: bytes) -> None:
    """As over REST."""
    with pytest.raises(SystemUserRefused, match="it answers HTTP 503") as raising:
        parse(body, 503)
    assert raising.value.retryable


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"<a/>", {"a": ""}),
        (b"<a><b>1</b><b>2</b></a>", {"a": "", "b": "1"}),
        (b"<a xmlns='n'>x<!-- c -->y<b><![CDATA[<z>]]></b></a>", {"n a": "xy", "n b": "<z>"}),
        (
            b"<a xmlns:i='http://www.w3.org/2001/XMLSchema-instance'><b i:nil='true'/><c i:nil='0'/></a>",
            {"a": "", "b": None, "c": ""},
        ),
        ("<?xml version='1.0' encoding='utf-16'?><a>æ</a>".encode("utf-16"), {"a": "æ"}),
    ],
)
def test_texts_of_documents(document: bytes, expected: dict[str, str | None]) -> None:
    """Each element by its name, with the namespace where it has one."""
    assert texts_of(document) == expected


@pytest.mark.parametrize(
    "document", [b"", b"<a>", b"<a>&b;</a>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"secret"]
)
def test_entities_and_broken_documents_are_refused(document: bytes) -> None:
    """The error repeats nothing of the document."""
    with pytest.raises(ValueError, match=r"DOCTYPE|not well-formed XML") as raising:
        texts_of(document)
    assert "secret" not in str(raising.value)
