"""The layout of values as elements: arrays, dictionaries, records and open enumerations.

A wire type is one of these or an `xsd.Scalar`. The rows in `operations` and the fields of carriers have wire types; the
builder writes them and the parser decodes them. A namespace of None means that of the service version (`tns`).

    Record BatchTaskInfo   <Batch:BatchTaskInfo><Batch:Id>1</Batch:Id> ...
    Array ArrayOfint       <Batch:BatchTaskIds><int xmlns="…/Arrays">1</int> ...
    Dictionary             <Batch:ParameterObject><Batch:StringKeyValuePair><Batch:Key>k</Batch:Key> ...
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any, TypeAlias, TypeVar, cast

import attrs

from soapbatch.model.secret import MASK, Secret
from soapbatch.model.services import ARRAYS, ServiceVersion
from soapbatch.model.xsd import INT, STRING, Scalar, encode_string

E = TypeVar("E", bound=Enum)


class Carrier:
    """What all carriers have in common. Every carrier can be hashed, also one that holds a list or a dictionary."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by their Python names, as values that JSON has. Every field is there, None included.

        Dates and times become ISO 8601 text, bytes become base64, enumerations become their text on the wire, and
        secrets become a mask.
        """
        fields = attrs.fields(type(self))  # type: ignore[arg-type]  # every carrier is an attrs class
        values = {field.name: (getattr(self, field.name), field.metadata["secret"]) for field in fields}
        return {name: MASK if value and is_secret else to_plain(value) for name, (value, is_secret) in values.items()}


def to_plain(value: Any) -> Any:
    """Return `value` as JSON has it: carriers as `to_dict` gives them, dates as ISO 8601, bytes as base64."""
    match value:
        case Secret():
            value = MASK
        case Carrier():
            value = value.to_dict()
        case datetime():
            value = value.isoformat()
        case Enum():
            value = value.value
        case bytes():
            value = b64encode(value).decode("ascii")
        case Mapping():
            value = {key: to_plain(item) for key, item in cast("Mapping[str, Any]", value).items()}
        case Sequence() if not isinstance(value, str):
            value = [to_plain(item) for item in value]
        case _:
            pass
    return value


@attrs.frozen(eq=False)
class Enumeration(Scalar[Any]):
    """An open enumeration: known values become members. Unknown values stay text, since a server may be newer.

    `since` holds the first version of each value that V75 lacks.
    """

    members: Mapping[str, Enum] = attrs.field(factory=dict[str, Enum])
    since: Mapping[str, ServiceVersion] = attrs.field(factory=dict[str, ServiceVersion])


def enumeration(name: str, members: type[Enum], since: Mapping[str, ServiceVersion] | None = None) -> Enumeration:
    """Return the wire type of the enum class `members`."""
    by_value = {str(member.value): member for member in members}

    def encode(value: Enum | str) -> str:
        return encode_string(value.value if isinstance(value, members) else value)  # type: ignore[arg-type]

    def decode(text: str) -> Enum | str:
        return by_value.get(text, text)

    return Enumeration(name, encode, decode, None, by_value, since or {})


@attrs.frozen
class Array:
    """A list of items under one element. The decoder drops nil items."""

    name: str
    item_name: str
    item: "WireType"
    namespace: str | None = None


@attrs.frozen
class Dictionary:
    """A mapping of string to string, as a list of pairs under one element."""

    name: str
    pair_name: str
    namespace: str | None = None


@attrs.frozen(eq=False, slots=False)
class Record:
    """A carrier: an attrs class whose fields are made by `element`, in wire order."""

    name: str
    carrier: type[Any]
    namespace: str | None = None

    @cached_property
    def fields(self) -> tuple["Field", ...]:
        """The rows of the carrier's fields, in wire order."""
        rows = [attrs.evolve(f.metadata["wire"], attribute=f.name) for f in attrs.fields(self.carrier)]
        return tuple(attrs.evolve(row, type=self) if row.type is ITSELF else row for row in rows)


WireType: TypeAlias = Scalar[Any] | Array | Dictionary | Record


@attrs.frozen
class Field:
    """One element of a record.

    Attributes:
        name: of the element.
        type: the wire type of the value.
        since: the first service version that has it.
        max_length: characters that the server's database keeps of a string; None: no limit is known.
        highest: for numbers from 0 to this one.
        namespace: of the element; None: the service version's own.
        attribute: of the attrs class, or the Python name of the parameter.
        empty: for a list that must not be empty by accident: the one object that means "empty on purpose".
    """

    name: str
    type: WireType
    since: ServiceVersion = ServiceVersion.V75
    max_length: int | None = None
    highest: int | None = None
    namespace: str | None = None
    attribute: str = ""
    empty: object = None


def element(
    name: str,
    type: WireType,
    *,
    since: ServiceVersion = ServiceVersion.V75,
    max_length: int | None = None,
    highest: int | None = None,
    namespace: str | None = None,
    secret: bool = False,
) -> Any:
    """Return an attrs field that is the element `name` on the wire; None means "not written"."""
    row = Field(name, type, since, max_length, highest, namespace)
    # A list or a dictionary has no hash. Left out of its carrier's, it does not keep the carrier from having one.
    has_hash = None if isinstance(type, Scalar | Record) else False
    shown = _masked if secret else True
    return attrs.field(default=None, repr=shown, hash=has_hash, metadata={"wire": row, "secret": secret})


def _masked(value: object) -> str:
    return repr(value if value is None else MASK)


ITSELF = Record("", object)
"""The wire type of a field that holds the record to which the field belongs (an inner exception)."""
ARRAY_OF_INT = Array("ArrayOfint", "int", INT, ARRAYS)
ARRAY_OF_STRING = Array("ArrayOfstring", "string", STRING, ARRAYS)
STRING_DICTIONARY = Dictionary("StringDictionary", "StringKeyValuePair")
