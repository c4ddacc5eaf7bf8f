"""The documentation of the test kit: `help(soapbatch.testing)`."""

import asyncio
import re
import textwrap

import httpx

import soapbatch.testing
from soapbatch import Client
from soapbatch.testing import NetServer, run_virtual

DOCUMENTATION = soapbatch.testing.__doc__ or ""


def test_help_names_everything_public() -> None:
    """Each public name has one line of its own, and each line is about a public name."""
    lines = re.findall(r"^    (\w+) {2,}\S", DOCUMENTATION, re.MULTILINE)
    modules = {"clock", "faults", "handlers", "interceptors", "job_definitions", "request_parser", "requests"}
    modules |= {"responses", "server", "serving", "sessions", "tasks", "wsdl"}
    modules |= {"online", "online_journal", "online_keys", "online_registry", "online_sign_in"}
    public = [name for name in vars(soapbatch.testing) if not name.startswith("_") and name not in modules]
    assert sorted(lines) == sorted(public)


def test_the_example_runs() -> None:
    """The example in `help(soapbatch.testing)` runs, and half an hour of virtual time passes."""
    example = textwrap.dedent(DOCUMENTATION.partition("\n\n")[2].partition("\n\nThe server:")[0])
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
