"""The fastest server that still speaks HTTP: one fixed answer, in a process of its own, on a loopback port.

Run as a program, it prints its port and serves until its standard input ends.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from tests.bench.child import REPOSITORY, environment
from tests.bench.inputs import reply_with_one

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n"


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run the server, and yield its base URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.server"],
        env=environment(),
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


class _Connection(asyncio.Protocol):
    """Answers whatever is asked, as soon as it was asked completely."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length:")[2].split()[0]):
            self._received = b""
            self._transport.write(self._answer)


async def _serve() -> None:
    body = reply_with_one()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(_HEAD % len(body) + body), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
