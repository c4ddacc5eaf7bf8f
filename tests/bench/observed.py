"""What hooks cost: CPU time of a call over a transport that answers at once, without hooks and with them.

OpenTelemetry's SDK records two spans and a point of a histogram for each call; its spans are thrown away.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, nullcontext
from functools import partial
from typing import Final

import httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from soapbatch import Client, Hooks
from soapbatch.calls import CallEndEvent, ResponseEvent
from soapbatch.integrations.opentelemetry import OpenTelemetry
from soapbatch.operations import GET_BATCH_TASK_INFO
from tests.bench.case import SOAPBATCH, Case, Plan, Sample, Target, timed
from tests.bench.inputs import BINDING, TICKET, TOKEN, VERSION, reply_with_one

SCOPES: Final = "with scopes"
EXCHANGES: Final = "with on_exchange"
API: Final = "OpenTelemetry, no SDK"
SDK: Final = "OpenTelemetry"
_ID: Final = 100_000
_CALLS: Final = 50


def cases(plan: Plan) -> Iterator[Case]:
    """Yield one: without hooks, with scopes, with exchanges, with OpenTelemetry's API alone, and with its SDK."""
    yield Case(
        topic="hooks",
        name=GET_BATCH_TASK_INFO.name,
        size=1,
        of="caller",
        contenders=partial(_contenders, plan.seconds * 4),
        targets=(Target(of=SCOPES, to=SOAPBATCH, at_most=1.15),),
        rounds=plan.rounds * 3,
    )


def _contenders(seconds: float, stack: ExitStack) -> Mapping[str, Sample]:
    traces, meters = TracerProvider(shutdown_on_exit=False), MeterProvider([InMemoryMetricReader()])
    traces.add_span_processor(SpanProcessor())
    stack.callback(meters.shutdown)
    scope = _Scope()
    hooks = {
        SOAPBATCH: None,
        SCOPES: Hooks(around_call=lambda _: nullcontext(scope), around_request=lambda _, __: nullcontext(scope)),
        EXCHANGES: Hooks(on_exchange=lambda _: None),
        API: OpenTelemetry(),
        SDK: OpenTelemetry(tracer_provider=traces, meter_provider=meters),
    }
    runner = stack.enter_context(asyncio.Runner())
    clients = AsyncExitStack()
    stack.callback(lambda: runner.run(clients.aclose()))
    transport, found = _Null(), dict[str, Sample]()
    for name, each in hooks.items():
        client = Client(
            "https://netserver.example",
            ticket=TICKET,
            application_token=TOKEN,
            version=VERSION,
            binding=BINDING,
            transport=transport,
            hooks=each,
        )
        clients.push_async_callback(client.aclose)
        found[name] = timed(lambda client=client: runner.run(_calls(client)), seconds=seconds, per=_CALLS)  # type: ignore[misc]
    return found


async def _calls(client: Client) -> None:
    for _ in range(_CALLS):
        await client.batch.get_batch_task_info(_ID)


class _Scope:
    """A scope that does nothing."""

    headers: Mapping[str, str] = {}

    def ended(self, event: CallEndEvent | ResponseEvent) -> None:
        """Take no note."""


class _Null(httpx.AsyncBaseTransport):
    """A transport that answers at once."""

    def __init__(self) -> None:
        """Build the answer."""
        self._body = reply_with_one()

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        """Answer."""
        return httpx.Response(200, headers={"Content-Type": "text/xml; charset=utf-8"}, content=self._body)
