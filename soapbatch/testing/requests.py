"""HTTP request to call, or to a refusal, as the recorded SOAP stacks do it.

What each personality does with a form of request. "empty 200" is HTTP 200 without a body: WCF drops a message so.

| form of the request                           | LENIENT       | STRICT_SOAP11   | STRICT_SOAP12   |
|-----------------------------------------------|---------------|-----------------|-----------------|
| SOAP 1.1, tokens in Header, text/xml          | runs          | runs            | empty 415       |
| SOAP 1.2, tokens in Header, soap+xml          | runs          | empty 415       | runs            |
| the documented form, soap+xml                 | runs          | empty 415       | empty 200       |
| SOAP 1.2 envelope as text/xml                 | runs          | VersionMismatch | empty 415       |
| no action                                     | runs          | fault           | fault           |
| unknown action, or action of another version  | fault         | fault           | fault           |
| not XML, or with a DOCTYPE                    | fault         | empty 200       | empty 200       |
| another operation in the Body                 | fault         | empty 200       | empty 200       |
| a value that is not of its type               | fault         | fault           | fault           |
| members out of order                          | read          | skipped         | skipped         |
| array items in a wrong namespace              | skipped       | fault           | fault           |

The strict personalities follow Mono's WCF, except for the fault VersionMismatch: Mono sends no answer there, and
JAX-WS sends this one.
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
from soapbatch.testing.faults import Refusal, fault
from soapbatch.testing.request_parser import drop_members_that_wcf_skips, parse_xml, read_envelope
from soapbatch.testing.responses import Answer

_ENDPOINT_PATH: Final = re.compile(rf"(.*)/(Services\d\d)/({'|'.join(agent.name for agent in AGENTS)})\.svc", re.DOTALL)
_BINDINGS: Final = {SOAP11_ENVELOPE: Binding.SOAP11, SOAP12_ENVELOPE: Binding.SOAP12}


class Personality(Enum):
    """Which SOAP stack the embedded server behaves like; `help(soapbatch.testing.requests)` shows the differences.

    Attributes:
        media_types: the media types that it accepts.
        envelopes: the envelope namespaces that it accepts.
        is_wcf: whether it is as strict as WCF, and drops unreadable messages without a fault.
    """

    LENIENT = (
        frozenset({"text/xml", "application/soap+xml", "application/xml"}),
        (SOAP11_ENVELOPE, SOAP12_ENVELOPE),
        False,
    )
    """Accepts every binding; the default."""
    STRICT_SOAP11 = (frozenset({"text/xml"}), (SOAP11_ENVELOPE,), True)
    """Accepts `Binding.SOAP11` alone, and is as strict as WCF."""
    STRICT_SOAP12 = (frozenset({"application/soap+xml"}), (SOAP12_ENVELOPE,), True)
    """Accepts `Binding.SOAP12` alone, and is as strict as WCF."""

    def __init__(self, media_types: frozenset[str], envelopes: tuple[str, ...], is_wcf: bool) -> None:  # noqa: FBT001
        """Name the three parts of a member's value."""
        self.media_types = media_types
        self.envelopes = envelopes
        self.is_wcf = is_wcf


@attrs.frozen
class Endpoint:
    """What a path addresses: an agent in a service version, with the operations that the server has there."""

    agent: Agent
    version: ServiceVersion
    operations: tuple[Operation[Any], ...]


@attrs.frozen
class ReceivedCall:
    """A call that was read and may run.

    Attributes:
        operation: what to run.
        version: the service version of the endpoint.
        binding: the form of the request, which is the form of the answer too.
        arguments: those that were sent, by parameter name.
        header: the header blocks.
    """

    operation: Operation[Any]
    version: ServiceVersion
    binding: Binding
    arguments: Mapping[str, Any]
    header: RequestHeader


def find_endpoint(path: str, prefix: str, missing: Container[str] = ()) -> Endpoint | None:
    """Return the endpoint at `path`, or None if there is none.

    Args:
        path: of the request. Anything may stand before `prefix`.
        prefix: what stands directly before `/Services88`.
        missing: names of operations that the server does not have although the version has them.
    """
    matched = _ENDPOINT_PATH.fullmatch(path)
    if not matched or not matched[1].endswith(prefix):
        return None
    agent = next(agent for agent in AGENTS if agent.name == matched[3])
    version = next((version for version in ServiceVersion if str(version) == matched[2]), None)
    if version is None:
        return None
    operations = operations_of(agent, version)
    if not operations:
        return None
    return Endpoint(agent, version, tuple(operation for operation in operations if operation.name not in missing))


def operations_of(agent: Agent, version: ServiceVersion) -> tuple[Operation[Any], ...]:
    """Return the operations of an agent that a version has."""
    return tuple(
        operation for operation in OPERATIONS.values() if operation.agent is agent and operation.since <= version
    )


def read_request(personality: Personality, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> ReceivedCall:
    """Read a request to an endpoint.

    Args:
        personality: how strict to be.
        endpoint: where the request was sent to.
        headers: of HTTP, by lower-case name.
        body: of HTTP.

    Raises:
        Refusal: the request gets an answer at once, and no operation runs.
    """
    content_type = Message()
    content_type["Content-Type"] = headers.get("content-type", "none/none")
    media_type = content_type.get_content_type()
    if media_type not in personality.media_types:
        raise Refusal(Answer(415))
    expected_envelope = SOAP11_ENVELOPE if media_type == "text/xml" else SOAP12_ENVELOPE
    try:
        envelope = _Envelope.of(parse_xml(body, Limits()))
        if envelope.namespace not in personality.envelopes:
            reason = f"Expecting an Envelope in namespace {expected_envelope}"
            raise Refusal(fault(expected_envelope, "VersionMismatch", reason))
        action = headers.get("soapaction") or str(content_type.get_param("action", ""))
        operation = _find_operation(personality, endpoint, action.strip('" '), envelope)
        if envelope.call.tag != f"{{{endpoint.version.namespace}}}{operation.name}":
            raise UnexpectedResponse(f"its Body does not hold {operation.name}")
        if personality.is_wcf and envelope.has_blocks_outside_header:
            raise UnexpectedResponse("WCF expects Header and Body, and nothing beside them")
    except ProtocolError as error:
        if personality.is_wcf:
            raise Refusal(Answer(200)) from None
        raise Refusal(fault(expected_envelope, "Client", f"The request cannot be read: {error}")) from None
    try:
        if personality.is_wcf:
            drop_members_that_wcf_skips(operation, endpoint.version, envelope.call)
        arguments, header = read_envelope(operation, envelope.root, version=endpoint.version)
    except ProtocolError as error:
        reason = f"The formatter threw an exception while trying to deserialize the message: {error}"
        raise Refusal(fault(envelope.namespace, "Client", reason, subcode="DeserializationFailed")) from None
    is_documented = envelope.namespace == SOAP12_ENVELOPE and not envelope.has_header and not personality.is_wcf
    binding = Binding.DOCUMENTED if is_documented else _BINDINGS[envelope.namespace]
    return ReceivedCall(operation, endpoint.version, binding, arguments, header)


@attrs.frozen
class _Envelope:
    """A SOAP envelope, before the operation is known.

    Attributes:
        root: the Envelope element.
        namespace: of the Envelope element.
        has_header: whether there is a Header element.
        has_blocks_outside_header: whether the envelope has children beside Header and Body.
        call: the first child of the Body.
    """

    root: etree._Element
    namespace: str
    has_header: bool
    has_blocks_outside_header: bool
    call: etree._Element

    @classmethod
    def of(cls, root: etree._Element) -> "_Envelope":
        namespace = etree.QName(root).namespace or ""
        header, body = f"{{{namespace}}}Header", f"{{{namespace}}}Body"
        tags = {str(child.tag) for child in root}
        call = next((child[0] for child in root if child.tag == body and len(child)), None)
        if etree.QName(root).localname != "Envelope" or call is None:
            raise UnreadableResponse("it is no SOAP envelope with something in its Body")
        return cls(root, namespace, header in tags, bool(tags - {header, body}), call)


def _find_operation(personality: Personality, endpoint: Endpoint, action: str, envelope: _Envelope) -> Operation[Any]:
    """Return the operation that the action names; without an action, a lenient server goes by the Body."""
    agent, version = endpoint.agent, endpoint.version
    by_action = {agent.action(version, operation.name): operation for operation in endpoint.operations}
    if not action and not personality.is_wcf:
        name = etree.QName(envelope.call)
        action = agent.action(version, name.localname) if name.namespace == version.namespace else str(name)
    if action not in by_action:
        reason = f"Action '{action}' did not match any operations in the target contract"
        raise Refusal(fault(envelope.namespace, "Client", reason, subcode="ActionNotSupported"))
    return by_action[action]
