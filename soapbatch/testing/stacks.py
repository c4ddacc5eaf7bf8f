"""How other SOAP stacks write an answer: prefixes, nil values, empty elements, and the frame of the HTTP response.

The styles follow recordings of these stacks, so that a test can be run against "as Mono answers" or "as JAX-WS
answers". An answer means the same in every style, but for what a stack cannot say: node-soap writes no nil, and a
value that Mono cannot leave out has .NET's default.

| style     | prefix    | header blocks                   | nil value                   | empty element | body    |
|-----------|-----------|---------------------------------|-----------------------------|---------------|---------|
| MONO      | s         | those with a value              | i:nil, i declared once      | `<X />`       | whole   |
| JAXWS     | S         | all, nil if without one         | xsi:nil, declared each time | `<X/>`        | chunked |
| NODE_SOAP | soap      | those with a value, in h        | left out                    | `<X></X>`     | chunked |
| GSOAP     | SOAP-ENV  | those with a value, in ns1      | left out                    | `<X></X>`     | whole   |
| SPYNE     | soap11env | `boolean`, ExceptionInfo, in tns| left out                    | `<X/>`        | whole   |

GSOAP and SPYNE declare the namespaces at the envelope and prefix every element; both close the connection after each
answer. GSOAP writes an empty text as `<X/>` and the nil value of a pair as xsi:nil. It answers SOAP 1.1 with the
Content-Type, and with the faults, of SOAP 1.2, and with HTTP 400 if the client is to blame. SPYNE writes an empty text
as `<X></X>`, times with an offset, and the block Succeeded as `boolean`: ExceptionInfo alone tells of a failure.

Not followed: gSOAP sends the header blocks of a request back with a fault; the recorded Spyne answers as HTTP/1.0.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

import attrs

from soapbatch.model import (
    ARRAYS,
    BASE64,
    BOOLEAN,
    CRYPTOGRAPHY,
    DATE_TIME,
    DSA_PARAMETERS,
    REPLY_HEADER,
    SOAP11_ENVELOPE,
    STRING,
    XSI,
    Array,
    Dictionary,
    Enumeration,
    Field,
    Record,
    ReplyHeader,
    Scalar,
    Secret,
    ServiceVersion,
    WireType,
)
from soapbatch.operations import Operation

_SERIALIZATION: Final = "http://schemas.microsoft.com/2003/10/Serialization/"
_SECURITY_UTILITY: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
_WCF_CONTRACT: Final = "http://schemas.microsoft.com/ws/2005/12/wsdl/contract"
_NEVER: Final = "0001-01-01T00:00:00"


@attrs.frozen(kw_only=True)
class StackStyle:
    """How a stack writes an answer.

    Attributes:
        declaration: the XML declaration.
        end: what follows the envelope.
        prefix: of the elements of SOAP.
        namespaces: what the envelope declares beside that prefix; "{tns}" is the namespace of the service version.
        gap: what stands before these declarations.
        nil_prefix: of the attribute nil; "": nothing is nil.
        declares_nil_each_time: whether each element that is nil declares that prefix, and not the result.
        declares_nil_first: whether the envelope declares that prefix, before all others, if something is nil.
        leaves_nil_out: whether values that are nil are left out.
        keeps_nil_in_pairs: whether the value of a pair is written nil all the same.
        empty: what stands between the name of an element without content and the next tag: " />", "/>", or "" for an
            end tag.
        empty_text: likewise, of an element whose text is empty.
        element_prefix: of the elements of the service, which the envelope declares; "": they declare a namespace.
        header_prefix: of the header blocks and of all that is in them.
        blocks: the header blocks in their order.
        block_names: names of header blocks that are not the documented ones.
        nil_blocks: header blocks that are written nil when they have no value.
        writes_defaults: whether numbers, booleans, dates and states that have no value get .NET's default.
        omits_failed_result: whether the response element of an operation that failed is empty.
        carrier_elements: elements that are nil at the beginning of each BatchTaskInfo.
        array_prefix: of array items that have a namespace of their own; "": they declare it as the default one.
        declares_array_prefix: whether each of these items declares the prefix.
        escapes: what is written for characters of text, beside those that XML forbids there.
        utc: what a date in UTC ends with.
        is_chunked: whether the length of an answer is not announced.
        keeps_soap11: whether requests of SOAP 1.2 are answered with an envelope of SOAP 1.1.
        fault_form: "soap11" or "soap12": the form of each fault; "": that of the envelope.
        content_type: of an answer that is no fault; "{action}" is the action. "": that of the binding.
        http_headers: further HTTP headers.
    """

    declaration: str
    end: str = ""
    prefix: str
    namespaces: Mapping[str, str] = attrs.field(factory=dict[str, str])
    gap: str = " "
    nil_prefix: str = ""
    declares_nil_each_time: bool = False
    declares_nil_first: bool = False
    leaves_nil_out: bool = False
    keeps_nil_in_pairs: bool = False
    empty: str
    empty_text: str = ""
    element_prefix: str = ""
    header_prefix: str = ""
    blocks: tuple[str, ...] = ("ExceptionInfo", "Succeeded")
    block_names: Mapping[str, str] = attrs.field(factory=dict[str, str])
    nil_blocks: tuple[str, ...] = ()
    writes_defaults: bool = False
    omits_failed_result: bool = False
    carrier_elements: tuple[str, ...] = ()
    array_prefix: str = ""
    declares_array_prefix: bool = False
    escapes: Mapping[str, str] = attrs.field(factory=dict[str, str])
    utc: str = "Z"
    is_chunked: bool = False
    keeps_soap11: bool = False
    fault_form: Literal["", "soap11", "soap12"] = ""
    content_type: str = ""
    http_headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

    def namespaces_of(self, version: ServiceVersion) -> dict[str, str]:
        """Return what the envelope declares beside the prefix of SOAP, by prefix."""
        return {prefix: uri.format(tns=version.namespace) for prefix, uri in self.namespaces.items()}

    def headers(self, operation: Operation[Any], version: ServiceVersion) -> dict[str, str]:
        """Return the HTTP headers of an answer that is no fault, beside those that every stack has."""
        action = operation.agent.action(version, operation.name)
        own = {"Content-Type": self.content_type.format(action=action)} if self.content_type else {}
        return {**own, **self.http_headers}

    def envelope(
        self,
        operation: Operation[Any],
        result: Any,
        *,
        version: ServiceVersion,
        namespace: str,
        header: ReplyHeader,
    ) -> bytes:
        """Return the answer of an operation.

        Args:
            operation: the row.
            result: what the operation returned; a list may be any iterable, and a file an iterable of bytes.
            version: of the services that answer.
            namespace: of the envelope, of SOAP 1.1 or SOAP 1.2.
            header: the header blocks.
        """
        namespace = SOAP11_ENVELOPE if self.keeps_soap11 else namespace
        return _Writer(self, version, operation, namespace).envelope(result, header).encode()


MONO_STYLE: Final = StackStyle(
    declaration='<?xml version="1.0" encoding="utf-8"?>',
    prefix="s",
    nil_prefix="i",
    empty=" />",
    writes_defaults=True,
    carrier_elements=("TableRight", "FieldProperties"),
    array_prefix="d5p1",
    escapes={"\r": "&#xD;"},
    http_headers={"Server": "Mono-HTTPAPI/1.0"},
)
JAXWS_STYLE: Final = StackStyle(
    declaration="<?xml version='1.0' encoding='UTF-8'?>",
    prefix="S",
    nil_prefix="xsi",
    declares_nil_each_time=True,
    empty="/>",
    blocks=("TimeZone", "ExceptionInfo", "ExtraInfo", "Succeeded"),
    nil_blocks=("TimeZone", "ExceptionInfo", "ExtraInfo"),
    array_prefix="ns2",
    escapes={"\r": "&#13;"},
    is_chunked=True,
)
NODE_SOAP_STYLE: Final = StackStyle(
    declaration='<?xml version="1.0" encoding="utf-8"?>',
    prefix="soap",
    namespaces={"tns": "{tns}", "msc": _WCF_CONTRACT, "wsu": _SECURITY_UTILITY}
    | {f"q{number}": ARRAYS for number in range(1, 5)},
    gap="  ",
    leaves_nil_out=True,
    empty="",
    header_prefix="h",
    blocks=("Succeeded", "ExceptionInfo"),
    escapes={'"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"},
    is_chunked=True,
    keeps_soap11=True,
)
GSOAP_STYLE: Final = StackStyle(
    declaration='<?xml version="1.0" encoding="UTF-8"?>\n',
    end="\r\n",
    prefix="SOAP-ENV",
    namespaces={
        "SOAP-ENC": "http://www.w3.org/2003/05/soap-encoding",
        "xsi": XSI,
        "xsd": "http://www.w3.org/2001/XMLSchema",
        "arr": ARRAYS,
        "ns2": CRYPTOGRAPHY,
        "ns1": "{tns}",
    },
    nil_prefix="xsi",
    leaves_nil_out=True,
    keeps_nil_in_pairs=True,
    empty="",
    empty_text="/>",
    element_prefix="ns1",
    header_prefix="ns1",
    omits_failed_result=True,
    array_prefix="arr",
    escapes={"\r": "&#xD;"},
    fault_form="soap12",
    content_type='application/soap+xml; charset=utf-8; action="{action}"',
    http_headers={"Server": "gSOAP/2.8", "X-Frame-Options": "SAMEORIGIN", "Connection": "close"},
)
SPYNE_STYLE: Final = StackStyle(
    declaration="<?xml version='1.0' encoding='UTF-8'?>\n",
    prefix="soap11env",
    namespaces={"tns": "{tns}"},
    nil_prefix="xsi",
    declares_nil_first=True,
    leaves_nil_out=True,
    empty="/>",
    element_prefix="tns",
    header_prefix="tns",
    blocks=("Succeeded", "ExceptionInfo"),
    block_names={"Succeeded": "boolean"},
    nil_blocks=("ExceptionInfo",),
    omits_failed_result=True,
    array_prefix="ns0",
    declares_array_prefix=True,
    escapes={"\r": "&#13;"},
    utc="+00:00",
    keeps_soap11=True,
    fault_form="soap11",
    http_headers={"Server": "WSGIServer/0.2 CPython/3.11.7", "Connection": "close"},
)


@attrs.frozen
class _Writer:
    """Writes one envelope."""

    style: StackStyle
    version: ServiceVersion
    operation: Operation[Any]
    namespace: str

    def envelope(self, result: Any, header: ReplyHeader) -> str:
        style, soap = self.style, self.style.prefix
        blocks = "".join(self._blocks(header))
        body = self._body(result, has_failed=header.succeeded is False)
        content = f"<{soap}:Header>{blocks}</{soap}:Header><{soap}:Body>{body}</{soap}:Body>"
        has_nil = style.declares_nil_first and f" {style.nil_prefix}:nil=" in content
        first = f' xmlns:{style.nil_prefix}="{XSI}"' if has_nil else ""
        further = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in style.namespaces_of(self.version).items())
        further = f"{style.gap}{further}" if further else ""
        return (
            f'{style.declaration}<{soap}:Envelope{first} xmlns:{soap}="{self.namespace}"{further}>'
            f"{content}</{soap}:Envelope>{style.end}"
        )

    def _declarations(self) -> str:
        """Return the namespaces that a header block and the response element declare."""
        if self.style.element_prefix:
            return ""
        own = f' xmlns="{self.version.namespace}"'
        return f'{own} xmlns:ns2="{ARRAYS}" xmlns:ns3="{_SERIALIZATION}"' if self.style is JAXWS_STYLE else own

    def _blocks(self, header: ReplyHeader) -> Iterable[str]:
        rows = {row.name: row for row in REPLY_HEADER.fields}
        style, prefix = self.style, self.style.header_prefix
        is_declared = bool(style.element_prefix) or not prefix
        declared = self._declarations() if is_declared else f' xmlns:{prefix}="{self.version.namespace}"'
        for block in style.blocks:
            row, value = rows[block], getattr(header, rows[block].attribute)
            name = _prefixed(style.block_names.get(block, block), prefix)
            if value is None:
                if block in style.nil_blocks:
                    yield self._nil(name, declared)
                continue
            nil = f' xmlns:i="{XSI}"' if style is MONO_STYLE and isinstance(row.type, Record) else ""
            yield self._element(name, f"{nil}{declared}", row.type, value, prefix)

    def _body(self, result: Any, *, has_failed: bool) -> str:
        operation, prefix = self.operation, self.style.element_prefix
        if operation.result is None or (has_failed and self.style.omits_failed_result):
            content = ""
        elif isinstance(operation.result, Record) and not operation.result_name:
            fields = [(row, getattr(result, row.attribute)) for row in operation.result.fields]
            content = "".join(self._field(row, value, prefix, is_result=True) for row, value in fields)
        elif has_failed and result is None and self.style is JAXWS_STYLE:
            content = ""
        else:
            content = self._field(Field(operation.result_name, operation.result), result, prefix, is_result=True)
        return self._tag(_prefixed(operation.response_name, prefix), self._declarations(), content)

    def _field(self, row: Field, value: Any, prefix: str = "", *, is_result: bool = False) -> str:
        if row.since > self.version:
            return ""
        name = _prefixed(row.name, prefix)
        declared = f' xmlns:{self.style.nil_prefix}="{XSI}"' if is_result and self.style is MONO_STYLE else ""
        if value is None:
            if self.style.writes_defaults and isinstance(row.type, Scalar) and not _is_reference(row.type):
                return self._tag(name, "", _default(row.type))
            if self.style.leaves_nil_out or not _is_reference(row.type):
                return ""
            return f'<{name} i:nil="true"{declared} />' if self.style is MONO_STYLE else self._nil(name)
        is_scalar = not isinstance(row.type, Record | Array | Dictionary)
        return self._element(name, "" if is_scalar else declared, row.type, value, prefix)

    def _element(self, name: str, attributes: str, type_: WireType, value: Any, prefix: str = "") -> str:
        match type_:
            case Record():
                content = "".join(
                    self._nil(extra) for extra in self.style.carrier_elements if type_.name == "BatchTaskInfo"
                )
                content += "".join(self._field(row, getattr(value, row.attribute), prefix) for row in type_.fields)
            case Array():
                item_name, declared = _prefixed(type_.item_name, prefix), ""
                if type_.namespace is not None:
                    item_name = _prefixed(type_.item_name, self.style.array_prefix)
                    if self.style is MONO_STYLE:
                        attributes += f' xmlns:{self.style.array_prefix}="{type_.namespace}"'
                    elif self.style.declares_array_prefix:
                        declared = f' xmlns:{self.style.array_prefix}="{type_.namespace}"'
                    elif not self.style.array_prefix:
                        declared = f' xmlns="{type_.namespace}"'
                content = "".join(self._element(item_name, declared, type_.item, item, prefix) for item in value)
            case Dictionary():
                name_of_pair = _prefixed(type_.pair_name, prefix)
                pairs = [self._pair(key, text, prefix) for key, text in value.items()]
                content = "".join(self._tag(name_of_pair, "", pair) for pair in pairs)
            case _:
                text = escape(self._text(type_, value), self.style.escapes)
                if not text and self.style.empty_text:
                    return f"<{name}{attributes}{self.style.empty_text}"
                return f"<{name}{attributes}>{text}</{name}>"
        return self._tag(name, attributes, content)

    def _pair(self, key: str, value: str | None, prefix: str) -> str:
        is_nil = value is None and self.style.keeps_nil_in_pairs
        written = self._nil(f"{prefix}:Value") if is_nil else self._field(Field("Value", STRING), value, prefix)
        return self._field(Field("Key", STRING), key, prefix) + written

    def _text(self, type_: Any, value: Any) -> str:
        if type_ is BASE64 and not isinstance(value, bytes):
            value = b"".join(value)
        text = str(type_.encode(value.reveal() if isinstance(value, Secret) else value))
        return text.removesuffix("Z") + self.style.utc if type_ is DATE_TIME and text.endswith("Z") else text

    def _tag(self, name: str, attributes: str, content: str) -> str:
        if not content and self.style.empty:
            return f"<{name}{attributes}{self.style.empty}"
        return f"<{name}{attributes}>{content}</{name}>"

    def _nil(self, name: str, attributes: str = "") -> str:
        prefix = self.style.nil_prefix
        declared = f' xmlns:{prefix}="{XSI}"' if self.style.declares_nil_each_time else ""
        return f'<{name}{attributes}{declared} {prefix}:nil="true"{self.style.empty or self.style.empty_text}'


def _prefixed(name: str, prefix: str) -> str:
    return f"{prefix}:{name}" if prefix else name


def _is_reference(type_: WireType) -> bool:
    """Return whether a value of the type can be null in .NET."""
    return type_ in (STRING, BASE64) or (isinstance(type_, Record | Array | Dictionary) and type_ is not DSA_PARAMETERS)


def _default(type_: Scalar[Any]) -> str:
    """Return .NET's default for a type that cannot be null."""
    if isinstance(type_, Enumeration):
        return next(iter(type_.members))
    return {DATE_TIME.name: _NEVER, BOOLEAN.name: "false"}.get(type_.name, "0")
