"""One run of the command: its options, settings and output, its client, and how it ends."""

import argparse
import asyncio
import contextlib
import io
import logging
import os
import pkgutil
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import cached_property
from pathlib import Path
from typing import Any

from soapbatch.calls import Hooks
from soapbatch.cli.connecting import Login, TicketFile, make_client
from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.output import Output
from soapbatch.cli.settings import Settings, load_settings
from soapbatch.client import Client
from soapbatch.errors import SoapBatchError
from soapbatch.system import LOG, WIRE


class Invocation:
    """One run of the command.

    Attributes:
        options: what the command line says.
        output: where data and talk go.
        running: the ids of the jobs that run on if the command is interrupted now.
        starting: the name of the job whose start is under way, or None.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        """Take what the command line says; nothing is read yet."""
        self.options = options
        self.output = Output(options)
        self.running: list[int] = []
        self.starting: str | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings: from options, environment and profile."""
        return load_settings(self.options, os.environ)

    @cached_property
    def ticket_file(self) -> TicketFile:
        """The file in which the ticket is kept."""
        return TicketFile(self.settings, os.environ)

    @cached_property
    def login(self) -> Login:
        """What logs in."""
        from_stdin = bool(self.options.password_stdin)
        return Login(self.settings, self.output, self.ticket_file, from_stdin=from_stdin)

    @contextlib.asynccontextmanager
    async def client(self, hooks: Hooks | None = None) -> AsyncGenerator[Client]:
        """Yield a client with a way to get a ticket, and close it."""
        async with await make_client(self.settings, self.ticket_file, self.login, hooks) as client:
            yield client


def run_command(options: argparse.Namespace) -> int:
    """Run the command that the options name, and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows a question mark
    invocation = Invocation(options)
    function: Callable[[Invocation], Coroutine[Any, Any, int | None]] = pkgutil.resolve_name(options.function)
    try:
        with _logging(options.verbose or 0, invocation.output):
            status = asyncio.run(function(invocation))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted(invocation)
    except BrokenPipeError:
        # Python flushes standard output once more at its end, and would complain.
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
        return ExitStatus.CLOSED
    except SoapBatchError as error:
        return invocation.output.report(error)
    except OSError as error:
        return _file_error(invocation, error)
    return ExitStatus.DONE if status is None else status


def _interrupted(invocation: Invocation) -> ExitStatus:
    """Say which jobs run on, and how to go on with them."""
    ids = " ".join(map(str, invocation.running))
    if invocation.starting is not None:
        name = invocation.starting
        what = f"the start of {name} was under way, and the job may run: soapbatch list --name {name}"
    elif ids:
        what = f"task {ids} runs on: wait again with `soapbatch wait {ids}`, or stop it with `soapbatch stop {ids}`"
    else:
        what = "nothing runs on that this command has started"
    status = ExitStatus.INTERRUPTED
    if invocation.output.is_json:
        found = {"type": "Interrupted", "message": what, "ids": invocation.running, "exit_status": status}
        invocation.output.report_json(found)
    else:
        sys.stderr.write(f"soapbatch: interrupted; {what}\n")
    return status


def _file_error(invocation: Invocation, error: OSError) -> ExitStatus:
    status = ExitStatus.USAGE
    message = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    if invocation.output.is_json:
        invocation.output.report_json({"type": type(error).__name__, "message": message, "exit_status": status})
    else:
        sys.stderr.write(f"soapbatch: {message}\n")
    return status


@contextlib.contextmanager
def _logging(verbosity: int, output: Output) -> Generator[None]:
    """Show the library's records: its warnings as talk; 1: what it does, on standard error; 2: envelopes, too."""
    handler = logging.StreamHandler(sys.stderr) if verbosity else _Talk(output)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    before = LOG.level, WIRE.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG if verbosity else logging.WARNING)
    WIRE.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before[0])
        WIRE.setLevel(before[1])


class _Talk(logging.Handler):
    """Says the library's warnings to the person at the terminal."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record."""
        self._output.say(self.format(record))
