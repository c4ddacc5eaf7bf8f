"""The mutation tests notice what a test holds and what no test holds, and their table of survivors is up to date."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import MODULES, PACKAGE, ROOT, changes, compiled, mutants_of, swaps
from tests.mutants_accepted import ACCEPTED

MODULE = '''"""A toy."""

LONGEST = 3


def is_long(words: list[str]) -> bool:
    return len(words) > LONGEST


def applied(is_sent: bool) -> str:
    return "unknown" if is_sent else "no"


def not_tested(n: int) -> int:
    while n < 10:
        n += 1
    return n
'''
TESTS = """import toy.rules


def test_is_long() -> None:
    assert toy.rules.is_long(["a"] * 4)
    assert not toy.rules.is_long(["a"] * 3)


def test_applied() -> None:
    assert toy.rules.applied(True) == "unknown"


def test_not_tested() -> None:
    toy.rules.not_tested(9)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A package with a module and its tests."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "rules.py").write_text(MODULE, "utf-8")
    (tmp_path / "test_rules.py").write_text(TESTS, "utf-8")
    return folder


@pytest.mark.slow
def test_a_run(toy: Path) -> None:
    """Changes inside and outside of functions are tried; those that no test notices are named, and fail the run."""
    command = [sys.executable, "-m", "tests.mutants", "--root", str(toy), "--module", "rules.py", "--all"]
    environment = {**os.environ, "PYTHONPATH": f"{toy.parent}{os.pathsep}{ROOT}"}
    run = subprocess.run(  # noqa: S603 - ours
        [*command, "test_rules.py"],
        cwd=toy.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    outcomes = dict(line.rpartition(": rules.py | ")[::-2] for line in run.stdout.splitlines() if "rules.py | " in line)
    line = "return len(words) > LONGEST"
    assert outcomes[f"is_long | {line} | Gt to GtE"] == "killed by test_rules.py::test_is_long"
    assert outcomes[" | LONGEST = 3 | 3 to 4"] == "killed by test_rules.py::test_is_long"
    line = 'return "unknown" if is_sent else "no"'
    assert outcomes[f"applied | {line} | unknown to no"] == "killed by test_rules.py::test_applied"
    assert outcomes[f"applied | {line} | no to unknown"] == "unexplained"
    assert outcomes["not_tested | n += 1 | without the statement"] == "hung in test_rules.py::test_not_tested"
    assert "enough, if no survivor is unexplained" in run.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = a not in b", ["x = a in b"]),
        ("x = a and (not b)", ["x = a or (not b)", "x = a and b"]),
        ("if f(): pass", ["if not f(): pass"]),
        ("x = 7", ["x = 6", "x = 8"]),
        ("x = True", ["x = False"]),
        ("x = 'no'", ["x = 'unknown'"]),
        ("x = max(a)", ["x = min(a)"]),
        ("a.b = c", ["pass"]),
        ("f()", ["pass"]),
        ("f(applied=a, other=b)", ["pass", "f(other=b)"]),
        ("raise A", ["pass"]),
        ("with a: f()", ["if True:\n    f()", "with a: pass"]),
        ("try: x\nexcept A: y", ["try: x\nexcept A: raise"]),
        ("try: x\nexcept (A, B): y", ["try: x\nexcept (B,): y", "try: x\nexcept (A,): y"]),
        (
            "def f(a: 'no' = 1) -> 'no': return a",
            [
                "def f(a: 'no' = 0) -> 'no': return a",
                "def f(a: 'no' = 2) -> 'no': return a",
                "def f(a: 'no' = 1) -> 'no': return None",
            ],
        ),
        ("async with aclosing(x) as y: y", ["async with nullcontext(x) as y: y"]),
        ("if TYPE_CHECKING: x = 7", []),
    ],
)
def test_the_changes(before: str, after: list[str]) -> None:
    """Each change is made once; types are left alone."""
    found: list[str] = []
    for number, _ in enumerate(changes(ast.parse(before))):
        tree = ast.parse(before)
        [*changes(tree)][number][-1]()
        found.append(ast.unparse(tree))
    assert found == [ast.unparse(ast.parse(text)) for text in after]


def test_code_that_cannot_be_swapped(tmp_path: Path) -> None:
    """Where a function's closure changes, its code cannot take the place of the original; the module is imported."""
    (tmp_path / "closure.py").write_text("def f(a, b):\n  def g():\n    a()\n    b()\n  return g\n", "utf-8")
    original = compile((tmp_path / "closure.py").read_text("utf-8"), tmp_path / "closure.py", "exec")
    found = [(m.key, swaps(original, compiled(m, tmp_path))) for m in mutants_of("closure.py", tmp_path)]
    assert [(key.split(" | ")[2], swapped is None) for key, swapped in found] == [
        ("a()", True),
        ("b()", True),
        ("return g", False),
    ]


def test_no_accepted_survivor_is_stale() -> None:
    """Each accepted survivor is still a mutant: its line was not changed."""
    mutants = [mutant for module in MODULES for mutant in mutants_of(module, ROOT / PACKAGE)]
    keys = {key for mutant in mutants for key in (mutant.key, mutant.place)}
    assert [key for key in ACCEPTED if key not in keys] == []
