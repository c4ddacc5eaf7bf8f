"""Files that are replaced as a whole: whoever reads one sees the old content or the new, never half of it."""

import errno
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Self


class AtomicFile:
    """A new file beside the one at `path`, for its owner alone (mode 0600), that may take its place.

        with AtomicFile(path) as new:
            new.file.write(b"...")
            new.commit()

    Leaving the block without `commit` removes the new file and leaves `path` as it was.

    All of this blocks. The whole block may run in a thread; or writing and `commit` do, and the event loop makes
    and removes the new file, which are quick: a thread that makes one after its task was cancelled leaves it behind.

    Attributes:
        file: the new file, open for writing, within the block.
    """

    file: BinaryIO
    _name: str

    def __init__(self, path: Path) -> None:
        """Name the file to replace; its folder must exist, the file need not."""
        self._path = path

    def __enter__(self) -> Self:
        """Make the new file. Raises OSError."""
        if self._path.is_dir():  # it would be found out only when the new file is to take its place
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        descriptor, self._name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        self.file = os.fdopen(descriptor, "wb")
        return self

    def commit(self) -> None:
        """Put the new file, with what was written to it, in the place of what was there. Raises OSError."""
        self.file.close()
        Path(self._name).replace(self._path)

    def __exit__(self, *_: object) -> None:
        """Close the new file, and remove it where it has not taken its place."""
        try:
            self.file.close()
        finally:
            Path(self._name).unlink(missing_ok=True)
