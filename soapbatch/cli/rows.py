"""What a row of the table of commands is made of, and how the words of a command line become values.

`soapbatch --help` imports this module and the tables, and nothing of the library: it takes some milliseconds.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_LONGEST_DURATION: Final = 366 * 86400.0

STATES: Final = ("New", "Aquired", "Started", "Succeeded", "Failed", "SucceededManualCleanup")
"""The states of tasks, as the server spells them."""
FORMATS: Final = ("table", "json", "jsonl", "ids")
BINDINGS: Final = ("documented", "soap11", "soap12")
DEFAULT_COLUMNS: Final = ("id", "name", "state", "progress_percent", "age", "associate_id", "description")
"""The columns of a table of tasks: fields of BatchTaskInfo, and `age`."""


class Argument(NamedTuple):
    """An argument of a command.

    Attributes:
        names: one name without dashes, or options.
        settings: the keyword arguments of `ArgumentParser.add_argument`.
        completer: what completes its values in a shell, as "module:function"; "": its choices do.
    """

    names: tuple[str, ...]
    settings: Mapping[str, Any]
    completer: str = ""


class Command(NamedTuple):
    """One command.

    Attributes:
        name: the word on the command line.
        family: the heading under which `soapbatch --help` lists the command.
        help: one line for `soapbatch --help`.
        function: the coroutine function that runs the command, as "module:name". The module is imported when the
            command runs. The function takes an `Invocation`, and returns the exit status (None: 0).
        usage: the words after the name.
        arguments: of the command, beside those of every command.
        text: what the command does, in paragraphs.
        examples: command lines, each under a line that says what it does.
    """

    name: str
    family: str
    help: str
    function: str
    usage: str = "[options]"
    arguments: tuple[Argument, ...] = ()
    text: str = ""
    examples: str = ""


def argument(*names: str, completer: str = "", **settings: Any) -> Argument:
    """Return an argument; `settings` are those of `ArgumentParser.add_argument`."""
    return Argument(names, settings, completer)


def duration(text: str) -> float:
    """Return the seconds that `text` means: `90`, `90s`, `15m`, `2h`, `7d`, `1w`, `1h30m`."""
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smhdw])", text))
    else:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
    if not 0 <= seconds <= _LONGEST_DURATION:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 90, 90s, 15m, 2h or 7d, up to a year")
    return seconds


def interval(text: str) -> float:
    """Return the seconds between two readings: a duration of more than zero."""
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError("an interval is longer than 0 seconds")
    return seconds


def pair(text: str) -> tuple[str, str]:
    """Return name and value of `name=value`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE")
    return name, value


def state(text: str) -> str:
    """Return the state that `text` names, in any case."""
    by_name = {name.lower(): name for name in STATES} | {"acquired": "Aquired"}
    try:
        return by_name[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is no state: there are {', '.join(STATES)}") from None


def number(lowest: int) -> Callable[[str], int]:
    """Return a function that reads a whole number, which is at least `lowest`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if value < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {lowest} on")
        return value

    return read


task_id: Final = number(1)
"""Reads the id of a task."""


def names(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


GLOBAL: Final = (
    argument(
        "--profile",
        metavar="NAME",
        completer="soapbatch.cli.completion:profiles",
        help="a profile of the configuration file (SOAPBATCH_PROFILE; else the one named default)",
    ),
    argument(
        "--url", metavar="URL", help="the server, for example https://crm.example.com/SuperOffice (SOAPBATCH_URL)"
    ),
    argument("--user", metavar="NAME", help="who logs in (SOAPBATCH_USER)"),
    argument("--service-version", metavar="NN", help="the service version, 75 to 88 (SOAPBATCH_VERSION; else 88)"),
    argument(
        "--binding",
        choices=BINDINGS,
        metavar="FORM",
        help="documented, soap11 or soap12 (SOAPBATCH_BINDING; else the first call finds out; see doctor)",
    ),
    argument("--timeout", metavar="TIME", type=duration, help="limit of one call, such as 30 or 2m (else 60 seconds)"),
    argument(
        "--password-stdin",
        action="store_true",
        default=None,
        help="read the password from standard input, if a login is needed",
    ),
    argument("-o", "--output", choices=FORMATS, metavar="FORM", help="table, json, jsonl or ids (else table)"),
    argument("-q", "--quiet", action="store_true", default=None, help="say nothing but data and errors"),
    argument("-v", "--verbose", action="count", help="say each request; -vv: the envelopes, too, with secrets masked"),
    argument("--no-color", action="store_true", default=None, help="no colours (likewise NO_COLOR)"),
    argument("--no-input", action="store_true", default=None, help="never ask; without a terminal nothing is asked"),
    argument("-y", "--yes", action="store_true", default=None, help="answer yes to every question"),
)
"""The options of every command. They may stand before the command or behind it."""
