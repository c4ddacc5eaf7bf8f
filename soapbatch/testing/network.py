"""Keeping a test from the network: every connection that leaves this machine is refused."""

import asyncio
import contextlib
import os
import socket
import sys
import sysconfig
import threading
from collections.abc import Generator
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any, Final

from soapbatch.errors import UsageError

_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OWN: Final = str(Path(__file__).parents[1])
_CONNECTING: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
_LOOKING_UP: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_LOCAL_NAMES: Final = frozenset({None, "", "localhost", "localhost.localdomain"})


class NetworkBlocked(UsageError):
    """Something tried to leave this machine while `block_network` was in force. Nothing was sent.

    Attributes:
        address: where it wanted to go, for example "crm.example.com:443".
    """

    def __init__(self, message: str = "", *, address: str = "", **common: Any) -> None:
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.address = address


class _Blocks:
    """The `block_network` blocks that are in force, in the whole process.

    Python cannot remove an audit hook. The one here is added with the first block, and does nothing without one.
    """

    def __init__(self) -> None:
        self.attempts: list[list[NetworkBlocked]] = []
        self.lock = threading.Lock()
        self.has_hook = False

    def enter(self, attempts: list[NetworkBlocked]) -> None:
        with self.lock:
            self.attempts.append(attempts)
            if not self.has_hook:
                self.has_hook = True
                sys.addaudithook(_audit)

    def leave(self, attempts: list[NetworkBlocked]) -> None:
        with self.lock:
            self.attempts = [other for other in self.attempts if other is not attempts]

    def refuse(self, address: str) -> None:
        """Raise for an attempt to reach `address`, and note the attempt in every block."""
        error = NetworkBlocked(
            f"block_network() is in force, and {_who()} tried to reach {address}: only this machine may be reached",
            address=address,
        )
        for attempts in self.attempts:
            attempts.append(error)
        raise error


_BLOCKS: Final = _Blocks()


@contextlib.contextmanager
def block_network() -> Generator[list[NetworkBlocked]]:
    """Refuse, until the block is left, every connection and every look-up of a name that leaves this machine.

    Loopback addresses, `localhost` and Unix sockets may be used. The block holds for the whole process, all threads
    included. Connections that are open already stay open. Blocks may be nested.

    Whoever tries gets a `NetworkBlocked`, which says what tried to go where. The block yields the list of them: code
    under test may have hidden one.

    Event loops that do not connect through Python's sockets, such as uvloop's and the proactor loop of Windows, are
    only seen when they look up a name through `socket`.
    """
    attempts: list[NetworkBlocked] = []
    _BLOCKS.enter(attempts)
    look_up = asyncio.BaseEventLoop.getaddrinfo

    async def checked(loop: asyncio.BaseEventLoop, host: Any, port: Any, **options: Any) -> Any:
        # An event loop looks names up in a thread. Here the caller's frames can still be seen.
        if not _is_local(host):
            _BLOCKS.refuse(_shown(host, port))
        return await look_up(loop, host, port, **options)

    asyncio.BaseEventLoop.getaddrinfo = checked  # type: ignore[method-assign, assignment]
    try:
        yield attempts
    finally:
        asyncio.BaseEventLoop.getaddrinfo = look_up  # type: ignore[method-assign]
        _BLOCKS.leave(attempts)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what would leave this machine. Python calls this function at every audit event."""
    if not _BLOCKS.attempts:
        return
    if event in _CONNECTING:
        family, address = arguments[0].family, arguments[1]
        if family in _INTERNET and address is not None and not _is_local(address[0]):  # None: it is connected already
            _BLOCKS.refuse(_shown(*address[:2]))
    elif event in _LOOKING_UP and not _is_local(arguments[0]):
        _BLOCKS.refuse(_shown(arguments[0], arguments[1] if len(arguments) > 1 else None))


# Lets debuggers and coverage see the function; without this, Python hides what runs inside an audit hook.
_audit.__cantrace__ = True  # type: ignore[attr-defined]


def _is_local(host: Any) -> bool:
    """Return whether a name or an address is this machine's own, or none at all."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if text in _LOCAL_NAMES:
        return True
    try:
        address = ip_address(str(text).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _shown(host: Any, port: Any) -> str:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if ":" in name:
        name = f"[{name}]"
    return f"{name}:{port}" if port else name


def _who() -> str:
    """Return what tried: the innermost frame that is of no library, the task, and the test that runs."""
    found = _calling_frame(sys._getframe(1))  # noqa: SLF001 - there is no other way to see callers
    where = "something"
    if found is not None:
        where = f"{found.f_code.co_qualname} ({found.f_code.co_filename}:{found.f_lineno})"
    with contextlib.suppress(RuntimeError):  # no event loop runs in this thread
        if (task := asyncio.current_task()) is not None:
            where += f" in task {task.get_name()}"
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    return f"{where} in the test {test}" if test else where


def _calling_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame that is neither ours nor a library's, or None."""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((*_LIBRARIES, _OWN, "<")):
            return frame
        frame = frame.f_back
    return None
