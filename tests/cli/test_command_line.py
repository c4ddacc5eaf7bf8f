"""The command line: its arguments, its exit status, and what it imports."""

import asyncio
import inspect
import json
import pkgutil
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import soapbatch
from soapbatch import UsageError
from soapbatch.cli import demo, main
from soapbatch.cli.command_line import COMMANDS


def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the library is one line on standard error, and exit status 1."""

    async def failing() -> None:
        raise UsageError("it cannot be done")

    monkeypatch.setattr(demo, "demo", failing)
    assert main(["demo"]) == 1
    assert capsys.readouterr() == ("", "soapbatch: it cannot be done\n")


def test_success_is_status_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that raises nothing gives exit status 0; `main` itself writes nothing."""

    async def working() -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(demo, "demo", working)
    assert main(["demo"]) == 0
    assert capsys.readouterr() == ("", "")


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
        main(arguments)
    assert exit_.value.code == status
    written = capsys.readouterr()._asdict()
    assert words in written.pop(stream)
    assert not any(written.values())


def test_help_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command stands in `soapbatch --help` with its line, and names a coroutine function that exists."""
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for command in COMMANDS:
        assert f"{command.name} {command.help}" in lines
        assert inspect.iscoroutinefunction(pkgutil.resolve_name(command.coroutine_function))


def test_help_imports_no_command() -> None:
    """`soapbatch --help` does not wait for the client and the libraries that a command needs."""
    script = """
import json, sys
from soapbatch.cli import main
try:
    main(["--help"])
except SystemExit:
    json.dump(sorted(sys.modules), sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - this interpreter
    imported = json.loads(done.stderr)
    assert [name for name in imported if name.startswith("soapbatch")] == [
        "soapbatch",
        "soapbatch._lazy",
        "soapbatch.cli",
        "soapbatch.cli.command_line",
    ]
    assert {"asyncio", "attrs", "httpcore", "httpx", "lxml", "rich", "uvicorn"}.isdisjoint(imported)


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m soapbatch` is the command, with its exit status; importing the module runs nothing."""
    monkeypatch.setattr(sys, "argv", ["soapbatch", "--help"])
    module = str(
        Path(soapbatch.__file__).with_name("__main__.py")
    )  # by name, pytest's import hook would be asked for it
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(module, run_name="__main__")
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("usage: soapbatch ")
    runpy.run_path(module, run_name="imported")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), ([], 2)], ids=["help", "nothing"])
def test_in_a_process(arguments: list[str], status: int) -> None:
    """A shell sees the exit status."""
    command = [sys.executable, "-W", "error", "-m", "soapbatch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter
    assert done.returncode == status
    assert (done.stdout or done.stderr).startswith("usage: soapbatch ")
