"""Runs cases: contenders in turn, round after round, each round in another order.

In another order, because who comes behind a contender that leaves much memory behind pays a little for it.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from random import Random

from tests.bench import build, calls, hostile, imports, loop_gap as hygiene, memory, observed, parse
from tests.bench.case import Case, Figure, Plan, Row

TOPICS = {
    "build": build.cases,
    "parse": parse.cases,
    "hygiene": hygiene.cases,
    "memory": memory.cases,
    "hostile": hostile.cases,
    "imports": imports.cases,
    "calls": calls.cases,
    "hooks": observed.cases,
}


def cases(plan: Plan, topics: Iterable[str] = TOPICS) -> Iterator[Case]:
    """Yield the cases of some topics."""
    for topic in topics:
        yield from TOPICS[topic](plan)


def run(case: Case, plan: Plan, advance: Callable[[float], None]) -> list[Row]:
    """Run a case; tell `advance` which share of it was done just now."""
    rounds = case.rounds or plan.rounds
    with ExitStack() as stack:
        contenders = case.contenders(stack)
        taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in contenders}
        for number in range(rounds):
            for name in Random(number).sample([*contenders], len(contenders)):  # noqa: S311 - no secret
                if not (taken[name] and name in case.once):
                    gc.collect()  # nobody pays for what another left behind
                    taken[name].append(contenders[name]())
                advance(1 / rounds / len(contenders))
    rows = []
    for index, unit in enumerate(case.units):
        figures = {name: Figure(tuple(sample[index] for sample in samples)) for name, samples in taken.items()}
        targets = tuple(target for target in case.targets if target.unit == unit)
        rows.append(
            Row(
                topic=case.topic,
                name=case.name,
                size=case.size,
                of=case.of,
                unit=unit,
                figures=figures,
                targets=targets,
            )
        )
    return rows
