"""The command line: its commands, its arguments and its exit status.

    0   the command did its work
    1   the command raised a SoapBatchError, whose message is on standard error
    2   the command line is wrong; usage is on standard error

To add a command, write its coroutine function in a module of its own and add a row to COMMANDS.
"""

import argparse
import pkgutil
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: the word on the command line.
        help: one line for `soapbatch --help`.
        coroutine_function: what runs the command, as "module:name". The module is imported when the command runs.
        flags: options without a value, by name, each with one line for the help of the command. The coroutine function
            gets `True` by keyword for each that is given.
    """

    name: str
    help: str
    coroutine_function: str
    flags: Mapping[str, str] = MappingProxyType({})


COMMANDS: Final = (
    Command(
        "demo",
        "run a batch job on an embedded NetServer and watch it",
        "soapbatch.cli.demo:demo",
        {"online": "on an embedded SuperOffice Online: find a tenant, sign in its system user, and follow a move"},
    ),
)


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
        for flag, line in command.flags.items():
            subparser.add_argument(f"--{flag}", action="store_true", help=line)
        subparser.set_defaults(coroutine_function=command.coroutine_function)
    options = vars(parser.parse_args(arguments))
    return _run(options.pop("coroutine_function"), {name: True for name, is_given in options.items() if is_given})


def _run(coroutine_function: str, options: Mapping[str, Any]) -> int:
    # These imports cost most of the time of `soapbatch --help`, which does not need them.
    import asyncio  # noqa: PLC0415

    from soapbatch.errors import SoapBatchError  # noqa: PLC0415

    function: Callable[[], Coroutine[Any, Any, None]] = pkgutil.resolve_name(coroutine_function)
    try:
        asyncio.run(function(**options))
    except SoapBatchError as error:
        sys.stderr.write(f"soapbatch: {error}\n")
        return 1
    return 0
