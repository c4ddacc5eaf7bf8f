"""Recorded histories are replayed, so that a release does not break workflows that run while it is deployed."""

import asyncio
import json
import types
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from soapbatch import Client
from soapbatch.integrations.temporal import BatchJob, RunBatchJob, SoapBatchPlugin, workflow as workflow_module
from soapbatch.integrations.temporal.slots import TenantSlots
from tests.support.fleet import APPLICATION_TOKEN, PASSWORD, texts

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def history_of(path: Path) -> WorkflowHistory:
    """Return a recorded history."""
    return WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """The workflow sends the same commands again as when the history was recorded; the plugin is of no matter."""
    await Replayer(workflows=[RunBatchJob, TenantSlots]).replay_workflow(history_of(path))

    async def connect(_: str) -> Client:
        raise AssertionError("a replay connects to nobody")

    await Replayer(workflows=[], plugins=[SoapBatchPlugin(connect)]).replay_workflow(history_of(path))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_tells_no_secret(path: Path) -> None:
    """Neither password nor application token nor ticket stands in a history, in any payload."""
    found = "\n".join(texts(json.loads(path.read_text(encoding="utf-8"))))
    assert "soapbatch." in found
    for secret in (PASSWORD, APPLICATION_TOKEN, "7T:"):
        assert secret not in found


async def test_a_change_of_the_workflow_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow that does something else than before does not replay."""
    path = next(path for path in HISTORIES if path.stem.endswith("-succeeded"))
    monkeypatch.setattr(workflow_module._Run, "_fetch", _fetch_nothing)
    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[RunBatchJob]).replay_workflow(history_of(path))


async def _fetch_nothing(_: object) -> None:
    """Take the place of the activities that save the output."""


def test_a_workflow_that_its_worker_forgets_awaits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python closes the coroutine of a workflow that holds a slot: it ends at once, and the slot stays as it is."""

    async def waits(*_: object) -> str:
        await asyncio.sleep(0)
        return "token"

    info = types.SimpleNamespace(workflow_id="w", run_id="r")
    monkeypatch.setattr(workflow_module.workflow, "info", lambda: info)  # type: ignore[attr-defined] # Temporal's module
    for owner, name in ((workflow_module._Run, "until_slot"), (workflow_module._Run, "to_the_end")):
        monkeypatch.setattr(owner, name, waits)
    monkeypatch.setattr(workflow_module, "release_slot", waits)
    coroutine = workflow_module.run_batch_job(BatchJob(tenant="acme", name="Export", max_running=1), key="k")
    coroutine.send(None)  # waits for its slot
    coroutine.send(None)  # has it, and waits for the end
    coroutine.close()
