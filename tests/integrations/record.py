"""Record the histories that `test_temporal_replay.py` replays: `python -m tests.integrations.record`.

A recorded history stands for a workflow that runs while a new release is deployed. A release that cannot replay it
breaks such workflows: record new histories beside the old ones, and never in their place.
"""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from soapbatch.integrations.temporal.slots import TenantSlots
from tests.integrations.test_temporal import World, working
from tests.support.fleet import SEARCH_ATTRIBUTE, check_history, dev_server

HISTORIES = Path(__file__).parent / "histories"


async def record(release: str) -> None:
    """Write one history a way in which a workflow can go."""
    with tempfile.TemporaryDirectory() as folder, dev_server(Path(folder)) as server:
        async with working(server.target, Path(folder)) as made:
            handles = await _workflows(made)
            for name, handle in handles.items():
                with contextlib.suppress(WorkflowFailureError):
                    await handle.result()
                text = await check_history(handle)
                (HISTORIES / f"{release}-{name}.json").write_text(text, encoding="utf-8")
            slots = made.temporal.get_workflow_handle_for(TenantSlots.run, "soapbatch/slots/acme")
            history = (await slots.fetch_history()).to_json()
            (HISTORIES / f"{release}-slots.json").write_text(history, encoding="utf-8")


async def _workflows(made: World) -> dict[str, WorkflowHandle[Any, Any]]:
    handles = {
        "succeeded": await made.start(output="s.csv", parameters={"archive": "contacts"}),
        "limited": await made.start(max_running=1, search_attribute=SEARCH_ATTRIBUTE),
        "queued": await made.start(max_running=1),
        "failed": await made.start("Failing"),
        "unknown": await made.start("Nonsense"),
        "cancelled": await made.start("Endless"),
        "waiting": await made.start("Endless"),
    }
    await made.until_running(2)
    await handles["cancelled"].cancel()
    await asyncio.sleep(1)
    await handles["waiting"].terminate()
    return handles


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
