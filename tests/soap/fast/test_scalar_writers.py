"""Quick writers write what the general ones would, and leave to those whatever is not plainly fine."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from soapbatch.model.batch import BATCH_TASK_INFO, BATCH_TASK_STATE, BatchTaskState
from soapbatch.model.schema import Field, WireType
from soapbatch.model.secret import Secret
from soapbatch.model.services import ServiceVersion
from soapbatch.model.xsd import BASE64, BOOLEAN, DATE_TIME, INT, SHORT, STRING, escape_text
from soapbatch.soap.fast.scalar_writers import fast_writer

CREATED = datetime(2024, 2, 29, 12, 30, 5, 123456, UTC)
GENERAL = "left to the general writer"


def written(row: Field, value: object, version: ServiceVersion = ServiceVersion.V88) -> str:
    """Return what a quick writer makes of `value`, between brackets."""
    return fast_writer(row, version, "[", "]", lambda _: GENERAL)(value)


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        pytest.param(STRING, "", "[]", id="empty"),
        pytest.param(STRING, "æ\t\n漢 😀", "[æ\t\n漢 😀]", id="text"),
        pytest.param(INT, 0, "[0]", id="zero"),
        pytest.param(INT, -(2**31), "[-2147483648]", id="lowest int"),
        pytest.param(INT, 2**31 - 1, "[2147483647]", id="highest int"),
        pytest.param(SHORT, -(2**15), "[-32768]", id="lowest short"),
        pytest.param(SHORT, 2**15 - 1, "[32767]", id="highest short"),
        pytest.param(BOOLEAN, True, "[true]", id="true"),
        pytest.param(BOOLEAN, False, "[false]", id="false"),
        pytest.param(DATE_TIME, CREATED, "[2024-02-29T12:30:05.123456Z]", id="moment"),
        pytest.param(DATE_TIME, datetime(2, 1, 1, tzinfo=UTC), "[0002-01-01T00:00:00Z]", id="early moment"),
    ],
)
def test_common_values(type_: WireType, value: object, text: str) -> None:
    """A value of exactly the right type, in range, with nothing to escape, is written at once."""
    assert written(Field("Name", type_), value) == text


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        *(
            pytest.param(STRING, f"a{character}b", id=f"U+{ord(character):04X}")
            for character in "&<>\r\0\x0b\x1f\uffff"
        ),
        pytest.param(STRING, "\ud800", id="surrogate"),
        pytest.param(STRING, Secret("x"), id="secret"),
        pytest.param(STRING, BatchTaskState.NEW, id="subclass of str"),
        pytest.param(STRING, 1, id="no text"),
        pytest.param(INT, 2**31, id="above int"),
        pytest.param(INT, -(2**31) - 1, id="below int"),
        pytest.param(SHORT, 2**15, id="above short"),
        pytest.param(INT, True, id="a bool is no int"),
        pytest.param(BOOLEAN, 1, id="an int is no bool"),
        pytest.param(DATE_TIME, CREATED.replace(tzinfo=None), id="no zone"),
        pytest.param(DATE_TIME, CREATED.astimezone(timezone(timedelta(hours=1))), id="another zone"),
        pytest.param(DATE_TIME, datetime(1, 1, 1, tzinfo=UTC), id="may mean never"),
        pytest.param(DATE_TIME, CREATED.date(), id="no moment"),
        pytest.param(BATCH_TASK_STATE, "Paused", id="unknown value"),
        pytest.param(BATCH_TASK_STATE, ["New"], id="not hashable"),
        pytest.param(BASE64, b"", id="another type"),
    ],
)
def test_whatever_is_not_common(type_: WireType, value: object) -> None:
    """The rest is left to the general writer."""
    assert written(Field("Name", type_), value) == GENERAL


@pytest.mark.parametrize(
    ("name", "value", "version", "is_quick"),
    [
        pytest.param("Description", "x" * 254, 88, True, id="as long as can be"),
        pytest.param("Description", "x" * 255, 88, False, id="too long"),
        pytest.param("Description", "æ", 88, False, id="counted in UTF-16"),
        pytest.param("Name", "æ" * 300, 88, True, id="any length"),
        pytest.param("ProgressPercent", 100, 88, True, id="100 %"),
        pytest.param("ProgressPercent", 101, 88, False, id="above 100 %"),
        pytest.param("ProgressPercent", -1, 88, False, id="below 0 %"),
        pytest.param("FileName", "x", 88, True, id="known field"),
        pytest.param("FileName", "x", 87, False, id="later field"),
    ],
)
def test_the_rules_of_a_row(name: str, value: object, version: int, is_quick: bool) -> None:  # noqa: FBT001 - a column
    """What breaks a rule of its row is left to the general writer, which knows the rule."""
    row = next(row for row in BATCH_TASK_INFO.fields if row.name == name)
    assert (written(row, value, ServiceVersion(version)) != GENERAL) is is_quick


def test_members_are_written_once() -> None:
    """Each value of an enumeration that the version knows is written when the writer is made, and only then."""
    asked: list[Any] = []

    def general(value: Any) -> str:
        asked.append(value)
        return f"<{value}>"

    write = fast_writer(Field("State", BATCH_TASK_STATE), ServiceVersion.V75, "[", "]", general)
    assert asked == [state for state in BatchTaskState if state is not BatchTaskState.SUCCEEDED_MANUAL_CLEANUP]
    assert (write(BatchTaskState.ACQUIRED), write("Aquired")) == ("<Aquired>", "<Aquired>")
    assert asked[-1] == "Aquired"
    assert len(asked) == len(BatchTaskState)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("a b", "a b", id="nothing to escape"),
        pytest.param("&<>\r\"'", "&amp;&lt;&gt;&#13;\"'", id="as lxml does"),
        pytest.param(Secret("a&b"), "a&amp;b", id="secret"),
    ],
)
def test_text(value: Secret | str, text: str) -> None:
    """A string is escaped as lxml escapes a text."""
    assert escape_text(value) == text


def test_text_that_xml_cannot_carry() -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="U\\+0000"):
        escape_text("\0")
