"""References that XML 1.0 forbids: those to characters are read as U+FFFD, the first other one is named.

WCF writes a control character of a text as a reference, such as `&#xB;`, which XML 1.0 forbids and libxml2 refuses. One
character that somebody has pasted would make a list unreadable for everybody. The .NET client, for which NetServer is
written, reads such references. So they are replaced before lxml sees them, and each is reported.

    <Description>a&#xB;b</Description>   ->   <Description>a\ufffdb</Description>

HTML's entities, such as `&nbsp;`, and an `&` that begins no reference make the response unreadable. libxml2 reports an
undefined entity late, and as if something else were wrong.
"""

import re
from collections.abc import Callable
from typing import Final

_FORBIDDEN = re.compile(
    rb"&#(?!13;|xD;|10;|xA;|9;)(?:"  # references that are written often, so that they take less time
    # decimal: 0 to 8, 11, 12, 14 to 31; 55296 to 57343; 65534, 65535
    rb"0*+(?:(?<=0)|[1-8]|1[124-9]|2[0-9]|3[01]"
    rb"|5529[6-9]|55[3-9][0-9]{2}|56[0-9]{3}|57[0-2][0-9]{2}|573[0-3][0-9]|5734[0-3]|6553[45])"
    # hexadecimal: the same
    rb"|x0*+(?:(?<=0)|[1-8bBcCeEfF]|1[0-9a-fA-F]|[dD][89a-fA-F][0-9a-fA-F]{2}|[fF]{3}[eEfF])"
    rb");"
)
# An `&` that begins no reference, or one to an entity: of up to 32 characters, like the longest one of HTML.
_WRONG = re.compile(
    rb"&(?!amp;|lt;|gt;|quot;|apos;|#[0-9]{1,100};|#x[0-9a-fA-F]{1,100};)"
    rb"(?:([A-Za-z_:][A-Za-z0-9_:.-]{0,31});|(?=[A-Za-z0-9_:.#-]{0,32}[^A-Za-z0-9_:.#-])|(?=[A-Za-z0-9_:.#-]{33}))"
)
_REPLACEMENT: Final = "\ufffd".encode()
# In a CDATA section a reference is plain text. A comment may hold what looks like the start of a CDATA section.
_VERBATIM = re.compile(rb"<!(\[CDATA\[|--)")
_END_OF: Final = {b"[CDATA[": b"]]>", b"--": b"-->"}
_KEPT: Final = 2  # bytes that may begin the end of a CDATA section or comment
# What may continue in the next piece: the start of a CDATA section or comment, or a reference of up to 34 characters.
_UNFINISHED = re.compile(rb"(?:<(?:!(?:-|\[(?:C(?:D(?:A(?:TA?)?)?)?)?)?)?|&[A-Za-z0-9_:.#-]{0,32})\Z")
_LONGEST_UNFINISHED: Final = 33
_NO_TAG: Final = b"<!"
_TAG_NAME = re.compile(rb"<[/?]?(?:[^\s<>/:]*:)?([^\s<>/:]*)")
_LONGEST_TAG: Final = 256  # bytes of the last tag of a piece that are kept, to name the element of the next reference
_MOST: Final = 1000  # references in a response that are reported; more of them are replaced all the same

Report = Callable[[str, str], None]
"""Takes a reference and the name of the element in which it stands, or "" where that is not known."""


class ForbiddenReferences:
    """Replaces the references in a response that is fed piece by piece, in UTF-8.

    Attributes:
        problem: what is wrong with the first reference that cannot be read, or None.
    """

    def __init__(self, report: Report) -> None:
        """Prepare to replace; `report` is called with each reference."""
        self._report = report
        self._held = b""
        self._end = b""  # of the CDATA section or comment that has begun
        self._tag = b""  # the last tag
        self._left = _MOST
        self.problem: str | None = None

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return what `data` completes; `final`: these are the last bytes."""
        if not data and not self._held:
            return data
        if self._held:
            data, self._held = self._held + data, b""
        last = max(data.rfind(b"<", -_LONGEST_UNFINISHED), data.rfind(b"&", -_LONGEST_UNFINISHED))
        if last >= 0 and not final and _UNFINISHED.match(data, last):
            data, self._held = data[:last], data[last:]
        # Two characters are searched one by one: Python finds a single byte 100 times as fast as two.
        if (
            not self._end
            and (b"&" not in data or (b"#" not in data and not self._wrong_in(data)))
            and (b"!" not in data or not _VERBATIM.search(data))
        ):
            self._note_tag(data)
            return data
        return self._replace(data, final=final)

    def skip(self, data: bytes) -> bytes:
        """Return `data` as it is, behind what was held back; it begins in a text that holds no such references."""
        data, self._held = self._held + data, b""
        return data

    def _replace(self, data: bytes, *, final: bool) -> bytes:
        """Return `data` with the references outside of CDATA sections and comments replaced."""
        parts: list[bytes] = []
        position = 0
        while position < len(data):
            if self._end:
                found = data.find(self._end, position)
                stop = len(data) if found < 0 else found + len(self._end)
                if found >= 0:
                    self._end = b""
                elif not final:
                    stop = max(position, stop - _KEPT)
                    self._held = data[stop:] + self._held
                parts.append(data[position:stop])
                if found < 0:
                    break
            else:
                begun = _VERBATIM.search(data, position)
                stop = len(data) if begun is None else begun.end()
                parts.append(self._replaced(data[position:stop]))
                if begun is not None:
                    self._end = _END_OF[begun[1]]
            position = stop
        return b"".join(parts)

    def _wrong_in(self, text: bytes) -> re.Match[bytes] | None:
        """Return the first reference in `text` that cannot be read, unless there has been one before."""
        # A `&` or `<` that is held back follows: it ends what begins no reference.
        return None if self.problem or b"&" not in text else _WRONG.search(text + self._held[:1])

    def _replaced(self, text: bytes) -> bytes:
        """Return `text`, which is not in a CDATA section or comment, with its references replaced and reported."""
        position = 0
        if wrong := self._wrong_in(text):
            self.problem = "it holds an '&' that begins no reference: XML writes '&amp;' for it"
            if wrong[1]:
                self.problem = f"it holds the entity '&{wrong[1].decode()};', which XML does not define"

        def replacement(reference: re.Match[bytes]) -> bytes:
            nonlocal position
            if self._left:
                self._left -= 1
                self._note_tag(text[position : reference.start()])
                position = reference.start()
                name = _TAG_NAME.match(self._tag)
                self._report(reference.group().decode(), name[1].decode("utf-8", "replace") if name else "")
            return _REPLACEMENT

        result = _FORBIDDEN.sub(replacement, text)
        self._note_tag(text[position:])
        return result

    def _note_tag(self, data: bytes) -> None:
        start = data.rfind(b"<")
        while start >= 0 and data.startswith(_NO_TAG, start):
            start = data.rfind(b"<", 0, start)
        if start < 0:
            self._tag += data[: _LONGEST_TAG - len(self._tag)]
        else:
            self._tag = data[start : start + _LONGEST_TAG]
