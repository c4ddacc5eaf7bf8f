"""The names of the elements that the response of an operation consists of, and how its values are decoded."""

import re
from functools import cache
from typing import Any

import attrs

from soapbatch.model import BASE64, Array, ServiceVersion
from soapbatch.operations import Operation
from soapbatch.soap.decoders import Decoder, decoder_for


@attrs.frozen
class ResponseShape:
    """The names of the elements that the response of an operation consists of, in one service version.

    Attributes:
        namespace: of the service version.
        response: tag of the element in the Body.
        result: tag of the element inside the response element.
        item: tag of the elements inside the result, if the result is a list; else "".
        event_tags: tags for which lxml reports events. They match any namespace, which costs lxml less time.
        decode: decodes an item of a list, or a result that is no list.
    """

    namespace: str
    response: str
    result: str
    item: str
    event_tags: tuple[str, ...]
    decode: Decoder


@cache
def response_shape(operation: Operation[Any], version: ServiceVersion) -> ResponseShape:
    """Return the shape of the responses of `operation`."""
    namespace, result = f"{{{version.namespace}}}", operation.result
    item, decoded_type = "", result or BASE64
    event_tags = ["Envelope", "Header", "Fault", operation.response_name]
    if isinstance(result, Array):
        item, decoded_type = f"{namespace}{result.item_name}", result.item
        event_tags.append(result.item_name)
    elif result is BASE64:
        event_tags.append(operation.result_name)
    return ResponseShape(
        namespace=version.namespace,
        response=f"{namespace}{operation.response_name}",
        result=f"{namespace}{operation.result_name}",
        item=item,
        event_tags=tuple(f"{{*}}{name}" for name in event_tags),
        decode=decoder_for(decoded_type, version.namespace),
    )


@cache
def start_tag_of(name: str) -> re.Pattern[bytes]:
    """Return a pattern of a start tag of `name` with any prefix."""
    attributes = rb"""(?:\s[^<>"']*(?:"[^"<]*+"[^<>"']*+|'[^'<]*+'[^<>"']*+)*)?"""
    return re.compile(rb"<(?:[^\s<>:/!?]+:)?" + re.escape(name.encode()) + attributes + b">")
