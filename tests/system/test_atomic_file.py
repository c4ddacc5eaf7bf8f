"""Files that are replaced as a whole, or not at all."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from soapbatch.system.atomic_file import AtomicFile
from tests.support.clients import names


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """That a folder stands where the file is to go is told before anything is written."""
    with pytest.raises(IsADirectoryError), AtomicFile(tmp_path):
        pytest.fail("a new file was made")
    assert [*tmp_path.parent.glob(f".{tmp_path.name}.*")] == []


@pytest.mark.parametrize("before", [None, b"old"], ids=["no file", "a file"])
def test_a_file_takes_the_place_of_another(tmp_path: Path, before: bytes | None) -> None:
    """Until it takes the place, what was there can be read; from then on the new file with all that was written."""
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
    """It has mode 0600 while it is written and afterwards, whoever could read the file that it replaces."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with AtomicFile(path) as new:
        assert stat.S_IMODE(os.fstat(new.file.fileno()).st_mode) == 0o600
        new.commit()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_block_that_is_left_without_it_replaces_nothing(tmp_path: Path) -> None:
    """The new file is closed and removed, and what was there stays."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with AtomicFile(path) as new:
        new.file.write(b"new")
    assert new.file.closed
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


Trouble: TypeAlias = Callable[[AtomicFile, Path], None]


def fail(_new: AtomicFile, _folder: Path) -> None:
    """Fail in a way of its own."""
    raise KeyError


def fail_without_it(_new: AtomicFile, folder: Path) -> None:
    """Fail where somebody has removed the new file."""
    (folder / names(folder)[0]).unlink()
    raise KeyError


def fill_the_disk(new: AtomicFile, _folder: Path) -> None:
    """Let every write to the new file fail from here on."""
    with Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), new.file.fileno())


def make_a_folder(_new: AtomicFile, folder: Path) -> None:
    """Put a folder where the new file should go."""
    (folder / "file").mkdir()


def replace(path: Path, trouble: Trouble) -> None:
    """Replace a file, as far as `trouble` lets it be replaced."""
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
    """What goes wrong is raised as it is, and nothing is left beside what was there."""
    with pytest.raises(error):
        replace(tmp_path / "file", trouble)
    assert names(tmp_path) == left
