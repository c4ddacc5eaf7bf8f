"""The fast path for list items and its plain twin: the same bytes, with and without it, say the same."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any
from unittest import mock

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from soapbatch.errors import LimitExceeded, UnreadableResponse
from soapbatch.model.batch import BatchTaskInfo, BatchTaskState
from soapbatch.model.limits import Limits
from soapbatch.model.schema import Array
from soapbatch.model.services import Binding, ServiceVersion
from soapbatch.model.xsd import INT
from soapbatch.operations import OPERATIONS
from soapbatch.soap import fast
from soapbatch.soap.builder import build_response
from soapbatch.soap.decoders import UnknownItem
from soapbatch.soap.fast.item_pattern import ItemPattern
from soapbatch.soap.parser import ResponseParser
from tests.conftest import REPOSITORY
from tests.support.envelopes import TNS, XSI, task_list
from tests.support.strategies import values

pytestmark = pytest.mark.skipif(not fast.IS_ON, reason="SOAPBATCH_FAST=off: soapbatch.soap.fast is not used")

V88 = ServiceVersion.V88
LIST = OPERATIONS["GetBatchTaskInfosByState"]
SIZES = (1, 150, 700, 10**6)
BYTE_BY_BYTE = 1200  # of a long list: half an item or several, with all the places that they can be cut at
PLAIN = (
    "<BatchTaskInfo><Id>1</Id><Name>a</Name><ParameterObject><P><Key>k</Key><Value>v</Value></P><P><Key>n</Key>"
    '<Value i:nil="true"/></P></ParameterObject><State>Started</State><Description>d</Description>'
    '<FileName i:nil="true"/></BatchTaskInfo>'
)


def pieces(body: bytes, size: int) -> list[bytes]:
    """Return `body` cut into pieces of a size."""
    return [body[start : start + size] for start in range(0, len(body), size)]


def said(chunks: Iterable[bytes], limits: Limits | None = None, *, collect: bool = False) -> tuple[Any, ...]:
    """Return all that a parser says of a list: items by piece, what it told of, what it found wrong."""
    told: list[UnknownItem] = []
    parser = ResponseParser(LIST, V88, limits=limits or Limits(), on_unknown=told.append, collect=collect)
    found = [parser.feed(chunk) for chunk in chunks]
    reply = parser.close()
    problem = reply.problem
    # What lxml says of it depends on how much of it lxml sees at once.
    message = re.sub(
        r"(?s)(not well-formed XML|before its envelope does): .*", r"\1", problem.message if problem else "None"
    )
    if problem is not None:
        # References to forbidden characters are reported as bytes arrive: how many of a response that cannot be read
        # depends on how far it was looked at.
        told = [unknown for unknown in told if unknown.kind != "character"]
    # For the same reason they come earlier or later among the others, depending on the pieces.
    told.sort(key=lambda unknown: unknown.kind == "character")
    return found, reply.result, told, reply.header, problem and problem.kind, message


def twins(chunks: list[bytes]) -> tuple[Any, ...]:
    """Return what a parser says of a list, once all its ways to read one have said the same."""
    streamed = streamed_twins(chunks)
    collected = said(chunks, collect=True)
    with mock.patch("soapbatch.soap.fast.short_response._SHORT", -1):
        assert said(chunks, collect=True) == collected
        with mock.patch.object(ItemPattern, "should_try", new=False):
            assert said(chunks, collect=True) == collected
    return streamed


def streamed_twins(chunks: list[bytes]) -> tuple[Any, ...]:
    """Return what a parser says of a list that it streams, once it has said the same without the fast path."""
    streamed = said(chunks)
    with mock.patch.object(ItemPattern, "should_try", new=False):
        assert said(chunks) == streamed
    return streamed


def taken(chunks: Iterable[bytes]) -> int:
    """Return how many items of a list take the fast path: those that lxml made no element of."""
    with mock.patch.object(
        ResponseParser, "_handle_item", autospec=True, side_effect=ResponseParser._handle_item
    ) as handled:
        found = said(chunks)[0]
    return sum(map(len, found)) - handled.call_count


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("size", [2500, 10**6])
def test_most_items_take_the_fast_path(binding: Binding, size: int) -> None:
    """Of a list of tasks with the same members, whatever stands in them, lxml reads the first two and a chunk's."""
    tasks = [
        BatchTaskInfo(
            id=number, name=f"<{number}> & æ\n", parameter_object={str(pair): "" for pair in range(number % 3)}
        )
        for number in range(3000)
    ]
    chunks = pieces(build_response(LIST, tasks, version=V88, binding=binding), size)
    assert [task for found in twins(chunks)[0] for task in found] == tasks
    assert taken(chunks) > 2400


class Leaf:
    """One member of an item that holds a text, to be written in another way."""

    def __init__(self, item: str, index: int) -> None:
        """Take the member at `index`, modulo how many there are."""
        leaves = list(re.finditer(r"<((?:(\w+):)?\w+)((?: [^<>]*)?)>([^<]*)</\1>", item))
        leaf = leaves[index % len(leaves)]
        self.name, self.prefix, self.attributes, self.text = leaf[1], leaf[2], leaf[3], leaf[4]
        self.before, self.after = item[: leaf.start()], item[leaf.end() :]

    def spelled(self, text: str | None = None, *, attributes: str = "", end: str = "") -> str:
        """Return the item with this text in the member, more attributes, and something in its end tag."""
        text = self.text if text is None else text
        return self.put(f"<{self.name}{self.attributes}{attributes}>{text}</{self.name}{end}>")

    def empty(self, attributes: str = "") -> str:
        """Return the item with an empty tag for the member."""
        return self.put(f"<{self.name}{attributes}/>")

    def put(self, markup: str) -> str:
        """Return the item with something else in the place of the member."""
        return self.before + markup + self.after

    @property
    def markup(self) -> str:
        """The member as it is."""
        return f"<{self.name}{self.attributes}>{self.text}</{self.name}>"


TEXTS = {
    "empty": "",
    "blank": " \n\t",
    "padded": " 7 ",
    "text": "text",
    "number": "7",
    "negative": "-7",
    "too large": "99999999999",
    "boolean": "true",
    "time": "2024-02-29T12:30:05.1234567Z",
    "never": "0001-01-01T00:00:00",
    "no such time": "2023-02-29T12:30:05",
    "state": "Stopped",
    "unknown value": "Paused",
    "named references": "&lt;&gt;&amp;&quot;&apos;",
    "escaped references": "&amp;lt;&amp;amp;#65;",
    "decimal reference": "&#48;&#0000049;&#1114111;",
    "hex reference": "&#x30;&#x000031;&#x10FFFF;&#xaF;",
    "reference to CR": "&#13;&#xD;&#10;",
    "long reference": "&#000000000000000049;",
    "huge reference": "&#x" + "F" * 50 + ";",
    "huger reference": "&#" + "9" * 5000 + ";",
    "reference above Unicode": "&#x110000;",
    "reference to NUL": "&#0;",
    "reference to a control character": "&#x1;",
    "reference to a surrogate": "&#xD800;",
    "reference to U+FFFE": "&#xFFFE;",
    "capital X": "&#X41;",
    "no digits": "&#;",
    "no hex digits": "&#x;",
    "hex digits in decimal": "&#4A;",
    "underscore": "&#4_9;",
    "sign": "&#+49;",
    "blank in reference": "&# 49;",
    "Arabic digits": "&#\u0664\u0669;",
    "unknown entity": "&nbsp;",
    "capital entity": "&LT;",
    "lone ampersand": "a & b",
    "ampersand at the end": "a&",
    "reference without end": "&lt",
    "number without end": "&#65",
    "reference in reference": "&am&lt;p;",
    "CR": "a\rb",
    "CRLF": "a\r\nb",
    "NUL": "a\0b",
    "NUL and ampersand": "\0&amp;",
    "control character": "\x1f",
    "DEL and C1": "\x7f\x85\x9f",
    "line separator": "a\u2028b\u00a0",
    "U+FFFE": "\ufffe",
    "U+FFFF": "\uffff",
    "U+1FFFE": "\U0001fffe",
    "BOM": "\ufeff",
    "four bytes": "\U0001f600",
    "no UTF-8": "\udcff",
    "overlong": "\udcc0\udcbc",
    "truncated": "\udce2\udc82",
    "surrogate": "\udced\udca0\udc80",
    "above Unicode": "\udcf4\udc90\udc80\udc80",
    "CDATA end": "a]]>b",
    "greater than": "a>b--> ?> ]] >",
    "CDATA": "<![CDATA[t]]>",
    "CDATA amid": "a<![CDATA[&lt;<b>]]>c",
    "CDATA that looks like an item": "<![CDATA[</BatchTaskInfo><BatchTaskInfo><Id>9</Id></BatchTaskInfo>]]>",
    "comment": "a<!-- c -->b",
    "comment that looks like an item": "<!-- </BatchTaskInfo><BatchTaskInfo><Id>9</Id></BatchTaskInfo> -->",
    "comment that looks like the start": "--&gt;<!-- <BatchTaskInfo><Name>-->",
    "instruction": "a<?p i?>b",
    "instruction that looks like an end": "<?p </BatchTaskInfo>?>",
    "element": "a<b/>c",
    "element within": "<b>c</b>",
    "lone bracket": "a<b",
    "DOCTYPE": '<!DOCTYPE x [<!ENTITY e "e">]>&e;',
}
ATTRIBUTES = {
    "attribute": ' a="b"',
    "single quotes": " a='b\"'",
    "greater than": ' a=">"',
    "closing": ' a="/>"',
    "end tag": ' a="</BatchTaskInfo>"',
    "lines": '\n a\n=\t"b"\n',
    "CR": ' a="b"\r\n',
    "reference": ' a="&lt;&#65;"',
    "bad reference": ' a="&nbsp;"',
    "twice": ' a="1" a="1"',
    "nil": ' i:nil="true"',
    "nil, 1": ' i:nil=" 1 "',
    "not nil": ' i:nil="false"',
    "nil of nothing": ' nil="true"',
    "nil, own prefix": f' xmlns:own="{XSI}" own:nil="true"',
    "nil, prefix redeclared": ' xmlns:i="urn:other" i:nil="true"',
    "undeclared prefix": ' nowhere:nil="true"',
    "declaration": ' xmlns:zz="urn:zz"',
    "other namespace": ' xmlns="urn:other" xmlns:Batch="urn:other"',
    "no namespace": ' xmlns=""',
    "same namespace": f' xmlns="{TNS}" xmlns:Batch="{TNS}"',
    "space": ' xml:space="preserve"',
    "id": ' xml:id="same"',
    "bad id": ' xml:id="1 2"',
    "odd name": ' a\u1680b="c"',
}
NIL = ' i:nil="true"'
Mutation = Callable[[str, int], str]
ITEM = re.compile(r"<(?:\w+:)?BatchTaskInfo(?: [^<>]*)?>.*?</(?:\w+:)?BatchTaskInfo>", re.DOTALL)
FIRST_PAIR = re.compile(
    r"(?s)(<(?:\w+:)?Key[^>]*>)(.*?)(</(?:\w+:)?Key>)(\s*)(<(?:\w+:)?Value[^>]*>)(.*?)(</(?:\w+:)?Value>)"
)


def in_pair(replacement: str) -> Mutation:
    """Return a mutation of the first pair that has a value."""
    return lambda item, _: FIRST_PAIR.sub(replacement, item, count=1)


def with_start(change: Callable[[str], str]) -> Mutation:
    """Return a mutation of an item's start tag."""
    return lambda item, _: re.sub(r"^<[^<>]*>", lambda tag: change(tag[0]), item)


def own_prefix(item: str, _: int) -> str:
    """Write an item with a prefix that it declares itself."""
    bare = re.sub(r"<(/?)(?:\w+:)?(\w+)", r"<\1own:\2", item)
    return bare.replace("<own:BatchTaskInfo", f'<own:BatchTaskInfo xmlns:own="{TNS}"', 1)


def borrowed_prefix(item: str, index: int) -> str:
    """Write one member with the prefix that another item has declared, and this one has not."""
    leaf = Leaf(item, index)
    name = leaf.name.rpartition(":")[2]
    return leaf.put(f"<own:{name}>{leaf.text}</own:{name}>")


MUTATIONS: dict[str, Mutation] = {
    **{f"text: {name}": (lambda item, n, text=text: Leaf(item, n).spelled(text)) for name, text in TEXTS.items()},  # type: ignore[misc]
    **{f"member: {name}": (lambda item, n, a=a: Leaf(item, n).spelled(attributes=a)) for name, a in ATTRIBUTES.items()},  # type: ignore[misc]
    **{f"empty tag: {name}": (lambda item, n, a=a: Leaf(item, n).empty(a)) for name, a in ATTRIBUTES.items()},  # type: ignore[misc]
    **{f"item: {name}": with_start(lambda tag, a=a: f"{tag[:-1]}{a}>") for name, a in ATTRIBUTES.items()},  # type: ignore[misc]
    **{
        f"nil item: {name}": (lambda item, _, a=a: re.match(r"<[^ >]*", item)[0] + f"{a}/>")  # type: ignore[misc,index]
        for name, a in ATTRIBUTES.items()
    },
    "unchanged": lambda item, _: item,
    "self-closed": lambda item, n: Leaf(item, n).empty(),
    "self-closed with blanks": lambda item, n: Leaf(item, n).empty(" \n"),
    "nil with end tag": lambda item, n: Leaf(item, n).spelled("", attributes=NIL),
    "nil with text": lambda item, n: Leaf(item, n).spelled("x", attributes=NIL),
    "nil with blanks": lambda item, n: Leaf(item, n).spelled(" ", attributes=NIL),
    "nil with an element": lambda item, n: Leaf(item, n).spelled("<x/>", attributes=NIL),
    "nil with a comment": lambda item, n: Leaf(item, n).spelled("<!-- -->", attributes=NIL),
    "absent": lambda item, n: Leaf(item, n).put(""),
    "twice": lambda item, n: Leaf(item, n).put(Leaf(item, n).markup * 2),
    "twice, other text": lambda item, n: Leaf(item, n).put(Leaf(item, n).markup + Leaf(item, n).empty()),
    "blank in end tag": lambda item, n: Leaf(item, n).spelled(end=" \n"),
    "CR in end tag": lambda item, n: Leaf(item, n).spelled(end="\r"),
    "text before": lambda item, n: Leaf(item, n).put("text" + Leaf(item, n).markup),
    "text behind": lambda item, n: Leaf(item, n).put(Leaf(item, n).markup + "&amp;"),
    "CR before": lambda item, n: Leaf(item, n).put("\r\n" + Leaf(item, n).markup),
    "comment before": lambda item, n: Leaf(item, n).put("<!-- <BatchTaskInfo> -->" + Leaf(item, n).markup),
    "unknown": lambda item, n: Leaf(item, n).put("<Unknown>x</Unknown>" + Leaf(item, n).markup),
    "unknown, empty": lambda item, n: Leaf(item, n).put("<Unknown/>" + Leaf(item, n).markup),
    "unknown, nil": lambda item, n: Leaf(item, n).put(f"<Unknown{NIL}/>" + Leaf(item, n).markup),
    "base type": lambda item, n: Leaf(item, n).put(f"<TableRight{NIL}/>" + Leaf(item, n).markup),
    "base type, filled": lambda item, n: Leaf(item, n).put("<TableRight>x</TableRight>" + Leaf(item, n).markup),
    "inner item": lambda item, n: Leaf(item, n).put("<BatchTaskInfo><Id>9</Id></BatchTaskInfo>" + Leaf(item, n).markup),
    "inner empty item": lambda item, n: Leaf(item, n).put("<BatchTaskInfo/>" + Leaf(item, n).markup),
    "unbalanced": lambda item, n: Leaf(item, n).put(f"<{Leaf(item, n).name}>"),
    "lone end tag": lambda item, n: Leaf(item, n).put(f"</{Leaf(item, n).name}>"),
    "order": lambda item, _: re.sub(r"(?s)(<(\w+:)?Id\b.*</(\w+:)?Id>)(.*)(</[^<]*>)$", r"\4\1\5", item),
    "pair: value first": in_pair(r"\5\6\7\4\1\2\3"),
    "pair: value first, both alike": in_pair(r"\5same\7\4\1same\3"),
    "pair: both alike": in_pair(r"\1same\3\4\5same\7"),
    "pair: nil value": in_pair(r'\1\2\3\4<Value i:nil="true"/>'),
    "pair: nil value, end tag": in_pair(r'\1\2\3\4<Value i:nil="true"></Value>'),
    "pair: nil value with text": in_pair(r'\1\2\3\4<Value i:nil="true">x</Value>'),
    "pair: empty value": in_pair(r"\1\2\3\4<Value/>"),
    "pair: no value": in_pair(r"\1\2\3\4"),
    "pair: no key": in_pair(r"\4\5\6\7"),
    "pair: nil key": in_pair(r"<Key i:nil='1'/>\4\5\6\7"),
    "pair: nil key, end tag": in_pair(r"<Key i:nil='1'></Key>\4\5\6\7"),
    "pair: nil key, text": in_pair(r"<Key i:nil='1'>x</Key>\4\5\6\7"),
    "pair: more": in_pair(r"\1\2\3\4\5\6\7<More/>"),
    "pair: other": in_pair(r"\1\2\3\4<Other/>"),
    "pair: text": in_pair(r"text\1\2\3text\4\5\6\7text"),
    "pair: element in key": in_pair(r"\1<x/>\3\4\5\6\7"),
    "pair: comment": in_pair(r"\1\2\3<!-- -->\4\5\6\7"),
    "pair: attributes": in_pair(r"<Key a='>'>\2</Key>\4\5\6\7"),
    "pair: same key": in_pair(r"\g<0></P><P>\1\2\3\4\5other\7"),
    "pairs: none": lambda item, _: re.sub(
        r"(?s)(<(?:\w+:)?ParameterObject[^>]*>).*(</(\w+:)?ParameterObject>)", r"\1\2", item
    ),
    "pairs: empty tag": lambda item, _: re.sub(
        r"(?s)<((?:\w+:)?ParameterObject).*</(\w+:)?ParameterObject>", r"<\1/>", item
    ),
    "pairs: nil": lambda item, _: re.sub(
        r"(?s)<((?:\w+:)?ParameterObject).*</(\w+:)?ParameterObject>", rf"<\1{NIL}/>", item
    ),
    "pairs: text": lambda item, _: re.sub(r"(<(?:\w+:)?ParameterObject[^>]*>)", r"\1text", item),
    "pairs: nil, filled": lambda item, _: re.sub(r"(<(?:\w+:)?ParameterObject[^>]*)>", rf"\1{NIL}>", item),
    "pairs: many forms": lambda item, _: re.sub(
        r"(<(?:\w+:)?ParameterObject[^>]*>)",
        r"\1" + "".join(f"<P><Key{' ' * n}>{n}</Key><Value>v</Value></P>" for n in range(6)),
        item,
    ),
    "own prefix": own_prefix,
    "borrowed prefix": borrowed_prefix,
    "cut short": lambda item, n: item[: n % len(item)],
    "no end": lambda item, _: item[: item.rindex("</")],
    "end tag only": lambda item, _: item[item.rindex("</") :],
    "item twice": lambda item, _: item * 2,
    "item in an unknown element": lambda item, _: f"<Unknown>{item}</Unknown>",
    "item behind an unknown element": lambda item, _: f"<Unknown/>{item}",
    "item behind text": lambda item, _: f"text{item}",
    "item behind blanks": lambda item, _: f" \n\t{item} ",
    "item behind CR": lambda item, _: f"\r\n{item}",
    "item behind a comment": lambda item, _: f"<!-- {item.replace('--', '')} -->{item}",
    "item behind a comment that begins one": lambda item, _: f"<!-- <BatchTaskInfo> -->{item}",
    "item in CDATA": lambda item, _: f"<![CDATA[{item}]]>",
    "item in an instruction": lambda item, _: f"<?x {item}?>",
    "blank in the item's end tag": lambda item, _: f"{item[:-1]} \n>",
    "item with a longer name": lambda item, _: f"{item[: item.rindex('>')]}X>",
    "empty item": lambda *_: "<BatchTaskInfo></BatchTaskInfo>",
    "end of the list": lambda item, _: f"</Response><Response>{item}",
    "end of the envelope": lambda item, _: f"</Response></x></y></z>{item}",
}


def mutated(items: list[str], changes: dict[int, tuple[Mutation, int]]) -> str:
    """Return the items with some of them changed."""
    return "".join(changes[n][0](item, changes[n][1]) if n in changes else item for n, item in enumerate(items))


def raw(text: str) -> bytes:
    """Return the bytes of a text in which lone surrogates stand for bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def enveloped(items: str) -> bytes:
    """Return a list that holds these items."""
    start, _, end = task_list("@").partition(b"@")
    return start + raw(items) + end


# Many changes do the same to an item whatever the index; each changed item is tried once.
CHANGED = {MUTATIONS[name](PLAIN, index): f"{index}-{name}" for name in MUTATIONS for index in (4, 2, 1)}


@pytest.mark.parametrize("item", [pytest.param(item, id=name) for item, name in CHANGED.items()])
def test_a_change_that_comes_again(item: str) -> None:
    """Whatever is unusual in an item, seen for the first time and again, reads as without the fast path."""
    items = [PLAIN] * 14
    for number in (3, 4, 5, 8, 9, 12):
        items[number] = item
    body = enveloped("".join(items))
    twins(pieces(body, 401))
    for size in (150, 10**6):
        streamed_twins(pieces(body, size))


CHANGES = st.tuples(st.sampled_from([*MUTATIONS.values()]), st.integers(0, 3000))


@settings(max_examples=400)
@given(first=CHANGES, second=CHANGES, size=st.integers(150, 900))
def test_a_change_after_another(first: tuple[Mutation, int], second: tuple[Mutation, int], size: int) -> None:
    """What is learnt of one way to write an item is not used for another."""
    changes = dict.fromkeys((2, 3), first) | dict.fromkeys((4, 5, 7), second)
    twins(pieces(enveloped(mutated([PLAIN] * 9, changes)), size))


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """Draw a list that the builder wrote and that somebody changed here and there."""
    task = values(LIST.result.item, V88)  # type: ignore[union-attr]  # the row is a list's
    tasks = draw(st.lists(task, min_size=1, max_size=6))
    alike = draw(st.lists(st.sampled_from(tasks), min_size=3, max_size=draw(st.sampled_from([12, 12, 60]))))
    body = build_response(LIST, alike, version=V88, binding=draw(st.sampled_from(Binding))).decode()
    if draw(st.booleans()):
        start = body.index(":Envelope") + len(":Envelope")
        body = f'{body[:start]} xmlns:i="{XSI}"{body[start:]}' if 'xmlns:i="' not in body else body
    places = [found.span() for found in ITEM.finditer(body)]
    few = draw(st.lists(CHANGES, max_size=3))
    changes = draw(st.dictionaries(st.integers(0, len(places) - 1), st.sampled_from(few), max_size=6)) if few else {}
    for number, (mutation, index) in sorted(changes.items(), reverse=True):
        start, end = places[number]
        if re.search(r">[^<]*</", body[start:end]):
            body = body[:start] + _changed(body[start:end], mutation, index) + body[end:]
    return raw(body)


def _changed(item: str, mutation: Mutation, index: int) -> str:
    """Return an item changed; as it was, if it has nothing that could be changed in this way."""
    try:
        return mutation(item, index)
    except ZeroDivisionError:  # no member with a text
        return item


@st.composite
def cut_lists(draw: st.DrawFn) -> list[bytes]:
    """Draw a list in pieces: of one size, cut anywhere, or with some bytes fed one by one."""
    body = draw(lists())
    size = draw(st.sampled_from([*SIZES, None]))
    if size is None:
        cuts = draw(st.lists(st.integers(0, 40_000), max_size=12))
        return [body[start:end] for start, end in pairwise(sorted({0, len(body), *(n for n in cuts if n < len(body))}))]
    if size == 1:
        start = draw(st.integers(0, max(0, len(body) - BYTE_BY_BYTE)))
        end = start + BYTE_BY_BYTE
        return [body[:start], *pieces(body[start:end], 1), body[end:]]
    return pieces(body, size)


@pytest.mark.slow
@settings(max_examples=150)
@given(chunks=cut_lists())
def test_twins(chunks: list[bytes]) -> None:
    """However a list is written and cut, it reads the same with the fast path and without."""
    twins(chunks)


@pytest.mark.slow
@given(data=st.data(), size=st.integers(300, 3000))
def test_items_of_one_server(data: st.DataObject, size: int) -> None:
    """Tasks with every member there or nil, with any texts, mostly take the fast path and read as without it."""
    task = values(LIST.result.item, V88)  # type: ignore[union-attr]  # the row is a list's
    tasks = data.draw(st.lists(task, min_size=3, max_size=10))
    body = build_response(LIST, tasks * 3, version=V88, binding=Binding.SOAP11).decode()
    names = ["Id", "Name", "Created", "State", "Description"]
    items: list[str] = []
    for item in ITEM.findall(body):
        members = {name: re.search(rf"(?s)<{name}>.*?</{name}>", item) for name in names}
        items.append("".join(found[0] if found else f"<{name}{NIL}/>" for name, found in members.items()))
    body = "".join(f"<BatchTaskInfo>{item}</BatchTaskInfo>" for item in items)
    twins(pieces(enveloped(body), size))


BINDINGS_OF_XSI = [
    pytest.param(f'xmlns:i="{XSI}"', id="meant"),
    pytest.param('xmlns:i="urn:other"', id="another namespace"),
    pytest.param(f'xmlns:i="{XSI}" xml:space="preserve"', id="with a reserved attribute"),
    pytest.param('xmlns=""', id="no default namespace"),
    pytest.param(f'xmlns="urn:other" xmlns:own="{TNS}"', id="another default namespace"),
]


@pytest.mark.parametrize("declaration", BINDINGS_OF_XSI)
@pytest.mark.parametrize("change", ["unchanged", "own prefix", "borrowed prefix", "nil item: nil", "empty tag: nil"])
def test_declarations_on_ancestors(declaration: str, change: str) -> None:
    """What a prefix means is what the list says it means, to the fast path too."""
    items = mutated([PLAIN] * 10, dict.fromkeys((2, 3, 4, 7, 8), (MUTATIONS[change], 1)))
    body = enveloped(items).replace(b"<Response>", f'<r:Response xmlns:r="{TNS}" {declaration}>'.encode(), 1)
    twins(pieces(body.replace(b"</Response></Get", b"</r:Response></Get"), 500))


# One item, of which the second half would be an item, had lxml not taken its start for something else.
HIDDEN = [
    ("<BatchTaskInfo><Name>--&gt;<!-- ", '<BatchTaskInfo xmlns="urn:other"><Name>--></Name></BatchTaskInfo>'),
    ("<BatchTaskInfo><Name>--&gt;<!-- ", '<BatchTaskInfo a="&nbsp;"><Name>--></Name></BatchTaskInfo>'),
    ("<BatchTaskInfo><Name>?&gt;<?p ", "<BatchTaskInfo a='1' a='1'><Name>?></Name></BatchTaskInfo>"),
    ("<BatchTaskInfo><Name><![CDATA[", "<BatchTaskInfo xmlns=''><Name>]]></Name></BatchTaskInfo>"),
]


@pytest.mark.parametrize(("start", "end"), HIDDEN)
@pytest.mark.parametrize("before", ["", "<BatchTaskInfo><Name>x</Name></BatchTaskInfo>" * 2])
def test_nothing_is_learnt_from_a_comment(start: str, end: str, before: str) -> None:
    """Bytes that lxml took for a comment, an instruction or CDATA do not become the markup of later items."""
    head, _, tail = task_list("@").partition(b"@")
    chunks = [head + raw(before + start), raw(end), raw(end), raw(end * 2), tail]
    twins(chunks)
    twins(pieces(b"".join(chunks), 60))
    assert taken(chunks) == 0


@pytest.mark.parametrize(
    ("learnt", "then"),
    [
        ("pair: value first, both alike", "pair: value first"),
        ("pair: both alike", "pair: value first"),
        ("pair: nil value with text", "pair: nil value, end tag"),
        ("pair: nil key, text", "pair: nil key, end tag"),
        ("nil with text", "nil with end tag"),
        ("nil with blanks", "nil with end tag"),
        ("nil with end tag", "nil with text"),
        ("pairs: nil", "pairs: nil, filled"),
        ("pairs: nil, filled", "pairs: nil"),
        ("twice", "twice, other text"),
    ],
)
def test_what_is_learnt_is_not_stretched(learnt: str, then: str) -> None:
    """Markup that reads one way by chance, with one text, is not taken to read that way with every text."""
    changes = dict.fromkeys((2, 3, 4), (MUTATIONS[learnt], 1)) | dict.fromkeys((5, 6, 8), (MUTATIONS[then], 1))
    for size in (150, 330, 700):
        twins(pieces(enveloped(mutated([PLAIN] * 10, changes)), size))


def test_a_prefix_is_not_lent_to_another_item() -> None:
    """A prefix that some items declare is unknown in those that do not, however alike they are otherwise."""
    one, other = (
        f'<BatchTaskInfo xmlns:{prefix}="{TNS}"><{prefix}:Name>x</{prefix}:Name></BatchTaskInfo>' for prefix in "pq"
    )
    mixed = other.replace("q:Name", "p:Name")
    body = one * 4 + other * 4 + mixed
    for size in (100, 250, 400):
        found, _, _, _, problem, _ = twins(pieces(enveloped(body), size))
        assert sum(map(len, found)) >= 8
        assert problem is UnreadableResponse


def test_a_text_does_not_become_markup() -> None:
    """Escaped markup in the texts of items that take the fast path stays text."""
    name = "</Name></BatchTaskInfo><BatchTaskInfo><Id>9</Id></BatchTaskInfo>&lt;&#60;\n]] >-->"
    body = build_response(LIST, [BatchTaskInfo(id=n, name=name) for n in range(30)], version=V88)
    chunks = pieces(body, 900)
    assert [task.name for found in twins(chunks)[0] for task in found] == [name] * 30
    assert taken(chunks) > 20


def test_an_unknown_value_is_told_of_each_time() -> None:
    """A state that this release does not know is kept as text and reported for each item that has it."""
    items = [PLAIN.replace("Started", state) for state in ("Started", "Started", "Paused", "Started", "Paused") * 3]
    found, _, told, *_ = twins(pieces(enveloped("".join(items)), 700))
    states = [task.state for tasks in found for task in tasks]
    assert states == [BatchTaskState.STARTED, BatchTaskState.STARTED, "Paused", BatchTaskState.STARTED, "Paused"] * 3
    assert told == [UnknownItem("value", "Paused", "BatchTaskState")] * 6


def test_a_server_with_too_many_shapes() -> None:
    """After 32 lessons that did not help, a list is left to lxml."""
    items = [f"<BatchTaskInfo a{number}='1'><Id>{number}</Id></BatchTaskInfo>" for number in range(100)]
    body = enveloped("".join(items) + PLAIN * 50)
    chunks = [body[:700], body[700:]]
    assert taken(chunks) == 0
    found = twins(chunks)[0]
    assert sum(map(len, found)) == 150


@pytest.mark.parametrize("size", [1, 60, 10**6])
def test_a_list_of_plain_values(size: int) -> None:
    """Items that are no records have nothing to be alike in, and are read all the same."""
    numbers = attrs.evolve(LIST, result=Array("ArrayOfint", "int", INT))
    parser = ResponseParser(numbers, V88, limits=Limits(), collect=False)
    body = task_list("".join(f"<int>{number}</int>" for number in range(30)))
    assert [number for chunk in pieces(body, size) for number in parser.feed(chunk)] == [*range(30)]
    assert parser.close().problem is None


@pytest.mark.parametrize(
    "item",
    [PLAIN.replace("<Id>", f"<Id a='{'x' * 9000}'>"), MUTATIONS["pairs: many forms"](PLAIN, 0)],
    ids=["long", "many forms of pairs"],
)
def test_markup_that_is_costly_to_match(item: str) -> None:
    """Items whose pattern would take long to make or to match are left to lxml; others beside them are not."""
    assert taken(pieces(enveloped(item * 9), 3 * len(item))) == 0
    chunks = pieces(enveloped(PLAIN * 10 + item * 3 + PLAIN * 10), 1000)
    twins(chunks)
    assert taken(chunks) > 12


@pytest.mark.parametrize(
    "last",
    [
        PLAIN,
        "<BatchTaskInfo/>",
        "<BatchTaskInfo />",
        "<BatchTaskInfo a='>' b='/>'\n/>",
        "<BatchTaskInfo></BatchTaskInfo>",
        "<BatchTaskInfo><Id>5</Id></BatchTaskInfo\n >",
        f'<own:BatchTaskInfo xmlns:own="{TNS}"><own:Id>5</own:Id></own:BatchTaskInfo>',
        f"<own:BatchTaskInfo xmlns:own='{TNS}'/>",
        f"<ö:BatchTaskInfo xmlns:ö='{TNS}'/>",
        "<BatchTaskInfo><Name><![CDATA[</BatchTaskInfo>]]></Name></BatchTaskInfo>",
        "<BatchTaskInfo><Name><!-- <BatchTaskInfo/> --></Name></BatchTaskInfo>",
        "<Unknown/><BatchTaskInfo><Unknown><BatchTaskInfo/></Unknown></BatchTaskInfo>",
        f"<BatchTaskInfo><Name>{'n' * 20_000}</Name></BatchTaskInfo>",  # more than waits for an end
    ],
    ids=range(13),
)
@pytest.mark.parametrize("size", [1, 3, 40])
def test_an_item_comes_with_its_last_byte(last: str, size: int) -> None:
    """However a stream's item is written, it is handed out with its last byte, behind items that are alike too."""
    parser = ResponseParser(LIST, V88, limits=Limits(), collect=False)
    start, _, end = task_list("@").partition(b"@")
    assert len(parser.feed(start + raw(PLAIN))) == 1
    assert len(parser.feed(raw(PLAIN) * 20)) == 20
    for _ in range(2):
        *chunks, final = [*pieces(raw(last)[:-1], size), raw(last)[-1:]]
        assert [task for chunk in chunks for task in parser.feed(chunk)] == []
        assert len(parser.feed(final)) == 1
    assert parser.feed(end) == []
    assert parser.close().problem is None


LIMITS: list[Any] = [
    pytest.param({"items": 19}, PLAIN, "items", id="items"),
    pytest.param({"items": 20}, PLAIN, "", id="items, just not"),
    pytest.param({"bytes": 3000, "streamed_bytes": 3000}, PLAIN, "bytes", id="bytes"),
    pytest.param({"text_length": 200}, PLAIN.replace("<Id>1", "<Id>1" + " " * 200), "text_length", id="text"),
    pytest.param({"text_length": 200}, PLAIN.replace("<Id", " " * 200 + "<Id"), "text_length", id="blanks"),
    pytest.param({"text_length": 200}, " " * 200 + PLAIN, "text_length", id="blanks before"),
    pytest.param({"text_length": 300}, PLAIN.replace("<Id>", f"<Id a='{'x' * 300}'>"), "text_length", id="attribute"),
    pytest.param(
        {"tags": 60}, PLAIN.replace("<P>", "<P><Key>k</Key><Value>v</Value></P><P>" * 20, 1), "tags", id="tags"
    ),
    pytest.param({"depth": 5}, PLAIN, "depth", id="depth"),
    pytest.param({"depth": 8}, PLAIN, "", id="depth, just not"),
]


@pytest.mark.parametrize(("limits", "item", "name"), LIMITS)
@pytest.mark.parametrize("size", [100, 450, 10**6])
def test_limits_hold(limits: dict[str, int], item: str, name: str, size: int) -> None:
    """A limit is exceeded with the fast path where it is without it."""
    chunks = pieces(enveloped(PLAIN * 10 + item * 10), size)
    fast = said(chunks, Limits(**limits), collect=True)
    with mock.patch.object(ItemPattern, "should_try", new=False):
        slow = said(chunks, Limits(**limits), collect=True)
    assert fast[4:6] == slow[4:6]
    assert (fast[4] is LimitExceeded) == bool(name)
    assert f"Limits.{name}" in fast[5] or not name


@pytest.mark.parametrize(
    ("limits", "long", "name"),
    [
        ({"text_length": 400}, PLAIN.replace("<Id>1", "<Id>1" + " " * 500), "text_length"),
        ({"tags": 100}, PLAIN.replace("<P>", "<P><Key>k</Key><Value>v</Value></P><P>" * 30, 1), "tags"),
    ],
    ids=["text_length", "tags"],
)
def test_an_item_that_exceeds_a_limit_matches_nothing(limits: dict[str, int], long: str, name: str) -> None:
    """An item that looks like those before, but is larger than a limit, is refused as without the fast path."""
    parser = ResponseParser(LIST, V88, limits=Limits(**limits), collect=False)
    start, _, _ = task_list("@").partition(b"@")
    assert len(parser.feed(start + raw(PLAIN))) == 1
    for _ in range(5):
        assert len(parser.feed(raw(PLAIN))) == 1
    parser.feed(raw(long))
    assert parser.problem is not None
    assert parser.problem.kind is LimitExceeded
    assert parser.problem.limit == name


HOSTILE = """
from soapbatch.model.limits import Limits
from soapbatch.operations import OPERATIONS
from soapbatch.soap.parser import ResponseParser
from soapbatch.model.services import ServiceVersion
from tests.support.envelopes import task_list

MIB = 2**20
def item(inside, attributes=""):
    return f"<BatchTaskInfo{attributes}>{inside}</BatchTaskInfo>"
def pairs(count, form="<P><Key>k</Key><Value>v</Value></P>"):
    return f"<ParameterObject>{form * count}</ParameterObject>"

PLAIN = item("<Id>1</Id><Name>a</Name>" + pairs(2))
FORMS = "".join(f"<P><Key>k</Key><Value a='{n}'>v</Value></P>" for n in range(4))
BODIES = {
    "text": item("<Id>1</Id><Name>" + "a" * MIB + "</Name>"),
    "no end": "<BatchTaskInfo>" + "a" * MIB,
    "blanks": item(" " * MIB + "<Id>1</Id>x"),
    "references": item("<Id>1</Id><Name>" + "&amp;" * (MIB // 5) + "</Name>" + pairs(2)),
    "ampersands": (item("<Id>1</Id><Name>" + "&" * 60_000 + "</Name>" + pairs(2))) * 17,
    "pairs": item("<Id>1</Id><Name>a</Name>" + pairs(MIB // 36)),
    "pairs, then wrong": item("<Id>1</Id><Name>a</Name>" + pairs(1700) + "<Odd/>") * 17,
    "long keys": item("<Id>1</Id>" + pairs(1, FORMS)) * 3
        + item("<Id>1</Id>" + pairs(1, f"<P><Key>{'k' * 60_000}</Key><Value a='9'>v</Value></P>")) * 17,
    "forms": item(pairs(1, FORMS)) * 3 + item(pairs(200, FORMS) + "<Odd/>") * 40,
    "dictionaries": (item(pairs(2) * 60) * 2 + item(pairs(1, FORMS) * 60) * 2 + item(pairs(2) * 60 + "<Odd/>")) * 20,
    "members": item("<Name>a</Name>" * 60_000),
    "few members": item("<Name>a</Name>" * 4_000) * 17,
    "tags": item("<a/>" * 200_000),
    "ends": item("<Id>1</Id><!--" + "</BatchTaskInfo" * 70_000 + "-->"),
    "ends in CDATA": item("<Id>1</Id><Name><![CDATA[" + "</BatchTaskInfo>" * 60_000 + "]]></Name>"),
    "starts in CDATA": item("<Id>1</Id><Name><![CDATA[" + "<BatchTaskInfo " * 70_000 + "]]></Name>"),
    "attribute": item("<Id>1</Id>", " a='" + "x" * (MIB - 100) + "'"),
    "attributes": "".join(item("<Id>1</Id>", "".join(f" a{n}='{i}'" for n in range(5_000))) for i in range(17)),
    "spaces in tags": item("<Id" + " " * 60_000 + ">1</Id" + " " * 60_000 + ">") * 9,
    "new markup": "".join(item(f"<Id a='{str(i) * 2_000}'>1</Id>") for i in range(100, 200)),
    "nil markup": "".join(item(f"<Id xsi='{i}' b='{'x' * 6_000}' i:nil='1'/>") for i in range(200)),
    "slashes": PLAIN + "<BatchTaskInfo " + "/" * MIB,
    "prefix": PLAIN + "<" + "a" * MIB,
    "prefixes": PLAIN + "</a" * (MIB // 3),
}

for name, body in BODIES.items():
    for size in (700, 70_000):
        parser = ResponseParser(OPERATIONS["GetBatchTaskInfosByState"], ServiceVersion.V88, limits=Limits())
        data = task_list(PLAIN * 40 + body + PLAIN * 40)
        for start in range(0, len(data), size):
            parser.feed(data[start : start + size])
        parser.close()
    print(name, flush=True)

parser = ResponseParser(OPERATIONS["GetBatchTaskInfosByState"], ServiceVersion.V88, limits=Limits(), collect=False)
parser.feed(task_list(PLAIN).partition(b"</Response>")[0] + (PLAIN + "<BatchTaskInfo><Name>").encode())
for _ in range(300_000):
    parser.feed(b">")
print("byte by byte")
"""


@pytest.mark.slow
def test_nothing_takes_long() -> None:
    """Hostile items of a MiB, made to be slow to match, to learn or to search, are read in seconds, not minutes."""
    done = subprocess.run(  # noqa: S603 - the README's own text
        [sys.executable, "-c", HOSTILE], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "byte by byte"
