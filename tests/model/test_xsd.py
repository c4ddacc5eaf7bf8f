"""Values as XSD text: what is written, what is read, and what is refused."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from soapbatch.model.secret import Secret
from soapbatch.model.xsd import (
    BASE64,
    BOOLEAN,
    DATE_TIME,
    ILLEGAL_CHARACTER,
    INT,
    SHORT,
    STRING,
    Scalar,
    encode_string,
    escape_text,
    utf16_length,
)
from tests.support.subclasses import Injector, Markup, Moment

NEVER = datetime(1, 1, 1)  # noqa: DTZ001 - without a zone, as NetServer writes it
EDGES = "\x20\x7f\x85\xa0\ud7ff\ue000\ufffd\U00010000\U0010ffff"


def zone(hours: float) -> timezone:
    """Return the zone that is `hours` east of UTC."""
    return timezone(timedelta(hours=hours))


def naive(*parts: int) -> datetime:
    """Return a datetime without a zone."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 - naive is what is meant


def has_utc(value: datetime) -> bool:
    """Return whether the instant of `value` can be told in UTC, as something else than never."""
    try:
        return value.astimezone(UTC).replace(tzinfo=None) != NEVER
    except OverflowError:
        return False


@pytest.mark.parametrize(
    ("scalar", "value", "text"),
    [
        pytest.param(INT, 0, "0", id="int zero"),
        pytest.param(INT, 2**31 - 1, "2147483647", id="int highest"),
        pytest.param(INT, -(2**31), "-2147483648", id="int lowest"),
        pytest.param(SHORT, 2**15 - 1, "32767", id="short highest"),
        pytest.param(SHORT, -(2**15), "-32768", id="short lowest"),
        pytest.param(BOOLEAN, True, "true", id="true"),
        pytest.param(BOOLEAN, False, "false", id="false"),
        pytest.param(STRING, "", "", id="empty string"),
        pytest.param(STRING, "<a> & \r\n\t'\"", "<a> & \r\n\t'\"", id="string, escaped by the builder only"),
        pytest.param(STRING, EDGES, EDGES, id="string at the edges of the legal"),
        pytest.param(DATE_TIME, naive(2024, 2, 29, 12, 30, 5), "2024-02-29T12:30:05", id="naive"),
        pytest.param(DATE_TIME, datetime(2024, 2, 29, 12, 30, 5, tzinfo=UTC), "2024-02-29T12:30:05Z", id="UTC"),
        pytest.param(
            DATE_TIME, datetime(2024, 2, 29, 12, 30, 5, tzinfo=zone(1)), "2024-02-29T12:30:05+01:00", id="offset"
        ),
        pytest.param(
            DATE_TIME,
            datetime(2024, 2, 29, 12, 30, 5, 120000, zone(-5.5)),
            "2024-02-29T12:30:05.120000-05:30",
            id="fraction and offset",
        ),
        pytest.param(DATE_TIME, naive(987, 6, 5), "0987-06-05T00:00:00", id="four digits of year"),
        pytest.param(
            DATE_TIME, naive(9999, 12, 31, 23, 59, 59, 999999), "9999-12-31T23:59:59.999999", id="the last microsecond"
        ),
        pytest.param(
            DATE_TIME,
            datetime(1, 1, 1, 1, 0, 0, 1, tzinfo=zone(1)),
            "0001-01-01T01:00:00.000001+01:00",
            id="the earliest instant",
        ),
        pytest.param(
            DATE_TIME,
            datetime(9999, 12, 31, 18, 59, 59, 999999, tzinfo=zone(-5)),
            "9999-12-31T18:59:59.999999-05:00",
            id="the last instant",
        ),
        pytest.param(BASE64, b"", "", id="no bytes"),
        pytest.param(BASE64, b"\x00\xff", "AP8=", id="bytes"),
    ],
)
def test_a_value_is_written_and_read_back(scalar: Scalar[Any], value: object, text: str) -> None:
    """Each value has this text, and this text this value."""
    assert scalar.encode(value) == text
    assert scalar.decode(text) == value


@pytest.mark.parametrize(
    ("scalar", "text", "value"),
    [
        pytest.param(INT, " \t\r\n42 ", 42, id="int in white space"),
        pytest.param(INT, "+42", 42, id="int with a plus"),
        pytest.param(INT, "-0", 0, id="int minus zero"),
        pytest.param(INT, "00042", 42, id="int with leading zeros"),
        pytest.param(BOOLEAN, "1", True, id="boolean 1"),
        pytest.param(BOOLEAN, "0", False, id="boolean 0"),
        pytest.param(BOOLEAN, "\n true\t", True, id="boolean in white space"),
        pytest.param(BOOLEAN, " 0 ", False, id="boolean 0 in white space"),
        pytest.param(STRING, " as it is ", " as it is ", id="string keeps its white space"),
        pytest.param(
            DATE_TIME,
            " 2024-02-29T12:30:05Z\n",
            datetime(2024, 2, 29, 12, 30, 5, tzinfo=UTC),
            id="dateTime in white space",
        ),
        pytest.param(
            DATE_TIME,
            "2024-02-29T12:30:05.1234567Z",
            datetime(2024, 2, 29, 12, 30, 5, 123456, UTC),
            id="seven fraction digits are cut",
        ),
        pytest.param(
            DATE_TIME, "2024-02-29T12:30:05.0000001", naive(2024, 2, 29, 12, 30, 5), id="less than a microsecond"
        ),
        pytest.param(
            DATE_TIME, "2024-02-29T12:30:05.9999999", naive(2024, 2, 29, 12, 30, 5, 999999), id="cut, not rounded"
        ),
        pytest.param(
            DATE_TIME,
            "2024-07-01T00:00:00.5+02:00",
            datetime(2024, 7, 1, 0, 0, 0, 500000, zone(2)),
            id="one fraction digit",
        ),
        pytest.param(
            DATE_TIME,
            "2024-02-29T12:30:05.12Z",
            datetime(2024, 2, 29, 12, 30, 5, 120000, UTC),
            id="two fraction digits",
        ),
        pytest.param(
            DATE_TIME,
            "2024-02-29T12:30:05.120-05:30",
            datetime(2024, 2, 29, 12, 30, 5, 120000, zone(-5.5)),
            id="three fraction digits",
        ),
        pytest.param(
            DATE_TIME, "2024-02-29T12:30:05-00:00", datetime(2024, 2, 29, 12, 30, 5, tzinfo=UTC), id="minus zero offset"
        ),
        pytest.param(DATE_TIME, "0001-01-01T00:00:00", None, id="never"),
        pytest.param(DATE_TIME, "0001-01-01T00:00:00Z", None, id="never in UTC"),
        pytest.param(DATE_TIME, "0001-01-01T00:00:00.000Z", None, id="never with a fraction"),
        pytest.param(DATE_TIME, "0001-01-01T00:00:00+00:00", None, id="never with an offset of zero"),
        pytest.param(DATE_TIME, "\n0001-01-01T00:00:00 ", None, id="never in white space"),
        pytest.param(DATE_TIME, "0001-01-01T00:00:01", naive(1, 1, 1, 0, 0, 1), id="a second after never"),
        pytest.param(
            DATE_TIME, "9999-12-31T23:59:59.9999999", naive(9999, 12, 31, 23, 59, 59, 999999), id="the .NET maximum"
        ),
        pytest.param(
            DATE_TIME,
            "9999-12-31T23:59:59.9999999Z",
            datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
            id="the .NET maximum in UTC",
        ),
        pytest.param(
            DATE_TIME,
            "9999-12-31T23:59:59.9999999-14:00",
            datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
            id="an offset that UTC cannot take",
        ),
        pytest.param(
            DATE_TIME,
            "9999-12-31T19:00:00-05:00",
            datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
            id="a microsecond after the last instant",
        ),
        pytest.param(DATE_TIME, "0001-01-01T00:00:00+01:00", None, id="never, east of Greenwich"),
        pytest.param(DATE_TIME, "0001-01-01T00:00:00.0000000+14:00", None, id="never, as far east as possible"),
        pytest.param(DATE_TIME, "0001-01-01T00:00:00-05:00", None, id="never, west of Greenwich"),
        pytest.param(DATE_TIME, "0001-01-01T01:00:00+01:00", None, id="never, in local time"),
        pytest.param(DATE_TIME, "0001-01-01T00:30:00+01:00", None, id="before the calendar"),
        pytest.param(
            DATE_TIME,
            "0001-01-01T01:00:00.000001+01:00",
            datetime(1, 1, 1, 0, 0, 0, 1, UTC),
            id="a microsecond after never",
        ),
        pytest.param(
            DATE_TIME, "2024-02-28T24:00:00Z", datetime(2024, 2, 29, tzinfo=UTC), id="midnight at the end of the day"
        ),
        pytest.param(DATE_TIME, "2024-12-31T24:00:00.000", naive(2025, 1, 1), id="midnight at the end of the year"),
        pytest.param(BASE64, " AP\r\n8=\t\n", b"\x00\xff", id="base64 with line breaks"),
    ],
)
def test_other_forms_are_read(scalar: Scalar[Any], text: str, value: object) -> None:
    """What other writers may send for a value is read as that value."""
    assert scalar.decode(text) == value


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        pytest.param("2024-02-29T12:30:05", None, id="none"),
        pytest.param("2024-02-29T12:30:05Z", timedelta(0), id="Z"),
        pytest.param("2024-02-29T12:30:05.1234567+01:00", timedelta(hours=1), id="offset"),
        pytest.param("2024-02-29T24:00:00", None, id="none at midnight"),
        pytest.param("2024-02-29T24:00:00-05:30", timedelta(hours=-5.5), id="offset at midnight"),
    ],
)
def test_a_date_time_keeps_its_zone(text: str, offset: timedelta | None) -> None:
    """A dateTime without a zone stays naive, and one with an offset keeps it: equality alone would not tell."""
    value = DATE_TIME.decode(text)
    assert value is not None
    assert value.utcoffset() == offset


@pytest.mark.parametrize(
    ("scalar", "text"),
    [
        *(
            pytest.param(INT, text, id=f"int {text!a}")
            for text in (
                "",
                " ",
                "1_000",
                "1,000",
                "1.0",
                "1e3",
                "0x10",
                "--1",
                "+ 1",
                "1 2",
                "\N{NO-BREAK SPACE}1",
                "true",
                "²",
                "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}",
                "2147483648",
                "-2147483649",
                "9" * 5000,
            )
        ),
        *(pytest.param(SHORT, text, id=f"short {text!a}") for text in ("", "32768", "-32769", "1.5")),
        *(
            pytest.param(BOOLEAN, text, id=f"boolean {text!a}")
            for text in ("", "True", "FALSE", "yes", "2", "-1", "01")
        ),
        *(
            pytest.param(DATE_TIME, text, id=f"dateTime {text!a}")
            for text in (
                "",
                "now",
                "2024-02-29",
                "12:30:05",
                "2024-02-29 12:30:05",
                "2024-02-29t12:30:05",
                "2024-02-29T12:30",
                "2024-02-30T00:00:00",
                "2023-02-29T00:00:00",
                "2024-13-01T00:00:00",
                "2024-00-01T00:00:00",
                "2024-02-29T25:00:00",
                "2024-02-29T24:00:01",
                "2024-02-29T24:00:00.1",
                "2024-02-29T23:60:00",
                "2024-02-29T23:59:60",
                "2024-02-30T24:00:00",
                "2024-02-29T12:30:05.",
                "2024-02-29T12:30:05,5",
                "2024-02-29T12:30:05z",
                "2024-02-29T12:30:05+0100",
                "2024-02-29T12:30:05+01",
                "2024-02-29T12:30:05+15:00",
                "2024-02-29T12:30:05+01:60",
                "24-02-29T12:30:05",
                "0000-01-01T00:00:00",
                "-0001-01-01T00:00:00",
                "10000-01-01T00:00:00",
                "9999-12-31T24:00:00",
                "2024-W09-4T12:30:05",
                "20240229T123005",
                "\N{ARABIC-INDIC DIGIT TWO}024-02-29T12:30:05",
            )
        ),
        *(
            pytest.param(BASE64, text, id=f"base64 {text!a}")
            for text in (
                "AP8",
                "AP8==",
                "A",
                "A===",
                "=AP8",
                "AP=8",
                "QQ==QQ==",
                "AP-_",
                "AP8=\N{NO-BREAK SPACE}",
                "é===",
            )
        ),
    ],
)
def test_what_is_not_of_the_type_is_refused_on_reading(scalar: Scalar[Any], text: str) -> None:
    """Text that is no value of the type raises ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        scalar.decode(text)


@pytest.mark.parametrize(
    ("scalar", "value", "reason"),
    [
        pytest.param(INT, 2**31, "between -2147483648 and 2147483647, got 2147483648", id="int too high"),
        pytest.param(INT, -(2**31) - 1, "between -2147483648 and 2147483647", id="int too low"),
        pytest.param(INT, True, "needs an int, got bool", id="bool for int"),
        pytest.param(INT, "7", "needs an int, got str", id="str for int"),
        pytest.param(INT, 7.0, "needs an int, got float", id="float for int"),
        pytest.param(SHORT, 2**15, "between -32768 and 32767, got 32768", id="short too high"),
        pytest.param(SHORT, -(2**15) - 1, "between -32768 and 32767", id="short too low"),
        pytest.param(BOOLEAN, 1, "needs a bool, got int", id="int for boolean"),
        pytest.param(BOOLEAN, "true", "needs a bool, got str", id="str for boolean"),
        pytest.param(STRING, 7, "needs a str, got int", id="int for string"),
        pytest.param(STRING, b"x", "needs a str, got bytes", id="bytes for string"),
        *(
            pytest.param(
                STRING, f"secret{character}", rf"holds U\+{ord(character):04X} at index 6", id=f"U+{ord(character):04X}"
            )
            for character in "\x00\x08\x0b\x0c\x0e\x1f\ud800\udfff\ufffe\uffff"
        ),
        pytest.param(DATE_TIME, NEVER, "means 'never'.*pass None", id="never"),
        pytest.param(DATE_TIME, NEVER.replace(tzinfo=UTC), "means 'never'.*pass None", id="never in UTC"),
        pytest.param(DATE_TIME, NEVER.replace(tzinfo=zone(14)), "means 'never'.*pass None", id="never in the east"),
        pytest.param(DATE_TIME, NEVER.replace(tzinfo=zone(-5)), "means 'never'.*pass None", id="never in the west"),
        pytest.param(
            DATE_TIME, NEVER.replace(minute=30, tzinfo=zone(1)), "outside of the years", id="before the calendar"
        ),
        pytest.param(
            DATE_TIME, NEVER.replace(minute=30, tzinfo=zone(14.5)), "outside of the years", id="before, odd offset"
        ),
        pytest.param(DATE_TIME, datetime.max.replace(tzinfo=zone(-1)), "outside of the years", id="after the calendar"),
        pytest.param(DATE_TIME, NEVER.date(), "needs a datetime, got date", id="date for dateTime"),
        pytest.param(DATE_TIME, "2024-02-29T12:30:05", "needs a datetime, got str", id="str for dateTime"),
        pytest.param(BASE64, "AP8=", "needs bytes, got str", id="str for base64"),
        pytest.param(BASE64, bytearray(b"x"), "needs bytes, got bytearray", id="bytearray for base64"),
    ],
)
def test_what_is_not_of_the_type_is_refused_on_writing(scalar: Scalar[Any], value: object, reason: str) -> None:
    """A value that the type cannot carry raises ValueError with a reason, and never repeats a text."""
    with pytest.raises(ValueError, match=reason) as caught:
        scalar.encode(value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "offset",
    [
        pytest.param(timedelta(hours=1, seconds=30), id="with seconds"),
        pytest.param(timedelta(microseconds=1), id="with microseconds"),
        pytest.param(timedelta(hours=15), id="above 14 hours"),
        pytest.param(timedelta(hours=-15), id="below -14 hours"),
    ],
)
def test_an_offset_that_xsd_cannot_write_becomes_utc(offset: timedelta) -> None:
    """An offset that is not whole minutes, or above 14 hours, is written as the same instant in UTC."""
    value = datetime(2024, 2, 29, 12, 30, 5, tzinfo=timezone(offset))
    assert DATE_TIME.encode(value).endswith("Z")
    assert DATE_TIME.decode(DATE_TIME.encode(value)) == value


def test_a_secret_is_written_as_its_value() -> None:
    """A string parameter takes a Secret; what XML cannot carry is refused without showing it."""
    assert encode_string(Secret("7T:abc")) == "7T:abc"
    with pytest.raises(ValueError, match=r"holds U\+0000 at index 3") as caught:
        encode_string(Secret("abc\x00"))
    assert "abc" not in str(caught.value)


OFFSETS = st.timedeltas(timedelta(hours=-24, microseconds=1), timedelta(hours=24, microseconds=-1))


@pytest.mark.parametrize(
    ("scalar", "value", "text"),
    [
        (STRING, Markup("a & b"), "a & b"),
        (STRING, Secret(Markup("a & b")), "a & b"),
        (INT, Injector(7), "7"),
        (SHORT, Injector(-7), "-7"),
        (DATE_TIME, Moment(2024, 2, 29, 12, 30, tzinfo=UTC), "2024-02-29T12:30:00Z"),
    ],
)
def test_a_subclass_is_written_by_its_plain_value(scalar: Scalar[Any], value: object, text: str) -> None:
    """Methods that a subclass of str, int or datetime overrides have no say in what is written."""
    written = scalar.encode(value)
    assert written == text
    assert type(written) is str
    assert escape_text(Markup("<&>")) == "&lt;&amp;&gt;"
    with pytest.raises(ValueError, match="must lie between"):
        SHORT.encode(Injector(10**6))


@pytest.mark.parametrize(
    ("text", "length"), [("", 0), ("abc", 3), ("æøå", 3), ("€", 1), ("\U0001f680", 2), ("a\U0001f680\uffff", 4)]
)
def test_lengths_are_counted_in_utf16(text: str, length: int) -> None:
    """A character outside of the basic plane counts twice, as it does in the server's database."""
    assert utf16_length(text) == length == len(text.encode("utf-16-le")) // 2


@given(
    st.datetimes(timezones=OFFSETS.map(timezone)).map(lambda value: value.replace(tzinfo=None)), st.integers(-840, 840)
)
@example(datetime.min, 1)  # noqa: DTZ901 - naive is what is meant
@example(datetime.min + timedelta(minutes=1), 1)  # noqa: DTZ901
@example(datetime.max, -1)  # noqa: DTZ901
def test_no_moment_that_is_read_explodes_later(value: datetime, minutes: int) -> None:
    """Whatever a server writes, the value can be turned into UTC, compared and formatted."""
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    read = DATE_TIME.decode(f"{value.isoformat()}{offset}")
    if read is not None:
        assert read.astimezone(UTC) == read


TEXTS = st.text(st.characters().filter(lambda character: not ILLEGAL_CHARACTER.match(character)))
NEARLY = st.text("0123456789+-:.TZ=AP \n_e") | st.from_regex(
    r"[0-2][09]{2}[0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6]0(\.[0-9]{0,8})?(Z|[+-][01][0-9]:[0-6]0)?"
)
DATE_TIMES = st.datetimes(timezones=st.none() | OFFSETS.map(timezone))


@pytest.mark.parametrize(
    ("scalar", "values"),
    [
        pytest.param(INT, st.integers(-(2**31), 2**31 - 1), id="int"),
        pytest.param(SHORT, st.integers(-(2**15), 2**15 - 1), id="short"),
        pytest.param(BOOLEAN, st.booleans(), id="boolean"),
        pytest.param(STRING, TEXTS, id="string"),
        pytest.param(BASE64, st.binary(), id="base64Binary"),
    ],
)
@given(data=st.data())
def test_decode_undoes_encode(scalar: Scalar[Any], values: st.SearchStrategy[object], data: st.DataObject) -> None:
    """What is written is read back as the same value of the same type."""
    value = data.draw(values)
    read = scalar.decode(scalar.encode(value))
    assert read == value
    assert type(read) is type(value)


@given(DATE_TIMES)
def test_decode_undoes_encode_for_date_times(value: datetime) -> None:
    """A dateTime is read back as the same time to the microsecond, naive or aware as it was; or refused on writing."""
    try:
        text = DATE_TIME.encode(value)
    except ValueError:
        assert not value.utcoffset() or not has_utc(value)
        assert value.replace(tzinfo=None) - NEVER <= timedelta(days=1) or value.year == 9999
        return
    read = DATE_TIME.decode(text)
    assert read == value
    assert (read.tzinfo is None) is (value.tzinfo is None)


@given(st.text() | NEARLY, st.sampled_from([INT, SHORT, BOOLEAN, DATE_TIME, BASE64]))
def test_reading_arbitrary_text_raises_nothing_but_value_error(text: str, scalar: Scalar[Any]) -> None:
    """Whatever stands in an element, reading it raises ValueError or gives a value that can be written again."""
    try:
        value = scalar.decode(text)
    except ValueError:
        return
    if value is not None:
        assert scalar.decode(scalar.encode(value)) == value
