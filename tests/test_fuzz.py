"""The fuzzers run, count, and are repeatable."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import FUZZERS


@pytest.mark.slow
def test_a_short_run() -> None:
    """A second of fuzzing prints its counts and finds no difference."""
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "7", "--seconds", "1"]
    root = Path(__file__).parents[1]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("fuzz: seed 7, ")
    assert "lists read" in run.stdout
    assert "responses refused" in run.stdout


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_a_case_is_repeatable(fuzzer: object) -> None:
    """The same seed makes the same case."""
    assert callable(fuzzer)
    outcomes = [[fuzzer(random.Random(f"1-{turn}")) for turn in range(5)] for _ in range(2)]  # noqa: S311 - as it says
    assert outcomes[0] == outcomes[1]
