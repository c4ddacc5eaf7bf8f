"""The measurements in the README beside this file, made from the results: `python -m tests.bench.summary` writes them.

So that no figure there is anything but what was measured, a test holds the section to the results beside this file.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.bench.calls import HTTPX
from tests.bench.case import LXML, SOAPBATCH, ZEEP, Figure
from tests.bench.imports import CLIENT, PARTS
from tests.bench.loop_gap import STREAMING
from tests.bench.memory import OBJECTS
from tests.bench.report import cell, number

README: Final = Path(__file__).parent / "README.md"
RESULTS: Final = Path(__file__).parent / "results" / "results.json"
HEADING: Final = "## How fast"

Figures: TypeAlias = Mapping[str, Figure]

_TASKS: Final = (
    ("build", "GetBatchTaskInfo", 1, "build GetBatchTaskInfo"),
    ("build", "UpdateBatchTask", 1, "build UpdateBatchTask"),
    ("build", "DeleteBatchTasks", 10_000, "build DeleteBatchTasks, 10,000 ids"),
    ("parse", "GetBatchTaskInfo", 1, "parse one task"),
    ("parse", "GetBatchTaskInfosByState", 1, "parse a list of one"),
    ("parse", "GetBatchTaskInfosByState", 1_000, "parse 1,000 tasks, each"),
    ("parse", "GetBatchTaskInfosByState", 20_000, "parse 20,000 tasks, each"),
)
_CALLERS: Final = {
    SOAPBATCH: "soapbatch",
    ZEEP: "zeep's AsyncClient",
    HTTPX: "one httpx.AsyncClient",
}
_TEXT: Final = """\
## How fast

`make bench` measures soapbatch against zeep, plain lxml and plain httpx, and writes tables, JSON and a picture to
`.bench/`. It takes about ten minutes; `--quick` only shows that it runs.

The run below: `{command}`, {date}; {machine}; {python}; {libraries}.
Each figure is a median, in brackets the lowest and the highest sample; contenders take turns within one run, and ratios
are ratios of those medians. zeep works from the embedded server's WSDL, to which `wsaw:Action` is added as the
published WSDLs have it: it makes zeep write WS-Addressing blocks into every request, which is about a third of its cost
of building GetBatchTaskInfo. Every row and sample: [results.md](results/results.md),
[results.json](results/results.json).

![soapbatch beside zeep, lxml and httpx](results/results.png)

{times}

{calls}

- Beside a 50,000-task answer, the longest time between two ticks of a 1 ms ticker is {gap_streamed} ms while it is
  streamed and {gap_collected} ms while it is collected. zeep: {gap_zeep} ms.
- Streaming 100,000 tasks raises the peak of memory by {streamed} MiB, saving an output of 256 MiB by {saved} MiB.
  Collecting 20,000 tasks takes {collected} MiB for {objects} MiB of objects; zeep takes {collected_zeep} MiB.
- `import soapbatch` takes {bare} ms, `from soapbatch import Client` {client} ms, `import httpx, lxml.etree, attrs`
  {parts} ms.
{hostile}
"""
_SECTION: Final = re.compile(rf"^{HEADING}\n.*?(?=^## )", re.DOTALL | re.MULTILINE)


def section(results: Mapping[str, Any]) -> str:
    """Return the section, from its heading to the empty line before the next."""
    rows: dict[tuple[str, str, int, str], Figures] = {
        (row["topic"], row["name"], row["size"], row["unit"]): {
            name: Figure(tuple(figure["samples"])) for name, figure in row["figures"].items()
        }
        for row in results["rows"]
    }
    medians = {
        (topic, name): {contender: number(figure.median) for contender, figure in figures.items()}
        for (topic, name, _, _), figures in rows.items()
    }
    gap, imports = medians["hygiene", "worst gap between ticks of 1 ms"], medians["imports", "import"]
    collecting = medians["memory", "collecting a list"]
    return _TEXT.format(
        **{name: results[name] for name in ("command", "date", "machine", "python")},
        libraries=", ".join(f"{name} {version}" for name, version in results["libraries"].items()),
        times=_table(
            ["CPU time, us", "soapbatch", "zeep", "lxml alone", "zeep / soapbatch", "soapbatch / lxml"],
            ([label, *_times(rows[topic, name, size, "us"])] for topic, name, size, label in _TASKS),
        ),
        calls=_calls({size: figures for (_, _, size, unit), figures in rows.items() if unit == "calls/s"}),
        gap_streamed=gap[STREAMING],
        gap_collected=gap[SOAPBATCH],
        gap_zeep=gap[ZEEP],
        streamed=medians["memory", "streaming a list"][SOAPBATCH],
        saved=medians["memory", "save_output"][SOAPBATCH],
        collected=collecting[SOAPBATCH],
        objects=collecting[OBJECTS],
        collected_zeep=collecting[ZEEP],
        bare=imports[SOAPBATCH],
        client=imports[CLIENT],
        parts=imports[PARTS],
        hostile=_hostile(rows),
    )


def _calls(by_callers: Mapping[int, Figures]) -> str:
    """Return the table of calls a second, with a column for each contender that the results have."""
    names = [name for name in _CALLERS if any(name in figures for figures in by_callers.values())]
    return _table(
        ["calls/s over a loopback socket", *(_CALLERS[name] for name in names)],
        ([f"{size} at a time", *(cell(figures.get(name)) for name in names)] for size, figures in by_callers.items()),
    )


def _hostile(rows: Mapping[tuple[str, str, int, str], Figures]) -> str:
    """Return a line about the hostile responses that cost most; "" if the results have none."""
    costs: dict[str, list[tuple[float, str]]] = {}
    for (topic, name, _, unit), figures in rows.items():
        if topic == "hostile":
            costs.setdefault(unit, []).extend((figure.median, name) for figure in figures.values())
    if not costs:
        return ""
    worst = [f"{number(value)} {unit} ({name})" for unit, (value, name) in ((u, max(v)) for u, v in costs.items())]
    return f"- Refusing a hostile response costs at most {', '.join(worst)}; ms lie between two ticks.\n"


def _times(figures: Figures) -> Iterator[str]:
    """Yield the cells of a row of CPU times, and of their ratios."""
    yield from (cell(figures.get(name)) for name in (SOAPBATCH, ZEEP, LXML))
    for over, under in ((ZEEP, SOAPBATCH), (SOAPBATCH, LXML)):
        is_known = over in figures and under in figures
        yield f"{figures[over].median / figures[under].median:.1f}" if is_known else ""


def _table(head: Sequence[str], lines: Iterator[list[str]]) -> str:
    marks = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, marks, *lines])


def main() -> None:
    """Write the section into the README."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    readme = README.read_text(encoding="utf-8")
    README.write_text(_SECTION.sub(lambda _: section(results), readme), encoding="utf-8")


if __name__ == "__main__":
    main()
