"""An embedded NetServer on a loopback socket, and the command, run in this process with a home of its own."""

import asyncio
import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from soapbatch.cli import main
from soapbatch.testing import NetServer, User, serve

PASSWORD = "correct horse battery"
ADA = User(name="ada", password=PASSWORD, associate_id=7, full_name="Ada Lovelace")
SPEED = 60.0
"""Seconds of the server's clock in one second: a job of 6 seconds takes a tenth of one."""


def fast_clock() -> float:
    """Return the seconds of the server's clock."""
    return time.monotonic() * SPEED


class Switch:
    """An ASGI app that hands requests to the server of the test that runs."""

    app: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand on a request."""
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def switched() -> Generator[tuple[Switch, str]]:
    """A socket that a thread serves as long as the tests run, and its URL."""
    switch, ready, url = Switch(), threading.Event(), [""]
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def run() -> None:
        async with serve(switch) as url[0]:
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield switch, url[0]
    loop.call_soon_threadsafe(end.set)
    thread.join(20)
    loop.close()


@attrs.frozen
class Done:
    """What a command has left: its exit status, and what it wrote."""

    status: int
    out: str
    err: str


@attrs.frozen
class World:
    """A server, and how to run the command against it.

    Attributes:
        server: the embedded server; its user is ada.
        url: of the server.
        home: the folder in which the command keeps configuration and tickets, and the working folder.
        run: runs the command.
        switch: what the socket serves: `switch.app` may be replaced.
    """

    server: NetServer
    url: str
    home: Path
    run: Callable[..., Done]
    switch: Switch

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.home / "config" / "soapbatch" / "config.toml"

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that runs the command, as it is in this one."""
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def start(self, name: str, **definition: Any) -> int:
        """Start a job of ada's on the server, without the command; return the id of its task."""
        if definition:
            self.server.define_job(name, **definition)
        from soapbatch import BatchTaskInfo  # noqa: PLC0415 - as short as the rest

        return self.server.tasks.start(BatchTaskInfo(name=name), ADA.associate_id)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without settings: of the command, and of the environment."""
    for name in list(os.environ):
        if name.startswith("SOAPBATCH_") or name.lower().endswith("_proxy") or name in {"COLUMNS", "NO_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command, run in this process: words of the command line, and what stands on its standard input."""
    assert home.is_dir()

    def run(*words: object, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return run


@pytest.fixture
def world(
    switched: tuple[Switch, str], home: Path, command: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> World:
    """A fresh server, whose URL, user and password the environment names."""
    switch, url = switched
    server = switch.app = NetServer(clock=fast_clock, users=[ADA])
    monkeypatch.setenv("SOAPBATCH_URL", url)
    monkeypatch.setenv("SOAPBATCH_USER", ADA.name)
    monkeypatch.setenv("SOAPBATCH_PASSWORD", PASSWORD)
    return World(server, url, home, command, switch)


class Terminal(io.TextIOWrapper):
    """A stream that says that it is a terminal. `text` is what was written to it."""

    def __init__(self, encoding: str = "utf-8", typed: str = "") -> None:
        """Write in `encoding`; `typed` is what reading returns."""
        super().__init__(io.BytesIO(typed.encode()), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        """Return True."""
        return True

    @property
    def text(self) -> str:
        """What was written."""
        written = self.buffer
        assert isinstance(written, io.BytesIO)
        return written.getvalue().decode(self.encoding)


@pytest.fixture
def terminal(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """The command on a terminal, in this process: words of the command line, and what the user types."""

    def run(*words: object, typed: str = "", encoding: str = "utf-8") -> Done:
        assert world.home.is_dir()
        streams = {"stdin": Terminal(typed=typed), "stdout": Terminal(encoding), "stderr": Terminal(encoding)}
        with monkeypatch.context() as patch:
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            try:
                status = main([str(word) for word in words])
            except SystemExit as exit_:
                status = int(exit_.code or 0)
        return Done(status, streams["stdout"].text, streams["stderr"].text)

    return run


@contextlib.contextmanager
def environment(monkeypatch: pytest.MonkeyPatch, values: dict[str, str | None]) -> Generator[None]:
    """Set variables of the environment for a block; None: it is absent."""
    with monkeypatch.context() as patch:
        for name, value in values.items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        yield


def lines(text: str) -> Sequence[str]:
    """Return the lines of a text, with blanks run together."""
    return [" ".join(line.split()) for line in text.splitlines()]
