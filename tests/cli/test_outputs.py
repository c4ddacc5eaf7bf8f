"""`soapbatch output`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from soapbatch import BatchTaskInfo, BatchTaskState
from soapbatch.cli.outputs import server_name
from tests.cli.conftest import Done, World

TEXT = "id;name\nÅse\n".encode()
BINARY = b"PK\x03\x04\x00\x00"


def finished(world: World, output: bytes | None, file_name: str | None = "export.csv") -> None:
    """Start a short job with this output, and wait until it has ended."""
    outcome = BatchTaskState.SUCCEEDED_MANUAL_CLEANUP
    id_ = world.start("Quick", duration=0, output=output, file_name=file_name, outcome=outcome)
    while world.server.tasks.read(id_).state != outcome:  # type: ignore[union-attr]  # it is there
        pass


def test_into_a_pipe(world: World) -> None:
    """Without a terminal the output goes to standard output as it is, and nothing else does."""
    finished(world, TEXT)
    assert (world.run("output", 1).status, world.run("output", 1).out) == (0, TEXT.decode())
    assert world.run("output", 1, "-O", "-").out == TEXT.decode()


def test_to_a_file(world: World) -> None:
    """-O writes to a file, which may be there; the path is printed."""
    finished(world, BINARY)
    Path("a.zip").write_bytes(b"old")
    done = world.run("output", 1, "-O", "a.zip")
    assert (done.status, done.out, Path("a.zip").read_bytes()) == (0, "a.zip\n", BINARY)
    found = json.loads(world.run("output", 1, "-O", "a.zip", "-o", "json").out)
    assert found == {"schema": 1, "id": 1, "file": "a.zip", "bytes": len(BINARY)}


def test_on_a_terminal(world: World, terminal: Callable[..., Done]) -> None:
    """On a terminal the output is saved under the server's name, which never replaces a file."""
    finished(world, TEXT)
    done = terminal("output", 1)
    assert (done.status, done.out) == (0, "export.csv\n")
    assert Path("export.csv").read_bytes() == TEXT
    again = terminal("output", 1)
    assert again.status == 2
    assert "-O export.csv replaces it" in again.err


@pytest.mark.parametrize("output", [BINARY, b"abc\xff", b"\x1b]0;title\x07"], ids=["zip", "not UTF-8", "escapes"])
def test_no_binary_on_a_terminal(world: World, terminal: Callable[..., Done], output: bytes) -> None:
    """-O - shows text on a terminal, and refuses anything else."""
    finished(world, output)
    done = terminal("output", 1, "-O", "-")
    assert (done.status, done.out) == (2, "")
    assert "the output is binary" in done.err


def test_text_on_a_terminal(world: World, terminal: Callable[..., Done]) -> None:
    """-O - shows text."""
    finished(world, TEXT)
    done = terminal("output", 1, "-O", "-")
    assert (done.status, done.out) == (0, TEXT.decode())


def test_no_output(world: World) -> None:
    """Exit status 3, and no file."""
    finished(world, None)
    done = world.run("output", 1, "-O", "none.csv")
    assert (done.status, Path("none.csv").exists()) == (3, False)
    assert "left no output" in done.err


def test_a_folder_that_is_not_there(world: World) -> None:
    """A file that cannot be written is a usage error, which names it; also in JSON."""
    finished(world, TEXT)
    done = world.run("output", 1, "-O", "missing/a.csv")
    assert done.status == 2
    assert done.err.startswith("soapbatch: ")
    assert "missing" in done.err
    error = json.loads(world.run("output", 1, "-O", "missing/a.csv", "-o", "json").err)["error"]
    assert (error["type"], error["exit_status"]) == ("FileNotFoundError", 2)


def test_an_earlier_version(world: World) -> None:
    """Before Services88 there are no outputs: nothing is sent."""
    done = world.run("output", 1, "--service-version", "87")
    assert (done.status, world.server.requests) == (2, 0)


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("export.csv", "export.csv"),
        ("C:\\temp\\export.csv", "export.csv"),
        ("../../etc/passwd", "passwd"),
        ("/", "task-7.out"),
        ("..", "task-7.out"),
        ("a\x1b[m", "task-7.out"),
        (None, "task-7.out"),
    ],
)
def test_names_of_the_server(file_name: str | None, name: str) -> None:
    """The server's name cannot lead to another folder."""
    assert server_name(BatchTaskInfo(id=7, file_name=file_name)) == name
