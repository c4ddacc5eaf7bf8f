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

Option = tuple[str, dict[str, Any]]
"""A flag, and the keyword arguments of `ArgumentParser.add_argument`."""


class Command(NamedTuple):
    """One command.

    Attributes:
        name: the word on the command line.
        help: one line for `soapbatch --help`.
        coroutine_function: what runs the command, as "module:name". The module is imported when the command runs. The
            function takes the options as keyword arguments.
        options: of the command.
        description: what `soapbatch COMMAND --help` says; "": what `help` says.
    """

    name: str
    help: str
    coroutine_function: str
    options: tuple[Option, ...] = ()
    description: str = ""


_DEMO_OPTIONS: Final[tuple[Option, ...]] = (
    (
        "--online",
        {
            "action": "store_true",
            "default": argparse.SUPPRESS,  # the function has a default of its own
            "help": "on an embedded SuperOffice Online: find a tenant, sign in its system user, and follow a move",
        },
    ),
)
_SERVE_OPTIONS: Final[tuple[Option, ...]] = (
    ("--port", {"type": int, "default": 0, "help": "the port to listen on; 0, the default: any free one"}),
    (
        "--job",
        {"metavar": "FILE.toml", "action": "append", "default": [], "help": "jobs: a table each, such as [Export]"},
    ),
    (
        "--speed",
        {"type": float, "default": 1.0, "help": "seconds of the server's clock in a second; 0: it stands still"},
    ),
    (
        "--failures",
        {"choices": ("header", "fault", "401"), "default": "header", "help": "how failures are reported"},
    ),
    (
        "--personality",
        {"default": "lenient", "help": "the SOAP stack to behave like: lenient, mono, jaxws, node_soap..."},
    ),
    ("--control", {"action": "store_true", "help": "serve the control API: python -m pydoc soapbatch.testing.control"}),
)
COMMANDS: Final = (
    Command(
        "demo",
        "run a batch job on an embedded NetServer and watch it",
        "soapbatch.cli.demo:demo",
        _DEMO_OPTIONS,
    ),
    Command(
        "serve",
        "serve an embedded NetServer for tests in any language",
        "soapbatch.cli.serve:serve",
        _SERVE_OPTIONS,
        'Serve an embedded NetServer on 127.0.0.1. One line of JSON, {"url": ...}, tells when it is ready and where. It'
        " ends on SIGTERM, and when its standard input, if that is a pipe, is closed. User demo, password demo.",
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
        subparser = subparsers.add_parser(
            command.name, help=command.help, description=command.description or command.help
        )
        subparser.set_defaults(coroutine_function=command.coroutine_function)
        for flag, settings in command.options:
            subparser.add_argument(flag, **settings)
    return _run(**vars(parser.parse_args(arguments)))


def _run(coroutine_function: str, **options: Any) -> int:
    # These imports cost most of the time of `soapbatch --help`, which does not need them.
    import asyncio  # noqa: PLC0415

    from soapbatch.errors import SoapBatchError  # noqa: PLC0415

    function: Callable[..., Coroutine[Any, Any, None]] = pkgutil.resolve_name(coroutine_function)
    try:
        asyncio.run(function(**options))
    except SoapBatchError as error:
        sys.stderr.write(f"soapbatch: {error}\n")
        return 1
    return 0
