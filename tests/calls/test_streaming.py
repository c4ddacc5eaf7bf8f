"""Streams: items while the answer arrives, in constant memory, with an honest end."""

import asyncio
import contextlib
import gc
import gzip
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from soapbatch import (
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ConnectionLost,
    DeadlineExceeded,
    Fault,
    LimitExceeded,
    Limits,
    OperationFailed,
    ProtocolError,
    SoapBatchError,
    UnexpectedResponse,
    UnreadableResponse,
)
from soapbatch.calls.agents import BatchAgent
from soapbatch.model import ReplyHeader
from soapbatch.model.services import SOAP11_ENVELOPE
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, GET_OUTPUT_FROM_BATCH
from soapbatch.testing import NetServer, serve
from soapbatch.testing.faults import fault
from soapbatch.transport.pool import ConnectionPool
from tests.support.clients import BASE, Reply, answer, collect, now, replying, scripted, until, virtual
from tests.support.fault_server import FaultServer

ALL: dict[str, Any] = {"state": BatchTaskState.ALL}
ENDS = b"</BatchTaskInfo>"


def tasks(count: int) -> bytes:
    """Return an answer with `count` tasks."""
    return answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=n, name=f"job {n}") for n in range(count)])


def split(whole: bytes) -> list[bytes]:
    """Cut an answer behind each task."""
    *items, rest = whole.split(ENDS)
    return [*(item + ENDS for item in items), rest]


Send = Callable[[bytes], Awaitable[None]]


@contextlib.asynccontextmanager
async def answering_slowly(respond: Callable[[Send], Awaitable[None]]) -> AsyncGenerator[str]:
    """Serve one answer to every request, written by `respond` as it likes, and yield the URL."""
    running: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)

        async def send(data: bytes) -> None:
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()

        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n")
            await respond(send)
            await send(b"")
        except (OSError, EOFError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            task.cancel()
        await until(lambda: not running)


def over_socket(url: str, limits: Limits | None = None) -> Client:
    """Return a client with one connection."""
    return Client(
        url, ticket="7T:dA==", binding=Binding.SOAP11, transport=ConnectionPool(max_connections=1), limits=limits
    )


# --- While it arrives ---------------------------------------------------------------------------------------------


async def test_the_first_task_comes_before_the_last_is_sent() -> None:
    """A server that waits with the second task until the first was seen, and so on, is read to its end."""
    seen: list[int | None] = []
    turn = asyncio.Event()

    async def respond(send: Send) -> None:
        for number, piece in enumerate(split(tasks(5))):
            while len(seen) < number:
                await turn.wait()
                turn.clear()
            await send(piece)

    async with answering_slowly(respond) as url, over_socket(url) as client:
        async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
            seen.append(task.id)
            turn.set()
    assert seen == [0, 1, 2, 3, 4]


async def test_a_consumer_that_rests_holds_up_the_server() -> None:
    """What the consumer does not take is not read: the server can send no more than the sockets hold."""
    head, *items, _ = split(tasks(2000))
    many = b"".join(items)
    sent = 0
    total = 600 * len(many)

    async def respond(send: Send) -> None:
        nonlocal sent
        await send(head)
        for _ in range(600):
            await send(many)
            sent += len(many)

    async with answering_slowly(respond) as url, over_socket(url) as client:
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
        async with contextlib.aclosing(stream):
            assert (await anext(stream)).id == 0
            before = -1
            while sent != before:
                before = sent
                for _ in range(100):
                    await asyncio.sleep(0)
            assert sent < total / 2
            assert [(await anext(stream)).id for _ in range(5000)][-1] == 5000 % 1999


async def test_an_output_arrives_in_pieces() -> None:
    """The first piece of an output can be had before the last is sent."""
    whole = answer(GET_OUTPUT_FROM_BATCH, bytes(30_000))
    turn = asyncio.Event()

    async def respond(send: Send) -> None:
        await send(whole[:20_000])
        await turn.wait()
        await send(whole[20_000:])

    async with answering_slowly(respond) as url, over_socket(url) as client:
        size = 0
        async for piece in client.blob.stream_output(1):
            turn.set()
            size += len(piece)
    assert size == 30_000


# --- Leaving early --------------------------------------------------------------------------------------------------


async def leave_by_break(client: Client) -> None:
    """Break out of the loop; the generator is collected."""
    async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
        break


async def leave_by_aclose(client: Client) -> None:
    """Close the generator."""
    stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
    await anext(stream)
    await stream.aclose()


async def leave_by_error(client: Client) -> None:
    """Raise within the loop."""
    with contextlib.suppress(LookupError):
        async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
            raise LookupError


async def leave_before_it_begins(client: Client) -> None:
    """Never ask for anything."""
    client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_aclose, leave_by_error, leave_before_it_begins])
async def test_an_abandoned_stream_gives_its_lane_back(leave: Callable[[Client], Awaitable[None]]) -> None:
    """With a single connection, the next call works after a stream was left, however it was."""
    server = NetServer()
    for n in range(3000):
        server.tasks.add(BatchTaskInfo(id=n + 1, state=BatchTaskState.NEW, description="x" * 200))
    async with serve(server) as url:
        client = Client(url, ticket=server.tickets.issue(), transport=ConnectionPool(max_connections=1))
        async with client:
            for _ in range(3):
                await leave(client)
                info = await client.batch.get_batch_task_info(1)
                assert info is not None


async def leave_by_a_failure(client: Client) -> None:
    """Let the answer turn out to be none."""
    with contextlib.suppress(UnexpectedResponse):
        async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
            raise UnexpectedResponse


class Generated(httpx.AsyncBaseTransport):
    """A foreign transport whose responses are read from a generator, as those of many are.

    Attributes:
        closed: how the generators ended.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.closed: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return a list of tasks, a piece at a time."""
        await request.aread()
        transport = self

        class Stream(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncGenerator[bytes, None]:
                whole = tasks(50)
                try:
                    for start in range(0, len(whole), 500):
                        yield whole[start : start + 500]
                finally:
                    await asyncio.sleep(0)
                    transport.closed.append("generator")

            async def aclose(self) -> None:
                transport.closed.append("stream")

        return httpx.Response(200, stream=Stream())


@pytest.mark.parametrize("leave", [leave_by_aclose, leave_by_error, leave_by_a_failure])
async def test_an_abandoned_stream_leaves_no_generator_open(leave: Callable[[Client], Awaitable[None]]) -> None:
    """The generator of a foreign transport is closed with the stream, and not by the garbage collector."""
    transport = Generated()
    async with Client(BASE, ticket="7T:dA==", binding=Binding.SOAP11, transport=transport) as client:
        gc.disable()
        try:
            await leave(client)
            await until(lambda: len(transport.closed) == 2)
        finally:
            gc.enable()
    assert transport.closed == ["generator", "stream"]


# --- The end is honest ----------------------------------------------------------------------------------------------

WHOLE = tasks(3)
HEADER_LAST = (
    WHOLE.replace(WHOLE[WHOLE.index(b"<s:Header>") : WHOLE.index(b"<s:Body>")], b"").removesuffix(b"</s:Envelope>")
    + b"<s:Header><Succeeded>false</Succeeded></s:Header></s:Envelope>"
)
HEADER_FIRST = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=1)], header=ReplyHeader(succeeded=False))
A_FAULT = b"".join(fault(SOAP11_ENVELOPE, "Server", "for a reason").body)


@pytest.mark.parametrize(
    ("reply", "error", "before"),
    [
        pytest.param(Reply(body=split(HEADER_LAST)), OperationFailed, 3, id="late-Succeeded-false"),
        pytest.param(Reply(body=[HEADER_FIRST]), OperationFailed, 0, id="early-Succeeded-false"),
        pytest.param(Reply(500, body=[A_FAULT]), Fault, 0, id="fault"),
        pytest.param(Reply(500, body=[A_FAULT[n : n + 1] for n in range(len(A_FAULT))]), Fault, 0, id="fault-by-bytes"),
        pytest.param(Reply(body=split(WHOLE)[:-1]), UnreadableResponse, 3, id="truncated-between"),
        pytest.param(Reply(body=[*split(WHOLE)[:2], b"<Batch"]), UnreadableResponse, 2, id="truncated-within"),
        pytest.param(Reply(body=[*split(WHOLE)[:2], ConnectionLost("reset")]), ConnectionLost, 2, id="reset"),
        pytest.param(
            Reply(body=[*split(WHOLE)[:2], b"<BatchTaskInfo><Id>x</Id></BatchTaskInfo>"]),
            UnexpectedResponse,
            2,
            id="value",
        ),
        pytest.param(Reply(body=[*split(WHOLE)[:2], b"</wrong>"]), UnreadableResponse, 2, id="not-well-formed"),
        pytest.param(Reply(body=[WHOLE, b"<more/>"]), UnreadableResponse, 3, id="trailing"),
        pytest.param(replying(GET_BATCH_TASK_INFO), UnexpectedResponse, 0, id="another-answer"),
        pytest.param(Reply(), UnreadableResponse, 0, id="empty"),
    ],
)
async def test_a_failure_comes_after_the_items_before_it(
    reply: Reply, error: type[SoapBatchError], before: int
) -> None:
    """A stream that is no whole answer raises, with what came before it yielded; and it is closed."""
    reply.closed = 0
    client, _ = scripted(reply)
    seen: list[BatchTaskInfo] = []
    async with client:
        with pytest.raises(error) as caught:
            await collect(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL), seen)
    assert [task.id for task in seen] == list(range(before))
    assert (caught.value.operation, reply.closed) == ("GetBatchTaskInfosByState", 1)


async def test_an_empty_list_ends_at_once() -> None:
    """A stream of nothing ends without an error."""
    client, _ = scripted(Reply(body=[tasks(0)]))
    async with client:
        assert [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)] == []


# --- Limits ---------------------------------------------------------------------------------------------------------


async def test_streams_have_a_limit_of_their_own() -> None:
    """`limits.streamed_bytes` bounds a stream, `bytes` and `items` a call; each error names its limit."""
    whole = tasks(300)
    limits = Limits(bytes=len(whole) // 2, streamed_bytes=len(whole), items=10)
    client, _ = scripted(Reply(body=split(whole)), limits=limits)
    async with client:
        assert len([task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)]) == 300
        with pytest.raises(LimitExceeded) as caught:
            await client.batch.get_batch_task_infos_by_state("All")
        assert caught.value.limit in {"items", "bytes"}
    client, _ = scripted(Reply(body=split(whole)), limits=Limits(streamed_bytes=len(whole) - 1))
    seen: list[BatchTaskInfo] = []
    async with client:
        with pytest.raises(LimitExceeded) as caught:
            await collect(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL), seen)
    assert (caught.value.limit, len(seen)) == ("streamed_bytes", 300)


async def test_a_response_without_end_ends_at_its_limit() -> None:
    """A server that never stops sending is left when the limit is reached, over a socket, streamed or not."""
    head, *items, _ = split(tasks(200))

    async def respond(send: Send) -> None:
        await send(head)
        for _ in itertools.count():
            await send(b"".join(items))

    limits = Limits(bytes=200_000, streamed_bytes=400_000)
    async with answering_slowly(respond) as url, over_socket(url, limits) as client:
        with pytest.raises(LimitExceeded) as caught:
            await client.batch.get_batch_task_infos_by_state("All")
        assert caught.value.limit == "bytes"
        with pytest.raises(LimitExceeded) as caught:
            async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
                pass
        assert caught.value.limit == "streamed_bytes"


async def test_a_drip_without_end_ends_at_the_deadline() -> None:
    """A server that sends a space now and then, for ever, is left when the stream's own time is up."""

    async def respond(send: Send) -> None:
        await send(split(WHOLE)[0])
        while True:
            await asyncio.sleep(0.01)
            await send(b" ")

    async with answering_slowly(respond) as url, over_socket(url) as client:
        seen: list[BatchTaskInfo] = []
        with pytest.raises(DeadlineExceeded) as caught:
            await collect(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, options={"timeout": 0.2}, **ALL), seen)
    assert [task.id for task in seen] == [0]
    assert caught.value.phase == "reading"


# --- Compressed -----------------------------------------------------------------------------------------------------


async def list_upstream(_: bytes, __: object) -> tuple[int, dict[str, str], bytes]:
    """Answer with a thousand tasks."""
    return 200, {"Content-Type": "text/xml"}, tasks(1000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate", "chunked"])
async def test_compressed_answers_are_read(encoding: str) -> None:
    """Calls and streams read what a server compresses."""
    async with FaultServer(list_upstream, fault=encoding) as server, over_socket(server.url) as client:
        listed = await client.batch.get_batch_task_infos_by_state("All")
        streamed = [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)]
    assert listed == streamed
    assert len(listed) == 1000


@pytest.mark.parametrize(
    ("encoding", "error"),
    [
        ("gzip-cut", UnreadableResponse),
        ("gzip-trailing", UnreadableResponse),
        ("brotli", UnreadableResponse),
        ("gzip-bomb", ProtocolError),
    ],
)
async def test_what_cannot_be_decompressed_is_an_error(encoding: str, error: type[SoapBatchError]) -> None:
    """Broken compression is found out by calls and streams, and the next call works."""
    async with FaultServer(list_upstream, fault=encoding) as server, over_socket(server.url) as client:
        with pytest.raises(error):
            await client.batch.get_batch_task_infos_by_state("All")
        with pytest.raises(error):
            async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL):
                pass
        server.plan.append("none")
        assert len(await client.batch.get_batch_task_infos_by_state("All")) == 1000


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda batch: batch.get_batch_task_infos_by_state("All"), id="collected"),
        pytest.param(lambda batch: anext(batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)), id="streamed"),
    ],
)
async def test_a_bomb_ends_at_its_limit(read: Callable[[BatchAgent], Awaitable[object]]) -> None:
    """An envelope that compresses ten-thousandfold is left at `limits.expansion`, long before it is all there."""
    head, rest = WHOLE.split(b"<BatchTaskInfo>", 1)
    body = gzip.compress(head + b" " * 40_000_000 + rest)
    client, _ = scripted(Reply(200, {"content-encoding": "gzip"}, [body]), limits=Limits(text_length=1 << 40))
    async with client:
        with pytest.raises(LimitExceeded) as caught:
            await read(client.batch)
    assert caught.value.limit == "expansion"


@virtual
async def test_the_time_of_a_stream_is_counted_over_all_its_readings() -> None:
    """A wait for each item is shorter than the timeout; together they are longer, and end exactly then."""
    client, _ = scripted(Reply(body=[piece for part in split(tasks(9)) for piece in (part, 0.9)]))
    async with client:
        with pytest.raises(DeadlineExceeded):
            await collect(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, options={"timeout": 2.0}, **ALL), [])
    assert now() == 2.0
