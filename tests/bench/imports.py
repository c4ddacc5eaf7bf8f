"""What importing the library costs beside importing what it is made of, each in a fresh interpreter."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from tests.bench.case import SOAPBATCH, Case, Plan, Sample, Target
from tests.bench.child import ask

PARTS: Final = "httpx, lxml.etree, attrs"
CLIENT: Final = "from soapbatch import Client"
_STATEMENTS: Final = {SOAPBATCH: "import soapbatch", CLIENT: CLIENT, PARTS: f"import {PARTS}"}

# httpx imports its command line tool if it can. An application's environment rarely can; this one happens to.
_SCRIPT: Final = """
import sys, time
sys.modules["click"] = None
started = time.process_time()
{}
print((time.process_time() - started) * 1000)
"""


def cases(plan: Plan) -> Iterator[Case]:
    """Yield one case."""
    yield Case(
        topic="imports",
        name="import",
        size=1,
        of="interpreter",
        units=("ms",),
        contenders=_contenders,
        targets=(Target(of=SOAPBATCH, to=PARTS, at_most=1.15, unit="ms"),),
        rounds=plan.import_rounds,
    )


def _contenders(_: object) -> Mapping[str, Sample]:
    def sample(statement: str) -> tuple[float]:
        return (ask("-c", _SCRIPT.format(statement)),)

    for statement in _STATEMENTS.values():
        sample(statement)  # so that everything is compiled
    return {name: partial(sample, statement) for name, statement in _STATEMENTS.items()}
