"""Which error leads to which exit status, and what is said about it."""

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from soapbatch import (
    AccessDenied,
    AuthenticationFailed,
    BatchTaskInfo,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Fault,
    HttpError,
    JobFailed,
    JobGone,
    JobRunning,
    NotInVersion,
    OperationFailed,
    Secret,
    ServiceBusy,
    SoapBatchError,
    StartOutcomeUnknown,
    TenantUnavailable,
    TokenNotTrusted,
    UnexpectedResponse,
    UsageError,
    WaitTimeout,
    errors,
)
from soapbatch.cli.exit_status import ExitStatus, advice_on, status_of, status_of_all
from soapbatch.cli.jsonable import plain_error
from soapbatch.cli.output import Output, age_of, printable, short_time
from soapbatch.model import ExceptionInfo, SoCredentials, to_plain

READ = "GetBatchTaskInfo"
STOP = "StopBatchJob"
REFUSED = ExceptionInfo(exception_type="SuperOffice.Exceptions.SoSentryException")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError(), 2),
        (NotInVersion(), 2),
        (ClientClosed(), 2),
        (JobFailed(), 1),
        (JobGone(), 3),
        (WaitTimeout(), 4),
        (JobRunning(), 5),
        (AuthenticationFailed(), 5),
        (AccessDenied(), 5),
        (TokenNotTrusted(), 5),
        (OperationFailed(exception_info=REFUSED), 5),
        (Fault(exception_info=REFUSED), 5),
        (OperationFailed(operation=STOP), 1),
        (OperationFailed(operation=READ), 1),
        (Fault(), 1),
        (ConnectFailed(operation=STOP), 6),
        (ConnectionLost(operation=READ), 6),
        (DeadlineExceeded(operation=READ), 6),
        (ServiceBusy(applied="no"), 6),
        (TenantUnavailable(), 6),
        (HttpError(operation=READ), 6),
        (ConnectionLost(operation=STOP), 7),
        (HttpError(operation=STOP), 7),
        (StartOutcomeUnknown(), 7),
        (UnexpectedResponse(applied="yes", operation=STOP), 1),
        (SoapBatchError(), 7),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_statuses(error: SoapBatchError, status: int) -> None:
    """The exit status says whose turn it is, and whether something may have been done."""
    assert status_of(error) == status


def test_every_error_has_a_status() -> None:
    """No class of the tree is without a status that the help lists."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SoapBatchError)]
    assert {status_of(kind()) for kind in kinds} <= {1, 2, 3, 4, 5, 6, 7}


def test_several_tasks() -> None:
    """The status of all, if it is one; else partly."""
    done, gone = ExitStatus.DONE, ExitStatus.NO_SUCH_TASK
    assert status_of_all([done, done]) == done
    assert status_of_all([gone, gone]) == gone
    assert status_of_all([done, gone, done]) == ExitStatus.PARTLY


def test_advice() -> None:
    """What to do next names the task; what the server may have done before it reported an error is to be looked at."""
    assert "soapbatch wait 42" in (advice_on(WaitTimeout(id=42), ExitStatus.TIMEOUT) or "")
    assert "soapbatch wait ID" in (advice_on(WaitTimeout(), ExitStatus.TIMEOUT) or "")
    assert "list --all" in (advice_on(OperationFailed(operation=STOP), ExitStatus.FAILED) or "")
    assert advice_on(OperationFailed(operation=READ), ExitStatus.FAILED) is None
    assert advice_on(UsageError(), ExitStatus.USAGE) is None


def options(**values: Any) -> argparse.Namespace:
    """Return the options of every command."""
    names = ("output", "quiet", "no_input", "yes", "no_color")
    return argparse.Namespace(**(dict.fromkeys(names) | values))


def test_an_error_with_notes(capsys: pytest.CaptureFixture[str]) -> None:
    """Notes follow the message; a ticket in either is masked, and control characters are escaped."""
    error = WaitTimeout("ticket 7T:dGlja2V0\x1b[2J", id=42)
    error.add_note("also 7T:dGlja2V0")
    assert Output(options()).report(error) == 4
    assert capsys.readouterr().err.splitlines() == [
        "soapbatch: ticket ***\\x1b[2J",
        "  also ***",
        "  next: wait again with `soapbatch wait 42`, or stop it with `soapbatch stop 42`",
    ]
    Output(options(output="json")).report(error)
    found = json.loads(capsys.readouterr().err)
    assert found["error"]["notes"] == ["also ***"]
    assert (found["schema"], found["error"]["id"]) == (1, 42)


def test_talk(capsys: pytest.CaptureFixture[str]) -> None:
    """Talk is for people: not with --quiet, and not for a program; a ticket in it is masked."""
    for form in (options(), options(quiet=True), options(output="json"), options(output="jsonl")):
        Output(form).say("a word 7T:dGlja2V0")
    assert capsys.readouterr() == ("", "a word ***\n")


def test_without_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without standard input asks nothing."""
    monkeypatch.setattr(sys, "stdin", None)
    output = Output(options())
    assert not output.takes_input
    assert output.ask_password("password: ") is None


def test_plain_values() -> None:
    """Values as JSON has them; what a carrier hides is masked."""
    assert to_plain({"a": (1, b"x", None, Secret("s"))}) == {"a": [1, "eA==", None, "***"]}
    assert to_plain(SoCredentials(ticket="7T:dGlja2V0")) == {"ticket": "***"}
    assert to_plain(SoCredentials()) == {"ticket": None}
    assert to_plain(BatchTaskInfo(created=datetime(2026, 1, 2, tzinfo=UTC)))["created"] == "2026-01-02T00:00:00+00:00"
    assert plain_error(StartOutcomeUnknown("lost", marker="m"), 7)["marker"] == "m"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-5, "0s"),
        (42, "42s"),
        (60, "1m"),
        (185, "3m05s"),
        (7200, "2h"),
        (7800, "2h10m"),
        (86400, "1d"),
        (86400 * 5 + 3600 * 3, "5d03h"),
    ],
)
def test_short_times(seconds: float | None, text: str) -> None:
    """At most two units."""
    assert short_time(seconds) == text


def test_ages() -> None:
    """A date without a zone is UTC; without a date there is no age."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert age_of(None, now) is None
    assert age_of(now - timedelta(hours=1), now) == age_of((now - timedelta(hours=1)).replace(tzinfo=None), now) == 3600


def test_printable() -> None:
    """One line, and nothing that moves the cursor or turns the text around."""
    assert printable("a\r\nb\tc") == "a b\\tc"
    assert printable("Åse 日本") == "Åse 日本"
    assert printable("\x1b]0;x\x07\u202e") == "\\x1b]0;x\\x07\\u202e"
    assert printable(None) == "None"


def test_carriers_in_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Names and values: a carrier in a list has its number, other lists stand on a line, None is left out."""
    Output(options()).write_fields({"a": [{"b": 1}, {"b": 2}], "c": [1, 2], "d": None, "e": []})
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["a[0].b", "1"],
        ["a[1].b", "2"],
        ["c", "[1,", "2]"],
        ["e", "[]"],
    ]
