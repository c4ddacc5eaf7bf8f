"""The texts of a small XML document, read without entities, DTD or network.

lxml is not needed for this: expat, which comes with Python, is enough, and the only threat in it (entities) begins with
a DOCTYPE, which is refused.
"""

from xml.parsers import expat

XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NIL = f"{XSI} nil"


def texts_of(document: bytes) -> dict[str, str | None]:
    """Return the text of each element by its name: "namespace name" or "name". None stands for nil.

    Where several elements have the same name, the one that ends first counts.

    Args:
        document: in UTF-8 or UTF-16, or with a declaration of its encoding.

    Raises:
        ValueError: it is not well-formed, or holds a DOCTYPE. The message repeats nothing of the document.
    """
    found: dict[str, str | None] = {}
    open_elements: list[tuple[str, bool, list[str]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        open_elements.append((name, attributes.get(_NIL, "").strip() in {"true", "1"}, []))

    def end(_: str) -> None:
        name, is_nil, pieces = open_elements.pop()
        found.setdefault(name, None if is_nil else "".join(pieces))

    def text(data: str) -> None:
        open_elements[-1][2].append(data)

    def refuse(*_: object) -> None:
        raise ValueError("the document holds a DOCTYPE")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, refuse
    try:
        parser.Parse(document, True)  # noqa: FBT003 - expat takes it by position alone
    except expat.ExpatError as error:
        raise ValueError(f"the document is not well-formed XML: {expat.ErrorString(error.code)}") from None
    return found
