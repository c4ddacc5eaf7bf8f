"""Calls a second, and CPU time a call, against a server in another process; with many callers at a time."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, Final, TypeAlias

import httpx
import zeep
from soapbatch.aiohttp import aiohttp_transport

from soapbatch import Client
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.soap.builder import build_request
from soapbatch.transport.sending import Transport
from tests.bench.case import SOAPBATCH, ZEEP, Case, Plan, Sample, Target
from tests.bench.inputs import BINDING, TICKET, TOKEN, VERSION
from tests.bench.peers import batch_wsdl, zeep_headers
from tests.bench.server import serving

Call: TypeAlias = Callable[[], Awaitable[object]]

AIOHTTP: Final = "soapbatch, aiohttp"
HTTPX: Final = "httpx"
_ID: Final = 100_000
_PER_SECOND: Final = "calls/s"
_TARGETS: Final = {
    1: (Target(of=SOAPBATCH, to=HTTPX, at_least=0.9, unit=_PER_SECOND),),
    64: (
        Target(of=SOAPBATCH, to=HTTPX, at_least=4, unit=_PER_SECOND),
        Target(of=SOAPBATCH, to=ZEEP, at_least=4, unit=_PER_SECOND),
        Target(of=AIOHTTP, to=ZEEP, at_least=9, unit=_PER_SECOND),
    ),
}


def cases(plan: Plan) -> Iterator[Case]:
    """Yield growing numbers of callers."""
    for callers in plan.concurrency:
        yield Case(
            topic="calls",
            name=GET_BATCH_TASK_INFO.name,
            size=callers,
            of="callers",
            units=(_PER_SECOND, "us CPU"),
            contenders=partial(_contenders, callers, plan.call_seconds),
            targets=_TARGETS.get(callers, ()),
        )


def _contenders(callers: int, seconds: float, stack: ExitStack) -> Mapping[str, Sample]:
    base_url = stack.enter_context(serving())
    runner = stack.enter_context(asyncio.Runner())
    clients = AsyncExitStack()
    stack.callback(lambda: runner.run(clients.aclose()))

    def sample(call: Call, seconds: float) -> tuple[float, float]:
        return runner.run(_measure(call, callers, seconds))

    found: dict[str, Sample] = {}
    for name, make in _MAKERS.items():
        call = runner.run(make(base_url, clients))
        sample(call, 0.0)  # connections are opened
        found[name] = partial(sample, call, seconds)
    return found


async def _measure(call: Call, callers: int, seconds: float) -> tuple[float, float]:
    """Return calls a second and microseconds of CPU time a call, of callers who each call again and again."""
    done = 0
    started, cpu = time.perf_counter(), time.process_time()

    async def caller() -> None:
        nonlocal done
        while True:
            await call()
            done += 1
            if time.perf_counter() - started >= seconds:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return done / (time.perf_counter() - started), (time.process_time() - cpu) / done * 1e6


async def _soapbatch(base_url: str, clients: AsyncExitStack, transport: Transport | None = None) -> Call:
    client = Client(
        base_url, ticket=TICKET, application_token=TOKEN, version=VERSION, binding=BINDING, transport=transport
    )
    await clients.enter_async_context(client)
    return partial(client.batch.get_batch_task_info, _ID)


async def _soapbatch_aiohttp(base_url: str, clients: AsyncExitStack) -> Call:
    return await _soapbatch(base_url, clients, aiohttp_transport())


async def _zeep(base_url: str, clients: AsyncExitStack) -> Call:
    client = zeep.AsyncClient(io.BytesIO(batch_wsdl(base_url)))  # type: ignore[no-untyped-call]  # zeep has no type hints
    clients.push_async_callback(client.transport.aclose)
    return partial(client.service.GetBatchTaskInfo, _ID, _soapheaders=zeep_headers())


async def _httpx(base_url: str, clients: AsyncExitStack) -> Call:
    """Post prebuilt bytes through one shared client, and read the answer without looking at it."""
    client = await clients.enter_async_context(httpx.AsyncClient(timeout=None))  # noqa: S113 - nobody hangs here
    request = build_request(
        GET_BATCH_TASK_INFO, {"id": _ID}, version=VERSION, binding=BINDING, application_token=TOKEN, ticket=TICKET
    )
    return partial(client.post, f"{base_url}{request.path}", content=request.body, headers=dict(request.headers))


_MAKERS: Final[Mapping[str, Callable[[str, AsyncExitStack], Coroutine[Any, Any, Call]]]] = {
    SOAPBATCH: _soapbatch,
    AIOHTTP: _soapbatch_aiohttp,
    ZEEP: _zeep,
    HTTPX: _httpx,
}
