"""Large answers of the embedded server: the pieces, joined, are the bytes of the whole answer."""

from base64 import b64encode
from collections.abc import Iterator

import attrs
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, ServiceVersion
from soapbatch.model.batch import ALL_ASSOCIATES
from soapbatch.model.headers import ReplyHeader
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_ASSOCIATES, GET_OUTPUT_FROM_BATCH
from soapbatch.soap.builder import build_response
from soapbatch.testing import NetServer
from soapbatch.testing.responses import ResponseForm, success
from tests.support.raw_client import BINDINGS, raw_client

V88 = ServiceVersion.V88
PIECE = 48 * 1024


def header_of(binding: Binding) -> ReplyHeader | None:
    """Return the header of an answer that succeeded, in that binding."""
    return None if binding.is_documented else ReplyHeader(succeeded=True)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize(("count", "pieces"), [(0, 1), (1, 1), (500, 1), (501, 4), (1000, 4), (1001, 5)])
def test_a_long_list_comes_in_pieces(binding: Binding, count: int, pieces: int) -> None:
    """The pieces, joined, are the envelope that the builder makes from the whole list."""
    tasks = [
        BatchTaskInfo(id=number, name="</x>", description="ö", parameter_object={"a": None}) for number in range(count)
    ]
    form = ResponseForm(GET_BATCH_TASK_INFOS_BY_ASSOCIATES, V88, binding)
    body = list(success(form, iter(tasks)).body)
    assert len(body) == pieces
    whole = build_response(form.operation, tasks, version=V88, binding=binding, header=header_of(binding))
    assert b"".join(body) == whole


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, 3 * PIECE + 2])
def test_a_large_file_comes_in_pieces(binding: Binding, length: int) -> None:
    """The pieces, joined, are the envelope that the builder makes from the whole file."""
    content = bytes(number % 251 for number in range(length))

    def odd_pieces() -> Iterator[bytes]:
        for start in range(0, length, 10_007):
            yield content[start : start + 10_007]

    form = ResponseForm(GET_OUTPUT_FROM_BATCH, V88, binding)
    whole = build_response(form.operation, content, version=V88, binding=binding, header=header_of(binding))
    assert b64encode(content) in whole
    for output in (content, odd_pieces()):
        assert b"".join(success(form, output).body) == whole


async def test_a_long_list_is_read_by_a_client() -> None:
    """A client reads a list of ten thousand tasks."""
    client = raw_client()
    for number in range(10_000):
        client.server.tasks.add(BatchTaskInfo(name="Bulk", associate_id=number % 7, state=BatchTaskState.NEW))
    answer = await client.post("GetBatchTaskInfosByAssociates", associate_ids=ALL_ASSOCIATES)
    assert "content-length" not in answer.headers
    found = await client("GetBatchTaskInfosByAssociates", associate_ids=ALL_ASSOCIATES)
    assert [info.id for info in found] == list(range(1, 10_001))
    assert attrs.evolve(found[5], id=None) == BatchTaskInfo(name="Bulk", associate_id=5, state=BatchTaskState.NEW)


async def test_an_output_can_be_made_while_it_is_sent() -> None:
    """An output that is a function is called for each GetOutputFromBatch."""
    server = NetServer()

    def rows() -> Iterator[bytes]:
        for number in range(20_000):
            yield f"{number};row\r\n".encode()

    task = server.tasks.add(BatchTaskInfo(state=BatchTaskState.SUCCEEDED), output=rows)
    client = raw_client(server)
    for _ in range(2):
        assert await client("GetOutputFromBatch", batch_task_id=task) == b"".join(rows())
