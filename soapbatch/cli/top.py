"""`soapbatch top`: the tasks that have not ended, in a live table.

`Board` collects what readings show: it is pure. `frame` draws it. `top` reads and draws, again and again.
"""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs

from soapbatch.calls import Hooks
from soapbatch.cli.exit_status import ExitStatus
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.listing import owners_of
from soapbatch.cli.output import age_of, printable, short_time
from soapbatch.client import Client
from soapbatch.errors import SoapBatchError, UsageError
from soapbatch.model import BatchTaskInfo, BatchTaskState

if TYPE_CHECKING:
    from rich.console import RenderableType

_UNFINISHED: Final = (BatchTaskState.NEW, BatchTaskState.ACQUIRED, BatchTaskState.STARTED)
_SPARKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_SPARKS: Final = " .:-=+*#@"
_HISTORY: Final = 60  # readings that the line over time shows
_PACE_OVER: Final = 300.0  # seconds over which a pace is measured
_BAR: Final = 12  # characters
_MINUTE: Final = 60.0


@attrs.frozen
class Row:
    """What a line of the table shows.

    Attributes:
        info: the task, as it was last read.
        age: seconds since it was created.
        pace: percent a minute, or None.
        remaining: estimated seconds until its end, or None.
    """

    info: BatchTaskInfo
    age: float | None
    pace: float | None
    remaining: float | None


class Board:
    """The tasks that were seen, and what is known of their pace. Times are seconds of one clock.

    Attributes:
        running: how many tasks were Started at each of the last readings.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.running: deque[int] = deque(maxlen=_HISTORY)
        self._infos: dict[int, BatchTaskInfo] = {}
        self._marks: dict[int, deque[tuple[float, int]]] = {}

    @property
    def unfinished(self) -> set[int]:
        """The ids of the tasks that had not ended when they were last read."""
        return {id_ for id_, info in self._infos.items() if not info.has_ended}

    def update(self, infos: Iterable[BatchTaskInfo], at: float) -> None:
        """Take in a reading of all unfinished tasks, and of those that have ended since the last one."""
        for info in infos:
            if info.id is None:
                continue
            self._infos[info.id] = info
            if info.progress_percent is not None:
                marks = self._marks.setdefault(info.id, deque())
                if marks and info.progress_percent < marks[-1][1]:
                    marks.clear()  # the job was started again
                marks.append((at, info.progress_percent))
                while marks[0][0] < at - _PACE_OVER:
                    marks.popleft()
        self.running.append(sum(info.state == BatchTaskState.STARTED for info in self._infos.values()))

    def forget(self, ids: Iterable[int]) -> None:
        """Leave out tasks that the server does not know any more."""
        for id_ in ids:
            self._infos.pop(id_, None)

    def rows(self, now: datetime) -> list[Row]:
        """Return a row for each task."""
        return [self._row(id_, info, now) for id_, info in self._infos.items()]

    def totals(self) -> dict[str, int]:
        """Return how many tasks are in each state."""
        found: dict[str, int] = {}
        for info in self._infos.values():
            found[str(info.state)] = found.get(str(info.state), 0) + 1
        return found

    def _row(self, id_: int, info: BatchTaskInfo, now: datetime) -> Row:
        pace = None if info.has_ended else self._pace(id_, info, now)
        remaining = _MINUTE * (100 - (info.progress_percent or 0)) / pace if pace else None
        return Row(info, age_of(info.created, now), pace, remaining)

    def _pace(self, id_: int, info: BatchTaskInfo, now: datetime) -> float | None:
        """Return percent a minute: since the first reading that is still kept, else since the task was started."""
        marks = self._marks.get(id_)
        if marks and marks[-1][1] > marks[0][1]:
            return _MINUTE * (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])
        since_start = age_of(info.last_started, now)
        if since_start and since_start > 0 and info.progress_percent and len(marks or ()) <= 1:
            return _MINUTE * info.progress_percent / since_start
        return None


def _by(key: Callable[[Row], Any], *, is_reversed: bool = False) -> Callable[[list[Row]], list[Row]]:
    """Return a function that sorts rows; rows without a value come last."""

    def sort(rows: list[Row]) -> list[Row]:
        known = sorted((row for row in rows if key(row) is not None), key=key, reverse=is_reversed)
        return known + [row for row in rows if key(row) is None]

    return sort


SORTS: Final[Mapping[str, Callable[[list[Row]], list[Row]]]] = {
    "id": _by(lambda row: row.info.id),
    "name": _by(lambda row: row.info.name),
    "state": _by(lambda row: str(row.info.state)),
    "progress": _by(lambda row: row.info.progress_percent, is_reversed=True),
    "age": _by(lambda row: row.age, is_reversed=True),
    "pace": _by(lambda row: row.pace, is_reversed=True),
    "end": _by(lambda row: row.remaining),
    "owner": _by(lambda row: row.info.associate_id),
}
"""How --sort orders rows."""


def spark_line(counts: Sequence[int], *, is_ascii: bool) -> str:
    """Return a character for each count, the higher the larger."""
    sparks = _ASCII_SPARKS if is_ascii else _SPARKS
    highest = max(counts, default=0) or 1
    return "".join(sparks[(len(sparks) - 1) * count // highest] for count in counts)


def bar(percent: int | None, *, is_ascii: bool) -> str:
    """Return a bar for a percentage, and its figure."""
    if percent is None:
        return ""
    filled = _BAR * min(max(percent, 0), 100) // 100
    full, empty = ("#", "-") if is_ascii else ("█", "░")
    return f"{full * filled}{empty * (_BAR - filled)} {percent:3}%"


def frame(
    board: Board, *, title: str, sort: str, now: datetime, requests_a_minute: float, is_ascii: bool, problem: str = ""
) -> "RenderableType":
    """Return what the terminal shows: totals, the line over time, and the table."""
    from rich.console import Group  # noqa: PLC0415 - rich belongs to an extra
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ID", "NAME", "STATE", "PROGRESS", "AGE", "PACE", "END IN", "OWNER", "DOING"):
        justify = "right" if name in {"ID", "AGE", "PACE", "END IN", "OWNER"} else "left"
        # A terminal that is too narrow takes width from names and descriptions, never from ids.
        table.add_column(name, justify=justify, no_wrap=name not in {"NAME", "DOING"})  # type: ignore[arg-type]  # one of rich's words
    for row in SORTS[sort](board.rows(now)):
        info = row.info
        cells = (
            str(info.id),
            printable(info.name or ""),
            printable(info.state or ""),
            bar(info.progress_percent, is_ascii=is_ascii),
            short_time(row.age),
            "" if row.pace is None else f"{row.pace:.1f}",
            short_time(row.remaining),
            str(info.associate_id or ("system" if info.is_system_task else "")),
            printable((info.result if info.has_ended else info.progress_description) or ""),
        )
        style = {"Failed": "red", "Started": ""}.get(str(info.state), "green" if info.has_ended else "dim")
        table.add_row(*(Text(cell, no_wrap=True, overflow="crop") for cell in cells), style=style)
    totals = "  ".join(f"{state} {count}" for state, count in sorted(board.totals().items())) or "no tasks"
    head = [
        Text(f"{title}  {now:%H:%M:%S} UTC  {requests_a_minute:.0f} requests/min", style="bold"),
        Text(f"{totals}  running over time |{spark_line(board.running, is_ascii=is_ascii)}|"),
    ]
    return Group(*head, Text(problem or " ", style="yellow"), table)


class _Reader:
    """Reads the unfinished tasks, and counts the requests."""

    def __init__(self, invocation: Invocation) -> None:
        self.board = Board()
        self.requests = 0
        self._began = asyncio.get_running_loop().time()
        self._owners = owners_of(invocation)
        self._name: str | None = invocation.options.name
        self.hooks = Hooks(on_request=self._count)

    def _count(self, _: object) -> None:
        self.requests += 1

    @property
    def requests_a_minute(self) -> float:
        """How many requests a minute this costs; in the first minute, as many as there were."""
        return self.requests / max(1.0, (asyncio.get_running_loop().time() - self._began) / _MINUTE)

    async def read(self, client: Client) -> None:
        """Read once: a list for each unfinished state, and each task that is in none of them any more."""

        async def listed(state: BatchTaskState) -> list[BatchTaskInfo]:
            return await client.batch.get_batch_task_infos_by_associates_and_state(self._owners, state)

        lists = await asyncio.gather(*map(listed, _UNFINISHED))
        found = [info for infos in lists for info in infos if self._name in {None, info.name}]
        gone = self.board.unfinished - {info.id for info in found if info.id is not None}
        ended = await asyncio.gather(*map(client.batch.get_batch_task_info, sorted(gone)), return_exceptions=True)
        known = [info for info in ended if isinstance(info, BatchTaskInfo)]
        self.board.forget(gone - {info.id for info in known})
        self.board.update([*found, *known], asyncio.get_running_loop().time())


async def top(invocation: Invocation) -> int:
    """Show the tasks that have not ended, until the command is interrupted; --once: once."""
    options, output = invocation.options, invocation.output
    if output.is_json or output.form == "ids":
        raise UsageError("top is for people; a program reads `soapbatch list --running -o json`")
    if not (options.once or sys.stdout.isatty()):
        raise UsageError("top needs a terminal; `top --once` prints one frame")
    console = output.console(sys.stdout)
    is_ascii = console.options.ascii_only
    reader = _Reader(invocation)

    def draw(problem: str = "") -> "RenderableType":
        return frame(
            reader.board,
            title=f"soapbatch top  {invocation.settings.server}",
            sort=options.sort,
            now=datetime.now(UTC),
            requests_a_minute=reader.requests_a_minute,
            is_ascii=is_ascii,
            problem=problem,
        )

    async with invocation.client(reader.hooks) as client:
        await reader.read(client)
        if options.once:
            with console.capture() as captured:
                console.print(draw())
            output.write("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))
            return ExitStatus.DONE
        from rich.live import Live  # noqa: PLC0415 - rich belongs to an extra

        with (
            contextlib.suppress(asyncio.CancelledError),
            Live(draw(), console=console, screen=True, auto_refresh=False) as live,
        ):
            while True:
                await asyncio.sleep(options.interval)
                problem = ""
                try:
                    await reader.read(client)
                except SoapBatchError as error:
                    if not error.retryable:
                        raise
                    problem = printable(f"{type(error).__name__}: {error}")
                live.update(draw(problem), refresh=True)
    return ExitStatus.DONE
