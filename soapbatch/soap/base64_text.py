"""The text of a base64 result, decoded piece by piece in constant memory. lxml never gets that text."""

import binascii
from typing import Final

NOT_BASE64: Final = "not base64Binary"
_BASE64_GROUP: Final = 4
_LONGEST_REST: Final = 8  # bytes of an unfinished group and an unfinished reference to a line end
_LINE_END_REFERENCES: Final = (b"&#xD;", b"&#13;", b"&#xA;", b"&#10;", b"&#xd;", b"&#xa;")


class Base64Decoder:
    """Decodes base64 piece by piece, in constant memory."""

    def __init__(self) -> None:
        """Prepare to decode; `is_open` says whether the text may go on."""
        self.is_open = True
        self._rest = b""
        self._is_padded = False

    def feed(self, data: bytes, found: list[bytes]) -> bytes:
        """Decode the text up to the next tag into `found`; return the rest of `data`. ValueError: not base64."""
        end = data.find(b"<")
        self.is_open = end < 0
        text = self._rest + (data if self.is_open else data[:end]).translate(None, b" \t\r\n")
        if b"&" in text:
            for reference in _LINE_END_REFERENCES:
                text = text.replace(reference, b"")
        held = text.find(b"&")  # a reference that continues in the next piece
        whole = len(text) if held < 0 else held
        whole -= whole % _BASE64_GROUP
        self._rest = text[whole:]
        if len(self._rest) > _LONGEST_REST or (whole and self._is_padded):
            raise ValueError(NOT_BASE64)
        if whole:
            try:
                found.append(binascii.a2b_base64(text[:whole], strict_mode=True))
            except binascii.Error:
                raise ValueError(NOT_BASE64) from None
            self._is_padded = text[whole - 1 : whole] == b"="
        return b"" if self.is_open else data[end:]

    def close(self) -> None:
        """Take the end of the text. ValueError: the last group is incomplete."""
        self.is_open = False
        if self._rest:
            raise ValueError(NOT_BASE64)
