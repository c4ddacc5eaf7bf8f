"""The guide to testing: each of its tests is a file that passes, under pytest-asyncio and under anyio."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import soapbatch
from soapbatch.guide import testing
from soapbatch.testing import plugin

PAGE, PLUGIN = testing.__doc__ or "", plugin.__doc__ or ""
SECTIONS = re.findall(r"^(\d+)\. ([^\n]+)\n-+\n(.*?)(?=^\d+\. |^SuperOffice Online\n)", PAGE, re.MULTILINE | re.DOTALL)
ONLINE = PAGE.partition("\nSuperOffice Online\n")[2].partition("\nMore\n")[0]
SETTINGS = {
    "asyncio": ["-p", "no:anyio", "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"],
    "anyio": ["-p", "no:asyncio", "-o", "anyio_mode=auto"],
}
ANYIO = "import pytest\n\n@pytest.fixture(scope='module')\ndef anyio_backend():\n    return 'asyncio'\n"


def code_of(section: str) -> str:
    """Return the program of a section: its indented lines, from the first import on."""
    lines = section.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("    import ") or "    from " in line)
    return textwrap.dedent("\n".join(lines[first:])).rstrip() + "\n"


def test_the_page_has_ten_tests() -> None:
    """They are numbered, and each is one program with one test; the lines fit on a page."""
    assert [int(number) for number, _, _ in SECTIONS] == list(range(1, 11))
    for _, title, section in SECTIONS:
        assert len(re.findall(r"^    (?:async )?def test_", section, re.MULTILINE)) == 1, title
        compile(code_of(section), title, "exec")
    compile(code_of(ONLINE), "online", "exec")
    assert max(map(len, PAGE.splitlines())) <= 120


def test_a_page_is_text() -> None:
    """The modules of the guide hold a docstring and nothing else."""
    for file in Path(testing.__file__).parent.glob("*.py"):
        assert [type(node).__name__ for node in ast.parse(file.read_text(encoding="utf-8")).body] == ["Expr"]


def test_the_page_names_what_exists() -> None:
    """The page and the plugin's own documentation name each fixture of the plugin."""
    code = Path(plugin.__file__).read_text(encoding="utf-8")
    fixtures = set(re.findall(r"^def ((?:netserver|superoffice)\w*)\(", code, re.MULTILINE))
    assert set(re.findall(r"^    ((?:netserver|superoffice)\w*) {2,}", PAGE, re.MULTILINE)) == fixtures
    assert fixtures <= set(re.findall(r"^    (\w+) +\S", PLUGIN, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("runner", SETTINGS)
def test_the_tests_of_the_page_pass(runner: str, tmp_path: Path) -> None:
    """In a process of their own, as a user would run them, with warnings as errors."""
    pytest.importorskip(
        {"asyncio": "pytest_asyncio", "anyio": "anyio.pytest_plugin"}[runner], reason="comes with the extra dev"
    )
    for number, _, section in SECTIONS:
        (tmp_path / f"test_{int(number):02}.py").write_text(code_of(section), encoding="utf-8")
    (tmp_path / "test_online.py").write_text(code_of(ONLINE), encoding="utf-8")
    if runner == "anyio":
        (tmp_path / "conftest.py").write_text(ANYIO)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    options = ["-q", "-p", "no:cacheprovider", "-p", "soapbatch.testing.plugin", "-p", "no:cov", *SETTINGS[runner]]
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(soapbatch.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^11 passed in ", done.stdout, re.MULTILINE), done.stdout
