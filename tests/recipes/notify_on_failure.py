"""Sends a message to a webhook for each job that has failed: Slack, Teams, Mattermost, or a service of your own.

    SOAPBATCH_URL=... SOAPBATCH_USER=... SOAPBATCH_PASSWORD_FILE=... WEBHOOK_URL=... python notify_on_failure.py seen

The file holds the ids of the tasks that were announced, so that a restart announces none of them twice. The first run,
without a file, only notes which tasks have failed before. A task is noted after the webhook has taken its message: if
the webhook is down, the message is sent in the next round.
"""

import asyncio
import os
import sys
from pathlib import Path

import httpx

from soapbatch import BatchTaskInfo, BatchTaskState, Client, SoapBatchError

PAUSE = 60.0
"""Seconds between two rounds."""


def message(info: BatchTaskInfo) -> dict[str, str]:
    """Return what the webhook gets."""
    why = info.result or info.progress_description or "the server gives no reason"
    return {"text": f"Batch job {info.name} (task {info.id}) has failed: {why}"}


class Seen:
    """The ids of the tasks that were announced, in a file."""

    def __init__(self, path: Path) -> None:
        """Read the file, if it is there."""
        self._path = path
        self.is_new = not path.exists()
        self._ids = set() if self.is_new else {int(line) for line in path.read_text("utf-8").split()}

    def __contains__(self, id_: int) -> bool:
        """Return whether a task was announced."""
        return id_ in self._ids

    def keep(self, *ids: int) -> None:
        """Note tasks, and write the file."""
        self._ids.update(ids)
        self.is_new = False
        self._path.write_text("".join(f"{id_}\n" for id_ in sorted(self._ids)), "utf-8")


async def announce(client: Client, http: httpx.AsyncClient, webhook: str, seen: Seen) -> int:
    """Announce the jobs that have failed since the last round; return how many.

    Raises:
        SoapBatchError: the server cannot be asked.
        httpx.HTTPError: the webhook does not take a message.
    """
    failed = [info async for info in client.jobs.list(state=BatchTaskState.FAILED)]
    if seen.is_new:
        seen.keep(*(info.id for info in failed if info.id is not None))
    count = 0
    for info in failed:
        if info.id is not None and info.id not in seen:
            (await http.post(webhook, json=message(info))).raise_for_status()
            seen.keep(info.id)
            count += 1
    return count


async def main(path: Path, webhook: str) -> None:
    """Announce for ever; what goes wrong in one round is tried again in the next."""
    seen = Seen(path)
    async with Client.from_env() as client, httpx.AsyncClient(timeout=20) as http:
        while True:
            try:
                await announce(client, http, webhook, seen)
            except (SoapBatchError, httpx.HTTPError) as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), os.environ["WEBHOOK_URL"]))
