"""Values of every wire type: the documented default ones, and arbitrary ones for property tests."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from soapbatch.model.batch import ALL_ASSOCIATES
from soapbatch.model.headers import REPLY_HEADER
from soapbatch.model.principal import AUTHENTICATE_RESPONSE
from soapbatch.model.schema import ITSELF, Array, Dictionary, Enumeration, Field, Record, WireType
from soapbatch.model.services import ServiceVersion
from soapbatch.model.xsd import BASE64, BOOLEAN, DATE_TIME, INT, SHORT, STRING
from soapbatch.operations import Operation

DOCUMENTED_TIME = datetime(2021, 11, 30, 13, 22, 47, tzinfo=UTC)
_DEFAULTS: dict[int, Any] = {
    id(INT): 0,
    id(SHORT): 0,
    id(BOOLEAN): False,
    id(STRING): "",
    id(DATE_TIME): DOCUMENTED_TIME,
    id(BASE64): b"",
}


def documented(type_: WireType, version: ServiceVersion) -> Any:
    """Return the value that the documented examples show for a type."""
    match type_:
        case Record():
            fields = (field for field in type_.fields if field.since <= version)
            return type_.carrier(**{field.attribute: documented(field.type, version) for field in fields})
        case Array():
            return (documented(type_.item, version),)
        case Dictionary():
            return {"": ""}
        case Enumeration():
            return next(iter(type_.members.values()))
        case _:
            return _DEFAULTS[id(type_)]


# Every character that XML 1.0 can carry.
TEXT = st.text(
    st.characters(
        min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", include_characters="\t\n\r"
    ),
    max_size=20,
)
_OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_ZONES: st.SearchStrategy[Any] = st.none() | st.just(UTC) | _OFFSETS
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    id(INT): st.integers(-(2**31), 2**31 - 1),
    id(SHORT): st.integers(-(2**15), 2**15 - 1),
    id(BOOLEAN): st.booleans(),
    id(STRING): TEXT,
    # Year 1 is left out: its first second means "never" and is read back as None.
    id(DATE_TIME): st.datetimes(min_value=datetime(2, 1, 1), timezones=_ZONES),  # noqa: DTZ001
    id(BASE64): st.binary(max_size=40),
}


def values(type_: WireType, version: ServiceVersion) -> st.SearchStrategy[Any]:
    """Return a strategy for a type, None excepted, that holds what `version` can write."""
    match type_:
        case Record():
            rows = {row.attribute: row for row in type_.fields}
            # A record inside itself goes two levels down.
            if any(row.type is type_ for row in rows.values()):
                inner = type_.carrier
                flat = {name: field(row, version) for name, row in rows.items() if row.type is not type_}
                nested = [name for name, row in rows.items() if row.type is type_]
                leaf = st.builds(inner, **flat)
                return st.builds(inner, **flat, **{name: st.none() | leaf for name in nested})
            return st.builds(type_.carrier, **{name: field(row, version) for name, row in rows.items()})
        case Array():
            return st.lists(values(type_.item, version), max_size=3).map(tuple)
        case Dictionary():
            return st.dictionaries(TEXT, st.none() | TEXT, max_size=3)
        case Enumeration():
            known = [member for text, member in type_.members.items() if type_.since.get(text, version) <= version]
            return st.sampled_from(known) | TEXT.filter(lambda text: text not in type_.members)
        case _:
            return _SCALARS[id(type_)]


def field(row: Field, version: ServiceVersion) -> st.SearchStrategy[Any]:
    """Return a strategy for the value of a field or parameter, None included."""
    if row.since > version or row.type is ITSELF:
        return st.none()
    if row.highest is not None:
        return st.none() | st.integers(0, row.highest)
    if row.empty is ALL_ASSOCIATES:
        return st.none() | st.just(ALL_ASSOCIATES) | values(row.type, version).filter(bool)
    return st.none() | values(row.type, version)


def arguments(operation: Operation[Any], version: ServiceVersion) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for the arguments of an operation: None is not one."""
    return st.fixed_dictionaries(
        {row.attribute: field(row, version).filter(lambda value: value is not None) for row in operation.parameters}
    )


def results(operation: Operation[Any], version: ServiceVersion) -> st.SearchStrategy[Any]:
    """Return a strategy for what an operation can return."""
    if operation.result is None:
        return st.none()
    if operation.result is AUTHENTICATE_RESPONSE:
        rows = {row.attribute: field(row, version) for row in AUTHENTICATE_RESPONSE.fields}
        rows["authentication_succeeded"] = st.just(value=True)
        return st.builds(AUTHENTICATE_RESPONSE.carrier, **rows)
    found = values(operation.result, version)
    if isinstance(operation.result, Array):
        return found.map(list)
    return st.none() | found if operation.nullable else found


def reply_headers(version: ServiceVersion) -> st.SearchStrategy[Any]:
    """Return a strategy for the header blocks of any reply."""
    return values(REPLY_HEADER, version)
