"""The command `soapbatch`, from its arguments to its exit status."""

import asyncio
import io
import logging
import re
import runpy
import subprocess
import sys

import pytest
import rich.console

from soapbatch import UsageError
from soapbatch.calls.observability import WIRE
from soapbatch.cli import demo as cli
from soapbatch.testing import DEMO_USER


def test_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`soapbatch demo` logs in, runs a job to its end, lists tasks, shows its output and the wire, and cleans up."""
    console = rich.console.Console(file=io.StringIO(), width=200, force_terminal=False, highlight=False)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    wire = WIRE.level, WIRE.propagate, list(WIRE.handlers)
    assert cli.main(["demo"]) == 0
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    started = re.search(r"• started ExportArchiveBatchPlugin: task (\d+)\n", shown)
    assert started
    number = started[1]
    steps = [
        "• an embedded NetServer listens at http://127.0.0.1:",
        f"• logged in as {DEMO_USER.name}: ",
        started[0],
        "100%",
        "• SucceededManualCleanup: ",
        "percent",
        "Nightly export",
        "• its output, ",
        "• one request and its response, as sent (secrets masked):",
        "GetBatchTaskInfo",
        "GetBatchTaskInfoResponse",
        f"• deleted task {number}; it is now None",
    ]
    places = [shown.find(step) for step in steps]
    assert places == sorted(places), dict(zip(steps, places, strict=True))
    assert min(places) >= 0
    assert "<Batch:Ticket>***</Batch:Ticket>" in shown
    assert "7T:" not in shown  # what a ticket begins with
    assert capsys.readouterr() == ("", "")
    assert wire == (WIRE.level, WIRE.propagate, list(WIRE.handlers))


def test_the_wire_log_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that fails while the demo listens to the wire log leaves no handler and no level behind."""

    class Failing:
        """A client whose calls fail."""

        @property
        def batch(self) -> "Failing":
            """An agent whose calls fail."""
            return self

        async def get_batch_task_info(self, _: int) -> None:
            """Fail while the wire log is open."""
            assert WIRE.isEnabledFor(logging.DEBUG)
            raise UsageError

    monkeypatch.setattr(WIRE, "level", logging.WARNING)
    with pytest.raises(UsageError):
        asyncio.run(cli._exchange_of(Failing(), 1))  # type: ignore[arg-type]  # all that is used of a client
    assert (WIRE.level, WIRE.propagate, WIRE.handlers) == (logging.WARNING, True, [])


def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the library is one line on standard error, and exit status 1."""

    async def failing() -> None:
        raise UsageError("it cannot be done")

    monkeypatch.setattr(cli, "demo", failing)
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr() == ("", "soapbatch: it cannot be done\n")


def test_success_is_status_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does its work gives exit status 0, and what it does not write, nobody does."""

    async def working() -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(cli, "demo", working)
    assert cli.main(["demo"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("module", ["rich.console", "rich.table", "rich.progress", "uvicorn"])
def test_without_the_extra(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where rich or uvicorn is not installed, the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["demo"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("soapbatch: ")
    assert "soapbatch[demo]" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "stream", "words"),
    [
        pytest.param(["--help"], 0, "out", "demo", id="help"),
        pytest.param(["demo", "--help"], 0, "out", "usage: soapbatch demo", id="help on the command"),
        pytest.param([], 2, "err", "required", id="nothing"),
        pytest.param(["dance"], 2, "err", "invalid choice: 'dance'", id="no such command"),
        pytest.param(["demo", "--fast"], 2, "err", "unrecognized arguments: --fast", id="no such option"),
    ],
)
def test_usage(arguments: list[str], status: int, stream: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help goes to standard output; a command line that is wrong, or empty, is a usage error."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == status
    written = capsys.readouterr()._asdict()
    assert words in written.pop(stream)
    assert not any(written.values())


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m soapbatch` is the command, with its exit status; importing the module runs nothing."""
    monkeypatch.setattr(sys, "argv", ["soapbatch", "--help"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("soapbatch", run_name="__main__")
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("usage: soapbatch ")
    runpy.run_module("soapbatch.__main__", run_name="imported")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), ([], 2)], ids=["help", "nothing"])
def test_in_a_process(arguments: list[str], status: int) -> None:
    """The exit status is what the shell sees."""
    command = [sys.executable, "-W", "error", "-m", "soapbatch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter
    assert done.returncode == status
    assert (done.stdout or done.stderr).startswith("usage: soapbatch ")
