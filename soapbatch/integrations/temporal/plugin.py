"""What an application uses: the plugin of its workers, and a look at how far a job is."""

# Some hints of Temporal name a bare Callable.
# pyright: reportUnknownMemberType=false

import dataclasses
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from temporalio.client import WorkflowHandle
from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.integrations.temporal.activities import Activities, Save
from soapbatch.integrations.temporal.data import MEMO, BatchJobProgress, TaskFacts
from soapbatch.integrations.temporal.slots import TenantSlots, acquire_slot, closed_holders
from soapbatch.integrations.temporal.workflow import RunBatchJob
from soapbatch.jobs import Polling
from soapbatch.tenants import IDLE, Tenants

MAX_ACTIVITIES: Final = 10_000
"""How many activities a worker with the plugin runs at once, unless the application sets a number: a wait is cheap."""


class SoapBatchPlugin(SimplePlugin):
    """The plugin of a worker that runs batch jobs: activities, workflows, and clients of tenants.

    It may be given to a Temporal client instead, whose workers then all have it, and to a Replayer.
    """

    def __init__(
        self,
        connect: Callable[[str], Awaitable[Client]],
        *,
        save: Save | str | os.PathLike[str] = ".",
        transport: AbstractAsyncContextManager[object] | None = None,
        idle: float = IDLE,
        polling: Polling | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            connect: async callable that makes the client of a tenant. It knows the secrets: no workflow does.
            save: where the outputs of jobs go: an async callable, or a folder of the worker's machine, in which each
                tenant gets a folder.
            transport: see `Tenants`.
            idle: see `Tenants`.
            polling: how often waits read tasks.

        Raises:
            UsageError: an argument that cannot be used.
        """
        if not callable(save) and not isinstance(save, str | os.PathLike):
            raise UsageError("save= is an async callable of a job and its output, or a path of a folder")
        self._connect = connect
        self._transport = transport
        self._idle = idle
        self._tenants = self._new_tenants()
        self._workers = 0
        target = save if callable(save) else Path(save)
        activities = Activities(lambda: self._tenants, target, polling or Polling())
        super().__init__(
            "soapbatch.SoapBatchPlugin",
            activities=[
                activities.start,
                activities.wait,
                activities.save,
                activities.cleanup,
                activities.stop,
                acquire_slot,
                closed_holders,
            ],
            workflows=[RunBatchJob, TenantSlots],
            workflow_runner=_with_soapbatch,
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add activities and workflows, and room for many waits: with Temporal's 100, waits keep starts away."""
        if not config.get("max_concurrent_activities") and not config.get("tuner"):
            config["max_concurrent_activities"] = MAX_ACTIVITIES
        return super().configure_worker(config)

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Keep clients of tenants while the worker runs."""
        if not self._workers:
            self._tenants = self._new_tenants()
            await self._tenants.__aenter__()
        self._workers += 1
        try:
            await next(worker)
        finally:
            self._workers -= 1
            if not self._workers:
                await self._tenants.__aexit__(None, None, None)

    def _new_tenants(self) -> Tenants:
        return Tenants(self._connect, transport=self._transport, idle=self._idle)


def _with_soapbatch(runner: WorkflowRunner | None) -> WorkflowRunner:
    """Return the runner of workflows; its sandbox takes soapbatch as it is, and does not load it for each workflow."""
    runner = runner or SandboxedWorkflowRunner()
    if isinstance(runner, SandboxedWorkflowRunner):
        restrictions = runner.restrictions.with_passthrough_modules("soapbatch")
        runner = dataclasses.replace(runner, restrictions=restrictions)
    return runner


async def read_progress(handle: WorkflowHandle[Any, Any]) -> BatchJobProgress:
    """Return how far the job of a `RunBatchJob` is, with the percent of the last heartbeat. No worker is asked.

    A heartbeat reaches the Temporal server with a delay of up to 80 % of the heartbeat timeout.
    """
    description = await handle.describe()
    found = await description.memo_value(MEMO, None, type_hint=BatchJobProgress)
    progress = found or BatchJobProgress("queueing")
    for pending in description.raw_description.pending_activities:
        if pending.HasField("heartbeat_details"):
            details = await description.data_converter.decode(pending.heartbeat_details.payloads, [TaskFacts])
            progress = dataclasses.replace(progress, task=details[0])
    return progress
