"""List items that are marked up like one that lxml has read: found by one pattern instead of 25 lxml elements.

A server writes the items of a list with the same markup, over and over; only texts differ, and which are nil. So
one item that lxml has read, cut at its tags, becomes a regular expression with holes for the texts. An item that
matches it is, but for the texts in the holes, that very item: well-formed, in the same namespaces, in the same
order. Whatever does not match (a comment, CDATA, another order, an unknown element, a carriage return) goes to lxml,
which stays the only judge of what XML is. A pattern must first read the item that it was made of as lxml did.

An item is learnt only from bytes that begin right behind another one: there, every `<` begins a tag of the item or
something that no pattern is made of, so that nothing in a comment can pass for an item.

It is worth it: a list costs half to a third of what building its lxml elements alone would. Its plain twin is
`reader`; `tests/test_alike.py` holds both together.
"""

import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final, TypeAlias

import attrs
from lxml import etree

from soapbatch.model import STRING, Dictionary, Enumeration, Limits, Record, Scalar
from soapbatch.soap.decoders import BASE_TYPE_ELEMENTS, is_nil, local_name
from soapbatch.soap.fast.references import pairs, resolved

Decode: TypeAlias = Callable[[str], Any]

_TAG = re.compile(r"""<(/?)[^\s<>/"'=!?]+(?:\s+[^\s<>/"'=]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'))*\s*(/?)>""")
_SPACE: Final = r"[ \t\n]*"
_HOLE: Final = "[^<]*"
# What a block must not hold: control characters, and carriage returns, which lxml would normalise.
_SUSPECT: Final = bytes({*range(0x20)} - {*b"\t\n"})
_MAX_LESSONS: Final = 32  # patterns made for one list; a server with more shapes than that is not worth it
_MAX_REST: Final = 16 * 1024  # bytes, which are searched again with every chunk; a documented item has 2,000
_MAX_PATTERN: Final = 8192  # characters, which compile in some 10 ms; a documented item makes 2,300
_MAX_PAIRS: Final = 4  # ways to mark up a pair, each of which is tried for every pair

_Tags: TypeAlias = list[re.Match[str]]
_Forms: TypeAlias = dict[str, Decode | None]  # pattern of a child -> what decodes its hole, if it has one


@attrs.frozen
class _Shape:
    """How an item is marked up: its own tags, and the forms of each child, by name and in order."""

    start: str
    end: str
    children: dict[str, _Forms]

    def merged(self, other: "_Shape") -> "_Shape":
        """Return a shape with the forms of both; `self` alone where they differ in anything else."""
        # A start tag can declare namespaces, so that a form is good only inside the start tag that it came with.
        if (self.start, self.end, [*self.children]) != (other.start, other.end, [*other.children]):
            return self
        children = {name: other.children[name] | forms for name, forms in self.children.items()}
        return attrs.evolve(self, children=children)

    def pattern(self) -> str:
        """Return the pattern of an item, with one group for each decoder, in order."""
        inside = [f"(?:{'|'.join(forms)})" for forms in self.children.values()]
        return _SPACE.join(["", re.escape(self.start), *inside, re.escape(self.end)])


class ItemPattern:
    """What has been learnt of the items of one list."""

    def __init__(self, name: str, type_: Record, namespace: str, limits: Limits) -> None:
        """Know nothing yet of the items: elements called `name`, records of `type_` in a version's `namespace`."""
        prefix = rb"(?:[^\s<>:/]+:)?"
        item = prefix + name.encode()
        self._end = re.compile(rb"<(?:/" + item + rb"\s*|" + item + rb"(?:\s[^<]*?)?/)>")
        self._carrier = type_.carrier
        fields = {f"{{{namespace}}}{row.name}": row for row in type_.fields}
        self._attributes = {tag: row.attribute for tag, row in fields.items()}
        self._types = {tag: row.type for tag, row in fields.items() if isinstance(row.type, Scalar | Dictionary)}
        self._nillable = {*fields, *(f"{{{namespace}}}{name}" for name in BASE_TYPE_ELEMENTS)}
        self._shape: _Shape | None = None
        self._pattern: re.Pattern[str] | None = None
        self._decoders: list[tuple[str, Decode]] = []
        self._close = b""
        self._lessons = 0
        self._longest = min(limits.text_length, limits.tags)  # bytes that can exceed neither limit
        self.max_pending_bytes = min(_MAX_REST, self._longest)
        """Bytes of an item that may wait for its end, until lxml gets them."""

    @property
    def should_try(self) -> bool:
        """Whether there is hope that items look alike."""
        return self._lessons < _MAX_LESSONS

    def first_end(self, data: bytes, start: int = 0) -> int:
        """Return the position behind the first tag from `start` on that may end an item; 0: there is none."""
        found = self._end.search(data, start)
        return found.end() if found else 0

    def last_end(self, data: bytes) -> int:
        """Return the position behind the last end tag of an item in `data`; 0: there is none."""
        start = data.rfind(b"</")
        while start >= 0:
            if found := self._end.match(data, start):
                return found.end()
            start = data.rfind(b"</", 0, start)
        return 0

    def learn_from(self, raw: bytes, element: etree._Element, item: object) -> None:
        """Make a pattern of an item; keep the last one if that cannot be done.

        Args:
            raw: what stands between the item before and the next, this item at its end.
            element: what lxml made of it.
            item: what the reader made of that.
        """
        self._lessons += 1
        text = raw.decode()
        tags = list(_TAG.finditer(text))
        children = None
        if text.count("<") == len(tags) == _behind_element(tags, 0):
            children = self._forms_of(tags, element)
        if children is None:
            return
        shape = _Shape(tags[0].group(), tags[-1].group(), children)
        if self._shape is not None:
            shape = shape.merged(self._shape)
        pattern = shape.pattern()
        if len(pattern) > _MAX_PATTERN:
            return
        before = self._shape, self._pattern, self._decoders, self._close
        self._shape, self._pattern, self._close = shape, re.compile(pattern), shape.end.encode()
        self._decoders = [
            (self._attributes[name], decode)
            for name, forms in shape.children.items()
            for decode in forms.values()
            if decode is not None
        ]
        found: list[object] = []
        if self.match_prefix(raw, found) or found != [item]:
            self._shape, self._pattern, self._decoders, self._close = before

    def match_prefix(self, data: bytes, found: list[Any]) -> bytes:
        """Read items off the front of `data`, UTF-8 that stands right behind an item; return the rest."""
        if self._pattern is None:
            return data
        end = data.rfind(self._close) + len(self._close)
        block = data[:end]
        if len(block) > self._longest or len(block.translate(None, _SUSPECT)) != len(block) or b"]]>" in block:
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

    def _forms_of(self, tags: _Tags, element: etree._Element) -> dict[str, _Forms] | None:
        """Return the children of an item, each with its pattern; None where they are not plain enough for one."""
        children: dict[str, _Forms] = {}
        position = 1
        for child in element:
            start, position = position, _behind_element(tags, position)
            form = self._form_of(tags[start:position], child)
            if form is None:
                return None
            children[str(child.tag)] = form  # of a child that comes twice, one is missing: the pattern matches nothing
        return children

    def _form_of(self, tags: _Tags, child: etree._Element) -> _Forms | None:
        opened, closed = re.escape(tags[0].group()), re.escape(tags[-1].group())
        if is_nil(child):
            # With something in it, which no such pattern matches, it would not be nil to the reader.
            return {opened if len(tags) == 1 else f"{opened}{closed}": None} if child.tag in self._nillable else None
        type_ = self._types.get(str(child.tag))
        hole = _pairs_pattern(tags[1:-1], child) if isinstance(type_, Dictionary) else _HOLE
        if type_ is None or hole is None:
            return None
        return {f"{opened}()" if len(tags) == 1 else f"{opened}({hole}){closed}": _decoder(type_)}


def _behind_element(tags: _Tags, start: int) -> int:
    """Return the index behind the last tag of the element that begins at `start`; 0: it does not end."""
    steps = (-1 if tags[index][1] else int(not tags[index][2]) for index in range(start, len(tags)))
    return next((index for index, depth in enumerate(accumulate(steps), start + 1) if depth == 0), 0)


def _pairs_pattern(tags: _Tags, dictionary: etree._Element) -> str | None:
    """Return the pattern of the pairs between the tags of a dictionary; None if they are not plain pairs."""
    forms: set[str] = set()
    position = 0
    for element in dictionary:
        start, position = position, _behind_element(tags, position)
        pair = [re.escape(tag.group()) for tag in tags[start:position]]
        if [local_name(member) for member in element] != ["Key", "Value"]:
            return None
        match is_nil(element[1]), [tag[2] for tag in tags[start:position]]:
            case False, ["", "", "", "", "", ""]:
                value = f"{pair[3]}{_HOLE}{pair[4]}"
            case True, ["", "", "", "/", ""]:
                value = pair[3]
            case _:
                return None
        forms.add(_SPACE.join([pair[0], f"{pair[1]}{_HOLE}{pair[2]}", value, pair[-1]]))
    if len(forms) > _MAX_PAIRS:
        return None
    return f"{_SPACE}(?:(?:{'|'.join(sorted(forms))}){_SPACE})*" if forms else _SPACE


def _decoder(type_: Scalar[Any] | Dictionary) -> Decode:
    """Return what decodes a hole. ValueError: let lxml and the reader see to it."""
    if isinstance(type_, Dictionary):
        return pairs
    if type_ is STRING:
        return resolved
    if isinstance(type_, Enumeration):
        members = type_.members

        def decode(hole: str) -> object:
            try:
                return members[hole]
            except KeyError:
                raise ValueError from None  # the reader reports values that are not known

        return decode
    return type_.decode
