"""List items that are marked up like one that lxml has read: found by one pattern instead of 25 lxml elements.

A server writes the items of a list with the same markup, over and over; only texts differ, and which are nil. So
one item that lxml has read, cut at its tags, becomes a regular expression with holes for the texts. An item that
matches it is, but for the texts in the holes, that very item: well-formed, in the same namespaces, in the same
order. Whatever does not match (a comment, CDATA, another order, an unknown element, a carriage return) goes to lxml,
which stays the only judge of what XML is. A pattern must first read the item that it was made of as lxml did.

It is worth it: a list costs half to a third of what building its lxml elements alone would. Its plain twin is
`reader`; `tests/test_alike.py` holds both together.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from lxml import etree

from soapbatch.reader import is_nil
from soapbatch.schema import Dictionary, Enumeration, Record
from soapbatch.xsd import ILLEGAL_CHARACTER, STRING, Scalar

Decode: TypeAlias = Callable[[str], Any]

_TAG = re.compile(r"""<(/?)[^\s<>/"'=]+(?:\s+[^\s<>/"'=]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'))*\s*(/?)>""")
_PAIR = re.compile(r"<[^<>]*>\s*<[^<>]*>([^<]*)</[^<>]*>\s*<[^<>]*?(?:/>|>([^<]*)</[^<>]*>)\s*</[^<>]*>")
_REFERENCE = re.compile("&([^;&]*);?")
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_SPACE: Final = r"[ \t\n]*"
_HOLE: Final = "[^<]*"
# What a block must not hold: control characters, and carriage returns, which lxml would normalise.
_SUSPECT: Final = bytes({*range(0x20)} - {*b"\t\n"})
_MAX_LESSONS: Final = 32  # patterns made for one list; a server with more shapes than that is not worth it

_Tags: TypeAlias = list[re.Match[str]]
_Forms: TypeAlias = dict[str, Decode | None]  # pattern of a child -> what decodes its hole, if it has one


class Alike:
    """What has been learnt of the items of one list."""

    def __init__(self, name: str, type_: Record, namespace: str) -> None:
        """Know nothing yet of the items: elements called `name`, records of `type_` in a version's `namespace`."""
        self._end = re.compile(rb"</(?:[^\s<>:/]+:)?" + name.encode() + b">")
        self._carrier = type_.carrier
        self._rows = {f"{{{namespace}}}{row.name}": row for row in type_.fields}
        self._children: list[tuple[str, _Forms]] = []
        self._decoders: list[tuple[str, Decode]] = []
        self._pattern: re.Pattern[str] | None = None
        self._close = b""
        self._lessons = 0

    @property
    def is_worth_it(self) -> bool:
        """Whether there is hope that items look alike."""
        return self._lessons < _MAX_LESSONS

    def first_end(self, data: bytes) -> int:
        """Return the position behind the first end tag of an item in `data`; 0: there is none."""
        found = self._end.search(data)
        return found.end() if found else 0

    def last_end(self, data: bytes) -> int:
        """Return the position behind the last end tag of an item in `data`; 0: there is none."""
        start = data.rfind(b"</")
        while start >= 0:
            if found := self._end.match(data, start):
                return found.end()
            start = data.rfind(b"</", 0, start)
        return 0

    def learn(self, raw: bytes, element: etree._Element, item: object) -> None:
        """Make a pattern of the item that `raw` ends with, of which lxml made `element` and the reader `item`."""
        self._lessons += 1
        name = raw[raw.rfind(b"</") + 2 : -1]
        raw = raw[max(0, raw.rfind(b"<" + name)) :]
        text = raw.decode()
        tags = list(_TAG.finditer(text))
        children = self._forms_of(text, tags, element)
        if children is None:
            return
        if [name for name, _ in children] == [name for name, _ in self._children]:
            for (_, known), (_, new) in zip(self._children, children, strict=True):
                known.update(new)
        else:
            self._children = children
        inside = [f"(?:{'|'.join(forms)})" for _, forms in self._children]
        ends = [re.escape(tag.group()) for tag in (tags[0], tags[-1])]
        self._pattern = re.compile(_SPACE.join(["", ends[0], *inside, ends[1]]))
        self._close = tags[-1].group().encode()
        self._decoders = [
            (self._rows[name].attribute, decode)
            for name, forms in self._children
            for decode in forms.values()
            if decode is not None
        ]
        found: list[object] = []
        if self.take(raw, found) or found != [item]:
            self._pattern = None

    def take(self, data: bytes, found: list[Any]) -> bytes:
        """Read items off the front of `data`, UTF-8 that stands right behind an item; return the rest."""
        end = data.rfind(self._close) + len(self._close)
        block = data[:end]
        if self._pattern is None or len(block.translate(None, _SUSPECT)) != len(block) or b"]]>" in block:
            return data
        try:
            text = block.decode()
        except UnicodeDecodeError:
            return data
        position = 0
        if "\ufffe" not in text and "\uffff" not in text:  # all that UTF-8 can carry and XML cannot is looked for
            while match := self._pattern.match(text, position):
                try:
                    values = {
                        attribute: decode(hole)
                        for (attribute, decode), hole in zip(self._decoders, match.groups(), strict=True)
                        if hole is not None
                    }
                except ValueError:
                    break  # lxml and the reader say what is wrong with it, and where
                found.append(self._carrier(**values))
                position = match.end()
        return text[position:].encode() + data[end:] if position else data

    def _forms_of(self, text: str, tags: _Tags, element: etree._Element) -> list[tuple[str, _Forms]] | None:
        """Return the children of an item, each with its pattern; None where they are not plain enough for one."""
        if "<!" in text or "<?" in text or _behind_element(tags, 0) != len(tags):
            return None
        children: list[tuple[str, _Forms]] = []
        position = 1
        for child in element:
            start, position = position, _behind_element(tags, position)
            form = self._form_of(text, tags[start:position], child)
            if form is None:
                return None
            children.append((str(child.tag), form))
        return children

    def _form_of(self, text: str, tags: _Tags, child: etree._Element) -> _Forms | None:
        opened, closed = tags[0].group(), tags[-1].group()
        if is_nil(child):
            return {re.escape(text[tags[0].start() : tags[-1].end()]): None}
        row = self._rows.get(str(child.tag))
        if row is None or len(tags) == 1:
            return None
        if isinstance(row.type, Dictionary):
            hole = _pairs_pattern(tags[1:-1])
            decode: Decode = _decode_pairs
        elif isinstance(row.type, Scalar) and not len(child):
            hole = _HOLE
            decode = _decoder(row.type)
        else:
            return None
        return None if hole is None else {f"{re.escape(opened)}({hole}){re.escape(closed)}": decode}


def _behind_element(tags: _Tags, start: int) -> int:
    """Return the index behind the last tag of the element that begins at `start`; 0: it does not end."""
    depth = 0
    for index, tag in enumerate(tags[start:], start + 1):
        depth += -1 if tag[1] else int(not tag[2])
        if depth == 0:
            return index
    return 0


def _pairs_pattern(tags: _Tags) -> str | None:
    """Return the pattern of the pairs between the tags of a dictionary; None if they are not plain pairs."""
    forms: dict[str, None] = {}
    position = 0
    while position < len(tags):
        behind = _behind_element(tags, position)
        pair = [re.escape(tag.group()) for tag in tags[position:behind]]
        position = behind
        match [tag[2] for tag in tags[position - len(pair) : position]]:
            case ["", "", "", "", "", ""]:
                value = f"{pair[3]}{_HOLE}{pair[4]}"
            case ["", "", "", "/", ""]:
                value = pair[3]
            case _:
                return None
        forms[_SPACE.join([pair[0], f"{pair[1]}{_HOLE}{pair[2]}", value, pair[-1]])] = None
    return f"{_SPACE}(?:(?:{'|'.join(forms)}){_SPACE})*" if forms else _SPACE


def _decode_pairs(hole: str) -> dict[str, str | None]:
    return {_resolved(match[1]): None if match[2] is None else _resolved(match[2]) for match in _PAIR.finditer(hole)}


def _decoder(type_: Scalar[Any]) -> Decode:
    """Return what decodes the hole of a scalar. ValueError: let lxml and the reader see to it."""
    if type_ is STRING:
        return _resolved
    if isinstance(type_, Enumeration):
        members = type_.members

        def decode(hole: str) -> object:
            try:
                return members[hole]
            except KeyError:
                raise ValueError from None  # the reader reports values that are not known

        return decode
    return type_.decode


def _resolved(text: str) -> str:
    """Return `text` with the five entities of XML and its character references resolved."""
    if "&" not in text:
        return text
    # The common five, in C; no text holds a NUL, so that it can stand for "&" meanwhile.
    plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "\0")
    return _REFERENCE.sub(_character, text) if "&" in plain else plain.replace("\0", "&")


def _character(reference: re.Match[str]) -> str:
    name = reference[1]
    if not reference[0].endswith(";"):
        raise ValueError
    if name in _NAMED:
        return _NAMED[name]
    digits, base = (name[2:], 16) if name.startswith("#x") else (name[1:], 10)
    if not name.startswith("#") or not digits.isascii() or not digits.isalnum():
        raise ValueError
    character = chr(int(digits, base))
    if ILLEGAL_CHARACTER.match(character):
        raise ValueError
    return character
