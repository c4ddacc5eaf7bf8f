"""The documentation of the test kit: `help(soapbatch.testing)`."""

import asyncio
import re
import textwrap

import httpx
import pytest

import soapbatch.testing
from soapbatch import Client
from soapbatch.testing import NetServer, run_virtual

DOCUMENTATION = soapbatch.testing.__doc__ or ""


def test_help_names_everything_public() -> None:
    """Each public name has one line of its own, and each line is about a public name."""
    lines = re.findall(r"^    (\w+) {2,}\S", DOCUMENTATION, re.MULTILINE)
    assert sorted(lines) == dir(soapbatch.testing)


def test_the_names_are_imported_on_demand() -> None:
    """`__all__` names each public thing once, and each can be had; anything else is an AttributeError."""
    names: list[str] = vars(soapbatch.testing)["__getattr__"]("__all__")
    assert names == dir(soapbatch.testing)
    assert all(getattr(soapbatch.testing, name) is not None for name in names)
    with pytest.raises(AttributeError, match=r"module 'soapbatch\.testing' has no attribute 'nonsense'"):
        soapbatch.testing.nonsense  # type: ignore[attr-defined] # noqa: B018 - the access is the test


def test_the_example_runs() -> None:
    """The example in `help(soapbatch.testing)` runs, and half an hour of virtual time passes."""
    example = textwrap.dedent(DOCUMENTATION.partition("\n\n")[2].partition("\n\n`python")[0])
    times: list[float] = []

    def run(coroutine: object) -> None:
        async def timed() -> None:
            await coroutine  # type: ignore[misc]  # a coroutine
            times.append(asyncio.get_running_loop().time())

        run_virtual(timed())

    names = {"asyncio": asyncio, "httpx": httpx, "Client": Client, "NetServer": NetServer, "run_virtual": run}
    exec(example, names)  # noqa: S102 - the text is our own
    assert len(times) == 1
    assert 1800 <= times[0] < 2 * 1800
