"""`soapbatch call` and `soapbatch info`."""

import json
from pathlib import Path

import pytest

from soapbatch import ALL_ASSOCIATES, UsageError
from soapbatch.cli.calling import arguments_of, operation_meant
from soapbatch.operations import OPERATIONS, SECRET_PARAMETERS
from tests.cli.conftest import PASSWORD, World, lines


def test_info(world: World) -> None:
    """What the server says of itself, without a login."""
    done = world.run("info")
    assert done.status == 0
    assert "description The embedded NetServer of soapbatch" in lines(done.out)
    assert json.loads(world.run("info", "-o", "json").out)["system"]["assembly_version"] == "10.0.0.0"
    assert world.server.tickets.attempts == 0


@pytest.mark.parametrize("name", ["GetBatchTaskInfo", "get_batch_task_info", "GETBATCHTASKINFO"])
def test_call_by_name(world: World, name: str) -> None:
    """An operation is found by its wire name or its Python name, in any case."""
    world.start("EndlessBatchPlugin")
    done = world.run("call", name, "Id=1")
    assert (done.status, "name EndlessBatchPlugin" in lines(done.out)) == (0, True)
    found = json.loads(world.run("call", name, "id=1", "-o", "json").out)
    assert (found["operation"], found["result"]["id"]) == ("GetBatchTaskInfo", 1)


def test_results(world: World) -> None:
    """A list is a table, a carrier has its fields, and a plain value stands alone."""
    world.start("EndlessBatchPlugin")
    world.start("ExportArchiveBatchPlugin")
    assert world.run("call", "GetBatchTaskInfosByAssociates", "associate_ids=all", "-o", "ids").out == "1\n2\n"
    assert world.run("call", "GetBatchTaskInfosByAssociates", "associate_ids=7,8", "-o", "ids").out == "1\n2\n"
    assert world.run("call", "GetBatchTaskInfo", "id=99").out == ""
    assert world.run("call", "StopBatchJob", "id=1", "-y").out == "true\n"
    started = world.run(
        "call",
        "StartBatchJob",
        "batch_task_info.name=EndlessBatchPlugin",
        "batch_task_info.parameter_object.archive=contacts",
        "-y",
    )
    assert started.out == "3\n"
    info = world.server.tasks.read(3)
    assert info is not None
    assert info.parameter_object == {"archive": "contacts"}
    while not (output := world.run("call", "GetOutputFromBatch", "batch_task_id=2").out):
        pass
    assert output.startswith("aWQ7bmFtZQ")


def test_what_changes_something_asks(world: World) -> None:
    """An operation that changes something needs -y where nobody can be asked."""
    done = world.run("call", "StopBatchJob", "id=1")
    assert (done.status, world.server.requests) == (2, 0)
    assert "add -y" in done.err


@pytest.mark.parametrize("binding", ["documented", "soap11", "soap12"])
def test_the_envelope(world: World, monkeypatch: pytest.MonkeyPatch, binding: str) -> None:
    """--dry-run prints the envelope with secrets masked, and sends nothing, not even a login."""
    monkeypatch.setenv("SOAPBATCH_APP_TOKEN", "client secret")
    done = world.run("call", "StopBatchJob", "id=42", "--dry-run", "--binding", binding)
    assert (done.status, world.server.requests) == (0, 0)
    assert "42</" in done.out
    assert "Ticket>***</" in done.out
    assert "client secret" not in done.out + done.err
    assert "POST /Remote/Services88/Batch.svc" in done.err


def test_secrets_come_from_a_file_or_standard_input(world: World) -> None:
    """A secret is no argument; the result of a login masks the ticket."""
    refused = world.run("call", "AuthenticateUsernamePassword", "user_name=ada", f"password={PASSWORD}")
    assert refused.status == 2
    assert "password=@FILE" in refused.err
    assert PASSWORD not in refused.err
    words = ("call", "AuthenticateUsernamePassword", "user_name=ada", "password=@-")
    done = world.run(*words, "-o", "json", stdin=f"{PASSWORD}\n")
    assert (done.status, json.loads(done.out)["result"]["credentials"]["ticket"]) == (0, "***")
    Path("password").write_text(PASSWORD, encoding="utf-8")
    table = world.run(*words[:3], "password=@password")
    assert (table.status, "7T:" in table.out) == (0, False)
    assert "credentials.ticket ***" in lines(table.out)
    dry = world.run(*words[:3], "password=@password", "--dry-run")
    assert PASSWORD not in dry.out + dry.err
    assert "cannot be read" in world.run(*words[:3], "password=@missing").err


@pytest.mark.parametrize(
    ("operation", "words", "message"),
    [
        ("GetBatchTaskInfo", [], "needs id=..."),
        ("GetBatchTaskInfo", ["42"], "is no KEY=VALUE"),
        ("GetBatchTaskInfo", ["id=x"], "'x' is no value of type int"),
        ("GetBatchTaskInfo", ["number=1"], "no parameter 'number': there are id"),
        ("GetBatchTaskInfo", ["id.x=1"], "id has no fields"),
        ("GetSystemInfo", ["a=1"], "there are none"),
        ("DeleteBatchTasks", ["batch_task_ids=1,x"], "no value of type ArrayOfint"),
        ("StartBatchJob", ["batch_task_info=1"], "has no field ''"),
        ("StartBatchJob", ["batch_task_info.colour=red"], "has no field 'colour'"),
        ("StartBatchJob", ["batch_task_info.parameter_object=1"], "write parameter_object.NAME=VALUE"),
        ("StartBatchJob", ["batch_task_info.is_system_task=maybe"], "'maybe' is no value of type boolean"),
        ("StartBatchJob", ["batch_task_info.created=today"], "'today' is no value of type dateTime"),
        ("StartBatchJob", ["batch_task_info.id=x"], "'x' is no value of type int"),
    ],
)
def test_wrong_arguments(operation: str, words: list[str], message: str) -> None:
    """A word that is no argument is a usage error, which says what there is."""
    with pytest.raises(UsageError, match=message.replace(".", "\\.")):
        arguments_of(OPERATIONS[operation], words)


def test_arguments() -> None:
    """Each type of value, by the names on the wire and in Python."""
    found = arguments_of(
        OPERATIONS["StartBatchJob"],
        ["BatchTaskInfo.Name=Export", "batchtaskinfo.IsSystemTask=TRUE", "batch_task_info.progress_percent=5"],
    )["batch_task_info"]
    assert (found.name, found.is_system_task, found.progress_percent) == ("Export", True, 5)
    assert arguments_of(OPERATIONS["GetBatchTaskInfosByAssociates"], ["associate_ids=all"]) == {
        "associate_ids": ALL_ASSOCIATES
    }


def test_pairs_that_are_secret() -> None:
    """The pairs of AuthenticateGeneric are secrets, too."""
    with pytest.raises(UsageError, match="@FILE"):
        arguments_of(OPERATIONS["AuthenticateGeneric"], ["authentication_data.user=ada"])
    parameters = {row.attribute for operation in OPERATIONS.values() for row in operation.parameters}
    assert parameters >= SECRET_PARAMETERS


def test_a_name_that_is_wrong() -> None:
    """The error names similar operations, or all."""
    with pytest.raises(UsageError, match=r"do you mean .*GetBatchTaskInfo"):
        operation_meant("GetBatchTaskInf")
    with pytest.raises(UsageError, match=r"StartBatchJob.*GetSystemInfo"):
        operation_meant("xyz")


@pytest.mark.parametrize(("words", "error"), [(["GetBatchTaskInfo", "id=1"], "login"), (["Nothing"], "no operation")])
def test_errors(world: World, monkeypatch: pytest.MonkeyPatch, words: list[str], error: str) -> None:
    """Without a user nothing is called; without such an operation neither."""
    monkeypatch.delenv("SOAPBATCH_USER")
    done = world.run("call", *words)
    assert (done.status, error in done.err) == (2, True)
