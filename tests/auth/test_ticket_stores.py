"""Stores through which processes share a ticket."""

import asyncio
import json
import logging
import os
import socket
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from soapbatch import FileTicketStore, Ticket
from soapbatch.auth import MemoryTicketStore, TicketStore

NOON = datetime(2024, 2, 29, 12, 0, 0, 250000, tzinfo=UTC)
TICKET = Ticket("7T:MgA5ADsAMQA3AA+/==", expires_at=NOON)

tickets = st.builds(
    Ticket,
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), min_size=1
    ),
    expires_at=st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))])),
    sliding=st.booleans(),
)


@given(tickets)
async def test_a_file_returns_what_was_put(tmp_path_factory: pytest.TempPathFactory, ticket: Ticket) -> None:
    """Value, expiry and `sliding` of a ticket survive a file."""
    path = tmp_path_factory.getbasetemp() / "ticket.json"
    await FileTicketStore(path).put(ticket)
    assert await FileTicketStore(str(path)).get() == ticket


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_store_keeps_what_was_put_last(kind: str, tmp_path: Path) -> None:
    """A store is empty at first, and then holds what was put last."""
    store: TicketStore = MemoryTicketStore() if kind == "memory" else FileTicketStore(tmp_path / "ticket.json")
    assert await store.get() is None
    await store.put(Ticket("7T:old"))
    await store.put(TICKET)
    assert await store.get() == TICKET


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
async def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The file has mode 0600 from its first byte on, also where it replaces one that anybody could read."""
    path = tmp_path / "ticket.json"
    path.write_text("{}")
    path.chmod(0o644)
    await FileTicketStore(path).put(TICKET)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["ticket.json"]  # noqa: PTH208 - names


async def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A reader beside many writers gets one of the tickets, never a part of one, and never None."""
    store = FileTicketStore(tmp_path / "ticket.json")
    written = [Ticket(f"7T:{number}" * 1000, expires_at=NOON) for number in range(20)]
    await store.put(written[0])
    *_, read = await asyncio.gather(*map(store.put, written), *(store.get() for _ in range(20)))
    assert read in written
    assert await store.get() in written
    assert os.listdir(tmp_path) == ["ticket.json"]  # noqa: PTH208 - names


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"ticket": "7T:canary', id="cut short"),
        pytest.param(b"\xff\xfe7T:canary", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="deeply nested"),
        pytest.param(b'["7T:canary"]', id="a list"),
        pytest.param(b'"7T:canary"', id="a string"),
        pytest.param(b'{"ticket": "7T:canary"}', id="without an expiry"),
        pytest.param(b'{"ticket": "7T:canary", "expires_at": "soon", "sliding": true}', id="expiry not a date"),
        pytest.param(b'{"ticket": "7T:canary", "expires_at": 7, "sliding": true}', id="expiry a number"),
        pytest.param(b'{"ticket": "7T:canary", "expires_at": "2024-01-01", "sliding": true}', id="expiry without zone"),
        pytest.param(b'{"ticket": 7, "expires_at": null, "sliding": true}', id="ticket a number"),
        pytest.param(b'{"ticket": "", "expires_at": null, "sliding": true}', id="ticket empty"),
    ],
)
async def test_a_corrupt_file_is_as_good_as_none(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file with other content causes a warning with the file's name; the next ticket replaces the content."""
    path = tmp_path / "ticket.json"
    path.write_bytes(content)
    store = FileTicketStore(path)
    assert await store.get() is None
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "soapbatch")
    assert str(path) in record.getMessage()
    assert "canary" not in caplog.text
    await store.put(TICKET)
    assert await store.get() == TICKET


async def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    """A write that fails leaves the folder as it was."""
    path = tmp_path / "ticket.json"
    path.mkdir()
    with pytest.raises(OSError, match=r"ticket\.json"):
        await FileTicketStore(path).put(TICKET)
    assert os.listdir(tmp_path) == ["ticket.json"]  # noqa: PTH208 - names


async def test_a_ticket_that_no_envelope_can_carry_is_not_written(tmp_path: Path) -> None:
    """The store refuses a value with characters that XML forbids, as a request does; the error hides the value."""
    with pytest.raises(ValueError, match=r"holds U\+0000 at index 9") as caught:
        await FileTicketStore(tmp_path / "ticket.json").put(Ticket("7T:canary\0"))
    assert "canary" not in str(caught.value)
    assert not os.listdir(tmp_path)  # noqa: PTH208 - names


async def test_a_file_says_what_it_holds(tmp_path: Path) -> None:
    """The file is JSON with three names, so that other programs can read and write it."""
    path = tmp_path / "ticket.json"
    await FileTicketStore(path).put(TICKET)
    assert json.loads(path.read_text()) == {
        "ticket": "7T:MgA5ADsAMQA3AA+/==",
        "expires_at": "2024-02-29T12:00:00.250000+00:00",
        "sliding": True,
    }


# --- Files that are not the store's own ------------------------------------------------------------------------------

CONTENT = b'{"ticket": "7T:canary", "expires_at": null, "sliding": true}'
posix_alone = pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
root_alone = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")


@posix_alone
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o700])
async def test_a_file_that_others_cannot_write_to_is_trusted(tmp_path: Path, mode: int) -> None:
    """Who may read the file is a matter of its owner."""
    path = tmp_path / "ticket.json"
    path.write_bytes(CONTENT)
    path.chmod(mode)
    assert await FileTicketStore(path).get() == Ticket("7T:canary")


@posix_alone
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o622, 0o666, 0o777])
async def test_a_file_that_others_may_write_to_is_not_trusted(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its ticket could be anybody's: it is not used, a warning says so, and the next ticket replaces the file."""
    path = tmp_path / "ticket.json"
    path.write_bytes(CONTENT)
    path.chmod(mode)
    assert await FileTicketStore(path).get() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "others may write to it" in record.getMessage()
    assert str(path) in record.getMessage()
    assert "canary" not in caplog.text
    await FileTicketStore(path).put(TICKET)
    assert await FileTicketStore(path).get() == TICKET


@root_alone
async def test_a_file_of_somebody_else_is_not_trusted(tmp_path: Path) -> None:
    """A file belongs to the user of the process, or to root."""
    path = tmp_path / "ticket.json"
    path.write_bytes(CONTENT)
    path.chmod(0o600)
    os.chown(path, 65534, -1)
    assert await FileTicketStore(path).get() is None
    os.chown(path, 0, -1)
    assert await FileTicketStore(path).get() == Ticket("7T:canary")


@posix_alone
@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
async def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path: Path, kind: str) -> None:
    """A pipe, a device and a socket hold no ticket, nothing waits for them, and they stay."""
    path = tmp_path / "ticket.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    before = path.stat()
    async with asyncio.timeout(5):
        if kind == "socket":
            with pytest.raises(OSError, match=r"ticket\.json"):
                await FileTicketStore(path).get()
        else:
            assert await FileTicketStore(path).get() is None
        with pytest.raises(OSError, match="not replaced"):
            await FileTicketStore(path).put(TICKET)
    assert (path.stat().st_mode, path.stat().st_ino) == (before.st_mode, before.st_ino)


@posix_alone
async def test_a_link_to_the_file_is_followed(tmp_path: Path) -> None:
    """A file that a configuration links to is read and replaced behind the link."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "ticket.json"
    link.symlink_to("there/ticket.json")
    assert await FileTicketStore(link).get() is None
    await FileTicketStore(link).put(TICKET)
    assert link.is_symlink()
    assert await FileTicketStore(tmp_path / "there" / "ticket.json").get() == TICKET


async def test_a_huge_file_holds_no_ticket(tmp_path: Path) -> None:
    """At most 1 MiB of a file is read."""
    path = tmp_path / "ticket.json"
    path.write_bytes(CONTENT.replace(b"canary", b"c" * (1 << 20)))
    path.chmod(0o600)
    assert await FileTicketStore(path).get() is None
