"""Calls a second, and CPU time a call, against a server in another process; with many callers at a time.

One more case asks what the client itself costs: the CPU time of its call, less that of the bare transport, which sends
the same prebuilt request and reads the same answer without parsing it.
"""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, Final, TypeAlias

import httpx
import zeep

from soapbatch import Client, ConnectionPool
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.soap import Request
from tests.bench.case import SOAPBATCH, ZEEP, Case, Plan, Sample, Target
from tests.bench.inputs import BINDING, TICKET, TOKEN, VERSION, request_for_one
from tests.bench.peers import batch_wsdl, zeep_headers
from tests.bench.server import serving

Call: TypeAlias = Callable[[], Awaitable[object]]
Maker: TypeAlias = Callable[[str, AsyncExitStack], Coroutine[Any, Any, Call]]
"""Takes the server's base URL and a stack for what must be closed; returns a call to measure."""
Measure: TypeAlias = Callable[[int, float], tuple[float, float]]
"""Takes callers and seconds; returns calls a second and microseconds of CPU time a call."""

HTTPX: Final = "httpx"
BARE: Final = "bare transport"
BEYOND: Final = "beyond the transport"
_ID: Final = 100_000
_PER_SECOND: Final = "calls/s"
_CPU: Final = "us CPU"
_TARGETS: Final = {
    1: (Target(of=SOAPBATCH, to=HTTPX, at_least=0.9, unit=_PER_SECOND),),
    64: (
        Target(of=SOAPBATCH, to=HTTPX, at_least=4, unit=_PER_SECOND),
        Target(of=SOAPBATCH, to=ZEEP, at_least=10, unit=_PER_SECOND),
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
            units=(_PER_SECOND, _CPU),
            contenders=partial(_contenders, callers, plan.call_seconds),
            targets=_TARGETS.get(callers, ()),
        )
    yield Case(
        topic="calls",
        name=f"{GET_BATCH_TASK_INFO.name}, what the client adds",
        size=1,
        of="callers",
        units=(_CPU,),
        contenders=partial(_beside_the_transport, plan.call_seconds),
        targets=(Target(of=BEYOND, at_most=110, unit=_CPU),),
    )


def _contenders(callers: int, seconds: float, stack: ExitStack) -> Mapping[str, Sample]:
    return {name: partial(measure, callers, seconds) for name, measure in _ready(_MAKERS, callers, stack).items()}


def _beside_the_transport(seconds: float, stack: ExitStack) -> Mapping[str, Sample]:
    measures = _ready({SOAPBATCH: _soapbatch, BARE: _bare}, 1, stack)

    def cpu(name: str) -> float:
        return measures[name](1, seconds)[1]

    return {
        SOAPBATCH: lambda: (cpu(SOAPBATCH),),
        BARE: lambda: (cpu(BARE),),
        BEYOND: lambda: (cpu(SOAPBATCH) - cpu(BARE),),
    }


def _ready(makers: Mapping[str, Maker], callers: int, stack: ExitStack) -> Mapping[str, Measure]:
    """Return what measures each maker's call against one server. Their connections are open."""
    base_url = stack.enter_context(serving())
    runner = stack.enter_context(asyncio.Runner())
    clients = AsyncExitStack()
    stack.callback(lambda: runner.run(clients.aclose()))

    def measure(call: Call, callers: int, seconds: float) -> tuple[float, float]:
        return runner.run(_measure(call, callers, seconds))

    found: dict[str, Measure] = {}
    for name, make in makers.items():
        found[name] = partial(measure, runner.run(make(base_url, clients)))
        found[name](callers, 0.0)  # opens the connections
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


async def _soapbatch(base_url: str, clients: AsyncExitStack) -> Call:
    client = Client(base_url, ticket=TICKET, application_token=TOKEN, version=VERSION, binding=BINDING)
    await clients.enter_async_context(client)
    return partial(client.batch.get_batch_task_info, _ID)


async def _bare(base_url: str, clients: AsyncExitStack) -> Call:
    transport = ConnectionPool()
    clients.push_async_callback(transport.aclose)
    request = request_for_one(_ID)
    return partial(bare, transport, httpx.URL(f"{base_url}{request.path}"), request)


async def bare(transport: httpx.AsyncBaseTransport, url: httpx.URL, request: Request) -> int:
    """Send a prebuilt request through a transport by hand, and return the bytes of its answer without parsing them."""
    headers = [("Host", url.netloc.decode()), ("Content-Length", str(len(request.body))), *request.headers.items()]
    response = await transport.handle_async_request(
        httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(request.body))
    )
    assert isinstance(response.stream, httpx.AsyncByteStream)
    received = 0
    async for chunk in response.stream:
        received += len(chunk)
    await response.stream.aclose()
    return received


async def _zeep(base_url: str, clients: AsyncExitStack) -> Call:
    client = zeep.AsyncClient(io.BytesIO(batch_wsdl(base_url)))  # type: ignore[no-untyped-call]  # zeep has no type hints
    clients.push_async_callback(client.transport.aclose)
    return partial(client.service.GetBatchTaskInfo, _ID, _soapheaders=zeep_headers())


async def _httpx(base_url: str, clients: AsyncExitStack) -> Call:
    """Post prebuilt bytes through one shared client, and read the answer without looking at it."""
    client = await clients.enter_async_context(httpx.AsyncClient(timeout=None))  # noqa: S113 - nobody hangs here
    request = request_for_one(_ID)
    return partial(client.post, f"{base_url}{request.path}", content=request.body, headers=dict(request.headers))


_MAKERS: Final[Mapping[str, Maker]] = {SOAPBATCH: _soapbatch, ZEEP: _zeep, HTTPX: _httpx}
