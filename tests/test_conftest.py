"""The runner of `async def` tests runs them, and fails what it should."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import asyncio
import hypothesis
import hypothesis.strategies as st
import pytest

@pytest.fixture
def number():
    return 1

async def test_passes(number):
    await asyncio.sleep(0)
    assert number == 1

async def test_fails():
    await asyncio.sleep(0)
    assert False, "reached the end"

async def test_leaves_a_task():
    left = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)

async def test_leaves_a_finished_task():
    await asyncio.create_task(asyncio.sleep(0))

@pytest.mark.parametrize("case", [1, 2])
@hypothesis.given(st.integers())
async def test_property(case, drawn):
    await asyncio.sleep(0)
    assert case == 1, "falsified"

def test_is_plain(number):
    assert number == 1
"""


def test_async_tests_are_awaited_and_leave_no_task(pytester: pytest.Pytester) -> None:
    """Asserts behind an await count, also under hypothesis; a task left pending fails; a plain test stays plain."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, failed=3)
    result.stdout.fnmatch_lines(["*reached the end*", "*left 1 pending task(s) behind*", "*falsified*"])
