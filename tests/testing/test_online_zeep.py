"""zeep, an independent implementation, against PartnerSystemUser over SOAP, by a description of the service."""

import asyncio
import warnings
from pathlib import Path

import pytest
from lxml import etree

from soapbatch import Secret
from soapbatch.online import (
    Environment,
    build_system_user_soap_request,
    sign_system_token,
    verify_system_token,
)
from soapbatch.testing import Online, serve
from tests.support.online import CLIENT_SECRET, NOW, TENANT, app_key, read_vector, signing_key

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # zeep's imports, not ours
    zeep = pytest.importorskip("zeep", reason="zeep comes with the extra dev")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:zeep")

NAMESPACE = "http://www.superoffice.com/superid/partnersystemuser/0.1"
WSDL = f"""<?xml version="1.0" encoding="utf-8"?>
<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:tns="{NAMESPACE}" targetNamespace="{NAMESPACE}">
  <wsdl:types>
    <xsd:schema elementFormDefault="qualified" targetNamespace="{NAMESPACE}">
      <xsd:element name="ApplicationToken" type="xsd:string"/>
      <xsd:element name="ContextIdentifier" type="xsd:string"/>
      <xsd:simpleType name="TokenType">
        <xsd:restriction base="xsd:string">
          <xsd:enumeration value="Saml"/><xsd:enumeration value="Jwt"/>
        </xsd:restriction>
      </xsd:simpleType>
      <xsd:element name="AuthenticationRequest"><xsd:complexType><xsd:sequence>
        <xsd:element minOccurs="0" name="SignedSystemToken" nillable="true" type="xsd:string"/>
        <xsd:element minOccurs="0" name="ReturnTokenType" type="tns:TokenType"/>
      </xsd:sequence></xsd:complexType></xsd:element>
      <xsd:element name="AuthenticationResponse"><xsd:complexType><xsd:sequence>
        <xsd:element minOccurs="0" name="IsSuccessful" type="xsd:boolean"/>
        <xsd:element minOccurs="0" name="Token" nillable="true" type="xsd:string"/>
        <xsd:element minOccurs="0" name="ErrorMessage" nillable="true" type="xsd:string"/>
      </xsd:sequence></xsd:complexType></xsd:element>
    </xsd:schema>
  </wsdl:types>
  <wsdl:message name="Request"><wsdl:part name="parameters" element="tns:AuthenticationRequest"/></wsdl:message>
  <wsdl:message name="Headers">
    <wsdl:part name="ApplicationToken" element="tns:ApplicationToken"/>
    <wsdl:part name="ContextIdentifier" element="tns:ContextIdentifier"/>
  </wsdl:message>
  <wsdl:message name="Response"><wsdl:part name="parameters" element="tns:AuthenticationResponse"/></wsdl:message>
  <wsdl:portType name="IPartnerSystemUserService"><wsdl:operation name="Authenticate">
    <wsdl:input message="tns:Request"/><wsdl:output message="tns:Response"/>
  </wsdl:operation></wsdl:portType>
  <wsdl:binding name="Basic" type="tns:IPartnerSystemUserService">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="Authenticate">
      <soap:operation soapAction="{NAMESPACE}/IPartnerSystemUserService/Authenticate" style="document"/>
      <wsdl:input>
        <soap:header message="tns:Headers" part="ApplicationToken" use="literal"/>
        <soap:header message="tns:Headers" part="ContextIdentifier" use="literal"/>
        <soap:body use="literal"/>
      </wsdl:input>
      <wsdl:output><soap:body use="literal"/></wsdl:output>
    </wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="PartnerSystemUserService"><wsdl:port name="Basic" binding="tns:Basic">
    <soap:address location="https://sod.superoffice.com/Login/services/PartnerSystemUserService.svc"/>
  </wsdl:port></wsdl:service>
</wsdl:definitions>
"""


@pytest.fixture
def description(tmp_path: Path) -> str:
    """The path of the description."""
    path = tmp_path / "PartnerSystemUserService.wsdl"
    path.write_text(WSDL, encoding="utf-8")
    return str(path)


def test_our_request_is_that_of_zeep(description: str) -> None:
    """Element by element."""
    client = zeep.Client(description)
    signed = read_vector("signed_tokens.json")[2]["signed_token"]
    theirs = client.create_message(
        client.service,
        "Authenticate",
        SignedSystemToken=signed,
        ReturnTokenType="Jwt",
        _soapheaders={"ApplicationToken": CLIENT_SECRET, "ContextIdentifier": TENANT},
    )
    client.transport.session.close()
    ours = build_system_user_soap_request(
        Environment.named("sod"), signed, tenant=TENANT, application_token=CLIENT_SECRET
    )
    # Prefixes and the place of declarations are free: compare the tags and texts.
    pairs = [
        [(element.tag, element.text, dict(element.attrib)) for element in document.iter()]
        for document in (etree.fromstring(ours.body), theirs)
    ]
    assert pairs[0] == pairs[1]


async def test_zeep_signs_in(description: str) -> None:
    """Over a socket: a JWT that passes every check, and a refusal."""
    online = Online(epoch=NOW, signing_key=signing_key())
    app, tenant = online.add_app("My App", private_key=app_key()), online.add_tenant(TENANT)
    token = online.approve(app, tenant)
    signed = sign_system_token(token, app_key(), at=NOW)

    def in_thread(base_url: str) -> list[tuple[bool, str | None, str | None]]:
        client = zeep.Client(description)
        client.transport.session.trust_env = False
        client.transport.session.headers["Host"] = "sod.superoffice.com"
        path = "/Login/services/PartnerSystemUserService.svc"
        service = client.create_service(f"{{{NAMESPACE}}}Basic", base_url + path)
        found = []
        for value in (signed, f"{signed[:-8]}AAAAAA=="):
            reply = service.Authenticate(
                SignedSystemToken=value,
                ReturnTokenType="Jwt",
                _soapheaders={"ApplicationToken": app.client_secret, "ContextIdentifier": TENANT},
            )
            found.append((reply.IsSuccessful, reply.Token, reply.ErrorMessage))
        client.transport.session.close()
        return found

    async with serve(online) as base_url:
        (accepted, refused) = await asyncio.to_thread(in_thread, base_url)
    assert accepted[0] is True
    assert accepted[2] is None
    claims = verify_system_token(Secret(accepted[1] or ""), {"keys": [signing_key().jwk]}, tenant=TENANT, now=NOW)
    assert tenant.server.tickets.expires(claims.ticket.reveal()) is not None
    assert refused == (False, None, "Authorization error: InvalidSignature (7)")
