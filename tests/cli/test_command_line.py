"""The command line: its arguments, its exit status, and what it imports."""

import argparse
import asyncio
import inspect
import io
import json
import os
import pkgutil
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import soapbatch
from soapbatch import UsageError
from soapbatch.cli import demo, main
from soapbatch.cli.command_line import COMMANDS, make_parser
from soapbatch.cli.rows import GLOBAL, Command, duration, interval, names, pair, state, task_id
from soapbatch.system import LOG, WIRE
from tests.cli.conftest import World


def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error of the library is one line on standard error, and exit status 2."""

    async def failing(_: object) -> None:
        raise UsageError("it cannot be done")

    monkeypatch.setattr(demo, "demo", failing)
    assert main(["demo"]) == 2
    assert capsys.readouterr() == ("", "soapbatch: it cannot be done\n")


def test_success_is_status_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that raises nothing gives exit status 0; `main` itself writes nothing."""

    async def working(_: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(demo, "demo", working)
    assert main(["demo"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "status", "stream", "words"),
    [
        pytest.param(["--help"], 0, "out", "demo", id="help"),
        pytest.param(["--version"], 0, "out", "soapbatch ", id="version"),
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
        assert inspect.iscoroutinefunction(pkgutil.resolve_name(command.function))


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
        "soapbatch.cli.job_rows",
        "soapbatch.cli.rows",
        "soapbatch.cli.server_rows",
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


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_each_command(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """`soapbatch COMMAND --help` has the text, every argument with its help, and examples that parse."""
    with pytest.raises(SystemExit) as exit_:
        main([command.name, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert exit_.value.code == 0
    assert command.text.split()[0] in shown
    assert [row.names for row in command.arguments if not row.settings.get("help")] == []
    assert [row.names for row in command.arguments if " ".join(row.settings["help"].split()) not in shown] == []
    for line in command.examples.splitlines():
        for words in re.findall(
            r"(?:^|[|(\"] ?|&& )(?:xargs )?soapbatch ([^|)#&>]*)", line.strip().replace("$(date +%F)", "x")
        ):
            parsed = shlex.split(words)
            make_parser().parse_args([*parsed, "1"] if "xargs" in line and parsed[0] == "stop" else parsed)


def test_every_option_of_every_command_has_help() -> None:
    """The options of every command are explained in `soapbatch --help`, and taken before and behind the command."""
    assert [row.names for row in GLOBAL if not row.settings.get("help")] == []
    before = make_parser().parse_args(["-o", "json", "-q", "list"])
    behind = make_parser().parse_args(["list", "-o", "json", "-q"])
    assert vars(before) == vars(behind)
    assert (before.output, before.quiet, before.url) == ("json", True, None)


def test_words_in_any_order() -> None:
    """Options may stand between other words."""
    options = make_parser().parse_args(["wait", "1", "--any", "2", "--interval", "5s", "3"])
    assert (options.ids, options.any, options.interval) == ([1, 2, 3], True, 5)
    options = make_parser().parse_args(["config", "set", "--profile", "test", "url", "x"])
    assert (options.action, options.profile, options.key, options.value) == ("set", "test", "url", "x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("7d", 604800),
        ("1w", 604800),
        ("1h30m", 5400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a number of seconds, or numbers with units."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf", "1y", "2 h", "400d", "1e9"])
def test_no_durations(text: str) -> None:
    """Anything else, and more than a year, is refused."""
    with pytest.raises(argparse.ArgumentTypeError, match="no duration"):
        duration(text)


@pytest.mark.parametrize("words", [["-o", "json", "dance"], ["list", "--output=jsonl", "--limit", "x"], ["-ojson"]])
def test_wrong_command_lines_in_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Under -o json a wrong command line is one JSON object, too."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["type"], error["exit_status"]) == ("UsageError", 2)


def test_other_values() -> None:
    """Pairs, states, ids, intervals and lists of names."""
    assert pair("a=b=c") == ("a", "b=c")
    assert pair("a=") == ("a", "")
    assert state("acquired") == state("AQUIRED") == "Aquired"
    assert task_id("42") == 42
    assert interval("0.5") == 0.5
    assert names("id, name,,") == ["id", "name"]
    for read, text in ((pair, "a"), (pair, "=b"), (state, "All"), (task_id, "0"), (task_id, "x"), (interval, "0")):
        with pytest.raises(argparse.ArgumentTypeError):
            read(text)


def test_standard_output_is_closed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A reader that has gone is exit status 141, without a word; nothing is left that Python would complain about."""

    async def writing(_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(demo, "demo", writing)
    with capfd.disabled():
        before = os.dup(1)
        try:
            assert main(["demo"]) == 141
        finally:
            os.dup2(before, 1)
            os.close(before)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["demo"]) == 141


def test_interrupted_without_a_job(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while nothing runs that the command has started."""

    async def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "demo", interrupted)
    assert main(["demo"]) == 130
    assert "nothing runs on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "shown", "hidden"),
    [
        ([], "", "GetSystemInfo"),
        (["-v"], "soapbatch: GetSystemInfo", "<"),
        (["-vv"], "> POST http", "7T:"),
    ],
)
def test_verbosity(world: World, words: list[str], shown: str, hidden: str) -> None:
    """-v says each request, -vv the envelopes; afterwards the loggers are as they were."""
    before = LOG.level, WIRE.level, list(LOG.handlers)
    err = world.run(*words, "info").err
    assert shown in err
    assert hidden not in err
    assert (LOG.level, WIRE.level, LOG.handlers) == before
