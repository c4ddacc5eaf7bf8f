"""What every test has: a runner for `async def` tests, and where the files lie."""

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import hypothesis
import pytest

REPOSITORY = Path(__file__).parents[1]

hypothesis.settings.register_profile(
    "soapbatch",
    deadline=None,  # a busy machine is no defect
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # likewise
    derandomize="CI" in os.environ,  # the same examples every time, so that a red run can be repeated
    print_blob=True,
)
hypothesis.settings.load_profile("soapbatch")


def _in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Return `test` as a plain function that runs it in a loop of its own and fails if it leaves a task behind."""

    async def leaving_no_task(*args: object, **kwargs: object) -> None:
        await test(*args, **kwargs)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"the test left {len(left)} pending task(s) behind: {left}"

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        with asyncio.Runner(debug=False) as runner:
            runner.run(leaving_no_task(*args, **kwargs))

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
