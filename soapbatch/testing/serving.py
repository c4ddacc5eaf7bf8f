"""Serving an embedded server on a socket, with uvicorn: in the running event loop, or in a thread.

Needs the extra `soapbatch[testing]`.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from soapbatch.errors import UsageError
from soapbatch.testing.server import DROP_CONNECTION, App, Receive, Scope, Send

# Seconds, as IIS waits: uvicorn's own 5 s are less than the client keeps its connections.
_KEEP_ALIVE: Final = 120

_Started: TypeAlias = tuple[str, asyncio.AbstractEventLoop, asyncio.Event]


@contextlib.asynccontextmanager
async def serve(app: App, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
    """Serve `app` until the block is left, and yield its base URL, for example `http://127.0.0.1:49152`.

    Leaving the block drops the connections of calls that have no answer yet.

    Args:
        app: a `NetServer`, an `Online`, or an ASGI app around one.
        host: the IPv4 address to listen on. Everybody who can reach the address can use the server.
        port: the port to listen on; 0: any free port.

    Raises:
        UsageError: uvicorn is not installed, or the server cannot listen on the address.
    """
    try:
        import uvicorn  # noqa: PLC0415 - uvicorn belongs to an extra
    except ImportError:
        raise UsageError("serving on a socket needs uvicorn: install soapbatch[testing]") from None

    config = uvicorn.Config(
        _with_drop(app),
        timeout_keep_alive=_KEEP_ALIVE,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ws="none",
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Not server.serve(), which would handle the signals of the process and poll.
    with _listen(host, port) as listening:
        await server.startup(sockets=[listening])
        try:
            yield "http://{}:{}".format(*listening.getsockname()[:2])
        finally:
            for task in server.server_state.tasks:
                task.cancel()
            await server.shutdown(sockets=[listening])


@contextlib.contextmanager
def serve_in_thread(app: App, host: str = "127.0.0.1", port: int = 0) -> Generator[str]:
    """Serve `app` in an event loop of a thread until the block is left, and yield its base URL.

    For programs without an event loop, and for those that run one event loop after the other. Arguments and errors
    are those of `serve`. The server may be changed while it runs, as from its own thread.
    """
    started: Future[_Started] = Future()

    async def main() -> None:
        async with serve(app, host, port) as url:
            until = asyncio.Event()
            started.set_result((url, asyncio.get_running_loop(), until))
            await until.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for the start
            started.set_exception(error)

    thread = threading.Thread(target=run, name="soapbatch embedded NetServer", daemon=True)
    thread.start()
    url, loop, until = started.result()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(until.set)
        thread.join()


def _listen(host: str, port: int) -> socket.socket:
    # Not socket.create_server: asyncio turns Nagle's algorithm off only for a socket with the protocol IPPROTO_TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; port 0 takes any free one"
        ) from error.with_traceback(None)
    return listening


def _with_drop(app: App) -> Any:
    """Return `app` with the ASGI extension that drops the connection."""

    async def with_drop(scope: Scope, receive: Receive, send: Send) -> None:
        async def drop() -> None:
            # uvicorn offers no way to drop a connection. Its `send` is a method of an object that has the transport.
            send.__self__.transport.abort()  # type: ignore[attr-defined]
            await receive()  # returns when uvicorn has noticed the loss of the connection

        scope.setdefault("extensions", {})[DROP_CONNECTION] = drop
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:  # `serve` cancels at its end
            await drop()

    return with_drop
