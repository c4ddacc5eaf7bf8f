"""Files that are replaced as a whole, or not at all; and pieces that are written to a file."""

import asyncio
import contextlib
import errno
import fcntl
import io
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
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


# --- Links, long names, and what is no regular file ----------------------------------------------------------------

posix_alone = pytest.mark.skipif(os.name != "posix", reason="POSIX files")
root_alone = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root makes devices")


@posix_alone
@pytest.mark.parametrize("exists", [True, False], ids=["a file", "nothing"])
def test_a_link_is_followed(tmp_path: Path, *, exists: bool) -> None:
    """The file behind a chain of links is replaced, or made, in its own folder; the links stay."""
    (tmp_path / "there").mkdir()
    file, first, second = tmp_path / "there" / "file", tmp_path / "first", tmp_path / "second"
    first.symlink_to("second")
    second.symlink_to("there/file")
    if exists:
        file.write_bytes(b"old")
    with AtomicFile(first) as new:
        assert len(names(tmp_path / "there")) == 1 + exists
        new.file.write(b"new")
        new.commit()
    assert (first.is_symlink(), second.is_symlink(), file.is_symlink()) == (True, True, False)
    assert file.read_bytes() == b"new"
    assert names(tmp_path / "there") == ["file"]


@posix_alone
def test_links_in_a_circle(tmp_path: Path) -> None:
    """A chain of links without an end is an error of the system."""
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="one"), AtomicFile(tmp_path / "one"):
        pytest.fail("a new file was made")
    assert names(tmp_path) == ["one", "two"]


@posix_alone
def test_names_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    """A name of 255 bytes is replaced; a longer one raises an error before anything is written."""
    longest = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    for content in (b"old", b"new"):
        with AtomicFile(longest) as new:
            new.file.write(content)
            new.commit()
    assert longest.read_bytes() == b"new"
    with pytest.raises(OSError, match="too long"), AtomicFile(tmp_path / f"{longest.name}n"):
        pytest.fail("a new file was made")
    assert names(tmp_path) == [longest.name]


@pytest.mark.parametrize("path", ["missing/file", "file/file"])
def test_an_error_names_the_file(tmp_path: Path, path: str) -> None:
    """A folder that is not there is an error about the file that was to be replaced, not about the new file."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="directory") as caught, AtomicFile(tmp_path / path):
        pytest.fail("a new file was made")
    assert caught.value.filename == str(tmp_path / path)


def make(kind: str, path: Path) -> None:
    """Make something at `path` that is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        character = kind == "character device"
        mode = (stat.S_IFCHR if character else stat.S_IFBLK) | 0o666
        os.mknod(path, mode, os.makedev(*((1, 3) if character else (7, 250))))


SPECIAL = [
    pytest.param("pipe", marks=posix_alone),
    pytest.param("socket", marks=posix_alone),
    pytest.param("character device", marks=root_alone),
    pytest.param("block device", marks=root_alone),
]


@pytest.mark.parametrize("through_a_link", [False, True], ids=["itself", "a link"])
@pytest.mark.parametrize("kind", SPECIAL)
async def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, kind: str, *, through_a_link: bool) -> None:
    """`AtomicFile` refuses it. `save_pieces` writes to a character device, and refuses the rest before it reads."""
    made = tmp_path / "made"
    make(kind, made)
    path = made
    if through_a_link:
        path = tmp_path / "link"
        path.symlink_to(made)
    before = made.lstat()
    with pytest.raises(OSError, match="not replaced"), AtomicFile(path):
        pytest.fail("a new file was made")
    pieces = pieces_of(b"new", b" file")
    if kind == "character device":
        assert await save_pieces(pieces, path) == 8
    else:
        with pytest.raises(OSError, match=r"nobody reads|neither a file"):
            await save_pieces(pieces, path)
        assert [piece async for piece in pieces] == [b"new", b" file"]  # none was taken
    assert (made.lstat().st_mode, made.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert names(tmp_path) == sorted({"made", path.name})


@posix_alone
@pytest.mark.parametrize("size", [5, 1 << 20], ids=["little", "more than the pipe holds"])
async def test_a_pipe_is_written_to_while_somebody_reads(tmp_path: Path, size: int) -> None:
    """A reader that takes its time gets every byte; the pipe stays a pipe, and no thread waits."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    content = os.urandom(size)
    saving = asyncio.create_task(save_pieces(pieces_of(content[: size // 2], content[size // 2 :]), path))
    received = b""
    while len(received) < size:
        await asyncio.sleep(0.001)
        with contextlib.suppress(BlockingIOError):
            received += os.read(reader, 1 << 16)
    assert await saving == size
    assert received == content
    os.close(reader)
    assert stat.S_ISFIFO(path.lstat().st_mode)


@posix_alone
async def test_a_pipe_whose_reader_stops_reading_can_be_cancelled(tmp_path: Path) -> None:
    """A full pipe leaves the loop free, and a cancellation ends the write at once; a reader that goes is an error."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await save_pieces(pieces_of(bytes(1 << 20)), path)
    saving = asyncio.create_task(save_pieces(pieces_of(bytes(1 << 20)), path))
    await asyncio.sleep(0.05)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        await saving


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux's /proc")
async def test_an_open_file_by_the_name_of_its_descriptor_is_appended_to(tmp_path: Path) -> None:
    """What /dev/stdout and /proc/self/fd name is open in a process: it is written to, and not replaced."""
    with (tmp_path / "file").open("wb") as file:
        file.write(b"head ")
        file.flush()
        inode = os.fstat(file.fileno()).st_ino
        for name in (f"/proc/self/fd/{file.fileno()}", f"/dev/fd/{file.fileno()}"):
            (tmp_path / "link").symlink_to(name)
            assert await save_pieces(pieces_of(b"new "), tmp_path / "link") == 4
            (tmp_path / "link").unlink()
    assert (tmp_path / "file").read_bytes() == b"head new new "
    assert (tmp_path / "file").stat().st_ino == inode
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux's /proc")
async def test_what_cannot_be_written_to_is_an_error_of_the_system() -> None:
    """The system's own words are kept: a program that runs is busy."""
    program = os.open(sys.executable, os.O_RDONLY)
    with pytest.raises(OSError, match="busy"):
        await save_pieces(pieces_of(b"new"), f"/proc/self/fd/{program}")
    os.close(program)


@posix_alone
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locks, as on some network file systems, files are replaced, and leftovers stay."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path = tmp_path / "file"
    end(half_written(path))
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with AtomicFile(path) as new:
        new.file.write(b"new")
        new.commit()
    assert path.read_bytes() == b"new"
    assert len(names(tmp_path)) == 2


# --- Killed processes -----------------------------------------------------------------------------------------------

HANGS = """
import sys, time
from pathlib import Path
from soapbatch.system import AtomicFile
with AtomicFile(Path(sys.argv[1])) as new:
    new.file.write(b"half")
    new.file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


def half_written(path: Path) -> "subprocess.Popen[bytes]":
    """Return a process that is in the middle of replacing `path`."""
    process = subprocess.Popen([sys.executable, "-c", HANGS, str(path)], stdout=subprocess.PIPE)  # noqa: S603
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process."""
    process.kill()
    process.communicate()


@posix_alone
def test_the_new_file_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    """The next one to replace the same file removes it; that of a running process, or of another file, stays."""
    path, other = tmp_path / "file", tmp_path / "other"
    running, killed, killed_elsewhere = half_written(path), half_written(path), half_written(other)
    end(killed)
    end(killed_elsewhere)
    assert len(names(tmp_path)) == 3
    try:
        with AtomicFile(path) as new:
            assert len(names(tmp_path)) == 3  # of this process, of the one that runs, and of the other file
            new.file.write(b"new")
            new.commit()
        assert path.read_bytes() == b"new"
        assert len(names(tmp_path)) == 3
    finally:
        end(running)
    for target in (other, path):
        with AtomicFile(target) as new:
            new.commit()
    assert names(tmp_path) == ["file", "other"]


@posix_alone
def test_many_at_once_replace_one_file(tmp_path: Path) -> None:
    """Threads that replace one file do not remove each other's new files."""
    path = tmp_path / "file"

    def write(number: int) -> None:
        for _ in range(20):
            with AtomicFile(path) as new:
                new.file.write(b"%d" % number * 1000)
                new.commit()
            assert len(set(path.read_bytes())) == 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert names(tmp_path) == ["file"]


@posix_alone
def test_a_new_file_that_another_process_removes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file that another process takes for a leftover before it is locked is made once more."""
    make_file, seen = tempfile.mkstemp, list[str]()

    def meddled(suffix: str, prefix: str, folder: Path) -> tuple[int, str]:
        descriptor, name = make_file(suffix, prefix, folder)
        seen.append(name)
        if len(seen) == 1:
            Path(name).unlink()
        elif len(seen) == 2:
            holder = os.open(name, os.O_RDWR)
            fcntl.flock(holder, fcntl.LOCK_EX)
            monkeypatch.setattr(tempfile, "mkstemp", make_file)
            os.close(os.dup(holder))  # closing a duplicate does not unlock
            Path(name).unlink()
        return descriptor, name

    monkeypatch.setattr(tempfile, "mkstemp", meddled)
    with AtomicFile(tmp_path / "file") as new:
        new.file.write(b"new")
        new.commit()
    assert len(seen) == 2
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


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
        pytest.param("fi\0le", False, id="text that no system takes for a path"),
        pytest.param(Path("fi\0le"), False, id="Path that no system takes"),
        pytest.param(None, False, id="None"),
    ],
)
def test_a_target_is_a_path_or_a_binary_file(target: object, *, expected: bool) -> None:
    """`is_writable` takes paths and binary files that are open for writing."""
    assert is_writable(target) is expected
