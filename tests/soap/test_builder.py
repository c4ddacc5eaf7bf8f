"""The builder: what values become, what is refused and why, and that secrets stay out of sight."""

import io
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from types import TracebackType
from typing import Any

import pytest
import rich.console
import rich.traceback

from soapbatch.errors import EncodeError, NotInVersion, SoapBatchError, UsageError
from soapbatch.model.batch import (
    ALL_ASSOCIATES,
    ALL_USER_TASKS,
    SYSTEM_TASKS,
    AssociateFilter,
    BatchTaskCancellationBehaviour,
    BatchTaskInfo,
    BatchTaskState,
)
from soapbatch.model.headers import ExceptionInfo, ReplyHeader, SoTimeZone
from soapbatch.model.principal import AuthenticateResponse, SoPrincipalCarrier, SoSystemInfoCarrier
from soapbatch.model.secret import Secret
from soapbatch.model.services import Binding, ServiceVersion
from soapbatch.operations import (
    AUTHENTICATE_GENERIC,
    AUTHENTICATE_USERNAME_PASSWORD,
    DELETE_BATCH_TASKS,
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_ASSOCIATES,
    GET_BATCH_TASK_INFOS_BY_STATE,
    GET_OUTPUT_FROM_BATCH,
    GET_SYSTEM_INFO,
    START_BATCH_JOB,
    STOP_BATCH_JOB,
    UPDATE_BATCH_TASK,
    Operation,
)
from soapbatch.soap.builder import Request, build_request, build_response
from soapbatch.soap.interpretation import parse_response
from soapbatch.testing.request_parser import parse_request
from tests.support.subclasses import Injector, Markup

V75, V86, V88 = ServiceVersion.V75, ServiceVersion.V86, ServiceVersion.V88
TZ = timezone


def task(**fields: Any) -> bytes:
    """Return the compact request that updates a task with these fields."""
    arguments = {"batch_task_info": BatchTaskInfo(**fields)}
    return build_request(UPDATE_BATCH_TASK, arguments, version=V88, binding=Binding.SOAP11).body


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        pytest.param({}, b"<BatchTaskInfo></BatchTaskInfo>", id="None is not written"),
        pytest.param({"name": ""}, b"<Name></Name>", id="empty text"),
        pytest.param({"name": "a<b>&c\"'\r\n\t]]>"}, b"<Name>a&lt;b&gt;&amp;c\"'&#13;\n\t]]&gt;</Name>", id="markup"),
        pytest.param({"name": "æ漢😀"}, "<Name>æ漢😀</Name>".encode(), id="UTF-8"),
        pytest.param({"name": Secret("s")}, b"<Name>s</Name>", id="a secret"),
        pytest.param({"id": -(2**31)}, b"<Id>-2147483648</Id>", id="lowest int"),
        pytest.param({"details_table": 2**15 - 1}, b"<DetailsTable>32767</DetailsTable>", id="highest short"),
        pytest.param({"is_system_task": True}, b"<IsSystemTask>true</IsSystemTask>", id="boolean"),
        pytest.param({"state": BatchTaskState.ACQUIRED}, b"<State>Aquired</State>", id="enum member"),
        pytest.param({"state": "Paused"}, b"<State>Paused</State>", id="unknown enum value"),
        pytest.param({"state": "<&>"}, b"<State>&lt;&amp;&gt;</State>", id="unknown enum value with markup"),
        pytest.param({"progress_percent": 100}, b"<ProgressPercent>100</ProgressPercent>", id="highest percent"),
        pytest.param({"progress_percent": 0}, b"<ProgressPercent>0</ProgressPercent>", id="lowest percent"),
        pytest.param({"description": "d" * 254}, b"d" * 254, id="longest description"),
        pytest.param({"description": "\U0001f680" * 127}, ("\U0001f680" * 127).encode(), id="127 rockets"),
        pytest.param({"description": "æ" * 254}, ("æ" * 254).encode(), id="254 letters"),
        pytest.param({"name": Markup("a & b")}, b"<Name>a &amp; b</Name>", id="markup that escapes itself"),
        pytest.param({"name": Secret(Markup("&"))}, b"<Name>&amp;</Name>", id="a secret that escapes itself"),
        pytest.param({"description": Markup("&" * 254)}, b"&amp;" * 254, id="markup with a longest length"),
        pytest.param({"id": Injector(5)}, b"<Id>5</Id>", id="an int that writes itself"),
        pytest.param({"progress_percent": Injector(5)}, b">5<", id="a percentage that writes itself"),
        pytest.param({"state": Markup("Paused&")}, b"<State>Paused&amp;</State>", id="a state that escapes itself"),
        pytest.param(
            {"parameter_object": {Markup("k&"): Markup("R&D")}},
            b"<Key>k&amp;</Key><Value>R&amp;D</Value>",
            id="a dictionary of markup",
        ),
        pytest.param({"file_name": "f" * 260}, b"f" * 260, id="longest file name"),
        pytest.param(
            {"last_started": datetime(2024, 2, 29, 12, 30, 5, 120000, UTC)},
            b"<LastStarted>2024-02-29T12:30:05.120000Z</LastStarted>",
            id="UTC with a fraction",
        ),
        pytest.param(
            {"created": datetime(2024, 2, 29, tzinfo=TZ(timedelta(hours=-3, minutes=-30)))},
            b"<Created>2024-02-29T00:00:00-03:30</Created>",
            id="offset",
        ),
        pytest.param({"created": datetime(2024, 2, 29)}, b">2024-02-29T00:00:00<", id="naive"),  # noqa: DTZ001
        pytest.param({"parameter_object": {}}, b"<ParameterObject></ParameterObject>", id="empty dictionary"),
        pytest.param(
            {"parameter_object": {"a&": "<", "n": None, "": ""}},
            b"<StringKeyValuePair><Key>a&amp;</Key><Value>&lt;</Value></StringKeyValuePair>"
            b'<StringKeyValuePair><Key>n</Key><Value i:nil="true"/></StringKeyValuePair>'
            b"<StringKeyValuePair><Key></Key><Value></Value></StringKeyValuePair>",
            id="dictionary",
        ),
    ],
)
def test_values(fields: dict[str, Any], written: bytes) -> None:
    """Each kind of value is written as XML Schema and the contract say."""
    assert written in task(**fields)


def test_fields_stand_in_wire_order() -> None:
    """The order of elements is the contract's, whatever order the fields were given in: WCF drops the others."""
    body = task(progress_percent=1, description="d", id=1)
    assert body.index(b"<Id>") < body.index(b"<Description>") < body.index(b"<ProgressPercent>")


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        pytest.param({"id": "1"}, "id", "needs an int, got str", id="str for int"),
        pytest.param({"id": True}, "id", "needs an int, got bool", id="bool for int"),
        pytest.param({"id": 2**31}, "id", "between -2147483648 and 2147483647", id="int too high"),
        pytest.param({"details_table": -(2**15) - 1}, "details_table", "between -32768 and 32767", id="short too low"),
        pytest.param({"is_system_task": 1}, "is_system_task", "needs a bool", id="int for bool"),
        pytest.param({"name": 1}, "name", "needs a str, got int", id="int for str"),
        pytest.param({"name": b"x"}, "name", "needs a str, got bytes", id="bytes for str"),
        pytest.param({"name": "ab\0"}, "name", "U+0000 at index 2", id="NUL"),
        pytest.param({"name": "\ud800"}, "name", "U+D800", id="lone surrogate"),
        pytest.param({"name": "\ufffe"}, "name", "U+FFFE", id="noncharacter"),
        pytest.param({"description": "d" * 255}, "description", "255 characters long", id="description too long"),
        pytest.param(
            {"description": "\U0001f680" * 128}, "description", "is 256 characters long (in UTF-16", id="rockets"
        ),
        pytest.param({"description": "é" * 255}, "description", "is 255 characters long; the", id="letters, too long"),
        pytest.param({"description": Markup("&" * 255)}, "description", "255 characters long", id="markup, too long"),
        pytest.param({"description": Secret("d" * 255)}, "description", "255 characters long", id="secret, too long"),
        pytest.param({"progress_percent": Injector(101)}, "progress_percent", "got 101", id="percent that lies"),
        pytest.param(
            {"id": Injector(2**31)}, "id", "between -2147483648 and 2147483647, got 2147483648", id="int lies"
        ),
        pytest.param({"description": 5}, "description", "needs a str", id="int for a bounded str"),
        pytest.param({"file_name": "f" * 261}, "file_name", "at most 260", id="file name too long"),
        pytest.param({"progress_percent": 101}, "progress_percent", "between 0 and 100", id="percent too high"),
        pytest.param({"progress_percent": -1}, "progress_percent", "between 0 and 100", id="percent too low"),
        pytest.param({"progress_percent": "5"}, "progress_percent", "needs an int", id="str for percent"),
        pytest.param({"state": 3}, "state", "needs a str", id="int for enum"),
        pytest.param({"created": "2024-01-01"}, "created", "needs a datetime", id="str for time"),
        pytest.param({"created": datetime(1, 1, 1)}, "created", "pass None", id="never"),  # noqa: DTZ001
        pytest.param({"parameter_object": [("a", "b")]}, "parameter_object", "needs a mapping", id="pairs"),
        pytest.param({"parameter_object": {"k": 1}}, "parameter_object['k']", "needs a str", id="dictionary value"),
        pytest.param({"parameter_object": {1: "v"}}, "parameter_object[1]", "needs a str", id="dictionary key"),
        pytest.param({"parameter_object": {"k": "\1"}}, "parameter_object['k']", "U+0001", id="illegal in dictionary"),
    ],
)
def test_a_bad_value_is_refused_with_its_path(fields: dict[str, Any], path: str, reason: str) -> None:
    """A value that cannot be written raises EncodeError, which names the parameter path and the reason."""
    with pytest.raises(EncodeError) as caught:
        task(**fields)
    assert caught.value.path == f"batch_task_info.{path}"
    assert reason in str(caught.value)
    assert str(caught.value).startswith(caught.value.path)
    assert (caught.value.operation, caught.value.version, caught.value.applied) == ("UpdateBatchTask", V88, "no")


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        pytest.param([1, "2"], "batch_task_ids[1]", "needs an int, got str", id="str in a list"),
        pytest.param([1, True], "batch_task_ids[1]", "got bool", id="bool in a list"),
        pytest.param([2**31], "batch_task_ids[0]", "must lie between", id="out of range in a list"),
        pytest.param(7, "batch_task_ids", "needs a list, got int", id="an int"),
        pytest.param("12", "batch_task_ids", "needs a list, got str", id="a str"),
        pytest.param({1: 2}, "batch_task_ids", "needs a list, got dict", id="a dict"),
    ],
)
def test_a_bad_list_is_refused_with_its_path(value: object, path: str, reason: str) -> None:
    """A list of ids names the index of the item that cannot be written."""
    with pytest.raises(EncodeError) as caught:
        build_request(DELETE_BATCH_TASKS, {"batch_task_ids": value}, version=V88)
    assert caught.value.path == path
    assert reason in str(caught.value)


class _Listing(list[int]):
    def __repr__(self) -> str:
        return "not a list of ids"


@pytest.mark.parametrize("make", [list, tuple, iter, _Listing], ids=["list", "tuple", "iterator", "subclass"])
@pytest.mark.parametrize("version", ServiceVersion)
@pytest.mark.parametrize("binding", Binding)
def test_ids_are_written_from_any_iterable(
    make: Callable[[list[int]], Iterable[int]], version: ServiceVersion, binding: Binding
) -> None:
    """Ids come out as they went in, from lists, tuples and iterators, in every version and binding."""
    ids = [0, -5, 2**31 - 1]
    body = build_request(DELETE_BATCH_TASKS, {"batch_task_ids": make(ids)}, version=version, binding=binding).body
    assert parse_request(DELETE_BATCH_TASKS, body, version=version)[0] == {"batch_task_ids": tuple(ids)}


def test_an_empty_list_of_ids_is_written_as_such() -> None:
    """Deleting no tasks is an empty array, not a missing one."""
    request = build_request(DELETE_BATCH_TASKS, {"batch_task_ids": []}, version=V88, binding=Binding.SOAP11)
    assert b"<BatchTaskIds></BatchTaskIds>" in request.body


@pytest.mark.parametrize(
    "empty", [[], (), AssociateFilter(), iter(())], ids=["list", "tuple", "another filter", "iterator"]
)
def test_an_accidentally_empty_associate_ids_is_refused(empty: object) -> None:
    """An empty `associate_ids` would mean every task, so only the constant made for that is let through."""
    with pytest.raises(UsageError, match=r"every task.*ALL_ASSOCIATES"):
        build_request(GET_BATCH_TASK_INFOS_BY_ASSOCIATES, {"associate_ids": empty}, version=V88)


@pytest.mark.parametrize(
    ("value", "items"),
    [(ALL_ASSOCIATES, b""), (SYSTEM_TASKS, b"<a:int>0</a:int>"), (ALL_USER_TASKS, b"<a:int>-1</a:int>")],
    ids=["all", "system", "all users"],
)
def test_the_magic_associate_ids(value: AssociateFilter, items: bytes) -> None:
    """The constants for all, system and all user tasks are what the server takes for them."""
    request = build_request(
        GET_BATCH_TASK_INFOS_BY_ASSOCIATES, {"associate_ids": value}, version=V88, binding=Binding.SOAP11
    )
    assert b"<AssociateIds>" + items + b"</AssociateIds>" in request.body


@pytest.mark.parametrize(
    ("operation", "arguments", "version", "names", "since"),
    [
        pytest.param("GetAllBatchTaskInfosByName", {"task_name": ""}, V86, "GetAllBatchTaskInfosByName", V88, id="row"),
        pytest.param(
            "UpdateBatchTask", {"batch_task_info": BatchTaskInfo(file_name="f")}, V86, "FileName", V88, id="field"
        ),
        pytest.param(
            "StartBatchJob",
            {"batch_task_info": BatchTaskInfo(cancellation_behaviour=BatchTaskCancellationBehaviour.CAN_CANCEL)},
            ServiceVersion.V87,
            "CancellationBehaviour",
            V88,
            id="enum field",
        ),
        pytest.param(
            "GetBatchTaskInfosByState",
            {"state": BatchTaskState.SUCCEEDED_MANUAL_CLEANUP},
            V86,
            "SucceededManualCleanup",
            V88,
            id="enum value",
        ),
        pytest.param(
            "GetBatchTaskInfosByState", {"state": "SucceededManualCleanup"}, V75, "SucceededManual", V88, id="as text"
        ),
    ],
)
def test_what_a_version_lacks_is_refused(
    operation: str, arguments: dict[str, object], version: ServiceVersion, names: str, since: ServiceVersion
) -> None:
    """An operation, field or value newer than the version raises NotInVersion, naming it and both versions."""
    with pytest.raises(NotInVersion, match=names) as caught:
        build_request(operation, arguments, version=version)
    assert str(since) in str(caught.value)
    assert str(version) in str(caught.value)
    assert (caught.value.since, caught.value.version, caught.value.operation) == (since, version, operation)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({}, "id is missing", id="missing"),
        pytest.param({"id": 1, "idd": 2}, "idd is unknown", id="unknown"),
        pytest.param({"Id": 1}, "Id is unknown, id is missing", id="wire name"),
    ],
)
def test_arguments_must_be_the_rows(arguments: dict[str, object], message: str) -> None:
    """A missing or unknown argument is refused before anything is built."""
    with pytest.raises(UsageError, match=message):
        build_request(GET_BATCH_TASK_INFO, arguments, version=V88)


def test_an_unknown_operation_is_refused() -> None:
    """A name that no row has is refused, and the message says where to look."""
    with pytest.raises(UsageError, match=r"'GetBatchTask'.*soapbatch\.operations"):
        build_request("GetBatchTask", {}, version=V88)


@pytest.mark.parametrize(
    ("binding", "headers"),
    [
        (Binding.DOCUMENTED, {"Content-Type": 'application/soap+xml; charset=utf-8; action="{}"'}),
        (Binding.SOAP11, {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"{}"'}),
        (Binding.SOAP12, {"Content-Type": 'application/soap+xml; charset=utf-8; action="{}"'}),
    ],
)
def test_a_request_says_how_to_send_it(binding: Binding, headers: dict[str, str]) -> None:
    """Path, HTTP headers, name, version and binding of a request follow from the row and the binding."""
    request = build_request(STOP_BATCH_JOB, {"id": 1}, version=V86, binding=binding)
    action = "http://www.superoffice.net/ws/crm/NetServer/Services86/Batch/StopBatchJob"
    assert request.path == "/Remote/Services86/Batch.svc"
    assert dict(request.headers) == {name: value.format(action) for name, value in headers.items()}
    assert (request.operation, request.version, request.binding) == ("StopBatchJob", V86, binding)


def test_a_server_without_remote() -> None:
    """A standalone NetServer may have no `Remote` in its paths."""
    request = build_request("CleanupBatchTask", {"batch_task_id": 1}, version=V88, path_prefix="")
    assert request.path == "/Services88/BLOB.svc"


@pytest.mark.parametrize("prefix", ["Remote", "/a?b", "/a#b", "/a b", "/\ud800", None])
def test_a_path_prefix_that_is_none_is_named(prefix: Any) -> None:
    """What would end the path, or cannot be sent, is refused before the server sees it."""
    with pytest.raises(UsageError, match="path_prefix= begins with a slash"):
        build_request("CleanupBatchTask", {"batch_task_id": 1}, version=V88, path_prefix=prefix)


ZONE = SoTimeZone(so_time_zone_id=7, so_time_zone_location_code="Europe/Oslo")
ZONE_XML = (
    b"<TimeZone><SoTimeZoneId>7</SoTimeZoneId><SoTimeZoneLocationCode>Europe/Oslo</SoTimeZoneLocationCode></TimeZone>"
)


@pytest.mark.parametrize("binding", [Binding.SOAP11, Binding.SOAP12])
def test_header_blocks_stand_in_the_header(binding: Binding) -> None:
    """SOAP11 and SOAP12 carry token, credentials and time zone inside Header, in that order."""
    request = build_request(
        STOP_BATCH_JOB, {"id": 1}, version=V88, binding=binding, application_token="t", ticket="7T:x", time_zone=ZONE
    )
    blocks = b"<ApplicationToken>t</ApplicationToken><Credentials><Ticket>7T:x</Ticket></Credentials>" + ZONE_XML
    assert b"<s:Header>" + blocks + b"</s:Header>" in request.body


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("operation", [GET_SYSTEM_INFO, GET_OUTPUT_FROM_BATCH], ids=lambda row: row.agent.name)
def test_a_time_zone_goes_to_batch_alone(operation: Operation[Any], binding: Binding) -> None:
    """The other agents take no time zone: it is not sent to them; the documented layout refuses it outright."""
    arguments = {row.attribute: 1 for row in operation.parameters}
    if binding.is_documented:
        with pytest.raises(UsageError, match=r"no place for a time zone.*Binding\.SOAP11"):
            build_request(operation, arguments, version=V88, binding=binding, time_zone=ZONE)
    else:
        body = build_request(operation, arguments, version=V88, binding=binding, time_zone=ZONE).body
        assert b"TimeZone" not in body


@pytest.mark.parametrize("binding", Binding)
def test_so_principal_takes_no_ticket(binding: Binding) -> None:
    """A login carries the application token and never a ticket."""
    request = build_request(GET_SYSTEM_INFO, {}, version=V88, binding=binding, ticket="7T:x", application_token="t")
    assert b"7T:x" not in request.body
    assert b"ApplicationToken>t<" in request.body


def test_a_request_hides_its_body() -> None:
    """The repr of a request does not show the envelope, and it cannot be pickled: both hold credentials."""
    request = build_request(STOP_BATCH_JOB, {"id": 1}, version=V88, ticket="7T:hidden")
    assert isinstance(request, Request)
    assert b"7T:hidden" in request.body
    assert "hidden" not in repr(request)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(request)


def everything_reachable(error: BaseException | None) -> Iterator[object]:
    """Yield the messages and the locals of all frames that hang on an error, of its causes and contexts too."""
    while error is not None:
        yield error.args
        yield vars(error)
        step: TracebackType | None = error.__traceback__
        while step is not None:
            yield {
                name: value
                for name, value in step.tb_frame.f_locals.items()
                if step.tb_frame.f_globals["__name__"] != __name__
            }
            step = step.tb_next
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(
            (AUTHENTICATE_USERNAME_PASSWORD, {"user_name": "me", "password": Secret("hunter\x01two")}), id="password"
        ),
        pytest.param((AUTHENTICATE_GENERIC, {"authentication_data": {"secret": Secret("hunter\x01two")}}), id="pair"),
        pytest.param((STOP_BATCH_JOB, {"id": 1}, {"ticket": Secret("hunter\x01two")}), id="ticket"),
        pytest.param((STOP_BATCH_JOB, {"id": 1}, {"application_token": Secret("hunter\x01two")}), id="token"),
    ],
)
def test_an_error_does_not_show_a_secret(arguments: tuple[Any, ...]) -> None:
    """Neither rich with locals, nor any frame that hangs on the error, shows a secret that could not be written."""
    operation, values, *more = arguments
    with pytest.raises(EncodeError, match=r"U\+0001 at index 6") as caught:
        build_request(operation, values, version=V88, **(more[0] if more else {}))
    error = caught.value
    shown = io.StringIO()
    console = rich.console.Console(file=shown, width=200)
    console.print(rich.traceback.Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
    assert "Secret('***')" in shown.getvalue()
    for text in (shown.getvalue(), "".join(traceback.format_exception(error)), *map(repr, everything_reachable(error))):
        assert "hunter" not in text


def test_a_response_of_a_login() -> None:
    """The body of a login's answer is the AuthenticateResponse itself, nested carriers included."""
    sent = AuthenticateResponse(
        response=SoPrincipalCarrier(associate="SAL0", secondary_groups=[1, 2], function_rights=["a", ""]),
        authentication_succeeded=True,
    )
    body = build_response(AUTHENTICATE_USERNAME_PASSWORD, sent, version=V88, binding=Binding.SOAP11)
    answer = parse_response(AUTHENTICATE_USERNAME_PASSWORD, body, version=V88)
    assert answer.response == SoPrincipalCarrier(associate="SAL0", secondary_groups=(1, 2), function_rights=("a", ""))
    assert answer.authentication_succeeded is True


@pytest.mark.parametrize("binding", Binding)
def test_a_response_without_result(binding: Binding) -> None:
    """None as result leaves the result element out, in lists too."""
    body = build_response(GET_BATCH_TASK_INFOS_BY_STATE, None, version=V88, binding=binding)
    assert b":Response" not in body
    assert b"<Response" not in body


def test_an_inner_exception_of_the_wrong_kind() -> None:
    """Whatever else stands where an inner exception belongs is refused with its path."""
    header = ReplyHeader(exception_info=ExceptionInfo(inner_exception="x"))  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="needs a ExceptionInfo, got str") as caught:
        build_response(STOP_BATCH_JOB, True, version=V88, header=header)  # noqa: FBT003
    assert caught.value.path == "exception_info.inner_exception"


def test_a_reply_header_with_inner_exceptions() -> None:
    """Exceptions inside exceptions are written by recursion, in the documented layout one below the other."""
    header = ReplyHeader(
        succeeded=False,
        exception_info=ExceptionInfo(
            message="outer", inner_exception=ExceptionInfo(message="inner", inner_exception=ExceptionInfo(source="s"))
        ),
    )
    body = build_response(STOP_BATCH_JOB, False, version=V88, header=header).decode()  # noqa: FBT003
    _, _, rest = body.partition('Services88">\n')
    assert rest.partition(" <SOAP-ENV:Body>")[0] == (
        " <SOAP-ENV:Header>\n"
        "  <Batch:ExceptionInfo>\n"
        "    <Batch:Message>outer</Batch:Message>\n"
        "    <Batch:InnerException>\n"
        "    <Batch:Message>inner</Batch:Message>\n"
        "    <Batch:InnerException>\n"
        "    <Batch:Source>s</Batch:Source>\n"
        "    </Batch:InnerException>\n"
        "    </Batch:InnerException>\n"
        "  </Batch:ExceptionInfo>\n"
        "  <Batch:Succeeded>false</Batch:Succeeded>\n"
        " </SOAP-ENV:Header>\n"
    )


@pytest.mark.parametrize(
    ("operation", "result", "path", "reason"),
    [
        pytest.param(GET_BATCH_TASK_INFO, 5, "result", "needs a BatchTaskInfo, got int", id="int for a record"),
        pytest.param(
            GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(), 5], "result[1]", "needs a BatchTaskInfo", id="item"
        ),
        pytest.param(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=2**31)], "result[0].id", "must lie", id="field"),
        pytest.param(GET_BATCH_TASK_INFOS_BY_STATE, 5, "result", "needs a list", id="int for a list"),
        pytest.param(
            GET_SYSTEM_INFO, SoSystemInfoCarrier(description="\0"), "result.description", r"U\+0000", id="deep"
        ),
        pytest.param(GET_OUTPUT_FROM_BATCH, "text", "result", "needs bytes", id="str for bytes"),
        pytest.param(START_BATCH_JOB, 2**31, "result", "must lie between", id="int too high"),
    ],
)
def test_a_bad_result_is_refused_with_its_path(
    operation: Operation[Any], result: object, path: str, reason: str
) -> None:
    """A server's own mistakes are named like a client's."""
    with pytest.raises(SoapBatchError, match=reason) as caught:
        build_response(operation, result, version=V88)
    assert isinstance(caught.value, EncodeError)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({"version": 88}, "ServiceVersion.V88", id="version"),
        pytest.param({"binding": "SOAP11"}, "Binding.SOAP11", id="binding"),
        pytest.param({"arguments": [1]}, "mapping by parameter name", id="arguments"),
    ],
)
def test_arguments_of_the_wrong_type_are_usage_errors(changed: dict[str, Any], says: str) -> None:
    """What is no version, binding or mapping is refused with what to pass instead."""
    usual: dict[str, Any] = {"operation": "StopBatchJob", "arguments": {"id": 1}, "version": ServiceVersion.V88}
    with pytest.raises(UsageError, match=says):
        build_request(**usual | changed)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percentage_stays_between_bounds(percent: int) -> None:
    """A percentage outside 0 to 100 is refused by its path."""
    info = BatchTaskInfo(progress_percent=percent)
    with pytest.raises(EncodeError, match=r"progress_percent: must lie between 0 and 100"):
        build_request("UpdateBatchTask", {"batch_task_info": info}, version=ServiceVersion.V88)


def test_a_percentage_may_be_any_kind_of_int() -> None:
    """An int of a subclass is written as the number that it is."""
    info = BatchTaskInfo(progress_percent=ServiceVersion.V88)
    body = build_request("UpdateBatchTask", {"batch_task_info": info}, version=ServiceVersion.V88).body
    assert b">88</Batch:ProgressPercent>" in body
