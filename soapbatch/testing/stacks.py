"""How other SOAP stacks write an answer: prefixes, nil values, empty elements, and the frame of the HTTP response.

The styles follow recordings of these stacks, so that a test can be run against "as Mono answers" or "as JAX-WS
answers". An answer means the same in every style, but for what a stack cannot say: node-soap writes no nil, and a
value that Mono cannot leave out has .NET's default.

| style     | prefix | header blocks            | nil value                  | empty element | body     |
|-----------|--------|--------------------------|----------------------------|---------------|----------|
| MONO      | s      | those with a value       | i:nil, i declared once     | `<X />`       | whole    |
| JAXWS     | S      | all, nil if without one  | xsi:nil, declared each time| `<X/>`        | chunked  |
| NODE_SOAP | soap   | those with a value, in h | left out                   | `<X></X>`     | chunked  |
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

import attrs

from soapbatch.model import (
    ARRAYS,
    BASE64,
    BOOLEAN,
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
        prefix: of the elements of SOAP.
        nil_prefix: of the attribute nil; "": elements that are nil are left out.
        declares_nil_each_time: whether each element that is nil declares that prefix, and not the result.
        empty: what stands between the name of an element without content and the next tag: " />", "/>", or "" for an
            end tag.
        header_prefix: of the header blocks and of all that is in them.
        writes_nil_blocks: whether header blocks without a value are written.
        writes_defaults: whether numbers, booleans, dates and states that have no value get .NET's default.
        carrier_elements: elements that are nil at the beginning of each BatchTaskInfo.
        array_prefix: of array items that have a namespace of their own; "": they declare it as the default one.
        quotes: whether quotation marks in text are escaped.
        is_chunked: whether the length of an answer is not announced.
        keeps_soap11: whether requests of SOAP 1.2 are answered with an envelope of SOAP 1.1.
        http_headers: further HTTP headers.
    """

    declaration: str
    prefix: str
    nil_prefix: str
    declares_nil_each_time: bool = False
    empty: str
    header_prefix: str = ""
    writes_nil_blocks: bool = False
    writes_defaults: bool = False
    carrier_elements: tuple[str, ...] = ()
    array_prefix: str = ""
    quotes: bool = False
    is_chunked: bool = False
    keeps_soap11: bool = False
    http_headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

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
    http_headers={"Server": "Mono-HTTPAPI/1.0"},
)
JAXWS_STYLE: Final = StackStyle(
    declaration="<?xml version='1.0' encoding='UTF-8'?>",
    prefix="S",
    nil_prefix="xsi",
    declares_nil_each_time=True,
    empty="/>",
    writes_nil_blocks=True,
    array_prefix="ns2",
    is_chunked=True,
)
NODE_SOAP_STYLE: Final = StackStyle(
    declaration='<?xml version="1.0" encoding="utf-8"?>',
    prefix="soap",
    nil_prefix="",
    empty="",
    header_prefix="h",
    quotes=True,
    is_chunked=True,
    keeps_soap11=True,
)


@attrs.frozen
class _Writer:
    """Writes one envelope."""

    style: StackStyle
    version: ServiceVersion
    operation: Operation[Any]
    namespace: str

    def envelope(self, result: Any, header: ReplyHeader) -> str:
        soap = self.style.prefix
        blocks = "".join(self._blocks(header))
        body = self._body(result, has_failed=header.succeeded is False)
        return (
            f'{self.style.declaration}<{soap}:Envelope xmlns:{soap}="{self.namespace}"{self._envelope_declarations()}>'
            f"<{soap}:Header>{blocks}</{soap}:Header><{soap}:Body>{body}</{soap}:Body></{soap}:Envelope>"
        )

    def _envelope_declarations(self) -> str:
        if self.style is not NODE_SOAP_STYLE:
            return ""
        declared = f'  xmlns:tns="{self.version.namespace}" xmlns:msc="{_WCF_CONTRACT}" xmlns:wsu="{_SECURITY_UTILITY}"'
        return declared + "".join(f' xmlns:q{number}="{ARRAYS}"' for number in range(1, 5))

    def _declarations(self) -> str:
        """Return the namespaces that a header block and the response element declare."""
        own = f' xmlns="{self.version.namespace}"'
        return f'{own} xmlns:ns2="{ARRAYS}" xmlns:ns3="{_SERIALIZATION}"' if self.style is JAXWS_STYLE else own

    def _blocks(self, header: ReplyHeader) -> Iterable[str]:
        rows = {row.name: row for row in REPLY_HEADER.fields}
        order = {
            True: ("TimeZone", "ExceptionInfo", "ExtraInfo", "Succeeded"),  # JAX-WS
            False: ("Succeeded", "ExceptionInfo") if self.style.header_prefix else ("ExceptionInfo", "Succeeded"),
        }[self.style.writes_nil_blocks]
        prefix = self.style.header_prefix
        declared = f' xmlns:{prefix}="{self.version.namespace}"' if prefix else self._declarations()
        for name in order:
            row, value = rows[name], getattr(header, rows[name].attribute)
            if value is None:
                if self.style.writes_nil_blocks:
                    yield self._nil(name, declared)
                continue
            nil = f' xmlns:i="{XSI}"' if self.style is MONO_STYLE and isinstance(row.type, Record) else ""
            yield self._element(f"{prefix}:{name}" if prefix else name, f"{nil}{declared}", row.type, value, prefix)

    def _body(self, result: Any, *, has_failed: bool) -> str:
        operation = self.operation
        if operation.result is None:
            content = ""
        elif isinstance(operation.result, Record) and not operation.result_name:
            fields = operation.result.fields
            content = "".join(self._field(row, getattr(result, row.attribute), is_result=True) for row in fields)
        elif has_failed and result is None and self.style.writes_nil_blocks:
            content = ""  # JAX-WS
        else:
            content = self._field(Field(operation.result_name, operation.result), result, is_result=True)
        return self._tag(operation.response_name, self._declarations(), content)

    def _field(self, row: Field, value: Any, prefix: str = "", *, is_result: bool = False) -> str:
        if row.since > self.version:
            return ""
        name = f"{prefix}:{row.name}" if prefix else row.name
        declared = f' xmlns:{self.style.nil_prefix}="{XSI}"' if is_result and self.style is MONO_STYLE else ""
        if value is None:
            if self.style.writes_defaults and isinstance(row.type, Scalar) and not _is_reference(row.type):
                return self._tag(name, "", _default(row.type))
            if not self.style.nil_prefix or not _is_reference(row.type):
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
                item_name, declared = type_.item_name, ""
                if type_.namespace is not None:
                    if self.style is MONO_STYLE:
                        attributes += f' xmlns:{self.style.array_prefix}="{type_.namespace}"'
                    if self.style.array_prefix:
                        item_name = f"{self.style.array_prefix}:{item_name}"
                    else:
                        declared = f' xmlns="{type_.namespace}"'
                content = "".join(self._element(item_name, declared, type_.item, item) for item in value)
            case Dictionary():
                rows = (Field("Key", STRING), Field("Value", STRING))
                content = "".join(
                    self._tag(
                        f"{prefix}:{type_.pair_name}" if prefix else type_.pair_name,
                        "",
                        "".join(self._field(row, text, prefix) for row, text in zip(rows, pair, strict=True)),
                    )
                    for pair in value.items()
                )
            case _:
                text = escape(self._text(type_, value), {'"': "&quot;"} if self.style.quotes else {})
                return f"<{name}{attributes}>{text}</{name}>"
        return self._tag(name, attributes, content)

    def _text(self, type_: Any, value: Any) -> str:
        if type_ is BASE64 and not isinstance(value, bytes):
            value = b"".join(value)
        return str(type_.encode(value.reveal() if isinstance(value, Secret) else value))

    def _tag(self, name: str, attributes: str, content: str) -> str:
        if not content and self.style.empty:
            return f"<{name}{attributes}{self.style.empty}"
        return f"<{name}{attributes}>{content}</{name}>"

    def _nil(self, name: str, attributes: str = "") -> str:
        prefix = self.style.nil_prefix
        declared = f' xmlns:{prefix}="{XSI}"' if self.style.declares_nil_each_time else ""
        return f'<{name}{attributes}{declared} {prefix}:nil="true"{self.style.empty}'


def _is_reference(type_: WireType) -> bool:
    """Return whether a value of the type can be null in .NET."""
    return type_ in (STRING, BASE64) or (isinstance(type_, Record | Array | Dictionary) and type_ is not DSA_PARAMETERS)


def _default(type_: Scalar[Any]) -> str:
    """Return .NET's default for a type that cannot be null."""
    if isinstance(type_, Enumeration):
        return next(iter(type_.members))
    return {DATE_TIME.name: _NEVER, BOOLEAN.name: "false"}.get(type_.name, "0")
