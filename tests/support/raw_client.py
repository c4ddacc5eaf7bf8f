"""A raw client of the embedded server: `build_request`, plain HTTP and `parse_response`, without `Client`."""

from typing import Any

import attrs
import httpx

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, ServiceVersion, build_request, parse_response
from soapbatch.model.batch import ALL_ASSOCIATES
from soapbatch.operations import OPERATIONS
from soapbatch.testing import ManualClock, NetServer

BINDINGS = tuple(Binding)
PAIRS = [
    (name, version)
    for name, operation in OPERATIONS.items()
    for version in ServiceVersion
    if version >= operation.since
]


@attrs.define
class RawClient:
    """Calls an embedded server: through `http`, or, if that is None, in the same process."""

    server: NetServer
    version: ServiceVersion = ServiceVersion.V88
    binding: Binding = Binding.SOAP11
    ticket: str | None = None
    base_url: str = "http://netserver"
    http: httpx.AsyncClient | None = None

    async def __call__(self, operation: str, **arguments: object) -> Any:
        """Call `operation` and return its result."""
        answer = await self.post(operation, **arguments)
        return parse_response(
            operation,
            answer.content,
            version=self.version,
            status=answer.status_code,
            content_type=answer.headers.get("content-type"),
        )

    async def post(self, operation: str, **arguments: object) -> httpx.Response:
        """Call `operation` and return the answer."""
        request = build_request(
            operation,
            arguments,
            version=self.version,
            binding=self.binding,
            ticket=self.ticket,
            application_token="app",
        )
        return await self.send(request.path, request.body, dict(request.headers))

    async def send(
        self, path: str, body: bytes = b"", headers: dict[str, str] | None = None, method: str = "POST"
    ) -> httpx.Response:
        """Send any HTTP request to the server and return the answer."""
        if self.http is not None:
            return await self.http.request(method, f"{self.base_url}{path}", content=body, headers=headers)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.server), base_url=self.base_url) as http:
            return await http.request(method, path, content=body, headers=headers)


def raw_client(
    server: NetServer | None = None, version: ServiceVersion = ServiceVersion.V88, binding: Binding = Binding.SOAP11
) -> RawClient:
    """Return a raw client with a ticket of its own. Without `server`, the server is new and its clock stands still."""
    server = server or NetServer(clock=ManualClock())
    return RawClient(server, version, binding, server.tickets.issue())


def arguments_for(operation: str, client: RawClient) -> dict[str, object]:
    """Return arguments with which `operation` succeeds, and add to the client's server the tasks that it needs."""
    tasks = client.server.tasks
    finished = BatchTaskInfo(name="Done", state=BatchTaskState.SUCCEEDED, start_count=1)
    plain: dict[str, object] = {
        "name": "Done",
        "task_name": "Done",
        "state": BatchTaskState.SUCCEEDED,
        "associate_ids": ALL_ASSOCIATES,
        "user_name": "demo",
        "password": "demo",
        "authentication_data": {"key": "value"},
    }
    values: dict[str, object] = {}
    for row in OPERATIONS[operation].parameters:
        match row.attribute:
            case "id" | "batch_task_id":
                values[row.attribute] = tasks.add(finished, output=b"output")
            case "batch_task_ids":
                values[row.attribute] = [tasks.add(finished), tasks.add(finished)]
            case "batch_task_info" if operation == "StartBatchJob":
                values[row.attribute] = BatchTaskInfo(name="ExportArchiveBatchPlugin")
            case "batch_task_info":
                values[row.attribute] = attrs.evolve(finished, id=tasks.add(finished), description="changed")
            case "access_token":
                values[row.attribute] = client.server.tickets.issue_access_token()
            case name:
                values[name] = plain[name]
    return values
