"""One job in each of many tenants of SuperOffice Online: who got an output, who has to act, and who is tried later.

    tokens = {"Cust12345": "My App-k3J9xQ2mPz", ...}    # the system user token of each tenant that approved the app
    async with OnlineApp(environment="online", client_secret=SECRET, private_key=PrivateKey.read("app.xml")) as app:
        outcomes = await export_everywhere(app, tokens, "ExportAll", day="2026-11-26", folder=Path("out"))

The clients share the app's connections, its keys and what it knows of each tenant. A tenant that moves to another host
is found there, and needs nothing here.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from soapbatch import Client, SoapBatchError, SystemUserRefused, Tenants, TenantUnavailable
from soapbatch.online import OnlineApp, SystemUser

AT_ONCE = 20
"""Tenants that are worked on at the same time."""


async def export(tenants: Tenants, tenant: str, job: str, day: str, folder: Path) -> str:
    """Run the job in one tenant and save its output; return what became of it, in words."""
    try:
        async with tenants.client(tenant) as client:
            handle = await client.jobs.start(job, key=f"{tenant}/{job}/{day}")
            await handle.wait(timeout=4 * 3600)
            size = await handle.save_output(folder / f"{tenant}.out")
            await handle.cleanup()
    except TenantUnavailable as error:
        return f"try later: the tenant is {error.state}"
    except SystemUserRefused as error:
        return f"ask the tenant's administrator to approve the app: {error.reason}"
    except SoapBatchError as error:
        when = "try later" if error.retryable else "look into it"
        return f"{when}: {type(error).__name__}: {error} (applied: {error.applied})"
    return f"{size} bytes"


async def export_everywhere(
    app: OnlineApp, tokens: Mapping[str, str], job: str, *, day: str, folder: Path
) -> dict[str, str]:
    """Run the job in each tenant, and return what became of each."""
    may_run = asyncio.Semaphore(AT_ONCE)

    async def connect(tenant: str) -> Client:
        return app.client(tenant, SystemUser(tokens[tenant]))

    async with Tenants(connect) as tenants:

        async def one(tenant: str) -> str:
            async with may_run:
                return await export(tenants, tenant, job, day, folder)

        return dict(zip(tokens, await asyncio.gather(*map(one, tokens)), strict=True))
