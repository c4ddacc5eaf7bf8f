"""`make test-all`: which Pythons are found and run, and what "lowest" means."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pythons


def fake(path: Path, prints: str) -> Path:
    """Write a program that prints something whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {prints}\n", "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds every Python of the machine: none."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    monkeypatch.setattr(shutil, "which", lambda name: _which(tmp_path / "path" / name))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    return tmp_path


def _which(path: Path) -> str | None:
    return str(path) if path.exists() else None


def test_a_python_is_found_where_it_lies(machine: Path) -> None:
    """On PATH first, then the newest of pyenv, then uv's; one that does not work is passed over."""
    assert pythons.find("3.12") is None
    uv = fake(machine / "uv/cpython-3.12.4-linux-x86_64-gnu/bin/python", "3.12")
    assert pythons.find("3.12") == str(uv)
    fake(machine / "pyenv/versions/3.12.9/bin/python", "3.12")
    newest = fake(machine / "pyenv/versions/3.12.10/bin/python", "3.12")
    assert pythons.find("3.12") == str(newest)
    fake(machine / "path/python3.12", "no such version: 3.12")  # a shim
    assert pythons.find("3.12") == str(newest)
    on_path = fake(machine / "path/python3.12", "3.12")
    assert pythons.find("3.12") == str(on_path)
    assert pythons.find("3.11") is None


def test_a_python_that_makes_environments_is_found() -> None:
    """The one that runs this test is."""
    version = "{}.{}".format(*sys.version_info)
    assert pythons._works(sys.executable, version)
    assert not pythons._works(sys.executable, "2.7")


def test_every_requirement_has_a_lowest_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's have; where extras differ, the highest holds; a requirement without one is refused."""
    assert pythons.floors().keys() >= {"attrs", "h11", "httpx", "lxml", "zeep"}
    extras = {"x": ["soapbatch[y]", "a[b]>=2.10"], "y": ["a>=2.9"]}
    project: dict[str, Any] = {"dependencies": ["a>=1", "b>=3"], "optional-dependencies": extras}
    monkeypatch.setattr(pythons, "project", lambda: project)
    assert pythons.floors() == {"a": "2.10", "b": "3"}
    extras["y"] = ["c"]
    with pytest.raises(ValueError, match="'c' has no lowest release"):
        pythons.floors()


def test_everything_runs_and_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Python found, then the lowest releases with the oldest; the status is 1 if one fails, or none is found."""
    ran: list[tuple[str, str, list[str]]] = []
    found = {"3.12": "/a/python3.12", "3.13": "/b/python3.13"}

    def run(name: str, python: str, arguments: list[str]) -> bool:
        ran.append((name, python, arguments))
        return name != "3.13"

    monkeypatch.setattr(pythons, "find", found.get)
    monkeypatch.setattr(pythons, "run", run)
    assert pythons.main(["-m", "not slow"]) == 1
    assert ran == [(n, p, ["-m", "not slow"]) for n, p in [*found.items(), ("lowest", "/a/python3.12")]]
    out = capsys.readouterr().out
    assert "Python 3.11: not found" in out
    assert out.endswith("3.11: not found\n3.12: passed\n3.13: FAILED\n3.14: not found\nlowest: passed\n")
    assert pythons.main(["--only", "3.12", "--only", "lowest"]) == 0
    assert pythons.main(["--only", "3.14"]) == 1
    found.clear()
    assert pythons.main([]) == 1


def test_an_environment_for_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is made, the extra dev is installed, with constraints for "lowest", and pytest runs; a failure ends it."""
    commands: list[list[str]] = []
    fails_at = 9

    def call(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, int(len(commands) >= fails_at))

    monkeypatch.setattr(pythons, "ENVIRONMENTS", tmp_path / "environments")
    monkeypatch.setattr(subprocess, "run", call)
    assert pythons.run("3.12", "python3.12", ["-x"])
    made, installed, tested = commands
    folder = tmp_path / "environments/3.12"
    assert made == ["python3.12", "-m", "venv", str(folder)]
    assert installed[0] == tested[0] == str(folder / "bin/python")
    assert installed[-2:] == ["--editable", ".[dev]"]
    assert "--constraint" not in installed
    assert tested[-1] == "-x"
    commands.clear()
    fails_at = 2
    assert not pythons.run("lowest", "python3.12", [])
    assert len(commands) == 2
    listed = Path(commands[1][commands[1].index("--constraint") + 1])
    assert f"httpx=={pythons.floors()['httpx']}\n" in listed.read_text("utf-8")
