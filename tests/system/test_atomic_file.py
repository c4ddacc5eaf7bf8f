"""Files that are replaced as a whole, or not at all; and pieces that are written to a file."""

import io
import os
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import pytest

from soapbatch.system.atomic_file import AtomicFile, is_writable, save_pieces
from tests.support.clients import names


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """A folder at the path raises an error before anything is written."""
    with pytest.raises(IsADirectoryError), AtomicFile(tmp_path):
        pytest.fail("a new file was made")
    assert [*tmp_path.parent.glob(f".{tmp_path.name}.*")] == []


@pytest.mark.parametrize("before", [None, b"old"], ids=["no file", "a file"])
def test_a_file_takes_the_place_of_another(tmp_path: Path, before: bytes | None) -> None:
    """Before `commit`, readers get the old content; afterwards, all of the new content."""
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with AtomicFile(path) as new:
        new.file.write(b"new")
        assert (path.read_bytes() if path.exists() else None) == before
        new.commit()
        assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The new file has mode 0600 from the start, also where everybody could read the old file."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with AtomicFile(path) as new:
        assert stat.S_IMODE(os.fstat(new.file.fileno()).st_mode) == 0o600
        new.commit()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_block_that_is_left_without_it_replaces_nothing(tmp_path: Path) -> None:
    """Without `commit` the new file is closed and removed, and the old file stays."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with AtomicFile(path) as new:
        new.file.write(b"new")
    assert new.file.closed
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


Trouble: TypeAlias = Callable[[AtomicFile, Path], None]


def fail(_new: AtomicFile, _folder: Path) -> None:
    """Raise an error of the block."""
    raise KeyError


def fail_without_it(_new: AtomicFile, folder: Path) -> None:
    """Remove the new file, and raise an error of the block."""
    (folder / names(folder)[0]).unlink()
    raise KeyError


def fill_the_disk(new: AtomicFile, _folder: Path) -> None:
    """Let every later write to the new file fail."""
    with Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), new.file.fileno())


def make_a_folder(_new: AtomicFile, folder: Path) -> None:
    """Create a folder at the path of the file."""
    (folder / "file").mkdir()


def replace(path: Path, trouble: Trouble) -> None:
    """Replace a file, with `trouble` between the write and the commit."""
    with AtomicFile(path) as new:
        new.file.write(b"new")
        trouble(new, path.parent)
        new.commit()


linux_alone = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")


@pytest.mark.parametrize(
    ("trouble", "error", "left"),
    [
        pytest.param(fail, KeyError, [], id="an error in the block"),
        pytest.param(fail_without_it, KeyError, [], id="an error where the new file is gone"),
        pytest.param(fill_the_disk, OSError, [], id="a full disk", marks=linux_alone),
        pytest.param(make_a_folder, OSError, ["file"], id="a folder in its place"),
    ],
)
def test_an_error_replaces_nothing(tmp_path: Path, trouble: Trouble, error: type[Exception], left: list[str]) -> None:
    """The error is raised unchanged, and the folder holds no new file."""
    with pytest.raises(error):
        replace(tmp_path / "file", trouble)
    assert names(tmp_path) == left


# --- Pieces -----------------------------------------------------------------------------------------------------


async def pieces_of(*pieces: bytes, error: Exception | None = None) -> AsyncGenerator[bytes, None]:
    """Yield `pieces`, then raise `error`, if there is one."""
    for piece in pieces:
        yield piece
    if error is not None:
        raise error


class Reluctant(io.RawIOBase):
    """An unbuffered file that takes 2 bytes at a time, and no more than `room` bytes in all."""

    def __init__(self, room: int) -> None:
        """Start empty."""
        super().__init__()
        self.content = b""
        self.room = room

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes) -> int | None:  # type: ignore[override]  # typeshed allows every buffer
        """Take a part of `data`; None, as a non-blocking file says it, where there is no room."""
        taken = data[: min(2, self.room - len(self.content))]
        self.content += taken
        return len(taken) or None


@pytest.mark.parametrize(
    ("pieces", "size", "left"),
    [
        pytest.param([], None, b"old", id="no piece"),
        pytest.param([b""], 0, b"", id="an empty piece"),
        pytest.param([b"new", b" file"], 8, b"new file", id="two pieces"),
    ],
)
@pytest.mark.parametrize("as_path", [str, Path])
async def test_pieces_replace_a_file(
    tmp_path: Path, pieces: list[bytes], size: int | None, left: bytes, as_path: Callable[[Path], str | Path]
) -> None:
    """All pieces replace the file at a path; without a piece the old file stays."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    assert await save_pieces(pieces_of(*pieces), as_path(path)) == size
    assert path.read_bytes() == left
    assert names(tmp_path) == ["file"]


async def test_pieces_that_fail_replace_nothing(tmp_path: Path) -> None:
    """An error of the generator is raised unchanged; the folder holds neither the file nor a part of it."""
    with pytest.raises(KeyError):
        await save_pieces(pieces_of(b"new", error=KeyError()), tmp_path / "file")
    assert names(tmp_path) == []


async def test_pieces_go_to_an_open_file() -> None:
    """An open file takes the pieces behind its content, and stays open."""
    file = io.BytesIO()
    file.write(b"head ")
    assert await save_pieces(pieces_of(b"new", b" file"), file) == 8
    assert file.getvalue() == b"head new file"


async def test_a_file_that_takes_parts_gets_everything() -> None:
    """A piece that an unbuffered file takes in parts is written whole; one that it does not take raises an error."""
    file = Reluctant(room=8)
    assert await save_pieces(pieces_of(b"new", b" file"), cast("BinaryIO", file)) == 8
    assert file.content == b"new file"
    pieces = pieces_of(b"new", b" file")
    with pytest.raises(BlockingIOError, match="open it for blocking writes"):
        await save_pieces(pieces, cast("BinaryIO", Reluctant(room=5)))
    assert [piece async for piece in pieces] == []  # the generator is closed


class Sink:
    """A file with no more than `write`."""

    def write(self, data: bytes) -> int:
        """Take everything."""
        return len(data)


class AsyncSink:
    """A file of an async library."""

    async def write(self, data: bytes) -> int:
        """Take everything."""
        return len(data)


class ReadOnly(io.RawIOBase):
    """A file that is open for reading: `writable` returns False."""

    def write(self, _data: object) -> int:
        """Write nothing."""
        raise io.UnsupportedOperation


def closed_file() -> io.BytesIO:
    """Return a file that is closed."""
    file = io.BytesIO()
    file.close()
    return file


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("file", True, id="text"),
        pytest.param(Path("file"), True, id="Path"),
        pytest.param(io.BytesIO(), True, id="binary file"),
        pytest.param(Sink(), True, id="write alone"),
        pytest.param(io.StringIO(), False, id="text file"),
        pytest.param(closed_file(), False, id="closed file"),
        pytest.param(ReadOnly(), False, id="file for reading"),
        pytest.param(AsyncSink(), False, id="async file"),
        pytest.param(b"file", False, id="bytes"),
        pytest.param(None, False, id="None"),
    ],
)
def test_a_target_is_a_path_or_a_binary_file(target: object, *, expected: bool) -> None:
    """`is_writable` takes paths and binary files that are open for writing."""
    assert is_writable(target) is expected
