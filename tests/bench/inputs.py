"""What is built, parsed and answered: tasks like real ones, and replies as WCF writes them."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from soapbatch.model.batch import BatchTaskCancellationBehaviour, BatchTaskInfo, BatchTaskState
from soapbatch.model.headers import ReplyHeader
from soapbatch.model.secret import Secret
from soapbatch.model.services import Binding, ServiceVersion
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, Operation
from soapbatch.soap import Request, build_request, build_response

VERSION: Final = ServiceVersion.V88
BINDING: Final = Binding.SOAP11  # the only one that zeep speaks to these services
TICKET: Final = Secret("7T:bW9zdGx5IGhhcm1sZXNzLCBhbmQgYWxzbyBtYWRlIHVw")
TOKEN: Final = Secret("f00dfacef00dfacef00dfacef00dface")
CHUNK: Final = 64 * 1024

_NIL: Final = "\N{SYMBOL FOR NULL}"
_NIL_ELEMENT = re.compile(rf"<(\w+)>{_NIL}</\1>".encode())
_ITEM: Final = b"<BatchTaskInfo>"
_ITEM_END: Final = b"</BatchTaskInfo>"
_BLOCK: Final = 1_000
_NAMES: Final = ("Export kontakter", "Månedsrapport", "Synchronise & clean", "Massenversand größer 500", "重複チェック")
_STATES: Final = (BatchTaskState.SUCCEEDED, BatchTaskState.STARTED, BatchTaskState.FAILED, BatchTaskState.NEW)
_EPOCH: Final = datetime(2024, 1, 31, 23, 59, 58, 765_432, UTC)


def task(number: int) -> BatchTaskInfo:
    """Return a task in which values vary, text needs escaping, and not every letter is ASCII."""
    created = _EPOCH + timedelta(seconds=97 * number)
    return BatchTaskInfo(
        id=100_000 + number,
        name=_NAMES[number % len(_NAMES)],
        associate_id=number % 250,
        details_table=5,
        details_record=number * 7,
        is_system_task=number % 3 == 0,
        is_internal_task=False,
        parameter_object={"Selection": str(number * 11), "Filter": "status <> 'lukket' & eier = 'Åse'"},
        last_started=created + timedelta(seconds=2),
        created=created.replace(microsecond=0),
        start_count=1 + number % 2,
        database_serial_number="1234567890",
        context=f"Cust{10_000 + number % 50}",
        result="",
        state=_STATES[number % len(_STATES)],
        description=f"Beskrivelse æøå {number}",
        request=f'<request id="{number}"/>',
        progress_description=f"{number % 101} % ferdig",
        progress_percent=number % 101,
        file_name=f"rapport-{number}.xlsx",
        cancellation_behaviour=BatchTaskCancellationBehaviour.CAN_CANCEL,
    )


def reply(operation: Operation[Any], result: Any) -> bytes:
    """Return the reply that a WCF server sends, as recorded: compact, and nil where a string is null."""
    body = build_response(operation, result, version=VERSION, binding=BINDING, header=ReplyHeader(succeeded=True))
    return _NIL_ELEMENT.sub(rb'<\1 i:nil="true" />', body)


def request_for_one(number: int) -> Request:
    """Return the prebuilt request of GetBatchTaskInfo for the task of this id."""
    return build_request(
        GET_BATCH_TASK_INFO, {"id": number}, version=VERSION, binding=BINDING, application_token=TOKEN, ticket=TICKET
    )


def reply_with_one() -> bytes:
    """Return the reply of GetBatchTaskInfo."""
    return reply(GET_BATCH_TASK_INFO, attrs.evolve(task(0), response=_NIL))


def reply_pieces(count: int) -> Iterator[bytes]:
    """Yield the reply of GetBatchTaskInfosByState with `count` tasks, in pieces of up to `_BLOCK` tasks."""
    tasks = [attrs.evolve(task(number), response=_NIL) for number in range(min(count, _BLOCK))]
    whole = reply(GET_BATCH_TASK_INFOS_BY_STATE, tasks)
    first = whole.index(_ITEM)
    end = whole.rindex(_ITEM_END) + len(_ITEM_END)
    yield whole[:first]
    blocks, rest = divmod(count, _BLOCK)
    for _ in range(blocks):
        yield whole[first:end]
    if rest:
        yield _ITEM.join(whole[first:end].split(_ITEM)[: rest + 1])
    yield whole[end:]


def reply_with(count: int) -> bytes:
    """Return the reply of GetBatchTaskInfosByState with `count` tasks."""
    return b"".join(reply_pieces(count))


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `pieces` in slices as a socket would hand them out."""
    for piece in pieces:
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]
