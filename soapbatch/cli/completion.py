"""`soapbatch completion`, and what completes values in a shell. A completion must be quick, and sends nothing."""

import argparse
import os
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from soapbatch.cli.rows import STATES

if TYPE_CHECKING:
    from soapbatch.cli.invocation import Invocation


async def completion(invocation: "Invocation") -> int:
    """Print the completion script for a shell."""
    from soapbatch.errors import UsageError  # noqa: PLC0415 - completing values in a shell needs no error

    try:
        argcomplete: Any = import_module("argcomplete")
    except ImportError:
        raise UsageError('completion needs argcomplete: pip install "soapbatch[cli]"') from None
    invocation.output.write(argcomplete.shellcode(["soapbatch"], shell=invocation.options.shell).rstrip("\n"))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and end the process; do nothing where argcomplete is not installed."""
    try:
        argcomplete: Any = import_module("argcomplete")
    except ImportError:
        return
    no_files = argcomplete.SuppressCompleter()
    argcomplete.autocomplete(parser, print_suppressed=True, default_completer=no_files, always_complete_options="long")


def profiles(**_: object) -> Iterable[str]:
    """Return the names of the profiles."""
    from soapbatch.cli.config_file import ConfigFile  # noqa: PLC0415 - only this value needs it
    from soapbatch.errors import SoapBatchError  # noqa: PLC0415 - likewise

    try:
        return list(ConfigFile(os.environ).read())
    except SoapBatchError:
        return []


def states(**_: object) -> Iterable[str]:
    """Return the states of tasks."""
    return STATES


def settings(**_: object) -> Iterable[str]:
    """Return the settings of a profile."""
    from soapbatch.cli.config_file import KEYS  # noqa: PLC0415 - only this value needs it

    return list(KEYS)


def columns(*, prefix: str, **_: object) -> Iterable[str]:
    """Return the columns of tables; behind a comma, further ones."""
    from soapbatch.cli.listing import COLUMNS  # noqa: PLC0415 - only this value needs it

    before, comma, _last = prefix.rpartition(",")
    return [f"{before}{comma}{column}" for column in COLUMNS]


def operations(**_: object) -> Iterable[str]:
    """Return the names of the operations."""
    from soapbatch.operations import OPERATIONS  # noqa: PLC0415 - only this value needs it

    return list(OPERATIONS)


def parameters(*, parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """Return the parameters of the operation on the command line, each with its `=`."""
    from soapbatch.operations import OPERATIONS  # noqa: PLC0415 - only this value needs it

    operation = OPERATIONS.get(getattr(parsed_args, "operation", None) or "")
    return [] if operation is None else [f"{row.attribute}=" for row in operation.parameters]


def pages(**_: object) -> Iterable[str]:
    """Return the pages of the guide."""
    from soapbatch.cli.pages import summaries  # noqa: PLC0415 - only this value needs it

    return list(summaries())
