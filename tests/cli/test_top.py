"""`soapbatch top`: what it knows, what it draws, and how it ends."""

import asyncio
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from soapbatch import BatchTaskInfo, BatchTaskState, ConnectionLost
from soapbatch.calls import BatchAgent
from soapbatch.cli import top
from soapbatch.cli.top import SORTS, Board, bar, frame, spark_line
from soapbatch.testing import failing
from soapbatch.testing.faults import ServerException
from tests.cli.conftest import Done, World

S = BatchTaskState
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def task(
    id: int, percent: int | None = 0, state: str = S.STARTED, minutes: float = 10, **fields: object
) -> BatchTaskInfo:
    """Return a task that was created and started some minutes ago."""
    at = NOW - timedelta(minutes=minutes)
    made = {"name": f"Job{id}", "created": at, "last_started": at, "associate_id": 7} | fields
    return BatchTaskInfo(id=id, state=state, progress_percent=percent, **made)  # type: ignore[arg-type]  # fields of a task


def drawn(board: Board, *, width: int = 110, is_ascii: bool = False, sort: str = "id", problem: str = "") -> str:
    """Return a frame as text."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    made = frame(
        board, title="soapbatch top  crm", sort=sort, now=NOW, requests_a_minute=90, is_ascii=is_ascii, problem=problem
    )
    console.print(made)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def a_board() -> Board:
    """Return a board after three readings."""
    board = Board()
    board.update([task(1, 10, progress_description="Reading contacts"), task(2, 0, S.NEW, 1)], at=0)
    board.update([task(1, 20, progress_description="Reading contacts"), task(2, 0, S.ACQUIRED, 1)], at=60)
    board.update(
        [
            task(1, 30, progress_description="Reading contacts"),
            task(2, 5, S.STARTED, 1),
            task(3, 50, S.FAILED, 95, result="There is no such archive"),
            task(4, None, S.STARTED, 2000, associate_id=None, is_system_task=True),
        ],
        at=120,
    )
    return board


def test_a_frame() -> None:
    """The recording: totals, requests, the line over time, and a row for each task."""
    assert (
        drawn(a_board())
        == """\
soapbatch top  crm  12:00:00 UTC  90 requests/min
Failed 1  Started 3  running over time |▂▂█|

ID  NAME  STATE    PROGRESS             AGE  PACE  END IN   OWNER  DOING
 1  Job1  Started  ███░░░░░░░░░  30%    10m  10.0      7m       7  Reading contacts
 2  Job2  Started  ░░░░░░░░░░░░   5%     1m   2.5     38m       7
 3  Job3  Failed   ██████░░░░░░  50%  1h35m                     7  There is no such archive
 4  Job4  Started                     1d09h                system"""
    )


def test_an_ascii_frame() -> None:
    """An ASCII terminal gets ASCII, a narrow one a narrow table, and a problem stands above the table."""
    shown = drawn(a_board(), is_ascii=True, width=72, problem="ConnectionLost: gone")
    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= 72
    assert [line.split()[0] for line in shown.splitlines()[4:]] == ["1", "2", "3", "4"]
    assert "ConnectionLost: gone" in shown
    assert "|::@|" in shown
    assert "###---------  30%" in shown


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("id", [1, 2, 3, 4]),
        ("name", [1, 2, 3, 4]),
        ("state", [3, 1, 2, 4]),
        ("progress", [3, 1, 2, 4]),
        ("age", [4, 3, 1, 2]),
        ("pace", [1, 2, 3, 4]),
        ("end", [1, 2, 3, 4]),
        ("owner", [1, 2, 3, 4]),
    ],
)
def test_sorts(sort: str, ids: list[int]) -> None:
    """Rows without a value come last."""
    assert [row.info.id for row in SORTS[sort](a_board().rows(NOW))] == ids


def test_paces() -> None:
    """A pace is measured between readings of the last minutes; at first since the start; a restart begins again."""
    board = Board()

    def pace() -> float | None:
        return board.rows(NOW)[0].pace

    board.update([task(1, 50, minutes=10)], at=0)
    assert pace() == 5
    board.update([task(1, 50, minutes=10)], at=60)
    assert pace() is None
    board.update([task(1, 60, minutes=10)], at=120)
    assert pace() == 5
    board.update([task(1, 70, minutes=10)], at=1000)
    assert pace() == 7
    board.update([task(1, 5, minutes=1)], at=1060)
    assert pace() == 5
    board.update([task(1, 100, S.SUCCEEDED)], at=1070)
    assert pace() is None
    assert board.unfinished == set()
    board.forget([1])
    assert board.rows(NOW) == []
    board.update([BatchTaskInfo(name="no id")], at=1080)
    assert board.rows(NOW) == []


def test_small_drawings() -> None:
    """Bars and the line over time, at their ends."""
    assert bar(100, is_ascii=True) == "############ 100%"
    assert bar(250, is_ascii=True) == "############ 250%"
    assert bar(None, is_ascii=True) == ""
    assert spark_line([], is_ascii=True) == ""
    assert spark_line([0, 0], is_ascii=True) == "  "
    assert spark_line([1, 2, 8], is_ascii=False) == "▁▂█"
    assert "no tasks" in drawn(Board())


def test_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """--once prints one frame of the tasks that have not ended; a name leaves out others."""
    monkeypatch.setenv("COLUMNS", "140")
    world.start("EndlessBatchPlugin")
    world.start("Other", duration=1e6)
    world.server.tasks.stop(world.start("EndlessBatchPlugin"))
    done = world.run("top", "--once", "--name", "EndlessBatchPlugin")
    rows = [line.split()[:2] for line in done.out.splitlines()[4:]]
    assert (done.status, rows) == (0, [["1", "EndlessBatchPlugin"]])
    assert done.out.startswith(f"soapbatch top  {world.url}  ")
    assert " 4 requests/min" in done.out.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "message"), [(["top"], "--once"), (["top", "--once", "-o", "json"], "list --running")]
)
def test_for_people(world: World, words: list[str], message: str) -> None:
    """Without a terminal one frame can be had, and a program is shown another command."""
    done = world.run(*words)
    assert (done.status, message in done.err) == (2, True)


def reading(monkeypatch: pytest.MonkeyPatch, *outcomes: object) -> None:
    """Let the readings after the first one end so: an error is raised, a function called; the last one ends `top`."""
    real, left = top._Reader.read, list(outcomes)

    async def read(self: top._Reader, client: object) -> None:
        await real(self, client)  # type: ignore[arg-type]  # it is one
        if self.requests > 6 and not left:
            task_ = asyncio.current_task()
            assert task_ is not None
            task_.cancel()
        elif self.requests > 6:
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            assert callable(outcome)
            outcome()

    monkeypatch.setattr(top._Reader, "read", read)


def test_live(world: World, terminal: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that ends stays, one that vanishes does not; an error that may pass is shown; Ctrl-C ends it."""
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    world.start("EndlessBatchPlugin")
    world.start("EndlessBatchPlugin")
    reading(
        monkeypatch,
        lambda: world.server.tasks.stop(1),
        lambda: world.server.tasks.delete(2),
        ConnectionLost("the connection broke"),
    )
    done = terminal("top", "--interval", "0.02")
    assert done.status == 0
    assert "Stopped on request" in done.out
    assert "ConnectionLost: the connection broke" in done.out


def test_an_error_that_stays(world: World, terminal: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that cannot pass ends the command."""
    monkeypatch.setenv("TERM", "xterm")
    refusal = failing(ServerException("X.SoSentryException", "You may not", "no"))
    reading(monkeypatch, lambda: world.server.intercept(None, refusal, times=None), lambda: None)
    assert terminal("top", "--interval", "0.02").status == 5


def test_the_state_lists_are_enough() -> None:
    """Three lists, of the states that are not terminal, show every task that has not ended."""
    assert {state for state in S if not state.is_terminal} - {S.UNKNOWN, S.ALL} == set(top._UNFINISHED)
    assert BatchAgent.get_batch_task_infos_by_associates_and_state.__doc__
