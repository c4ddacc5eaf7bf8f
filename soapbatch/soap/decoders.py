"""Elements -> values, the reverse of the builder's writers.

A decoder is compiled once for each (wire type, namespace). It accepts what differs between servers: any order, any
prefix, missing and unknown elements, `TableRight` and `FieldProperties` of the base type. It never guesses: a value
that is not of its type raises `BadValue` with its path.

    <Response><Id>42</Id><State>Aquired</State><LastStarted>0001-01-01T00:00:00</LastStarted></Response>
    -> BatchTaskInfo(id=42, state=BatchTaskState.ACQUIRED, last_started=None)
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, Literal, TypeAlias

import attrs
from lxml import etree

from soapbatch.model import (
    EXCEPTION_INFO,
    REPLY_HEADER,
    SOAP11_ENVELOPE,
    SOAP12_ENVELOPE,
    STRING,
    XSI,
    Array,
    Dictionary,
    Enumeration,
    ExceptionInfo,
    Field,
    Record,
    ReplyHeader,
    WireType,
)


@attrs.frozen
class UnknownItem:
    """An element, value or header block of a response that this library does not know, and has skipped.

    Attributes:
        kind: "element", "value" (of an enumeration, kept as text), "header block", "nil item" (dropped), or "character"
            (a reference to one that XML 1.0 forbids, read as U+FFFD).
        name: of the element, or the value itself, or the reference, for example "&#xB;".
        where: the type or element that holds the item.
    """

    kind: Literal["element", "value", "header block", "nil item", "character"]
    name: str
    where: str


class BadValue(ValueError):
    """A value is not of its type. `path` names its element."""

    def __init__(self, reason: str, path: str) -> None:
        """Say what is wrong (`reason`) at `path`."""
        super().__init__(reason, path)
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        """Return the path and the reason."""
        return f"{self.path}: {self.reason}"

    def under(self, step: str) -> "BadValue":
        """Return the same error with a path that begins one level higher."""
        return BadValue(self.reason, f"{step}{'.' if self.path and self.path[0] != '[' else ''}{self.path}")

    def at(self, index: int) -> "BadValue":
        """Return the same error with a path that begins at the list of which the value is an item."""
        return self.under(f"[{index}]")


Element: TypeAlias = etree._Element  # noqa: SLF001 - it has no public name
UnknownCallback: TypeAlias = Callable[[UnknownItem], None]
Decoder: TypeAlias = Callable[[Element, UnknownCallback], Any]
_Row: TypeAlias = tuple[str, Callable[[str], Any] | None, Decoder]
FieldsDecoder: TypeAlias = Callable[[Iterable[Element], UnknownCallback], dict[str, Any]]

_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
ENVELOPE, HEADER, BODY, FAULT = (
    tuple(f"{{{namespace}}}{name}" for namespace in (SOAP11_ENVELOPE, SOAP12_ENVELOPE))
    for name in ("Envelope", "Header", "Body", "Fault")
)
"""The tags of each part of an envelope, in SOAP 1.1 and 1.2."""

NIL = f"{{{XSI}}}nil"
_WHITE_SPACE = " \t\r\n"
_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})
BASE_TYPE_ELEMENTS = ("TableRight", "FieldProperties")


def is_nil(element: Element) -> bool:
    """Return whether the element says xsi:nil."""
    return element.get(NIL, "").strip() in _TRUE


def _is_nil_and_empty(element: Element) -> bool:
    """Return whether the element says xsi:nil and has no content but white space, which pretty printers add."""
    text = element.text
    return is_nil(element) and (text is None or not (text.strip(_WHITE_SPACE) or len(element)))


def local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def ignore_unknown(_: UnknownItem) -> None:
    """Do nothing. This is the default of `on_unknown`."""


@cache
def decoder_for(type_: WireType, namespace: str) -> Decoder:
    """Return the decoder of a wire type in a service version's `namespace`. The caller handles nil elements."""
    match type_:
        case Record():
            return _record_decoder(type_, namespace)
        case Array():
            return _array_decoder(type_, namespace)
        case Dictionary():
            return _dictionary_decoder(type_, namespace)
        case Enumeration():
            return _enumeration_decoder(type_)
        case _:
            decode = type_.decode
            return lambda element, _: decode(_text(element))


def _text(element: Element) -> str:
    if len(element):
        raise ValueError("holds elements where a text belongs")
    return element.text or ""


def _enumeration_decoder(type_: Enumeration) -> Decoder:
    def decode(element: Element, on_unknown: UnknownCallback) -> Any:
        text = _text(element)
        if text not in type_.members:
            on_unknown(UnknownItem("value", text, type_.name))
        return type_.decode(text)

    return decode


def _rows_by_tag(fields: tuple[Field, ...], namespace: str, enclosing: Record | None) -> dict[str, _Row]:
    """Return a row for each tag: the attribute, the decoder of the text if the type is a plain scalar, the decoder."""
    rows: dict[str, _Row] = {}
    for field in fields:
        type_ = field.type
        decode_text = None if isinstance(type_, Record | Array | Dictionary | Enumeration) else type_.decode
        # A record inside itself gets its decoder at the first call: it does not exist while it is being compiled.
        decode = partial(_decode_recursive, type_, namespace) if type_ is enclosing else decoder_for(type_, namespace)
        row = field.attribute, decode_text, decode
        # Some stacks leave the namespace out inside a fault's detail.
        rows[f"{{{field.namespace or namespace}}}{field.name}"] = rows[field.name] = row
    return rows


def _decode_recursive(type_: WireType, namespace: str, element: Element, on_unknown: UnknownCallback) -> Any:
    return decoder_for(type_, namespace)(element, on_unknown)


def _record_decoder(type_: Record, namespace: str) -> Decoder:
    carrier = type_.carrier
    decode_fields = fields_decoder(type_.fields, namespace, type_.name, type_)
    return lambda element, on_unknown: carrier(**decode_fields(element, on_unknown))


def fields_decoder(  # noqa: C901 - one pass over the children, where most of the time goes
    fields: tuple[Field, ...], namespace: str, where: str, enclosing: Record | None = None
) -> FieldsDecoder:
    """Return a decoder of the children of an element (or of a list of them) into a dict by attribute.

    The dict lacks nil and absent fields. Making a decoder takes longer than decoding, so keep the decoder.

    Args:
        fields: the rows of the children.
        namespace: of the service version.
        where: the type or element that holds the children, for reports.
        enclosing: the record that the fields make up, if they do.
    """
    rows = _rows_by_tag(fields, namespace, enclosing)
    ignored = {f"{{{namespace}}}{name}" for name in BASE_TYPE_ELEMENTS}
    decode_string = STRING.decode

    def report_unknown(child: Element, on_unknown: UnknownCallback) -> None:
        if child.tag not in ignored:
            on_unknown(UnknownItem("element", local_name(child), where))

    def decode(children: Iterable[Element], on_unknown: UnknownCallback) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for child in children:
            row = rows.get(child.tag)  # type: ignore[arg-type]  # lxml drops comments and instructions, so it is a string
            if row is None:
                report_unknown(child, on_unknown)
                continue
            attribute, decode_text, decode_child = row
            text = child.text
            if (text is None or text.isspace()) and child.keys() and _is_nil_and_empty(child):
                continue
            try:
                if decode_text is None:
                    values[attribute] = decode_child(child, on_unknown)
                elif text is None or len(child):
                    values[attribute] = decode_text(_text(child))
                elif decode_text is decode_string:
                    values[attribute] = text
                else:
                    values[attribute] = decode_text(text)
            except BadValue as error:
                raise error.under(local_name(child)) from None
            except ValueError as error:
                raise BadValue(str(error), local_name(child)) from None
        return values

    return decode


def _array_decoder(type_: Array, namespace: str) -> Decoder:
    tag = f"{{{type_.namespace or namespace}}}{type_.item_name}"
    decode_item = decoder_for(type_.item, namespace)

    def decode(element: Element, on_unknown: UnknownCallback) -> tuple[Any, ...]:
        items: list[Any] = []
        for index, child in enumerate(element):
            if child.tag != tag:
                on_unknown(UnknownItem("element", local_name(child), type_.name))
            elif is_nil(child):
                on_unknown(UnknownItem("nil item", type_.item_name, type_.name))
            else:
                try:
                    items.append(decode_item(child, on_unknown))
                except BadValue as error:
                    raise error.at(index) from None
                except ValueError as error:
                    raise BadValue(str(error), f"[{index}]") from None
        return tuple(items)

    return decode


def _dictionary_decoder(type_: Dictionary, namespace: str) -> Decoder:
    key_tag, value_tag = (f"{{{type_.namespace or namespace}}}{name}" for name in ("Key", "Value"))

    def decode(element: Element, on_unknown: UnknownCallback) -> dict[str, str | None]:
        pairs: dict[str, str | None] = {}
        for pair in element:
            # Nearly every pair is two texts in this order.
            children = [*pair]
            if len(children) == 2 and children[0].tag == key_tag and children[1].tag == value_tag:  # noqa: PLR2004 - two
                key, value = children
                key_text, text = key.text, value.text
                if key_text and text and not (len(key) or len(value) or text.isspace()):
                    pairs[key_text] = text
                    continue
            _decode_pair(pair, local_name(element), pairs, on_unknown)
        return pairs

    return decode


def _decode_pair(pair: Element, where: str, pairs: dict[str, str | None], on_unknown: UnknownCallback) -> None:
    """Decode a pair of the dictionary `where`: in any order and namespace, with any other elements in it."""
    key: str | None = None
    value: str | None = None
    for child in pair:
        name = local_name(child)
        if name == "Key":
            key = _text(child)
        elif name == "Value":
            value = None if _is_nil_and_empty(child) else _text(child)
        else:
            on_unknown(UnknownItem("element", name, local_name(pair)))
    if key is None:
        on_unknown(UnknownItem("nil item", local_name(pair), where))
    else:
        pairs[key] = value


@attrs.frozen
class FaultBlock:
    """The content of a SOAP fault of either version; `errors.Fault` documents the attributes."""

    code: str = ""
    subcode: str | None = None
    reasons: Mapping[str, str] = attrs.field(factory=dict[str, str])
    actor: str | None = None
    detail: str | None = None
    exception_info: ExceptionInfo | None = None

    @property
    def reason(self) -> str:
        """The first reason that says something."""
        return next(filter(None, self.reasons.values()), "no reason given")


@cache
def _header_decoder(namespace: str) -> FieldsDecoder:
    return fields_decoder(REPLY_HEADER.fields, namespace, REPLY_HEADER.name, REPLY_HEADER)


def decode_header(blocks: Element | list[Element], namespace: str, on_unknown: UnknownCallback) -> ReplyHeader:
    """Decode the header blocks of a response; unknown ones are reported as header blocks."""

    def report_block(item: UnknownItem) -> None:
        is_block = item.where == REPLY_HEADER.name
        on_unknown(UnknownItem("header block", item.name, "Header") if is_block else item)

    try:
        values = _header_decoder(namespace)(blocks, report_block)
        if len(values) != len(blocks) and any(
            local_name(block) == "Succeeded" and (block.text or "").strip(_WHITE_SPACE) in _FALSE for block in blocks
        ):
            values["succeeded"] = False  # even if a second Succeeded is true
        return ReplyHeader(**values)
    except BadValue as error:
        raise error.under(REPLY_HEADER.name) from None


def decode_fault(fault: Element, namespace: str) -> FaultBlock:
    """Decode a SOAP fault by local names: some stacks put children of one SOAP version into a Fault of the other."""
    code = subcode = actor = detail = None
    reasons: dict[str, str] = {}
    exception_info: ExceptionInfo | None = None
    for child in fault:
        text = (child.text or "").strip()
        match local_name(child):
            case "faultcode":
                code = text
            case "Code":
                values = [(value.text or "").strip() for value in child.iter() if local_name(value) == "Value"]
                code, subcode = (*values, None, None)[:2]
            case "faultstring":
                reasons.setdefault(child.get(_XML_LANG, ""), text)
            case "Reason":
                for reason in child:
                    reasons.setdefault(reason.get(_XML_LANG, ""), (reason.text or "").strip())
            case "faultactor" | "Role" | "Node":
                actor = actor or text
            case "detail" | "Detail":
                detail = " ".join(" ".join(child.itertext()).split()) or None
                exception_info = _decode_exception_info(child, namespace)
            case _:
                pass
    return FaultBlock(_local(code) or "", _local(subcode), reasons, actor, detail, exception_info)


def _decode_exception_info(detail: Element, namespace: str) -> ExceptionInfo | None:
    for child in detail:
        if local_name(child) in {"SoExceptionInfo", "ExceptionInfo"}:
            try:
                info = decoder_for(EXCEPTION_INFO, namespace)(child, ignore_unknown)
            except ValueError:
                return None
            return info if isinstance(info, ExceptionInfo) else None
    return None


def _local(qualified: str | None) -> str | None:
    return qualified.rpartition(":")[2] if qualified else None
