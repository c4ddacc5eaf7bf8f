"""The soak in short: a thousand calls."""

import random

import pytest

from soapbatch import BatchTaskInfo
from tests.soak import FAULTS, Soak, serving


@pytest.mark.slow
async def test_a_thousand_calls_with_faults() -> None:
    """A thousand mixed calls, a fault in each twentieth: nothing hangs or leaks, every start is accounted for."""
    async with serving(0.05, seed=7) as (faulty, clean):
        soak = Soak(faulty, clean, 1000, 64, random.Random(7), lambda _: None)  # noqa: S311 - repeatable
        await soak.run()
    assert soak.violations == []
    assert sum(count for outcome, count in soak.outcomes.items() if not outcome.startswith("start told")) == 1000
    assert soak.outcomes["ok"] > 800
    assert soak.outcomes["start told ok, held 1x"] > 200


async def test_a_soak_sees_what_goes_wrong() -> None:
    """A job that nobody started, one that was started twice, and one that is gone are found out."""
    async with serving(0.0, seed=7) as (faulty, clean):
        soak = Soak(faulty, clean, 100, 4, random.Random(7), lambda _: None)  # noqa: S311 - repeatable
        await soak.run()
        assert soak.violations == []
    held = [BatchTaskInfo(id=id_, name="Export", description=str(n)) for n, id_ in enumerate(soak.told) if id_ > 0]
    soak._check_starts([held[0], *held[:-1], BatchTaskInfo(id=999, name="Export", description="0")])
    wrong = [f"start {number}" for number in (0, held[0].description, held[-1].description)]
    assert [violation.partition(":")[0] for violation in soak.violations] == wrong


def test_every_fault_that_a_running_server_can_do_is_in_the_soak() -> None:
    """Faults of a request are injected; those of a whole server cannot be."""
    assert len(FAULTS) > 30
    assert not {"none", "refuse", "tls"} & set(FAULTS)
