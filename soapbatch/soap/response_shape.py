"""What the response of an operation is made of, worked out once for each version: tags that matter, and a reader."""

from functools import cache
from typing import Any

import attrs

from soapbatch.model import BASE64, Array, ServiceVersion
from soapbatch.operations import Operation
from soapbatch.soap.decoders import Reader, reader


@attrs.frozen
class Expected:
    """The tags that matter.

    Attributes:
        namespace: of the service version.
        response: the element in the Body.
        result: the element in that.
        item: the elements in that, if the result is a list.
        wanted: those that lxml is to tell of: in any namespace, which takes it less time.
        read: reads an item, or a result that is no list.
    """

    namespace: str
    response: str
    result: str
    item: str
    wanted: tuple[str, ...]
    read: Reader


@cache
def expected(operation: Operation[Any], version: ServiceVersion) -> Expected:
    """Return what to expect of a response of `operation`."""
    namespace, result = f"{{{version.namespace}}}", operation.result
    item, read_type = "", result or BASE64
    wanted = ["Envelope", "Header", "Fault", operation.response_name]
    if isinstance(result, Array):
        item, read_type = f"{namespace}{result.item_name}", result.item
        wanted.append(result.item_name)
    elif result is BASE64:
        wanted.append(operation.result_name)
    return Expected(
        namespace=version.namespace,
        response=f"{namespace}{operation.response_name}",
        result=f"{namespace}{operation.result_name}",
        item=item,
        wanted=tuple(f"{{*}}{name}" for name in wanted),
        read=reader(read_type, version.namespace),
    )
