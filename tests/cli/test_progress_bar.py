"""The progress bar, which needs the extra `demo`."""

import io
import sys

import pytest
from rich.console import Console

from soapbatch import BatchTaskInfo, BatchTaskState, UsageError
from soapbatch.cli.progress_bar import progress_bar
from tests.support.job_server import World, in_world

S = BatchTaskState


def drawn(*infos: BatchTaskInfo) -> str:
    """Return what the bars show at the end, after these readings of tasks."""
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with progress_bar(console) as show:
        for info in infos:
            show(info)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_running_task() -> None:
    """The bar shows number, name, percent and progress description; markup in a name is shown as text."""
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
        pytest.param(BatchTaskInfo(id=1, state=S.STARTED), "Started", id="no description"),
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
        pytest.param(BatchTaskInfo(id=1), "0%", id="no state"),
    ],
)
def test_what_a_task_does_now(info: BatchTaskInfo, words: str) -> None:
    """The bar shows the progress description of a running task, else the state; and the number of a repeated start."""
    assert words in drawn(info)


def test_one_bar_for_each_task() -> None:
    """Each task moves its own bar only."""
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
    """`Job.wait` calls the yielded function with each reading."""
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    with progress_bar(console) as show:
        job = await world.client.jobs.start("ExportArchiveBatchPlugin")
        await job.wait(on_progress=show)
    assert isinstance(console.file, io.StringIO)
    assert "100%" in console.file.getvalue()


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich, a UsageError names the extra to install."""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(UsageError, match=r"soapbatch\[demo\]"), progress_bar():
        pytest.fail("the block must not run")  # pragma: no cover - not reached
