"""The rows of operations.py, held against the contract's tables typed out here once more."""

from typing import Any

import pytest

from soapbatch.errors import NotInVersion, UsageError
from soapbatch.model.services import ServiceVersion
from soapbatch.operations import OPERATIONS, Operation, operation_named, snake_case
from soapbatch.soap.builder import build_request

VERSIONS = (75, 80, 81, 82, 83, 84, 85, 86, 87, 88)

STATE = ("State", "BatchTaskState")
USERS = ("AssociateIds", "ArrayOfint")
NAME = ("Name", "string")
TASK = ("BatchTaskInfo", "BatchTaskInfo")
TASK_NAME = ("TaskName", "string")
TASKS = "ArrayOfBatchTaskInfo"
LOGIN = "AuthenticateResponse"

# agent, operation, since, parameters (name, type) in wire order, type of the result (None: there is none).
CONTRACT: list[tuple[str, str, int, list[tuple[str, str]], str | None]] = [
    ("Batch", "GetBatchTaskInfo", 75, [("Id", "int")], "BatchTaskInfo"),
    ("Batch", "GetBatchTaskInfosByAssociates", 75, [USERS], TASKS),
    ("Batch", "GetBatchTaskInfosByState", 75, [STATE], TASKS),
    ("Batch", "GetBatchTaskInfosByNameAndState", 75, [NAME, STATE], TASKS),
    ("Batch", "GetBatchTaskInfosByNameAndAssociates", 75, [NAME, USERS], TASKS),
    ("Batch", "GetBatchTaskInfosByAssociatesAndState", 75, [USERS, STATE], TASKS),
    ("Batch", "StartBatchJob", 75, [TASK], "int"),
    ("Batch", "StopBatchJob", 75, [("Id", "int")], "boolean"),
    ("Batch", "UpdateBatchTask", 75, [TASK], "BatchTaskInfo"),
    ("Batch", "DeleteBatchTasks", 75, [("BatchTaskIds", "ArrayOfint")], None),
    ("Batch", "DeleteBatchTask", 83, [("BatchTaskId", "int")], None),
    ("Batch", "GetAllBatchTaskInfosByName", 88, [TASK_NAME], TASKS),
    ("Batch", "GetAllBatchTaskInfosByNameAndState", 88, [TASK_NAME, STATE], TASKS),
    ("Batch", "GetSystemBatchTaskInfosByName", 88, [TASK_NAME], TASKS),
    ("Batch", "GetSystemBatchTaskInfosByNameAndState", 88, [TASK_NAME, STATE], TASKS),
    ("SoPrincipal", "AuthenticateUsernamePassword", 75, [("UserName", "string"), ("Password", "string")], LOGIN),
    ("SoPrincipal", "AuthenticateImplicit", 75, [], LOGIN),
    ("SoPrincipal", "AuthenticateGeneric", 75, [("AuthenticationData", "AuthenticationGenericData")], LOGIN),
    ("SoPrincipal", "AuthenticateWithAccessToken", 86, [("AccessToken", "string")], LOGIN),
    ("SoPrincipal", "GetSystemInfo", 75, [], "SoSystemInfoCarrier"),
    ("BLOB", "GetOutputFromBatch", 88, [("BatchTaskId", "int")], "base64Binary"),
    ("BLOB", "CleanupBatchTask", 88, [("BatchTaskId", "int")], None),
]

PYTHON_NAMES = {
    "GetBatchTaskInfo": "get_batch_task_info",
    "GetBatchTaskInfosByAssociates": "get_batch_task_infos_by_associates",
    "GetBatchTaskInfosByState": "get_batch_task_infos_by_state",
    "GetBatchTaskInfosByNameAndState": "get_batch_task_infos_by_name_and_state",
    "GetBatchTaskInfosByNameAndAssociates": "get_batch_task_infos_by_name_and_associates",
    "GetBatchTaskInfosByAssociatesAndState": "get_batch_task_infos_by_associates_and_state",
    "StartBatchJob": "start_batch_job",
    "StopBatchJob": "stop_batch_job",
    "UpdateBatchTask": "update_batch_task",
    "DeleteBatchTasks": "delete_batch_tasks",
    "DeleteBatchTask": "delete_batch_task",
    "GetAllBatchTaskInfosByName": "get_all_batch_task_infos_by_name",
    "GetAllBatchTaskInfosByNameAndState": "get_all_batch_task_infos_by_name_and_state",
    "GetSystemBatchTaskInfosByName": "get_system_batch_task_infos_by_name",
    "GetSystemBatchTaskInfosByNameAndState": "get_system_batch_task_infos_by_name_and_state",
    "AuthenticateUsernamePassword": "authenticate_username_password",
    "AuthenticateImplicit": "authenticate_implicit",
    "AuthenticateGeneric": "authenticate_generic",
    "AuthenticateWithAccessToken": "authenticate_with_access_token",
    "GetSystemInfo": "get_system_info",
    "GetOutputFromBatch": "get_output_from_batch",
    "CleanupBatchTask": "cleanup_batch_task",
}

READS = {name for _, name, *_ in CONTRACT if name.startswith("Get")}

PAIRS = [(name, version) for _, name, since, *_ in CONTRACT for version in VERSIONS if version >= since]
MISSING = [(name, since, version) for _, name, since, *_ in CONTRACT for version in VERSIONS if version < since]


def test_the_versions_are_those_of_the_contract() -> None:
    """There are ten versions, each with its namespace."""
    assert tuple(ServiceVersion) == VERSIONS
    assert [version.name for version in ServiceVersion] == [f"V{number}" for number in VERSIONS]
    for version, number in zip(ServiceVersion, VERSIONS, strict=True):
        assert version.namespace == f"http://www.superoffice.net/ws/crm/NetServer/Services{number}"


def test_every_operation_is_there_in_the_order_of_the_contract() -> None:
    """operations.py has the operations of the contract, in its order, and no other."""
    assert list(OPERATIONS) == [name for _, name, *_ in CONTRACT]


@pytest.mark.parametrize(
    ("agent", "name", "since", "parameters", "result"), [pytest.param(*row, id=row[1]) for row in CONTRACT]
)
def test_a_row_says_what_the_contract_says(
    agent: str, name: str, since: int, parameters: list[tuple[str, str]], result: str | None
) -> None:
    """Agent, first version, parameters in wire order with their types, and the result are the contract's."""
    row = OPERATIONS[name]
    assert row.agent.name == agent
    assert row.since == since
    assert [(parameter.name, parameter.type.name) for parameter in row.parameters] == parameters
    assert (row.result.name if row.result else None) == result


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_the_result_stands_where_the_contract_says(row: Operation[Any]) -> None:
    """A result is the element Response; but a login answers AuthenticateResponse, and GetSystemInfo SystemInfo."""
    if row.name.startswith("Authenticate"):
        assert (row.response_name, row.result_name) == ("AuthenticateResponse", "")
    else:
        assert row.response_name == f"{row.name}Response"
        assert row.result_name == ("SystemInfo" if row.name == "GetSystemInfo" else "Response")


@pytest.mark.parametrize(("name", "python_name"), [pytest.param(*names, id=names[0]) for names in PYTHON_NAMES.items()])
def test_an_operation_has_its_python_name(name: str, python_name: str) -> None:
    """The method of an operation is the snake_case of its wire name."""
    assert OPERATIONS[name].python_name == python_name


def test_every_operation_has_a_python_name_of_its_own() -> None:
    """The list of Python names leaves no operation out, and no two are the same."""
    assert list(PYTHON_NAMES) == list(OPERATIONS)
    assert len(set(PYTHON_NAMES.values())) == len(PYTHON_NAMES)


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_what_may_be_repeated_only_reads(row: Operation[Any]) -> None:
    """The operations that may be repeated blindly are the Get ones; what starts, stops, saves or deletes is not."""
    assert row.is_read_only is (row.name in READS)


@pytest.mark.parametrize(
    ("agent", "pairs"),
    [
        pytest.param("Batch", 110, id="Batch"),
        pytest.param("SoPrincipal", 43, id="SoPrincipal"),
        pytest.param("BLOB", 2, id="BLOB"),
    ],
)
def test_the_pairs_are_as_many_as_documented(agent: str, pairs: int) -> None:
    """110, 43 and 2 pairs of operation and version are documented, and as many there are."""
    there = [
        (row.name, version)
        for row in OPERATIONS.values()
        for version in ServiceVersion
        if row.agent.name == agent and version >= row.since
    ]
    assert len(there) == pairs


@pytest.mark.parametrize(("name", "version"), [pytest.param(*pair, id=f"{pair[0]}-{pair[1]}") for pair in PAIRS])
def test_a_pair_has_its_own_address(name: str, version: int) -> None:
    """Each of the 155 pairs passes the version check and has the contract's action and endpoint path."""
    row = OPERATIONS[name]
    agent = row.agent.name
    row.check_version(ServiceVersion(version))
    assert row.agent.action(ServiceVersion(version), name) == (
        f"http://www.superoffice.net/ws/crm/NetServer/Services{version}/{agent}/{name}"
    )
    assert row.agent.path(ServiceVersion(version)) == f"/Remote/Services{version}/{agent}.svc"
    assert row.agent.path(ServiceVersion(version), "") == f"/Services{version}/{agent}.svc"


@pytest.mark.parametrize(("name", "since", "version"), [pytest.param(*row, id=f"{row[0]}-{row[2]}") for row in MISSING])
def test_a_version_that_lacks_the_operation_is_refused(name: str, since: int, version: int) -> None:
    """Asking an older version for a newer operation names the operation and both versions, and builds nothing."""
    for ask in (
        OPERATIONS[name].check_version,
        lambda version: build_request(name, {}, version=version),
    ):
        with pytest.raises(
            NotInVersion, match=rf"{name} came with Services{since}; Services{version} does not have it"
        ) as caught:
            ask(ServiceVersion(version))
        assert isinstance(caught.value, UsageError)
        assert (caught.value.operation, caught.value.version, caught.value.since) == (name, version, since)
        assert caught.value.applied == "no"


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_is_found_by_its_row_or_its_name(row: Operation[Any]) -> None:
    """A row stands for itself, and its wire name stands for it."""
    assert operation_named(row) is row
    assert operation_named(row.name) is row


def test_an_unknown_name_is_refused() -> None:
    """A name that no operation has is a UsageError that repeats it."""
    with pytest.raises(UsageError, match="no operation 'StartJob'"):
        operation_named("StartJob")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("Id", "id", id="one word"),
        pytest.param("BatchTaskIds", "batch_task_ids", id="three words"),
        pytest.param("UserName", "user_name", id="two words"),
        pytest.param("AuthenticationData", "authentication_data", id="long"),
    ],
)
def test_snake_case(name: str, expected: str) -> None:
    """The Python name of a wire name has an underscore before each capital inside it."""
    assert snake_case(name) == expected
