"""The runner of `async def` tests runs them, and fails what it should; a test that hangs ends by itself."""

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

async def test_skips():
    await asyncio.sleep(0)
    pytest.skip("not here")

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

HANGING = """
import asyncio
import time

from soapbatch.testing import run_virtual

async def answer():
    await asyncio.Event().wait()  # the answer that never comes

async def ask():
    await answer()

async def test_waits_for_ever():
    background = asyncio.create_task(asyncio.sleep(3600), name="background")
    try:
        await ask()
    finally:
        background.cancel()

def test_waits_for_ever_in_virtual_time():
    async def poll():
        while True:
            await asyncio.sleep(3600)  # the next reading

    run_virtual(poll(), max_turns=1000)

async def test_blocks_its_loop():
    time.sleep(3600)

def test_blocks():
    time.sleep(3600)

def test_passes():
    pass
"""

WITH_A_SLOW_ONE = """
import pytest

def test_a():
    pass

def test_b():
    pass

@pytest.mark.slow
def test_c():
    pass
"""

CONFTEST = Path(__file__).with_name("conftest.py")
SOURCE = CONFTEST.read_text(encoding="utf-8")


def test_async_tests_are_awaited_and_leave_no_task(pytester: pytest.Pytester) -> None:
    """Asserts behind an await count, also under hypothesis; a task left pending fails; a plain test stays plain."""
    pytester.makeconftest(SOURCE)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(passed=4, failed=3, skipped=1)
    result.stdout.fnmatch_lines(["*reached the end*", "*left 1 pending task(s) behind*", "*falsified*"])


@pytest.mark.slow
def test_a_test_that_hangs_ends_with_a_message(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that waits for ever fails with its tasks' stacks, one that blocks fails where it blocks; the next runs."""
    monkeypatch.setenv("PYTHONPATH", str(CONFTEST.parents[1]))
    pytester.makeconftest(f"{SOURCE}\nASYNC_LIMIT = 0.2\n")
    pytester.makepyfile(HANGING)
    options = ("-p", "no:cacheprovider", "-o", "timeout=2", "-o", "timeout_method=signal", "-n1")
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(
        ["*did not end within 0.2 s*", "*test_waits_for_ever:*", "*await ask()*", "*await answer()*", "*never comes*"]
    )
    result.stdout.fnmatch_lines(["*background:*"])
    result.stdout.fnmatch_lines(
        ["*UsageError: *turned 1,000 times*", "*test_a_test_that_hangs_ends_with_a_message.py*"]
    )
    result.stdout.fnmatch_lines(["*time.sleep(3600)*", "*Failed: Timeout (>2.0s) from pytest-timeout.*"])


def test_slow_tests_come_first(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those marked slow run before the others, and `-m "not slow"` leaves them out."""
    monkeypatch.setenv("PYTHONPATH", str(CONFTEST.parents[1]))
    pytester.makeconftest(SOURCE)
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.makepyfile(
        "import pytest\ndef test_a(): pass\ndef test_b(): pass\n@pytest.mark.slow\ndef test_c(): pass\n"
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio", "-v")
    result.stdout.fnmatch_lines(["*::test_c*", "*::test_a*", "*::test_b*"])
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio", "-m", "not slow")
    result.assert_outcomes(passed=2, deselected=1)
