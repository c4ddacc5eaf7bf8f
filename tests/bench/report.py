"""What came out, as tables to read and as JSON: medians, spreads, ratios, and who measured what where."""

import importlib.metadata
import os
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.bench.case import Figure, Row

_LIBRARIES: Final = ("lxml", "httpx", "h11", "attrs", "zeep")


def circumstances(arguments: Sequence[str]) -> dict[str, Any]:
    """Return when, where and with what these figures were made."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "tests.bench", *arguments]),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def as_json(about: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """Return everything, each sample included."""
    return {**about, "rows": [row.as_json() for row in rows]}


def _tables(rows: Sequence[Row]) -> Iterable[tuple[str, list[str], list[list[str]]]]:
    """Yield a table for each topic, and one of the targets: title, head, and lines of cells."""
    for topic, group in groupby(rows, lambda row: row.topic):
        lines = list(group)
        contenders = list(dict.fromkeys(name for row in lines for name in row.figures))
        yield (
            topic,
            ["what", "size", "unit", *contenders],
            [
                [row.name, f"{row.size:,} {row.of}", row.unit, *(cell(row.figures.get(name)) for name in contenders)]
                for row in lines
            ],
        )
    yield (
        "targets",
        ["topic", "what", "size", "target", "measured", "met"],
        [
            [row.topic, row.name, f"{row.size:,} {row.of}", str(target), number(target.value(row.figures)), met]
            for row in rows
            for target in row.targets
            for met in ["yes" if target.is_met(row.figures) else "NO"]
        ],
    )


def cell(figure: Figure | None) -> str:
    """Return the median and the spread; a contender that was sampled once has none."""
    if figure is None:
        return ""
    low, high = map(number, figure.spread)
    return number(figure.median) if len(figure.samples) == 1 else f"{number(figure.median)} ({low} - {high})"


def number(value: float) -> str:
    """Return `value` with three significant digits or so."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print the tables: medians, and in brackets the lowest and the highest sample."""
    for title, head, lines in _tables(rows):
        table = Table(title=title, title_justify="left")
        for index, name in enumerate(head):
            table.add_column(name, justify="left" if index == 0 else "right")
        for line in lines:
            table.add_row(*line)
        console.print(table)


def as_markdown(about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Return the tables for a README."""
    libraries = ", ".join(f"{name} {version}" for name, version in about["libraries"].items())
    made = (
        "Medians, and in brackets the lowest and the highest sample. "
        f"Made by `{about['command']}` on {about['date']}: {about['machine']}; {about['python']}; {libraries}."
    )
    parts = [made]
    for title, head, lines in _tables(rows):
        marks = [":--"] + ["--:"] * (len(head) - 1)
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in [head, marks, *lines])
        parts.append(f"**{title}**\n\n{table}")
    return "\n\n".join(parts) + "\n"
