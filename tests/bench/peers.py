"""zeep, as somebody would use it who has the same tasks to do."""

import io
from collections.abc import Callable
from typing import Any, Final

import requests
import zeep
from lxml import etree

from soapbatch.model.batch import BATCH_TASK_INFO, BatchTaskInfo
from soapbatch.model.services import BATCH
from soapbatch.operations import OPERATIONS, Operation
from soapbatch.testing.wsdl import wsdl
from tests.bench.inputs import TICKET, TOKEN, VERSION

_ACTION: Final = "{http://www.w3.org/2006/05/addressing/wsdl}Action"


def zeep_client() -> zeep.Client:
    """Return a zeep client for the Batch service."""
    return zeep.Client(io.BytesIO(batch_wsdl()))  # type: ignore[no-untyped-call]  # zeep has no type hints


def batch_wsdl(base_url: str = "http://127.0.0.1") -> bytes:
    """Return the embedded server's WSDL of the Batch service, which is to be found at `base_url`.

    The published WSDLs name the action of each message as WS-Addressing does, and zeep then writes its header
    blocks into every request. The embedded server's do not, so it is added: zeep shall do what it does in real life.
    """
    operations = [row for row in OPERATIONS.values() if row.agent is BATCH]
    root = etree.fromstring(wsdl(BATCH, VERSION, operations, f"{base_url}{BATCH.path(VERSION)}"))
    for operation in root.iterfind("{*}portType/{*}operation"):
        for message in operation:
            message.set(_ACTION, BATCH.action(VERSION, operation.get("name", "")))
    return etree.tostring(root)


def zeep_headers() -> dict[str, Any]:
    """Return the header blocks of a request, for zeep."""
    return {"ApplicationToken": TOKEN.reveal(), "Credentials": {"Ticket": TICKET.reveal()}}


def zeep_task(info: BatchTaskInfo) -> dict[str, Any]:
    """Return `info` as zeep takes it."""
    values = {
        row.name: getattr(info, row.attribute)
        for row in BATCH_TASK_INFO.fields
        if getattr(info, row.attribute) is not None
    }
    pairs = [{"Key": key, "Value": value} for key, value in (info.parameter_object or {}).items()]
    return values | {"ParameterObject": {"StringKeyValuePair": pairs}}


def zeep_parse(operation: Operation[Any], body: bytes) -> Callable[[], object]:
    """Return what zeep does with a reply once it has arrived."""
    client = zeep_client()
    binding: Any = client.service._binding
    response = requests.Response()
    response.status_code = 200
    response.headers["Content-Type"] = "text/xml; charset=utf-8"
    response._content = body
    row = binding.get(operation.name)
    return lambda: binding.process_reply(client, row, response)
