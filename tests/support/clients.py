"""How tests put a client and a server together: in process, over a script, on virtual time."""

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import httpx

from soapbatch import Binding, Client, ServiceVersion
from soapbatch.model import ReplyHeader
from soapbatch.operations import Operation
from soapbatch.soap.builder import build_response
from soapbatch.testing import NetServer, run_virtual
from soapbatch.transport.send_state import EXTENSION, SendState
from tests.support.fault_server import Answer as FaultAnswer, Seen

T = TypeVar("T")
BASE = "https://netserver.example/SuperOffice"


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Return an `async def` test as a plain one that runs on virtual time and leaves no task behind."""

    async def leaving_no_task(*args: object, **kwargs: object) -> None:
        await test(*args, **kwargs)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        run_virtual(leaving_no_task(*args, **kwargs))

    return run


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it looks at knows nothing of events
            await asyncio.sleep(0)


async def collect(stream: AsyncIterator[T], into: list[T], *, rest: float = 0) -> None:
    """Put what `stream` yields into a list, resting for some seconds before each."""
    async for item in stream:
        await asyncio.sleep(rest)
        into.append(item)


def names(folder: Path) -> list[str]:
    """Return the names of what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def open_files() -> set[str]:
    """Return the open file descriptors, where the system tells."""
    folder = Path("/proc/self/fd")
    return set(names(folder)) if folder.is_dir() else set()


def now() -> float:
    """Return the running loop's time."""
    return asyncio.get_running_loop().time()


def in_process(server: NetServer, **options: Any) -> Client:
    """Return a client of an embedded server, without a socket; it has a ticket unless `options` say otherwise."""
    if not {"ticket", "credentials"} & options.keys():
        options["ticket"] = server.tickets.issue()
    return Client(BASE, transport=httpx.ASGITransport(server), **options)


@attrs.define
class Reply:
    """A response by script.

    Attributes:
        status: of HTTP.
        headers: by name.
        body: pieces, seconds to wait, and exceptions to raise.
        closed: how often it was closed.
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: Iterable[bytes | float | Exception] = ()
    closed: int = 0


class _Body(httpx.AsyncByteStream):
    """The body of a `Reply` as it arrives."""

    def __init__(self, reply: Reply) -> None:
        """Play the body of `reply`."""
        self._reply = reply
        self._parts = iter(reply.body)

    def __aiter__(self) -> "_Body":
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece."""
        for part in self._parts:
            if isinstance(part, bytes):
                return part
            if isinstance(part, Exception):
                raise part
            await asyncio.sleep(part)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Count."""
        self._reply.closed += 1


def answer(
    operation: Operation[Any],
    result: object = None,
    *,
    version: ServiceVersion = ServiceVersion.V88,
    header: ReplyHeader | None = None,
) -> bytes:
    """Return the envelope with which a server answers `operation`, in SOAP 1.1."""
    header = header or ReplyHeader(succeeded=True)
    return build_response(operation, result, version=version, binding=Binding.SOAP11, header=header)


def replying(operation: Operation[Any], result: object = None, **options: Any) -> Reply:
    """Return the reply to `operation`, whole."""
    return Reply(body=[answer(operation, result, **options)])


@attrs.frozen
class Step:
    """What becomes of one request.

    Attributes:
        outcome: the answer, or what is raised.
        phases: names of `SendState.phase`, and the seconds that each takes.
    """

    outcome: Reply | BaseException
    phases: tuple[tuple[str, float], ...] = ()


@attrs.frozen
class Sent:
    """A request that a script was sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)


class Script(httpx.AsyncBaseTransport):
    """A transport that plays steps, the last one again and again.

    Attributes:
        requests: what was sent.
        times: when, by the loop's clock.
        closed: how often it was closed.
    """

    def __init__(self, *steps: Step | Reply | BaseException) -> None:
        """Play `steps`."""
        self._steps = deque(step if isinstance(step, Step) else Step(step) for step in steps)
        self.requests: list[Sent] = []
        self.times: list[float] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Play the next step."""
        headers = {name.decode(): value.decode() for name, value in request.headers.raw}
        self.requests.append(Sent(str(request.url), headers, await request.aread()))
        self.times.append(now())
        state: SendState = request.extensions[EXTENSION]
        state.phase, state.sent = "queueing", False
        step = self._steps.popleft() if len(self._steps) > 1 else self._steps[0]
        for phase, seconds in step.phases:
            state.phase = phase
            state.sent = state.sent or phase in {"sending", "waiting", "reading"}
            await asyncio.sleep(seconds)
        if isinstance(step.outcome, BaseException):
            raise step.outcome
        state.phase, state.sent = "reading", True
        reply = step.outcome
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(reply))

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


def scripted(*steps: Step | Reply | BaseException, **options: Any) -> tuple[Client, Script]:
    """Return a client of a script, in SOAP 1.1 unless `options` say otherwise, and the script."""
    script = Script(*steps)
    settings: dict[str, Any] = {"ticket": "7T:dGlja2V0", "binding": Binding.SOAP11} | options
    return Client(BASE, transport=script, **settings), script


def upstream_of(server: NetServer) -> Callable[[bytes, Mapping[str, str]], Coroutine[Any, Any, FaultAnswer]]:
    """Return an embedded server as what stands behind a `FaultServer`."""

    async def upstream(body: bytes, headers: Mapping[str, str]) -> FaultAnswer:
        version, agent, _ = Seen("", headers).action.rsplit("/", 2)
        requests = iter([{"type": "http.request", "body": body}])
        started: dict[str, Any] = {}
        pieces: list[bytes] = []

        async def receive() -> Any:
            return next(requests, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            started.update(message)
            pieces.append(message.get("body", b""))

        scope = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": f"/Remote/{version.rpartition('/')[2]}/{agent}.svc",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await server(scope, receive, send)
        names = {name.decode(): value.decode() for name, value in started["headers"] if name != b"content-length"}
        return started["status"], names, b"".join(pieces)

    return upstream
