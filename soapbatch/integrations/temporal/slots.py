"""At most n running jobs a tenant: slots, which one Temporal workflow a tenant hands out. See `BatchJob.max_running`.

Rule 1. A job that has a limit asks for a slot before it starts, and gives the slot back after its end. The workflow
        `soapbatch/slots/<tenant>` hands slots out in the order of the requests.
Rule 2. The limit of the latest request holds for the tenant.
Rule 3. A holder whose workflow has been closed (terminated, timed out, deleted) does not give its slot back. While
        others wait, an activity looks for such holders every 60 seconds.
Rule 4. The workflow ends when nobody holds a slot or waits for one, and begins anew with the next request.

A waiting job costs nothing: it is a workflow that waits for a signal.
"""

# Some hints of Temporal name a bare Callable.
# pyright: reportUnknownMemberType=false

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from temporalio import activity, workflow
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError, RPCStatusCode

RECHECK: Final = timedelta(seconds=60)
"""How often holders are looked at while others wait, and how long the workflow outlives the last holder."""

_SLOTS: Final = "soapbatch/slots/"  # followed by the tenant: the id of the workflow that hands out its slots
_GRANTED: Final = "soapbatch.granted/"  # followed by the token: the name of the signal that grants a slot
_ATTEMPT_TIMEOUT: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class SlotRequest:
    """A request for a slot.

    Attributes:
        tenant: whose slots.
        limit: how many of them there are.
        workflow_id: the workflow that asks.
        run_id: its run.
        token: tells the request from all others.
    """

    tenant: str
    limit: int
    workflow_id: str
    run_id: str
    token: str


@dataclass
class Slots:
    """The slots of one tenant.

    Attributes:
        limit: how many there are.
        holders: who has one.
        waiting: who waits for one, in order.
    """

    limit: int = 1
    holders: list[SlotRequest] = field(default_factory=list[SlotRequest])
    waiting: list[SlotRequest] = field(default_factory=list[SlotRequest])

    def remove(self, token: str) -> None:
        """Forget a request, whether it holds a slot or waits for one."""
        self.holders = [request for request in self.holders if request.token != token]
        self.waiting = [request for request in self.waiting if request.token != token]


@workflow.defn(name="soapbatch.TenantSlots", sandboxed=False)
class TenantSlots:
    """The workflow that hands out the slots of one tenant."""

    @workflow.init
    def __init__(self, slots: Slots) -> None:
        """Begin with the slots of the run before."""
        self._slots = slots
        self._changes = 0

    @workflow.run
    async def run(self, slots: Slots) -> None:
        """Hand out slots until nobody needs them any more."""
        del slots  # __init__ has them
        while True:
            while self._slots.waiting and len(self._slots.holders) < self._slots.limit:
                await self._grant()
            if _is_history_long():
                workflow.continue_as_new(self._slots)
            is_idle = not self._slots.holders and not self._slots.waiting
            if await self._has_news(RECHECK if is_idle or self._slots.waiting else None):
                continue
            if is_idle:
                return
            await self._forget_closed()

    @workflow.query
    def slots(self) -> Slots:
        """Return who has a slot, and who waits for one."""
        return self._slots

    @workflow.signal
    def acquire(self, request: SlotRequest) -> None:
        """Take a request for a slot; one that is known already changes nothing."""
        self._changes += 1
        self._slots.limit = request.limit
        if all(known.token != request.token for known in self._slots.holders + self._slots.waiting):
            self._slots.waiting.append(request)

    @workflow.signal
    def release(self, token: str) -> None:
        """Take a slot back."""
        self._changes += 1
        self._slots.remove(token)

    async def _has_news(self, timeout: timedelta | None) -> bool:  # noqa: ASYNC109 - a timer of the workflow
        """Wait until a signal has come, and return True; False: `timeout` has passed."""
        before = self._changes
        try:
            await workflow.wait_condition(lambda: self._changes != before, timeout=timeout)
        except TimeoutError:
            return False
        return True

    async def _grant(self) -> None:
        request = self._slots.waiting.pop(0)
        self._slots.holders.append(request)
        waiter = workflow.get_external_workflow_handle(request.workflow_id, run_id=request.run_id)
        try:
            await waiter.signal(_GRANTED + request.token)
        except ApplicationError:  # the workflow has been closed
            self._slots.remove(request.token)

    async def _forget_closed(self) -> None:
        """Take back the slots of closed workflows (Rule 3)."""
        closed = await workflow.execute_activity(
            closed_holders, self._slots.holders, start_to_close_timeout=_ATTEMPT_TIMEOUT
        )
        for token in closed:
            self._slots.remove(token)


def _is_history_long() -> bool:
    return workflow.info().is_continue_as_new_suggested()


@activity.defn(name="soapbatch.acquire")
async def acquire_slot(request: SlotRequest) -> None:
    """Ask for a slot; the tenant's workflow is started if it does not run."""
    await activity.client().start_workflow(
        TenantSlots.run,
        Slots(request.limit),
        id=_SLOTS + request.tenant,
        task_queue=activity.info().task_queue,
        start_signal="acquire",
        start_signal_args=[request],
    )


@activity.defn(name="soapbatch.closed_holders")
async def closed_holders(holders: Sequence[SlotRequest]) -> list[str]:
    """Return the tokens of the requests whose workflows do not run any more."""
    closed: list[str] = []
    for request in holders:
        handle = activity.client().get_workflow_handle(request.workflow_id, run_id=request.run_id)
        try:
            status = (await handle.describe()).status
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            status = None
        if status != WorkflowExecutionStatus.RUNNING:
            closed.append(request.token)
    return closed


async def hold_slot(tenant: str, limit: int) -> str:
    """Wait, inside a workflow, until the tenant has a slot; return the token by which it is given back.

    A cancellation gives the slot, or the request, back.
    """
    info = workflow.info()
    token = workflow.uuid4().hex
    is_granted = False

    def grant() -> None:
        nonlocal is_granted
        is_granted = True

    workflow.set_signal_handler(_GRANTED + token, grant)
    request = SlotRequest(tenant, limit, info.workflow_id, info.run_id, token)
    try:
        await workflow.execute_activity(acquire_slot, request, start_to_close_timeout=_ATTEMPT_TIMEOUT)
        await workflow.wait_condition(lambda: is_granted)
    except (asyncio.CancelledError, ActivityError):
        await release_slot(tenant, token)
        raise
    return token


async def release_slot(tenant: str, token: str) -> None:
    """Give the slot of `token` back, inside a workflow."""
    workflow.set_signal_handler(_GRANTED + token, None)
    slots = workflow.get_external_workflow_handle_for(TenantSlots.run, _SLOTS + tenant)
    try:
        await slots.signal(TenantSlots.release, token)
    except ApplicationError:  # the tenant's workflow has ended: there was no slot to give back
        workflow.logger.debug("there is no slot to give back", extra={"tenant": tenant})
