"""Files that are replaced as a whole: a reader sees the old content or the new content, never a part of either.

`save_pieces` writes what arrives in pieces, to such a file or to an open one.
"""

import asyncio
import contextlib
import errno
import inspect
import io
import os
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO, Self


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

    def __init__(self, path: Path) -> None:
        """Take the path of the file to replace. The folder must exist; the file need not."""
        self._path = path

    def __enter__(self) -> Self:
        """Create the new file. Raises OSError."""
        if self._path.is_dir():  # `commit` would fail as well, after all the writing
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        descriptor, self._name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        self.file = os.fdopen(descriptor, "wb")
        return self

    def commit(self) -> None:
        """Replace the file at `path` with the new file. Raises OSError."""
        self.file.close()
        Path(self._name).replace(self._path)

    def __exit__(self, *_: object) -> None:
        """Close the new file, and remove it unless `commit` has moved it."""
        try:
            self.file.close()
        finally:
            Path(self._name).unlink(missing_ok=True)


def is_writable(target: object) -> bool:
    """Return whether `save_pieces` takes `target`: a path (text or PathLike), or a binary file open for writing."""
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    return isinstance(target, str) or _takes_bytes(target)


def _takes_bytes(file: object) -> bool:
    """Return whether `file` is open and takes bytes. A file with an encoding takes text."""
    write, writable = getattr(file, "write", None), getattr(file, "writable", None)
    if not callable(write) or inspect.iscoroutinefunction(write) or hasattr(file, "encoding"):
        return False
    return not getattr(file, "closed", False) and (not callable(writable) or bool(writable()))


async def save_pieces(pieces: AsyncGenerator[bytes, None], target: str | os.PathLike[str] | BinaryIO) -> int | None:
    """Write `pieces` to `target` while they arrive, and close the generator.

    The file at a path is replaced once all pieces have arrived; see `AtomicFile`. An open file stays open.

    Args:
        pieces: the content. No piece at all means that there is no content, and then no file is made or replaced.
        target: something that `is_writable`.

    Returns:
        The size in bytes; None where there was no piece.

    Raises:
        OSError: `target` cannot be written.
    """
    if not isinstance(target, str | os.PathLike):
        return await _write(pieces, target)
    with AtomicFile(Path(target)) as new:
        size = await _write(pieces, new.file)
        if size is not None:
            await asyncio.to_thread(new.commit)
    return size


async def _write(pieces: AsyncGenerator[bytes, None], file: BinaryIO) -> int | None:
    """Write `pieces` to `file`; return their size in bytes, or None where there was no piece."""
    size: int | None = None
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            size = (size or 0) + len(piece)
            await asyncio.to_thread(_write_all, file, piece)
    return size


def _write_all(file: BinaryIO | io.RawIOBase, piece: bytes) -> None:
    """Write all of `piece`. An unbuffered file may take only a part, and a non-blocking one may take nothing."""
    written = file.write(piece)
    while isinstance(file, io.RawIOBase) and (written or 0) < len(piece):
        if not written:
            raise BlockingIOError(errno.EAGAIN, "the file takes nothing now: open it for blocking writes")
        piece = piece[written:]
        written = file.write(piece)
