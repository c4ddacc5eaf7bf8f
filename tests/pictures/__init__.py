"""Pictures of the guide, made from text: `python -m tests.pictures` writes soapbatch/guide/*.svg anew.

Each line of a text is one thing. Columns and rows count from 0, and may be fractions:

    title TEXT
    grid 200 90 160 54                            width of a column, height of a row, width and height of a box
    band 0 4 3 2 unknown | label                  an area: column, row, columns, rows, kind
    box new 0 1 plain | New | waits / !TooLong    a name, column, row, kind; the title; lines below it, `!`: an error
    text 0 1 | a line / another                   column, row; `>` before the text: it begins there, else it is centred
    arrow new.right acquired.left | label         from the side of a box to the side of another
"""

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from math import dist
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

SOURCES: Final = Path(__file__).parent
TARGETS: Final = Path(__file__).parents[2] / "soapbatch" / "guide"

Point: TypeAlias = tuple[float, float]

# Of each kind: what fills it, its edge, and its text. The ground is white, also where the page is dark.
KINDS: Final = {
    "plain": ("#eef3fb", "#4a6fa5", "#1b2a41"),
    "good": ("#e5f4ea", "#2f7d4f", "#17422a"),
    "unknown": ("#fdf2d5", "#b07d12", "#5a3f05"),
    "bad": ("#fbe6e4", "#b3392f", "#5e1a14"),
    "quiet": ("#f6f7f9", "#c3cad4", "#47505c"),
}
INK: Final = "#3d4957"
MARGIN: Final = 24
HEADING: Final = 44
LANE: Final = 22
"""How far an arrow goes away from two sides that look the same way."""
LONG: Final = 18
"""A title with more characters than these is written smaller."""
SIDES: Final = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}


class Statement(NamedTuple):
    """A line of a text: its words, and the fields behind bars."""

    kind: str
    words: Sequence[str]
    fields: Sequence[str]


class Box(NamedTuple):
    """Where a box is: its centre and its size."""

    x: float
    y: float
    width: float
    height: float

    def side(self, name: str) -> Point:
        """Return the middle of a side."""
        dx, dy = SIDES[name]
        return self.x + dx * self.width / 2, self.y + dy * self.height / 2


def read(text: str) -> Iterator[Statement]:
    """Yield the statements of a text; what follows a # is a comment."""
    for line in text.splitlines():
        head, *fields = (field.strip() for field in re.sub(r"(^|\s)#.*", "", line).split("|"))
        if head:
            kind, *words = head.split()
            yield Statement(kind, words, fields)


def split(field: str) -> list[str]:
    """Return the lines of a field."""
    return [line.strip() for line in field.split("/")]


def route(start: Point, leaves: str, end: Point, enters: str) -> list[Point]:
    """Return the corners of an arrow that leaves a side of a box and enters a side of another."""
    (x1, y1), (x2, y2) = start, end
    is_level = leaves in {"left", "right"}
    if leaves == enters:
        dx, dy = SIDES[leaves]
        far = max((x1 * dx, x2 * dx)) + LANE if is_level else max((y1 * dy, y2 * dy)) + LANE
        middle = [(far * dx, y1), (far * dx, y2)] if is_level else [(x1, far * dy), (x2, far * dy)]
    elif is_level != (enters in {"left", "right"}):
        middle = [(x2, y1) if is_level else (x1, y2)]
    elif is_level:
        middle = [((x1 + x2) / 2, y1), ((x1 + x2) / 2, y2)]
    else:
        middle = [(x1, (y1 + y2) / 2), (x2, (y1 + y2) / 2)]
    points = [start, *middle, end]
    return [point for index, point in enumerate(points) if not index or point != points[index - 1]]


class Picture:
    """A picture that grows by statements."""

    def __init__(self, text: str) -> None:
        """Draw what the text says."""
        self.title = ""
        self.boxes: dict[str, Box] = {}
        self._column, self._row, self._width, self._height = 200.0, 90.0, 160.0, 54.0
        self._right = self._bottom = 0.0
        self._shapes: list[str] = []
        for kind, words, fields in read(text):
            getattr(self, f"_{kind}")(words, fields)

    def svg(self) -> str:
        """Return the picture as an SVG document."""
        width, height = round(self._right + MARGIN), round(self._bottom + MARGIN)
        size = f'width="{width}" height="{height}"'
        font = 'font-family="Helvetica, Arial, sans-serif"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} role="img" {font}>',
            f"<title>{escape(self.title)}</title>",
            f'<rect {size} rx="8" fill="#ffffff"/>',
            *self._shapes,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    # One method for each kind of statement.

    def _title(self, words: Sequence[str], _: Sequence[str]) -> None:
        self.title = " ".join(words)
        self._write([self.title], MARGIN, MARGIN + 10, anchor="start", ink=KINDS["plain"][2], weight="bold", size=17)

    def _grid(self, words: Sequence[str], _: Sequence[str]) -> None:
        self._column, self._row, self._width, self._height = map(float, words)

    def _band(self, words: Sequence[str], fields: Sequence[str]) -> None:
        column, row, columns, rows, kind = words
        x, y = self._corner(column, row)
        width, height = float(columns) * self._column, float(rows) * self._row
        fill, edge, ink = KINDS[kind]
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="10" fill="{fill}" fill-opacity="0.55"'
            f' stroke="{edge}" stroke-dasharray="5 4"/>'
        )
        self._write(fields, x + width - 12, y + 20, anchor="end", ink=ink, weight="bold")
        self._grow(x + width, y + height)

    def _box(self, words: Sequence[str], fields: Sequence[str]) -> None:
        (name, column, row, kind), (title, *rest) = words, fields
        x, y = self._corner(column, row)
        box = self.boxes[name] = Box(x + self._column / 2, y + self._row / 2, self._width, self._height)
        fill, edge, ink = KINDS[kind]
        left, top = box.x - box.width / 2, box.y - box.height / 2
        self._shapes.append(
            f'<rect x="{left:g}" y="{top:g}" width="{box.width:g}" height="{box.height:g}" rx="7" fill="{fill}"'
            f' stroke="{edge}" stroke-width="1.5"/>'
        )
        below = [line for field in rest for line in split(field)]
        first = box.y + 5 - 8 * len(below)
        self._write([title], box.x, first, ink=ink, weight="bold", size=14 if len(title) <= LONG else 11)
        for number, line in enumerate(below):
            color = KINDS["bad"][1] if line.startswith("!") else ink
            self._write([line.removeprefix("!")], box.x, first + 17 + 15 * number, ink=color, size=12)
        self._grow(left + box.width, top + box.height)

    def _text(self, words: Sequence[str], fields: Sequence[str]) -> None:
        x, y = self._corner(*words)
        is_left = fields[0].startswith(">")
        parts = split(fields[0].removeprefix(">"))
        centre = y + self._row / 2 + 5 - 8 * (len(parts) - 1)
        self._write(parts, x if is_left else x + self._column / 2, centre, anchor="start" if is_left else "middle")
        self._grow(x, centre + 15 * len(parts) - 10)

    def _arrow(self, words: Sequence[str], fields: Sequence[str]) -> None:
        (first, leaves), (last, enters) = (word.split(".") for word in words)
        points = route(self.boxes[first].side(leaves), leaves, self.boxes[last].side(enters), enters)
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        x, y = points[-1]
        dx, dy = SIDES[enters]
        head = [(x, y), (x + 9 * dx + 5 * dy, y + 9 * dy + 5 * dx), (x + 9 * dx - 5 * dy, y + 9 * dy - 5 * dx)]
        self._shapes += [
            f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.5" stroke-linejoin="round"/>',
            f'<polygon points="{" ".join(f"{x:g},{y:g}" for x, y in head)}" fill="{INK}"/>',
        ]
        for x, y in points:
            self._grow(x, y)
        lines = [line for field in fields for line in split(field)]
        (x1, y1), (x2, y2) = max(pairwise(points), key=lambda part: dist(*part))
        if y1 == y2:
            self._write(lines, (x1 + x2) / 2, y1 - 7 - 15 * (len(lines) - 1), size=12)
        else:
            self._write(lines, x1 + 8, (y1 + y2) / 2 + 4 - 7.5 * (len(lines) - 1), anchor="start", size=12)

    # What these share.

    def _corner(self, column: str, row: str) -> Point:
        return MARGIN + float(column) * self._column, MARGIN + HEADING + float(row) * self._row

    def _grow(self, x: float, y: float) -> None:
        self._right, self._bottom = max(self._right, x), max(self._bottom, y)

    def _write(
        self,
        lines: Sequence[str],
        x: float,
        y: float,
        *,
        anchor: str = "middle",
        ink: str = INK,
        weight: str = "normal",
        size: int = 13,
    ) -> None:
        for number, line in enumerate(lines):
            self._shapes.append(
                f'<text x="{x:g}" y="{y + 15 * number:g}" text-anchor="{anchor}" font-size="{size}"'
                f' font-weight="{weight}" fill="{ink}">{escape(line)}</text>'
            )


def pictures() -> dict[Path, str]:
    """Return what each picture of the guide should be, by its path."""
    return {
        TARGETS / f"{source.stem}.svg": Picture(source.read_text("utf-8")).svg()
        for source in sorted(SOURCES.glob("*.txt"))
    }
