"""What a command writes: data to standard output, and talk to standard error.

The form of the data is that of `-o`: a table for people, JSON and JSON lines for programs, ids for shells. Text of the
server is shown without control characters, which could move the cursor of a terminal or change its title.
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

from soapbatch.cli.exit_status import ExitStatus, advice_on, status_of
from soapbatch.cli.jsonable import SCHEMA, plain_error
from soapbatch.cli.rows import DEFAULT_COLUMNS
from soapbatch.errors import SoapBatchError, UsageError
from soapbatch.model import BatchTaskInfo, redact, to_plain

if TYPE_CHECKING:
    from rich.console import Console

# Of the states of tasks, and of the statuses of checks.
_COLORS: Final = {"Succeeded": "green", "SucceededManualCleanup": "green", "Failed": "red", "Started": "cyan"} | {
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
    "skip": "dim",
}
_TITLES: Final = {"progress_percent": "%", "associate_id": "owner"}
_WIDE: Final = 10_000
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))


def printable(text: object) -> str:
    """Return `text` on one line: control characters, and characters that change the direction, are escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in " ".join(str(text).splitlines())
    )


def age_of(moment: datetime | None, now: datetime) -> float | None:
    """Return the seconds since `moment`, which is UTC if it has no zone; None: there is none."""
    if moment is None:
        return None
    return (now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))).total_seconds()


def short_time(seconds: float | None) -> str:
    """Return seconds in at most two units: `42s`, `3m05s`, `2h10m`, `5d3h`."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            smaller, smaller_unit = _UNITS[index + 1] if index + 1 < len(_UNITS) else (1, "s")
            rest = whole % size // smaller
            return f"{whole // size}{unit}{rest:02}{smaller_unit}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


class Output:
    """Where a command writes, and how.

    Attributes:
        form: of the data: "table", "json", "jsonl" or "ids".
        is_quiet: whether talk is left out.
        takes_input: whether questions may be asked.
        says_yes: whether every question is answered yes.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        """Write as the options of every command say."""
        self.form: str = options.output or "table"
        self.is_quiet = bool(options.quiet)
        self.takes_input = not options.no_input and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
        self.says_yes = bool(options.yes)
        self._has_color = not options.no_color

    @property
    def is_json(self) -> bool:
        """Whether a program reads the output."""
        return self.form in {"json", "jsonl"}

    def console(self, stream: TextIO) -> "Console":
        """Return rich's console on a stream. Where that is no terminal, lines are as long as they need to be.

        Raises:
            UsageError: rich is not installed.
        """
        try:
            from rich.console import Console  # noqa: PLC0415 - rich belongs to an extra
        except ImportError:
            raise UsageError('tables need rich: pip install "soapbatch[cli]", or choose -o json') from None
        width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDE
        no_color = None if self._has_color else True
        return Console(file=stream, width=width, no_color=no_color, highlight=False, markup=False, emoji=False)

    # --- Data ---------------------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Write a line of data, at once."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def write_json(self, value: Mapping[str, Any]) -> None:
        """Write an object, with the version of its schema: on several lines for -o json, else on one."""
        self.write(_dumped({"schema": SCHEMA} | to_plain(value), sys.stdout, indent=2 if self.form == "json" else None))

    def write_line(self, value: Mapping[str, Any]) -> None:
        """Write an object as one line of JSON, with the version of its schema."""
        self.write(_dumped({"schema": SCHEMA} | to_plain(value), sys.stdout))

    def write_tasks(self, infos: Sequence[BatchTaskInfo], columns: Sequence[str] | None = None) -> None:
        """Write tasks in the form of -o; `columns`: the fields to show, None: those of a table, and all in JSON."""
        if self.form == "ids":
            for info in infos:
                self.write(str(info.id))
        elif self.is_json:
            rows = [_fields_of(info, columns) for info in infos]
            if self.form == "json":
                self.write_json({"tasks": rows})
            for row in rows if self.form == "jsonl" else ():
                self.write_line(row)
        elif not infos:
            self.say("no tasks")
        else:
            shown = columns or DEFAULT_COLUMNS
            self.write_table([_TITLES.get(name, name) for name in shown], [_cells(info, shown) for info in infos])

    def write_table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table without lines. A state, and the status of a check, has a colour on a terminal."""
        console = self.console(sys.stdout)
        from rich.table import Table  # noqa: PLC0415 - rich belongs to an extra
        from rich.text import Text  # noqa: PLC0415 - likewise

        table = Table(*(title.upper() for title in titles), box=None, pad_edge=False, show_header=any(titles))
        for row in rows:
            table.add_row(*(Text(printable(cell), _COLORS.get(cell, "")) for cell in row))
        with console.capture() as captured:
            console.print(table)
        self.write("\n".join(line.rstrip() for line in captured.get().splitlines()))

    def write_fields(self, value: Mapping[str, Any]) -> None:
        """Write names and values, one a line; a mapping within has its names behind a dot, and None is left out."""
        self.write_table(["", ""], _flat(value))

    # --- Talk ---------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Say something to the person at the terminal, unless a program reads the output, or --quiet."""
        if not (self.is_quiet or self.is_json):
            sys.stderr.write(f"{redact(text)}\n")

    def report(self, error: SoapBatchError, status: ExitStatus | None = None) -> ExitStatus:
        """Write an error to standard error, with what to do next, and return the exit status."""
        status = status_of(error) if status is None else status
        if self.is_json:
            self.report_json(plain_error(error, status))
            return status
        lines = [f"soapbatch: {printable(redact(str(error)))}"]
        lines += [f"  {printable(redact(note))}" for note in getattr(error, "__notes__", ())]
        if advice := advice_on(error, status):
            lines.append(f"  next: {advice}")
        sys.stderr.write("\n".join(lines) + "\n")
        return status

    def report_json(self, error: Mapping[str, Any]) -> None:
        """Write an error to standard error as one JSON object."""
        sys.stderr.write(redact(_dumped({"schema": SCHEMA, "error": to_plain(error)}, sys.stderr)) + "\n")

    def confirm(self, question: str) -> None:
        """Ask whether to go on.

        Raises:
            UsageError: the answer is no, or there is nobody to ask.
        """
        if self.says_yes:
            return
        if not self.takes_input:
            raise UsageError(f"{question} There is no terminal to ask on: add -y")
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise UsageError("nothing was done")

    def ask_password(self, prompt: str) -> str | None:
        """Ask for a password on the terminal, without showing it; None: there is none to ask on."""
        if not self.takes_input:
            return None
        try:
            return getpass.getpass(prompt, stream=sys.stderr)
        except EOFError:
            return None


def _dumped(value: object, stream: TextIO, indent: int | None = None) -> str:
    is_ascii = (stream.encoding or "").lower().replace("-", "") not in {"utf8", "utf16", "utf32"}
    return json.dumps(value, ensure_ascii=is_ascii, indent=indent)


def _fields_of(info: BatchTaskInfo, columns: Sequence[str] | None) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(info)
    if columns is None:
        return plain
    plain["age"] = age_of(info.created, datetime.now(UTC))
    return {name: plain[name] for name in columns}


def _cells(info: BatchTaskInfo, columns: Sequence[str]) -> list[str]:
    plain = to_plain(info)
    plain["age"] = short_time(age_of(info.created, datetime.now(UTC)))
    return ["" if plain[name] is None else _text(plain[name]) for name in columns]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else str(value)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += _flat(cast("Mapping[str, Any]", item), f"{prefix}{name}.")
        elif isinstance(item, list) and item and isinstance(item[0], Mapping):
            for number, part in enumerate(cast("list[Mapping[str, Any]]", item)):
                rows += _flat(part, f"{prefix}{name}[{number}].")
        elif item is not None:
            rows.append((f"{prefix}{name}", _text(item)))
    return rows
