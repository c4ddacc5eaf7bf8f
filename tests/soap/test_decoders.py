"""Elements to values: what is tolerated, what is told of, and what is refused with its path."""

from typing import Any

import pytest
from lxml import etree

from soapbatch.model.batch import ARRAY_OF_BATCH_TASK_INFO, BATCH_TASK_INFO, BatchTaskInfo
from soapbatch.model.headers import EXCEPTION_INFO, ExceptionInfo
from soapbatch.model.principal import SYSTEM_INFO, DSAParameters
from soapbatch.model.schema import ARRAY_OF_INT, ARRAY_OF_STRING, STRING_DICTIONARY, WireType
from soapbatch.model.xsd import INT, STRING
from soapbatch.soap.decoders import BadValue, UnknownItem, decoder_for
from tests.support.envelopes import TNS, XSI

ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
CRYPTOGRAPHY = "http://schemas.datacontract.org/2004/07/System.Security.Cryptography"


def read(type_: WireType, content: str) -> tuple[Any, list[UnknownItem]]:
    """Return the value of an element with this content, and what in it was not known."""
    element = etree.fromstring(
        f'<x xmlns="{TNS}" xmlns:a="{ARRAYS}" xmlns:c="{CRYPTOGRAPHY}" xmlns:i="{XSI}">{content}</x>'
    )
    told: list[UnknownItem] = []
    return decoder_for(type_, TNS)(element, told.append), told


@pytest.mark.parametrize(
    ("type_", "content", "value"),
    [
        pytest.param(INT, " 42 ", 42, id="int"),
        pytest.param(STRING, "", "", id="empty string"),
        pytest.param(STRING, "  ", "  ", id="blank string"),
        pytest.param(BATCH_TASK_INFO, "", BatchTaskInfo(), id="empty record"),
        pytest.param(BATCH_TASK_INFO, "<Name/>", BatchTaskInfo(name=""), id="empty field"),
        pytest.param(BATCH_TASK_INFO, '<Name i:nil="true"/>', BatchTaskInfo(), id="nil field"),
        pytest.param(BATCH_TASK_INFO, '<Name i:nil=" 1 "></Name>', BatchTaskInfo(), id="nil with white space"),
        pytest.param(BATCH_TASK_INFO, '<Name i:nil="true">\n </Name>', BatchTaskInfo(), id="nil around white space"),
        pytest.param(BATCH_TASK_INFO, '<Id i:nil="1">\t</Id>', BatchTaskInfo(), id="nil number around white space"),
        pytest.param(BATCH_TASK_INFO, '<Created i:nil="1">\r\n</Created>', BatchTaskInfo(), id="nil time, line end"),
        pytest.param(BATCH_TASK_INFO, '<State i:nil="1"> </State>', BatchTaskInfo(), id="nil state around a blank"),
        pytest.param(
            BATCH_TASK_INFO, '<ParameterObject i:nil="1">\n</ParameterObject>', BatchTaskInfo(), id="nil pairs"
        ),
        pytest.param(
            BATCH_TASK_INFO,
            '<ParameterObject i:nil="1">\n<P><Key>k</Key></P></ParameterObject>',
            BatchTaskInfo(parameter_object={"k": None}),
            id="nil with pairs in it",
        ),
        pytest.param(BATCH_TASK_INFO, "<Name> </Name>", BatchTaskInfo(name=" "), id="white space that is a value"),
        pytest.param(BATCH_TASK_INFO, '<Name i:nil="1">\xa0</Name>', BatchTaskInfo(name="\xa0"), id="nil, NBSP"),
        pytest.param(BATCH_TASK_INFO, '<Name i:nil="false"/>', BatchTaskInfo(name=""), id="nil=false"),
        pytest.param(BATCH_TASK_INFO, '<Name i:nil="true">x</Name>', BatchTaskInfo(name="x"), id="nil with a text"),
        pytest.param(BATCH_TASK_INFO, "<State>Paused</State>", BatchTaskInfo(state="Paused"), id="unknown state"),
        pytest.param(BATCH_TASK_INFO, "<Created>0001-01-01T00:00:00</Created>", BatchTaskInfo(), id="never"),
        pytest.param(BATCH_TASK_INFO, '<Name xmlns="">x</Name>', BatchTaskInfo(name="x"), id="no namespace"),
        pytest.param(
            BATCH_TASK_INFO, "<Name>1</Name><Name>2</Name>", BatchTaskInfo(name="2"), id="the last one counts"
        ),
        pytest.param(ARRAY_OF_INT, "<a:int>1</a:int> <a:int>-2</a:int>", (1, -2), id="ints"),
        pytest.param(ARRAY_OF_STRING, "<a:string/><a:string>x</a:string>", ("", "x"), id="strings"),
        pytest.param(ARRAY_OF_INT, "", (), id="no ints"),
        pytest.param(STRING_DICTIONARY, "", {}, id="no pairs"),
        pytest.param(
            STRING_DICTIONARY,
            '<P><Value>1</Value><Key>a</Key></P><P><Key>b</Key><Value i:nil="true"/></P>'
            '<P><Key/><Value/></P><P><Key>c</Key></P><P><Key>d</Key><Value i:nil="true">\n</Value></P>',
            {"a": "1", "b": None, "": "", "c": None, "d": None},
            id="pairs",
        ),
        pytest.param(
            EXCEPTION_INFO,
            "<InnerException><InnerException><Message>m</Message></InnerException></InnerException>",
            ExceptionInfo(inner_exception=ExceptionInfo(inner_exception=ExceptionInfo(message="m"))),
            id="recursion",
        ),
    ],
)
def test_values(type_: WireType, content: str, value: object) -> None:
    """Each wire type is read leniently where servers differ."""
    assert read(type_, content)[0] == value


def test_a_field_of_another_namespace() -> None:
    """Fields that live in a namespace of their own are found there."""
    content = "<License><PublicKey><Key><c:G>AQAB</c:G><c:Counter>2</c:Counter></Key></PublicKey></License>"
    info, told = read(SYSTEM_INFO, content)
    assert info.license.public_key.key == DSAParameters(counter=2, g=b"\1\0\1")
    assert told == []


@pytest.mark.parametrize(
    ("type_", "content", "told"),
    [
        pytest.param(BATCH_TASK_INFO, "<X/>", UnknownItem("element", "X", "BatchTaskInfo"), id="element"),
        pytest.param(
            BATCH_TASK_INFO, '<Name xmlns="urn:o"/>', UnknownItem("element", "Name", "BatchTaskInfo"), id="namespace"
        ),
        pytest.param(BATCH_TASK_INFO, "<State/>", UnknownItem("value", "", "BatchTaskState"), id="empty value"),
        pytest.param(BATCH_TASK_INFO, "<State>A B</State>", UnknownItem("value", "A B", "BatchTaskState"), id="flags"),
        pytest.param(
            ARRAY_OF_INT, "<int>1</int>", UnknownItem("element", "int", "ArrayOfint"), id="item of another namespace"
        ),
        pytest.param(
            ARRAY_OF_INT, '<a:int i:nil="true"/>', UnknownItem("nil item", "int", "ArrayOfint"), id="nil item"
        ),
        pytest.param(STRING_DICTIONARY, "<P><Key>k</Key><X/></P>", UnknownItem("element", "X", "P"), id="in a pair"),
        pytest.param(
            STRING_DICTIONARY, "<P><Value>v</Value></P>", UnknownItem("nil item", "P", "x"), id="pair without key"
        ),
    ],
)
def test_what_is_not_known_is_told_of(type_: WireType, content: str, told: UnknownItem) -> None:
    """Each thing that is passed over is reported once, with its name and where it stood."""
    assert read(type_, content)[1] == [told]


def test_elements_of_the_base_type_are_expected() -> None:
    """TableRight and FieldProperties may come first in any carrier: they are passed over in silence."""
    content = "<TableRight><Mask>Select</Mask></TableRight><FieldProperties/><Id>1</Id>"
    assert read(BATCH_TASK_INFO, content) == (BatchTaskInfo(id=1), [])


@pytest.mark.parametrize(
    ("type_", "content", "path", "reason"),
    [
        pytest.param(BATCH_TASK_INFO, "<Id/>", "Id", "not a valid int", id="empty int"),
        pytest.param(BATCH_TASK_INFO, "<Id>2147483648</Id>", "Id", "outside the range of int", id="range"),
        pytest.param(BATCH_TASK_INFO, "<Name>a<b/></Name>", "Name", "elements where a text belongs", id="element"),
        pytest.param(BATCH_TASK_INFO, "<State><b/></State>", "State", "elements where a text belongs", id="in a state"),
        pytest.param(
            BATCH_TASK_INFO,
            "<ParameterObject><P><Key>k</Key><Value><b/></Value></P></ParameterObject>",
            "ParameterObject",
            "elements where a text belongs",
            id="in a dictionary",
        ),
        pytest.param(ARRAY_OF_INT, "<a:int>1</a:int><a:int>x</a:int>", "[1]", "not a valid int", id="item"),
        pytest.param(
            ARRAY_OF_BATCH_TASK_INFO,
            "<BatchTaskInfo/><BatchTaskInfo><Id>x</Id></BatchTaskInfo>",
            "[1].Id",
            "not a valid int",
            id="field of an item",
        ),
        pytest.param(
            SYSTEM_INFO,
            "<License><ModuleLicenses><ModuleLicense><SortOrder>x</SortOrder></ModuleLicense></ModuleLicenses></License>",
            "License.ModuleLicenses[0].SortOrder",
            "not a valid int",
            id="deep",
        ),
        pytest.param(
            SYSTEM_INFO,
            "<License><PublicKey><Key><c:G>A</c:G></Key></PublicKey></License>",
            "License.PublicKey.Key.G",
            "not base64Binary",
            id="base64",
        ),
    ],
)
def test_a_bad_value_has_a_path(type_: WireType, content: str, path: str, reason: str) -> None:
    """A value that is not of its type is refused with the path of its element, and without the value."""
    with pytest.raises(BadValue) as caught:
        read(type_, content)
    assert caught.value.path == path
    assert reason in caught.value.reason
