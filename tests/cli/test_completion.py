"""Shell completion."""

import argparse
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from soapbatch.cli import completion, main
from soapbatch.cli.command_line import make_parser
from soapbatch.cli.rows import STATES
from soapbatch.operations import OPERATIONS
from tests.cli.conftest import World


@pytest.fixture
def argcomplete(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that stands for argcomplete, and keeps what it is given."""
    fake: Any = types.ModuleType("argcomplete")
    fake.shellcode = lambda names, shell: f"# {names[0]} in {shell}\n"
    fake.SuppressCompleter = object
    fake.parsers = []
    fake.autocomplete = lambda parser, **_: fake.parsers.append(parser)
    monkeypatch.setitem(sys.modules, "argcomplete", fake)
    return fake  # type: ignore[no-any-return]  # it is a module


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script(world: World, argcomplete: types.ModuleType, shell: str) -> None:
    """The script of argcomplete for the shell goes to standard output."""
    assert argcomplete.__name__
    assert world.run("completion", shell).out == f"# soapbatch in {shell}\n"


def test_without_argcomplete(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install; a shell that asks for completions gets none."""
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    done = world.run("completion", "bash")
    assert (done.status, "soapbatch[cli]" in done.err) == (2, True)
    completion.complete(make_parser())


def test_a_shell_asks(argcomplete: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A shell that asks gets a parser with the arguments of every command, and what completes their values."""
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    with pytest.raises(SystemExit):
        main(["--help"])
    capsys.readouterr()
    (parser,) = argcomplete.parsers
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    actions = {option: action for action in commands["list"]._actions for option in action.option_strings}
    assert list(actions["--state"].completer()) == list(STATES)
    assert "--profile" in actions


def test_values(world: World) -> None:
    """Profiles, states, settings, columns, operations and their parameters."""
    assert completion.profiles() == []
    world.run("config", "set", "--profile", "test", "url", world.url)
    assert completion.profiles() == ["test"]
    world.config.chmod(0o644)
    assert completion.profiles() == []
    assert completion.states() == STATES
    assert "password_command" in completion.settings()
    assert "id,name" in completion.columns(prefix="id,na")
    assert list(completion.operations()) == list(OPERATIONS)
    parsed = argparse.Namespace(operation="GetBatchTaskInfo")
    assert completion.parameters(parsed_args=parsed) == ["id="]
    assert completion.parameters(parsed_args=argparse.Namespace()) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("soapbatch st", {"start", "stop"}),
        ("soapbatch list --state S", {"Started", "Succeeded", "SucceededManualCleanup"}),
        ("soapbatch call GetSystem", {"GetSystemInfo"}),
        ("soapbatch --profile ", {"test"}),
        ("soapbatch help on", {"on_site", "online"}),
    ],
)
def test_in_a_process(world: World, line: str, words: set[str]) -> None:
    """The real argcomplete, as a shell calls it."""
    pytest.importorskip("argcomplete", reason="argcomplete is not installed: the extra cli brings it")
    world.run("config", "set", "--profile", "test", "url", world.url)
    answer = Path("answer")
    variables = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run(
        [sys.executable, "-m", "soapbatch"], env=world.environment() | variables, check=False, capture_output=True
    )
    assert {word.strip() for word in answer.read_text(encoding="utf-8").split("\n")} >= words
    assert os.environ.get("_ARGCOMPLETE") is None
