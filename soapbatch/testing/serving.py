"""Serving an ASGI app on a loopback socket, in the running event loop, under uvicorn."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from typing import Any

from soapbatch.errors import UsageError
from soapbatch.testing.server import DROP, NetServer, Receive, Scope, Send


@contextlib.asynccontextmanager
async def serve(app: NetServer, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
    """Serve `app` until the block is left, and yield its base URL, for example `http://127.0.0.1:49152`.

    Calls that are being answered when the block is left are cut off.

    Args:
        app: the embedded server.
        host: the IPv4 address to listen on. Nothing protects the server from whoever can reach it.
        port: 0: any free one.

    Raises:
        UsageError: uvicorn is not installed, or the address cannot be had.
    """
    try:
        import uvicorn  # noqa: PLC0415 - from an extra
    except ImportError:
        raise UsageError("serving on a socket needs uvicorn: install soapbatch[demo]") from None

    config = uvicorn.Config(
        _with_drop(app),
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
    # Not server.serve(): that would take over the process's signals, and poll.
    with _listen(host, port) as listening:
        await server.startup(sockets=[listening])
        try:
            yield "http://{}:{}".format(*listening.getsockname()[:2])
        finally:
            for task in server.server_state.tasks:
                task.cancel()
            await server.shutdown(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    # Not socket.create_server: asyncio turns Nagle's algorithm off only where a socket says that it is TCP's.
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


def _with_drop(app: NetServer) -> Any:
    """Return `app` with the extension that lets it drop the connection."""

    async def with_drop(scope: Scope, receive: Receive, send: Send) -> None:
        async def drop() -> None:
            # uvicorn lends no way to drop a connection; what it passes as `send` belongs to who has the transport.
            send.__self__.transport.abort()  # type: ignore[attr-defined]
            await receive()  # until uvicorn knows it too

        scope.setdefault("extensions", {})[DROP] = drop
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:  # the block of `serve` is being left
            await drop()

    return with_drop
