"""zeep, an independent client, runs every operation over a socket, with nothing but the embedded server's own WSDL."""

import asyncio
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from lxml import etree

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, ServiceVersion, build_request
from soapbatch.model.headers import SoTimeZone
from soapbatch.model.principal import DSAParameters, LicenseInfo, SignedPublicKey, SoSystemInfoCarrier
from soapbatch.model.services import AGENTS, BATCH, BLOB, SO_PRINCIPAL, Agent
from soapbatch.operations import OPERATIONS
from soapbatch.soap.builder import build_response
from soapbatch.testing import ManualClock, NetServer, User, serve
from soapbatch.testing.requests import operations_of
from soapbatch.testing.wsdl import wsdl

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # zeep's imports, not ours
    zeep = pytest.importorskip("zeep", reason="zeep comes with the extra dev")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:zeep")

VERSIONS = (ServiceVersion.V75, ServiceVersion.V86, ServiceVersion.V88)
every_version = pytest.mark.parametrize("version", VERSIONS, ids=str)
EPOCH = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ALL, FAILED = BatchTaskState.ALL, BatchTaskState.FAILED
SCHEMA = "http://www.w3.org/2001/XMLSchema"
WSDL, SOAP = "http://schemas.xmlsoap.org/wsdl/", "http://schemas.xmlsoap.org/wsdl/soap/"

JOB = {
    "Name": "Job <&> æ",
    "DetailsTable": -5,
    "DetailsRecord": 2**31 - 1,
    "ParameterObject": {"StringKeyValuePair": [{"Key": "k", "Value": "v\n]]>"}, {"Key": "k2", "Value": "漢"}]},
    "Created": datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
    "State": "New",
    "Description": "first",
    "Request": "<r/>",
    "ProgressPercent": 7,
}
JOB_INFO = BatchTaskInfo(
    name="Job <&> æ",
    details_table=-5,
    details_record=2**31 - 1,
    parameter_object={"k": "v\n]]>", "k2": "漢"},
    created=datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
    state=BatchTaskState.NEW,
    description="first",
    request="<r/>",
    progress_percent=7,
)


class Zeep:
    """A zeep client of each agent. zeep blocks, so that it runs in a thread."""

    def __init__(self, base_url: str, version: ServiceVersion) -> None:
        """Fetch the WSDL of each agent that the version has."""
        settings = zeep.Settings(strict=True)
        agents = [agent for agent in AGENTS if agent is not BLOB or version is ServiceVersion.V88]
        self.clients = {
            agent: zeep.Client(f"{base_url}{agent.path(version)}?wsdl", settings=settings) for agent in agents
        }
        self.headers: dict[Agent, dict[str, object]] = {agent: {"ApplicationToken": "app"} for agent in agents}
        self.reply_header: Any = None

    def __call__(self, name: str, *args: object, **kwargs: object) -> Any:
        """Call an operation and return the content of the answer's Body."""
        agent = OPERATIONS[name].agent
        reply = self.clients[agent].service[name](*args, **kwargs, _soapheaders=self.headers[agent])
        self.reply_header = reply.header
        return reply.body

    def log_in(self) -> Any:
        """Log in, and use the ticket in every later call."""
        reply = self("AuthenticateUsernamePassword", UserName="ada", Password="p<&>w")
        for agent in self.clients.keys() & {BATCH, BLOB}:
            self.headers[agent]["Credentials"] = {"Ticket": reply.Credentials.Ticket}
        return reply

    def close(self) -> None:
        """Close the connections."""
        for client in self.clients.values():
            client.transport.session.close()


async def drive(version: ServiceVersion, drive_it: Callable[[Zeep, NetServer], None]) -> NetServer:
    """Serve a new server, run `drive_it` with a zeep client of it in a thread, and return the server."""
    ada = User(name="ada", password="p<&>w", associate_id=7, full_name="Ada Ö", generic={"badge": "12"})
    server = NetServer(
        users=[ada], epoch=EPOCH, clock=ManualClock()
    )  # the states of jobs do not change while zeep works
    server.tickets.implicit_user = ada
    server.define_job("Job <&> æ", duration=3600, file_name="a.txt")

    def in_thread(base_url: str) -> None:
        client = Zeep(base_url, version)
        try:
            drive_it(client, server)
        finally:
            client.close()

    async with serve(server) as base_url:
        await asyncio.to_thread(in_thread, base_url)
    return server


def plain(value: Any) -> Any:
    """Return a value of zeep as dicts and lists."""
    return zeep.helpers.serialize_object(value, dict)


def expected(info: BatchTaskInfo, version: ServiceVersion) -> dict[str, object]:
    """Return what zeep is to read for `info`."""
    names = {
        row.attribute: row.name
        for row in OPERATIONS["UpdateBatchTask"].parameters[0].type.fields  # type: ignore[union-attr]  # a record
        if row.since <= version
    }
    # zeep reads an empty element as None.
    values = {name: getattr(info, attribute) for attribute, name in names.items()}
    values = {name: None if value == "" else value for name, value in values.items()}
    if pairs := values["ParameterObject"]:
        assert isinstance(pairs, Mapping)
        values["ParameterObject"] = {"StringKeyValuePair": [{"Key": k, "Value": v} for k, v in pairs.items()]}
    return values


@every_version
async def test_zeep_runs_every_batch_operation(version: ServiceVersion) -> None:
    """By the WSDL alone, results have the values of the server's state, and arguments arrive unchanged."""
    names = [row.name for row in OPERATIONS.values() if row.agent is BATCH and row.since <= version]

    def drive_it(call: Zeep, server: NetServer) -> None:
        assert sorted(call.clients[BATCH].service._operations) == sorted(names)
        call.log_in()
        call.headers[BATCH]["TimeZone"] = {"SoTimeZoneId": 3, "SoTimeZoneLocationCode": "Europe/Oslo"}
        task = call("StartBatchJob", JOB).Response
        assert call.reply_header.Succeeded is True
        seen = server.tasks.read(task)
        assert seen is not None
        other = server.tasks.add(BatchTaskInfo(name="Other", associate_id=0, is_system_task=True, state=FAILED))

        def ids(name: str, **kwargs: object) -> list[int]:
            found = call(name, **kwargs).Response
            return [] if found is None else [info.Id for info in found.BatchTaskInfo]

        assert plain(call("GetBatchTaskInfo", task).Response) == expected(seen, version)
        assert call("GetBatchTaskInfo", 999).Response is None
        everybody: dict[str, list[int]] = {"int": []}
        ada = {"int": [7, 8]}
        assert ids("GetBatchTaskInfosByAssociates", AssociateIds=everybody) == [task, other]
        assert ids("GetBatchTaskInfosByAssociates", AssociateIds=ada) == [task]
        assert ids("GetBatchTaskInfosByState", State="New") == [task]
        assert ids("GetBatchTaskInfosByState", State="Failed") == []
        assert ids("GetBatchTaskInfosByNameAndState", Name="Job <&> æ", State="All") == [task]
        assert ids("GetBatchTaskInfosByNameAndAssociates", Name="Other", AssociateIds={"int": [0]}) == [other]
        assert ids("GetBatchTaskInfosByAssociatesAndState", AssociateIds=ada, State="New") == [task]
        changed = {"Id": task, "State": "Started", "Description": "ö", "Response": "r", "Request": "q"}
        updated = plain(call("UpdateBatchTask", changed).Response)
        assert {key: updated[key] for key in changed} == changed
        if version >= ServiceVersion.V88:
            assert ids("GetAllBatchTaskInfosByName", TaskName="") == [task, other]
            assert ids("GetAllBatchTaskInfosByNameAndState", TaskName="Other", State="Failed") == [other]
            assert ids("GetSystemBatchTaskInfosByName", TaskName="Other") == [other]
            assert ids("GetSystemBatchTaskInfosByNameAndState", TaskName="", State="Started") == []
        assert call("StopBatchJob", task).Response is True
        assert call("StopBatchJob", task).Response is False
        call("DeleteBatchTasks", {"int": [task]})
        if version >= ServiceVersion.V83:
            call("DeleteBatchTask", other)
            assert call.reply_header.ExceptionInfo is None
            call("DeleteBatchTask", other)
            assert call.reply_header.Succeeded is False
            assert call.reply_header.ExceptionInfo.ExceptionType.endswith("SoEntityNotFoundException")

    server = await drive(version, drive_it)
    assert {name for name in server.counts if OPERATIONS[name].agent is BATCH} == set(names)
    assert {call.binding for call in server.calls} == {Binding.SOAP11}


@every_version
async def test_zeep_runs_every_login(version: ServiceVersion) -> None:
    """Zeep runs SoPrincipal's operations; a wrong password is reported by the flag."""

    def drive_it(call: Zeep, server: NetServer) -> None:
        reply = call.log_in()
        principal = plain(reply.Response)
        assert reply.AuthenticationSucceeded is True
        assert (principal["Associate"], principal["AssociateId"], principal["FullName"]) == ("ada", 7, "Ada Ö")
        assert principal["FunctionRights"] == {"string": ["batch-start", "batch-stop"]}
        wrong = call("AuthenticateUsernamePassword", UserName="ada", Password="wrong")
        assert (wrong.AuthenticationSucceeded, wrong.Credentials) == (False, None)
        assert call("AuthenticateImplicit").Response.Associate == "ada"
        pairs = {"AuthenticationGenericDataKeyValuePair": [{"Key": "badge", "Value": "12"}]}
        assert call("AuthenticateGeneric", pairs).Response.Associate == "ada"
        if version >= ServiceVersion.V86:
            token = server.tickets.issue_access_token()
            assert call("AuthenticateWithAccessToken", token).Response.Associate == "ada"
        info = call("GetSystemInfo").SystemInfo
        assert (info.CompanyName, info.IsUnicode, info.BuildType) == ("Example Company", True, "Release")

    server = await drive(version, drive_it)
    names = {row.name for row in OPERATIONS.values() if row.agent is SO_PRINCIPAL and row.since <= version}
    assert set(server.counts) == names


async def test_zeep_fetches_output() -> None:
    """Zeep runs BLOB's two operations; the bytes arrive unchanged."""
    content = bytes(range(256)) * 1000

    def drive_it(call: Zeep, server: NetServer) -> None:
        task = server.tasks.add(BatchTaskInfo(state=BatchTaskState.SUCCEEDED_MANUAL_CLEANUP), output=content)
        call.log_in()
        assert call("GetOutputFromBatch", task).Response == content
        call("CleanupBatchTask", task)
        assert call("GetOutputFromBatch", task).Response is None

    await drive(ServiceVersion.V88, drive_it)


FIVE: dict[str, Any] = {"int": [7, 0, -1, 2**31 - 1, -(2**31)]}
ALL_FIVE = tuple(FIVE["int"])
ARGUMENTS: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("GetBatchTaskInfo", {"Id": -(2**31)}, {"id": -(2**31)}),
    ("GetBatchTaskInfosByAssociates", {"AssociateIds": FIVE}, {"associate_ids": ALL_FIVE}),
    ("GetBatchTaskInfosByState", {"State": "Aquired"}, {"state": BatchTaskState.ACQUIRED}),
    ("GetBatchTaskInfosByNameAndState", {"Name": " <&>", "State": "All"}, {"name": " <&>", "state": ALL}),
    (
        "GetBatchTaskInfosByNameAndAssociates",
        {"Name": "n", "AssociateIds": FIVE},
        {"name": "n", "associate_ids": ALL_FIVE},
    ),
    (
        "GetBatchTaskInfosByAssociatesAndState",
        {"AssociateIds": FIVE, "State": "Failed"},
        {"associate_ids": ALL_FIVE, "state": FAILED},
    ),
    ("StartBatchJob", {"BatchTaskInfo": JOB}, {"batch_task_info": JOB_INFO}),
    ("StopBatchJob", {"Id": 5}, {"id": 5}),
    ("UpdateBatchTask", {"BatchTaskInfo": {**JOB, "Id": 9}}, {"batch_task_info": attrs.evolve(JOB_INFO, id=9)}),
    ("DeleteBatchTasks", {"BatchTaskIds": FIVE}, {"batch_task_ids": ALL_FIVE}),
    ("DeleteBatchTask", {"BatchTaskId": 4}, {"batch_task_id": 4}),
    ("GetAllBatchTaskInfosByName", {"TaskName": "漢"}, {"task_name": "漢"}),
    ("GetAllBatchTaskInfosByNameAndState", {"TaskName": "t", "State": "All"}, {"task_name": "t", "state": ALL}),
    ("GetSystemBatchTaskInfosByName", {"TaskName": "t"}, {"task_name": "t"}),
    (
        "GetSystemBatchTaskInfosByNameAndState",
        {"TaskName": "t", "State": "SucceededManualCleanup"},
        {"task_name": "t", "state": BatchTaskState.SUCCEEDED_MANUAL_CLEANUP},
    ),
]


@every_version
async def test_zeep_and_the_server_agree_on_every_argument(version: ServiceVersion) -> None:
    """The server reads from zeep's request the arguments that zeep was given."""
    cases = [case for case in ARGUMENTS if OPERATIONS[case[0]].since <= version]

    def drive_it(call: Zeep, _: NetServer) -> None:
        call.log_in()
        for name, given, _read in cases:
            call(name, **given)

    server = await drive(version, drive_it)
    read = [(call.operation, dict(call.arguments)) for call in server.calls if call.operation in {c[0] for c in cases}]
    assert read == [(name, arguments) for name, _, arguments in cases]
    assert {name for name, _, _ in cases} == {
        row.name for row in OPERATIONS.values() if row.agent is BATCH and row.since <= version
    }


# --- The published WSDLs ------------------------------------------------------------------------------------------

PUBLISHED = [(BATCH, 75), (BATCH, 83), (BATCH, 86), (BATCH, 88)]
PUBLISHED += [(SO_PRINCIPAL, 75), (SO_PRINCIPAL, 86), (SO_PRINCIPAL, 88)]
every_published = pytest.mark.parametrize(
    ("agent", "number"), PUBLISHED, ids=lambda value: getattr(value, "name", None)
)


def published(shared: Path, agent: Agent, number: int) -> Path:
    """Return the file with a published WSDL."""
    return shared / "contract" / f"{agent.name}{number}.wsdl"


@pytest.mark.parametrize("number", [75, 83, 86, 88])
async def test_zeep_with_the_published_wsdl_agrees_too(shared: Path, number: int) -> None:
    """Every argument of a request that zeep makes by the published WSDL arrives unchanged."""
    version = ServiceVersion(number)
    cases = [case for case in ARGUMENTS if OPERATIONS[case[0]].since <= version]
    server = NetServer()
    headers = {"ApplicationToken": "app", "Credentials": {"Ticket": server.tickets.issue()}}

    def in_thread(base_url: str) -> None:
        client = zeep.Client(str(published(shared, BATCH, number)))
        try:
            binding = f"{{{version.namespace}}}BasicHttpBinding_Batch"
            service = client.create_service(binding, base_url + BATCH.path(version))
            for name, given, _ in cases:
                service[name](**given, _soapheaders=headers)
        finally:
            client.transport.session.close()

    async with serve(server) as base_url:
        await asyncio.to_thread(in_thread, base_url)
    read = [(call.operation, dict(call.arguments)) for call in server.calls]
    assert read == [(name, arguments) for name, _, arguments in cases]


def members(root: etree._Element) -> dict[str, list[tuple[str, ...]]]:
    """Return the content of each type, element and operation of a WSDL, in order."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for named in root.iterfind(f".//{{{SCHEMA}}}schema/*"):
        title = f"{etree.QName(named).localname} {named.get('name')} {local(named.get('type'))}"
        rows = found[title] = []
        rows.extend(
            (row.get("name", ""), local(row.get("type")), row.get("nillable", ""), row.get("maxOccurs", "1"))
            for row in named.iterdescendants(f"{{{SCHEMA}}}element")
        )
        rows.extend((row.get("value", ""),) for row in named.iter(f"{{{SCHEMA}}}enumeration"))
    for operation in root.iterfind(f"{{{WSDL}}}binding/{{{WSDL}}}operation"):
        (soap,) = operation.iterfind(f"{{{SOAP}}}operation")
        rows = found[f"operation {operation.get('name')} {soap.get('soapAction')}"] = []
        for direction in operation.iterchildren(f"{{{WSDL}}}input", f"{{{WSDL}}}output"):
            rows += ((str(direction.tag), row.get("part", "")) for row in direction.iter(f"{{{SOAP}}}header"))
    return found


def local(name: str | None) -> str:
    """Return a prefixed name without its prefix."""
    return (name or "").rpartition(":")[2]


@every_published
def test_our_wsdl_says_what_the_published_one_says(shared: Path, agent: Agent, number: int) -> None:
    """The published WSDL has everything that ours has, and our WSDL of Batch has every published operation."""
    version = ServiceVersion(number)
    ours = members(etree.fromstring(wsdl(agent, version, operations_of(agent, version), "http://localhost/")))
    theirs = members(etree.fromstring(published(shared, agent, number).read_bytes()))
    assert {name: rows for name, rows in ours.items() if theirs.get(name) != rows} == {}
    if agent is BATCH:
        assert {name for name in theirs if name.startswith("operation")} == {
            name for name in ours if name.startswith("operation")
        }


# --- The schema inside the WSDL -----------------------------------------------------------------------------------


def schema_of(agent: Agent, version: ServiceVersion) -> etree.XMLSchema:
    """Return the schemas inside the server's WSDL as one schema that validates."""
    root = etree.fromstring(wsdl(agent, version, operations_of(agent, version), "http://localhost/"))
    schemas = root.findall(f".//{{{SCHEMA}}}schema")
    documents = {f"memory:{index}": etree.tostring(schema) for index, schema in enumerate(schemas)}
    namespaces = {schema.get("targetNamespace"): f"memory:{index}" for index, schema in enumerate(schemas)}

    class InMemory(etree.Resolver):
        def resolve(self, system_url: str | None, public_id: str | None, context: Any) -> Any:
            assert not public_id
            return self.resolve_string(documents[system_url or ""], context)

    parser = etree.XMLParser()
    parser.resolvers.add(InMemory())
    for schema in schemas:
        for imported in schema.findall(f"{{{SCHEMA}}}import"):
            imported.set("schemaLocation", namespaces[imported.get("namespace")])
        documents[namespaces[schema.get("targetNamespace")]] = etree.tostring(schema)
    return etree.XMLSchema(etree.fromstring(documents[namespaces[version.namespace]], parser))


def bodies() -> Iterator[tuple[Agent, ServiceVersion, bytes]]:
    """Yield envelopes of requests and responses in SOAP 1.1."""
    for name, _, arguments in ARGUMENTS:
        for version in VERSIONS:
            if OPERATIONS[name].since <= version:
                request = build_request(
                    name,
                    {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()},
                    version=version,
                    binding=Binding.SOAP11,
                    ticket="7T:x",
                    application_token="app",
                    time_zone=SoTimeZone(so_time_zone_id=1),
                )
                yield BATCH, version, request.body


def test_requests_are_valid_by_the_servers_schema() -> None:
    """Each block of a request's Header, and the content of its Body, are valid."""
    count = 0
    for agent, version, body in bodies():
        schema = schema_of(agent, version)
        envelope = etree.fromstring(body)
        for part in (*envelope[0], envelope[1][0]):
            schema.assertValid(etree.ElementTree(part))
            count += 1
    assert count > 100


def test_responses_are_valid_by_the_servers_schema() -> None:
    """A response with the most deeply nested carriers is valid."""
    key = SignedPublicKey(owner_name="o", sign_date=EPOCH, key=DSAParameters(counter=1, g=b"g", y=b"y"))
    info = SoSystemInfoCarrier(license=LicenseInfo(public_key=key, module_licenses=[]), build_type="Beta")
    for version in VERSIONS:
        body = build_response(OPERATIONS["GetSystemInfo"], info, version=version, binding=Binding.SOAP11)
        answer = etree.fromstring(body)[-1][0]
        schema_of(SO_PRINCIPAL, version).assertValid(etree.ElementTree(answer))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_wsimport_takes_it(tmp_path: Path) -> None:
    """The importer of JAX-WS, which is strict, makes Java classes of each WSDL without an error."""
    wsimport = shutil.which("wsimport")
    if wsimport is None:
        pytest.skip("wsimport is not installed: since Java 11 it comes with JAX-WS (Debian: jaxws), not with Java")
    version = ServiceVersion.V88
    for agent in AGENTS:
        folder = tmp_path / agent.name
        folder.mkdir()
        file = folder / "service.wsdl"
        file.write_bytes(wsdl(agent, version, operations_of(agent, version), "http://localhost/"))
        command = [wsimport, "-Xnocompile", "-d", str(folder), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - wsimport
        said = done.stdout + done.stderr
        assert (done.returncode, "[ERROR]" in said) == (0, False), said
        # wsimport says this of the published WSDL too: an import inside of a WSDL has no location.
        assert all(
            "src-resolve: Cannot resolve the name" in line for line in said.splitlines() if "[WARNING]" in line
        ), said
        assert len(list(folder.rglob("*.java"))) > len(operations_of(agent, version))
