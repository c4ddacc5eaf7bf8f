"""The progress bar of the demo extra."""

import io
import sys

import pytest
from rich.console import Console

from soapbatch import BatchTaskInfo, BatchTaskState, UsageError
from soapbatch.cli.progress_bar import progress_bar
from tests.support.job_server import World, in_world

S = BatchTaskState


def drawn(*infos: BatchTaskInfo) -> str:
    """Return what the bar last shows after these."""
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with progress_bar(console) as show:
        for info in infos:
            show(info)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_running_task() -> None:
    """Number, name, percent and what it does now; markup in a name is text."""
    text = drawn(
        BatchTaskInfo(
            id=42,
            name="[red]Export",
            state=S.STARTED,
            start_count=1,
            progress_percent=30,
            progress_description="Reading",
        )
    )
    assert "42 [red]Export" in text
    assert "30%" in text
    assert "Reading" in text
    assert "start" not in text


@pytest.mark.parametrize(
    ("info", "words"),
    [
        pytest.param(BatchTaskInfo(id=1, state=S.NEW), "New", id="not started"),
        pytest.param(BatchTaskInfo(id=1, state=S.STARTED), "Started", id="nothing said"),
        pytest.param(
            BatchTaskInfo(id=1, state=S.SUCCEEDED, progress_description="Packing", progress_percent=100),
            "Succeeded",
            id="ended",
        ),
        pytest.param(
            BatchTaskInfo(id=1, state=S.STARTED, start_count=3, progress_description="Reading"),
            "Reading (start 3)",
            id="started again",
        ),
        pytest.param(BatchTaskInfo(id=1), "0%", id="nothing known"),
    ],
)
def test_what_a_task_does_now(info: BatchTaskInfo, words: str) -> None:
    """Its own words while it runs, its state otherwise, and which start that is."""
    assert words in drawn(info)


def test_one_bar_for_each_task() -> None:
    """A bar moves with its own task only."""
    text = drawn(
        BatchTaskInfo(id=1, name="A", state=S.STARTED, progress_percent=10),
        BatchTaskInfo(id=2, name="B", state=S.STARTED, progress_percent=20),
        BatchTaskInfo(id=1, name="A", state=S.STARTED, progress_percent=70),
    )
    assert text.count("%") == 2
    assert "70%" in text
    assert "20%" in text


@in_world
async def test_it_is_an_on_progress(world: World) -> None:
    """A wait drives it."""
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with progress_bar(console) as show:
        job = await world.client.jobs.start("ExportArchiveBatchPlugin")
        await job.wait(on_progress=show)
    assert isinstance(console.file, io.StringIO)
    assert "100%" in console.file.getvalue()


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """A UsageError names the extra."""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(UsageError, match=r"soapbatch\[demo\]"), progress_bar():
        pytest.fail("it never begins")  # pragma: no cover - not reached
