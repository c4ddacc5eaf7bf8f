"""The picture: bars per task on a log scale, and how costs grow."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from tests.bench.case import LXML, SOAPBATCH, ZEEP, Row

_COLOURS: Final = {
    # Okabe and Ito's, which everybody can tell apart.
    SOAPBATCH: "#0072B2",
    ZEEP: "#D55E00",
    LXML: "#999999",
    "httpx": "#999999",
}
_LABELS: Final = {LXML: "lxml alone (the limit)", "httpx": "httpx alone, one shared client"}


def draw(about: Mapping[str, Any], rows: Sequence[Row], path: Path) -> None:
    """Draw what there is in `rows` into the file `path`."""
    canvas = Canvas(figsize=(12, 9), layout="constrained")
    (bars, build), (parse, calls) = canvas.subplots(2, 2)
    _bars(bars, rows)
    _curves(build, _series(rows, "build", "us"), "build DeleteBatchTasks: us a call", "ids")
    _curves(parse, _series(rows, "parse", "us"), "parse a list: us a task", "tasks")
    _curves(calls, _series(rows, "calls", "calls/s"), "GetBatchTaskInfo over a loopback socket: calls/s", "callers")
    canvas.suptitle(f"soapbatch beside zeep, lxml and httpx\n{about['machine']}; {about['python']}; {about['date']}")
    canvas.savefig(path, dpi=110)


def _series(rows: Sequence[Row], topic: str, unit: str) -> list[Row]:
    """Return the rows of the operation of `topic` that was measured at most sizes, smallest first."""
    found = [row for row in rows if row.topic == topic and row.unit == unit]
    names = [row.name for row in found]
    longest = max(names, key=names.count, default="")
    return sorted((row for row in found if row.name == longest), key=lambda row: row.size)


def _bars(axes: Axes, rows: Iterable[Row]) -> None:
    """Draw groups of bars, from top to bottom: what building and parsing cost."""
    shown = [row for row in rows if row.unit == "us" and _is_shown(row)]
    for index, name in enumerate((SOAPBATCH, ZEEP, LXML)):
        places = [place for place, row in enumerate(shown) if name in row.figures]
        axes.barh(
            [place + (index - 1) * 0.27 for place in places],
            [shown[place].figures[name].median for place in places],
            0.25,
            color=_COLOURS[name],
            label=_LABELS.get(name, name),
        )
    axes.set_yticks(range(len(shown)), [f"{row.topic} {row.name}\n{row.size:,} {row.of}" for row in shown])
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log" if shown else "linear")  # nothing cannot be scaled
    axes.set_title("CPU time: us a call to build, us a task to parse")
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend()


def _is_shown(row: Row) -> bool:
    """Return whether a row is among the bars: what the targets are about."""
    return row.topic in {"build", "parse"} and bool(row.targets)


def _curves(axes: Axes, rows: Sequence[Row], title: str, x: str) -> None:
    """Draw a line for each contender, with its spread."""
    for name, colour in _COLOURS.items():
        own = [row for row in rows if name in row.figures]
        if not own:
            continue
        sizes = [row.size for row in own]
        axes.plot(sizes, [row.figures[name].median for row in own], "o-", color=colour, label=_LABELS.get(name, name))
        low, high = zip(*(row.figures[name].spread for row in own), strict=True)
        axes.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.grid(visible=True, alpha=0.3)
    if rows:
        axes.legend()
