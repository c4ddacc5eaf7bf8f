"""What every test has: a runner for `async def` tests with a time limit, and the folders that hold test data."""

import asyncio
import functools
import gc
import inspect
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.time_limits import fail_with_stacks

REPOSITORY = Path(__file__).parents[1]
ASYNC_LIMIT = 60.0
"""Seconds that an `async def` test may take, and each example of one under hypothesis.

The limit lies below pytest-timeout's limit (see pyproject.toml), so that a test that waits for something that never
comes fails here: with the stack of each task, which pytest-timeout does not show.
"""

hypothesis.settings.register_profile(
    "soapbatch",
    deadline=None,  # a busy machine is no defect
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # likewise
    derandomize="CI" in os.environ,  # the same examples every time, so that a red run can be repeated
    print_blob=True,
)
hypothesis.settings.load_profile("soapbatch")


def pytest_configure() -> None:
    """Take SIGINT as a terminal sends it: a shell has what runs in its background ignore it, and so do our children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first: a worker that begins with one at the end leaves the others without work."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded as "shown": what a worker prints, nobody sees."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "shown":
                terminalreporter.write_line(str(text))


def pytest_collection_finish() -> None:
    """Exempt what collection has created from garbage collection.

    These objects live as long as the session. Looking at them takes each full collection 0.1 to 0.3 s, and some tests
    collect again and again.
    """
    gc.collect()
    gc.freeze()


def _in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Return `test` as a plain function that runs it in an event loop of its own.

    The test fails if it leaves a task behind, or if it takes more than `ASYNC_LIMIT` seconds.
    """

    async def within_limits(*args: object, **kwargs: object) -> None:
        running = asyncio.create_task(test(*args, **kwargs), name=test.__name__)
        await asyncio.wait([running], timeout=ASYNC_LIMIT)
        if not running.done():
            tasks = [running, *(asyncio.all_tasks() - {asyncio.current_task(), running})]
            running.cancel()
            fail_with_stacks(f"the test did not end within {ASYNC_LIMIT:g} s", tasks)
        running.result()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"the test left {len(left)} pending task(s) behind: {left}"

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        with asyncio.Runner(debug=False) as runner:
            runner.run(within_limits(*args, **kwargs))

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Let pytest call an `async def` test, also one under `hypothesis.given`, like any other."""
    if inner := getattr(getattr(pyfuncitem.obj, "hypothesis", None), "inner_test", None):
        if inspect.iscoroutinefunction(inner):
            pyfuncitem.obj.hypothesis.inner_test = _in_a_loop(inner)
    elif inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = _in_a_loop(pyfuncitem.obj)


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of documented examples and recordings."""
    return REPOSITORY / "fixtures"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the contract and the recordings it was made from; a test that needs it is skipped without it."""
    path = Path(os.environ.get("SOAPBATCH_SHARED") or REPOSITORY.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"no folder {path}: SOAPBATCH_SHARED may name another")
    return path
