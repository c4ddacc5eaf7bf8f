"""Compressed responses whose pieces hold nothing yet."""

import gzip
from collections.abc import AsyncIterator

import httpx

from soapbatch import Binding, Client, ServiceVersion
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.soap import build_response


async def test_a_compressed_response_byte_by_byte() -> None:
    """The head of gzip's format decompresses to nothing; the response is read all the same."""
    body = gzip.compress(build_response(GET_BATCH_TASK_INFO, None, version=ServiceVersion.V88))

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(len(body)):
            yield body[at : at + 1]

    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, content=pieces())
    )
    async with Client("http://localhost", ticket="7T:x", transport=transport, binding=Binding.DOCUMENTED) as client:
        assert await client.batch.get_batch_task_info(1) is None
