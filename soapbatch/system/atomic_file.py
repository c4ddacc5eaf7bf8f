"""Files that are replaced as a whole: a reader sees the old content or the new content, never a part of either.

`save_pieces` writes what arrives in pieces: to such a file, to an open file, or to a pipe or a character device.

Rule 1. Only a regular file is replaced. A symbolic link is followed: the file behind the link is replaced.
Rule 2. A pipe and a character device are written to as they are, and nothing waits for a reader that does not come.
        Anything else raises an OSError before anything is written.
Rule 3. The new file has a short name, so that the name of the old file may be as long as the system allows.
Rule 4. A process that is killed leaves its new file behind. The next one to replace the same file removes it.
"""

import asyncio
import contextlib
import errno
import hashlib
import inspect
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Self

_LOOK_AGAIN_AFTER: Final = 0.02  # seconds after which a full pipe is tried again
_LONGEST_CHAIN: Final = 40  # symbolic links that Linux follows
_FOLDER_OF_DESCRIPTORS: Final = re.compile(r"/dev/fd|/proc/.+/fd")


class AtomicFile:
    """A new file beside the file at `path`, readable by its owner only (mode 0600). `commit` replaces the old file.

        with AtomicFile(path) as new:
            new.file.write(b"...")
            new.commit()

    A block that ends without `commit` removes the new file, and the file at `path` stays as it was.

    Every step blocks. Either run the whole block in a thread, or only `write` and `commit`: the event loop may create
    and remove the new file, which is quick. A thread that creates a file after its task was cancelled would leave the
    file behind.

    Attributes:
        file: the new file, open for writing, within the block.
    """

    file: BinaryIO
    _name: str
    _lock: "_Lock"

    def __init__(self, path: Path) -> None:
        """Take the path of the file to replace. The folder must exist; the file need not."""
        self._path = path

    def __enter__(self) -> Self:
        """Create the new file.

        Raises:
            OSError: it cannot be created; or something at `path` is no regular file.
        """
        if not _is_replaceable(self._path):
            raise OSError(errno.EINVAL, "not a regular file, and not replaced", str(self._path))
        self._target = Path(os.path.realpath(self._path))
        # The digest tells the leftovers of this file from those of others.
        digest = hashlib.sha256(os.fsencode(self._target.name)).hexdigest()[:16]
        prefix = f".soapbatch-{digest}-"
        try:
            self._create(prefix)
        except OSError as error:
            error.filename = str(self._path)
            raise
        self._remove_leftovers(prefix)
        return self

    def _create(self, prefix: str) -> None:
        """Create the new file and lock it: another process removes a new file that is not locked."""
        while True:
            descriptor, self._name = tempfile.mkstemp(".tmp", prefix, self._target.parent)
            self._lock = _Lock()
            self.file = os.fdopen(descriptor, "wb")
            if self._lock.take(descriptor):
                return
            self.file.close()

    def _remove_leftovers(self, prefix: str) -> None:
        """Remove the new files of processes that were killed while they replaced the same file (Rule 4)."""
        for name in os.listdir(self._target.parent):  # noqa: PTH208 - names
            path = self._target.parent / name
            if name.startswith(prefix) and path != Path(self._name):
                with contextlib.suppress(OSError):
                    _remove_unlocked(path)

    def commit(self) -> None:
        """Replace the file at `path` with the new file. Raises OSError."""
        self.file.close()
        Path(self._name).replace(self._target)

    def __exit__(self, *_: object) -> None:
        """Close the new file, and remove it unless `commit` has moved it."""
        try:
            self.file.close()
        finally:
            Path(self._name).unlink(missing_ok=True)
            self._lock.release()


class _Lock:
    """A lock on an open file, which the end of the process releases. Windows needs none: it removes no open file."""

    def __init__(self) -> None:
        """Lock nothing yet."""
        self._descriptor: int | None = None

    def take(self, descriptor: int) -> bool:
        """Lock a file that may be closed meanwhile; return False if another process has locked or removed it."""
        if sys.platform == "win32":  # pragma: no cover - tested elsewhere
            return True
        import fcntl  # noqa: PLC0415 - Windows has none

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # A file system without locks (some network file systems) has no leftovers removed, and works otherwise.
            return error.errno not in {errno.EAGAIN, errno.EACCES}
        if not os.fstat(descriptor).st_nlink:
            return False
        self._descriptor = os.dup(descriptor)
        return True

    def release(self) -> None:
        """Unlock the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _remove_unlocked(path: Path) -> None:
    """Remove the new file of another process, unless that process still holds its lock. Raises OSError."""
    if sys.platform == "win32":  # pragma: no cover - tested elsewhere
        path.unlink()
        return
    import fcntl  # noqa: PLC0415 - Windows has none

    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)


def _is_replaceable(path: Path) -> bool:
    """Return whether nothing or a regular file is at `path`, behind symbolic links.

    Raises:
        OSError: it is a folder; or the system refuses to look.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(mode):  # `commit` would fail as well, after all the writing
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return stat.S_ISREG(mode) and not _is_descriptor(path)


def _is_descriptor(path: Path) -> bool:
    """Return whether `path` is an open file of a process, such as /dev/stdout: to replace it would miss that file."""
    links = 0
    while not _FOLDER_OF_DESCRIPTORS.fullmatch(folder := os.path.realpath(path.parent)):
        if not path.is_symlink() or links == _LONGEST_CHAIN:
            return False
        path = Path(folder, path.readlink())
        links += 1
    return True


def is_writable(target: object) -> bool:
    """Return whether `save_pieces` takes `target`: a path (text or PathLike), or a binary file open for writing."""
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    return "\0" not in target if isinstance(target, str) else _takes_bytes(target)


def _takes_bytes(file: object) -> bool:
    """Return whether `file` is open and takes bytes. A file with an encoding takes text."""
    write, writable = getattr(file, "write", None), getattr(file, "writable", None)
    if not callable(write) or inspect.iscoroutinefunction(write) or hasattr(file, "encoding"):
        return False
    return not getattr(file, "closed", False) and (not callable(writable) or bool(writable()))


async def save_pieces(pieces: AsyncGenerator[bytes, None], target: str | os.PathLike[str] | BinaryIO) -> int | None:
    """Write `pieces` to `target` while they arrive, and close the generator.

    The file at a path is replaced once all pieces have arrived; see `AtomicFile`. An open file stays open. A pipe and a
    character device at a path are written to while the pieces arrive.

    Args:
        pieces: the content. No piece at all means that there is no content, and then no file is made or replaced.
        target: something that `is_writable`.

    Returns:
        The size in bytes; None where there was no piece.

    Raises:
        OSError: `target` cannot be written.
    """
    if not isinstance(target, str | os.PathLike):
        return await _write(pieces, partial(_write_in_thread, target))
    path = Path(target)
    if not _is_replaceable(path):
        with _open_as_it_is(path) as file:
            return await _write(pieces, partial(_write_as_it_takes, file))
    with AtomicFile(path) as new:
        size = await _write(pieces, partial(_write_in_thread, new.file))
        if size is not None:
            await asyncio.to_thread(new.commit)
    return size


async def _write(pieces: AsyncGenerator[bytes, None], write: Callable[[bytes], Awaitable[None]]) -> int | None:
    """Write each of `pieces` by `write`; return their size in bytes, or None where there was no piece."""
    size: int | None = None
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            size = (size or 0) + len(piece)
            await write(piece)
    return size


async def _write_in_thread(file: BinaryIO, piece: bytes) -> None:
    await asyncio.to_thread(_write_all, file, piece)


def _write_all(file: BinaryIO | io.RawIOBase, piece: bytes) -> None:
    """Write all of `piece`. An unbuffered file may take only a part, and a non-blocking one may take nothing."""
    written = file.write(piece)
    while isinstance(file, io.RawIOBase) and (written or 0) < len(piece):
        if not written:
            raise BlockingIOError(errno.EAGAIN, "the file takes nothing now: open it for blocking writes")
        piece = piece[written:]
        written = file.write(piece)


def _open_as_it_is(path: Path) -> io.FileIO:
    """Open a pipe or a character device for writing, without waiting for a reader.

    Raises:
        OSError: nobody reads from the pipe; or it is something else.
    """
    flags = os.O_WRONLY | os.O_APPEND
    for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"):  # Windows has none of them
        flags |= getattr(os, name, 0)
    mode = path.stat().st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISREG(mode)):
        raise OSError(errno.EINVAL, "neither a file, nor a pipe or a character device", str(path))
    try:
        return io.FileIO(os.open(path, flags), "wb")
    except OSError as error:
        if error.errno == errno.ENXIO:
            error.strerror = "nobody reads from the pipe, or there is no such device"
        raise


async def _write_as_it_takes(file: io.FileIO, piece: bytes) -> None:
    """Write all of `piece` to a file that may take nothing for a while.

    The event loop writes: a thread that waits for the reader of a pipe could not be cancelled.
    """
    left = memoryview(piece)
    while left:
        if written := file.write(left):
            left = left[written:]
        else:
            await asyncio.sleep(_LOOK_AGAIN_AFTER)
