"""The command as a process: what a shell sees, in a pipe and in a pseudo-terminal."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.cli.conftest import PASSWORD, World

COMMAND = [sys.executable, "-W", "error", "-m", "soapbatch"]
WAIT = 20.0
"""Seconds after which a test gives up."""


def begin(world: World, *words: str, **options: Any) -> subprocess.Popen[str]:
    """Start the command."""
    settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *words], env=world.environment(), text=True, **(settings | options))  # noqa: S603 - this interpreter


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    ends = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def test_a_pipe_that_is_closed(world: World) -> None:
    """`| head -1` ends the command quietly: no traceback, nothing on standard error."""
    for _ in range(400):
        world.start("EndlessBatchPlugin")
    script = f"{' '.join(COMMAND)} list -o jsonl | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(  # noqa: S603 - as above
        ["/bin/bash", "-c", script], env=world.environment(), capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout)["id"] == 400
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_and_what_others_can_see(world: World) -> None:
    """Ctrl-C ends a wait with 130 and the id; meanwhile neither arguments nor output show a secret."""
    world.start("EndlessBatchPlugin")
    running = begin(world, "-vv", "wait", "1", "--interval", "0.05")
    until(lambda: world.server.counts["GetBatchTaskInfo"] > 2)
    command_line = Path(f"/proc/{running.pid}/cmdline")
    shown = command_line.read_text(encoding="utf-8") if command_line.exists() else ""
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=WAIT)
    assert running.returncode == 130
    assert "soapbatch stop 1" in err
    assert "GetBatchTaskInfoResponse" in err  # -vv shows envelopes
    for text in (shown, out, err):
        assert PASSWORD not in text
        assert "7T:" not in text
    assert "Traceback" not in err


def test_ctrl_c_during_a_watch(world: World) -> None:
    """The lines that were written are whole, and the last word says which job runs on."""
    world.start("EndlessBatchPlugin")
    running = begin(world, "watch", "1", "--interval", "0.05", "-o", "json")
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["id"] == 1
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=WAIT)
    assert (running.returncode, json.loads(err)["error"]["ids"]) == (130, [1])


def test_an_ascii_locale(world: World) -> None:
    """A process whose output is ASCII writes no traceback."""
    world.start("Übersicht", duration=1e6)
    environment = world.environment() | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(  # noqa: S603 - as above
        [*COMMAND, "list"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "?bersicht" in done.stdout) == (0, True)


@attrs.frozen
class Typist:
    """A user at a pseudo-terminal, in which the command runs."""

    process: subprocess.Popen[str]
    descriptor: int
    read: list[str] = attrs.field(factory=list)

    @property
    def screen(self) -> str:
        """What the terminal has shown so far."""
        return "".join(self.read)

    def sees(self, pattern: str) -> None:
        """Read until the terminal shows a pattern."""
        ends = time.monotonic() + WAIT
        while not re.search(pattern, self.screen):
            assert time.monotonic() < ends, self.screen
            if not self._read() and self.process.poll() is not None:
                assert re.search(pattern, self.screen), self.screen

    def types(self, text: str) -> None:
        """Type."""
        os.write(self.descriptor, text.encode())

    def ends(self) -> int:
        """Return the exit status, after the command has ended."""
        while self.process.poll() is None or self._read():
            self._read()
        return self.process.wait(WAIT)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.descriptor], [], [], 0.05)
        if not ready:
            return False
        with contextlib.suppress(OSError):  # Linux says so at the end
            piece = os.read(self.descriptor, 65536)
            self.read.append(piece.decode(errors="replace"))
            return bool(piece)
        return False


@contextlib.contextmanager
def at_a_terminal(world: World, words: Sequence[str], **environment: str) -> Generator[Typist]:
    """Run the command in a pseudo-terminal of 100 columns."""
    mine, its = pty.openpty()
    variables = world.environment() | {"TERM": "xterm", "COLUMNS": "100", "LINES": "24"} | environment
    process = subprocess.Popen(  # noqa: S603 - as above
        [*COMMAND, *words], stdin=its, stdout=its, stderr=its, env=variables, text=True, start_new_session=True
    )
    os.close(its)
    try:
        yield Typist(process, mine)
    finally:
        process.kill()
        process.wait()
        os.close(mine)


@pytest.mark.slow
def test_a_first_evening(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator with a URL and a password, at a terminal: log in, see what hangs, stop it, save an output."""
    for name in ("SOAPBATCH_URL", "SOAPBATCH_USER", "SOAPBATCH_PASSWORD"):
        monkeypatch.delenv(name)
    world.start("EndlessBatchPlugin")
    with at_a_terminal(world, ["login", "--url", world.url, "--user", "ada"]) as user:
        user.sees("password of ada at http")
        user.types(f"{PASSWORD}\n")
        assert user.ends() == 0
        assert PASSWORD not in user.screen
    assert PASSWORD not in world.config.read_text(encoding="utf-8")
    assert "EndlessBatchPlugin" in world.run("list", "--running").out
    with at_a_terminal(world, ["stop", "1"]) as user:
        user.sees(r"Stop task 1 \(EndlessBatchPlugin.*\[y/N\]")
        user.types("y\n")
        assert user.ends() == 0
    with at_a_terminal(world, ["run", "ExportArchiveBatchPlugin", "--interval", "0.05"]) as user:
        assert user.ends() == 0
        assert "100%" in user.screen
        assert "export.csv" in user.screen
    assert Path("export.csv").read_bytes().startswith(b"id;name")
    assert world.server.tickets.attempts == 1


def test_top_at_a_terminal(world: World) -> None:
    """`top` draws on the alternate screen, draws again, and Ctrl-C ends it and brings the cursor back."""
    world.start("EndlessBatchPlugin")
    with at_a_terminal(world, ["top", "--interval", "0.1"]) as user:
        user.sees("EndlessBatchPlugin")
        user.sees("\x1b\\[\\?1049h")
        frames = user.screen.count("soapbatch top")
        until(lambda: (user._read(), user.screen.count("soapbatch top") > frames + 1)[1])
        user.process.send_signal(signal.SIGINT)
        assert user.ends() == 0
        assert "\x1b[?1049l" in user.screen
        assert "\x1b[?25h" in user.screen
        assert "Traceback" not in user.screen
