"""What a benchmark is made of: plans, cases, and the rows that come out of them."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any, TypeAlias

import attrs

Sample: TypeAlias = Callable[[], tuple[float, ...]]
"""Takes one sample: a figure for each unit of its case."""

SOAPBATCH = "soapbatch"
ZEEP = "zeep"
LXML = "lxml"


@attrs.frozen(kw_only=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: how often every contender is sampled.
        import_rounds: the same, for the cost of importing.
        seconds: that a sample of something short is repeated for.
        ids: lengths of the lists of ids that are built.
        tasks: lengths of the lists of tasks that are parsed.
        zeep_tasks: the longest of them that zeep parses.
        loop_tasks: in the answer beside which a ticker runs.
        streamed_tasks: in the answer that is read in constant memory.
        collected_tasks: in the answer that is held in memory.
        output_mib: MiB of output that is saved.
        hostile: how many hostile responses are read; None: all.
        concurrency: numbers of callers at a time.
        call_seconds: that they call for.
    """

    rounds: int = 5
    import_rounds: int = 15
    seconds: float = 0.05
    ids: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)
    tasks: tuple[int, ...] = (1, 10, 100, 1_000, 20_000, 100_000)
    zeep_tasks: int = 20_000
    loop_tasks: int = 50_000
    streamed_tasks: int = 100_000
    collected_tasks: int = 20_000
    output_mib: int = 256
    hostile: int | None = None
    concurrency: tuple[int, ...] = (1, 16, 64, 256)
    call_seconds: float = 1.0


QUICK = Plan(
    rounds=1,
    import_rounds=1,
    seconds=0.0,
    ids=(1, 10),
    tasks=(1, 10),
    zeep_tasks=10,
    loop_tasks=100,
    streamed_tasks=100,
    collected_tasks=100,
    output_mib=1,
    hostile=2,
    concurrency=(1, 4),
    call_seconds=0.02,
)
"""Enough to see that everything runs; its figures mean nothing."""


@attrs.frozen(kw_only=True)
class Target:
    """What is expected of a row: of one median, or of the ratio of two.

    Attributes:
        of: the contender.
        to: the one that its median is divided by; None: the median itself.
        at_least: the lowest value that will do.
        at_most: the highest value that will do.
        unit: of the row.
    """

    of: str
    to: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "us"

    def value(self, figures: "Mapping[str, Figure]") -> float:
        """Return the ratio, or the median."""
        return figures[self.of].median / (1 if self.to is None else figures[self.to].median)

    def is_met(self, figures: "Mapping[str, Figure]") -> bool:
        """Return whether the value will do."""
        value = self.value(figures)
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        """Return the target in words: `zeep / soapbatch >= 15`."""
        bound = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return f"{self.of} / {self.to} {bound}" if self.to is not None else f"{self.of} {bound} {self.unit}"


@attrs.frozen(kw_only=True)
class Case:
    """A comparison.

    Attributes:
        topic: the module that lists it.
        name: what is done.
        size: how much of it: ids, tasks, callers, MiB.
        of: what `size` counts.
        units: of the figures in a sample.
        contenders: returns who is compared, by name; what must be undone afterwards goes on the stack.
        once: contenders that are too slow to be sampled in every round.
        targets: what is expected.
        rounds: instead of the plan's.
    """

    topic: str
    name: str
    size: int
    of: str
    units: tuple[str, ...] = ("us",)
    contenders: Callable[[ExitStack], Mapping[str, Sample]]
    once: frozenset[str] = frozenset()
    targets: tuple[Target, ...] = ()
    rounds: int | None = None


@attrs.frozen
class Figure:
    """What a contender did, in the unit of the row."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that counts."""
        return median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest sample."""
        return min(self.samples), max(self.samples)


@attrs.frozen(kw_only=True)
class Row:
    """What came out of a case, in one unit."""

    topic: str
    name: str
    size: int
    of: str
    unit: str
    figures: Mapping[str, Figure]
    targets: tuple[Target, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the row as it stands in the JSON file."""
        return {
            "topic": self.topic,
            "name": self.name,
            "size": self.size,
            "of": self.of,
            "unit": self.unit,
            "figures": {
                name: {"median": figure.median, "spread": figure.spread, "samples": figure.samples}
                for name, figure in self.figures.items()
            },
            "targets": [
                {"target": str(target), "value": target.value(self.figures), "met": target.is_met(self.figures)}
                for target in self.targets
            ],
        }


def timed(work: Callable[[], object], *, seconds: float, per: int = 1) -> Sample:
    """Return a sample of the CPU time of `work`, in microseconds for each of the `per` things that it does.

    It is done once to warm up, and then as often as fits into `seconds`, at least once.
    """
    loops = 0

    def sample() -> tuple[float]:
        nonlocal loops
        if not loops:
            started = time.process_time()
            work()
            took = time.process_time() - started
            loops = max(1, int(seconds / took)) if took else 1
        started = time.process_time()
        for _ in range(loops):
            work()
        return ((time.process_time() - started) / loops / per * 1e6,)

    return sample
