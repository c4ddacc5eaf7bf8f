"""From an HTTP request to a call, or to a refusal, as the recorded SOAP stacks do it.

What each personality makes of a form (`empty 200`: HTTP 200 without a body, which is how WCF drops a message):

| form sent                                    | LENIENT       | STRICT_SOAP11   | STRICT_SOAP12   |
|----------------------------------------------|---------------|-----------------|-----------------|
| SOAP 1.1, tokens in Header, text/xml         | runs          | runs            | empty 415       |
| SOAP 1.2, tokens in Header, soap+xml         | runs          | empty 415       | runs            |
| the documented form, soap+xml                | runs          | empty 415       | empty 200       |
| 1.2 envelope as text/xml                     | runs          | VersionMismatch | empty 415       |
| no action                                    | runs          | fault           | fault           |
| unknown action, or another version's         | fault         | fault           | fault           |
| not XML, a DOCTYPE                           | fault         | empty 200       | empty 200       |
| another operation in the Body                | fault         | empty 200       | empty 200       |
| a value that is not of its type              | fault         | fault           | fault           |
| members out of order                         | read          | lost            | lost            |
| array items in a wrong namespace             | passed over   | fault           | fault           |

The strict ones follow Mono's WCF, except for the fault VersionMismatch, which is JAX-WS's: Mono does not answer.
"""

import re
from collections.abc import Container, Mapping
from email.message import Message
from enum import Enum
from typing import Any, Final

import attrs
from lxml import etree

from soapbatch.errors import ProtocolError, UnexpectedResponse, UnreadableResponse
from soapbatch.model import (
    AGENTS,
    SOAP11_ENVELOPE,
    SOAP12_ENVELOPE,
    Agent,
    Binding,
    Limits,
    RequestHeader,
    ServiceVersion,
)
from soapbatch.operations import OPERATIONS, Operation
from soapbatch.soap import document
from soapbatch.testing.faults import Refusal, fault
from soapbatch.testing.request_parser import parse_request
from soapbatch.testing.responses import Answer
from soapbatch.testing.wcf_order import BadMember, as_wcf_reads

_ENDPOINT = re.compile(rf"(.*)/(Services\d\d)/({'|'.join(agent.name for agent in AGENTS)})\.svc", re.DOTALL)
_ENVELOPES: Final = (SOAP11_ENVELOPE, SOAP12_ENVELOPE)
_BINDINGS: Final = {SOAP11_ENVELOPE: Binding.SOAP11, SOAP12_ENVELOPE: Binding.SOAP12}


class Personality(Enum):
    """Which stack the server behaves like; the table above says how.

    Columns: the media types that it takes, the envelope namespaces that it takes, and whether it is as strict,
    and as silent, as WCF.
    """

    LENIENT = (frozenset({"text/xml", "application/soap+xml", "application/xml"}), _ENVELOPES, False)
    STRICT_SOAP11 = (frozenset({"text/xml"}), (SOAP11_ENVELOPE,), True)
    STRICT_SOAP12 = (frozenset({"application/soap+xml"}), (SOAP12_ENVELOPE,), True)

    def __init__(self, media_types: frozenset[str], envelopes: tuple[str, ...], is_wcf: bool) -> None:  # noqa: FBT001
        """Spread one row over named attributes."""
        self.media_types = media_types
        self.envelopes = envelopes
        self.is_wcf = is_wcf


@attrs.frozen
class Endpoint:
    """What a path leads to."""

    agent: Agent
    version: ServiceVersion
    operations: tuple[Operation[Any], ...]


@attrs.frozen
class Received:
    """A call as it arrived: what is asked, in which form, with what.

    Attributes:
        operation: the row.
        version: whose endpoint it came to.
        binding: in which to answer.
        arguments: those sent, by parameter name.
        header: its header blocks.
    """

    operation: Operation[Any]
    version: ServiceVersion
    binding: Binding
    arguments: Mapping[str, Any]
    header: RequestHeader


def endpoint(path: str, prefix: str, lacks: Container[str] = ()) -> Endpoint | None:
    """Return what lives at `path`, whatever stands before `prefix`; None: nothing does.

    `lacks` names operations that are not there although the version has them.
    """
    matched = _ENDPOINT.fullmatch(path)
    if not matched or not matched[1].endswith(prefix):
        return None
    agent = next(agent for agent in AGENTS if agent.name == matched[3])
    version = next((version for version in ServiceVersion if str(version) == matched[2]), None)
    if version is None:
        return None
    rows = operations_of(agent, version)
    return Endpoint(agent, version, tuple(row for row in rows if row.name not in lacks)) if rows else None


def operations_of(agent: Agent, version: ServiceVersion) -> tuple[Operation[Any], ...]:
    """Return the operations of an agent that a version has."""
    return tuple(row for row in OPERATIONS.values() if row.agent is agent and row.since <= version)


def read_request(personality: Personality, at: Endpoint, headers: Mapping[str, str], body: bytes) -> Received:
    """Read the request that came to an endpoint; header names are in lower case.

    Raises:
        Refusal: it is answered at once, and no operation sees it.
    """
    content_type = Message()
    content_type["Content-Type"] = headers.get("content-type", "none/none")
    media_type = content_type.get_content_type()
    if media_type not in personality.media_types:
        raise Refusal(Answer(415))
    claimed = SOAP11_ENVELOPE if media_type == "text/xml" else SOAP12_ENVELOPE
    try:
        shape = _Shape.of(document(body, Limits()))
        if shape.namespace not in personality.envelopes:
            raise Refusal(fault(claimed, "VersionMismatch", f"Expecting an Envelope in namespace {claimed}"))
        action = headers.get("soapaction") or str(content_type.get_param("action", ""))
        operation = _operation(personality, at, action.strip('" '), shape)
        if shape.call.tag != f"{{{at.version.namespace}}}{operation.name}":
            raise UnexpectedResponse(f"its Body does not hold {operation.name}")
        if personality.is_wcf and shape.has_blocks_outside:
            raise UnexpectedResponse("WCF expects Header and Body, and nothing beside them")
    except ProtocolError as error:
        if personality.is_wcf:
            raise Refusal(Answer(200)) from None
        raise Refusal(fault(claimed, "Client", f"The request cannot be read: {error}")) from None
    try:
        if personality.is_wcf:
            body = as_wcf_reads(operation, at.version, shape.call)
        arguments, header = parse_request(operation, body, version=at.version)
    except (BadMember, ProtocolError) as error:
        reason = f"The formatter threw an exception while trying to deserialize the message: {error}"
        raise Refusal(fault(shape.namespace, "Client", reason, subcode="DeserializationFailed")) from None
    is_documented = shape.namespace == SOAP12_ENVELOPE and not shape.has_header and not personality.is_wcf
    binding = Binding.DOCUMENTED if is_documented else _BINDINGS[shape.namespace]
    return Received(operation, at.version, binding, arguments, header)


@attrs.frozen
class _Shape:
    """An envelope, seen from above."""

    namespace: str
    has_header: bool
    has_blocks_outside: bool
    call: etree._Element

    @classmethod
    def of(cls, envelope: etree._Element) -> "_Shape":
        namespace = etree.QName(envelope).namespace or ""
        header, body = f"{{{namespace}}}Header", f"{{{namespace}}}Body"
        tags = {str(child.tag) for child in envelope}
        call = next((child[0] for child in envelope if child.tag == body and len(child)), None)
        if etree.QName(envelope).localname != "Envelope" or call is None:
            raise UnreadableResponse("it is no SOAP envelope with something in its Body")
        return cls(namespace, header in tags, bool(tags - {header, body}), call)


def _operation(personality: Personality, at: Endpoint, action: str, shape: _Shape) -> Operation[Any]:
    """Return the operation that an action, or where none is needed the Body, asks for."""
    by_action = {at.agent.action(at.version, operation.name): operation for operation in at.operations}
    if not action and not personality.is_wcf:
        name = etree.QName(shape.call)
        action = at.agent.action(at.version, name.localname) if name.namespace == at.version.namespace else str(name)
    if action not in by_action:
        reason = f"Action '{action}' did not match any operations in the target contract"
        raise Refusal(fault(shape.namespace, "Client", reason, subcode="ActionNotSupported"))
    return by_action[action]
