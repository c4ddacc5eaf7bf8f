"""The pictures of the guide are what their texts make, and they say what is true."""

import re
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from soapbatch import (
    BatchTaskInfo,
    BatchTaskState,
    Client,
    DeadlineExceeded,
    Retries,
    SoapBatchError,
    StartOutcomeUnknown,
    UsernamePassword,
    errors,
)
from soapbatch.testing import JobDefinition, ManualClock, NetServer, lost_reply
from tests.pictures import SOURCES, TARGETS, Box, Picture, Statement, pictures, read, route
from tests.support.clients import BASE, virtual

S = BatchTaskState
SVG = "{http://www.w3.org/2000/svg}"


def statements(name: str) -> list[Statement]:
    """Return the statements of a picture's text."""
    return [*read((SOURCES / f"{name}.txt").read_text("utf-8"))]


def boxes(name: str) -> dict[str, str]:
    """Return the kind of each box of a picture, by the name of the box."""
    return {each.words[0]: each.words[-1] for each in statements(name) if each.kind == "box"}


@pytest.mark.parametrize("path", pictures(), ids=lambda path: path.stem)
def test_the_checked_in_picture_is_what_the_text_makes(path: Path) -> None:
    """Nobody draws in an SVG by hand, and it is well-formed: a white ground, a title, and every text inside."""
    svg = path.read_text("utf-8")
    assert svg == pictures()[path], "run: python -m tests.pictures"
    root = ET.fromstring(svg)  # noqa: S314 - the project's own text
    assert root.findtext(f"{SVG}title")
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    ground = root.find(f"{SVG}rect")
    assert ground is not None
    assert (ground.get("fill"), ground.get("width"), ground.get("height")) == ("#ffffff", f"{width:g}", f"{height:g}")
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.get("x", -1)) < width
        assert 0 < float(text.get("y", -1)) < height


def test_no_other_pictures() -> None:
    """Each picture of the guide has a text."""
    assert {*TARGETS.glob("*.svg")} == pictures().keys()


def test_every_statement_of_the_language() -> None:
    """Comments are left out, and a box knows its sides."""
    assert [*read("# all\ntitle A b # c\n\nbox x 0 1 plain | X | a / b")] == [
        Statement("title", ["A", "b"], []),
        Statement("box", ["x", "0", "1", "plain"], ["X", "a / b"]),
    ]
    assert Box(10, 20, 4, 6).side("left") == (8, 20)
    assert Box(10, 20, 4, 6).side("bottom") == (10, 23)
    assert "&lt;b&gt;" in Picture("title <b>").svg()


@pytest.mark.parametrize(
    ("leaves", "enters", "corners"),
    [
        ("right", "left", [(0, 0), (50, 0), (50, 40), (100, 40)]),
        ("bottom", "top", [(0, 0), (0, 20), (100, 20), (100, 40)]),
        ("right", "top", [(0, 0), (100, 0), (100, 40)]),
        ("bottom", "left", [(0, 0), (0, 40), (100, 40)]),
        ("top", "top", [(0, 0), (0, -22), (100, -22), (100, 40)]),
        ("right", "right", [(0, 0), (122, 0), (122, 40), (100, 40)]),
    ],
)
def test_arrows_have_right_angles(leaves: str, enters: str, corners: list[tuple[float, float]]) -> None:
    """Each part of an arrow is level or upright."""
    assert route((0, 0), leaves, (100, 40), enters) == corners
    assert route((0, 0), "right", (100, 0), "left") == [(0, 0), (50, 0), (100, 0)]


# --- The states of a job ----------------------------------------------------------------------------------------------


def changes_of(definition: JobDefinition, act: Callable[[NetServer, int], object] | None, at: float) -> Iterator[str]:
    """Yield each change of state on the embedded server, as the picture has it; `act` at some second."""
    clock = ManualClock()
    server = NetServer(clock=clock)
    server.define_job("Job", definition)
    id_ = server.tasks.start(BatchTaskInfo(name="Job"), 1)
    seen = []
    for second in range(40):
        if second / 4 == at and act is not None:
            act(server, id_)
        info = server.tasks.read(id_)
        assert info is not None
        seen.append(str(info.state))
        clock.advance(0.25)
    for before, after in pairwise(seen):
        if before != after:
            yield f"{before} {after}"


def test_the_states_are_those_of_the_server() -> None:
    """Each state of a task is a box, green or red if it is the last one; each arrow happens, and nothing else does."""
    kinds = boxes("job_states")
    assert kinds.keys() == {str(state) for state in S} - {S.UNKNOWN, S.ALL}
    for name, kind in kinds.items():
        expected = "plain" if not S(name).is_terminal else "bad" if name == S.FAILED else "good"
        assert kind == expected
    drawn = {
        " ".join(word.split(".")[0] for word in each.words) for each in statements("job_states") if each.kind == "arrow"
    }
    manual = JobDefinition(duration=1, outcome=S.SUCCEEDED_MANUAL_CLEANUP, output=b"x")
    seen = {
        *changes_of(JobDefinition(duration=1), None, 0),
        *changes_of(JobDefinition(duration=1, outcome=S.FAILED), None, 0),
        *changes_of(JobDefinition(duration=1, restarts=[0.5]), None, 0),
        *changes_of(manual, lambda server, id_: server.tasks.cleanup(id_), 8),
        *(
            change
            for second in (1.0, 2.25, 3.0)
            for change in changes_of(JobDefinition(duration=5), lambda server, id_: server.tasks.stop(id_), second)
        ),
    }
    assert drawn == seen


# --- The life of a call -----------------------------------------------------------------------------------------------


def test_the_phases_are_those_of_a_deadline() -> None:
    """Each phase in which a deadline can pass is a box, or is named; each error that is named exists."""
    phases = set(re.findall(r'"(\w+)"', (DeadlineExceeded.__doc__ or "").partition("timeout: ")[0]))
    text = (SOURCES / "call.txt").read_text("utf-8")
    drawn = boxes("call").keys() - {"value"}
    assert drawn | {"retrying", "settling"} == phases
    assert "retrying: " in text
    named = [name for line in re.findall(r"!([\w, ]+)", text) for name in line.strip().split(", ")]
    assert len(named) >= len(drawn)
    for name in (*named, "DeadlineExceeded"):
        assert issubclass(getattr(errors, name), SoapBatchError)


# --- Who may repeat what ----------------------------------------------------------------------------------------------


class FailingOnce(httpx.AsyncBaseTransport):
    """A transport whose next request fails to connect, if it is told so.

    Attributes:
        is_down: whether the next request fails.
    """

    def __init__(self, server: NetServer) -> None:
        """Lead to `server`."""
        self._inner = httpx.ASGITransport(server)
        self.is_down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or fail."""
        if self.is_down:
            self.is_down = False
            raise httpx.ConnectError("refused") from ConnectionRefusedError()
        return await self._inner.handle_async_request(request)


CALLS: dict[str, tuple[str, Callable[[Client], Coroutine[Any, Any, object]]]] = {
    "read": ("GetBatchTaskInfo", lambda client: client.batch.get_batch_task_info(1)),
    "key": ("StartBatchJob", lambda client: client.jobs.start("Export", key="acme/1")),
    "start": ("StartBatchJob", lambda client: client.jobs.start("Export")),
    "change": ("StopBatchJob", lambda client: client.batch.stop_batch_job(1)),
}


@pytest.mark.parametrize("cell", boxes("repeats"))
@virtual
async def test_who_repeats_is_true(cell: str) -> None:
    """Where the picture says that the client repeats, the call works; elsewhere its error says that nobody knows."""
    kind = boxes("repeats")[cell]
    row, column = cell.split(".")
    operation, call = CALLS[row]
    server = NetServer()
    server.define_job("Export", duration=3600)
    transport = FailingOnce(server)
    login = UsernamePassword("demo", "demo")
    async with Client(BASE, transport=transport, credentials=login, retries=Retries(attempts=3)) as client:
        await client.jobs.start("Export")
        before = server.counts[operation]
        if column == "unsent":
            transport.is_down = True
        elif column == "refused":
            server.tickets.revoke_all()
        else:
            server.intercept(operation, lost_reply)
        if kind == "good":
            await call(client)
        else:
            with pytest.raises(StartOutcomeUnknown if kind == "bad" else SoapBatchError) as raising:
                await call(client)
            assert raising.value.applied == "unknown"
        once_more = (row, column) == ("read", "lost")
        runs = [each for each in server.calls_of(operation) if each.outcome != "SoSessionException"]
        assert len(runs) == before + 1 + once_more
