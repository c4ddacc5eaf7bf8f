"""The binding: found by reads, settled by the service's own answers, pinned on demand, handed on."""

import asyncio
import itertools
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import httpx
import pytest

from soapbatch import (
    AccessDenied,
    BatchTaskInfo,
    Binding,
    BindingRefused,
    Client,
    ConnectFailed,
    ConnectionLost,
    Fault,
    Hooks,
    HttpError,
    LimitExceeded,
    Limits,
    Retries,
    ServiceBusy,
    SoapBatchError,
    UnexpectedResponse,
    UnreadableResponse,
    UsernamePassword,
)
from soapbatch.model import AuthenticateResponse, ExceptionInfo, ReplyHeader, Secret, SoCredentials
from soapbatch.model.services import SOAP11_ENVELOPE, SOAP12_ENVELOPE
from soapbatch.operations import (
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_STATE,
    START_BATCH_JOB,
    operation_named,
)
from soapbatch.testing import NetServer
from soapbatch.testing.faults import FaultCode, fault
from soapbatch.testing.requests import Personality
from tests.support.clients import BASE, Reply, Script, Step, in_process, replying, scripted, until
from tests.support.envelopes import envelope

DOCUMENTED, SOAP11, SOAP12 = Binding
JOB = BatchTaskInfo(name="Export")
ONCE = Retries(attempts=1)
LOGIN = UsernamePassword("demo", "demo")
TICKET = "7T:dGlja2V0"
CODES = ["Client", "Client.SoapError", "Client.Data", "Server"]


def a_fault(envelope: str, code: FaultCode) -> Reply:
    """Return a fault as a reply."""
    told = fault(envelope, code, "for a reason")
    return Reply(told.status, {"content-type": told.headers["Content-Type"]}, list(told.body))


def a_code(code: str, status: int = 500) -> Reply:
    """Return a SOAP 1.1 fault with any code."""
    body = (
        f'<s:Envelope xmlns:s="{SOAP11_ENVELOPE}"><s:Body><s:Fault><faultcode>s:{code}</faultcode>'
        "<faultstring>Body must be present in a SOAP envelope</faultstring></s:Fault></s:Body></s:Envelope>"
    )
    return Reply(status, {"content-type": "text/xml; charset=utf-8"}, [body.encode()])


def a_failure(exception_type: str | None, message: str = "No credentials in request header") -> Reply:
    """Return an answer of the service that says Succeeded=false."""
    info = ExceptionInfo(message=message, exception_type=exception_type)
    return replying(GET_BATCH_TASK_INFO, header=ReplyHeader(succeeded=False, exception_info=info))


def found() -> Reply:
    """Return the reply to the read that looks for the binding."""
    return replying(GET_BATCH_TASK_INFO)


def started() -> Reply:
    """Return the reply to a start."""
    return replying(START_BATCH_JOB, 7)


def form_of(request: Any) -> Binding:
    """Return the binding of a request."""
    if "SOAPAction" in request.headers:
        return SOAP11
    return SOAP12 if b"Header>" in request.body else DOCUMENTED


def operation_of(request: Any) -> str:
    """Return the operation of a request."""
    named = re.search(rb"Body>\s*<(?:\w+:)?(\w+)", request.body)
    assert named is not None
    return named[1].decode()


def forms(script: Script) -> list[Binding]:
    """Return the bindings of the requests."""
    return [form_of(request) for request in script.requests]


def sent(script: Script) -> list[tuple[str, Binding]]:
    """Return the operations and bindings of the requests."""
    return [(operation_of(request), form_of(request)) for request in script.requests]


READ, START, NAME_LOGIN = "GetBatchTaskInfo", "StartBatchJob", "AuthenticateUsernamePassword"

# --- The ten endpoints ----------------------------------------------------------------------------------------------

Answering = Callable[[], Reply]
RUNS = "runs"
UNSEEN = "runs, and does not see the credentials"


@attrs.frozen
class Stack:
    """What a SOAP stack answers to each form.

    Attributes:
        answers: RUNS, UNSEEN, or what makes a refusal.
        unseen_type: the exception type of "No credentials".
        is_silent: whether it answers HTTP 204 where there is nothing to say.
        checks_blocks: whether the documented form is refused only where blocks stand beside the Body.
    """

    answers: tuple[str | Answering, str | Answering, str | Answering]
    unseen_type: str | None = attrs.field(default=None, kw_only=True)
    is_silent: bool = attrs.field(default=False, kw_only=True)
    checks_blocks: bool = attrs.field(default=False, kw_only=True)


SESSION = "SuperOffice.Exceptions.SoSessionException"
R415, EMPTY = (lambda: Reply(415)), (lambda: Reply(200))
STACKS = {
    "Mono 1.1": Stack((R415, RUNS, R415)),
    "Mono 1.2": Stack((EMPTY, R415, RUNS)),
    "JAX-WS 1.1": Stack((R415, RUNS, R415)),
    "JAX-WS 1.2": Stack((lambda: a_fault(SOAP12_ENVELOPE, "Server"), R415, RUNS)),
    "node-soap": Stack((UNSEEN, RUNS, RUNS)),
    "gSOAP": Stack(
        (lambda: attrs.evolve(a_fault(SOAP12_ENVELOPE, "Client"), status=400), RUNS, RUNS), checks_blocks=True
    ),
    "PHP": Stack((lambda: a_code("Client"), RUNS, RUNS)),
    "Spyne 1.1": Stack((lambda: a_code("Client.SoapError"), RUNS, lambda: a_code("Client.SoapError"))),
    "Spyne 1.2": Stack((UNSEEN, lambda: a_code("Client.SoapError"), RUNS), unseen_type=SESSION),
    "KDSoap": Stack((lambda: a_code("Client.Data"), RUNS, lambda: a_code("Client.Data")), is_silent=True),
}
# For each endpoint: the forms of a first read with a ticket, those of a first login, and the binding that is found.
FOUND = {
    "Mono 1.1": ([DOCUMENTED, SOAP11], [DOCUMENTED, SOAP11], SOAP11),
    "Mono 1.2": ([DOCUMENTED, SOAP11, SOAP12], [DOCUMENTED, SOAP11, SOAP12], SOAP12),
    "JAX-WS 1.1": ([DOCUMENTED, SOAP11], [DOCUMENTED, SOAP11], SOAP11),
    "JAX-WS 1.2": ([DOCUMENTED, SOAP11, SOAP12], [DOCUMENTED, SOAP11, SOAP12], SOAP12),
    "node-soap": ([DOCUMENTED, SOAP11], [DOCUMENTED], SOAP11),
    "gSOAP": ([DOCUMENTED, SOAP11], [DOCUMENTED], SOAP11),
    "PHP": ([DOCUMENTED, SOAP11], [DOCUMENTED, SOAP11], SOAP11),
    "Spyne 1.1": ([DOCUMENTED, SOAP11], [DOCUMENTED, SOAP11], SOAP11),
    "Spyne 1.2": ([DOCUMENTED, SOAP11, SOAP12], [DOCUMENTED], SOAP12),
    "KDSoap": ([DOCUMENTED, SOAP11], [DOCUMENTED, SOAP11], SOAP11),
}


class Endpoint(Script):
    """A transport that answers as a stack does.

    Attributes:
        seen: the operations and bindings of the requests.
        starts: how often a job was started.
    """

    def __init__(self, stack: Stack) -> None:
        """Answer as `stack`."""
        super().__init__(Reply())
        self._stack = stack
        self.seen: list[tuple[str, Binding]] = []
        self.starts = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self._steps.append(Step(Reply()))
        await super().handle_async_request(request)
        last = self.requests[-1]
        name, form = operation_of(last), form_of(last)
        self.seen.append((name, form))
        reply = self._reply(name, form, has_ticket=TICKET.encode() in last.body)
        return httpx.Response(reply.status, headers=reply.headers, content=b"".join(map(bytes, reply.body)))  # type: ignore[arg-type]

    def _reply(self, name: str, form: Binding, *, has_ticket: bool) -> Reply:
        reply = dict(zip(Binding, self._stack.answers, strict=True))[form]
        is_login = name == NAME_LOGIN
        if is_login and self._stack.checks_blocks and form is DOCUMENTED:
            reply = RUNS
        if callable(reply):
            return reply()
        if is_login:
            credentials = SoCredentials(ticket=Secret(TICKET))
            return replying(
                operation_named(name), AuthenticateResponse(credentials=credentials, authentication_succeeded=True)
            )
        if reply is UNSEEN or not has_ticket:
            return a_failure(self._stack.unseen_type)
        self.starts += name == START
        if name == START:
            return started()
        asks_for_nothing = b">0</" in self.requests[-1].body
        return Reply(204) if self._stack.is_silent and asks_for_nothing else found_task()


def found_task() -> Reply:
    """Return a reply that holds a task."""
    return replying(GET_BATCH_TASK_INFO, BatchTaskInfo(id=1, name="Export"))


def infos(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the INFO records about the binding."""
    return [record.message for record in caplog.records if "documented form" in record.message]


@pytest.mark.parametrize("name", STACKS)
async def test_a_first_read_finds_the_binding(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A read is sent in one form after the other, until the service answers and sees the ticket; one record says so."""
    caplog.set_level(logging.INFO, "soapbatch")
    endpoint = Endpoint(STACKS[name])
    sequence, _, binding = FOUND[name]
    async with Client(BASE, ticket=TICKET, transport=endpoint, retries=ONCE) as client:
        assert client.binding is None
        info = await client.batch.get_batch_task_info(1)
        assert info is not None
        assert client.binding is binding
        await client.batch.get_batch_task_info(1)
        assert await client.batch.start_batch_job(JOB) == 7
    assert endpoint.seen == [*((READ, form) for form in sequence), (READ, binding), (START, binding)]
    assert len(infos(caplog)) == 1
    assert BASE in infos(caplog)[0]
    assert f"binding=Binding.{binding.name}" in infos(caplog)[0]


@pytest.mark.parametrize("name", STACKS)
async def test_a_first_start_is_preceded_by_a_read(name: str) -> None:
    """What changes something is sent once, in the form that a cheap read has found."""
    endpoint = Endpoint(STACKS[name])
    sequence, _, binding = FOUND[name]
    async with Client(BASE, ticket=TICKET, transport=endpoint, retries=ONCE) as client:
        assert await client.batch.start_batch_job(JOB) == 7
        assert client.binding is binding
    assert endpoint.seen == [*((READ, form) for form in sequence), (START, binding)]
    assert endpoint.starts == 1


@pytest.mark.parametrize("name", STACKS)
async def test_a_first_start_behind_a_login(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A login in SOAP 1.1 or 1.2 settles the binding. In the documented form it leaves open who sees the ticket."""
    caplog.set_level(logging.INFO, "soapbatch")
    endpoint = Endpoint(STACKS[name])
    sequence, logins, binding = FOUND[name]
    async with Client(BASE, credentials=LOGIN, transport=endpoint, retries=ONCE) as client:
        assert await client.batch.start_batch_job(JOB) == 7
        assert client.binding is binding
    reads = sequence if logins == [DOCUMENTED] else []
    assert endpoint.seen == [
        *((NAME_LOGIN, form) for form in logins),
        *((READ, form) for form in reads),
        (START, binding),
    ]
    assert endpoint.starts == 1
    assert len(infos(caplog)) == 1


@pytest.mark.parametrize("name", STACKS)
async def test_a_binding_that_was_found_is_handed_on(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The next client is given `binding=client.binding`, and searches no more."""
    endpoint = Endpoint(STACKS[name])
    async with Client(BASE, ticket=TICKET, transport=endpoint, retries=ONCE) as client:
        await client.batch.get_batch_task_info(1)
    caplog.set_level(logging.INFO, "soapbatch")
    endpoint = Endpoint(STACKS[name])
    async with Client(BASE, ticket=TICKET, binding=client.binding, transport=endpoint, retries=ONCE) as following:
        assert await following.batch.start_batch_job(JOB) == 7
        assert following.binding is client.binding
    assert endpoint.seen == [(START, client.binding)]
    assert not infos(caplog)


# --- Every server that could be ---------------------------------------------------------------------------------

KINDS: Mapping[str, str | Answering | Exception] = {
    "runs": RUNS,
    "unseen": UNSEEN,
    "415": R415,
    "empty": EMPTY,
    "Sender": lambda: a_fault(SOAP12_ENVELOPE, "Client"),
    "500": lambda: Reply(500, {}, [b"<html>error</html>"]),
    "503": lambda: Reply(503),
    "401": lambda: Reply(401),
    "html": lambda: Reply(200, {}, [b"<html/>"]),
}
REFUSES = {"415", "empty", "Sender", "500"}


def expected(kinds: tuple[str, ...]) -> tuple[Binding | None, int]:
    """Return the binding that a start ends with, and how many reads find it."""
    for number, (binding, kind) in enumerate(zip(Binding, kinds, strict=True), 1):
        if kind == "runs":
            return binding, number
        if kind not in REFUSES and not (kind == "unseen" and binding is DOCUMENTED):
            if kind != "unseen":
                return None, number
            return (None if kinds[0] == "unseen" else binding), number
    return (DOCUMENTED if kinds[0] == "unseen" else None), 3


@pytest.mark.parametrize(
    "kinds", [pytest.param(kinds, id="-".join(kinds)) for kinds in itertools.product(KINDS, repeat=3)]
)
async def test_a_start_is_sent_once_to_whatever_server(kinds: tuple[str, ...]) -> None:
    """Of 729 servers: the start is sent at most once, in a form that answers reads; else it was not applied."""
    script = Endpoint(Stack(tuple(KINDS[kind] for kind in kinds), unseen_type=SESSION))  # type: ignore[arg-type]
    binding, reads = expected(kinds)
    async with Client(BASE, ticket=TICKET, transport=script, retries=ONCE) as client:
        (outcome,) = await asyncio.gather(client.batch.start_batch_job(JOB), return_exceptions=True)
        assert client.binding is binding
    if isinstance(outcome, SoapBatchError):
        assert (outcome.applied, script.starts) == ("no", 0)
    else:
        assert (outcome, script.starts) == (7, 1)
    names = [name for name, _ in script.seen]
    assert names[:reads] == [READ] * reads
    runs = binding is not None and kinds[[*Binding].index(binding)] == "runs"
    assert names[reads:] == [START] * runs


# --- What refuses a form, and what does not ----------------------------------------------------------------------

REFUSALS = [
    pytest.param(lambda: Reply(415), id="415"),
    pytest.param(lambda: Reply(415, {"content-type": "text/html"}, [b"<html>no</html>"]), id="415-html"),
    pytest.param(lambda: a_fault(SOAP11_ENVELOPE, "VersionMismatch"), id="VersionMismatch-1.1"),
    pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "VersionMismatch"), id="VersionMismatch-1.2"),
]
POSSIBLE_REFUSALS = [
    *REFUSALS,
    *(pytest.param(lambda code=code: a_code(code), id=f"500-{code}") for code in CODES),
    *(pytest.param(lambda code=code: a_code(code, 400), id=f"400-{code}") for code in CODES),
    *(pytest.param(lambda code=code: a_code(code, 200), id=f"200-{code}") for code in CODES),
    pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "Client"), id="Sender"),
    pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "Server"), id="Receiver"),
    pytest.param(lambda: Reply(200), id="empty-200"),
    pytest.param(lambda: Reply(202), id="empty-202"),
    pytest.param(lambda: Reply(400), id="400"),
    pytest.param(lambda: Reply(500, {}, [b"<html>error</html>"]), id="500"),
]


@pytest.mark.parametrize("refusal", POSSIBLE_REFUSALS)
async def test_a_refused_form_is_left_once_and_for_all(
    refusal: Callable[[], Reply], caplog: pytest.LogCaptureFixture
) -> None:
    """Where the documented form is refused, reads find SOAP 1.1; later calls begin there; one INFO record says so."""
    caplog.set_level(logging.INFO, "soapbatch")
    client, script = scripted(refusal(), found(), started(), started(), binding=None, retries=ONCE)
    async with client:
        assert client.binding is None
        assert await client.batch.start_batch_job(JOB) == 7
        assert client.binding is SOAP11
        assert await client.batch.start_batch_job(JOB) == 7
    assert sent(script) == [(READ, DOCUMENTED), (READ, SOAP11), (START, SOAP11), (START, SOAP11)]
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "SOAP 1.1" in caplog.text
    assert client._context.settings.base_url in caplog.text


@pytest.mark.parametrize("refusal", POSSIBLE_REFUSALS)
async def test_all_forms_refused_is_the_end(refusal: Callable[[], Reply]) -> None:
    """Where every form is refused, the first error is raised; its note says what each form was answered."""
    client, script = scripted(refusal(), Reply(415), Reply(400), binding=None, retries=ONCE)
    async with client:
        with pytest.raises(SoapBatchError) as caught:
            await client.batch.start_batch_job(JOB)
        assert client.binding is None
    assert caught.value.applied == "no"
    assert (caught.value.operation, caught.value.version) == ("StartBatchJob", client.version)
    assert sent(script) == [(READ, DOCUMENTED), (READ, SOAP11), (READ, SOAP12)]
    note, proof = caught.value.__notes__
    assert note.splitlines()[1:] == [
        f"  DOCUMENTED: {type(caught.value).__name__}: {caught.value}"[:200],
        *(line for line in note.splitlines()[2:] if "SOAP11: BindingRefused: GetBatchTaskInfo: HTTP 415" in line),
        *(line for line in note.splitlines()[2:] if "SOAP12: HttpError: GetBatchTaskInfo: HTTP 400" in line),
    ]
    assert len(note.splitlines()) == 4
    assert proof.startswith("StartBatchJob was not sent")


async def test_forms_that_were_refused_are_remembered() -> None:
    """A search that fails at the second form begins there the next time: refused forms come last."""
    steps = (Reply(415), Reply(503), Reply(400), found())
    client, script = scripted(*steps, binding=None, retries=ONCE)
    async with client:
        with pytest.raises(ServiceBusy):
            await client.batch.get_batch_task_info(1)
        await client.batch.get_batch_task_info(1)
        assert client.binding is SOAP12
    assert forms(script) == [DOCUMENTED, SOAP11, SOAP11, SOAP12]


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("refusal", POSSIBLE_REFUSALS)
async def test_a_pinned_binding_never_changes(refusal: Callable[[], Reply], binding: Binding) -> None:
    """With `binding=` a refusal of the form is raised; nothing is sent in another form."""
    client, script = scripted(refusal(), binding=binding, retries=ONCE)
    async with client:
        with pytest.raises(SoapBatchError):
            await client.batch.start_batch_job(JOB)
        assert client.binding is binding
    assert sent(script) == [(START, binding)]


FAILURES = [
    pytest.param(ConnectFailed("refused"), ConnectFailed, id="ConnectFailed"),
    pytest.param(ConnectionLost("reset"), ConnectionLost, id="ConnectionLost"),
    pytest.param(Reply(401), AccessDenied, id="401"),
    pytest.param(Reply(403), AccessDenied, id="403"),
    pytest.param(Reply(404), HttpError, id="404"),
    pytest.param(Reply(302), HttpError, id="302"),
    pytest.param(Reply(502, {}, [b"<html>error</html>"]), HttpError, id="502"),
    pytest.param(Reply(503), ServiceBusy, id="503"),
    pytest.param(Reply(200, {}, [b"<html/>"]), UnreadableResponse, id="html-200"),
    pytest.param(Reply(200, {}, [envelope("")]), UnexpectedResponse, id="an empty Body"),
    pytest.param(Reply(200, {}, [envelope("<Other/>")]), UnexpectedResponse, id="something else"),
    pytest.param(a_code("Server", 503), Fault, id="fault-503"),
    pytest.param(a_code("Server", 429), Fault, id="fault-429"),
]


@pytest.mark.parametrize(("step", "error"), FAILURES)
async def test_no_other_failure_leads_to_another_form(
    step: Reply | SoapBatchError, error: type[SoapBatchError]
) -> None:
    """A read that fails for any other reason is sent once; it settles nothing, and the start behind it is not sent."""
    client, script = scripted(step, binding=None, retries=ONCE)
    async with client:
        with pytest.raises(error) as caught:
            await client.batch.start_batch_job(JOB)
        assert caught.value.applied == "no"
        assert client.binding is None
        with pytest.raises(error):
            await client.batch.get_batch_task_info(1)
        assert client.binding is None
    assert sent(script) == [(READ, DOCUMENTED), (READ, DOCUMENTED)]


MANY = [BatchTaskInfo(id=number, name="Export") for number in range(3)]


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize(
    ("reply", "limits", "is_found"),
    [
        pytest.param(replying(GET_BATCH_TASK_INFOS_BY_STATE, MANY), Limits(items=2), True, id="items"),
        pytest.param(replying(GET_BATCH_TASK_INFOS_BY_STATE, MANY), Limits(text_length=50), False, id="the envelope"),
        pytest.param(Reply(200, {}, [b"<html>" + b" " * 5000]), Limits(bytes=1000), False, id="a page"),
    ],
)
async def test_a_response_that_is_too_large_is_not_asked_for_again(
    reply: Reply,
    limits: Limits,
    is_found: bool,  # noqa: FBT001 - a column
    binding: Binding,
) -> None:
    """It is no refusal of the form. A result of the service settles the binding, whatever its size."""
    refusals = [Reply(415)] * [*Binding].index(binding)
    client, script = scripted(*refusals, reply, reply, binding=None, retries=ONCE, limits=limits)
    async with client:
        with pytest.raises(LimitExceeded):
            await client.batch.get_batch_task_infos_by_state("All")
        assert client.binding is (binding if is_found else None)
    assert len(script.requests) == len(refusals) + 1


async def test_a_response_in_several_parts_is_no_refusal_of_the_form() -> None:
    """The server has answered, in a way that is not read: to ask in another form does not help."""
    body = b"--b\r\nContent-Type: application/xop+xml\r\n\r\n<a/>\r\n--b--"
    client, script = scripted(Reply(200, {}, [body]), binding=None, retries=ONCE)
    async with client:
        with pytest.raises(UnreadableResponse, match="MTOM"):
            await client.batch.get_batch_task_info(1)
    assert sent(script) == [(READ, DOCUMENTED)]


async def test_a_form_once_taken_stays() -> None:
    """After a success in the documented form, a 415 is an error like any other."""
    client, script = scripted(found(), started(), Reply(415), binding=None)
    async with client:
        await client.batch.start_batch_job(JOB)
        with pytest.raises(BindingRefused):
            await client.batch.start_batch_job(JOB)
        assert client.binding is DOCUMENTED
    assert forms(script) == [DOCUMENTED, DOCUMENTED, DOCUMENTED]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(lambda: Reply(200), id="empty-200"),
        pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "Client"), id="Sender"),
        pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "Server"), id="Receiver"),
        pytest.param(lambda: a_fault(SOAP11_ENVELOPE, "Client"), id="Client"),
    ],
)
@pytest.mark.parametrize("binding", [None, SOAP11])
async def test_what_may_be_a_refusal_says_which_bindings_there_are(
    reply: Callable[[], Reply], binding: Binding | None
) -> None:
    """A form that is refused in some other way, pinned or not, leads to an error that tells to try another binding."""
    client, _ = scripted(reply(), binding=binding)
    async with client:
        with pytest.raises(SoapBatchError, match=r"DOCUMENTED.*SOAP11.*SOAP12; try another one with binding="):
            await client.batch.start_batch_job(JOB)


# --- What the service itself says -------------------------------------------------------------------------------


def nothing_there() -> Reply:
    """Return the answer to a read of a task that is not there."""
    return a_failure("SuperOffice.Exceptions.SoEntityNotFoundException", "BatchTask 0 does not exist")


def expired() -> Reply:
    """Return the refusal of a ticket."""
    return a_failure(SESSION, "The ticket has expired")


@pytest.mark.parametrize(
    ("steps", "binding"),
    [
        pytest.param([nothing_there, nothing_there], DOCUMENTED, id="alike"),
        pytest.param([expired, expired], None, id="a bad ticket, seen or not"),
        pytest.param([R415, expired], SOAP11, id="a bad ticket, seen"),
        pytest.param([lambda: a_failure(None), expired], None, id="a bad ticket, not seen in the first form"),
        pytest.param([lambda: a_failure(None), nothing_there], SOAP11, id="only the second form sees the ticket"),
        pytest.param([lambda: a_failure(None), R415, R415], DOCUMENTED, id="no other form"),
        pytest.param([R415, R415, nothing_there], SOAP12, id="the last form"),
        pytest.param([nothing_there, lambda: Reply(503)], None, id="the second form is busy"),
        pytest.param([lambda: a_code("Client.Data"), lambda: Reply(204)], SOAP11, id="nothing to say"),
        pytest.param([lambda: Reply(204), lambda: Reply(204)], DOCUMENTED, id="nothing to say, twice"),
    ],
)
async def test_an_answer_that_says_no_settles_the_form(
    steps: list[Answering], binding: Binding | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of the service settles SOAP 1.1 and 1.2; the documented form, if the others say the same or nothing."""
    caplog.set_level(logging.INFO, "soapbatch")
    client, script = scripted(*(step() for step in steps), binding=None, retries=ONCE)
    async with client:
        with pytest.raises(SoapBatchError):
            await client.batch.get_batch_task_info(1)
        assert client.binding is binding
    assert len(script.requests) == len(steps)
    assert len(infos(caplog)) == (binding in {SOAP11, SOAP12})


async def test_a_refused_login_settles_nothing_in_the_documented_form() -> None:
    """A login that fails is not tried in other forms: each attempt may count against the user."""
    server = NetServer()
    server.tickets.refuse_logins = "flag"
    async with in_process(server, credentials=LOGIN) as client:
        with pytest.raises(SoapBatchError):
            await client.batch.get_batch_task_info(1)
        assert client.binding is None
    assert server.requests == 1


async def test_without_credentials_any_answer_settles_the_form() -> None:
    """A client without credentials has no ticket that a server could fail to see."""
    server = NetServer()
    async with in_process(server, credentials=None) as client:
        await client.principal.get_system_info()
        assert client.binding is DOCUMENTED
    assert server.requests == 1


async def test_a_refused_ticket_is_renewed_during_the_search() -> None:
    """A stored ticket that has expired is renewed; the documented form is then taken, as if it had been valid."""
    server = NetServer()
    server.define_job("Export")
    tickets = iter(["7T:ZXhwaXJlZA==", server.tickets.issue()])

    async def fetch() -> str:
        return next(tickets)

    async with in_process(server, credentials=fetch) as client:
        await client.batch.start_batch_job(JOB)
        assert client.binding is DOCUMENTED
    assert server.counts == {"GetBatchTaskInfo": 3, "StartBatchJob": 1}


async def test_a_ticket_refused_after_the_form_is_renewed_before_the_start() -> None:
    """Where the read settles the binding, and its ticket is refused, the start is sent with the next ticket, once."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    server.define_job("Export")
    tickets = iter(["7T:ZXhwaXJlZA==", server.tickets.issue()])

    async def fetch() -> str:
        return next(tickets)

    async with in_process(server, credentials=fetch) as client:
        await client.batch.start_batch_job(JOB)
        assert client.binding is SOAP11
    assert server.counts == {"GetBatchTaskInfo": 1, "StartBatchJob": 1}


async def test_the_read_that_finds_the_binding_is_a_first_attempt() -> None:
    """Hooks hear of it as of any other call: attempts are counted from 1."""
    server, seen = NetServer(), list[tuple[str, int]]()
    server.define_job("Export")
    hooks = Hooks(on_request=lambda event: seen.append((event.operation, event.attempt)))
    async with in_process(server, hooks=hooks) as client:
        await client.batch.start_batch_job(JOB)
    assert [attempt for _, attempt in seen] == [1] * len(seen)
    assert [name for name, _ in seen][-2:] == ["GetBatchTaskInfo", "StartBatchJob"]


# --- Discovery shared -------------------------------------------------------------------------------------------


async def test_first_calls_at_once_share_one_discovery() -> None:
    """Fifty first calls at once send one read in each form; the rest is SOAP 1.1, each start once."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    server.define_job("Export")
    async with in_process(server) as client:
        ids = await asyncio.gather(*(client.batch.start_batch_job(JOB) for _ in range(50)))
    assert len(set(ids)) == 50 == server.counts["StartBatchJob"]
    assert server.requests == 52


async def test_a_discovery_that_fails_is_taken_over_by_the_next() -> None:
    """Where the first call fails before the form is known, the next in the queue finds out."""
    client, script = scripted(
        *(Step(ConnectionLost("reset"), (("waiting", 0.0),)), Reply(415), found(), started(), started()),
        binding=None,
        retries=ONCE,
    )
    async with client:
        first, *others = await asyncio.gather(
            *(client.batch.start_batch_job(JOB) for _ in range(3)), return_exceptions=True
        )
        assert isinstance(first, ConnectionLost)
        assert first.applied == "no"
        assert others == [7, 7]
    assert sent(script) == [
        *((READ, DOCUMENTED), (READ, DOCUMENTED), (READ, SOAP11)),
        *((START, SOAP11), (START, SOAP11)),
    ]


@pytest.mark.parametrize("failure", [ConnectionLost("reset"), Reply(503), Reply(429)], ids=["lost", "503", "429"])
async def test_a_search_is_repeated_for_a_start(failure: Reply | SoapBatchError) -> None:
    """A transient failure of the read does not fail the start: nothing of it was sent."""
    retries = Retries(attempts=2, first_wait=0)
    client, script = scripted(failure, found(), started(), binding=None, retries=retries)
    async with client:
        assert await client.batch.start_batch_job(JOB) == 7
    assert sent(script) == [(READ, DOCUMENTED), (READ, DOCUMENTED), (START, DOCUMENTED)]


async def test_a_cancelled_discovery_is_taken_over_by_the_next() -> None:
    """Where the first call is cancelled before the form is known, the next in the queue finds out."""
    client, script = scripted(Step(found(), (("waiting", 3600),)), Reply(415), found(), started(), binding=None)
    async with client:
        first = asyncio.create_task(client.batch.start_batch_job(JOB))
        second = asyncio.create_task(client.batch.start_batch_job(JOB))
        await until(lambda: script.requests)
        first.cancel()
        assert await second == 7
        with pytest.raises(asyncio.CancelledError):
            await first
    assert sent(script) == [(READ, DOCUMENTED), (READ, DOCUMENTED), (READ, SOAP11), (START, SOAP11)]


async def test_a_login_finds_out_for_the_call_behind_it() -> None:
    """The login is the first request: it discovers the form, and the call behind it begins there."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    async with in_process(server, credentials=LOGIN) as client:
        await client.batch.get_batch_task_info(1)
        assert client.binding is SOAP11
    assert server.requests == 3
    assert server.counts == {"AuthenticateUsernamePassword": 1, "GetBatchTaskInfo": 1}


@pytest.mark.parametrize("personality", [Personality.STRICT_SOAP11, Personality.STRICT_SOAP12])
async def test_a_stream_finds_out_too(personality: Personality) -> None:
    """A streamed first call looks for the form like any other."""
    server = NetServer(personality=personality)
    id_ = server.tasks.add(BatchTaskInfo(state="New"))
    async with in_process(server) as client:
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")
        assert [task.id async for task in stream] == [id_]
        assert client.binding is (SOAP11 if personality is Personality.STRICT_SOAP11 else SOAP12)


# --- Each personality and each binding ----------------------------------------------------------------------------

LENIENT, STRICT11, STRICT12 = Personality.LENIENT, Personality.STRICT_SOAP11, Personality.STRICT_SOAP12
OUTCOMES: dict[tuple[Personality, Binding | None], Binding | type[SoapBatchError]] = {
    (LENIENT, None): DOCUMENTED,
    (LENIENT, DOCUMENTED): DOCUMENTED,
    (LENIENT, SOAP11): SOAP11,
    (LENIENT, SOAP12): SOAP12,
    (STRICT11, None): SOAP11,
    (STRICT11, DOCUMENTED): BindingRefused,
    (STRICT11, SOAP11): SOAP11,
    (STRICT11, SOAP12): BindingRefused,
    (STRICT12, None): SOAP12,
    (STRICT12, DOCUMENTED): UnreadableResponse,
    (STRICT12, SOAP11): BindingRefused,
    (STRICT12, SOAP12): SOAP12,
}


@pytest.mark.parametrize(
    ("personality", "binding", "outcome"),
    [
        pytest.param(personality, binding, outcome, id=f"{personality.name}-{binding.name if binding else None}")
        for (personality, binding), outcome in OUTCOMES.items()
    ],
)
async def test_each_personality_and_each_binding(
    personality: Personality, binding: Binding | None, outcome: Binding | type[SoapBatchError]
) -> None:
    """What each stack makes of each form, and what no binding leads to; a start happens at most once."""
    server = NetServer(personality=personality)
    server.define_job("Export")
    client: Client = in_process(server, binding=binding)
    async with client:
        if isinstance(outcome, Binding):
            id_ = await client.batch.start_batch_job(JOB)
            info = await client.batch.get_batch_task_info(id_)
            assert info is not None
            assert info.name == "Export"
            assert client.binding is outcome
            assert {call.binding for call in server.calls} == {outcome}
        else:
            with pytest.raises(outcome) as caught:
                await client.batch.start_batch_job(JOB)
            assert not list(server.tasks.find())
            assert "inding" in str(caught.value)
    assert server.counts["StartBatchJob"] == isinstance(outcome, Binding)
