"""Durable jobs on one machine, without an engine: `Tenants`, and keys in a table of SQLite.

    jobs = JobTable("jobs.db")
    jobs.add("acme/export/2026-11-26", "acme", "ExportArchiveBatchPlugin", {"archive": "contacts"})
    async with Tenants(connect, transport=pool) as tenants:
        await jobs.run(tenants, folder)                     # until all have ended; call it again after a restart

The table remembers what a process that dies forgets. A row is marked as sent before StartBatchJob leaves: the process
that finds the mark starts with `maybe_sent`, and looks for the task by its key before it sends anything.

An engine such as Temporal saves one from all this (see `soapbatch.guide.fleets`), and from what is missing here: a
second machine that takes over, a limit a tenant, somebody who restarts this process, and a view of it all.
"""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from soapbatch import SoapBatchError, Tenants
from soapbatch.errors import JobFailed

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    key TEXT PRIMARY KEY,          -- tells the start from all others; the task on the server carries it
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    parameters TEXT NOT NULL,      -- JSON
    sent INTEGER NOT NULL DEFAULT 0,
    id INTEGER,                    -- of the task
    outcome TEXT                   -- NULL: not ended; else "Succeeded" or an error
)
"""
AT_ONCE = 200
"""How many jobs are started and waited for at the same time."""
PAUSE = 30.0
"""Seconds until a job whose error may pass is tried again."""


class JobTable:
    """The jobs of this machine. One process at a time may run them."""

    def __init__(self, path: str | Path) -> None:
        """Open the table, and lock it for this process; a process that dies loses the lock.

        Raises:
            sqlite3.OperationalError: another process has the lock.
        """
        self._lock = sqlite3.connect(f"{path}.lock", isolation_level=None, timeout=0)
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            self._lock.close()
            raise
        self._table = sqlite3.connect(path, isolation_level=None)  # each statement is on the disk when it returns
        self._table.execute("PRAGMA synchronous = FULL")
        self._table.execute(SCHEMA)

    def close(self) -> None:
        """Close the table, and release the lock."""
        self._table.close()
        self._lock.close()

    def add(self, key: str, tenant: str, name: str, parameters: Mapping[str, str | None]) -> None:
        """Add a job; a key that is there already adds nothing."""
        row = (key, tenant, name, json.dumps(dict(parameters)))
        self._table.execute("INSERT OR IGNORE INTO jobs (key, tenant, name, parameters) VALUES (?, ?, ?, ?)", row)

    def outcomes(self) -> dict[str, str | None]:
        """Return the outcome of each job by its key; None: it has not ended."""
        return dict(self._table.execute("SELECT key, outcome FROM jobs ORDER BY key"))

    async def run(self, tenants: Tenants, folder: Path, *, settle: float = 120.0) -> None:
        """Start and finish every job that has not ended; save outputs in `folder`.

        `settle`: seconds after which no server and no proxy still works on a start of a process that died.
        """
        may_run = asyncio.Semaphore(AT_ONCE)

        async def run_one(key: str) -> None:
            async with may_run:
                while not await self._attempt(key, tenants, folder, settle):  # noqa: ASYNC110 - not a poll
                    await asyncio.sleep(PAUSE)

        keys = [key for key, outcome in self.outcomes().items() if outcome is None]
        async with asyncio.TaskGroup() as running:
            for key in keys:
                running.create_task(run_one(key))

    async def _attempt(self, key: str, tenants: Tenants, folder: Path, settle: float) -> bool:
        """Bring a job to its end; False: an error that may pass."""
        try:
            outcome = await self._finish(key, tenants, folder, settle)
        except JobFailed as error:
            outcome = str(error)
        except SoapBatchError as error:
            if error.retryable:
                return False
            outcome = f"{type(error).__name__}: {error}"
        self._table.execute("UPDATE jobs SET outcome = ? WHERE key = ?", (outcome, key))
        return True

    async def _finish(self, key: str, tenants: Tenants, folder: Path, settle: float) -> str:
        """Start the job or find it, wait for it, save its output; return the state in which it has ended."""
        query = "SELECT tenant, name, parameters, sent, id FROM jobs WHERE key = ?"
        tenant, name, parameters, sent, id_ = self._table.execute(query, (key,)).fetchone()
        async with tenants.client(tenant) as client:
            if id_ is None:
                self._table.execute("UPDATE jobs SET sent = 1 WHERE key = ?", (key,))
                job = await client.jobs.start(
                    name, key=key, maybe_sent=bool(sent), settle=settle, parameters=json.loads(parameters)
                )
                self._table.execute("UPDATE jobs SET id = ? WHERE key = ?", (job.id, key))
            else:
                job = client.jobs.attach(id_)
            info = await job.wait(timeout=None)
            path = folder / f"{key}.out"
            path.parent.mkdir(parents=True, exist_ok=True)
            await job.save_output(path)
        return str(info.state)
