"""Run the benchmarks: `make bench`, or `python -m tests.bench --help`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench.case import QUICK, Plan, Row
from tests.bench.report import as_json, as_markdown, circumstances, show
from tests.bench.runner import TOPICS, cases, run


def main(arguments: Sequence[str]) -> None:
    """Measure, print tables, and write results.json, results.md and results.png."""
    from tests.bench.picture import draw  # noqa: PLC0415 - matplotlib comes with the extra bench, not with dev

    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "topics", nargs="*", choices=[*TOPICS, []], metavar="topic", help=f"of {', '.join(TOPICS)}; all"
    )
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    parser.add_argument("--out", type=Path, default=Path(".bench"), help="the folder to write to (%(default)s)")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else Plan()
    about = circumstances(arguments)
    rows = measure(plan, options.topics or list(TOPICS))
    console = Console(width=max(120, Console().width))
    show(console, rows)
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(about, rows), indent=1, ensure_ascii=False)
    (options.out / "results.json").write_text(f"{text}\n", encoding="utf-8")
    (options.out / "results.md").write_text(as_markdown(about, rows), encoding="utf-8")
    draw(about, rows, options.out / "results.png")
    console.print(f"results.json, results.md and results.png are in {options.out}")


def measure(plan: Plan, topics: Sequence[str]) -> list[Row]:
    """Run the cases of `topics` and show how far it has come."""
    found = list(cases(plan, topics))
    rows: list[Row] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        whole = progress.add_task("cases", total=len(found))
        for case in found:
            progress.update(whole, description=f"{case.topic}: {case.name}, {case.size:,} {case.of}")
            rows += run(case, plan, lambda share: progress.advance(whole, share))
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
