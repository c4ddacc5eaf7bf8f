"""The error tree: what each error says and carries, and that nothing changes an error after its construction."""

import ast
import copy
import inspect
import pickle
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from soapbatch import errors
from soapbatch.errors import (
    AccessDenied,
    AuthenticationFailed,
    ClientClosed,
    ConnectFailed,
    EncodeError,
    NotInVersion,
    SoapBatchError,
    clean_traceback,
)
from soapbatch.model import BatchTaskInfo, Binding, ExceptionInfo, ExchangeRecord, ServiceVersion

V85, V88 = ServiceVersion.V85, ServiceVersion.V88

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SoapBatchError)]

EXCHANGE = ExchangeRecord(
    operation="StopBatchJob",
    version=V85,
    binding=Binding.SOAP11,
    attempt=1,
    started=datetime(2024, 2, 29, tzinfo=UTC),
    milliseconds=12.5,
    outcome="Fault",
    url="https://crm.example/Remote/Services85/Batch.svc",
    request_headers=(("Content-Type", "text/xml"),),
    request_body="<a/>",
    bytes_sent=4,
    status=500,
    response_headers=(),
    response_body="<b/>",
    bytes_received=4,
)

COMMON: dict[str, Any] = {
    "operation": "StopBatchJob",
    "version": V85,
    "applied": "yes",
    "retryable": True,
    "retry_after": 7.5,
    "exchange": EXCHANGE,
}
"""A value for each keyword that every error takes."""

STATUS: dict[str, Any] = {"status": 503, "excerpt": "<html>"}
JOB: dict[str, Any] = {"id": 42, "info": BatchTaskInfo(id=42, name="Export")}
FAULT: dict[str, Any] = {
    "code": "Receiver",
    "subcode": "ActionNotSupported",
    "reason": "no",
    "reasons": {"en": "no"},
    "actor": "node",
    "detail": "text",
    "exception_info": ExceptionInfo(exception_type="A.B"),
    "status": 500,
}
OWN: dict[type[SoapBatchError], dict[str, Any]] = {
    errors.NotInVersion: {"since": V88},
    errors.DeadlineExceeded: {"phase": "waiting", "timeout": 60.0},
    errors.ProtocolError: STATUS,
    errors.LimitExceeded: {"limit": "body", **STATUS},
    errors.Fault: FAULT,
    errors.OperationFailed: {"exception_info": ExceptionInfo(exception_type="A.B", parameters={"k": "v"})},
    errors.AuthenticationFailed: {"user": "anna", "refused_by": "server"},
    errors.TokenNotTrusted: {"check": "key", **STATUS},
    errors.SystemUserRefused: {
        "reason": "Revoked",
        "text": "no",
        "status": 403,
        "user": "anna",
        "refused_by": "flag",
    },
    errors.TenantUnavailable: {"state": "Suspended", "valid_until": datetime(2024, 2, 29, tzinfo=UTC)},
    errors.JobError: JOB,
    errors.WaitTimeout: {"seen_at": datetime(2024, 2, 29, tzinfo=UTC), **JOB},
    errors.StartOutcomeUnknown: {"name": "Export", "marker": "m", "key": "k", **JOB},
}
"""A value for each keyword that a class adds; a class without an entry takes its base's."""


def own_keywords(kind: type[SoapBatchError]) -> dict[str, Any]:
    """Return the values for the keywords of a class, beside the common ones."""
    return next((OWN[base] for base in kind.__mro__ if base in OWN), {})


def attributes(error: SoapBatchError) -> dict[str, Any]:
    """Return everything that an error shows."""
    names = {*COMMON, *own_keywords(type(error)), "args", *(["path", "reason"] if type(error) is EncodeError else [])}
    return {name: getattr(error, name) for name in names}


every_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


@every_class
def test_the_samples_name_every_keyword(kind: type[SoapBatchError]) -> None:
    """The samples of this file give each keyword of each constructor a value that is not its default."""
    names = {*own_keywords(kind)}
    parameters = inspect.signature(kind).parameters.values()
    assert names == {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    bare, full = kind(), kind("x", **COMMON, **own_keywords(kind))
    for name, value in {**COMMON, **own_keywords(kind)}.items():
        assert getattr(full, name) == value
    for name in names:
        assert getattr(bare, name) != getattr(full, name)


@every_class
def test_every_error_survives_a_copy_and_a_pickle(kind: Any) -> None:
    """An error with all its keywords keeps its class, message and attributes in a copy and in a pickle."""
    args = ("holds a NUL", "task.name") if kind is EncodeError else ("what is wrong",)
    error = kind(*args, **COMMON, **own_keywords(kind))
    assert {**COMMON, **own_keywords(kind)}.items() <= attributes(error).items()
    assert str(error) == ("task.name: holds a NUL" if kind is EncodeError else "what is wrong")
    for other in (copy.copy(error), copy.deepcopy(error), error.copy(), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert other is not error
        assert type(other) is kind
        assert (str(other), repr(other), attributes(other)) == (str(error), repr(error), attributes(error))


@every_class
def test_an_error_without_arguments_survives_a_copy_and_a_pickle(kind: type[SoapBatchError]) -> None:
    """An error that took the defaults of its class keeps them."""
    error = kind()
    for other in (copy.copy(error), error.copy(), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert type(other) is kind
        assert (str(other), attributes(other)) == (str(error), attributes(error))


@every_class
def test_what_a_class_says_of_the_call(kind: type[SoapBatchError]) -> None:
    """Each class has its own `applied` and `retryable`, as long as who raises it says nothing else."""
    never_sent = {"UsageError", "EncodeError", "NotInVersion", "InsecureTransport", "ClientClosed", "ConnectFailed"}
    refused = {"BindingRefused", "AccessDenied", "TenantMoved", "VersionMismatch", "SessionLost", "TokenNotTrusted"}
    no_ticket = {"AuthenticationFailed", "SystemUserRefused", "TenantUnavailable"}
    only_read = {"WaitTimeout", "JobRunning", "StopRefused"}
    applied = {
        **dict.fromkeys(never_sent | refused | no_ticket | only_read, "no"),
        **dict.fromkeys({"JobError", "JobFailed", "JobGone"}, "yes"),
    }
    transient = {"TransportError", "ConnectFailed", "ConnectionLost", "DeadlineExceeded", "ServiceBusy"}
    assert (kind.applied, kind.retryable) == (applied.get(kind.__name__, "unknown"), kind.__name__ in transient)
    assert (kind().applied, kind().retryable) == (kind.applied, kind.retryable)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_unknown_keyword_is_refused(kind: type[SoapBatchError]) -> None:
    """A misspelt keyword raises a TypeError that names the class and the keyword."""
    with pytest.raises(TypeError, match=f"{kind.__name__} takes no operatoin, retry"):
        kind("x", operatoin="StopBatchJob", retry=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=f"{kind.__name__} takes no operatoin"):
        kind("x").copy(operatoin="StopBatchJob")  # type: ignore[call-arg]


def test_a_copy_has_the_cause_and_notes_of_its_own() -> None:
    """A copy takes changes; it shares the cause and no notes, and leaves the original as it was."""
    error = ConnectFailed("no", operation="StopBatchJob", applied="unknown")
    error.__cause__ = OSError("cause")
    error.add_note("note")
    other = error.copy(applied="no", retry_after=3.0)
    other.add_note("mine")
    assert (other.applied, other.retry_after, other.operation) == ("no", 3.0, "StopBatchJob")
    assert other.__cause__ is error.__cause__
    assert (error.applied, error.retry_after, error.__notes__) == ("unknown", None, ["note"])
    assert other.__notes__ == ["note", "mine"]


@pytest.mark.parametrize(
    ("error", "may_be_applied", "expected"),
    [
        pytest.param(ConnectFailed("x"), False, ("Later", V88, "no"), id="bare"),
        pytest.param(ConnectFailed("x"), True, ("Later", V88, "unknown"), id="after an attempt in doubt"),
        pytest.param(
            AccessDenied("x", operation="First", version=V85, applied="yes"), True, ("First", V85, "yes"), id="full"
        ),
    ],
)
def test_concerning_adds_the_call(
    error: SoapBatchError, expected: tuple[str, ServiceVersion, str], *, may_be_applied: bool
) -> None:
    """`concerning` sets operation and version where the error has none, and turns "no" into "unknown" on demand."""
    assert error.concerning("Later", V88, may_be_applied=may_be_applied) is error
    assert (error.operation, error.version, error.applied) == expected


def test_a_proof_makes_an_error_not_applied() -> None:
    """`proven_not_applied` changes `applied`, and adds the proof as a note if there is one."""
    error = errors.ConnectionLost("reset")
    assert error.proven_not_applied() is error
    assert (error.applied, getattr(error, "__notes__", [])) == ("no", [])
    error = errors.ConnectionLost("reset").proven_not_applied("nothing was sent")
    assert (error.applied, error.__notes__) == ("no", ["nothing was sent"])


@pytest.mark.parametrize("kind", [errors.Fault, errors.OperationFailed])
def test_the_type_of_an_exception(kind: type[errors.Fault | errors.OperationFailed]) -> None:
    """It is the last dotted part of what NetServer wrote; None where something else answered."""
    assert kind(exception_info=ExceptionInfo(exception_type="A.B")).error_type == "B"
    assert kind().error_type is None


def test_an_exchange_is_added_where_there_is_none() -> None:
    """`explained_by` sets it once: what wraps an error knows less than what raised it."""
    error = ConnectFailed("x")
    assert error.explained_by(EXCHANGE) is error
    assert error.explained_by(attrs.evolve(EXCHANGE, attempt=2)).exchange is EXCHANGE


def test_a_value_is_named_from_the_parameter_down() -> None:
    """`under` puts the names and indexes that lead to a value in front of its path."""
    error = EncodeError("holds a NUL", "name").under("[3]").under("tasks")
    assert str(error) == "tasks[3].name: holds a NUL"


def test_a_lacking_version_is_named() -> None:
    """`lacks` says what is missing, since when it exists, and what to do."""
    error = NotInVersion.lacks(V85, "StopBatchJob", V88, "use a later version")
    assert str(error) == f"StopBatchJob came with {V88}; {V85} does not have it: use a later version"
    assert (error.since, error.version, error.applied) == (V88, V85, "no")


@pytest.mark.parametrize(
    ("error", "message", "applied"),
    [
        pytest.param(
            ClientClosed.refused("StopBatchJob"),
            "the client is closed: StopBatchJob was not sent; make a new client",
            "no",
            id="refused",
        ),
        pytest.param(ClientClosed.ended("the login"), "the client was closed: the login was ended", "no", id="ended"),
        pytest.param(
            ClientClosed.ended("StopBatchJob", phase="reading", applied="unknown"),
            "the client was closed: StopBatchJob was ended while reading",
            "unknown",
            id="ended in a phase",
        ),
    ],
)
def test_a_closed_client_says_what_became_of_the_work(
    error: ClientClosed, message: str, applied: errors.Applied
) -> None:
    """The error names the work and says whether the client refused or ended it."""
    assert (str(error), error.applied) == (message, applied)


# --- Clean tracebacks -------------------------------------------------------------------------------------------


def fail(error: Exception) -> None:
    """Raise `error` in a frame whose locals a traceback could show."""
    raise error


def fail_with_context() -> None:
    """Raise an error of ours, caused by a foreign one and raised while another one is handled."""
    cause = ConnectFailed("cause")
    try:
        fail(KeyError("context"))
    except KeyError:
        try:
            fail(cause)
        except ConnectFailed as caught:
            raise AuthenticationFailed("no") from caught


def test_a_clean_traceback_ends_at_the_block() -> None:
    """The error keeps its identity and causes; the frames below the block are gone, also from the causes."""

    def log_in() -> None:
        with clean_traceback():
            fail_with_context()

    with pytest.raises(AuthenticationFailed) as caught:
        log_in()
    error = caught.value
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == [
        "test_a_clean_traceback_ends_at_the_block",
        "log_in",
    ]
    assert error.__context__ is None
    assert isinstance(error.__cause__, ConnectFailed)
    assert (error.__cause__.__traceback__, error.__cause__.__context__) == (None, None)


def test_a_clean_traceback_leaves_the_callers_errors_alone() -> None:
    """An error that the caller was handling keeps its traceback."""
    with pytest.raises(KeyError) as outer:
        fail(KeyError("the caller's"))
    try:
        raise outer.value
    except KeyError:
        with pytest.raises(AuthenticationFailed), clean_traceback():
            fail_with_context()
    assert [frame.name for frame in traceback.extract_tb(outer.value.__traceback__)][-1] == "fail"


def test_a_clean_traceback_touches_errors_of_ours_alone() -> None:
    """A foreign error keeps its frames, and a block without an error does nothing."""
    with clean_traceback():
        pass
    with pytest.raises(KeyError) as caught, clean_traceback():
        fail(KeyError("foreign"))
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][-1] == "fail"


# --- Nothing changes an error after its construction --------------------------------------------------------------

WINGS = ["auth", "calls", "client.py", "jobs", "online", "soap", "tenants.py", "testing", "transport", "errors.py"]
"""The wings that keep the rule."""

NAMES = {kind.__name__ for kind in CLASSES} | {"Exception", "BaseException"}


def bound_errors(scope: ast.AST) -> set[str]:
    """Return the names in `scope` that hold an error: caught, constructed, copied from a class, or so annotated."""
    found = set[str]()
    for node in ast.walk(scope):
        match node:
            case ast.ExceptHandler(name=str(name), type=kind) if not is_of_the_system(kind):
                found.add(name)
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if mentions_an_error(annotation):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if mentions_an_error(annotation):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=made)) if mentions_an_error(made):
                found.add(name)
            case ast.NamedExpr(target=ast.Name(id=name), value=ast.Call(func=made)) if mentions_an_error(made):
                found.add(name)
            case _:
                pass
    return found


def is_of_the_system(kind: ast.expr | None) -> bool:
    """Return whether an `except` clause catches OSError alone, which Python lets one complete."""
    return isinstance(kind, ast.Name) and kind.id == "OSError"


def mentions_an_error(expression: ast.expr) -> bool:
    """Return whether an annotation or a called expression names a class of the tree, also in quotes or as a member."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        expression = ast.parse(expression.value, mode="eval").body
    return any(
        (isinstance(node, ast.Name) and node.id in NAMES) or (isinstance(node, ast.Attribute) and node.attr in NAMES)
        for node in ast.walk(expression)
    )


def changes(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each assignment to an attribute of an error, by `=`, `+=`, `setattr` or `vars(...)`.

    Python's own attributes (`__cause__`, `__context__`, `__notes__`, `__traceback__`) are not what an error carries.
    """
    scopes = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for scope in [module, *scopes]:
        errors_here = bound_errors(scope)
        for node in ast.walk(scope):
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=attribute, ctx=ast.Store() | ast.Del()):
                    is_change = name in errors_here and not attribute.startswith("__")
                case ast.Call(func=ast.Name(id="setattr" | "delattr" | "vars"), args=[ast.Name(id=name), *_]):
                    is_change = name in errors_here
                case _:
                    continue
            if is_change:
                yield node.lineno, ast.unparse(node)


def test_an_error_is_complete_when_it_is_made() -> None:
    """No module assigns to an attribute of an error that it has caught or made."""
    package = Path(errors.__file__).parent
    files = [
        file for wing in WINGS for file in ([package / wing] if wing[-3:] == ".py" else (package / wing).rglob("*.py"))
    ]
    assert len(files) > len(WINGS)
    found = {
        f"{file.relative_to(package)}:{line}: {text}"
        for file in files
        for line, text in changes(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n  try: ...\n  except SoapBatchError as e: e.user = 1", {"e.user"}),
        ("def f():\n  e = Fault('x')\n  e.code, e.reason = 1, 2", {"e.code", "e.reason"}),
        ("def f():\n  e = errors.Fault('x')\n  e.args = ()", {"e.args"}),
        ("def f():\n  e = ClientClosed.ended('x')\n  e.applied = 'no'", {"e.applied"}),
        ("def f():\n  if e := Fault('x'): e.count += 1", {"e.count"}),
        ("def f(e: Fault | None): e.count += 1", {"e.count"}),
        ("def f(e: 'SoapBatchError'): setattr(e, 'user', 1)", {"setattr(e, 'user', 1)"}),
        ("def f():\n  e: SoapBatchError\n  e = make()\n  vars(e).update(x=1)", {"vars(e)"}),
        ("e = Fault('x')\ne.code = 1", {"e.code"}),
        ("def f(e: Fault):\n  def g(): e.code = 1", {"e.code"}),
        ("def f():\n  e = Fault('x', code=1)\n  e.__cause__ = None\n  other.code = 1\n  raise e", set()),
        ("def f(e: int): e.code = 1", set()),
    ],
)
def test_the_rule_finds_changes(source: str, expected: set[str]) -> None:
    """The search finds every way to change an error, and nothing else."""
    assert {text for _, text in changes(ast.parse(source))} == expected
