"""A process that starts a job with a key: `python -m tests.support.starting_process MODE URL TICKET NAME KEY SETTLE`.

It prints a line when something has happened, and then waits to be killed:

    hang      "sending", just before StartBatchJob would leave; it never does
    start     the task's id, when the start has returned
    takeover  likewise, as a later attempt (`maybe_sent`); then the process ends
"""

import asyncio
import sys
import time

from soapbatch import Binding, Client, Hooks
from soapbatch.calls import RequestEvent

FOR_EVER = 600.0


async def main(mode: str, url: str, ticket: str, name: str, key: str, settle: str) -> None:  # noqa: PLR0917 - a command line
    """Start the job."""

    def on_request(event: RequestEvent) -> None:
        if mode == "hang" and event.operation == "StartBatchJob":
            print("sending", flush=True)  # noqa: T201 - for the process that started this one
            time.sleep(FOR_EVER)  # the whole process stalls

    async with Client(url, ticket=ticket, binding=Binding.SOAP11, hooks=Hooks(on_request=on_request)) as client:
        job = await client.jobs.start(name, key=key, maybe_sent=mode == "takeover", settle=float(settle))
        print(job.id, flush=True)  # noqa: T201 - as above
        if mode != "takeover":
            await asyncio.sleep(FOR_EVER)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
