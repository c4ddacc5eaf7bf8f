"""Compressed responses whose pieces hold nothing yet."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx

from soapbatch import Binding, Client, ServiceVersion
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.soap import build_response

RESPONSE = gzip.compress(build_response(GET_BATCH_TASK_INFO, None, version=ServiceVersion.V88))


async def ask(body: bytes) -> None:
    """Read a compressed response byte by byte; no byte of it has to be waited for."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(len(body)):
            yield body[at : at + 1]

    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, content=pieces())
    )
    async with Client("http://localhost", ticket="7T:x", transport=transport, binding=Binding.DOCUMENTED) as client:
        assert await client.batch.get_batch_task_info(1) is None


async def test_a_compressed_response_byte_by_byte() -> None:
    """The head of gzip's format decompresses to nothing; the response is read all the same."""
    await ask(RESPONSE)


async def test_other_tasks_run_while_pieces_hold_nothing() -> None:
    """A head of gzip's format may be 64 KiB long: the loop turns while it is read."""
    extra = 60_000
    head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + extra.to_bytes(2, "little") + bytes(extra)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await ask(head + RESPONSE[10:])
    counting.cancel()
    assert turns > extra / 20
