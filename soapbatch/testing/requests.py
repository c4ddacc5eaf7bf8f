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

MONO reads as STRICT_SOAP11, and MONO_SOAP12 as STRICT_SOAP12. The others read as LENIENT does, but for this: JAXWS,
GSOAP and SPYNE go by the Body, whatever the action. JAXWS and SPYNE take SOAP 1.1 alone. JAXWS, NODE_SOAP and SPYNE do
not see header blocks beside the Body, and GSOAP refuses them with a fault. What the personalities write is told by
`help(soapbatch.testing.stacks)`.

The strict personalities follow Mono's WCF, except for the fault VersionMismatch: Mono sends no answer there, and
JAX-WS sends this one.
"""

import functools
import re
from collections.abc import Container, Mapping
from enum import Enum
from typing import Any, Final

import attrs
from lxml import etree

from soapbatch.errors import ProtocolError, UnexpectedResponse, UnreadableResponse, UsageError
from soapbatch.model import (
    AGENTS,
    SOAP11_ENVELOPE,
    SOAP12_ENVELOPE,
    XSI,
    Agent,
    Binding,
    Limits,
    RequestHeader,
    ServiceVersion,
)
from soapbatch.operations import OPERATIONS, Operation
from soapbatch.testing.faults import FaultCode, Refusal, fault
from soapbatch.testing.request_parser import drop_members_that_wcf_skips, parse_xml, read_envelope
from soapbatch.testing.responses import Answer
from soapbatch.testing.stacks import (
    GSOAP_STYLE,
    JAXWS_STYLE,
    MONO_STYLE,
    NODE_SOAP_STYLE,
    SPYNE_STYLE,
    StackStyle,
)

_ENDPOINT_PATH: Final = re.compile(
    rf"(.*)/(services\d\d)/({'|'.join(agent.name.lower() for agent in AGENTS)})\.svc", re.DOTALL
)
_ACTION: Final = re.compile(r';\s*action\s*=\s*"?([^";]*)', re.IGNORECASE)
_SOAP11_MEDIA_TYPE: Final = frozenset({"text/xml"})
_SOAP12_MEDIA_TYPE: Final = frozenset({"application/soap+xml"})
_ANY_MEDIA_TYPE: Final = _SOAP11_MEDIA_TYPE | _SOAP12_MEDIA_TYPE | {"application/xml"}
_XSI_TYPE: Final = f"{{{XSI}}}type"
_BINDINGS: Final = {SOAP11_ENVELOPE: Binding.SOAP11, SOAP12_ENVELOPE: Binding.SOAP12}


@attrs.frozen(kw_only=True)
class StackProfile:
    """How a SOAP stack reads requests and writes answers.

    Attributes:
        media_types: the media types that it accepts.
        envelopes: the envelope namespaces that it accepts.
        is_wcf: whether it is as strict as WCF, and drops unreadable messages without a fault.
        ignores_action: whether it goes by the Body alone.
        sees_blocks_outside_header: whether header blocks beside the Body count, as the documented form has them.
        refuses_blocks_outside_header: whether they are a fault.
        mismatch: the code and the reason of the fault for an envelope of another namespace than "{expected}".
        style: how it writes answers; None: as the documentation does.
        byte_order_mark: whether an answer begins with one.
    """

    media_types: frozenset[str] = _ANY_MEDIA_TYPE
    envelopes: tuple[str, ...] = (SOAP11_ENVELOPE, SOAP12_ENVELOPE)
    is_wcf: bool = False
    ignores_action: bool = False
    sees_blocks_outside_header: bool = True
    refuses_blocks_outside_header: bool = False
    mismatch: tuple[FaultCode, str] = ("VersionMismatch", "Expecting an Envelope in namespace {expected}")
    style: StackStyle | None = None
    byte_order_mark: bool = False


class Personality(Enum):
    """Which SOAP stack the embedded server behaves like; `help(soapbatch.testing.requests)` shows the differences."""

    LENIENT = StackProfile()
    """Accepts every binding, and answers as the documentation does; the default."""
    STRICT_SOAP11 = StackProfile(media_types=_SOAP11_MEDIA_TYPE, envelopes=(SOAP11_ENVELOPE,), is_wcf=True)
    """Accepts `Binding.SOAP11` alone, and is as strict as WCF."""
    STRICT_SOAP12 = StackProfile(media_types=_SOAP12_MEDIA_TYPE, envelopes=(SOAP12_ENVELOPE,), is_wcf=True)
    """Accepts `Binding.SOAP12` alone, and is as strict as WCF."""
    MONO = StackProfile(media_types=_SOAP11_MEDIA_TYPE, envelopes=(SOAP11_ENVELOPE,), is_wcf=True, style=MONO_STYLE)
    """Mono's WCF with SOAP 1.1: reads as STRICT_SOAP11, and writes as Mono. The nearest to a NetServer."""
    MONO_SOAP12 = StackProfile(
        media_types=_SOAP12_MEDIA_TYPE, envelopes=(SOAP12_ENVELOPE,), is_wcf=True, style=MONO_STYLE
    )
    """Mono's WCF with SOAP 1.2."""
    JAXWS = StackProfile(
        media_types=_SOAP11_MEDIA_TYPE,
        envelopes=(SOAP11_ENVELOPE,),
        ignores_action=True,
        sees_blocks_outside_header=False,
        style=JAXWS_STYLE,
    )
    """JAX-WS with SOAP 1.1."""
    NODE_SOAP = StackProfile(sees_blocks_outside_header=False, style=NODE_SOAP_STYLE)
    """node-soap: accepts every binding, but sees no ticket in the documented form."""
    GSOAP = StackProfile(ignores_action=True, refuses_blocks_outside_header=True, style=GSOAP_STYLE)
    """gSOAP, a stack for C++: accepts SOAP 1.1 and SOAP 1.2."""
    SPYNE = StackProfile(
        envelopes=(SOAP11_ENVELOPE,),
        ignores_action=True,
        sees_blocks_outside_header=False,
        mismatch=("Client.SoapError", "No {{{expected}}}Envelope element was found!"),
        style=SPYNE_STYLE,
    )
    """Spyne, a stack for Python: accepts SOAP 1.1 alone, and answers anything else with a fault of SOAP 1.1."""
    WITH_BYTE_ORDER_MARK = StackProfile(byte_order_mark=True)
    """As LENIENT; answers begin with a byte order mark, as those of some .NET hosts do."""

    @classmethod
    def named(cls, name: str) -> "Personality":
        """Return the personality of a name, in upper or lower case.

        Raises:
            UsageError: there is none.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(member.name for member in cls)
            raise UsageError(f"there is no personality {name}: there are {known}") from None


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
        http_headers: by lower-case name.
    """

    operation: Operation[Any]
    version: ServiceVersion
    binding: Binding
    arguments: Mapping[str, Any]
    header: RequestHeader
    http_headers: Mapping[str, str]


def find_endpoint(
    path: str, prefix: str, missing: Container[str] = (), newest: ServiceVersion | None = None
) -> Endpoint | None:
    """Return the endpoint at `path`, in upper or lower case, or None if there is none.

    Args:
        path: of the request. Anything may stand before `prefix`.
        prefix: what stands directly before `/Services88`.
        missing: names of operations that the server does not have although the version has them.
        newest: the newest service version that the server has; None: it has all.
    """
    matched = _ENDPOINT_PATH.fullmatch(path.lower())
    if not matched or not matched[1].endswith(prefix.lower()):
        return None
    agent = next(agent for agent in AGENTS if agent.name.lower() == matched[3])
    version = next((version for version in ServiceVersion if str(version).lower() == matched[2]), None)
    if version is None or (newest is not None and version > newest):
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


def read_request(stack: StackProfile, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> ReceivedCall:
    """Read a request to an endpoint.

    Args:
        stack: how strict to be.
        endpoint: where the request was sent to.
        headers: of HTTP, by lower-case name.
        body: of HTTP.

    Raises:
        Refusal: the request gets an answer at once, and no operation runs.
    """
    content_type = headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in stack.media_types:
        raise Refusal(Answer(415))
    expected_envelope = SOAP11_ENVELOPE if media_type == "text/xml" else SOAP12_ENVELOPE
    refuse = functools.partial(_refusal, stack, endpoint)
    try:
        envelope = _Envelope.of(parse_xml(body, Limits()))
        if envelope.namespace not in stack.envelopes:
            code, reason = stack.mismatch
            expected = expected_envelope if expected_envelope in stack.envelopes else stack.envelopes[0]
            raise refuse(expected_envelope, code, reason.format(expected=expected))
        action = headers.get("soapaction") or next(iter(_ACTION.findall(content_type)), "")
        operation = _find_operation(stack, endpoint, action.strip('" '), envelope)
        if envelope.call.tag != f"{{{endpoint.version.namespace}}}{operation.name}":
            raise UnexpectedResponse(f"its Body does not hold {operation.name}")
        if envelope.has_blocks_outside_header:
            _check_blocks_outside_header(stack, endpoint, envelope)
    except ProtocolError as error:
        if stack.is_wcf:
            raise Refusal(Answer(200)) from None
        reason = f"The request cannot be read: {error}"
        raise refuse(expected_envelope, "Client", reason) from None
    try:
        if stack.is_wcf:
            drop_members_that_wcf_skips(operation, endpoint.version, envelope.call)
        if not stack.sees_blocks_outside_header:
            envelope.drop_blocks_outside_header()
        arguments, header = read_envelope(operation, envelope.root, version=endpoint.version)
    except ProtocolError as error:
        reason = f"The formatter threw an exception while trying to deserialize the message: {error}"
        raise refuse(envelope.namespace, "Client", reason, subcode="DeserializationFailed") from None
    is_documented = envelope.is_documented_form and not stack.is_wcf
    binding = Binding.DOCUMENTED if is_documented else _BINDINGS[envelope.namespace]
    return ReceivedCall(operation, endpoint.version, binding, arguments, header, headers)


def _refusal(
    stack: StackProfile, endpoint: Endpoint, envelope: str, code: FaultCode, reason: str, *, subcode: str = ""
) -> Refusal:
    """Return the refusal of a request with a fault. Subcodes are WCF's own: a stack with its own faults has none."""
    has_subcodes = stack.style is None or not stack.style.fault_form
    return Refusal(
        fault(
            envelope,
            code,
            reason,
            subcode=subcode if has_subcodes else "",
            version=endpoint.version,
            style=stack.style,
        )
    )


@attrs.frozen
class _Envelope:
    """A SOAP envelope, before the operation is known.

    Attributes:
        root: the Envelope element.
        namespace: of the Envelope element.
        has_blocks_outside_header: whether the envelope has children beside Header and Body.
        is_documented_form: whether it is laid out as the documented requests are: SOAP 1.2 without a Header, with
            header blocks beside the Body, or with types on the parameters where it has no blocks.
        call: the first child of the Body.
    """

    root: etree._Element
    namespace: str
    has_blocks_outside_header: bool
    is_documented_form: bool
    call: etree._Element

    @classmethod
    def of(cls, root: etree._Element) -> "_Envelope":
        namespace = etree.QName(root).namespace or ""
        header, body = f"{{{namespace}}}Header", f"{{{namespace}}}Body"
        tags = {str(child.tag) for child in root}
        call = next((child[0] for child in root if child.tag == body and len(child)), None)
        if etree.QName(root).localname != "Envelope" or call is None:
            raise UnreadableResponse("it is no SOAP envelope with something in its Body")
        has_blocks_outside = bool(tags - {header, body})
        is_documented = (
            namespace == SOAP12_ENVELOPE
            and header not in tags
            and (has_blocks_outside or any(_XSI_TYPE in element.attrib for element in call.iter()))
        )
        return cls(root, namespace, has_blocks_outside, is_documented, call)

    def blocks_outside_header(self) -> list[etree._Element]:
        """Return the children of the envelope that are neither Header nor Body."""
        known = (f"{{{self.namespace}}}Header", f"{{{self.namespace}}}Body")
        return [child for child in self.root if child.tag not in known]

    def drop_blocks_outside_header(self) -> None:
        """Remove the children of the envelope that are neither Header nor Body."""
        for child in self.blocks_outside_header():
            self.root.remove(child)


def _check_blocks_outside_header(stack: StackProfile, endpoint: Endpoint, envelope: _Envelope) -> None:
    if stack.is_wcf:
        raise UnexpectedResponse("WCF expects Header and Body, and nothing beside them")
    if stack.refuses_blocks_outside_header:
        block = envelope.blocks_outside_header()[0]
        name = ":".join(filter(None, (block.prefix, etree.QName(block).localname)))
        reason = f"Validation constraint violation: tag name or namespace mismatch in element '{name}'"
        raise _refusal(stack, endpoint, envelope.namespace, "Client", reason)


def _find_operation(stack: StackProfile, endpoint: Endpoint, action: str, envelope: _Envelope) -> Operation[Any]:
    """Return the operation that the action names; without an action, a lenient server goes by the Body."""
    agent, version = endpoint.agent, endpoint.version
    by_action = {agent.action(version, operation.name): operation for operation in endpoint.operations}
    if stack.ignores_action or not (action or stack.is_wcf):
        name = etree.QName(envelope.call)
        action = agent.action(version, name.localname) if name.namespace == version.namespace else str(name)
    if action not in by_action:
        reason = f"Action '{action}' did not match any operations in the target contract"
        raise _refusal(stack, endpoint, envelope.namespace, "Client", reason, subcode="ActionNotSupported")
    return by_action[action]
