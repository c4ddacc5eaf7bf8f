"""`soapbatch serve`: an embedded NetServer as a process of its own, for tests in any language.

As soon as the server listens, one line of JSON on standard output tells where: {"url": "http://127.0.0.1:49152"}. The
process ends on SIGTERM and SIGINT, and when its standard input, if that is a pipe, is closed: so it does not outlive
the program that started it. The user is demo, with the password demo.
"""

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soapbatch.cli.invocation import Invocation
from soapbatch.errors import UsageError
from soapbatch.testing import Control, DrivenClock, JobDefinition, NetServer, Personality, serve as serving


async def serve(invocation: Invocation) -> None:
    """Serve an embedded NetServer on the loopback address until the process is told to end.

    Raises:
        UsageError: uvicorn is not installed, the port is taken, or a file cannot be used.
    """
    options = invocation.options
    clock = DrivenClock(options.speed)
    server = NetServer(clock=clock, failures=options.failures, personality=Personality.named(options.personality))
    jobs = {name: definition for file in options.job for name, definition in read_jobs(Path(file)).items()}
    server.tasks.jobs.update(jobs)
    app = Control(server, clock, jobs) if options.control else server
    with end_signals() as end:
        async with serving(app, port=options.port) as url:
            ready = {"url": url} | ({"control": f"{url}/_control"} if options.control else {})
            invocation.output.write(json.dumps(ready))
            await end.wait()


def read_jobs(file: Path) -> dict[str, JobDefinition]:
    """Return the jobs of a TOML file, by name. `output_file` in place of `output` names a file beside the TOML file.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        jobs: dict[str, JobDefinition] = {}
        for name, fields in tables.items():
            if not isinstance(fields, dict):
                raise UsageError(f"{file}: {name} stands outside of a table: each job is a table, such as [{name}]")
            values: dict[str, Any] = {**fields}
            if "output_file" in values:
                values["output"] = (file.parent / values.pop("output_file")).read_bytes()
            jobs[name] = JobDefinition.of_values(name, values)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error.with_traceback(None)
    except ValueError as error:
        raise UsageError(f"{file} is not TOML: {error}") from None
    return jobs


@contextlib.contextmanager
def end_signals() -> Any:
    """Yield an event that is set when the process is told to end."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()

    def set_end(*_: object) -> None:
        loop.call_soon_threadsafe(end.set)

    before = {number: signal.signal(number, set_end) for number in (signal.SIGTERM, signal.SIGINT)}
    _watch_stdin(set_end)
    try:
        yield end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_stdin(set_end: Callable[[], None]) -> None:
    """Call `set_end` when standard input is closed, if it is a pipe or a socket."""
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError):  # there is none
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def watch() -> None:
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the loop is closed
            while os.read(descriptor, 4096):
                pass
            set_end()

    threading.Thread(target=watch, name="soapbatch serve: standard input", daemon=True).start()
