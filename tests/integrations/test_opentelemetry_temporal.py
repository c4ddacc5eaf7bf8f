"""One trace from the caller of a workflow to the operation of the server, with Temporal's own interceptor."""

import uuid
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client as Temporal
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.worker import Worker

from soapbatch import Binding, Client, Polling, UsernamePassword
from soapbatch.integrations.opentelemetry import netserver_spans
from soapbatch.integrations.temporal import BatchJob, RunBatchJob, SoapBatchPlugin
from soapbatch.testing import NetServer
from tests.support import fleet
from tests.support.telemetry import Telemetry, trace_of

pytestmark = pytest.mark.slow

TREE = """\
service                                       INTERNAL
  StartWorkflow:soapbatch.RunBatchJob         CLIENT
    RunWorkflow:soapbatch.RunBatchJob         SERVER
    StartActivity:soapbatch.start             CLIENT
      RunActivity:soapbatch.start             SERVER
        Batch/StartBatchJob                   CLIENT
          SoPrincipal/AuthenticateUsernamePassword CLIENT
            POST                              CLIENT
              SoPrincipal/AuthenticateUsernamePassword SERVER
          POST                                CLIENT
            Batch/StartBatchJob               SERVER
    StartActivity:soapbatch.wait              CLIENT
      RunActivity:soapbatch.wait              SERVER
    StartActivity:soapbatch.save              CLIENT
      RunActivity:soapbatch.save              SERVER
        Batch/GetBatchTaskInfo                CLIENT
          POST                                CLIENT
            Batch/GetBatchTaskInfo            SERVER
        BLOB/GetOutputFromBatch               CLIENT
          POST                                CLIENT
            BLOB/GetOutputFromBatch           SERVER
    StartActivity:soapbatch.cleanup           CLIENT
      RunActivity:soapbatch.cleanup           SERVER
        BLOB/CleanupBatchTask                 CLIENT
          POST                                CLIENT
            BLOB/CleanupBatchTask             SERVER
    CompleteWorkflow:soapbatch.RunBatchJob    INTERNAL
job ended                                     INTERNAL -> RunActivity:soapbatch.wait"""
QUICK = Polling(first=0.05, floor=0.05, ceiling=0.1)


async def test_one_trace(target: str, tmp_path: Path) -> None:
    """Workflow, activities, calls, requests and operations of the server are one trace; readings of waits are not."""
    telemetry = Telemetry()
    server = NetServer()
    server.define_job("Export", duration=0.2, output=b"id;name\r\n")
    server.intercept(None, netserver_spans(telemetry.traces), times=None)

    async def connect(_: str) -> Client:
        return Client(
            "http://netserver.example",
            credentials=UsernamePassword("demo", "demo"),
            transport=httpx.ASGITransport(server),
            binding=Binding.SOAP11,
            hooks=telemetry.hooks(),
        )

    await fleet.connect(target)  # it is there
    temporal = await Temporal.connect(target, interceptors=[TracingInterceptor(telemetry.tracer)])
    queue = uuid.uuid4().hex
    plugin = SoapBatchPlugin(connect, save=tmp_path, polling=QUICK)
    async with Worker(temporal, task_queue=queue, plugins=[plugin]):
        with telemetry.tracer.start_as_current_span("service"):
            job = BatchJob("acme", "Export", output="contacts.csv")
            await temporal.execute_workflow(RunBatchJob.run, job, id=queue, task_queue=queue)
    assert telemetry.tree() == TREE
    (ended,) = telemetry.spans("job ended")
    assert len({trace_of(span) for span in telemetry.spans() if span is not ended}) == 1
    assert server.counts["GetBatchTaskInfo"] > 2
