"""`soapbatch help`: the pages of the guide on a terminal, in a pipe, and as JSON."""

import inspect
import json
import pkgutil
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from soapbatch import guide
from soapbatch.cli import completion
from soapbatch.cli.pages import summaries
from soapbatch.guide import operators
from tests.cli.conftest import Done, World

NAMES = [module.name for module in pkgutil.iter_modules(guide.__path__)]
PAGE = inspect.getdoc(operators) or ""


def test_the_guide_lists_its_pages() -> None:
    """Its docstring has a line for each module, which shells complete."""
    assert sorted(summaries()) == NAMES
    assert list(completion.pages()) == list(summaries())


def test_without_a_page(world: World) -> None:
    """The pages are listed, each with its line."""
    out = world.run("help").out
    for name, line in summaries().items():
        assert f"  {name} " in out
        assert line in out
    found = json.loads(world.run("help", "-o", "json").out)
    assert found["pages"] == [{"name": name, "summary": line} for name, line in summaries().items()]


@pytest.mark.parametrize("name", NAMES)
def test_a_page(world: World, name: str) -> None:
    """A page is printed as it stands; in its name a hyphen is as good as an underline, and case does not matter."""
    done = world.run("help", name)
    assert (done.status, done.err) == (0, "")
    assert world.run("help", name.upper().replace("_", "-")).out == done.out
    assert json.loads(world.run("help", name, "-o", "json").out) == {
        "schema": 1,
        "page": name,
        "text": done.out.removesuffix("\n"),
    }


def test_pictures(world: World) -> None:
    """A page names the path of each picture, which is there."""
    paths = re.findall(r"^\[The states of a job: (.+)\]$", world.run("help", "jobs").out, re.MULTILINE)
    assert [Path(path).name for path in paths] == ["job_states.svg"]
    assert Path(paths[0]).is_file()


def test_on_a_terminal(terminal: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pager shows the page, unless nobody could press its keys."""
    paged: list[str] = []
    monkeypatch.setattr(pydoc, "pager", paged.append)
    assert terminal("help", "operators").out == ""
    assert paged == [f"{PAGE}\n"]
    assert terminal("help", "operators", "--no-input").out == f"{PAGE}\n"
    assert len(paged) == 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("job", "there is no page 'job': did you mean jobs"),
        ("xyzzy", f"there is no page 'xyzzy': there are {', '.join(summaries())}"),
        ("stop", "'stop' is a command and no page: `soapbatch stop --help` explains it"),
    ],
)
def test_no_such_page(world: World, word: str, message: str) -> None:
    """It is a usage error that names the nearest pages, or the command of that name."""
    done = world.run("help", word)
    assert (done.status, done.out, done.err) == (2, "", f"soapbatch: {message}\n")


def test_without_the_extras() -> None:
    """Neither rich nor argcomplete is needed."""
    script = """
import sys
sys.modules["rich"] = sys.modules["argcomplete"] = None
from soapbatch.cli import main
sys.exit(main(["help"]) or main(["help", "operators"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - this interpreter
    assert done.stdout.endswith(f"{PAGE}\n")
