"""Values -> the bytes of a request: soapbatch's templates against zeep's trees, from the same WSDL and values."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from lxml import etree

from soapbatch.operations import DELETE_BATCH_TASKS, GET_BATCH_TASK_INFO, UPDATE_BATCH_TASK, Operation
from soapbatch.soap.builder import build_request
from tests.bench.case import SOAPBATCH, ZEEP, Case, Plan, Sample, Target, timed
from tests.bench.inputs import BINDING, TICKET, TOKEN, VERSION, task
from tests.bench.peers import zeep_client, zeep_headers, zeep_task

_TARGETS: Final = (Target(of=ZEEP, to=SOAPBATCH, at_least=15),)


def cases(plan: Plan) -> Iterator[Case]:
    """Yield one value, one record, and growing lists of ids."""
    one = task(0)
    yield _case(plan, GET_BATCH_TASK_INFO, (1, "id"), ({"id": one.id}, {"Id": one.id}))
    yield _case(plan, UPDATE_BATCH_TASK, (1, "task"), ({"batch_task_info": one}, {"BatchTaskInfo": zeep_task(one)}))
    for count in plan.ids:
        ids = list(range(100_000, 100_000 + count))
        values = {"batch_task_ids": ids}, {"BatchTaskIds": {"int": ids}}
        yield _case(plan, DELETE_BATCH_TASKS, (count, "ids"), values, _TARGETS if count == max(plan.ids) else ())


def _case(
    plan: Plan,
    operation: Operation[Any],
    size: tuple[int, str],
    values: tuple[Mapping[str, Any], Mapping[str, Any]],
    targets: tuple[Target, ...] = _TARGETS,
) -> Case:
    arguments, for_zeep = values

    def contenders(_: ExitStack) -> Mapping[str, Sample]:
        client = zeep_client()
        create: Callable[[], etree._Element] = partial(
            client.create_message, client.service, operation.name, _soapheaders=zeep_headers(), **for_zeep
        )
        return {
            SOAPBATCH: timed(
                lambda: (
                    build_request(
                        operation, arguments, version=VERSION, binding=BINDING, application_token=TOKEN, ticket=TICKET
                    ).body
                ),
                seconds=plan.seconds,
            ),
            ZEEP: timed(lambda: etree.tostring(create()), seconds=plan.seconds),
        }

    return Case(topic="build", name=operation.name, size=size[0], of=size[1], contenders=contenders, targets=targets)
