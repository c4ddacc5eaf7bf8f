"""The command `soapbatch demo`."""

import io
import re
import sys

import pytest
import rich.console

from soapbatch.cli import main
from soapbatch.testing import DEMO_USER


def test_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo logs in, runs a job to its end, lists tasks, shows the output and one exchange, and deletes the task."""
    console = rich.console.Console(file=io.StringIO(), width=200, force_terminal=False, highlight=False)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    assert main(["demo"]) == 0
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    started = re.search(r"• started ExportArchiveBatchPlugin: task (\d+)\n", shown)
    assert started
    number = started[1]
    steps = [
        "• an embedded NetServer listens at http://127.0.0.1:",
        f"• logged in as {DEMO_USER.name}: ",
        started[0],
        "100%",
        "• SucceededManualCleanup: ",
        "percent",
        "Nightly export",
        "• its output, ",
        "• one request and its response, as sent (secrets masked):",
        "GetBatchTaskInfo",
        "GetBatchTaskInfoResponse",
        f"• deleted task {number}; it is now None",
    ]
    places = [shown.find(step) for step in steps]
    assert places == sorted(places), dict(zip(steps, places, strict=True))
    assert min(places) >= 0
    assert "<Batch:Ticket>***</Batch:Ticket>" in shown
    assert "7T:" not in shown  # each ticket begins with this
    assert capsys.readouterr() == ("", "")


def test_the_demo_of_online(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It finds the tenant, signs its system user in once, runs a job, and follows the tenant to another host."""
    console = rich.console.Console(file=io.StringIO(), width=200, force_terminal=False, highlight=False)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    assert main(["demo", "--online"]) == 0
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    steps = [
        "• an embedded SuperOffice Online listens at http://127.0.0.1:",
        "• the state of Cust12345 is Running; it lives at https://sod2.superoffice.com/Cust12345, ",
        "• signed in as the system user of Demo App",
        "• started ExportArchiveBatchPlugin: task 1",
        "• SucceededManualCleanup: ",
        "> POST https://sod2.superoffice.com/Cust12345/Remote/Services88/Batch.svc",
        "<ApplicationToken>***</ApplicationToken><Credentials><Ticket>***</Ticket></Credentials>",
        "• Cust12345 moves from sod2.superoffice.com to sod3.superoffice.com",
        "• deleted task 1; it is now None",
        "• requests to the sign-in host for state: 2",
        "• requests to the sign-in host for system_user: 1",
        "• requests to the sign-in host for jwks: 1",
        "sod2.superoffice.com (200), sod2.superoffice.com (421), sod3.superoffice.com (200)",
    ]
    places = [shown.find(step) for step in steps]
    assert places == sorted(places), dict(zip(steps, places, strict=True))
    assert min(places) >= 0
    assert "7T:" not in shown
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("module", ["cryptography", "jwt"])
def test_without_the_extra_for_online(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the extras."""
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo", "--online"]) == 2
    assert 'pip install "soapbatch[demo,online]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "extra"),
    [("rich.console", "demo"), ("rich.table", "demo"), ("rich.progress", "demo"), ("uvicorn", "testing")],
)
def test_without_the_extra(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where rich or uvicorn is not installed, the error names the extra that brings it."""
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("soapbatch: ")
    assert f"soapbatch[{extra}]" in error
    assert error.count("\n") == 1


def test_an_ascii_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A console that is not UTF-8 gets ASCII bullets."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = rich.console.Console(file=stream, width=200, highlight=False)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    assert main(["demo"]) == 0
    stream.flush()
    shown = stream.buffer.getvalue().decode("ascii")
    assert "* started ExportArchiveBatchPlugin: task " in shown
    assert capsys.readouterr().err == ""
