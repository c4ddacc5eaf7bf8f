"""Writes the documented envelopes from a published WSDL and the rules of the contract's section 3, line by line.

Deliberately nothing of soapbatch is used: fields and their order come from the WSDL, the layout from the rules.
"""

from collections.abc import Iterator
from pathlib import Path

from lxml import etree

TIME = "2021-11-30T13:22:47Z"
_XS = "{http://www.w3.org/2001/XMLSchema}"
_ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
_CRYPTOGRAPHY = "http://schemas.datacontract.org/2004/07/System.Security.Cryptography"
_SERIALIZATION = "http://schemas.microsoft.com/2003/10/Serialization/"
_DEFAULTS = {"int": "0", "short": "0", "boolean": "false", "string": "", "dateTime": TIME, "base64Binary": ""}
_OTHER_NAMESPACES = {  # suffix of NetServerServicesNN and namespace, as the pages declare them
    "Batch": (("2", _ARRAYS), ("1", _SERIALIZATION)),
    "SoPrincipal": (("2", _CRYPTOGRAPHY), ("3", _ARRAYS), ("1", _SERIALIZATION)),
}


class Pages:
    """The examples on the documentation pages of one agent in one version."""

    def __init__(self, wsdl: Path, agent: str, version: int) -> None:
        """Read the schemas inside `wsdl`."""
        self._agent, self._version = agent, version
        self._own = f"http://www.superoffice.net/ws/crm/NetServer/Services{version}"
        suffixes = _OTHER_NAMESPACES[agent]
        self._prefixes = {uri: f"NetServerServices{version}{suffix}" for suffix, uri in suffixes}
        self._prefixes |= {_XS[1:-1]: "xsd", self._own: agent}
        schemas = etree.parse(wsdl).findall(f".//{_XS}schema")
        self._elements = {
            element.get("name"): element
            for schema in schemas
            if schema.get("targetNamespace") == self._own
            for element in schema.findall(f"{_XS}element")
        }
        self._types = {
            (schema.get("targetNamespace"), type_.get("name")): type_
            for schema in schemas
            for kind in ("complexType", "simpleType")
            for type_ in schema.findall(f"{_XS}{kind}")
        }

    def request(self, operation: str) -> str:
        """Return the example of a request."""
        agent = self._agent
        tokens = [f"  <{agent}:ApplicationToken>1234567-1234-9876</{agent}:ApplicationToken>"]
        if agent == "Batch":
            tokens += [
                f"  <{agent}:Credentials>",
                f"    <{agent}:Ticket>7T:1234abcxyzExample==</{agent}:Ticket>",
                f"  </{agent}:Credentials>",
            ]
        return self._page(tokens, [*self._call(operation, 3), ""])

    def response(self, operation: str) -> str:
        """Return the example of a response."""
        element = "Authenticate" if operation.startswith("Authenticate") else operation
        return self._page([], self._call(f"{element}Response", 2))

    def _page(self, tokens: list[str], call: list[str]) -> str:
        namespaces = {
            "SOAP-ENV": "http://www.w3.org/2003/05/soap-envelope",
            "SOAP-ENC": "http://www.w3.org/2003/05/soap-encoding",
            "xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsd": "http://www.w3.org/2001/XMLSchema",
            **{self._prefixes[uri]: uri for _, uri in _OTHER_NAMESPACES[self._agent]},
            self._agent: self._own,
        }
        declarations = [f' xmlns:{prefix}="{uri}"' for prefix, uri in namespaces.items()]
        declarations[-1] += ">"
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<SOAP-ENV:Envelope", *declarations, *tokens]
        lines += [" <SOAP-ENV:Body>", *call, " </SOAP-ENV:Body>", "</SOAP-ENV:Envelope>", ""]
        return "\n".join(lines)

    def _call(self, name: str, depth: int) -> list[str]:
        members = self._elements[name].findall(f"{_XS}complexType/{_XS}sequence/{_XS}element")
        content = [line for member in members for line in self._member(member, self._own, depth + 1)]
        return [f"{' ' * depth}<{self._agent}:{name}>", *content, f"{' ' * depth}</{self._agent}:{name}>"]

    def _member(self, element: etree._Element, namespace: str, depth: int) -> Iterator[str]:
        indent, tag = " " * depth, f"{self._prefixes[namespace]}:{element.get('name')}"
        if (anonymous := element.find(f"{_XS}complexType")) is not None:  # the pair of a dictionary
            yield f"{indent}<{tag}>"
            for child in anonymous.iter(f"{_XS}element"):
                yield from self._member(child, namespace, depth + 1)
            yield f"{indent}</{tag}>"
            return
        prefix, _, name = element.get("type", "").rpartition(":")
        uri = element.nsmap[prefix or None]
        type_ = self._types.get((uri, name))
        start = f'{indent}<{tag} xsi:type="{self._prefixes[uri]}:{name}">'
        if type_ is None or type_.tag == f"{_XS}simpleType":
            value = _DEFAULTS[name] if type_ is None else next(type_.iter(f"{_XS}enumeration")).get("value")
            yield f"{start}{value}</{tag}>"
            return
        yield start
        content = type_.find(f"{_XS}complexContent/{_XS}extension")
        members = (type_ if content is None else content).find(f"{_XS}sequence")
        assert members is not None
        for child in members:
            yield from self._member(child, uri, depth + 1)
        yield f"{indent}</{tag}>"
