"""A typed async client for the batch services of SuperOffice NetServer.

    from soapbatch import Client, ServiceVersion

    async with Client("https://crm.example.com/SuperOffice", ticket="7T:...", version=ServiceVersion.V88) as client:
        info = await client.batch.get_batch_task_info(42)
        job = await client.jobs.start("ExportArchiveBatchPlugin")

A typed call goes down a straight stair to bytes, and the answer comes back up as a dataclass or as one error:

    client.batch.stop_batch_job(42)      calls/       one call's life: deadline, ticket, binding, retries
      -> operations.STOP_BATCH_JOB       operations   the row: what the contract says of the operation
      -> values to envelope bytes        soap/        pure: no socket, no clock
      -> request in, byte stream out     transport/   any httpx.AsyncBaseTransport; by default a ConnectionPool
      -> bytes to values                 soap/        or to the one error that says why not
      -> bool

Beside that stair: auth/ (where tickets come from), jobs/ (start, wait, watch, stop), online/ (SuperOffice Online:
tenants and system users), integrations/ (durable jobs, with Temporal), guide/ (pages to read), testing/ (embedded
servers), cli/ (the command `soapbatch`). Below it: errors, model/ (carriers, versions, secrets), system/. A wing
imports only wings below itself: cli, integrations, online, tenants (many clients), client, jobs, calls, auth and
transport, soap, operations, errors, model and system.

Names are imported when they are first asked for. `__init__.pyi` lists them, for type checkers and for this module.
"""

from functools import cache
from typing import Any


@cache
def _homes() -> dict[str, str]:
    """Return the module of each public name, as the stub beside this file lists them."""
    import ast  # noqa: PLC0415 - only who asks for a name pays for it
    from pathlib import Path  # noqa: PLC0415 - likewise

    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module)
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    from importlib import import_module  # noqa: PLC0415 - as above

    homes = _homes()
    if name == "__all__":
        return sorted(homes)
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(homes[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(_homes())
