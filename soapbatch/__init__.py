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
tenants and system users), integrations/ (Temporal, OpenTelemetry), testing/ (embedded servers and the test kit),
cli/ (the command `soapbatch`), guide/ (pages: `python -m pydoc soapbatch.guide.testing`). Below it: errors, model/
(carriers, versions, secrets), system/. A wing imports only wings below itself: cli, integrations, online, tenants (many
clients), client, jobs, calls, auth and transport, soap, operations, errors, model and system.

Names are imported when they are first asked for (_lazy): `__init__.pyi` lists them, and type checkers read it too.
"""

from soapbatch._lazy import lazy_names

__version__ = "0.1.0"
"""The version of this package; pyproject.toml reads it here."""

__getattr__, __dir__ = lazy_names(__name__, __file__)
