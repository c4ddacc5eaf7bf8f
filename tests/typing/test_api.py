"""A third type checker agrees about the public calls in `api.py`; mypy and basedpyright read them in `make lint`."""

import json
import re
import subprocess
import sys
from pathlib import Path

API = Path(__file__).with_name("api.py")
EXPECTED = re.compile(r"# type: ignore\[[\w, -]+\] # pyright: ignore\[[\w, ]+\]$")


def lines() -> dict[int, str]:
    """Return the lines of the file that hold code, by their numbers."""
    return dict(enumerate(API.read_text("utf-8").splitlines(), start=1))


def test_what_one_checker_refuses_the_others_refuse() -> None:
    """A line that expects an error expects it of mypy and of pyright."""
    marked = {number for number, line in lines().items() if re.search(r"# (type|pyright): ignore", line)}
    assert len(marked) > 40
    assert [number for number in sorted(marked) if not EXPECTED.search(lines()[number])] == []


def test_pyrefly_refuses_the_same(tmp_path: Path) -> None:
    """It reports each line that the others are told to expect, and no other."""
    settings = tmp_path / "pyrefly.toml"
    # The comments are not for pyrefly: it says what it finds.
    settings.write_text(f'enabled-ignores = ["pyrefly"]\nsearch-path = ["{API.parents[2]}"]\n', "utf-8")
    options = ["--config", str(settings), "--python-interpreter-path", sys.executable, "--output-format", "json"]
    command = [sys.executable, "-m", "pyrefly", "check", *options, str(API)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own file
    found = {error["line"]: error["description"] for error in json.loads(done.stdout)["errors"]}
    expected = {number for number, line in lines().items() if EXPECTED.search(line)}
    assert {number: text for number, text in found.items() if number not in expected} == {}
    assert {number: lines()[number] for number in expected - found.keys()} == {}
