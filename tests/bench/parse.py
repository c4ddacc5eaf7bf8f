"""The bytes of a reply -> values: soapbatch and zeep, and the least that anything built on lxml can cost."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from lxml import etree

from soapbatch.model.limits import Limits
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, Operation
from soapbatch.soap.interpretation import interpret, parse_response
from soapbatch.soap.parser import ResponseParser
from tests.bench.case import LXML, SOAPBATCH, ZEEP, Case, Plan, Sample, Target, timed
from tests.bench.inputs import CHUNK, VERSION, reply_with, reply_with_one
from tests.bench.peers import zeep_parse

WHOLE: Final = "soapbatch, whole body"
_LIMITS: Final = Limits(bytes=1 << 30)
_HUGE: Final = etree.XMLParser(huge_tree=True)
_TARGETS: Final = {
    1: (Target(of=ZEEP, to=SOAPBATCH, at_least=5),),
    1_000: (Target(of=ZEEP, to=SOAPBATCH, at_least=8),),
    20_000: (Target(of=ZEEP, to=SOAPBATCH, at_least=8), Target(of=SOAPBATCH, to=LXML, at_most=3.5)),
}


def cases(plan: Plan) -> Iterator[Case]:
    """Yield a single task, and growing lists of tasks."""
    yield _case(plan, GET_BATCH_TASK_INFO, 1, reply_with_one)
    for count in plan.tasks:
        yield _case(plan, GET_BATCH_TASK_INFOS_BY_STATE, count, partial(reply_with, count))


def _case(plan: Plan, operation: Operation[Any], count: int, body_of: Callable[[], bytes]) -> Case:
    def contenders(_: ExitStack) -> Mapping[str, Sample]:
        body = body_of()
        works: dict[str, Callable[[], object]] = {
            SOAPBATCH: lambda: parse_chunks(operation, body),
            WHOLE: lambda: parse_response(operation, body, version=VERSION, limits=_LIMITS),
            LXML: lambda: etree.fromstring(body, _HUGE),
        }
        if count <= plan.zeep_tasks:
            works[ZEEP] = zeep_parse(operation, body)
        return {name: timed(work, per=count, seconds=plan.seconds) for name, work in works.items()}

    return Case(
        topic="parse",
        name=operation.name,
        size=count,
        of="tasks",
        contenders=contenders,
        targets=_TARGETS.get(count, ()),
    )


def parse_chunks(operation: Operation[Any], body: bytes) -> object:
    """Parse `body` as the client does: chunk by chunk, collecting."""
    parser = ResponseParser(operation, VERSION, limits=_LIMITS)
    for start in range(0, len(body), CHUNK):
        parser.feed(body[start : start + CHUNK])
    return interpret(operation, parser.close(), 200)
