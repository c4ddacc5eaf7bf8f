"""The command line: the table of its commands, their parser, and `main`.

To add a command, write a coroutine function that takes an `Invocation`, in the module of its family, and add a row to
`job_rows` or `server_rows`. The exit statuses stand in `exit_status`.
"""

import argparse
import os
import pkgutil
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from soapbatch.cli.job_rows import JOB_COMMANDS
from soapbatch.cli.rows import GLOBAL, Argument, Command
from soapbatch.cli.server_rows import SERVER_COMMANDS

COMMANDS: Final = (*JOB_COMMANDS, *SERVER_COMMANDS)

_WIDEST: Final = 100
_JSON: Final = re.compile(r"(?:-o|--output)[ =]?json")
_ABOUT: Final = "Start, watch and stop the batch jobs of a SuperOffice NetServer, and fetch their outputs."
_EPILOG: Final = """
exit status:
  0    done
  1    the job failed, or the server reports an error
  2    usage: the command line or a setting is wrong
  3    no such task, or it has no output
  4    time is up: the job runs on
  5    refused: the login, a right, the task itself, or --if-running fail
  6    no answer, and nothing was applied
  7    unknown: the answer was lost, and the job may have been started, stopped or deleted
  8    partly: some tasks worked and some did not
  130  interrupted (Ctrl-C): the job runs on, and its id is said
  141  standard output was closed, as by `| head`

first steps:
  soapbatch login --url https://crm.example.com/SuperOffice --user ada
  soapbatch list --running          what hangs?
  soapbatch show 42                 why?
  soapbatch stop 42                 stop it
  soapbatch run NAME -O out.csv     start it again, wait, and save its output
  soapbatch doctor                  when nothing works
  soapbatch help                    pages to read

`soapbatch COMMAND --help` shows the arguments of a command, and examples. Data goes to standard output, and everything
else to standard error. With -o json an error is one JSON object on standard error.
"""


class _Formatter(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal, and leaves indented lines as they are."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, _WIDEST) - 2
        super().__init__(prog, max_help_position=26, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = textwrap.dedent(text).strip("\n").split("\n\n")
        return "\n\n".join(self._filled(paragraph, width, indent) for paragraph in paragraphs)

    @staticmethod
    def _filled(paragraph: str, width: int, indent: str) -> str:
        lines = paragraph.splitlines()
        if any(line.startswith(" ") for line in lines):
            return textwrap.indent(paragraph, indent)
        return textwrap.fill(" ".join(lines), width, initial_indent=indent, subsequent_indent=indent)


class _Parser(argparse.ArgumentParser):
    """A parser that reports a wrong command line in the form of -o.

    Attributes:
        is_json: whether the command line asks for JSON.
    """

    is_json = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with status 2."""
        if self.is_json:
            import json  # noqa: PLC0415 - `soapbatch --help` need not wait for it

            found = {"type": "UsageError", "message": message, "exit_status": 2}
            self.exit(2, json.dumps({"schema": 1, "error": found}) + "\n")
        super().error(message)


class _CommandParser(_Parser):
    """The parser of one command. It gets its arguments when the command is used: making all of them takes a while."""

    def __init__(self, *, command: Command, **settings: Any) -> None:
        super().__init__(**settings)
        self._command: Command | None = command
        self._is_inner_call = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - typeshed overloads it
        """Parse options and other words in any order: argparse by itself takes all other words at once."""
        self.fill()
        if self._is_inner_call:
            return super().parse_known_args(args, namespace)
        self._is_inner_call = True
        try:
            return super().parse_known_intermixed_args(args, namespace)
        finally:
            self._is_inner_call = False

    def fill(self, *, is_completing: bool = False) -> None:
        """Add the arguments, once."""
        if (command := self._command) is None:
            return
        self._command = None
        self._positionals.title = "arguments"
        own = {name for row in command.arguments for name in row.names}
        scopes = self.add_mutually_exclusive_group()
        for row in command.arguments:
            _add(scopes if row.settings.get("dest") == "scope" else self, row, is_completing=is_completing)
        for row in GLOBAL:
            if own.isdisjoint(row.names):
                hidden = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS}
                _add(self, row._replace(settings={**row.settings, **hidden}), is_completing=is_completing)


def _add(group: Any, row: Argument, *, is_completing: bool) -> None:
    added = group.add_argument(*row.names, **row.settings)
    if is_completing and row.completer:
        added.completer = pkgutil.resolve_name(row.completer)


def _command_epilog(command: Command) -> str:
    examples = textwrap.indent(textwrap.dedent(command.examples).strip("\n"), "  ")
    shown = f"examples:\n{examples}\n\n" if examples else ""
    return f"{shown}{_ALSO}"


_ALSO: Final = "Options of every command, such as --profile, -o json, -q, -v and -y, stand in `soapbatch --help`."


def _families() -> str:
    """Return the commands under the headings of their families."""
    lines: list[str] = []
    for family in dict.fromkeys(command.family for command in COMMANDS):
        lines += ["", f"{family.lower()}:"]
        lines += [f"  {command.name:<12}{command.help}" for command in COMMANDS if command.family == family]
    return "\n".join(lines)


def make_parser(*, is_completing: bool = False) -> argparse.ArgumentParser:
    """Return the parser; `is_completing`: with the arguments of every command, and what completes their values."""
    parser = _Parser(
        prog="soapbatch",
        usage="soapbatch COMMAND [arguments] [options]",
        description=f"{_ABOUT}\n{_families()}",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    options = parser.add_argument_group("options of every command")
    parser.add_argument("--version", action=_Version, dest=argparse.SUPPRESS, help="print the version and end")
    for row in GLOBAL:
        _add(options, row, is_completing=is_completing)
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, help=argparse.SUPPRESS, parser_class=_CommandParser
    )
    for command in COMMANDS:
        made = subparsers.add_parser(
            command.name,
            command=command,
            usage=f"soapbatch {command.name} {command.usage}",
            description=command.text,
            epilog=_command_epilog(command),
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        made.set_defaults(function=command.function)
        if is_completing:
            made.fill(is_completing=True)
    return parser


class _Version(argparse.Action):
    """Prints the version. It is read only then: importlib.metadata takes longer than the whole help."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - see the class

        sys.stdout.write(f"soapbatch {version('soapbatch')}\n")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `soapbatch`; None: those that the process was started with.

    Returns:
        The exit status.

    Raises:
        SystemExit: with status 0 after `--help`, and with status 2 if the command line is wrong.
    """
    if "_ARGCOMPLETE" in os.environ:
        from soapbatch.cli.completion import complete  # noqa: PLC0415 - a shell asks for completions

        complete(make_parser(is_completing=True))
    words = sys.argv[1:] if arguments is None else arguments
    _Parser.is_json = _JSON.search(" ".join(words)) is not None
    options = make_parser().parse_args(words)
    # These imports cost most of the time of `soapbatch --help`, which does not need them.
    from soapbatch.cli.invocation import run_command  # noqa: PLC0415

    return run_command(options)
