"""A tenant's address in the corners: errors after a move, and answers that come while a request is under way."""

import asyncio

import pytest

from soapbatch import (
    ConnectFailed,
    ConnectionLost,
    HttpError,
    SoapBatchError,
    TenantMoved,
    TenantUnavailable,
    UnreadableResponse,
)
from soapbatch.testing import answering, delayed
from tests.support.clients import now, virtual
from tests.support.online import TENANT, Lines, service

SOD, OLD, NEW = (
    "sod.superoffice.com",
    f"https://sod2.superoffice.com/{TENANT}",
    f"https://sod3.superoffice.com/{TENANT}",
)


class Sending:
    """Fails by script.

    Attributes:
        urls: where it was sent.
    """

    def __init__(self, *outcomes: SoapBatchError | str) -> None:
        """Raise or return these."""
        self._outcomes = iter(outcomes)
        self.urls: list[str] = []

    async def __call__(self, base_url: str) -> str:
        """Play the next outcome."""
        self.urls.append(base_url)
        outcome = next(self._outcomes)
        if isinstance(outcome, SoapBatchError):
            raise outcome
        return outcome


@pytest.mark.parametrize("second", [ConnectionLost("cut"), ConnectFailed("refused"), HttpError("500", status=500)])
@virtual
async def test_the_second_error_is_raised_as_it_is(second: SoapBatchError) -> None:
    """Unless it is a 421 again; an address that refuses connections is forgotten, too."""
    async with service() as here:
        place = here.app.tenant(TENANT)
        assert await place.base_url() == OLD
        here.online.move(TENANT, "sod3.superoffice.com")
        send = Sending(TenantMoved("moved", status=421), second)
        with pytest.raises(type(second)) as raising:
            await place.deliver(send)
        assert raising.value is second
        assert send.urls == [OLD, NEW]
        await place.base_url()
        assert here.online.counts["state"] == (3 if isinstance(second, ConnectFailed) else 2)


@virtual
async def test_another_call_has_learned_the_new_address() -> None:
    """A request that was sent to the old one is repeated at once: nobody has to ask again."""
    async with service() as here:
        place = here.app.tenant(TENANT)

        async def send(base_url: str) -> str:
            if base_url == NEW:
                return "here"
            here.online.move(TENANT, "sod3.superoffice.com")
            place.forget()
            await place.base_url()
            raise TenantMoved("moved", status=421)

        assert await place.deliver(send) == "here"
        assert here.online.counts["state"] == 2


@virtual
async def test_no_address_is_left() -> None:
    """The tenant stopped while the request was under way, and the sign-in host is gone: a note says so."""
    async with service(lines=True) as here:
        place, lines = here.app.tenant(TENANT), here.app._transport
        assert isinstance(lines, Lines)

        async def send(_: str) -> str:
            here.online.set_state(TENANT, "OfflineMaintenance")
            place.forget()
            await place.state()
            await asyncio.sleep(60)
            lines.refused.add(SOD)
            raise ConnectFailed("refused")

        with pytest.raises(ConnectFailed, match="refused") as raising:
            await place.deliver(send)
        assert f"the state of tenant {TENANT} cannot be had" in raising.value.__notes__[0]


@virtual
async def test_a_tenant_that_stopped_while_a_request_was_under_way() -> None:
    """The state is the better reason, and `applied` is the request's."""
    async with service() as here:
        place = here.app.tenant(TENANT)

        async def send(_: str) -> str:
            here.online.set_state(TENANT, "Suspended")
            await asyncio.sleep(10)
            raise UnreadableResponse("page", excerpt="<!DOCTYPE HTML><HTML>", applied="unknown")

        with pytest.raises(TenantUnavailable) as raising:
            await place.deliver(send)
        assert (raising.value.applied, raising.value.state) == ("unknown", "Suspended")
        assert isinstance(raising.value.__cause__, UnreadableResponse)


@virtual
async def test_how_long_an_answer_is_used() -> None:
    """Until its ValidUntil; then on in the background; after an hour callers wait for a new one."""
    async with service() as here:
        place = here.app.tenant(TENANT)
        here.online.intercept("state", delayed(5), times=None)
        for rest, seconds, states in ((0, 5, 1), (290, 0, 1), (10, 0, 2), (10, 0, 2), (3580, 0, 3), (4000, 5, 4)):
            await asyncio.sleep(rest)
            started = now()
            await place.base_url()
            assert now() - started == seconds
            await asyncio.sleep(0)
            assert here.online.counts["state"] == states


@virtual
async def test_a_tenant_that_does_not_run_is_asked_for_every_30_s() -> None:
    """However many calls there are; the error says when it is worth trying again."""
    async with service() as here:
        place = here.app.tenant(TENANT)
        here.online.set_state(TENANT, "OfflineMaintenance")
        waits = list[float | None]()
        for _ in range(6):
            with pytest.raises(TenantUnavailable) as raising:
                await place.base_url()
            waits.append(raising.value.retry_after)
            await asyncio.sleep(10)
        assert waits == [30, 20, 10, 30, 20, 10]
        assert here.online.counts["state"] == 2
        with pytest.raises(TenantUnavailable):
            (await place.state()).base_url()


@virtual
async def test_the_state_can_be_asked_for() -> None:
    """It holds like any other answer; an error is raised even where an address is known."""
    async with service() as here:
        place = here.app.tenant(TENANT)
        first = await place.state()
        assert (first.endpoint, first.is_running) == (OLD, True)
        assert await place.state() is first
        place.forget()
        here.online.intercept("state", answering(500))
        with pytest.raises(HttpError, match="HTTP 500"):
            await place.state()
        assert await place.base_url() == OLD
