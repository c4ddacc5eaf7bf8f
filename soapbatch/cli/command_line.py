"""The command line: its commands, its arguments and its exit status.

    0   the command did its work
    1   the command raised a SoapBatchError, whose message is on standard error
    2   the command line is wrong; usage is on standard error

To add a command, write its coroutine function in a module of its own and add a row to COMMANDS.
"""

import argparse
import pkgutil
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: the word on the command line.
        help: one line for `soapbatch --help`.
        coroutine_function: what runs the command, as "module:name". The module is imported when the command runs.
    """

    name: str
    help: str
    coroutine_function: str


COMMANDS: Final = (Command("demo", "run a batch job on an embedded NetServer and watch it", "soapbatch.cli.demo:demo"),)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `soapbatch`; None: those that the process was started with.

    Returns:
        The exit status.

    Raises:
        SystemExit: with status 0 after `--help`, and with status 2 if the command line is wrong.
    """
    parser = argparse.ArgumentParser(prog="soapbatch", description="The batch services of SuperOffice NetServer.")
    subparsers = parser.add_subparsers(title="commands", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help)
        subparser.set_defaults(coroutine_function=command.coroutine_function)
    return _run(parser.parse_args(arguments).coroutine_function)


def _run(coroutine_function: str) -> int:
    # These imports cost most of the time of `soapbatch --help`, which does not need them.
    import asyncio  # noqa: PLC0415

    from soapbatch.errors import SoapBatchError  # noqa: PLC0415

    function: Callable[[], Coroutine[Any, Any, None]] = pkgutil.resolve_name(coroutine_function)
    try:
        asyncio.run(function())
    except SoapBatchError as error:
        sys.stderr.write(f"soapbatch: {error}\n")
        return 1
    return 0
